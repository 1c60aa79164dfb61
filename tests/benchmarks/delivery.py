"""Delivery: staff changes a second from the store to a FHIR server, settled, beside `deliver.py --client httpx`.

The store is filled through the real intake, then `hl7bridge run --role delivery` empties it, against the fast target of
tests/benchmarks/target.py; first creates, then updates of the same people. `deliver.py` claims, maps and sends with
httpx.AsyncClient, 8 at a time, 3 or 2 requests each. Ours sends what identity and verification need, so requests a second
are the fair comparison; changes a second stand beside them. Client on one core, target on the other.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hl7bridge.config import load
from hl7bridge.service.intake import Intake
from hl7bridge.service.startup import feed_policy
from hl7bridge.store.opening import open_store
from tests.benchmarks import bench
from tests.bridges import Bridge, Feed, destination, wait_until, write_configuration
from tests.journey import KEY_SYSTEM, mfn

BATCH = 256
Row = dict[str, float]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="for the reference program")


def messages(people: int, marker: int) -> Iterator[bytes]:
    """One MFN^M02 each, STF and identifiers of the reference's message, without what would make roles."""
    samples: Any = importlib.import_module("hl7_samples")
    for number in range(people):
        event, staff, practitioner = samples.staff(number, "MAD" if marker == 0 else "MUP")
        fields = staff.split("|")
        for place in (4, 8, 9, 12, 20):
            fields[place : place + 1] = [""] if place < len(fields) else []
        fields[15] = f"n{marker}.{number}@staff.example"
        identifiers = practitioner.split("|")
        yield mfn(f"B{marker}-{number}", "\n".join([event, "|".join(fields), f"{identifiers[0]}|{identifiers[1]}"]))


def fill(folder: Path, bodies: Iterator[bytes]) -> int:
    """Accept the messages as the listener does; returns the number of deliveries."""
    settings = load(folder)
    store = open_store(str(settings.store.path))
    intake = Intake(feed_policy(settings.feeds["staff"], settings), store.secret("duplicates"))
    waiting, deliveries = [], 0
    for body in bodies:
        waiting += [prepared.new for prepared in intake.prepare(body, "bench") if prepared.new]
        if len(waiting) >= BATCH:
            store.accept(waiting, time.time())
            deliveries += sum(len(record.deliveries) for new in waiting for record in new.records)
            waiting = []
    store.accept(waiting, time.time())
    deliveries += sum(len(record.deliveries) for new in waiting for record in new.records)
    store.close()
    return deliveries


def deliver(folder: Path, count: int, target: int) -> Row:
    """Empty the store. The clock runs from the first request that is seen to the last settlement."""
    before = requests(target)
    bridge = Bridge(folder, role="delivery", core=bench.CORES[1] if len(bench.CORES) > 1 else None)
    bridge.start()
    wait_until(lambda: requests(target) > before, 30, bridge.log_end)
    begun, cpu, already = time.perf_counter(), cpu_seconds(bridge.pid), requests(target)
    bridge.wait_delivered(300)
    seconds, cpu = time.perf_counter() - begun, cpu_seconds(bridge.pid) - cpu
    sent = requests(target) - already
    bridge.stop()
    return {
        "per_s": count / seconds,
        "requests_per_s": sent / seconds,
        "each": sent / count,
        "cpu_us": cpu / count * 1e6,
    }


def requests(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/count", timeout=5) as response:
        return sum(json.loads(response.read()).values())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def ours(folder: Path, people: int) -> dict[str, Row]:
    with bench.fast_target() as target:
        to = destination(f"http://127.0.0.1:{target}", in_flight=8)
        write_configuration(folder, [Feed("staff", KEY_SYSTEM)], {"fhir": to})
        rows = {}
        for marker, name in enumerate(("hl7bridge, creates", "hl7bridge, updates", "hl7bridge, nothing new")):
            count = fill(folder, messages(people, min(marker, 1)) if marker < 2 else again(people))
            rows[name] = deliver(folder, count, target)
    return rows


def again(people: int) -> Iterator[bytes]:
    """The update once more under new control ids: reads, but nothing to write."""
    for body in messages(people, 1):
        yield body.replace(b"|B1-", b"|B2-")


def reference(folder: Path, each: int, seconds: float) -> Row:
    with bench.fast_target(echo=True) as target:
        command = [sys.executable, str(bench.REFERENCE / "deliver.py"), "--db", str(folder / f"reference{each}.db")]
        command += ["--port", str(target), "--client", "httpx", "--conc", "8", "--reqs", str(each)]
        command += ["--fill", "12000", "--secs", str(seconds)]
        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=bench.pinned(1), timeout=120, check=True
        )
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"per_s": row["per_s"], "requests_per_s": row["per_s"] * each, "each": each, "cpu_us": row["cpu_us"]}


def main(options: argparse.Namespace) -> None:
    if not bench.reference("deliver.py"):
        return
    rows: dict[str, list[Row]] = {}
    bench.pin_self(0)
    for round_ in range(options.rounds):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for each in (3, 2):
                name = f"deliver.py --client httpx --reqs {each}"
                rows.setdefault(name, []).append(reference(folder, each, options.seconds))
            for name, row in ours(folder / str(round_), options.people).items():
                rows.setdefault(name, []).append(row)
    base = bench.median(rows["deliver.py --client httpx --reqs 3"], "requests_per_s")
    table = []
    for name, got in rows.items():
        table.append(
            [
                name,
                bench.span(got, "per_s"),
                f"{bench.median(got, 'each'):.2f}",
                bench.span(got, "requests_per_s"),
                f"{bench.median(got, 'cpu_us'):,.0f}",
                bench.ratio(bench.median(got, "requests_per_s"), base) if name.startswith("hl7bridge") else "",
            ]
        )
    bench.show(
        f"Delivery, 8 in flight, medians of {options.rounds} rounds in turn",
        ["program", "changes/s", "requests each", "requests/s", "client CPU us each", "ratio of requests/s"],
        table,
    )
