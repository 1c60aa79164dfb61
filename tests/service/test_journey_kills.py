"""kill -9 at a few random moments, from a seed; the full count: `python -m tests.acceptance kills`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import kills


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    report = kills.run(tmp_path, count=5, seed=20260302, longest=1.0)
    assert report.faults == []
    assert report.figures["records acknowledged"] > 10
