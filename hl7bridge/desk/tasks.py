"""Work that no API can do: list it, give it to somebody, close it with evidence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hl7bridge.desk.deciding import EVERY, Actor, Clock, Role, listed, why
from hl7bridge.desk.times import utc_time
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.store.store import Store
    from hl7bridge.store.worklist import KeptTask as KeptTask
    from hl7bridge.store.worklist import TaskStep as TaskStep

ANY = "any"
"""As a state: open and closed ones."""


@dataclass(frozen=True, slots=True)
class TaskList:
    """Tasks, the oldest first; `next`: where the list goes on, "" = these are the last."""

    tasks: tuple[KeptTask, ...]
    next: str = ""


def find(
    store: Store,
    *,
    state: str = "open",
    kind: str = "",
    destination: str = "",
    owner: str = "",
    limit: int = 0,
    after: str = "",
) -> TaskList:
    """Tasks of a state (`ANY`: of each), of a kind, about a destination, given to somebody ("" = any); limit 0 = all; from
    behind `after`: the `next` of an earlier list. Raises ConfigError for another text."""
    state = "" if state == ANY else state
    wanted: dict[str, Any] = {"state": state, "kind": kind, "destination": destination, "owner": owner}
    found = listed(lambda: store.worklist.tasks(**wanted, limit=limit or EVERY, after=after))
    return TaskList(found.rows, found.next)


def show(store: Store, task_id: int) -> KeptTask:
    """One task. Raises ConfigError when there is none of that id."""
    found = store.worklist.tasks(task_id=task_id)
    if not found:
        raise ConfigError(f"there is no task {task_id}", advice="`hl7bridge task list` shows what there is.")
    return found[0]


def finish(
    store: Store, task_id: int, actor: Actor, evidence: str, *, item: int = 0, clock: Clock = time.time
) -> KeptTask:
    """Close a task, or one of its steps (`item`), as done; it ends with its last step. Returns the task as it stands then.

    Raises ConfigError that says why it can't be closed.
    """
    actor.must_have(Role.OPERATE)
    evidence, who = why(evidence, "--evidence"), str(actor)
    if item:
        done = store.worklist.finish_item(task_id, item, clock(), who=who, evidence=evidence)
    else:
        done = store.worklist.finish_task(task_id, clock(), who=who, evidence=evidence)
    task = show(store, task_id)
    if not done:
        raise _not_closed(task, item)
    return task


def assign(store: Store, task_id: int, owner: str, actor: Actor, *, clock: Clock = time.time) -> KeptTask:
    """Give a task to a team or a person; returns the task. Raises ConfigError when it is not open."""
    actor.must_have(Role.OPERATE)
    changed = store.worklist.assign_task(task_id, " ".join(owner.split())[:100], clock(), who=str(actor))
    task = show(store, task_id)
    if not changed:
        raise _not_closed(task, 0)
    return task


def _not_closed(task: KeptTask, item: int) -> ConfigError:
    """Why a task, or its step, could not be closed."""
    task_id, steps = task.id, f"`hl7bridge task show {task.id}` shows its steps."
    if task.state != "open":
        return ConfigError(
            f"task {task_id} is not open but {task.state}", advice="`hl7bridge task list` shows open ones."
        )
    states = {one.number: one.state for one in task.items}
    if item and item not in states:
        return ConfigError(f"task {task_id} has no step {item}", advice=steps)
    if item and states[item] != "open":
        return ConfigError(f"step {item} of task {task_id} is {states[item]} already", advice=steps)
    return ConfigError(
        f"task {task_id} waits for step {numbers(task.blocked_by)}",
        advice=f"Close that first: hl7bridge task done {task_id} --item N.",
    )


# --- as people read them ---------------------------------------------------------------------------------------------


def overdue(task: KeptTask, now: float) -> bool:
    """Whether an open task is past its due time."""
    return bool(task.state == "open" and task.due and task.due < now)


def state_of(task: KeptTask, now: float) -> str:
    """In one word: overdue, blocked (its first steps are missing), or its state."""
    if overdue(task, now):
        return "overdue"
    return "blocked" if task.blocked_by else str(task.state)


def steps_done(task: KeptTask) -> str:
    """`2/6`: how many steps of how many are closed."""
    return f"{sum(item.state != 'open' for item in task.items)}/{len(task.items)}" if task.items else ""


def numbers(steps: Sequence[int]) -> str:
    """`1, 2`."""
    return ", ".join(map(str, steps))


def as_data(task: KeptTask, now: float) -> dict[str, Any]:
    """A task for JSON."""
    data = asdict(task)
    for name in ("opened", "due", "closed"):
        data[name] = utc_time(data[name])
    for item in data["items"]:
        item["changed"] = utc_time(item["changed"])
    return data | {"overdue": overdue(task, now)}
