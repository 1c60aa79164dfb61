"""MFI, the segment that begins a master file: which file it names, and how an answer repeats it.

HL7 v2.9 chapters 8.5.1 (MFI) and 8.4.1 (MFK, which repeats it). Tables 0175, 0178, 0179.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from enum import Enum

from hl7bridge.hl7.echoing import V2_3_1, Version
from hl7bridge.hl7.escapes import Separators, escape
from hl7bridge.hl7.message import NULL, Segment
from hl7bridge.mapping.rules.reading import FieldReader
from hl7bridge.mapping.rules.times import instant

RESPONSE_LEVELS = frozenset({"NE", "ER", "AL", "SU"})
"""Table 0179."""

UNKNOWN_FILE = "unknown-master-file"
"""Why it is not certain that a record is about staff: MFI-1 names a file that no table knows, and there is no STF."""

_FILE_EVENTS = frozenset({"UPD", "REP"})


class NamedFile(Enum):
    """What MFI-1 names. EMPTY says nothing that would contradict the trigger event."""

    STAFF = "staff"
    OTHER = "another file of table 0175"
    UNKNOWN = "a file that table 0175 does not hold"
    EMPTY = "nothing"


def file_of(mfi: Segment, reader: FieldReader, table: Mapping[str, str]) -> tuple[NamedFile, str]:
    """What MFI-1 names by the table (0175, with the site's own codes), and the name as sent: its code, else its text."""
    parts = reader.parts(reader.repetitions(mfi.raw(1))[0])
    name = next((parts[place] for place in (0, 1, 3, 4) if parts[place]), "")
    if not name:
        return NamedFile.EMPTY, ""
    target = table.get(name, table.get(name.upper()))
    if target is None:
        return NamedFile.UNKNOWN, name
    return (NamedFile.STAFF if target == "staff" else NamedFile.OTHER), name


def echoed(mfi: Segment, separators: Separators, version: Version) -> tuple[str, str]:
    """The MFI of an answer, and the response level that it is built by ("AL" where none is asked for).

    What stands a field too far to the left is put into its place; a value that its field cannot hold is left out, or, where
    the field is required, told as it was read.
    """
    identifier, application, event, entered, effective, level = _in_place(mfi, separators)
    fields = [
        "MFI",
        _identifier(identifier, separators),
        _application(application, separators, version),
        event if event in _FILE_EVENTS else "UPD",
        _time(entered, separators),
        _time(effective, separators),
        level if level in RESPONSE_LEVELS else "AL",
    ]
    return separators.field.join(fields), fields[6]


def _in_place(mfi: Segment, separators: Separators) -> list[str]:
    """MFI-1 to MFI-6 as sent, each in its place."""
    sent = [mfi.raw(number) for number in range(1, 7)]

    def code(place: int) -> str:
        return _component(_first(sent[place], separators), separators).strip().upper()

    if code(2) not in _FILE_EVENTS and code(1) in _FILE_EVENTS:
        if code(5) in RESPONSE_LEVELS:  # MFI-6 is in its place: MFI-2 and MFI-3 alone are not
            sent[1], sent[2] = "", sent[1]
        else:
            sent = [sent[0], "", *sent[1:5]]
    if code(5) not in RESPONSE_LEVELS and code(4) in RESPONSE_LEVELS:
        sent[4], sent[5] = "", sent[4]
    return [*sent[:2], code(2), *sent[3:5], code(5)]


def _first(raw: str, separators: Separators) -> str:
    """The first repetition; "" for a null."""
    text = raw.split(separators.repetition, 1)[0] if separators.repetition else raw
    return "" if text.strip() == NULL else text


def _identifier(raw: str, separators: Separators) -> str:
    """MFI-1, a CE or CWE: no part of it has sub-components, and an empty one names the staff file."""
    text, mark = _first(raw, separators).strip(), separators.subcomponent
    if not text.strip(separators.component + mark):
        return "STF"
    return text.replace(mark, escape(mark, separators)) if mark else text


def _component(text: str, separators: Separators) -> str:
    return text.split(separators.component, 1)[0] if separators.component else text


def _application(raw: str, separators: Separators, version: Version) -> str:
    """MFI-2, an HD from 2.3.1 on and an ID before; "" for what is neither."""
    text, mark = _first(raw, separators), separators.subcomponent
    most = 2 if version >= V2_3_1 else 0
    too_many = bool(separators.component) and text.count(separators.component) > most
    return "" if too_many or (mark and mark in text) else text


def _time(raw: str, separators: Separators) -> str:
    """A TS or DTM as sent; "" for what is no time."""
    text = _first(raw, separators)
    return text if "&" not in text and instant(_component(text, separators), UTC) is not None else ""
