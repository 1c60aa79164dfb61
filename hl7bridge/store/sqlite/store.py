"""The store in one SQLite file."""

from __future__ import annotations

import os
from pathlib import Path

from hl7bridge.store.sqlite.connection import BUSY_TIMEOUT, SqliteConnection
from hl7bridge.store.sqlite.migrations import MIGRATIONS
from hl7bridge.store.store import Store
from hl7bridge.store.worklist import Words, unworded


class SqliteStore(Store):
    """A `Store` in one file."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        words: Words = unworded,
        busy_timeout: float = BUSY_TIMEOUT,
        migrations: Path = MIGRATIONS,
    ) -> None:
        """Open the file, or make it: see `SqliteConnection`, whose errors this raises."""
        super().__init__(SqliteConnection(path, busy_timeout=busy_timeout, migrations=migrations), words)
