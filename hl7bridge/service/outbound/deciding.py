"""From outcomes to settlements: what ends, what is tried again and when, what pauses the destination. Pure.

What is decided goes by the destination's health and changes it; all of it is written in one transaction. Where somebody
else changed the health meanwhile it is decided again, so nothing is said before it is written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from hl7bridge.destinations.reasons import APPROVAL, BRAKED, MAINTENANCE, NOT_OFFERED, SCOPE_REFUSED
from hl7bridge.destinations.retry import WITHOUT, RetryPolicy, next_step
from hl7bridge.model import WRITES_REFUSED, Outcome, Result
from hl7bridge.model.health import Health
from hl7bridge.service.log import Log
from hl7bridge.service.outbound import outage
from hl7bridge.service.outbound.failing import Failing, person_of
from hl7bridge.service.outbound.pace import Pace
from hl7bridge.store.store import Claimed, DeliveryState, Settlement

_EXPECTED = frozenset({APPROVAL.local, NOT_OFFERED})  # held as the mode says, or as one alert has told
_OF_ALL = frozenset({WRITES_REFUSED, MAINTENANCE, SCOPE_REFUSED})  # pauses that are about nobody in particular
_STATES = {
    "end": DeliveryState.ENDED,
    "retry": DeliveryState.RETRY,
    "unknown": DeliveryState.UNKNOWN,
    "hold": DeliveryState.HELD,
}


@dataclass(slots=True)
class Decisions:
    """What becomes of some outcomes of one destination.

    health   as it is after them
    failing  who fails, after them
    refused  deliveries that met a refused token
    lines    what the log says once they are written: level, event, fields
    """

    health: Health
    failing: Failing = field(default_factory=Failing)
    refused: list[int] = field(default_factory=list)
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
    failing: Failing | None = None,
    draw: Callable[[], float] = random.random,
) -> Decisions:
    """`look_after`: see `Settlement`. `failing`: who failed before; it stays as it is. `draw` returns a number in [0, 1)."""
    decisions = Decisions(health, failing.copy() if failing else Failing())
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
    failing, person = decisions.failing, person_of(claimed)
    decisions.health = pace.learn(decisions.health, failing, person, outcome, now, draw)
    first = not failing.lately
    if outcome.result is Result.PAUSED and outcome.local not in _OF_ALL and not failing.failed(person):
        outcome = replace(outcome, result=Result.RETRY)  # the token is good for others
    leaver = claimed.change.says_staff is False
    step = next_step(outcome, claimed.known.attempts, retry, draw, leaver=leaver)
    if outcome.local in (WRITES_REFUSED, MAINTENANCE):
        return Settlement(claimed, outcome, DeliveryState.QUEUED)
    if step.kind == "pause":
        decisions.refused.append(claimed.delivery_id)
        if first and not decisions.health.told and not outcome.local.startswith(WITHOUT):
            return Settlement(claimed, outcome, DeliveryState.QUEUED)
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
