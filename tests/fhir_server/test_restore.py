"""Taking a delivery back on a server that others wrote: only what it changed, and never what somebody changed since."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.cli.main import main
from hl7bridge.store.opening import open_store
from tests.acceptance.stream import npi
from tests.bridges import Bridge, Feed, running_bridge
from tests.hapi.observer import JsonObject, Observer, content, values, version
from tests.hapi.proxy import Answer, Asked, Proxy
from tests.hapi.roster import BLOCK
from tests.journey import KEY_SYSTEM, ask, mfn, person

THEIRS = {"system": "phone", "use": "mobile", "value": "555 8888"}
NAME = "Ivarsdottir^Jorunn"
OLD, NEW = "NEPH^Nephrology", "ICU^Intensive Care"

Restore = Callable[..., dict[str, Any]]


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


@pytest.fixture
def restore(bridge: Bridge, capsys: pytest.CaptureFixture[str]) -> Restore:
    """`hl7bridge restore` of the latest message; what became of it."""

    def run(*options: str) -> dict[str, Any]:
        store = open_store(bridge.store_path)
        latest = store.audit.messages(limit=1)[0].id
        store.close()
        capsys.readouterr()
        main(["restore", "--message", str(latest), "--json", "--config", str(bridge.folder), *options])
        [document] = json.loads(capsys.readouterr().out)["deliveries"]
        return dict(document)

    return run


def send(bridge: Bridge, control_id: str, record: str) -> None:
    assert ask(bridge, mfn(control_id, record)).code == "AA"
    bridge.wait_delivered()


def joined(bridge: Bridge, observer: Observer, number: str) -> tuple[JsonObject, JsonObject]:
    send(bridge, f"r-join-{number}", person("MAD", f"R{number}", NAME, phone="5550131", unit=OLD, npi=number))
    (practitioner,) = observer.with_npi([number])
    (role,) = observer.roles_of([practitioner])
    return practitioner, role


def move(bridge: Bridge, number: str) -> None:
    record = person("MUP", f"R{number}", f"{NAME}^Maria", phone="5550132", unit=NEW, npi=number)
    send(bridge, f"r-move-{number}", record)


def test_a_move_is_taken_back_and_what_others_added_stays(
    bridge: Bridge, proxy: Proxy, observer: Observer, restore: Restore, number: str
) -> None:
    before, role = joined(bridge, observer, number)
    move(bridge, number)
    moved = observer.get("Practitioner", before["id"])
    moved["telecom"].append(THEIRS)
    observer.put(moved)
    place = len(proxy.passed)
    planned = restore("--dry-run")
    assert (planned["state"], {passed.asked.method for passed in proxy.since(place)}) == ("planned", {"GET"})
    done = restore("--reason", "the wrong file")
    assert (done["state"], done["problem"]) == ("applied", "")
    now = observer.get("Practitioner", before["id"])
    assert content(now) == {**content(before), "telecom": [*before["telecom"], THEIRS]}
    roles = {one["organization"]["display"]: one for one in observer.roles_of([now])}
    assert content(roles["Nephrology"]) == content(role)
    assert roles["Intensive Care"]["active"] is False
    assert restore("--reason", "once more")["state"] == "nothing"
    assert version(observer.get("Practitioner", before["id"])) == version(now)
    assert observer.validate(now) == []


def test_an_edit_while_it_is_taken_back_stays(
    bridge: Bridge, proxy: Proxy, observer: Observer, restore: Restore, number: str
) -> None:
    """HAPI refuses the stale If-Match with 409: read and planned again."""
    before, _ = joined(bridge, observer, number)
    move(bridge, number)
    gets = 0

    def after(asked: Asked, answer: Answer) -> Answer:
        nonlocal gets
        if asked.line == f"GET /Practitioner/{before['id']}" and answer.status == 200:
            gets += 1
            if gets == 2:  # the first one planned
                edited = json.loads(answer.body)
                edited["telecom"] = [{**edited["telecom"][0], "value": "555 9999"}, THEIRS]
                observer.put(edited)
        return answer

    place = len(proxy.passed)
    with proxy.interfering(after=after):
        done = restore("--reason", "the wrong file")
    puts = [passed.status for passed in proxy.since(place) if passed.asked.line == f"PUT /Practitioner/{before['id']}"]
    assert puts == [409, 200]
    now = observer.get("Practitioner", before["id"])
    assert values(now, "telecom") == {"555 9999", "555 8888"}  # neither ours nor the one before it
    assert now["name"] == before["name"]
    kept = [one["path"] for resource in done["resources"] for one in resource["kept"]]
    assert (done["state"], kept) == ("applied", ["telecom"])


def test_who_was_created_is_made_inactive(
    bridge: Bridge, proxy: Proxy, observer: Observer, restore: Restore, number: str
) -> None:
    before, role = joined(bridge, observer, number)
    place = len(proxy.passed)
    assert restore("--reason", "a test record")["state"] == "applied"
    assert content(observer.get("Practitioner", before["id"])) == {**content(before), "active": False}
    ended = observer.get("PractitionerRole", role["id"])
    assert (ended["active"], bool(ended["period"]["end"])) == (False, True)
    assert {passed.asked.method for passed in proxy.since(place)} == {"GET", "PUT"}
