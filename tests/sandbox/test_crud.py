"""Create, read, update over the WSGI callable; the answers agree with HAPI's unless a comment says otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hl7bridge.sandbox import Habits
from tests.sandbox.conftest import STAFF, Desk, found, practitioner, read


def test_create_answers_with_the_resource_and_where_it_is(desk: Desk) -> None:
    answer = desk.call("POST", "Practitioner", practitioner("S1", id="mine", active=True), x_request_id="r-1")
    assert answer.status_code == 201
    assert answer.headers["Location"] == "http://localhost/fhir/Practitioner/1000/_history/1"
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Last-Modified"] == "Mon, 21 Sep 2026 14:13:20 GMT"
    assert answer.headers["X-Request-Id"] == "r-1"
    assert answer.headers["Content-Type"] == "application/fhir+json;charset=utf-8"
    assert read(answer) == practitioner("S1", active=True) | {
        "id": "1000",
        "meta": {"versionId": "1", "lastUpdated": "2026-09-21T14:13:20.000Z"},
    }
    assert desk.call("GET", "Practitioner/1000").data == answer.data


def test_numbers_keep_their_text(desk: Desk) -> None:
    body = '{"resourceType":"Practitioner","extension":[{"url":"urn:x:fte","valueDecimal":1.10}]}'
    made = desk.call("POST", "Practitioner", body)
    assert b'"valueDecimal":1.10}' in made.data
    assert b'"valueDecimal":1.10}' in desk.call("GET", "Practitioner/1000").data
    assert b'"valueDecimal":1.10}' in desk.call("GET", "Practitioner").data
    changed = made.text.replace("1.10", "1.1")
    assert desk.call("PUT", "Practitioner/1000", changed).headers["ETag"] == 'W/"2"'


def test_what_the_client_says_of_version_and_time_is_not_kept(desk: Desk) -> None:
    meta = {"versionId": "9", "lastUpdated": "2001-01-01T00:00:00Z", "tag": [{"system": "urn:x:t", "code": "pilot"}]}
    made = desk.create(practitioner(meta=meta))
    assert made["meta"] == {
        "versionId": "1",
        "lastUpdated": "2026-09-21T14:13:20.000Z",
        "tag": [{"system": "urn:x:t", "code": "pilot"}],
    }


@pytest.mark.parametrize(
    ("preference", "kind"),
    [
        ("return=minimal", None),
        ("return=OperationOutcome", "OperationOutcome"),
        ("return=representation", "Practitioner"),
    ],
)
def test_prefer_chooses_the_body(desk: Desk, preference: str, kind: str | None) -> None:
    answer = desk.call("POST", "Practitioner", practitioner("S1"), prefer=f"{preference}; handling=strict")
    assert (answer.status_code, answer.headers["ETag"]) == (201, 'W/"1"')
    assert (read(answer)["resourceType"] if answer.data else None) == kind


def test_if_none_exist_creates_once_and_refuses_to_choose(desk: Desk) -> None:
    condition = {"if_none_exist": f"identifier={STAFF}|S1"}
    assert desk.call("POST", "Practitioner", practitioner("S1"), **condition).status_code == 201
    again = desk.call("POST", "Practitioner", practitioner("S1", active=False), **condition)
    assert (again.status_code, again.headers["Location"]) == (
        200,
        "http://localhost/fhir/Practitioner/1000/_history/1",
    )
    assert "active" not in read(again)
    desk.create(practitioner("S1"))
    several = desk.call("POST", "Practitioner", practitioner("S1"), **condition)
    assert (several.status_code, read(several)["issue"][0]["code"]) == (412, "multiple-matches")
    assert [entry["status"] for entry in desk.entries()] == [201, 200, 201, 412]


@pytest.mark.parametrize("condition", ["", "identifier=", "shoe-size=44", "?_count=1", f"identifier={STAFF}|other"])
def test_a_condition_that_says_nothing_or_is_not_met_is_refused(desk: Desk, condition: str) -> None:
    answer = desk.call("POST", "Practitioner", practitioner("S1"), if_none_exist=condition)
    # An empty header is no condition, as in HAPI.
    assert answer.status_code == (400 if condition else 201)


def test_update_replaces_and_counts_versions(desk: Desk) -> None:
    made = desk.create(practitioner("S1", active=True, gender="female"))
    body = {"resourceType": "Practitioner", "id": made["id"], "active": False}
    answer = desk.call("PUT", "Practitioner/1000", body, if_match='W/"1"')
    assert answer.status_code == 200
    assert answer.headers["ETag"] == 'W/"2"'
    assert answer.headers["Content-Location"] == "http://localhost/fhir/Practitioner/1000/_history/2"
    assert "Location" not in answer.headers
    assert {k: v for k, v in read(answer).items() if k != "meta"} == body
    assert found(desk.call("GET", "Practitioner?identifier=S1")) == []
    assert read(desk.call("GET", "Practitioner/1000/_history/1"))["gender"] == "female"
    history = read(desk.call("GET", "Practitioner/1000/_history"))
    assert [entry["resource"]["meta"]["versionId"] for entry in history["entry"]] == ["2", "1"]


def test_an_update_that_changes_nothing_makes_no_version_and_is_seen(desk: Desk) -> None:
    made = desk.create(practitioner("S1", active=True))
    shuffled = dict(reversed(made.items()))
    answer = desk.call("PUT", "Practitioner/1000", shuffled)
    assert (answer.status_code, answer.headers["ETag"]) == (200, 'W/"1"')
    assert desk.entries()[-1] | {"sent": shuffled} == desk.entries()[-1]
    assert desk.entries()[-1]["unchanged"] is True
    assert "stored" not in desk.entries()[-1]


def test_by_habit_an_update_that_changes_nothing_makes_a_version(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(habits=Habits(unchanged_makes_version=True))
    made = desk.create(practitioner("S1"))
    assert desk.call("PUT", "Practitioner/1000", made).headers["ETag"] == 'W/"2"'


@pytest.mark.parametrize(
    ("habits", "if_match", "status"),
    [
        ({}, 'W/"1"', 200),
        ({}, '"1"', 200),
        ({}, "*", 200),
        ({}, "", 200),
        ({}, 'W/"7"', 409),
        ({"version_conflict": 412}, 'W/"7"', 412),
        ({"if_match_required": True}, "", 428),
        ({"if_match_required": True}, 'W/"1"', 200),
        # HAPI answers 500 here.
        ({}, "1", 400),
        ({"versioned": False}, 'W/"7"', 200),
    ],
)
def test_if_match(open_desk: Callable[..., Desk], habits: dict[str, object], if_match: str, status: int) -> None:
    desk = open_desk(habits=Habits().changed(habits))
    made = desk.create(practitioner("S1"))
    headers = {"if_match": if_match} if if_match else {}
    assert desk.call("PUT", "Practitioner/1000", made | {"active": True}, **headers).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "Practitioner/77", None, 404),
        ("GET", "Practitioner/1000/_history/9", None, 404),
        ("GET", "Practitioner/77/_history", None, 404),
        ("GET", "Patient/1", None, 404),
        ("GET", "Patient?identifier=1", None, 404),
        ("POST", "Organization", {"resourceType": "Organization"}, 404),
        ("GET", "", None, 404),
        ("GET", "/elsewhere", None, 404),
        # HAPI creates; the sandbox does so by habit only.
        ("PUT", "Practitioner/77", {"resourceType": "Practitioner", "id": "77"}, 404),
        ("PUT", "Practitioner/1000", {"resourceType": "Practitioner"}, 400),
        ("PUT", "Practitioner/1000", {"resourceType": "Practitioner", "id": "1001"}, 400),
        ("PUT", "Practitioner?identifier=S1", {"resourceType": "Practitioner"}, 405),
        ("POST", "PractitionerRole", {"resourceType": "Practitioner"}, 400),
        ("POST", "Practitioner", "<Practitioner/>", 400),
        ("POST", "Practitioner", "[" * 100_000, 400),
        ("POST", "Practitioner", '{"resourceType":"Practitioner","language":"\\ud800"}', 400),
        ("POST", "Practitioner", b"\xff", 400),
        ("PATCH", "Practitioner/1000", [], 405),
        ("DELETE", "Practitioner/1000", None, 405),
        ("POST", "Practitioner/1000", {"resourceType": "Practitioner"}, 405),
    ],
)
def test_what_is_refused_says_why(desk: Desk, method: str, path: str, body: object, status: int) -> None:
    desk.create(practitioner("S1"))
    answer = desk.call(method, path, body)
    assert answer.status_code == status
    assert read(answer)["resourceType"] == "OperationOutcome"
    assert read(answer)["issue"][0]["severity"] == "error"
    assert [entry["status"] for entry in desk.entries()] == [201, status]


def test_other_content_types_and_large_bodies_are_refused(desk: Desk) -> None:
    assert desk.call("POST", "Practitioner", "{}", content_type="application/fhir+xml").status_code == 415
    assert desk.call("POST", "Practitioner", b" " * 5_000_000).status_code == 413
    assert desk.call("GET", "Practitioner?_format=xml").status_code == 406


def test_the_observer_may_delete_and_what_is_gone_is_gone(desk: Desk) -> None:
    made = desk.create(practitioner("S1"))
    assert desk.call("DELETE", "Practitioner/1000", x_sandbox_observer="true").status_code == 204
    assert desk.call("GET", "Practitioner/1000").status_code == 410
    assert desk.call("GET", "Practitioner/1000/_history/2").status_code == 410
    assert desk.call("GET", "Practitioner/1000/_history/1").status_code == 200
    assert desk.call("PUT", "Practitioner/1000", made).status_code == 410
    assert found(desk.call("GET", "Practitioner?identifier=S1")) == []
    assert desk.entries()[1]["client"] == "observer"
    assert desk.create(practitioner("S2"))["id"] == "1001"


def test_by_habit_an_update_creates(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(habits=Habits(update_creates=True))
    body = {"resourceType": "Practitioner", "id": "anna-1"}
    assert desk.call("PUT", "Practitioner/anna-1", body).status_code == 201
    assert desk.call("PUT", "Practitioner/an_1", body | {"id": "an_1"}).status_code == 404


def test_a_read_with_the_version_at_hand_is_answered_304(desk: Desk) -> None:
    desk.create(practitioner("S1"))
    assert desk.call("GET", "Practitioner/1000", if_none_match='W/"1"').status_code == 304
    assert desk.call("GET", "Practitioner/1000", if_none_match='W/"2"').status_code == 200


def test_by_habit_there_are_no_versions(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(habits=Habits(versioned=False))
    answer = desk.call("POST", "Practitioner", practitioner("S1"))
    assert "ETag" not in answer.headers
    assert "versionId" not in read(answer)["meta"]
    assert answer.headers["Location"] == "http://localhost/fhir/Practitioner/1000"
    assert desk.call("GET", "Practitioner/1000/_history/1").status_code == 405
    assert "versionId" not in read(desk.call("GET", "Practitioner"))["entry"][0]["resource"]["meta"]


def test_metadata_says_what_there_is(open_desk: Callable[..., Desk]) -> None:
    statement = read(open_desk(auth=True).call("GET", "metadata"))
    assert (statement["resourceType"], statement["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    person = statement["rest"][0]["resource"][0]
    assert {item["code"] for item in person["interaction"]} == {
        "create",
        "read",
        "vread",
        "update",
        "search-type",
        "history-instance",
    }
    assert (person["versioning"], person["conditionalCreate"]) == ("versioned-update", True)
    uris = statement["rest"][0]["security"]["extension"][0]["extension"]
    assert uris == [{"url": "token", "valueUri": "http://localhost/oauth2/token"}]
    refusing = open_desk(habits=Habits(writes_refused=405, versioned=False))
    person = read(refusing.call("GET", "metadata"))["rest"][0]["resource"][0]
    assert {item["code"] for item in person["interaction"]} == {"read", "search-type"}
    assert (person["versioning"], person["conditionalCreate"]) == ("no-version", False)
