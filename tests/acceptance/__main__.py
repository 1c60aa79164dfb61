"""python -m tests.acceptance NAME | everything | --list      the full counts; a seeded tenth of them runs with pytest.

Exit code 0 when no fault was found. With --keep the folder (configuration, store, journal, sender's log) stays.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = {
    "kills": "kill -9 of the tree, the listener, the delivery role, at random moments",
    "refusals": "the server refuses in many ways, then recovers",
    "two-feeds": "two feeds, one person, at once",
    "flood": "five hundred deactivations within a minute that nobody announced",
    "large": "a master file of 50,000 records: memory, other senders, kills",
    "batch-file": "a batch file of 100,000 messages, dropped and replayed: memory, kills",
    "corpus": "every published message of ../shared/corpus",
    "quiet": "half a year of 2,000 people in two systems: what is held, and whether it deserves it",
    "properties": "mutations of messages, histories of people: many examples of what the tests show with few",
    "fuzz": "mutated frames through codec and reader, over sockets and over TLS: nothing dies, hangs or grows",
    "adt": "a patient feed: few requests, and nothing of a patient on disk",
    "invented": "feeds of invented people and redacted copies: they map, and map alike",
    "soak": "ten minutes of 64 connections, refusals and peers that reset: is memory flat?",
    "million": "a store of 1,000,000 messages, 100,000 of them waiting: as quick as an empty one?",
    "hapi": "the journey against a FHIR server that others wrote (needs Java and Maven)",
}


def main() -> int:
    if "--list" in sys.argv[1:]:
        for name, text in {**NAMES, "everything": "all of them, with their defaults"}.items():
            print(f"{name:11} {text}")
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance", description=__doc__)
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it there")
    commands = parser.add_subparsers(dest="name", required=True)
    commands.add_parser("everything", help="all of them, with their defaults")
    modules: dict[str, Any] = {}
    for name, text in NAMES.items():
        modules[name] = importlib.import_module(f"tests.acceptance.{name.replace('-', '_')}")
        modules[name].add_options(commands.add_parser(name, help=text))
    options = parser.parse_args()
    chosen = list(NAMES) if options.name == "everything" else [options.name]
    faults = 0
    for name in chosen:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (options.keep or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=False)
            begun = time.monotonic()
            given = options if options.name == name else parser.parse_args([name])
            print(f"\n{name}: seed {given.seed}" if "seed" in given else f"\n{name}", flush=True)
            report = modules[name].main(given, folder)
        print(f"\n{name}: {len(report.faults)} faults in {time.monotonic() - begun:.0f} s")
        for figure, number in report.figures.items():
            print(f"  {figure:44} {number:>8,}")
        for fault in report.faults[:50]:
            print(f"  FAULT {fault}")
        faults += len(report.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
