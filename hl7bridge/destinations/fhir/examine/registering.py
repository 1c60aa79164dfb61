"""What the owner of a FHIR server asks for when a client is registered (SMART Backend Services), and what comes after."""

from __future__ import annotations

from hl7bridge.destinations.examining import Registration
from hl7bridge.destinations.fhir.examine.credentials import Credentials
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.smart_auth import RESOURCES, needed_scopes
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject

# What stands between a registration and the first write; {name} is the destination.
CHECKLIST = (
    "Register the client at the vendor, or have the organisation register it: test and production each have a client id.",
    "Publish the public key set where it was registered (https, open to all), or hand it over; copies are kept for a day.",
    "Have the vendor's and the organisation's review of the application begun: weeks to months for production.",
    "Have the client enabled in each environment, and tied to a user of that system; that takes hours to days to be seen.",
    "Ask how many requests a second are agreed upon: in_flight and requests_per_second.",
    "Ask for the NPI of somebody in the test environment: hl7bridge doctor {name} --npi NPI must end with 0.",
    "Run in mode report against test data; read what it would write: hl7bridge msg list.",
    "Have the brake's numbers and the protected people agreed upon: [brake].",
    "Repeat with production's client id, key and addresses, again in mode report.",
    "Only then add the scopes and APIs for writing, and change the mode; a pilot group first.",
)


def registration(rules: DestinationRules, credentials: Credentials) -> Registration:
    """What to enter where the client is registered. Nothing in it is secret."""
    facts, key_set, problem = _facts(rules, credentials), None, ""
    if credentials.smart is None:
        problem = 'auth.type is none: write type = "smart", client_id and key first'
    else:
        try:
            key = credentials.key()
        except ConfigError as error:
            problem = str(error)
        else:
            if key is not None:
                key_set = {"keys": [key.public_jwk(credentials.key_id)]}
                facts |= {"kid": credentials.key_id or key.kid}
    modes = [str(rules.mode), *(f"{name}: {mode}" for name, mode in sorted(rules.modes.items()))]
    checklist = tuple(line.format(name=rules.name) for line in CHECKLIST)
    return Registration(rules.name, ", ".join(modes), facts, _rows(facts), key_set, problem, checklist)


def _facts(rules: DestinationRules, credentials: Credentials) -> JsonObject:
    writes = []
    if rules.mode_of("create") != "report":
        writes.append("Create")
    if rules.mode_of("update") != "report" or rules.mode_of("deactivate") != "report":
        writes.append("Update")
    verbs = "".join(word[0].lower() for word in writes)
    mode = "write" if writes else "report"
    types = [name for name in RESOURCES if name not in rules.withheld]
    return {
        "base_url": rules.base_url,
        "client_id": credentials.client_id,
        "scopes": list(credentials.scopes or _of(types, needed_scopes(mode, verbs=verbs))),
        "scopes_v2": list(_of(types, needed_scopes(mode, frozenset({"permission-v2"}), verbs))),
        "apis": [f"{name}.{word} (R4)" for name in types for word in ("Read", "Search", *writes)],
        "algorithm": credentials.algorithm,
        "kid": credentials.key_id,
    }


def _of(types: list[str], scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes for those types alone."""
    return tuple(scope for scope in scopes if scope.removeprefix("system/").partition(".")[0] in types)


def _rows(facts: JsonObject) -> tuple[tuple[str, str], ...]:
    return (
        ("application type", "backend system: no user signs in (SMART Backend Services, confidential client)"),
        ("redirect URI", "none: nobody is sent to a browser; if one must be entered, any page of your own"),
        ("grant type", "client_credentials, with private_key_jwt"),
        ("FHIR version", "R4"),
        ("FHIR base", facts["base_url"]),
        ("client id", facts["client_id"] or "given by the server's owner: client_id in [auth]"),
        *_lines("scopes", facts["scopes"]),
        *_lines("in SMART v2", facts["scopes_v2"]),
        *_lines("APIs", facts["apis"]),
        ("never needed", "Patient, any other type, delete, refresh tokens, launch contexts"),
        ("signature", facts["algorithm"]),
        ("kid", facts["kid"] or "the key's thumbprint"),
    )


def _lines(name: str, values: list[str]) -> list[tuple[str, str]]:
    return [(name if not number else "", value) for number, value in enumerate(values)]
