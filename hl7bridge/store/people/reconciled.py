"""Reconciliations and whole files: the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hl7bridge.model import StaffChange


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
