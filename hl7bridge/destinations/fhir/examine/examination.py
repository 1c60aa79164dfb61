"""The whole examination of a FHIR server: certificates and key, then the server as deliveries would use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hl7bridge.destinations.examining import Diagnosis, State
from hl7bridge.destinations.fhir.examine.credentials import Credentials
from hl7bridge.destinations.fhir.examine.probe import ServerToProbe, probe
from hl7bridge.destinations.fhir.examine.reach import Observed
from hl7bridge.destinations.fhir.examine.words import diagnosis
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.keys import SigningKey
from hl7bridge.errors import ConfigError

DAY = 86400


def examine(
    rules: DestinationRules, credentials: Credentials, npi: str, clock: Callable[[], float]
) -> Iterator[Diagnosis]:
    """All steps, in the order of what depends on what. `npi`: of a person who is known to be there, "" = nobody's."""
    for seen in _observed(rules, credentials, npi, clock):
        yield diagnosis(seen, rules.name, credentials.file)


def _observed(
    rules: DestinationRules, credentials: Credentials, npi: str, clock: Callable[[], float]
) -> Iterator[Observed]:
    key = None
    try:
        credentials.trust()
    except ConfigError as error:
        yield Observed("tls", State.PROBLEM, "key-unusable", {"problem": error.problem, "advice": error.advice})
        return
    try:
        key = credentials.key()
    except ConfigError as error:
        place = f"{error.key}: " if error.key else ""
        facts = {"problem": place + error.problem, "advice": error.advice or "Correct it."}
        yield Observed("key", State.PROBLEM, "key-unusable", facts)
    else:
        yield from _key(credentials, key, clock())
    yield from probe(ServerToProbe(rules, credentials.smart, key, npi), clock)


def _key(credentials: Credentials, key: SigningKey | None, now: float) -> Iterator[Observed]:
    kept = credentials.kept
    if key is None or kept is None:
        yield Observed("key", State.OK, "no-auth")
        return
    facts: dict[str, Any] = {"algorithm": key.algorithm, "kid": credentials.key_id or key.kid}
    age = kept.age(now)
    if age is None:
        yield Observed("key", State.OK, "key-undated", facts)
    else:
        facts |= {"age": int(age // DAY), "limit": f"{credentials.key_max_age / DAY:g}"}
        old = credentials.key_is_old(now)
        yield Observed("key", State.WARNING if old else State.OK, "key-old" if old else "key", facts)
    if exposure := kept.exposure():
        yield Observed("key", State.WARNING, "key-exposed", {"problem": exposure})
