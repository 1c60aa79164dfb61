"""Going live in the store: what was reported stands before all that came since, and nobody is forgotten in a lane."""

from __future__ import annotations

import pytest

from hl7bridge.model import Action, Result, Task
from hl7bridge.store.store import Store, same_person
from tests.store.builders import NOW, accept_one, change, claim, outcome, settlement

REPORT = {"mode": "report"}


def report(store: Store) -> None:
    """Report all that is due."""
    while claimed := claim(store):
        store.settlements.settle([settlement(one, result=Result.REPORTED) for one in claimed], NOW)


def went_live(store: Store) -> list[tuple[str, Action]]:
    """Queue all that was reported; then who is handed out, one after the other."""
    found = store.modes.reported("main")
    assert list(store.modes.go_live("main", [one.delivery_id for one in found], NOW, who="ana", reason="go")) == [
        len(found)
    ]
    return deliver_all(store)


def deliver_all(store: Store) -> list[tuple[str, Action]]:
    order = []
    while claimed := claim(store, limit=1):
        order += [(one.change.source_key, one.change.action) for one in claimed]
        store.settlements.settle([settlement(one) for one in claimed], NOW)
    return order


def test_the_reported_go_first_each_in_its_lane_and_leavers_before_others(store: Store) -> None:
    accept_one(store, change("S1", Action.ADD))
    accept_one(store, change("S1", Action.UPDATE))
    accept_one(store, change("S2", Action.UPDATE))
    accept_one(store, change("S2", Action.DEACTIVATE))
    accept_one(store, change("S3", Action.DEACTIVATE))
    report(store)
    assert [one.source_key for one in store.modes.reported("main")] == ["S1", "S1", "S2", "S2", "S3"]
    accept_one(store, change("S1", Action.DEACTIVATE))
    order = went_live(store)
    assert order[0] == ("S3", Action.DEACTIVATE), "a leaver whose lane is free"
    assert [action for key, action in order if key == "S1"] == [Action.ADD, Action.UPDATE, Action.DEACTIVATE]
    assert [action for key, action in order if key == "S2"] == [Action.UPDATE, Action.DEACTIVATE]
    assert not store.modes.has_reported("main")


def test_what_was_lined_up_meanwhile_waits_for_the_reported_of_its_person(store: Store) -> None:
    accept_one(store, change("S1", Action.ADD))
    report(store)
    accept_one(store, change("S1", Action.UPDATE))
    store.queue.join("w", 60, NOW)
    [claimed] = store.queue.claim("main", "w", 10, NOW)
    store.queue.leave("w", NOW)  # back in its lane, and marked as the first
    assert claimed.change.action is Action.UPDATE
    assert went_live(store) == [("S1", Action.ADD), ("S1", Action.UPDATE)]


@pytest.mark.parametrize(
    ("earlier", "later", "left"),
    [
        (Action.UPDATE, Action.DEACTIVATE, False),
        (Action.DEACTIVATE, Action.REACTIVATE, False),
        (Action.DEACTIVATE, Action.UPDATE, True),
    ],
)
def test_what_was_applied_since_overtakes_it(store: Store, earlier: Action, later: Action, left: bool) -> None:
    accept_one(store, change("S1", earlier, active=None))
    report(store)
    accept_one(store, change("S1", later, active=None))
    assert deliver_all(store) == [("S1", later)]
    [one] = store.modes.reported("main")
    assert one.overtaken is not left
    assert went_live(store) == ([("S1", earlier)] if left else [])
    assert not store.modes.has_reported("main")


def test_what_came_out_of_order_is_told_before(store: Store) -> None:
    accept_one(store, change("S1"), order_time="2027-01-01T00:00:00+00:00")
    report(store)
    accept_one(store, change("S1"), order_time="2027-01-02T00:00:00+00:00")
    deliver_all(store)
    assert [one.overtaken for one in store.modes.reported("main")] == [True]


EARLY, LATE = "2027-01-01T00:00:00+00:00", "2027-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("before", "since", "ends"),
    [(None, Action.UPDATE, True), (None, Action.REACTIVATE, False), (Action.UPDATE, None, False)],
    ids=["updated-since", "back-since", "older-than-what-came-before"],
)
def test_a_leaver_who_was_only_reported_is_not_stale_for_an_update_that_was_written_since(
    store: Store, before: Action | None, since: Action | None, ends: bool
) -> None:
    """Such as under `modes.deactivate = "report"`: a new telephone number must not keep them in."""
    if before:
        accept_one(store, change("S1", before, active=None), order_time=LATE)
        report(store)
    accept_one(store, change("S1", Action.DEACTIVATE, active=None), order_time=EARLY)
    report(store)
    if since:
        accept_one(store, change("S1", since, active=None), order_time=LATE)
        deliver_all(store)
    shown = store.modes.reported("main")[-1]
    assert shown.overtaken is (since is Action.REACTIVATE)
    assert (("S1", Action.DEACTIVATE) in went_live(store)) is ends


def test_as_what_it_ran_is_remembered(store: Store) -> None:
    assert store.modes.ran_as("main") is None
    store.modes.remember_ran_as("main", REPORT, NOW)
    assert (store.modes.ran_as("main"), store.modes.ran_as("other")) == (REPORT, None)


def test_a_latch_is_told_once_and_ended_by_a_person(store: Store) -> None:
    assert store.modes.latch("main", "Practitioner create", "no", NOW)
    assert not store.modes.latch("main", "Practitioner create", "no, again", NOW)
    assert store.modes.latches("main") == {"Practitioner create": "no"}
    assert store.modes.unlatch("main", NOW, who="ana", note="granted") == ["Practitioner create"]
    assert store.modes.unlatch("main", NOW, who="ana", note="granted") == []
    assert store.modes.latches("main") == {}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ana", "ana", True),
        ("root (sudo: ana)", "ana", True),
        ("ana", "root (sudo: ana)", True),
        ("root (sudo: bo)", "root (sudo: ana)", False),
        ("bo", "ana", False),
        ("ana", "", False),
        ("", "", False),
    ],
)
def test_who_is_one_person(one: str, other: str, same: bool) -> None:
    assert same_person(one, other) is same


ACCESS = Task("leaver-access", "End a leaver's access")


def tasks_of(store: Store) -> list[str]:
    return [task.state for task in store.worklist.tasks(kind="leaver-access", limit=100)]


def report_leaver(store: Store, action: Action = Action.DEACTIVATE) -> None:
    accept_one(store, change("S1", action, active=None))
    told = (ACCESS,) if action is Action.DEACTIVATE else ()
    store.settlements.settle(
        [settlement(one, outcome=outcome(Result.REPORTED, tasks=told)) for one in claim(store)], NOW
    )


def test_a_leaver_who_is_reported_again_is_asked_of_people_once(store: Store) -> None:
    """Nothing is written, so each repetition finds them active; the task may be done by then."""
    report_leaver(store)
    report_leaver(store)
    assert tasks_of(store) == ["open"]
    [task] = store.worklist.tasks(kind="leaver-access")
    assert store.worklist.finish_task(task.id, NOW, who="ana", evidence="login disabled")
    report_leaver(store)
    report_leaver(store, Action.UPDATE)
    report_leaver(store)
    assert tasks_of(store) == ["done"]
    report_leaver(store, Action.REACTIVATE)
    report_leaver(store)
    assert tasks_of(store) == ["done", "open"], "the person had come back, and leaves again"
