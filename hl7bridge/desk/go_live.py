"""From reporting to writing, without losing what came in meanwhile: plan all that was reported, then queue it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.choosing import destination_named
from hl7bridge.assemble.destinations import brake_of, destination_of
from hl7bridge.assemble.ledger import ledger_of
from hl7bridge.desk.deciding import Actor, Clock, Progress, Role, unseen, why
from hl7bridge.destinations import reasons
from hl7bridge.destinations.policy import Brake
from hl7bridge.destinations.protocol import Rehearsing
from hl7bridge.errors import ConfigError
from hl7bridge.model import Interaction, Outcome, Result

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.store import Reported, Store

_OUT_OF_REACH = frozenset({Result.RETRY, Result.UNKNOWN, Result.PAUSED})
_TRIES, _WAIT = 5, 1.0  # of a read that fails in passing; seconds between two tries
_IN_A_ROW = 3  # changes that cannot be planned, after which the server counts as out of reach
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One change that was reported, and what would become of it now."""

    feed: str
    source_key: str
    message_id: int
    action: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class GoLivePlan:
    """What a destination would write of what it only reported.

    waits       the running service paused it, and waits for this decision
    results     feed -> result -> how many changes; `held`: cause -> how many of them
    people      how many they are about
    deliveries  those to queue, in order of place
    problem     why the server could not be asked about all of it, "" = it was: such a plan can't be confirmed
    """

    name: str
    waits: bool
    results: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    people: int = 0
    deliveries: tuple[int, ...] = ()
    problem: str = ""

    @property
    def totals(self) -> Counter[str]:
        """Result -> how many changes of all feeds."""
        totals: Counter[str] = Counter()
        for counts in self.results.values():
            totals.update(counts)
        return totals

    def data(self) -> dict[str, Any]:
        """The counts, for JSON."""
        feeds = {feed: dict(counts) for feed, counts in self.results.items()}
        return {"people": self.people, "results": dict(self.totals), "feeds": feeds, "held": dict(self.held)}


def must_wait(store: Store, settings: Settings, name: str) -> None:
    """Raises ConfigError where the destination does not wait to go live: nothing can be confirmed."""
    destination_named(settings, name)
    if not _waits(store, name):
        advice = (
            "Set mode or [cohort] in its file and start `hl7bridge run` anew: it pauses a destination for which reported"
            " changes wait."
        )
        raise ConfigError(f"{name} does not wait to go live", advice=advice)


def leave(store: Store, settings: Settings, name: str) -> GoLivePlan:
    """The plan that leaves what was reported as it is: only what comes from now on is written."""
    destination_named(settings, name)
    return GoLivePlan(name, _waits(store, name))


def plan(
    store: Store,
    settings: Settings,
    name: str,
    *,
    each: Callable[[PlannedChange], None] = lambda change: None,
    clock: Clock = time.time,
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress = unseen,
) -> GoLivePlan:
    """Plan every change that was reported, in order, against the server as it is now: reads only. `each` is told of each.

    Raises ConfigError for an unknown destination, and for one in mode report.
    """
    destination = destination_named(settings, name)
    there = destination_of(destination)
    if not there.policy.writes:
        raise ConfigError(f"{name} is in mode report", advice=f"Set its mode in {destination.file} first.")
    waits = _waits(store, name)
    total = store.audit.counts()["deliveries"].get(name, {}).get(Result.REPORTED.value, 0)
    results: dict[str, Counter[str]] = {}
    held: Counter[str] = Counter()
    people: set[tuple[str, str]] = set()
    deliveries: list[int] = []
    failed, brake = 0, _BrakeInMind(brake_of(destination))
    try:
        rehearsal = there.rehearsal(ledger_of(store, name), offer=there.offer())
        with progress("planning", total) as advance:
            for one in _reported(store, name, there.policy.clock_tolerance):
                outcome = Outcome(Result.SUPERSEDED)
                if not one.overtaken:
                    outcome = _insist(rehearsal, one, brake, clock, sleep)
                failed = failed + 1 if outcome.result in _OUT_OF_REACH else 0
                # One person about whom a server that answers can say nothing keeps nobody else: the delivery tries again.
                if failed and (not outcome.http_status or outcome.result is Result.PAUSED or failed == _IN_A_ROW):
                    return GoLivePlan(name, waits, problem=outcome.text or outcome.local)
                results.setdefault(one.feed, Counter())[outcome.result.value] += 1
                held.update([outcome.local] if outcome.result is Result.HELD else ())
                people.add((one.feed, one.source_key))
                deliveries += [one.delivery_id] if outcome.result is not Result.REPORTED else []
                each(PlannedChange(one.feed, one.source_key, one.message_id, one.change.action.value, outcome))
                advance()
    finally:
        there.close()
    by_feed = {feed: dict(sorted(counts.items())) for feed, counts in sorted(results.items())}
    return GoLivePlan(name, waits, by_feed, dict(held), len(people), tuple(deliveries))


def confirm(
    store: Store,
    settings: Settings,
    plan: GoLivePlan,
    actor: Actor,
    reason: str,
    *,
    clock: Clock = time.time,
    progress: Progress = unseen,
) -> None:
    """Queue what is planned at its old places, before what came in since, while the destination is paused; then it goes on.

    Raises ConfigError where the destination does not wait, or the server could not be asked.
    """
    actor.must_have(Role.APPROVE)
    reason, who, name = why(reason), str(actor), plan.name
    must_wait(store, settings, name)
    if plan.problem:
        raise ConfigError(f"{name} could not be planned: {plan.problem}", advice="Nothing was changed; try again.")
    with progress("queueing", len(plan.deliveries)) as advance:
        done = 0
        for so_far in store.modes.go_live(name, list(plan.deliveries), clock(), who=who, reason=reason):
            for _ in range(so_far - done):
                advance()
            done = so_far
    store.modes.remember_ran_as(name, destination_of(settings.destinations[name]).policy.ran_as(), clock())
    store.pauses.resume(name, clock(), who=who, note=reason)


def _waits(store: Store, name: str) -> bool:
    return store.audit.paused().get(name, "") == reasons.LEAVING_REPORT


def _reported(store: Store, name: str, clock_tolerance: float) -> Iterator[Reported]:
    place = 0
    while some := store.modes.reported(name, place, _AT_ONCE, clock_tolerance=clock_tolerance):
        yield from some
        place = some[-1].place


def _insist(
    rehearsal: Rehearsing, one: Reported, brake: _BrakeInMind, clock: Clock, sleep: Callable[[float], None]
) -> Outcome:
    """One change; a read that fails in passing is tried again."""
    for _ in range(_TRIES):
        outcome = rehearsal.deliver(
            one.change,
            one.feed,
            datetime.fromtimestamp(clock(), UTC),
            order_time=one.order_time,
            force=one.force,
            permit=partial(brake.permit, one),
        )
        if outcome.result is not Result.RETRY:
            break
        sleep(max(_WAIT, min(outcome.retry_after, 30.0)))
    return outcome


class _BrakeInMind:
    """How far the brake would let them go at once: the real one counts by the hour, while they are delivered."""

    def __init__(self, brake: Brake) -> None:
        self._brake = brake
        self._let_through: set[tuple[str, str]] = set()

    def permit(self, one: Reported, interaction: Interaction, ends: bool) -> Outcome | None:
        """As `deliver` asks it."""
        if not ends:
            return None
        if one.source_key in self._brake.protected:
            return reasons.PROTECTED
        if 0 < self._brake.per_hour <= len(self._let_through - {(one.feed, one.source_key)}):
            return reasons.BRAKED
        self._let_through.add((one.feed, one.source_key))
        return None
