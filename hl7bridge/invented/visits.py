"""ADT of invented patients: staff stands in PV1, PD1, and in ROL (2.4 to 2.8) or PRT (from 2.7 on). HL7 v2.9 chapter 3."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from random import Random

from hl7bridge.invented.messages import header, joined, numbers, stamp
from hl7bridge.invented.names import FAMILIES, GIVEN_NAMES, family_name, given_name
from hl7bridge.invented.people import UNITS, Person

EVENTS = {"A01": 30, "A02": 15, "A03": 15, "A04": 20, "A08": 17, "A11": 3}
_STRUCTURES = {"A04": "A01", "A08": "A01", "A11": "A09"}
_ROLES = {"AT": "Attending", "RP": "Referring provider", "CP": "Consulting provider"}


def visit(control_id: str, version: str, when: datetime, staff: Sequence[Person], chance: Random) -> bytes:
    """One ADT message of a patient who is made up for it, seen by some of the staff."""
    event = chance.choices(list(EVENTS), list(EVENTS.values()))[0]
    attending, referring, consulting = (chance.choice(staff) for _ in range(3))
    patient = f"{family_name(chance.randrange(FAMILIES))}^{given_name(chance.randrange(GIVEN_NAMES))}"
    record_number, born = chance.randrange(10**7), date(1930, 1, 1) + timedelta(days=chance.randrange(34_000))
    seen_by = [""] * 45
    seen_by[0:4] = ["PV1", "1", "I", f"{chance.choice(tuple(UNITS))}^{chance.randrange(100, 400)}^1"]
    seen_by[7], seen_by[8], seen_by[9] = doctor(attending), doctor(referring), doctor(consulting)
    seen_by[17], seen_by[19], seen_by[44] = doctor(attending), f"V{chance.randrange(10**8):08d}", stamp(when)
    lines = [
        header("ADT", event, _STRUCTURES.get(event, event), control_id, version, when),
        f"EVN|{event}|{stamp(when)}",
        f"PID|1||P{record_number:07d}^^^INVENTED^MR||{patient}||{born:%Y%m%d}|{chance.choice('FM')}",
    ]
    if numbers(version) < (2, 7):
        lines.append(f"PD1||||{doctor(referring)}")
    lines.append("|".join(seen_by))
    role = chance.choice(tuple(_ROLES))
    if (2, 4) <= numbers(version) < (2, 9):
        lines.append(f"ROL|{control_id}.1|AD|{role}^{_ROLES[role]}^HL70443|{doctor(consulting)}")
    if numbers(version) >= (2, 7):
        lines.append(f"PRT|{control_id}.2|AD||{role}^{_ROLES[role]}^HL70912|{doctor(attending)}")
    return joined(lines)


def doctor(someone: Person) -> str:
    """XCN with the NPI."""
    name = f"{someone.family}^{someone.given}^{someone.middle}^^Dr"
    return f"{someone.npi}^{name}^^^NPI&2.16.840.1.113883.4.6&ISO^L^^^NPI"
