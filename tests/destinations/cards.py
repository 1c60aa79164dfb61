"""A second kind of destination, for tests: a folder of JSON cards. One card a person, and one a unit, which all of its
people share; who is away stands there with the day of the return. It shows that the seam holds something else than FHIR.

Here is what the journey takes; what such a kind may offer whoever sets it up stands in `cards_desk`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hl7bridge.assemble.destinations import common_policy
from hl7bridge.config import DestinationSettings
from hl7bridge.destinations.defaults import PlainDestination, PlainRehearsal
from hl7bridge.destinations.policy import APPROVE, REPORT, WRITE, Policy
from hl7bridge.destinations.protocol import Ledger, Offer, TakenBack, Waiting, Work
from hl7bridge.destinations.reasons import APPROVAL
from hl7bridge.errors import ConfigError
from hl7bridge.model import Difference, Image, Interaction, JsonObject, Kind, Outcome, Result, StaffChange, Written
from hl7bridge.model.discrepancy import Compared, Discrepancy, Found, SourcePerson

CARD, UNIT = "Card", "Unit"


class CardSettings(DestinationSettings):
    """The keys of a destination with kind = "cards"."""

    folder: str


def made(settings: DestinationSettings) -> CardDestination:
    """The factory of this kind."""
    assert isinstance(settings, CardSettings)
    return CardDestination(Policy(**common_policy(settings)), Shelf(Path(settings.folder)))


class Shelf:
    """The folder, under a layer of cards that are only rehearsed."""

    def __init__(self, folder: Path, *, rehearsed: bool = False) -> None:
        self.folder = folder
        self._made: dict[tuple[str, str], JsonObject] | None = {} if rehearsed else None

    def get(self, kind: str, number: str) -> JsonObject | None:
        if self._made is not None and (kind, number) in self._made:
            return self._made[kind, number]
        file = self.folder / f"{kind}-{number}.json"
        card: JsonObject | None = json.loads(file.read_text()) if file.exists() else None
        return card

    def put(self, kind: str, number: str, card: JsonObject) -> None:
        if self._made is not None:
            self._made[kind, number] = card
        else:
            (self.folder / f"{kind}-{number}.json").write_text(json.dumps(card))


class CardDestination(PlainDestination):
    """One folder of cards."""

    essential, person_type = f"{CARD} update", CARD

    def __init__(self, policy: Policy, shelf: Shelf) -> None:
        super().__init__(policy)
        self.shelf, self._lock = shelf, threading.Lock()

    def open(self) -> None:
        if not self.shelf.folder.is_dir():
            raise ConfigError("there is no folder", key="folder", advice="Make it, or name another.")

    def lane_keys(self, change: StaffChange, feed: str, person_id: str = "") -> tuple[str, ...]:
        """Those of the person, and of each unit: whoever shares one waits for the other."""
        return tuple(sorted({f"person {feed} {change.source_key}", *(f"unit {unit}" for unit in units_of(change))}))

    def deliver(self, works: Sequence[Work], ledger: Ledger, now: datetime, **_: Any) -> list[Outcome]:
        with self._lock:  # who leaves a unit may not say which: then their lane is not that of the unit
            return [delivered(work, self.policy, self.shelf) for work in works]

    def rehearsal(self, ledger: Ledger, *, as_if_writing: bool = False, offer: Offer | None = None) -> PlainRehearsal:
        policy = replace(self.policy, mode=WRITE, modes={}) if as_if_writing else self.policy
        return PlainRehearsal(CardDestination(policy, Shelf(self.shelf.folder, rehearsed=True)), ledger)

    def comparison(self, ledger: Ledger, *, before: Waiting, sleep: Any, clock: Callable[[], float]) -> CardComparison:
        return CardComparison(self.shelf, clock)

    def take_back(
        self, image: Image, mine: tuple[str, str], ledger: Ledger, now: datetime, *, write: bool
    ) -> TakenBack:
        """Line by line, and only where nobody changed the line since: a unit's card is shared."""
        there = self.shelf.get(image.resource_type, image.resource_id) or {}
        changed = lines_between(image.before or {}, image.after or {})
        back = [one for one in changed if there.get(one.path) == one.after]
        if write and back:
            card = filled({**there, **{one.path: one.before for one in back}})
            self.shelf.put(image.resource_type, image.resource_id, card)
        kept = tuple(Difference(one.path, one.after, there.get(one.path)) for one in changed if one not in back)
        differences = tuple(Difference(one.path, one.after, one.before) for one in back)
        return TakenBack(image.resource_type, image.resource_id, "", differences, kept)


class CardComparison:
    """Whether a card says what the source does of being active."""

    def __init__(self, shelf: Shelf, clock: Callable[[], float]) -> None:
        self._shelf, self._clock = shelf, clock

    def person(self, source: SourcePerson) -> Compared:
        number, now = f"{source.feed}-{source.source_key}", self._clock()
        card = self._shelf.get(CARD, number)
        active = card["active"] if card else None
        too_long = Discrepancy(Found.ACTIVE, source.feed, source.source_key, CARD, number, now)
        return Compared((too_long,) if active and source.says is False else (), number, active, now)

    def strangers(self, systems: Any, known: Any, resources: Any) -> Iterator[Discrepancy]:
        return iter(())


def units_of(change: StaffChange) -> list[str]:
    return [role.key.partition(":")[2] for role in change.roles]


def filled(card: JsonObject) -> JsonObject:
    return {line: value for line, value in card.items() if value is not None}


def lines_between(before: JsonObject, after: JsonObject) -> list[Difference]:
    both = ((line, before.get(line), after.get(line)) for line in {**before, **after})
    return [Difference(line, old, new) for line, old, new in both if old != new]


def delivered(work: Work, policy: Policy, shelf: Shelf) -> Outcome:
    """Plan the cards and, as far as the policy and the caller permit, write them."""
    change, leaves = work.what, work.what.says_staff is False
    person_id = work.known.person_id or f"{work.feed}-{change.source_key}"
    own = [base.resource_id for base in work.known.own if not base.is_person and base.holds_active]
    place = None if leaves else change.until if change.temporary else "always"
    wanted: list[tuple[str, str, JsonObject]] = [(CARD, person_id, {"active": not leaves})]
    wanted += [(UNIT, unit, {change.source_key: place}) for unit in units_of(change) or own]
    said: dict[str, Any] = {"interactions": (), "written": (), "images": (), "person_id": person_id}
    reported = False
    for kind, number, lines in wanted:
        before = shelf.get(kind, number)
        after = filled({**(before or {}), **lines})
        differences = tuple(lines_between(before or {}, after))
        does = Kind.NONE if not differences else Kind.CREATE if before is None else Kind.UPDATE
        interaction = Interaction(does, kind, number, after, differences=differences)
        said["interactions"] += (interaction,)
        ends = leaves and does is Kind.UPDATE
        mode = policy.mode_of("deactivate" if ends else does.value)
        if does is Kind.NONE or mode == REPORT or not policy.cohort.holds(change, work.feed):
            reported = reported or does is not Kind.NONE
            continue
        refusal = APPROVAL if mode == APPROVE and not work.approved else work.permit(interaction, ends)
        if refusal is not None:
            return replace(refusal, **{**said, "person_id": refusal.person_id})
        shelf.put(kind, number, after)
        said["written"] += (Written(kind, number, role_key=number if kind == UNIT else "", holds_active=not leaves),)
        said["images"] += (Image(kind, number, before, after),)
    if not said["images"]:
        return Outcome(Result.REPORTED if reported else Result.UNCHANGED, **said)
    first = said["interactions"][0].kind
    ended = Result.DEACTIVATED if leaves and first is Kind.UPDATE else Result.UPDATED
    return Outcome(Result.CREATED if first is Kind.CREATE else ended, **said)
