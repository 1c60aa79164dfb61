"""What was created and is to be looked for: the rows."""

from __future__ import annotations

from dataclasses import dataclass

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
