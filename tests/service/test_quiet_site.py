"""Half a year of invented staff in two systems, in small: `python -m tests.acceptance quiet` plays it with 2,000 people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hl7bridge.invented import staffing
from hl7bridge.invented.staffing import CRED, HR, half_a_year
from tests.acceptance import quiet


def test_the_same_seed_tells_the_same_half_year() -> None:
    told = half_a_year(1200, "1")
    assert told == half_a_year(1200, "1") != half_a_year(1200, "2")
    kinds = Counter(one.kind for one in told)
    assert set(staffing.RATES) | {"join", "re-hire", "return"} <= set(kinds)
    keys = {feed: {one.person.key for one in told if one.feed == feed} for feed in (HR, CRED)}
    assert not keys[HR] & keys[CRED]
    twins = {one.human: one.person for one in told if one.kind == "join" and one.feed == HR and one.human < 8}
    for first in (0, 2, 4, 6):
        one, other = twins[first], twins[first + 1]
        assert (one.family, one.born) == (other.family, other.born)
        assert (one.key, one.npi, one.given) != (other.key, other.npi, other.given)


def test_what_is_held_could_not_be_told_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few people to whom much happens: every kind of change comes."""
    monkeypatch.setattr(staffing, "RATES", dict.fromkeys(staffing.RATES, 0.3) | {"leave": 0.6, "telephone": 0.1})
    monkeypatch.setattr(staffing, "TWINS", 0.2)
    for name in ("BACK", "RE_HIRED", "RECYCLED"):
        monkeypatch.setattr(staffing, name, 0.3)
    report = quiet.run(tmp_path, people=16, seed="4")
    assert report.faults == []
    assert report.figures["held of a re-hire: re-hired"] > 0
    assert report.figures["held of a key used again: recycled-key"] > 0
