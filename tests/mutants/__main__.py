"""python -m tests.mutants [--count N] [--seed N] [--room NAME]     change the code in one place: do the tests notice?

The places are drawn by seed from the modules that nothing must be wrong in: header, codec, acknowledgment, times, identity.
Each mutant runs in a copy of the checkout against the tests of its room until the first one fails. Survivors are listed:
each wants a test, or a word in `survivors.toml` why nobody could see it. Exit code 1 when one is listed nowhere.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.examples import fresh_seed
from tests.mutants.mutating import Place, mutant, places

ROOT = Path(__file__).parents[2]
LONGEST = 300  # seconds for one mutant: beyond, it hangs, which is noticed as well
PARTS = ("hl7bridge", "tests", "conf", "sample_messages", "pyproject.toml", "README.md", ".ci")


@dataclass(frozen=True)
class Room:
    """Modules, and the tests that should notice a change there, the quickest first."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "codec": Room(
        ("hl7/mllp.py", "hl7/boundaries.py"),
        (
            "tests/hl7/test_mllp.py",
            "tests/hl7/test_boundaries.py",
            "tests/fuzz",
            "tests/hl7/test_batch.py",
            "tests/hl7/test_stream.py",
        ),
    ),
    "header": Room(
        ("hl7/header.py", "hl7/escapes.py", "hl7/charset.py"),
        (
            "tests/hl7/test_message.py",
            "tests/hl7/test_escapes.py",
            "tests/hl7/test_charset.py",
            "tests/test_charsets.py",
            "tests/hl7/test_echoing.py",
            "tests/test_samples.py",
        ),
    ),
    "acknowledgment": Room(
        ("hl7/acknowledgment.py", "hl7/echoing.py", "hl7/batch_acknowledgment.py"),
        (
            "tests/hl7/test_acknowledgment.py",
            "tests/hl7/test_echoing.py",
            "tests/hl7/test_batch.py",
            "tests/test_samples.py",
            "tests/service/test_answers.py",
        ),
    ),
    "times": Room(
        ("mapping/rules/times.py", "mapping/messages/effective.py"),
        (
            "tests/mapping/test_times.py",
            "tests/mapping/test_effective.py",
            "tests/mapping/test_golden.py",
            "tests/mapping/test_role.py",
            "tests/test_samples.py",
        ),
    ),
    "identity": Room(
        (
            "destinations/fhir/identity/resolve.py",
            "destinations/fhir/identity/evidence.py",
            "destinations/fhir/identity/carried.py",
            "destinations/fhir/identity/systems.py",
        ),
        (
            "tests/destinations/fhir/test_identity.py",
            "tests/destinations/fhir/test_evidence.py",
            "tests/destinations/fhir/test_doubts.py",
            "tests/destinations/fhir/test_two_keys.py",
            "tests/destinations/fhir/test_deliver.py",
            "tests/destinations/fhir/test_quarantine.py",
            "tests/test_two_people.py",
        ),
    ),
}


@dataclass(frozen=True)
class Mutant:
    """One change. `key` names it beyond small edits elsewhere in the file: module, what, the text of the line."""

    room: str
    module: str
    place: Place
    key: str


def drawn(rooms: list[str], count: int, seed: int) -> list[Mutant]:
    """As many of each room as it has places, in proportion."""
    found = []
    for room in rooms:
        for module in ROOMS[room].modules:
            source = (ROOT / "hl7bridge" / module).read_text(encoding="utf-8")
            lines = source.splitlines()
            found += [
                Mutant(room, module, place, f"{module}: {place.what}: {lines[place.line - 1].strip()}")
                for place in places(source)
            ]
    return random.Random(seed).sample(found, min(count, len(found)))


def copied(folder: Path) -> Path:
    """The checkout without its history."""
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def survives(folder: Path, tried: Mutant) -> bool:
    """Whether all tests of its room pass with it."""
    path = folder / "hl7bridge" / tried.module
    source = path.read_text(encoding="utf-8")
    path.write_text(mutant(source, tried.place.number), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        *ROOMS[tried.room].tests,
    ]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=LONGEST, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(source, encoding="utf-8")
    return ended == 0


def main() -> int:
    """Draw, try, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="how many (default 500)")
    parser.add_argument("--seed", type=int, default=fresh_seed(), help="which ones (default: others each time)")
    parser.add_argument("--room", choices=ROOMS, action="append", help="of these rooms alone")
    parser.add_argument("--workers", type=int, default=2, help="at a time (default 2)")
    options = parser.parse_args()
    known = tomllib.loads((Path(__file__).parent / "survivors.toml").read_text(encoding="utf-8"))["survivors"]
    mutants = drawn(options.room or list(ROOMS), options.count, options.seed)
    print(f"seed {options.seed}: {len(mutants)} mutants", flush=True)
    survivors: list[Mutant] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.workers) as workers:
        free: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.workers):
            (folder := Path(temporary) / str(number)).mkdir()
            free.put(copied(folder))

        def one(tried: Mutant) -> tuple[Mutant, bool]:
            folder = free.get()
            try:
                return tried, survives(folder, tried)
            finally:
                free.put(folder)

        for number, (tried, lives) in enumerate(workers.map(one, mutants), 1):
            if lives:
                survivors.append(tried)
                print(f"survives: {tried.key}   (line {tried.place.line})", flush=True)
            if number % 25 == 0:
                print(
                    f"{number} of {len(mutants)}, {len(survivors)} survive, {time.monotonic() - begun:.0f} s",
                    flush=True,
                )
    unexplained = [tried for tried in survivors if tried.key not in known]
    print(
        f"{len(mutants)} mutants, {len(survivors)} survive, {len(unexplained)} of them without a word in survivors.toml"
    )
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
