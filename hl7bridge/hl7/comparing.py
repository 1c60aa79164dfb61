"""What differs between two messages, field by field.

Records of a master file are matched by their key (MFE-4), whatever their order; within a record, and where there are none,
segments by the longest sequence that both have. Text is compared, not bytes: two messages with other separators or in other
character sets may be equal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

from hl7bridge.hl7.message import Message, Segment

PER_MESSAGE = ("MSH-7", "MSH-10")
"""What differs between any two messages: when it was made, and its id."""

_PLACE = re.compile(r"[A-Z][A-Z0-9]{2}(-\d+)?")


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One difference.

    kind           "changed", "added" (the second message alone has it), "removed" (the first alone)
    path           where, as `Message.read` takes it: in the first message, of what was added in the second; a segment
                   alone for a whole segment
    before, after  the text, escape sequences resolved; "" = not there, `""` = null. Of a whole segment or field, as sent
    record         key of its record (MFE-4), "" outside of records
    """

    kind: str
    path: str
    before: str
    after: str
    record: str = ""


def is_place(text: str) -> bool:
    """Whether text names a segment or a field, such as `NTE` or `MSH-7`: what `differences` can ignore."""
    return bool(_PLACE.fullmatch(text))


def differences(first: Message, second: Message, ignored: Collection[str] = PER_MESSAGE) -> Iterator[FieldDifference]:
    """Every difference, in the order of the first message; `ignored` holds segments (`NTE`) and fields (`MSH-7`)."""
    skipped = frozenset(ignored)
    theirs = _records(second)
    for key, group in _records(first).items():
        yield from _groups(group, theirs.pop(key, []), key[0], skipped)
    for key, group in theirs.items():
        yield from _groups([], group, key[0], skipped)


def _records(message: Message) -> dict[tuple[str, int], list[Segment]]:
    """(key, how often it came before) -> segments; ("", 0) is what stands before the first MFE."""
    found: dict[tuple[str, int], list[Segment]] = {("", 0): []}
    group, times = found["", 0], dict[str, int]()
    for segment in message.segments:
        if segment.name == "MFE":
            key = segment.value(4)
            times[key] = times.get(key, 0) + 1
            group = found[key, times[key]] = []
        group.append(segment)
    return found


def _groups(
    before: Sequence[Segment], after: Sequence[Segment], record: str, skipped: Collection[str]
) -> Iterator[FieldDifference]:
    before, after = ([s for s in group if s.name not in skipped] for group in (before, after))
    matcher = SequenceMatcher(None, [s.text for s in before], [s.text for s in after], autojunk=False)
    for what, begin, end, other_begin, other_end in matcher.get_opcodes():
        if what != "equal":
            yield from _unequal(before[begin:end], after[other_begin:other_end], record, skipped)


def _unequal(
    before: Sequence[Segment], after: Sequence[Segment], record: str, skipped: Collection[str]
) -> Iterator[FieldDifference]:
    """Segments of one name are the same segment, changed; the others are removed or added."""
    matcher = SequenceMatcher(None, [s.name for s in before], [s.name for s in after], autojunk=False)
    for what, begin, end, other_begin, other_end in matcher.get_opcodes():
        if what == "equal":
            for one, other in zip(before[begin:end], after[other_begin:other_end], strict=True):
                yield from _fields(one, other, record, skipped)
            continue
        for segment in before[begin:end]:
            yield FieldDifference("removed", path_of(segment), segment.text, "", record)
        for segment in after[other_begin:other_end]:
            yield FieldDifference("added", path_of(segment), "", segment.text, record)


def path_of(segment: Segment) -> str:
    """`STF`, or `STF[2]` for the second of them."""
    return segment.name + (f"[{segment.occurrence}]" if segment.occurrence > 1 else "")


def _fields(before: Segment, after: Segment, record: str, skipped: Collection[str]) -> Iterator[FieldDifference]:
    for number in range(1, max(before.fields, after.fields) + 1):
        if f"{before.name}-{number}" in skipped:
            continue
        old, new = values(before, number), values(after, number)
        if not (old and new):
            if old or new:
                segment, kind = (before, "removed") if old else (after, "added")
                path = f"{path_of(segment)}-{number}"
                yield FieldDifference(kind, path, before.raw(number), after.raw(number), record)
            continue
        simple = all(place.component == 1 for place in (*old, *new))
        for place in dict.fromkeys((*old, *new)):
            was, now = old.get(place, ""), new.get(place, "")
            if was != now:
                kind = "changed" if was and now else "added" if now else "removed"
                segment = after if kind == "added" else before
                yield FieldDifference(kind, f"{path_of(segment)}-{number}{place.text(simple)}", was, now, record)


class ValuePlace(NamedTuple):
    """Where a value stands in its field: repetition, component, sub-component, from 1 on."""

    repetition: int
    component: int
    subcomponent: int

    def text(self, simple: bool) -> str:
        """The end of a path: `[2].3`; `simple` leaves out the component of a field that has but one."""
        start = f"[{self.repetition}]" if self.repetition > 1 else ""
        if self.subcomponent > 1:
            return f"{start}.{self.component}.{self.subcomponent}"
        return start if simple else f"{start}.{self.component}"


def values(segment: Segment, number: int) -> dict[ValuePlace, str]:
    """Every value of a field, empty ones left out; a null is `""`. `A` and `A^` are equal."""
    return {
        ValuePlace(index, component, subcomponent): text
        for index, repetition in enumerate(segment.repetitions(number), 1)
        for component in range(1, repetition.components + 1)
        for subcomponent, text in enumerate(repetition.subcomponents(component), 1)
        if text
    }
