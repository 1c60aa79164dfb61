"""ADT -> the practitioners whom a patient message names, each a staff change that creates the person where they are missing.

A patient message shows that a practitioner exists, and nothing more: PV1 is about a visit.
So whoever is known stays as they are, nobody is ever ended, and who cannot be identified for certain is left out: there must
be a family name and an identifier whose system is known. HL7 v2.9 chapters 3.3 (ADT), 3.4.3 (PV1), 7.3.4 (PRT), 15.4.7
(ROL).

Of the patient nothing is read but the identifiers, to tell that a field of a shifted segment holds the patient and not a
physician; and nothing is kept: `stored_form` rebuilds the message from MSH, EVN-1, EVN-2 and the practitioners alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from hl7bridge.errors import MessageError
from hl7bridge.hl7.acknowledgment import is_acknowledgment
from hl7bridge.hl7.boundaries import message_uses_line_feeds
from hl7bridge.hl7.charset import codec_of_field
from hl7bridge.hl7.escapes import Separators
from hl7bridge.hl7.header import Header
from hl7bridge.hl7.message import Message, Segment
from hl7bridge.mapping.feed_rules import TOO_MANY, FeedRules
from hl7bridge.mapping.messages import events, structure
from hl7bridge.mapping.messages.record import Opening
from hl7bridge.mapping.rules.datatypes import coding_of, human_names
from hl7bridge.mapping.rules.draft import Draft, Purpose, Row
from hl7bridge.mapping.rules.identifiers import DEA, NPI, add, other_authorities, system_for, type_of
from hl7bridge.mapping.rules.practitioner import degree_of
from hl7bridge.mapping.rules.reading import UNUSED
from hl7bridge.mapping.rules.tables import named
from hl7bridge.mapping.tracing import Trace
from hl7bridge.model import (
    Action,
    ElementValue,
    Finding,
    JsonObject,
    Location,
    Provenance,
    Record,
    RecordEcho,
    Severity,
    StaffChange,
    StaffIdentifier,
)
from hl7bridge.model.remembering import LONGEST

_READ = "A01 A02 A03 A04 A05 A06 A07 A08 A09 A10 A14 A15 A16 A21 A22 A28 A31 A54 A61"
_NOT_READ = (
    "A11 A12 A13 A17 A18 A19 A20 A23 A24 A25 A26 A27 A29 A30 A32 A33 A34 A35 A36 A37 A38 A39 A40 A41 A42 A43 A44 A45"
    " A46 A47 A48 A49 A50 A51 A52 A53 A55 A60 A62"
)

READ = frozenset(_READ.split())
"""The trigger events (table 0003) whose practitioners are looked at: admissions, transfers, registrations, updates."""

NOT_READ = frozenset(_NOT_READ.split())
"""Those that are acknowledged and not read: cancels (they carry the physician of before), merges, links, queries."""

SAME, EACH = "same", "each"

PLACES = {
    "PV1": {7: SAME, 8: SAME, 9: EACH, 17: SAME, 52: EACH},  # attending, referring, consulting, admitting, other
    "PD1": {4: EACH},  # primary care
    "ROL": {4: SAME},
    "PRT": {5: SAME},
}
"""Where practitioners stand (XCN). SAME: repetitions give further identifiers of one person; EACH: other persons."""

_ENDED = {"ROL": frozenset({"DE", "D", "UN"}), "PRT": frozenset({"DE", "D", "UN"})}
"""ROL-2, PRT-2 (tables 0287, 0206): the participation ends; such a segment introduces nobody."""

_OF_PATIENTS = frozenset(
    {"MR", "MRT", "PI", "PT", "PNT", "AN", "ANON", "VN", "VS", "PE", "SS", "MA", "MC", "HC", "JHN", "WC"}
)
"""Identifier types (table 0203) that no practitioner is known by: a field that holds one holds the patient, or a visit."""

_PATIENT_SEGMENTS = "PID|PD1|PV1|PV2|MRG|GT1|IN1|IN2|IN3|OBX|OBR|DG1|AL1|PR1|ACC|UB1|UB2|DB1|PDA"
# Blanks of one line alone: over line breaks, too, a message of many empty lines would take hours.
_PATIENT = re.compile(rb"[\r\n][ \t\f\v\0]*(?:" + _PATIENT_SEGMENTS.encode() + rb")[^A-Za-z0-9\s]")
_QUOTED_PATIENT = rb"\n[ \t\f\v\0]*(?:" + _PATIENT_SEGMENTS.encode() + rb")(?=[^A-Za-z0-9\s])"
_BLANKS = b"\n \t\f\v\0"

_STAFF = re.compile(rb"[\r\n][ \t\f\v\0]*(?:MFI|MFE|STF)[ \t]*[^A-Za-z0-9\s]")
_STAFF_BEHIND_CR = re.compile(rb"\r[\n \t\f\v\0]*+(?:MFI|MFE|STF)[ \t]*[^A-Za-z0-9\s]")

_ANSWERS = re.compile(rb"[\r\n][ \t\f\v\0]*MSA[^A-Za-z0-9\s]")

PATIENT_LEFT_OUT = Finding(
    "100",
    "patient-text-left-out",
    "a text quotes a segment about a patient behind a line feed: neither read nor kept",
    Severity.WARNING,
)
"""What is said of a message that came back shorter from `without_quoted_patient`."""

_ONE_EACH = (NPI, DEA)
"""Registries that give a person one number."""

_INCOMPLETE = "without both an identifier and a family name nobody is created"
_NAMES = "name"
_DEGREES = "0360"
_RULE = "mentioned_practitioner"
_TYPE = re.compile(r"[A-Z]{3}")
_SCHEMES = ("", "ISO 2022-1994", "2.3")  # MSH-20, table 0356
_LIKE_A_TIME = re.compile(r"[0-9T:.+Z -]{0,32}")  # some write ISO 8601
_VERSION = re.compile(r"2\.[1-9](?:\.[1-9])?")


def holds_patient(raw: bytes) -> bool:
    """Whether a message has a segment about a patient, whatever its header says. A search over the bytes."""
    return _PATIENT.search(raw) is not None


def holds_staff(raw: bytes) -> bool:
    """Whether a message has a segment of a staff message, whatever its header says: MSH-9 is then not what it was. A search
    over the bytes."""
    return (_STAFF if message_uses_line_feeds(raw) else _STAFF_BEHIND_CR).search(raw) is not None


def is_answer(header: Header, raw: bytes) -> bool:
    """Whether a message answers another one: MSH-9 says so, and MSA bears it out, or nothing in it is of a staff message
    whose MSH-9 was damaged (MFN and MFK are one letter apart)."""
    return is_acknowledgment(header) and (_ANSWERS.search(raw) is not None or not holds_staff(raw))


def without_quoted_patient(raw: bytes, separators: Separators) -> bytes:
    """A message without what its texts quote of segments about a patient: a note with a PID behind a line feed.

    Only where a line feed is text (`boundaries`); segments of the message itself stay. A quotation goes to the next
    separator of the message; one that holds the field separator itself, in a note or a Z segment to its end. In any other
    segment nobody can say where such a one ends: it stays, so that the message still `holds_patient`.
    """
    if b"\n" not in raw or message_uses_line_feeds(raw):
        return raw
    field = separators.field.encode("latin-1")
    others = (separators.component + separators.repetition + separators.subcomponent).encode("latin-1")
    quotation = re.compile(_QUOTED_PATIENT + rb"(?!" + re.escape(field) + rb")[^" + re.escape(field + others) + rb"]*")
    in_note = re.compile(_QUOTED_PATIENT + re.escape(field) + rb".*", re.DOTALL)
    kept = []
    for segment in raw.split(b"\r"):
        said = segment.lstrip(_BLANKS)
        if b"\n" in said:
            blanks = segment[: len(segment) - len(said)]
            if said.startswith((b"NTE", b"Z")):
                said = in_note.sub(b"", said)
            segment = blanks + quotation.sub(b"", said)
        kept.append(segment)
    return b"\r".join(kept)


def is_sound(header: Header) -> bool:
    """Whether MSH is what it seems: its time, type, version and character set stand where they belong. Of any other header
    nobody can say that no field of a patient was moved into it."""
    kind, version = header.message_type, header.version
    if not (_TYPE.fullmatch(kind or "ADT") and _VERSION.fullmatch(version or "2.5") and header.text(20) in _SCHEMES):
        return False
    if not (kind or version) or not _LIKE_A_TIME.fullmatch(header.message_time) or len(header.processing_id) > 1:
        return False
    if len(header.control_id) > 50 or not header.control_id.isprintable():
        return False
    try:
        codec_of_field(header.charsets)
    except MessageError:
        return False
    return True


def is_read(header: Header) -> bool:
    """Whether practitioners are looked for in such a message (an ADT), by its trigger event."""
    return events.trigger_event(header) in READ


# --- reading ---------------------------------------------------------------------------------------------------------

_PURPOSE = Purpose(Action.ADD)
_MOST_READ = 20_000
_READ_BEFORE: dict[tuple[object, ...], tuple[str, tuple[StaffIdentifier, ...], tuple[ElementValue, ...]]] = {}
"""Practitioners by the very text that names them: message after message names the same few. No patient is kept here."""

_MOST_NAMED, _LONGEST_NAMED = 5_000, 1_000
_NAMED_BEFORE: dict[tuple[object, ...], tuple[tuple[str, ...], frozenset[str]]] = {}
"""The source keys of whom all these fields of a message name, and the numbers in them: kept where nothing was found wrong,
and so, as above, without a patient."""


@dataclass(slots=True)
class _Mention:
    """A practitioner as one field names them: its place, the numbers of their repetitions, what those say."""

    segment: Segment
    number: int
    repetitions: list[int]
    draft: Draft

    def take(self, other: _Mention) -> None:
        """Take over what another repetition says of the same person: identifiers, and names that are not said yet."""
        self.repetitions += other.repetitions
        _join(self.draft, other.draft)
        for value in other.draft.practitioner:
            name = dict(value.value)
            if any(have.value.get("use") == "official" for have in self.draft.practitioner):
                name = _unused(name) if name.get("use") == "official" else name
            if not any(_says(have.value, _unused(name)) for have in self.draft.practitioner):
                self.draft.practitioner.append(value._replace(value=name))


class VisitMessage(Opening):
    """An ADT message that is read: one record for each practitioner that it names."""

    event_field = Provenance.of("MSH", 9)

    def __init__(self, message: Message, rules: FeedRules, now: datetime, trace: Trace | None = None) -> None:
        super().__init__(message, rules, now, trace)
        # Events with two patients (A17, A24, A37, ...) are not read: here a second one is a second message.
        structure.check_once(message, ("MSH", "EVN", "PID"))
        self.envelope.master_file = False
        self.mentions: list[_Mention] = []
        self._numbers: set[str] = set()  # XCN.1 of all that was read
        self._fields = [
            (segment, number, meaning, raw)
            for segment in message.segments
            if segment.name in PLACES
            for number, meaning in PLACES[segment.name].items()
            if (raw := segment.raw(number))
        ]

    def named_before(self) -> tuple[str, ...]:
        """The source keys of `records()` where a message with these very fields was read before and nothing was found wrong
        in them; else none. Whoever is known by them need not be read again."""
        keys, numbers = _NAMED_BEFORE.get(self._said(), ((), frozenset()))
        return keys if keys and numbers.isdisjoint(self._identifiers_of_the_patient()) else ()

    def _said(self) -> tuple[object, ...]:
        """All that decides whom the message names, but for the patient's own numbers."""
        envelope = self.envelope
        said = [
            (segment.name, number, raw, segment.raw(2) if segment.name in _ENDED else "")
            for segment, number, _, raw in self._fields
        ]
        return envelope.rules, envelope.message.separators, envelope.message.codec, *said

    def records(self) -> Iterator[Record]:
        """One record a practitioner, in order of first mention; whoever cannot be told is a finding of the message."""
        people: list[_Mention] = []
        patient, said_so_far = self._identifiers_of_the_patient(), len(self.findings)
        for segment, number, meaning, raw in self._fields:
            for mention in self._mentions(segment, number, meaning, raw, patient):
                self.mentions.append(mention)
                known = next((one for one in people if _share(one.draft, mention.draft)), None)
                if known is None:
                    people.append(mention)
                else:
                    _join(known.draft, mention.draft)
        found = [self._record(position, mention.draft) for position, mention in enumerate(people, 1)]
        if len(self.findings) == said_so_far and not any(mention.draft.findings for mention in self.mentions):
            self._remember(found)
        yield from found

    def _remember(self, found: list[Record]) -> None:
        if sum(len(raw) + len(segment.raw(2)) for segment, _, _, raw in self._fields) > _LONGEST_NAMED:
            return
        if len(_NAMED_BEFORE) >= _MOST_NAMED:
            _NAMED_BEFORE.clear()
        keys = tuple(record.change.source_key for record in found if record.change)
        _NAMED_BEFORE[self._said()] = keys, frozenset(self._numbers)

    def _record(self, position: int, draft: Draft) -> Record:
        first = _first(draft.identifiers)
        ordered = (first, *(one for one in draft.identifiers if one is not first))
        change = StaffChange(
            action=Action.ADD,
            source_key=f"{first.system}|{first.value}",
            identifiers=ordered,
            practitioner=tuple(draft.practitioner),
            mapping_version=self.envelope.rules.mapping_version,
            event_field=self.event_field,
            only_if_missing=True,
        )
        findings = tuple(finding._replace(position=position) for finding in draft.findings)
        return Record(position, RecordEcho(), change, findings)

    def _identifiers_of_the_patient(self) -> frozenset[str]:
        """What PID and PV1 know the patient and the visit by."""
        reader = self.envelope.reader
        found: set[str] = set()
        for name, numbers in (("PID", (2, 3, 4, 18, 19)), ("PV1", (19, 50))):
            for segment in self.envelope.message.all(name):
                for number in numbers:
                    for one in reader.repetitions(segment.raw(number)):
                        found |= {reader.identifier(one) or "", reader.parts(one)[0]}
        return frozenset(found - {""})

    def _mentions(
        self, segment: Segment, number: int, meaning: str, raw: str, patient: frozenset[str]
    ) -> Iterator[_Mention]:
        """The practitioners of one field.

        Repetitions that are to be one person (SAME) give further names and identifiers; a name or a number may stand in one
        alone. Where they contradict each other they are different persons all the same: never two physicians in one. What
        could be of either of two is nobody's.
        """
        reader = self.envelope.reader
        if (ended := _ENDED.get(segment.name)) and reader.first(segment.raw(2)) in ended:
            return
        most = self.envelope.rules.caps.repetitions
        if raw.count(reader.repetition) >= most:
            text = f"more than {most} repetitions (limits.max_repetitions of the feed): not read"
            at = Location(segment.name, segment.occurrence, number)
            self.findings.append(Finding(TOO_MANY, "too-many-repetitions", text, Severity.INFORMATION, at))
            return
        row = _row(segment.name, number, self.envelope.rules)
        here: list[_Mention] = []
        parts_of_names: list[_Mention] = []
        for place, repetition in enumerate(reader.repetitions(raw), 1):
            if not repetition:
                continue
            draft = self._named(segment, row, place, repetition, patient, meaning == SAME)
            if draft is None:
                continue
            mention = _Mention(segment, number, [place], draft)
            if meaning == EACH:
                here.append(mention)
            elif not (draft.identifiers and draft.practitioner):
                parts_of_names.append(mention)
            elif (same := next((one for one in here if _may_be_one(one.draft, draft)), None)) is None:
                here.append(mention)
            else:
                same.take(mention)
        if not here and parts_of_names:
            here = [parts_of_names.pop(0)]
        for mention in parts_of_names:
            if len(here) == 1 and _may_be_one(here[0].draft, mention.draft):
                here[0].take(mention)
        for mention in here:
            if mention.draft.identifiers and _family(mention.draft):
                yield mention
            elif mention.draft.findings:
                self.findings += mention.draft.findings
            else:
                self._leave(mention.draft, mention.repetitions[0], "101", "practitioner-incomplete", _INCOMPLETE)

    def _named(
        self, segment: Segment, row: Row, place: int, repetition: str, patient: frozenset[str], partly: bool
    ) -> Draft | None:
        """One repetition of an XCN (CN before 2.3), or None where it names nobody for certain. `partly`: a name or an
        identifier alone will do, for another repetition may give the other."""
        envelope = self.envelope
        reader = envelope.reader
        draft = Draft(envelope, 0, "", _PURPOSE)
        draft.segment, draft.row = segment, row
        text_as_sent = (
            envelope.rules,
            envelope.message.separators,
            envelope.message.codec,
            row.label,
            place,
            repetition,
        )
        before = _READ_BEFORE.get(text_as_sent)
        if before is not None and envelope.trace is None and before[0] not in patient:
            self._numbers.add(before[0])
            draft.identifiers, draft.practitioner = [*before[1]], [*before[2]]
            return draft
        parts = reader.parts(repetition)
        value, family, type_text = reader.identifier(repetition), parts[1], reader.code(repetition, 13)
        if value is None:
            text = "a character or escape sequence of the identifier would be lost: nobody is known by a part of it"
            self._leave(draft, place, "102", "identifier-unreadable", text)
            return None
        if not (value or family):
            return None
        self._numbers.add(value)
        if not (value and family) and not partly:
            self._leave(draft, place, "101", "practitioner-incomplete", _INCOMPLETE)
            return None
        if value in patient or type_text in _OF_PATIENTS:
            text = "holds an identifier of the patient or the visit, not a practitioner's: not read"
            self._leave(draft, place, "102", "not-a-practitioner", text)
            return None
        if envelope.rules.is_placeholder(value, family):
            self._leave(
                draft, place, "103", "placeholder", "stands for nobody real (placeholders of the feed): not read"
            )
            return None
        if value:
            self._identify(draft, value, parts, repetition, place)
            draft.identifiers = [one for one in draft.identifiers if one.system]
        if not draft.identifiers and not (partly and family):
            self.findings += draft.findings
            return None
        if family:
            given = repetition.split(reader.component)
            given += [""] * (21 - len(given))
            # As an XPN: XCN.17 to .20 are the validity (old form), the assembly order, and the dates.
            name = reader.component.join([*given[1:7], given[9], "", "", *given[16:20], given[20]])
            names = human_names(draft, name, 1)
            for value_of_name in names:
                draft.person(_NAMES, value_of_name, place)
            if names and (degree := degree_of(draft.codes[_DEGREES], parts[6])):
                coding = coding_of(degree, named("systems")[_DEGREES], "")
                draft.person("qualification", {"code": {"coding": [coding]}}, place)
        if not draft.identifiers and not _names(draft):  # what was taken for a name is none: nobody is mentioned
            self.findings += draft.findings
            return None
        if not draft.findings and len(repetition) <= LONGEST:
            if len(_READ_BEFORE) >= _MOST_READ:
                _READ_BEFORE.clear()
            _READ_BEFORE[text_as_sent] = (value, tuple(draft.identifiers), tuple(draft.practitioner))
        return draft

    def _identify(self, draft: Draft, value: str, parts: list[str], repetition: str, place: int) -> None:
        """XCN.1 with its assigning authority (XCN.9, before 2.7 often XCN.8) and type (XCN.13)."""
        envelope = self.envelope
        type_code, extra = type_of(draft, envelope.reader.code(repetition, 13))
        namespace, universal_id, universal_type = envelope.reader.subparts(repetition, 9)[:3]
        authority = namespace or universal_id
        system = system_for(envelope.rules, namespace, universal_id, universal_type, type_code)
        if not (system or authority):
            by_authority = envelope.rules.systems_by_authority
            type_text = envelope.reader.code(repetition, 13)
            jurisdiction, agency = [*parts, "", ""][21:23]
            candidates = [parts[7], *other_authorities(type_text, type_code, jurisdiction, agency)]
            if any(character.isdigit() for character in value):
                # The site's word for a field. What has no digit there may be a name that was shifted into it.
                candidates.append(draft.row.label)
            authority = next((name for name in candidates if name and name in by_authority), "")
            system, authority = by_authority.get(authority, ""), authority or parts[7]
        add(draft, place, value, system, authority, type_code, extra)

    def _leave(self, draft: Draft, place: int, code: str, local: str, text: str) -> None:
        draft.leave(text)  # no value of it is told: it may be the patient's
        at = Location(draft.segment.name, draft.segment.occurrence, draft.row.number, place if place > 1 else 0)
        self.findings.append(Finding(code, local, text, Severity.INFORMATION, at))


def _row(segment: str, number: int, rules: FeedRules) -> Row:
    label = f"{segment}-{number}"
    return Row(number, label, _RULE, None, "0200", rules.codes["0200"], "", True)


def _first(identifiers: Iterable[StaffIdentifier]) -> StaffIdentifier:
    """By which identifier the bridge knows the person: the NPI, which every sender gives alike, else the first."""
    known = list(identifiers)
    return next((one for one in known if one.type_code == "NPI"), known[0])


def _tokens(draft: Draft) -> set[tuple[str, str]]:
    return {(one.system, one.value) for one in draft.identifiers}


def _unused(name: JsonObject) -> JsonObject:
    return {key: value for key, value in name.items() if key != "use"}


def _says(name: JsonObject, other: JsonObject) -> bool:
    """Whether a name says all that another one says."""
    return all(name.get(key) == value for key, value in other.items())


def _share(one: Draft, other: Draft) -> bool:
    return not _tokens(one).isdisjoint(_tokens(other))


def _may_be_one(one: Draft, other: Draft) -> bool:
    """Whether two repetitions for one person may speak of one: not where each has another number of a registry that gives
    one to a person, and, unless they share a number, not where their names contradict each other."""
    ours, theirs = _tokens(one), _tokens(other)
    for registry in _ONE_EACH:
        mine, others = ({value for system, value in side if system == registry} for side in (ours, theirs))
        if mine and others and mine.isdisjoint(others):
            return False
    return not ours.isdisjoint(theirs) or not _names_differ(one, other)


def _names_differ(one: Draft, other: Draft) -> bool:
    """Whether both are named, and no name of one can be one of the other: a given name counts only where neither begins the
    other (`J`, `Al`); another family name alone says nothing where a given name agrees (marriage)."""
    pairs = [(_folded(ours), _folded(theirs)) for ours in _names(one) for theirs in _names(other)]
    return bool(pairs) and all(_differ(*ours, *theirs) for ours, theirs in pairs)


def _differ(family: str, given: str, other_family: str, other_given: str) -> bool:
    if not (given and other_given):
        return family != other_family
    return not (given.startswith(other_given) or other_given.startswith(given))


def _folded(name: JsonObject) -> tuple[str, str]:
    return str(name.get("family", "")).casefold(), str(next(iter(name.get("given", [])), "")).casefold()


def _names(draft: Draft) -> list[JsonObject]:
    return [value.value for value in draft.practitioner if "family" in value.value]


def _family(draft: Draft) -> str:
    return next((str(name["family"]) for name in _names(draft)), "")


def _join(one: Draft, other: Draft) -> None:
    """Take the identifiers that the other mention adds; its name says nothing new."""
    have = _tokens(one)
    one.identifiers += [
        identifier for identifier in other.identifiers if (identifier.system, identifier.value) not in have
    ]
    one.findings += [finding for finding in other.findings if finding not in one.findings]


# --- what is stored --------------------------------------------------------------------------------------------------

_KEPT_OF_HEADER = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 15, 16, 18})
_KEPT_OF_XCN = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 17, 18, 19, 20, 21, 22, 23})
_EVENT = re.compile(r"[A-Z0-9]{3}")
_TIME = re.compile(r"[0-9.+-]{4,26}")


def stored_form(message: Message, opening: VisitMessage) -> bytes:
    """The message without the patient: MSH-1 to MSH-12, -15, -16 and -18, EVN-1, EVN-2, and of each practitioner who was
    read the field in its segment. It is read to the same records as the message itself.

    `opening` has been read to its end. Raises UnicodeEncodeError where the character set cannot give back what it read.
    """
    separators = message.separators
    field = separators.field
    lines = [_header(message)]
    event = message.first("EVN")
    if event is not None:
        named, recorded = event.raw(1), event.raw(2)
        kept = [named if _EVENT.fullmatch(named) else "", recorded if _TIME.fullmatch(recorded) else ""]
        lines.append(field.join(["EVN", *kept]))
    by_segment: dict[tuple[str, int], dict[int, set[int]]] = {}
    for mention in opening.mentions:
        places = by_segment.setdefault((mention.segment.name, mention.segment.occurrence), {})
        places.setdefault(mention.number, set()).update(mention.repetitions)
    for segment in message.segments:
        numbers = by_segment.get((segment.name, segment.occurrence))
        if numbers:
            fields = [segment.name, *[""] * max(numbers)]
            for number, kept_places in numbers.items():
                fields[number] = _practitioners(segment.raw(number), kept_places, separators)
            lines.append(field.join(fields))
    return ("\r".join(lines) + "\r").encode(message.codec)


def _header(message: Message) -> str:
    segment = message.segments[0]
    field = message.separators.field
    kept = [segment.raw(number) if number in _KEPT_OF_HEADER else "" for number in range(2, 19)]
    return field.join(["MSH", *kept]).rstrip(field)


def _practitioners(raw: str, places: set[int], separators: Separators) -> str:
    """The field with the repetitions of practitioners alone, each in its place, and of each what XCN knows of a person."""
    component = separators.component or UNUSED
    repetition = separators.repetition or UNUSED
    kept = []
    for place, text in enumerate(raw.split(repetition), 1):
        if place not in places:
            kept.append("")
            continue
        parts = text.split(component)
        kept.append(
            component.join(part if n in _KEPT_OF_XCN else "" for n, part in enumerate(parts, 1)).rstrip(component)
        )
    return repetition.join(kept).rstrip(repetition)
