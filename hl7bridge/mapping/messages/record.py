"""One record in the making, whoever describes it: `Opening` reads what stands before the records of a message, and makes a
StaffChange of an STF and the segments that go with it.

`staff.py` knows master files (MFN^M02, one record for each MFE), `personnel.py` personnel messages (PMU, one record).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime

from hl7bridge.hl7.message import Message, Segment
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import events
from hl7bridge.mapping.messages.effective import PARTIAL, PARTIAL_TEXT, When, effective
from hl7bridge.mapping.plain.compiled import compiled_for
from hl7bridge.mapping.rules.draft import Draft, Envelope, Plan, Purpose, SegmentRows
from hl7bridge.mapping.rules.employment import end_of_employment, roles_of
from hl7bridge.mapping.rules.identifiers import NPI, SSN, type_of_authority
from hl7bridge.mapping.rules.reading import FieldReader, reader_of
from hl7bridge.mapping.rules.standing import settle
from hl7bridge.mapping.rules.times import Span, instant, is_doubtful, is_exact
from hl7bridge.mapping.tracing import Trace
from hl7bridge.model import (
    NO_FIELD,
    RECORD_EVENT,
    Action,
    ElementValue,
    Finding,
    Location,
    Provenance,
    Record,
    Severity,
    StaffChange,
)

SHIFT_LIMIT = 3
"""So many fields of one segment with something that does not belong there: they are shifted; the record is not trusted."""

BEFORE_RECORDS = frozenset({"MSH", "SFT", "UAC", "ARV", "MFI", "NTE", "EVN"})
"""Segments that may stand before the first record."""

NOT_A_PRACTITIONER = "not-a-practitioner"
"""Local code of the finding on a record that the site's map leaves out."""

_PERSONAL = frozenset({"SS", "DL", "TAX", "PPN", "NI", "CZ"})
_OF_OTHERS = frozenset(
    {"NPI", "DEA", "UPIN", "MCR", "MCD", "SL", "LN", "MD", "DO", "DN", "PA", "NP", "RN", "RPH", "LI", "CY", "QA", "GL"}
)
"""Types of identifiers (table 0203) that somebody else than the sender gave: licences and registrations."""

_TELLING = frozenset({"person_name", "gender", "birth_date"})
"""The rules of what tells people apart."""

_AWAY = "Temporarily unavailable"

MFE_4 = Provenance.of("MFE", 4)
"""Where a master file has the key of a record."""


class Opening:
    """A message that is ours, its header read; `records()` reads the rest. Raises what `staff.translate` raises."""

    event_field = RECORD_EVENT

    def __init__(self, message: Message, rules: FeedRules, now: datetime, trace: Trace | None = None) -> None:
        header = message.header
        version, assumed = events.version_of(header, rules.fallback_version)
        self.findings: list[Finding] = []
        if assumed:
            self._say("101", "version-assumed", "MSH-12 is empty: read as the feed's fallback version", "MSH", 12)
        reader = reader_of(message.separators, message.codec)
        sent = reader.first(header.message_time)
        zone = rules.zone
        moment = instant(sent, zone) if sent else None
        if moment is not None and ("+" in sent or "-" in sent):
            zone = moment.tzinfo or zone
        if sent and moment is None:
            self._say("102", "invalid-time", "MSH-7 is no valid time: the message counts as undated", "MSH", 7)
        self.message_time = moment.isoformat() if moment else ""
        # For the order of messages: to the second, and one instant.
        precise = reader.parts(reader.repetitions(header.message_time)[0])[1] in ("", "S")
        self.message_time_exact = moment is not None and is_exact(sent) and precise and not is_doubtful(sent, zone)
        plans = compiled_for(rules, message.separators, message.codec, zone)
        self._dated: tuple[Span | None, bool, bool, tuple[str, str]] | None = None
        self.envelope = Envelope(message, rules, reader, version, zone, now, plans, trace)

    def records(self) -> Iterator[Record]:
        """The records of the message, in order."""
        raise NotImplementedError

    def segments_of_a_record(self, standard: frozenset[str]) -> frozenset[str]:
        """The segments that may stand in a record: the standard's, and those of which the site's map names a field."""
        return standard.union(place.partition("-")[0] for place in self.envelope.rules.fields)

    def _say(
        self, code: str, local: str, text: str, segment: str, field: int, severity: Severity = Severity.WARNING
    ) -> None:
        self.findings.append(Finding(code, local, text, severity, Location(segment, field=field)))

    def _staff_key(self, staff: Segment) -> tuple[str | None, Provenance]:
        """The staff key where no MFE names it, and the field that does: STF-1.1, else an identifier of STF-2, the first
        that the sender itself gave (an employee number, any type of its own) before the first licence or registration.
        Numbers of the private person are never the key: they would go where the destination withholds them.
        None where the field has one that cannot be told for certain: the next would be another key."""
        reader = self.envelope.reader
        if (key := reader.key(self._raw(staff, 1))) != "":
            return key, Provenance.of("STF", 1)
        types = self.envelope.rules.codes["0203"]
        later: tuple[str | None, Provenance] = ("", Provenance.of("STF", 2))
        for number, repetition in enumerate(reader.repetitions(self._raw(staff, 2)), 1):
            value = reader.identifier(repetition)
            kind = types.get(reader.code(repetition, 5), "")
            of_authority = type_of_authority(*reader.subparts(repetition, 4)[:3])
            if value == "" or kind in _PERSONAL or of_authority in _PERSONAL:
                continue
            found = value, Provenance.of("STF", 2, number)
            if kind not in _OF_OTHERS:
                return found
            later = found if later[0] == "" else later
        return later

    def _declared_key(self, sent: str, group: list[Segment]) -> tuple[str | None, Provenance]:
        """The staff key from the first place of the site's `key` that holds one, and that place. `sent`: MFE-4."""
        reader, types = self.envelope.reader, self.envelope.rules.codes["0203"]
        for source in self.envelope.rules.site.key_sources:
            if source.segment == "MFE":
                if (key := reader.key(sent)) != "":
                    return key, MFE_4
                continue
            for segment in group:
                if segment.name != source.segment:
                    continue
                for number, repetition in enumerate(reader.repetitions(self._raw(segment, source.number)), 1):
                    parts = repetition.split(reader.component)
                    key = reader.whole(parts[source.component - 1]) if source.component <= len(parts) else ""
                    kind = reader.code(repetition, 5)
                    if key != "" and (not source.type_code or source.type_code in (kind, types.get(kind))):
                        return key, Provenance.of(source.segment, source.number, number)
        return "", NO_FIELD

    def _raw(self, segment: Segment, number: int) -> str:
        """A field by its place in the standard, wherever this sender has it."""
        return segment.raw(self.envelope.rules.site.sent_at(segment.name, number))

    def _set_aside(self, key: str, purpose: Purpose, group: list[Segment], position: int) -> Finding | None:
        """Why nothing is made of a record that could be read: by the site's map it is nobody, or no practitioner.

        Never of one that ends somebody: who was written before the map said so has to be ended all the same.
        """
        site, reader = self.envelope.rules.site, self.envelope.reader
        if purpose.ending:
            return None
        named = site.nobody_keys or site.nobody_names
        if named and (staff := next((segment for segment in group if segment.name == "STF"), None)) is not None:
            name = reader.parts(reader.repetitions(self._raw(staff, 3))[0])
            if site.is_nobody(key, name[0], name[1]):
                text = "by the site's map this is a placeholder, no real person: nothing is made of the record"
                return Finding(
                    "103", "placeholder", text, Severity.WARNING, Location("STF", staff.occurrence), position
                )
        if site.staff_types:
            name_of_segment, _, number = site.staff_type_field.partition("-")
            segment = next((segment for segment in group if segment.name == name_of_segment), None)
            raw = self._raw(segment, int(number)) if segment is not None else ""
            sent = {part for one in reader.repetitions(raw) for part in reader.parts(one)[:1] if part}
            if segment is not None and sent and not sent & set(site.staff_types):
                text = f"by the site's map the staff type ({site.staff_type_field}) is not that of a practitioner"
                place = Location(segment.name, segment.occurrence, site.sent_at(segment.name, int(number)))
                return Finding("0", NOT_A_PRACTITIONER, text, Severity.INFORMATION, place, position)
        return None

    def _drafted(self, position: int, key: str, purpose: Purpose, when: When) -> Draft:
        """A record to be read. What it says of a certificate that has ended is dated by what the event says so far."""
        draft = Draft(self.envelope, position, key, purpose)
        draft.when = when
        draft.effective, draft.doubt = self._effective(when, purpose.ending or purpose.revokes)
        return draft

    def _effective(self, when: When, ends: bool) -> tuple[str, str]:
        """`effective` as of now. Most records of a file say the same as the one before."""
        last = self._dated
        if last is not None and last[0] is when.span and last[1] is when.readable and last[2] is ends:
            return last[3]
        said = effective(when, self.envelope.now, ends=ends)
        self._dated = when.span, when.readable, ends, said
        return said

    def _read(self, draft: Draft, staff: Segment | None, group: list[Segment]) -> None:
        """Apply the rules, STF first: what other segments say is measured against it."""
        plans = self.envelope.plans
        if staff is not None:
            plan = plans["STF"]
            draft.read(staff, plan, _rows(plan, "STF", draft.purpose))
        for segment in group:
            if segment is staff:
                continue
            name = segment.name
            plan_or_none = plans.get(name)
            if plan_or_none is not None and (rows := _rows(plan_or_none, name, draft.purpose)):
                draft.read(segment, plan_or_none, rows)

    def _change(self, draft: Draft, staff: Segment | None) -> StaffChange | None:
        """What was read as a staff change; None where nothing is to be done, or where a finding is an error."""
        purpose, action = draft.purpose, draft.purpose.action
        if staff is not None:
            draft.segment = staff
        if purpose.qualifications_only:
            return self._qualifications(draft, staff)
        settle(draft, action)
        self._date(draft, ends=draft.active is False, decides=draft.active is False or action is Action.REACTIVATE)
        has_family = False
        if not purpose.ending:
            assert staff is not None, "only an ending goes without STF"
            has_family = self._check_name(draft, action, staff)
            _check_numbers(draft)
            if _is_shifted(draft.misfits):
                text = "several values are not what their fields hold: the fields of this record are shifted"
                draft.say(Severity.ERROR, "102", "shifted-fields", text, number=0)
                draft.findings.insert(0, draft.findings.pop())  # it explains the others
            if draft.placeholder:
                text = "STF-37 says that this is no real person: nothing is made of the record"
                draft.say(Severity.WARNING, "103", "placeholder", text, number=37)
                return None
        until = _return(draft) if purpose.ending else ""
        roles, shared = ((), end_of_employment(draft)) if purpose.ending else roles_of(draft)
        return StaffChange(
            action=action,
            source_key=draft.key,
            identifiers=tuple(draft.identifiers),
            active=draft.active,
            effective=draft.effective,
            practitioner=() if purpose.ending else tuple(draft.practitioner),
            roles=roles,
            shared_role=shared,
            cleared=() if purpose.ending else tuple(draft.cleared),
            message_time=self.message_time,
            message_time_exact=self.message_time_exact,
            mapping_version=self.envelope.rules.mapping_version,
            complete=has_family,
            needs_approval=draft.approval and action is Action.REACTIVATE,
            deleted_in_source=action is Action.REMOVE,
            ended_for=draft.ended_for or (_AWAY if purpose.temporary else ""),
            temporary=purpose.temporary,
            until=until,
            event_field=self.event_field,
            institution=tuple(sorted(draft.institution_names)),
            undated=draft.undated,
            evidence=self._evidence(draft, staff) if purpose.ending else (),
        )

    def _date(self, draft: Draft, *, ends: bool, decides: bool) -> None:
        """When the record applies. A doubt about that concerns only what `decides` whether somebody is here, or may do
        something: other content of a record whose time cannot be read is due at once."""
        if ends != (draft.purpose.ending or draft.purpose.revokes):
            draft.effective, draft.doubt = self._effective(draft.when, ends)
        draft.undated = draft.doubt if decides else ""
        if draft.undated == PARTIAL:
            place = draft.when.place
            text = f"{place} {PARTIAL_TEXT}"
            draft.findings.append(Finding("102", PARTIAL, text, Severity.WARNING, place, draft.position))

    def _evidence(self, draft: Draft, staff: Segment | None) -> tuple[ElementValue, ...]:
        """What a record says of name, sex and birth date whose event merges no content: it shows who is meant. Nothing is
        said of what cannot be read of it, for nothing is lost."""
        if staff is None:
            return ()
        plan = self.envelope.plans["STF"]
        rows = SegmentRows("STF", (row for row in plan.rows.values() if row.rule in _TELLING))
        aside = Draft(replace(self.envelope, trace=None), draft.position, draft.key, draft.purpose)
        aside.read(staff, plan, rows)
        for row in rows.values():
            draft.segment, draft.row = staff, row
            draft.leave("shows who is meant: the event itself merges no content")
        return tuple(aside.practitioner)

    def _qualifications(self, draft: Draft, staff: Segment | None) -> StaffChange | None:
        if not draft.practitioner:
            # An error, for the sender means a certificate: success would say that it was granted or revoked.
            text = "no CER that could be read: there is nothing to grant or to revoke"
            draft.findings.append(
                Finding("101", "no-certificate", text, Severity.ERROR, Location("CER"), draft.position)
            )
            return None
        self._date(draft, ends=draft.purpose.revokes, decides=draft.purpose.revokes)
        return StaffChange(
            action=draft.purpose.action,
            source_key=draft.key,
            identifiers=tuple(draft.identifiers),
            effective=draft.effective,
            practitioner=tuple(draft.practitioner),
            message_time=self.message_time,
            message_time_exact=self.message_time_exact,
            mapping_version=self.envelope.rules.mapping_version,
            complete=False,
            qualifications_only=True,
            revokes=draft.purpose.revokes,
            event_field=self.event_field,
            undated=draft.undated,
            evidence=self._evidence(draft, staff),
        )

    def _check_name(self, draft: Draft, action: Action, staff: Segment) -> bool:
        """Whether the record has a family name. An empty one is an error; without STF-3, an update leaves the name alone."""
        for value in draft.practitioner:
            if value.element == "name" and "family" in value.value:
                return True
        if self._raw(staff, 3) or action is Action.ADD:
            location = Location("STF", staff.occurrence, 3, 0, 1)
            text = "STF-3.1 (family name) is empty"
            draft.findings.append(Finding("101", "family-name-missing", text, Severity.ERROR, location, draft.position))
        return False


def _is_shifted(misfits: Collection[str]) -> bool:
    """Whether so many fields of one segment hold what is not theirs: what is shifted is a segment."""
    if len(misfits) < SHIFT_LIMIT:
        return False
    return max(Counter(place.partition("-")[0] for place in misfits).values()) >= SHIFT_LIMIT


def _check_numbers(draft: Draft) -> None:
    """Of a number that everybody has once (NPI, SSN) a record holds one: two are of two people, and neither is guessed."""
    systems = [one.system for one in draft.identifiers]
    for system in (NPI, SSN):
        if systems.count(system) < 2:
            continue
        found = {one.value: one for one in draft.identifiers if one.system == system}
        if len(found) > 1:
            text = "two numbers of a kind that everybody has once: one of them is somebody else's"
            segment, field = [*found.values()][1].provenance.whole_field
            at = Location(segment, 1, draft.envelope.rules.site.sent_at(segment, field))
            draft.findings.append(Finding("102", "identifier-conflict", text, Severity.ERROR, at, draft.position))


def _rows(plan: Plan, segment: str, purpose: Purpose) -> SegmentRows:
    """What an event reads of a segment: all; of one that ends, who and in what standing; of certificates, who and CER."""
    if purpose.ending:
        return plan.deciding
    if purpose.qualifications_only and segment != "CER":
        return plan.identifying
    return plan.rows


def _return(draft: Draft) -> str:
    """STF-35: when somebody who is away is expected back. Nobody who has left is."""
    expected = draft.returning
    if expected is None:
        return ""
    if not draft.purpose.temporary:
        draft.leave("the event ends: nobody is expected back", expected)
        return ""
    draft.use(expected, "notAvailable.during.end", expected.date)
    return expected.date


def first_component(reader: FieldReader, raw: str) -> str:
    """The first component of a field's first repetition, as sent."""
    return raw.split(reader.repetition, 1)[0].split(reader.component, 1)[0]


def why_nothing(record: Record) -> str:
    """What to say of a record that is taken and asks for nothing: "not a practitioner", "placeholder", "nothing to do"."""
    local = next((f.local for f in record.findings if f.local in (NOT_A_PRACTITIONER, "placeholder")), "")
    return local.replace("-", " ") if local else "nothing to do"
