"""Where log lines go: a queue, and a thread that writes them. Nobody who logs ever waits for a disk or a reader, or fails.

A disk that is full, a pipe whose reader is gone or stands still: the lines wait, `MOST` of them, and go out once that is
over, with how many were lost by then. A file that was renamed (logrotate) is made anew.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hl7bridge.errors import ConfigError

MOST = 10_000  # lines that wait
REST = 1.0  # seconds between two tries to write
LOOK = 1.0  # seconds between two looks whether the file is still at its path
BATCH = 200  # lines in one write


class LogSink:
    """One place to write to: a file, or standard error (None)."""

    def __init__(
        self,
        path: Path | None,
        lost: Callable[[int], str],
        *,
        most: int = MOST,
        rest: Callable[[float], object] = time.sleep,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lost(count)`: the line that says how many are missing. `rest(seconds)`, `steady()`: for tests.

        Raises ConfigError where there can be no such file."""
        self._path, self._lost_line, self._most = path, lost, most
        self._rest, self._steady = rest, steady
        self._lines: deque[str] = deque()
        self._change = threading.Condition()
        self._lost = 0
        self._busy = False
        self._reopen = False
        self._looked = steady()
        self._descriptor = self._opened_first()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    # -- for those who log --

    def put(self, line: str) -> None:
        """Have a line written; dropped, and counted, where too many wait."""
        with self._change:
            if len(self._lines) >= self._most:
                self._lost += 1
                return
            self._lines.append(line)
            self._change.notify_all()

    def reopen(self) -> None:
        """Write to a file of that name, whatever became of the one before."""
        with self._change:
            self._reopen = True
            self._change.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all lines are out, so many seconds; whether they are."""
        with self._change:
            return self._change.wait_for(lambda: not (self._lines or self._busy), timeout)

    # -- the thread --

    def _run(self) -> None:
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                self._change.wait_for(lambda: self._lines or self._reopen)
                self._busy = True
                reopen, self._reopen = self._reopen, False
                count = min(len(self._lines), BATCH)
                lines = [self._lines.popleft() for _ in range(count)]
                if self._lost:
                    lines.append(self._lost_line(self._lost))
                    self._lost = 0
            self._follow(reopen)
            self._write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))

    def _write(self, data: bytes) -> None:
        """Write all of it, however long that takes: those that come meanwhile wait, or are counted."""
        at = 0
        while at < len(data):
            try:
                at += os.write(self._descriptor, data[at : at + 65536])
            except OSError:
                self._rest(REST)
                self._follow(self._descriptor < 0)

    def _follow(self, reopen: bool) -> None:
        """Open the file anew where somebody asks for it, or it is not at its path any more."""
        if self._path is None:
            return
        now = self._steady()
        if not reopen and now - self._looked < LOOK:
            return
        self._looked = now
        if not reopen and self._is_there():
            return
        try:
            descriptor = self._opened(self._path)
        except OSError:
            return  # the one before is better than none
        before, self._descriptor = self._descriptor, descriptor
        if before >= 0:
            with suppress(OSError):  # what it could not keep (NFS, a full disk) must not end this thread
                os.close(before)

    def _is_there(self) -> bool:
        assert self._path is not None, "called for a file"
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def _opened_first(self) -> int:
        if self._path is None:
            # A closed standard error must not become the number of a file of ours.
            return sys.stderr.fileno() if sys.stderr is not None else -1
        try:
            return self._opened(self._path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
            reason = (error.strerror or "it cannot be made").lower()
            advice = "Name a file in a folder that exists, where the service may write."
            raise ConfigError(
                f"there can be no log file: {reason}", file="conf/hl7bridge.toml", key="log.file", advice=advice
            ) from None
        except OSError:
            return -1  # a full disk, for one: tried again with each line

    @staticmethod
    def _opened(path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
