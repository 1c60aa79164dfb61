"""A server that refuses our token: the queue waits, one alert tells, and everything goes on by itself when it gives one.

A scope that is not granted does not cure itself: the destination waits until a person resumes it, or the service starts
anew (with other settings, perhaps).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hl7bridge.destinations.reasons import SCOPE_REFUSED
from hl7bridge.destinations.retry import RetryPolicy, next_step
from hl7bridge.model import Outcome
from hl7bridge.service.log import Log

_ADVICE = {
    SCOPE_REFUSED: "have the scopes approved, or correct auth.scopes; then hl7bridge destination resume NAME",
}


@dataclass(slots=True)
class Outage:
    """Of one destination in one process, for the loop's thread. `times`: pauses in a row; `until`: Unix seconds."""

    name: str
    log: Log
    times: int = 0
    until: float = 0.0
    told: str = ""

    def pause(self, outcome: Outcome, policy: RetryPolicy, now: float, draw: Callable[[], float]) -> float:
        """Until when the destination is to be paused because of that outcome; 0 = until a person resumes it.

        What was under way together makes one pause; each further one is longer. People are told of the first alone.
        """
        if now < self.until:
            return self.until
        delay = next_step(outcome, self.times, policy, draw).delay
        self.times += 1
        self.until = 0.0 if outcome.local == SCOPE_REFUSED else now + delay
        if self.told == outcome.local:
            self.log.info("destination still paused", destination=self.name, reason=outcome.local, seconds=round(delay))
        else:
            self.told = outcome.local
            more = {"text": _ADVICE[outcome.local]} if outcome.local in _ADVICE else {"seconds": round(delay)}
            self.log.error("destination paused", destination=self.name, reason=outcome.local, **more)
        return self.until

    def resumed(self) -> None:
        """A person ended the pause: the next failure begins anew, with a short wait."""
        self.times, self.until = 0, 0.0

    def over(self) -> None:
        """The server took a request again."""
        self.times, self.until, self.told = 0, 0.0, ""
