"""From the `[store]` setting to an open store, and to what is known of it without opening it."""

from __future__ import annotations

import os
from pathlib import Path

from hl7bridge.errors import ConfigError
from hl7bridge.store.kinds import Engine, Mark, StoreKind
from hl7bridge.store.sqlite.kind import SqliteKind
from hl7bridge.store.store import Store
from hl7bridge.store.worklist import Words, unworded

KINDS: dict[str, StoreKind] = {"sqlite": SqliteKind()}
"""What a location begins with -> the kind of store; a mere path is that of a SQLite file."""

Location = str | os.PathLike[str]


def kind_of(location: Location) -> StoreKind:
    """The kind of store at a location. Raises ConfigError for one that this version does not have."""
    scheme, separator, _ = os.fspath(location).partition("://")
    kind = KINDS.get(scheme if separator else "sqlite")
    if kind is None:
        problem, advice = f"there is no store of the kind {scheme}", "Give the path of a SQLite file"
        raise ConfigError(problem, key="store", advice=advice)
    return kind


def open_store(location: Location, words: Words = unworded) -> Store:
    """Open the store at a path or at `sqlite:///PATH`; make it where there is none.

    Raises ConfigError for a kind of store that this version does not have, StoreError when the store cannot be used.
    """
    return kind_of(location).open(os.fspath(location), words)


def file_of(location: Location) -> Path | None:
    """The file of a store; None where it is none of this machine. Raises ConfigError, as all below."""
    return kind_of(location).file(os.fspath(location))


def mark_of(location: Location) -> Mark:
    """What is known of the store beside it: that there is one, and how the last service left it."""
    return kind_of(location).mark(os.fspath(location))


def is_current(location: Location) -> bool:
    """Whether the store is there with the schema of this version. Nothing is changed."""
    return kind_of(location).is_current(os.fspath(location))


def engine_of(location: Location) -> Engine:
    """What the store runs on."""
    return kind_of(location).engine()
