"""Examine destinations as deliveries would use them: what works, what does not, why, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.choosing import destinations_named
from hl7bridge.assemble.destinations import destination_of
from hl7bridge.assemble.ledger import effective_lag
from hl7bridge.assemble.stores import engine_of, opened
from hl7bridge.desk.deciding import Clock
from hl7bridge.destinations.examining import Diagnosis as Diagnosis
from hl7bridge.destinations.examining import State
from hl7bridge.errors import ConfigError, Hl7BridgeError

if TYPE_CHECKING:
    from hl7bridge.config import DestinationSettings, Settings
    from hl7bridge.destinations.policy import Policy


@dataclass(frozen=True, slots=True)
class Examined:
    """A destination, its mode, and what was found there step by step."""

    name: str
    mode: str
    diagnoses: tuple[Diagnosis, ...]

    @property
    def unreachable(self) -> bool:
        """Whether the server, or its token endpoint, can't be spoken to at all."""
        return any(one.unreachable for one in self.diagnoses)

    def data(self) -> dict[str, Any]:
        """For JSON, as in `doctor/1`."""
        return {"name": self.name, "mode": self.mode, "checks": [one.data() for one in self.diagnoses]}


def examine(
    settings: Settings,
    name: str = "",
    person: str = "",
    *,
    begun: Callable[[DestinationSettings], None] = lambda destination: None,
    told: Callable[[Diagnosis], None] = lambda diagnosis: None,
    clock: Clock = time.time,
) -> tuple[Examined, ...]:
    """Look at a destination; with "", at all. Nothing is written there.

    person       an identifier of somebody who is known to be there, "" = nobody is looked for
    begun, told  called with each destination, and with each of its diagnoses as soon as it is there
    Raises ConfigError for a destination that there is not.
    """
    found = []
    for destination in destinations_named(settings, name):
        begun(destination)
        diagnoses = []
        for one in _diagnoses(settings, destination, person, clock):
            diagnoses.append(one)
            told(one)
        found.append(Examined(destination.name, str(destination.mode), tuple(diagnoses)))
    return tuple(found)


def _diagnoses(settings: Settings, destination: DestinationSettings, person: str, clock: Clock) -> Iterator[Diagnosis]:
    with closing(destination_of(destination)) as there:
        yield from there.examine(person, clock=clock)
        yield from _index_lag(settings, destination, there.policy)


def _index_lag(settings: Settings, destination: DestinationSettings, policy: Policy) -> Iterator[Diagnosis]:
    """How far the server's searches lag behind, as this bridge's own creates have shown; nothing where none was measured."""
    try:
        with opened(settings) as store:
            measured = store.creations.index_lag(destination.name)
            waits = round(effective_lag(store, policy))
    except Hl7BridgeError:
        return  # there is no store yet, or what is wrong with it is told elsewhere
    if measured is None:
        return
    longest = round(measured.longest, 1)
    if measured.longest <= destination.index_lag:
        text = (
            f"a search finds what was created after {round(measured.latest, 1)} s at most (within a week {longest} s)"
        )
        text += f"; a create without an answer is sent again after {waits} s"
        yield Diagnosis("index", State.OK, "index-lag", text)
        return
    yield Diagnosis(
        "index",
        State.WARNING,
        "index-slow",
        f"a search finds what was created only after up to {longest} s, longer than index_lag",
        f"the server's search index lags behind; a create without an answer is sent again after {waits} s",
        (
            f"Set index_lag in {destination.file} to what the server needs.",
            "Ask the server's owner why its index lags.",
        ),
    )


def installation(location: str) -> Diagnosis:
    """Whether the store at a location runs on a database that may lose a commit. Raises ConfigError for no kind of store."""
    engine = engine_of(location)
    if not engine.flaw:
        return Diagnosis("store", State.OK, engine.code, engine.text)
    return Diagnosis("store", State.WARNING, engine.code, engine.text, engine.flaw, (engine.cure,))


def check_npi(npi: str) -> None:
    """Raises ConfigError for what can be no NPI: ten digits, the last one a Luhn check digit over 80840 and the rest."""
    digits = [int(character) for character in "80840" + npi if character in "0123456789"]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    if len(npi) != 10 or len(digits) != 15 or sum(doubled) % 10:
        raise ConfigError("is no NPI", key="--npi", advice="An NPI has ten digits, the last of them a check digit.")
