"""A staff change in the making: what the rules read from, and where they put what they found.

A rule is a named Python function `(draft, row, raw) -> None` for one field; a segment rule `(draft) -> None` reads several
fields of its segment together (EDU, CER, LAN, ORG). fields.toml says which field is read by which rule.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from hl7bridge.hl7.message import Message, Segment
from hl7bridge.mapping.feed_rules import TOO_MANY, FeedRules
from hl7bridge.mapping.messages.effective import When
from hl7bridge.mapping.messages.structure import repeats
from hl7bridge.mapping.rules.reading import NULL, FieldReader
from hl7bridge.mapping.rules.said import Said, SaidIdentifiers, frozen
from hl7bridge.mapping.rules.shapes import (
    BEYOND,
    SHORTEST_FORM,
    STANDARD,
    WHOLE,
    foreign_form,
    type_of_field,
)
from hl7bridge.mapping.rules.tables import Codes
from hl7bridge.mapping.tracing import Place, Trace, TraceEntry
from hl7bridge.model import Action, ElementValue, Finding, Location, Provenance, Severity, StaffIdentifier

FieldRule = Callable[["Draft", "Row", str], None]
SegmentRule = Callable[["Draft"], None]
QuickRule = Callable[["Draft", "Row", str], bool]
Condition = Callable[["Draft", "Row", str], bool]

FIELD_RULES: dict[str, FieldRule] = {}
SEGMENT_RULES: dict[str, SegmentRule] = {}
CONDITIONS: dict[str, Condition] = {}


def field_rule(function: FieldRule) -> FieldRule:
    """Make a function available to fields.toml under its name."""
    FIELD_RULES[function.__name__] = function
    return function


def segment_rule(function: SegmentRule) -> SegmentRule:
    """The same for a function that reads a whole segment; every field of the segment that it reads names it."""
    SEGMENT_RULES[function.__name__] = function
    return function


def never(draft: Draft, row: Row, raw: str) -> bool:
    """The quick way of a field that has none."""
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One field that is mapped.

    `codes` is its code table in force, `system` the code system of that table's plain targets, `decides` says that the
    field tells who the person is or in what standing, so that a lifecycle event reads it, too. Of a site's rows alone:
    `when` is the condition without which the row is passed over, `authority` the one that the sender does not name.
    `data_type`: of the values, as `shapes` tells them; "" = anything. `single`: it may not repeat with different values.
    `quick`: reads the field where it is as most senders write it, and says whether it did (`mapping.plain`).
    """

    number: int
    label: str
    rule: str
    apply: FieldRule | None
    table: str
    codes: Codes
    system: str
    decides: bool
    when: Condition | None = None
    authority: str = ""
    data_type: str = ""
    single: bool = False
    quick: QuickRule = never
    provenance: Provenance = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "provenance", Provenance.read(self.label))

    def places(self, most: int) -> tuple[Provenance, ...]:
        """The field at each of its first repetitions."""
        return tuple(self.provenance.at(number) for number in range(1, most + 1))


class SegmentRows(dict[int, Row]):
    """Rows of a segment by the number of their field.

    `at`: the same in the order of the fields, the segment's name first; a field that no rule reads has a row without a rule.
    """

    __slots__ = ("at",)

    def __init__(self, segment: str, rows: Iterable[Row]) -> None:
        super().__init__((row.number, row) for row in rows)
        last = max(len(STANDARD.get(segment, ())), *self, 0)
        self.at = tuple(self.get(number) or _unread(segment, number) for number in range(last + 1))


def _unread(segment: str, number: int) -> Row:
    """The row of a field that no rule reads."""
    data_type = type_of_field(segment, number) or BEYOND
    return Row(number, f"{segment}-{number}", "", None, "", {}, "", False, data_type=data_type, quick=_is_at_home)


def _is_at_home(draft: Draft, row: Row, raw: str) -> bool:
    """Whether what stands in a field that no rule reads may be of that field."""
    return len(raw) <= _SHORTEST_UNREAD or not draft.reader.looks_foreign(raw, row.data_type)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How a segment is read: by a segment rule, or field by field.

    `deciding`: the rows that a lifecycle event reads; `identifying`: those that tell who the person is.
    """

    segment_rule: SegmentRule | None
    rows: SegmentRows
    deciding: SegmentRows
    identifying: SegmentRows


@dataclass(frozen=True, slots=True)
class Purpose:
    """What an event asks for; the flags are those of StaffChange. `ending`: it says by itself that the person is inactive,
    and merges no content."""

    action: Action
    temporary: bool = False
    qualifications_only: bool = False
    revokes: bool = False
    ending: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ending", self.action.ends)

    @property
    def heeds_flag(self) -> bool:
        """Whether STF-7 decides who is active."""
        return (self.action is Action.ADD or self.action is Action.UPDATE) and not self.qualifications_only


@dataclass(slots=True)
class Envelope:
    """What holds for every record of a message."""

    message: Message
    rules: FeedRules
    reader: FieldReader
    version: tuple[int, ...]
    zone: tzinfo
    now: datetime
    plans: Mapping[str, Plan]
    trace: Trace | None = None
    master_file: bool = True


class Source:
    """Where a value came from that has to wait until the roles are known. `text`: the value, where it is a text."""

    __slots__ = ("number", "row", "segment", "text", "used")

    def __init__(self, draft: Draft, text: str = "", number: int = 1) -> None:
        self.row = draft.row
        self.segment = draft.segment
        self.text = text
        self.number = number
        self.used = False

    @property
    def provenance(self) -> Provenance:
        """The field, at its repetition."""
        return self.row.provenance.at(self.number)

    @property
    def place(self) -> Place:
        """The field."""
        return Place(self.segment.name, self.segment.occurrence, self.row.number)

    def value(self, element: str, value: Any) -> ElementValue:
        """A value for a role, from here."""
        return ElementValue(element, value, self.provenance, self.row.rule)


class Bound(Source):
    """A date that begins or ends a role. `institution`: what the institution goes by, casefolded; empty when not said."""

    __slots__ = ("date", "institution")

    def __init__(self, draft: Draft, date: str, institution: frozenset[str] = frozenset(), number: int = 1) -> None:
        super().__init__(draft, "", number)
        self.date = date
        self.institution = institution


class Unit(Source):
    """A role that the message lists. `names`: what the unit goes by, casefolded."""

    __slots__ = ("key", "names", "origin", "values")

    def __init__(
        self, draft: Draft, key: str, origin: str, names: frozenset[str], values: list[ElementValue], number: int = 1
    ) -> None:
        super().__init__(draft, "", number)
        self.key = key
        self.origin = origin
        self.names = names
        self.values = values


def of_element(value: ElementValue) -> tuple[str, Hashable]:
    """What tells whether a value of an element is said already."""
    return value.element, frozen(value.value)


def of_person(value: ElementValue) -> Hashable | None:
    """The same of what rules ask for at the person: a telephone number or address by itself, a language."""
    if value.element == "telecom":
        return value.element, value.value["value"]
    return of_element(value) if value.element == "communication" else None


def _beside(fields: Sequence[str], last: int) -> int:
    """The field of a segment that begins with a number (SI) where none of its values can stand; 0 = no such field."""
    if len(fields) > 1 and fields[1] and not fields[1].strip().isdigit():
        return 1
    return last + 1 if any(fields[last + 1 :]) else 0


_WARNING = Severity.WARNING
_STATES = frozenset({"active_flag", "death_indicator", "real_person", "reactivation_approval"})
_NEVER_CLEARED = frozenset({"primary_key", "active_flag"})
_SHORTEST_UNREAD = 6  # characters: what is no longer is none of the forms
NOTHING_SAID = When()
_UNBOUNDED: tuple[Bound | None, Bound | None] = (None, None)


class Draft:
    """One record being read. Rules append; `staff.py` makes the StaffChange of it."""

    __slots__ = (
        "active",
        "approval",
        "cleared",
        "codes",
        "dead",
        "doubt",
        "effective",
        "ended_for",
        "ends",
        "envelope",
        "fields",
        "findings",
        "identifiers",
        "institution",
        "institution_names",
        "key",
        "misfits",
        "person_said",
        "placeholder",
        "plan",
        "position",
        "practice",
        "practitioner",
        "purpose",
        "reader",
        "relationship",
        "returning",
        "role",
        "role_said",
        "row",
        "said",
        "segment",
        "shifted",
        "shifts",
        "starts",
        "title",
        "trace",
        "undated",
        "units",
        "units_said",
        "when",
        "zone",
    )

    def __init__(self, envelope: Envelope, position: int, key: str, purpose: Purpose) -> None:
        self.envelope = envelope
        self.purpose = purpose
        self.reader = envelope.reader
        self.codes = envelope.rules.codes
        self.zone = envelope.zone
        self.shifts = envelope.rules.site.shifts
        self.trace = envelope.trace
        self.position = position
        self.key = key
        self.when = NOTHING_SAID
        self.effective = ""
        self.doubt = ""
        self.undated = ""
        # where we are
        self.segment: Segment
        self.fields: list[str]
        self.plan: Plan
        self.row: Row
        # what was found
        self.identifiers: list[StaffIdentifier] = []
        self.said = SaidIdentifiers()
        self.practitioner: list[ElementValue] = []
        self.person_said: Said[ElementValue] = Said(of_person)
        self.role: list[ElementValue] = []
        self.role_said: set[Hashable] = (
            set()
        )  # of codes and specialties: what fields share with the person is not asked for
        self.units: list[Unit] = []
        self.units_said: Said[Unit] = Said(lambda unit: unit.key)
        self.cleared: list[Location] = []
        self.findings: list[Finding] = []
        self.misfits: set[str] = set()
        self.shifted: set[tuple[str, int]] = set()  # segments that hold a misfit: name, occurrence
        # standing
        self.active: bool | None = None
        self.dead = False
        self.placeholder = False
        self.approval = False
        self.ended_for = ""
        # what waits until the roles are known
        self.starts: list[Bound] = []
        self.ends: list[Bound] = []
        self.relationship: tuple[Bound | None, Bound | None] = _UNBOUNDED
        self.practice: tuple[Bound | None, Bound | None] = _UNBOUNDED
        self.institution: Source | None = None
        self.institution_names: frozenset[str] = frozenset()
        self.title: Source | None = None
        self.returning: Bound | None = None

    # -- reading --

    def read(self, segment: Segment, plan: Plan, rows: SegmentRows) -> None:
        """Apply the rules of one segment to the fields that have a value."""
        self.segment = segment
        self.plan = plan
        self.fields = fields = segment.text.split(self.reader.field)
        if segment.name in self.shifts:
            self.fields = fields = self.envelope.rules.site.straightened(segment.name, fields)
        if segment.text.count(self.reader.repetition) >= self.envelope.rules.caps.repetitions:
            self._refuse_repetitions(fields)
        if plan.segment_rule is not None:
            if rows is plan.rows:
                self._look_at_unread(fields)
            plan.segment_rule(self)
            return
        said, traced, foreign = len(self.findings), self.trace is not None, segment.name in WHOLE
        for raw, row in zip(fields, rows.at, strict=False):
            if raw:
                self.row = row
                if traced or not row.quick(self, row, raw):
                    if row.rule:
                        self.read_field(row, raw)
                    else:
                        foreign = True
        if (foreign or len(fields) > len(rows.at)) and rows is plan.rows:
            findings, self.findings = self.findings, []
            self._look_at_unread(fields)
            findings[said:said] = self.findings  # before those of the fields, which it may explain
            self.findings = findings

    def read_field(self, row: Row, raw: str) -> None:
        """Apply the rule of one field, now the current one, to what was sent."""
        if row.when is not None and not row.when(self, row, raw):
            self.leave(f"{row.when.__name__} does not hold")
        elif NULL in raw and self.reader.is_null(raw):
            self.clear()
        elif row.apply is not None and (raw := self.fitting(row, raw)):
            row.apply(self, row, raw)

    def field(self, number: int) -> str:
        """For segment rules: a field of the segment as sent, now the current one; "" where it is empty, null or unmapped."""
        row = self.plan.rows.get(number)
        if row is None or number >= len(self.fields):
            return ""
        raw = self.fields[number]
        if raw:
            self.row = row
            if row.when is not None and not row.when(self, row, raw):
                self.leave(f"{row.when.__name__} does not hold")
                return ""
            if NULL in raw and self.reader.is_null(raw):
                self.clear()
                return ""
            raw = self.fitting(row, raw)
            if self.trace is not None and raw:
                self.trace.read.add(self.place)
        return raw

    def _refuse_repetitions(self, fields: list[str]) -> None:
        """Fail the record for a field with more repetitions than are read, and read none of them."""
        most = self.envelope.rules.caps.repetitions
        for number, raw in enumerate(fields):
            if raw.count(self.reader.repetition) >= most:
                text = f"more than {most} repetitions (limits.max_repetitions of the feed): not read"
                self.say(Severity.ERROR, TOO_MANY, "too-many-repetitions", text, number=number)
                fields[number] = ""

    def fitting(self, row: Row, raw: str) -> str:
        """A field without the repetitions that can't be of its data type (said); "" where nothing is left of it."""
        reader = self.reader
        if row.single and reader.repetition in raw and repeats(reader, raw):
            severity = Severity.ERROR if row.rule in _STATES else Severity.WARNING
            text = "may not repeat, and holds different values: nobody can say which of them counts; left out"
            self.say(severity, "198", "field-repeats", text)
            self.leave(text)
            return ""
        data_type = row.data_type
        if (len(raw) < SHORTEST_FORM and raw.isalnum()) or not reader.looks_foreign(raw, data_type):
            return raw
        found = reader.repetitions(raw)
        for place, repetition in enumerate(found, 1):
            if repetition and (form := foreign_form(data_type, reader.parts(repetition))):
                self.misfit(f"holds {form}, which can't be of this field: left out", place if place > 1 else 0)
                found[place - 1] = ""
        return reader.repetition.join(found) if any(found) else ""

    def _look_at_unread(self, fields: list[str]) -> None:
        """Say what stands in a field that no rule reads, and looks like what another one holds."""
        segment, rows, reader = self.segment, self.plan.rows, self.reader
        last = len(STANDARD.get(segment.name, ()))
        if segment.name in WHOLE and (beside := _beside(fields, last)):
            self.shifted.add((segment.name, segment.occurrence))
            text = "its first field is no number, or it has too many: its fields are shifted, and nothing is made of it"
            self.say(Severity.WARNING, "102", "shifted-field", text, number=beside)
        for number, raw in enumerate(fields):
            if len(raw) <= _SHORTEST_UNREAD or number in rows or not number:
                continue
            data_type = type_of_field(segment.name, number) or BEYOND
            if not reader.looks_foreign(raw, data_type):
                continue
            for place, repetition in enumerate(reader.repetitions(raw), 1):
                if repetition and (form := foreign_form(data_type, reader.parts(repetition))):
                    self.misfits.add(f"{segment.name}-{number}")
                    self.shifted.add((segment.name, segment.occurrence))
                    text = f"holds {form}, and no rule reads this field: perhaps the fields of this segment are shifted"
                    self.say(Severity.WARNING, "102", "shifted-field", text, place if place > 1 else 0, number=number)

    @property
    def place(self) -> Place:
        """The current field."""
        return Place(self.segment.name, self.segment.occurrence, self.row.number)

    def provenance(self, repetition: int = 1) -> Provenance:
        """The current field, at one of its repetitions."""
        return self.row.provenance.at(repetition)

    # -- finding --

    def person(self, element: str, value: Any, repetition: int = 1, kind: str = "") -> ElementValue:
        """A value for Practitioner, from the current field. `kind`: see `ElementValue`."""
        row = self.row
        provenance = row.provenance if repetition == 1 else row.provenance.at(repetition)
        found = ElementValue(element, value, provenance, row.rule, kind)
        self.practitioner.append(found)
        if self.trace is not None:
            self.trace.entries.append(TraceEntry(self.place, f"Practitioner.{element}", value, provenance, row.rule))
        return found

    def role_value(self, element: str, value: Any, repetition: int = 1) -> None:
        """A value for every role of the person, from the current field; said once where two fields say the same."""
        self.role_gets(ElementValue(element, value, self.provenance(repetition), self.row.rule))
        if self.trace is not None:
            given, provenance = f"PractitionerRole.{element}", self.provenance(repetition)
            self.trace.entries.append(TraceEntry(self.place, given, value, provenance, self.row.rule))

    def role_gets(self, given: ElementValue) -> None:
        """The same, made already."""
        key = of_element(given)
        if key not in self.role_said:
            self.role_said.add(key)
            self.role.append(given)

    def add_unit(self, unit: Unit) -> None:
        """A unit that the message lists, from the current field; once."""
        if self.units_said.has(unit.key, self.units):
            self.warn("103", "duplicate-role", "the same unit is listed twice: the first stands")
            return
        self.units.append(unit)

    def share(self, value: ElementValue) -> None:
        """A value of the current field that is the person's and every role's."""
        self.role.append(value)
        if self.trace is not None:
            element = f"PractitionerRole.{value.element}"
            self.trace.entries.append(TraceEntry(self.place, element, value.value, value.provenance, value.rule))

    def identify(self, identifier: StaffIdentifier) -> None:
        """An identifier of the person, from the current field."""
        self.identifiers.append(identifier)
        if self.trace is not None:
            shown = {"system": identifier.system, "value": identifier.value}
            entry = TraceEntry(self.place, "Practitioner.identifier", shown, identifier.provenance, self.row.rule)
            self.trace.entries.append(entry)

    def decide(self, what: str, value: Any) -> None:
        """Note for `explain` that the current field decided something."""
        if self.trace is not None:
            self.trace.entries.append(TraceEntry(self.place, what, value, self.row.provenance, self.row.rule))

    def use(self, source: Source, element: str, value: Any) -> None:
        """A value that had to wait is in a role after all (noted for `explain`)."""
        source.used = True
        if self.trace is not None:
            self.trace.entries.append(
                TraceEntry(source.place, f"PractitionerRole.{element}", value, source.provenance, source.row.rule)
            )

    def clear(self) -> None:
        """The current field is `""`: what this feed wrote from it goes. A key or a flag is never unsaid that way."""
        row = self.row
        if row.rule in _NEVER_CLEARED:
            self.warn("101", "null-ignored", 'a null ("") has no meaning here: ignored')
            return
        if self.purpose.ending or self.purpose.qualifications_only:
            self.leave("a null: the event clears nothing")
            return
        if (place := row.provenance.fields[0]) not in self.cleared:
            self.cleared.append(place)
        self.decide("cleared", "")

    def leave(self, reason: str, source: Source | None = None) -> None:
        """Note for `explain` why a field that has a value gave nothing."""
        if self.trace is not None:
            self.trace.left.setdefault(source.place if source else self.place, reason)

    # -- saying --

    def say(
        self,
        severity: Severity,
        code: str,
        local: str,
        text: str,
        repetition: int = 0,
        component: int = 0,
        number: int | None = None,
    ) -> None:
        """A finding about the current field (or field `number`; 0 = the segment)."""
        segment = self.segment
        if number is None:
            number = self.row.number
        if segment.name in self.shifts:
            number = self.envelope.rules.site.sent_at(segment.name, number) or number  # what the sender can look up
        location = Location(segment.name, segment.occurrence, number, repetition, component)
        self.findings.append(Finding(code, local, text, severity, location, self.position))

    def warn(self, code: str, local: str, text: str, repetition: int = 0, component: int = 0) -> None:
        """A warning about the current field."""
        self.say(_WARNING, code, local, text, repetition, component)

    def misfit(self, text: str, repetition: int = 0, component: int = 0) -> None:
        """A value that is not what its field holds: perhaps the sender's fields are shifted. Never used, always said."""
        self.misfits.add(self.row.label)
        self.shifted.add((self.segment.name, self.segment.occurrence))
        self.leave(text)
        self.warn("102", "shifted-field", text, repetition, component)

    def coded(self, row: Row, raw: str) -> str | None:
        """What the field's table has for its first code; None without a code, and without an entry, which is said."""
        code = self.reader.first(raw)
        found = row.codes.get(code)
        if found is None and code:
            self.unmapped(code, row.table, lost=True)
        return found

    def unmapped(self, code: str, table: str, repetition: int = 0, component: int = 0, *, lost: bool = False) -> None:
        """A code without an entry in its table: information where its text is sent all the same, a warning where not."""
        severity = _WARNING if lost else Severity.INFORMATION
        text = f"no entry in table {table} for this code: {'it is left out' if lost else 'it is sent as text'}"
        self.say(severity, "103", "unmapped-code", text, repetition, component)
        if self.trace is not None:
            self.trace.unmapped.append((self.row.label, table, code))
