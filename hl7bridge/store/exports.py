"""What a store holds, as tables that people query: a SQLite file for datasette, spreadsheets and ad-hoc questions.

Times are ISO 8601 in UTC, JSON columns are columns of their own, and nothing is in it that only the bridge reads. Bodies
come on request alone. It is written from one transaction, so that its tables tell of one moment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hl7bridge.store.connection import StorePart
from hl7bridge.store.encoding import unseal

if TYPE_CHECKING:
    from sqlite_utils import Database as QueryDatabase

TABLES = {
    "messages": "SELECT id, received, feed, state, sending_application, sending_facility, message_type, trigger_event,"
    " control_id, version, message_time, processing_id, size, records, mapping_version, peer, note, link, linked_to,"
    " requested_by FROM message ORDER BY id",
    "acknowledgments": "SELECT message_id, kind, state, code, due, changed FROM acknowledgment ORDER BY message_id, kind",
    "deliveries": "SELECT id, message_id, position, destination, feed, source_key, action, state, result, code, local, text,"
    " http_status, person_id, version, attempts, not_before, next_attempt, ended FROM delivery ORDER BY id",
    "people": "SELECT destination, feed, source_key, person_id, link, order_time, changed FROM crosswalk"
    " ORDER BY destination, feed, source_key",
    "tasks": "SELECT id, opened, kind, title, steps, owner, state, due, closed, closed_by, evidence, feed, source_key,"
    " destination, message_id, delivery_id FROM task ORDER BY id",
    "history": "SELECT id, at, message_id, delivery_id, event, detail FROM history ORDER BY id",
}
"""Table of the export -> what is read for it. `decisions` is made of the history: what names who."""

BODIES = "SELECT message_id, codec, content FROM body ORDER BY message_id"
KEYS: dict[str, str | tuple[str, ...]] = {
    "messages": "id",
    "acknowledgments": ("message_id", "kind"),
    "deliveries": "id",
    "people": ("destination", "feed", "source_key"),
    "tasks": "id",
    "history": "id",
    "decisions": "id",
    "bodies": "message_id",
}
INDEXES = {
    "messages": ("control_id", "feed", "received"),
    "deliveries": ("message_id", "source_key", "state", "person_id"),
    "people": ("person_id", "source_key"),
    "tasks": ("state", "source_key"),
    "history": ("message_id", "delivery_id"),
}
_TIMES = frozenset({"received", "due", "changed", "not_before", "next_attempt", "ended", "opened", "closed", "at"})
_AT_ONCE = 1000  # rows
_DECIDED = ("id", "at", "message_id", "delivery_id", "event")


class Exports(StorePart):
    """Writing the tables into another file."""

    def export(
        self, path: Path, *, bodies: bool = False, told: Callable[[str, int], None] | None = None
    ) -> dict[str, int]:
        """Write a new SQLite file, readable by this user alone; returns the rows of each table.

        `told(table, rows)` is called while a table grows. Raises FileExistsError, OSError, StoreError.
        """
        from sqlite_utils import Database as QueryDatabase  # here: each process of the service starts without it

        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        database = QueryDatabase(path)
        counts = {}
        try:
            with self._reading():
                for table, rows in self._exported(bodies):
                    counts[table] = _write(database, table, rows, told or (lambda table, count: None))
            for table, columns in INDEXES.items():
                for column in columns if counts[table] else ():
                    database.table(table).create_index([column])
        except BaseException:
            database.close()
            path.unlink(missing_ok=True)  # half an export must not be taken for a whole one
            raise
        database.close()
        return counts

    def _exported(self, bodies: bool) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
        for table, sql in TABLES.items():
            yield table, self._rows(sql)
        yield "decisions", self._decisions()
        if bodies:
            yield "bodies", self._bodies()

    def _rows(self, sql: str) -> Iterator[dict[str, Any]]:
        rows = self._execute(sql)
        names = [column[0] for column in rows.description]
        for row in rows:
            yield {name: _shown(name, value) for name, value in zip(names, row, strict=True)}

    def _decisions(self) -> Iterator[dict[str, Any]]:
        """What somebody decided: who, why, and about what."""
        for row in self._rows(TABLES["history"]):
            detail = json.loads(row["detail"]) if row["detail"] else {}
            if detail.get("who"):
                who, reason = detail.pop("who"), detail.pop("reason", "")
                yield {name: row[name] for name in _DECIDED} | {
                    "who": who,
                    "reason": reason,
                    "detail": json.dumps(detail),
                }

    def _bodies(self) -> Iterator[dict[str, Any]]:
        for message_id, codec, content in self._execute(BODIES):
            yield {"message_id": message_id, "body": unseal(codec, content).decode("utf-8", "backslashreplace")}


def _shown(name: str, value: Any) -> Any:
    if name in _TIMES and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds") if value else None
    return value


def _write(
    database: QueryDatabase, table: str, rows: Iterator[dict[str, Any]], told: Callable[[str, int], None]
) -> int:
    """Write one table, some rows at a time, so that a store of any size fits into memory."""
    count = 0
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _AT_ONCE:
            database.table(table).insert_all(batch, pk=KEYS[table])
            count += len(batch)
            batch = []
            told(table, count)
    if batch:
        database.table(table).insert_all(batch, pk=KEYS[table])
    told(table, count + len(batch))
    return count + len(batch)
