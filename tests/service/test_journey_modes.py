"""From report to write over real sockets: nothing is written before a person says so, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.cli.main import main
from hl7bridge.store.opening import open_store
from tests.bridges import Bridge, Feed, running_bridge, wait_until
from tests.journey import KEY_SYSTEM, ask, mfn, person
from tests.mllp_peer import Connection
from tests.sandboxes import RunningSandbox, running_sandbox

LEAVERS = ["L1", "L2"]
STAYS = "S1"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path / "sandbox", auth=False) as running:
        for key in (*LEAVERS, STAYS):
            running.post(
                {
                    "resourceType": "Practitioner",
                    "active": True,
                    "identifier": [{"system": KEY_SYSTEM, "value": key}],
                    "name": [{"family": f"Tamsworth{key}", "given": ["Ada"]}],
                }
            )
        yield running


@contextmanager
def bridge_to(sandbox: RunningSandbox, folder: Path, **settings: Any) -> Iterator[Bridge]:
    with running_bridge(folder, sandbox.base_url, feeds=[Feed("staff", KEY_SYSTEM)], to=settings) as running:
        yield running


def states(bridge: Bridge) -> dict[str, int]:
    return dict(bridge.counts()["deliveries"].get("fhir", {}))


def logged(bridge: Bridge, text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in bridge.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if text in line["event"]]


def written(sandbox: RunningSandbox, since: int = 0) -> list[str]:
    """Creates and updates that a client asked for, in order."""
    lines = [line for line in sandbox.journal(since) if not line.get("observer")]
    return [line["interaction"] for line in lines if line["interaction"] in ("create", "update")]


def last(sandbox: RunningSandbox) -> int:
    return int(sandbox.journal()[-1]["sequence"])


def tasks(bridge: Bridge, kind: str) -> list[str]:
    store = open_store(bridge.store_path)
    try:
        return sorted(task.source_key for task in store.worklist.tasks(kind=kind, state="open", limit=100))
    finally:
        store.close()


def by_key(sandbox: RunningSandbox) -> dict[str, dict[str, Any]]:
    people = sandbox.all("Practitioner")
    return {one["value"]: who for who in people for one in who["identifier"] if one["system"] == KEY_SYSTEM}


def raw_answer(bridge: Bridge, body: bytes) -> bytes:
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        return connection.ask(body)


def leave(key: str) -> str:
    return person("MDC", key, f"Tamsworth{key}^Ada", flag="I")


def test_nothing_that_came_in_during_report_is_lost(
    sandbox: RunningSandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.habits(writes_refused=405)
    since, folder = last(sandbox), tmp_path / "bridge"
    joins = mfn("joins", person("MAD", "J1", "Vane^Bo", unit="ICU"), person("MAD", "J2", "Reed^Cy"))
    moves = mfn("moves", person("MUP", "J1", "Vane^Bo", phone="555-7"), person("MUP", STAYS, f"Tamsworth{STAYS}^Ada"))
    with bridge_to(sandbox, folder, mode="report", tasks={"joiner": True}) as bridge:
        for body in (joins, moves, mfn("leave", *map(leave, LEAVERS)), mfn("again", *map(leave, LEAVERS))):
            answer = raw_answer(bridge, body)
            assert b"MSA|AA|" in answer
            assert b"S^stored, report only^HL70181" in answer
            assert b"pending" not in answer
        bridge.wait_delivered()
        assert states(bridge) == {"reported": 8}
        assert written(sandbox, since) == []
        assert tasks(bridge, "leaver-access") == LEAVERS, "one each, however often it is said"
        assert tasks(bridge, "joiner-setup") == ["J1", "J2"]
        assert main(["reconcile", "fhir", "--json", "--config", str(folder)]) == 1
        differences = json.loads(capsys.readouterr().out)["differences"]
        found = {(one["kind"], one["source_key"]) for one in differences}
        assert found == {
            *(("active-at-server", key) for key in LEAVERS),
            *(("missing", key) for key in ("J1", "J2")),
            ("behind", STAYS),
        }
        assert len(differences) == 5
        assert b"report only" in raw_answer(bridge, joins), "a duplicate"

    sandbox.habits(writes_refused=0)
    command = ["destination", "go-live", "fhir", "--config", str(folder)]
    why = ["--reason", "the pilot was approved"]
    with bridge_to(sandbox, folder, mode="write", in_flight=1) as bridge:
        wait_until(lambda: bridge.counts()["paused"] == {"fhir": "leaving-report"}, 20, lambda: str(states(bridge)))
        assert ask(bridge, mfn("late", person("MUP", "J2", "Reed^Cy", phone="555-8"))).code == "AA"
        assert main(["destination", "resume", "fhir", *why, "--config", str(folder)]) == 2
        capsys.readouterr()
        assert main([*command, "--show", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["results"] == {"created": 2, "updated": 2, "deactivated": 2, "unchanged": 2}
        assert (shown["people"], shown["waits"], shown["confirmed"]) == (5, True, False)
        phone = [c for c in shown["changes"] if c["source_key"] == "J1"][1]["interactions"][0]["differences"]
        assert [difference["path"] for difference in phone] == ["telecom[+]"] or "telecom" in phone[0]["path"]
        assert main([*command, *why]) == 1, "no terminal to ask at"
        assert written(sandbox, since) == [], "shown, and nothing is written"
        assert states(bridge) == {"reported": 8, "queued": 1}

        assert main([*command, "--yes", *why]) == 0
        bridge.wait_delivered()
        assert states(bridge) == {"created": 2, "updated": 3, "deactivated": 2, "unchanged": 2}
        assert written(sandbox, since)[:2] == ["update", "update"], "leavers first"
        people = by_key(sandbox)
        assert {key for key, who in people.items() if who["active"] is False} == set(LEAVERS)
        assert [people[key]["telecom"][0]["value"] for key in ("J1", "J2")] == ["555-7", "555-8"]
        assert len(sandbox.all("PractitionerRole")) == 1
        assert len(logged(bridge, "would write more than before")) == 1
        [again] = logged(bridge, "deliveries go on after a pause")
        assert again["reason"] == "leaving-report"
        assert b"report only" in raw_answer(bridge, joins), "still a duplicate, and true: it was queued"
        assert states(bridge)["created"] == 2
    with bridge_to(sandbox, folder, mode="write") as bridge:
        assert ask(bridge, mfn("next", person("MAD", "J3", "Pell^Di"))).code == "AA"
        bridge.wait_delivered()
        assert "J3" in by_key(sandbox), "asked once, not at each start"


def test_a_server_that_creates_nobody_gets_its_leavers(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Its statement offers create, its answer is 405: one request, then each joiner is a task; nothing else waits."""
    since, folder = last(sandbox), tmp_path / "bridge"
    sandbox.fault("status", on=["create"], status=405, times=1)
    with bridge_to(sandbox, folder, in_flight=1, modes={"create": "write"}) as bridge:
        for key in ("J1", "J2", "J3"):
            assert ask(bridge, mfn(f"joins {key}", person("MAD", key, "Vane^Bo"))).code == "AA"
        assert ask(bridge, mfn("leave", *map(leave, LEAVERS))).code == "AA"
        bridge.wait_delivered()
        assert states(bridge) == {"held": 3, "deactivated": 2}
        assert sorted(written(sandbox, since)) == ["create", "update", "update"]
        assert tasks(bridge, "write-by-hand") == ["J1", "J2", "J3"]
        assert len(logged(bridge, "writes refused")) == 1
        held = logged(bridge, "delivery held")
        assert all("seconds" not in line and line["message_id"] for line in held)
        assert len(held) == 3
        why = ["--reason", "granted", "--config", str(folder)]
        assert main(["destination", "retry-writes", "fhir", *why]) == 0
        wait_until(lambda: states(bridge) == {"created": 3, "deactivated": 2}, 20, lambda: str(states(bridge)))
