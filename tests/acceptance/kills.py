"""kill -9 at random moments while senders send and resend: nothing acknowledged is lost, doubled or out of order.

The whole process tree, the listener alone or the delivery role alone dies, again and again, now and then already while it
starts. The sandbox lives outside of the tree, on a file, with a journal. At the end the checker reads that journal and
the senders' log, and nothing else; then a loss, a double and a swap are planted in copies of them, and must be found.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from pathlib import Path

from hl7bridge.store.sqlite.driver import sqlite3
from tests.acceptance import checker, plants
from tests.acceptance.seeds import add_seed
from tests.acceptance.traffic import FEEDS, Traffic, flowing
from tests.bridges import Bridge, running_bridge, wait_until
from tests.mllp_peer import read_rows
from tests.sandboxes import running_sandbox

LATENCY = 0.03  # seconds a request at the server: most kills then find deliveries under way
VICTIMS = ("tree", "listener", "delivery")
PACE = 0.1  # seconds between two messages of a sender
SETTLE_WITHIN = 120.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=50, help="moments at which something is killed (default 50)")
    add_seed(parser)


def run(folder: Path, *, count: int, seed: int, longest: float = 1.5) -> checker.Report:
    """Kill `count` times, `longest` seconds apart at most, and check."""
    rng = random.Random(seed)
    victims = [VICTIMS[place % 3] for place in range(count)]
    rng.shuffle(victims)
    with (
        running_sandbox(folder / "sandbox", auth=False, keep=True) as sandbox,
        running_bridge(folder / "bridge", sandbox.base_url, feeds=FEEDS) as bridge,
        flowing(Traffic(folder / "sender.jsonl", bridge, seed, pace=PACE)) as traffic,
    ):
        sandbox.fault("latency", seconds=LATENCY)
        unstarted = 0
        for victim in victims:
            time.sleep(rng.uniform(0.0, longest))
            bridge.kill(victim)
            if victim == "delivery":
                continue
            if rng.random() < 0.2:
                unstarted += 1
                bridge.spawn()
                time.sleep(rng.uniform(0.05, 1.0))
                bridge.kill("tree")
            bridge.start()
        traffic.finish()
        bridge.wait_delivered(SETTLE_WITHIN)
        wait_for_no_orphan(bridge)
        report = checker.check_files(sandbox.journal_file, traffic.path)
        if not report.faults:
            report.faults += plants.unseen(list(read_rows(sandbox.journal_file)), list(read_rows(traffic.path)))
        report.figures |= {f"kills of {victim}": number for victim, number in sorted(Counter(victims).items())}
        report.figures |= {
            "kills while starting": unstarted,
            "messages": traffic.sent,
            "attempts to send": traffic.attempts,
            **what_the_kills_hit(bridge),
        }
    return report


def what_the_kills_hit(bridge: Bridge) -> dict[str, int]:
    """From the bridge's own history: what shows that the kills came at moments that matter. No verdict rests on it."""
    with sqlite3.connect(bridge.store_path) as store:
        events = dict(store.execute("SELECT event, COUNT(*) FROM history GROUP BY event"))
    store.close()
    return {"duplicates answered": events.get("duplicate", 0), "claims taken over": events.get("taken over", 0)}


def wait_for_no_orphan(bridge: Bridge) -> None:
    """A child whose parent was killed ends by itself; only the running tree is left."""
    running = {bridge.pid, *bridge.children()}
    wait_until(lambda: not bridge.left() - running, 20, lambda: f"orphans: {bridge.left() - running}")


def main(options: argparse.Namespace, folder: Path) -> checker.Report:
    return run(folder, count=options.count, seed=options.seed)
