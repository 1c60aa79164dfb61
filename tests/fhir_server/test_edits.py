"""Somebody else edits the resource between our read and our write: the edit stays, and our change comes on top."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.stream import npi
from tests.bridges import Bridge, Feed, running_bridge
from tests.hapi.observer import NPI, JsonObject, Observer, content, values, version
from tests.hapi.proxy import Answer, Asked, Proxy
from tests.hapi.roster import BLOCK
from tests.journey import KEY_SYSTEM, ask, mfn, person

THEIRS = {"system": "phone", "use": "work", "value": "555 7777"}
PHOTO = {"contentType": "image/png", "title": "portrait", "data": "AAEC"}
NAME = "Ivarsdottir^Jorunn"
UNIT = "NEPH^Nephrology"


@pytest.fixture(scope="module")
def bridge(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    folder: Path = tmp_path_factory.mktemp("bridge")
    to = {"timeout": "10s", "retry": {"first": "100ms", "longest": "200ms"}}
    with running_bridge(folder, proxy.base_url, feeds=[Feed("staff", KEY_SYSTEM)], to=to) as running:
        yield running


@pytest.fixture
def number(block: int) -> str:
    """An NPI of this test alone; the staff key is made of it, too."""
    return npi(block * BLOCK)


class Colleague:
    """Edits a resource right after the server has answered our read of it, `times` times; we are told what was before."""

    def __init__(self, observer: Observer, resource_id: str, edit: Callable[[JsonObject, int], None], times: int = 1):
        self.observer, self.resource_id, self.edit, self.times = observer, resource_id, edit, times
        self.edits = 0

    def __call__(self, asked: Asked, answer: Answer) -> Answer:
        found = self._found(json.loads(answer.body)) if asked.method == "GET" and answer.status == 200 else None
        if found and self.edits < self.times:
            self.edits += 1
            self.edit(found, self.edits)
            assert version(self.observer.put(found)) == version(found) + 1
        return answer

    def _found(self, body: JsonObject) -> JsonObject | None:
        seen = [entry["resource"] for entry in body.get("entry", [])] if body["resourceType"] == "Bundle" else [body]
        return next((resource for resource in seen if resource.get("id") == self.resource_id), None)


def add_phone(resource: JsonObject, turn: int) -> None:
    resource.setdefault("telecom", []).append({**THEIRS, "value": f"555 777{turn}"})
    if resource["resourceType"] == "Practitioner":
        resource["photo"] = [PHOTO]


def send(bridge: Bridge, control_id: str, record: str) -> None:
    assert ask(bridge, mfn(control_id, record)).code == "AA"
    bridge.wait_delivered()


def joined(bridge: Bridge, observer: Observer, number: str) -> tuple[JsonObject, JsonObject]:
    """A person that the bridge brought to the server, and their role."""
    record = person("MAD", f"J{number}", NAME, phone="5550131", unit=UNIT, npi=number)
    send(bridge, f"join-{number}", record)
    (practitioner,) = observer.with_npi([number])
    (role,) = observer.roles_of([practitioner])
    return practitioner, role


def moved(number: str) -> str:
    """The record of a move: new phone, and a second given name."""
    return person("MUP", f"J{number}", f"{NAME}^Maria", phone="5550132", unit=UNIT, npi=number)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("status", [409, 412])
def test_an_edit_of_the_person_stays(
    bridge: Bridge, proxy: Proxy, observer: Observer, number: str, times: int, status: int
) -> None:
    """HAPI says 409 to a stale If-Match, other servers 412."""
    before, _ = joined(bridge, observer, number)
    colleague = Colleague(observer, before["id"], add_phone, times)

    def after(asked: Asked, answer: Answer) -> Answer:
        answer = colleague(asked, answer)
        return Answer(status, answer.headers, answer.body) if answer.status == 409 else answer

    place = len(proxy.passed)
    with proxy.interfering(after=after):
        send(bridge, f"move-{number}", moved(number))
    passed = Counter(f"{p.asked.method} {p.status}" for p in proxy.since(place) if p.asked.id == before["id"])
    assert passed == {"GET 200": times + 1, f"PUT {status}": times, "PUT 200": 1}

    states = observer.history("Practitioner", before["id"])
    assert len(states) == 1 + times + 1
    now = states[-1]
    assert now["photo"] == [PHOTO]
    assert values(now, "telecom") == {"5550132", *(f"555 777{turn}" for turn in range(1, times + 1))}
    assert now["name"][0]["given"] == ["Jorunn", "Maria"]


def test_an_edit_of_a_leaver_stays(bridge: Bridge, proxy: Proxy, observer: Observer, number: str) -> None:
    before, role = joined(bridge, observer, number)
    with proxy.interfering(after=Colleague(observer, before["id"], add_phone)):
        send(bridge, f"leave-{number}", person("MDC", f"J{number}", NAME, flag="I"))
    _, edited, now = observer.history("Practitioner", before["id"])
    assert content(now) == {**content(edited), "active": False}
    assert [r["active"] for r in observer.history("PractitionerRole", role["id"])] == [True, False]


def test_an_edit_of_the_role_stays(bridge: Bridge, proxy: Proxy, observer: Observer, number: str) -> None:
    before, role = joined(bridge, observer, number)
    place = len(proxy.passed)
    with proxy.interfering(after=Colleague(observer, role["id"], add_phone)):
        send(bridge, f"move-{number}", moved(number))
    assert [p.status for p in proxy.since(place) if p.asked.line == f"PUT /PractitionerRole/{role['id']}"] == [409, 200]
    *_, now = observer.history("PractitionerRole", role["id"])
    assert version(now) == 3
    assert values(now, "telecom") == {"5550132", "555 7771"}
    assert version(observer.get("Practitioner", before["id"])) == 2


def test_an_edit_between_the_search_and_the_adoption_stays(
    bridge: Bridge, proxy: Proxy, observer: Observer, number: str
) -> None:
    """A person who was at the server before us is found by the NPI and the family name."""
    theirs = {
        "resourceType": "Practitioner",
        "identifier": [{"system": NPI, "value": number}],
        "name": [{"use": "official", "family": "Ivarsdottir", "given": ["Jorunn"]}],
        "telecom": [THEIRS],
    }
    before = observer.post(theirs)
    with proxy.interfering(after=Colleague(observer, before["id"], add_phone)):
        send(bridge, f"join-{number}", person("MAD", f"J{number}", NAME, phone="5550131", npi=number))
    _, edited, now = observer.history("Practitioner", before["id"])
    assert observer.with_npi([number]) == [now]
    assert now["photo"] == edited["photo"] == [PHOTO]
    assert values(now, "telecom") == {"555 7777", "555 7771", "5550131"}
    assert values(now, "identifier") == {number, f"J{number}"}


def test_what_was_deleted_meanwhile_does_not_come_back(
    bridge: Bridge, proxy: Proxy, observer: Observer, number: str
) -> None:
    """HAPI refuses the PUT; without If-Match it would make the resource anew."""
    before, role = joined(bridge, observer, number)
    held = bridge.held()

    def after(asked: Asked, answer: Answer) -> Answer:
        if asked.line == f"GET /Practitioner/{before['id']}" and answer.status == 200:
            for place in (f"PractitionerRole/{role['id']}", f"Practitioner/{before['id']}"):
                assert observer.send("DELETE", f"/{place}").status_code == 200
        return answer

    with proxy.interfering(after=after):
        send(bridge, f"move-{number}", moved(number))
    assert observer.send("GET", f"/Practitioner/{before['id']}").status_code == 410
    assert observer.with_npi([number]) == []
    assert bridge.held() == held + 1
