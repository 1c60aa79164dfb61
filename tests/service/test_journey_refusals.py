"""The server refuses for a second each; the full list: `python -m tests.acceptance refusals`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import refusals


@pytest.mark.slow
def test_everything_arrives_once_the_refusal_ends(tmp_path: Path) -> None:
    by_name = {refusal.name: refusal for refusal in refusals.REFUSALS}
    chosen = tuple(by_name[name] for name in refusals.SHORT)
    report = refusals.run(tmp_path, refusals=chosen, seed=20260302, seconds=0.8)
    assert report.faults == []
    assert report.figures["held"] == 0
