"""The delivery role by itself compares source and server by the clock, and files that replace their master file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hl7bridge.store.opening import open_store
from tests.bridges import Bridge, Feed, running_bridge, wait_until
from tests.journey import KEY_SYSTEM, ask, mfn, person
from tests.sandboxes import running_sandbox

WHOLE = {"full_file": {"deactivate_missing": "hold", "max_missing_percent": 60}}


def logged(bridge: Bridge, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in bridge.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_by_the_clock_who_is_active_though_she_left_and_who_is_absent(tmp_path: Path) -> None:
    feed = Feed("staff", KEY_SYSTEM, settings=WHOLE)
    every_second = {"every": "1s", "at": "00:00", "requests_per_second": 0}
    with (
        running_sandbox(tmp_path / "sandbox", auth=False) as sandbox,
        running_bridge(tmp_path / "bridge", sandbox.base_url, feeds=[feed], to={"reconcile": every_second}) as bridge,
    ):
        both = [person("MAD", key, f"Tamsworth^Ada {key}") for key in ("E1", "E2")]
        assert ask(bridge, mfn("C1", *both)).code == "AA"
        assert ask(bridge, mfn("C2", person("MDC", "E1", "Tamsworth^Ada E1", flag="I"))).code == "AA"
        bridge.wait_delivered()
        wait_until(lambda: logged(bridge, "reconciled"), 30, bridge.log_end)
        [leaver] = [one for one in sandbox.all("Practitioner") if one["active"] is False]
        sandbox.put({**leaver, "active": True})
        wait_until(lambda: logged(bridge, "reconciled")[-1]["text"] != "no difference", 30, bridge.log_end)
        assert logged(bridge, "reconciled")[-1]["text"] == "active-at-server 1"
        assert logged(bridge, "reconciled")[-1]["level"] == "error"

        file = mfn("C3", person("MAD", "E3", "Tamsworth^Ada E3")).replace(b"||UPD|", b"||REP|")
        assert ask(bridge, file).code == "AA"
        wait_until(lambda: logged(bridge, "full file compared"), 30, bridge.log_end)
        store = open_store(bridge.store_path)
        try:
            assert len(store.worklist.tasks(kind="drift", state="open")) == 1  # one, however often it is seen
            assert [hold.source_key for hold in store.holds.holds(local="full-file-missing")] == ["E2"]
        finally:
            store.close()
        wanted = {one["identifier"][0]["value"]: one["active"] for one in sandbox.all("Practitioner")}
        assert wanted == {"E1": True, "E2": True, "E3": True}
