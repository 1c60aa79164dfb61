"""How much a destination may be asked: requests at one time, and a second.

A budget is that of one process. Several instances that deliver to one destination divide what it may be sent: each is told
its share (`Budget.share`), so that all of them together keep to what is agreed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TokenBucket:
    """At most `rate` takes a second, evenly spaced; 0 = no limit. Threads wait in `sleep`, outside the lock."""

    def __init__(self, rate: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.rate, self._clock, self._sleep = rate, clock, sleep
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self) -> None:
        """Return when the next request may leave."""
        rate = self.rate
        if rate <= 0:
            return
        with self._lock:
            now = self._clock()
            at = max(now, self._free_at)
            self._free_at = at + 1 / rate
        if at > now:
            self._sleep(at - now)


class Budget:
    """`in_flight` requests at one time, `rate` a second (0 = no limit), for everybody together; here, of these the share."""

    def __init__(self, in_flight: int, rate: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.in_flight, self._rate = in_flight, rate
        self.bucket = TokenBucket(rate, clock, sleep)
        self._slots, self._taken = in_flight, 0
        self._freed = threading.Condition()

    def share(self, slots: int) -> None:
        """From now on `slots` of the requests at one time, and as great a part of the rate. At least one: what is under
        way already must end; who has none begins nothing new."""
        with self._freed:
            self._slots = min(max(1, slots), self.in_flight)
            self.bucket.rate = self._rate * self._slots / self.in_flight
            self._freed.notify_all()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """While it is open, it is one of the requests at one time; entering waits for a free one."""
        with self._freed:
            self._freed.wait_for(lambda: self._taken < self._slots)
            self._taken += 1
        try:
            yield
        finally:
            with self._freed:
                self._taken -= 1
                self._freed.notify()
