"""For all tests: hypothesis tries the same examples with each run, unless a seed is asked for (tests/examples.py); what
tests write stands in memory; each file is compiled once; and tests marked `slow` run where they are asked for.
"""

from __future__ import annotations

import compileall
import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from tests.examples import is_fixed

ROOT = Path(__file__).parents[1]
SLOW = "HL7BRIDGE_TEST_SLOW"
MEMORY, ROOM = Path("/dev/shm"), 4 * 1024**3  # a file system in memory, and the bytes that must be free there

settings.register_profile("fixed", derandomize=True, database=None, print_blob=True)
settings.register_profile("seeded", derandomize=False, print_blob=True)
settings.load_profile("fixed" if is_fixed() else "seeded")

# Stores sync each commit. No test pulls the plug, so that a sync to a disk shows nothing; it only takes its time.
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Images for containers set this. Some hundred processes would compile the same files then, each for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package before the test processes start, so that they need not all do so."""
    if not is_test_process(config):
        compileall.compile_dir(ROOT / "hl7bridge", quiet=2, workers=2)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import all tests, each process those first that the others import last: each file is compiled by one of them."""
    if not is_test_process(session.config) or [Path(one).resolve() for one in session.config.args] != [ROOT / "tests"]:
        return
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    number, count = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for path in turned(files, number * len(files) // count):
        try:
            importlib.import_module(".".join(path.with_suffix("").parts))
        except (Exception, pytest.skip.Exception):  # said when it is collected
            continue


def is_test_process(config: pytest.Config) -> bool:
    """Whether this is one of several that run tests, and not the one that started them."""
    return hasattr(config, "workerinput")


def turned(files: Sequence[Path], first: int) -> Sequence[Path]:
    """The same, from that one on, and from the beginning."""
    return [*files[first:], *files[:first]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the slow ones out, aloud. `.ci/run` runs them after the others."""
    if os.environ.get(SLOW):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=f"slow: {SLOW}=1 pytest -m slow runs it, as .ci/run does"))
