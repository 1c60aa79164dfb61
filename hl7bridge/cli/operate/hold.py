"""`hl7bridge hold`: deliveries that wait for a person: see why, release them, or discard them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, account, why
from hl7bridge.cli.operate import msg
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError, MessageError

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.model import Record, StaffChange
    from hl7bridge.store.store import Store

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Deliveries that wait for a person: list, show, release, discard them.",
)

_EVERY = 1_000_000_000

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

    with stored.opened(load(config)) as store:
        wanted: dict[str, Any] = {"destination": destination, "feed": feed, "local": cause, "source_key": person}
        found = store.holds(**wanted, limit=limit + 1)
        causes = store.hold_causes(**wanted)
    more, found = len(found) > limit, found[:limit]
    if as_json:
        rows = [row | {"since": stored.utc_time(row["since"])} for row in found]
        output.show_json("hold-list/1", {"holds": rows, "total": sum(causes.values()), "causes": causes})
        return
    output.show_table(
        ("id", "since", "destination", "feed", "person", "asks for", "cause", "message", "why"),
        [
            (
                row["id"],
                stored.local_time(row["since"]),
                row["destination"],
                row["feed"],
                row["source_key"],
                row["action"],
                row["local"],
                row["message_id"],
                row["text"],
            )
            for row in found
        ],
    )
    if found:
        output.say(f"{sum(causes.values()):,} held: {', '.join(f'{count:,} {name}' for name, count in causes.items())}")
    else:
        output.say("Nothing is held.")
    if more:
        output.say(f"The oldest {limit} only; --limit, --cause, --destination or --person show others.")


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

    with stored.opened(load(config)) as store:
        hold = _held(store, delivery_id)
        message = stored.message_of(store, hold["message_id"])
    record = next(record for record in message["records"] if record["position"] == hold["position"])
    record["deliveries"] = [one for one in record["deliveries"] if one["id"] == delivery_id]
    tasks = [task for task in message["tasks"] if task["delivery_id"] == delivery_id]
    history = [row for row in message["history"] if row["delivery_id"] == delivery_id]
    if as_json:
        shown = {"hold": hold | {"since": stored.utc_time(hold["since"])}}
        shown |= stored.with_times({"record": record, "tasks": tasks, "history": history})
        output.show_json("hold-show/1", shown)
        return
    header = message["header"]
    output.show(
        (f"hold {delivery_id}", "bold"), f"  {hold['action']}  {hold['source_key']}  for {hold['destination']}  ",
        (hold["local"], output.BAD),
    )  # fmt: skip
    output.show(f"  since    {stored.local_time(hold['since'])}")
    output.show(f"  message  {hold['message_id']}  {msg.kind_of(header)}  {header['control_id']}  feed {hold['feed']}")
    msg.show_record(record)
    msg.show_tasks(tasks)
    msg.show_history(history)


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
    """Put held deliveries back into their lanes: translated again, as the last in line, and past the brake.

    \b
      hl7bridge hold release 42 --reason "checked with HR"
      hl7bridge hold release --all --cause refused-change --reason "the table is mended"

    The record is translated again from the stored message, with the mapping and tables of today, and delivered by
    `hl7bridge run`. What was asked of a person (an approval, the brake) counts as answered, unless the one who releases
    asked for the change (`replay ID`): another account approves it. One that a younger change of the same person is about
    to overtake stays held.

    Ends with 1 when one could not be released.
    """
    from hl7bridge.config import load
    from hl7bridge.store.store import Released

    reason, who = why(reason), account()
    settings = load(config)
    done: list[dict[str, Any]] = []
    with stored.opened(settings) as store:
        holds = _chosen(store, ids or (), every, cause, destination)
        decided = _people_of(store, holds)
        again = Translations(store, settings)
        with output.progress("releasing", len(holds)) as advance:
            for hold in holds:
                anew = Anew() if as_stored else again.of(hold)
                left = anew.problem or _own_request(hold, who)
                if not left:
                    released = store.release(
                        hold["id"], time.time(), who=who, reason=reason, change=anew.change, lane=anew.lane
                    )
                    left = _LEFT[released.value] if released is not Released.QUEUED else ""
                done.append({"id": hold["id"], "released": not left, "problem": left, "note": anew.note})
                advance()
        _plan_again(store, settings, decided, done, "released", who, reason)
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
    """End held deliveries as withdrawn: they will not be applied.

    \b
      hl7bridge hold discard 42 --reason "a test record"
      hl7bridge hold discard --all --cause brake --destination ehr --reason "not announced by HR"

    Ends with 1 when one was not held any more.
    """
    from hl7bridge.config import load

    reason, who, settings = why(reason), account(), load(config)
    with stored.opened(settings) as store:
        done: list[dict[str, Any]] = []
        holds = _chosen(store, ids or (), every, cause, destination)
        decided = _people_of(store, holds)
        for hold in holds:
            ended = store.discard(hold["id"], time.time(), who=who, reason=reason)
            problem = "" if ended else _LEFT["not held"]
            done.append({"id": hold["id"], "discarded": ended, "problem": problem, "note": ""})
        _plan_again(store, settings, decided, done, "discarded", who, reason)
    _tell(done, "discarded", as_json)


def _people_of(store: Store, holds: Sequence[dict[str, Any]]) -> dict[int, tuple[str, set[str]]]:
    """Of those that are quarantined: the destination, and the Practitioners whom they name."""
    from hl7bridge.cli.operate.linking import quarantined, resources_of
    from hl7bridge.destinations.fhir.identity.resolve import QUARANTINE

    rows = [row for hold in holds if hold["local"] in QUARANTINE for row in quarantined(store, delivery_id=hold["id"])]
    return {row["id"]: (row["destination"], resources_of([row])) for row in rows}


def _plan_again(
    store: Store,
    settings: Settings,
    people: dict[int, tuple[str, set[str]]],
    done: list[dict[str, Any]],
    word: str,
    who: str,
    reason: str,
) -> None:
    """Other quarantined records that name the Practitioners of those that are decided now: plan them again."""
    from hl7bridge.cli.operate.linking import plan_again

    decided: dict[str, set[str]] = {}
    for one in done:
        if one[word] and one["id"] in people:
            destination, resources = people[one["id"]]
            decided.setdefault(destination, set()).update(resources)
    again = plan_again(store, settings, decided, {one["id"] for one in done}, who, reason) if decided else []
    if again:
        output.say(f"planned again, for the same Practitioners: {', '.join(map(str, again))}")


_LEFT = {
    "not held": "it is not held any more",
    "overtaken": "a younger change of the same person is under way: look again when it has ended",
}


def _own_request(hold: dict[str, Any], who: str) -> str:
    """Why this account can't approve what is held, "" = it can: nobody approves what they asked for themselves."""
    from hl7bridge.destinations.reasons import DECIDED_BY_A_PERSON
    from hl7bridge.store.store import same_person

    if hold["local"] not in DECIDED_BY_A_PERSON or not same_person(who, hold["requested_by"]):
        return ""
    return f"you asked for this change yourself ({hold['requested_by']}): another account has to approve it"


def _held(store: Store, delivery_id: int) -> dict[str, Any]:
    found = store.holds(delivery_id=delivery_id)
    if not found:
        raise ConfigError(f"no held delivery has the id {delivery_id}", advice="`hl7bridge hold list` shows them.")
    return found[0]


def _chosen(store: Store, ids: Sequence[int], every: bool, cause: str, destination: str) -> list[dict[str, Any]]:
    """The holds that are meant, oldest first: those named, or all of one cause. Raises ConfigError."""
    if every == bool(ids) or (every and not cause) or (ids and (cause or destination)):
        advice = "Name ids, or write --all --cause LOCAL (and --destination NAME)."
        raise ConfigError("say which", advice=advice)
    if not every:
        return [_held(store, delivery_id) for delivery_id in sorted(set(ids))]
    return store.holds(local=cause, destination=destination, limit=_EVERY)


def _tell(done: list[dict[str, Any]], word: str, as_json: bool) -> None:
    good = [one for one in done if one[word]]
    if as_json:
        output.show_json(f"hold-{word}/1", {"holds": done})
    else:
        for one in done:
            if one["problem"] or one["note"]:
                output.say(f"{one['id']}: {one['problem'] or one['note']}")
        output.show(f"{len(good)} of {len(done)} {word}")
    if len(good) < len(done):
        raise typer.Exit(ExitCode.FINDINGS)


# --- translating again -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Anew:
    """A held record as it is read today. `change` None: it goes as it was stored, and `note` says why. `problem`: it can't
    be released so."""

    change: StaffChange | None = None
    lane: tuple[str, ...] = ()
    note: str = ""
    problem: str = ""


@dataclass(slots=True)
class Translations:
    """Translates held records again; a message of many is translated once."""

    store: Store
    settings: Settings
    _message_id: int = 0
    _records: dict[int, Record] | str = field(default_factory=dict)

    def of(self, hold: dict[str, Any]) -> Anew:
        """The held record of today."""
        from hl7bridge.assemble.feeds import feed_policy
        from hl7bridge.intake.intake import new_deliveries

        if hold["message_id"] != self._message_id:
            self._message_id, self._records = hold["message_id"], self._translated(hold)
        if isinstance(self._records, str):
            return Anew(note=f"released as it was stored: {self._records}")
        record = self._records.get(hold["position"])
        if record is None or record.failed or record.change is None:
            return Anew(problem=f"record {hold['position']} of the message leads to no change any more; discard it")
        if record.change.source_key != hold["source_key"]:
            return Anew(problem=f"the record is read as another person now; `hl7bridge replay {hold['message_id']}`")
        policy = feed_policy(self.settings.feeds[hold["feed"]], self.settings)
        new = new_deliveries(policy, record.change, time.time())
        mine = next((one for one in new if one.destination == hold["destination"]), None)
        if mine is None:
            return Anew(problem="its feed does not go to that destination any more; discard it")
        if mine.not_before:
            return Anew(problem=f"it is not due yet as it is read now; `hl7bridge replay {hold['message_id']}`")
        return Anew(record.change, mine.lane)

    def _translated(self, hold: dict[str, Any]) -> dict[int, Record] | str:
        """Records by position, or why there are none."""
        from hl7bridge.cli.operate.replay import translated

        body, feed = self.store.body(hold["message_id"]), self.settings.feeds.get(hold["feed"])
        if body is None:
            return "the bytes of its message were not kept"
        if feed is None:
            return f"there is no feed {hold['feed']} any more"
        try:
            _, records, _ = translated(feed, body)
        except MessageError as error:
            return f"its message can't be read any more ({error})"
        return {record.position: record for record in records}
