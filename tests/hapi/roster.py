"""A staff roster of invented people, as a nightly file brings it: every record full, each person a little different.

What must stand on the server is worked out here by hand, from the person and not from the message.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.acceptance.stream import BEGIN, FAMILIES, GIVEN, npi
from tests.hapi.observer import NPI, JsonObject, values

UNITS = {"CARD": "Cardiology", "NEPH": "Nephrology", "OBST": "Obstetrics", "ED": "Emergency Department"}
UNIT_SYSTEM = "https://northlake.example.org/units"
SPECIALTIES = {"207RC0000X": "Cardiovascular Disease", "207RN0300X": "Nephrology", "207P00000X": "Emergency Medicine"}
DEGREES = {"MD": "Doctor of Medicine", "DO": "Doctor of Osteopathy", "PHD": "Doctor of Philosophy"}
LANGUAGES = {"en": "English", "es": "Spanish", "ig": "Igbo", "fr": "French"}
GENDERS = {"F": "female", "M": "male", "O": "other"}
BLOCK = 1_000  # NPIs that one test has for itself; a larger roster takes several
FEED_SETTINGS = {"authorities": {"99UNIT": UNIT_SYSTEM}, "hl7": {"timezone": "UTC"}}


@dataclass
class Member:
    """An invented person of the roster. `extension`: the end of the work phone's number, which changes now and then."""

    key: str
    npi: str
    family: str
    given: str
    sex: str
    unit: str
    specialty: str
    degree: str
    language: str
    extension: int
    active: bool = True

    @property
    def phone(self) -> str:
        return f"555{self.extension:04d}"

    @property
    def mail(self) -> str:
        return f"{self.key.lower()}@northlake.example.org"

    def record(self, action: str, record_id: str) -> list[str]:
        """MFE, STF, PRA, ORG, LAN, EDU and CER."""
        return [
            f"MFE|{action}|{record_id}||{self.key}|CWE",
            f"STF|{self.key}||{self.family}^{self.given}^^^Dr^^L||{self.sex}||{'A' if self.active else 'I'}|||"
            f"^WPN^PH^^1^612^{self.phone}|200 Harbor Street^^Northlake^MN^55599^USA^B||||{self.mail}",
            f"PRA|{self.key}||{self.degree}|||{self.npi}^NPI",
            f"ORG|1|{self.unit}^{UNITS[self.unit]}^99UNIT|D^Department^HL70474|Y||||"
            f"{self.specialty}^{SPECIALTIES[self.specialty]}^NUCC|20150701",
            f"LAN|1|{self.language}^{LANGUAGES[self.language]}^ISO639|3^Speak^HL70403|1^Excellent^HL70404",
            f"EDU|1|{self.degree}^{DEGREES[self.degree]}^HL70360|19970901^20010531||20010531|Example School of Medicine",
            f"CER|1|MN-{self.key}||Example Board of Medical Practice||||||LIC^Medical license^99CERT|||||||||||||||"
            "20110815||20380831",
        ]

    def wrong_in(self, practitioner: JsonObject, roles: list[JsonObject], key_system: str) -> list[str]:
        """What is not as it must be, in words."""
        identifiers = {(item.get("system"), item.get("value")) for item in practitioner.get("identifier", [])}
        name: dict[str, Any] = next(iter(practitioner.get("name", [])), {})
        degrees = {c.get("code") for q in practitioner.get("qualification", []) for c in q["code"].get("coding", [])}
        tongues = {c.get("code") for item in practitioner.get("communication", []) for c in item.get("coding", [])}
        facts = {
            "identifier": identifiers == {(key_system, self.key), (NPI, self.npi)},
            "active": practitioner.get("active") is self.active,
            "name": (name.get("family"), name.get("given"), name.get("prefix")) == (self.family, [self.given], ["Dr"]),
            "telecom": values(practitioner, "telecom") == {f"+1 612 {self.phone}", self.mail},
            "gender": practitioner.get("gender") == GENDERS[self.sex],
            "qualification": self.degree in degrees and len(practitioner.get("qualification", [])) == 2,
            "communication": tongues == {self.language},
            "address": [a.get("city") for a in practitioner.get("address", [])] == ["Northlake"],
            "birth date withheld": "birthDate" not in practitioner,
            "one role": len(roles) == 1,
        }
        for role in roles:
            specialties = {c.get("code") for item in role.get("specialty", []) for c in item.get("coding", [])}
            unit = role.get("organization", {})
            facts |= {
                "role active": role.get("active") is self.active,
                "role unit": unit
                == {"identifier": {"system": UNIT_SYSTEM, "value": self.unit}, "display": UNITS[self.unit]},
                "role specialty": specialties == {self.specialty},
                "role start": role.get("period", {}).get("start") == "2015-07-01",
                "role end": ("end" in role.get("period", {})) is not self.active,
            }
        return [f"{self.key}: {fact}" for fact, holds in facts.items() if not holds]


def roster(count: int, seed: int, block: int) -> list[Member]:
    """`count` people. `block`: NPIs from block * BLOCK on, so that runs on one server do not meet."""
    rng = random.Random(seed)
    return [
        Member(
            key=f"R{place:05d}",
            npi=npi(block * BLOCK + place),
            family=rng.choice(FAMILIES),
            given=rng.choice(GIVEN),
            sex=rng.choice(list(GENDERS)),
            unit=rng.choice(list(UNITS)),
            specialty=rng.choice(list(SPECIALTIES)),
            degree=rng.choice(list(DEGREES)),
            language=rng.choice(list(LANGUAGES)),
            extension=rng.randrange(10_000),
        )
        for place in range(count)
    ]


def message(control_id: str, day: int, actions: Iterable[tuple[str, Member]]) -> bytes:
    """One MFN^M02 with a record for each (MFE-1, person), sent on that day of the story."""
    when: datetime = BEGIN + timedelta(days=day)
    lines = [
        f"MSH|^~\\&|ROSTER|NORTHLAKE|HL7BRIDGE|FHIR|{when:%Y%m%d%H%M%S}+0000||MFN^M02^MFN_M02|{control_id}|P|2.5.1||||||"
        "UNICODE UTF-8",
        "MFI|STF^Staff master file^HL70175||UPD|||AL",
    ]
    for place, (action, member) in enumerate(actions, 1):
        lines += member.record(action, f"{control_id}.{place}")
    return ("\r".join(lines) + "\r").encode()
