"""`hl7bridge task`: work that no API can do, for people: list it, show it, give it to somebody, close it with evidence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import actor
from hl7bridge.cli.output import ConfigOption, JsonOption
from hl7bridge.cli.spreadsheet import table
from hl7bridge.desk import tasks

if TYPE_CHECKING:
    from hl7bridge.desk.tasks import KeptTask, TaskStep

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Work that no API can do: list, show, assign, close tasks.",
)

COLUMNS: tuple[str, ...] = (
    "id",
    "state",
    "overdue",
    "blocked",
    "kind",
    "title",
    "person",
    "feed",
    "destination",
    "message",
)
COLUMNS += ("owner", "opened", "due", "closed", "closed_by", "evidence", "steps")

TaskArgument = Annotated[int, typer.Argument(metavar="ID", help="The id that `task list` shows.")]


@app.command("list")
def list_tasks(
    state: Annotated[
        str, typer.Option("--state", metavar="STATE", help="open, done, released, superseded, withdrawn... or any.")
    ] = "open",
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Of this kind, such as leaver-access.")] = "",
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="About this destination.")] = "",
    owner: Annotated[str, typer.Option("--owner", metavar="WHO", help="Given to this team or person.")] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="No more than this; --csv writes all.")
    ] = 50,
    to: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table for a spreadsheet instead.")
    ] = None,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List tasks, oldest first; those past their due time, and those whose first steps are missing, are marked.

    \b
      hl7bridge task list
      hl7bridge task list --kind leaver-access --json
      hl7bridge task list --state any --csv tasks.csv

    In the CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    from hl7bridge.config import load

    now = time.time()
    with stored.opened(load(config)) as store:
        found = tasks.find(
            store,
            state=state,
            kind=kind,
            destination=destination,
            owner=owner,
            limit=limit if to is None else 0,
        )
    if to is not None:
        write_csv(to, found.tasks, now)
        output.say(f"wrote {len(found.tasks)} tasks to {to}")
        return
    if as_json:
        output.show_json("task-list/1", {"tasks": [tasks.as_data(task, now) for task in found.tasks]})
        return
    output.show_table(
        ("id", "state", "steps", "kind", "person", "destination", "owner", "opened", "due", "title"),
        [
            (
                task.id,
                tasks.state_of(task, now),
                tasks.steps_done(task),
                task.kind,
                task.source_key,
                task.destination,
                task.owner,
                stored.local_time(task.opened),
                stored.local_time(task.due),
                task.title,
            )
            for task in found.tasks
        ],
        {"overdue": output.BAD, "blocked": output.BAD, "done": output.GOOD},
    )
    if not found.tasks:
        output.say("No task fits.")
    if found.next:
        output.say(f"The oldest {limit} only; --limit, --kind or --destination show others.")


@app.command("show")
def show_task(
    task_id: TaskArgument,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show one task: what to do step by step, about whom, until when, and who or what closed it with what evidence.

    \b
      hl7bridge task show 7

    A step that a read of the server closes by itself is `verified`, with the resource that showed it and when.
    """
    from hl7bridge.config import load

    with stored.opened(load(config)) as store:
        task = tasks.show(store, task_id)
    now = time.time()
    if as_json:
        output.show_json("task-show/1", {"task": tasks.as_data(task, now)})
        return
    style = output.BAD if tasks.overdue(task, now) else ""
    output.show((f"task {task.id}", "bold"), f"  {task.kind}  ", (tasks.state_of(task, now), style))
    output.show(f"  {task.title}")
    for item in task.items:
        _show_item(item)
    if task.blocked_by:
        output.show((f"  waits for step {tasks.numbers(task.blocked_by)}", output.BAD))
    for name, value in (
        ("person", task.source_key),
        ("feed", task.feed),
        ("destination", task.destination),
        ("message", task.message_id or ""),
        ("owner", task.owner),
        ("opened", stored.local_time(task.opened)),
        ("due", stored.local_time(task.due)),
        ("closed", stored.local_time(task.closed)),
        ("closed by", task.closed_by),
        ("evidence", task.evidence),
    ):
        if value:
            output.show((f"  {name:<12}", output.QUIET), f"{value}")


def _show_item(item: TaskStep) -> None:
    closed = item.state != "open"
    mark = "x" if closed else " "
    output.show(f"  [{mark}] {item.number}. {item.text}")
    if closed:
        at = "verified at" if item.state == "verified" else "done at"
        said = f"      {at} {stored.local_time(item.changed)} by {item.who}: {item.evidence}"
        output.show((said, output.GOOD))
    elif item.fact:
        output.show(("      closes itself when a read or a record shows it", output.QUIET))


@app.command("done")
def finish_task(
    task_id: TaskArgument,
    evidence: Annotated[
        str, typer.Option("--evidence", metavar="TEXT", help="What shows that it is done: a ticket, a date.")
    ] = "",
    item: Annotated[
        int, typer.Option("--item", metavar="N", min=0, show_default=False, help="Close this step alone.")
    ] = 0,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Close a task, or one of its steps, as done; the history says who did and with what evidence.

    \b
      hl7bridge task done 7 --item 2 --evidence "sessions ended, ticket 4711"
      hl7bridge task done 7 --evidence "login disabled, ticket 4711"

    The task ends with its last step.
    """
    from hl7bridge.config import load

    with stored.opened(load(config)) as store:
        task = tasks.finish(store, task_id, actor(), evidence, item=item)
    if as_json:
        output.show_json("task-show/1", {"task": tasks.as_data(task, time.time())})
        return
    left = [one.number for one in task.items if one.state == "open"]
    if task.state == "open":
        output.show(f"step {item} of task {task_id} is done; open: {tasks.numbers(left)}")
    else:
        output.show(f"task {task_id} is done")


@app.command("assign")
def assign_task(
    task_id: TaskArgument,
    owner: Annotated[str, typer.Argument(metavar="WHO", help="A team, or a person.")],
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Give a task to a team or a person; the history says who did.

    \b
      hl7bridge task assign 7 "access team"
    """
    from hl7bridge.config import load

    with stored.opened(load(config)) as store:
        task = tasks.assign(store, task_id, owner, actor())
    if as_json:
        output.show_json("task-show/1", {"task": tasks.as_data(task, time.time())})
    else:
        output.show(f"task {task_id} is given to {task.owner or 'nobody'}")


def write_csv(path: Path, found: Sequence[KeptTask], now: float) -> None:
    """Tasks as a table for a spreadsheet. Raises OSError."""
    with table(path, COLUMNS) as add:
        for task in found:
            row = {
                **tasks.as_data(task, now),
                "person": task.source_key,
                "message": task.message_id or "",
                "overdue": "yes" if tasks.overdue(task, now) else "",
                "blocked": "yes" if task.blocked_by else "",
                "steps": " ".join(_step_text(item) for item in task.items),
            }
            add(row[name] for name in COLUMNS)


def _step_text(item: TaskStep) -> str:
    closed = "" if item.state == "open" else f" [{item.state}: {item.evidence}]"
    return f"{item.number}. {item.text}{closed}"
