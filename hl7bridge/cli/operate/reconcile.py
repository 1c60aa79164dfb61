"""`hl7bridge reconcile`: the source against a FHIR server as it is, person by person; reads only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.cli.setup.roster import DestinationArgument, one_destination
from hl7bridge.cli.spreadsheet import table
from hl7bridge.errors import ConfigError
from hl7bridge.model.discrepancy import ACTIVE_AT_SERVER, Discrepancy

if TYPE_CHECKING:
    from hl7bridge.config import Destination, Settings
    from hl7bridge.service.outbound.reconciling import Report
    from hl7bridge.store.store import Store

COLUMNS = ("kind", "person", "feed", "resource", "element", "at_server", "expected", "field", "note", "verified")

MEANINGS = {
    ACTIVE_AT_SERVER: "active at the server, inactive at the source",
    "role-active-at-server": "a role that has ended at the source is active at the server",
    "missing": "nobody at the server carries the identifiers",
    "gone": "the Practitioner that was written for the person is gone",
    "moved": "the Practitioner that was written for the person is gone, another one carries the identifiers",
    "unclear": "it is not clear who at the server it is",
    "inactive-at-server": "inactive at the server, active at the source",
    "role-inactive-at-server": "a role is inactive at the server, active at the source",
    "role-missing": "a role is not at the server",
    "changed": "what was written is not at the server any more",
    "behind": "what the source said last is not at the server",
    "extra": "active at the server with a staff key that the source does not know",
    "unverified": "the server did not let it be read",
}


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
    """Compare the source with a FHIR server: everybody whom the source names. Nothing is written there.

    \b
      hl7bridge reconcile                     everybody; what is urgent stands first
      hl7bridge reconcile --scan --csv d.csv  and who is there that the source does not know
      hl7bridge reconcile --person E100       one person, now
      hl7bridge reconcile --last              what the last run found, also by itself at night

    Content is compared, never dates. What waits (reported, held, queued) differs, too, and says why. In the CSV, a cell
    that a spreadsheet would take for a formula begins with an apostrophe.

    Ends with 1 when something differs, with 3 when the server does not let everybody be compared.
    """
    from hl7bridge.config import load

    settings = load(config)
    with stored.opened(settings) as store:
        if full_file:
            _show_full_file(store, full_file, as_json)
            return
        chosen = one_destination(settings, destination)
        if feed:
            stored.feed_named(settings, feed)
        report = _last(store, chosen.name) if last else _run(store, settings, chosen, feed, person, scan)
    if to is not None:
        write_csv(to, report.found)
    if as_json:
        output.show_json("reconcile/1", as_data(report))
    else:
        show_report(report, brief=to is not None)
    if report.run.problem:
        raise typer.Exit(ExitCode.UNREACHABLE)
    if report.found:
        raise typer.Exit(ExitCode.FINDINGS)


def _last(store: Store, destination: str) -> Report:
    from hl7bridge.service.outbound.reconciling import Report

    kept = store.last_reconciliation(destination)
    if kept is None:
        advice = "`hl7bridge reconcile` makes one now."
        raise ConfigError(f"nothing was reconciled with {destination} yet", advice=advice)
    return Report(kept[0], tuple(kept[1]))


def _run(store: Store, settings: Settings, destination: Destination, feed: str, person: str, scan: bool) -> Report:
    from dataclasses import replace

    from hl7bridge.assemble.destinations import destination_of
    from hl7bridge.service.outbound.reconciling import reconcile as compare
    from hl7bridge.service.startup import reconcile_plan

    plan = replace(reconcile_plan(destination, settings), requests_per_second=0.0)
    people = [one for one in store.people(destination.name, feed) if not person or one[1] == person]
    if person and not people:
        advice = "`hl7bridge msg list --person KEY` shows what came about somebody."
        raise ConfigError(f"nobody with that staff key is known for {destination.name}", key="--person", advice=advice)
    there = destination_of(destination)
    try:
        with output.progress("comparing", len(people)) as step:
            return compare(store, there, plan, feed=feed, source_key=person, scan=scan, advance=lambda total: step())
    finally:
        there.close()


# --- showing ---------------------------------------------------------------------------------------------------------


def as_data(report: Report) -> dict[str, Any]:
    """The JSON of a run."""
    run = report.run
    return {
        "destination": run.destination,
        "feed": run.feed,
        "began": stored.utc_time(run.began),
        "ended": stored.utc_time(run.ended),
        "people": run.people,
        "scanned": run.scanned,
        "counts": dict(run.counts),
        "problem": run.problem,
        "differences": [
            {
                "kind": one.kind,
                "feed": one.feed,
                "source_key": one.source_key,
                "resource_type": one.resource_type,
                "resource_id": one.resource_id,
                "verified": stored.utc_time(one.verified),
                "note": one.note,
                "fields": [
                    {"path": d.path, "at_server": d.before, "expected": d.after, "field": d.field}
                    for d in one.differences
                ],
            }
            for one in report.found
        ],
    }


def show_report(report: Report, *, brief: bool = False) -> None:
    """For people: counts, then each discrepancy with what is there (-) and what should be (+)."""
    run = report.run
    when = stored.local_time(run.ended)
    output.show((run.destination, "bold"), f"  {run.people} people compared, {len(report.found)} differences  ({when})")
    for kind, meaning in MEANINGS.items():
        count = run.counts.get(kind, 0)
        if count:
            output.show(f"  {count:>6}  ", (kind, output.BAD if kind == ACTIVE_AT_SERVER else "yellow"), f"  {meaning}")
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


def _show_full_file(store: Store, message_id: int, as_json: bool) -> None:
    found = store.full_files(message_id)
    if not found:
        advice = "It is one whose MFI-3 is REP; `hl7bridge task list --kind full-file-missing` names them."
        raise ConfigError(f"message {message_id} is no whole file", key="--full-file", advice=advice)
    file, missing = found[0], store.missing_of(message_id)
    if as_json:
        data = {
            "message_id": message_id,
            "feed": file.feed,
            "decided": stored.utc_time(file.decided),
            "decision": file.decision,
            "known": file.known,
            "missing": [{"source_key": key, "delivery_id": delivery_id} for key, delivery_id in missing],
        }
        output.show_json("reconcile-full-file/1", data)
    else:
        output.show((f"message {message_id}", "bold"), f"  feed {file.feed}  {file.decision or 'not compared yet'}")
        output.show_table(("person", "held as"), [(key, delivery_id or "") for key, delivery_id in missing])
    if missing:
        raise typer.Exit(ExitCode.FINDINGS)
