"""Messages of very many records: stored at once as a whole, their records written out part by part.

One transaction with 50,000 records holds the store for ten seconds, and every other sender with it. So `accept` keeps
the records of such a message packed, a `Part` a row, with the numbers of their deliveries drawn. Whoever claims writes them
out, a part in a transaction, before anything is lined up; what is younger enters no lane before that (`lanes.NEWCOMERS`), so
that the order of commit holds. A stop in between loses nothing: the next claim goes on.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from operator import attrgetter

from hl7bridge.model import DeliveryState, StaffChange
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.encoding import PLAIN, record_from_row, unseal
from hl7bridge.store.inbox.batch import InboxRows, WrittenRecord
from hl7bridge.store.queue.lanes import Lanes
from hl7bridge.store.rows import (
    DeliveryStatus,
    MessageState,
    NewDelivery,
    NewMessage,
    NewRecord,
    Part,
    RecordStatus,
)

WRITE_OUTS = 40  # parts of large messages that are written out at one time at most
_QUICK = 1  # zlib level: records of one file are much alike
_FIRST_FORM = 4  # columns of a record as earlier versions packed it, without what its deliveries are told by

OLDEST = (
    "SELECT a.message_id, a.part, a.delivery_id, a.force, a.codec, a.content, m.feed, m.received"
    " FROM arrival a JOIN message m ON m.id = a.message_id ORDER BY a.message_id, a.part LIMIT 1"
)


def pack(records: Sequence[NewRecord]) -> Part:
    """Records with their deliveries as one part of a message, about a tenth of their size: what their rows will hold."""
    rows = [
        [
            *_FIELDS(WrittenRecord.of(new.record)),
            [[one.destination, one.lane, one.not_before, one.order_time] for one in new.deliveries],
        ]
        for new in records
    ]
    deliveries = Counter(one.destination for new in records if new.record.change for one in new.deliveries)
    return Part(len(rows), dict(deliveries), zlib.compress(json.dumps(rows).encode(), _QUICK))


_FIELDS = attrgetter(*(field.name for field in fields(WrittenRecord)))


def unpack(content: bytes) -> list[NewRecord]:
    """The records of a part, equal to those that were packed."""
    return [
        NewRecord(
            record_from_row(
                one.position,
                one.findings,
                PLAIN,
                one.echo.encode(),
                None if one.change is None else one.change.encode(),
            ),
            deliveries,
        )
        for one, deliveries in _written(content)
    ]


def _written(content: bytes) -> Iterator[tuple[WrittenRecord, tuple[NewDelivery, ...]]]:
    for *row, deliveries in json.loads(zlib.decompress(content)):
        to = tuple(NewDelivery(name, tuple(lane), due, order) for name, lane, due, order in deliveries)
        if len(row) == _FIRST_FORM:
            position, findings, echo, change = row
            record = record_from_row(position, findings, PLAIN, echo.encode(), change.encode() if change else None)
            yield WrittenRecord.of(record), to
        else:
            yield WrittenRecord(*row), to


class Arrivals(StorePart):
    """Writing parts out, and how their records stand before that."""

    def __init__(self, connection: StoreConnection, lanes: Lanes) -> None:
        super().__init__(connection)
        self._lanes = lanes

    def write_out(self, now: float) -> bool:
        """Write out the oldest part. False when there is none. Inside the caller's transaction."""
        row = self._execute(OLDEST).fetchone()
        if not row:
            return False
        message_id, part, delivery_id, force, codec, content, feed, received = row
        message = NewMessage(feed, received, {}, b"", 0, None, MessageState.ACCEPTED, force=bool(force))
        batch = InboxRows.of_part(self._connection, self._lanes, delivery_id, now)
        placed: dict[str, list[int]] = {}
        for record, deliveries in _written(unseal(codec, content)):
            batch.add_record(message_id, message, record, deliveries, placed)
        batch.write()
        self._execute("DELETE FROM arrival WHERE message_id = ? AND part = ?", (message_id, part))
        return True

    def write_out_all(self, message_id: int, now: float) -> None:
        """Write out a message, and those before it, in transactions of their own."""
        while True:
            with self._writing():
                if not self.is_arriving(message_id) or not self.write_out(now):
                    return

    def write_out_some(self, now: float) -> bool:
        """Write out the oldest parts that wait, in transactions of their own. True when there may be more of them."""
        for _ in range(WRITE_OUTS):
            with self._reading():
                if not self._execute("SELECT 1 FROM arrival LIMIT 1").fetchone():
                    return False
            with self._writing():
                self.write_out(now)
        return True

    def is_arriving(self, message_id: int) -> bool:
        """Whether parts of the message are still to be written out."""
        return bool(self._execute("SELECT 1 FROM arrival WHERE message_id = ? LIMIT 1", (message_id,)).fetchone())

    def records_of(self, message_id: int) -> list[RecordStatus]:
        """The records that are not written out: each queued."""
        found = []
        rows = self._execute(
            "SELECT delivery_id, codec, content FROM arrival WHERE message_id = ? ORDER BY part", (message_id,)
        ).fetchall()
        for delivery_id, codec, content in rows:
            for new in unpack(unseal(codec, content)):
                record, deliveries = new.record, {}
                for delivery in new.deliveries if record.change else ():
                    deliveries[delivery.destination] = DeliveryStatus(delivery_id, _state_of(record.change, delivery))
                    delivery_id += 1
                found.append(RecordStatus(record.position, record, deliveries))
        return found


def _state_of(change: StaffChange | None, delivery: NewDelivery) -> DeliveryState:
    return DeliveryState.SCHEDULED if change and delivery.not_before else DeliveryState.QUEUED
