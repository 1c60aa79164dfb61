"""A dropped batch file, killed on the way: a part of `python -m tests.acceptance batch-file`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import batch_file


@pytest.mark.slow
def test_of_a_dropped_batch_nothing_is_lost_or_doubled_by_a_kill(tmp_path: Path) -> None:
    faults, _ = batch_file.dropped(tmp_path, 1_500, seed=7, kills=1)
    assert faults == []
