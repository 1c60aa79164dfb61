"""MFN^M02 -> staff changes, one for each MFE: `translate`.

Every MFE stands for itself: its own event, and the segments up to the next MFE. A record that cannot be read or mapped has
findings instead of a change, and does not touch the others. HL7 v2.9 chapter 8.5 (MFI, MFE), 15.4 (STF, PRA, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from hl7bridge.errors import UnreadableMessage, UnsupportedMessage
from hl7bridge.hl7.message import Message, Segment
from hl7bridge.mapping import events
from hl7bridge.mapping.draft import Draft, Envelope, Trace
from hl7bridge.mapping.employment import end_of_employment, roles_of
from hl7bridge.mapping.plans import plans_for
from hl7bridge.mapping.reading import FieldReader
from hl7bridge.mapping.rules import FeedRules
from hl7bridge.mapping.standing import settle
from hl7bridge.mapping.times import instant, is_exact
from hl7bridge.model import (
    Action,
    Finding,
    Location,
    Record,
    RecordEcho,
    Severity,
    StaffChange,
    StaffIdentifier,
    Translation,
)

FUTURE = timedelta(minutes=5)
"""What is due later than this from now waits for its time."""

SHIFT_LIMIT = 3
"""So many fields with something that does not belong there: the sender's are shifted, and none of the record is trusted."""

SLICE = 50
"""Records translated between two calls of `pause`."""

_BEFORE_RECORDS = frozenset({"MSH", "SFT", "UAC", "ARV", "MFI", "NTE"})
_ACTIONS = {action.value: action for action in Action}


def translate(
    message: Message, rules: FeedRules, now: datetime, *, pause: Callable[[], None] | None = None
) -> Translation:
    """What a staff master file asks for. `now` is aware; `pause` is called after every `SLICE` records of a long message.

    Raises UnsupportedMessage for another message type (200), event or master file (201), or version (203), and
    UnreadableMessage (100) when there is no MFE, or no MFI and the MFE do not speak for themselves.
    """
    opening = Opening(message, rules, now)
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
    return Opening(message, rules, now).records()


class Opening:
    """A message that is ours, its header and MFI read; `records()` reads the rest. Raises what `translate` raises."""

    def __init__(self, message: Message, rules: FeedRules, now: datetime, trace: Trace | None = None) -> None:
        header = message.header
        if events.family(header) != events.STAFF:
            raise events.unsupported(header)
        version, assumed = events.version_of(header, rules.fallback_version)
        self.findings: list[Finding] = []
        if assumed:
            self._say("101", "version-assumed", "MSH-12 is empty: read as the feed's fallback version", "MSH", 12)
        reader = FieldReader(message.separators, message.codec)
        sent = reader.first(header.message_time)
        zone = rules.zone
        moment = instant(sent, zone) if sent else None
        if moment is not None and ("+" in sent or "-" in sent):
            zone = moment.tzinfo or zone
        if sent and moment is None:
            self._say("102", "invalid-time", "MSH-7 is no valid time: the message counts as undated", "MSH", 7)
        self.message_time = moment.isoformat() if moment else ""
        self.message_time_exact = moment is not None and is_exact(sent)
        self.envelope = Envelope(message, rules, reader, version, zone, now, plans_for(rules), trace)
        self.replaces = False
        self.file_effective: datetime | None = None
        self._read_file_header(message)

    def _say(
        self, code: str, local: str, text: str, segment: str, field: int, severity: Severity = Severity.WARNING
    ) -> None:
        self.findings.append(Finding(code, local, text, severity, Location(segment, field=field)))

    def _read_file_header(self, message: Message) -> None:
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
        for segment in message.segments:
            if segment.name == "MFE":
                break
            if segment.name not in _BEFORE_RECORDS:
                text = "a segment stands before the first MFE and belongs to no record: not read"
                location = Location(segment.name or "MSH", segment.occurrence)
                self.findings.append(Finding("100", "segment-order", text, Severity.WARNING, location))
                break

    def _is_readable(self, entry: Segment) -> bool:
        """Whether an MFE says by itself what is to be done to whom."""
        reader = self.envelope.reader
        known = reader.first(entry.raw(1)) in self.envelope.rules.codes["0180"]
        return known and bool(reader.leaf(_first_component(reader, entry.raw(4))))

    def _read_mfi(self, mfi: Segment) -> None:
        reader, codes = self.envelope.reader, self.envelope.rules.codes
        if codes["0175"].get(reader.first(mfi.raw(1))) != "staff":
            if self.envelope.message.header.trigger_event == "M01":
                text = "MFI-1 names another master file than staff (STF, PRA)"
                raise UnsupportedMessage("201", "unsupported-master-file", text, Location("MFI", field=1))
            text = "MFI-1 is neither STF nor PRA; M02 is read as staff all the same"
            self._say("103", "master-file", text, "MFI", 1, Severity.INFORMATION)
        event = codes["0178"].get(reader.first(mfi.raw(3)))
        if event is None:
            event = codes["0178"].get(reader.first(mfi.raw(2)))
            if event is not None:
                self._say("102", "shifted-field", "MFI-2 holds what belongs into MFI-3: read so", "MFI", 3)
            else:
                self._say("103", "file-event", "MFI-3 is neither UPD nor REP: read as an update (UPD)", "MFI", 3)
        if event == "replace":
            self.replaces = True
            text = "a replacement (REP) is read as an update: nobody who is absent from the file is deactivated"
            self._say("103", "replace-as-update", text, "MFI", 3)
        sent = reader.first(mfi.raw(5))
        if sent:
            self.file_effective = _moment(sent, self.envelope)
            if self.file_effective is None:
                self._say("102", "invalid-time", "MFI-5 is no valid time: the records count as due at once", "MFI", 5)

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
        envelope = self.envelope
        reader = envelope.reader
        fields = [*entry.text.split(reader.field), "", "", "", "", ""]
        echo = RecordEcho(fields[1], fields[2], fields[4], fields[5])

        def refused(code: str, local: str, text: str, location: Location) -> Record:
            return Record(position, echo, None, (Finding(code, local, text, Severity.ERROR, location, position),))

        def at(field: int) -> Location:
            return Location("MFE", entry.occurrence, field)

        event = reader.first(echo.event)
        meaning = envelope.rules.codes["0180"].get(event)
        if not event:
            return refused("101", "event-missing", "MFE-1 (record-level event) is empty", at(1))
        if meaning is None:
            return refused("103", "unknown-event", "MFE-1 is none of MAD, MUP, MDL, MDC, MAC", at(1))
        action = _ACTIONS[meaning]
        ending = action is Action.DEACTIVATE or action is Action.REMOVE
        if self.replaces and action is not Action.ADD:
            return refused("103", "event-in-replace", "in a replacement (MFI-3 REP) every MFE-1 must be MAD", at(1))
        staff = None
        for segment in group:
            if segment.name == "STF":
                staff = segment
                break
        if staff is None and not ending:
            text = "STF is missing: the record has no content"
            return refused("100", "segment-missing", text, Location("STF", entry.occurrence))
        key, source = self._key(echo.key, staff)
        if not key:
            return refused("101", "key-missing", "MFE-4 (primary key) is empty, and STF-1 and STF-2 give none", at(4))

        draft = Draft(envelope, position, key)
        findings = draft.findings
        if source != "MFE-4":
            text = f"MFE-4 (primary key) is empty: the key is taken from {source}"
            findings.append(Finding("101", "key-assumed", text, Severity.WARNING, at(4), position))
        elif reader.repetition in echo.key:
            text = "MFE-4 repeats, which has no meaning for staff: the first is the key"
            findings.append(Finding("198", "key-repeats", text, Severity.WARNING, at(4), position))
        if fields[3] or self.file_effective:
            draft.effective = self._effective(fields[3], draft, entry)
        draft.identifiers.append(
            StaffIdentifier(key, envelope.rules.key_system, field=source, extra={"use": "secondary"})
        )
        self._read(draft, staff, group, ending=ending)
        change = self._change(draft, action, staff, ending=ending)
        for finding in findings:
            if finding.severity is Severity.ERROR:
                change = None
        return Record(position, echo, change, tuple(findings))

    def _key(self, sent: str, staff: Segment | None) -> tuple[str, str]:
        """The staff key and the field that gives it: the first component of MFE-4, else of STF-1, else of STF-2."""
        reader = self.envelope.reader
        key = reader.leaf(_first_component(reader, sent))
        if key or staff is None:
            return key, "MFE-4"
        if key := reader.first(staff.raw(1)):
            return key, "STF-1"
        return reader.first(staff.raw(2)), "STF-2"

    def _effective(self, raw: str, draft: Draft, entry: Segment) -> str:
        """MFE-3, else MFI-5, as ISO 8601: in the future it is waited for, in the past it dates the end of a role.

        "" when neither is sent, and for the next few minutes: a clock that is ahead asks for nothing else than now.
        """
        envelope = self.envelope
        moment = self.file_effective
        sent = envelope.reader.first(raw) if raw else ""
        if sent:
            moment = _moment(sent, envelope)
            if moment is None:
                text = "MFE-3 is no valid time: the record counts as due at once"
                location = Location("MFE", entry.occurrence, 3)
                draft.findings.append(Finding("102", "invalid-time", text, Severity.WARNING, location, draft.position))
        if moment is None or timedelta(0) < moment - envelope.now <= FUTURE:
            return ""
        return moment.isoformat()

    def _read(self, draft: Draft, staff: Segment | None, group: list[Segment], *, ending: bool) -> None:
        """Apply the rules, STF first: what other segments say is measured against it."""
        plans = self.envelope.plans
        if staff is not None:
            plan = plans["STF"]
            draft.read(staff, plan, plan.deciding if ending else plan.rows)
        for segment in group:
            if segment is staff:
                continue
            name = segment.name
            if name == "STF":
                text = "a second STF in one record: not read"
                location = Location("STF", segment.occurrence)
                draft.findings.append(
                    Finding("100", "segment-repeats", text, Severity.WARNING, location, draft.position)
                )
                continue
            plan_or_none = plans.get(name)
            if plan_or_none is None or (ending and not plan_or_none.deciding):
                continue
            draft.read(segment, plan_or_none, plan_or_none.deciding if ending else plan_or_none.rows)

    def _change(self, draft: Draft, action: Action, staff: Segment | None, *, ending: bool) -> StaffChange | None:
        if staff is not None:
            draft.segment = staff
        settle(draft, action)
        has_family = False
        if not ending:
            assert staff is not None, "only an ending goes without STF"
            has_family = self._check_name(draft, action, staff)
            if len(draft.misfits) >= SHIFT_LIMIT:
                text = "several values are not what their fields hold: the fields of this record are shifted"
                draft.say(Severity.ERROR, "102", "shifted-fields", text, number=0)
            if draft.placeholder:
                text = "STF-37 says that this is no real person: nothing is made of the record"
                draft.say(Severity.WARNING, "103", "placeholder", text, number=37)
                return None
        roles, shared = ((), end_of_employment(draft)) if ending else roles_of(draft)
        return StaffChange(
            action=action,
            source_key=draft.key,
            identifiers=tuple(draft.identifiers),
            active=draft.active,
            effective=draft.effective,
            practitioner=() if ending else tuple(draft.practitioner),
            roles=roles,
            shared_role=shared,
            cleared=() if ending else tuple(draft.cleared),
            message_time=self.message_time,
            message_time_exact=self.message_time_exact,
            mapping_version=self.envelope.rules.mapping_version,
            complete=has_family,
            needs_approval=draft.approval and action is Action.REACTIVATE,
            deleted_in_source=action is Action.REMOVE,
            ended_for=draft.ended_for,
        )

    def _check_name(self, draft: Draft, action: Action, staff: Segment) -> bool:
        """Whether the record has a family name. An empty one is an error; without STF-3, an update leaves the name alone."""
        for value in draft.practitioner:
            if value.element == "name" and "family" in value.value:
                return True
        if staff.raw(3) or action is Action.ADD:
            location = Location("STF", staff.occurrence, 3, 0, 1)
            text = "STF-3.1 (family name) is empty"
            draft.findings.append(Finding("101", "family-name-missing", text, Severity.ERROR, location, draft.position))
        return False


def _first_component(reader: FieldReader, raw: str) -> str:
    return raw.split(reader.repetition, 1)[0].split(reader.component, 1)[0]


def _moment(text: str, envelope: Envelope) -> datetime | None:
    """When a record is due: at least a day, with the offset of its own, or of MSH-7, or of the feed's zone."""
    if len(text) < 8:
        return None
    return instant(text, envelope.zone)
