"""Half a year at a hospital that does not exist: who joins, marries, moves, leaves and comes back, as two systems tell it.

The personnel system ("hr") knows everybody by its staff key, the credentialing system ("cred") those with privileges by one
of its own; both give the NPI. What happens is what happens at real sites, about as often: nearly all of it is one person who
changes, and some of it nobody can tell from two people without asking.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

from hl7bridge.invented.names import FAMILIES, GIVEN_NAMES, family_name, given_name, npi
from hl7bridge.invented.people import UNITS, Person, person

HR, CRED = "hr", "cred"
BEGIN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
DAYS = 182
FIRST_DAYS = 2  # both systems send everybody once
PRIVILEGED = 0.35  # of all staff

RATES = {
    "telephone": 1.4,
    "move": 0.25,
    "leave": 0.05,
    "marriage": 0.02,
    "given name": 0.004,
    "sex marker": 0.003,
    "birth date corrected": 0.004,
    "NPI corrected": 0.003,
}
"""How often in half a year, for each person."""

JOINERS, TWINS = 0.08, 0.01  # of all
BACK, RE_HIRED, RECYCLED = (
    0.15,
    0.10,
    0.02,
)  # of those who leave: the same key, a new key; their key goes to somebody else


@dataclass(frozen=True, slots=True)
class Happening:
    """A record of one of the systems. `human`: who it is really about, by number; `doubt`: why nobody could tell that
    without asking, "" = it can be told. `step` is one of messages.MASTER_FILE_STEPS."""

    when: datetime
    feed: str
    kind: str
    step: str
    human: int
    person: Person
    doubt: str = ""


def half_a_year(people: int, seed: str) -> list[Happening]:
    """What both systems tell of so many people, in order of time: the same for the same seed."""
    found: list[Happening] = []
    for number in range(people):
        found += _Life(number, people, seed).told()
    return sorted(found, key=lambda one: one.when)


class _Life:
    """One person's half year."""

    def __init__(self, number: int, people: int, seed: str) -> None:
        self.number, self.people, self.seed = number, people, seed
        self.chance = Random(f"{seed}/life/{number}")  # noqa: S311 - reproducible, no secret
        someone = person(number, seed)
        twins = int(people * TWINS)
        if number < 2 * twins and number % 2:  # the twin of the one before: of other keys and another given name
            sibling = person(number - 1, seed)
            someone = replace(someone, family=sibling.family, born=sibling.born, number=sibling.number)
        self.hr = replace(someone, standing="here")
        self.cred: Person | None = None
        if self.chance.random() < PRIVILEGED:
            self.cred = replace(self.hr, key=f"C{500_000 + number}", given=self._as_they_write_it(someone.given))
        self.doubt: dict[str, str] = {}

    def _as_they_write_it(self, given: str) -> str:
        return self.chance.choices((given, given[0], f"{given[:3]}"), (88, 6, 6))[0]

    def told(self) -> Iterator[Happening]:
        chance = self.chance
        late = chance.random() < JOINERS
        joined = self._day(FIRST_DAYS, DAYS - 20) if late else BEGIN + timedelta(seconds=self.number)
        known = joined + (timedelta(days=chance.uniform(-3, 10)) if late else timedelta(days=1))
        yield self._of(HR, joined, "join", "join")
        if self.cred is not None:
            yield self._of(CRED, known, "join", "join")
        begin = (max(joined, known) - BEGIN).days + 1
        days = sorted((self._day(begin, DAYS), kind) for kind, rate in RATES.items() for _ in range(self._times(rate)))
        for when, kind in days:
            yield from self._happens(when, kind)
            if kind == "leave":
                yield from self._afterwards(when)
                return

    def _times(self, rate: float) -> int:
        whole = int(rate)
        return whole + (self.chance.random() < rate - whole)

    def _day(self, first: float, last: float) -> datetime:
        return BEGIN + timedelta(days=self.chance.uniform(first, max(last, first + 1)))

    def _happens(self, when: datetime, kind: str) -> Iterator[Happening]:
        """What happens, as the personnel system tells it, and as the other one does, a little later."""
        changed: dict[str, object] = {}
        chance = self.chance
        if kind == "telephone":
            self.hr = replace(self.hr, extension=chance.randrange(10_000))
            yield self._of(HR, when, kind, "update")
            return
        if kind == "move":
            unit = chance.choice([unit for unit in UNITS if unit != self.hr.unit])
            self.hr = replace(self.hr, unit=unit)
            yield self._of(HR, when, kind, "move")
            return
        if kind == "marriage":
            family = family_name(chance.randrange(FAMILIES))
            changed["family"] = chance.choice((family, f"{self.hr.family}-{family}"))
        elif kind == "given name":
            changed["given"] = given_name(chance.randrange(GIVEN_NAMES))
        elif kind == "sex marker":
            changed["sex"] = "F" if self.hr.sex == "M" else "M"
        elif kind == "birth date corrected":
            changed["born"] = self.hr.born + timedelta(days=chance.choice((-9, 1, 31, 365)))
        elif kind == "NPI corrected":
            changed["npi"] = npi(self.people * 2 + self.number)
        step = "leave" if kind == "leave" else "update"
        if kind == "leave":
            changed["standing"] = "left"
        self.hr = replace(self.hr, **changed)  # type: ignore[arg-type]
        yield self._of(HR, when, kind, step)
        if self.cred is not None:
            self.cred = replace(self.cred, **changed)  # type: ignore[arg-type]
            yield self._of(CRED, when + timedelta(hours=chance.uniform(1, 6)), kind, step)

    def _afterwards(self, left: datetime) -> Iterator[Happening]:
        """Some come back, under their key or a new one; some keys are given to somebody else."""
        chance = self.chance
        when, luck = left + timedelta(days=chance.uniform(3, 40)), chance.random()
        if luck < BACK:
            self.hr = replace(self.hr, standing="here")
            yield self._of(HR, when, "return", "return")
            if self.cred is not None:
                self.cred = replace(self.cred, standing="here")
                yield self._of(CRED, when + timedelta(hours=2), "return", "return")
        elif luck < BACK + RE_HIRED:
            self.hr = replace(self.hr, key=f"R{700_000 + self.number}", standing="here")
            yield self._of(HR, when, "re-hire", "join", doubt="a new key, the NPI of somebody who has left")
        elif luck < BACK + RE_HIRED + RECYCLED:
            other = person(self.people * 3 + self.number, self.seed)
            newcomer = replace(other, key=self.hr.key, standing="here")
            doubt = "a key that somebody else bore"
            yield Happening(when, HR, "key used again", "join", self.people + self.number, newcomer, doubt)

    def _of(self, feed: str, when: datetime, kind: str, step: str, doubt: str = "") -> Happening:
        someone = self.hr if feed == HR else self.cred
        assert someone is not None
        return Happening(when, feed, kind, step, self.number, someone, doubt)
