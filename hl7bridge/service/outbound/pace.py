"""How fast a destination is sent to: as fast as it takes it, and never in a storm while it is down.

Requests at one time grow with each success and are halved by each failure in passing, as TCP does; a server that fails
now and then is sent to at nearly its own rate. Only failures of several people in a row, without a success between, or
connections that do not come about, are taken for a server that is down: then nothing is sent for a while, longer each time,
and two requests at a time ask whether it is back: one answer may be about the person. Who fails alone (failing.py) slows
nobody else.

Here it is only decided. What was learned is the destination's health, in the store, for all who deliver to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hl7bridge.destinations.retry import OF_ONE_PERSON, UNREACHABLE
from hl7bridge.model import Outcome, Result
from hl7bridge.model.health import Health
from hl7bridge.service.outbound.failing import Failing, Person

REST_LONGEST = 15.0  # seconds that a destination rests at most, however long it has been down, or asks to be left
IN_A_ROW = 4  # people, or connections, that fail without a success between, and make a rest
ASKING = 2  # people about whom the server asks to wait that do so
ASKED = 2  # people at one time about whom it is asked after a rest


@dataclass(frozen=True, slots=True)
class Pace:
    """What is agreed of one destination.

    in_flight   deliveries at one time while all is well, of everybody together
    longest     the longest rest, seconds
    """

    in_flight: int = 8
    longest: float = REST_LONGEST

    def learn(
        self, health: Health, failing: Failing, person: Person, outcome: Outcome, now: float, draw: Callable[[], float]
    ) -> Health:
        """Learn from one outcome, also who fails. `draw` returns a number in [0, 1).

        A version conflict says nothing of the server; a lost reply neither, but that nothing was gained.
        """
        if outcome.result is Result.RETRY and outcome.local not in OF_ONE_PERSON:
            return self._failed(health, failing, person, outcome, now, draw)
        if outcome.result in (Result.RETRY, Result.UNKNOWN, Result.PAUSED):
            return health
        failing.succeeded(person)
        more = health.at_once + 1.0 if health.at_once else 0.0
        at_once = more if more < self.in_flight else 0.0
        return replace(health, failures=0, rests=0, rest_until=0.0, at_once=at_once)

    def _failed(
        self, health: Health, failing: Failing, person: Person, outcome: Outcome, now: float, draw: Callable[[], float]
    ) -> Health:
        unreachable = outcome.local == UNREACHABLE
        if not unreachable and not failing.failed(person):
            return health
        failures = health.failures + 1 if unreachable else max(health.failures, len(failing.lately))
        rests, rest_until = health.rests, health.rest_until
        if rest_until > now + self.longest:
            rest_until = 0.0  # the clock was set back
        # What was under way when a rest began belongs to it, and does not make the next one longer.
        if failures >= IN_A_ROW and now >= rest_until:
            rests += 1
            rest = min(self.longest, 0.25 * 2.0 ** min(rests, 10))
            rest_until = now + rest * (0.5 + draw() / 2)
        if outcome.retry_after and failures >= ASKING:
            rest_until = max(rest_until, now + min(outcome.retry_after, self.longest))
        at_once = max(1.0, (health.at_once or self.in_flight) / 2)
        return replace(health, failures=failures, rests=rests, rest_until=rest_until, at_once=at_once)

    def at_most(self, health: Health) -> int:
        """How many deliveries may be under way at the destination, of everybody together: no more than may be sent while
        it fails, and one asks whether it takes our token again. 0 = all is well."""
        if health.told:
            return 1
        return max(int(health.at_once), ASKED) if health.rests else int(health.at_once)

    def again(self, health: Health, slots: int, open_now: int) -> int:
        """How many that were tried before this process may claim: a quarter of its `slots`, for they may hold theirs for
        long; none while one asks whether our token is taken again, or it has no slots: the others have them all."""
        if health.told or not slots:
            return 0
        return max(0, (1 if self.at_most(health) else max(1, slots // 4)) - open_now)

    def room(self, health: Health, slots: int, open_now: int) -> int:
        """How many deliveries this process may claim, beside those that it has open: while all is well twice the `slots`
        that it may send at one time, so that no worker waits for a claim."""
        return max(0, slots * (1 if self.at_most(health) else 2) - open_now)
