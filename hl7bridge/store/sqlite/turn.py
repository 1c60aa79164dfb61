"""Taking turns at the write lock, between threads and processes.

SQLite's write lock goes to whoever asks at the right moment. A writer that commits in a tight loop asks first nearly
always, and another process, which sleeps between its tries, starves. So everybody who wants the write lock first takes
a turn: an advisory lock on a file beside the store, held only until the write lock is gained. Whoever waits for the write
lock holds the turn, and the busy writer cannot ask again before it. Two cheap system calls when nobody waits; the
operating system ends the turn of a process that dies.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class StoreTurn:
    """The turn at one store. Not for several threads; each `Store` has its own."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file cannot be made."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self) -> bool:
        """True when the turn is ours now, False when another has it."""
        try:
            if sys.platform == "win32":
                msvcrt.locking(self._file, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            return True  # a file system without locks: no turns there, and SQLite's own lock still protects the data
        return True

    def give(self) -> None:
        """Let the next one ask."""
        try:
            if sys.platform == "win32":
                msvcrt.locking(self._file, msvcrt.LK_UNLCK, 1)
            else:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError:
            pass  # was never held: see `take`

    def close(self) -> None:
        """Close the file; a turn that is held ends."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
