"""What several instances know of a destination together: how it stands, whom it forbids, whose share it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.errors import HealthChanged
from hl7bridge.model.health import Health, Learned
from hl7bridge.store.store import DeliveryState
from tests.store.builders import NOW, OpenStore, accept_one, change, claim, settlement

FAILING = Health(at_once=2.5, failures=5, rests=1, rest_until=NOW + 0.375, pauses=2, paused_until=NOW + 4, told="x")


def test_what_one_learns_holds_for_another_and_after_a_restart(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    assert one.health.of("main") == Health()
    accept_one(one, change("A"), change("B"))
    first, second = claim(one)
    one.settlements.settle([settlement(first)], NOW, Learned(one.health.of("main"), FAILING))
    assert other.health.of("main") == open_store().health.of("main") == FAILING
    assert other.health.of("else") == Health()
    other.settlements.settle([settlement(second)], NOW, Learned(other.health.of("main"), Health()))
    assert one.health.of("main") == Health()


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
def test_who_decided_upon_an_older_standing_records_nothing_and_decides_again(
    open_store: OpenStore, known: bool
) -> None:
    one, other = open_store(), open_store()
    accept_one(one, change("A"), change("B"), change("C"))
    first, second, third = claim(one)
    if known:
        one.settlements.settle([settlement(third)], NOW, Learned(Health(), FAILING))
    read = other.health.of("main")
    worse = replace(read, failures=9)
    one.settlements.settle([settlement(first)], NOW, Learned(one.health.of("main"), worse))
    with pytest.raises(HealthChanged):
        other.settlements.settle([settlement(second)], NOW, Learned(read, replace(read, failures=read.failures + 1)))
    assert other.health.of("main") == worse
    assert other.audit.counts()["deliveries"]["main"]["claimed"] == 2 - known
    read = other.health.of("main")
    assert not other.settlements.settle([settlement(second)], NOW, Learned(read, replace(read, failures=10)))
    assert one.health.of("main").failures == 10


def test_who_learned_nothing_new_is_not_disturbed(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    accept_one(one, change("A"), change("B"))
    first, second = claim(one)
    read = other.health.of("main")
    one.settlements.settle([settlement(first)], NOW, Learned(read, FAILING))
    assert not other.settlements.settle([settlement(second)], NOW, Learned(read, read))
    assert one.health.of("main") == FAILING


def test_no_more_are_claimed_than_everybody_together_may(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    accept_one(one, *[change(f"S{n}") for n in range(9)])
    for store, owner in ((one, "a"), (other, "b")):
        store.queue.join(owner, 60, NOW)

    def claimed(store, owner: str, at_most: int) -> int:
        return len(store.queue.claim("main", owner, 5, NOW, at_most=at_most))

    assert [claimed(one, "a", 2), claimed(other, "b", 2), claimed(other, "b", 3)] == [2, 0, 1]
    assert [claimed(one, "a", 1), claimed(one, "a", 0), claimed(other, "b", 9)] == [0, 5, 1]


@pytest.mark.parametrize(
    ("in_flight", "shares"),
    [(8, [[8], [4, 4], [3, 3, 2]]), (2, [[2], [1, 1], [1, 1, 0]]), (1, [[1], [1, 0], [1, 0, 0]])],
)
def test_those_who_live_divide_what_a_destination_takes(
    open_store: OpenStore, in_flight: int, shares: list[list[int]]
) -> None:
    stores = [open_store() for _ in range(3)]
    stores[0].queue.join("elsewhere", 60, NOW, "else")
    for count, expected in enumerate(shares, 1):
        stores[count - 1].queue.join(f"w{3 - count}", 60, NOW + count, "main")
        got = [stores[n].queue.share(f"w{2 - n}", in_flight, NOW + 3) for n in range(count)]
        assert got == expected, "who came first gets what is left over"
    stores[0].queue.leave("w2", NOW + 3)
    stores[1].queue.renew("w1", 600, NOW + 3)
    assert stores[1].queue.share("w1", in_flight, NOW + 4) == shares[1][0]
    assert stores[1].queue.share("w1", in_flight, NOW + 100) == in_flight, "w0 ended without a word"
    assert stores[2].queue.share("w0", in_flight, NOW + 100) == 0, "and begins nothing before it joins again"


def test_people_in_a_row_are_counted_over_instances_until_it_permits_again(open_store: OpenStore) -> None:
    one, other = open_store().modes, open_store().modes
    assert one.forbid("main", "update", "hr", "A") == 1
    assert other.forbid("main", "update", "hr", "A") == 1, "the same person"
    assert other.forbid("main", "update", "badges", "A") == 2
    assert other.forbid("main", "create", "hr", "A") == one.forbid("else", "update", "hr", "A") == 1
    one.permit("main", {"create", "role"})
    assert other.forbid("main", "update", "hr", "C") == 3
    other.permit("main", {"update"})
    assert one.forbid("main", "update", "hr", "D") == 1
    assert one.forbid("else", "update", "hr", "D") == 2


def test_a_person_who_tries_again_lets_the_count_begin_anew(open_store: OpenStore) -> None:
    store = open_store()
    for operation in ("update", "create"):
        store.modes.forbid("main", operation, "hr", "A")
    store.modes.latch("main", "create", "no", NOW)
    store.modes.unlatch("main", NOW, who="ana", note="granted")
    assert store.modes.forbid("main", "create", "hr", "B") == 1
    assert store.modes.forbid("main", "update", "hr", "B") == 2
    store.pauses.pause("main", "writes-refused", NOW)
    store.pauses.resume("main", NOW, who="ana", note="granted")
    assert store.modes.forbid("main", "update", "hr", "C") == 1


def test_what_was_written_at_odd_hours_is_counted_for_an_hour_by_everybody(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    accept_one(one, *[change(f"S{n}") for n in range(4)])
    start = NOW // 60 * 60
    for store, claimed, at, changes in zip(
        [one, other, one, other], claim(one, limit=4), [0, 30, 1800, 3599], [5, 7, 0, 2], strict=True
    ):
        done = settlement(claimed, DeliveryState.ENDED)
        store.settlements.settle([done], start + at, Learned(Health(), Health(), changes))
    assert [one.health.written_at_odd_hours("main", start + at) for at in (59, 3599, 3600, 7200)] == [14, 14, 2, 0]
    assert other.health.written_at_odd_hours("else", start) == 0
