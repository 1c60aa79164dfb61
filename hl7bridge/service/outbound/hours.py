"""Hours of the week: maintenance windows of a server, and the office hours of a house. Pure; time is passed in.

A window that ends at or before its begin ends on the next day. Hours are those on a wall clock of the time zone: a window
over a change to or from daylight saving time is an hour shorter or longer, and one whose end does not exist on that day
ends when the clock has passed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Window:
    """`days`: 0 = Monday to 6, those on which it begins. `zone`: None = that of this machine."""

    begin: time
    end: time
    days: frozenset[int] = EVERY_DAY
    zone: ZoneInfo | None = None

    def until(self, now: float) -> float:
        """When the window that `now` (Unix seconds) is in ends, in Unix seconds; 0 = it is in none."""
        today = datetime.fromtimestamp(now, UTC).astimezone(self.zone).date()
        for day in (today, today - timedelta(days=1)):
            if day.weekday() not in self.days:
                continue
            last = day if self.end > self.begin else day + timedelta(days=1)
            if self._at(day, self.begin) <= now < (end := self._at(last, self.end)):
                return end
        return 0.0

    def _at(self, day: date, moment: time) -> float:
        """Unix seconds of a time on the wall clock; the first of two where the clock is set back."""
        return datetime.combine(day, moment, tzinfo=self.zone).timestamp()


def until(windows: Iterable[Window], now: float) -> float:
    """When the hours that `now` is in end, windows that touch taken together; 0 = it is in none. Unix seconds."""
    every, end = tuple(windows), 0.0
    for _ in range(len(every) + 1):  # of more that touch, the next look tells
        following = max((window.until(end or now) for window in every), default=0.0)
        if following <= end:
            break
        end = following
    return end


def window_of(days: Iterable[str], hours: str, zone: str) -> Window:
    """A window from its settings: names of days (none = each), `02:00-04:00`, a time zone's name ("" = this machine's)."""
    begin, _, end = hours.partition("-")
    numbers = frozenset(DAYS.index(day) for day in days)
    return Window(
        time.fromisoformat(begin), time.fromisoformat(end), numbers or EVERY_DAY, ZoneInfo(zone) if zone else None
    )


def outside(windows: Iterable[Window], due: Callable[[float, float], bool]) -> Callable[[float, float], bool]:
    """When something is due, but not within one of the windows: it is made up for after."""
    every = tuple(windows)
    return lambda now, last: not until(every, now) and due(now, last)
