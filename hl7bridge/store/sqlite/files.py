"""The files of a store while it is open: the database, its write-ahead log (-wal) and the log's index (-shm).

SQLite holds them open and never looks at their names again. When one of them is removed or replaced under it, commits
succeed into a file that nobody finds again. SQLite itself removes the log only with the last connection, so while one is
open any change is somebody else's doing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_HEADER = 32  # bytes of the log's header, which the first commit writes
_Identity = tuple[int, int]


class StoreFiles:
    """Which files they are, whatever stands at their paths later. Not for several threads; each `Store` has its own."""

    def __init__(self, path: Path) -> None:
        """`path` of the database; nothing is looked at yet."""
        self.database = path.absolute()
        self.log = self.database.with_name(f"{self.database.name}-wal")
        self._index = self.database.with_name(f"{self.database.name}-shm")
        self._known: dict[Path, tuple[str, _Identity]] = {}  # the path also as the system wants it
        self._descriptor = -1
        self._users = -1

    def enter(self) -> bool:
        """Say that we use the store, until `close`; False when its log was removed under others who still use it. We
        would make a new log then, and what they and we write would not fit together.

        The index without a log is what such a hand leaves (SQLite makes the log first, and removes the index first), and
        what remains of it when those others died. Raises OSError when the file of the users cannot be made.
        """
        if sys.platform == "win32":
            return True  # where nobody can remove a file that is open
        self._users = os.open(self.database.with_name(f"{self.database.name}-open"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if self._index.exists() and not self.log.exists():
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(self._users, fcntl.LOCK_SH)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
        return True

    def remember_database(self) -> None:
        """Note which file the database is: to be called as soon as it is open."""
        self._remember(self.database)

    def remember_log(self) -> None:
        """Note which files the log and its index are: to be called once something was read."""
        self._remember(self.log)
        self._remember(self._index)
        # Windows lets nobody remove a file that is open, so there SQLite itself could not remove the log at the end.
        if sys.platform != "win32" and self.log in self._known:
            self._descriptor = os.open(self.log, os.O_RDONLY)

    def missing(self) -> str:
        """The name of a file that is gone, replaced or emptied; "" when all stand. Some microseconds."""
        for path, (name, known) in self._known.items():
            if _identity(name) != known:
                return path.name
        return self.log.name if self._emptied() else ""

    def log_is_gone(self) -> bool:
        """Whether there is no log at its path, and the others stand: then nobody opened the store anew since."""
        others = all(_identity(name) == known for path, (name, known) in self._known.items() if path != self.log)
        return others and _identity(str(self.log)) is None

    def close(self) -> None:
        """Forget them."""
        self._known.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)  # of the log: SQLite's locks are on the other two
            self._descriptor = -1
        if self._users >= 0:
            os.close(self._users)
            self._users = -1

    def _remember(self, path: Path) -> None:
        name = str(path)
        found = _identity(name)
        if found is not None:
            self._known[path] = name, found

    def _emptied(self) -> bool:
        """Whether the log was emptied by another hand: SQLite writes on at its place, and leaves zeros where the header
        stood. An empty log is none: that is how a checkpoint may leave it."""
        if self._descriptor < 0:
            return False
        header = os.pread(self._descriptor, _HEADER, 0)
        return bool(header) and not any(header)


def _identity(path: str) -> _Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (before each answer, and Path.stat takes twice as long)
    except OSError:
        return None
    return found.st_dev, found.st_ino
