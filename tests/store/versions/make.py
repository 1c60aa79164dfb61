"""Write `NNNN.sql` for the latest schema: `python -m tests.store.versions.make`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.sqlite.driver import sqlite3
from hl7bridge.store.sqlite.migrations import MIGRATIONS, numbered
from hl7bridge.store.store import DeliveryState, MessageState
from tests.store.builders import NEGATIVE, NOW, accept_one, change, claim, full_outcome, settlement


def dump(connection: sqlite3.Connection) -> Iterator[str]:
    """The statements that make the database anew, tables by name (`Connection.iterdump`, which pysqlite3 does not have)."""
    yield "BEGIN TRANSACTION;"
    made = "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%' AND type"
    for name, sql in connection.execute(f"{made} = 'table' ORDER BY name").fetchall():
        yield f"{sql};"
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
        values = " || ',' || ".join(f'quote("{column}")' for column in columns)
        for (row,) in connection.execute(f'SELECT {values} FROM "{name}"'):
            yield f'INSERT INTO "{name}" VALUES({row});'
    for _, sql in connection.execute(f"{made} <> 'table' ORDER BY name").fetchall():
        yield f"{sql};"
    yield "COMMIT;"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with SqliteStore(path) as store:
            accept_one(store, change("S1"), control_id="V1")
            accept_one(store, change("S2"), control_id="V2")
            accept_one(store, None, control_id="V3", state=MessageState.REFUSED, acknowledgments=[NEGATIVE])
            first, second = claim(store)
            store.settlements.settle(
                [
                    settlement(first, outcome=full_outcome("p1")),
                    settlement(second, DeliveryState.RETRY, next_attempt=NOW),
                ],
                NOW,
            )
            store.queue.leave("w", NOW)
        connection = sqlite3.connect(path)
        script = "\n".join(dump(connection)) + "\n"
        connection.close()
    target = Path(__file__).parent / f"{len(numbered(MIGRATIONS)):04}.sql"
    target.write_text(script, encoding="utf-8")
    print(f"{target}: {len(script)} characters")


if __name__ == "__main__":
    main()
