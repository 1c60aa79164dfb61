"""Looks at a FHIR server as deliveries would use it, and says of each thing whether it is as it must be.

Read-only: `Watching` lets nothing but GET, `_search` and token requests leave, whatever the code above it asks for.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from hl7bridge.destinations.examining import State
from hl7bridge.destinations.fhir.examine.authorizing import TokenTrial
from hl7bridge.destinations.fhir.examine.reach import Observed, Watching, reach
from hl7bridge.destinations.fhir.identity.systems import NPI, canonical_system, names_of_system
from hl7bridge.destinations.fhir.rules import DestinationRules, SmartRules
from hl7bridge.destinations.fhir.wire.capabilities import READING, SEARCHED, WRITING, Capabilities, types_used, written
from hl7bridge.destinations.fhir.wire.client import FhirClient, next_link, token
from hl7bridge.destinations.fhir.wire.network import Network
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.fhir.wire.smart_auth import BackendServicesAuth
from hl7bridge.destinations.keys import SigningKey
from hl7bridge.model import JsonObject

SKEW_SEEN, SKEW_TOO_MUCH = 30.0, 120.0  # seconds
ROLES_A_PAGE = "50"


@dataclass(frozen=True, slots=True)
class ServerToProbe:
    """What is looked at: a destination, its authorization (None: it asks for no token), and, where somebody gave one,
    the NPI of a person who is known to be there."""

    rules: DestinationRules
    smart: SmartRules | None = None
    key: SigningKey | None = None
    npi: str = ""


def probe(subject: ServerToProbe, now: Callable[[], float] = time.time) -> Iterator[Observed]:
    """All checks of a destination, in the order of what depends on what; the first that makes the rest pointless ends it.

    Raises ConfigError for a `ca_file` that cannot be read.
    """
    rules = subject.rules
    reachable = True
    day = datetime.fromtimestamp(now(), UTC)
    for check in reach(rules, day):
        yield check
        reachable = check.state is not State.PROBLEM
    if not reachable:
        return
    watching = Watching(Network(rules), now)
    with closing(FhirClient(rules, transport=watching)) as client:
        reply = client.capabilities()
        if reply.resource is None:
            yield Observed("metadata", State.PROBLEM, _unanswered(reply, "metadata"), {"status": reply.status})
            if reply.kind is ReplyKind.UNREACHABLE:
                return
        yield from clock(watching.skew)
        offered = Capabilities.from_statement(reply.resource) if reply.resource else None
        smart = client.smart_configuration()
    if offered is not None:
        yield from offers(offered, rules)
    authorized: httpx.Auth | None = None
    if subject.smart is not None:
        if subject.key is None:
            yield Observed("search", State.SKIPPED, "no-token")
            return
        yield from smart_configuration(smart, subject.smart, subject.key.algorithm)
        trial = TokenTrial(subject.smart, subject.key, watching.skew, now)
        yield from trial.checks()
        if trial.source is None:
            yield Observed("search", State.SKIPPED, "no-token")
            return
        authorized = BackendServicesAuth(trial.source)
    watching = Watching(Network(rules), now)
    with closing(FhirClient(rules, authorized, transport=watching)) as client:
        yield from searches(client, subject.npi)


def clock(skew: float | None) -> Iterator[Observed]:
    """What the server's `Date` says about the two clocks. `skew`: seconds that the server is ahead, None = not said."""
    if skew is None:
        yield Observed("clock", State.SKIPPED, "no-date")
        return
    facts = {"seconds": round(abs(skew)), "ahead": skew > 0}
    if abs(skew) > SKEW_TOO_MUCH:
        yield Observed("clock", State.PROBLEM, "clock-off", facts)
    elif abs(skew) > SKEW_SEEN:
        yield Observed("clock", State.WARNING, "clock-drifts", facts)
    else:
        yield Observed("clock", State.OK, "clock", facts)


# --- what it says that it offers -------------------------------------------------------------------------------------


def offers(offered: Capabilities, rules: DestinationRules) -> Iterator[Observed]:
    """The CapabilityStatement against what the destination needs. What mode write would need is said, too."""
    version = offered.fhir_version
    state = State.OK if version.startswith("4.0") else State.PROBLEM
    code = "fhir-version" if state is State.OK else "other-fhir-version"
    yield Observed(
        "metadata", state, code, {"software": offered.software or "a server", "version": version or "unknown"}
    )
    for name in types_used(rules):
        yield from _type_offers(offered, rules, name)


def _type_offers(offered: Capabilities, rules: DestinationRules, name: str) -> Iterator[Observed]:
    of = offered.of(name)
    facts: dict[str, Any] = {"type": name}
    if name not in offered.resources:
        yield Observed(name, State.PROBLEM, "no-type", facts)
        return
    unreadable = [word.removesuffix("-type") for word in READING if not of.offers(word)]
    unwritable = [word for word in WRITING if not of.offers(word)]
    refused = set(unwritable) & set(written(rules))
    there = [word.removesuffix("-type") for word in (*READING, *WRITING) if of.offers(word)]
    facts |= {"offered": ", ".join(there) or "nothing", "reads": " and ".join(unreadable)}
    facts |= {"writes": " and ".join(unwritable)}
    if unreadable:
        yield Observed(name, State.PROBLEM, "not-readable", facts)
    if unwritable:
        yield Observed(name, State.PROBLEM if refused else State.OK, "not-writable", facts)
    if not unreadable and not unwritable:
        yield Observed(name, State.OK, "interactions", facts)
    if SEARCHED[name] not in of.search_parameters:
        yield Observed(name, State.WARNING, "parameter-not-declared", facts | {"parameter": SEARCHED[name]})
    if unwritable:
        return
    if of.versioning in ("versioned", "versioned-update"):
        yield Observed(name, State.OK, "versioned", facts)
    else:
        yield Observed(name, State.WARNING, "not-versioned", facts)
    if name == "Practitioner" and rules.conditional_create:
        yield Observed(name, State.OK, "conditional-create" if of.conditional_create else "plain-create", facts)


# --- authorization ---------------------------------------------------------------------------------------------------


def smart_configuration(reply: Reply, rules: SmartRules, algorithm: str) -> Iterator[Observed]:
    """What `.well-known/smart-configuration` says, against what is configured."""
    subject = "smart-configuration"
    read = reply.resource
    if read is None:
        state = State.OK if rules.token_url else State.PROBLEM
        yield Observed(subject, state, "no-smart-but-url" if rules.token_url else "no-smart", {"status": reply.status})
        return
    endpoint = read.get("token_endpoint")
    endpoint = endpoint if isinstance(endpoint, str) else ""
    facts = {"endpoint": endpoint, "configured": rules.token_url, "algorithm": algorithm}
    if rules.token_url and endpoint and endpoint != rules.token_url:
        yield Observed(subject, State.WARNING, "other-token-endpoint", facts)
    else:
        yield Observed(subject, State.OK, "smart", facts | {"endpoint": endpoint or rules.token_url})
    algorithms = read.get("token_endpoint_auth_signing_alg_values_supported")
    if isinstance(algorithms, list) and algorithms and algorithm not in algorithms:
        taken = ", ".join(word for word in algorithms if isinstance(word, str))
        yield Observed(subject, State.PROBLEM, "algorithm-not-taken", facts | {"taken": taken})


# --- searches --------------------------------------------------------------------------------------------------------


def searches(client: FhirClient, npi: str = "") -> Iterator[Observed]:
    """Each search that deliveries make, with a value that nobody has; then pages; then a known NPI."""
    nobody = f"0{secrets.randbelow(10**9):09d}"  # no NPI begins with 0
    used = types_used(client.rules)
    people = client.page("Practitioner", [("_count", "1")])
    shown = bool(people.resources)
    yield from searched(client.page("Practitioner", [("identifier", token(NPI, nobody))]), "identifier", shown)
    if "PractitionerRole" in used:
        asked = [("practitioner", f"hl7bridge-{nobody}"), ("_count", ROLES_A_PAGE)]
        reply = client.page("PractitionerRole", asked)
        yield from searched(reply, "practitioner", shown, "PractitionerRole")
    yield from _pages(client, people)
    if npi:
        yield from _npi(client, npi, nobody)


def searched(reply: Reply, parameter: str, shown: bool, name: str = "Practitioner") -> Iterator[Observed]:
    """Whether a search for nobody found nobody. `shown`: the server has people to show at all."""
    facts = {"type": name, "parameter": parameter, "status": reply.status, "count": len(reply.resources)}
    subject = f"search {name}?{parameter}"
    if not reply.done:
        yield Observed(subject, State.PROBLEM, _unanswered(reply, "search"), facts)
    elif reply.resources:
        yield Observed(subject, State.PROBLEM, "search-ignored", facts)
    else:
        yield Observed(subject, State.OK, "search" if shown else "search-untold", facts)


def _pages(client: FhirClient, first: Reply) -> Iterator[Observed]:
    subject = "pages"
    if not first.done or first.resource is None:
        yield Observed(subject, State.SKIPPED, "pages-untold", {"status": first.status})
        return
    facts = {"count": len(first.resources)}
    if len(first.resources) > 1:
        yield Observed(subject, State.WARNING, "count-ignored", facts)
    link = next_link(first.resource)
    if not link:
        if len(first.resources) < 2:
            yield Observed(subject, State.OK, "one-page", facts)
        return
    following = client.page("Practitioner", link=link)
    if following.detail == "foreign-link":
        yield Observed(subject, State.PROBLEM, "foreign-link", facts)
    elif not following.done:
        yield Observed(subject, State.PROBLEM, "next-page-fails", facts | {"status": following.status})
    elif len(first.resources) < 2:
        yield Observed(subject, State.OK, "pages", facts)


def npi_tokens(npi: str) -> str:
    """The value of one `identifier` search for an NPI under every name of its system, as deliveries ask."""
    return ",".join(token(system, npi) for system in names_of_system(NPI))


def carriers(resources: tuple[JsonObject, ...], npi: str) -> tuple[JsonObject, ...]:
    """Those of the resources that carry the NPI, under whatever system."""
    return tuple(one for one in resources if any(item.get("value") == npi for item in _identifiers(one)))


def _identifiers(resource: JsonObject) -> list[JsonObject]:
    items = resource.get("identifier")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _npi(client: FhirClient, npi: str, nobody: str) -> Iterator[Observed]:
    reply = client.page("Practitioner", [("identifier", npi_tokens(npi))])
    subject = "NPI"
    facts: dict[str, Any] = {"status": reply.status, "count": len(reply.resources)}
    if not reply.done:
        yield Observed(subject, State.PROBLEM, _unanswered(reply, "search"), facts | {"type": "Practitioner"})
        return
    found = carriers(reply.resources, npi)
    facts["found"] = len(found)
    if len(found) < len(reply.resources):
        yield Observed(subject, State.PROBLEM, "npi-ignored", facts)
    elif len(found) > 1:
        yield Observed(
            subject, State.PROBLEM, "npi-several", facts | {"ids": ", ".join(str(one["id"]) for one in found[:5])}
        )
    elif found:
        yield Observed(subject, State.OK, "npi-found", facts | {"id": found[0]["id"]})
        yield from _joined(client, npi, nobody)
    else:
        yield _npi_elsewhere(client, npi, facts)


def _joined(client: FhirClient, npi: str, nobody: str) -> Iterator[Observed]:
    """Deliveries ask for all identifiers of a person at once: are they found among values that nobody has?"""
    reply = client.page("Practitioner", [("identifier", f"{token(NPI, nobody)},{npi_tokens(npi)}")])
    if not (reply.done and carriers(reply.resources, npi)):
        yield Observed("NPI", State.PROBLEM, "no-joined-search", {"status": reply.status})


def _npi_elsewhere(client: FhirClient, npi: str, facts: dict[str, Any]) -> Observed:
    """Not found as an NPI: perhaps it is held under a system of the site's own."""
    found = carriers(client.page("Practitioner", [("identifier", npi)]).resources, npi)
    held = {str(i.get("system") or "none") for one in found for i in _identifiers(one) if i.get("value") == npi}
    other = sorted(system for system in held if canonical_system(system) != NPI)
    if not other:
        return Observed("NPI", State.WARNING, "npi-not-found", facts)
    return Observed("NPI", State.PROBLEM, "npi-other-system", facts | {"systems": ", ".join(other[:3])})


def _unanswered(reply: Reply, what: str) -> str:
    """A code for why there is no usable answer."""
    words = {
        ReplyKind.AUTH: "unauthorized",
        ReplyKind.FORBIDDEN: "forbidden",
        ReplyKind.UNREACHABLE: "unreachable",
        ReplyKind.REDIRECT: "redirected",
        ReplyKind.TRANSIENT: "later",
        ReplyKind.NOT_FOUND: "not-there",
        ReplyKind.DISABLED: "not-there",
    }
    if reply.detail == "not-fhir":
        return f"{what}-not-fhir"
    return f"{what}-{words.get(reply.kind, 'refused')}"
