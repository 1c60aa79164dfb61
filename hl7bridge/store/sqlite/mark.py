"""A small file beside the database (`-made`): that there is a store here, and whether a service has it or left it in order.

Without it a database that was deleted would look like a first start: an empty store would be made, every person searched
anew, and what waits for delivery forgotten. A whole folder that is gone, with the mark in it, looks like one still.
"""

from __future__ import annotations

import os
from pathlib import Path

RUNNING, STOPPED = "running", "stopped in order"


class StoreMark:
    """The mark of one database. What cannot be written there costs no message: the disk may be full."""

    def __init__(self, database: Path) -> None:
        self._database = database.absolute()
        self.path = self._database.with_name(f"{self._database.name}-made")

    @property
    def lost(self) -> bool:
        """Whether there was a store, and is none."""
        return self.path.exists() and not self._database.exists()

    def made(self) -> None:
        """There is a store: it is opened for the first time, or by the first version that marks it."""
        if not self.path.exists():
            self._write("")

    def begin(self) -> bool:
        """A service takes the store. False when it did not leave it in order the last time, or nobody knows."""
        try:
            in_order = self.path.read_bytes().strip() == STOPPED.encode()
        except OSError:
            in_order = False
        self._write(RUNNING)
        return in_order

    def end(self) -> None:
        """The service has closed the store."""
        self._write(STOPPED)

    def forget(self) -> None:
        """A new store is to be made, though there was one. Raises OSError."""
        self.path.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, f"{text}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            pass
