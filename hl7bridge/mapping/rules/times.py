"""HL7 times (TS, DTM, DT: `YYYY[MM[DD[HH[MM[SS[.S..]]]]]][+/-ZZZZ]`) -> FHIR dates, and instants to compare.

HL7 v2.9 chapter 2A, DTM; FHIR R4 datatypes, date and dateTime: precision is kept, a time needs seconds and an offset.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo

from hl7bridge.model.remembering import remembered

_PRECISIONS = frozenset({4, 6, 8, 10, 12, 14})
# TS.2 (2.3 to 2.5): how much of the time is meant.
_TRUNCATED = {"Y": 4, "L": 6, "D": 8}
PRECISION_LETTERS = frozenset("YLDHMS")
"""What TS.2 may hold."""

EARLIEST_YEAR = 1900
"""Before it nothing that is still to happen was ever dated: 00010101 or 18991230 is how a database writes that it has no
date."""

LATEST_YEAR = 2199
"""Behind it, what has as many digits as YYMMDD, YYMMDDHHMM or YYMMDDHHMMSS is taken for such a one, and is no time: nobody
waits for January 2701, which 270101 would be."""
_LIKE_SHORT_YEARS = frozenset({6, 10, 12})


def fhir_date(text: str) -> str:
    """The date part as a FHIR date, as precise as sent; "" where there is no valid one. The time is not looked at."""
    digits = text[:8]
    if not (digits.isascii() and digits.isdigit()):
        return ""
    length = len(digits)
    try:
        if length == 8:
            date.fromisoformat(digits)
            return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
        if length == 6:
            return date.fromisoformat(f"{digits[:4]}-{digits[4:]}-01").isoformat()[:7]
        if length == 4 and digits != "0000":
            return digits
    except ValueError:
        pass
    return ""


def truncated(text: str, precision: str) -> str:
    """The time down to the precision that TS.2 states (Y, L for month, D); as it is for any other letter."""
    return text[: _TRUNCATED[precision]] if precision in _TRUNCATED else text


def fhir_date_time(text: str, zone: tzinfo) -> str:
    """A FHIR dateTime as precise as sent; a time without an offset of its own is of `zone`. "" where it is not valid."""
    day, sign, _ = text.partition("-" if "-" in text else "+")
    if len(text) <= 8 or (sign and len(day) <= 8 and instant(text, zone)):
        return fhir_date(day if sign else text)  # an offset makes no day more precise
    moment = instant(text, zone)
    if moment is None:
        return ""
    fraction = re.match(r"\d{14}(\.\d{1,6})", text)
    whole = moment.isoformat(timespec="seconds")
    # A fraction as precise as sent: isoformat would say six places, or none of .000.
    return whole[:19] + fraction[1] + whole[19:] if fraction else whole


@remembered(1024)
def instant(text: str, zone: tzinfo) -> datetime | None:
    """The instant that the text means, the start of it where it is not exact to the second; None where it is not valid.

    Its offset is the text's own, else the one that `zone` had then, in whole minutes.
    """
    if not text.isascii():
        return None
    main, sign, offset = text.partition("-" if "-" in text else "+")
    digits, point, fraction = main.partition(".")
    length = len(digits)
    if length not in _PRECISIONS or not digits.isdigit():
        return None
    if point and (length != 14 or not fraction.isdigit()):
        return None
    if sign and not _is_offset(offset):
        return None
    if length < 8 and sign and int(offset[2:]) % 15:
        return None  # 2027-0131 is a damaged date, and no year with the offset of a place
    if length < 8:
        digits += "0101"[length - 8 :]
    # The ISO 8601 basic format, which the standard library reads in C.
    iso = f"{digits[:8]}T{digits[8:] or '00'}"
    if fraction:
        iso += f".{fraction}"
    try:
        moment = datetime.fromisoformat(iso + sign + offset)
    except ValueError:
        return None
    return moment if sign else in_zone(moment, zone)


@dataclass(frozen=True, slots=True)
class Span:
    """The instants that a time as sent may mean: the first and the last, aware. `partial`: a year, or a month."""

    start: datetime
    end: datetime
    partial: bool = False


@remembered(1024)
def span(text: str, zone: tzinfo) -> Span | None:
    """The first and the last instant of a year or month; of what is more precise its start, which is two instants where the
    clocks are set back. None where the text is no valid time, or of a year in which nothing can be due."""
    start = instant(text, zone)
    main, _, offset = text.partition("-" if "-" in text else "+")
    if start is None or start.year < EARLIEST_YEAR or (len(main) in _LIKE_SHORT_YEARS and start.year > LATEST_YEAR):
        return None
    last, partial = start.replace(tzinfo=None), len(main) < 8
    if partial:
        month = start.month if len(main) == 6 else 12
        last = datetime(start.year, month, monthrange(start.year, month)[1], 23, 59, 59)
    if offset:
        return Span(start, last.replace(tzinfo=start.tzinfo), partial)
    return Span(start, max(in_zone(last, zone), in_zone(last, zone, fold=1)), partial)


def is_doubtful(text: str, zone: tzinfo) -> bool:
    """Whether a local time that `instant` accepts occurs twice in `zone`, or never (the clocks are set back, or on)."""
    if "+" in text or "-" in text or type(zone) is timezone:
        return False
    moment = instant(text, zone)
    assert moment is not None, "accepted by `instant`"
    local = moment.replace(tzinfo=None)
    return in_zone(local, zone) != in_zone(local, zone, fold=1)


def in_zone(moment: datetime, zone: tzinfo, *, fold: int = 0) -> datetime:
    """A local time with the fixed offset that the zone had then, in whole minutes (before 1900 zones have seconds).

    `fold` 1: the second time, where it occurs twice.
    """
    if type(zone) is timezone:
        return moment.replace(tzinfo=zone)
    offset = moment.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()
    return moment.replace(tzinfo=timezone(timedelta(minutes=round(offset.total_seconds() / 60))))


def is_exact(text: str) -> bool:
    """Whether a time that `instant` accepts has seconds."""
    return text[:14].isdigit() and len(text) >= 14


def _is_offset(digits: str) -> bool:
    """Whether these are `HHMM` up to 14 hours, as FHIR allows."""
    if len(digits) != 4 or not digits.isdigit():
        return False
    hours, minutes = int(digits[:2]), int(digits[2:])
    return minutes < 60 and (hours < 14 or (hours == 14 and not minutes))


def ends_before(end: str, start: str) -> bool:
    """Whether two FHIR dates or dateTimes are the wrong way round, as far as both are precise."""
    if "T" in start and "T" in end:
        return datetime.fromisoformat(end) < datetime.fromisoformat(start)
    length = min(len(start), len(end), 10)
    return end[:length] < start[:length]
