"""A feed of invented people, message by message: the same for the same plan, whatever the machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from hl7bridge.invented import messages
from hl7bridge.invented.malformed import MALFORMED
from hl7bridge.invented.people import Person, next_step, person
from hl7bridge.invented.visits import visit

KINDS = ("m02", "pmu", "adt", "mixed")
BEGIN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
MOST_PEOPLE = 1_000_000
"""One for each invented NPI."""

_MIXTURE = {"m02": 50, "pmu": 30, "adt": 20}
_PAUSE = 40  # seconds between two messages, at most


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """What to make. `records` of an MFN^M02 (no more than there are people); `malformed` percent of the messages."""

    kind: str = "mixed"
    people: int = 100
    messages: int = 100
    version: str = "2.5.1"
    seed: str = "1"
    records: int = 1
    size: str = "usual"
    malformed: float = 0.0


@dataclass(frozen=True, slots=True)
class Made:
    """One message. `damage` names what was done to it ("" = nothing); `kind` is m02, pmu or adt."""

    number: int
    kind: str
    body: bytes
    damage: str = ""


def feed(plan: FeedPlan) -> Iterator[Made]:
    """The messages of the plan, one by one; people are kept, messages are not.

    Histories make sense across messages: nobody leaves who has not joined. A malformed message tells something that
    happened, too, so that the people go on as if it had arrived.
    """
    chance = Random(f"{plan.seed}/feed")  # noqa: S311 - reproducible, no secret
    people: dict[int, Person] = {}
    when = BEGIN

    def somebody(number: int) -> Person:
        if number not in people:
            people[number] = person(number, plan.seed)
        return people[number]

    for number in range(1, plan.messages + 1):
        when += timedelta(seconds=chance.randrange(1, _PAUSE))
        kind = plan.kind
        if kind == "mixed":
            kind = chance.choices(list(_MIXTURE), list(_MIXTURE.values()))[0]
        control_id = f"G{number:07d}"
        if kind == "adt":
            staff = [somebody(chance.randrange(plan.people)) for _ in range(3)]
            body = visit(control_id, plan.version, when, staff, chance)
        elif kind == "pmu":
            someone = somebody(chance.randrange(plan.people))
            step = next_step(someone, chance, messages.personnel_steps(plan.version))
            body = messages.personnel(control_id, plan.version, when, plan.size, step, someone)
        else:
            chosen = [somebody(n) for n in chance.sample(range(plan.people), min(plan.records, plan.people))]
            steps = [(next_step(someone, chance, messages.MASTER_FILE_STEPS), someone) for someone in chosen]
            body = messages.master_file(control_id, plan.version, when, plan.size, steps)
        damage = ""
        if plan.malformed and chance.random() * 100 < plan.malformed:
            damage = chance.choice(tuple(MALFORMED))
            body = MALFORMED[damage](body, chance)
        yield Made(number, kind, body, damage)
