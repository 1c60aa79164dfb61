"""Rules for PractitionerRole, and the roles that follow: one per ORG segment, else one per department (STF-8), else one
without a unit. What the message says of the person's work in general stands in each of them."""

from __future__ import annotations

from hl7bridge.mapping.datatypes import (
    checked_period,
    coding_of,
    concept,
    date_time,
    display,
    institution_date,
    range_of,
    system_of,
    time_field,
    words_of,
)
from hl7bridge.mapping.draft import Draft, Period, Place, Row, Unit, field_rule, segment_rule
from hl7bridge.mapping.identifiers import authority_of, system_for, type_of
from hl7bridge.mapping.times import ends_before, fhir_date
from hl7bridge.model import ElementValue, Finding, JsonObject, Location, Severity, StaffRole

NUCC = "http://nucc.org/provider-taxonomy"


# --- STF: code -------------------------------------------------------------------------------------------------------


@field_rule
def role_code(draft: Draft, row: Row, raw: str) -> None:
    """STF-4, STF-9, STF-39, PRA-3: what the person does."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        if not repetition or _is_date(draft, repetition, number):
            continue
        value = concept(draft, repetition, number)
        if value is not None:
            draft.role_value("code", value, number)


@field_rule
def healthcare_service(draft: Draft, row: Row, raw: str) -> None:
    """For sites that prefer it for STF-9: the hospital service as PractitionerRole.healthcareService."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        if repetition and (name := display(draft, repetition, 2, 1)):
            draft.role_value("healthcareService", {"display": name}, number)


def _is_date(draft: Draft, repetition: str, number: int) -> bool:
    """Whether a date stands where a code belongs: the sender's fields are shifted."""
    if len(repetition) in (8, 14) and repetition.isdigit() and fhir_date(repetition)[:2] in ("19", "20"):
        draft.misfit("a date instead of a code", number if number > 1 else 0)
        return True
    return False


@field_rule
def job_title(draft: Draft, row: Row, raw: str) -> None:
    """STF-18: the role's code in words, where no other field gives one."""
    title = draft.reader.first(raw)
    if title:
        draft.title = (ElementValue("code", {"text": title}, row.label, row.rule), draft.place)


@field_rule
def job_code(draft: Draft, row: Row, raw: str) -> None:
    """STF-19: JCC: job code (table 0327 of the site), class, description."""
    reader = draft.reader
    repetition = raw.split(reader.repetition, 1)[0]
    code, _, description = reader.parts(repetition, 3)[:3]
    words = description or reader.subparts(repetition, 1, 2)[1]
    target = row.codes.get(code) if code else None
    if target and "|" in target:
        value: JsonObject = {"coding": [coding_of(target, "", words)]}
        if words:
            value["text"] = words
        draft.role_value("code", value)
        return
    if code and target is None:
        draft.unmapped(code, row.table, component=1)
    if words := words or target or code:
        draft.role_value("code", {"text": words})


# --- STF: unit and period --------------------------------------------------------------------------------------------


@field_rule
def department(draft: Draft, row: Row, raw: str) -> None:
    """STF-8: one role per department, unless ORG segments list the units."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        if not repetition or _is_date(draft, repetition, number):
            continue
        found = _organization(draft, repetition, number)
        if found is not None:
            value, names, code = found
            organization = ElementValue("organization", value, draft.label(number), row.rule)
            _add_unit(draft, Unit(f"STF-8:{code}", "STF-8", names, [organization], draft.place))
            draft.use(draft.place, "PractitionerRole.organization", value, organization.field, row.rule)


def _organization(draft: Draft, repetition: str, number: int) -> tuple[JsonObject, frozenset[str], str] | None:
    """CE, CWE of a unit -> a logical Reference(Organization), its names casefolded, and its code (or text)."""
    code, text, system_name = draft.reader.parts(repetition, 3)[:3]
    if not (code or text):
        return None
    words = text or code
    reference: JsonObject = {}
    if code:
        target = draft.row.codes.get(code)
        if target and "|" in target:
            coding = coding_of(target, "", words)
            reference["identifier"] = {"system": coding["system"], "value": coding["code"]}
            words = coding["display"]
        elif target:
            words = target
        elif system := draft.envelope.rules.systems_by_authority.get(system_name):
            reference["identifier"] = {"system": system, "value": code}
        elif target is None:
            draft.unmapped(code, draft.row.table, number if number > 1 else 0, 1)
    reference["display"] = words
    return reference, frozenset(name.casefold() for name in (code, text) if name), code or text


def _add_unit(draft: Draft, unit: Unit) -> None:
    if any(have.key == unit.key for have in draft.units):
        draft.warn("103", "duplicate-role", "the same unit is listed twice: the first stands")
    else:
        draft.units.append(unit)


@field_rule
def institution_start(draft: Draft, row: Row, raw: str) -> None:
    """STF-12: since when the person works at each institution."""
    draft.starts.extend(_institution_dates(draft, raw))


@field_rule
def institution_end(draft: Draft, row: Row, raw: str) -> None:
    """STF-13: until when; by itself it makes nobody inactive."""
    draft.ends.extend(_institution_dates(draft, raw))


def _institution_dates(draft: Draft, raw: str) -> list[Period]:
    found = []
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        if repetition and (read := institution_date(draft, repetition, number)) is not None:
            found.append(Period(*read, draft.label(number), draft.row.rule, draft.place))
    return found


@field_rule
def relationship_period(draft: Draft, row: Row, raw: str) -> None:
    """STF-34: the period of the relationship; stands before STF-12 and STF-13."""
    start, end = range_of(draft, raw)
    draft.relationship = (_bound(draft, start), _bound(draft, end))


def _bound(draft: Draft, date: str) -> Period | None:
    return Period(date, frozenset(), draft.row.label, draft.row.rule, draft.place) if date else None


@field_rule
def expected_return(draft: Draft, row: Row, raw: str) -> None:
    """STF-35: until when the person is away."""
    draft.returning = _bound(draft, date_time(draft, time_field(draft, raw)))


# --- PRA -------------------------------------------------------------------------------------------------------------


@field_rule
def practitioner_group(draft: Draft, row: Row, raw: str) -> None:
    """PRA-2: the organisation of the role, where neither ORG, STF-8 nor PRA-9 names one."""
    _fallback_unit(draft, raw)


@field_rule
def institution(draft: Draft, row: Row, raw: str) -> None:
    """PRA-9: the institution that PRA-8 and PRA-10 speak of."""
    _fallback_unit(draft, raw)


def _fallback_unit(draft: Draft, raw: str) -> None:
    have = draft.institution
    if have is not None:
        if draft.row.number != 9 or have[0].number == 9:
            draft.leave("another field names the unit")
            return
        draft.leave("another field names the unit", Place(have[2].name, have[2].occurrence, have[0].number))
    draft.institution = (draft.row, raw, draft.segment)


def _fallback(draft: Draft) -> tuple[ElementValue, frozenset[str]] | None:
    """The organisation of PRA-9 or PRA-2, read only where it is needed."""
    if draft.institution is None:
        return None
    before = draft.row, draft.segment
    draft.row, raw, draft.segment = draft.institution
    found = _organization(draft, raw.split(draft.reader.repetition, 1)[0], 1)
    value = None
    if found is not None:
        value = (_own(draft, "organization", found[0]), found[1])
    draft.row, draft.segment = before
    return value


@field_rule
def practice_start(draft: Draft, row: Row, raw: str) -> None:
    """PRA-8: when practice at the institution began."""
    if draft.practice[0] is None:
        draft.practice = (_bound(draft, date_time(draft, time_field(draft, raw))), draft.practice[1])


@field_rule
def practice_end(draft: Draft, row: Row, raw: str) -> None:
    """PRA-10: when it ends, or is meant to."""
    if draft.practice[1] is None:
        draft.practice = (draft.practice[0], _bound(draft, date_time(draft, time_field(draft, raw))))


@field_rule
def specialty(draft: Draft, row: Row, raw: str) -> None:
    """PRA-5: SPD (CM before 2.3.1): specialty, board, status, date. Board certified: a qualification as well."""
    reader = draft.reader
    for number, repetition in enumerate(reader.repetitions(raw), 1):
        at = number if number > 1 else 0
        name, board, status, since = reader.parts(repetition, 4)[:4]
        if not name:
            continue
        standing = draft.codes["0337"].get(status)
        if status and standing is None and system_of(draft.envelope.rules, status):
            draft.warn("102", "coded-specialty", "a coded element instead of specialty^board^status^date", at)
            value = concept(draft, repetition, number)
            status = board = since = ""
        else:
            value = _specialty(draft, name, number)
        if value is None:
            continue
        draft.role_value("specialty", value, number)
        if standing == "certified":
            qualification: JsonObject = {"code": {"text": words_of(value)}}
            start = date_time(draft, since, at, 4)
            if start:
                qualification["period"] = {"start": start}
            if board:
                qualification["issuer"] = {"display": board}
            draft.person("qualification", qualification, number)
        elif status and standing is None:
            draft.unmapped(status, "0337", at, 3, lost=True)


def _specialty(draft: Draft, name: str, number: int) -> JsonObject:
    """The name of a specialty: a code of the provider taxonomy, what the site's table says, or the text."""
    target = draft.row.codes.get(name)
    if target and "|" in target:
        return {"coding": [coding_of(target, "", "")], "text": name}
    if is_taxonomy_code(name):
        return {"coding": [{"system": NUCC, "code": name}]}
    if target is None:
        draft.unmapped(name, draft.row.table, number if number > 1 else 0, 1)
    return {"text": target or name}


def is_taxonomy_code(text: str) -> bool:
    """Whether text has the form of a code of the US provider taxonomy (NUCC): `207R00000X`."""
    return (
        len(text) == 10
        and text[9] == "X"
        and text.isascii()
        and text[:3].isdigit()
        and text.isalnum()
        and text == text.upper()
    )


# --- ORG -------------------------------------------------------------------------------------------------------------


@segment_rule
def organization_unit(draft: Draft) -> None:
    """ORG: one unit, one role."""
    values: list[ElementValue] = []
    raw = draft.field(2)
    found = _organization(draft, raw.split(draft.reader.repetition, 1)[0], 1) if raw else None
    if found is not None:
        reference, names, code = found
        values.append(ElementValue("organization", reference, draft.row.label, draft.row.rule))
        draft.use(draft.place, "PractitionerRole.organization", reference, draft.row.label, draft.row.rule)
    elif (fallback := _fallback(draft)) is not None:
        organization, names = fallback
        code = min(names)
        values.append(organization)
    else:
        names, code = frozenset(), ""
    taxonomy_code = _taxonomy(draft, values)
    if not (code or taxonomy_code):
        _leave_unit(draft)
        return
    raw = draft.field(5)
    if raw:
        _unit_identifier(draft, raw, values)
    raw = draft.field(9)
    if raw:
        start, end = range_of(draft, raw)
        if period := checked_period(draft, start, end):
            values.append(_own(draft, "period", period))
    _add_unit(draft, Unit(f"ORG:{code}|{taxonomy_code}", "ORG", names, values, draft.place))


def _own(draft: Draft, element: str, value: object) -> ElementValue:
    """A value for this unit's role alone, from the current field."""
    draft.use(draft.place, f"PractitionerRole.{element}", value, draft.row.label, draft.row.rule)
    return ElementValue(element, value, draft.row.label, draft.row.rule)


def _leave_unit(draft: Draft) -> None:
    """A role without unit and specialty could not be told from another: it is not made."""
    at = Location(draft.segment.name, draft.segment.occurrence, 2)
    text = "neither ORG-2 nor PRA-9 names the unit, and no specialty is coded: no role is made of the segment"
    draft.findings.append(Finding("101", "unit-missing", text, Severity.WARNING, at, draft.position))


def _taxonomy(draft: Draft, values: list[ElementValue]) -> str:
    """ORG-8, -7, -6: the most specific taxonomy code is the specialty; words of the broader ones say what the person does.

    Returns the code, "" where there is none.
    """
    code, source, words = "", 0, ""
    for number in (8, 7, 6):
        raw = draft.field(number)
        if not raw:
            continue
        sent, text = draft.reader.parts(raw, 2)[:2]
        target = draft.row.codes.get(sent, "") if sent else ""
        if not code and "|" in target:
            coding = coding_of(target, "", text)
            code, source = str(coding["code"]), number
            values.append(_own(draft, "specialty", {"coding": [coding]}))
        elif not code and is_taxonomy_code(sent):
            code, source = sent, number
            coding = coding_of(sent, NUCC, text)
            values.append(_own(draft, "specialty", {"coding": [coding]}))
        elif sent and not code:
            draft.unmapped(sent, draft.row.table, component=1, lost=not text)
            if not source and text:
                source, words = number, text
                values.append(_own(draft, "specialty", {"text": text}))
        elif text and number != source and text != words:
            words = text
            values.append(_own(draft, "code", {"text": text}))
    return code


def _unit_identifier(draft: Draft, raw: str, values: list[ElementValue]) -> None:
    """ORG-5: CX valid in this unit alone -> PractitionerRole.identifier."""
    parts = draft.reader.parts(raw, 5)
    if not parts[0]:
        return
    type_code, extra = type_of(draft, parts[4])
    system = system_for(draft.envelope.rules, authority_of(draft, raw, 4), type_code)
    if not system:
        text = "no system for this assigning authority in [authorities] of the feed: the identifier is left out"
        draft.warn("103", "unmapped-authority", text)
        draft.leave("no system for its assigning authority")
        return
    identifier: JsonObject = {"system": system, "value": parts[0], **extra}
    if type_code:
        coding = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": type_code}
        identifier["type"] = {"coding": [coding]}
    values.append(_own(draft, "identifier", identifier))


# --- the roles that follow -------------------------------------------------------------------------------------------


def roles_of(draft: Draft) -> tuple[tuple[StaffRole, ...], tuple[ElementValue, ...]]:
    """The roles by unit, and, where the message lists no unit, the values of a role without one."""
    general = list(draft.role)
    if draft.title is not None:
        value, place = draft.title
        if any(have.element == "code" for have in general):
            draft.leave("a coded field says what the person does", place)
        else:
            general.append(value)
            draft.use(place, "PractitionerRole.code", value.value, value.field, value.rule)
    if draft.returning is not None:
        general.append(_not_available(draft, draft.returning))
    units = [unit for unit in draft.units if unit.origin == "ORG"]
    if units:
        for unit in draft.units:
            if unit.origin != "ORG":
                draft.leave("ORG lists the units", unit.place)
    else:
        units = draft.units
    periods = _Periods(draft, units)
    if not units:
        if (fallback := _fallback(draft)) is not None:
            general.append(fallback[0])
        if period := periods.of(frozenset()):
            general.append(period)
        periods.say_unused()
        return (), tuple(general)
    if draft.institution is not None:
        row, _, segment = draft.institution
        draft.leave("another field names the unit", Place(segment.name, segment.occurrence, row.number))
    roles = []
    for unit in units:
        values = unit.values
        if unit.origin == "STF-8":
            values.extend(general)
        else:
            said = [(have.element, have.value) for have in values]
            values.extend(value for value in general if (value.element, value.value) not in said)
        if any(value.element == "period" for value in values):
            periods.give_way(unit.names)
        elif period := periods.of(unit.names):
            values.append(period)
        roles.append(StaffRole(unit.key, unit.origin, tuple(values)))
    periods.say_unused()
    return tuple(roles), ()


def _not_available(draft: Draft, returning: Period) -> ElementValue:
    """STF-35, with the words of STF-38; the plan need not add these again."""
    value = {"description": draft.ended_for or "Expected to return", "during": {"end": returning.date}}
    draft.ended_for = ""
    draft.use(returning.place, "PractitionerRole.notAvailable", value, returning.field, returning.rule)
    return ElementValue("notAvailable", value, returning.field, returning.rule)


class _Periods:
    """Which of the dates in STF-12, -13, -34 and PRA-8, -10 belong to which unit."""

    def __init__(self, draft: Draft, units: list[Unit]) -> None:
        self.draft = draft
        self.used: set[Period] = set()
        dated = (*draft.starts, *draft.ends)
        named = {period.institution for period in dated if period.institution}
        known = frozenset().union(*(unit.names for unit in units)) if units else frozenset()
        # One institution that no unit goes by is the house that all of them are in.
        self.common = len(named) <= 1 and not any(names & known for names in named)
        self.reversed_said = False

    def of(self, names: frozenset[str]) -> ElementValue | None:
        """The period of the unit with these names."""
        draft = self.draft
        start, end = draft.relationship
        if start or end:
            self._compare(start, end)
        else:
            start, end = self._pick(draft.starts, names), self._pick(draft.ends, names)
        if not (start or end) and any(draft.practice) and self._is_practice(names):
            start, end = draft.practice
        if start and end and ends_before(end.date, start.date):
            if not self.reversed_said:
                self.reversed_said = True
                self._say(end, "102", "period-reversed", "a period ends before it starts: left out", Severity.WARNING)
            return None
        first = start or end
        if first is None:
            return None
        period = {}
        for bound, name in ((start, "start"), (end, "end")):
            if bound:
                period[name] = bound.date
                self.used.add(bound)
                draft.use(bound.place, f"PractitionerRole.period.{name}", bound.date, bound.field, bound.rule)
        return ElementValue("period", period, first.field, first.rule)

    def _is_practice(self, names: frozenset[str]) -> bool:
        """Whether PRA-8 and PRA-10 speak of the unit: PRA-9 names it, or nothing else."""
        institution = self.draft.institution
        if institution is None or institution[0].number != 9 or not names:
            return True
        reader = self.draft.reader
        return any(
            name.casefold() in names for name in reader.parts(reader.repetitions(institution[1])[0], 2)[:2] if name
        )

    def _pick(self, dates: list[Period], names: frozenset[str]) -> Period | None:
        for period in dates:
            if period.institution & names:
                return period
        for period in dates:
            if self.common or not period.institution:
                return period
        return None

    def _compare(self, start: Period | None, end: Period | None) -> None:
        """STF-34 stands before STF-12 and STF-13; where they say something else, that is said."""
        for bound, others in ((start, self.draft.starts), (end, self.draft.ends)):
            for other in others:
                if other not in self.used:
                    self.used.add(other)
                    self.draft.leave("STF-34 gives the period", other.place)
                    if bound and bound.date[:10] != other.date[:10]:
                        text = "STF-34 gives another date: STF-34 stands"
                        self._say(other, "102", "period-conflict", text, Severity.WARNING)

    def give_way(self, names: frozenset[str]) -> None:
        """The unit with these names has a period of its own (ORG-9)."""
        for dates in (self.draft.starts, self.draft.ends):
            if period := self._pick(dates, names):
                self.used.add(period)
                self.draft.leave("ORG-9 gives the period", period.place)

    def say_unused(self) -> None:
        """Dates of institutions that no unit of the message goes by."""
        for bound in self.draft.practice:
            if bound and bound not in self.used:
                self.draft.leave("another field gives the period", bound.place)
        for period in (*self.draft.starts, *self.draft.ends):
            if period not in self.used and not self.reversed_said:
                text = "names an institution that is no unit of this message: the date is not used"
                self._say(period, "103", "institution-unmatched", text, Severity.INFORMATION)
                self.draft.leave("no unit of the message goes by the institution's name", period.place)

    def _say(self, period: Period, code: str, local: str, text: str, severity: Severity) -> None:
        at = Location(period.place.segment, period.place.occurrence, period.place.number)
        self.draft.findings.append(Finding(code, local, text, severity, at, self.draft.position))


def end_of_employment(draft: Draft) -> tuple[ElementValue, ...]:
    """For a deactivation: the end of the role that STF-13 states, when it states one date."""
    dates = {period.date for period in draft.ends}
    if len(dates) != 1:
        for period in draft.ends:
            draft.leave("several institutions end on different dates: the role ends with the event", period.place)
        return ()
    period = draft.ends[0]
    draft.use(period.place, "PractitionerRole.period.end", period.date, period.field, period.rule)
    return (ElementValue("period", {"end": period.date}, period.field, period.rule),)
