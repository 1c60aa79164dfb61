"""The safety of writes over real sockets: a flood of deactivations, protected people, a server that refuses to write."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.cli.main import main
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import Store
from tests.bridges import Bridge, Feed, running_bridge, wait_until
from tests.journey import KEY_SYSTEM, ask, mfn, person
from tests.mllp_peer import Connection, read_answer
from tests.sandboxes import RunningSandbox, running_sandbox

NAMES = [f"B{n:03}" for n in range(60)]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path / "sandbox", auth=False) as running:
        yield running


@contextmanager
def bridge_to(sandbox: RunningSandbox, folder: Path, **settings: Any) -> Iterator[Bridge]:
    with running_bridge(folder, sandbox.base_url, feeds=[Feed("staff", KEY_SYSTEM)], to=settings) as running:
        yield running


@contextmanager
def store_of(bridge: Bridge) -> Iterator[Store]:
    store = open_store(bridge.store_path)
    try:
        yield store
    finally:
        store.close()


def states(bridge: Bridge) -> dict[str, int]:
    return dict(bridge.counts()["deliveries"].get("fhir", {}))


def logged(bridge: Bridge, text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in bridge.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if text in line["event"]]


def writes(sandbox: RunningSandbox, since: int = 0) -> list[dict[str, Any]]:
    return [line for line in sandbox.journal(since) if line["interaction"] in ("create", "update")]


def everybody(bridge: Bridge, action: str = "MAD", flag: str = "A", names: list[str] = NAMES) -> None:
    """A message for each, all over one connection."""
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        for key in names:
            body = mfn(f"{action}-{key}", person(action, key, f"Tamsworth^Ada {key}", flag=flag))
            assert read_answer(connection.ask(body)).code == "AA"


def inactive(sandbox: RunningSandbox) -> int:
    return [one["active"] for one in sandbox.all("Practitioner")].count(False)


def test_of_a_flood_ten_are_applied_and_the_rest_waits_for_a_person(sandbox: RunningSandbox, tmp_path: Path) -> None:
    brake = {"deactivations_per_hour": 10, "protected": ["B059"]}
    with bridge_to(sandbox, tmp_path / "bridge", brake=brake) as bridge:
        everybody(bridge)
        bridge.wait_delivered()
        assert states(bridge) == {"created": 60}
        everybody(bridge, "MDC", "I")
        bridge.wait_delivered()
        assert states(bridge) == {"created": 60, "deactivated": 10, "held": 50}
        assert inactive(sandbox) == 10
        with store_of(bridge) as store:
            holds = store.holds.holds(limit=100)
            assert Counter(hold.local for hold in holds) == {"brake": 49, "protected": 1}
            kinds = Counter(task.kind for task in store.worklist.tasks(state="open", limit=100))
            assert kinds == {"leaver-access": 10, "protected-person": 1, "brake": 1}
            told = [store.audit.message(hold.message_id)["history"] for hold in holds]  # type: ignore[index]
            assert sum(row["event"] == "brake" for history in told for row in history) == 1
        [alert] = logged(bridge, "brake: ")
        assert (alert["text"], alert["level"]) == ("deactivations_per_hour = 10, share_of_file = 0", "error")
        assert not [line for line in logged(bridge, "delivery waits") if line["local"] == "brake"]

        # Who is inactive already does not count, nor wait: the same ten again.
        done = [key for key in NAMES if key not in {hold.source_key for hold in holds}]
        assert ask(bridge, mfn("again", *[person("MDC", key, "Tamsworth^A", flag="I") for key in done])).code == "AA"
        bridge.wait_delivered()
        assert bridge.held() == 50

        why = ["--reason", "announced by HR", "--config", str(bridge.folder)]
        assert main(["hold", "release", "--all", "--cause", "brake", *why]) == 0
        wait_until(lambda: inactive(sandbox) == 59, 30, lambda: str(states(bridge)))
        bridge.wait_delivered()
        assert bridge.held() == 1
        assert main(["hold", "release", str(holds[-1].id), *why]) == 0
        wait_until(lambda: inactive(sandbox) == 60, 30, lambda: str(states(bridge)))
        assert len(logged(bridge, "brake: ")) == 1


def test_a_share_of_a_file_may_leave(sandbox: RunningSandbox, tmp_path: Path) -> None:
    brake = {"deactivations_per_hour": 0, "share_of_file": 5}
    with bridge_to(sandbox, tmp_path / "bridge", brake=brake) as bridge:
        records = [person("MAD", key, f"Tamsworth^Ada {key}") for key in NAMES]
        assert ask(bridge, mfn("all", *records)).code == "AA"
        bridge.wait_delivered()
        leavers = [
            person("MDC" if n % 2 else "MUP", key, f"Tamsworth^Ada {key}", flag="I") for n, key in enumerate(NAMES)
        ]
        assert ask(bridge, mfn("half", *leavers)).code == "AA"
        bridge.wait_delivered()
        assert (inactive(sandbox), bridge.held()) == (3, 57), "whatever the event, the flag counts"


def test_a_server_that_offers_no_writes_gets_none(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """It said so in its CapabilityStatement: joiners become tasks, and with the first leaver everything waits."""
    sandbox.habits(writes_refused=405)
    with bridge_to(sandbox, tmp_path / "bridge") as bridge:
        everybody(bridge, names=NAMES[:12])
        bridge.wait_delivered()
        assert states(bridge) == {"held": 12}
        with store_of(bridge) as store:
            assert {task.kind for task in store.worklist.tasks(limit=100)} >= {"write-by-hand"}
            assert list(store.modes.latches("fhir")) == ["Practitioner create"]
        sandbox.post(
            {"resourceType": "Practitioner", "identifier": [{"system": KEY_SYSTEM, "value": "B040"}], "active": True}
        )
        there = sandbox.journal()[-1]["sequence"]
        assert len(writes(sandbox)) == 1, "ours"
        everybody(bridge, "MDC", "I", ["B040"])
        wait_until(lambda: bridge.counts()["paused"], 20, lambda: str(states(bridge)))
        assert bridge.counts()["paused"] == {"fhir": "writes-refused"}
        since = len(sandbox.journal())
        everybody(bridge, "MUP", names=NAMES[:12])
        wait_until(lambda: states(bridge) == {"held": 12, "queued": 13}, 20, lambda: str(states(bridge)))
        assert sandbox.journal(since) == []
        assert writes(sandbox, there) == []
        with store_of(bridge) as store:
            assert [task.kind for task in store.worklist.tasks(kind="writes-refused")] == ["writes-refused"]
        assert len(logged(bridge, "writes refused")) == 2, "one for what is held, one for the pause"

        sandbox.habits(writes_refused=0)
        assert main(["destination", "retry-writes", "fhir", "--reason", "granted", "--config", str(bridge.folder)]) == 0
        bridge.wait_delivered()
        assert bridge.held() == 0
        assert len(sandbox.all("Practitioner")) == 13
        assert inactive(sandbox) == 1


def test_a_server_that_stops_taking_writes_is_left_alone(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Its statement still offers them: 403 of three people in a row. Nothing leaves after that, nor after a restart."""
    folder = tmp_path / "bridge"
    with bridge_to(sandbox, folder, in_flight=1) as bridge:
        everybody(bridge, names=NAMES[:3])
        bridge.wait_delivered()
        sandbox.habits(writes_refused=403)
        since = sandbox.journal()[-1]["sequence"]
        everybody(bridge, "MDC", "I", NAMES[:3])
        wait_until(lambda: bridge.counts()["paused"], 20, lambda: str(states(bridge)))
        everybody(bridge, names=NAMES[10:30])
        assert [line["status"] for line in writes(sandbox, since)] == [403] * 3
        assert states(bridge) == {"created": 3, "held": 2, "queued": 21}
        assert len(logged(bridge, "writes refused")) == 1
    with bridge_to(sandbox, folder, in_flight=1) as bridge:
        everybody(bridge, names=NAMES[30:33])
        assert states(bridge) == {"created": 3, "held": 2, "queued": 24}
        why = ["--reason", "granted", "--config", str(folder)]
        assert main(["destination", "retry-writes", "fhir", *why]) == 0
        wait_until(lambda: bridge.counts()["paused"] and bridge.held() == 2, 20, lambda: str(states(bridge)))
        assert len(writes(sandbox, since)) == 6, "still refused: three more, and it stops again"
        sandbox.habits(writes_refused=0)
        assert main(["destination", "retry-writes", "fhir", *why]) == 0
        bridge.wait_delivered()
        assert bridge.held() == 0
        assert inactive(sandbox) == 3


def test_an_engine_is_not_made_to_send_again_what_is_held(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """With `delivered`, what a person has to decide is kept and answered AA; the same message again is a duplicate."""
    delivered = {"acknowledgment": {"acknowledge_when": "delivered", "ack_deadline": "3s"}}
    feeds = [Feed("staff", KEY_SYSTEM, settings=delivered)]
    to = {"brake": {"protected": ["B2"]}}
    with running_bridge(tmp_path / "bridge", sandbox.base_url, feeds=feeds, to=to) as bridge:
        assert ask(bridge, mfn("there", person("MAD", "B2", "Tamsworth^Bo"))).code == "AA"
        bridge.wait_delivered()  # on a slow machine the answer may come before
        leaves = mfn("leaves", person("MDC", "B2", "Tamsworth^Bo", flag="I"))
        sandbox.habits(writes_refused=405)
        joins = mfn("joins", person("MAD", "B1", "Tamsworth^Ada"))
        for body, key in ((leaves, "B2"), (joins, "B1")) * 2:
            answer = ask(bridge, body)
            assert (answer.code, answer.records) == ("AA", {key: "S"})
            bridge.wait_delivered()
        assert states(bridge) == {"created": 1, "held": 2}
