"""The rows of one transaction of accepted messages, and the duplicate rule that decides which there are.

Each table is written with one prepared statement, and what must be looked up is looked up in groups: the usual message,
new and alone in its lane, costs no statement of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hl7bridge.model import LIFECYCLE, Record, Result, StaffChange
from hl7bridge.store.connection import StoreConnection, each
from hl7bridge.store.encoding import PLAIN, echo_to_text, findings_to_text, unseal
from hl7bridge.store.queue.lanes import NEW, Lanes, keys_to_text, lane_key
from hl7bridge.store.rows import (
    Accepted,
    Acknowledgment,
    AcknowledgmentState,
    MessageState,
    NewDelivery,
    NewMessage,
)

HEADER = (
    "sending_application",
    "sending_facility",
    "message_type",
    "trigger_event",
    "control_id",
    "version",
    "message_time",
    "processing_id",
)

_HEADER = frozenset(HEADER)

SEEN = each("message", "control_id")

_MESSAGE = (
    "INSERT INTO message (id, received, feed, state, sending_application, sending_facility, message_type, trigger_event,"
    " control_id, version, message_time, processing_id, other_header, digest, size, records, mapping_version, peer, note,"
    " link, linked_to, same_content, requested_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
LONG_BODY = 1024 * 1024  # bytes above which a body is stored by itself
_BODY = "INSERT INTO body (message_id, codec, key_id, content) VALUES (?, ?, '', ?)"
_RECORD = (
    "INSERT INTO record (message_id, position, source_key, failed, findings, codec, key_id, echo, change)"
    " VALUES (?, ?, ?, ?, ?, ?, '', ?, ?)"
)
_DELIVERY = (
    "INSERT INTO delivery (id, message_id, position, destination, feed, source_key, action, state, place, lane, head,"
    " leaver, order_time, force, not_before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
YOUNGER = (
    "SELECT d.id, d.not_before, r.codec, r.change FROM record r"
    " JOIN delivery d ON d.message_id = r.message_id AND d.position = r.position"
    " WHERE r.source_key = ? AND d.feed = ? AND d.destination = ? AND d.id > ? ORDER BY d.id"
)
ACKNOWLEDGMENT = (
    "INSERT INTO acknowledgment (message_id, kind, state, code, positive, due, changed, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

_ARRIVAL = (
    "INSERT INTO arrival (message_id, part, delivery_id, records, deliveries, force, codec, key_id, content)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, '', ?)"
)


@dataclass(frozen=True, slots=True)
class WrittenRecord:
    """A record as its rows hold it. `change`: JSON, None for a record without one; `kind` to `only_if_missing` are of it.

    `lifecycle`: its action begins or ends a person's time with the staff. `leaver`: it says that the person is not there."""

    position: int
    failed: bool
    findings: str
    echo: str
    change: str | None = None
    source_key: str = ""
    kind: str = ""
    lifecycle: bool = False
    leaver: bool = False
    only_if_missing: bool = False

    @classmethod
    def of(cls, record: Record) -> WrittenRecord:
        """The record, written."""
        findings, echo, change = findings_to_text(record.findings), echo_to_text(record.echo), record.change
        if change is None:
            return cls(record.position, record.failed, findings, echo)
        return cls(
            record.position,
            record.failed,
            findings,
            echo,
            change.to_json(),
            change.source_key,
            change.kind,
            change.action in LIFECYCLE,
            change.says_present is False,
            change.only_if_missing,
        )


_Chain = tuple[str, str, str, str]  # control id, feed, MSH-3, MSH-4: what makes two messages the same id


class InboxRows:
    """The rows of one transaction, table by table."""

    def __init__(self, connection: StoreConnection, lanes: Lanes, messages: Sequence[NewMessage], now: float) -> None:
        self._connection, self._lanes, self._now = connection, lanes, now
        # Duplicates use none of theirs: gaps in the numbers do not matter, their order does.
        deliveries = sum(len(record.deliveries) for message in messages for record in message.records)
        deliveries += sum(sum(part.deliveries.values()) for message in messages for part in message.parts)
        self._message_id, self._delivery_id = (
            connection.draw_for_messages(len(messages), deliveries) if messages else (0, 0)
        )
        ids = {_control_id(message) for message in messages if message.duplicate_window > 0}
        self._seen = connection.present(SEEN, ids)
        self._chains: dict[_Chain, list[tuple[int, NewMessage]]] = {}
        self._scheduled: set[tuple[str, str, str]] = set()
        self._late = False  # younger messages may have been written down before these records
        self._asked: set[tuple[str, str, str]] = set()
        self._clear()

    @classmethod
    def of_part(cls, connection: StoreConnection, lanes: Lanes, delivery_id: int, now: float) -> InboxRows:
        """For records of a message that was stored before, whose deliveries have numbers from `delivery_id` on."""
        batch = cls(connection, lanes, (), now)
        batch._delivery_id, batch._late = delivery_id, True
        return batch

    def _clear(self) -> None:
        self._messages: list[tuple[object, ...]] = []
        self._bodies: list[tuple[int, int, bytes]] = []
        self._long_bodies: list[tuple[int, int, bytes]] = []
        self._records: list[tuple[object, ...]] = []
        self._deliveries: list[tuple[object, ...]] = []
        self._acknowledgments: list[tuple[object, ...]] = []
        self._arrivals: list[tuple[object, ...]] = []
        self._history: list[tuple[float, int, int, str, str]] = []

    def write(self) -> None:
        """Insert what has been added, parents first."""
        connection = self._connection
        tables: tuple[tuple[str, Sequence[Sequence[object]]], ...] = (
            (_MESSAGE, self._messages),
            (_BODY, self._bodies),
            (_RECORD, self._records),
            (_DELIVERY, self._deliveries),
            (ACKNOWLEDGMENT, self._acknowledgments),
            (_ARRIVAL, self._arrivals),
        )
        for sql, rows in tables:
            connection.insert(sql, rows)
        for row in self._long_bodies:
            connection.insert_large(_BODY, row, "body", "content")
        connection.note_all(self._history)
        self._clear()

    def add(self, message: NewMessage) -> Accepted:
        """Apply the duplicate rule, then take the message or link it to the first."""
        message_id = self._message_id
        self._message_id += 1
        if message.state is MessageState.COUNTED:
            self._add_message(message_id, message, message.state, "", 0, False)
            return Accepted(message_id, acknowledgments=message.acknowledgments)
        link, linked_to, same_content = "replay" if message.replay_of else "", message.replay_of, False
        control_id = _control_id(message)
        if message.duplicate_window > 0 and control_id and not message.replay_of:
            header = message.header
            chain = (
                control_id,
                message.feed,
                header.get("sending_application", ""),
                header.get("sending_facility", ""),
            )
            linked_to, same_content, answers = self._earlier(chain, message)
            if answers is not None:
                self._add_message(message_id, message, MessageState.DUPLICATE, "duplicate", linked_to, True)
                self._history.append((self._now, message_id, 0, "duplicate", f'{{"of": {linked_to}}}'))
                return Accepted(message_id, duplicate_of=linked_to, same_content=True, acknowledgments=answers)
            link = "repeat" if linked_to else ""
            self._chains.setdefault(chain, []).append((message_id, message))
        self._add_message(message_id, message, message.state, link, linked_to, same_content)
        self._add_content(message_id, message)
        return Accepted(
            message_id,
            repeat_of=linked_to if link == "repeat" else 0,
            same_content=same_content,
            acknowledgments=message.acknowledgments,
        )

    def _add_message(
        self, message_id: int, message: NewMessage, state: MessageState, link: str, linked_to: int, same_content: bool
    ) -> None:
        header = message.header
        other = {name: header[name] for name in header if name not in _HEADER}
        self._messages.append(
            (
                message_id,
                message.received,
                message.feed,
                state.value,
                *[header.get(name, "") for name in HEADER],
                json.dumps(other) if other else "",
                message.digest,
                message.size,
                len(message.records) + sum(part.records for part in message.parts),
                message.mapping_version,
                message.peer,
                message.note,
                link,
                linked_to,
                same_content,
                message.requested_by,
            )
        )

    def _add_content(self, message_id: int, message: NewMessage) -> None:
        if message.body is not None:
            bodies = self._long_bodies if len(message.body) > LONG_BODY else self._bodies
            bodies.append((message_id, PLAIN, message.body))
        for acknowledgment in message.acknowledgments:
            if not message.keep_answers:
                acknowledgment = replace(acknowledgment, body=b"")
            self._acknowledgments.append(acknowledgment_row(message_id, acknowledgment.kind, acknowledgment, self._now))
        placed = self.add_records(message_id, message)
        for number, part in enumerate(message.parts, 1):
            wanted = json.dumps(part.deliveries)
            row = (message_id, number, self._delivery_id, part.records, wanted, message.force, PLAIN, part.content)
            self._arrivals.append(row)
            self._delivery_id += sum(part.deliveries.values())
        detail = json.dumps(placed) if placed else ""
        self._history.append((self._now, message_id, 0, message.state.value, detail))

    def add_records(self, message_id: int, message: NewMessage) -> dict[str, list[int]]:
        """The message's records with their deliveries; returns the numbers of these by their state."""
        placed: dict[str, list[int]] = {}
        for new in message.records:
            self.add_record(message_id, message, WrittenRecord.of(new.record), new.deliveries, placed)
        return placed

    def add_record(
        self,
        message_id: int,
        message: NewMessage,
        record: WrittenRecord,
        deliveries: Sequence[NewDelivery],
        placed: dict[str, list[int]],
    ) -> None:
        """A record with its deliveries, whose numbers go into `placed` by their state."""
        self._records.append(
            (
                message_id,
                record.position,
                record.source_key,
                record.failed,
                record.findings,
                PLAIN,
                record.echo.encode(),
                None if record.change is None else record.change.encode(),
            )
        )
        if record.change is None:
            return
        for delivery in deliveries:
            if record.only_if_missing and not self._asks(message, record.source_key, delivery.destination):
                continue
            state = self._add_delivery(message_id, message, record, delivery)
            placed.setdefault(state, []).append(self._delivery_id - 1)

    def _asks(self, message: NewMessage, source_key: str, destination: str) -> bool:
        """Whether the destination is to be asked about the person of a mention; it counts as asked from here on."""
        person = (message.feed, destination, source_key)
        if message.recheck > 0:
            if person in self._asked:
                return False
            sql = "SELECT asked FROM known_practitioner WHERE feed = ? AND destination = ? AND source_key = ?"
            known = self._connection.execute(sql, person).fetchone()
            if known and known[0] > self._now - message.recheck:
                return False
        self._asked.add(person)
        self._connection.execute(
            "INSERT INTO known_practitioner (feed, destination, source_key, asked) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (feed, destination, source_key) DO UPDATE SET asked = excluded.asked",
            (*person, self._now),
        )
        return True

    def _add_delivery(self, message_id: int, message: NewMessage, record: WrittenRecord, new: NewDelivery) -> str:
        delivery_id = self._delivery_id
        self._delivery_id += 1
        if new.not_before or record.lifecycle:
            self._supersede(delivery_id, message.feed, record, new)
        state = "scheduled" if new.not_before else "queued"
        self._deliveries.append(
            (
                delivery_id,
                message_id,
                record.position,
                new.destination,
                message.feed,
                record.source_key,
                record.kind,
                state,
                delivery_id,
                keys_to_text({lane_key(new.destination, key) for key in new.lane}),
                NEW,
                record.leaver,
                _order_time(new.order_time),
                message.force,
                new.not_before,
            )
        )
        if self._late and new.not_before:
            younger = self._replaced_by(delivery_id, message.feed, record, new)
            if younger:
                self.write()
                self._lanes.end(delivery_id, Result.SUPERSEDED, self._now, by=younger)
        return state

    def _supersede(self, delivery_id: int, feed: str, record: WrittenRecord, new: NewDelivery) -> None:
        """End scheduled deliveries of the person that this one replaces: for the same time, or of the same kind."""
        person = (record.source_key, feed, new.destination)
        if person in self._scheduled:
            self.write()  # one of this very batch may be meant: it must be there to be found
        earlier = self._connection.execute(
            "SELECT id, not_before, action FROM delivery"
            " WHERE state = 'scheduled' AND source_key = ? AND feed = ? AND destination = ? AND id < ?",
            (*person, delivery_id),
        ).fetchall()
        change = StaffChange.from_json(record.change or "") if earlier else None
        for earlier_id, not_before, action in earlier:
            if change and _replaces(change, new.not_before, action, not_before):
                self._lanes.end(earlier_id, Result.SUPERSEDED, self._now, by=delivery_id)
        if new.not_before:
            self._scheduled.add(person)

    def _replaced_by(self, delivery_id: int, feed: str, record: WrittenRecord, new: NewDelivery) -> int:
        """The delivery of a younger message, written down already, that replaces this scheduled one; 0 = none does."""
        younger = self._connection.execute(YOUNGER, (record.source_key, feed, new.destination, delivery_id)).fetchall()
        for younger_id, not_before, codec, content in younger:
            later = StaffChange.from_json(unseal(codec, content).decode())
            if _replaces(later, not_before, record.kind, new.not_before):
                return int(younger_id)
        return 0

    # -- the duplicate rule --

    def _earlier(self, chain: _Chain, message: NewMessage) -> tuple[int, bool, tuple[Acknowledgment, ...] | None]:
        """(id of the earlier message or 0, whether its content is the same, its acknowledgments if they stand)."""
        newest = 0
        for message_id, earlier in reversed(self._chains.get(chain, [])):
            if earlier.received < message.received - message.duplicate_window:
                continue
            newest = newest or message_id
            if earlier.digest == message.digest:
                answers = earlier.acknowledgments
                return message_id, True, answers if _stands(earlier.state, answers) else None
        if chain[0] not in self._seen:
            return newest, False, None
        newest_stored, same = self._earlier_stored(chain, message)
        if not same:
            return newest or newest_stored, False, None
        same_id, state = same
        answers = acknowledgments_of(self._connection, same_id)
        return same_id, True, answers if _stands(MessageState(state), answers) else None

    def _earlier_stored(self, chain: _Chain, message: NewMessage) -> tuple[int, tuple[int, str] | None]:
        """The newest message of that id within the window, and the newest of the same bytes with its state.

        Some senders use one control id for ever, so each lookup is one step into an index. Within a window there is at
        most one message that was the first of its id: any later one found it, and is a `repeat`.
        """
        since = message.received - message.duplicate_window
        rows = [
            row
            for link in ("repeat", "")
            for row in self._connection.execute(
                "SELECT id, state, digest, received FROM message WHERE control_id = ? AND feed = ?"
                " AND sending_application = ? AND sending_facility = ? AND link = ? ORDER BY id DESC LIMIT 1",
                (*chain, link),
            )
            if row[3] >= since
        ]
        if not rows:
            return 0, None
        newest = max(row[0] for row in rows)
        control_id, feed, application, facility = chain
        rows += self._connection.execute(
            "SELECT id, state, digest, received FROM message WHERE control_id = ? AND feed = ? AND digest = ?"
            " AND link = 'repeat' AND sending_application = ? AND sending_facility = ? AND received >= ?"
            " ORDER BY id DESC LIMIT 1",
            (control_id, feed, message.digest, application, facility, since),
        )
        same = max((row[:2] for row in rows if row[2] == message.digest), default=None)
        return newest, same


def _replaces(change: StaffChange, not_before: float, earlier: str, earlier_due: float) -> bool:
    """Whether a change (due at `not_before`, 0 = now) replaces a scheduled one of kind `earlier` that came before it."""
    same_time = not_before > 0 and not_before == earlier_due and change.overtakes(earlier)
    return same_time or (change.action in LIFECYCLE and earlier == change.kind)


def _stands(state: MessageState, acknowledgments: Sequence[Acknowledgment]) -> bool:
    """Whether the first answer may be given again: it is still pending, or was positive.

    A negative answer is never replayed: what was missing may have been mended. Where no answer was asked for, the
    message's own state tells.
    """
    if any(a.state is AcknowledgmentState.PENDING for a in acknowledgments):
        return True
    if any(a.code and not a.positive for a in acknowledgments):
        return False
    return state in (MessageState.ACCEPTED, MessageState.IGNORED)


def _control_id(message: NewMessage) -> str:
    return message.header.get("control_id", "")


def _order_time(text: str) -> str:
    """One form for all, since the stale rule compares text: UTC, microseconds. What is no time stays as it is."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def acknowledgments_of(connection: StoreConnection, message_id: int) -> tuple[Acknowledgment, ...]:
    """Every acknowledgment of a message, as it stands."""
    rows = connection.execute(
        "SELECT kind, state, code, positive, body, due FROM acknowledgment WHERE message_id = ? ORDER BY kind",
        (message_id,),
    )
    return tuple(
        Acknowledgment(kind, AcknowledgmentState(state), code, bool(positive), body, due)
        for kind, state, code, positive, body, due in rows
    )


def acknowledgment_row(message_id: int, kind: str, given: Acknowledgment, now: float) -> tuple[object, ...]:
    """As `ACKNOWLEDGMENT` inserts it."""
    return (message_id, kind, given.state.value, given.code, given.positive, given.due, now, given.body)
