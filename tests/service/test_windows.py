"""Hours of the week: which moment is in a window, and until when; over midnight, and over the change of the clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from hl7bridge.config.tasks import DAYS as NAMED_DAYS
from hl7bridge.service.outbound.hours import DAYS, outside, until, window_of

CHICAGO = "America/Chicago"


def at(text: str, zone: str = CHICAGO) -> float:
    """Unix seconds of a moment on the wall clock; with an offset, of that moment."""
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=ZoneInfo(zone))).timestamp()


SUNDAYS = (window_of(["sun"], "02:00-04:00", CHICAGO),)  # 2026-03-01 is a Sunday
NIGHTS = (window_of(["fri", "sat"], "22:30-01:15", CHICAGO),)
ALL_DAY = (window_of([], "00:00-00:00", CHICAGO),)
TOUCHING = (window_of(["sun"], "02:00-04:00", CHICAGO), window_of(["sun"], "04:00-05:00", CHICAGO))


@pytest.mark.parametrize(
    ("windows", "now", "end"),
    [
        (SUNDAYS, "2026-03-01T01:59:59", ""),
        (SUNDAYS, "2026-03-01T02:00", "2026-03-01T04:00"),
        (SUNDAYS, "2026-03-01T03:59:59", "2026-03-01T04:00"),
        (SUNDAYS, "2026-03-01T04:00", ""),
        (SUNDAYS, "2026-03-02T03:00", ""),
        (SUNDAYS, "2026-03-01T09:00+00:00", "2026-03-01T04:00"),
        # Clocks go from 02:00 to 03:00 on 2026-03-08, and from 02:00 back to 01:00 on 2026-11-01.
        (SUNDAYS, "2026-03-08T07:59:59+00:00", ""),
        (SUNDAYS, "2026-03-08T08:00+00:00", "2026-03-08T09:00+00:00"),
        (SUNDAYS, "2026-03-08T09:00+00:00", ""),
        (SUNDAYS, "2026-11-01T07:30+00:00", ""),
        (SUNDAYS, "2026-11-01T08:00+00:00", "2026-11-01T10:00+00:00"),
        ((window_of([], "01:30-02:30", CHICAGO),), "2026-11-01T06:30+00:00", "2026-11-01T08:30+00:00"),
        ((window_of([], "01:30-02:30", CHICAGO),), "2026-03-08T07:45+00:00", "2026-03-08T08:30+00:00"),
        (NIGHTS, "2026-03-06T23:00", "2026-03-07T01:15"),
        (NIGHTS, "2026-03-08T00:30", "2026-03-08T01:15"),
        (NIGHTS, "2026-03-09T00:30", ""),
        (NIGHTS, "2026-03-06T00:30", ""),
        (TOUCHING, "2026-03-01T02:30", "2026-03-01T05:00"),
        ((), "2026-03-01T02:30", ""),
    ],
)
def test_which_moment_is_in_a_window_and_until_when(windows, now: str, end: str) -> None:
    assert until(windows, at(now)) == (at(end) if end else 0.0)


def test_a_window_without_end_is_looked_at_again() -> None:
    assert until(ALL_DAY, at("2026-03-01T12:00")) > at("2026-03-01T23:59")


def test_without_a_zone_it_is_the_machines() -> None:
    now = datetime.now().replace(hour=2, minute=30, second=0, microsecond=0)
    assert until((window_of([], "02:00-04:00", ""),), now.timestamp()) == now.replace(hour=4, minute=0).timestamp()


def test_the_settings_know_the_same_days() -> None:
    assert DAYS == NAMED_DAYS


def test_what_is_due_within_a_window_is_made_up_for_after() -> None:
    due = outside(SUNDAYS, lambda now, last: now - last >= 60)
    last = at("2026-03-01T01:58:30")
    times = ("01:59:00", "01:59:30", "02:00", "03:59:59", "04:00")
    assert [due(at(f"2026-03-01T{now}"), last) for now in times] == [False, True, False, False, True]
