"""A seeded stream of MFN^M02 of invented people, each record with a marker from which its place in the stream is read.

The marker is the work e-mail (STF-10, `k003.n12@staff.example`): it grows with each MAD and MUP of a person, and MDC and MAC
repeat the last one. A checker that sees the markers of a resource's versions knows order and loss without knowing the
mapping.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.mllp_peer import Planned

MAIL = "{key}.n{marker}@staff.example"
BEGIN = datetime(2026, 2, 2, 6, 0, tzinfo=UTC)
FAMILIES = ("Brandvold", "Okonjo", "Tessier", "Quillfeather", "Marangoz", "Halloway", "Ivarsdottir", "Pemberly")
GIVEN = ("Runa", "Chike", "Odile", "Barnaby", "Selin", "Thea", "Jorunn", "Casimir")
UNITS = ("CARD^Cardiology", "NEPH^Nephrology", "OBST^Obstetrics", "ENTS^Ear Nose Throat")


def npi(number: int) -> str:
    """The national provider identifier with this number: nine digits and the check digit (Luhn over 80840 + NPI)."""
    nine = f"{100_000_000 + number:09d}"
    total = 24
    for place, digit in enumerate(reversed(nine)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{nine}{-total % 10}"


@dataclass
class Person:
    """An invented person of the stream. Starts unknown to the server; `marker` counts the changes of content."""

    key: str
    npi: str
    family: str
    given: str
    unit: str = ""
    marker: int = 0
    active: bool = False

    @property
    def mail(self) -> str:
        return MAIL.format(key=self.key.lower(), marker=self.marker)


@dataclass
class Line:
    """What one connection sends: its people belong to it alone, so that the order per person is known."""

    name: str
    rng: random.Random
    people: list[Person]
    application: str = "ENGINE"
    sent: int = 0
    actions: dict[str, int] = field(default_factory=dict)

    def messages(self, count: int) -> Iterator[Planned]:
        for _ in range(count):
            yield self.message()

    def message(self) -> Planned:
        """The next message: one to three records, each of another person; a third of the messages in enhanced mode.

        New people join all the time, so that there is always somebody to create.
        """
        self.sent += 1
        enhanced = self.rng.random() < 0.33
        control_id = f"{self.name}-{self.sent:06d}"
        when = BEGIN + timedelta(seconds=self.sent)
        here = self.people[: 2 + self.sent // 3]
        chosen = self.rng.sample(here, k=min(len(here), self.rng.choice((1, 1, 1, 2, 3))))
        records, lines = (
            [],
            [header(self.application, control_id, when, enhanced), "MFI|PRA^Practitioner^HL70175||UPD|||AL"],
        )
        for person in chosen:
            action = self._next(person)
            self.actions[action] = self.actions.get(action, 0) + 1
            lines += staff_record(person, action, f"{control_id}.{len(records) + 1}")
            records.append(expected(person, action))
        return Planned(control_id, ("\r".join(lines) + "\r").encode(), tuple(records), enhanced)

    def _next(self, person: Person) -> str:
        if person.marker == 0:
            action = "MAD"
        elif not person.active:
            action = "MAC"
        else:
            action = self.rng.choices(("MUP", "MAD", "MDC"), (70, 10, 20))[0]
        if action in ("MAD", "MUP"):
            person.marker += 1
        person.active = action != "MDC"
        return action


def expected(person: Person, action: str) -> dict[str, Any]:
    """What the log says of a record: the state in which the person must be once it is applied."""
    return {
        "person": person.key,
        "npi": person.npi,
        "action": action,
        "marker": person.marker,
        "active": person.active,
        "unit": person.unit.split("^")[0],
    }


def header(application: str, control_id: str, when: datetime, enhanced: bool = False) -> str:
    asks = "AL|AL" if enhanced else "|"
    return (
        f"MSH|^~\\&|{application}|NORTHSIDE|HL7BRIDGE|FHIR|{when:%Y%m%d%H%M%S}+0000||MFN^M02^MFN_M02|{control_id}|P|2.5.1"
        f"|||{asks}||UNICODE UTF-8"
    )


def staff_record(person: Person, action: str, record_id: str) -> list[str]:
    """MFE, STF, PRA and, for a person with a unit, ORG."""
    flag = "A" if person.active else "I"
    lines = [
        f"MFE|{action}|{record_id}||{person.key}|CWE",
        f"STF|{person.key}||{person.family}^{person.given}^^^Dr^^L||F||{flag}|||^WPN^PH^^1^555^0100{person.key[-3:]}"
        f"~^WPN^Internet^{person.mail}",
        f"PRA|{person.key}||||Nephrology|{person.npi}^NPI",
    ]
    if person.unit:
        lines.append(f"ORG|1|{person.unit}|D^Department^HL70474|Y")
    return lines


def lines(seed: int, connections: int, people: int) -> list[Line]:
    """`connections` lines with `people` persons each, the same for the same seed."""
    made = []
    for number in range(connections):
        rng = random.Random(f"{seed}/{number}")
        crowd = []
        for place in range(people):
            serial = number * 100 + place + 1
            crowd.append(
                Person(
                    key=f"K{seed % 1000:03d}{serial:04d}",
                    npi=npi(seed % 10_000 * 10_000 + serial),
                    family=rng.choice(FAMILIES),
                    given=rng.choice(GIVEN),
                    unit=rng.choice(UNITS) if place % 2 else "",
                )
            )
        made.append(Line(f"c{number}", rng, crowd, application=f"ENGINE{number}"))
    return made


__all__ = ["Line", "Person", "expected", "header", "lines", "npi", "staff_record"]
