"""How often a destination may be asked anything: the requests of this process, evenly spaced."""

from __future__ import annotations

import threading
from collections.abc import Callable


class TokenBucket:
    """At most `rate` takes a second, evenly spaced; 0 = no limit. Threads wait in `sleep`, outside the lock."""

    def __init__(self, rate: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self) -> None:
        """Return when the next request may leave."""
        if self._rate <= 0:
            return
        with self._lock:
            now = self._clock()
            at = max(now, self._free_at)
            self._free_at = at + 1 / self._rate
        if at > now:
            self._sleep(at - now)
