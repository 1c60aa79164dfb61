"""The brake: how many may be ended in an hour, and of one file, over processes and restarts."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from hl7bridge.model import Action, Result
from hl7bridge.store.queue.brake import HOUR
from hl7bridge.store.store import Braked, Claimed, DeliveryState, Store
from tests.store.builders import NOW, OpenStore, accept_one, change, claim, outcome, settlement

FREE, HELD, TOLD = Braked.FREE, Braked.HELD, Braked.TOLD


def leavers(store: Store, count: int, *, together: bool = False, destination: str = "main") -> list[Claimed]:
    """Deactivations that are claimed: each a message of its own, or all in one."""
    made = [change(f"L{n}", Action.DEACTIVATE) for n in range(count)]
    for one in [made] if together else [[one] for one in made]:
        accept_one(store, *one, destinations=(destination,))
    return claim(store, destination=destination, limit=count)


@pytest.mark.parametrize(
    ("limit", "answers"),
    [
        (0, [FREE] * 5),
        (1, [FREE, TOLD, HELD, HELD, HELD]),
        (3, [FREE, FREE, FREE, TOLD, HELD]),
        (5, [FREE] * 5),
    ],
)
def test_so_many_in_an_hour(store: Store, limit: int, answers: list[Braked]) -> None:
    assert [store.brake.may_end(one, limit, 0, NOW) for one in leavers(store, 5)] == answers


@pytest.mark.parametrize(
    ("records", "share", "free"),
    [
        (19, 5, 19),
        (20, 5, 1),
        (40, 5, 2),
        (59, 5, 2),
        (60, 5, 3),
        (30, 0, 30),
        (20, 100, 20),
        (20, 4.9, 0),
        (40, 2.5, 1),
    ],
)
def test_such_a_share_of_a_file(store: Store, records: int, share: float, free: int) -> None:
    answers = [store.brake.may_end(one, 0, share, NOW) for one in leavers(store, records, together=True)]
    assert len(answers) == records
    assert answers == [*[FREE] * free, *[TOLD][: records - free], *[HELD] * (records - free - 1)]


def test_the_same_delivery_counts_once(store: Store) -> None:
    first, second, third = leavers(store, 3)
    assert [store.brake.may_end(one, 2, 0, NOW) for one in (first, first, second, first, second)] == [FREE] * 5
    assert store.brake.may_end(third, 2, 0, NOW) is TOLD


def test_the_hour_moves_on(store: Store) -> None:
    one, two, three, four = leavers(store, 4)
    assert store.brake.may_end(one, 2, 0, NOW) is FREE
    assert store.brake.may_end(two, 2, 0, NOW + 1800) is FREE
    assert store.brake.may_end(three, 2, 0, NOW + HOUR - 1) is TOLD
    assert store.brake.may_end(three, 2, 0, NOW + HOUR) is FREE
    assert store.brake.may_end(four, 2, 0, NOW + HOUR) is HELD, "told one second ago"
    assert store.brake.may_end(four, 2, 0, NOW + 1800 + HOUR) is FREE


def test_an_attempt_that_goes_on_for_long_counts_when_it_is_made(store: Store) -> None:
    """A server that refuses to write for hours must not gather admitted ones that then all go at once."""
    one, two = leavers(store, 2)
    assert store.brake.may_end(one, 1, 0, NOW) is FREE
    assert store.brake.may_end(two, 1, 0, NOW + HOUR) is FREE
    assert store.brake.may_end(one, 1, 0, NOW + HOUR + 1) is TOLD


@pytest.mark.parametrize(
    ("state", "result", "counts"),
    [
        (DeliveryState.ENDED, Result.DEACTIVATED, True),
        (DeliveryState.ENDED, Result.UPDATED, True),
        (DeliveryState.UNKNOWN, Result.UNKNOWN, True),
        (DeliveryState.RETRY, Result.RETRY, True),
        (DeliveryState.ENDED, Result.UNCHANGED, False),
        (DeliveryState.HELD, Result.HELD, False),
        (DeliveryState.QUEUED, Result.PAUSED, False),
    ],
)
def test_what_wrote_nothing_gives_its_place_back(
    store: Store, state: DeliveryState, result: Result, counts: bool
) -> None:
    one, two = leavers(store, 2)
    assert store.brake.may_end(one, 1, 0, NOW) is FREE
    store.settlements.settle([settlement(one, state, outcome=outcome(result), next_attempt=NOW + 9)], NOW)
    assert store.brake.may_end(two, 1, 0, NOW) is (TOLD if counts else FREE)


def test_processes_count_together_and_restarts_forget_nothing(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    claimed = leavers(first, 6)
    answers = [store.brake.may_end(one, 4, 0, NOW) for one, store in zip(claimed, [first, second] * 3, strict=True)]
    assert answers == [FREE, FREE, FREE, FREE, TOLD, HELD]
    first.close()
    assert open_store().brake.may_end(claimed[5], 4, 0, NOW) is HELD


def test_each_destination_has_its_own(store: Store) -> None:
    here, there = leavers(store, 2), leavers(store, 2, destination="other")
    assert [store.brake.may_end(one, 1, 0, NOW) for one in here + there] == [FREE, TOLD, FREE, TOLD]


def test_one_task_and_one_line_of_history_an_hour(store: Store) -> None:
    claimed = leavers(store, 9)
    assert [store.brake.may_end(one, 1, 0, NOW) for one in claimed].count(TOLD) == 1
    (task,) = store.worklist.tasks(kind="brake")
    assert (task.destination, task.due, task.source_key) == ("main", NOW + 900, "")
    told = store.audit.message(claimed[1].message_id)
    assert told
    assert [row["event"] for row in told["history"]].count("brake") == 1
    assert store.brake.may_end(claimed[8], 1, 0, NOW + HOUR - 1) is HELD


def test_many_who_ask_at_once_are_counted_one_by_one(open_store: OpenStore) -> None:
    claimed = leavers(open_store(), 40)
    stores = [open_store() for _ in range(8)]
    with ThreadPoolExecutor(len(stores)) as pool:
        parts = [
            pool.submit(
                lambda store, mine: [store.brake.may_end(one, 10, 0, NOW) for one in mine], store, claimed[n::8]
            )
            for n, store in enumerate(stores)
        ]
        answers = Counter(answer for part in parts for answer in part.result())
    assert answers == {FREE: 10, TOLD: 1, HELD: 29}


@pytest.mark.parametrize("last", ["released", "discarded", "superseded"])
def test_the_task_closes_with_the_last_that_the_brake_held(store: Store, last: str) -> None:
    held = leavers(store, 3)
    assert [store.brake.may_end(one, 1, 0, NOW) for one in held] == [FREE, TOLD, HELD]
    for one in held[1:]:
        store.settlements.settle(
            [settlement(one, DeliveryState.HELD, outcome=outcome(Result.HELD, local="brake"))], NOW
        )
    [task] = store.worklist.tasks(kind="brake")
    assert store.holds.discard(held[1].delivery_id, NOW + 1, who="op", reason="not announced")
    assert [one.state for one in store.worklist.tasks(kind="brake")] == ["open"]
    if last == "released":
        store.holds.release(held[2].delivery_id, NOW + 2, who="op", reason="announced")
    elif last == "discarded":
        store.holds.discard(held[2].delivery_id, NOW + 2, who="op", reason="not announced")
    else:  # whoever is back needs no end any more
        accept_one(store, change("L2", Action.REACTIVATE), now=NOW + 2)
        [back] = claim(store, NOW + 2)
        store.settlements.settle([settlement(back)], NOW + 3)
    [closed] = store.worklist.tasks(task_id=task.id)
    assert (closed.state, closed.closed_by) == ("done", "hl7bridge")
