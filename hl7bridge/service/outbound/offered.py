"""What a server says that it offers: read when deliveries begin and on a schedule, told when it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hl7bridge.destinations.protocol import Destination, Offer

HOUR = 3600.0
READ_AGAIN = 300.0  # seconds until a server that did not say what it offers is asked again

Tell = Callable[[Offer | None, bool], None]
"""Called with the first offer, and with each that differs (True: there was another before); with None when there is none."""


def _nobody(offer: Offer | None, changed: bool) -> None:
    """Nobody is told."""


class Offered:
    """What the server says that it offers. Thread-safe.

    interval  seconds between two looks
    tell      see `Tell`; on the thread that looked
    """

    def __init__(
        self,
        destination: Destination,
        clock: Callable[[], float] = time.monotonic,
        *,
        interval: float = HOUR,
        tell: Tell = _nobody,
    ) -> None:
        self._destination, self._clock, self._interval, self._tell = destination, clock, interval, tell
        self._lock = threading.Lock()
        self._known: Offer | None = None
        self._due: float | None = None
        self._forgotten = 0  # times
        self._offer: Offer | None = None
        self._silent = False

    def current(self) -> Offer | None:
        """The latest offer; None where the server gave none so far: then everything is tried.

        The first caller reads, and the others wait for it; later, only the one who reads again waits.
        """
        due = self._due
        if due is not None and self._clock() < due:
            return self._known
        if not self._lock.acquire(blocking=due is None):
            return self._known
        try:
            due = self._due
            if due is None or self._clock() >= due:
                self._read()
            return self._known
        finally:
            self._lock.release()

    def watch(self, stopping: threading.Event, closed: Callable[[], float] = lambda: 0.0) -> None:
        """Look now and whenever it is due, until `stopping`; on a thread of its own, so that nothing waits for it. Not
        while `closed` (a maintenance window)."""
        while not stopping.is_set():
            if not closed():
                self.current()
            due = self._due
            stopping.wait(max(1.0, due - self._clock()) if due is not None else 1.0)

    def forget(self) -> None:
        """Read again with the next delivery. Waits for nobody: somebody may be reading just now, for half a minute."""
        self._forgotten += 1
        self._known = self._due = None

    def _read(self) -> None:
        forgotten = self._forgotten
        try:
            offer = self._destination.offer()
        except Exception:  # nothing that a server says there may stop deliveries
            offer = None
        self._known = offer or self._known
        if forgotten == self._forgotten:
            self._due = self._clock() + (self._interval if offer is not None else min(self._interval, READ_AGAIN))
        if offer is None and not self._silent and self._offer is None:
            self._tell(None, False)
        elif offer is not None and offer != self._offer:
            self._tell(offer, self._offer is not None)
        self._silent = offer is None
        self._offer = offer or self._offer
