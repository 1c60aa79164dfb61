"""The levers below /sandbox."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from werkzeug.test import Client as WsgiClient

from hl7bridge.sandbox import Fault, Habits, SandboxSettings, create_app
from tests.sandbox.conftest import Desk, found, practitioner, read


def test_the_journal_is_read_from_a_place_on(desk: Desk) -> None:
    for number in range(3):
        desk.create(practitioner(f"S{number}"))
    assert [entry["id"] for entry in read(desk.call("GET", "/sandbox/journal"))["entries"]] == ["1000", "1001", "1002"]
    assert [entry["id"] for entry in read(desk.call("GET", "/sandbox/journal?since=2"))["entries"]] == ["1002"]
    assert desk.call("GET", "/sandbox/journal?since=x").status_code == 400


def test_the_state_says_what_there_is(desk: Desk) -> None:
    made = desk.create(practitioner("S1"))
    desk.call("PUT", "Practitioner/1000", made | {"active": True})
    state = read(desk.call("GET", "/sandbox/state"))
    assert (state["sequence"], state["counts"]["Practitioner"]) == (2, {"resources": 1, "versions": 2})
    assert "resources" not in state
    full = read(desk.call("GET", "/sandbox/state?resources=true"))["resources"]
    assert ([item["id"] for item in full["Practitioner"]], full["PractitionerRole"]) == (["1000"], [])


def test_habits_change_while_it_runs(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(habits=Habits(page_size=3))
    body = '{"habits": {"version_conflict": 412}, "faults": [{"kind": "latency", "seconds": 0.5}]}'
    changed = read(desk.call("POST", "/sandbox/habits", body, content_type="application/json"))
    assert (changed["habits"]["version_conflict"], changed["habits"]["page_size"]) == (412, 3)
    assert changed["faults"] == [{"kind": "latency", "seconds": 0.5, "struck": 0}]
    cleared = read(desk.call("POST", "/sandbox/habits", '{"clear": true}', content_type="application/json"))
    assert (cleared["habits"]["version_conflict"], cleared["habits"]["page_size"], cleared["faults"]) == (409, 3, [])
    assert read(desk.call("GET", "/sandbox/habits")) == cleared


@pytest.mark.parametrize(
    "body",
    [
        '{"mood": 1}',
        '{"habits": {"mood": 1}}',
        '{"faults": [{"kind": "x"}]}',
        '{"faults": ["x"]}',
        "[]",
        "",
        '{"habits": 7}',
    ],
)
def test_what_is_not_understood_changes_nothing(desk: Desk, body: str) -> None:
    before = read(desk.call("GET", "/sandbox/habits"))
    assert desk.call("POST", "/sandbox/habits", body, content_type="application/json").status_code == 400
    assert read(desk.call("GET", "/sandbox/habits")) == before


def test_reset_empties_it_and_the_journal_goes_on(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(faults=(Fault("status", on=("delete",)),))
    desk.create(practitioner("S1"))
    desk.sandbox.habits = Habits(page_size=1)
    assert desk.call("POST", "/sandbox/reset").status_code == 200
    assert found(desk.call("GET", "Practitioner")) == []
    assert desk.create(practitioner("S1"))["id"] == "1001"
    assert desk.sandbox.habits == Habits()
    assert [fault["on"] for fault in desk.sandbox.faults.as_json()] == [("delete",)]
    assert [entry["interaction"] for entry in desk.entries()] == ["create", "reset", "search", "create"]


@pytest.mark.parametrize(
    ("address", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8080", 200),
        ("127.0.0.1", "localhost", 200),
        ("::1", "[::1]:8080", 200),
        ("10.0.0.7", "127.0.0.1:8080", 403),
        ("127.0.0.1", "lured.example:8080", 403),
        ("", "localhost", 403),
    ],
)
def test_levers_and_the_observer_are_for_this_machine(address: str, host: str, status: int) -> None:
    app = create_app(SandboxSettings(auth=True))
    client = WsgiClient(app)
    options = {"environ_overrides": {"REMOTE_ADDR": address, "HTTP_HOST": host}}
    assert client.get("/sandbox/state", **options).status_code == status
    assert client.post("/sandbox/reset", **options).status_code == status
    observed = client.get("/fhir/Practitioner", headers={"X-Sandbox-Observer": "true"}, **options)
    assert observed.status_code == (200 if status == 200 else 401)
    app.extensions["sandbox"].close()


def test_a_form_of_a_web_page_moves_no_lever(desk: Desk) -> None:
    form = {"content_type": "text/plain"}
    assert desk.call("POST", "/sandbox/habits", '{"clear": true}', **form).status_code == 415
