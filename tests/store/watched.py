"""A second kind of connection: it hands all to another one, and watches what the parts of the store ask of it.

So it shows that the parts need nothing but `StoreConnection`, and that they keep what every database asks of them: rows
change inside a transaction that writes, and nothing is said in words that SQLite alone understands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hl7bridge.store.connection import Rows, StoreConnection
from hl7bridge.store.kinds import Engine, Mark, Unmarked
from hl7bridge.store.sqlite.connection import SqliteConnection
from hl7bridge.store.sqlite.migrations import is_up_to_date
from hl7bridge.store.store import Store
from hl7bridge.store.worklist import Words

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)
SQLITE_ALONE = re.compile(
    r"INDEXED BY|json_extract|json_each|\?\d|LIMIT -1|\bWHERE 1\b(?! =)|\bOR (IGNORE|REPLACE)\b|IFNULL|PRAGMA|\bsqlite_"
    r"|\browid\b|\bGLOB\b|strftime|julianday|last_insert_rowid|changes\(\)",
    re.IGNORECASE,
)


class WatchedConnection(StoreConnection):
    """A connection over another one."""

    def __init__(self, inner: StoreConnection) -> None:
        self.inner = inner
        self.statements: set[str] = set()
        self.is_writing = self.is_reading = False

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        return self.inner.execute(self._watched(sql), parameters)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> Rows:
        return self.inner.execute_many(self._watched(sql), rows)

    def _watched(self, sql: str) -> str:
        if sql not in self.statements:
            assert not (said := SQLITE_ALONE.search(sql)), f"{said[0]} belongs to the dialect: {sql}"
        assert self.is_writing or not WRITES.match(sql), f"outside a transaction: {sql}"
        self.statements.add(sql)
        return sql

    @contextmanager
    def writing(self) -> Iterator[None]:
        assert not self.is_writing, "a transaction within a transaction"
        assert not self.is_reading, "a transaction within a transaction"
        with self.inner.writing():
            self.is_writing = True
            try:
                yield
            finally:
                self.is_writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        assert not self.is_writing, "a transaction within a transaction"
        assert not self.is_reading, "a transaction within a transaction"
        with self.inner.reading():
            self.is_reading = True
            try:
                yield
            finally:
                self.is_reading = False

    def by_index(self, name: str) -> str:
        assert name in self.inner.by_index(name)
        return ""

    def check(self) -> None:
        self.inner.check()

    def close(self) -> None:
        self.inner.close()


class WatchedKind:
    """A second kind of store: `watched://NAME`, over a SQLite file of a folder. It is no file of this machine, as far as
    anybody else knows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, location: str, words: Words) -> Store:
        return Store(WatchedConnection(SqliteConnection(self._folder / location.partition("://")[2])), words)

    def file(self, location: str) -> Path | None:
        return None

    def mark(self, location: str) -> Mark:
        return Unmarked()

    def is_current(self, location: str) -> bool:
        return is_up_to_date(self._folder / location.partition("://")[2])

    def engine(self) -> Engine:
        return Engine("watched", "a watched database", is_usual=False, schema=1)
