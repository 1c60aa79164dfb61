"""`hl7bridge destination`: how each FHIR server stands; pause it, resume it, try writes again, go live."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, account
from hl7bridge.cli.operate.go_live import go_live
from hl7bridge.cli.output import ConfigOption, JsonOption
from hl7bridge.desk.deciding import why
from hl7bridge.errors import ConfigError
from hl7bridge.model import WRITES_REFUSED

if TYPE_CHECKING:
    from hl7bridge.config import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="How the FHIR servers stand: list, pause, resume them, try writes again, go live.",
)
app.command("go-live")(go_live)

BY_A_PERSON = "paused-by-person"
LEAVING_REPORT = "leaving-report"  # as service/leaving.py pauses
MAINTENANCE = "maintenance"  # as service/watch.py does
REFUSED = ("forbidden", "not-offered")
_EVERY = 1_000_000_000

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The destination: a file of conf/destinations.")]


@app.command("list")
def list_destinations(config: ConfigOption = Path(), as_json: JsonOption = False) -> None:
    """List the destinations: mode, whether deliveries go out, what waits and what is held.

    \b
      hl7bridge destination list
      hl7bridge destination list --json
    """
    from hl7bridge.config import load

    settings = load(config)
    with stored.opened(settings) as store:
        pauses, counts = store.pauses(), store.counts()["deliveries"]
        latches = {name: store.latches(name) for name in settings.destinations}
    rows = []
    for name, destination in settings.destinations.items():
        states, pause = counts.get(name, {}), pauses.get(name, {})
        rows.append(
            {
                "name": name,
                "mode": destination.mode,
                "modes": {name: mode for name, mode in destination.modes.model_dump().items() if mode},
                "cohort": any(destination.cohort.model_dump().values()),
                "refused": latches[name],
                "base_url": destination.base_url,
                "paused": pause.get("reason", ""),
                "since": stored.utc_time(pause.get("since", 0)),
                "until": stored.utc_time(pause.get("until", 0)),
                "who": pause.get("who", ""),
                "note": pause.get("note", ""),
                "waiting": sum(states.get(state, 0) for state in ("queued", "claimed", "retry", "unknown")),
                "held": states.get("held", 0),
            }
        )
    if as_json:
        output.show_json("destination-list/1", {"destinations": rows})
        return
    output.show_table(
        ("name", "mode", "deliveries", "waiting", "held", "address", "refused", "why"),
        [
            (
                row["name"],
                _mode(row),
                _standing(row["paused"], pauses.get(row["name"], {})),
                row["waiting"],
                row["held"],
                row["base_url"],
                ", ".join(row["refused"]),
                ": ".join(filter(None, (row["who"], row["note"]))),
            )
            for row in rows
        ],
    )


def _mode(row: dict[str, Any]) -> str:
    single = ", ".join(f"{operation}: {mode}" for operation, mode in row["modes"].items())
    return str(row["mode"]) + (f" ({single})" if single else "") + (", for a cohort" if row["cohort"] else "")


def _standing(reason: str, pause: dict[str, Any]) -> str:
    if not reason:
        return "go out"
    until = stored.local_time(pause["until"])
    return f"wait until {until} ({reason})" if until else f"wait for a person ({reason})"


@app.command("pause")
def pause_destination(
    name: NameArgument, reason: ReasonOption = "", config: ConfigOption = Path(), as_json: JsonOption = False
) -> None:
    """Stop deliveries to a destination until `destination resume`; messages are taken and queued as before.

    \b
      hl7bridge destination pause ehr --reason "upgrade tonight"
    """
    from hl7bridge.config import load

    reason, who, settings = why(reason), account(), load(config)
    _known(settings, name)
    with stored.opened(settings) as store:
        changed = store.pause(name, BY_A_PERSON, time.time(), who=who, note=reason)
        since = store.pauses()[name]["reason"]
    _tell(name, changed, f"{name} is paused", f"{name} was paused already ({since})", as_json)


@app.command("resume")
def resume_destination(
    name: NameArgument, reason: ReasonOption = "", config: ConfigOption = Path(), as_json: JsonOption = False
) -> None:
    """Let deliveries go out to a destination again, whatever paused it; what waits for its next attempt goes at once.

    \b
      hl7bridge destination resume ehr --reason "the upgrade is done"
    """
    from hl7bridge.config import load

    reason, who, settings = why(reason), account(), load(config)
    _known(settings, name)
    with stored.opened(settings) as store:
        if store.paused().get(name) == LEAVING_REPORT:
            advice = (
                f"`hl7bridge destination go-live {name}` shows what was reported, and queues it or (--skip) leaves it."
            )
            raise ConfigError(f"{name} waits to go live", advice=advice)
        pause = store.pauses().get(name, {})
        if pause.get("reason") == MAINTENANCE and pause["until"] > time.time():
            advice = f"Nothing is sent before that; else take the window out of {settings.destinations[name].file}."
            until = stored.local_time(pause["until"])
            raise ConfigError(f"{name} is in its maintenance window until {until}", advice=advice)
        changed = store.resume(name, time.time(), who=who, note=reason)
    _tell(name, changed, f"{name} is resumed", f"{name} was not paused", as_json)


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
    from hl7bridge.desk.translating import Translations
    from hl7bridge.store.store import Released

    reason, who, settings = why(reason), account(), load(config)
    _known(settings, name)
    with stored.opened(settings) as store:
        found = store.paused().get(name, "")
        if found and found != WRITES_REFUSED:
            raise ConfigError(
                f"{name} is paused for another reason ({found})", advice=f"`hl7bridge destination resume {name}`."
            )
        latched = store.unlatch(name, time.time(), who=who, note=reason)
        changed = store.resume(name, time.time(), who=who, note=reason) or bool(latched)
        holds = [hold for local in REFUSED for hold in store.holds(local=local, destination=name, limit=_EVERY)]
        again, queued = Translations(store, settings), 0
        with output.progress("queueing", len(holds)) as advance:
            for hold in sorted(holds, key=lambda hold: hold["id"]):
                anew = again.of(hold, time.time())
                if not anew.problem:
                    released = store.release(
                        hold["id"],
                        time.time(),
                        who=who,
                        reason=reason,
                        change=anew.change,
                        lane=anew.lane,
                        approves=False,
                    )
                    queued += released is Released.QUEUED
                advance()
    done = f"{name} is written to again"
    if holds:
        done += f"; {queued} of {len(holds)} held changes are queued"
    _tell(name, changed or bool(queued), done, f"{name} has not refused writes", as_json)


def _known(settings: Settings, name: str) -> None:
    if name not in settings.destinations:
        known = ", ".join(settings.destinations)
        raise ConfigError(f'there is no destination "{name}"', advice=f"There are: {known}.")


def _tell(name: str, changed: bool, done: str, not_done: str, as_json: bool) -> None:
    if as_json:
        output.show_json("destination/1", {"name": name, "changed": changed})
    else:
        output.show(done if changed else not_done)
