"""`hl7bridge report`: tables for reviews: who has access, as the source and the server say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.assemble.choosing import destination_named
from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.cli.setup.roster import DestinationArgument
from hl7bridge.cli.spreadsheet import table

if TYPE_CHECKING:
    from hl7bridge.desk.reports import Access, AccessReview

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
    of the message to the read that verified it. Who is inactive there can still log in.

    Ends with 1 when somebody is active at the server and inactive at the source.
    """
    from hl7bridge.config import load
    from hl7bridge.desk import reports

    settings = load(config)
    chosen = destination_named(settings, destination, "DESTINATION")
    with stored.opened(settings) as store:
        review = reports.access(store, chosen.name, feed)
    if to is not None:
        with table(to, COLUMNS) as add:
            for one in review.people:
                add(_cells(one))
    if as_json:
        output.show_json("report-access/1", review.data())
    else:
        _show(review, brief=to is not None)
    if review.matters:
        raise typer.Exit(ExitCode.FINDINGS)


def _show(review: AccessReview, *, brief: bool) -> None:
    if not brief:
        output.show_table(COLUMNS, [_cells(one) for one in review.people])
    output.say(f"{len(review.people)} people, {review.matters} active at the server though inactive at the source")
    times = review.times
    if times:
        output.say(f"deactivated within {times[len(times) // 2]:g} s (median), {times[-1]:g} s (longest)")
    output.say(f"{review.open_tasks} open tasks, the oldest for {review.oldest_open_task} s")


def _cells(one: Access) -> list[Any]:
    return [_cell(getattr(one, column)) for column in COLUMNS]


def _cell(value: Any) -> Any:
    return {True: "yes", False: "no", None: ""}.get(value, value) if isinstance(value, bool | None) else value
