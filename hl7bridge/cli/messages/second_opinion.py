"""What python-hl7, a reader that others wrote, says of a message beside ours: for `view --compare`.

Where the two disagree a sender does something unusual, and an engine that reads like python-hl7 sees another message. Two
conditions are met for it beforehand: it splits segments at CR alone, and decodes with the one encoding that it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from hl7bridge.hl7.message import Message, Segment

_LEAF = list[list[list[str]]]
"""Repetitions of components of subcomponents, still escaped."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """Fields that both read alike, and (place, what the other reader says) of those that they do not."""

    agreed: int
    differences: tuple[tuple[str, str], ...]


def second_opinion(message: Message) -> Opinion:
    """Read the message with python-hl7, and compare segment by segment, field by field."""
    import hl7

    try:
        theirs = hl7.parse("".join(f"{segment.text}\r" for segment in message.segments))
    except Exception as error:  # it raises what it happens to stumble over
        return Opinion(0, (("message", f"python-hl7 cannot read it ({type(error).__name__})"),))
    agreed, differences = 0, []
    for number, (segment, other) in enumerate(zip_longest(message.segments, theirs), 1):
        if segment is None or other is None:
            who = "python-hl7" if segment is None else "hl7bridge"
            differences.append((f"segment {number}", f"only {who} sees a segment here"))
            continue
        found = list(_differences_of(segment, other, message))
        differences += found
        agreed += segment.fields - len(found)
    return Opinion(agreed, tuple(differences))


def _differences_of(segment: Segment, other: list[object], message: Message) -> Iterator[tuple[str, str]]:
    place = segment.name + (f"[{segment.occurrence}]" if segment.occurrence > 1 else "")
    name = segment.name or segment.text.split(message.separators.field)[0]
    if str(other[0]) != name:
        yield place, f"python-hl7 calls the segment {str(other[0])!r}"
        return
    for number in range(1, max(segment.fields, len(other) - 1) + 1):
        if number >= len(other):
            yield f"{place}-{number}", "python-hl7 sees no such field"
        elif str(other[number]) != segment.raw(number):
            yield f"{place}-{number}", "python-hl7 reads other text"
        elif not (number <= 2 and segment.name in ("MSH", "FHS", "BHS")) and _theirs(other[number]) != _ours(
            segment, number, message
        ):
            yield f"{place}-{number}", "python-hl7 splits it into other repetitions or components"


def _theirs(field: object) -> _LEAF:
    return [[[str(part) for part in _parts(component)] for component in _parts(one)] for one in _parts(field)]


def _parts(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def _ours(segment: Segment, number: int, message: Message) -> _LEAF:
    mark = message.separators.subcomponent
    return [
        [
            repetition.raw_component(component).split(mark) if mark else [repetition.raw_component(component)]
            for component in range(1, repetition.components + 1)
        ]
        or [[""]]
        for repetition in segment.repetitions(number)
    ] or [[[""]]]
