"""A wall clock that is set back (an administrator, a virtual machine that was restored, a time server): noticed, so that
nobody waits for hours that were not meant.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hl7bridge.store.store import Store

SET_BACK = 86400.0  # seconds at most by which a clock was set back between two starts: beyond, it was wrong before
SMALL = 5.0  # seconds; less is what time servers correct now and then


class ClockWatch:
    """Compares the wall clock with one that only goes forward."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._before = wall(), steady()

    def set_back(self) -> float:
        """Seconds by which the wall clock was set back since the last call; 0 = it was not."""
        wall, steady = self._wall(), self._steady()
        missing = (steady - self._before[1]) - (wall - self._before[0])
        self._before = wall, steady
        return missing if missing > SMALL else 0.0


def came_last(store: Store, now: float) -> float:
    """When the last message came, so that a clock that was set back while nothing ran makes no later one stale; 0 = none."""
    received = store.audit.last_received()
    return received if received <= now + SET_BACK else 0.0
