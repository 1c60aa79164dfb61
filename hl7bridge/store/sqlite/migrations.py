"""Numbered migrations: each a .sql file, applied in a transaction of its own and recorded in it.

Before an existing store is changed, a copy of it is kept beside it (`NAME.before-0002`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from hl7bridge.errors import StoreError
from hl7bridge.store.connection import StoreConnection
from hl7bridge.store.sqlite.driver import sqlite3

MIGRATIONS = Path(__file__).parent / "schema"

_NAME = re.compile(r"(\d{4})_\w+\.sql")


def migrate(connection: StoreConnection, path: Path, folder: Path = MIGRATIONS) -> None:
    """Bring the schema of an open store up to date.

    Raises StoreError when the file holds something else, or was written by a newer version; an upgrade that fails leaves
    the store as it was.
    """
    known = numbered(folder)
    version = _version(connection, path)
    if version > len(known):
        raise StoreError(
            f"the store {path} was written by a newer hl7bridge (schema {version}, this one knows {len(known)}): install"
            " that version, or restore the copy that was kept before the upgrade"
        )
    for number, migration in known[version:]:
        with connection.writing():
            if _version(connection, path) >= number:
                continue  # another process came first
            if version:
                _keep_copy(path, number)
                version = 0  # one copy, of what was there before the first step
            for statement in statements(migration.read_text(encoding="utf-8")):
                connection.execute(statement)
            connection.execute("INSERT INTO migration (number, name) VALUES (?, ?)", (number, migration.name))


def is_up_to_date(path: Path, folder: Path = MIGRATIONS) -> bool:
    """Whether a file is a store with the schema of this version. Nothing is changed; False for whatever can't be read."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            (version,) = connection.execute("SELECT MAX(number) FROM migration").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return bool(version == len(numbered(folder)))


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """The migrations of a folder in order. Raises StoreError unless they are numbered 1, 2, 3..."""
    found = sorted((int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)))
    if not found or [number for number, _ in found] != list(range(1, len(found) + 1)):
        raise StoreError("the migrations of this installation are incomplete: install hl7bridge again")
    return found


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _version(connection: StoreConnection, path: Path) -> int:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    if "migration" not in tables:
        raise StoreError(f"{path} is a database of something else, not a store of hl7bridge: check the path")
    version: int = connection.execute("SELECT COALESCE(MAX(number), 0) FROM migration").fetchone()[0]
    return version


def _keep_copy(path: Path, number: int) -> None:
    """Copy the last commit. The caller holds the write lock, so nothing is committed meanwhile."""
    copy = path.with_name(f"{path.name}.before-{number:04}")
    partial = copy.with_name(f"{copy.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        source, target = sqlite3.connect(path), sqlite3.connect(partial)
        try:
            source.backup(target)
        finally:
            target.close()
            source.close()
        partial.replace(copy)
    except (OSError, sqlite3.Error):
        partial.unlink(missing_ok=True)
        raise StoreError(
            f"no copy of the store {path} could be kept before its upgrade, so nothing was changed: free space there, and"
            " check the permissions of the folder"
        ) from None
