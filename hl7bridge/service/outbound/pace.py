"""How fast a destination is sent to: as fast as it takes it, and never in a storm while it is down.

Requests at one time grow with each success and are halved by each failure in passing, as TCP does; a server that fails
now and then is sent to at nearly its own rate. Only failures in a row, without a success between, are taken for a server
that is down: then nothing is sent for a while, longer each time, and one request at a time asks whether it is back.

Here it is only decided. What was learned is the destination's health, in the store, for all who deliver to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hl7bridge.destinations.retry import OF_ONE_PERSON
from hl7bridge.model import Outcome, Result
from hl7bridge.model.health import Health

REST_LONGEST = 30.0  # seconds that a destination rests at most, however long it has been down
IN_A_ROW = 4  # failures without a success between that make a rest; 8 % of failures do so once in 24,000


@dataclass(frozen=True, slots=True)
class Pace:
    """What is agreed of one destination.

    in_flight   deliveries at one time while all is well, of everybody together
    longest     the longest rest, seconds
    """

    in_flight: int = 8
    longest: float = REST_LONGEST

    def learn(self, health: Health, outcome: Outcome, now: float, draw: Callable[[], float]) -> Health:
        """Learn from one outcome. `draw` returns a number in [0, 1).

        What is about one person alone (a version conflict) says nothing of the server; a lost reply neither, but that
        nothing was gained.
        """
        if outcome.result is Result.RETRY and outcome.local not in OF_ONE_PERSON:
            return self._failed(health, outcome.retry_after, now, draw)
        if outcome.result in (Result.RETRY, Result.UNKNOWN, Result.PAUSED):
            return health
        more = health.at_once + 1.0 if health.at_once else 0.0
        at_once = more if more < self.in_flight else 0.0
        return replace(health, failures=0, rests=0, rest_until=0.0, at_once=at_once)

    def _failed(self, health: Health, asked: float, now: float, draw: Callable[[], float]) -> Health:
        failures, rests, rest_until = health.failures + 1, health.rests, health.rest_until
        # What was under way when a rest began belongs to it, and does not make the next one longer.
        if failures >= IN_A_ROW and now >= rest_until:
            rests += 1
            rest = min(self.longest, 0.25 * 2.0 ** min(rests, 10))
            rest_until = now + rest * (0.5 + draw() / 2)
        if asked:
            rest_until = max(rest_until, now + asked)
        at_once = max(1.0, (health.at_once or self.in_flight) / 2)
        return replace(health, failures=failures, rests=rests, rest_until=rest_until, at_once=at_once)

    def at_most(self, health: Health) -> int:
        """How many deliveries may be under way at the destination, of everybody together: no more than may be sent while
        it fails, and one asks whether it takes our token again. 0 = all is well."""
        return 1 if health.told else int(health.at_once)

    def room(self, health: Health, slots: int, open_now: int) -> int:
        """How many deliveries this process may claim, beside those that it has open: while all is well twice the `slots`
        that it may send at one time, so that no worker waits for a claim."""
        return max(0, slots * (1 if self.at_most(health) else 2) - open_now)
