"""Two feeds, one person, over real sockets; a tenth of `python -m tests.acceptance two-feeds`."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance import two_feeds


def test_two_feeds_share_one_person(tmp_path: Path) -> None:
    report = two_feeds.run(tmp_path, count=10, seed=7)
    assert report.faults == []
