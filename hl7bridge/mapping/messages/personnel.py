"""PMU^B01 to B08 -> one staff change: personnel management (HL7 v2.9 chapter 15.3), from version 2.4 on.

The trigger event of MSH-9.2 decides, never the structure of MSH-9.3: senders write any there. STF-1 is not used in PMU by
the standard, so that the key may stand in STF-2. There is no master file: nothing of a record is echoed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import dropwhile

from hl7bridge.errors import UnreadableMessage, UnsupportedMessage
from hl7bridge.hl7.message import Message, Segment
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import events, structure
from hl7bridge.mapping.messages.effective import FUTURE, UNREADABLE_TEXT, When, when_of
from hl7bridge.mapping.messages.record import BEFORE_RECORDS, Opening
from hl7bridge.mapping.rules.draft import NOTHING_SAID, Purpose
from hl7bridge.mapping.rules.standing import UNTOLD_KEY
from hl7bridge.mapping.tracing import Trace
from hl7bridge.model import Action, Finding, Location, Provenance, Record, RecordEcho, Severity, StaffIdentifier

FIRST_VERSION = (2, 4)

CLOCKS_DIFFER = timedelta(days=1)
"""No wrong clock or time zone puts a time further ahead: it was meant so, and nobody is ended before it."""

PURPOSES = {
    "B01": Purpose(Action.ADD),
    "B02": Purpose(Action.UPDATE),
    "B03": Purpose(Action.REMOVE),  # "to correct an erroneous entry"
    "B04": Purpose(Action.REACTIVATE),
    "B05": Purpose(Action.DEACTIVATE, temporary=True),
    "B06": Purpose(Action.DEACTIVATE),
    "B07": Purpose(Action.UPDATE, qualifications_only=True),
    "B08": Purpose(Action.UPDATE, qualifications_only=True, revokes=True),
}
"""What each trigger event asks for (table 0003)."""


class PersonnelMessage(Opening):
    """A PMU, its EVN read: one record."""

    event_field = Provenance.of("MSH", 9)

    def __init__(self, message: Message, rules: FeedRules, now: datetime, trace: Trace | None = None) -> None:
        super().__init__(message, rules, now, trace)
        self.envelope.master_file = False
        if self.envelope.version < FIRST_VERSION:
            text = "personnel management (PMU) began with HL7 2.4: MSH-12 names an older version"
            raise UnsupportedMessage("203", "unsupported-version", text, Location("MSH", field=12))
        structure.check_once(message)
        structure.check_absent(message, ("MFI", "MFE"), "personnel message (PMU)")
        self.allowed = self.segments_of_a_record(structure.STAFF | structure.OTHERS_IN_PERSONNEL)
        self.purpose = PURPOSES[events.trigger_event(message.header)]
        self.when = self._read_event(message)

    def _read_event(self, message: Message) -> When:
        """EVN-6 if it is past, else EVN-3 if it is ahead, else EVN-2: when the event takes effect. One of them that decides,
        or might have, and cannot be read leaves that in doubt."""
        reader, now = self.envelope.reader, self.envelope.now
        event = message.first("EVN")
        if event is None:
            self._say("100", "segment-missing", "EVN is missing: the event counts as due at once", "EVN", 0)
            return NOTHING_SAID
        if (named := reader.first(event.raw(1))) and named != events.trigger_event(message.header):
            text = "EVN-1 names another event than MSH-9.2: nobody can say which of them counts"
            raise UnreadableMessage("103", "event-conflict", text, Location("EVN", field=1))
        if structure.repeats(reader, event.raw(1)):
            text = "EVN-1 repeats with different values: nobody can say which of them counts"
            raise UnreadableMessage("198", "field-repeats", text, Location("EVN", field=1))
        occurred = self._when(event, 6)
        if occurred.span is not None and occurred.span.start <= now:
            return occurred
        text = "what has occurred (EVN-6) cannot lie ahead: not read; a planned event is dated in EVN-3"
        meant_ahead = self._lies_ahead(occurred, 6, text)
        planned = self._when(event, 3)
        readable = occurred.readable and planned.readable
        if planned.span is not None and planned.span.end > now:
            return replace(planned, readable=readable)
        recorded = self._when(event, 2)
        meant_ahead |= self._lies_ahead(recorded, 2, "what is recorded (EVN-2) cannot lie ahead: not read")
        span = recorded.span if recorded.span is not None and recorded.span.start <= now + FUTURE else None
        return replace(recorded, span=span, readable=readable and recorded.readable and not meant_ahead)

    def _lies_ahead(self, when: When, number: int, text: str) -> bool:
        """Say `text` of a time that lies ahead. Whether it was meant so: by more than a wrong clock or zone explains."""
        ahead = when.span.start - self.envelope.now if when.span is not None else timedelta()
        if ahead > FUTURE:
            self._say("102", "invalid-time", text, "EVN", number)
        return ahead > CLOCKS_DIFFER

    def _when(self, event: Segment, number: int) -> When:
        envelope = self.envelope
        when = when_of(envelope.reader, event.raw(number), envelope.zone, Location("EVN", field=number))
        if not when.readable:
            self._say("102", "invalid-time", f"EVN-{number} {UNREADABLE_TEXT}", "EVN", number)
        return when

    def records(self) -> Iterator[Record]:
        """The one record."""
        message = self.envelope.message
        record = self._record([*dropwhile(lambda segment: segment.name in BEFORE_RECORDS, message.segments)])
        quoted = message.line_feed_findings(message.segments, record.position)
        yield record._replace(findings=(*record.findings, *quoted)) if quoted else record

    def _record(self, group: list[Segment]) -> Record:
        if len(group) > self.envelope.rules.caps.record_segments:
            return _refused(*structure.too_many(self.envelope.rules.caps), Location("MSH"))
        staff = next((segment for segment in group if segment.name == "STF"), None)
        if staff is None:
            return _refused("100", "segment-missing", "STF is missing: the record names nobody", Location("STF"))
        header, events_of_records = self.envelope.message.segments[0], self.envelope.rules.codes["0180"]
        if (fault := structure.fault_of(group, self.allowed, header, events_of_records)) is not None:
            return _refused(*fault)
        if self.envelope.rules.site.key:
            key, source = self._declared_key("", group)
        else:
            key, source = self._staff_key(staff)
        if key is None:
            return _refused("102", "key-unreadable", f"{source} {UNTOLD_KEY}", self._place_of(source))
        if not key:
            text = "STF-1 is empty, and STF-2 holds no identifier that can be the key"
            return _refused("101", "key-missing", text, Location("STF", field=2))
        if (found := structure.glued(self.envelope.reader, group, key, events_of_records)) is not None:
            text = "the beginning of another segment stands in a field of this one: the end of a segment was lost"
            return _refused("100", "segment-glued", text, Location(found.name, found.occurrence))
        if (aside := self._set_aside(key, self.purpose, group, 1)) is not None:
            return Record(1, RecordEcho(), None, (aside,))
        draft = self._drafted(1, key, self.purpose, self.when)
        text = f"the staff key is taken from {source}"
        draft.findings.append(Finding("0", "key-source", text, Severity.INFORMATION, self._place_of(source), 1))
        draft.identifiers.append(
            StaffIdentifier(key, self.envelope.rules.key_system, provenance=source, extra={"use": "secondary"})
        )
        self._read(draft, staff, group)
        change = self._change(draft, staff)
        if any(finding.severity is Severity.ERROR for finding in draft.findings):
            change = None
        return Record(1, RecordEcho(), change, tuple(draft.findings))

    def _place_of(self, source: Provenance) -> Location:
        """Where the sender has the field that gives the key: `STF-2` of `STF-2[3]`."""
        segment, number = source.whole_field
        return Location(segment, 1, self.envelope.rules.site.sent_at(segment, number))


def _refused(code: str, local: str, text: str, place: Location) -> Record:
    return Record(1, RecordEcho(), None, (Finding(code, local, text, Severity.ERROR, place, 1),))
