"""A second kind of destination, for tests: a folder of JSON cards. One card a person, and one a unit, which all of its
people share; who is away stands there with the day of the return. It shows that the seam holds something else than FHIR.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hl7bridge.assemble.destinations import common_policy
from hl7bridge.config import DestinationSettings
from hl7bridge.destinations.candidates import Candidate, Carried, Fact
from hl7bridge.destinations.examining import Carrier, Diagnosis, ListedPerson, Registration, State, TokenAnswer
from hl7bridge.destinations.policy import APPROVE, REPORT, WRITE, Policy
from hl7bridge.destinations.protocol import Ledger, Offer, Sighting, Sought, TakenBack, Waiting, Work, free
from hl7bridge.destinations.reasons import APPROVAL, NOT_OFFERED
from hl7bridge.model import (
    Difference,
    ElementValue,
    Image,
    Interaction,
    JsonObject,
    Kind,
    Outcome,
    Result,
    StaffChange,
    StaffIdentifier,
    Task,
    Written,
)
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
        self.folder, self._made = folder, {} if rehearsed else None

    def get(self, kind: str, number: str) -> JsonObject | None:
        if self._made is not None and (kind, number) in self._made:
            return self._made[kind, number]
        file = self.folder / f"{kind}-{number}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def put(self, kind: str, number: str, card: JsonObject) -> None:
        if self._made is not None:
            self._made[kind, number] = card
        else:
            (self.folder / f"{kind}-{number}.json").write_text(json.dumps(card))


class CardWords:
    """What people are told."""

    person = "card"

    def held_as_refused(self, refused: str, said: str) -> Outcome:
        return Outcome(Result.HELD, "207", NOT_OFFERED, said, refused=refused)

    def writes_refused(self, name: str, said: str) -> Task:
        return Task("writes-refused", f"{name} takes no cards", (said,))

    def leaver_unverified(self) -> Task:
        return Task("leaver-unverified", "A leaver's card is still active", ("Look at the card.",), by_facts=True)

    def second_at_server(self, resource_type: str, resource_id: str, others: Sequence[str]) -> Task:
        return Task("second-at-server", "A card is there twice", tuple(others))

    def shown(self, person_id: str) -> str:
        return f"card {person_id}"


class CardDestination:
    """One folder of cards."""

    essential, words, person_type = f"{CARD} update", CardWords(), CARD

    def __init__(self, policy: Policy, shelf: Shelf) -> None:
        self.policy, self._shelf = policy, shelf
        self._lock = threading.Lock()

    def open(self) -> None:
        self._shelf.folder.mkdir(exist_ok=True)

    def close(self) -> None:
        """Nothing is open."""

    def share(self, slots: int) -> None:
        """A shelf takes whatever comes."""

    def lane_keys(self, change: StaffChange, feed: str, person_id: str = "") -> tuple[str, ...]:
        """Those of the person, and of each unit: whoever shares one waits for the other."""
        return tuple(sorted({f"person {feed} {change.source_key}", *(f"unit {unit}" for unit in units_of(change))}))

    def is_written(self, change: StaffChange, feed: str) -> bool | None:
        return self.policy.is_written(change, feed)

    def receives(self, value: ElementValue | StaffIdentifier, part: str = "") -> bool:
        """The staff key alone: a card says of nobody what they are called."""
        return isinstance(value, StaffIdentifier)

    def offer(self) -> Offer | None:
        return Offer("a folder", "cards 1")

    def deliver(self, works: Sequence[Work], ledger: Ledger, now: datetime, **_: Any) -> list[Outcome]:
        with self._lock:  # who leaves a unit may not say which: then their lane is not that of the unit
            return [delivered(work, self.policy, self._shelf) for work in works]

    def rehearsal(self, ledger: Ledger, *, as_if_writing: bool = False, offer: Offer | None = None) -> CardRehearsal:
        policy = replace(self.policy, mode=WRITE, modes={}) if as_if_writing else self.policy
        return CardRehearsal(policy, Shelf(self._shelf.folder, rehearsed=True), ledger)

    def comparison(self, ledger: Ledger, *, before: Waiting, sleep: Any, clock: Callable[[], float]) -> CardComparison:
        return CardComparison(self._shelf, clock)

    def look_again(
        self, resource_type: str, sought: Sequence[Sought], is_ours: Callable[[str], bool]
    ) -> tuple[Mapping[str, Sighting], int | None]:
        there = {one.resource_id: self._shelf.get(resource_type, one.resource_id) for one in sought}
        return {number: Sighting(card is not None) for number, card in there.items()}, None

    def to_take_back(self, images: Sequence[Image], person_id: str) -> tuple[Image, ...]:
        return tuple(reversed(images))

    def take_back(
        self, image: Image, mine: tuple[str, str], ledger: Ledger, now: datetime, *, write: bool
    ) -> TakenBack:
        """Line by line, and only where nobody changed the line since: a unit's card is shared."""
        there = self._shelf.get(image.resource_type, image.resource_id) or {}
        before, after = image.before or {}, image.after or {}
        changed = [line for line in {**before, **after} if before.get(line) != after.get(line)]
        back = [line for line in changed if there.get(line) == after.get(line)]
        card = {**there, **{line: before.get(line) for line in back}}
        if write and back:
            self._shelf.put(image.resource_type, image.resource_id, {k: v for k, v in card.items() if v is not None})
        kept = tuple(Difference(line, after.get(line), there.get(line)) for line in changed if line not in back)
        differences = tuple(Difference(line, there.get(line), before.get(line)) for line in back)
        return TakenBack(image.resource_type, image.resource_id, "", differences, kept)

    def roster(self, resource_type: str = "", *, before: Waiting | None = None) -> Iterable[JsonObject]:
        files = sorted(self._shelf.folder.glob(f"{resource_type or CARD}-*"))
        return [{"id": file.stem.partition("-")[2], **json.loads(file.read_text())} for file in files]

    def is_id(self, text: str) -> bool:
        return bool(text) and not set(text) & set("/\\\0")

    def candidate(self, person: JsonObject) -> Candidate:
        """What a card says; its number is the feed and the staff key."""
        number, active = str(person["id"]), person.get("active")
        status = "" if active is None else "active" if active else "inactive"
        facts = [fact for fact in (Fact("name", str(person.get("name", ""))), Fact("status", status)) if fact.text]
        feed, _, key = number.partition("-")
        carried = Carried(feed, key)
        return Candidate(number, self.words.shown(number), tuple(facts), (carried,), frozenset({(feed, key)}), person)

    def read(self, person_id: str) -> Candidate | None:
        card = self._shelf.get(CARD, person_id)
        return None if card is None else self.candidate({"id": person_id, **card})

    def bears(self, candidate: Candidate, key: StaffIdentifier) -> bool:
        return any(value == key.value for _, value in candidate.keys)

    def differences(self, change: StaffChange, candidate: Candidate) -> tuple[str, ...]:
        names = [value.value["family"] for value in change.practitioner if value.element == "name"]
        name = candidate.summary.get("name", "")
        return ("family name",) if name and names and not any(family in name for family in names) else ()

    def examine(self, person: str = "", *, clock: Callable[[], float] = time.time) -> Iterator[Diagnosis]:
        """The folder, its cards, and the card of somebody who is known to have one."""
        folder = self._shelf.folder
        if not folder.is_dir():
            fix = f"Make the folder, or correct folder in conf/destinations/{self.policy.name}.toml."
            yield Diagnosis(
                "folder", State.PROBLEM, "no-folder", "there is no folder", "nobody made it", (fix,), unreachable=True
            )
            return
        yield Diagnosis("folder", State.OK, "folder", "the folder is there")
        torn = [file.name for file in sorted(folder.glob("*.json")) if not is_card(file)]
        if torn:
            fixes = ("Restore them from a backup.",)
            yield Diagnosis("cards", State.WARNING, "torn", f"{len(torn)} can't be read", "somebody edited them", fixes)
        if person:
            there = self._shelf.get(CARD, person) is not None
            state = State.OK if there else State.WARNING
            yield Diagnosis("card", state, "card" if there else "no-card", f"of {person}", of_people=True)

    def look_up(self, person: str) -> tuple[Carrier, ...]:
        card = self._shelf.get(CARD, person)
        return () if card is None else (Carrier(person, card.get("active"), 0, 0),)

    def try_token(self) -> TokenAnswer | None:
        return None

    def registration(self) -> Registration | None:
        return None

    def people(self, *, with_roles: bool = False) -> CardListing:
        return CardListing(self._shelf.folder)


class CardListing:
    """The folder is one page."""

    pages = 1

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob(f"{CARD}-*.json"))

    @property
    def total(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[ListedPerson]:
        for file in self._files:
            card = json.loads(file.read_text())
            number, active = file.stem.removeprefix(f"{CARD}-"), card.get("active") is not False
            yield ListedPerson(card, (), active, (number, "active" if active else "inactive", *[""] * 9))


def is_card(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_text()), dict)
    except ValueError:
        return False


def units_of(change: StaffChange) -> list[str]:
    return [role.key.partition(":")[2] for role in change.roles]


def delivered(work: Work, policy: Policy, shelf: Shelf) -> Outcome:
    """Plan the cards and, as far as the policy and the caller permit, write them."""
    change, leaves = work.what, work.what.says_staff is False
    person_id = work.known.person_id or f"{work.feed}-{change.source_key}"
    somebody = None if work.known.person_id else shelf.get(CARD, person_id)
    if somebody is not None:  # nobody here wrote that card: a person has to say whose it is
        text = "A card of this number is there, and was not written for this record"
        return Outcome(Result.HELD, "205", "name-not-confirmed", text, candidates=({"id": person_id, **somebody},))
    wanted = [(CARD, person_id, lambda card: {**card, "active": not leaves})]
    own = [base.resource_id for base in work.known.own if not base.is_person and base.holds_active]
    units = units_of(change) or own
    place = None if leaves else change.until if change.temporary else "always"
    wanted += [(UNIT, unit, lambda card: {**card, change.source_key: place}) for unit in units]
    planned: list[Interaction] = []
    bases, images, only_reported = [], [], False
    for kind, number, write in wanted:
        before = shelf.get(kind, number)
        after = {line: value for line, value in write(before or {}).items() if value is not None}
        lines = [line for line in {**(before or {}), **after} if (before or {}).get(line) != after.get(line)]
        differences = tuple(Difference(line, (before or {}).get(line), after.get(line)) for line in lines)
        does = Kind.NONE if not lines else Kind.CREATE if before is None else Kind.UPDATE
        interaction = Interaction(does, kind, number, after, differences=differences)
        planned.append(interaction)
        ends = leaves and does is Kind.UPDATE
        mode = (
            policy.mode_of("deactivate" if ends else does.value) if policy.cohort.holds(change, work.feed) else REPORT
        )
        only_reported = only_reported or (mode == REPORT and does is not Kind.NONE)
        if does is Kind.NONE or mode == REPORT:
            continue
        refusal = APPROVAL if mode == APPROVE and not work.approved else work.permit(interaction, ends)
        if refusal is not None:
            return replace(refusal, interactions=tuple(planned), written=tuple(bases), images=tuple(images))
        shelf.put(kind, number, after)
        role_key = number if kind == UNIT else ""
        bases.append(Written(kind, number, role_key=role_key, holds_active=not leaves))
        images.append(Image(kind, number, before, after))
    first = planned[0].kind if images else Kind.NONE
    result = Result.REPORTED if only_reported and not images else Result.UNCHANGED if not images else Result.UPDATED
    result = {Kind.CREATE: Result.CREATED, Kind.UPDATE: Result.DEACTIVATED if leaves else result}.get(first, result)
    return Outcome(result, interactions=tuple(planned), written=tuple(bases), images=tuple(images), person_id=person_id)


class CardRehearsal:
    """Deliveries upon a shelf that keeps to itself what is put there."""

    def __init__(self, policy: Policy, shelf: Shelf, ledger: Ledger) -> None:
        self._policy, self._shelf, self._ledger = policy, shelf, ledger

    def deliver(
        self, change: StaffChange, feed: str, now: datetime, *, order_time: str = "", force: bool = False,
        approved: bool = False, permit: Any = free,
    ) -> Outcome:  # fmt: skip
        known = self._ledger.known(feed, change.source_key)
        return delivered(Work(change, feed, known, approved, permit), self._policy, self._shelf)


class CardComparison:
    """Whether a card says what the source does of being active."""

    def __init__(self, shelf: Shelf, clock: Callable[[], float]) -> None:
        self._shelf, self._clock = shelf, clock

    def person(self, source: SourcePerson) -> Compared:
        number, now = f"{source.feed}-{source.source_key}", self._clock()
        card = self._shelf.get(CARD, number)
        active = card["active"] if card else None
        if active is not True or source.says is not False:
            return Compared((), number, active, now)
        return Compared(
            (Discrepancy(Found.ACTIVE, source.feed, source.source_key, CARD, number, now),), number, True, now
        )

    def strangers(self, systems: Any, known: Any, resources: Any) -> Iterator[Discrepancy]:
        return iter(())
