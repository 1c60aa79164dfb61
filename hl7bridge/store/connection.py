"""What the parts of the store share: a connection that runs SQL, transactions, numbers in order of commit, history.

The parts (inbox, claims, settlements, lookups) hold the SQL and the rules; a kind of database (`sqlite/`) supplies the
abstract methods of the connection, and the schema. SQL is written with `?` and with what SQLite and PostgreSQL both
understand.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol, TypeVar

from hl7bridge.model.listing import Listed, cursor

WIDTHS = (1, 8, 64)  # values looked up by one statement; few numbers, so that each statement stays prepared
ROWS = (16, 4)  # rows inserted by one statement, and the rest one by one; few numbers, and at most 999 values in all

_DRAW_BOTH = (
    "UPDATE counter SET value = value + CASE name WHEN 'message' THEN ? ELSE ? END"
    " WHERE name IN ('message', 'delivery')"
)
_HISTORY = "INSERT INTO history (at, message_id, delivery_id, event, detail) VALUES (?, ?, ?, ?, ?)"


class Rows(Protocol):
    """What a statement returns (the part of a DB-API cursor that we use)."""

    @property
    def rowcount(self) -> int:
        """Rows changed."""

    @property
    def description(self) -> Any:
        """One entry per column, its name first."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All further rows."""

    def __iter__(self) -> Iterator[Any]: ...


class StoreConnection(ABC):
    """A connection with transactions. Every error of the driver leaves `writing` and `reading` as a StoreError."""

    @abstractmethod
    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """Run one statement. A parameter of True or False is stored as 1 or 0: columns that say yes or no are integers."""

    @abstractmethod
    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> Rows:
        """Run one statement for each row; `rowcount` tells how many rows all of them changed."""

    def insert(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert the rows, in order. `sql` inserts one, and ends with its VALUES.

        Several rows take one statement: each of a statement's steps lets another thread have the interpreter, and waits to
        have it back.
        """
        done = 0
        for count in ROWS:
            while len(rows) - done >= count:
                self.execute(_of_several(sql, count), list(chain.from_iterable(rows[done : done + count])))
                done += count
        if done < len(rows):
            self.execute_many(sql, rows[done:])

    def insert_large(self, sql: str, row: Sequence[Any], table: str, column: str) -> None:
        """Run the statement that inserts one row, its number first and a very long `column` last, with as few copies of that
        in memory as the database allows."""
        self.execute(sql, row)

    @abstractmethod
    def by_index(self, name: str) -> str:
        """SQL behind a table's name that lets this index alone be used; "" where the database chooses well by itself."""

    @abstractmethod
    def check(self) -> None:
        """See that what the store stands on is what was opened; StoreError when it was moved, removed or replaced."""

    @abstractmethod
    def close(self) -> None:
        """Close it; a connection that is closed twice does not mind."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """A transaction that writes: committed and synced at the end, undone by any exception."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[None]:
        """A transaction that reads: every statement in it sees the same commit."""

    def looks_sound(self, seconds: float) -> bool | None:
        """Whether the database itself is sound, as far as that shows in so many seconds; None where it does not."""
        return True

    def draw(self, counter: str, count: int = 1) -> int:
        """The first of `count` new numbers. Whoever draws holds the counter's row until the commit, so the order of the
        numbers is the order of commit over all connections."""
        self.execute("UPDATE counter SET value = value + ? WHERE name = ?", (count, counter))
        last: int = self.execute("SELECT value FROM counter WHERE name = ?", (counter,)).fetchone()[0]
        return last - count + 1

    def draw_for_messages(self, messages: int, deliveries: int) -> tuple[int, int]:
        """The first of so many new numbers of messages, and of deliveries, as `draw` gives them, at the cost of one."""
        self.execute(_DRAW_BOTH, (messages, deliveries))
        last = dict(self.execute("SELECT name, value FROM counter WHERE name IN ('message', 'delivery')").fetchall())
        return last["message"] - messages + 1, last["delivery"] - deliveries + 1

    def note(self, at: float, message_id: int, delivery_id: int, event: str, **detail: Any) -> None:
        """Write a history row; `detail` holds ids, codes and our own texts, never message content."""
        self.execute(_HISTORY, (at, message_id, delivery_id, event, json.dumps(detail) if detail else ""))

    def note_all(self, rows: Iterable[tuple[float, int, int, str, str]]) -> None:
        """Write history rows (at, message id, delivery id, event, detail as JSON or "")."""
        self.insert(_HISTORY, list(rows))

    def present(self, look_up: Mapping[int, str], values: Collection[Any]) -> set[Any]:
        """Those of `values` that are there. `look_up` is made by `each`."""
        ordered = list(values)
        found: set[Any] = set()
        for start in range(0, len(ordered), WIDTHS[-1]):
            part = ordered[start : start + WIDTHS[-1]]
            width = next(width for width in WIDTHS if width >= len(part))
            there = self.execute(look_up[width], part + [None] * (width - len(part))).fetchone()
            found.update(value for value, is_there in zip(part, there, strict=False) if is_there)
        return found

    def dicts(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of a statement as dicts by column name."""
        rows = self.execute(sql, parameters)
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in rows]


@lru_cache(maxsize=64)
def _of_several(sql: str, rows: int) -> str:
    """An INSERT of one row as that of several."""
    begin, _, values = sql.rpartition(" VALUES ")
    return f"{begin} VALUES {', '.join([values] * rows)}"


class Numbered(Protocol):
    """A row of a list, which its id tells from all others."""

    @property
    def id(self) -> int: ...


NumberedRow = TypeVar("NumberedRow", bound=Numbered)


def page(of: str, rows: Sequence[NumberedRow], limit: int) -> Listed[NumberedRow]:
    """A page of at most `limit` of the rows, by their `id`: one more was read to see whether the list goes on."""
    listed = tuple(rows[:limit])
    return Listed(listed, cursor(of, listed[-1].id) if listed and len(rows) > limit else "")


class StorePart:
    """A part of the store: it has a connection, which it shares with the other parts."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection
        # Bound here once: these are called some twenty times a message.
        self._execute, self._executemany = connection.execute, connection.execute_many
        self._writing, self._reading = connection.writing, connection.reading
        self._draw, self._present, self._dicts = connection.draw, connection.present, connection.dicts
        self._note, self._note_all = connection.note, connection.note_all


def each(table: str, column: str) -> Mapping[int, str]:
    """SQL that tells for each of so many values (`WIDTHS`) whether a row has it: a probe of the index each, whatever rows
    there are."""
    probe = f"EXISTS (SELECT 1 FROM {table} WHERE {column} = ?)"  # noqa: S608 (our names)
    return {width: "SELECT " + ", ".join([probe] * width) for width in WIDTHS}


def conditions(filters: dict[str, Any]) -> tuple[str, list[Any]]:
    """Those that are given, as SQL to go on after a condition, and their values."""
    given = {condition: value for condition, value in filters.items() if value}
    return "".join(f" AND {condition}" for condition in given), list(given.values())


def marks(count: int) -> str:
    """`count` placeholders for an IN list."""
    return ", ".join("?" * count)


def chunks(values: Iterable[Any], size: int = 500) -> Iterator[list[Any]]:
    """The values in lists of at most `size`, for IN lists of bounded length."""
    ordered = list(values)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
