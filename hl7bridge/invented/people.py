"""Invented members of staff with a history: they join, move, leave, come back, are away, earn certificates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from hl7bridge.invented.names import FAMILIES, GIVEN_NAMES, family_name, given_name, npi

UNITS = {
    "CARD": "Cardiology",
    "NEPH": "Nephrology",
    "OBST": "Obstetrics",
    "ENTS": "Ear, Nose & Throat",
    "EMER": "Emergency",
    "PEDS": "Pediatrics",
}
SPECIALTIES = {
    "207RC0000X": "Cardiovascular Disease Physician",
    "207RN0300X": "Nephrology Physician",
    "207V00000X": "Obstetrics & Gynecology Physician",
    "207Y00000X": "Otolaryngology Physician",
    "207P00000X": "Emergency Medicine Physician",
    "208000000X": "Pediatrics Physician",
}
DEGREES = {"MD": "Doctor of Medicine", "DO": "Doctor of Osteopathy", "PHD": "Doctor of Philosophy"}
LANGUAGES = {"en": "English", "es": "Spanish", "fr": "French", "de": "German"}
SEXES = ("F", "M", "O")


@dataclass(slots=True)
class Person:
    """An invented member of staff. What changes over time stands below `standing`.

    key         of the staff system; `number` is the person's place in the feed, from 0 on
    standing    "unknown" (has not joined), "here", "away", "left", or "removed" (was entered by mistake)
    extension   the end of the work telephone number, 0 to 9999
    certified   whether the certificate stands
    """

    number: int
    key: str
    npi: str
    family: str
    given: str
    middle: str
    sex: str
    born: date
    degree: str
    specialty: str
    language: str
    joined: date
    standing: str = "unknown"
    unit: str = "CARD"
    extension: int = 0
    certified: bool = False

    @property
    def mail(self) -> str:
        """The work e-mail address."""
        return f"{self.given}.{self.family}.{self.number}@staff.example".lower()

    @property
    def is_listed(self) -> bool:
        """Whether the staff system would list the person as active."""
        return self.standing == "here"


def person(number: int, seed: str) -> Person:
    """The person of that number: the same for the same seed, however many there are."""
    chance = Random(f"{seed}/{number}")  # noqa: S311 - reproducible, no secret
    return Person(
        number=number,
        key=f"E{100_000 + number}",
        npi=npi(number),
        family=family_name(chance.randrange(FAMILIES)),
        given=given_name(chance.randrange(GIVEN_NAMES)),
        middle=chance.choice(("", "", "A", "K", "M", "T")),
        sex=chance.choice(SEXES),
        born=date(1955, 1, 1) + timedelta(days=chance.randrange(15_000)),
        degree=chance.choice(tuple(DEGREES)),
        specialty=chance.choice(tuple(SPECIALTIES)),
        language=chance.choice(tuple(LANGUAGES)),
        joined=date(2005, 1, 1) + timedelta(days=chance.randrange(7_000)),
        unit=chance.choice(tuple(UNITS)),
        extension=chance.randrange(10_000),
    )


_STEPS: dict[str, tuple[tuple[str, int], ...]] = {
    "unknown": (("join", 1),),
    "here": (("update", 55), ("move", 15), ("leave", 10), ("away", 8), ("certify", 8), ("revoke", 3), ("mistake", 1)),
    "away": (("return", 1),),
    "left": (("return", 1),),
    "removed": (("join", 1),),
}
_LEADS_TO = {"join": "here", "leave": "left", "away": "away", "return": "here", "mistake": "removed"}


def next_step(someone: Person, chance: Random, possible: frozenset[str]) -> str:
    """What happens to the person next, of the steps that the feed can tell, and does it: update, where there is no other."""
    steps = [(step, weight) for step, weight in _STEPS[someone.standing] if step in possible] or [("update", 1)]
    step = chance.choices([name for name, _ in steps], [weight for _, weight in steps])[0]
    if step == "revoke" and not someone.certified:
        step = "certify"
    elif step == "certify" and someone.certified:
        step = "revoke" if "revoke" in possible else "update"
    someone.standing = _LEADS_TO.get(step, someone.standing)
    if step == "move":
        someone.unit = chance.choice([unit for unit in UNITS if unit != someone.unit])
    elif step == "update":
        someone.extension = chance.randrange(10_000)
    elif step in ("certify", "revoke"):
        someone.certified = step == "certify"
    return step
