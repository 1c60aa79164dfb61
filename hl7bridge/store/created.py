"""What was created and is to be looked for: the rows, and the part of a store that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hl7bridge.model import Task


@dataclass(frozen=True, slots=True)
class SecondLook:
    """A resource that was created, and is to be looked for. Times are Unix seconds.

    until  when a look is the last one that finds it, at the earliest
    looks  how many looks have not found it
    """

    resource_type: str
    resource_id: str
    person_id: str
    feed: str
    source_key: str
    message_id: int
    delivery_id: int
    created: float
    until: float
    looks: int


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look showed of one: whether a search found it (None = the server did not say), and the task where it found a
    second one."""

    look: SecondLook
    found: bool | None
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class IndexLag:
    """How long after a create a search found it: in the latest measurement, and at most within a week. Seconds."""

    latest: float
    longest: float
    at: float


class CreateStore(Protocol):
    """The part of a store that knows what was created. Times are Unix seconds."""

    def second_looks(self, destination: str, now: float, limit: int) -> list[SecondLook]:
        """What is to be looked for now, of one resource type, the longest due first."""

    def looked(self, destination: str, looks: Sequence[Looked], now: float) -> None:
        """Keep what a search showed of each, and when it is looked for next, if it is."""

    def index_lag(self, destination: str) -> IndexLag | None:
        """What was measured; None = nothing so far."""
