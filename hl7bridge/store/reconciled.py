"""What the rest may ask of the store about reconciliations: the part of `Store` that compares source and servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hl7bridge.model import StaffChange, Task
from hl7bridge.model.discrepancy import Discrepancy, SourcePerson


@dataclass(frozen=True, slots=True)
class Verified:
    """How a person stood at the server when it was read. `active` None: nobody was there. `at`: Unix seconds."""

    feed: str
    source_key: str
    resource_id: str
    active: bool | None
    at: float


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A run over the people of a destination. Times in Unix seconds; `reconciliation_id` 0 = not kept yet.

    feed     "" = of every feed
    scanned  the server's whole roster was read, for people whom the source does not know
    counts   kind of discrepancy -> number
    problem  why it ended early, "" = everybody was compared
    """

    destination: str
    began: float
    ended: float
    people: int
    feed: str = ""
    scanned: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    reconciliation_id: int = 0


@dataclass(frozen=True, slots=True)
class FullFile:
    """A message that replaces its whole file (MFI-3 REP). `part`: why it is not the whole file, "" = it is.

    records, failed, pending, unsettled: of its records, how many there are, could not be read, are on their way to a server,
    wait for a person or were refused there. `decision` "" = not compared yet.
    """

    message_id: int
    feed: str
    received: float
    part: str
    records: int
    failed: int
    pending: int
    unsettled: int
    decided: float = 0.0
    decision: str = ""
    known: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class HeldEnd:
    """A deactivation to hold for a person: the change, and for each destination its lane keys."""

    change: StaffChange
    lanes: Mapping[str, tuple[str, ...]]


class ReconcileStore(Protocol):
    """The part of a store that reconciliation needs. Times are Unix seconds."""

    def people(self, destination: str, feed: str = "") -> list[tuple[str, str]]:
        """(feed, source key) of everybody whom this bridge knows for a destination, sorted."""

    def source_person(self, destination: str, feed: str, source_key: str) -> SourcePerson:
        """One of them, as the destination should have them."""

    def keep_reconciliation(
        self,
        run: Reconciliation,
        found: Sequence[Discrepancy],
        verified: Sequence[Verified],
        *,
        task: Task | None = None,
    ) -> int:
        """Keep a run and what it found; returns its id. `task`: opened unless one of its kind is open for that destination.
        Of each destination the latest runs are kept."""

    def keep_verified(self, destination: str, verified: Sequence[Verified]) -> None:
        """Keep how people stood, outside a run of all."""

    def last_reconciliation(self, destination: str) -> tuple[Reconciliation, list[Discrepancy]] | None:
        """The latest run and its findings; None = there was none."""

    def access_review(self, destination: str, feed: str = "") -> list[dict[str, Any]]:
        """For each person that `people` lists: feed, source_key, person_id, active_at_server (None = not looked at, or
        nobody there), verified, last_message; deactivated and asked: when the latest deactivation was received and
        verified, 0 = none. What the source says is `source_person`'s."""

    def full_files(self, message_id: int = 0) -> list[FullFile]:
        """Whole-file messages that are not compared yet, oldest first; or the one of that id."""

    def decide_full_file(
        self,
        file: FullFile,
        decision: str,
        missing: Sequence[str],
        known: int,
        now: float,
        *,
        hold: Sequence[HeldEnd] = (),
        text: str = "",
        task: Task | None = None,
    ) -> bool:
        """Keep what became of a file, who of its feed is absent, and the held deactivations, all in one transaction. False
        when another process was first."""

    def missing_of(self, message_id: int) -> list[tuple[str, int]]:
        """(source key, id of the held deactivation or 0) of the people absent from a file."""

    def keys_of(self, message_id: int) -> set[str]:
        """The source keys of a message's records."""
