"""Looks for what was created, once the server's searches have caught up: behind the deliveries, many people in one request.

What a look shows is kept: how long the searches lag behind, and a task where somebody stands there twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hl7bridge.destinations.protocol import Destination, Sighting, Sought
from hl7bridge.service.log import Log
from hl7bridge.service.outbound.schedule import Job, Turn, every
from hl7bridge.store.queue.creations import Looked, SecondLook
from hl7bridge.store.store import Store

AT_ONCE = 50  # resources of one look
EVERY = 15.0  # seconds between two looks at what is due
PATIENCE = 600.0  # seconds that deliveries may keep a look waiting


def look(store: Store, destination: Destination, log: Log, now: float) -> int:
    """One look at what is due; returns at how many resources."""
    name = destination.policy.name
    due = store.creations.second_looks(name, now, AT_ONCE)
    if not due:
        return 0
    waiting = store.queue.next_due(name, now)
    if waiting is not None and waiting <= now and all(now - one.until < PATIENCE for one in due):
        return 0
    sought = [
        Sought(one.resource_id, one.person_id, store.crosswalk.written_by(name, one.resource_type, one.resource_id))
        for one in due
    ]
    kind = due[0].resource_type
    seen, failed = destination.look_again(
        kind, sought, lambda number: bool(store.crosswalk.written_by(name, kind, number))
    )
    if failed is not None:
        log.info("new resources could not be searched for, trying again later", destination=name, status=failed)
    looked = [_looked(one, seen.get(one.resource_id), destination) for one in due]
    store.creations.looked(name, looked, now)
    if second := sum(one.task is not None for one in looked):
        log.error("people or roles stand at the server twice", destination=name, count=second)
    return len(due)


def _looked(one: SecondLook, seen: Sighting | None, destination: Destination) -> Looked:
    if seen is None:
        return Looked(one, None)
    if not seen.others:
        return Looked(one, seen.found)
    return Looked(one, seen.found, destination.words.second_at_server(one.resource_type, one.resource_id, seen.others))


def job(destination: Destination, log: Log, clock: Callable[[], float] = time.time) -> Job:
    """Looks again and again at what a destination's creates have left to be seen."""

    def run(turn: Turn) -> None:
        while turn.go_on() and look(turn.store, destination, log, clock()) == AT_ONCE:
            pass

    return Job(f"second look {destination.policy.name}", every(EVERY), run, again=EVERY)
