"""People at a destination, as whoever sees them has to say whom a record is about.

Every kind describes them with these values: a terminal, a page and a JSON answer can all show them. Reads alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from hl7bridge.model import JsonObject, StaffChange, StaffIdentifier


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that tells people apart, in words: ("birth date", "1970-05-01")."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Carried:
    """An identifier that somebody carries; `note`: what is said of it ("old"), "" = nothing."""

    system: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody at a destination whom a record may be about.

    person_id    their id there; `shown`: how people name them, "Practitioner/42"
    facts        what they are told apart by, in the order of reading; nothing that is not known
    identifiers  those that may be shown
    keys         (system, value) of every identifier, each system by its one name: who shares one may be one person
    summary      the same as data, with "id": it is kept with what is held, and given as JSON
    """

    person_id: str
    shown: str
    facts: tuple[Fact, ...] = field(default=(), repr=False)
    identifiers: tuple[Carried, ...] = field(default=(), repr=False)
    keys: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)
    summary: JsonObject = field(default_factory=dict, repr=False)


class Identifying(Protocol):
    """The part of a destination that a person speaks to who says whom records are about."""

    @property
    def person_type(self) -> str:
        """The type under which what stands for a person is written there (see `hl7bridge.model.Written`)."""

    def is_id(self, text: str) -> bool:
        """Whether a text may be an id of this destination."""

    def candidate(self, person: JsonObject) -> Candidate:
        """Somebody as `roster` gives them, or of whom a `summary` was kept. Asks no server."""

    def read(self, person_id: str) -> Candidate | None:
        """Somebody as they stand there now, None = nobody has that id. Raises Unreachable where that is not known."""

    def bears(self, candidate: Candidate, key: StaffIdentifier) -> bool:
        """Whether somebody carries a staff key, as one that is in force. Asks no server."""

    def differences(self, change: StaffChange, candidate: Candidate) -> tuple[str, ...]:
        """What clearly tells the record's person from the candidate, in words ("family name"). Asks no server."""
