"""Deliveries that wait for a person: list them, release them, discard them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hl7bridge.desk.deciding import EVERY, Actor, Clock, Progress, Role, listed, unseen, why
from hl7bridge.desk.identity.quarantine import people_of, plan_again
from hl7bridge.desk.messages import message_of
from hl7bridge.desk.translating import Anew, Translations
from hl7bridge.destinations.reasons import DECIDED_BY_A_PERSON
from hl7bridge.errors import ConfigError
from hl7bridge.store.store import Released

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.queue.holds import Hold as Hold
    from hl7bridge.store.store import Store

_LEFT = {
    "not held": "it is not held any more",
    "overtaken": "a newer change of the same person waits or is being delivered: try again once it has ended",
}


# --- looking ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HoldList:
    """Held deliveries, the oldest first; `causes`: how many there are in all, for each cause; `next`: where the list goes
    on, "" = these are the last."""

    holds: tuple[Hold, ...]
    causes: Mapping[str, int]
    next: str

    @property
    def total(self) -> int:
        """How many are held."""
        return sum(self.causes.values())


def find(
    store: Store,
    *,
    cause: str = "",
    destination: str = "",
    feed: str = "",
    person: str = "",
    limit: int = 50,
    after: str = "",
) -> HoldList:
    """What is held, for a cause, a destination, of a feed or about a staff key ("" = any), from behind `after`: the `next`
    of an earlier list. Raises ConfigError for another text."""
    wanted: dict[str, Any] = {"destination": destination, "feed": feed, "local": cause, "source_key": person}
    found = listed(lambda: store.holds.holds(**wanted, limit=limit, after=after))
    return HoldList(found.rows, store.holds.hold_causes(**wanted), found.next)


@dataclass(frozen=True, slots=True)
class HoldShown:
    """One hold: itself, its message's header, its record with this delivery alone, its tasks and its history."""

    hold: Hold
    header: dict[str, Any]
    record: dict[str, Any]
    tasks: tuple[dict[str, Any], ...]
    history: tuple[dict[str, Any], ...]


def show(store: Store, delivery_id: int) -> HoldShown:
    """One held delivery. Raises ConfigError when there is none of that id."""
    hold = _held(store, delivery_id)
    message = message_of(store, hold.message_id)
    record = next(record for record in message["records"] if record["position"] == hold.position)
    record["deliveries"] = [one for one in record["deliveries"] if one["id"] == delivery_id]
    tasks = tuple(task for task in message["tasks"] if task["delivery_id"] == delivery_id)
    history = tuple(row for row in message["history"] if row["delivery_id"] == delivery_id)
    return HoldShown(hold, message["header"], record, tasks, history)


# --- deciding --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Which:
    """The holds that are meant: those of these ids, or all of one cause (and destination)."""

    ids: Sequence[int] = ()
    every: bool = False
    cause: str = ""
    destination: str = ""


@dataclass(frozen=True, slots=True)
class HoldDecided:
    """What became of one hold. `done`: it was released, or discarded; else `problem` says why it was not."""

    id: int
    done: bool
    problem: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class HoldsDecided:
    """What became of the holds that were meant; `planned_again`: others, that name the same people at the server."""

    holds: tuple[HoldDecided, ...]
    planned_again: tuple[int, ...] = ()

    @property
    def done(self) -> int:
        """How many were."""
        return sum(one.done for one in self.holds)


def release(
    store: Store,
    settings: Settings,
    which: Which,
    actor: Actor,
    reason: str,
    *,
    as_stored: bool = False,
    clock: Clock = time.time,
    progress: Progress = unseen,
) -> HoldsDecided:
    """Release held deliveries: translated again (unless `as_stored`), queued last in their lanes, not stopped by the brake.

    What was asked of a person counts as answered; who asked for the change may not answer it. Raises ConfigError.
    """
    actor.must_have(Role.APPROVE)
    reason = why(reason)
    holds = _chosen(store, which)
    people = people_of(store, holds)
    again, done = Translations(store, settings), []
    with progress("releasing", len(holds)) as advance:
        for hold in holds:
            anew = Anew() if as_stored else again.of(hold, clock())
            left = anew.problem or _own_request(hold, actor)
            if not left:
                released = store.holds.release(
                    hold.id, clock(), who=str(actor), reason=reason, change=anew.change, lane=anew.lane
                )
                left = _LEFT[released.value] if released is not Released.QUEUED else ""
            done.append(HoldDecided(hold.id, not left, left, anew.note))
            advance()
    return _decided(store, settings, people, done, actor, reason, clock)


def discard(
    store: Store, settings: Settings, which: Which, actor: Actor, reason: str, *, clock: Clock = time.time
) -> HoldsDecided:
    """End held deliveries as withdrawn: they will not be applied. Raises ConfigError."""
    actor.must_have(Role.APPROVE)
    reason = why(reason)
    holds = _chosen(store, which)
    people, done = people_of(store, holds), []
    for hold in holds:
        ended = store.holds.discard(hold.id, clock(), who=str(actor), reason=reason)
        done.append(HoldDecided(hold.id, ended, "" if ended else _LEFT["not held"]))
    return _decided(store, settings, people, done, actor, reason, clock)


def _decided(
    store: Store,
    settings: Settings,
    people: dict[int, tuple[str, set[str]]],
    done: Sequence[HoldDecided],
    actor: Actor,
    reason: str,
    clock: Clock,
) -> HoldsDecided:
    """With other quarantined records that name the people of those that are decided now: they are planned again."""
    decided: dict[str, set[str]] = {}
    for one in done:
        if one.done and one.id in people:
            destination, resources = people[one.id]
            decided.setdefault(destination, set()).update(resources)
    ids = {one.id for one in done}
    again = plan_again(store, settings, decided, ids, actor, reason, clock) if decided else ()
    return HoldsDecided(tuple(done), again)


def _own_request(hold: Hold, actor: Actor) -> str:
    """Why this account can't approve what is held, "" = it can: nobody approves what they asked for themselves."""
    if hold.local not in DECIDED_BY_A_PERSON or not actor.is_who_asked(hold.requested_by):
        return ""
    return f"you asked for this change yourself ({hold.requested_by}): another account has to approve it"


def _held(store: Store, delivery_id: int) -> Hold:
    found = store.holds.holds(delivery_id=delivery_id)
    if not found:
        raise ConfigError(f"no held delivery has the id {delivery_id}", advice="`hl7bridge hold list` shows them.")
    return found[0]


def _chosen(store: Store, which: Which) -> Sequence[Hold]:
    """The holds that are meant, oldest first: those named, or all of one cause. Raises ConfigError."""
    named = bool(which.ids)
    if which.every == named or (which.every and not which.cause) or (named and (which.cause or which.destination)):
        advice = "Name ids, or write --all --cause LOCAL (and --destination NAME)."
        raise ConfigError("say which", advice=advice)
    if not which.every:
        return [_held(store, delivery_id) for delivery_id in sorted(set(which.ids))]
    return store.holds.holds(local=which.cause, destination=which.destination, limit=EVERY)
