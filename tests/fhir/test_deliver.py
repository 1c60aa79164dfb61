"""Deliveries from search to verification: what is asked, what is written, what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hl7bridge.fhir.capabilities import Capabilities, ResourceCapabilities
from hl7bridge.fhir.client import FhirClient
from hl7bridge.fhir.rules import DestinationRules
from hl7bridge.fhir.systems import NPI
from hl7bridge.model import (
    Action,
    JsonObject,
    Kind,
    Number,
    Outcome,
    Result,
    StaffRole,
    write_json,
)
from tests.fhir.people import GOOD_NPI, KEYS, OTHER_KEYS, Bridge, change, name, phone, rules, unit, value
from tests.fhir.server import BASE, Answer, Asked, FakeFhir, LostReply, fhir, problem

ADA = change(Action.ADD, name(), phone("555-1"), npi=GOOD_NPI)
LEAVES = change(Action.DEACTIVATE)


@pytest.fixture
def server() -> FakeFhir:
    return FakeFhir()


@pytest.fixture
def bridge(server: FakeFhir) -> Bridge:
    return Bridge(server)


def kinds(outcome: Outcome) -> list[str]:
    return [task.kind for task in outcome.tasks]


def once(*answers: Any, when: str = "") -> Any:
    """A fault that answers the next requests of that kind ("PUT", "POST Practitioner") and is cured then."""
    left = list(answers)

    def fault(asked: Asked) -> Answer | None:
        if not left or not f"{asked.method} {asked.path.removeprefix('/r4/')}".startswith(when):
            return None
        answer = left.pop(0)
        if answer is LostReply:
            raise LostReply
        return answer  # type: ignore[no-any-return]

    return fault


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


def test_found_by_search_costs_no_read(bridge: Bridge, server: FakeFhir) -> None:
    server.put(
        {"resourceType": "Practitioner", "identifier": [{"system": NPI, "value": GOOD_NPI}], "name": [name().value]}
    )
    adopted = bridge.deliver(ADA)
    assert adopted.result is Result.UPDATED
    assert [asked.split()[0] for asked in bridge.asked()] == ["GET", "PUT"]
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


def open_units(server: FakeFhir) -> set[str]:
    return {
        role["organization"]["identifier"]["value"] for role in server.all("PractitionerRole") if role["active"] is True
    }


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
        (change(Action.REACTIVATE, complete=False), Result.NOTHING_TO_DO, "unknown-person"),
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
        assert (outcome.code, outcome.local) == ("101", "incomplete-person")


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


# --- servers that lie ------------------------------------------------------------------------------------------------


def silent(asked: Asked, answer: Answer) -> Answer:
    """201 and 200 without a body."""
    if asked.method == "GET":
        return answer
    return Answer(answer.status, {k: v for k, v in answer.headers.items() if k in ("location", "etag")})


def test_a_create_and_an_update_without_body(bridge: Bridge, server: FakeFhir) -> None:
    server.after = silent
    assert bridge.deliver(ADA).result is Result.CREATED
    person_id = server.only("Practitioner")["id"]
    assert bridge.asked() == ["GET Practitioner?", "POST Practitioner", f"GET Practitioner/{person_id}"]
    assert bridge.deliver(replace(ADA, practitioner=(name(), phone("555-2")))).result is Result.UPDATED
    assert len(bridge.asked()) == 3
    assert bridge.deliver(LEAVES).result is Result.DEACTIVATED
    assert len(bridge.asked()) == 3


def test_a_create_that_says_neither_what_nor_where(bridge: Bridge, server: FakeFhir) -> None:
    server.after = lambda asked, answer: answer if asked.method == "GET" else Answer(201)
    assert bridge.deliver(ADA).result is Result.CREATED
    assert bridge.asked() == ["GET Practitioner?", "POST Practitioner", "GET Practitioner?"]


def test_a_role_that_says_neither_what_nor_where_is_found_again(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    staffed = replace(ADA, roles=(unit("ICU"),))
    server.after = lambda asked, answer: Answer(201) if asked.method == "POST" else answer
    assert bridge.deliver(staffed).result is Result.UNKNOWN
    assert bridge.deliver(staffed).result is Result.UNCHANGED
    assert len(server.all("PractitionerRole")) == 1


@pytest.mark.parametrize("verb", ["PUT", "POST"])
def test_done_that_changed_nothing_is_held(bridge: Bridge, server: FakeFhir, verb: str) -> None:
    bridge.deliver(ADA)
    person = server.only("Practitioner")
    staffed = replace(ADA, roles=(unit("ICU"),))
    if verb == "PUT":
        server.faults.append(lambda asked: fhir(person) if asked.method == "PUT" else None)
        outcome = bridge.deliver(LEAVES)
        assert "deactivat" not in outcome.text
        assert bridge.written_by("Practitioner", person["id"])[0].holds_active
    else:
        empty = {"resourceType": "PractitionerRole", "id": "r9"}
        server.put(empty)
        server.faults.append(once(fhir(empty, 201), when="POST"))
        outcome = bridge.deliver(staffed)
    assert (outcome.result, outcome.local, kinds(outcome)) == (Result.HELD, "not-verified", ["not-verified"])
    assert outcome.written == ()


def test_a_deactivation_that_the_answer_shows_and_the_server_does_not(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    person = server.only("Practitioner")
    server.faults.append(once(fhir({**person, "active": False}), when="PUT"))
    outcome = bridge.deliver(LEAVES)
    assert (outcome.result, outcome.local) == (Result.HELD, "not-verified")
    assert bridge.deliver(LEAVES).result is Result.DEACTIVATED


def test_what_was_deleted_by_someone_is_not_made_again(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    server.delete("Practitioner", bridge.crosswalk["hr", "S100"])
    held = bridge.deliver(ADA)
    assert (held.result, held.local, held.code) == (Result.HELD, "deleted-at-server", "204")
    assert kinds(held) == ["identity-review"]
    gone = bridge.deliver(LEAVES)
    assert (gone.result, kinds(gone)) == (Result.NOTHING_TO_DO, [])
    assert len(server.writes()) == 1


def test_a_person_under_another_id_after_a_refresh(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    person = server.only("Practitioner")
    del server.resources["Practitioner", person["id"]]
    server.put({**person, "id": "fresh"})
    outcome = bridge.deliver(LEAVES)
    assert (outcome.result, outcome.person_id) == (Result.DEACTIVATED, "fresh")
    assert {base.resource_id: base.holds_active for base in outcome.written} == {"fresh": False, person["id"]: False}


def test_nobody_is_written_where_two_could_be_meant(bridge: Bridge, server: FakeFhir) -> None:
    for resource_id in ("a", "b"):
        server.put(
            {"resourceType": "Practitioner", "id": resource_id, "identifier": [{"system": KEYS, "value": "S100"}]}
        )
    held = bridge.deliver(LEAVES)
    assert (held.result, held.code, held.local) == (Result.HELD, "205", "several-people")
    told = " ".join(held.tasks[0].steps)
    assert "Practitioner/a carries the staff key" in told
    assert "leaver" in told
    assert server.writes() == []


def test_part_of_a_resource_is_never_the_base_of_an_update(bridge: Bridge, server: FakeFhir) -> None:
    whole = server.put(
        {
            "resourceType": "Practitioner",
            "identifier": [{"system": KEYS, "value": "S100"}],
            "photo": [{"url": "http://example.org/p.png"}],
        }
    )
    part = {k: v for k, v in whole.items() if k != "photo"}
    part["meta"] = {"versionId": "1", "tag": [{"code": "SUBSETTED"}]}
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": part}]}
    server.faults.append(once(fhir(bundle), when="GET"))
    assert bridge.deliver(ADA).result is Result.UPDATED
    assert server.only("Practitioner")["photo"]


def test_drift_is_said(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(ADA)
    person = server.only("Practitioner")
    server.put({**person, "telecom": [{**person["telecom"][0], "value": "555-9"}]})
    mended = bridge.deliver(ADA)
    assert mended.result is Result.UPDATED
    assert [(d.path, d.field) for d in mended.drift] == [("telecom[0]", "STF-10")]
    assert server.only("Practitioner")["telecom"][0]["value"] == "555-1"


# --- servers that refuse ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "result", "local", "task"),
    [
        (problem(400, "structure"), Result.HELD, "server-refused", "refused-change"),
        (problem(422, "invariant"), Result.HELD, "server-refused", "refused-change"),
        (problem(401, "login"), Result.PAUSED, "unauthorized", ""),
        (problem(403, "forbidden"), Result.HELD, "forbidden", "write-by-hand"),
        (problem(404, "not-found"), Result.HELD, "not-offered", "write-by-hand"),
        (problem(405, "not-supported"), Result.HELD, "not-offered", "write-by-hand"),
        (problem(501, "not-supported"), Result.HELD, "not-offered", "write-by-hand"),
        (Answer(307, {"location": "https://evil.example/"}), Result.HELD, "redirected", "identity-review"),
        (problem(429, "throttled", retry_after="17"), Result.RETRY, "server-busy", ""),
        (problem(503, retry_after="17"), Result.RETRY, "server-busy", ""),
        (problem(500, "exception"), Result.RETRY, "server-error", ""),
        (problem(200, "throttled"), Result.RETRY, "error-in-success", ""),
        (problem(200, "business-rule"), Result.HELD, "error-in-success", "refused-change"),
    ],
)  # fmt: skip
def test_refused_creates(
    bridge: Bridge, server: FakeFhir, answer: Answer, result: Result, local: str, task: str
) -> None:
    server.faults.append(once(answer, when="POST"))
    outcome = bridge.deliver(ADA)
    assert (outcome.result, outcome.local, outcome.http_status) == (result, local, answer.status)
    assert kinds(outcome) == ([task] if task else [])
    assert outcome.code == "207"
    assert outcome.retry_after == (17.0 if "retry-after" in answer.headers else 0.0)
    said = outcome.text + str(outcome.tasks)
    for private in ("CANARY", "Okonkwo", "555-1", GOOD_NPI, "S100"):
        assert private not in said
    assert outcome.written == ()
    if result in (Result.RETRY, Result.PAUSED):
        assert bridge.deliver(ADA).result is Result.CREATED
        assert len(server.all("Practitioner")) == 1


def test_a_redirected_person_is_somebody_to_look_at(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    server.faults.append(lambda asked: Answer(302, {"location": f"{BASE}/Practitioner/other"}))
    outcome = bridge.deliver(ADA)
    assert (outcome.result, outcome.local, kinds(outcome)) == (Result.HELD, "redirected", ["identity-review"])
    assert len(bridge.asked()) == 3


@pytest.mark.parametrize(
    ("offered", "one", "refused"),
    [
        ({"read", "search-type", "update"}, ADA, True),
        ({"read", "search-type", "create"}, ADA, False),
    ],
)
def test_what_the_server_says_that_it_does_not_offer_is_not_tried(
    bridge: Bridge, server: FakeFhir, offered: set[str], one: Any, refused: bool
) -> None:
    capabilities = Capabilities(resources={"Practitioner": ResourceCapabilities(frozenset(offered))})
    outcome = bridge.deliver(one, capabilities=capabilities)
    assert (outcome.local == "not-offered") == refused
    if refused:
        assert (outcome.result, kinds(outcome), server.writes()) == (Result.HELD, ["write-by-hand"], [])
    else:
        # No conditionalCreate in the statement: the header is not sent, and duplicates are looked for.
        assert all("if-none-exist" not in asked.headers for asked in server.journal)
        assert bridge.asked() == ["GET Practitioner?", "POST Practitioner", "GET Practitioner?"]


def test_a_server_that_is_not_there_is_tried_again(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.rules = DestinationRules("ehr", "http://127.0.0.1:9", "write")
    bridge.client = FhirClient(bridge.rules)
    outcome = bridge.deliver(ADA)
    assert (outcome.result, outcome.local) == (Result.RETRY, "unreachable")


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [409, 412, 428])
def test_an_edit_between_our_read_and_our_write_is_kept(bridge: Bridge, server: FakeFhir, status: int) -> None:
    bridge.deliver(ADA)
    server.conflict_status = status
    edited = False

    def edit(asked: Asked) -> Answer | None:
        nonlocal edited
        if asked.method == "PUT" and not edited:
            edited = True
            server.put({**server.only("Practitioner"), "photo": [{"url": "http://example.org/p.png"}]})
        return None

    server.faults.append(edit)
    outcome = bridge.deliver(LEAVES)
    person = server.only("Practitioner")
    assert outcome.result is Result.DEACTIVATED
    assert (person["active"], bool(person["photo"])) == (False, True)
    assert [exchange.status for exchange in outcome.exchanges] == [200, status, 200, 200, 200]


def test_conflicts_without_end_are_tried_again_later(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    server.faults.append(lambda asked: problem(412, "conflict") if asked.method == "PUT" else None)
    bridge.asked()
    outcome = bridge.deliver(LEAVES)
    assert (outcome.result, outcome.code, outcome.local) == (Result.RETRY, "206", "version-conflict")
    assert len(server.writes()) == 4
    server.faults.clear()
    assert bridge.deliver(LEAVES).result is Result.DEACTIVATED


def test_conflicts_of_a_role(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(replace(ADA, roles=(unit("ICU"),)))
    server.faults.append(once(problem(409, "conflict"), when="PUT PractitionerRole"))
    assert bridge.deliver(LEAVES).result is Result.DEACTIVATED
    assert open_units(server) == set()


def test_a_server_without_versions(server: FakeFhir) -> None:
    server.versions = False
    bridge = Bridge(server)
    assert bridge.deliver(ADA).result is Result.CREATED
    left = bridge.deliver(LEAVES)
    assert (left.result, left.version) == (Result.DEACTIVATED, "")
    assert all("if-match" not in asked.headers for asked in server.journal)


def test_if_none_exist_that_finds_someone_updates_her(bridge: Bridge, server: FakeFhir) -> None:
    """Another client created the person between our search and our create."""

    def faster(asked: Asked) -> Answer | None:
        if asked.method == "POST" and not server.all("Practitioner"):
            server.put({"resourceType": "Practitioner", "identifier": [{"system": KEYS, "value": "S100"}]})
        return None

    server.faults.append(faster)
    outcome = bridge.deliver(ADA)
    assert outcome.result is Result.UPDATED
    assert server.only("Practitioner")["name"] == [name().value]


def test_if_none_exist_that_finds_several_is_held(bridge: Bridge, server: FakeFhir) -> None:
    def faster(asked: Asked) -> Answer | None:
        if asked.method == "POST":
            for _ in range(2):
                server.put({"resourceType": "Practitioner", "identifier": [{"system": KEYS, "value": "S100"}]})
        return None

    server.faults.append(faster)
    assert bridge.deliver(ADA).local == "several-people"


def test_a_server_that_refuses_the_condition_itself(bridge: Bridge, server: FakeFhir) -> None:
    server.faults.append(lambda asked: problem(412) if "if-none-exist" in asked.headers else None)
    outcome = bridge.deliver(ADA)
    assert (outcome.result, outcome.local) == (Result.RETRY, "version-conflict")
    assert "conditional_create = false" in outcome.text
    assert Bridge(server, rules(conditional_create=False)).deliver(ADA).result is Result.CREATED


def test_a_duplicate_that_appears_beside_our_create_is_said(server: FakeFhir) -> None:
    bridge = Bridge(server, rules(conditional_create=False))

    def beside(asked: Asked) -> Answer | None:
        if asked.method == "POST":
            server.put({"resourceType": "Practitioner", "identifier": [{"system": KEYS, "value": "S100"}]})
        return None

    server.faults.append(beside)
    outcome = bridge.deliver(ADA)
    assert (outcome.result, outcome.local, bool(outcome.person_id)) == (Result.HELD, "several-people", True)


# --- lost answers ----------------------------------------------------------------------------------------------------


def lose(server: FakeFhir, when: str, *, arrives: bool) -> None:
    """The next such request gets no answer; `arrives`: the server did it all the same."""
    left = [True]

    def fault(asked: Asked) -> Answer | None:
        if left and f"{asked.method} {asked.path.removeprefix('/r4/')}".startswith(when):
            left.pop()
            if arrives:
                server._answer(asked)
            raise LostReply
        return None

    server.faults.append(fault)


def test_a_create_that_arrived_is_adopted(bridge: Bridge, server: FakeFhir) -> None:
    lose(server, "POST Practitioner", arrives=True)
    lost = bridge.deliver(ADA)
    assert (lost.result, lost.local) == (Result.UNKNOWN, "reply-lost")
    bridge.asked()
    found = bridge.deliver(ADA)
    assert (found.result, found.warnings[0].local) == (Result.UNCHANGED, "earlier-request-arrived")
    assert bridge.asked() == ["GET Practitioner?"]
    assert len(server.all("Practitioner")) == 1


def test_a_create_that_did_not_arrive_is_looked_for_three_times(bridge: Bridge, server: FakeFhir) -> None:
    lose(server, "POST Practitioner", arrives=False)
    results = [bridge.deliver(ADA).result for _ in range(4)]
    assert results == [Result.UNKNOWN, Result.UNKNOWN, Result.UNKNOWN, Result.CREATED]
    assert [asked.split()[0] for asked in bridge.asked()] == ["GET", "POST", "GET", "GET", "GET", "POST"]


def test_a_create_that_arrives_late_is_found(bridge: Bridge, server: FakeFhir) -> None:
    lose(server, "POST Practitioner", arrives=False)
    assert bridge.deliver(ADA).result is Result.UNKNOWN
    assert bridge.deliver(ADA).result is Result.UNKNOWN
    server.put(
        {"resourceType": "Practitioner", "identifier": [{"system": KEYS, "value": "S100"}], "name": [name().value]}
    )
    assert bridge.deliver(ADA).result is Result.UPDATED
    assert len(server.all("Practitioner")) == 1


@pytest.mark.parametrize("arrives", [True, False])
def test_a_lost_update_is_read_before_it_is_sent_again(bridge: Bridge, server: FakeFhir, arrives: bool) -> None:
    bridge.deliver(ADA)
    lose(server, "PUT Practitioner", arrives=arrives)
    assert bridge.deliver(LEAVES).result is Result.UNKNOWN
    ended = bridge.deliver(LEAVES)
    assert ended.result is (Result.UNCHANGED if arrives else Result.DEACTIVATED)
    assert kinds(ended) == ["leaver-access"]
    assert len(server.resources["Practitioner", ended.person_id]) == 2


@pytest.mark.parametrize("arrives", [True, False])
def test_a_lost_role(bridge: Bridge, server: FakeFhir, arrives: bool) -> None:
    staffed = replace(ADA, roles=(unit("ICU"), unit("ER")))
    lose(server, "POST PractitionerRole", arrives=arrives)
    first = bridge.deliver(staffed)
    assert (first.result, [base.resource_type for base in first.written]) == (Result.UNKNOWN, ["Practitioner"])
    results = [bridge.deliver(staffed).result for _ in range(3)]
    assert results[-1] in (Result.UPDATED, Result.UNCHANGED)
    assert open_units(server) == {"ICU", "ER"}
    assert len(server.all("PractitionerRole")) == 2
    assert len(server.all("Practitioner")) == 1


# --- half done -------------------------------------------------------------------------------------------------------


def test_what_was_written_before_a_failure_is_not_written_again(bridge: Bridge, server: FakeFhir) -> None:
    staffed = replace(ADA, roles=(unit("ICU"), unit("ER")))
    server.faults.append(once(None, problem(503), when="POST PractitionerRole"))
    half = bridge.deliver(staffed)
    assert half.result is Result.RETRY
    assert [base.role_key for base in half.written] == ["", "STF-8:ICU"]
    assert half.person_id == server.only("Practitioner")["id"]
    assert bridge.deliver(staffed).result is Result.UPDATED
    assert open_units(server) == {"ICU", "ER"}
    assert len(server.all("PractitionerRole")) == 2
    assert bridge.deliver(staffed).result is Result.UNCHANGED


def test_a_role_that_is_refused_for_good_does_not_keep_the_others_open(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(replace(ADA, roles=(unit("ICU"), unit("ER"))))
    server.faults.append(once(problem(422, "invariant"), when="PUT PractitionerRole"))
    left = bridge.deliver(LEAVES)
    assert (left.result, left.local) == (Result.HELD, "server-refused")
    assert kinds(left) == ["refused-change", "leaver-access"]
    assert server.only("Practitioner")["active"] is False
    assert open_units(server) == {"ICU"}
    assert bridge.deliver(LEAVES).result is Result.DEACTIVATED
    assert open_units(server) == set()


@pytest.mark.parametrize("first_contact", [True, False])
def test_a_deactivation_that_could_not_be_verified_yet(server: FakeFhir, first_contact: bool) -> None:
    bridge = Bridge(server)
    if first_contact:
        server.put({"resourceType": "Practitioner", "identifier": [{"system": KEYS, "value": "S100"}], "active": True})
    else:
        bridge.deliver(ADA)
    leaving = change(Action.UPDATE, active=False)
    reads = (
        once(None, problem(503), when="GET Practitioner/")
        if not first_contact
        else once(problem(503), when="GET Practitioner/")
    )
    server.faults.append(reads)
    outcomes = [bridge.deliver(leaving), bridge.deliver(leaving)]
    assert [outcome.result for outcome in outcomes] == [Result.RETRY, Result.UNCHANGED]
    assert [task for outcome in outcomes for task in kinds(outcome)] == ["leaver-access"]


def test_a_role_that_someone_deleted_is_made_again_where_it_is_due(bridge: Bridge, server: FakeFhir) -> None:
    staffed = replace(ADA, roles=(unit("ICU"),))
    bridge.deliver(staffed)
    old = server.only("PractitionerRole")["id"]
    server.delete("PractitionerRole", old)
    again = bridge.deliver(staffed)
    assert again.result is Result.UPDATED
    assert {base.resource_id: base.holds_active for base in again.written}[old] is False
    assert bridge.deliver(staffed).result is Result.UNCHANGED
    server.delete("PractitionerRole", server.only("PractitionerRole")["id"])
    assert bridge.deliver(LEAVES).result is Result.DEACTIVATED


def test_roles_of_somebody_else_are_never_touched(bridge: Bridge, server: FakeFhir) -> None:
    """A server that ignores the parameter `practitioner` answers with everybody's roles."""
    bridge.deliver(ADA)
    stranger = server.put(
        {
            "resourceType": "PractitionerRole",
            "practitioner": {"reference": "Practitioner/stranger"},
            "organization": unit("ICU").values[0].value,
        }
    )
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": stranger}]}
    server.faults.append(lambda asked: fhir(bundle) if asked.query.get("practitioner") else None)
    bridge.deliver(replace(ADA, roles=(unit("ICU"),)))
    assert len(server.all("PractitionerRole")) == 2
    assert server.get("PractitionerRole", stranger["id"])["practitioner"]["reference"] == "Practitioner/stranger"


def test_a_role_that_stands_there_is_adopted(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    reference = {"reference": f"Practitioner/{server.only('Practitioner')['id']}"}
    server.put(
        {
            "resourceType": "PractitionerRole",
            "active": True,
            "practitioner": reference,
            "organization": unit("ICU").values[0].value,
        }
    )
    coded = StaffRole("STF-8:ICU", "STF-8", (*unit("ICU").values, value("code", {"text": "Nurse"}, "PRA-3")))
    assert bridge.deliver(replace(ADA, roles=(coded,))).result is Result.UPDATED
    assert server.only("PractitionerRole")["code"] == [{"text": "Nurse"}]
