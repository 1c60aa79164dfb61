"""Which messages are ours: message type, trigger event and version (MSH-9, MSH-12)."""

from __future__ import annotations

import re

from hl7bridge.errors import UnsupportedMessage
from hl7bridge.hl7.escapes import Separators
from hl7bridge.hl7.header import Header
from hl7bridge.mapping.rules.reading import NULL, reader_of
from hl7bridge.mapping.rules.tables import packaged
from hl7bridge.model import Location
from hl7bridge.model.remembering import remembered

TAKEN = frozenset({"staff", "personnel"})
"""The families that `staff.translate` reads; what they hold is about staff alone, and is stored as received."""

STAFF, PERSONNEL, ADT, ACKNOWLEDGMENT, OTHER = "staff", "personnel", "adt", "acknowledgment", "other"


def family(header: Header) -> str:
    """Who reads such a message: "staff" (MFN^M02, and MFN^M01 as long as MFI-1 does not say otherwise), "personnel"
    (PMU^B01 to B08), "adt", "acknowledgment", or "other". Decided by MSH-9.1 and MSH-9.2; MSH-9.3 is often missing or wrong.
    """
    return header.once("family", lambda: _family(header))


def trigger_event(header: Header) -> str:
    """MSH-9.2 as `family` reads it."""
    return _type_and_event(header.text(9), header.delimiters)[1]


def _family(header: Header) -> str:
    type_code, event = _type_and_event(header.text(9), header.delimiters)
    events: dict[str, str] = packaged("events.toml").get(type_code, {})
    return events.get(event) or events.get("*", OTHER)


def _type_and_event(message_type: str, separators: Separators) -> tuple[str, str]:
    reader = reader_of(separators, "latin-1")
    parts = reader.parts(reader.repetitions(message_type)[0])
    return parts[0], parts[1]


def names_staff(header: Header) -> bool:
    """Whether MSH-9 names MFN, PMU or one of their events (M01, M02, B01 to B08) anywhere in it, in whatever case and
    between whatever separators: a message that no family of ours is, and that may be about staff all the same."""
    sent = header.text(9).upper()
    letters = _NO_CODE.sub("", sent)
    return "MFN" in letters or "PMU" in letters or _STAFF_EVENT.search(sent) is not None


_NO_CODE = re.compile("[^A-Z0-9]")
# Events that no other type has (table 0003), with a zero too few or too many.
_STAFF_EVENT = re.compile("(?<![A-Z0-9])(?:M0*[12]|B0*[1-8])(?![A-Z0-9])")


def unsupported(header: Header) -> UnsupportedMessage:
    """Why a message outside the staff family is not taken: event (201) where the type is known, else type (200)."""
    known = packaged("events.toml")
    what = family(header)
    if what == ADT:
        text = "ADT messages are not taken by this feed"
        return UnsupportedMessage("201", "unsupported-event", text, Location("MSH", field=9, component=2))
    if header.message_type in known:
        text = "this trigger event is not taken: staff comes as MFN^M02 or PMU^B01 to B08"
        return UnsupportedMessage("201", "unsupported-event", text, Location("MSH", field=9, component=2))
    text = "this message type is not taken: staff comes as MFN^M02 or PMU^B01 to B08"
    return UnsupportedMessage("200", "unsupported-type", text, Location("MSH", field=9, component=1))


def version_of(header: Header, fallback: str) -> tuple[tuple[int, ...], bool]:
    """The HL7 version of a message as numbers, (2, 5, 1), and whether it is `fallback` because MSH-12.1 is empty.

    Raises UnsupportedMessage (203) for anything outside 2.1 to 2.9.
    """
    return header.once(("version", fallback), lambda: _version_of(header, fallback))


def _version_of(header: Header, fallback: str) -> tuple[tuple[int, ...], bool]:
    text = header.version
    assumed = text in ("", NULL)
    version = _version(fallback if assumed else text)
    if version is None:
        place = Location("MSH", field=12)
        raise UnsupportedMessage("203", "unsupported-version", "MSH-12 names no HL7 version from 2.1 to 2.9", place)
    return version, assumed


@remembered(256)
def _version(text: str) -> tuple[int, ...] | None:
    numbers = text.split(".")
    if 2 <= len(numbers) <= 4 and all(len(part) <= 2 and part.isascii() and part.isdigit() for part in numbers):
        version = tuple(int(part) for part in numbers)
        if version[0] == 2 and 1 <= version[1] <= 9:
            return version
    return None
