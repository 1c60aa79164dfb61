"""What people decide: releasing and discarding held deliveries, pausing destinations, closing tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.model import Action, Location, Result, StaffChange, Task
from hl7bridge.store.queue.pauses import Pause
from hl7bridge.store.store import DeliveryState, Released, Store
from tests.store.builders import (
    NOW,
    OpenStore,
    accept_one,
    change,
    claim,
    events,
    message,
    outcome,
    settlement,
    state_of,
)

ACCESS, BY_HAND = Task("leaver-access", "End access", ("Look.", "End it."), 900.0), Task("write-by-hand", "Write", ())
SOMEBODY = {"who": "ana", "reason": "checked"}


def hold(store: Store, *given: StaffChange, local: str = "server-refused", now: float = NOW, **message: object) -> int:
    """A message of which everything is held; its id."""
    message_id = accept_one(store, *given or (change(),), **message)
    held = outcome(Result.HELD, local=local, text="It is held", tasks=(BY_HAND,))
    store.settlements.settle([settlement(one, DeliveryState.HELD, outcome=held) for one in claim(store, now)], now)
    return message_id


def held_id(store: Store, message_id: int) -> int:
    return next(row.id for row in store.holds.holds(limit=1000) if row.message_id == message_id)


def end_all(store: Store, result: Result = Result.UPDATED, now: float = NOW) -> list[str]:
    """Deliver what may be claimed, one after another; the phone-like key of each message's change."""
    done = []
    while claimed := claim(store, now, limit=1):
        done.append(f"{claimed[0].message_id}")
        store.settlements.settle([settlement(claimed[0], outcome=outcome(result))], now)
    return done


def test_holds_are_listed_with_why_and_since_when(store: Store) -> None:
    first = hold(store, change("A"), local="forbidden")
    hold(store, change("B"), feed="badge", now=NOW + 5)
    rows = store.holds.holds()
    assert [(row.source_key, row.local, row.since) for row in rows] == [
        ("A", "forbidden", NOW),
        ("B", "server-refused", NOW + 5),
    ]
    assert (rows[0].message_id, rows[0].position, rows[0].text) == (first, 1, "It is held")
    for filters, keys in (
        ({"local": "forbidden"}, ["A"]),
        ({"feed": "badge"}, ["B"]),
        ({"source_key": "B"}, ["B"]),
        ({"destination": "other"}, []),
        ({"delivery_id": rows[1].id}, ["B"]),
        ({"limit": 1}, ["A"]),
    ):
        assert [row.source_key for row in store.holds.holds(**filters)] == keys  # type: ignore[arg-type]


def test_a_released_delivery_goes_again_and_says_who_and_why(store: Store) -> None:
    message_id = hold(store)
    delivery_id = held_id(store, message_id)
    assert store.holds.release(delivery_id, NOW + 1, **SOMEBODY) is Released.QUEUED
    assert store.holds.holds().rows == ()
    (one,) = claim(store)
    assert (one.delivery_id, one.approved, one.known.attempts, one.change) == (delivery_id, True, 0, change())
    assert store.settlements.settle([settlement(one)], NOW) == []
    found = store.audit.message(message_id)
    assert found
    (row,) = [row for row in found["history"] if row["event"] == "released"]
    assert row["detail"] == {"who": "ana", "reason": "checked", "was": "server-refused", "mapping_version": ""}
    assert [attempt["number"] for attempt in found["records"][0]["deliveries"][0]["tried"]] == [1, 2]
    assert [(task["kind"], task["state"]) for task in found["tasks"]] == [("write-by-hand", "released")]


def test_what_is_not_held_is_not_released(store: Store) -> None:
    message_id = hold(store)
    delivery_id = held_id(store, message_id)
    assert store.holds.release(99, NOW, **SOMEBODY) is Released.NOT_HELD
    assert store.holds.release(delivery_id, NOW, **SOMEBODY) is Released.QUEUED
    assert store.holds.release(delivery_id, NOW, **SOMEBODY) is Released.NOT_HELD
    assert not store.holds.discard(delivery_id, NOW, **SOMEBODY)


def test_nobody_else_is_approved(store: Store) -> None:
    accept_one(store, change())
    assert [one.approved for one in claim(store)] == [False]


def test_it_goes_as_it_is_read_now(store: Store) -> None:
    message_id = hold(store)
    anew = replace(change(), practitioner=(), mapping_version="m2")
    assert (
        store.holds.release(held_id(store, message_id), NOW, **SOMEBODY, change=anew, lane=("npi/1",))
        is Released.QUEUED
    )
    other = accept_one(store, change("OTHER"), lane=("npi/1",))
    assert [one.change for one in claim(store)] == [anew], "the new lane is its lane, too"
    found = store.audit.message(message_id)
    assert found
    assert found["records"][0]["change"]["mapping_version"] == "m1", "what was stored stays"
    assert state_of(store, other) == "queued"


def test_it_goes_to_the_end_of_its_lane(store: Store) -> None:
    first = hold(store)
    delivery_id = held_id(store, first)
    second = accept_one(store, change())
    assert store.holds.release(delivery_id, NOW, **SOMEBODY) is Released.OVERTAKEN, "a younger change is under way"
    assert state_of(store, first) == "held"
    assert end_all(store) == [str(second)]
    assert state_of(store, first) == "superseded"


def test_several_of_one_person_keep_their_order(store: Store) -> None:
    older, younger = hold(store), hold(store)
    ids = [held_id(store, message_id) for message_id in (older, younger)]
    assert [store.holds.release(one, NOW, **SOMEBODY) for one in ids] == [Released.QUEUED] * 2
    third = accept_one(store, change())
    assert end_all(store) == [str(older), str(younger), str(third)]
    assert (state_of(store, older), state_of(store, younger)) == ("updated", "updated")


def test_releasing_the_older_does_not_supersede_the_younger(store: Store) -> None:
    older, younger = hold(store), hold(store)
    assert store.holds.release(held_id(store, older), NOW, **SOMEBODY) is Released.QUEUED
    end_all(store)
    assert (state_of(store, older), state_of(store, younger)) == ("updated", "held")


def test_releasing_the_younger_supersedes_the_older(store: Store) -> None:
    older, younger = hold(store), hold(store)
    assert store.holds.release(held_id(store, younger), NOW, **SOMEBODY) is Released.QUEUED
    assert store.holds.release(held_id(store, older), NOW, **SOMEBODY) is Released.OVERTAKEN
    end_all(store)
    assert (state_of(store, older), state_of(store, younger)) == ("superseded", "updated")


def test_it_may_be_held_and_released_again(store: Store) -> None:
    message_id = hold(store)
    delivery_id = held_id(store, message_id)
    for _ in range(2):
        assert store.holds.release(delivery_id, NOW, **SOMEBODY) is Released.QUEUED
        store.settlements.settle([settlement(one, DeliveryState.HELD) for one in claim(store)], NOW)
    later = accept_one(store, change())
    assert end_all(store) == [str(later)]
    assert state_of(store, message_id) == "superseded"


LEAVES = change(action=Action.DEACTIVATE, active=None)


@pytest.mark.parametrize(
    ("held", "later", "state"),
    [
        (LEAVES, change(active=None), "held"),
        (LEAVES, change(active=True), "superseded"),
        (LEAVES, change(active=False), "superseded"),
        (LEAVES, change(action=Action.REACTIVATE, active=None), "superseded"),
        (LEAVES, change(action=Action.DEACTIVATE, active=None, temporary=True), "held"),
        (change(active=False), change(active=None), "held"),
        (change(active=None), change(active=None), "superseded"),
    ],
)
def test_only_a_word_about_being_there_overtakes_a_leaver(
    store: Store, held: StaffChange, later: StaffChange, state: str
) -> None:
    message_id = hold(store, held, local="brake")
    accept_one(store, later)
    end_all(store)
    assert state_of(store, message_id) == state


def test_a_released_leaver_is_not_stale(store: Store) -> None:
    """What was applied since said nothing of the leaving, else the hold would have been superseded."""
    leaver = hold(store, LEAVES, order_time="2027-01-15T08:00:00+00:00")
    accept_one(store, change(active=None), order_time="2027-01-15T09:00:00+00:00")
    end_all(store)
    assert store.holds.release(held_id(store, leaver), NOW, **SOMEBODY) is Released.QUEUED
    end_all(store, Result.DEACTIVATED)
    assert state_of(store, leaver) == "deactivated"


def test_a_released_joiner_may_be_stale(store: Store) -> None:
    joiner = hold(store, change(action=Action.ADD), order_time="2027-01-15T08:00:00+00:00")
    accept_one(store, LEAVES, order_time="2027-01-15T09:00:00+00:00")
    end_all(store, Result.NOTHING_TO_DO)
    assert store.holds.release(held_id(store, joiner), NOW, **SOMEBODY) is Released.QUEUED
    end_all(store)
    assert state_of(store, joiner) == "stale"


def test_what_came_out_of_order_goes_once_a_person_releases_it(store: Store) -> None:
    """Not when it is only tried again: then it is compared once more."""
    accept_one(store, change(), order_time="2027-01-15T09:00:00+00:00")
    end_all(store)
    late = hold(store, change(), local="out-of-order", order_time="2027-01-15T08:30:00+00:00")
    assert store.holds.release(held_id(store, late), NOW, approves=False, **SOMEBODY) is Released.QUEUED
    [claimed] = claim(store)
    assert claimed.known.late
    store.settlements.settle(
        [settlement(claimed, DeliveryState.HELD, outcome=outcome(Result.HELD, local="out-of-order"))], NOW
    )
    assert store.holds.release(held_id(store, late), NOW, **SOMEBODY) is Released.QUEUED
    [claimed] = claim(store)
    assert (claimed.known.late, claimed.force, claimed.approved) == (False, True, True)


def test_discarding_ends_it_as_withdrawn(store: Store) -> None:
    message_id = hold(store)
    assert store.holds.discard(held_id(store, message_id), NOW + 1, **SOMEBODY)
    assert state_of(store, message_id) == "withdrawn"
    found = store.audit.message(message_id)
    assert found
    detail = found["history"][-1]["detail"]
    assert detail == {"was": "held", "who": "ana", "reason": "checked", "held_for": "server-refused"}
    assert [task["state"] for task in found["tasks"]] == ["withdrawn"]
    assert claim(store) == []


def test_tasks_about_a_person_outlive_the_delivery(store: Store) -> None:
    message_id = accept_one(store, LEAVES)
    half_done = outcome(Result.HELD, tasks=(ACCESS, BY_HAND))
    store.settlements.settle([settlement(one, DeliveryState.HELD, outcome=half_done) for one in claim(store)], NOW)
    assert store.holds.discard(held_id(store, message_id), NOW, **SOMEBODY)
    assert [(task.kind, task.state) for task in store.worklist.tasks()] == [
        ("leaver-access", "open"),
        ("write-by-hand", "withdrawn"),
    ]


# -- tasks --


def test_tasks_are_listed_with_their_due_time_and_closed_with_evidence(store: Store) -> None:
    message_id = accept_one(store, LEAVES)
    store.settlements.settle([settlement(one, outcome=outcome(tasks=(ACCESS, BY_HAND))) for one in claim(store)], NOW)
    access, by_hand = store.worklist.tasks()
    assert (access.due, by_hand.due) == (NOW + 900, 0)
    assert access.steps == ("Look.", "End it.")
    assert [task.kind for task in store.worklist.tasks(kind="leaver-access")] == ["leaver-access"]
    assert store.worklist.tasks(destination="other").rows == ()
    assert store.worklist.finish_task(access.id, NOW + 60, who="ana", evidence="login disabled")
    assert not store.worklist.finish_task(access.id, NOW + 61, who="bo", evidence="again")
    assert not store.worklist.finish_task(99, NOW, who="bo", evidence="what")
    (done,) = store.worklist.tasks(state="done")
    assert (done.closed, done.closed_by, done.evidence) == (NOW + 60, "ana", "login disabled")
    assert [task.id for task in store.worklist.tasks(state="open")] == [by_hand.id]
    assert store.audit.counts()["tasks"] == 1
    assert events(store, message_id)[-1] == "task done"


# -- destinations --

REFUSED = Task("writes-refused", "Writes are refused", ("Ask.",))


def test_a_pause_by_a_person_holds_until_a_person_ends_it(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    accept_one(store, change())
    assert store.pauses.pause("main", "maintenance", NOW, who="ana", note="upgrade tonight")
    assert not other.pauses.pause("main", "writes-refused", NOW, task=REFUSED)
    assert other.worklist.tasks().rows == ()
    assert other.pauses.pauses() == {"main": Pause("maintenance", NOW, 0, "ana", "upgrade tonight")}
    assert claim(other, NOW + 1e6) == []
    assert other.audit.paused() == other.audit.counts()["paused"] == {"main": "maintenance"}
    assert other.pauses.resume("main", NOW, who="bo", note="done")
    assert not store.pauses.resume("main", NOW)
    assert len(claim(store)) == 1


@pytest.mark.parametrize("paused", [True, False])
def test_what_waits_for_its_next_attempt_goes_when_a_person_resumes(open_store: OpenStore, paused: bool) -> None:
    store = open_store()
    accept_one(store, change("S1"))
    (claimed,) = claim(store)
    store.settlements.settle([settlement(claimed, DeliveryState.RETRY, next_attempt=NOW + 300)], NOW)
    if paused:
        store.pauses.pause("main", "server-busy", NOW, until=NOW + 60)
    assert claim(store, NOW + 1) == []
    assert store.pauses.resume("main", NOW + 1, who="ana", note="it is back") is paused
    assert [one.delivery_id for one in claim(store, NOW + 1)] == [claimed.delivery_id]


def test_a_latch_is_told_once_and_ends_with_its_task(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(3)]
    told = [store.pauses.pause("main", "writes-refused", NOW, task=REFUSED) for store in stores]
    assert told == [True, False, False]
    assert stores[1].pauses.pause("other", "writes-refused", NOW, task=REFUSED)
    assert [(task.destination, task.state) for task in stores[2].worklist.tasks()] == [
        ("main", "open"),
        ("other", "open"),
    ]
    assert stores[0].pauses.resume("main", NOW + 9, who="ana", note="allowed now")
    assert [(t.state, t.closed_by, t.closed) for t in stores[2].worklist.tasks()] == [
        ("done", "ana", NOW + 9),
        ("open", "", 0),
    ]
    assert stores[2].pauses.pause("main", "writes-refused", NOW + 10, task=REFUSED), (
        "it may latch again, and is told again"
    )


def test_a_pause_that_ends_by_itself_gives_way(store: Store) -> None:
    accept_one(store, change())
    (one,) = claim(store)
    given_back = settlement(one, DeliveryState.QUEUED, pause="token-refused", pause_until=NOW + 60)
    store.settlements.settle([given_back], NOW)
    assert store.pauses.pause("main", "writes-refused", NOW)
    assert claim(store, NOW + 100) == []


@pytest.mark.parametrize("same", [True, False])
def test_an_approval_is_of_what_was_seen(store: Store, same: bool) -> None:
    """Who asked for a change may have it tried again, but not with another content in the place of what was approved."""
    made = replace(message(change(), control_id="asked"), requested_by="ana")
    store.inbox.accept([made], NOW)
    for who, anew in (("bo", change()), ("ana", change() if same else change(cleared=(Location("STF", field=11),)))):
        [one] = claim(store)
        store.settlements.settle([settlement(one, DeliveryState.HELD)], NOW)
        assert store.holds.release(one.delivery_id, NOW, who=who, reason="seen", change=anew) is Released.QUEUED
    [one] = claim(store)
    assert one.approved is same
