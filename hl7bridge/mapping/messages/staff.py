"""MFN^M02 and PMU -> staff changes: `translate`. Of a master file one for each MFE; personnel.py reads PMU, visits.py ADT.

Every MFE stands for itself: its own event, and the segments up to the next MFE. A record that cannot be read or mapped has
findings instead of a change, and does not touch the others. HL7 v2.9 chapter 8.5 (MFI, MFE), 15.4 (STF, PRA, ...).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from hl7bridge.errors import UnreadableMessage, UnsupportedMessage
from hl7bridge.hl7.message import Message, Segment, escape
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import events, structure
from hl7bridge.mapping.messages.effective import UNREADABLE_TEXT, When, when_of
from hl7bridge.mapping.messages.master_file import RESPONSE_LEVELS, UNKNOWN_FILE, NamedFile, file_of
from hl7bridge.mapping.messages.personnel import PersonnelMessage
from hl7bridge.mapping.messages.record import BEFORE_RECORDS, MFE_4, NOT_A_PRACTITIONER, Opening, first_component
from hl7bridge.mapping.messages.visits import VisitMessage, is_read
from hl7bridge.mapping.rules.draft import NOTHING_SAID, Purpose
from hl7bridge.mapping.rules.standing import UNTOLD_KEY
from hl7bridge.mapping.tracing import Trace
from hl7bridge.model import (
    Action,
    Finding,
    Location,
    Provenance,
    Record,
    RecordEcho,
    Severity,
    StaffIdentifier,
    Translation,
)

_ERROR, _UNKNOWN, _OTHER = Severity.ERROR, NamedFile.UNKNOWN, NamedFile.OTHER  # asked for each record
SLICE = 10
"""Records translated between two calls of `pause`."""


_OF_STAFF = ("STF", "PRA")
"""Segments that say of a record that it is about staff, whatever MFI-1 names."""

_OTHER_FILE = ("unsupported-master-file", "MFI-1 names another master file than staff", Location("MFI", field=1))

_SIMPLE_TYPES = frozenset({"ST", "ID", "IS", "NM", "SI"})
"""Types of MFE-5 without components. The standard's own example has a coding system behind such a key (`K1^^PLW`)."""

_PLAIN_KEYS = frozenset({"CE", "CWE", "ST"})
"""Types of MFE-5 that the staff key of STF-1 or STF-2 could have."""

PURPOSES = {action.value: Purpose(action) for action in Action}


def translate(
    message: Message, rules: FeedRules, now: datetime, *, pause: Callable[[], None] | None = None
) -> Translation:
    """What a staff message asks for. `now` is aware; `pause` is called after every `SLICE` records of a long message.

    Raises UnsupportedMessage for another message type (200), event or master file (201), or version (203), and
    UnreadableMessage (100) when there is no MFE, or no MFI and the MFE do not speak for themselves.
    """
    opening = opened(message, rules, now)
    found = []
    for record in opening.records():
        found.append(record)
        if pause is not None and len(found) % SLICE == 0:
            pause()
    return Translation(tuple(found), tuple(opening.findings), rules.mapping_version)


def records(message: Message, rules: FeedRules, now: datetime) -> Iterator[Record]:
    """The records of `translate`, one at a time; the findings about the message as a whole are `Opening.findings`.

    Raises what `translate` raises, before the first record.
    """
    return opened(message, rules, now).records()


def opened(message: Message, rules: FeedRules, now: datetime, trace: Trace | None = None) -> Opening:
    """The reader of a message, by what the feed takes, its type and trigger event. Raises what `translate` raises."""
    family = events.family(message.header)
    if family == events.STAFF and "staff" in rules.takes:
        return MasterFile(message, rules, now, trace)
    if family == events.PERSONNEL and "staff" in rules.takes:
        return PersonnelMessage(message, rules, now, trace)
    if family == events.ADT and "adt" in rules.takes and is_read(message.header):
        return VisitMessage(message, rules, now, trace)
    raise events.unsupported(message.header)


class MasterFile(Opening):
    """An MFN of staff, its MFI read."""

    def __init__(self, message: Message, rules: FeedRules, now: datetime, trace: Trace | None = None) -> None:
        super().__init__(message, rules, now, trace)
        self.replaces = False
        self.other_file = False
        self.names = NamedFile.EMPTY
        self.file_when = NOTHING_SAID
        self.allowed = self.segments_of_a_record(structure.STAFF | {structure.CONTINUATION})
        self._read_file_header(message)

    def _read_file_header(self, message: Message) -> None:
        structure.check_once(message)
        mfi = message.first("MFI")
        if mfi is not None:
            self._read_mfi(mfi)
        elif message.header.trigger_event == "M01" or not all(map(self._is_readable, message.all("MFE"))):
            text = "MFI is missing, and without it the records of this message cannot be told"
            raise UnreadableMessage("100", "segment-missing", text, Location("MFI"))
        if message.first("MFE") is None:
            text = "MFE is missing: the message has no record"
            if mfi is None:
                text = "MFI and MFE are missing: the message has no record"
            raise UnreadableMessage("100", "segment-missing", text, Location("MFE"))
        if mfi is None:
            self._say("100", "segment-missing", "MFI is missing: read as an update (UPD)", "MFI", 0)
            self.names = NamedFile.UNKNOWN  # it may be any file's: a record without STF ends nobody unasked
        structure.check_opening(message.segments, BEFORE_RECORDS, "MFE")
        self._check_event(message)
        if message.line_feed_is_text:
            opening = itertools.takewhile(lambda segment: segment.name != "MFE", message.segments)
            self.findings += message.line_feed_findings(opening)

    def _check_event(self, message: Message) -> None:
        """EVN is none of a master file. One that says what MSH and MFE say is passed over; any other is another event."""
        event = message.first("EVN")
        if event is None:
            return
        named = self.envelope.reader.first(event.raw(1))
        if (named and named != events.trigger_event(message.header)) or event.raw(3) or event.raw(6):
            text = "EVN stands in a master file, and names another event, or another time, than MSH and MFE do"
            raise UnreadableMessage("103", "event-conflict", text, Location("EVN"))

    def _is_readable(self, entry: Segment) -> bool:
        """Whether an MFE says by itself what is to be done to whom."""
        reader = self.envelope.reader
        known = reader.first(entry.raw(1)) in self.envelope.rules.codes["0180"]
        return known and bool(reader.leaf(first_component(reader, entry.raw(4))))

    def _read_mfi(self, mfi: Segment) -> None:
        reader, codes = self.envelope.reader, self.envelope.rules.codes
        for number in (1, 3):
            if structure.repeats(reader, mfi.raw(number)):
                text = f"MFI-{number} repeats with different values: nobody can say which of them counts"
                raise UnreadableMessage("198", "field-repeats", text, Location("MFI", field=number))
        self.names, name = file_of(mfi, reader, codes["0175"])
        master_files = self.envelope.rules.site.master_files
        if master_files:
            self.other_file = name not in master_files
            self.names = self.names if self.other_file else NamedFile.STAFF
        message = self.envelope.message
        if self.names is not NamedFile.STAFF and not master_files and events.trigger_event(message.header) == "M01":
            raise UnsupportedMessage("201", *_OTHER_FILE)
        if self.names is NamedFile.OTHER and not any(map(message.first, _OF_STAFF)):
            raise UnsupportedMessage("201", *_OTHER_FILE)
        if self.names is not NamedFile.STAFF and not master_files:
            text = "MFI-1 is neither STF nor PRA: records with an STF are read as staff all the same"
            self._say("103", "master-file", text, "MFI", 1, Severity.INFORMATION)
        shifted = False
        event = codes["0178"].get(reader.first(mfi.raw(3)))
        if event is None:
            event = codes["0178"].get(reader.first(mfi.raw(2)))
            if event is not None:
                shifted = True
                self._say("102", "shifted-field", "MFI-2 holds what belongs into MFI-3: read so", "MFI", 3)
            else:
                self._say("103", "file-event", "MFI-3 is neither UPD nor REP: read as an update (UPD)", "MFI", 3)
        if event == "replace":
            self.replaces = True
            text = "a replacement (REP) is read as an update: nobody who is absent from the file is deactivated"
            self._say("103", "replace-as-update", text, "MFI", 3)
        self.file_when = self._file_when(mfi, 4 if shifted else 5)

    def _file_when(self, mfi: Segment, number: int) -> When:
        """MFI-5, wherever it stands. A response level in its place, where MFI-6 is empty, is no time: none was sent."""
        envelope, place = self.envelope, Location("MFI", field=number)
        when = when_of(envelope.reader, mfi.raw(number), envelope.zone, place)
        if envelope.reader.first(mfi.raw(5)) in RESPONSE_LEVELS and not mfi.raw(6):
            text = "MFI-5 holds a response level (MFI-6) instead of a time: none is read"
            self._say("102", "invalid-time", text, "MFI", 5)
            return when if number != 5 else NOTHING_SAID
        if not when.readable:
            self._say("102", "invalid-time", f"MFI-{number} {UNREADABLE_TEXT}", "MFI", number)
        return when

    def records(self) -> Iterator[Record]:
        """One record for each MFE, in order."""
        position = 0
        entry: Segment | None = None
        group: list[Segment] = []
        for segment in self.envelope.message.segments:
            if segment.name == "MFE":
                if entry is not None:
                    position += 1
                    yield self._record(position, entry, group)
                entry, group = segment, []
            elif entry is not None:
                group.append(segment)
        if entry is not None:
            yield self._record(position + 1, entry, group)

    # -- one record --

    def _record(self, position: int, entry: Segment, group: list[Segment]) -> Record:
        record = self._read_record(position, entry, group)
        if not self.envelope.message.line_feed_is_text:
            return record
        quoted = self.envelope.message.line_feed_findings((entry, *group), position)
        return record._replace(findings=(*record.findings, *quoted)) if quoted else record

    def _read_record(self, position: int, entry: Segment, group: list[Segment]) -> Record:
        envelope = self.envelope
        reader = envelope.reader
        sent = entry.text.split(reader.field)
        fields = [*sent, "", "", "", "", ""]
        echo = RecordEcho(fields[1], fields[2], fields[4], fields[5])

        def refused(code: str, local: str, text: str, location: Location) -> Record:
            return Record(position, echo, None, (Finding(code, local, text, Severity.ERROR, location, position),))

        def at(field: int) -> Location:
            return Location("MFE", entry.occurrence, field)

        if len(group) > envelope.rules.caps.record_segments:
            return refused(*structure.too_many(envelope.rules.caps), at(0))
        event = reader.first(echo.event)
        events_of_records = envelope.rules.codes["0180"]
        meaning = events_of_records.get(event)
        if structure.repeats(reader, echo.event):
            text = "MFE-1 repeats with different values: nobody can say which of them counts"
            return refused("198", "field-repeats", text, at(1))
        if structure.fields_beyond(sent):
            text = "MFE goes on behind its last field: the beginning of another segment may stand in it"
            return refused("100", "segment-glued", text, at(0))
        if not event:
            return refused("101", "event-missing", "MFE-1 (record-level event) is empty", at(1))
        if meaning is None:
            return refused("103", "unknown-event", "MFE-1 is none of MAD, MUP, MDL, MDC, MAC", at(1))
        purpose = PURPOSES[meaning]
        action = purpose.action
        if self.replaces and action is not Action.ADD:
            return refused("103", "event-in-replace", "in a replacement (MFI-3 REP) every MFE-1 must be MAD", at(1))
        staff = None
        for segment in group:
            if segment.name == "STF":
                staff = segment
                break
        if staff is None and not purpose.ending:
            text = "STF is missing: the record has no content"
            return refused("100", "segment-missing", text, Location("STF", entry.occurrence))
        if (fault := structure.fault_of(group, self.allowed, entry, events_of_records)) is not None:
            return refused(*fault)
        if reader.first(echo.key_type) in _SIMPLE_TYPES and reader.parts(echo.key)[1] and not reader.parts(echo.key)[2]:
            text = "by its type (MFE-5) the key has no components: a separator in it was not escaped, and the key is unclear"
            return refused("102", "key-unreadable", text, at(4))
        key, source = self._key(echo.key, staff, group)
        if key is None:
            return refused("102", "key-unreadable", f"{source} {UNTOLD_KEY}", at(4))
        if not key:
            return refused("101", "key-missing", "MFE-4 (primary key) is empty, and STF-1 and STF-2 give none", at(4))
        if (found := structure.glued(reader, (entry, *group), key, events_of_records)) is not None:
            text = "the beginning of another segment stands in a field of this one: the end of a segment was lost"
            return refused("100", "segment-glued", text, Location(found.name, found.occurrence))

        of_staff = staff is not None or any(segment.name in _OF_STAFF for segment in group)
        if self.names is _OTHER and not of_staff:
            return refused("201", *_OTHER_FILE)
        if source is not MFE_4 and reader.key(echo.key) == "":
            # MFA-5 is required: it names the record by the key that was found.
            key_type = echo.key_type if reader.first(echo.key_type) in _PLAIN_KEYS else ""
            echo = echo._replace(key=escape(key, envelope.message.separators), key_type=key_type)
        if self.other_file and not purpose.ending:
            text = "by the site's map this master file (MFI-1) holds no practitioners"
            place = Location("MFI", field=1)
            aside: Finding | None = Finding("0", NOT_A_PRACTITIONER, text, Severity.INFORMATION, place, position)
        else:
            aside = self._set_aside(key, purpose, group, position)
        if aside is not None:
            return Record(position, echo, None, (aside,))
        draft = self._drafted(position, key, purpose, self._when(fields[3], entry))
        findings = draft.findings
        if envelope.rules.site.key:
            pass  # where the key stands is declared: nothing is assumed
        elif source != MFE_4:
            text = f"MFE-4 (primary key) is empty: the key is taken from {source}"
            findings.append(Finding("101", "key-assumed", text, Severity.WARNING, at(4), position))
        elif reader.repetition in echo.key:
            text = "MFE-4 repeats the key, which has no meaning for staff"
            findings.append(Finding("198", "key-repeats", text, Severity.WARNING, at(4), position))
        if draft.when is not self.file_when and not draft.when.readable:
            text = f"MFE-3 {UNREADABLE_TEXT}"
            findings.append(Finding("102", "invalid-time", text, Severity.WARNING, at(3), position))
        draft.identifiers.append(
            StaffIdentifier(key, envelope.rules.key_system, provenance=source, extra={"use": "secondary"})
        )
        self._read(draft, staff, group)
        change = self._change(draft, staff)
        for finding in findings:
            if finding.severity is _ERROR:
                change = None
        if change is not None and self.names is _UNKNOWN and not of_staff:
            change = replace(change, undated=UNKNOWN_FILE)
            text = "MFI-1 is neither STF nor PRA, and without an STF nothing says that the record is about staff: held"
            findings.append(Finding("103", UNKNOWN_FILE, text, Severity.WARNING, Location("MFI", field=1), position))
        return Record(position, echo, change, tuple(findings))

    def _key(self, sent: str, staff: Segment | None, group: list[Segment]) -> tuple[str | None, Provenance]:
        """The staff key and the field that gives it: where the site says, else MFE-4's first component, else STF's.
        None where that field has one that cannot be told for certain."""
        if self.envelope.rules.site.key:
            return self._declared_key(sent, group)
        key = self.envelope.reader.key(sent)
        if key != "" or staff is None:
            return key, MFE_4
        return self._staff_key(staff)

    def _when(self, raw: str, entry: Segment) -> When:
        """MFE-3, else MFI-5."""
        if not raw:
            return self.file_when
        envelope, place = self.envelope, Location("MFE", entry.occurrence, 3)
        when = when_of(envelope.reader, raw, envelope.zone, place)
        return self.file_when if when.span is None and when.readable else when
