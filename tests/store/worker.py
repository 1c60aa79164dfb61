"""A process that uses a store as the service does: `python -m tests.store.worker ROLE LOCATION ...`.

Roles, each until its standard input closes or it is killed, reporting on standard output, one JSON list a line:

  accept FIRST        accepts batches; reports the message ids after `accept` returned
  deliver OWNER       claims, settles, reports [owner, "claimed" | "settled", delivery id, lane, fence]
  both FIRST OWNER    both of them in turn
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
import time

from hl7bridge.errors import ClaimLost
from hl7bridge.model import Result
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import Claimed, DeliveryState, Settlement, Store
from tests.store.builders import change, full_outcome, message, outcome

LEASE = 0.5
PERSONS = 5


def report(*values: object) -> None:
    print(json.dumps(values), flush=True)


def accept_batch(store: Store, numbers: itertools.count[int]) -> None:
    made = [
        message(change(f"P{number % PERSONS}"), control_id=f"C{number}", lane=(f"hr/P{number % PERSONS}",))
        for number in itertools.islice(numbers, random.randint(1, 6))
    ]
    accepted = store.inbox.accept(made, time.time())
    report("accepted", [one.message_id for one in accepted])


def outcome_of(one: Claimed) -> Settlement:
    draw = random.random()
    if draw < 0.75:
        return Settlement(one, full_outcome(f"p-{one.change.source_key}"), DeliveryState.ENDED)
    if draw < 0.85:
        return Settlement(one, outcome(Result.HELD), DeliveryState.HELD)
    state, result = random.choice([(DeliveryState.RETRY, Result.RETRY), (DeliveryState.UNKNOWN, Result.UNKNOWN)])
    return Settlement(one, outcome(result), state, next_attempt=time.time() + 0.01)


def deliver_some(store: Store, owner: str) -> bool:
    now = time.time()
    if not store.queue.renew(owner, LEASE, now):
        store.queue.join(owner, LEASE, now)
    try:
        claimed = store.queue.claim("main", owner, 4, time.time())
    except ClaimLost:
        return True
    for one in claimed:
        report(owner, "claimed", one.delivery_id, one.change.source_key, one.fence)
    settlements = [outcome_of(one) for one in claimed]
    # Reported before the commit: between these lines and the settlement nobody else may report a claim of the lane.
    for one in claimed:
        report(owner, "settling", one.delivery_id, one.change.source_key, one.fence)
    lost = store.settlements.settle(settlements, time.time())
    for delivery_id in lost:
        report(owner, "lost", delivery_id, "", 0)
    return bool(claimed)


def main(role: str, location: str, *more: str) -> None:
    stop = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    store = open_store(location)
    numbers = itertools.count(int(more[0])) if role in ("accept", "both") else itertools.count()
    owner = more[-1]
    report("ready")
    while not stop.is_set():
        if role in ("accept", "both"):
            accept_batch(store, numbers)
        if role in ("deliver", "both") and not deliver_some(store, owner):
            time.sleep(0.002)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
