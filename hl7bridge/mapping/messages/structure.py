"""What the structure of a staff message allows, and what is said of everything else that it carries.

No rule reads what stands outside: a second STF, a line without a segment name, an MFE in a personnel message. Such content
may name another person, another event or another state, so it is never passed over under a positive answer: it fails the
record in which it stands or, where no record can be told, the message. A warning is for what has no consequence.

HL7 v2.9 chapters 8.4.1 (MFN), 15.3 (PMU), 3.3 (ADT); 2.6.2 lets a recipient ignore what it does not expect, which is no
way to treat somebody who leaves.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from hl7bridge.errors import UnreadableMessage
from hl7bridge.hl7.message import Message, Segment
from hl7bridge.mapping.feed_rules import TOO_MANY, Caps
from hl7bridge.mapping.rules.reading import FieldReader
from hl7bridge.model import Location

STAFF = frozenset({"STF", "PRA", "ORG", "AFF", "LAN", "EDU", "CER", "NTE", "GSP", "GSR", "UAC", "ARV"})
"""The segments of one person, in master files (MFN) and personnel messages (PMU), and those that say nothing of anybody. SFT
is not among them: two letters exchanged make one of an STF."""

OTHERS_IN_PERSONNEL = frozenset({"NK1", "ROL", "PRT"})
"""In PMU alone: relatives, and other people in their part of the event. By the standard they are not the person."""

CONTINUATION = "DSC"

_ONCE_IN_OPENING = ("MSH", "MFI", "EVN")
_MFE_FIELDS = 7


class RecordFault(NamedTuple):
    """Why a record is not trusted as a whole. `code`: table 0357; `local`: our own code; `where`: the segment, the field."""

    code: str
    local: str
    text: str
    where: Location


def place_of(segment: Segment, before: Segment | None, field: int = 0) -> Location:
    """Where a segment stands; one without a name is told by the segment before it."""
    named = segment if segment.name else before
    return Location(named.name, named.occurrence, field if named is segment else 0) if named else Location("MSH")


def check_once(message: Message, names: Iterable[str] = _ONCE_IN_OPENING) -> None:
    """Raise UnreadableMessage (100) where a segment repeats that every message has once: it is two messages in one."""
    for name in names:
        if message.count(name) > 1:
            found = message.all(name)
            text = f"{name} stands more than once: nobody can say which of them counts"
            raise UnreadableMessage("100", "segment-repeats", text, Location(name, found[1].occurrence))


def check_absent(message: Message, names: Iterable[str], kind: str) -> None:
    """Raise UnreadableMessage (100) where a segment stands that is of another kind of message."""
    for name in names:
        if message.first(name) is not None:
            text = f"{name} stands in a {kind}: it is of another kind of message, and would not be read"
            raise UnreadableMessage("100", "segment-foreign", text, Location(name))


def check_opening(segments: Iterable[Segment], allowed: Container[str], until: str) -> None:
    """Raise UnreadableMessage (100) for what stands before the first record, and is of a record or cannot be told."""
    before: Segment | None = None
    for segment in segments:
        if segment.name == until:
            return
        if segment.name not in allowed and not segment.name.startswith("Z"):
            if segment.name:
                text = f"a segment stands before the first {until}, and would belong to no record"
                raise UnreadableMessage("100", "segment-order", text, place_of(segment, before))
            text = "a line without a segment name stands before the first record: it would not be read"
            raise UnreadableMessage("100", "segment-unreadable", text, place_of(segment, before))
        before = segment


def fault_of(
    group: Iterable[Segment], allowed: Container[str], first: Segment | None, events: Container[str]
) -> RecordFault | None:
    """What stands among the segments of one record, and is none of its kind; `first`: the segment that opens it.

    Z segments are a site's own. Whatever begins as an MFE does, with one of the `events`, is one that was damaged.
    """
    before, staff = first, None
    for segment in group:
        name = segment.name
        if name == "STF":
            if staff is not None:
                text = "a second STF in one record: it may be of another person, whose MFE is missing"
                return RecordFault("100", "segment-repeats", text, place_of(segment, before))
            staff = segment
        elif name != "PRA" and name and segment.value(1) in events:
            text = "this segment begins as an MFE does: the event and the key that it names would not be read"
            return RecordFault("100", "segment-foreign", text, place_of(segment, before))
        elif name not in allowed and not name.startswith("Z"):
            if not name:
                text = "the line behind this segment has no segment name: what it holds would not be read"
                return RecordFault("100", "segment-unreadable", text, place_of(segment, before))
            text = "this segment is none of a staff record: what it holds would not be read"
            return RecordFault("100", "segment-foreign", text, place_of(segment, before))
        before = segment
    return None


def too_many(caps: Caps) -> tuple[str, str, str]:
    """What is said of a record with more segments than are read."""
    text = (
        f"the record has more than {caps.record_segments} segments (limits.max_record_segments of the feed): not read"
    )
    return TOO_MANY, "too-many-segments", text


def repeats(reader: FieldReader, raw: str) -> bool:
    """Whether a field that may not repeat holds different values."""
    if reader.repetition not in raw:
        return False
    return len({one for one in reader.repetitions(raw) if one.strip()}) > 1


def glued(reader: FieldReader, segments: Iterable[Segment], key: str, events: Container[str]) -> Segment | None:
    """The first segment that holds the beginning of another one in a field, as where its end was lost: `..|CWESTF|K1|..`.

    An entry is told by the event behind it, another segment by the record's key.
    """
    for segment in segments:
        text = segment.text[3:]
        if "MFE" not in text and "STF" not in text and "PRA" not in text:
            continue
        fields = text.split(reader.field)
        for field, following in pairwise(fields):
            if "\n" in field[-4:-3]:
                continue  # a line feed inside a message of CR is text
            opened, value = field[-3:], reader.first(following)
            if (opened == "MFE" and value in events) or (opened in ("STF", "PRA") and key and value == key):
                return segment
    return None


def fields_beyond(entry: Sequence[str]) -> bool:
    """Whether an MFE, its name before its fields, has fields that no version of the standard gives it."""
    return len(entry) > _MFE_FIELDS + 1 and any(entry[_MFE_FIELDS + 1 :])
