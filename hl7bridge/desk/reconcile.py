"""Reconciliation: everybody of a destination against its server, slowly; the findings kept, people told.

Nothing is written to the server. A person about whom something came in meanwhile is compared again, so that what moved
between two reads is no finding.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.destinations import destination_of
from hl7bridge.assemble.ledger import ledger_of
from hl7bridge.desk.deciding import Progress, unseen
from hl7bridge.desk.times import utc_time
from hl7bridge.destinations.budget import TokenBucket
from hl7bridge.destinations.protocol import Comparing, Destination
from hl7bridge.errors import ConfigError, Hl7BridgeError
from hl7bridge.model import PERSON_INACTIVE, ROLES_ENDED, Task
from hl7bridge.model.discrepancy import ACTIVE_AT_SERVER, SEVEREST, Compared, Discrepancy, Found, SourcePerson
from hl7bridge.store.people.reconciliations import Reconciliation, Verified
from hl7bridge.store.store import Store

if TYPE_CHECKING:
    from hl7bridge import config

DRIFT = "drift"
DUE_WITHIN = 15 * 60.0  # seconds, as for a leaver


_MEANINGS = {
    ACTIVE_AT_SERVER: "active at the server, inactive at the source",
    "role-active-at-server": "a role that has ended at the source is active at the server",
    "missing": "nobody at the server carries the identifiers",
    "gone": "the {person} that was written for the person is gone",
    "moved": "the {person} that was written for the person is gone, another one carries the identifiers",
    "unclear": "it is not clear who at the server it is",
    "inactive-at-server": "inactive at the server, active at the source",
    "role-inactive-at-server": "a role is inactive at the server, active at the source",
    "role-missing": "a role is not at the server",
    "changed": "what was written is not at the server any more",
    "behind": "what the source said last is not at the server",
    "extra": "active at the server with a staff key that the source does not know",
    "unverified": "the server did not let it be read",
}


def meanings(person: str = "person") -> dict[str, str]:
    """Kind of discrepancy -> what people call it, the worst first. `person`: what stands for a person at the destination."""
    return {kind: text.format(person=person) for kind, text in _MEANINGS.items()}


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
class ReconcileReport:
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
) -> ReconcileReport:
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
    everybody = store.reconciliations.people(name)
    people = [(of, key) for of, key in everybody if (not feed or of == feed) and (not source_key or key == source_key)]
    found: list[Discrepancy] = []
    verified: list[Verified] = []
    scan = (plan.scan if scan is None else scan) and not source_key
    problem = ""
    try:
        for of, key in people:
            source = store.reconciliations.source_person(name, of, key)
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
        store.reconciliations.keep_verified(name, verified)
        return ReconcileReport(run, tuple(found))
    number = store.reconciliations.keep_reconciliation(
        run, found, verified, task=_task(counts, destination.words.person)
    )
    return ReconcileReport(
        Reconciliation(name, run.began, run.ended, run.people, feed, scan, run.counts, problem, number), tuple(found)
    )


def _close_what_is_shown(store: Store, destination: Destination, feed: str, source_key: str, seen: Compared) -> None:
    """Somebody is inactive: the steps of their open tasks that wait for that are done, whoever deactivated them."""
    roles_go_on = any(one.kind == Found.ROLE_ACTIVE for one in seen.found)
    facts = {PERSON_INACTIVE} if roles_go_on else {PERSON_INACTIVE, ROLES_ENDED}
    shown = f"{destination.words.shown(seen.resource_id)}, reconciled"
    store.worklist.verify(destination.policy.name, feed, source_key, facts, shown, seen.verified)


def _again_if_it_moved(
    store: Store, destination: str, comparison: Comparing, source: SourcePerson, seen: Compared
) -> tuple[SourcePerson, Compared]:
    for _ in range(3):
        if not seen.found:
            break
        now = store.reconciliations.source_person(destination, source.feed, source.source_key)
        if now == source:
            break
        source = now
        seen = comparison.person(now)
    return source, seen


def _task(counts: Mapping[str, int], person: str) -> Task | None:
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
            f"End their logins, too: an inactive {person} does not end one.",
            "Look again: hl7bridge reconcile.",
        ),
        due_within=DUE_WITHIN,
    )


# --- what people ask -------------------------------------------------------------------------------------------------


def plan_of(destination: config.DestinationSettings, settings: config.Settings) -> ReconcilePlan:
    """What to reconcile there, and when, as the settings say."""
    given = destination.reconcile
    systems = {
        feed.hl7.key_system: feed.name for feed in settings.feeds.values() if destination.name in feed.destinations
    }
    return ReconcilePlan(given.every, given.at, given.requests_per_second, given.scan, systems)


def now(
    store: Store,
    settings: config.Settings,
    destination: config.DestinationSettings,
    *,
    feed: str = "",
    person: str = "",
    scan: bool = False,
    progress: Progress = unseen,
) -> ReconcileReport:
    """Compare everybody (of a feed; or one person, by the staff key) as fast as the destination's budget lets us.

    Raises ConfigError for somebody who is not known there.
    """
    plan = replace(plan_of(destination, settings), requests_per_second=0.0)
    people = [one for one in store.reconciliations.people(destination.name, feed) if not person or one[1] == person]
    if person and not people:
        advice = "`hl7bridge msg list --person KEY` shows what came about somebody."
        raise ConfigError(f"nobody with that staff key is known for {destination.name}", key="--person", advice=advice)
    there = destination_of(destination)
    try:
        with progress("comparing", len(people)) as step:
            return reconcile(store, there, plan, feed=feed, source_key=person, scan=scan, advance=lambda total: step())
    finally:
        there.close()


def last(store: Store, destination: str) -> ReconcileReport:
    """What the last run found; asks no server. Raises ConfigError where there was none."""
    kept = store.reconciliations.last_reconciliation(destination)
    if kept is None:
        advice = "`hl7bridge reconcile` makes one now."
        raise ConfigError(f"nothing was reconciled with {destination} yet", advice=advice)
    return ReconcileReport(kept[0], tuple(kept[1]))


def as_data(report: ReconcileReport) -> dict[str, Any]:
    """The JSON of a run."""
    run = report.run
    return {
        "destination": run.destination,
        "feed": run.feed,
        "began": utc_time(run.began),
        "ended": utc_time(run.ended),
        "people": run.people,
        "scanned": run.scanned,
        "counts": dict(run.counts),
        "problem": run.problem,
        "differences": [
            {
                "kind": one.kind,
                "feed": one.feed,
                "source_key": one.source_key,
                "resource_type": one.resource_type,
                "resource_id": one.resource_id,
                "verified": utc_time(one.verified),
                "note": one.note,
                "fields": [
                    {"path": d.path, "at_server": d.before, "expected": d.after, "field": d.field}
                    for d in one.differences
                ],
            }
            for one in report.found
        ],
    }


@dataclass(frozen=True, slots=True)
class Absent:
    """Who is absent from a whole file: staff key and, where their deactivation is held, that delivery's id (None: not)."""

    message_id: int
    feed: str
    decided: float
    decision: str
    known: int
    missing: tuple[tuple[str, int | None], ...]

    def data(self) -> dict[str, Any]:
        """For JSON."""
        missing = [{"source_key": key, "delivery_id": delivery_id} for key, delivery_id in self.missing]
        return {
            "message_id": self.message_id,
            "feed": self.feed,
            "decided": utc_time(self.decided),
            "decision": self.decision,
            "known": self.known,
            "missing": missing,
        }


def absent_from(store: Store, message_id: int) -> Absent:
    """Who is absent from the whole file that a message was. Raises ConfigError where it was none."""
    found = store.whole_files.full_files(message_id)
    if not found:
        advice = "It is one whose MFI-3 is REP; `hl7bridge task list --kind full-file-missing` names them."
        raise ConfigError(f"message {message_id} is no whole file", key="--full-file", advice=advice)
    file = found[0]
    return Absent(
        message_id, file.feed, file.decided, file.decision, file.known, tuple(store.whole_files.missing_of(message_id))
    )
