"""SQLite as a kind of store: a path, or `sqlite:///PATH`."""

from __future__ import annotations

from pathlib import Path

from hl7bridge.store.kinds import Engine
from hl7bridge.store.sqlite import driver
from hl7bridge.store.sqlite.mark import StoreMark
from hl7bridge.store.sqlite.migrations import MIGRATIONS, is_up_to_date, numbered
from hl7bridge.store.sqlite.store import SqliteStore
from hl7bridge.store.worklist import Words


class SqliteKind:
    """One file on a local disk."""

    def open(self, location: str, words: Words) -> SqliteStore:
        """Raises StoreError when it cannot be used."""
        return SqliteStore(self.file(location), words=words)

    def file(self, location: str) -> Path:
        """sqlite:///data.db is relative, sqlite:////var/data.db is absolute, as SQLAlchemy and others have it."""
        _, separator, path = location.partition("://")
        return Path(path.removeprefix("/") if separator else location)

    def mark(self, location: str) -> StoreMark:
        """A small file beside it."""
        return StoreMark(self.file(location))

    def is_current(self, location: str) -> bool:
        """By the number of its last migration."""
        return is_up_to_date(self.file(location))

    def engine(self) -> Engine:
        """The library, and its known fault."""
        code, flaw, cure = ("sqlite", "", "") if driver.SAFE else ("sqlite-race", driver.RACE, driver.CURE)
        return Engine(code, driver.in_words(), driver.NAME == driver.OURS, flaw, cure, len(numbered(MIGRATIONS)))
