"""Delivery: staff changes a second from the store to a FHIR server, settled, beside `deliver.py --client httpx`.

The store is filled through the real intake, then `hl7bridge run --role delivery` empties it, against the fast target of
tests/benchmarks/target.py; first creates, then updates of the same people, the same again, and at last all leave; then a
third of them once more with a role each. `deliver.py` claims, maps and sends with
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

from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.config import load
from hl7bridge.intake.intake import Intake
from hl7bridge.store.opening import open_store
from tests.benchmarks import bench
from tests.bridges import Bridge, Feed, destination, wait_until, write_configuration
from tests.journey import KEY_SYSTEM, mfn

BATCH = 256
ROUNDS = {"creates": 3, "updates": 2, "nothing new": 1, "leavers": 3}
"""What is sent in turn, and how many requests a person may cost; roles cost one search more, and one for each written."""
WITH_ROLE = "with a role, "
Row = dict[str, float]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="for the reference program")


def messages(people: int, what: str, *, role: bool = False) -> Iterator[bytes]:
    """One MFN^M02 each, STF and identifiers of the reference's message, without what would make roles, or with STF-8 of it
    alone. `what`: a key of `ROUNDS`."""
    samples: Any = importlib.import_module("hl7_samples")
    event_code, flag = {"creates": ("MAD", "A"), "leavers": ("MDC", "I")}.get(what, ("MUP", "A"))
    marker = 0 if what == "creates" else 1
    for number in range(people):
        event, staff, practitioner = samples.staff(number, event_code)
        fields = staff.split("|")
        for place in (4, 9, 12, 20) if role else (4, 8, 9, 12, 20):
            fields[place : place + 1] = [""] if place < len(fields) else []
        fields[7], fields[15] = flag, f"n{marker}.{number}@staff.example"
        identifiers = practitioner.split("|")
        body = "\n".join([event, "|".join(fields), f"{identifiers[0]}|{identifiers[1]}"])
        yield mfn(f"B-{what.replace(' ', '-')}-{number}", body)


def fill(folder: Path, bodies: Iterator[bytes]) -> int:
    """Accept the messages as the listener does; returns the number of deliveries."""
    settings = load(folder)
    store = open_store(str(settings.store.path))
    intake = Intake(feed_policy(settings.feeds["staff"], settings), store.audit.secret("duplicates"))
    waiting, deliveries = [], 0
    for body in bodies:
        waiting += [prepared.new for prepared in intake.prepare(body, "bench") if prepared.new]
        if len(waiting) >= BATCH:
            store.inbox.accept(waiting, time.time())
            deliveries += sum(len(record.deliveries) for new in waiting for record in new.records)
            waiting = []
    store.inbox.accept(waiting, time.time())
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


def ours(folder: Path, people: int, *, role: bool = False) -> dict[str, Row]:
    with bench.fast_target() as target:
        to = destination(f"http://127.0.0.1:{target}", in_flight=8)
        write_configuration(folder, [Feed("staff", KEY_SYSTEM)], {"fhir": to})
        rows = {}
        for what in ROUNDS:
            count = fill(folder, messages(people, what, role=role))
            rows[f"hl7bridge, {WITH_ROLE if role else ''}{what}"] = deliver(folder, count, target)
    return rows


def most(name: str) -> str:
    """How many requests a person may cost in that row, "" for the reference program."""
    if not name.startswith("hl7bridge"):
        return ""
    what = name.removeprefix("hl7bridge, ").removeprefix(WITH_ROLE)
    roles = 0 if WITH_ROLE not in name else 1 if what == "nothing new" else 2
    return str(ROUNDS[what] + roles)


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
            for name, row in ours(folder / f"{round_} roles", max(1, options.people // 3), role=True).items():
                rows.setdefault(name, []).append(row)
    base = bench.median(rows["deliver.py --client httpx --reqs 3"], "requests_per_s")
    table = []
    for name, got in rows.items():
        table.append(
            [
                name,
                bench.span(got, "per_s"),
                f"{bench.median(got, 'each'):.2f}",
                most(name),
                bench.span(got, "requests_per_s"),
                f"{bench.median(got, 'cpu_us'):,.0f}",
                bench.ratio(bench.median(got, "requests_per_s"), base) if name.startswith("hl7bridge") else "",
            ]
        )
    bench.show(
        f"Delivery, 8 in flight, medians of {options.rounds} rounds in turn",
        ["program", "changes/s", "requests each", "at most", "requests/s", "client CPU us each", "ratio of requests/s"],
        table,
    )
