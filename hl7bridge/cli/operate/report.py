"""`hl7bridge report`: tables for reviews: who has access, as the source and the server say."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.cli.setup.roster import DestinationArgument, one_destination
from hl7bridge.cli.spreadsheet import table

if TYPE_CHECKING:
    from hl7bridge.model.discrepancy import SourcePerson
    from hl7bridge.store.store import Store

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, add_completion=False, help="Tables for reviews: who has access."
)

COLUMNS: tuple[str, ...] = ("key", "feed", "name", "id", "active_at_source", "active_at_server", "matter", "verified")
COLUMNS += ("last_message", "seconds_to_deactivate")


@app.callback()
def report() -> None:
    """Tables for reviews: who has access."""


@app.command("access")
def report_access(
    destination: DestinationArgument = "",
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="People of this feed.")] = "",
    to: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a table for a spreadsheet.")] = None,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List everybody for an access review: active at the source, active at the server, and when that was verified.

    \b
      hl7bridge report access --csv access-review.csv
      hl7bridge reconcile && hl7bridge report access    verified just now

    It tells what the last reconciliation, or a later deactivation, saw; no server is asked. `access` in the column
    `matter`: active at the server though inactive at the source. For leavers, seconds_to_deactivate counts from the receipt
    of the message to the read that verified it. An inactive Practitioner does not end a login.

    Ends with 1 when somebody is active at the server and inactive at the source.
    """
    from hl7bridge.config import load

    settings = load(config)
    chosen = one_destination(settings, destination)
    with stored.opened(settings) as store:
        people = [_line(store, chosen.name, row) for row in store.access_review(chosen.name, feed)]
        tasks = store.tasks(state="open", destination=chosen.name, limit=1_000_000_000)
    now = time.time()
    matters = sum(one["matter"] == "access" for one in people)
    times = sorted(one["seconds_to_deactivate"] for one in people if one["seconds_to_deactivate"] is not None)
    summary = {
        "destination": chosen.name,
        "people": len(people),
        "active_at_server_inactive_at_source": matters,
        "median_seconds_to_deactivate": times[len(times) // 2] if times else None,
        "longest_seconds_to_deactivate": times[-1] if times else None,
        "open_tasks": len(tasks),
        "oldest_open_task_seconds": round(max((now - task["opened"] for task in tasks), default=0.0)),
    }
    if to is not None:
        with table(to, COLUMNS) as add:
            for one in people:
                add(_cell(one[column]) for column in COLUMNS)
    if as_json:
        shown = [{"source_key": one["key"], **{c: one[c] for c in COLUMNS if c != "key"}} for one in people]
        output.show_json("report-access/1", {**summary, "people": shown})
    else:
        if to is None:
            output.show_table(COLUMNS, [[_cell(one[column]) for column in COLUMNS] for one in people])
        output.say(f"{len(people)} people, {matters} active at the server though inactive at the source")
        if times:
            longest = summary["longest_seconds_to_deactivate"]
            output.say(f"deactivated within {times[len(times) // 2]:g} s (median), {longest:g} s (longest)")
        output.say(f"{len(tasks)} open tasks, the oldest for {summary['oldest_open_task_seconds']} s")
    if matters:
        raise typer.Exit(ExitCode.FINDINGS)


def _line(store: Store, destination: str, row: dict[str, Any]) -> dict[str, Any]:
    person = store.source_person(destination, row["feed"], row["source_key"])
    at_source = _says(person)
    took = row["deactivated"] - row["asked"] if row["deactivated"] and row["asked"] else None
    return {
        "key": row["source_key"],
        "feed": row["feed"],
        "name": _name(person),
        "id": row["person_id"],
        "active_at_source": at_source,
        "active_at_server": row["active_at_server"],
        "matter": "access" if row["active_at_server"] and at_source is False else "",
        "verified": stored.utc_time(row["verified"]),
        "last_message": stored.utc_time(row["last_message"]),
        "seconds_to_deactivate": None if took is None else round(max(took, 0.0), 1),
    }


def _says(person: SourcePerson) -> bool | None:
    """Whether the person is active by what the source says; somebody who is away for a time is not."""
    if person.away:
        return False
    if person.says is not None:
        return person.says
    own = [base for base in person.known.own if base.resource_type == "Practitioner"]
    return any(base.holds_active for base in own) if own else None


def _name(person: SourcePerson) -> str:
    change = person.latest
    for value in change.practitioner if change is not None else ():
        if value.element == "name" and isinstance(value.value, dict):
            given = value.value.get("given") or []
            return ", ".join(filter(None, (str(value.value.get("family", "")), " ".join(map(str, given)))))
    return ""


def _cell(value: Any) -> Any:
    return {True: "yes", False: "no", None: ""}.get(value, value) if isinstance(value, bool | None) else value
