"""What a settlement leaves behind: result, differences, bases, crosswalk, tasks; the stale rule; supersession."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.model import APPLIED, Action, ElementValue, Number, Provenance, Result, Task, Written, write_json
from hl7bridge.store.store import DeliveryState, Store
from tests.store.builders import (
    NOW,
    accept_one,
    change,
    claim,
    deliveries,
    events,
    full_outcome,
    outcome,
    settlement,
    state_of,
)


def deliver(store: Store, now: float = NOW, result: Result = Result.UPDATED, **given: object) -> None:
    """Claim all that is due and end it."""
    store.settlements.settle([settlement(one, outcome=outcome(result, **given)) for one in claim(store, now)], now)


def test_everything_is_kept(store: Store) -> None:
    message_id = accept_one(store, change())
    (one,) = claim(store)
    given = full_outcome("p1")
    assert store.settlements.settle([settlement(one, outcome=given)], NOW + 1) == []
    status = store.audit.statuses([message_id])[message_id][0].deliveries["main"]
    assert (status.state, status.result, status.ended) == (DeliveryState.ENDED, Result.UPDATED, NOW + 1)
    found = store.audit.message(message_id)
    assert found
    (delivery,) = found["records"][0]["deliveries"]
    assert (delivery["person_id"], delivery["version"], delivery["http_status"]) == ("p1", "2", 200)
    (tried,) = delivery["tried"]
    (interaction,) = tried["interactions"]
    assert interaction["differences"] == [
        {"path": "telecom[0].rank", "before": Number("1.0"), "after": Number("2.50"), "field": "STF-10"}
    ]
    assert '"after":2.50' in write_json(found)
    assert tried["exchanges"][1] == {
        "method": "PUT",
        "resource_type": "Practitioner",
        "status": 200,
        "milliseconds": 7.5,
        "request_id": "5a0e9f0c-2",
    }
    assert tried["warnings"][0]["local"] == "drift"
    (task,) = found["tasks"]
    assert (task["kind"], task["state"], task["steps"]) == (
        "leaver-access",
        "open",
        ["Open the console.", "Disable the login."],
    )
    assert store.audit.counts()["tasks"] == 1
    assert events(store, message_id) == ["accepted", "claimed", "task opened", "ended"]


def test_the_next_delivery_knows_what_was_written(store: Store) -> None:
    accept_one(store, change())
    (one,) = claim(store)
    given = full_outcome("p1")
    store.settlements.settle([settlement(one, outcome=given)], NOW)
    accept_one(store, change())
    (again,) = claim(store)
    expected = tuple(replace(written, feed="hr", source_key="S1") for written in given.written)
    assert again.known.person_id == "p1"
    assert again.known.own == expected
    assert store.crosswalk.written_by("main", "Practitioner", "p1") == expected[:1]
    assert store.crosswalk.written_by("main", "PractitionerRole", "r-p1") == expected[1:]
    assert store.crosswalk.written_by("lab", "Practitioner", "p1") == ()


def test_a_base_is_replaced_and_other_feeds_keep_theirs(store: Store) -> None:
    for feed in ("hr", "badge"):
        accept_one(store, change(), feed=feed)
        (one,) = claim(store)
        store.settlements.settle([settlement(one, outcome=full_outcome("p1"))], NOW)
    accept_one(store, change())
    (one,) = claim(store)
    base = Written(
        "Practitioner",
        "p1",
        (ElementValue("gender", "male", Provenance.read("STF-5")),),
        holds_active=False,
        version="9",
    )
    store.settlements.settle([settlement(one, outcome=outcome(written=(base,), person_id="p1"))], NOW)
    badge, hr = store.crosswalk.written_by("main", "Practitioner", "p1")
    assert (badge.feed, badge.version, badge.holds_active) == ("badge", "2", True)
    assert hr == replace(base, feed="hr", source_key="S1")


def test_half_an_attempt_leaves_its_bases(store: Store) -> None:
    """The Practitioner was made, its role failed: the next attempt must know the id."""
    accept_one(store, change())
    (one,) = claim(store)
    half = replace(full_outcome("p1", Result.RETRY), tasks=())
    store.settlements.settle([settlement(one, DeliveryState.RETRY, outcome=half, next_attempt=NOW)], NOW)
    (again,) = claim(store)
    assert again.known.person_id == "p1"
    assert len(again.known.own) == 2
    store.settlements.settle([settlement(again)], NOW)
    found = store.audit.message(again.message_id)
    assert found
    assert [tried["number"] for tried in found["records"][0]["deliveries"][0]["tried"]] == [1, 2]


@pytest.mark.parametrize("result", [Result.REPORTED, Result.HELD, Result.NOTHING_TO_DO])
def test_what_was_not_applied_makes_no_crosswalk(store: Store, result: Result) -> None:
    accept_one(store, change())
    (one,) = claim(store)
    state = DeliveryState.HELD if result is Result.HELD else DeliveryState.ENDED
    store.settlements.settle([settlement(one, state, outcome=outcome(result, person_id="candidate"))], NOW)
    accept_one(store, change())
    assert claim(store)[0].known.person_id == ""


def test_one_task_for_many_attempts(store: Store) -> None:
    accept_one(store, change())
    for _ in range(3):
        (one,) = claim(store)
        retry = replace(full_outcome(), result=Result.RETRY)
        store.settlements.settle([settlement(one, DeliveryState.RETRY, outcome=retry, next_attempt=NOW)], NOW)
    assert store.audit.counts()["tasks"] == 1


def test_a_held_change_says_why(store: Store) -> None:
    message_id = accept_one(store, change())
    (one,) = claim(store)
    held = outcome(Result.HELD, code="207", local="ambiguous", text="Two candidates", http_status=0)
    store.settlements.settle([settlement(one, DeliveryState.HELD, outcome=held)], NOW)
    status = store.audit.statuses([message_id])[message_id][0].deliveries["main"]
    assert (status.code, status.local, status.text, status.ended) == ("207", "ambiguous", "Two candidates", 0)
    assert store.audit.counts()["deliveries"] == {"main": {"held": 1}}


# -- supersession --


@pytest.mark.parametrize("result", sorted(APPLIED))
def test_once_a_later_change_is_applied_the_held_one_is_superseded(store: Store, result: Result) -> None:
    first = accept_one(store, change())
    (one,) = claim(store)
    held = replace(full_outcome(), result=Result.HELD, tasks=(Task("write-by-hand", "Write it", ()),))
    store.settlements.settle([settlement(one, DeliveryState.HELD, outcome=held)], NOW)
    second = accept_one(store, change())
    deliver(store, result=result)
    assert state_of(store, first) == "superseded"
    found = store.audit.message(first)
    assert found
    assert found["history"][-1]["event"] == "superseded"
    assert found["history"][-1]["detail"] == {"was": "held", "by": deliveries(store, second)[0]["id"]}
    assert found["tasks"][0]["state"] == "superseded"


@pytest.mark.parametrize("result", [Result.REPORTED, Result.NOTHING_TO_DO])
def test_what_is_not_applied_supersedes_nothing(store: Store, result: Result) -> None:
    first = accept_one(store, change())
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.HELD)], NOW)
    accept_one(store, change())
    deliver(store, result=result)
    assert state_of(store, first) == "held"


def test_other_persons_feeds_and_destinations_stay_held(store: Store) -> None:
    others = [
        accept_one(store, change("OTHER")),
        accept_one(store, change(), feed="badge"),
    ]
    store.settlements.settle([settlement(one, DeliveryState.HELD) for one in claim(store)], NOW)
    lab = accept_one(store, change(), destinations=("lab",))
    store.settlements.settle([settlement(one, DeliveryState.HELD) for one in claim(store, destination="lab")], NOW)
    accept_one(store, change())
    deliver(store)
    assert [state_of(store, message_id) for message_id in [*others, lab]] == ["held"] * 3


def test_a_later_held_change_is_not_superseded_by_an_earlier_one(store: Store) -> None:
    first = accept_one(store, change(), lane=("x",))
    second = accept_one(store, change(), lane=("y",))
    a, b = claim(store)
    store.settlements.settle([settlement(b, DeliveryState.HELD)], NOW)
    store.settlements.settle([settlement(a)], NOW)
    assert [state_of(store, first), state_of(store, second)] == ["updated", "held"]


# -- the stale rule --

EIGHT, NINE = "2027-01-15T08:00:00.000+00:00", "2027-01-15T09:00:00.000+00:00"


def test_older_than_the_last_applied_is_stale(store: Store) -> None:
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    stale = accept_one(store, change(), order_time=EIGHT)
    equal = accept_one(store, change(), order_time="2027-01-15T10:00:00+01:00")
    missing = accept_one(store, change(), order_time="")
    assert [one.message_id for one in claim(store)] == [equal]
    assert state_of(store, stale) == "stale"
    assert events(store, stale) == ["accepted", "stale"]
    assert store.audit.counts()["tasks"] == 0
    assert state_of(store, missing) == "queued"


def test_the_latest_counts_not_the_last(store: Store) -> None:
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    accept_one(store, change())
    deliver(store)
    accept_one(store, change(), order_time=EIGHT, force=True)
    deliver(store)
    stale = accept_one(store, change(), order_time="2027-01-15T07:59:59.999+00:00")
    assert claim(store) == []
    assert state_of(store, stale) == "stale"


def test_what_is_older_by_less_than_clocks_differ_is_handed_out_as_late(store: Store) -> None:
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    late = accept_one(store, change(), order_time="2027-01-15T08:00:00.001+00:00")
    [claimed] = claim(store)
    assert (claimed.message_id, claimed.known.late) == (late, True)


@pytest.mark.parametrize(
    ("order_time", "force"),
    [
        (NINE, False),
        ("", False),
        ("2027-01-15T10:00:00.000+01:00", False),
        (EIGHT, True),
        ("2027-01-15T08:59:59Z", True),
    ],
)
def test_what_is_not_older_or_forced_is_not_late(store: Store, order_time: str, force: bool) -> None:
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    accept_one(store, change(), order_time=order_time, force=force)
    [claimed] = claim(store)
    assert not claimed.known.late


def test_how_far_clocks_may_differ_is_the_destinations_to_say(store: Store) -> None:
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    told: list[tuple[int, int]] = []
    older = accept_one(store, change(), order_time="2027-01-15T08:59:50.000+00:00")
    assert store.queue.claim("main", "w", 9, NOW, None, 5.0, lambda *ids: told.append(ids)) == []
    assert state_of(store, older) == "stale"
    assert [message_id for _, message_id in told] == [older]
    accept_one(store, change(), order_time="2027-01-14T09:00:00.000+00:00")
    [claimed] = store.queue.claim("main", "w", 9, NOW, None, 2 * 86400.0)
    assert claimed.known.late


def test_a_leaver_by_flag_who_is_stale_leaves_a_task_too(store: Store) -> None:
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    stale = accept_one(store, change(active=False), order_time=EIGHT)
    assert claim(store) == []
    assert [task["kind"] for task in store.audit.message(stale)["tasks"]] == ["stale-lifecycle"]


def test_a_late_one_that_changed_nothing_ends_no_hold(store: Store) -> None:
    """The held leaver came before it, and is younger by the sender's clock."""
    accept_one(store, change(), order_time="2027-01-15T08:30:00.000+00:00")
    deliver(store)
    leaver = accept_one(store, change(action=Action.DEACTIVATE), order_time=NINE)
    store.settlements.settle(
        [settlement(one, DeliveryState.HELD, outcome=outcome(Result.HELD)) for one in claim(store)], NOW
    )
    accept_one(store, change(), order_time="2027-01-15T08:10:00.000+00:00")
    deliver(store, result=Result.UNCHANGED)
    assert state_of(store, leaver) == "held"


@pytest.mark.parametrize("action", [Action.DEACTIVATE, Action.REACTIVATE, Action.REMOVE])
def test_a_stale_lifecycle_change_opens_a_task(store: Store, action: Action) -> None:
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    stale = accept_one(store, change(action=action), order_time=EIGHT)
    assert claim(store) == []
    found = store.audit.message(stale)
    assert found
    assert [task["kind"] for task in found["tasks"]] == ["stale-lifecycle"]
    assert found["tasks"][0]["state"] == "open"


def test_per_feed_and_key_and_destination(store: Store) -> None:
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    accept_one(store, change("OTHER"), order_time=EIGHT)
    accept_one(store, change(), order_time=EIGHT, feed="badge")
    accept_one(store, change(), order_time=EIGHT, destinations=("lab",))
    assert len(claim(store)) == 2
    assert len(claim(store, destination="lab")) == 1


def test_a_leaver_who_was_unknown_does_not_come_back_by_an_older_message(store: Store) -> None:
    accept_one(store, change(action=Action.DEACTIVATE), order_time=NINE)
    deliver(store, result=Result.NOTHING_TO_DO)
    late = accept_one(store, change(action=Action.ADD), order_time=EIGHT)
    assert claim(store) == []
    assert state_of(store, late) == "stale"


def test_stale_ones_make_way(store: Store) -> None:
    """Many stale ones at the front of a lane do not hide what comes behind them."""
    accept_one(store, change(), order_time=NINE)
    deliver(store)
    for _ in range(100):
        accept_one(store, change(), order_time=EIGHT)
    last = accept_one(store, change(), order_time=NINE)
    assert [one.message_id for one in claim(store)] == [last]


# -- effective-dated changes --


def test_a_scheduled_change_waits_outside_its_lane(store: Store) -> None:
    later = accept_one(store, change(), not_before=NOW + 100)
    now = accept_one(store, change())
    assert state_of(store, later) == "scheduled"
    assert [one.message_id for one in claim(store)] == [now]
    found = store.audit.message(later)
    assert found
    assert found["history"][0]["detail"] == {"scheduled": [deliveries(store, later)[0]["id"]]}


def test_when_due_it_lines_up_behind_what_is_there(store: Store) -> None:
    later = accept_one(store, change(), not_before=NOW + 100)
    earlier = accept_one(store, change())
    first = claim(store, NOW + 100)
    assert [one.message_id for one in first] == [earlier]
    after = accept_one(store, change())
    store.settlements.settle([settlement(first[0])], NOW + 100)
    (second,) = claim(store, NOW + 100)
    assert second.message_id == later
    store.settlements.settle([settlement(second)], NOW + 100)
    assert [one.message_id for one in claim(store, NOW + 100)] == [after]
    assert events(store, later) == ["accepted", "due", "claimed", "ended"]


def test_due_in_order_of_their_times(store: Store) -> None:
    second = accept_one(store, change(action=Action.UPDATE), not_before=NOW + 200)
    first = accept_one(store, change(action=Action.ADD), not_before=NOW + 100)
    (one,) = claim(store, NOW + 300)
    assert one.message_id == first
    store.settlements.settle([settlement(one)], NOW + 300)
    assert [one.message_id for one in claim(store, NOW + 300)] == [second]


@pytest.mark.parametrize("one_batch", [True, False])
def test_the_same_time_again_replaces(store: Store, one_batch: bool) -> None:
    if one_batch:
        message_id = accept_one(store, change(), change(), not_before=NOW + 100)
        first, second = deliveries(store, message_id)
    else:
        ids = [accept_one(store, change(), not_before=NOW + 100) for _ in range(2)]
        first, second = (deliveries(store, message_id)[0] for message_id in ids)
    assert (first["state"], first["result"], second["state"]) == ("ended", "superseded", "scheduled")
    assert len(claim(store, NOW + 100)) == 1


def test_another_time_or_person_does_not(store: Store) -> None:
    first = accept_one(store, change(), not_before=NOW + 100)
    accept_one(store, change(), not_before=NOW + 101)
    accept_one(store, change("OTHER"), not_before=NOW + 100)
    accept_one(store, change(), not_before=NOW + 100, feed="badge")
    accept_one(store, change())
    assert state_of(store, first) == "scheduled"


@pytest.mark.parametrize("action", [Action.DEACTIVATE, Action.REACTIVATE, Action.REMOVE])
@pytest.mark.parametrize("not_before", [0.0, NOW + 50])
def test_a_lifecycle_change_replaces_its_kind(store: Store, action: Action, not_before: float) -> None:
    first = accept_one(store, change(action=action), not_before=NOW + 100)
    other = accept_one(store, change(action=Action.UPDATE), not_before=NOW + 99)
    second = accept_one(store, change(action=action), not_before=not_before)
    assert state_of(store, first) == "superseded"
    found = store.audit.message(first)
    assert found
    assert found["history"][-1]["detail"] == {"was": "scheduled", "by": deliveries(store, second)[0]["id"]}
    assert state_of(store, other) == "scheduled"


# -- withdrawing --


def test_withdrawing_what_was_not_sent(store: Store) -> None:
    message_id = accept_one(store, change("A"), change("B"), change("C"))
    next_one = accept_one(store, change("A"))
    held = claim(store, limit=1)
    store.settlements.settle([settlement(held[0], DeliveryState.HELD)], NOW)
    assert store.settlements.withdraw(message_id, NOW)
    assert [delivery["result"] for delivery in deliveries(store, message_id)] == ["withdrawn"] * 3
    assert store.audit.messages()[1].state == "withdrawn"
    assert [one.message_id for one in claim(store)] == [next_one]
    assert events(store, message_id)[-1] == "withdrawn"


def test_withdrawing_scheduled_and_retried_ones(store: Store) -> None:
    scheduled = accept_one(store, change("A"), not_before=NOW + 100)
    retried = accept_one(store, change("B"))
    (one,) = claim(store)
    store.settlements.settle([settlement(one, DeliveryState.RETRY, next_attempt=NOW + 5)], NOW)
    assert store.settlements.withdraw(scheduled, NOW)
    assert store.settlements.withdraw(retried, NOW)
    assert claim(store, NOW + 1000) == []


def test_what_may_have_been_sent_goes_on(store: Store) -> None:
    message_id = accept_one(store, change("A"), change("B"), change("C"), change("D"))
    claimed = claim(store, limit=3)
    store.settlements.settle(
        [
            settlement(claimed[0]),
            settlement(claimed[1], DeliveryState.UNKNOWN, next_attempt=NOW + 5),
        ],
        NOW,
    )
    assert not store.settlements.withdraw(message_id, NOW)
    assert [d["result"] or d["state"] for d in deliveries(store, message_id)] == [
        "updated",
        "unknown",
        "claimed",
        "withdrawn",
    ]
    assert store.settlements.settle([settlement(claimed[2])], NOW) == []


def test_a_doubtful_or_half_written_one_goes_on(store: Store) -> None:
    doubtful = accept_one(store, change("A"))
    half = accept_one(store, change("B"))
    a, b = claim(store)
    store.settlements.settle([settlement(a, DeliveryState.UNKNOWN, next_attempt=NOW)], NOW)
    (a,) = claim(store)
    store.settlements.settle(
        [
            settlement(a, DeliveryState.RETRY, next_attempt=NOW),
            settlement(b, DeliveryState.RETRY, outcome=replace(full_outcome(), result=Result.RETRY), next_attempt=NOW),
        ],
        NOW,
    )
    assert not store.settlements.withdraw(doubtful, NOW)
    assert not store.settlements.withdraw(half, NOW)
    assert [one.message_id for one in claim(store)] == [doubtful, half]


def test_withdrawing_behind_one_that_is_claimed(store: Store) -> None:
    """The claim of another delivery in the same lane must survive."""
    first = accept_one(store, change())
    second = accept_one(store, change())
    third = accept_one(store, change())
    (one,) = claim(store)
    assert store.settlements.withdraw(second, NOW)
    assert claim(store) == []
    assert store.settlements.settle([settlement(one)], NOW) == []
    assert [one.message_id for one in claim(store)] == [third]
    assert state_of(store, first) == "updated"


def test_nothing_to_withdraw(store: Store) -> None:
    message_id = accept_one(store, None)
    assert store.settlements.withdraw(message_id, NOW)
    assert store.audit.messages()[0].state == "accepted"
