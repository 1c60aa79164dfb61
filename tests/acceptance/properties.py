"""What hypothesis shows with a few examples at each run of the tests, with many: mutations, histories, plans, splits."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.checker import Fault, Report
from tests.acceptance.seeds import add_seed
from tests.examples import SEED_VARIABLE, VARIABLE

ROOT = Path(__file__).parents[2]
DRAWS = re.compile(r"^(?:from|import) (?:hypothesis|tests\.examples)\b", re.MULTILINE)
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
ENDED = re.compile(r"(\d+) (passed|failed|error)")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=40, help="so many times the examples of an ordinary run")
    add_seed(parser)


def tests() -> list[str]:
    """The files whose tests draw examples; not those that want a FHIR server, nor these programs themselves."""
    elsewhere = {ROOT / "tests" / name for name in ("acceptance", "fhir_server")}
    return sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if elsewhere.isdisjoint(path.parents) and DRAWS.search(path.read_text(encoding="utf-8"))
    )


def main(options: argparse.Namespace, folder: Path) -> Report:
    """Run the tests with their examples multiplied; what fails is printed as pytest prints it."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--basetemp={folder / 'tests'}"]
    command += [f"--hypothesis-seed={options.seed}", *tests()]
    environment = os.environ | {VARIABLE: str(options.times), SEED_VARIABLE: str(options.seed)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    faults = [Fault("property", name, "does not hold") for name in FAILED.findall(ended.stdout)]
    if ended.returncode:
        print(ended.stdout[-20_000:], ended.stderr[-2_000:], sep="\n", file=sys.stderr)
        faults = faults or [Fault("property", "pytest", f"ended with exit code {ended.returncode}")]
    figures = {"times the ordinary examples": options.times}
    figures |= {name: int(number) for number, name in ENDED.findall(ended.stdout.rpartition("\n\n")[2] or ended.stdout)}
    return Report(faults, figures)
