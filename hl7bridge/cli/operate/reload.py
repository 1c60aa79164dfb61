"""`hl7bridge reload`: the running service reads the configuration again, without closing a connection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import actor
from hl7bridge.cli.mapping.map_preview import show_counts
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.desk import reload as desk
from hl7bridge.desk.reload import ReloadRequest


def reload(
    yes: Annotated[bool, typer.Option("--yes", help="Without asking, whatever would be read differently.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Only show earlier reloads: who, when, which mapping.")
    ] = False,
    last: Annotated[
        int, typer.Option("--last", metavar="N", min=0, help="Preview over the last N stored messages; 0 = no preview.")
    ] = 200,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for the service.")
    ] = 15,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Let the running service read conf/ again: no connection is closed.

    \b
      hl7bridge reload                 what would be read differently? then, if you agree, do it
      hl7bridge reload --yes           from a script
      hl7bridge reload --history       who let which mapping go live

    Values that the earlier mapping wrote, and the new one does not give, stay at the servers until you let the new one go
    live here. Then they are removed with the person's next message. The same holds after an upgrade.

    Maps, tables, authorities, acknowledgment settings and limits are swapped between two messages; where a destination
    changed, the delivery process starts anew. If anything in conf/ is wrong, nothing changes. Ports, the store and the log
    need a restart: these keys are named.

    Ends with 2 when the configuration is wrong, with 1 when you decline or something waits for a restart, with 3 when no
    service answers.
    """
    from hl7bridge.config import load

    settings = load(config)
    if history:
        with stored.opened(settings) as store:
            _show_history(desk.history(store), as_json)
        return
    if last and not yes:
        from hl7bridge.desk.mapping.preview import preview

        with stored.opened(settings) as store:
            previewed = preview(store, settings, last, progress=output.progress)
        if previewed.changed:
            show_counts(previewed, to_stderr=True)
            if not typer.confirm("Let this go live?", err=True):
                raise typer.Exit(ExitCode.FINDINGS)
    with stored.opened(settings) as store:
        answer = desk.ask(store, actor(), wait)
    if answer is None:
        output.say(("error: ", output.BAD), desk.NOBODY)
        raise typer.Exit(ExitCode.UNREACHABLE)
    if as_json:
        output.show_json("reload/1", desk.as_data(answer))
    else:
        _show(answer)
    if not answer.accepted:
        raise typer.Exit(ExitCode.USAGE)
    if answer.report.get("restart"):
        raise typer.Exit(ExitCode.FINDINGS)


def _show(answer: ReloadRequest) -> None:
    report = answer.report
    if not answer.accepted:
        for problem in report["problems"]:
            output.show(("wrong  ", output.BAD), problem)
        output.show("Nothing changed: the service goes on as before.")
        return
    for feed, (before, after) in report["mappings"].items():
        what = f"mapping {before} -> {after}" if before != after else f"mapping {after}, as before"
        output.show((feed, "bold"), f"  {what}")
    for changed in report.get("changed", ()):
        output.show(("changed  ", "yellow"), changed)
    if report["delivery"]:
        output.show("The delivery process starts anew: a destination changed.")
    for key in report["restart"]:
        output.show(("restart  ", "yellow"), f"{key} stays as it was until hl7bridge is started anew")


def _show_history(rows: Sequence[ReloadRequest], as_json: bool) -> None:
    if as_json:
        output.show_json("reload-history/1", {"reloads": [desk.as_data(row) for row in rows]})
        return
    lines = []
    for row in rows:
        mappings = row.report.get("mappings", {})
        changed = [f"{feed}: {v[0]} -> {v[1]}" for feed, v in mappings.items() if isinstance(v, list) and v[0] != v[1]]
        changed += row.report.get("changed", [])
        changed += [f"waits for you: {what}" for what in row.report.get("waits", ())]
        result = "accepted" if row.accepted else "refused" if row.answered else "waits"
        lines.append((stored.local_time(row.asked), row.who, result, "; ".join(changed)))
    output.show_table(("asked", "who", "result", "changed"), lines)
