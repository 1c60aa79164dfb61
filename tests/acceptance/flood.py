"""A forged flood of deactivations within a minute: as many as are configured are applied, the rest waits, one alert tells.

The hour is none of the office's: that so many changes are written then is told, too, once.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.acceptance.checker import Report
from tests.bridges import Bridge, Feed, running_bridge
from tests.journey import KEY_SYSTEM, mfn, person
from tests.mllp_peer import Connection, read_answer
from tests.sandboxes import running_sandbox

ALLOWED = 10


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=500, help="how many are deactivated (default 500)")


def errors(bridge: Bridge) -> list[str]:
    """What the log told people as an error."""
    lines = [json.loads(line) for line in bridge.log.read_text().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["level"] == "error"]


def another_hour() -> str:
    """Office hours that are not now."""
    begin = datetime.now(UTC) + timedelta(hours=6)
    return f"{begin:%H:00}-{begin + timedelta(hours=2):%H:00}"


def run(folder: Path, *, people: int) -> Report:
    """The flood, over real sockets; what was applied, held and told."""
    keys = [f"F{n:04}" for n in range(people)]
    brake = {"deactivations_per_hour": ALLOWED, "office_hours": another_hour(), "off_hours_changes": ALLOWED}
    faults: list[str] = []
    with (
        running_sandbox(folder / "sandbox", auth=False) as sandbox,
        running_bridge(
            folder / "bridge",
            sandbox.base_url,
            feeds=[Feed("staff", KEY_SYSTEM)],
            to={"brake": brake, "timezone": "UTC"},
        ) as bridge,
        Connection(("127.0.0.1", bridge.ports["staff"])) as connection,
    ):
        for key in keys:
            identifier = [{"system": KEY_SYSTEM, "value": key}]
            name = [{"family": "Tamsworth", "given": ["Ada"]}]
            sandbox.post({"resourceType": "Practitioner", "active": True, "identifier": identifier, "name": name})
        begun = time.monotonic()
        for key in keys:
            flood = mfn(f"MDC-{key}", person("MDC", key, f"Tamsworth^Ada {key}", flag="I"))
            assert read_answer(connection.ask(flood)).code == "AA"
        took = time.monotonic() - begun
        bridge.wait_delivered(120)
        inactive = [one["active"] for one in sandbox.all("Practitioner")].count(False)
        told = errors(bridge)
        held = bridge.held()
        kinds = bridge.counts()["tasks"]
    if inactive != ALLOWED or held != people - ALLOWED:
        faults.append(f"{inactive} are inactive and {held} held, of {people}; {ALLOWED} were allowed")
    if told.count("brake: further deactivations are held") != 1:
        faults.append("the brake was not told once")
    if told.count("mass of changes outside of office hours") != 1:
        faults.append("the mass of changes at odd hours was not told once")
    if len(told) != 2:
        faults.append(f"other alerts: {sorted(set(told))}")
    if kinds != ALLOWED + 2:
        faults.append(f"{kinds} tasks: one for each leaver, and two of the flood")
    figures = {"people": people, "inactive": inactive, "held": held, "flood, messages/s": round(people / took)}
    return Report(figures=figures, faults=faults)


def main(options: argparse.Namespace, folder: Path) -> Report:
    return run(folder, people=options.people)
