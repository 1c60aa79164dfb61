"""What a staff message says, as far as its answer and its row in the store need it: read at once, or a part at a time.

A file of 50,000 records, read at once, takes twenty times its size in memory. Read in parts, each is mapped, packed for the
store, and forgotten but for what the answer says of its records.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ContextDecorator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hl7bridge.errors import UnreadableMessage
from hl7bridge.hl7.acknowledgment import MfaLine
from hl7bridge.hl7.boundaries import message_uses_line_feeds
from hl7bridge.hl7.message import Header, Message, codec_of_message
from hl7bridge.hl7.parts import Numbering, split_records
from hl7bridge.mapping.feed_rules import TOO_MANY, Caps, FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.model import Finding, Location, Record, Severity, StaffChange
from hl7bridge.store.inbox.arrivals import pack
from hl7bridge.store.store import NewDelivery, NewRecord, Part

LARGE_FILE = 1024 * 1024
"""Bytes above which a master file is read in parts."""

LONG = 16 * 1024
"""Bytes above which the reading of any frame takes milliseconds."""

MOST_PARTS = 100
"""The same of its segments and repetitions together, and of every other field of its header."""

PART_RECORDS = 20
"""Records in a part: what is read between two pauses, and what one transaction writes out."""

MOST_REMARKS = 1000
"""Warnings that one answer gives at most; beyond them its sender does not read on, and `msg show` has them all."""

Deliveries = Callable[[StaffChange | None], tuple[NewDelivery, ...]]
LineOf = Callable[[Record], MfaLine]


@dataclass(slots=True)
class Reading:
    """`lines`: one for each record, for MFA. `findings`: for ERR. `failed`: records that could not be read or mapped.
    `delivers`: whether anything is to be delivered. `continued`: a DSC says that another message goes on. What is stored is
    in `records`, or, of a large file, in `parts`."""

    message: Message
    mapping_version: str
    lines: list[MfaLine] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    failed: int = 0
    delivers: bool = False
    continued: bool = False
    records: tuple[NewRecord, ...] = ()
    parts: tuple[Part, ...] = ()
    _remarks: int = 0

    @property
    def all_failed(self) -> bool:
        """Whether there is not one good record."""
        return bool(self.failed) and self.failed == len(self.lines)

    def whole_file(self, alone: bool) -> dict[str, str]:
        """That a message replaces its whole file (MFI-3 REP), and why it may be less than that ("" = nothing says so).

        `alone`: it came by itself, and not as one of several."""
        part = ""
        if self.message.header.text(14) or self.continued:
            part = "it is continued in another message (MSH-14, DSC)"
        elif not alone:
            part = "it came as one of several messages"
        return {"file_event": "REP", "file_part": part}

    def add(self, new: NewRecord, line_of: LineOf) -> None:
        """Count a record in."""
        self.lines.append(line_of(new.record))
        self.failed += new.record.failed
        self.delivers = self.delivers or bool(new.deliveries)
        for finding in new.record.findings:
            if finding.severity is not Severity.ERROR:
                self._remarks += 1
                if self._remarks > MOST_REMARKS or finding.severity is Severity.INFORMATION:
                    continue
            self.findings.append(finding)


def takes_long(body: bytes) -> bool:
    """Whether to read a frame beside the thread that answers everybody: by what it holds, for 4 KB may hold 500 telephone
    numbers."""
    if len(body) > LONG:
        return True
    header = body.find(b"\r")
    repetition = body[5:6] if body[:3] == b"MSH" else b"~"
    parts = body.count(b"\r") + body.count(b"\n") + body.count(repetition) + body.count(body[3:4], 0, header) // 2
    return bool(body) and parts > MOST_PARTS


def check_size(raw: bytes, caps: Caps) -> None:
    """Raise UnreadableMessage for a message with more segments than are read: each would cost two hundred bytes."""
    if len(raw) <= caps.segments:
        return
    segments = raw.count(b"\r")
    if message_uses_line_feeds(raw):
        segments += raw.count(b"\n") - raw.count(b"\r\n")
    if segments > caps.segments:
        text = f"the message has more than {caps.segments} segments (limits.max_segments of the feed): not read"
        raise UnreadableMessage(TOO_MANY, "too-many-segments", text)


def let_others_run() -> None:
    """Half a millisecond in which nobody waits for the interpreter: other senders are answered meanwhile."""
    time.sleep(0.0005)


def go_on() -> None:
    """A small message is read in one go."""


def read_at_once(
    message: Message, rules: FeedRules, now: float, deliveries: Deliveries, line_of: LineOf, pause: Callable[[], None]
) -> Reading:
    """Read a staff message. `pause` is called now and then, so that other threads run. Raises MessageError."""
    translation = staff.translate(message, rules, datetime.fromtimestamp(now, UTC), pause=pause)
    reading = Reading(message, translation.mapping_version, findings=list(translation.findings))
    reading.continued = message.first("DSC") is not None
    reading.records = _with_deliveries(map(PerKey(rules).checked, translation.records), deliveries)
    for new in reading.records:
        reading.add(new, line_of)
    return reading


class _ShortTurns(ContextDecorator):
    """While it is held, Python switches between threads every 0.5 ms instead of every 5 ms, and collects no garbage.

    A message of another feed needs the interpreter four times, and would wait 5 ms each time for the thread that maps a
    large file. A garbage collection looks at every object made from that file: tens of milliseconds without an answer.
    """

    INTERVAL = 0.0005  # seconds

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held, self._usual = 0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._held:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(self.INTERVAL)
                gc.disable()
            self._held += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._held -= 1
            if not self._held:
                sys.setswitchinterval(self._usual)
                gc.enable()


_SHORT_TURNS = _ShortTurns()


@_SHORT_TURNS
def read_in_parts(
    raw: bytes,
    header: Header,
    charset: str | Sequence[str],
    rules: FeedRules,
    now: float,
    deliveries: Deliveries,
    line_of: LineOf,
    pause: Callable[[], None],
) -> Reading:
    """Read a large master file, saying of it what `read_at_once` says. Raises MessageError."""
    codec = codec_of_message(raw, charset)
    moment = datetime.fromtimestamp(now, UTC)
    numbering, per_key = Numbering(), PerKey(rules)
    reading: Reading | None = None
    parts: list[Part] = []
    for raw_part in split_records(raw, header.separators.field.encode("latin-1"), PART_RECORDS):
        message = Message(raw_part, charset, codec=codec)
        translation = staff.translate(message, rules, moment)
        if reading is None:
            reading = Reading(message, translation.mapping_version, findings=list(translation.findings))
        found = map(per_key.checked, map(numbering.record, translation.records))
        records = _with_deliveries(found, deliveries)
        for new in records:
            reading.add(new, line_of)
        reading.continued = reading.continued or message.first("DSC") is not None
        parts.append(pack(records))
        numbering.advance(message, len(records))
        pause()
    assert reading is not None, "there is one part at least"
    reading.parts = tuple(parts)
    return reading


class PerKey:
    """Counts the records of each person in one message: each is delivered behind the one before it."""

    def __init__(self, rules: FeedRules) -> None:
        self._most = rules.caps.records_per_key
        self._seen: Counter[str] = Counter()

    def checked(self, record: Record) -> Record:
        """The record, refused where the person has had as many as are taken."""
        if record.change is None:
            return record
        self._seen[record.change.source_key] += 1
        if self._seen[record.change.source_key] <= self._most:
            return record
        text = f"more than {self._most} records of one person (limits.max_records_per_key of the feed): not taken"
        place = Location("MFE", record.position, 4)
        finding = Finding(TOO_MANY, "too-many-records", text, Severity.ERROR, place, record.position)
        return record._replace(change=None, findings=(*record.findings, finding))


def _with_deliveries(records: Iterable[Record], deliveries: Deliveries) -> tuple[NewRecord, ...]:
    return tuple(NewRecord(record, deliveries(record.change)) for record in records)
