"""Tasks, without a command: closed with evidence, step by step, or given to somebody; and why not."""

from __future__ import annotations

import pytest

from hl7bridge.desk import tasks
from hl7bridge.errors import ConfigError
from hl7bridge.model import Task
from tests.desk.conftest import ANA, BO, Office, person


@pytest.fixture
def two(office: Office) -> Office:
    """An access task that is overdue at once, and one that is never due."""
    office.take_in(person("E100", "X1"))
    office.hold("refused", Task("leaver-access", "End access", ("Look.", "End it."), 0.001), Task("by-hand", "Do it"))
    return office


def test_they_are_listed_by_page_and_kind(two: Office) -> None:
    first = tasks.find(two.store, limit=1)
    assert ([task.kind for task in first.tasks], bool(first.next)) == (["leaver-access"], True)
    assert [task.id for task in tasks.find(two.store).tasks] == [1, 2]
    assert [task.id for task in tasks.find(two.store, kind="by-hand").tasks] == [2]
    task = first.tasks[0]
    late = task.due + 1
    assert (tasks.state_of(task, late), tasks.steps_done(task)) == ("overdue", "0/2")
    assert tasks.as_data(task, late)["overdue"] is True
    assert tasks.as_data(task, task.due - 1)["overdue"] is False


def test_it_ends_with_its_last_step_and_says_who_closed_each(two: Office) -> None:
    at = tasks.show(two.store, 1).opened + 60
    open_still = tasks.finish(two.store, 1, BO, "ticket 1", item=2, clock=lambda: at)
    assert [(step.state, step.who, step.changed) for step in open_still.items][1] == (
        "done", "bo (by console)", at,
    )  # fmt: skip
    assert open_still.state == "open"
    ended = tasks.finish(two.store, 1, ANA, " seen\n today ", item=1)
    assert (ended.state, ended.items[0].evidence) == ("done", "seen today")
    with pytest.raises(ConfigError, match="not open but done"):
        tasks.assign(two.store, 1, "bo", ANA)
    whole = tasks.finish(two.store, 2, ANA, "by phone")
    assert (whole.state, whole.closed_by, whole.evidence) == ("done", "ana", "by phone")


def test_it_is_given_to_somebody(two: Office) -> None:
    assert tasks.assign(two.store, 1, "  access  team ", ANA).owner == "access team"
    assert [task.id for task in tasks.find(two.store, owner="access team").tasks] == [1]


@pytest.mark.parametrize(
    ("task_id", "item", "evidence", "said"),
    [(9, 0, "x", "no task 9"), (1, 3, "x", "no step 3"), (1, 0, " ", "say why")],
)
def test_what_cannot_be_closed_says_why(two: Office, task_id: int, item: int, evidence: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tasks.finish(two.store, task_id, ANA, evidence, item=item)
    assert len(tasks.find(two.store).tasks) == 2
