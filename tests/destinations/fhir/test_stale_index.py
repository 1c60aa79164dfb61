"""Servers whose searches lag behind the resources, or are wrong about them: nothing is written over a search hit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hl7bridge.destinations.fhir.wire.capabilities import Capabilities, ResourceCapabilities
from hl7bridge.model import Action, JsonObject, Result
from tests.destinations.fhir.people import (
    ADA,
    KEYS,
    LEAVES,
    Bridge,
    change,
    kinds,
    name,
    open_units,
    phone,
    unit,
    value,
)
from tests.destinations.fhir.server import Asked, FakeFhir, fhir, problem

OURS = {"system": KEYS, "value": "S100"}
OF_ANOTHER_SYSTEM: JsonObject = {"system": "phone", "value": "555-77", "use": "mobile"}


def person(resource_id: str = "p1", *, carries: JsonObject = OURS, **more: Any) -> JsonObject:
    return {"resourceType": "Practitioner", "id": resource_id, "identifier": [carries], "name": [name().value], **more}


def shown_by_search(server: FakeFhir, resource: JsonObject) -> None:
    """The index holds that state of a resource."""
    server.indexed[resource["resourceType"], resource["id"]] = resource


@pytest.fixture
def server() -> FakeFhir:
    return FakeFhir()


@pytest.mark.parametrize("versions", [True, False])
@pytest.mark.parametrize("known_before", [True, False])
def test_what_another_system_wrote_since_survives(server: FakeFhir, versions: bool, known_before: bool) -> None:
    server.versions = versions
    old = server.put(person())
    bridge = Bridge(server)
    if known_before:
        bridge.deliver(ADA)
    now = {**server.get("Practitioner", "p1"), "telecom": [OF_ANOTHER_SYSTEM]}
    server.put(now)
    shown_by_search(server, old)
    assert bridge.deliver(replace(ADA, practitioner=(name(), phone("555-9")))).result is Result.UPDATED
    telecom = server.get("Practitioner", "p1")["telecom"]
    assert OF_ANOTHER_SYSTEM in telecom
    assert phone("555-9").value in telecom


def test_a_leaver_whom_the_index_shows_as_inactive_already(server: FakeFhir) -> None:
    server.put(person(active=True))
    shown_by_search(server, person(active=False))
    assert Bridge(server).deliver(LEAVES).result is Result.DEACTIVATED
    assert server.get("Practitioner", "p1")["active"] is False


@pytest.mark.parametrize("one", [ADA, LEAVES, change(Action.UPDATE, name(), active=False)], ids=["add", "leave", "end"])
def test_a_stranger_under_the_id_that_a_search_found_is_never_written(server: FakeFhir, one: Any) -> None:
    stranger = person(carries={"system": "urn:other", "value": "V"}, name=[{"family": "Victim"}])
    server.put(stranger)
    shown_by_search(server, person())
    held = Bridge(server).deliver(one)
    assert (held.result, held.local, kinds(held)) == (Result.HELD, "found-strayed", ["identity-review"])
    assert server.writes() == []
    assert [candidate["name"] for candidate in held.candidates] == [[{"family": "Victim"}]]


def test_another_resource_than_the_one_asked_for(server: FakeFhir) -> None:
    server.put(person())
    other = person("p2")
    server.faults.append(lambda asked: fhir(other) if asked.path.endswith("Practitioner/p1") else None)
    held = Bridge(server).deliver(ADA)
    assert (held.result, held.local) == (Result.HELD, "found-strayed")
    assert server.writes() == []


def test_whom_a_search_finds_and_a_read_does_not(server: FakeFhir) -> None:
    """Passing at first: the read may come from a node that is behind. In the end a person has to look."""
    shown_by_search(server, person())
    bridge = Bridge(server)
    results = [bridge.deliver(ADA) for _ in range(6)]
    assert [one.result for one in results] == [Result.RETRY] * 5 + [Result.HELD]
    assert results[-1].local == "found-strayed"
    assert server.writes() == []


def test_whom_a_search_finds_and_who_was_deleted(server: FakeFhir) -> None:
    server.put(person())
    server.delete("Practitioner", "p1")
    shown_by_search(server, person())
    bridge = Bridge(server)
    assert bridge.deliver(ADA).local == "deleted-at-server"
    assert bridge.deliver(LEAVES).result is Result.NOTHING_TO_DO
    assert server.writes() == []


@pytest.mark.parametrize("versioning", ["no-version", "versioned", "versioned-update", ""])
def test_read_write_read_where_nobody_guards_the_update(server: FakeFhir, versioning: str) -> None:
    """If-Match cannot be relied on without `versioned-update` (R4, versioning-policy)."""
    every = frozenset({"read", "search-type", "create", "update"})
    offered = ResourceCapabilities(every, versioning=versioning)
    capabilities = Capabilities(resources={"Practitioner": offered, "PractitionerRole": offered})
    bridge = Bridge(server)
    bridge.deliver(ADA)
    bridge.asked()
    bridge.deliver(replace(ADA, practitioner=(name(), phone("555-9"))), capabilities=capabilities)
    verbs = [asked.split()[0] for asked in bridge.asked()]
    assert verbs == ["GET", "PUT"] + ["GET"] * (versioning in ("no-version", "versioned"))


def test_an_update_that_somebody_overwrites_at_once_is_no_success(server: FakeFhir) -> None:
    server.versions = False
    bridge = Bridge(server)
    bridge.deliver(ADA)
    before = server.only("Practitioner")

    def lost(asked: Asked, answer: Any) -> Any:
        if asked.method == "PUT":
            server.put(before)
        return answer

    server.after = lost
    assert bridge.deliver(replace(ADA, practitioner=(name(), phone("555-9")))).local == "not-verified"


# --- roles -----------------------------------------------------------------------------------------------------------


def staffed(*codes: str, note: str = "") -> Any:
    more = (value("code", {"text": note}, "PRA-3"),) if note else ()
    return replace(ADA, roles=tuple(unit(code, "STF-8", *more) for code in codes))


@pytest.mark.parametrize("versions", [True, False])
def test_what_others_wrote_to_a_role_survives(server: FakeFhir, versions: bool) -> None:
    server.versions = versions
    bridge = Bridge(server)
    bridge.deliver(staffed("ICU"))
    old = server.only("PractitionerRole")
    server.put({**old, "availabilityExceptions": "not on Mondays"})
    shown_by_search(server, old)
    assert bridge.deliver(LEAVES).result is Result.DEACTIVATED
    role = server.only("PractitionerRole")
    assert (role["active"], role["availabilityExceptions"]) == (False, "not on Mondays")


@pytest.mark.parametrize("versions", [True, False])
def test_a_role_that_was_changed_back_while_the_index_lags(server: FakeFhir, versions: bool) -> None:
    """A, then B, then A again: the search still shows the first A, and nothing would seem to be left to do."""
    server.versions = versions
    bridge = Bridge(server)
    bridge.deliver(staffed("ICU", note="Nurse"))
    shown_by_search(server, server.only("PractitionerRole"))
    bridge.deliver(staffed("ICU", note="Charge nurse"))
    assert server.only("PractitionerRole")["code"] == [{"text": "Charge nurse"}]
    assert bridge.deliver(staffed("ICU", note="Nurse")).result is Result.UPDATED
    assert server.only("PractitionerRole")["code"] == [{"text": "Nurse"}]


def test_a_role_that_a_search_gives_to_the_wrong_person_is_left_alone(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(ADA)
    mine = {"reference": f"Practitioner/{bridge.crosswalk['hr', 'S100']}"}
    theirs = {
        "resourceType": "PractitionerRole",
        "id": "r9",
        "active": True,
        "practitioner": {"reference": "Practitioner/stranger"},
        "organization": unit("ICU").values[0].value,
    }
    server.put(theirs)
    shown_by_search(server, {**theirs, "practitioner": mine})
    bridge.deliver(staffed("ICU", note="Nurse"))
    assert server.get("PractitionerRole", "r9")["practitioner"] == theirs["practitioner"]
    assert "code" not in server.get("PractitionerRole", "r9")
    assert open_units(server) == {"ICU"}


def test_a_role_that_stands_as_we_left_it_costs_no_read(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(staffed("ICU"))
    role_id = server.only("PractitionerRole")["id"]
    bridge.asked()
    bridge.deliver(staffed("ICU", note="Nurse"))
    assert bridge.asked()[1:] == ["GET PractitionerRole?", f"PUT PractitionerRole/{role_id}"]
    server.put({**server.only("PractitionerRole"), "availabilityExceptions": "not on Mondays"})
    for reads in (1, 0):  # read once, then known
        bridge.deliver(staffed("ICU", note="Nurse"))
        assert len(bridge.asked()) == 2 + reads


def test_a_role_of_which_nothing_can_be_read_waits(server: FakeFhir) -> None:
    server.versions = False
    bridge = Bridge(server)
    bridge.deliver(staffed("ICU"))
    server.faults.append(lambda asked: problem(503) if "PractitionerRole/" in asked.path else None)
    assert bridge.deliver(staffed("ICU", note="Nurse")).result is Result.RETRY
    assert "code" not in server.only("PractitionerRole")
