"""From the `[store]` setting to an open store."""

from __future__ import annotations

import os
from pathlib import Path

from hl7bridge.errors import ConfigError
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.sqlite.mark import StoreMark
from hl7bridge.store.store import Store
from hl7bridge.store.worklist import Words, unworded


def open_store(location: str | os.PathLike[str], words: Words = unworded) -> Store:
    """Open the store at a path or at `sqlite:///PATH`; make it where there is none.

    Raises ConfigError for a kind of store that this version does not have, StoreError when the store cannot be used.
    """
    return SqliteStore(path_of(location), words=words)


def path_of(location: str | os.PathLike[str]) -> Path:
    """The file of a store. Raises ConfigError for a kind that has none."""
    text = os.fspath(location)
    scheme, separator, path = text.partition("://")
    if not separator:
        return Path(text)
    if scheme != "sqlite":
        raise ConfigError(
            f"there is no store of the kind {scheme}", key="store", advice="Give the path of a SQLite file"
        )
    # sqlite:///data.db is relative, sqlite:////var/data.db is absolute, as SQLAlchemy and others have it.
    return Path(path.removeprefix("/"))


def mark_of(location: str | os.PathLike[str]) -> StoreMark:
    """What is known of the store beside it: that there is one, and how the last service left it."""
    return StoreMark(path_of(location))
