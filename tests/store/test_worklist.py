"""Tasks that know their state: steps closed by people and by what reads show, gates, escalations, leavers that take long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.model import LEAVER_UNVERIFIED, PERSON_INACTIVE, ROLES_ENDED, Action, Check, Result, Task, Written
from hl7bridge.store.inbox.arrivals import pack
from hl7bridge.store.store import DeliveryState, Released, Store
from hl7bridge.store.worklist import Subject
from tests.store.builders import NOW, OpenStore, accept_one, change, claim, events, message, outcome, settlement

ACCESS = Task(
    "leaver-access",
    "End access",
    ("Disable it.", "Review it."),
    900.0,
    (Check(PERSON_INACTIVE, "The person is inactive."), Check(ROLES_ENDED, "The roles have ended.")),
)
SETUP = Task("joiner-setup", "Set up", ("Add the user.",), 60.0, (Check("login-known", "The login id.", gate=True),))
LATE = Task(
    LEAVER_UNVERIFIED, "Late", ("Look.",), 900.0, (Check(PERSON_INACTIVE, "The person is inactive."),), by_facts=True
)
LEAVES = change("L", Action.DEACTIVATE, active=False)
ANA = {"who": "ana", "evidence": "ticket 4711"}


def settle(store: Store, given=None, *, tasks=(), facts=(), now: float = NOW, **more: object) -> int:
    """A change of somebody, delivered with these tasks and facts."""
    message_id = accept_one(store, given or change("L"), now=now)
    seen = outcome(person_id="p7", version="3", shown="Person/p7")
    made = replace(seen, tasks=tuple(tasks), facts=frozenset(facts), **more)
    store.settlements.settle([settlement(one, outcome=made) for one in claim(store, now)], now)
    return message_id


def items(store: Store) -> list[tuple[int, str, str]]:
    (task,) = store.worklist.tasks()
    return [(item.number, item.state, item.who) for item in task.items]


def test_what_a_read_shows_closes_its_steps_and_is_stamped(store: Store) -> None:
    message_id = settle(store, tasks=[ACCESS], facts=[PERSON_INACTIVE])
    (task,) = store.worklist.tasks()
    shown = task.items[2]
    assert (shown.text, shown.state, shown.changed, shown.who) == (
        "The person is inactive.", "verified", NOW, "hl7bridge",
    )  # fmt: skip
    assert shown.evidence == f"Person/p7 version 3, message {message_id}"
    assert [item.state for item in task.items] == ["open", "open", "verified", "open"]
    assert (task.state, task.steps[0], task.blocked_by) == ("open", "Disable it.", ())
    assert events(store, message_id)[-3:] == ["task opened", "task item verified", "ended"]


def test_a_later_read_closes_what_is_left_and_people_close_the_rest(store: Store) -> None:
    settle(store, tasks=[ACCESS])
    assert store.worklist.finish_item(1, 1, NOW + 5, **ANA)
    assert not store.worklist.finish_item(1, 1, NOW + 6, **ANA), "it is closed"
    assert not store.worklist.finish_item(1, 5, NOW + 6, **ANA), "there are four"
    settle(store, change("OTHER"), facts=[PERSON_INACTIVE], now=NOW + 7)
    assert items(store)[2] == (3, "open", ""), "that was somebody else"
    settle(store, facts=[PERSON_INACTIVE, ROLES_ENDED], now=NOW + 8)
    assert [state for _, state, _ in items(store)] == ["done", "open", "verified", "verified"]
    assert store.worklist.tasks()[0].state == "open", "no read shows that a login has ended"
    assert store.worklist.finish_item(1, 2, NOW + 9, **ANA)
    (task,) = store.worklist.tasks()
    assert (task.state, task.closed, task.closed_by, task.evidence) == (
        "done", NOW + 9, "ana", "ticket 4711",
    )  # fmt: skip
    assert not store.worklist.finish_item(1, 2, NOW + 10, **ANA)


def test_the_last_step_may_be_closed_by_a_read(store: Store) -> None:
    settle(store, tasks=[ACCESS])
    assert store.worklist.finish_item(1, 1, NOW, **ANA)
    assert store.worklist.finish_item(1, 2, NOW, **ANA)
    store.worklist.verify("main", "hr", "L", [PERSON_INACTIVE, ROLES_ENDED], "reconciled", NOW + 9)
    (task,) = store.worklist.tasks()
    assert (task.state, task.closed_by, task.evidence) == ("done", "hl7bridge", "reconciled")


def test_closing_the_whole_closes_its_open_steps_and_leaves_what_was_verified(store: Store) -> None:
    settle(store, tasks=[ACCESS], facts=[PERSON_INACTIVE])
    assert store.worklist.finish_task(1, NOW + 1, **ANA)
    assert items(store) == [(1, "done", "ana"), (2, "done", "ana"), (3, "verified", "hl7bridge"), (4, "done", "ana")]


def test_steps_wait_for_gates(store: Store) -> None:
    settle(store, tasks=[SETUP])
    assert store.worklist.tasks()[0].blocked_by == (1,)
    assert not store.worklist.finish_item(1, 2, NOW, **ANA)
    assert not store.worklist.finish_task(1, NOW, **ANA)
    settle(store, facts=["login-known"], now=NOW + 1)
    assert store.worklist.tasks()[0].blocked_by == ()
    assert store.worklist.finish_item(1, 2, NOW + 2, **ANA)
    assert store.worklist.tasks()[0].state == "done"


@pytest.mark.parametrize(("task", "again"), [(SETUP, 0), (ACCESS, 1), (replace(ACCESS, kind="away-access"), 2)])
def test_who_is_asked_again(store: Store, task: Task, again: int) -> None:
    """A joiner is set up once; a leaver's access is ended once, until that is done; the rest is opened each time."""
    settle(store, tasks=[task])
    settle(store, tasks=[task], now=NOW + 1)
    opened = len(store.worklist.tasks()) - 1
    for number in range(1, 2 + opened):
        store.worklist.finish_item(number, 1, NOW, **ANA)
        store.worklist.finish_task(number, NOW, **ANA)
    settle(store, tasks=[task], now=NOW + 2)
    assert len(store.worklist.tasks()) - 1 == again


def test_tasks_of_before_this_version_have_their_steps(store: Store) -> None:
    settle(store, tasks=[Task("shared-person", "Shared", ("Check.", "Review."))])
    assert items(store) == [(1, "open", ""), (2, "open", "")]
    assert store.worklist.finish_item(1, 2, NOW, **ANA)
    assert items(store) == [(1, "open", ""), (2, "done", "ana")]


def test_a_task_is_given_to_somebody(store: Store) -> None:
    message_id = settle(store, tasks=[ACCESS])
    assert store.worklist.assign_task(1, "access team", NOW, who="ana")
    assert [task.id for task in store.worklist.tasks(owner="access team", source_key="L")] == [1]
    assert store.worklist.tasks(owner="bo").rows == ()
    assert store.worklist.finish_task(1, NOW, **ANA)
    assert not store.worklist.assign_task(1, "bo", NOW, who="ana")
    assert "task assigned" in events(store, message_id)


def test_a_site_words_its_tasks(store: Store) -> None:
    def words(task: Task, subject: Subject) -> Task:
        return replace(task, title=f"{subject.destination} {subject.source_key} {subject.person_id}", owner="team")

    store.worklist.word_tasks(words)
    settle(store, tasks=[ACCESS])
    (task,) = store.worklist.tasks()
    assert (task.title, task.owner) == ("main L p7", "team")


# -- escalations --


def test_an_overdue_task_is_told_once_for_each_state_over_processes_and_restarts(open_store: OpenStore) -> None:
    first, other = open_store(), open_store()
    settle(first, tasks=[ACCESS])
    due = NOW + 900
    assert first.worklist.overdue_tasks("main", due - 1) == []
    assert first.worklist.overdue_tasks("elsewhere", due) == []
    assert [(row.id, row.kind, row.told) for row in first.worklist.overdue_tasks("main", due)] == [
        (1, "leaver-access", 1)
    ]
    assert other.worklist.overdue_tasks("main", due + 3599) == []
    assert [row.told for row in other.worklist.overdue_tasks("main", due + 3600)] == [2]
    assert [row.told for row in open_store().worklist.overdue_tasks("main", due + 86400)] == [3]
    assert first.worklist.overdue_tasks("main", due + 10**7) == []


def test_states_that_passed_while_nobody_looked_are_told_as_one(store: Store) -> None:
    settle(store, tasks=[ACCESS])
    assert [row.told for row in store.worklist.overdue_tasks("main", NOW + 10**6)] == [3]
    assert store.worklist.finish_task(1, NOW, **ANA)
    settle(store, tasks=[ACCESS], now=NOW + 1)
    assert store.worklist.finish_task(2, NOW + 2, **ANA)
    assert store.worklist.overdue_tasks("main", NOW + 10**7) == []


def test_people_are_told_once_in_a_while(open_store: OpenStore) -> None:
    first, other = open_store(), open_store()
    task = Task("off-hours", "Odd hours")
    told = [
        one.worklist.tell_once("main", "off-hours", NOW + after, 3600, task)
        for one in (first, other)
        for after in (0, 5)
    ]
    assert told == [True, False, False, False]
    assert other.worklist.tell_once("main", "off-hours", NOW + 3600, 3600)
    assert [one.kind for one in first.worklist.tasks()] == ["off-hours"]


# -- leavers that take too long --


def late(store: Store, now: float) -> list[tuple[str, str, float]]:
    store.leavers.watch("main", LATE, now)
    return [(task.source_key, task.state, task.due) for task in store.worklist.tasks(kind=LEAVER_UNVERIFIED)]


def hold(store: Store, now: float = NOW) -> int:
    held = outcome(Result.HELD, local="brake")
    store.settlements.settle([settlement(one, DeliveryState.HELD, outcome=held) for one in claim(store, now)], now)
    return int(store.holds.holds()[-1].id)


@pytest.mark.parametrize("given", [LEAVES, change("L", Action.UPDATE, active=False), change("L", Action.REMOVE)])
def test_a_leaver_that_waits_opens_one_task_due_at_once(open_store: OpenStore, given) -> None:
    store, other = open_store(), open_store()
    accept_one(store, given)
    accept_one(store, change("STAYS"))
    assert late(store, NOW + 899) == []
    assert late(store, NOW + 900) == [("L", "open", NOW + 900)]
    accept_one(store, given, now=NOW + 1)
    assert late(other, NOW + 5000) == [("L", "open", NOW + 900)], "one a person"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (change("L", Action.DEACTIVATE, temporary=True), "away, and will be back"),
        (change("L", Action.UPDATE), "stays"),
    ],
)
def test_who_does_not_leave_is_not_looked_for(store: Store, given, why: str) -> None:
    accept_one(store, given)
    assert late(store, NOW + 10**6) == [], why


def test_who_leaves_in_the_future_is_looked_for_when_it_is_due(store: Store) -> None:
    accept_one(store, LEAVES, not_before=NOW + 1000)
    assert late(store, NOW + 1899) == []
    claim(store, NOW + 1000)
    assert late(store, NOW + 1899) == []
    assert len(late(store, NOW + 1900)) == 1


def test_who_is_due_while_nothing_is_handed_out_is_looked_for(store: Store) -> None:
    accept_one(store, LEAVES, not_before=NOW + 1000)
    store.pauses.pause("main", "down", NOW)
    assert claim(store, NOW + 1000) == []
    assert late(store, NOW + 1899) == []
    assert len(late(store, NOW + 1900)) == 1


def test_who_leaves_by_a_large_file_is_looked_for_before_anything_is_handed_out(store: Store) -> None:
    whole = message(change("STAYS"), LEAVES)
    store.inbox.accept([replace(whole, records=(), parts=tuple(pack([one]) for one in whole.records))], NOW)
    store.pauses.pause("main", "down", NOW)
    assert claim(store, NOW + 1) == []
    assert late(store, NOW + 899) == []
    assert late(store, NOW + 900) == [("L", "open", NOW + 900)]


def test_who_was_ended_before_is_not_looked_for(store: Store) -> None:
    inactive = Written("Practitioner", "p7", (), holds_active=False)
    settle(store, LEAVES, written=(inactive,))
    accept_one(store, LEAVES, now=NOW + 1)
    assert late(store, NOW + 10**6) == []


def test_a_read_that_shows_it_closes_the_task(store: Store) -> None:
    accept_one(store, LEAVES)
    delivery_id = hold(store)
    late(store, NOW + 900)
    assert store.holds.release(delivery_id, NOW + 950, who="ana", reason="sure") is Released.QUEUED
    assert late(store, NOW + 951) == [("L", "open", NOW + 900)], "a release is no proof"
    done = replace(outcome(Result.DEACTIVATED, person_id="p7", shown="Person/p7"), facts=frozenset({PERSON_INACTIVE}))
    store.settlements.settle([settlement(one, outcome=done) for one in claim(store, NOW + 960)], NOW + 960)
    (task,) = store.worklist.tasks()
    assert (task.state, task.closed_by, task.closed) == ("done", "hl7bridge", NOW + 960)
    assert task.evidence == "Person/p7, message 1"
    assert late(store, NOW + 10**6) == [("L", "done", NOW + 900)]


def test_a_change_that_ends_otherwise_closes_the_task(store: Store) -> None:
    accept_one(store, LEAVES)
    delivery_id = hold(store)
    late(store, NOW + 900)
    assert store.holds.discard(delivery_id, NOW + 901, who="ana", reason="mistake of the source")
    accept_one(store, LEAVES, now=NOW + 902)
    assert late(store, NOW + 902 + 900) == [("L", "withdrawn", NOW + 900), ("L", "open", NOW + 1802)]
    store.settlements.settle(
        [settlement(one, outcome=outcome(Result.UPDATED)) for one in claim(store, NOW + 1900)], NOW + 1900
    )
    assert store.worklist.tasks(kind=LEAVER_UNVERIFIED)[1].evidence == "the change ended as updated"
