"""For all tests: hypothesis tries the same examples with each run, unless a seed is asked for (tests/examples.py); what
tests write stands in memory; and tests marked `slow` run where they are asked for.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.examples import is_fixed

SLOW = "HL7BRIDGE_TEST_SLOW"
MEMORY, ROOM = Path("/dev/shm"), 4 * 1024**3  # a file system in memory, and the bytes that must be free there

settings.register_profile("fixed", derandomize=True, database=None, print_blob=True)
settings.register_profile("seeded", derandomize=False, print_blob=True)
settings.load_profile("fixed" if is_fixed() else "seeded")

# Stores sync each commit. No test pulls the plug, so that a sync to a disk shows nothing; it only takes its time.
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the slow ones out, aloud. `.ci/run` runs them after the others."""
    if os.environ.get(SLOW):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=f"slow: {SLOW}=1 pytest -m slow runs it, as .ci/run does"))
