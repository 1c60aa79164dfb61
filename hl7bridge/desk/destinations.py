"""How each destination stands; pause it, resume it, try writes again. (Going live: `go_live`.)"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.choosing import destination_named
from hl7bridge.desk.deciding import EVERY, Actor, Clock, Progress, Role, unseen, why
from hl7bridge.desk.times import local_time, utc_time
from hl7bridge.desk.translating import Translations
from hl7bridge.destinations.reasons import FORBIDDEN, LEAVING_REPORT, MAINTENANCE, NOT_OFFERED, PAUSED_BY_PERSON
from hl7bridge.errors import ConfigError
from hl7bridge.model import WRITES_REFUSED
from hl7bridge.store.queue.pauses import NO_PAUSE
from hl7bridge.store.store import OPEN_LANE, Released

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.store import Store


@dataclass(frozen=True, slots=True)
class Standing:
    """How one destination stands.

    modes    operation -> its own mode; `cohort`: some people alone are written
    refused  what the server refuses -> what it said
    paused   why nothing goes out, "" = it does; `since`, `until` Unix seconds (until 0: until a person resumes it)
    waiting  deliveries that will go out by themselves; `held`: those that wait for a person
    """

    name: str
    mode: str
    modes: Mapping[str, str]
    cohort: bool
    refused: Mapping[str, str]
    base_url: str
    paused: str
    since: float
    until: float
    who: str
    note: str
    waiting: int
    held: int

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"since": utc_time(self.since), "until": utc_time(self.until)}


def standing(store: Store, settings: Settings) -> tuple[Standing, ...]:
    """All destinations."""
    pauses, counts = store.pauses.pauses(), store.audit.counts()["deliveries"]
    found = []
    for name, destination in settings.destinations.items():
        states, pause = counts.get(name, {}), pauses.get(name, NO_PAUSE)
        found.append(
            Standing(
                name,
                destination.mode,
                {operation: mode for operation, mode in destination.modes.model_dump().items() if mode},
                any(destination.cohort.model_dump().values()),
                store.modes.latches(name),
                destination.place,
                pause.reason,
                pause.since,
                pause.until,
                pause.who,
                pause.note,
                sum(states.get(state, 0) for state in OPEN_LANE),
                states.get("held", 0),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Resumption:
    """Whether a decision about a destination changed anything, and what it says of it in a sentence."""

    name: str
    changed: bool
    said: str


def pause(
    store: Store, settings: Settings, name: str, actor: Actor, reason: str, *, clock: Clock = time.time
) -> Resumption:
    """Stop deliveries until `resume`; messages are taken and queued as before. Raises ConfigError."""
    actor.must_have(Role.OPERATE)
    reason = why(reason)
    _known(settings, name)
    if store.pauses.pause(name, PAUSED_BY_PERSON, clock(), who=str(actor), note=reason):
        return Resumption(name, True, f"{name} is paused")
    return Resumption(name, False, f"{name} was paused already ({store.pauses.pauses()[name].reason})")


def resume(
    store: Store, settings: Settings, name: str, actor: Actor, reason: str, *, clock: Clock = time.time
) -> Resumption:
    """Let deliveries go out again, whatever paused it; what waits for its next attempt goes at once. Raises ConfigError
    where it waits to go live, or is in a maintenance window."""
    actor.must_have(Role.OPERATE)
    reason = why(reason)
    _known(settings, name)
    found = store.pauses.pauses().get(name, NO_PAUSE)
    if found.reason == LEAVING_REPORT:
        advice = f"`hl7bridge destination go-live {name}` shows what was reported, and queues it or (--skip) leaves it."
        raise ConfigError(f"{name} waits to go live", advice=advice)
    if found.reason == MAINTENANCE and found.until > clock():
        advice = f"Nothing is sent before that; else take the window out of {settings.destinations[name].file}."
        raise ConfigError(f"{name} is in its maintenance window until {local_time(found.until)}", advice=advice)
    changed = store.pauses.resume(name, clock(), who=str(actor), note=reason)
    return Resumption(name, changed, f"{name} is resumed" if changed else f"{name} was not paused")


def retry_writes(
    store: Store,
    settings: Settings,
    name: str,
    actor: Actor,
    reason: str,
    *,
    clock: Clock = time.time,
    progress: Progress = unseen,
) -> Resumption:
    """Write again to a destination that refused writes; what was held for that goes back into its lane, and nothing counts
    as approved by it. Raises ConfigError where it is paused for another reason."""
    actor.must_have(Role.OPERATE)
    reason, who = why(reason), str(actor)
    _known(settings, name)
    found = store.audit.paused().get(name, "")
    if found and found != WRITES_REFUSED:
        raise ConfigError(
            f"{name} is paused for another reason ({found})", advice=f"`hl7bridge destination resume {name}`."
        )
    latched = store.modes.unlatch(name, clock(), who=who, note=reason)
    changed = store.pauses.resume(name, clock(), who=who, note=reason) or bool(latched)
    holds = [hold for local in (FORBIDDEN, NOT_OFFERED)
             for hold in store.holds.holds(local=local, destination=name, limit=EVERY)]  # fmt: skip
    again, queued = Translations(store, settings), 0
    with progress("queueing", len(holds)) as advance:
        for hold in sorted(holds, key=lambda hold: hold.id):
            anew = again.of(hold, clock())
            if not anew.problem:
                given: dict[str, Any] = {"change": anew.change, "lane": anew.lane, "approves": False}
                queued += store.holds.release(hold.id, clock(), who=who, reason=reason, **given) is Released.QUEUED
            advance()
    if not (changed or queued):
        return Resumption(name, False, f"{name} has not refused writes")
    of_them = f"; {queued} of {len(holds)} held changes are queued" if holds else ""
    return Resumption(name, True, f"{name} is written to again{of_them}")


def _known(settings: Settings, name: str) -> None:
    destination_named(settings, name)
