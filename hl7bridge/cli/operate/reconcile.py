"""`hl7bridge reconcile`: the source against a destination as it is, person by person; reads only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.cli.setup.roster import DestinationArgument
from hl7bridge.cli.spreadsheet import table
from hl7bridge.model.discrepancy import ACTIVE_AT_SERVER, Discrepancy

if TYPE_CHECKING:
    from hl7bridge.desk.reconcile import Absent, ReconcileReport

COLUMNS = ("kind", "person", "feed", "resource", "element", "at_server", "expected", "field", "note", "verified")


def reconcile(
    destination: DestinationArgument = "",
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="People of this feed.")] = "",
    person: Annotated[str, typer.Option("--person", metavar="KEY", help="One person, by the staff key.")] = "",
    scan: Annotated[
        bool, typer.Option("--scan", help="Read the whole roster, too: who is active there and unknown to the source?")
    ] = False,
    last: Annotated[bool, typer.Option("--last", help="Show what the last run found; asks no server.")] = False,
    full_file: Annotated[
        int,
        typer.Option(
            "--full-file",
            metavar="ID",
            show_default=False,
            help="Who is absent from the whole file that message ID was?",
        ),
    ] = 0,
    to: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a table for a spreadsheet.")] = None,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Compare the source with a destination: everybody whom the source names. Nothing is written there.

    \b
      hl7bridge reconcile                     everybody; what is urgent stands first
      hl7bridge reconcile --scan --csv d.csv  and who is there that the source does not know
      hl7bridge reconcile --person E100       one person, now
      hl7bridge reconcile --last              what the last run found, also by itself at night

    Content is compared, never dates. What waits (reported, held, queued) differs, too, and says why. In the CSV, a cell
    that a spreadsheet would take for a formula begins with an apostrophe.

    Ends with 1 when something differs, with 3 when the server does not let everybody be compared.
    """
    from hl7bridge.assemble.choosing import destination_named
    from hl7bridge.config import load
    from hl7bridge.desk import reconcile as desk
    from hl7bridge.desk.identity.candidates import Candidates

    settings = load(config)
    with stored.opened(settings) as store:
        if full_file:
            _show_absent(desk.absent_from(store, full_file), as_json)
            return
        chosen = destination_named(settings, destination, "DESTINATION")
        if feed:
            stored.feed_named(settings, feed)
        if last:
            report = desk.last(store, chosen.name)
        else:
            report = desk.now(store, settings, chosen, feed=feed, person=person, scan=scan, progress=output.progress)
    if to is not None:
        write_csv(to, report.found)
    if as_json:
        output.show_json("reconcile/1", desk.as_data(report))
    else:
        show_report(report, Candidates(settings).at(chosen.name).words.person, brief=to is not None)
    if report.run.problem:
        raise typer.Exit(ExitCode.UNREACHABLE)
    if report.found:
        raise typer.Exit(ExitCode.FINDINGS)


# --- showing ---------------------------------------------------------------------------------------------------------


def show_report(report: ReconcileReport, person: str, *, brief: bool = False) -> None:
    """For people: counts, then each discrepancy with what is there (-) and what should be (+)."""
    run = report.run
    when = stored.local_time(run.ended)
    output.show((run.destination, "bold"), f"  {run.people} people compared, {len(report.found)} differences  ({when})")
    from hl7bridge.desk.reconcile import meanings

    for kind, meaning in meanings(person).items():
        count = run.counts.get(kind, 0)
        if count:
            style = output.BAD if kind == ACTIVE_AT_SERVER else "yellow"
            output.show(f"  {count:>6}  ", (kind, style), f"  {meaning}")
    if run.problem:
        output.show("  ", (f"it ended early: {run.problem}", output.BAD))
    for one in () if brief else report.found:
        where = f"{one.resource_type}/{one.resource_id}" if one.resource_id else one.resource_type
        style = output.BAD if one.kind == ACTIVE_AT_SERVER else "yellow"
        note = f"  {one.note}" if one.note else ""
        output.show((one.kind, style), f"  {one.source_key}  {where}{note}", (f"  {one.feed}", output.QUIET))
        fields = [{"path": d.path, "before": d.before, "after": d.after, "field": d.field} for d in one.differences]
        stored.show_differences(fields, "    ")


def write_csv(path: Path, found: tuple[Discrepancy, ...]) -> None:
    """One line for each differing field, or for a discrepancy without one. Readable by this user alone."""
    with table(path, COLUMNS) as add:
        for one in found:
            for element, at_server, expected, field in _fields(one):
                where = f"{one.resource_type}/{one.resource_id}" if one.resource_id else one.resource_type
                verified = stored.utc_time(one.verified)
                add(
                    (one.kind, one.source_key, one.feed, where, element, at_server, expected, field, one.note, verified)
                )


def _fields(one: Discrepancy) -> Iterator[tuple[str, str, str, str]]:
    for difference in one.differences:
        yield difference.path, _text(difference.before), _text(difference.after), difference.field
    if not one.differences:
        yield "", "", "", ""


def _text(value: Any) -> str:
    return "" if value is None else stored.value_text(value)


def _show_absent(absent: Absent, as_json: bool) -> None:
    if as_json:
        output.show_json("reconcile-full-file/1", absent.data())
    else:
        decision = absent.decision or "not compared yet"
        output.show((f"message {absent.message_id}", "bold"), f"  feed {absent.feed}  {decision}")
        output.show_table(("person", "held as"), [(key, delivery_id or "") for key, delivery_id in absent.missing])
    if absent.missing:
        raise typer.Exit(ExitCode.FINDINGS)
