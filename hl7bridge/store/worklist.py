"""Tasks: opening them, closing their steps one by one, and telling people of those that take too long.

A step is closed by a person who says so with evidence, or, where it names a fact, by a read of the server that shows it:
each keeps who or what closed it, and when. Steps that are gates come first: the others wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hl7bridge.model import BRAKE, LEAVER_UNVERIFIED, STANDING_TASKS, Task
from hl7bridge.model.listing import Listed, place
from hl7bridge.store.connection import StoreConnection, StorePart, conditions, marks, page

ESCALATIONS = (0.0, 3600.0, 86400.0)  # seconds after the due time at which people are told, each once
US = "hl7bridge"  # who closed what a read showed

_ONCE = frozenset({"joiner-setup", "provider-linkage"})
_ONE_OPEN = frozenset({"leaver-access", LEAVER_UNVERIFIED})

_END_TASKS = (
    "UPDATE task SET state = ?, closed = ? WHERE delivery_id = ? AND state = 'open'"  # noqa: S608 (marks alone)
    f" AND kind NOT IN ({marks(len(STANDING_TASKS))}) AND NOT (kind = ? AND ? = 'released')"
)
# The brake's task is about all that it holds: decided one by one, the last one closes it.
_END_BRAKE_TASK = (
    "UPDATE task SET state = 'done', closed = ?, closed_by = ?, evidence = 'all that the brake held is decided'"
    " WHERE state = 'open' AND kind = ? AND destination = (SELECT destination FROM delivery WHERE id = ?)"
    " AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.destination = task.destination AND d.state = 'held' AND d.local = ?)"
)
TASKS = (
    "SELECT id, opened, kind, title, steps, feed, source_key, destination, message_id, delivery_id, state, due, closed,"
    " closed_by, evidence, owner, told, by_facts FROM task"
)
STEPS = "SELECT number, fact, gate, state, changed, who, evidence FROM task_item WHERE task_id = ?"
OVERDUE = (
    "SELECT id, kind, due, told FROM task WHERE state = 'open' AND due > 0 AND due <= ? AND destination = ? AND told < ?"
    " ORDER BY due, id"
)
TO_VERIFY = (
    "SELECT t.id, i.number FROM task t JOIN task_item i ON i.task_id = t.id WHERE t.state = 'open' AND t.destination = ?"
    " AND t.feed = ? AND t.source_key = ? AND i.state = 'open' AND i.fact <> ''"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a task is about; "" = nobody in particular."""

    destination: str
    source_key: str = ""
    person_id: str = ""


@dataclass(frozen=True, slots=True)
class TaskStep:
    """A step of a kept task.

    number    1-based
    fact      what closes it by itself once a read or a record shows it, "" = a person does
    gate      the steps that are no gate wait until it is closed
    state     open, done (a person closed it) or verified (a fact did)
    changed   when it was closed, in Unix seconds, 0 = never; `who` closed it, and with what `evidence`
    """

    number: int
    text: str
    fact: str = ""
    gate: bool = False
    state: str = "open"
    changed: float = 0.0
    who: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class KeptTask:
    """A task as it stands. Times in Unix seconds, 0 = none.

    steps           the texts of `items`
    message_id, delivery_id  what it came of, 0 = of none
    state           open, done, or how its delivery ended (released, superseded, ...)
    told            how often people were told that it is overdue
    by_facts        the facts alone close it
    blocked_by      numbers of the gates that are open
    """

    id: int
    opened: float
    kind: str
    title: str
    steps: tuple[str, ...]
    feed: str
    source_key: str
    destination: str
    message_id: int
    delivery_id: int
    state: str
    due: float
    closed: float
    closed_by: str
    evidence: str
    owner: str
    told: int
    by_facts: bool
    items: tuple[TaskStep, ...] = ()
    blocked_by: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OverdueTask:
    """A task of which people are to be told. `due` in Unix seconds; `told`: how often they are, this time included."""

    id: int
    kind: str
    due: float
    told: int


Words = Callable[[str], Task]
"""Kind -> the task of that kind."""

Wording = Callable[[Task, Subject], Task]
"""A task as it comes, and whom it is about -> the task as a site words it."""


def unworded(kind: str) -> Task:
    """A task of which nothing is known but its kind."""
    return Task(kind, kind)


class Worklist(StorePart):
    """What is asked of people."""

    def __init__(self, connection: StoreConnection, words: Words) -> None:
        super().__init__(connection)
        self._words = words
        self._wording: Wording = lambda task, subject: task

    def word_tasks(self, wording: Wording) -> None:
        """Let tasks that this store opens be worded so: title, steps, owner and due time of a site."""
        self._wording = wording

    # -- opening --

    def open_kind(
        self, kind: str, message_id: int, delivery_id: int, destination: str, feed: str, source_key: str, now: float
    ) -> int:
        """Open a task that the store itself finds needed: it knows the kind, and `words` what is said of it."""
        return self.open_task(self._words(kind), message_id, delivery_id, destination, feed, source_key, now)

    def open_task(
        self, task: Task, message_id: int, delivery_id: int, destination: str, feed: str, source_key: str, now: float
    ) -> int:
        """Open a task unless an earlier attempt of the same delivery opened it; returns its id, 0 where it stood.

        A person is set up once, however often the record comes; and their access is ended once, until that is done.
        """
        person = self._execute(
            "SELECT person_id FROM crosswalk WHERE destination = ? AND feed = ? AND source_key = ?",
            (destination, feed, source_key),
        ).fetchone()
        task = self._wording(task, Subject(destination, source_key, person[0] if person else ""))
        known = self._execute(
            "SELECT 1 FROM task WHERE message_id = ? AND delivery_id = ? AND kind = ? AND title = ? AND destination = ?"
            " AND state = 'open'",
            (message_id, delivery_id, task.kind, task.title, destination),
        ).fetchone()
        if known or (source_key and self._asked_before(task.kind, destination, feed, source_key)):
            return 0
        gates = [check for check in task.checks if check.gate]
        others = [check for check in task.checks if not check.gate]
        steps = [*(check.text for check in gates), *task.steps, *(check.text for check in others)]
        (task_id,) = self._execute(
            "INSERT INTO task (opened, kind, title, steps, feed, source_key, destination, message_id, delivery_id, state,"
            " due, owner, by_facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?) RETURNING id",
            (
                now,
                task.kind,
                task.title,
                "\n".join(steps),
                feed,
                source_key,
                destination,
                message_id,
                delivery_id,
                now + task.due_within if task.due_within else 0,
                task.owner,
                task.by_facts,
            ),
        ).fetchone()
        first_other = len(gates) + len(task.steps) + 1
        numbered = [*enumerate(gates, 1), *enumerate(others, first_other)]
        self._executemany(
            "INSERT INTO task_item (task_id, number, fact, gate, state) VALUES (?, ?, ?, ?, 'open')",
            [(task_id, number, check.fact, check.gate) for number, check in numbered],
        )
        self._note(now, message_id, delivery_id, "task opened", kind=task.kind)
        return int(task_id)

    def _asked_before(self, kind: str, destination: str, feed: str, source_key: str) -> bool:
        if kind not in _ONCE and kind not in _ONE_OPEN:
            return False
        sql = "SELECT 1 FROM task WHERE destination = ? AND feed = ? AND source_key = ? AND kind = ?"
        sql += " AND state = 'open'" if kind in _ONE_OPEN else ""
        return bool(self._execute(sql, (destination, feed, source_key, kind)).fetchone())

    # -- closing --

    def verify(
        self, destination: str, feed: str, source_key: str, facts: Collection[str], evidence: str, now: float
    ) -> None:
        """Close the steps of a person's open tasks that wait for one of these facts. `evidence`: what showed it, in our
        words, such as the resource and its version."""
        with self._reading():
            if not facts or not self._execute(TO_VERIFY, (destination, feed, source_key)).fetchone():
                return
        with self._writing():
            self.close_shown(destination, feed, source_key, facts, evidence, now)

    def close_shown(
        self, destination: str, feed: str, source_key: str, facts: Collection[str], evidence: str, now: float
    ) -> None:
        """As `verify`, within the caller's transaction."""
        if not facts:
            return
        sql = f"{TO_VERIFY} AND i.fact IN ({marks(len(facts))}) ORDER BY t.id, i.number"
        found = self._execute(sql, (destination, feed, source_key, *sorted(facts))).fetchall()
        for task_id, number in found:
            self._close_item(task_id, number, "verified", now, US, evidence)
        for task_id in dict.fromkeys(task_id for task_id, _ in found):
            self._close_if_settled(task_id, now, US, evidence)

    def finish_task(self, task_id: int, now: float, *, who: str, evidence: str) -> bool:
        """Close an open task as done, with the steps that are open. False when it is not open (any more), or a step that
        the others wait for is."""
        with self._writing():
            row = self._execute("SELECT steps FROM task WHERE id = ? AND state = 'open'", (task_id,)).fetchone()
            if not row or self._gates_open(task_id):
                return False
            for number in self._open_items(task_id, row[0]):
                self._close_item(task_id, number, "done", now, who, evidence, told=False)
            self._close(task_id, now, who, evidence)
            return True

    def finish_item(self, task_id: int, number: int, now: float, *, who: str, evidence: str) -> bool:
        """Close one step of an open task, and the task with its last one. False when it is not open (any more), or waits
        for another step."""
        with self._writing():
            row = self._execute("SELECT steps FROM task WHERE id = ? AND state = 'open'", (task_id,)).fetchone()
            if not row or number not in self._open_items(task_id, row[0]):
                return False
            gates = self._gates_open(task_id)
            if gates and number not in gates:
                return False
            self._close_item(task_id, number, "done", now, who, evidence)
            self._close_if_settled(task_id, now, who, evidence)
            return True

    def assign_task(self, task_id: int, owner: str, now: float, *, who: str) -> bool:
        """Give an open task to somebody. False when it is not open (any more)."""
        with self._writing():
            row = self._execute(
                "UPDATE task SET owner = ? WHERE id = ? AND state = 'open' RETURNING message_id, delivery_id",
                (owner, task_id),
            ).fetchone()
            if row:
                self._note(now, row[0], row[1], "task assigned", task=task_id, owner=owner, who=who)
            return bool(row)

    def _open_items(self, task_id: int, steps: str) -> list[int]:
        closed = {
            row[0]
            for row in self._execute("SELECT number FROM task_item WHERE task_id = ? AND state <> 'open'", (task_id,))
        }
        return [number for number in range(1, len(_lines(steps)) + 1) if number not in closed]

    def _gates_open(self, task_id: int) -> list[int]:
        sql = "SELECT number FROM task_item WHERE task_id = ? AND gate = 1 AND state = 'open'"
        return [row[0] for row in self._execute(sql, (task_id,))]

    def _close_item(
        self, task_id: int, number: int, state: str, now: float, who: str, evidence: str, *, told: bool = True
    ) -> None:
        self._execute(
            "INSERT INTO task_item (task_id, number, fact, gate, state, changed, who, evidence)"
            " VALUES (?, ?, '', 0, ?, ?, ?, ?) ON CONFLICT (task_id, number) DO UPDATE SET state = excluded.state,"
            " changed = excluded.changed, who = excluded.who, evidence = excluded.evidence",
            (task_id, number, state, now, who, evidence),
        )
        if told:
            sql = "SELECT message_id, delivery_id FROM task WHERE id = ?"
            message_id, delivery_id = self._execute(sql, (task_id,)).fetchone()
            event = f"task item {state}"
            self._note(now, message_id, delivery_id, event, task=task_id, item=number, who=who, evidence=evidence)

    def _close_if_settled(self, task_id: int, now: float, who: str, evidence: str) -> None:
        """Close the task when nothing of it is open, or nothing that it hangs on."""
        steps, by_facts = self._execute("SELECT steps, by_facts FROM task WHERE id = ?", (task_id,)).fetchone()
        unseen = self._execute(
            "SELECT 1 FROM task_item WHERE task_id = ? AND fact <> '' AND state = 'open'", (task_id,)
        ).fetchone()
        if (by_facts and not unseen) or not self._open_items(task_id, steps):
            self._close(task_id, now, who, evidence)

    def _close(self, task_id: int, now: float, who: str, evidence: str) -> None:
        message_id, delivery_id, kind = self._execute(
            "UPDATE task SET state = 'done', closed = ?, closed_by = ?, evidence = ? WHERE id = ?"
            " RETURNING message_id, delivery_id, kind",
            (now, who, evidence, task_id),
        ).fetchone()
        self._note(now, message_id, delivery_id, "task done", task=task_id, kind=kind, who=who, evidence=evidence)

    def close_unverified(self, delivery_id: int, result: str, now: float) -> None:
        """A leaver's change ended, and nothing is left to wait for (another source holds them active, for one)."""
        rows = self._execute(
            "SELECT id FROM task WHERE delivery_id = ? AND kind = ? AND state = 'open'",
            (delivery_id, LEAVER_UNVERIFIED),
        ).fetchall()
        for (task_id,) in rows:
            self._close(task_id, now, US, f"the change ended as {result}")

    def end_tasks(self, delivery_id: int, state: str, now: float) -> None:
        """Close the open tasks of a delivery, but for those that are about the person. A release is no proof that a leaver
        is inactive."""
        self._execute(_END_TASKS, (state, now, delivery_id, *sorted(STANDING_TASKS), LEAVER_UNVERIFIED, state))
        self._execute(_END_BRAKE_TASK, (now, US, BRAKE, delivery_id, BRAKE))

    # -- telling --

    def overdue_tasks(
        self, destination: str, now: float, escalations: Sequence[float] = ESCALATIONS
    ) -> list[OverdueTask]:
        """Open tasks of which people are to be told now, each once for each of `escalations` (seconds after the due time),
        over processes and restarts."""
        with self._reading():
            if not self._late(destination, now, escalations):
                return []
        with self._writing():
            late = self._late(destination, now, escalations)
            self._executemany("UPDATE task SET told = ? WHERE id = ?", [(one.told, one.id) for one in late])
        return late

    def _late(self, destination: str, now: float, escalations: Sequence[float]) -> list[OverdueTask]:
        found = [OverdueTask(*row) for row in self._execute(OVERDUE, (now, destination, len(escalations)))]
        passed = [(one, sum(one.due + after <= now for after in escalations)) for one in found]
        return [replace(one, told=count) for one, count in passed if count > one.told]

    def tell_once(self, destination: str, kind: str, now: float, every: float, task: Task | None = None) -> bool:
        """Whether people are to be told of this, for they were not within `every` seconds; opens the task that says so."""
        with self._writing():
            if not self.tell_first(destination, kind, now, every):
                return False
            if task:
                self.open_task(task, 0, 0, destination, "", "", now)
            return True

    def tell_first(self, destination: str, kind: str, now: float, every: float) -> bool:
        """As `tell_once`, within the caller's transaction, and without a task."""
        told = self._execute(
            "INSERT INTO alert (destination, kind, at) VALUES (?, ?, ?)"
            " ON CONFLICT (destination, kind) DO UPDATE SET at = excluded.at WHERE alert.at <= ?",
            (destination, kind, now, now - every),
        )
        return bool(told.rowcount)

    # -- for people --

    def tasks(
        self,
        *,
        task_id: int = 0,
        state: str = "",
        kind: str = "",
        destination: str = "",
        owner: str = "",
        source_key: str = "",
        limit: int = 50,
        after: str = "",
    ) -> Listed[KeptTask]:
        """Oldest first, those that fit all that is given.

        `after`: the `next` of an earlier page; ValueError for another text.
        """
        where, values = conditions(
            {
                "id = ?": task_id,
                "state = ?": state,
                "kind = ?": kind,
                "destination = ?": destination,
                "owner = ?": owner,
                "source_key = ?": source_key,
                "id > ?": place("tasks", after),
            }
        )
        with self._reading():
            return page("tasks", self._listed(where, values, limit + 1), limit)

    def _listed(self, where: str, values: Sequence[Any], limit: int) -> list[KeptTask]:
        rows = self._dicts(f"{TASKS} WHERE 1 = 1{where} ORDER BY id LIMIT ?", [*values, limit])
        for row in rows:
            row["steps"], row["by_facts"] = _lines(row["steps"]), bool(row["by_facts"])
        return [self._with_steps(KeptTask(**row)) for row in rows]

    def _with_steps(self, task: KeptTask) -> KeptTask:
        kept = {
            number: TaskStep(number, "", fact, bool(gate), *rest)
            for number, fact, gate, *rest in self._execute(STEPS, (task.id,))
        }
        items = tuple(
            replace(kept.get(number, TaskStep(number, "")), text=text) for number, text in enumerate(task.steps, 1)
        )
        gates = tuple(one.number for one in items if one.gate and one.state == "open")
        return replace(task, items=items, blocked_by=gates if task.state == "open" else ())


def _lines(steps: str) -> tuple[str, ...]:
    return tuple(steps.split("\n")) if steps else ()
