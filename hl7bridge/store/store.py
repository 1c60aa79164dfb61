"""What the rest may ask of the durable middle: the `Store` interface and the rows that cross it.

Promises that every implementation keeps:

- `accept` returns after the transaction is synced to disk; a positive acknowledgment may leave only then.
- A history row is written in the same transaction as the state that it explains.
- A duplicate (same feed, MSH-3/4/10 and bytes, within the window) whose first answer was positive or is pending has no
  second effect. A negative answer is never replayed: the message is taken afresh and linked to the first.
- Deliveries of one lane (destination, key) are handed out one at a time, in order of commit.
- A settlement counts only while its claim holds: (owner, expiry, fencing number) are checked in the same transaction.

The store knows neither HL7 nor FHIR nor Twisted: keys, codes and bodies are opaque to it. Times are Unix seconds (float),
passed in by the caller, so that tests need no sleep. All methods block; one `Store` object belongs to one thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from hl7bridge.model import DeliveryState as DeliveryState
from hl7bridge.model import Known, Outcome, Record, RecordEcho, Result, StaffChange, Task, Written
from hl7bridge.model.ordering import CLOCK_TOLERANCE
from hl7bridge.store.created import CreateStore
from hl7bridge.store.dropped import DropStore
from hl7bridge.store.jobs import JobStore
from hl7bridge.store.linking import LinkStore
from hl7bridge.store.reconciled import ReconcileStore
from hl7bridge.store.restoring import RestoreStore


class MessageState(StrEnum):
    """Where a message stands (its own leg; what the sender was told is in its acknowledgments)."""

    ACCEPTED = "accepted"  # stored, all or some records will be delivered
    REFUSED = "refused"  # answered negatively; bytes kept (staff messages), nothing is delivered
    DUPLICATE = "duplicate"  # the same message again: answered like the first, no effect
    IGNORED = "ignored"  # not ours and not refused: counted
    COUNTED = "counted"  # there is nothing to do in it, as in nearly every patient message: a row alone, for some days
    WITHDRAWN = "withdrawn"  # refused after the deadline; what had not been sent is withdrawn


class AcknowledgmentState(StrEnum):
    """An acknowledgment owed to a sender."""

    PENDING = "pending"  # due when outcomes are known
    OWED = "owed"  # built and committed, not yet handed to a socket
    SENT = "sent"  # handed to the sender's connection
    NOT_SENT = "not sent"  # the connection was gone
    NONE = "none"  # MSH-15/16 or MFI-6 ask for none; kept so that a duplicate gets none either


class Released(StrEnum):
    """What became of a release."""

    QUEUED = "queued"
    NOT_HELD = "not held"  # ended, released or never held
    OVERTAKEN = "overtaken"  # a newer change of the same person waits or is being delivered


def same_person(one: str, other: str) -> bool:
    """Whether two accounts are of one person: `root (sudo: ana)` is ana, so is `ana (by console)`. Who asked over a feed
    ("") is nobody."""
    names = [_BY_WHICH_WAY.sub("", account).removesuffix(")").rpartition("(sudo: ")[2] for account in (one, other)]
    return bool(names[0]) and names[0] == names[1]


_BY_WHICH_WAY = re.compile(r" \(by [^()]*\)$")


class Braked(StrEnum):
    """Whether a delivery may end a person."""

    FREE = "free"
    HELD = "held"
    TOLD = "told"  # held, the first within an hour: tell people


OPEN_LANE = (DeliveryState.QUEUED, DeliveryState.CLAIMED, DeliveryState.RETRY, DeliveryState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Acknowledgment:
    """An acknowledgment to keep. `kind`: "original", "accept" or "application". `positive`: AA or CA. `body` = bytes as
    sent, b"" while pending. `due`: Unix seconds by which a pending one must be answered, 0 = no limit."""

    kind: str
    state: AcknowledgmentState
    code: str = ""
    positive: bool = False
    body: bytes = b""
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A change for one destination. `lane` = opaque keys, one per identifier. `not_before` > 0: scheduled.

    `order_time`: ISO 8601 UTC text that the stale rule compares ("" = order of arrival): the effective time for a
    scheduled change, else the earlier of MSH-7 and receipt, where MSH-7 has seconds and is one instant. Compared as UTC,
    whatever its offset and digits.
    """

    destination: str
    lane: tuple[str, ...]
    not_before: float = 0.0
    order_time: str = ""


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record of a message and the deliveries that it leads to (none when it failed or has nothing to do)."""

    record: Record
    deliveries: tuple[NewDelivery, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """Some records of a message of very many, packed (`arriving.pack`): how many, and how many deliveries to each
    destination."""

    records: int
    deliveries: Mapping[str, int]
    content: bytes


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to accept. `body` is None where the bytes must not reach the disk (ADT, or what can't be told apart).

    `digest`: hash of the original bytes (keyed for ADT). `duplicate_window` in seconds, 0 = no duplicate rule (replay).
    `header`: MSH-3 to MSH-12 by name, for lists: sending_application, sending_facility, message_type, trigger_event,
    control_id, version, message_time.
    `recheck`: seconds for which a mention (`StaffChange.only_if_missing`) of a person about whom the destination was asked
    leads to no delivery. `keep_answers` False: bodies of acknowledgments stay off the disk (they echo a doubtful header).
    `parts`: further records behind `records`, of a message that has too many for one transaction.
    """

    feed: str
    received: float
    header: Mapping[str, str]
    digest: bytes
    size: int
    body: bytes | None
    state: MessageState
    records: tuple[NewRecord, ...] = ()
    acknowledgments: tuple[Acknowledgment, ...] = ()
    duplicate_window: float = 0.0
    mapping_version: str = ""
    peer: str = ""
    replay_of: int = 0
    note: str = ""
    force: bool = False  # replay --force: the stale rule does not apply
    requested_by: str = ""  # the account of the person who asked for it; "" = it came over the feed
    recheck: float = 0.0
    keep_answers: bool = True
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What `accept` did with one message.

    `duplicate_of` > 0: nothing was done; `acknowledgments` are those of the first (wait while one is pending).
    `repeat_of` > 0: same MSH-3/4/10 as that earlier message but processed (its answer was negative, or the content is
    new: `same_content` tells which).
    """

    message_id: int
    duplicate_of: int = 0
    repeat_of: int = 0
    same_content: bool = False
    acknowledgments: tuple[Acknowledgment, ...] = ()


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery handed to a worker, with what the store knows of the person. `fence` goes back in the settlement.

    `approved`: it was held, and a person released it.
    """

    delivery_id: int
    message_id: int
    position: int
    feed: str
    destination: str
    change: StaffChange
    known: Known
    fence: int
    force: bool = False
    approved: bool = False


@dataclass(frozen=True, slots=True)
class Reported:
    """A delivery that was only reported. `place`: its order. `overtaken`: a younger change of the person was applied since,
    and leaves nothing to do for it."""

    delivery_id: int
    message_id: int
    place: int
    feed: str
    source_key: str
    change: StaffChange
    order_time: str
    force: bool
    overtaken: bool


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an attempt ended. `state`: ENDED, RETRY, UNKNOWN, HELD or QUEUED (given back); `next_attempt` in Unix seconds.

    `pause`: a reason when the whole destination must wait until `pause_until` (token refused, 401); `pause_until` 0 =
    until a person resumes it. `look_after`: seconds after which what was created is looked for, and for a second one."""

    claimed: Claimed
    outcome: Outcome
    state: DeliveryState
    next_attempt: float = 0.0
    pause: str = ""
    pause_until: float = 0.0
    look_after: float = 60.0


@dataclass(frozen=True, slots=True)
class RecordStatus:
    """One record of a message as the acknowledgment needs it: its echo, and per destination how delivery stands."""

    position: int
    record: Record
    deliveries: Mapping[str, DeliveryStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """State, result and error of one delivery. `ended` = Unix seconds at which it settled, 0 while open."""

    delivery_id: int
    state: DeliveryState
    result: Result | None = None
    code: str = ""
    local: str = ""
    text: str = ""
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class PendingAcknowledgment:
    """An acknowledgment that waits for outcomes. `body` of the message is read with `Store.body`. `is_open`: some delivery
    of the message is neither ended, held nor scheduled."""

    acknowledgment_id: int
    message_id: int
    feed: str
    kind: str
    due: float
    is_open: bool = False


class Store(CreateStore, DropStore, JobStore, LinkStore, ReconcileStore, RestoreStore, Protocol):
    """The durable middle. See the module docstring for what each implementation promises."""

    # -- accept (the listener's writer thread) --
    def accept(self, messages: Sequence[NewMessage], now: float) -> list[Accepted]:
        """Commit all of them in one transaction, in order. Raises StoreError: then nothing of it is stored."""

    def known_practitioners(self, feed: str, since: float) -> list[tuple[str, str, float]]:
        """(destination, source key, when it was asked about) of the people whom patient messages of the feed named and about
        whom a destination was asked since then."""

    def acknowledged(self, message_id: int, kind: str, acknowledgment: Acknowledgment, now: float) -> None:
        """Record what was answered (a pending one that was built) or what became of it (sent, not sent)."""

    def mark_sent(self, message_ids: Iterable[int], kind: str, state: AcknowledgmentState, now: float) -> None:
        """Group form for acknowledgments whose body is stored already."""

    def pending_acknowledgments(self) -> list[PendingAcknowledgment]:
        """All that still wait for outcomes, oldest first (after a restart, too)."""

    def acknowledgments(self, message_id: int) -> tuple[Acknowledgment, ...]:
        """Every acknowledgment of a message, as it stands (of the first, where the message is a duplicate)."""

    def statuses(self, message_ids: Sequence[int]) -> dict[int, list[RecordStatus]]:
        """Records of each message in order, with how their deliveries stand."""

    def withdraw(self, message_id: int, now: float) -> bool:
        """Withdraw every delivery of the message of which nothing can have reached a server. True when that is all of
        them; one that is claimed, of unknown result, or written in part goes on."""

    # -- delivery --
    def join(self, owner: str, seconds: float, now: float) -> None:
        """Register a worker process; its claims hold until now + seconds unless renewed."""

    def renew(self, owner: str, seconds: float, now: float) -> bool:
        """Extend the worker's claims. False when the lease had ended already: stop working, join again."""

    def leave(self, owner: str, now: float, begun: Collection[int] = ()) -> None:
        """End the lease and give back what is claimed. `begun`: ids of deliveries whose attempt was cut off; those are
        handed out again as ambiguous, the others as they were."""

    def claim(
        self,
        destination: str,
        owner: str,
        limit: int,
        now: float,
        lane_of: Callable[[StaffChange, str], tuple[str, ...]] | None = None,
        clock_tolerance: float = CLOCK_TOLERANCE,
        told: Callable[[int, int], None] = lambda delivery_id, message_id: None,
    ) -> list[Claimed]:
        """Hand out due deliveries whose lanes are free, in order of commit, leavers' lanes first.

        Promotes due scheduled ones first. Deliveries of an owner whose lease ended are handed out again, marked
        `known.ambiguous`. A stale one (order_time older than the last applied for that feed and key by
        `clock_tolerance` seconds or more) is ended here, with its result, history and, of a lifecycle change, a task; it is
        not handed out, and `told(delivery id, message id)` hears of it. One that is older by less is `known.late`. Nothing
        while the destination is paused. `lane_of(change, feed)` computes a candidate's lane under current settings. Raises
        ClaimLost when the owner holds no lease.
        """

    def settle(self, settlements: Sequence[Settlement], now: float) -> list[int]:
        """Record outcomes, crosswalk, bases, tasks and history in one transaction; returns the ids of deliveries whose
        claim was lost (nothing of those was recorded)."""

    def written_by(self, destination: str, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        """What every feed of this bridge wrote to that resource."""

    def known(self, destination: str, feed: str, source_key: str) -> Known:
        """What a claim would hand out of that person: the crosswalk's id and what the feed wrote. For a dry run."""

    def may_end(self, claimed: Claimed, per_hour: int, share_of_file: float, now: float) -> Braked:
        """Whether this delivery may end its person now, by the number that did in the last hour at that destination, and
        by the share (percent) of a message of 20 records and more. 0 = no limit. Counts over processes and restarts."""

    def next_due(self, destination: str, now: float) -> float | None:
        """Unix seconds at which something may become claimable (scheduled, retry, pause, foreign lease), None = nothing."""

    # -- modes --
    def ran_as(self, destination: str) -> dict[str, Any] | None:
        """What was remembered of the destination's last run; None = it never ran."""

    def remember_ran_as(self, destination: str, settings: dict[str, Any], now: float) -> None:
        """Remember as what the destination runs: JSON that the store does not look into."""

    def has_reported(self, destination: str) -> bool:
        """Whether anything was reported there, and not queued since."""

    def reported(
        self, destination: str, after: int = 0, limit: int = 1000, *, clock_tolerance: float = CLOCK_TOLERANCE
    ) -> list[Reported]:
        """What was reported there, in order of place, from behind place `after`."""

    def go_live(
        self, destination: str, deliveries: Sequence[int], now: float, *, who: str, reason: str
    ) -> Iterator[int]:
        """Queue again what was reported, each at its old place: before all that came since. One that was applied since
        ends as superseded. Yields how many are done so far; the destination must be paused meanwhile."""

    def latches(self, destination: str) -> dict[str, str]:
        """Interaction ("Practitioner create") -> what the server said; changes that need it are held."""

    def latch(self, destination: str, operation: str, text: str, now: float) -> bool:
        """Ask for that interaction no more. True for the first who says so: who tells people."""

    def unlatch(self, destination: str, now: float, *, who: str, note: str) -> list[str]:
        """Ask for all of them again; returns those that were latched."""

    # -- people --
    def messages(
        self,
        *,
        feed: str = "",
        control_id: str = "",
        state: str = "",
        source_key: str = "",
        since: float = 0.0,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Newest first: id, received, feed, header fields, state, note, records, acknowledgment code, open deliveries,
        duplicate_of, repeat_of, replay_of. Each filter that is given narrows the list. Messages that are only counted are
        listed by state or control id alone."""

    def message(self, message_id: int) -> dict[str, Any] | None:
        """One message with records, deliveries (outcome, differences), acknowledgments, tasks and history."""

    def body(self, message_id: int) -> bytes | None:
        """The bytes as received; None where they were not kept."""

    def counts(self) -> dict[str, Any]:
        """How much there is: "messages" {state: n}, "deliveries" {destination: {state or result: n}},
        "pending_acknowledgments" n, "tasks" n open, "paused" {destination: reason}."""

    def paused(self) -> dict[str, str]:
        """The destinations that are paused, and why: the part of `counts` that costs nothing, for frequent looks."""

    def pauses(self) -> dict[str, dict[str, Any]]:
        """By destination: reason, since, until (0 = until a person resumes it), who, note."""

    def pause(
        self,
        destination: str,
        reason: str,
        now: float,
        *,
        who: str = "",
        note: str = "",
        task: Task | None = None,
        until: float = 0.0,
    ) -> bool:
        """Pause a destination until a person resumes it (or `until`), and open the task that says so. False, and nothing is
        done, when it is paused so already, or for longer: whoever gets True tells people, once."""

    def resume(self, destination: str, now: float, *, who: str = "", note: str = "") -> bool:
        """End a destination's pause, and the open tasks whose kind is its reason. False when it was not paused."""

    def holds(
        self,
        *,
        delivery_id: int = 0,
        destination: str = "",
        feed: str = "",
        local: str = "",
        source_key: str = "",
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Held deliveries in the order in which they came: id, message_id, position, destination, feed, source_key,
        action, code, local, text, http_status, person_id, attempts, since."""

    def export(
        self, path: Path, *, bodies: bool = False, told: Callable[[str, int], None] | None = None
    ) -> dict[str, int]:
        """Write what people query into a new SQLite file; returns the rows of each table."""

    def hold_causes(
        self, *, destination: str = "", feed: str = "", local: str = "", source_key: str = ""
    ) -> dict[str, int]:
        """How many deliveries are held for each cause, the most frequent first."""

    def release(
        self,
        delivery_id: int,
        now: float,
        *,
        who: str,
        reason: str,
        change: StaffChange | None = None,
        lane: Sequence[str] = (),
        approves: bool = True,
    ) -> Released:
        """Put a held delivery back into its lane, at the end, as new and approved. `change`: the record translated again,
        with its lane; None = it goes as it was stored. Not approved where `approves` is False, or `who` asked for the
        change: then it is tried again as it was."""

    def discard(self, delivery_id: int, now: float, *, who: str, reason: str) -> bool:
        """End a held delivery as withdrawn. False when it is not held (any more)."""

    def tasks(
        self,
        *,
        task_id: int = 0,
        state: str = "",
        kind: str = "",
        destination: str = "",
        owner: str = "",
        source_key: str = "",
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Oldest first: id, opened, kind, title, steps, feed, source_key, destination, message_id, delivery_id, state, due,
        closed (Unix seconds, 0 = none), closed_by, evidence, owner, told, by_facts; items: for each step its number, text,
        fact, gate, state (open, done, verified), changed, who, evidence; blocked_by: the numbers of open gates."""

    def finish_task(self, task_id: int, now: float, *, who: str, evidence: str) -> bool:
        """Close an open task as done, with the steps that are open. False when it is not open (any more), or a step that
        the others wait for is."""

    def finish_item(self, task_id: int, number: int, now: float, *, who: str, evidence: str) -> bool:
        """Close one step of an open task, and the task with its last one. False when it is not open (any more), or waits
        for another step."""

    def assign_task(self, task_id: int, owner: str, now: float, *, who: str) -> bool:
        """Give an open task to somebody. False when it is not open (any more)."""

    def word_tasks(self, wording: Callable[[Task, Any], Task]) -> None:
        """Let tasks that this store opens be worded so (see `tasking.Subject`)."""

    def watch_leavers(self, destination: str, task: Task, now: float) -> int:
        """Open `task` for each person whose end was asked for more than `task.due_within` seconds ago and is not done. One
        a person; it is due at once. Returns how many were opened."""

    def verify(
        self, destination: str, feed: str, source_key: str, facts: Collection[str], evidence: str, now: float
    ) -> None:
        """Close the steps of a person's open tasks that wait for one of these facts. `evidence`: what showed it."""

    def overdue_tasks(self, destination: str, now: float) -> list[dict[str, Any]]:
        """Open tasks of which people are to be told now, each once for each state of escalation, over processes and
        restarts: id, kind, due, told (how often by now)."""

    def tell_once(self, destination: str, kind: str, now: float, every: float, task: Task | None = None) -> bool:
        """Whether people are to be told of this, for they were not within `every` seconds; opens the task that says so."""

    # -- the configuration in force --
    def ask_reload(self, who: str, now: float) -> int:
        """Ask the listener to read the configuration again; returns the request's id."""

    def reload_asked(self) -> int:
        """The request that waits for an answer; 0 = none."""

    def answer_reload(self, request: int, accepted: bool, report: dict[str, Any], now: float) -> None:
        """Answer a request, and every older one that waits."""

    def withdraw_reload(self, request: int) -> bool:
        """Take back a request that nobody answered. False when it was answered after all."""

    def reloads(self, *, request: int = 0, limit: int = 20) -> list[dict[str, Any]]:
        """Newest first: id, asked, who, answered (0 = not yet), accepted, report."""

    def secret(self, name: str) -> bytes:
        """A random key of 32 bytes, made once per store (the keyed hash of ADT duplicates)."""

    def check_files(self) -> None:
        """See that what the store is kept in is still what was opened. Raises StoreError when it is not: then nothing is
        accepted any more until the service is started again."""

    def close(self) -> None:
        """Close the connection; a second call does nothing."""


__all__ = [
    "OPEN_LANE",
    "Accepted",
    "Acknowledgment",
    "AcknowledgmentState",
    "Braked",
    "Claimed",
    "DeliveryState",
    "DeliveryStatus",
    "MessageState",
    "NewDelivery",
    "NewMessage",
    "NewRecord",
    "Part",
    "PendingAcknowledgment",
    "RecordEcho",
    "RecordStatus",
    "Released",
    "Reported",
    "Settlement",
    "Store",
]
