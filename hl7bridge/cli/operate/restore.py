"""`hl7bridge restore`: take back what a delivery wrote, as far as nobody changed it since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, actor
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.desk.restore import Restored, RestoreRequest


def restore(
    delivery_id: Annotated[
        int, typer.Argument(metavar="DELIVERY-ID", show_default=False, help="A delivery, as `msg show` shows it.")
    ] = 0,
    message_id: Annotated[
        int, typer.Option("--message", metavar="ID", show_default=False, help="Every delivery of this message.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing: show what would be taken back.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="List restores that wait for approval.")] = False,
    approve: Annotated[
        int, typer.Option("--approve", metavar="N", show_default=False, help="Carry out a restore that waits.")
    ] = 0,
    reject: Annotated[
        int, typer.Option("--reject", metavar="N", show_default=False, help="End a restore that waits.")
    ] = 0,
    reason: ReasonOption = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take back what a delivery wrote, field by field: only what it changed, and what nobody changed since.

    \b
      hl7bridge restore 42 --dry-run                        what would be taken back? (reads only)
      hl7bridge restore 42 --reason "wrong person"
      hl7bridge restore --message 17 --reason "wrong file"  every delivery of message 17
      hl7bridge restore --waiting                           mode approve: what waits
      hl7bridge restore --approve 3 --reason "checked"      by somebody else than who asked

    What the write had created is made inactive, never deleted. Where the destination's mode is report, it is planned only;
    in mode approve, it waits until somebody else approves it. The history says who did it, and why.

    A message that says the same again changes it again: that opens a task (restore-undone).

    Ends with 1 when something could not be taken back, with 3 when the destination is out of reach.
    """
    from hl7bridge.config import load
    from hl7bridge.desk import restore as desk

    if sum(map(bool, (delivery_id, message_id, waiting, approve, reject))) != 1:
        raise ConfigError("say what", advice="Name a delivery, or one of --message, --waiting, --approve and --reject.")
    settings = load(config)
    with stored.opened(settings) as store:
        if waiting:
            _show_waiting(desk.waiting(store), as_json)
            return
        if reject:
            desk.reject(store, reject, actor(), reason)
            _tell_rejected(reject, as_json)
            return
        if approve:
            done = desk.approve(store, settings, approve, actor(), reason, progress=output.progress)
        else:
            ids = [delivery_id] if delivery_id else desk.deliveries_of(store, message_id)
            done = desk.take_back(store, settings, ids, actor(), reason, dry_run=dry_run, progress=output.progress)
    if as_json:
        output.show_json("restore/1", {"deliveries": [one.data() for one in done]})
    else:
        for one in done:
            _show(one)
    if any(one.unreachable for one in done):
        raise typer.Exit(ExitCode.UNREACHABLE)
    raise typer.Exit(ExitCode.GOOD if all(one.complete for one in done) else ExitCode.FINDINGS)


def _show_waiting(found: Sequence[RestoreRequest], as_json: bool) -> None:
    if as_json:
        output.show_json("restore-waiting/1", {"restores": [_waiting_data(row) for row in found]})
        return
    output.show_table(
        ("restore", "asked", "who", "why", "delivery", "destination", "feed", "person"),
        [
            (
                row.id, stored.local_time(row.asked), row.who, row.reason, row.delivery_id,
                row.destination, row.feed, row.source_key,
            )
            for row in found
        ],
    )  # fmt: skip
    if not found:
        output.say("No restore waits.")


def _waiting_data(row: RestoreRequest) -> dict[str, Any]:
    return {
        "id": row.id,
        "asked": stored.utc_time(row.asked),
        "who": row.who,
        "reason": row.reason,
        "delivery_id": row.delivery_id,
        "message_id": row.message_id,
        "destination": row.destination,
        "feed": row.feed,
        "source_key": row.source_key,
    }


def _tell_rejected(restore_id: int, as_json: bool) -> None:
    if as_json:
        output.show_json("restore-rejected/1", {"id": restore_id})
    else:
        output.show(f"restore {restore_id} is rejected")


def _show(restored: Restored) -> None:
    from hl7bridge.desk.restore import APPLIED, IN_WORDS, NOTHING, PLANNED

    style = output.GOOD if restored.state in (APPLIED, PLANNED, NOTHING) else output.BAD
    number = f" {restored.restore_id}" if restored.restore_id else ""
    output.show(
        (f"delivery {restored.delivery_id}", "bold"),
        f"  {restored.source_key}  at {restored.destination}: ",
        (IN_WORDS[restored.state], style),
        f"  (restore{number})" if number else "",
    )
    if restored.problem:
        output.show("  ", (restored.problem, output.BAD))
    for resource in restored.resources:
        output.show(f"  {resource.resource_type}/{resource.resource_id}  ", (resource.reason, output.QUIET))
        stored.show_differences([asdict(difference) for difference in resource.differences], "    ")
        for kept in resource.kept:
            output.show("    ", ("= ", output.QUIET), f"{kept.path}: stays, it was changed since or is another's too")
        if resource.problem:
            output.show("    ", (resource.problem, output.BAD))
