"""What `explain` wants to know of a translation: which field gave what, and which gave nothing, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from hl7bridge.model import Provenance


class Place(NamedTuple):
    """A field of one segment of the message."""

    segment: str
    occurrence: int
    number: int


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One thing that a field gave: an element's value, or ("" value) a decision."""

    place: Place
    element: str
    value: Any
    provenance: Provenance
    rule: str


class Trace:
    """What `explain` wants to know of a translation; the accept path has none."""

    def __init__(self) -> None:
        self.entries: list[TraceEntry] = []
        self.left: dict[Place, str] = {}
        self.read: set[Place] = set()  # by segment rules
        self.unmapped: list[tuple[str, str, str]] = []  # field, table, code
