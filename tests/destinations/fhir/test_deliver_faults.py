"""Deliveries to servers that lie, refuse, conflict, lose answers, or stop half-way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.capabilities import Capabilities, ResourceCapabilities
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.model import (
    Action,
    Result,
    StaffRole,
)
from tests.destinations.fhir.people import (
    ADA,
    GOOD_NPI,
    KEYS,
    LEAVES,
    NOW,
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
from tests.destinations.fhir.server import BASE, Answer, Asked, FakeFhir, LostReply, fhir, once, problem

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


def test_a_birth_date_is_corrected_and_a_recycled_number_is_not_believed(server: FakeFhir) -> None:
    bridge = Bridge(server, rules(withheld=frozenset()))

    def born(date: str, family: str) -> Any:
        return change(Action.UPDATE, name(family), value("birthDate", date, "STF-6"))

    assert bridge.deliver(born("1980-02-01", "Okonkwo")).result is Result.CREATED
    assert bridge.deliver(born("1980-02-10", "Okonkwo")).result is Result.UPDATED
    recycled = bridge.deliver(born("1999-07-07", "Brandt"))
    assert (recycled.result, recycled.local) == (Result.HELD, "recycled-key")
    server.put({**server.only("Practitioner"), "birthDate": "1971-01-01"})
    corrected = bridge.deliver(born("1980-02-10", "Okonkwo"))
    assert (corrected.result, [one.local for one in corrected.warnings]) == (Result.UPDATED, ["same-person-differs"])
    nameless = change(Action.UPDATE, value("birthDate", "1999-07-07", "STF-6"))
    assert bridge.deliver(nameless).local == "birth-date-differs"


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
        if local == "server-error":  # a gateway says so, too, of what was done: it is looked for first
            assert bridge.deliver(ADA).result is Result.UNKNOWN
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
    bridge.rules = DestinationRules("ehr", "http://127.0.0.1:9", mode="write")
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
    assert bridge.asked() == ["GET Practitioner?", f"GET Practitioner/{found.person_id}"]
    assert len(server.all("Practitioner")) == 1


def test_a_create_that_did_not_arrive_is_looked_for_until_the_index_must_have_it(
    bridge: Bridge, server: FakeFhir
) -> None:
    lose(server, "POST Practitioner", arrives=False)
    seconds = (0, 1, 20, 59, 60)
    outcomes = [bridge.deliver(ADA, now=NOW + timedelta(seconds=after)) for after in seconds]
    assert [one.result for one in outcomes] == [Result.UNKNOWN] * 4 + [Result.CREATED]
    assert [one.retry_after for one in outcomes] == [0.0, 0.5, 5.0, 1.0, 0.0]
    assert [asked.split()[0] for asked in bridge.asked()] == ["GET", "POST", "GET", "GET", "GET", "GET", "POST"]


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
    results = [bridge.deliver(staffed).result for _ in range(4)]
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
    server.faults.append(once(None, problem(503), when="GET Practitioner/"))
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
