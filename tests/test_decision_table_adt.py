"""Which FHIR interaction follows from a patient message: the last rows of the decision table, against the sandbox.

Whom it names for certain is created if nobody carries the identifier; whoever is there stays as they are; nobody is ended.

Where we differ from the proposed table, and why: the creation is conditional where the server offers that, and a search
before it wherever it does not; and who was asked about lately is not asked about again, for such a feed is large.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from hl7bridge.model import write_json
from tests.mapping.building import segment
from tests.test_decision_table import ADDED, GONE, LEFT, NPI, OTHER_NPI, Build, World, head, mfn, pmu

PATIENT = "PID|1||P4711^^^NORTH^MR||Canary^Patient||19500101|F"
ADA = f"{NPI}^Rossi^Ada^^^Dr^^^^L^^^NPI"
ADA_ADDED = mfn("MAD", f2=f"{NPI}^^^^NPI")
ADA_LEFT = (ADA_ADDED, mfn("MDC", f2=f"{NPI}^^^^NPI"))


def adt(event: str, *segments: str) -> Build:
    def build(number: int, sent: datetime) -> bytes:
        lines = [head(f"ADT^{event}", number, sent), f"EVN|{event}|20260318120000", PATIENT, *segments]
        return ("\r".join(lines) + "\r").encode()

    return build


def attending(physician: str = ADA) -> str:
    return segment("PV1", f1="1", f2="I", f7=physician)


ROWS: list[tuple[str, Build, tuple[Build, ...], str, str, str]] = [
    # says, message, before, how its records ended, people, roles
    ("unknown: created", adt("A01", attending()), (), "created", "active", ""),
    ("unknown, discharge", adt("A03", attending()), (), "created", "active", ""),
    ("unknown, update of the patient", adt("A08", segment("PD1", f4=ADA)), (), "created", "active", ""),
    ("unknown, a role", adt("A04", segment("ROL", f1="1", f2="AD", f3="AT", f4=ADA)), (), "created", "active", ""),
    ("unknown, a participation", adt("A04", segment("PRT", f1="1", f2="AD", f4="AT", f5=ADA)), (), "created", "active", ""),
    ("unknown, a role that ends", adt("A08", segment("ROL", f1="1", f2="DE", f3="AT", f4=ADA)), (), "", "", ""),
    ("known from a master file: nothing", adt("A01", attending()), (ADA_ADDED,), "unchanged", "active", "Cardiology open"),
    ("known from PMU: nothing", adt("A01", attending()), (pmu("B01", f2=f"{NPI}^^^^NPI"),), "unchanged", "active",
     "Cardiology open"),
    ("known, left: stays inactive", adt("A01", attending()), ADA_LEFT, "unchanged", "inactive", GONE),
    ("known, away: stays inactive", adt("A01", attending()),
     (pmu("B01", f2=f"{NPI}^^^^NPI"), pmu("B05", f2=f"{NPI}^^^^NPI")), "unchanged", "inactive", "Cardiology rests"),
    ("known, at discharge: not ended", adt("A03", attending()), (ADA_ADDED,), "unchanged", "active", "Cardiology open"),
    ("two, one of them known", adt("A01", attending(), segment("PD1", f4=f"{OTHER_NPI}^Bello^Ife^^^^^^^L^^^NPI")),
     (ADA_ADDED,), "unchanged, created", "active, active", "Cardiology open"),
    ("cancelled admission", adt("A11", attending()), (), "", "", ""),
    ("merged patients", adt("A40", attending()), (), "", "", ""),
    ("no authority", adt("A01", attending("H77^Rossi^Ada")), ADDED, "", "active", "Cardiology open"),
    ("no name", adt("A01", attending(f"{NPI}^^^^^^^^^^^^NPI")), LEFT, "", "inactive", GONE),
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_decision_table(world: World, row: tuple[str, Build, tuple[Build, ...], str, str, str]) -> None:
    _, message, before, ended, people, roles = row
    for build in before:
        world.hear(build)
    stood = world.resources("Practitioner") + world.resources("PractitionerRole")
    answer, results = world.hear(message, "adt")
    assert (answer.code, ", ".join(results)) == ("AA", ended)
    assert (world.people(), world.roles()) == (people, roles)
    now = world.resources("Practitioner") + world.resources("PractitionerRole")
    assert all(one in now for one in stood)
    assert "Canary" not in write_json(now)
    assert (world.warned, world.tasks) == ([], [])
