"""`hl7bridge register-help`: what the owner of a FHIR server asks for when a client is registered, and what comes after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.assemble.choosing import fhir_servers
from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, JsonOption
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import FhirSettings

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


def register_help(
    destination: Annotated[str, typer.Argument(metavar="[DESTINATION]", help="Its name; all when left out.")] = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Print what a FHIR server's owner asks for: to register this client, and until it goes live.

    \b
      hl7bridge register-help
      hl7bridge register-help ehr --json

    Application type, scopes and APIs that the destination's modes need, public key. Nothing that is printed is secret,
    and nothing is sent to anyone.
    """
    from hl7bridge.config import load

    found = [registration(one) for one in fhir_servers(load(config), destination)]
    if as_json:
        output.show_json("register-help/1", {"destinations": found})
        return
    for number, one in enumerate(found):
        if number:
            output.show("")
        _show(one)


def registration(destination: FhirSettings) -> dict[str, Any]:
    """The client's facts, as in `register-help/1`."""
    from hl7bridge.assemble.authorization import signing_key
    from hl7bridge.assemble.destinations import destination_rules
    from hl7bridge.destinations.fhir.wire.smart_auth import RESOURCES, needed_scopes

    rules, auth = destination_rules(destination), destination.auth
    writes = []
    if rules.mode_of("create") != "report":
        writes.append("Create")
    if rules.mode_of("update") != "report" or rules.mode_of("deactivate") != "report":
        writes.append("Update")
    verbs = "".join(word[0].lower() for word in writes)
    mode = "write" if writes else "report"
    types = [name for name in RESOURCES if name not in rules.withheld]
    facts: dict[str, Any] = {
        "destination": destination.name,
        "mode": ", ".join([str(destination.mode), *(f"{name}: {is_}" for name, is_ in sorted(rules.modes.items()))]),
        "base_url": destination.base_url,
        "client_id": auth.client_id,
        "scopes": list(auth.scopes or _of(types, needed_scopes(mode, verbs=verbs))),
        "scopes_v2": list(_of(types, needed_scopes(mode, frozenset({"permission-v2"}), verbs))),
        "apis": [f"{name}.{word} (R4)" for name in types for word in ("Read", "Search", *writes)],
        "algorithm": auth.algorithm,
        "kid": auth.key_id,
        "jwks": None,
        "key_problem": "",
        "checklist": [line.format(name=destination.name) for line in CHECKLIST],
    }
    if auth.type == "none":
        facts["key_problem"] = 'auth.type is none: write type = "smart", client_id and key first'
        return facts
    try:
        key = signing_key(destination)
    except ConfigError as error:
        facts["key_problem"] = str(error)
        return facts
    if key is not None:
        facts |= {"kid": auth.key_id or key.kid, "jwks": {"keys": [key.public_jwk(auth.key_id)]}}
    return facts


def _of(types: list[str], scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes for those types alone."""
    return tuple(scope for scope in scopes if scope.removeprefix("system/").partition(".")[0] in types)


def _show(facts: dict[str, Any]) -> None:
    rows = [
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
    ]
    output.show((f"To register for {facts['destination']} (mode {facts['mode']})", "bold"))
    for name, text in rows:
        output.show("  ", (f"{name:<18}", output.QUIET), text)
    if facts["jwks"]:
        output.show("  ", (f"{'public key set':<18}", output.QUIET), "as below; the same as `hl7bridge keys jwks`")
        for line in json.dumps(facts["jwks"], indent=2).splitlines():
            output.show("    ", line)
    else:
        output.show("  ", (f"{'public key set':<18}", output.QUIET), "not yet: ", facts["key_problem"])
        output.show("  ", " " * 18, "make a key with `hl7bridge keys generate keys/NAME.pem`")
    output.show(("Until it goes live", "bold"))
    for line in facts["checklist"]:
        output.show("  [ ] ", line)


def _lines(name: str, values: list[str]) -> list[tuple[str, str]]:
    return [(name if not number else "", value) for number, value in enumerate(values)]
