"""Practitioners whom patient messages mention: created where they are missing, and otherwise left to those who know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.destinations.fhir.identity.systems import NPI
from hl7bridge.model import Action, JsonObject, Kind, Provenance, Result, StaffChange, StaffIdentifier
from tests.destinations.fhir.people import ADA, GOOD_NPI, KEYS, LEAVES, Bridge, kinds, name, phone, rules, value
from tests.destinations.fhir.server import FakeFhir

ADT = "adt"


def mention(family: str = "Okonkwo", given: str = "Adaeze", npi: str = GOOD_NPI) -> StaffChange:
    found = value("name", {"use": "official", "family": family, "given": [given]}, "PV1-7")
    identifier = StaffIdentifier(npi, NPI, type_code="NPI", provenance=Provenance.read("PV1-7"))
    return StaffChange(Action.ADD, f"{NPI}|{npi}", (identifier,), practitioner=(found,), only_if_missing=True)


def at_server(*families: str, **more: object) -> list[JsonObject]:
    identifier = [{"system": NPI, "value": GOOD_NPI}]
    return [
        {"resourceType": "Practitioner", "identifier": identifier, "name": [{"family": family}], **more}
        for family in families
    ]


def test_who_is_missing_is_created_once(bridge: Bridge, server: FakeFhir) -> None:
    created = bridge.deliver(mention(), ADT)
    assert created.result is Result.CREATED
    assert bridge.asked() == ["GET Practitioner?", "POST Practitioner"]
    person = server.only("Practitioner")
    assert (person["active"], person["name"][0]["family"]) == (True, "Okonkwo")
    assert [written.holds_active for written in created.written] == [False]

    assert bridge.deliver(mention("Else"), ADT).result is Result.UNCHANGED
    assert bridge.asked() == [f"GET Practitioner/{person['id']}"]
    assert len(server.resources["Practitioner", person["id"]]) == 1


@pytest.mark.parametrize("more", [{}, {"active": False}, {"telecom": [{"system": "phone", "value": "555-0199"}]}])
@pytest.mark.parametrize("family", ["Okonkwo", "Other"])
def test_who_is_there_stays_as_she_is(bridge: Bridge, server: FakeFhir, family: str, more: JsonObject) -> None:
    server.put(at_server(family, **more)[0])
    outcome = bridge.deliver(mention(), ADT)
    assert outcome.result in (Result.UNCHANGED, Result.NOTHING_TO_DO)
    assert (outcome.written, kinds(outcome)) == ((), [])
    assert bridge.asked() == ["GET Practitioner?"]


def test_several_with_the_identifier_are_nobodys_task(bridge: Bridge, server: FakeFhir) -> None:
    for one in at_server("Okonkwo", "Okonkwo"):
        server.put(one)
    outcome = bridge.deliver(mention(), ADT)
    assert (outcome.result, kinds(outcome)) == (Result.NOTHING_TO_DO, [])


def test_who_was_deleted_by_a_person_is_not_brought_back(bridge: Bridge, server: FakeFhir) -> None:
    created = bridge.deliver(mention(), ADT)
    server.delete("Practitioner", created.person_id)
    assert bridge.deliver(mention(), ADT).result is Result.NOTHING_TO_DO
    assert server.all("Practitioner") == []


def test_the_staff_feed_takes_over(bridge: Bridge, server: FakeFhir) -> None:
    """The person becomes the staff feed's altogether: its name in place of the other, its key, its word about them."""
    bridge.deliver(mention(given="A."), ADT)
    joined = bridge.deliver(ADA)
    person = server.only("Practitioner")
    assert joined.result is Result.UPDATED
    assert [one["given"] for one in person["name"]] == [["Adaeze"]]
    assert {one["system"] for one in person["identifier"]} == {KEYS, NPI}
    bridge.deliver(replace(ADA, action=Action.UPDATE, practitioner=(name("Bello"), phone("555-0102"))))
    assert [one["family"] for one in server.only("Practitioner")["name"]] == ["Bello"]
    assert bridge.deliver(mention(given="A."), ADT).result is Result.UNCHANGED
    assert [one["family"] for one in server.only("Practitioner")["name"]] == ["Bello"]


@pytest.mark.parametrize("adt_first", [True, False])
def test_a_leaver_leaves_although_patients_still_name_her(bridge: Bridge, server: FakeFhir, adt_first: bool) -> None:
    if adt_first:
        bridge.deliver(mention(), ADT)
    bridge.deliver(ADA)
    bridge.deliver(mention(), ADT)
    left = bridge.deliver(LEAVES)
    assert (left.result, server.only("Practitioner")["active"]) == (Result.DEACTIVATED, False)
    assert kinds(left) == ["leaver-access"]
    assert bridge.deliver(mention(), ADT).result is Result.UNCHANGED
    assert server.only("Practitioner")["active"] is False


def test_a_report_writes_nothing(server: FakeFhir) -> None:
    bridge = Bridge(server, rules(base_url=server.base, mode="report"))
    planned = bridge.deliver(mention(), ADT)
    assert planned.result is Result.REPORTED
    assert [one.kind for one in planned.interactions] == [Kind.CREATE]
    assert not server.resources
