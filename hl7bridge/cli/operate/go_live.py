"""`hl7bridge destination go-live`: from reporting to writing, without losing what came in meanwhile."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.deciding import ReasonOption, account
from hl7bridge.cli.operate import msg
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.desk.deciding import why
from hl7bridge.desk.replay import outcome_data
from hl7bridge.errors import ConfigError
from hl7bridge.model import Interaction, Outcome, Result

if TYPE_CHECKING:
    from hl7bridge.config import Destination, Settings
    from hl7bridge.destinations.policy import Brake
    from hl7bridge.store.store import Reported, Store

_OUT_OF_REACH = frozenset({Result.RETRY, Result.UNKNOWN, Result.PAUSED})
_TRIES, _WAIT = 5, 1.0  # of a read that fails in passing; seconds between two tries
_IN_A_ROW = 3  # changes that cannot be planned, after which the server counts as out of reach
_AT_ONCE = 1000
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
    from hl7bridge.destinations.reasons import LEAVING_REPORT

    reason = why(reason) if yes or reason else ""
    settings = load(config)
    if name not in settings.destinations:
        raise ConfigError(f'there is no destination "{name}"', advice=f"There are: {', '.join(settings.destinations)}.")
    with stored.opened(settings) as store:
        waits = store.paused().get(name, "") == LEAVING_REPORT
        if yes and not waits:
            advice = "Set mode or [cohort] in its file and start `hl7bridge run` anew: it pauses where something waits."
            raise ConfigError(f"{name} does not wait to go live", advice=advice)
        tally = Tally() if skip else _rehearsed(settings, store, name, show and not as_json, keep=show and as_json)
        if not as_json:
            _show_counts(name, tally, skip)
        confirmed = yes or (waits and bool(reason) and not as_json and _asked(name))
        if confirmed:
            _confirm(store, settings.destinations[name], tally, account(), reason)
    if as_json:
        shown = {"name": name, "waits": waits, "confirmed": confirmed, **tally.data(), "changes": tally.shown}
        output.show_json("destination-go-live/1", shown)
    elif confirmed:
        output.show(f"{name} is live: {len(tally.deliveries)} changes are queued; `hl7bridge run` delivers them")
    else:
        what = (
            "--yes --reason WHY confirms" if waits else "it does not wait to go live: start `hl7bridge run` anew first"
        )
        output.say(f"Nothing was changed; {what}.")
    raise typer.Exit(ExitCode.GOOD if confirmed or not waits or as_json else ExitCode.FINDINGS)


@dataclass(slots=True)
class Tally:
    """What the rehearsal of all changes shows. `deliveries`: those to queue, in order of place."""

    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    people: set[tuple[str, str]] = field(default_factory=set)
    deliveries: list[int] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def add(self, one: Reported, outcome: Outcome) -> None:
        """Count one change."""
        self.results[one.feed, outcome.result.value] += 1
        if outcome.result is Result.HELD:
            self.held[outcome.local] += 1
        self.people.add((one.feed, one.source_key))
        if outcome.result is not Result.REPORTED:
            self.deliveries.append(one.delivery_id)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        feeds: dict[str, dict[str, int]] = {}
        for (feed, result), count in sorted(self.results.items()):
            feeds.setdefault(feed, {})[result] = count
        totals: Counter[str] = Counter()
        for (_, result), count in self.results.items():
            totals[result] += count
        return {"people": len(self.people), "results": totals, "feeds": feeds, "held": self.held}


def _rehearsed(settings: Settings, store: Store, name: str, show: bool, *, keep: bool) -> Tally:
    """Plan everything that was reported, in order. Raises typer.Exit when the server is out of reach."""
    from hl7bridge.assemble.destinations import brake_of, client_for, destination_rules
    from hl7bridge.destinations.fhir.rehearsal import Rehearsal
    from hl7bridge.destinations.fhir.wire.capabilities import Capabilities, read_capabilities

    destination = settings.destinations[name]
    rules = destination_rules(destination)
    if not rules.writes:
        raise ConfigError(f"{name} is in mode report", advice=f"Set its mode in {destination.file} first.")
    total = store.counts()["deliveries"].get(name, {}).get(Result.REPORTED.value, 0)
    tally, brake = Tally(), _BrakeInMind(brake_of(destination))
    client = client_for(destination, rules)
    try:
        offered = read_capabilities(client)
        rehearsal = Rehearsal(
            rules,
            client,
            partial(store.known, name),
            partial(store.written_by, name),
            partial(store.said_by, name),
            capabilities=offered if isinstance(offered, Capabilities) and offered.resources else None,
        )
        failed = 0
        with output.progress("planning", total) as advance:
            for one in _reported(store, name, rules.clock_tolerance):
                outcome = Outcome(Result.SUPERSEDED) if one.overtaken else _insist(rehearsal, one, brake)
                failed = failed + 1 if outcome.result in _OUT_OF_REACH else 0
                # One person about whom a server that answers can say nothing keeps nobody else: the delivery tries again.
                if failed and (not outcome.http_status or outcome.result is Result.PAUSED or failed == _IN_A_ROW):
                    output.say(f"{name}: {outcome.text or outcome.local}. Nothing was changed; try again.")
                    raise typer.Exit(ExitCode.UNREACHABLE)
                tally.add(one, outcome)
                if show:
                    _show_change(one, outcome)
                if keep:
                    whose = {"feed": one.feed, "source_key": one.source_key, "message_id": one.message_id}
                    tally.shown.append({**whose, "action": one.change.action.value, **outcome_data(outcome)})
                advance()
    finally:
        client.close()
    return tally


def _reported(store: Store, name: str, clock_tolerance: float) -> Iterator[Reported]:
    place = 0
    while some := store.reported(name, place, _AT_ONCE, clock_tolerance=clock_tolerance):
        yield from some
        place = some[-1].place


def _insist(rehearsal: Any, one: Reported, brake: _BrakeInMind) -> Outcome:
    """One change; a read that fails in passing is tried again."""
    for _ in range(_TRIES):
        outcome: Outcome = rehearsal.deliver(
            one.change,
            one.feed,
            datetime.now(UTC),
            order_time=one.order_time,
            force=one.force,
            permit=partial(brake.permit, one),
        )
        if outcome.result is not Result.RETRY:
            break
        time.sleep(max(_WAIT, min(outcome.retry_after, 30.0)))
    return outcome


class _BrakeInMind:
    """How far the brake would let them go at once: the real one counts by the hour, while they are delivered."""

    def __init__(self, brake: Brake) -> None:
        self._brake, self._ended = brake, 0

    def permit(self, one: Reported, interaction: Interaction, ends: bool) -> Outcome | None:
        """As `deliver` asks it."""
        from hl7bridge.destinations import reasons

        if not ends:
            return None
        if one.source_key in self._brake.protected:
            return reasons.PROTECTED
        if interaction.resource_type != "Practitioner":
            return None  # roles of a person who was let through
        self._ended += 1
        return reasons.BRAKED if 0 < self._brake.per_hour < self._ended else None


def _confirm(store: Store, destination: Destination, tally: Tally, who: str, reason: str) -> None:
    """Queue them while the destination is paused; then it goes on."""
    from hl7bridge.assemble.destinations import destination_rules

    name, now = destination.name, time.time()
    with output.progress("queueing", len(tally.deliveries)) as advance:
        done = 0
        for so_far in store.go_live(name, tally.deliveries, now, who=who, reason=reason):
            for _ in range(so_far - done):
                advance()
            done = so_far
    store.remember_ran_as(name, destination_rules(destination).ran_as(), time.time())
    store.resume(name, time.time(), who=who, note=reason)


def _asked(name: str) -> bool:
    """Ask at the terminal; False where there is none."""
    return sys.stdin.isatty() and typer.confirm(f"Write this to {name}?", default=False, err=True)


def _show_counts(name: str, tally: Tally, skip: bool) -> None:
    if skip:
        output.show(f"{name}: what was reported stays as it is; what comes from now on is written")
        return
    data = tally.data()
    output.show((f"{name}: ", "bold"), f"{tally.results.total()} reported changes of {len(tally.people)} people")
    rows = [
        (result, *(counts.get(result, "") for counts in data["feeds"].values()), data["results"][result])
        for result in sorted(data["results"], key=_ORDER.index)
    ]
    if rows:
        output.show_table(("would be", *(f"feed {feed}" for feed in data["feeds"]), "all"), rows)
    for local, count in sorted(tally.held.items()):
        output.show(f"  held: {count} for {local}")


def _show_change(one: Reported, outcome: Outcome) -> None:
    if outcome.result in (Result.UNCHANGED, Result.REPORTED):
        return
    style = output.BAD if outcome.result is Result.HELD else output.GOOD
    output.show(
        (one.source_key, "bold"), f"  {one.feed}, message {one.message_id}  {one.change.action.value}  ",
        (outcome.result.value, style), f"  {outcome.local}",
    )  # fmt: skip
    for interaction in outcome_data(outcome)["interactions"]:
        msg.show_interaction(interaction, "    ")
