"""A server that refuses our token: the queue waits, one alert tells, and everything goes on by itself when it gives one.

A scope that is not granted does not cure itself: the destination waits until a person resumes it, or the service starts
anew (with other settings, perhaps). How often it was paused, and of what people were told, is in the destination's
health.

A token that was given and is refused may be good for everybody but one person: one such answer pauses nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hl7bridge.destinations.reasons import SCOPE_REFUSED
from hl7bridge.destinations.retry import RetryPolicy, next_step
from hl7bridge.model import Outcome
from hl7bridge.model.health import Health

_ADVICE = {
    SCOPE_REFUSED: "have the scopes approved, or correct auth.scopes; then hl7bridge destination resume NAME",
}


def paused(
    health: Health, outcome: Outcome, policy: RetryPolicy, now: float, draw: Callable[[], float]
) -> tuple[Health, dict[str, object] | None]:
    """The health of a destination that is to be paused because of that outcome, and what the log says of it, if anything.

    What was under way together makes one pause; each further one is longer. People are told of the first alone: then it is
    an error.
    """
    if (
        now < health.paused_until <= now + max(policy.longest, policy.pause, policy.asked)
    ):  # else the clock was set back
        return health, None
    delay = next_step(outcome, health.pauses, policy, draw).delay
    until = 0.0 if outcome.local == SCOPE_REFUSED else now + delay
    after = replace(health, pauses=health.pauses + 1, paused_until=until, told=outcome.local)
    if health.told == outcome.local:
        return after, {"reason": outcome.local, "seconds": round(delay)}
    more = {"text": _ADVICE[outcome.local]} if outcome.local in _ADVICE else {"seconds": round(delay)}
    return after, {"reason": outcome.local, **more}


def over(health: Health) -> Health:
    """The server took a request again."""
    return replace(health, pauses=0, paused_until=0.0, told="")
