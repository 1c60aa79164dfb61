"""The cards again, with all that a kind of destination may offer whoever sets it up or says whom records are about."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hl7bridge.assemble.destinations import common_policy
from hl7bridge.config import DestinationSettings
from hl7bridge.destinations.candidates import Candidate, Carried, Fact
from hl7bridge.destinations.defaults import PlainWords
from hl7bridge.destinations.examining import Carrier, Checked, Diagnosis, ListedPerson, State
from hl7bridge.destinations.policy import Policy
from hl7bridge.destinations.protocol import Ledger, Offer, Sighting, Sought, Waiting, Work
from hl7bridge.errors import ConfigError
from hl7bridge.model import ElementValue, JsonObject, Outcome, Result, StaffChange, StaffIdentifier
from tests.destinations.cards import CARD, CardDestination, CardSettings, Shelf


def made(settings: DestinationSettings) -> CardCatalog:
    """The factory of this kind."""
    assert isinstance(settings, CardSettings)
    return CardCatalog(Policy(**common_policy(settings)), Shelf(Path(settings.folder)))


class CardWords(PlainWords):
    """What people are told."""

    person = "card"

    def shown(self, person_id: str) -> str:
        return f"card {person_id}"


class CardCatalog(CardDestination):
    """A folder of cards that can be looked into."""

    words = CardWords()

    def open(self) -> None:
        self.shelf.folder.mkdir(exist_ok=True)

    def receives(self, value: ElementValue | StaffIdentifier, part: str = "") -> bool:
        """The staff key alone: a card says of nobody what they are called."""
        return isinstance(value, StaffIdentifier)

    def offer(self) -> Offer | None:
        return Offer("a folder", "cards 1")

    def deliver(self, works: Sequence[Work], ledger: Ledger, now: datetime, **_: Any) -> list[Outcome]:
        return [self.stranger(work) or super(CardCatalog, self).deliver([work], ledger, now)[0] for work in works]

    def stranger(self, work: Work) -> Outcome | None:
        """A card that nobody here wrote: a person has to say whose it is."""
        number = f"{work.feed}-{work.what.source_key}"
        card = None if work.known.person_id else self.shelf.get(CARD, number)
        if card is None:
            return None
        text = "A card of this number is there, and was not written for this record"
        return Outcome(Result.HELD, "205", "name-not-confirmed", text, candidates=({"id": number, **card},))

    def look_again(
        self, resource_type: str, sought: Sequence[Sought], is_ours: Callable[[str], bool]
    ) -> tuple[Mapping[str, Sighting], int | None]:
        there = {one.resource_id: self.shelf.get(resource_type, one.resource_id) for one in sought}
        return {number: Sighting(card is not None) for number, card in there.items()}, None

    def roster(self, resource_type: str = "", *, before: Waiting | None = None) -> Iterable[JsonObject]:
        files = sorted(self.shelf.folder.glob(f"{resource_type or CARD}-*"))
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
        card = self.shelf.get(CARD, person_id)
        return None if card is None else self.candidate({"id": person_id, **card})

    def differences(self, change: StaffChange, candidate: Candidate) -> tuple[str, ...]:
        names = [value.value["family"] for value in change.practitioner if value.element == "name"]
        name = candidate.summary.get("name", "")
        return ("family name",) if name and names and not any(family in name for family in names) else ()

    def check(self, now: float) -> Iterator[Checked]:
        if not self.shelf.folder.is_dir():
            file, advice = f"conf/destinations/{self.policy.name}.toml", "Make it, or name another."
            yield Checked.of(ConfigError("is no folder", file=file, key="folder", advice=advice))
        else:
            yield Checked(State.OK, f"{self.policy.name}: {len(list(self.shelf.folder.iterdir()))} cards")

    def public_keys(self) -> tuple[JsonObject, ...]:
        return ({"kid": "of-the-shelf", "kty": "OKP"},)

    def examine(self, person: str = "", *, clock: Callable[[], float] = time.time) -> Iterator[Diagnosis]:
        """The folder, its cards, and the card of somebody who is known to have one."""
        folder = self.shelf.folder
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
            there = self.shelf.get(CARD, person) is not None
            state = State.OK if there else State.WARNING
            yield Diagnosis("card", state, "card" if there else "no-card", f"of {person}", of_people=True)

    def look_up(self, person: str) -> tuple[Carrier, ...]:
        card = self.shelf.get(CARD, person)
        return () if card is None else (Carrier(person, card.get("active"), 0, 0),)

    def people(self, *, with_roles: bool = False) -> CardListing:
        return CardListing(self.shelf.folder)


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
