"""Each habit and each fault shows the behaviour that it is named after."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from hl7bridge.errors import ConfigError
from hl7bridge.sandbox import PROFILES, Fault, Habits
from hl7bridge.sandbox.habits import FAULTS, Faults, Throttle
from hl7bridge.sandbox.interactions import Asked
from hl7bridge.sandbox.validation import ID
from tests.sandbox.conftest import STAFF, Desk, found, next_link, practitioner, read

CREATE, UPDATE, READ = (
    Asked("create", "Practitioner"),
    Asked("update", "Practitioner", "7"),
    Asked("read", "Practitioner", "7"),
)


# --- which requests a fault strikes ----------------------------------------------------------------------------------


def strikes(fault: Fault, *asked: Asked) -> str:
    faults = Faults((fault,))
    return "".join("x" if faults.take(one)[0] else "." for one in asked)


@pytest.mark.parametrize(
    ("fault", "asked", "pattern"),
    [
        (Fault("status"), [CREATE, READ, Asked("token"), Asked("capabilities")], "xx.."),
        (Fault("status", on=("write",)), [CREATE, UPDATE, READ, Asked("delete")], "xx.."),
        (Fault("status", on=("fetch",)), [CREATE, READ, Asked("search"), Asked("vread")], ".xxx"),
        (Fault("status", on=("token", "create")), [CREATE, READ, Asked("token")], "x.x"),
        (Fault("status", times=2), [READ] * 4, "xx.."),
        (Fault("status", times=2, skip=1), [READ] * 4, ".xx."),
        (Fault("status", every=3), [READ] * 7, "..x..x."),
        (Fault("status", every=2, skip=1, times=2), [READ] * 8, "..x.x..."),
        (Fault("status", id="7"), [CREATE, UPDATE], ".x"),
        (Fault("status", type="PractitionerRole"), [CREATE, Asked("create", "PractitionerRole")], ".x"),
        (Fault("no-change"), [CREATE, READ], "x."),
        (Fault("evil-next"), [CREATE, Asked("search")], ".x"),
    ],
)
def test_which_requests_are_struck(fault: Fault, asked: list[Asked], pattern: str) -> None:
    assert strikes(fault, *asked) == pattern


def test_faults_wait_their_turn_and_latencies_add_up() -> None:
    faults = Faults((Fault("status", times=1), Fault("latency", seconds=0.5), Fault("lost-reply", times=1)))
    faults.add(Fault("latency", seconds=0.25, times=1))
    taken = [faults.take(CREATE) for _ in range(3)]
    assert [(fault.kind if fault else "", seconds) for fault, seconds in taken] == [
        ("status", 0.75),
        ("lost-reply", 0.5),
        ("", 0.5),
    ]
    assert faults.as_json() == [{"kind": "latency", "seconds": 0.5, "struck": 3}]
    faults.clear()
    assert faults.take(CREATE) == (None, 0.0)


def test_a_throttle_lets_one_second_of_requests_through() -> None:
    throttle = Throttle()
    assert [throttle.allows(2, now) for now in (0, 0, 0, 0.4, 0.5, 0.6, 9, 9, 9)] == [
        *(True, True, False, False, True, False),
        *(True, True, False),
    ]


@pytest.mark.parametrize(
    ("read_fault", "key"),
    [
        ({"kind": "earthquake"}, "kind"),
        ({}, "kind"),
        ({"kind": "status", "colour": "red"}, "colour"),
        ({"kind": "status", "on": ["lunch"]}, "on"),
        ({"kind": "status", "times": -1}, "times"),
        ({"kind": "status", "times": "often"}, "times"),
        ({"kind": "status", "every": 0}, "every"),
        ({"kind": "status", "body": "poem"}, "body"),
        ({"kind": "status", "done": "perhaps"}, "done"),
        ({"kind": "lost-reply", "close": "softly"}, "close"),
        ({"kind": "latency", "seconds": [1]}, "seconds"),
    ],
)
def test_a_fault_that_is_none_is_refused(read_fault: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Fault.from_json(read_fault)
    assert refused.value.key == key


def test_a_fault_is_read_and_written() -> None:
    read_fault = {"kind": "status", "on": ["write"], "status": 429, "retry_after": 2, "done": True}
    fault = Fault.from_json(read_fault)
    assert fault == Fault("status", on=("write",), status=429, retry_after="2", done=True)
    assert Fault.from_json(fault.as_json()) == fault
    assert Fault.from_json({"kind": "latency", "seconds": Decimal("0.5")}).seconds == 0.5


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("page_size", "7", 7),
        ("version_conflict", "412", 412),
        ("versioned", "false", False),
        ("versioned", True, True),
        ("ignored_parameters", "identifier,family", ("identifier", "family")),
        ("ignored_parameters", ["identifier"], ("identifier",)),
        ("clock_offset", "-600", -600.0),
        ("id_style", "opaque", "opaque"),
    ],
)
def test_a_habit_is_read(name: str, value: object, expected: object) -> None:
    assert getattr(Habits().changed({name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mood", "bad"),
        ("page_size", "0"),
        ("page_size", "many"),
        ("page_size", True),
        ("versioned", 1),
        ("version_conflict", 418),
        ("id_style", "short"),
        ("rate_limit", -1),
    ],
)
def test_a_habit_that_is_none_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as refused:
        Habits().changed({name: value})
    assert refused.value.key == name


# --- lasting habits --------------------------------------------------------------------------------------------------


def test_ids_in_the_style_of_epic(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(habits=PROFILES["epic"].changed({"writes_refused": 0}))
    made = desk.create(practitioner("S1"))["id"]
    assert ID.fullmatch(made)
    assert (len(made), made.isdecimal()) == (24, False)
    desk.sandbox.habits = Habits(id_style="long")
    long = desk.create(practitioner("S2"))["id"]
    assert len(long) == 96
    assert desk.call("GET", f"Practitioner/{long}").status_code == 200


@pytest.mark.parametrize("status", [403, 405, 501])
def test_writes_are_refused(open_desk: Callable[..., Desk], status: int) -> None:
    desk = open_desk(habits=Habits(writes_refused=status))
    made = desk.create(practitioner("S1"), x_sandbox_observer="true")
    assert desk.call("POST", "Practitioner", practitioner("S2")).status_code == status
    answer = desk.call("PUT", "Practitioner/1000", made | {"active": True})
    assert (answer.status_code, read(answer)["resourceType"]) == (status, "OperationOutcome")
    assert desk.call("GET", "Practitioner/1000").status_code == 200
    assert [entry["changed"] for entry in desk.entries()] == [True, False, False, False]


def test_conditional_create_can_be_ignored_or_refused(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(habits=Habits(conditional_create="ignored"))
    for _ in range(2):
        desk.create(practitioner("S1"), if_none_exist=f"identifier={STAFF}|S1")
    assert found(desk.call("GET", "Practitioner?identifier=S1")) == ["1000", "1001"]
    desk.sandbox.habits = Habits(conditional_create="refused")
    assert desk.call("POST", "Practitioner", practitioner("S2"), if_none_exist="identifier=S2").status_code == 412


def test_too_many_requests_get_429_without_a_hint(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(habits=Habits(rate_limit=2.0))
    answers = [desk.call("GET", "Practitioner") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "Retry-After" not in answers[2].headers
    desk.clock.now += 1
    assert desk.call("GET", "Practitioner").status_code == 200


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def one(desk: Desk) -> Desk:
    """A sandbox with Practitioner 1000, version 1."""
    desk.create(practitioner("S1", active=True))
    return desk


def strike(desk: Desk, kind: str, **fields: Any) -> None:
    desk.sandbox.faults.add(Fault.from_json({"kind": kind, "times": 1, **fields}))


@pytest.mark.parametrize("status", [400, 401, 403, 405, 409, 412, 422, 428, 429, 500, 501, 502, 503, 504])
def test_a_status_instead_of_what_was_asked(one: Desk, status: int) -> None:
    strike(one, "status", status=status, on=["write"])
    assert one.call("GET", "Practitioner/1000").status_code == 200
    answer = one.call("POST", "Practitioner", practitioner("S2"))
    assert (answer.status_code, read(answer)["resourceType"]) == (status, "OperationOutcome")
    assert "Retry-After" not in answer.headers
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert found(one.call("GET", "Practitioner")) == ["1000"]
    assert one.call("POST", "Practitioner", practitioner("S2")).status_code == 201
    struck = next(entry for entry in one.entries() if "fault" in entry)
    assert (struck["status"], struck["fault"], struck["changed"]) == (status, "status", False)
    assert "stored" not in struck


@pytest.mark.parametrize("retry_after", ["2", "Mon, 21 Sep 2026 14:13:25 GMT"])
def test_throttled_with_a_hint(one: Desk, retry_after: str) -> None:
    strike(one, "status", status=429, retry_after=retry_after)
    answer = one.call("GET", "Practitioner/1000")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, retry_after)


def test_bodies_that_are_no_outcome(one: Desk) -> None:
    strike(one, "status", status=503, body="html")
    strike(one, "status", status=503, body="empty")
    strike(one, "status", status=200, body="html")
    answers = [one.call("GET", "Practitioner/1000") for _ in range(3)]
    assert [(answer.status_code, answer.data[:6]) for answer in answers] == [
        (503, b"<html>"),
        (503, b""),
        (200, b"<html>"),
    ]


def test_done_but_answered_with_an_error(one: Desk) -> None:
    strike(one, "status", status=500, done=True, on=["write"])
    assert one.call("POST", "Practitioner", practitioner("S2")).status_code == 500
    assert found(one.call("GET", "Practitioner?identifier=S2")) == ["1001"]
    struck = one.entries()[1]
    assert (struck["status"], struck["changed"], struck["stored"]["id"]) == (500, True, "1001")


def test_merged_records_redirect_and_others_are_gone(one: Desk) -> None:
    strike(one, "status", status=301, id="1000", location="http://localhost/fhir/Practitioner/1001", on=["read"])
    answer = one.call("GET", "Practitioner/1000")
    assert (answer.status_code, answer.headers["Location"]) == (301, "http://localhost/fhir/Practitioner/1001")
    strike(one, "status", status=410, id="1000")
    answer = one.call("PUT", "Practitioner/1000", practitioner(id="1000"))
    assert (answer.status_code, read(answer)["issue"][0]["code"]) == (410, "deleted")


def test_latency_is_waited(one: Desk) -> None:
    strike(one, "latency", seconds=3600)
    one.sandbox.end_waits()
    assert one.call("GET", "Practitioner/1000").status_code == 200


@pytest.mark.parametrize(("kind", "ids"), [("lost-reply", ["1000", "1001"]), ("lost-request", ["1000"])])
def test_what_is_lost_is_done_or_not_done(one: Desk, kind: str, ids: list[str]) -> None:
    strike(one, kind, on=["write"])
    with pytest.raises(ConnectionResetError):
        one.call("POST", "Practitioner", practitioner("S2"))
    assert found(one.call("GET", "Practitioner")) == ids
    struck = one.entries()[1]
    assert (struck["answered"], struck["changed"], "stored" in struck) == (False, len(ids) == 2, len(ids) == 2)


def test_a_lost_refusal_is_journaled(one: Desk) -> None:
    strike(one, "lost-reply", on=["write"])
    with pytest.raises(ConnectionResetError):
        one.call("POST", "Practitioner", practitioner(gender="F"))
    assert (one.entries()[1]["status"], one.entries()[1]["answered"]) == (400, False)


def test_an_update_that_did_not_change_anything(one: Desk) -> None:
    body = practitioner("S1", active=False, id="1000")
    strike(one, "no-change")
    answer = one.call("PUT", "Practitioner/1000", body, if_match='W/"1"')
    assert (answer.status_code, answer.headers["ETag"], read(answer)["active"]) == (200, 'W/"1"', True)
    strike(one, "no-change", echo=True)
    answer = one.call("PUT", "Practitioner/1000", body, if_match='W/"1"')
    assert (answer.status_code, answer.headers["ETag"], read(answer)["active"]) == (200, 'W/"2"', False)
    standing = one.call("GET", "Practitioner/1000")
    assert (standing.headers["ETag"], read(standing)["active"]) == ('W/"1"', True)
    assert [entry["changed"] for entry in one.entries()] == [True, False, False, False]
    assert one.entries()[1]["sent"]["active"] is False


def test_a_create_that_created_nothing(one: Desk) -> None:
    strike(one, "no-change")
    answer = one.call("POST", "Practitioner", practitioner("S2"))
    assert (answer.status_code, read(answer)["id"]) == (201, "1001")
    assert one.call("GET", "Practitioner/1001").status_code == 404


def test_done_with_an_empty_answer(one: Desk) -> None:
    strike(one, "empty-body")
    answer = one.call("POST", "Practitioner", practitioner("S2"))
    assert (answer.status_code, answer.data, answer.headers["ETag"]) == (201, b"", 'W/"1"')
    strike(one, "empty-body", without=["Location", "ETag"])
    answer = one.call("POST", "Practitioner", practitioner("S3"))
    assert (answer.status_code, answer.data) == (201, b"")
    assert not {"Location", "ETag"} & set(answer.headers.keys())
    assert one.call("GET", "Practitioner/1002").status_code == 200


def test_200_that_says_error(one: Desk) -> None:
    strike(one, "error-outcome", on=["update"])
    answer = one.call("PUT", "Practitioner/1000", practitioner(id="1000"))
    assert (answer.status_code, read(answer)["issue"][0]["severity"]) == (200, "error")
    assert read(one.call("GET", "Practitioner/1000"))["active"] is True


def test_next_links_that_lead_astray(one: Desk) -> None:
    for number in range(3):
        one.create(practitioner(f"T{number}"))
    strike(one, "evil-next", origin="http://127.0.0.2:1")
    assert next_link(one.call("GET", "Practitioner?_count=2")).startswith("http://127.0.0.2:1/fhir/Practitioner?")
    strike(one, "expired-next")
    ended = next_link(one.call("GET", "Practitioner?_count=2"))
    assert one.call("GET", ended.removeprefix("http://localhost")).status_code == 410
    strike(one, "looping-next")
    link = next_link(one.call("GET", "Practitioner?_count=2"))
    for _ in range(2):
        page = one.call("GET", link.removeprefix("http://localhost"))
        assert (found(page), next_link(page)) == (["1000", "1001"], link)


def test_searches_that_do_not_search(one: Desk) -> None:
    strike(one, "ignored-parameters")
    assert found(one.call("GET", "Practitioner?identifier=nobody")) == ["1000"]
    assert found(one.call("GET", "Practitioner?identifier=nobody")) == []
    strike(one, "empty-search")
    assert found(one.call("GET", "Practitioner?identifier=S1")) == []
    assert found(one.call("GET", "Practitioner?identifier=S1")) == ["1000"]


def test_the_token_endpoint_fails(one: Desk) -> None:
    strike(one, "status", on=["token"], status=401, error="invalid_client")
    strike(one, "status", on=["token"], status=503, body="html")
    answer = one.call("POST", "/oauth2/token", "grant_type=client_credentials")
    assert (answer.status_code, read(answer)) == (401, {"error": "invalid_client", "error_description": None})
    assert one.call("POST", "/oauth2/token", "grant_type=client_credentials").status_code == 503
    strike(one, "lost-reply", on=["token"])
    with pytest.raises(ConnectionResetError):
        one.call("POST", "/oauth2/token", "grant_type=client_credentials")


def test_the_descriptions_fail(one: Desk) -> None:
    strike(one, "status", on=["capabilities", "smart-configuration"], status=503, times=2)
    assert one.call("GET", "metadata").status_code == 503
    assert one.call("GET", ".well-known/smart-configuration").status_code == 503
    # Without auth there is no SMART configuration.
    assert one.call("GET", ".well-known/smart-configuration").status_code == 404


def test_the_observer_meets_neither_habits_nor_faults(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(auth=True, habits=PROFILES["epic"], faults=(Fault("status"),))
    desk.create(practitioner("S1"), x_sandbox_observer="true")
    assert desk.call("POST", "Practitioner", practitioner("S1")).status_code == 401


def test_each_fault_is_described() -> None:
    assert all(Fault.from_json({"kind": kind}).kind == kind and text for kind, text in FAULTS.items())
