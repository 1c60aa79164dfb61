"""`hl7bridge destination go-live`: from reporting to writing, without losing what came in meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, actor
from hl7bridge.cli.operate import msg
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.model import Result

if TYPE_CHECKING:
    from hl7bridge.desk.go_live import GoLivePlan, PlannedChange

_ORDER = (
    "created", "updated", "deactivated", "reactivated", "unchanged", "nothing-to-do", "stale", "superseded", "held",
    "reported", "retry", "unknown",
)  # fmt: skip


def go_live(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The destination: a file of conf/destinations.")],
    show: Annotated[bool, typer.Option("--show", help="Every difference, person by person.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: queue the changes, and let deliveries go out.")] = False,
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave what was reported as it is: write only what comes from now on.")
    ] = False,
    reason: ReasonOption = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Let a destination begin to write: show what it would write of all that it only reported, queue it when confirmed.

    \b
      hl7bridge destination go-live ehr                        the counts; nothing is changed
      hl7bridge destination go-live ehr --show                 every difference, too
      hl7bridge destination go-live ehr --yes --reason "the pilot was approved"

    Set the mode (or widen [cohort]) and start `hl7bridge run` anew first: it pauses such a destination and waits for this
    command. Every change that was reported is planned again, in order, against the server as it is now: reads only. When
    confirmed they are queued at their old places, before what came in since: leavers first, under the brake.

    Ends with 1 when it was not confirmed, with 3 when the server is out of reach: then nothing is changed.
    """
    from hl7bridge.config import load
    from hl7bridge.desk import go_live as desk
    from hl7bridge.desk.deciding import why

    reason = why(reason) if yes or reason else ""
    settings = load(config)
    changes: list[dict[str, Any]] = []

    def each(change: PlannedChange) -> None:
        if as_json:
            changes.append(_as_data(change))
        else:
            _show_change(change)

    with stored.opened(settings) as store:
        if yes:
            desk.must_wait(store, settings, name)
        if skip:
            plan = desk.leave(store, settings, name)
        elif show:
            plan = desk.plan(store, settings, name, each=each, progress=output.progress)
        else:
            plan = desk.plan(store, settings, name, progress=output.progress)
        if plan.problem:
            output.say(f"{name}: {plan.problem}. Nothing was changed; try again.")
            raise typer.Exit(ExitCode.UNREACHABLE)
        if not as_json:
            _show_counts(plan, skip)
        confirmed = yes or (plan.waits and bool(reason) and not as_json and _asked(name))
        if confirmed:
            desk.confirm(store, settings, plan, actor(), reason, progress=output.progress)
    if as_json:
        shown = {"name": name, "waits": plan.waits, "confirmed": confirmed, **plan.data(), "changes": changes}
        output.show_json("destination-go-live/1", shown)
    elif confirmed:
        output.show(f"{name} is live: {len(plan.deliveries)} changes are queued; `hl7bridge run` delivers them")
    else:
        what = (
            "--yes --reason WHY confirms"
            if plan.waits
            else "it does not wait to go live: start `hl7bridge run` anew first"
        )
        output.say(f"Nothing was changed; {what}.")
    raise typer.Exit(ExitCode.GOOD if confirmed or not plan.waits or as_json else ExitCode.FINDINGS)


def _asked(name: str) -> bool:
    """Ask at the terminal; False where there is none."""
    return sys.stdin.isatty() and typer.confirm(f"Write this to {name}?", default=False, err=True)


def _show_counts(plan: GoLivePlan, skip: bool) -> None:
    if skip:
        output.show(f"{plan.name}: what was reported stays as it is; what comes from now on is written")
        return
    totals = plan.totals
    output.show((f"{plan.name}: ", "bold"), f"{totals.total()} reported changes of {plan.people} people")
    rows = [
        (result, *(counts.get(result, "") for counts in plan.results.values()), totals[result])
        for result in sorted(totals, key=_ORDER.index)
    ]
    if rows:
        output.show_table(("would be", *(f"feed {feed}" for feed in plan.results), "all"), rows)
    for local, count in sorted(plan.held.items()):
        output.show(f"  held: {count} for {local}")


def _as_data(change: PlannedChange) -> dict[str, Any]:
    from hl7bridge.desk.replay import outcome_data

    whose = {"feed": change.feed, "source_key": change.source_key, "message_id": change.message_id}
    return {**whose, "action": change.action, **outcome_data(change.outcome)}


def _show_change(change: PlannedChange) -> None:
    result = change.outcome.result
    if result in (Result.UNCHANGED, Result.REPORTED):
        return
    style = output.BAD if result is Result.HELD else output.GOOD
    output.show(
        (change.source_key, "bold"), f"  {change.feed}, message {change.message_id}  {change.action}  ",
        (result.value, style), f"  {change.outcome.local}",
    )  # fmt: skip
    for interaction in _as_data(change)["interactions"]:
        msg.show_interaction(interaction, "    ")
