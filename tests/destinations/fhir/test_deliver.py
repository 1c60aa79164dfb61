"""Deliveries in their plain course: what is asked, what is written, what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hl7bridge.destinations.fhir.identity.systems import NPI
from hl7bridge.model import (
    Action,
    JsonObject,
    Kind,
    Number,
    Result,
    write_json,
)
from tests.destinations.fhir.people import (
    ADA,
    GOOD_NPI,
    KEYS,
    LEAVES,
    OTHER_KEYS,
    Bridge,
    change,
    kinds,
    name,
    open_units,
    phone,
    rules,
    unit,
    value,
)
from tests.destinations.fhir.server import Answer, Asked, FakeFhir, fhir

# --- the plain course, and what it costs -----------------------------------------------------------------------------


def test_a_person_from_joining_to_leaving_and_back(bridge: Bridge, server: FakeFhir) -> None:
    joined = bridge.deliver(ADA)
    assert joined.result is Result.CREATED
    assert bridge.asked() == ["GET Practitioner?", "POST Practitioner"]
    person_id = server.only("Practitioner")["id"]
    assert (joined.person_id, joined.version, joined.http_status) == (person_id, "1", 201)
    assert kinds(joined) == []

    assert bridge.deliver(ADA).result is Result.UNCHANGED
    assert bridge.asked() == [f"GET Practitioner/{person_id}"]

    moved = bridge.deliver(replace(ADA, action=Action.UPDATE, practitioner=(name(), phone("555-2"))))
    assert (moved.result, moved.version) == (Result.UPDATED, "2")
    assert bridge.asked() == [f"GET Practitioner/{person_id}", f"PUT Practitioner/{person_id}"]

    left = bridge.deliver(LEAVES)
    assert (left.result, server.only("Practitioner")["active"]) == (Result.DEACTIVATED, False)
    assert bridge.asked() == [
        f"GET Practitioner/{person_id}", f"PUT Practitioner/{person_id}", f"GET Practitioner/{person_id}",
    ]  # fmt: skip
    assert kinds(left) == ["leaver-access"]

    again = bridge.deliver(LEAVES)
    assert (again.result, kinds(again)) == (Result.UNCHANGED, [])
    assert bridge.asked() == [f"GET Practitioner/{person_id}"]
    assert len(server.resources["Practitioner", person_id]) == 3

    back = bridge.deliver(change(Action.REACTIVATE, name(), phone("555-2"), npi=GOOD_NPI))
    assert (back.result, server.only("Practitioner")["active"]) == (Result.REACTIVATED, True)
    assert len(bridge.asked()) == 2


def test_found_by_search_costs_a_read(bridge: Bridge, server: FakeFhir) -> None:
    server.put(
        {"resourceType": "Practitioner", "identifier": [{"system": NPI, "value": GOOD_NPI}], "name": [name().value]}
    )
    adopted = bridge.deliver(ADA)
    assert adopted.result is Result.UPDATED
    person = f"Practitioner/{adopted.person_id}"
    assert bridge.asked() == ["GET Practitioner?", f"GET {person}", f"PUT {person}"]
    assert server.only("Practitioner")["identifier"][1]["system"] == KEYS
    assert bridge.deliver(ADA).result is Result.UNCHANGED


def test_without_conditional_create_a_second_search_looks_for_duplicates(server: FakeFhir) -> None:
    bridge = Bridge(server, rules(conditional_create=False))
    assert bridge.deliver(ADA).result is Result.CREATED
    assert all("if-none-exist" not in asked.headers for asked in server.journal)
    assert bridge.asked() == ["GET Practitioner?", "POST Practitioner", "GET Practitioner?"]


def test_roles_cost_one_search_and_one_request_each(bridge: Bridge, server: FakeFhir) -> None:
    staffed = replace(ADA, roles=(unit("ICU"), unit("ER")))
    joined = bridge.deliver(staffed)
    assert joined.result is Result.CREATED
    assert bridge.asked() == [
        "GET Practitioner?",
        "POST Practitioner",
        "POST PractitionerRole",
        "POST PractitionerRole",
    ]
    assert bridge.deliver(staffed).result is Result.UNCHANGED
    person = f"GET Practitioner/{joined.person_id}"
    assert bridge.asked() == [person, "GET PractitionerRole?"]

    moved = bridge.deliver(replace(staffed, roles=(unit("ER"), unit("OR"))))
    assert moved.result is Result.UPDATED
    ids = {role["organization"]["identifier"]["value"]: role["id"] for role in server.all("PractitionerRole")}
    assert bridge.asked() == [
        person,
        "GET PractitionerRole?",
        "POST PractitionerRole",
        f"PUT PractitionerRole/{ids['ICU']}",
    ]
    assert open_units(server) == {"ER", "OR"}

    left = bridge.deliver(LEAVES)
    assert left.result is Result.DEACTIVATED
    assert len(bridge.asked()) == 3 + 1 + 2
    assert open_units(server) == set()
    assert {role["period"]["end"] for role in server.all("PractitionerRole")} == {"2026-03-04"}
    assert bridge.deliver(LEAVES).result is Result.UNCHANGED
    assert bridge.asked() == [person]

    back = bridge.deliver(change(Action.REACTIVATE, effective="2026-05-01T00:00:00Z"))
    assert back.result is Result.REACTIVATED
    assert open_units(server) == {"ER", "OR"}
    assert "end" not in server.get("PractitionerRole", ids["ER"])["period"]


def test_a_role_without_a_unit_follows_the_person(bridge: Bridge, server: FakeFhir) -> None:
    nurse = replace(ADA, shared_role=(value("code", {"text": "Nurse"}, "PRA-3"),))
    assert bridge.deliver(nurse).result is Result.CREATED
    assert server.only("PractitionerRole")["code"] == [{"text": "Nurse"}]
    assert bridge.deliver(nurse).result is Result.UNCHANGED
    assert (
        bridge.deliver(replace(nurse, shared_role=(value("code", {"text": "Charge nurse"}, "PRA-3"),))).result
        is Result.UPDATED
    )
    assert server.only("PractitionerRole")["code"] == [{"text": "Charge nurse"}]
    bridge.deliver(replace(ADA, roles=(unit("ICU"),)))
    assert [role["active"] for role in server.all("PractitionerRole")] == [False, True]


def test_what_others_added_survives_the_wire(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    person = server.only("Practitioner")
    second = {"system": "phone", "value": "555-8", "use": "work"}
    theirs: JsonObject = {
        **person,
        "telecom": [*person["telecom"], second],
        "photo": [{"url": "http://example.org/p.png"}],
        "identifier": [*person["identifier"], {"system": "urn:oid:2.999.7", "value": "B7"}],
        "extension": [{"url": "http://example.org/fte", "valueDecimal": Number("1.10")}],
    }
    server.put(theirs)
    assert bridge.deliver(replace(ADA, practitioner=(name(), phone("555-3")))).result is Result.UPDATED
    assert bridge.deliver(LEAVES).result is Result.DEACTIVATED
    after = server.only("Practitioner")
    assert second in after["telecom"]
    assert len(after["telecom"]) == 2
    for element in ("photo", "identifier", "extension"):
        assert write_json(after[element]) == write_json(theirs[element])
    assert b'"valueDecimal":1.10}' in server.writes()[-1].body


# --- writes only what it may -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"destination": "report"}, {"dry_run": True}])
def test_report_and_dry_run_write_nothing(server: FakeFhir, how: dict[str, Any]) -> None:
    writing = Bridge(server)
    writing.deliver(replace(ADA, roles=(unit("ICU"),)))
    before = write_json(list(server.resources.values()))
    bridge = Bridge(server, rules(mode="report")) if "destination" in how else writing
    more: dict[str, Any] = {"dry_run": True} if "dry_run" in how else {}
    server.journal.clear()
    for one in (
        replace(ADA, practitioner=(name("Brandt"),), roles=(unit("ER"),)),
        change(Action.ADD, name("Voss"), key="S200", roles=(unit("ER"),)),
        LEAVES,
    ):
        outcome = bridge.deliver(one, **more)
        assert outcome.result is Result.REPORTED
        assert outcome.written == ()
        assert outcome.interactions
    assert server.writes() == []
    assert write_json(list(server.resources.values())) == before
    assert [task.kind for task in outcome.tasks] == ["leaver-access"]
    assert "not changed" in outcome.tasks[0].steps[0]


def test_a_report_of_a_new_person_plans_her_roles(server: FakeFhir) -> None:
    planned = Bridge(server, rules(mode="report")).deliver(replace(ADA, roles=(unit("ICU"),)))
    assert [(i.kind, i.resource_type) for i in planned.interactions] == [
        (Kind.CREATE, "Practitioner"),
        (Kind.CREATE, "PractitionerRole"),
    ]
    assert len(planned.exchanges) == 1


@pytest.mark.parametrize(
    ("one", "result", "local"),
    [
        (LEAVES, Result.NOTHING_TO_DO, "unknown-person"),
        (change(Action.REMOVE), Result.NOTHING_TO_DO, "unknown-person"),
        (change(Action.REACTIVATE, complete=False), Result.HELD, ""),
        (change(Action.REACTIVATE, name()), Result.CREATED, "unknown-person-created"),
        (change(Action.UPDATE, name()), Result.CREATED, "unknown-person-created"),
        (change(Action.ADD, name()), Result.CREATED, ""),
        (change(Action.ADD, complete=False), Result.HELD, ""),
        (change(Action.UPDATE, complete=False), Result.HELD, ""),
    ],
)
def test_a_person_nobody_knows(bridge: Bridge, server: FakeFhir, one: Any, result: Result, local: str) -> None:
    outcome = bridge.deliver(one)
    assert outcome.result is result
    assert [warning.local for warning in outcome.warnings] == ([local] if local else [])
    assert len(server.writes()) == (1 if result is Result.CREATED else 0)
    if result is Result.HELD:
        back = one.action is Action.REACTIVATE
        assert (outcome.code, outcome.local) == (("204", "unknown-person") if back else ("101", "incomplete-person"))


def test_a_person_who_joins_inactive_is_no_leaver(bridge: Bridge, server: FakeFhir) -> None:
    outcome = bridge.deliver(replace(ADA, active=False, roles=(unit("ICU"),)))
    assert (outcome.result, kinds(outcome)) == (Result.CREATED, [])
    assert server.only("Practitioner")["active"] is False
    assert server.all("PractitionerRole") == []


def test_a_reactivation_that_needs_approval(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    bridge.deliver(LEAVES)
    back = change(Action.REACTIVATE, name(), phone("555-1"), npi=GOOD_NPI, needs_approval=True)
    server.journal.clear()
    held = bridge.deliver(back)
    assert (held.result, held.local, kinds(held), server.writes()) == (Result.HELD, "approval-needed", ["approval"], [])
    assert held.interactions[0].kind is Kind.UPDATE
    assert bridge.deliver(back, approved=True).result is Result.REACTIVATED
    assert bridge.deliver(back).result is Result.UNCHANGED


# --- leavers ---------------------------------------------------------------------------------------------------------


def test_every_way_of_leaving_opens_one_access_task(server: FakeFhir) -> None:
    for leaving in (
        LEAVES,
        change(Action.REMOVE),
        change(Action.UPDATE, active=False),
        change(Action.ADD, active=False),
    ):
        fresh = Bridge(FakeFhir())
        fresh.deliver(ADA)
        left = fresh.deliver(leaving)
        assert left.result is Result.DEACTIVATED
        assert kinds(left)[0] == "leaver-access"
        assert len(left.tasks[0].steps) == 4
        told = " ".join(left.tasks[0].steps)
        assert "does not end a login" in told
        assert "revoked" not in told
        assert kinds(fresh.deliver(leaving)) == []


def test_someone_deactivated_by_hand_is_a_leaver_all_the_same(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    server.put({**server.only("Practitioner"), "active": False})
    left = bridge.deliver(LEAVES)
    assert (left.result, kinds(left)) == (Result.UNCHANGED, ["leaver-access"])
    assert kinds(bridge.deliver(LEAVES)) == []


def test_a_removed_record_is_never_deleted(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    removed = bridge.deliver(change(Action.REMOVE))
    assert kinds(removed) == ["leaver-access", "deleted-in-source"]
    person = server.only("Practitioner")
    assert person["meta"]["tag"][0]["code"] == "deleted-in-source"
    again = bridge.deliver(change(Action.REMOVE))
    assert (again.result, kinds(again)) == (Result.UNCHANGED, [])
    assert {asked.method for asked in server.journal} == {"GET", "POST", "PUT"}
    assert not any("Patient" in asked.target for asked in server.journal)


def test_a_leaver_whose_record_is_removed_later(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    assert kinds(bridge.deliver(LEAVES)) == ["leaver-access"]
    assert kinds(bridge.deliver(change(Action.REMOVE))) == ["deleted-in-source"]


def test_a_server_that_keeps_every_tag_is_asked_once_to_drop_ours(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    bridge.deliver(change(Action.REMOVE))
    tags = server.only("Practitioner")["meta"]["tag"]

    def keep(asked: Asked) -> Answer | None:
        if asked.method == "PUT":
            body = asked.json
            return fhir(server.put({**body, "meta": {**body["meta"], "tag": tags}}))
        return None

    server.faults.append(keep)
    assert bridge.deliver(change(Action.REACTIVATE)).result is Result.REACTIVATED
    assert bridge.deliver(change(Action.REACTIVATE)).result is Result.UNCHANGED
    assert bridge.deliver(change(Action.REMOVE)).result is Result.DEACTIVATED


def test_two_feeds_one_person(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(replace(ADA, roles=(unit("ICU"),)), "hr")
    second = change(
        Action.ADD, name("OKONKWO"), phone("555-4"), key="C9", keys=OTHER_KEYS, npi=GOOD_NPI, roles=(unit("ER", "ORG"),)
    )
    assert bridge.deliver(second, "credentialing").result is Result.UPDATED
    person = server.only("Practitioner")
    assert [i["value"] for i in person["identifier"]] == ["S100", GOOD_NPI, "C9"]
    assert open_units(server) == {"ICU", "ER"}
    for _ in range(2):  # neither takes from the other
        assert bridge.deliver(replace(ADA, roles=(unit("ICU"),)), "hr").result is Result.UNCHANGED
        assert bridge.deliver(second, "credentialing").result is Result.UNCHANGED

    left = bridge.deliver(LEAVES, "hr")
    assert (left.result, kinds(left)) == (Result.UPDATED, ["shared-person"])
    assert server.only("Practitioner")["active"] is True
    assert open_units(server) == {"ER"}
    assert kinds(bridge.deliver(LEAVES, "hr")) == []
    last = bridge.deliver(change(Action.DEACTIVATE, key="C9", keys=OTHER_KEYS), "credentialing")
    assert (last.result, kinds(last)) == (Result.DEACTIVATED, ["leaver-access"])
    assert server.only("Practitioner")["active"] is False
    assert open_units(server) == set()
