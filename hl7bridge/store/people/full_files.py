"""Files that replace a whole master file (MFI-3 REP): who of the feed is absent, and what became of that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hl7bridge.model import DeliveryEvent, DeliveryState, Record, RecordEcho, Result, StaffChange, Task
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.inbox.batch import InboxRows
from hl7bridge.store.queue.lanes import Lanes
from hl7bridge.store.queue.moves import Move, move
from hl7bridge.store.rows import Acknowledgment, AcknowledgmentState, MessageState, NewDelivery, NewMessage, NewRecord
from hl7bridge.store.worklist import Worklist

MISSING = "full-file-missing"
WHOLE = '%"file_event": "REP"%'  # as `batch` writes the header; it is read again to be sure

FILES = (
    "SELECT m.id, m.feed, m.received, m.other_header, m.records,"
    " (SELECT COUNT(*) FROM record r WHERE r.message_id = m.id AND r.failed = 1),"
    " (SELECT COUNT(*) FROM delivery d WHERE d.message_id = m.id AND d.state IN ('queued', 'claimed', 'retry', 'unknown'))"
    " + (SELECT COUNT(*) FROM arrival a WHERE a.message_id = m.id),"
    " (SELECT COUNT(*) FROM delivery d WHERE d.message_id = m.id AND d.state = 'held'),"
    " COALESCE(f.decided, 0), COALESCE(f.decision, ''), COALESCE(f.known, 0), COALESCE(f.missing, 0)"
    " FROM message m LEFT JOIN full_file f ON f.message_id = m.id"
    " WHERE m.other_header <> '' AND m.other_header LIKE ?"
)


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


class FullFiles(StorePart):
    """The part of the store that whole-file messages need. Times are Unix seconds."""

    def __init__(self, connection: StoreConnection, lanes: Lanes, tasks: Worklist) -> None:
        super().__init__(connection)
        self._lanes, self._tasks = lanes, tasks

    def full_files(self, message_id: int = 0) -> list[FullFile]:
        """Whole-file messages that are not compared yet, oldest first; or the one of that id."""
        which = " AND m.id = ?" if message_id else " AND m.state IN ('accepted', 'refused') AND f.message_id IS NULL"
        with self._reading():
            values = (WHOLE, message_id) if message_id else (WHOLE,)
            rows = self._execute(f"{FILES}{which} ORDER BY m.id", values).fetchall()
        return [
            FullFile(number, feed, received, said.get("file_part") or "", records, failed, pending, unsettled, *decided)
            for number, feed, received, other, records, failed, pending, unsettled, *decided in rows
            if (said := json.loads(other)).get("file_event") == "REP"
        ]

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
        with self._writing():
            first = self._execute(
                "INSERT INTO full_file (message_id, decided, decision, known, missing) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (message_id) DO NOTHING",
                (file.message_id, now, decision, known, len(missing)),
            )
            if not first.rowcount:
                return False
            held = self._hold(file, hold, text, now) if hold else {}
            self._executemany(
                "INSERT INTO full_file_missing (message_id, source_key, delivery_id) VALUES (?, ?, ?)",
                [(file.message_id, key, held.get(key, 0)) for key in missing],
            )
            if task is not None:
                self._tasks.open_task(task, file.message_id, 0, "", file.feed, "", now)
            self._note(
                now,
                file.message_id,
                0,
                "full file",
                decision=decision,
                known=known,
                missing=len(missing),
                held=len(held),
            )
        return True

    def _hold(self, file: FullFile, hold: Sequence[HeldEnd], text: str, now: float) -> dict[str, int]:
        """A message of our own with a deactivation for each person, all of them held; source key -> delivery."""
        records = tuple(
            NewRecord(
                Record(position, RecordEcho(), one.change),
                tuple(NewDelivery(name, lane) for name, lane in one.lanes.items()),
            )
            for position, one in enumerate(hold, 1)
        )
        message = NewMessage(
            feed=file.feed,
            received=now,
            header={},
            digest=b"",
            size=0,
            body=None,
            state=MessageState.ACCEPTED,
            records=records,
            acknowledgments=(Acknowledgment("original", AcknowledgmentState.NONE),),
            peer="full file",
            note=f"people absent from message {file.message_id}",
        )
        batch = InboxRows(self._connection, self._lanes, [message], now)
        message_id = batch.add(message).message_id
        batch.write()
        rows = self._execute(
            "SELECT id, source_key FROM delivery WHERE message_id = ? ORDER BY id DESC", (message_id,)
        ).fetchall()
        # No leaver until a person says so: nobody is to be told that the end is overdue.
        columns = {"leaver": 0, "result": Result.HELD.value, "code": "0", "local": MISSING, "text": text}
        told = {"local": MISSING}
        held = [Move(delivery_id, message_id, DeliveryState.QUEUED, columns, told) for delivery_id, _ in rows]
        move(self._connection, DeliveryEvent.HELD, held, now)
        return {key: delivery_id for delivery_id, key in rows}

    def missing_of(self, message_id: int) -> list[tuple[str, int]]:
        """(source key, id of the held deactivation or 0) of the people absent from a file."""
        with self._reading():
            rows = self._execute(
                "SELECT source_key, delivery_id FROM full_file_missing WHERE message_id = ? ORDER BY source_key",
                (message_id,),
            ).fetchall()
        return [(key, delivery_id) for key, delivery_id in rows]

    def keys_of(self, message_id: int) -> set[str]:
        """The source keys of a message's records."""
        with self._reading():
            rows = self._execute(
                "SELECT DISTINCT source_key FROM record WHERE message_id = ?", (message_id,)
            ).fetchall()
        return {key for (key,) in rows if key}
