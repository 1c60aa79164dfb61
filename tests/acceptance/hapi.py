"""The journey against HAPI FHIR with the full counts: samples, a roster of 2,000, two delivery processes, interruptions.

Every resource goes through HAPI's own $validate. HAPI is started here (tests/hapi/start: Java 17 and Maven); where it
cannot be, that is said, and nothing is tested.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path

from tests.acceptance.checker import Report
from tests.acceptance.seeds import add_seed
from tests.fhir_server import full_load, interruptions, processes, story
from tests.hapi.server import Unavailable, running_hapi


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=2000, help="records of the roster (default 2000)")
    parser.add_argument("--people", type=int, default=200, help="people for two delivery processes (default 200)")
    parser.add_argument("--rounds", type=int, default=5, help="times that HAPI is stopped, and killed (default 5)")
    add_seed(parser)


def run(folder: Path, *, count: int, people: int, rounds: int, seed: int) -> Report:
    """One HAPI for all, with its resources on disk."""
    total = Report([])

    def add(name: str, report: Report) -> None:
        total.faults += report.faults
        total.figures |= {f"{name}: {figure}": number for figure, number in report.figures.items()}
        print(f"{name}: {len(report.faults)} faults", flush=True)

    def systems() -> dict[str, str]:
        return {feed: f"urn:uuid:{uuid.uuid4()}" for feed in processes.FEEDS}

    with running_hapi(folder / "hapi") as server:
        url = server.base_url
        add("samples", story.run(folder / "samples", url, seed=seed, every=True))
        own = f"urn:uuid:{uuid.uuid4()}"
        add("roster", full_load.run(folder / "roster", url, own, count=count, block=100, seed=seed, every=True))
        for block, conditional in ((200, True), (300, False)):
            name = f"two processes, {'conditional' if conditional else 'plain'} create"
            work = folder / f"processes-{block}"
            report = processes.run(work, url, systems(), count=people, block=block, seed=seed, conditional=conditional)
            add(name, report)
        (folder / "interruptions").mkdir()
        add("interruptions", interruptions.run(folder / "interruptions", server, rounds=rounds, seed=seed))
    return total


def main(options: argparse.Namespace, folder: Path) -> Report:
    try:
        return run(folder, count=options.count, people=options.people, rounds=options.rounds, seed=options.seed)
    except Unavailable as why:
        print(f"HAPI cannot be started here, nothing is tested: {why}", file=sys.stderr)
        return Report([], {"servers": 0})
