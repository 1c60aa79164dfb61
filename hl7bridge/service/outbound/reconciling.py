"""Reconciliation as it runs: everybody of a destination against its server, slowly; the findings kept, people told.

Nothing is written to the server. A person about whom something came in meanwhile is compared again, so that what moved
between two reads is no finding.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hl7bridge.assemble.ledger import ledger_of
from hl7bridge.destinations.budget import TokenBucket
from hl7bridge.destinations.protocol import Comparing, Destination
from hl7bridge.errors import Hl7BridgeError
from hl7bridge.model import PERSON_INACTIVE, ROLES_ENDED, Task
from hl7bridge.model.discrepancy import ACTIVE_AT_SERVER, SEVEREST, Compared, Discrepancy, Found, SourcePerson
from hl7bridge.service.log import Log
from hl7bridge.service.outbound.schedule import Job, Turn, daily
from hl7bridge.store.reconciled import Reconciliation, Verified
from hl7bridge.store.store import Store

DRIFT = "drift"
DUE_WITHIN = 15 * 60.0  # seconds, as for a leaver


class CutOff(Hl7BridgeError):
    """The service stops, or another process took over: what was read is not kept as a whole run."""


@dataclass(frozen=True, slots=True)
class ReconcilePlan:
    """What to reconcile. `every` seconds, beginning at `at` ("03:30", this machine's time); 0 = not by itself.

    requests_per_second  at most so many, beside what deliveries need; 0 = no limit
    scan                 read the whole roster, too, for active people whom the source does not know
    systems              identifier system of staff keys -> the feed that gives them
    """

    every: float = 0.0
    at: str = "03:30"
    requests_per_second: float = 2.0
    scan: bool = False
    systems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """A run and all that it found, the worst first. `reconciliation_id` of the run is 0 where it was not kept."""

    run: Reconciliation
    found: tuple[Discrepancy, ...]


def reconcile(
    store: Store,
    destination: Destination,
    plan: ReconcilePlan,
    *,
    feed: str = "",
    source_key: str = "",
    scan: bool | None = None,
    go_on: Callable[[], bool] = lambda: True,
    advance: Callable[[int], None] = lambda people: None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Compare everybody (of a feed; or one person), keep the run and return it.

    go_on    asked before each request; False ends the run
    advance  called after each person with the number of all
    A server that can't be asked ends the run with its `problem`; what was found until then is kept. Raises CutOff when
    `go_on` says so, StoreError.
    """
    bucket = TokenBucket(plan.requests_per_second, time.monotonic, sleep)

    def before() -> None:
        if not go_on():
            raise CutOff("the reconciliation was cut off")
        bucket.take()

    name, began = destination.policy.name, clock()
    comparison = destination.comparison(ledger_of(store, name), before=before, sleep=sleep, clock=clock)
    everybody = store.people(name)
    people = [(of, key) for of, key in everybody if (not feed or of == feed) and (not source_key or key == source_key)]
    found: list[Discrepancy] = []
    verified: list[Verified] = []
    scan = (plan.scan if scan is None else scan) and not source_key
    problem = ""
    try:
        for of, key in people:
            source = store.source_person(name, of, key)
            seen = comparison.person(source)
            source, seen = _again_if_it_moved(store, name, comparison, source, seen)
            found += seen.found
            if seen.active is False:
                _close_what_is_shown(store, destination, of, key, seen)
            verified.append(Verified(of, key, seen.resource_id, seen.active, seen.verified))
            advance(len(people))
        if scan:
            resources = {one.resource_id for one in verified} | {one.resource_id for one in found}
            known = set(everybody)
            systems = {system: of for system, of in plan.systems.items() if not feed or of == feed}
            found += comparison.strangers(
                systems, lambda of, key: (of, key) in known, lambda number: number in resources
            )
    except CutOff:
        raise
    except Hl7BridgeError as error:
        problem = str(error)
    found.sort(key=lambda one: (SEVEREST.index(Found(one.kind)), one.feed, one.source_key))
    counts = Counter(one.kind for one in found)
    run = Reconciliation(name, began, clock(), len(verified), feed, scan, dict(counts), problem)
    if source_key:
        store.keep_verified(name, verified)
        return Report(run, tuple(found))
    number = store.keep_reconciliation(run, found, verified, task=_task(counts))
    return Report(
        Reconciliation(name, run.began, run.ended, run.people, feed, scan, run.counts, problem, number), tuple(found)
    )


def _close_what_is_shown(store: Store, destination: Destination, feed: str, source_key: str, seen: Compared) -> None:
    """Somebody is inactive: the steps of their open tasks that wait for that are done, whoever deactivated them."""
    roles_go_on = any(one.kind == Found.ROLE_ACTIVE for one in seen.found)
    facts = {PERSON_INACTIVE} if roles_go_on else {PERSON_INACTIVE, ROLES_ENDED}
    shown = f"{destination.words.shown(seen.resource_id)}, reconciled"
    store.verify(destination.policy.name, feed, source_key, facts, shown, seen.verified)


def _again_if_it_moved(
    store: Store, destination: str, comparison: Comparing, source: SourcePerson, seen: Compared
) -> tuple[SourcePerson, Compared]:
    for _ in range(3):
        if not seen.found:
            break
        now = store.source_person(destination, source.feed, source.source_key)
        if now == source:
            break
        source = now
        seen = comparison.person(now)
    return source, seen


def _task(counts: Mapping[str, int]) -> Task | None:
    """What people are told of those who can act at the server though the source says that they are gone."""
    number = counts.get(ACTIVE_AT_SERVER, 0)
    if not number:
        return None
    people = "one person is" if number == 1 else f"{number} people are"
    return Task(
        DRIFT,
        f"At the server {people} active who left at the source",
        (
            "List them: hl7bridge reconcile --last.",
            "For each, find out why: a held change (hl7bridge hold list), a mode that writes nothing, somebody's edit.",
            "Have them deactivated: release or replay the change, or do it at the server by hand.",
            "End their logins, too: an inactive Practitioner does not end one.",
            "Look again: hl7bridge reconcile.",
        ),
        due_within=DUE_WITHIN,
    )


def job(destination: Destination, plan: ReconcilePlan, log: Log) -> Job:
    """The scheduled reconciliation of a destination: keeps its run, logs one line with the counts."""

    def run(turn: Turn) -> None:
        try:
            report = reconcile(turn.store, destination, plan, go_on=turn.go_on, sleep=_sleeping(turn))
        except CutOff:
            return
        counts, problem = report.run.counts, report.run.problem
        say = log.error if ACTIVE_AT_SERVER in counts else log.warning if counts or problem else log.info
        text = ", ".join(f"{kind} {count}" for kind, count in counts.items()) or "no difference"
        say("reconciled", destination=destination.policy.name, count=report.run.people, text=text, error=problem)

    return Job(f"reconcile {destination.policy.name}", daily(plan.at, plan.every), run)


def _sleeping(turn: Turn) -> Callable[[float], None]:
    """Waits in small steps, so that a stop of the service is not kept waiting."""
    never = threading.Event()

    def sleep(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not turn.go_on():
                raise CutOff("the reconciliation was cut off")
            never.wait(min(left, 0.5))

    return sleep
