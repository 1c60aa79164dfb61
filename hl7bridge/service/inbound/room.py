"""Whether there is room left for new messages: they are refused before the disk is full, so that what was taken can still be
delivered and written down.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from hl7bridge.service.log import Log

LOOK = 1.0  # seconds between two looks at the disk
AGAIN = 1.25  # times the mark that must be free before messages are taken again: no coming and going at the mark

Usage = Callable[[Path], tuple[int, int, int]]
"""Bytes in all, used and free of the disk that holds a path; raises OSError."""


class Room:
    """That on the disk of one store. `left` may be asked before each commit; it looks at most every `LOOK` seconds.

    folder        on that disk; None: the store is on another machine, and whether there is room is seen there
    keep_free     bytes; with less than this left, and
    percent       with less than this part of the disk left, there is no room. Either 0: there always is
    tell          the one place that hears when room ends and when there is some again: (is there, free bytes, percent)
    """

    def __init__(
        self,
        folder: Path | None,
        keep_free: int,
        percent: float,
        tell: Callable[[bool, int, float], None],
        *,
        usage: Usage = shutil.disk_usage,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._keep_free, self._percent, self._tell = folder, keep_free, percent, tell
        self._usage, self._steady = usage, steady
        self._looked = -LOOK
        self._there = True

    def left(self) -> bool:
        """Whether new messages may be taken. A disk that does not say is taken for one that has room."""
        now = self._steady()
        if now - self._looked >= LOOK and self._folder and self._keep_free and self._percent:
            self._looked = now
            self._look()
        return self._there

    def _look(self) -> None:
        assert self._folder is not None
        try:
            whole, _, free = self._usage(self._folder)
        except OSError:
            return
        mark = min(self._keep_free, whole * self._percent / 100)
        there = free >= (mark if self._there else min(mark * AGAIN, whole * 0.9))
        if there != self._there:
            self._there = there
            self._tell(there, free, round(100 * free / whole, 1) if whole else 0.0)


def telling(log: Log) -> Callable[[bool, int, float], None]:
    """Room that ends is an error line, the alert; room again is information."""

    def tell(there: bool, free: int, percent: float) -> None:
        if there:
            log.info("room on the disk again, messages are taken", bytes=free, percent=percent)
        else:
            log.error("little room on the store's disk, messages refused", bytes=free, percent=percent)

    return tell
