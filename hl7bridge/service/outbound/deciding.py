"""From outcomes to settlements: what ends, what is tried again and when, what pauses the destination. Pure.

What is decided goes by the destination's health and changes it; all of it is written in one transaction. Where somebody
else changed the health meanwhile it is decided again, so nothing is said before it is written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hl7bridge.destinations.reasons import APPROVAL, BRAKED, MAINTENANCE, NOT_OFFERED
from hl7bridge.destinations.retry import RetryPolicy, next_step
from hl7bridge.model import WRITES_REFUSED, Outcome
from hl7bridge.model.health import Health
from hl7bridge.service.log import Log
from hl7bridge.service.outbound import outage
from hl7bridge.service.outbound.pace import Pace
from hl7bridge.store.store import Claimed, DeliveryState, Settlement

_EXPECTED = frozenset({APPROVAL.local, NOT_OFFERED})  # held as the mode says, or as one alert has told
_STATES = {
    "end": DeliveryState.ENDED,
    "retry": DeliveryState.RETRY,
    "unknown": DeliveryState.UNKNOWN,
    "hold": DeliveryState.HELD,
}


@dataclass(slots=True)
class Decisions:
    """What becomes of some outcomes of one destination.

    health  as it is after them
    lines     what the log says once they are written: level, event, fields
    """

    health: Health
    settlements: list[Settlement] = field(default_factory=list)
    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        """Whether the destination took anything, or answered that it does not take it."""
        return any(one.state in (DeliveryState.ENDED, DeliveryState.HELD) for one in self.settlements)

    def tell(self, log: Log, destination: str) -> None:
        """Say it."""
        for level, event, fields in self.lines:
            getattr(log, level)(event, destination=destination, **fields)


def decide(
    done: Iterable[tuple[Claimed, Outcome]],
    health: Health,
    retry: RetryPolicy,
    pace: Pace,
    now: float,
    *,
    look_after: float,
    draw: Callable[[], float] = random.random,
) -> Decisions:
    """`look_after`: see `Settlement`. `draw` returns a number in [0, 1), for jitter."""
    decisions = Decisions(health)
    for claimed, outcome in done:
        decisions.settlements.append(_settlement(claimed, outcome, decisions, retry, pace, now, look_after, draw))
    return decisions


def _settlement(
    claimed: Claimed,
    outcome: Outcome,
    decisions: Decisions,
    retry: RetryPolicy,
    pace: Pace,
    now: float,
    look_after: float,
    draw: Callable[[], float],
) -> Settlement:
    decisions.health = pace.learn(decisions.health, outcome, now, draw)
    step = next_step(outcome, claimed.known.attempts, retry, draw)
    if outcome.local in (WRITES_REFUSED, MAINTENANCE):
        return Settlement(claimed, outcome, DeliveryState.QUEUED)
    if step.kind == "pause":
        told = decisions.health.told
        decisions.health, said = outage.paused(decisions.health, outcome, retry, now, draw)
        if said and told == outcome.local:
            decisions.lines.append(("info", "destination still paused", said))
        elif said:
            decisions.lines.append(("error", "destination paused", said))
        until = decisions.health.paused_until
        return Settlement(claimed, outcome, DeliveryState.QUEUED, pause=outcome.local or "paused", pause_until=until)
    state = _STATES[step.kind]
    if state in (DeliveryState.ENDED, DeliveryState.HELD):
        decisions.health = outage.over(decisions.health)
    which = {"delivery_id": claimed.delivery_id, "local": outcome.local, "status": outcome.http_status}
    if state is DeliveryState.HELD and outcome.local != BRAKED.local:  # of the brake, one alert tells
        level = "info" if outcome.local in _EXPECTED else "warning"
        decisions.lines.append((level, "delivery held", {**which, "message_id": claimed.message_id}))
    elif state in (DeliveryState.RETRY, DeliveryState.UNKNOWN):
        waits = {**which, "state": state.value, "seconds": round(step.delay, 1)}
        decisions.lines.append(("warning", "delivery waits", waits))
    rest_until = decisions.health.rest_until
    resting = state is DeliveryState.RETRY and rest_until > now
    return Settlement(
        claimed,
        outcome,
        state,
        next_attempt=now + step.delay,
        # Written down, so that an acknowledgment that waits for this destination need not wait for its deadline.
        pause=outcome.local if resting else "",
        pause_until=rest_until if resting else 0.0,
        look_after=look_after,
    )
