"""Rules for Practitioner: name, telecom, address, gender, birthDate (STF), qualification (EDU, CER), communication (LAN)."""

from __future__ import annotations

from hl7bridge.mapping.rules.datatypes import (
    BCP_47,
    address,
    checked_period,
    coding_of,
    concept,
    concept_of,
    contact_points,
    date_time,
    display,
    human_names,
    time_field,
    without_scheme,
    words_of,
)
from hl7bridge.mapping.rules.draft import Draft, Row, field_rule, segment_rule
from hl7bridge.mapping.rules.identifiers import is_private, organization_named, value_of
from hl7bridge.mapping.rules.said import frozen
from hl7bridge.mapping.rules.shapes import is_mail
from hl7bridge.mapping.rules.tables import Codes
from hl7bridge.mapping.rules.times import fhir_date
from hl7bridge.mapping.withholding import HOME, WORK, address_kind, telecom_kind
from hl7bridge.model import ElementValue, JsonObject

LONGEST_LIFE = 130  # years
_SHIFTED = "the fields of this segment are shifted: nothing is made of it"


@field_rule
def person_name(draft: Draft, row: Row, raw: str) -> None:
    """STF-3: the first is the official name unless its type says otherwise."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        for name in human_names(draft, repetition, number):
            draft.person("name", name, number)


@field_rule
def gender(draft: Draft, row: Row, raw: str) -> None:
    """STF-5: table 0001; another code is `unknown`, which R4 requires to be said."""
    code = draft.reader.first(raw)
    if not code:
        return
    found = row.codes.get(code)
    if found is None:
        if any(character.isdigit() for character in code):
            draft.misfit("not a code for the sex")
            return
        draft.unmapped(code, row.table, lost=True)
        found = "unknown"
    if found:
        draft.person("gender", found)


@field_rule
def birth_date(draft: Draft, row: Row, raw: str) -> None:
    """STF-6: the date alone, as precise as sent."""
    text = time_field(draft, raw)
    found = fhir_date(text)
    now = draft.envelope.now
    if found and (found > now.date().isoformat()[: len(found)] or int(found[:4]) < now.year - LONGEST_LIFE):
        draft.misfit("no date of birth of anybody who lives: it lies ahead, or too far back")
    elif found:
        draft.person("birthDate", found)
    elif text:
        draft.misfit("not a date")


@field_rule
def phone(draft: Draft, row: Row, raw: str) -> None:
    """STF-10: what is for work is for the person's roles, too."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        if not repetition:
            continue
        kind = telecom_kind(draft, draft.reader.parts(repetition))
        for point in contact_points(draft, repetition, number):
            value = draft.person("telecom", point, number, kind)
            if kind == WORK:
                draft.share(value)


@field_rule
def email(draft: Draft, row: Row, raw: str) -> None:
    """STF-15: e-mail addresses, unless STF-10 gave the same."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        parts = draft.reader.parts(repetition)
        address = next((without_scheme(part) for part in parts if is_mail(part)), "")  # some send an XTN here
        if not address:
            if parts[0]:
                draft.misfit("an e-mail address without @", number if number > 1 else 0)
        elif _has_address(draft, address):
            draft.leave("another field gives the same address")
        else:
            kind = telecom_kind(draft, parts)  # an address by itself says neither, and is not held back as a number is
            draft.person("telecom", {"system": "email", "value": address}, number, HOME if kind == HOME else "")


def _has_address(draft: Draft, address: str) -> bool:
    return draft.person_said.has(("telecom", address), draft.practitioner)


@field_rule
def preferred_contact(draft: Draft, row: Row, raw: str) -> None:
    """STF-16: the first telecom of that kind gets rank 1, here and in the roles."""
    kind = draft.coded(row, raw)
    if kind is None:
        return
    preferred = [
        (have.kind == HOME and kind != "home", index)  # what many destinations do not get comes last
        for index, have in enumerate(draft.practitioner)
        if have.element == "telecom" and is_of_kind(have, kind)
    ]
    if not preferred:
        draft.leave("no telecom of the preferred kind")
        return
    first = min(preferred)[1]
    ranked: dict[int, ElementValue] = {}
    for index, have in enumerate(draft.practitioner):
        if have.element == "telecom" and (index == first or have.value.get("rank") == 1):
            ranked[id(have)] = draft.practitioner[index] = _with_rank(have, 1 if index == first else 0)
    draft.role[:] = [ranked.get(id(have), have) for have in draft.role]
    draft.decide("Practitioner.telecom.rank", 1)


def _with_rank(have: ElementValue, rank: int) -> ElementValue:
    """A telecom with that rank; 0 takes it away: one alone is preferred."""
    value = {key: content for key, content in have.value.items() if key != "rank"}
    return have._replace(value={**value, "rank": rank} if rank else value)


def is_of_kind(telecom: ElementValue, kind: str) -> bool:
    """Whether a ContactPoint is what table 0185 calls pager, mobile, email, fax, home or work (phone)."""
    point = telecom.value
    if kind in ("pager", "email", "fax"):
        return bool(point["system"] == kind)
    if kind == "mobile":
        return bool(point["system"] == "phone" and point.get("use") == kind)
    return bool(point["system"] == "phone" and kind in (point.get("use"), telecom.kind))


@field_rule
def postal_address(draft: Draft, row: Row, raw: str) -> None:
    """STF-11: office and home addresses; never a birth place."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        if repetition and (found := address(draft, repetition, number)) is not None:
            draft.person("address", found, number, address_kind(draft, repetition))


# --- LAN -------------------------------------------------------------------------------------------------------------


@segment_rule
def language(draft: Draft) -> None:
    """LAN: one language once, though a segment stands for each ability; not where the proficiency (LAN-4) is none."""
    proficiency = draft.reader.first(draft.field(4))
    raw = draft.field(2)
    if not raw:
        return
    if (draft.segment.name, draft.segment.occurrence) in draft.shifted:
        draft.leave(_SHIFTED)
        return
    if proficiency and draft.codes["0404"].get(proficiency) == "none":
        draft.leave("LAN-4 says: none")
        return
    code, text, system = draft.reader.texts(raw.split(draft.reader.repetition, 1)[0])[:3]
    if code and not any(character.isalpha() for character in code):
        draft.misfit("no language: left out")
        return
    value: JsonObject = {}
    if tag := language_tag(draft, code, system):
        value["coding"] = [coding_of(tag, BCP_47, text)]
    elif code:
        draft.unmapped(code, draft.row.table, component=1)
    words = text or ("" if tag else code)
    if words:
        value["text"] = words
    if not value:
        return
    if draft.person_said.has(("communication", frozen(value)), draft.practitioner):
        draft.leave("the language is said already")
        return
    draft.person("communication", value)


def language_tag(draft: Draft, code: str, system: str) -> str:
    """The BCP 47 tag of a language code (`FRE`, `fr`, `fr-CA`), "" where it is none or is of a local table."""
    codes = draft.row.codes
    foreign = bool(system) and not system.startswith(("ISO", "HL70296", "RFC", "IETF", "BCP", BCP_47))
    tag = codes.get(code, "")
    if tag and not (foreign and tag == code):
        return tag
    if foreign:
        return ""
    base, *rest = code.replace("_", "-").split("-")
    tag = codes.get(base.lower(), "")
    if tag and rest and len(rest[0]) == 4 and rest[0].isascii() and rest[0].isalpha():
        tag, rest = f"{tag}-{rest[0].title()}", rest[1:]  # the script: zh-Hant
    if not tag or not rest:
        return tag
    region = rest[0]
    if len(rest) == 1 and len(region) == 2 and region.isascii() and region.isalpha():
        return f"{tag}-{region.upper()}"
    return ""


# --- EDU, CER --------------------------------------------------------------------------------------------------------


@segment_rule
def education(draft: Draft) -> None:
    """EDU: the degree (EDU-2) or the subject (EDU-9), when it was granted, by which school."""
    granted = ""
    if raw := draft.field(5):
        text = time_field(draft, raw)
        granted = fhir_date(text)
        if text and not granted:
            draft.misfit("not the date on which the degree was granted")
    school = organization_named(draft, draft.field(6))
    subject = display(draft, draft.field(9), 9, 2, 1)
    degree = draft.field(2)
    code: JsonObject | None = None
    if degree:
        code = _degree(draft, degree)
    if (draft.segment.name, draft.segment.occurrence) in draft.shifted:
        draft.leave(_SHIFTED)
        return
    if code is None:
        if not subject:
            return
        draft.field(9)
        code = {"text": subject}
    elif subject:
        code["text"] = f"{code['text']} ({subject})" if "text" in code else subject
    qualification: JsonObject = {"code": code}
    if granted:
        qualification["period"] = {"start": granted}
    if school:
        qualification["issuer"] = school
    draft.person("qualification", qualification)


def _degree(draft: Draft, raw: str) -> JsonObject | None:
    """A degree of table 0360, also written `M.D.`; else what CWE or the plain text says.

    The table is asked only where the code is said to be of it, or of none (CWE.3), or the feed's own table has the code: a
    Bachelor of Surgery of somebody's table (`BS^Bachelor of Surgery^99LOC`) is no Bachelor of Science.
    """
    repetition, row = draft.reader.repetitions(raw)[0], draft.row
    code, _, system_name = draft.reader.texts(repetition)[:3]
    codes = row.codes
    if system_name not in ("", f"HL7{row.table}") and code not in draft.envelope.rules.tables.get(row.table, {}):
        codes = {}
    elif target := degree_of(codes, code):
        codes = {code: target}
    return concept_of(draft, repetition, codes)


def degree_of(codes: Codes, text: str) -> str:
    """What table 0360 makes of a degree, also written `M.D.`; "" where it is none of the table's."""
    return codes.get(text.replace(".", "").replace(" ", "").upper(), "") if text else ""


@segment_rule
def certificate(draft: Draft) -> None:
    """CER: a certificate or licence. Without a type (CER-10) or domain (CER-11) R4 has no place for it: warned.

    What is revoked needs only its number (CER-2): the plan looks for it among the person's qualifications."""
    revoked = draft.purpose.revokes
    first = draft.reader.repetitions
    sent = draft.field(2)
    serial = value_of(draft, first(sent)[0], 1)
    if sent and not serial and draft.findings and draft.findings[-1].local == "identifier-unreadable":
        return  # which certificate is meant, its name alone does not tell
    domain = concept(draft, first(raw)[0], 1) if (raw := draft.field(11)) else None
    code = concept(draft, first(raw)[0], 1) if (raw := draft.field(10)) else None
    if code is None:
        code, domain = domain, None
        if code is not None:
            draft.field(11)
    if code is None and not (revoked and serial):
        draft.row = draft.plan.rows.get(10) or next(iter(draft.plan.rows.values()))
        draft.warn("101", "qualification-without-code", "neither CER-10 nor CER-11 says what was granted: left out")
        return
    if code is not None and domain is not None:
        code["text"] = f"{words_of(code)} ({words_of(domain)})"
    row = draft.row
    qualification: JsonObject = {"code": code} if code is not None else {}
    issued_by = draft.field(4)
    issuer = organization_named(draft, issued_by) or _person_named(draft, draft.field(5))
    if serial and _is_private_serial(draft, issued_by):
        draft.field(2)
        draft.warn(
            "103", "private-number", "a number of the person's private life (SSN, tax, driver licence): left out"
        )
        serial = ""
    if serial:
        qualification["identifier"] = [_serial(draft, serial, str(issuer.get("display", "")))]
    start = _date_of(draft, 25) or _date_of(draft, 24) or _date_of(draft, 23)
    # Of the dates of a revocation, an inactivation and an expiry the earliest is the end. What has ended without a date of
    # that has ended now, however far off its expiry is.
    ends = [end for number in (29, 26) if (end := _date_of(draft, number))]
    status = draft.reader.first(draft.field(31))
    if not ends and (revoked or (status and draft.row.codes.get(status) == "ended")):
        ends.append((draft.effective or draft.envelope.now.isoformat())[:10])
    if expiry := _date_of(draft, 27):
        ends.append(expiry)
    end = min(ends, key=lambda text: text[:10].ljust(10, "~"), default="")  # a year or month ends behind its last day
    draft.row = row
    if (draft.segment.name, draft.segment.occurrence) in draft.shifted:
        draft.leave(_SHIFTED)
        return
    if period := checked_period(draft, start, end):
        qualification["period"] = period
    if issuer:
        qualification["issuer"] = issuer
    draft.person("qualification", qualification)


def _is_private_serial(draft: Draft, issued_by: str) -> bool:
    """Whether CER-2 is a number that destinations may withhold, by the certificate's type (CER-10) or issuer (CER-4)."""
    reader = draft.reader
    issuer, kind = reader.repetitions(issued_by)[0], reader.repetitions(draft.field(10))[0]
    authority = reader.subparts(issuer, 6)[:3]
    return is_private(draft, reader.code(kind, 1), reader.parts(issuer)[0]) or is_private(draft, "", *authority)


def _date_of(draft: Draft, number: int) -> str:
    raw = draft.field(number)
    return date_time(draft, time_field(draft, raw)) if raw else ""


def _person_named(draft: Draft, raw: str) -> JsonObject:
    """CER-5, XCN: a Reference to whoever issued it, by the whole name, else the number unless it is a private one."""
    if not raw:
        return {}
    reader = draft.reader
    repetition = reader.repetitions(raw)[0]
    parts = reader.parts(repetition)
    number, family, given, middle, suffix, prefix = parts[:6]
    if " " in number:
        draft.misfit("words instead of a person's number: left out", 0, 1)
        return {}
    if is_private(draft, parts[12], *reader.subparts(repetition, 9)[:3]):
        number = ""
    words = " ".join(part for part in (prefix, given, middle, family, suffix) if part and family) or number
    return {"display": words} if words else {}


def _serial(draft: Draft, serial: str, issuer: str) -> JsonObject:
    """CER-2 as an Identifier: of the system that the feed's table gives the issuer, else with the issuer's name."""
    identifier: JsonObject = {"value": serial}
    if system := draft.envelope.rules.systems_by_authority.get(issuer):
        identifier = {"system": system, "value": serial}
    elif issuer:
        identifier["assigner"] = {"display": issuer}
    return identifier
