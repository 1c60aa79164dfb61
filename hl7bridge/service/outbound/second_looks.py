"""Looks for what was created, once the server's searches have caught up: behind the deliveries, many people in one request.

What a look shows is kept: how long the searches lag behind, and a task where somebody stands there twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hl7bridge.destinations.fhir.identity.second_look import (
    AT_ONCE,
    Seen,
    Sought,
    look_for_people,
    look_for_roles,
    second_task,
)
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.service.log import Log
from hl7bridge.service.outbound.schedule import Job, Turn, every
from hl7bridge.store.created import Looked, SecondLook
from hl7bridge.store.creating import PERSON, REMEMBERED
from hl7bridge.store.store import Store

EVERY = 15.0  # seconds between two looks at what is due
PATIENCE = 600.0  # seconds that deliveries may keep a look waiting
LONGER = 1.5  # an index that was seen to lag is waited for so many times as long


def effective_lag(store: Store, rules: DestinationRules) -> float:
    """Seconds that a search of the destination may lag behind: as configured, longer where it was measured so."""
    measured = store.index_lag(rules.name)
    if not rules.index_lag or measured is None:
        return rules.index_lag
    return min(max(rules.index_lag, LONGER * measured.longest), max(rules.index_lag, REMEMBERED))


def look(store: Store, client: FhirClient, rules: DestinationRules, log: Log, now: float) -> int:
    """One look at what is due; returns at how many resources."""
    due = store.second_looks(rules.name, now, AT_ONCE)
    if not due:
        return 0
    waiting = store.next_due(rules.name, now)
    if waiting is not None and waiting <= now and all(now - one.until < PATIENCE for one in due):
        return 0
    sought = [
        Sought(one.resource_id, one.person_id, store.written_by(rules.name, one.resource_type, one.resource_id))
        for one in due
    ]
    kind = due[0].resource_type
    if kind == PERSON:
        seen, failed = look_for_people(client, sought)
    else:
        seen, failed = look_for_roles(client, sought, lambda number: bool(store.written_by(rules.name, kind, number)))
    if failed is not None:
        log.info("new resources cannot be looked for just now", destination=rules.name, status=failed.status)
    looked = [_looked(one, seen.get(one.resource_id)) for one in due]
    store.looked(rules.name, looked, now)
    if second := sum(one.task is not None for one in looked):
        log.error("people or roles stand at the server twice", destination=rules.name, count=second)
    return len(due)


def _looked(one: SecondLook, seen: Seen | None) -> Looked:
    if seen is None:
        return Looked(one, None)
    return Looked(
        one, seen.found, second_task(one.resource_type, one.resource_id, seen.others) if seen.others else None
    )


def job(client: FhirClient, rules: DestinationRules, log: Log, clock: Callable[[], float] = time.time) -> Job:
    """Looks again and again at what a destination's creates have left to be seen."""

    def run(turn: Turn) -> None:
        while turn.go_on() and look(turn.store, client, rules, log, clock()) == AT_ONCE:
            pass

    return Job(f"second look {rules.name}", every(EVERY), run, again=EVERY)
