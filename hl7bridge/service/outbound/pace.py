"""How fast a destination is sent to: as fast as it takes it, and never in a storm while it is down.

Requests at one time grow with each success and are halved by each failure in passing, as TCP does; a server that fails
now and then is sent to at nearly its own rate. Only failures in a row, without a success between, are taken for a server
that is down: then nothing is sent for a while, longer each time, and one request at a time asks whether it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hl7bridge.destinations.retry import OF_ONE_PERSON
from hl7bridge.model import Outcome, Result

REST_LONGEST = 30.0  # seconds that a destination rests at most, however long it has been down
IN_A_ROW = 4  # failures without a success between that make a rest; 8 % of failures do so once in 24,000


@dataclass(slots=True)
class Pace:
    """Of one destination in one process. Not thread-safe: the loop alone asks and tells it.

    in_flight   deliveries at one time while all is well
    longest     the longest rest, seconds
    at_once     deliveries at one time now
    failures    in passing, since the last success
    rest_until  Unix seconds until which nothing is to be sent; 0 = no rest
    """

    in_flight: int = 8
    longest: float = REST_LONGEST
    at_once: float = field(init=False)
    failures: int = 0
    rests: int = 0
    rest_until: float = 0.0

    def __post_init__(self) -> None:
        self.at_once = float(self.in_flight)

    def note(self, outcome: Outcome, now: float, draw: Callable[[], float]) -> None:
        """Learn from one outcome. `draw` returns a number in [0, 1).

        What is about one person alone (a version conflict) says nothing of the server; a lost reply neither, but that
        nothing was gained.
        """
        if outcome.result is Result.RETRY and outcome.local not in OF_ONE_PERSON:
            self._failed(outcome.retry_after, now, draw)
        elif outcome.result not in (Result.RETRY, Result.UNKNOWN, Result.PAUSED):
            self.failures = self.rests = 0
            self.rest_until = 0.0
            self.at_once = min(float(self.in_flight), self.at_once + 1.0)

    def _failed(self, asked: float, now: float, draw: Callable[[], float]) -> None:
        self.failures += 1
        self.at_once = max(1.0, self.at_once / 2)
        # What was under way when a rest began belongs to it, and does not make the next one longer.
        if self.failures >= IN_A_ROW and now >= self.rest_until:
            self.rests += 1
            rest = min(self.longest, 0.25 * 2.0 ** min(self.rests, 10))
            self.rest_until = now + rest * (0.5 + draw() / 2)
        if asked:
            self.rest_until = max(self.rest_until, now + asked)

    def room(self, open_now: int) -> int:
        """How many deliveries may be claimed beside those that are open: twice what may be sent at one time, so that no
        worker waits for a claim, and no more than may be sent while the server fails."""
        if self.at_once >= self.in_flight:
            return max(0, 2 * self.in_flight - open_now)
        return max(0, int(self.at_once) - open_now)
