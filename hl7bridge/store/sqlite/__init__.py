"""The store in one SQLite file: its connection and driver, the files, the turn at the write lock, and the schema."""

from __future__ import annotations

from hl7bridge.store.sqlite.store import SqliteStore as SqliteStore
