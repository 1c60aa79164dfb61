"""A flood, an outage of the token endpoint, a scope that is not granted, and a maintenance window, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hl7bridge.cli.main import main
from hl7bridge.store.opening import open_store
from tests.acceptance import flood
from tests.acceptance.flood import errors
from tests.bridges import Bridge, Feed, running_bridge, smart_auth, smart_keys, wait_until
from tests.journey import KEY_SYSTEM, ask, mfn, person
from tests.sandboxes import RunningSandbox, running_sandbox

SHORT = {"retry": {"first": "20ms", "longest": "100ms"}}


def people(first: int, count: int) -> list[str]:
    return [person("MAD", f"W{n}", f"Tamsworth^Ada {n}") for n in range(first, first + count)]


def tokens_asked(sandbox: RunningSandbox) -> int:
    return sum(line["interaction"] == "token" for line in sandbox.journal())


def tasks(bridge: Bridge) -> dict[str, dict[str, Any]]:
    store = open_store(bridge.store_path)
    try:
        return {task.kind: task for task in store.worklist.tasks()}
    finally:
        store.close()


def test_of_a_forged_flood_the_configured_number_is_applied(tmp_path: Path) -> None:
    assert flood.run(tmp_path, people=120).faults == []


def test_an_outage_of_the_token_endpoint_costs_nothing_but_time(tmp_path: Path) -> None:
    """With a first pause of 15 s that doubles, ten minutes are seven pauses. Here they are short, and twelve."""
    with (
        running_sandbox(tmp_path / "sandbox", keys=smart_keys(tmp_path / "keys")) as sandbox,
        running_bridge(
            tmp_path / "bridge",
            sandbox.base_url,
            feeds=[Feed("staff", KEY_SYSTEM)],
            to={**SHORT, "auth": smart_auth(sandbox)},
        ) as bridge,
    ):
        sandbox.fault("status", on=["token"], status=401, error="invalid_client")
        assert ask(bridge, mfn("outage", *people(0, 40))).code == "AA"
        wait_until(lambda: tokens_asked(sandbox) >= 12, 30, lambda: f"{tokens_asked(sandbox)}\n{bridge.log_end()}")
        counts = bridge.counts()["deliveries"]["fhir"]
        assert (counts.pop("queued") + counts.pop("claimed", 0), counts) == (40, {})
        assert bridge.counts()["paused"] == {"fhir": "token-refused"}
        assert tasks(bridge) == {}
        assert errors(bridge) == ["destination paused"]
        sandbox.clear()
        bridge.wait_delivered()
        assert bridge.counts()["deliveries"] == {"fhir": {"created": 40}}
        assert len(errors(bridge)) == 1

        # A scope that is not granted is no outage: it waits for a person, and asks no more.
        sandbox.fault("status", on=["token"], status=400, error="invalid_scope")
        sandbox.revoke_tokens()
        assert ask(bridge, mfn("scope", *people(40, 3))).code == "AA"
        wait_until(lambda: bridge.counts()["paused"], 20, bridge.log_end)
        assert bridge.counts()["paused"] == {"fhir": "token-scope-refused"}
        wait_until(lambda: bridge.counts()["deliveries"]["fhir"].get("queued") == 3, 20, bridge.log_end)
        asked = tokens_asked(sandbox)
        sandbox.clear()
        assert ask(bridge, mfn("more", *people(43, 3))).code == "AA"
        assert bridge.counts()["deliveries"] == {"fhir": {"created": 40, "queued": 6}}
        assert (tokens_asked(sandbox), tasks(bridge), len(errors(bridge))) == (asked, {}, 2)
        by = ["--reason", "granted", "--config", str(bridge.folder)]
        assert main(["destination", "resume", "fhir", *by]) == 0
        bridge.wait_delivered()
        assert bridge.counts()["deliveries"] == {"fhir": {"created": 46}}


@contextmanager
def bridge_in_window(folder: Path, sandbox: RunningSandbox, window: list[dict[str, Any]]) -> Iterator[Bridge]:
    delivered = {"acknowledgment": {"acknowledge_when": "delivered", "ack_deadline": "30s"}}
    more = {"maintenance": window, "timezone": "UTC", "tasks": {"due": {"leaver-unverified": "1ms"}, "owner": "desk"}}
    with running_bridge(
        folder, sandbox.base_url, feeds=[Feed("staff", KEY_SYSTEM, settings=delivered)], to=more
    ) as bridge:
        yield bridge


def test_a_maintenance_window_queues_and_a_leaver_in_it_is_watched(tmp_path: Path, capsys: Any) -> None:
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=2):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    with running_sandbox(tmp_path / "sandbox", auth=False) as sandbox:
        ada = {"identifier": [{"system": KEY_SYSTEM, "value": "W1"}], "active": True, "name": [{"family": "Tamsworth"}]}
        person_id = sandbox.post({"resourceType": "Practitioner", **ada})["id"]
        since = len(sandbox.journal())
        with bridge_in_window(tmp_path / "bridge", sandbox, [{"hours": hours}]) as bridge:
            wait_until(lambda: bridge.counts()["paused"], 20, bridge.log_end)
            leaves = ask(bridge, mfn("leaves", person("MDC", "W1", "Tamsworth^Ada", flag="I")))
            assert (leaves.code, leaves.records) == ("AA", {"W1": "S"}), "stored, delivery pending"
            assert bridge.counts()["paused"] == {"fhir": "maintenance"}
            assert main(["destination", "list", "--json", "--config", str(bridge.folder)]) == 0
            (row,) = json.loads(capsys.readouterr().out)["destinations"]
            assert (row["paused"], row["waiting"], bool(row["until"])) == ("maintenance", 1, True)
            assert len(sandbox.journal()) == since, "not even a read"
        with bridge_in_window(tmp_path / "bridge", sandbox, []) as bridge:
            bridge.wait_delivered()
            found = tasks(bridge)
            assert sandbox.get("Practitioner", person_id)["active"] is False
        assert errors(bridge) == ["leavers not shown to be inactive in time", "task overdue"]
    late, access = found["leaver-unverified"], found["leaver-access"]
    assert (late.state, late.closed_by, late.owner) == ("done", "hl7bridge", "desk")
    assert late.evidence.startswith(f"Practitioner/{person_id} version ")
    assert [item.state for item in access.items] == ["open"] * 4 + ["verified"] * 2
    assert (access.state, access.owner) == ("open", "desk")
