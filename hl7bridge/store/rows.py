"""What crosses the wall of the store: messages and acknowledgments to keep, claims and settlements, how things stand.

Times are Unix seconds (float), passed in by the caller, so that tests need no sleep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hl7bridge.model import DeliveryState, Known, Outcome, Record, Result, StaffChange


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
    """Some records of a message of very many, packed (`arrivals.pack`): how many, and how many deliveries to each
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
