"""When a record applies: what MFE-3, MFI-5, EVN-2, EVN-3 or EVN-6 says, and the instant that follows, or the doubt.

A year or month is valid: a start means its first instant, an end its last. Who ends somebody, or brings them back, must
say when in a way that can be read; else a person decides (`StaffChange.undated`). HL7 v2.9 chapters 8.5.2, 3.4.1, 2A (DTM).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from hl7bridge.mapping.rules.reading import FieldReader
from hl7bridge.mapping.rules.times import PRECISION_LETTERS, Span, span, truncated
from hl7bridge.model import Location

FUTURE = timedelta(minutes=5)
"""What is due later than this from now waits for its time."""

UNREADABLE, PARTIAL = "unreadable-time", "partial-time"
"""Why it is not certain when a record applies: what was sent is no time, or is a year or month that has begun and not
ended."""

UNREADABLE_TEXT = (
    "is no valid time (YYYYMMDD...): a record that ends somebody or brings them back is held for a person to decide, any"
    " other is due at once"
)
PARTIAL_TEXT = (
    "is a year or month that has begun and not ended: whether the end has come it does not say; held for a person to"
    " decide"
)


@dataclass(frozen=True, slots=True)
class When:
    """What is said. `span` None and `readable`: nothing. `place`: the field that says it, or should.

    `readable` False: the field that decides holds no valid time; `span` is then what other fields say.
    """

    span: Span | None = None
    readable: bool = True
    place: Location | None = None


def when_of(reader: FieldReader, raw: str, zone: tzinfo, place: Location) -> When:
    """What a TS, DTM or DT field says, read strictly: a second time, or anything beside the time, makes it unreadable."""
    if raw.isdigit():  # mostly
        found = [span(raw, zone)]
    else:
        found = [_span_of(reader, one, zone) for one in reader.repetitions(raw) if not reader.is_blank(one)]
    if not found:
        return When(place=place)
    first = found[0]
    if first is None or any(one != first for one in found):
        return When(readable=False, place=place)
    return When(first, place=place)


def _span_of(reader: FieldReader, repetition: str, zone: tzinfo) -> Span | None:
    text, precision, *more = reader.parts(repetition)
    if any(more) or (precision and precision not in PRECISION_LETTERS):
        return None
    if any(reader.subparts(repetition, 1)[1:]):
        return None
    return span(truncated(text, precision), zone)


def effective(when: When, now: datetime, *, ends: bool) -> tuple[str, str]:
    """ISO 8601, and why it is not certain ("" = it is): waited for in the future; in the past it dates the end of a role.

    "" when nothing is said, and for the next few minutes: a clock that is ahead asks for nothing else than now.
    """
    doubt = "" if when.readable else UNREADABLE
    if when.span is None:
        return "", doubt
    if ends and when.span.partial and when.span.start <= now <= when.span.end:
        return "", doubt or PARTIAL
    moment = when.span.end if ends else when.span.start
    if timedelta(0) < moment - now <= FUTURE:
        return "", doubt
    return moment.isoformat(), doubt
