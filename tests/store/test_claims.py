"""Lanes, claims and leases: one at a time per person, in order of commit, leavers' lanes first."""

from __future__ import annotations

import pytest

from hl7bridge.errors import ClaimLost
from hl7bridge.model import Action, Result, StaffChange
from hl7bridge.store.store import DeliveryState, Store
from tests.store.builders import (
    NOW,
    OpenStore,
    accept_one,
    change,
    claim,
    events,
    full_outcome,
    message,
    settlement,
    state_of,
)


def ids(claimed: list) -> list[int]:  # type: ignore[type-arg]
    return [one.message_id for one in claimed]


def test_persons_go_side_by_side_one_change_each(store: Store) -> None:
    a1, b1 = accept_one(store, change("A")), accept_one(store, change("B"))
    a2 = accept_one(store, change("A"))
    first = claim(store)
    assert ids(first) == [a1, b1]
    assert claim(store) == []
    store.settlements.settle([settlement(first[0])], NOW)
    assert ids(claim(store)) == [a2]


def test_a_claim_carries_what_was_accepted(store: Store) -> None:
    given = change("A", Action.REACTIVATE)
    message_id = accept_one(store, change("B"), given, force=True)
    one = claim(store)[1]
    assert (one.message_id, one.position, one.feed, one.destination) == (message_id, 2, "hr", "main")
    assert one.change == given
    assert one.force
    assert (one.known.person_id, one.known.own, one.known.ambiguous, one.known.attempts) == ("", (), False, 0)


def test_a_limit_is_kept(store: Store) -> None:
    made = [accept_one(store, change(f"P{n}")) for n in range(10)]
    assert ids(claim(store, limit=4)) == made[:4]
    assert ids(claim(store, limit=4)) == made[4:8]
    assert claim(store, limit=0) == []


def test_one_shared_key_makes_one_lane(store: Store) -> None:
    """Two feeds, other staff keys, one NPI."""
    hr = accept_one(store, change("A"), lane=("hr/A", "npi/1"))
    badge = accept_one(store, change("77"), feed="badge", lane=("badge/77", "npi/1"))
    alone = accept_one(store, change("78"), feed="badge", lane=("badge/78",))
    first = claim(store)
    assert ids(first) == [hr, alone]
    store.settlements.settle([settlement(first[0])], NOW)
    assert ids(claim(store)) == [badge]


def test_a_chain_of_shared_keys_keeps_its_order(store: Store) -> None:
    chain = [accept_one(store, change(f"P{n}"), lane=(f"k{n}", f"k{n + 1}")) for n in range(6)]
    seen: list[int] = []
    while claimed := claim(store):
        assert len(claimed) == 1
        seen += ids(claimed)
        store.settlements.settle([settlement(claimed[0])], NOW)
    assert seen == chain


def test_destinations_do_not_wait_for_each_other(store: Store) -> None:
    message_id = accept_one(store, change(), destinations=("main", "lab"))
    assert ids(claim(store, destination="main")) == [message_id]
    assert ids(claim(store, destination="lab")) == [message_id]
    assert claim(store, destination="elsewhere") == []


def test_leavers_lanes_go_first_and_no_lane_is_reordered(store: Store) -> None:
    a_update = accept_one(store, change("A"))
    a_leaves = accept_one(store, change("A", Action.DEACTIVATE))
    accept_one(store, change("B"))
    c_leaves = accept_one(store, change("C", Action.REMOVE))
    d_leaves = accept_one(store, change("D", Action.DEACTIVATE))
    accept_one(store, change("E", Action.REACTIVATE))
    assert ids(claim(store, limit=2)) == [c_leaves, d_leaves]
    (first,) = claim(store, limit=1)
    assert first.message_id == a_update  # A's leaver waits behind A's update
    store.settlements.settle([settlement(first)], NOW)
    assert ids(claim(store, limit=1)) == [a_leaves]


@pytest.mark.parametrize("state", [DeliveryState.RETRY, DeliveryState.UNKNOWN])
def test_what_is_tried_again_keeps_its_lane_waiting(store: Store, state: DeliveryState) -> None:
    first = accept_one(store, change("A"))
    second = accept_one(store, change("A"))
    other = accept_one(store, change("B"))
    one, b = claim(store)
    store.settlements.settle([settlement(one, state, next_attempt=NOW + 30), settlement(b)], NOW)
    assert state_of(store, first) == state.value
    assert claim(store, NOW + 29) == []
    assert store.queue.next_due("main", NOW) == NOW + 30
    (again,) = claim(store, NOW + 30)
    assert again.message_id == first
    assert again.known.attempts == 1
    assert again.known.ambiguous is (state is DeliveryState.UNKNOWN)
    assert again.fence > one.fence
    store.settlements.settle([settlement(again)], NOW + 30)
    assert ids(claim(store, NOW + 30)) == [second]
    assert state_of(store, other) == "updated"


def test_a_doubt_remains_until_the_end(store: Store) -> None:
    accept_one(store, change("A"))
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.UNKNOWN, next_attempt=NOW)], NOW)
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.RETRY, next_attempt=NOW)], NOW)
    (one,) = claim(store)
    assert one.known.ambiguous
    assert one.known.attempts == 2


def test_a_held_change_leaves_the_lane(store: Store) -> None:
    first = accept_one(store, change("A"))
    second = accept_one(store, change("A"))
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.HELD)], NOW)
    assert state_of(store, first) == "held"
    assert ids(claim(store)) == [second]


def test_given_back_it_is_first_again(store: Store) -> None:
    first = accept_one(store, change("A"))
    accept_one(store, change("A"))
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.QUEUED)], NOW)
    (again,) = claim(store)
    assert again.message_id == first
    assert again.known.attempts == 0


# -- keys that are learned later --


def test_present_settings_join_the_lane(store: Store) -> None:
    """Accepted under one set of identifiers, claimed under another."""
    a = accept_one(store, change("A"))
    b = accept_one(store, change("B"))
    store.queue.join("w", 60, NOW)

    def lane_of(given: StaffChange, feed: str, person_id: str) -> tuple[str, ...]:
        assert feed == "hr"
        return (f"{feed}/{given.source_key}", "npi/1")

    first = store.queue.claim("main", "w", 9, NOW, lane_of)
    assert ids(first) == [a]
    store.settlements.settle([settlement(first[0], DeliveryState.RETRY, next_attempt=NOW + 5)], NOW)
    assert store.queue.claim("main", "w", 9, NOW, lane_of) == []  # B learned that it stands behind A
    assert store.queue.claim("main", "w", 9, NOW, None) == []
    (again,) = store.queue.claim("main", "w", 9, NOW + 5, lane_of)
    assert again.message_id == a
    store.settlements.settle([settlement(again)], NOW + 5)
    assert ids(store.queue.claim("main", "w", 9, NOW + 5, lane_of)) == [b]


def test_the_crosswalk_joins_the_lane(store: Store) -> None:
    """Two feeds that share no identifier but were both matched to one person."""
    for feed in ("hr", "badge"):
        accept_one(store, change("A"), feed=feed)
    for one in claim(store):
        store.settlements.settle([settlement(one, outcome=full_outcome("p1"))], NOW)
    hr = accept_one(store, change("A"), feed="hr")
    badge = accept_one(store, change("A"), feed="badge")
    (one,) = claim(store)
    assert one.message_id == hr
    assert one.known.person_id == "p1"
    store.settlements.settle([settlement(one, DeliveryState.RETRY, next_attempt=NOW + 9)], NOW)
    assert claim(store) == []
    (one,) = claim(store, NOW + 9)
    store.settlements.settle([settlement(one)], NOW + 9)
    assert ids(claim(store, NOW + 9)) == [badge]


def test_a_later_one_that_is_under_way_is_waited_for(store: Store) -> None:
    """The earlier learns a key while a later one, claimed before, works on it."""
    early = accept_one(store, change("A"))
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.RETRY, next_attempt=NOW + 5)], NOW)
    late = accept_one(store, change("B"), lane=("npi/1",))
    (other,) = claim(store)
    assert other.message_id == late

    def lane_of(given: StaffChange, feed: str, person_id: str) -> tuple[str, ...]:
        return ("npi/1",)

    assert store.queue.claim("main", "w", 9, NOW + 5, lane_of) == []
    store.settlements.settle([settlement(other, DeliveryState.RETRY, next_attempt=NOW)], NOW + 5)
    assert ids(store.queue.claim("main", "w", 9, NOW + 5, lane_of)) == [early]


def test_a_claim_survives_that_others_leave_its_lane(store: Store) -> None:
    """As above, and meanwhile somebody behind the one under way is withdrawn."""
    early = accept_one(store, change("A"))
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.RETRY, next_attempt=NOW + 5)], NOW)
    accept_one(store, change("B"), lane=("npi/1",))
    behind = accept_one(store, change("C"), lane=("npi/1",))
    (other,) = claim(store)
    assert store.settlements.withdraw(behind, NOW)
    assert store.queue.claim("main", "w", 9, NOW + 5, lambda given, feed, person_id: ("npi/1",)) == []
    store.settlements.settle([settlement(other)], NOW + 5)
    assert ids(store.queue.claim("main", "w", 9, NOW + 5, lambda given, feed, person_id: ("npi/1",))) == [early]


# -- leases --


def test_only_who_has_joined_may_claim(store: Store) -> None:
    accept_one(store, change())
    with pytest.raises(ClaimLost):
        store.queue.claim("main", "stranger", 1, NOW)
    store.queue.join("w", 10, NOW)
    with pytest.raises(ClaimLost):
        store.queue.claim("main", "w", 1, NOW + 10)
    assert not store.queue.renew("w", 10, NOW + 10)
    store.queue.join("w", 10, NOW + 10)
    assert store.queue.renew("w", 10, NOW + 19)
    assert len(store.queue.claim("main", "w", 1, NOW + 28)) == 1


def test_a_dead_workers_claims_are_taken_over(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    first = accept_one(store, change("A"))
    accept_one(store, change("A"))
    store.queue.join("dead", 10, NOW)
    (lost,) = store.queue.claim("main", "dead", 9, NOW)
    other.queue.join("heir", 100, NOW)
    assert other.queue.claim("main", "heir", 9, NOW + 9) == []
    assert other.queue.next_due("main", NOW + 9) == NOW + 10
    (taken,) = other.queue.claim("main", "heir", 9, NOW + 10)
    assert taken.message_id == first
    assert taken.known.ambiguous
    assert taken.known.attempts == 1
    assert taken.fence > lost.fence
    assert store.settlements.settle([settlement(lost)], NOW + 10) == [lost.delivery_id]
    assert state_of(store, first) == "claimed"
    assert other.settlements.settle([settlement(taken)], NOW + 11) == []
    assert events(store, first) == ["accepted", "claimed", "taken over", "claimed", "ended"]


def test_a_settlement_after_the_lease_is_lost_even_if_nobody_took_over(store: Store) -> None:
    message_id = accept_one(store, change())
    store.queue.join("w", 10, NOW)
    (one,) = store.queue.claim("main", "w", 1, NOW)
    assert store.settlements.settle([settlement(one, outcome=full_outcome())], NOW + 10) == [one.delivery_id]
    assert state_of(store, message_id) == "claimed"
    assert store.crosswalk.written_by("main", "Practitioner", "p1") == ()
    assert store.audit.counts()["tasks"] == 0


def test_a_settlement_counts_once(store: Store) -> None:
    accept_one(store, change())
    (one,) = claim(store)
    assert store.settlements.settle([settlement(one), settlement(one, result=Result.CREATED)], NOW) == [one.delivery_id]
    assert store.settlements.settle([settlement(one)], NOW) == [one.delivery_id]


def test_the_same_owner_in_a_new_life(store: Store) -> None:
    accept_one(store, change())
    (one,) = claim(store)
    store.queue.join("w", 60, NOW)
    assert store.settlements.settle([settlement(one)], NOW) == [one.delivery_id]
    (again,) = claim(store)
    assert again.known.ambiguous


def test_leaving_gives_back_what_was_not_begun(store: Store) -> None:
    a, b = accept_one(store, change("A")), accept_one(store, change("B"))
    first = claim(store)
    store.queue.leave("w", NOW, begun=[first[1].delivery_id])
    assert not store.queue.renew("w", 60, NOW)
    again = claim(store, owner="next")
    assert [(one.message_id, one.known.ambiguous, one.known.attempts) for one in again] == [(a, False, 0), (b, True, 1)]


def test_a_claim_after_leaving_is_lost(store: Store) -> None:
    accept_one(store, change())
    (one,) = claim(store)
    store.queue.leave("w", NOW)
    store.queue.join("w", 60, NOW)
    assert store.settlements.settle([settlement(one)], NOW) == [one.delivery_id]


# -- when to look again --


def test_next_due(store: Store) -> None:
    assert store.queue.next_due("main", NOW) is None
    accept_one(store, change("A"))
    assert store.queue.next_due("main", NOW) == NOW
    assert store.queue.next_due("lab", NOW) is None
    store.queue.join("w", 60, NOW)
    (one,) = store.queue.claim("main", "w", 9, NOW)
    assert store.queue.next_due("main", NOW) == NOW + 60  # the lease
    store.settlements.settle([settlement(one, DeliveryState.RETRY, next_attempt=NOW + 7)], NOW)
    assert store.queue.next_due("main", NOW) == NOW + 7
    accept_one(store, change("B"), not_before=NOW + 5)
    assert store.queue.next_due("main", NOW) == NOW + 5


def test_nothing_while_the_destination_is_paused(store: Store) -> None:
    accept_one(store, change("A"))
    accept_one(store, change("B"))
    a, b = claim(store)
    store.settlements.settle([settlement(a, DeliveryState.QUEUED, pause="token refused", pause_until=NOW + 60)], NOW)
    store.settlements.settle([settlement(b, DeliveryState.QUEUED, pause="token refused", pause_until=NOW + 50)], NOW)
    assert store.audit.paused() == {"main": "token refused"}
    assert store.audit.counts()["paused"] == {"main": "token refused"}
    assert claim(store, NOW + 59) == []
    assert store.queue.next_due("main", NOW) == NOW + 60
    assert len(claim(store, NOW + 60)) == 2
    assert store.audit.paused() == {}


def test_a_pause_ends_though_nothing_waits(store: Store) -> None:
    accept_one(store, change("A"))
    (one,) = claim(store)
    store.settlements.settle([settlement(one, pause="resting", pause_until=NOW + 60)], NOW)
    assert store.audit.paused() == {"main": "resting"}
    assert claim(store, NOW + 60) == []
    assert store.audit.paused() == {}
    assert store.queue.next_due("main", NOW + 60) is None


def test_a_pause_without_end_waits_for_a_person(store: Store) -> None:
    accept_one(store, change("A"))
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.QUEUED, pause="writes refused")], NOW)
    assert store.queue.next_due("main", NOW) is None
    assert claim(store, NOW + 10**9) == []
    store.pauses.resume("main", NOW)
    store.pauses.resume("main", NOW)
    assert len(claim(store)) == 1


def test_many_at_once_are_lined_up_in_order(store: Store) -> None:
    """More than one transaction lines up; leavers at the end of the queue go first all the same."""
    made = [message(change(f"P{n % 700}"), control_id=f"C{n}") for n in range(2500)]
    made.append(message(change("L", Action.DEACTIVATE), control_id="L"))
    accepted = [one.message_id for one in store.inbox.accept(made, NOW)]
    first = claim(store, limit=1)
    assert ids(first) == accepted[-1:]
    assert ids(claim(store, limit=2000)) == accepted[:700]


@pytest.mark.parametrize("state", [DeliveryState.SCHEDULED, DeliveryState.CLAIMED])
def test_states_that_no_attempt_ends_in(store: Store, state: DeliveryState) -> None:
    accept_one(store, change("A"))
    (one,) = claim(store)
    with pytest.raises(ValueError, match="settled"):
        store.settlements.settle([settlement(one, state, Result.RETRY)], NOW)


def tried_before(store: Store, count: int) -> list[int]:
    """Messages whose deliveries failed once, and are due again in the order of their ids."""
    made = [accept_one(store, change(f"T{n}")) for n in range(count)]
    failed = [
        settlement(one, DeliveryState.RETRY, next_attempt=NOW + number) for number, one in enumerate(claim(store))
    ]
    store.settlements.settle(failed, NOW)
    return made


def test_those_that_were_tried_before_have_places_of_their_own(store: Store) -> None:
    before, later = tried_before(store, 4), NOW + 60
    new = [accept_one(store, change(f"N{n}")) for n in range(4)]
    assert claim(store, limit=0, now=later) == []
    assert ids(store.queue.claim("main", "w", 2, later, again=1)) == [before[0], *new[:2]]
    assert ids(store.queue.claim("main", "w", 1, later, again=0)) == [new[2]]
    assert ids(store.queue.claim("main", "w", 0, later, again=9)) == before[1:]
    assert ids(store.queue.claim("main", "w", 9, later, again=9)) == [new[3]]


def test_the_youngest_in_turn_with_the_oldest(store: Store) -> None:
    new = [accept_one(store, change(f"N{n}")) for n in range(5)]
    leaver = accept_one(store, change("L", Action.DEACTIVATE, active=False))
    store.queue.join("w", 60, NOW)
    spread = [
        ids(store.queue.claim("main", "w", 1, NOW, again=0, spread=True)) for _ in range(2)
    ]  # a leaver is asked about first all the same
    assert spread == [[leaver], [new[4]]]
    assert ids(store.queue.claim("main", "w", 9, NOW, again=0, spread=True)) == [new[3], new[0], new[2], new[1]]


def test_what_is_left_for_another_time(store: Store) -> None:
    new = [accept_one(store, change(f"N{n}")) for n in range(3)]
    first = claim(store, limit=1)
    store.settlements.settle([settlement(first[0], DeliveryState.QUEUED)], NOW)
    later = [first[0].delivery_id]
    assert ids(store.queue.claim("main", "w", 1, NOW, again=0, later=later)) == [new[1]]
    assert ids(store.queue.claim("main", "w", 9, NOW, again=0, later=later)) == [new[2]]
    assert store.queue.claim("main", "w", 9, NOW, again=0, later=later) == []
    assert ids(claim(store)) == [new[0]]


def test_a_pause_ends_where_the_clock_was_set_back(store: Store) -> None:
    accept_one(store, change("A"), now=NOW - 7200)
    store.pauses.pause("main", "server-busy", NOW, until=NOW + 15)
    assert claim(store, NOW + 1) == []
    assert claim(store, NOW - 30) == [], "clocks of machines differ by as much"
    assert len(claim(store, NOW - 3600)) == 1
    store.pauses.pause("main", "paused-by-person", NOW)
    accept_one(store, change("B"), now=NOW - 7200)
    assert claim(store, NOW - 3600) == [], "until a person resumes it"
