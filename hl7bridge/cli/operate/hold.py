"""`hl7bridge hold`: deliveries that wait for a person: see why, release them, or discard them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, actor
from hl7bridge.cli.operate import msg
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption

if TYPE_CHECKING:
    from hl7bridge.desk.holds import Hold, HoldsDecided

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Deliveries that wait for a person: list, show, release, discard them.",
)

IdsArgument = Annotated[
    list[int] | None, typer.Argument(metavar="ID", show_default=False, help="Ids that `hold list` shows.")
]
CauseOption = Annotated[
    str, typer.Option("--cause", metavar="CAUSE", help="Held for this, such as brake or refused-change.")
]
DestinationOption = Annotated[str, typer.Option("--destination", metavar="NAME", help="For this destination.")]


@app.command("list")
def list_holds(
    cause: CauseOption = "",
    destination: DestinationOption = "",
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="Of this feed.")] = "",
    person: Annotated[str, typer.Option("--person", metavar="KEY", help="About this staff key.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="No more than this.")] = 50,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List held deliveries, oldest first.

    \b
      hl7bridge hold list
      hl7bridge hold list --cause brake
      hl7bridge hold list --person E1042 --json
    """
    from hl7bridge.config import load
    from hl7bridge.desk import holds

    with stored.opened(load(config)) as store:
        found = holds.find(store, cause=cause, destination=destination, feed=feed, person=person, limit=limit)
    if as_json:
        rows = [_as_data(row) for row in found.holds]
        output.show_json("hold-list/1", {"holds": rows, "total": found.total, "causes": dict(found.causes)})
        return
    output.show_table(
        ("id", "since", "destination", "feed", "person", "asks for", "cause", "message", "why"),
        [
            (
                row.id,
                stored.local_time(row.since),
                row.destination,
                row.feed,
                row.source_key,
                row.action,
                row.local,
                row.message_id,
                row.text,
            )
            for row in found.holds
        ],
    )
    if found.holds:
        causes = ", ".join(f"{count:,} {name}" for name, count in found.causes.items())
        output.say(f"{found.total:,} held: {causes}")
    else:
        output.say("Nothing is held.")
    if found.next:
        output.say(f"The oldest {limit} only; --limit, --cause, --destination or --person show others.")


def _as_data(hold: Hold) -> dict[str, Any]:
    return asdict(hold) | {"since": stored.utc_time(hold.since)}


@app.command("show")
def show_hold(
    delivery_id: Annotated[int, typer.Argument(metavar="ID", help="The id that `hold list` shows.")],
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show one held delivery: why, the person, its message, and what was planned.

    \b
      hl7bridge hold show 42
      hl7bridge hold show 42 --json
    """
    from hl7bridge.config import load
    from hl7bridge.desk import holds

    with stored.opened(load(config)) as store:
        found = holds.show(store, delivery_id)
    hold, header = found.hold, found.header
    if as_json:
        shown = {"hold": _as_data(hold)}
        rest = {"record": found.record, "tasks": list(found.tasks), "history": list(found.history)}
        output.show_json("hold-show/1", shown | stored.with_times(rest))
        return
    output.show(
        (f"hold {delivery_id}", "bold"), f"  {hold.action}  {hold.source_key}  for {hold.destination}  ",
        (hold.local, output.BAD),
    )  # fmt: skip
    output.show(f"  since    {stored.local_time(hold.since)}")
    kind = msg.kind_of(header["message_type"], header["trigger_event"])
    output.show(f"  message  {hold.message_id}  {kind}  {header['control_id']}  feed {hold.feed}")
    msg.show_record(found.record)
    msg.show_tasks(found.tasks)
    msg.show_history(found.history)


@app.command("release")
def release_holds(
    ids: IdsArgument = None,
    reason: ReasonOption = "",
    every: Annotated[bool, typer.Option("--all", help="All that are held for --cause.")] = False,
    cause: CauseOption = "",
    destination: DestinationOption = "",
    as_stored: Annotated[
        bool, typer.Option("--as-stored", help="Do not translate again: deliver what was read when it came in.")
    ] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Release held deliveries: they are translated again, go to the end of their lanes, and pass the brake.

    \b
      hl7bridge hold release 42 --reason "checked with HR"
      hl7bridge hold release --all --cause refused-change --reason "the table is mended"

    The record is translated again from the stored message, with the mapping and tables of today, and delivered by
    `hl7bridge run`. The release counts as the approval, and the brake does not stop it again. Who asked for a change
    (`replay ID`) cannot release it: another account does. A delivery is not released while a newer change of the same
    person waits or is being delivered.

    Ends with 1 when one could not be released.
    """
    from hl7bridge.config import load
    from hl7bridge.desk import holds

    settings, which = load(config), holds.Which(ids or (), every, cause, destination)
    with stored.opened(settings) as store:
        done = holds.release(store, settings, which, actor(), reason, as_stored=as_stored, progress=output.progress)
    _tell(done, "released", as_json)


@app.command("discard")
def discard_holds(
    ids: IdsArgument = None,
    reason: ReasonOption = "",
    every: Annotated[bool, typer.Option("--all", help="All that are held for --cause.")] = False,
    cause: CauseOption = "",
    destination: DestinationOption = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Discard held deliveries: they end as withdrawn, and are not applied.

    \b
      hl7bridge hold discard 42 --reason "a test record"
      hl7bridge hold discard --all --cause brake --destination ehr --reason "not announced by HR"

    Ends with 1 when one was not held any more.
    """
    from hl7bridge.config import load
    from hl7bridge.desk import holds

    settings, which = load(config), holds.Which(ids or (), every, cause, destination)
    with stored.opened(settings) as store:
        done = holds.discard(store, settings, which, actor(), reason)
    _tell(done, "discarded", as_json)


def _tell(decided: HoldsDecided, word: str, as_json: bool) -> None:
    if decided.planned_again:
        output.say(f"planned again, for the same people: {', '.join(map(str, decided.planned_again))}")
    if as_json:
        rows = [{"id": one.id, word: one.done, "problem": one.problem, "note": one.note} for one in decided.holds]
        output.show_json(f"hold-{word}/1", {"holds": rows})
    else:
        for one in decided.holds:
            if one.problem or one.note:
                output.say(f"{one.id}: {one.problem or one.note}")
        output.show(f"{decided.done} of {len(decided.holds)} {word}")
    if decided.done < len(decided.holds):
        raise typer.Exit(ExitCode.FINDINGS)
