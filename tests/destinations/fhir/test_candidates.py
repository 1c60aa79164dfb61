"""A Practitioner as a person sees it who has to say whom a record is about."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.destinations.candidates import Carried
from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.identity.systems import NPI, SSN
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.errors import Unreachable
from hl7bridge.model import Action, JsonObject, StaffIdentifier
from tests.destinations.fhir.people import KEYS, change, name, rules
from tests.destinations.fhir.server import FakeFhir, once, problem

KEY = StaffIdentifier("S100", KEYS, "NORTH")
NPI_OID = "urn:oid:2.16.840.1.113883.4.6"


def destination(server: FakeFhir, **given: Any) -> FhirDestination:
    return FhirDestination(rules(**given), lambda: FhirClient(rules(**given), transport=server.transport()))


def person(*identifiers: JsonObject, **more: Any) -> JsonObject:
    return {"resourceType": "Practitioner", "id": "p1", "identifier": list(identifiers), **more}


def identifier(system: str, value: str, **more: Any) -> JsonObject:
    return {"system": system, "value": value, **more}


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ({}, []),
        ({"active": False}, [("status", "inactive")]),
        ({"name": [{"family": "Berg", "given": ["Nils", "A"]}]}, [("name", "Nils A Berg")]),
        ({"name": [{"text": "Nils Berg"}, {"family": "Sand"}]}, [("name", "Nils Berg; Sand")]),
        ({"active": True, "gender": "male", "birthDate": "1970-05"},
         [("status", "active"), ("sex", "male"), ("birth date", "1970-05")]),
        ({"active": "yes", "name": {"family": "Berg"}, "gender": None}, []),  # shapes that R4 does not have
    ],
)  # fmt: skip
def test_it_is_told_apart_by_what_it_says(said: JsonObject, facts: list[tuple[str, str]]) -> None:
    found = destination(FakeFhir()).candidate(person(**said))
    assert [(fact.label, fact.text) for fact in found.facts] == facts
    assert (found.person_id, found.shown, found.summary["id"]) == ("p1", "Practitioner/p1", "p1")


def test_private_numbers_are_not_shown_nor_kept() -> None:
    shown = identifier(NPI_OID, "1234567893 ", use="old")
    found = destination(FakeFhir()).candidate(person(shown, identifier(SSN, "078-05-1120")))
    assert found.identifiers == (Carried(NPI_OID, "1234567893 ", "old"),)
    assert found.summary["identifier"] == [shown]
    assert found.keys == {(NPI, "1234567893"), (SSN, "078-05-1120")}, "who shares one may be one person"


@pytest.mark.parametrize(
    ("carried", "systems", "bears"),
    [
        (identifier(KEYS, "S100"), {}, True),
        (identifier(KEYS, "S100 ", use="official"), {}, True),
        (identifier(KEYS, "S100", use="old"), {}, False),
        (identifier(KEYS, "S101"), {}, False),
        (identifier("urn:oid:2.999.8", "S100"), {}, False),
        (identifier("urn:oid:2.999.8", "S100"), {"NORTH": "urn:oid:2.999.8"}, True),  # [systems] of the destination
        (identifier(KEYS, "S100"), {"NORTH": "urn:oid:2.999.8"}, False),
    ],
)
def test_a_staff_key_is_borne_under_the_destination_s_system(
    carried: JsonObject, systems: dict[str, str], bears: bool
) -> None:
    there = destination(FakeFhir(), systems=systems)
    assert there.bears(there.candidate(person(carried)), KEY) is bears


def test_it_is_read_as_it_stands_or_it_is_said_why_not() -> None:
    server = FakeFhir()
    there = destination(server)
    assert there.read("p1") is None
    server.put(person(name=[{"family": "Berg"}]))
    found = there.read("p1")
    assert found is not None
    assert there.differences(change(Action.ADD, name("Okonkwo")), found) == ("family name",)
    server.faults.append(once(problem(503), when="GET"))
    with pytest.raises(Unreachable):
        there.read("p1")
