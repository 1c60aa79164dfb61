"""`hl7bridge drop`: the files of drop folders, how far each was read, and what became of its messages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption

if TYPE_CHECKING:
    from hl7bridge.desk.reports import DropFile

app = typer.Typer(
    help="The files of drop folders: how far each was read, what became of its messages.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    """The files of drop folders: how far each was read, what became of its messages."""


@app.command("list")
def list_files(
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="Of this feed alone.")] = "",
    under_way: Annotated[bool, typer.Option("--under-way", help="Only files that are not moved yet.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="The newest N files.")] = 50,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List dropped files: the newest first, with progress and counts.

    \b
      hl7bridge drop list
      hl7bridge drop list --under-way --json

    What became of each message stands in NAME.results.jsonl beside the file, once it is moved. A file that waits to settle
    is not listed yet.

    Ends with 1 when a listed file is in `failed`.
    """
    from hl7bridge.config import load
    from hl7bridge.desk import reports

    settings = load(config)
    with stored.opened(settings) as store:
        files = reports.drop_files(store, settings, feed, under_way=under_way, limit=limit)
    if as_json:
        output.show_json("drop-list/1", {"files": [reports.drop_data(file) for file in files]})
    elif files:
        columns = ("began", "feed", "file", "state", "read", "messages", "accepted", "refused", "duplicates", "others")
        styles = {"done": output.GOOD, "failed": output.BAD, "reading": "yellow", "read": "yellow"}
        output.show_table(columns, map(_row, files), styles)
    else:
        output.say("no file was taken from a drop folder")
    if any(file.state == "failed" for file in files):
        raise typer.Exit(ExitCode.FINDINGS)


def _row(file: DropFile) -> tuple[object, ...]:
    from hl7bridge.desk import reports

    taken = file.taken
    counts = (taken.messages, taken.accepted, taken.refused, taken.duplicates, taken.others)
    place = file.target or file.name
    return (stored.local_time(file.began), file.feed, place, file.state, f"{reports.percent_read(file)} %", *counts)
