"""`hl7bridge task`: work that no API can do, for people: list it, show it, close it with evidence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import account, why
from hl7bridge.cli.output import ConfigOption, JsonOption
from hl7bridge.cli.spreadsheet import table
from hl7bridge.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Work that no API can do: list, show, close tasks.",
)

ANY = "any"
COLUMNS: tuple[str, ...] = ("id", "state", "overdue", "kind", "title", "person", "feed", "destination", "message")
COLUMNS += ("opened", "due", "closed", "closed_by", "evidence", "steps")


@app.command("list")
def list_tasks(
    state: Annotated[
        str, typer.Option("--state", metavar="STATE", help="open, done, released, superseded, withdrawn... or any.")
    ] = "open",
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Of this kind, such as leaver-access.")] = "",
    destination: Annotated[str, typer.Option("--destination", metavar="NAME", help="About this destination.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="No more than this; --csv writes all.")] = 50,
    to: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table for a spreadsheet instead.")
    ] = None,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List tasks, oldest first; those past their due time are marked.

    \b
      hl7bridge task list
      hl7bridge task list --kind leaver-access --json
      hl7bridge task list --state any --csv tasks.csv

    In the CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    from hl7bridge.config import load

    now = time.time()
    with stored.opened(load(config)) as store:
        found = store.tasks(
            state="" if state == ANY else state,
            kind=kind,
            destination=destination,
            limit=limit + 1 if to is None else 1_000_000_000,
        )
    if to is not None:
        write_csv(to, found, now)
        output.say(f"wrote {len(found)} tasks to {to}")
        return
    more, found = len(found) > limit, found[:limit]
    if as_json:
        output.show_json("task-list/1", {"tasks": [_as_data(task, now) for task in found]})
        return
    output.show_table(
        ("id", "state", "kind", "person", "destination", "opened", "due", "title"),
        [
            (
                task["id"],
                _state(task, now),
                task["kind"],
                task["source_key"],
                task["destination"],
                stored.local_time(task["opened"]),
                stored.local_time(task["due"]),
                task["title"],
            )
            for task in found
        ],
        {"overdue": output.BAD, "done": output.GOOD},
    )
    if not found:
        output.say("No task fits.")
    if more:
        output.say(f"The oldest {limit} only; --limit, --kind or --destination show others.")


@app.command("show")
def show_task(
    task_id: Annotated[int, typer.Argument(metavar="ID", help="The id that `task list` shows.")],
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show one task: what to do, about whom, until when, and who closed it with what evidence.

    \b
      hl7bridge task show 7
    """
    from hl7bridge.config import load

    with stored.opened(load(config)) as store:
        found = store.tasks(task_id=task_id)
    task, now = _one(found, task_id), time.time()
    if as_json:
        output.show_json("task-show/1", {"task": _as_data(task, now)})
        return
    style = output.BAD if overdue(task, now) else ""
    output.show((f"task {task['id']}", "bold"), f"  {task['kind']}  ", (_state(task, now), style))
    output.show(f"  {task['title']}")
    for number, step in enumerate(task["steps"], 1):
        output.show(f"  {number}. {step}")
    for name, value in (
        ("person", task["source_key"]),
        ("feed", task["feed"]),
        ("destination", task["destination"]),
        ("message", task["message_id"] or ""),
        ("opened", stored.local_time(task["opened"])),
        ("due", stored.local_time(task["due"])),
        ("closed", stored.local_time(task["closed"])),
        ("closed by", task["closed_by"]),
        ("evidence", task["evidence"]),
    ):
        if value:
            output.show((f"  {name:<12}", output.QUIET), f"{value}")


@app.command("done")
def finish_task(
    task_id: Annotated[int, typer.Argument(metavar="ID", help="The id that `task list` shows.")],
    evidence: Annotated[
        str, typer.Option("--evidence", metavar="TEXT", help="What shows that it is done: a ticket, a date.")
    ] = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Close a task as done; the history says who did and with what evidence.

    \b
      hl7bridge task done 7 --evidence "login disabled, ticket 4711"
    """
    from hl7bridge.config import load

    evidence, now = why(evidence, "--evidence"), time.time()
    with stored.opened(load(config)) as store:
        if not store.finish_task(task_id, now, who=account(), evidence=evidence):
            state = _one(store.tasks(task_id=task_id), task_id)["state"]
            raise ConfigError(
                f"task {task_id} is not open but {state}", advice="`hl7bridge task list` shows open ones."
            )
        task = _one(store.tasks(task_id=task_id), task_id)
    if as_json:
        output.show_json("task-show/1", {"task": _as_data(task, now)})
    else:
        output.show(f"task {task_id} is done")


def overdue(task: dict[str, Any], now: float) -> bool:
    """Whether an open task is past its due time."""
    return bool(task["state"] == "open" and task["due"] and task["due"] < now)


def _state(task: dict[str, Any], now: float) -> str:
    return "overdue" if overdue(task, now) else task["state"]


def _one(found: list[dict[str, Any]], task_id: int) -> dict[str, Any]:
    if not found:
        raise ConfigError(f"there is no task {task_id}", advice="`hl7bridge task list` shows what there is.")
    return found[0]


def _as_data(task: dict[str, Any], now: float) -> dict[str, Any]:
    times = {name: stored.utc_time(task[name]) for name in ("opened", "due", "closed")}
    return {**task, **times, "overdue": overdue(task, now)}


def write_csv(path: Path, tasks: list[dict[str, Any]], now: float) -> None:
    """Tasks as CSV, readable by this user alone."""
    with table(path, COLUMNS) as add:
        for task in tasks:
            row = {
                **_as_data(task, now),
                "person": task["source_key"],
                "message": task["message_id"] or "",
                "overdue": "yes" if overdue(task, now) else "",
                "steps": " ".join(f"{number}. {step}" for number, step in enumerate(task["steps"], 1)),
            }
            add(row[name] for name in COLUMNS)
