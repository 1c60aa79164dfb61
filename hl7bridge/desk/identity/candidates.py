"""Who may be meant by a record, as destinations describe them: as they were when it was held, or as they stand now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from hl7bridge.assemble.choosing import destination_named
from hl7bridge.assemble.destinations import destination_of
from hl7bridge.config import Settings
from hl7bridge.destinations.candidates import Candidate as Candidate
from hl7bridge.destinations.defaults import plainly
from hl7bridge.destinations.protocol import Destination
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject
from hl7bridge.store.people.links import Quarantined


class Candidates:
    """The people of the destinations, asked for when needed: reads alone. A context manager: it closes what it opened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._destinations: dict[str, Destination] = {}

    def __enter__(self) -> Candidates:
        return self

    def __exit__(self, *_: object) -> None:
        for destination in self._destinations.values():
            destination.close()

    def at(self, name: str) -> Destination:
        """The destination. Raises ConfigError where there is none of that name."""
        if name not in self._destinations:
            self._destinations[name] = destination_of(destination_named(self._settings, name))
        return self._destinations[name]

    def is_configured(self, name: str) -> bool:
        """Whether there is such a destination; records may be held for one that was taken away since."""
        return name in self._settings.destinations

    def shown(self, name: str, person_id: str) -> str:
        """How people name somebody there: "Practitioner/42"."""
        return self.at(name).words.shown(person_id) if self.is_configured(name) else person_id

    def read(self, name: str, person_id: str) -> Candidate:
        """Somebody as they stand there. Raises ConfigError where there is nobody, Unreachable where that is not known."""
        found = self.at(name).read(person_id)
        if found is None:
            raise ConfigError(f"there is no {self.shown(name, person_id)} at {name}")
        return found

    def of(self, row: Quarantined) -> tuple[Candidate, ...]:
        """Those of a quarantined record, as the row has them."""
        return tuple(self.described(row.destination, summary) for summary in row.candidates)

    def described(self, name: str, summary: JsonObject) -> Candidate:
        """Of whom a summary was kept; of a destination that was taken away, what the summary says in plain."""
        if self.is_configured(name):
            return self.at(name).candidate(summary)
        return plainly(summary)

    def refreshed(self, row: Quarantined) -> Quarantined:
        """The record with its candidates as they stand now; those who are gone are left out. Raises Unreachable."""
        ids = [str(candidate["id"]) for candidate in row.candidates] or [row.linked]
        there = self.at(row.destination)
        found = (there.read(person_id) for person_id in ids if person_id)
        return replace(row, candidates=tuple(one.summary for one in found if one is not None))

    def everybody(self, name: str, count: Callable[[int], object] = bool) -> Iterator[Candidate]:
        """Everybody there; `count` is told of each. Raises Unreachable."""
        there = self.at(name)
        for person in there.roster():
            count(1)
            yield there.candidate(person)
