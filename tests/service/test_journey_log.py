"""The log of the running service: renamed, asked anew by SIGHUP, its reader gone; and what no role leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hl7bridge.store.opening import open_store
from tests.bridges import Bridge, Feed, destination, running_bridge, wait_until, write_configuration
from tests.journey import KEY_SYSTEM, ask, mfn, person

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals, /proc")

NOWHERE = "http://127.0.0.1:9/fhir"


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def core_limit(pid: int) -> list[str]:
    (line,) = (line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file size" in line)
    return line.split()[4:6]


def test_a_hangup_opens_the_log_anew_and_reloads(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with running_bridge(tmp_path, NOWHERE, service={"log": {"file": str(log)}}) as bridge:
        wait_until(lambda: log.exists() and "delivering" in events(log), 20, bridge.log_end)
        assert log.stat().st_mode & 0o777 == 0o600
        assert [core_limit(pid) for pid in (bridge.pid, *bridge.children())] == [["0", "0"]] * 2
        feed = tmp_path / "conf/feeds/staff.toml"
        feed.write_text(feed.read_text() + "\n[limits]\nmax_repetitions = 10\n")
        log.rename(tmp_path / "service.log.1")
        os.kill(bridge.pid, signal.SIGHUP)
        wait_until(lambda: log.exists() and "reloaded" in events(log), 20, bridge.log_end)
        store = open_store(bridge.store_path)
        (reload,) = store.reloads.reloads()
        store.close()
        assert (reload.who, reload.accepted) == ("SIGHUP", True)
        assert ask(bridge, mfn("after", person("MAD", "L1", "Tamsworth^Ada"))).code == "AA"
    assert "stopped" in events(log)


def test_without_a_reader_of_its_log_the_service_takes_and_starts_its_child_anew(tmp_path: Path) -> None:
    """`hl7bridge run 2>&1 | tee`, and tee is gone: every line fails."""
    write_configuration(tmp_path, [Feed("staff", KEY_SYSTEM)], {"fhir": destination(NOWHERE)})
    command = [sys.executable, "-m", "hl7bridge", "run", "--config", str(tmp_path), "--json"]
    bridge = Bridge(tmp_path)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        bridge.process = process
        assert process.stdout
        assert process.stderr
        try:
            ready = json.loads(process.stdout.readline())
            bridge.ports = {name: at["port"] for name, at in ready["feeds"].items()}
            process.stderr.close()
            children = bridge.children()
            os.kill(children[0], signal.SIGKILL)
            wait_until(lambda: bridge.children() not in ([], children), 20, lambda: "no child")
            assert ask(bridge, mfn("gone", person("MAD", "G1", "Tamsworth^Ada"))).code == "AA"
        finally:
            process.terminate()
        assert process.wait(30) == 0
