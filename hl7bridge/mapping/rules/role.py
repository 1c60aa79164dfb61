"""Rules for PractitionerRole (STF, PRA, ORG): what the person does, for whom, and since when.

`employment.py` makes the roles of what is found here.
"""

from __future__ import annotations

from hl7bridge.mapping.rules.datatypes import (
    NOBODY,
    checked_period,
    coding_of,
    concept,
    date_time,
    display,
    institution_date,
    names_of,
    range_of,
    system_of,
    time_field,
    words_of,
)
from hl7bridge.mapping.rules.draft import Bound, Draft, Row, Source, Unit, field_rule, segment_rule
from hl7bridge.mapping.rules.identifiers import system_for, type_of, typed, value_of
from hl7bridge.mapping.rules.times import fhir_date
from hl7bridge.model import ElementValue, Finding, JsonObject, Location, Severity

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
        draft.title = Source(draft, title)


@field_rule
def job_code(draft: Draft, row: Row, raw: str) -> None:
    """STF-19: JCC: job code (table 0327 of the site), class, description."""
    reader = draft.reader
    repetition = raw.split(reader.repetition, 1)[0]
    code, _, description = reader.parts(repetition)[:3]
    words = description or reader.subparts(repetition, 1)[1]
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
        found = organization(draft, repetition, number)
        if found is not None:
            value, names, code = found
            unit = Unit(draft, f"STF-8:{code}", "STF-8", names, [], number)
            unit.values.append(unit.value("organization", value))
            draft.add_unit(unit)


def organization(draft: Draft, repetition: str, number: int) -> tuple[JsonObject, frozenset[str], str] | None:
    """CE, CWE of a unit -> a logical Reference(Organization), its names casefolded, and its code (or text).

    Its text is CWE.2, else the original text (CWE.9).
    """
    parts = draft.reader.texts(repetition)
    code, text, system_name = parts[0], parts[1] or parts[8], parts[2]
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
    return reference, names_of(code, text), code or text


@field_rule
def institution_start(draft: Draft, row: Row, raw: str) -> None:
    """STF-12: since when the person works at each institution."""
    draft.starts.extend(_institution_dates(draft, raw))


@field_rule
def institution_end(draft: Draft, row: Row, raw: str) -> None:
    """STF-13: until when; by itself it makes nobody inactive."""
    draft.ends.extend(_institution_dates(draft, raw))


def _institution_dates(draft: Draft, raw: str) -> list[Bound]:
    found = []
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        if repetition and (read := institution_date(draft, repetition, number)) is not None:
            found.append(Bound(draft, *read, number))
    return found


@field_rule
def relationship_period(draft: Draft, row: Row, raw: str) -> None:
    """STF-34: the period of the relationship; stands before STF-12 and STF-13."""
    start, end = range_of(draft, raw)
    draft.relationship = (_bound(draft, start), _bound(draft, end))


def _bound(draft: Draft, date: str) -> Bound | None:
    return Bound(draft, date) if date else None


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
    """Kept as sent, and read only where it is needed. PRA-9 stands before PRA-2, and the first PRA before others."""
    have = draft.institution
    if have is None:
        draft.institution = Source(draft, raw)
    elif draft.row.number == 9 and have.row.number != 9:
        draft.leave("another field names the unit", have)
        draft.institution = Source(draft, raw)
    else:
        draft.leave("another field names the unit")


def fallback_organization(draft: Draft) -> tuple[ElementValue, frozenset[str], str] | None:
    """The organisation that PRA-9 or PRA-2 names, what it goes by, and its code (or text)."""
    source = draft.institution
    if source is None:
        return None
    before = draft.row, draft.segment
    draft.row, draft.segment = source.row, source.segment
    found = organization(draft, draft.reader.repetitions(source.text)[0], 1)
    draft.row, draft.segment = before
    if found is None:
        return None
    draft.use(source, "organization", found[0])
    return source.value("organization", found[0]), found[1], found[2]


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
        name, board, status, since = reader.parts(repetition)[:4]
        if not name:
            if board or status or since:
                draft.warn("101", "specialty-missing", "a board or status without the specialty: left out", at, 1)
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
            qualification: JsonObject = {"code": {**value, "text": words_of(value)}}
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
    names, code = NOBODY, ""
    raw = draft.field(2)
    found = organization(draft, draft.reader.repetitions(raw)[0], 1) if raw else None
    if found is not None:
        reference, names, code = found
        values.append(_own(draft, "organization", reference))
    elif (fallback := fallback_organization(draft)) is not None:
        value, names, code = fallback
        values.append(value)
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
    draft.add_unit(Unit(draft, f"ORG:{code}|{taxonomy_code}", "ORG", names, values))


def _own(draft: Draft, element: str, value: object) -> ElementValue:
    """A value for this unit's role alone, from the current field."""
    source = Source(draft)
    draft.use(source, element, value)
    return source.value(element, value)


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
        sent, text = draft.reader.texts(draft.reader.repetitions(raw)[0])[:2]
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
    reader = draft.reader
    repetition = reader.repetitions(raw)[0]
    value = value_of(draft, repetition, 1)
    if not value:
        return
    type_code, extra = type_of(draft, reader.code(repetition, 5))
    namespace, universal_id, universal_type = reader.subparts(repetition, 4)[:3]
    system = system_for(draft.envelope.rules, namespace, universal_id, universal_type, type_code)
    if not system:
        text = "no system for this assigning authority in [authorities] of the feed: the identifier is left out"
        draft.warn("103", "unmapped-authority", text)
        draft.leave("no system for its assigning authority")
        return
    values.append(_own(draft, "identifier", {"system": system, "value": value, **typed(type_code), **extra}))
