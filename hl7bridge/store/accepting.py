"""Accepting messages: one transaction for all that came, the duplicate rule inside it.

This is the path that a sender waits on, so it writes each table with one prepared statement and looks things up in
groups: the usual message, new and alone in its lane, costs no statement of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hl7bridge.model import LIFECYCLE, Action, Result, StaffChange
from hl7bridge.store.database import each
from hl7bridge.store.encoding import PLAIN, echo_to_bytes, findings_to_text
from hl7bridge.store.lanes import NEW, Lanes, keys_to_text, lane_key
from hl7bridge.store.store import (
    Accepted,
    Acknowledgment,
    AcknowledgmentState,
    MessageState,
    NewDelivery,
    NewMessage,
)

LEAVERS = frozenset({Action.DEACTIVATE, Action.REMOVE})

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
_BODY = "INSERT INTO body (message_id, codec, key_id, content) VALUES (?, ?, '', ?)"
_RECORD = (
    "INSERT INTO record (message_id, position, source_key, failed, findings, codec, key_id, echo, change)"
    " VALUES (?, ?, ?, ?, ?, ?, '', ?, ?)"
)
_DELIVERY = (
    "INSERT INTO delivery (id, message_id, position, destination, feed, source_key, action, state, place, lane, head,"
    " leaver, order_time, force, not_before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ACKNOWLEDGMENT = (
    "INSERT INTO acknowledgment (message_id, kind, state, code, positive, due, changed, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

COUNTED_FOR = 7 * 86400.0
"""Seconds for which a message that is only counted keeps its row."""

_Chain = tuple[str, str, str, str]  # control id, feed, MSH-3, MSH-4: what makes two messages the same id


class Accepting(Lanes):
    """`accept`, and what becomes of acknowledgments."""

    def accept(self, messages: Sequence[NewMessage], now: float) -> list[Accepted]:
        """Commit all of them in one transaction, in order. Raises StoreError: then nothing of it is stored."""
        if not messages:
            return []
        with self._writing():
            batch = _Batch(self, messages, now)
            accepted = [batch.add(message) for message in messages]
            batch.write()
            self._forget_counted(sum(message.state is MessageState.COUNTED for message in messages), now)
        return accepted

    def _forget_counted(self, come: int, now: float) -> None:
        """As many rows of counted messages go as come, and a few more, once they are old: no task of its own is needed."""
        if not come:
            return
        oldest = "SELECT id, received FROM message WHERE state = 'counted' ORDER BY id LIMIT ?"
        old = [(row[0],) for row in self._execute(oldest, (2 * come,)) if row[1] < now - COUNTED_FOR]
        if old:
            self._executemany("DELETE FROM message WHERE id = ?", old)

    def known_practitioners(self, feed: str, since: float) -> list[tuple[str, str, float]]:
        """(destination, source key, when it was asked about) of the people whom patient messages of the feed named and about
        whom a destination was asked since then."""
        with self._reading():
            sql = "SELECT destination, source_key, asked FROM known_practitioner WHERE feed = ? AND asked > ?"
            return [(str(name), str(key), float(asked)) for name, key, asked in self._execute(sql, (feed, since))]

    def acknowledged(self, message_id: int, kind: str, acknowledgment: Acknowledgment, now: float) -> None:
        """Record what was answered (a pending one that was built) or what became of it (sent, not sent)."""
        with self._writing():
            self._execute(
                _ACKNOWLEDGMENT + " ON CONFLICT (message_id, kind) DO UPDATE SET state = excluded.state,"
                " code = excluded.code, positive = excluded.positive, due = excluded.due, changed = excluded.changed,"
                " body = excluded.body",
                _acknowledgment_row(message_id, kind, acknowledgment, now),
            )
            self._note(
                now, message_id, 0, "acknowledgment", kind=kind, state=acknowledgment.state, code=acknowledgment.code
            )

    def mark_sent(self, message_ids: Iterable[int], kind: str, state: AcknowledgmentState, now: float) -> None:
        """Group form for acknowledgments whose body is stored already. `acknowledgment.changed` says when; one that was
        not sent gets a history row, too."""
        ids = list(message_ids)
        with self._writing():
            self._executemany(
                "UPDATE acknowledgment SET state = ?, changed = ? WHERE message_id = ? AND kind = ?",
                [(state.value, now, message_id, kind) for message_id in ids],
            )
            if state is not AcknowledgmentState.SENT:
                detail = json.dumps({"kind": kind, "state": state.value})
                self._note_all((now, message_id, 0, "acknowledgment", detail) for message_id in ids)

    def _acknowledgments(self, message_id: int) -> tuple[Acknowledgment, ...]:
        rows = self._execute(
            "SELECT kind, state, code, positive, body, due FROM acknowledgment WHERE message_id = ? ORDER BY kind",
            (message_id,),
        )
        return tuple(
            Acknowledgment(kind, AcknowledgmentState(state), code, bool(positive), body, due)
            for kind, state, code, positive, body, due in rows
        )


class _Batch:
    """The rows of one transaction, table by table."""

    def __init__(self, store: Accepting, messages: Sequence[NewMessage], now: float) -> None:
        self._store, self._now = store, now
        self._message_id = store._draw("message", len(messages))
        # Duplicates use none of theirs: gaps in the numbers do not matter, their order does.
        deliveries = sum(len(record.deliveries) for message in messages for record in message.records)
        self._delivery_id = store._draw("delivery", deliveries) if deliveries else 0
        ids = {_control_id(message) for message in messages if message.duplicate_window > 0}
        self._seen = store._present(SEEN, ids)
        self._chains: dict[_Chain, list[tuple[int, NewMessage]]] = {}
        self._scheduled: set[tuple[str, str, str]] = set()
        self._asked: set[tuple[str, str, str]] = set()
        self._clear()

    def _clear(self) -> None:
        self._messages: list[tuple[object, ...]] = []
        self._bodies: list[tuple[int, int, bytes]] = []
        self._records: list[tuple[object, ...]] = []
        self._deliveries: list[tuple[object, ...]] = []
        self._acknowledgments: list[tuple[object, ...]] = []
        self._history: list[tuple[float, int, int, str, str]] = []

    def write(self) -> None:
        """Insert what has been added, parents first."""
        store = self._store
        for sql, rows in (
            (_MESSAGE, self._messages),
            (_BODY, self._bodies),
            (_RECORD, self._records),
            (_DELIVERY, self._deliveries),
            (_ACKNOWLEDGMENT, self._acknowledgments),
        ):
            if rows:
                store._executemany(sql, rows)
        store._note_all(self._history)
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
        other = {name: header[name] for name in header.keys() - _HEADER}
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
                len(message.records),
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
            self._bodies.append((message_id, PLAIN, message.body))
        for acknowledgment in message.acknowledgments:
            if not message.keep_answers:
                acknowledgment = replace(acknowledgment, body=b"")
            self._acknowledgments.append(
                _acknowledgment_row(message_id, acknowledgment.kind, acknowledgment, self._now)
            )
        placed: dict[str, list[int]] = {}
        for new in message.records:
            record, change = new.record, new.record.change
            self._records.append(
                (
                    message_id,
                    record.position,
                    change.source_key if change else "",
                    record.failed,
                    findings_to_text(record.findings),
                    PLAIN,
                    echo_to_bytes(record.echo),
                    change.to_json().encode() if change else None,
                )
            )
            if change:
                for delivery in new.deliveries:
                    if change.only_if_missing and not self._asks(message, change, delivery.destination):
                        continue
                    state = self._add_delivery(message_id, record.position, message, change, delivery)
                    placed.setdefault(state, []).append(self._delivery_id - 1)
        detail = json.dumps(placed) if placed else ""
        self._history.append((self._now, message_id, 0, message.state.value, detail))

    def _asks(self, message: NewMessage, change: StaffChange, destination: str) -> bool:
        """Whether the destination is to be asked about the person of a mention; it counts as asked from here on."""
        person = (message.feed, destination, change.source_key)
        if message.recheck > 0:
            if person in self._asked:
                return False
            sql = "SELECT asked FROM known_practitioner WHERE feed = ? AND destination = ? AND source_key = ?"
            known = self._store._execute(sql, person).fetchone()
            if known and known[0] > self._now - message.recheck:
                return False
        self._asked.add(person)
        self._store._execute(
            "INSERT INTO known_practitioner (feed, destination, source_key, asked) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (feed, destination, source_key) DO UPDATE SET asked = excluded.asked",
            (*person, self._now),
        )
        return True

    def _add_delivery(
        self, message_id: int, position: int, message: NewMessage, change: StaffChange, new: NewDelivery
    ) -> str:
        delivery_id = self._delivery_id
        self._delivery_id += 1
        if new.not_before or change.action in LIFECYCLE:
            self._supersede(delivery_id, message.feed, change, new)
        state = "scheduled" if new.not_before else "queued"
        self._deliveries.append(
            (
                delivery_id,
                message_id,
                position,
                new.destination,
                message.feed,
                change.source_key,
                change.kind,
                state,
                delivery_id,
                keys_to_text({lane_key(new.destination, key) for key in new.lane}),
                NEW,
                change.action in LEAVERS or change.says_active is False,
                _order_time(new.order_time),
                message.force,
                new.not_before,
            )
        )
        return state

    def _supersede(self, delivery_id: int, feed: str, change: StaffChange, new: NewDelivery) -> None:
        """End scheduled deliveries of the person that this one replaces: for the same time, or of the same kind."""
        person = (change.source_key, feed, new.destination)
        if person in self._scheduled:
            self.write()  # one of this very batch may be meant: it must be there to be found
        earlier = self._store._execute(
            "SELECT id, not_before, action FROM delivery"
            " WHERE state = 'scheduled' AND source_key = ? AND feed = ? AND destination = ?",
            person,
        ).fetchall()
        for earlier_id, not_before, action in earlier:
            same_time = new.not_before > 0 and not_before == new.not_before and change.overtakes(action)
            if same_time or (change.action in LIFECYCLE and action == change.kind):
                self._store._end(earlier_id, Result.SUPERSEDED, self._now, by=delivery_id)
        if new.not_before:
            self._scheduled.add(person)

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
        answers = self._store._acknowledgments(same_id)
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
            for row in self._store._execute(
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
        rows += self._store._execute(
            "SELECT id, state, digest, received FROM message WHERE control_id = ? AND feed = ? AND digest = ?"
            " AND link = 'repeat' AND sending_application = ? AND sending_facility = ? AND received >= ?"
            " ORDER BY id DESC LIMIT 1",
            (control_id, feed, message.digest, application, facility, since),
        )
        same = max((row[:2] for row in rows if row[2] == message.digest), default=None)
        return newest, same


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


def _acknowledgment_row(message_id: int, kind: str, given: Acknowledgment, now: float) -> tuple[object, ...]:
    return (message_id, kind, given.state.value, given.code, given.positive, given.due, now, given.body)
