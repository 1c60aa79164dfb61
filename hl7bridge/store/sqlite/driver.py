"""The SQLite library that the store runs on. This is the one module that imports a driver; tests take it from here, too.

Two copies of SQLite in one process drop each other's locks on a file (POSIX locks belong to the process, see
sqlite.org/howtocorrupt.html, 2.2.1), so there must be one. pysqlite3 carries its own; without it there is that of the
interpreter. sqlite-utils chooses in the same way, and so ends up with the same library.

SQLite before 3.51.3 has a data race (sqlite.org/wal.html, "the WAL-reset bug"): of two connections that checkpoint one
after the other while a third commits, the second may note frames as copied that were not, and a commit is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3  # pysqlite3 has the same interface, and no types of its own
else:
    try:
        import pysqlite3 as sqlite3
    except ImportError:
        import sqlite3

__all__ = [
    "CURE",
    "FIRST_SAFE",
    "NAME",
    "OURS",
    "RACE",
    "SAFE",
    "VERSION",
    "in_words",
    "is_safe",
    "open_blob",
    "sqlite3",
]

FIRST_SAFE = (3, 51, 3)
"""The first version without the race."""

OURS = "pysqlite3"
"""The package that an installation brings where there is a wheel of it."""

VERSION: str = sqlite3.sqlite_version
"""The version of SQLite in use, such as "3.53.4"."""

NAME: str = sqlite3.__name__
"""The package it came with: `OURS`, or "sqlite3" for that of the interpreter."""


def open_blob(connection: sqlite3.Connection, table: str, column: str, row_id: int) -> sqlite3.Blob:
    """A value that is there already, to be written a piece at a time."""
    if NAME == OURS:  # which has it under another name
        blob: sqlite3.Blob = connection.open_blob(table, column, row_id)  # type: ignore[attr-defined]
        return blob
    return connection.blobopen(table, column, row_id)


def is_safe(version: Sequence[int]) -> bool:
    """Whether a version of SQLite, such as (3, 40, 1), is without the race."""
    return tuple(version) >= FIRST_SAFE


SAFE = is_safe(sqlite3.sqlite_version_info)
"""Whether any number of connections may checkpoint; otherwise `SqliteStore` lets nobody write while one does."""

RACE = "before 3.51.3 a checkpoint may lose a commit, so nobody writes while one runs, and senders wait longer"
"""What people are told of a version that is not safe: why it matters,"""

CURE = "Install pysqlite3 into the same environment, or use a Python whose SQLite is 3.51.3 or newer."
"""and what to do."""


def in_words() -> str:
    """Which SQLite it is, and that it is the interpreter's where pysqlite3 is missing."""
    return f"SQLite {VERSION} of " + (NAME if NAME == OURS else "this Python (pysqlite3 is not installed)")
