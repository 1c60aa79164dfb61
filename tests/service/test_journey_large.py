"""A master file that is read in parts: killed while it is read, and while it is written out, each record is there once.

What it takes in memory, and whether other senders notice: `python -m tests.acceptance large`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hl7bridge.intake.verdict import LARGE_FILE
from tests.acceptance import large


@pytest.mark.slow
def test_of_a_large_file_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    raw = large.file_of(2_000, "nightly-1", seed=7)
    assert len(raw) > LARGE_FILE
    faults, figures = large.killed(tmp_path, raw, 2_000)
    assert faults == []
    assert figures["records left to write out at the kill"] > 0
