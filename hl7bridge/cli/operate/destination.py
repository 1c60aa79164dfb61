"""`hl7bridge destination`: how each destination stands; pause it, resume it, try writes again, go live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, actor
from hl7bridge.cli.operate.go_live import go_live
from hl7bridge.cli.output import ConfigOption, JsonOption

if TYPE_CHECKING:
    from hl7bridge.desk.destinations import Resumption, Standing

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Destinations: list, pause, resume, retry writes, go live.",
)
app.command("go-live")(go_live)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The destination: a file of conf/destinations.")]


@app.command("list")
def list_destinations(config: ConfigOption = Path(), as_json: JsonOption = False) -> None:
    """List the destinations: mode, whether deliveries go out, what waits and what is held.

    \b
      hl7bridge destination list
      hl7bridge destination list --json
    """
    from hl7bridge.config import load
    from hl7bridge.desk import destinations

    settings = load(config)
    with stored.opened(settings) as store:
        found = destinations.standing(store, settings)
    if as_json:
        output.show_json("destination-list/1", {"destinations": [one.data() for one in found]})
        return
    output.show_table(
        ("name", "mode", "deliveries", "waiting", "held", "address", "refused", "why"),
        [
            (
                one.name,
                _mode(one),
                _standing(one),
                one.waiting,
                one.held,
                one.base_url,
                ", ".join(one.refused),
                ": ".join(filter(None, (one.who, one.note))),
            )
            for one in found
        ],
    )


def _mode(one: Standing) -> str:
    single = ", ".join(f"{operation}: {mode}" for operation, mode in one.modes.items())
    return one.mode + (f" ({single})" if single else "") + (", for a cohort" if one.cohort else "")


def _standing(one: Standing) -> str:
    if not one.paused:
        return "go out"
    until = stored.local_time(one.until)
    return f"wait until {until} ({one.paused})" if until else f"wait for a person ({one.paused})"


@app.command("pause")
def pause_destination(
    name: NameArgument, reason: ReasonOption = "", config: ConfigOption = Path(), as_json: JsonOption = False
) -> None:
    """Stop deliveries to a destination until `destination resume`; messages are taken and queued as before.

    \b
      hl7bridge destination pause ehr --reason "upgrade tonight"
    """
    from hl7bridge.config import load
    from hl7bridge.desk import destinations

    settings = load(config)
    with stored.opened(settings) as store:
        _tell(destinations.pause(store, settings, name, actor(), reason), as_json)


@app.command("resume")
def resume_destination(
    name: NameArgument, reason: ReasonOption = "", config: ConfigOption = Path(), as_json: JsonOption = False
) -> None:
    """Resume deliveries to a destination, whatever paused it: what waits for its next attempt goes at once.

    \b
      hl7bridge destination resume ehr --reason "the upgrade is done"
    """
    from hl7bridge.config import load
    from hl7bridge.desk import destinations

    settings = load(config)
    with stored.opened(settings) as store:
        _tell(destinations.resume(store, settings, name, actor(), reason), as_json)


@app.command("retry-writes")
def retry_writes(
    name: NameArgument, reason: ReasonOption = "", config: ConfigOption = Path(), as_json: JsonOption = False
) -> None:
    """Write again to a destination that refused writes: what waited, or was held for it, goes out.

    \b
      hl7bridge destination retry-writes ehr --reason "the owner granted the scope"

    What is held because the server did not offer an interaction, or forbade it, is put back into its lane; nothing counts
    as approved by that. What the server still refuses is held again, or the destination pauses again.
    """
    from hl7bridge.config import load
    from hl7bridge.desk import destinations

    settings = load(config)
    with stored.opened(settings) as store:
        done = destinations.retry_writes(store, settings, name, actor(), reason, progress=output.progress)
    _tell(done, as_json)


def _tell(done: Resumption, as_json: bool) -> None:
    if as_json:
        output.show_json("destination/1", {"name": done.name, "changed": done.changed})
    else:
        output.show(done.said)
