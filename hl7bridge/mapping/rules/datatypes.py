"""HL7 v2 data types -> FHIR R4 data types, one repetition at a time.

Each function takes the draft (for its reader, tables and findings) and the repetition's text as sent, and gives FHIR JSON,
None (or nothing in the list) where there is nothing to send. Never an empty string, list or object (R4 ele-1).
HL7 v2.9 chapter 2A; the HL7 v2-to-FHIR guide's data type maps, and facts/mapping.md section 7 where it has gaps.
"""

from __future__ import annotations

from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules.draft import Draft, Row
from hl7bridge.mapping.rules.reading import FieldReader
from hl7bridge.mapping.rules.shapes import is_mail, is_name, is_telephone
from hl7bridge.mapping.rules.tables import Codes
from hl7bridge.mapping.rules.times import ends_before, fhir_date_time, truncated
from hl7bridge.model import JsonObject
from hl7bridge.model.remembering import remembered

BCP_47 = "urn:ietf:bcp:47"
ISO_21090 = "http://hl7.org/fhir/StructureDefinition/iso21090-"
_ASSEMBLY_ORDERS = frozenset({"F", "G"})  # table 0444: family or given name first
EXTENSION = "http://hl7.org/fhir/StructureDefinition/humanname-"
_NOTHING_ELSE = ("",) * 17
_FAMILY_PARTS = ("own-prefix", "own-name", "partner-prefix", "partner-name")


# --- CE, CWE, IS, ID -------------------------------------------------------------------------------------------------


def code_text(text: str) -> str:
    """Text as a FHIR code: single blanks inside."""
    return " ".join(text.split())


def coding_of(target: str, system: str, display: str) -> JsonObject:
    """A Coding from a table's target: `system|code|display`, or a code of the table's own system."""
    if "|" in target:
        system, _, rest = target.partition("|")
        target, _, own_display = rest.partition("|")
        display = own_display or display
    coding = {"code": target}
    if system:
        coding = {"system": system, "code": target}
    if display:
        coding["display"] = display
    return coding


@remembered(4096)
def system_of(rules: FeedRules, name: str) -> str:
    """The URI of a coding system by its HL7 name (CE.3, CWE.3; table 0396, or the feed's authorities); "" if unknown."""
    if not name:
        return ""
    uri = rules.codes["0396"].get(name) or rules.systems_by_authority.get(name)
    if uri:
        return uri
    number = name[3:]
    if name[:3] == "HL7" and len(number) == 4 and number.isascii() and number.isdigit():
        return f"http://terminology.hl7.org/CodeSystem/v2-{number}"
    return ""


def concept(draft: Draft, repetition: str, number: int) -> JsonObject | None:
    """CE, CWE, or a plain code of the current field's table -> CodeableConcept; a code without a system is kept as text."""
    return _concept(draft, _of_row(draft.envelope.rules, draft.row, draft.reader, repetition), number)


def concept_of(draft: Draft, repetition: str, codes: Codes) -> JsonObject | None:
    """The same by a part of the field's table."""
    return _concept(draft, _coded(draft.envelope.rules, draft.row, codes, draft.reader, repetition), 1)


def _concept(draft: Draft, said: tuple[list[JsonObject], str, str], number: int) -> JsonObject | None:
    codings, words, unmapped = said
    if unmapped:
        draft.unmapped(unmapped, draft.row.table, number if number > 1 else 0, 1)
    result: JsonObject = {"coding": [dict(coding) for coding in codings]} if codings else {}
    if words:
        result["text"] = words
    return result or None


@remembered(4096)
def _of_row(rules: FeedRules, row: Row, reader: FieldReader, repetition: str) -> tuple[list[JsonObject], str, str]:
    """Person after person has the same codes."""
    return _coded(rules, row, row.codes, reader, repetition)


def _coded(
    rules: FeedRules, row: Row, codes: Codes, reader: FieldReader, repetition: str
) -> tuple[list[JsonObject], str, str]:
    """The codings, the words beside them (or in their place), and the code that has no entry in the table."""
    if repetition.isalnum():
        code, parts = repetition, None
        text = system_name = ""
    else:
        parts = reader.texts(repetition)
        code, text, system_name = parts[0], parts[1], parts[2]
    codings: list[JsonObject] = []
    local = ""
    target = codes.get(code) if code else ""
    if target:
        if row.system or "|" in target:
            coding = coding_of(target, row.system, text)
            if parts and parts[6] and "|" not in target:
                coding["version"] = parts[6]
            codings.append(coding)
            local = text if coding.get("display") != text else ""
        else:
            code = target  # the site's own word for it
    elif code and (system := system_of(rules, system_name)):
        codings.append(_coding(system, code, text, parts[6] if parts else ""))
        target = ""
    original = ""
    if parts is not None:
        original = parts[8]
        if not codings:
            local = text or code
        for at, version in ((3, 7), (9, 12)):
            if parts[at] and (other_system := system_of(rules, parts[at + 2])):
                codings.append(_coding(other_system, parts[at], parts[at + 1], parts[version]))
    if codings:
        return codings, original or local, ""  # the sender's own words stand beside a standard code
    unmapped = code if target is None else ""
    words = original or text or code
    if not words and parts is not None:
        words = parts[4] or parts[3]
    return [], words, unmapped


def _coding(system: str, code: str, text: str, version: str) -> JsonObject:
    """A Coding as sent, with the version of its system (CWE.7, .8, .13)."""
    coding = coding_of(code_text(code), system, text)
    return {**coding, "version": version} if version else coding


def words_of(value: JsonObject) -> str:
    """What a person reads of a CodeableConcept."""
    for coding in value.get("coding", ()):
        return str(value.get("text") or coding.get("display") or coding["code"])
    return str(value["text"])


# --- PN, XPN ---------------------------------------------------------------------------------------------------------


def human_names(draft: Draft, repetition: str, number: int) -> list[JsonObject]:
    """PN (2.2), XPN -> HumanName, and a second one for what the person is called (XPN.15, 2.7 on).

    Nothing without a family or given name.
    """
    reader = draft.reader
    parts = reader.parts(repetition)
    family, given, middle, suffix, prefix, degree, use_code = parts[:7]
    if not (family or given or middle):
        return []
    for component, part in enumerate((family, given, middle), 1):
        if part and not is_name(part):
            draft.misfit("no part of a name: the name is left out", number if number > 1 else 0, component)
            return []
    use = _name_use(draft, use_code, number)
    name: JsonObject = {"use": use} if use else {}
    if family:
        name["family"] = family
        if reader.subcomponent in repetition and (extensions := _family_extensions(draft, repetition)):
            name["_family"] = {"extension": extensions}
    if given:
        name["given"] = [given, middle] if middle else [given]
    elif middle:
        name["given"] = [middle]
    if prefix:
        name["prefix"] = [prefix]
    professional = parts[13]
    if suffix or degree or professional:
        name["suffix"] = [part for part in dict.fromkeys((suffix, degree, professional)) if part]
    if parts[9] or parts[11] or parts[12]:
        start, end = parts[11], parts[12]
        if not (start or end):
            start, end = reader.subparts(repetition, 10)[:2]
        if period := period_of(draft, start, end):
            name["period"] = period
    if parts[10] in _ASSEMBLY_ORDERS:
        name["extension"] = [{"url": EXTENSION + "assembly-order", "valueCode": parts[10]}]
    called = parts[14]
    return [name, {"use": "nickname", "given": [called]}] if called else [name]


def _name_use(draft: Draft, code: str, number: int) -> str:
    if not code:
        return "official" if number == 1 else ""
    use = draft.row.codes.get(code)
    if use is None:
        draft.unmapped(code, draft.row.table, number if number > 1 else 0, 7, lost=True)
        return ""
    return use


def _family_extensions(draft: Draft, repetition: str) -> list[JsonObject]:
    """FN.2 to FN.5: the parts of the surname (own and partner's)."""
    parts = draft.reader.subparts(repetition, 1)
    return [
        {"url": EXTENSION + name, "valueString": part}
        for name, part in zip(_FAMILY_PARTS, parts[1:5], strict=True)
        if part
    ]


# --- TN, XTN ---------------------------------------------------------------------------------------------------------


def contact_points(draft: Draft, repetition: str, number: int) -> list[JsonObject]:
    """TN, XTN -> ContactPoints: a number and an e-mail address in one repetition (2.3 to 2.6 allow it) are two."""
    if draft.reader.component not in repetition:
        parts = [draft.reader.leaf(repetition), *_NOTHING_ELSE]
    else:
        parts = draft.reader.parts(repetition)
    text, use_code, equipment, address = *parts[:3], without_scheme(parts[3])
    use = _contact_use(draft, use_code, number)
    system = draft.codes["0202"].get(equipment, "")
    if equipment and not system:
        draft.unmapped(equipment, "0202", number if number > 1 else 0, 3, lost=True)
    use = draft.codes["0202-use"].get(equipment) or use
    if use_code == "BPN" and system in ("", "phone"):
        system = "pager"
    value = without_scheme(_number(parts))
    if system == "email" or use_code == "NET":
        value, address = address or value, ""
        system = ("url" if "://" in value else "other") if value and "@" not in value else "email"
    if value and not system:
        system = "email" if "@" in value else "phone"
    if value and not _is_plausible(system, value):
        draft.misfit(f"no value that can be of this kind ({system}): left out", number if number > 1 else 0)
        value = ""
    found = []
    if value:
        found.append(_contact_point(draft, system, value, use, parts))
    if address and "@" in address:
        beside = [*parts[:17], "" if found else parts[17]]  # one rank is of one of them
        found.append(_contact_point(draft, "email", address, "" if use == "mobile" else use, beside))
    if not found and not any((text, use_code, equipment)) and not value and address:
        draft.misfit("an e-mail address without @", number if number > 1 else 0, 4)
    return found


def _is_plausible(system: str, value: str) -> bool:
    if system in ("phone", "fax", "pager", "sms"):
        return is_telephone(value)
    return is_mail(value) if system == "email" else True


def without_scheme(value: str) -> str:
    """The value of `tel:` and `mailto:` URIs."""
    scheme, colon, rest = value.partition(":")
    return rest.strip() if colon and rest and scheme.casefold() in ("tel", "mailto") else value


def _contact_use(draft: Draft, code: str, number: int) -> str:
    if not code:
        return ""
    use = draft.row.codes.get(code)
    if use is not None:
        return use
    if "@" in code or sum(character.isdigit() for character in code) > 2:
        draft.misfit("XTN.2 holds a number or an address instead of a use", number if number > 1 else 0, 2)
    else:
        draft.unmapped(code, draft.row.table, number if number > 1 else 0, 2, lost=True)
    return ""


def _number(parts: list[str]) -> str:
    """The number as one text: XTN.5 to .8 where they are sent (`+44 113 4960123 X12`), else XTN.12, else XTN.1."""
    country, area, local, extension = parts[4:8]
    if not local:
        return parts[11] or parts[0]
    value = f"{area} {local}" if area else local
    if country := country.lstrip("+0 "):  # written +1, 1, 001
        value = f"+{country} {value}"
    return f"{value} X{extension}" if extension else value


def _contact_point(draft: Draft, system: str, value: str, use: str, parts: list[str]) -> JsonObject:
    point: JsonObject = {"system": system, "value": value}
    if use:
        point["use"] = use
    start, end, rank = parts[12], parts[13], parts[17]
    if (start or end) and (period := period_of(draft, start, end)):
        point["period"] = period
    if rank and len(rank) < 5 and rank.isascii() and rank.isdigit() and int(rank) > 0:
        point["rank"] = int(rank)
    return point


# --- AD, XAD ---------------------------------------------------------------------------------------------------------


def address(draft: Draft, repetition: str, number: int) -> JsonObject | None:
    """AD, XAD -> Address. None for a birth place, and for one whose components are visibly shifted (said)."""
    reader = draft.reader
    parts = reader.parts(repetition)
    street, other, city, state, postal_code, country, kind = parts[:7]
    county = county_of(reader, repetition)
    if _address_is_shifted(draft, parts, number):
        return None
    codes = draft.row.codes
    use = codes.get(kind, "") if kind else ""
    if use == "birth":
        draft.leave("a birth place")
        return None
    if kind and kind not in codes:
        draft.unmapped(kind, draft.row.table, number if number > 1 else 0, 7, lost=True)
    if reader.subcomponent in repetition and not street:
        # SAD: without the whole line, the street's name and the number of the dwelling, as sent.
        street = " ".join(part for part in reader.subparts(repetition, 1)[1:3] if part)
    found: JsonObject = {}
    if use:
        found["use"] = use
    if place := draft.codes["0190-type"].get(kind):
        found["type"] = place
    lines = [street] if street else []
    if other:
        lines.append(other)
    if parts[18]:
        lines.append(parts[18])
    if not (lines or city or postal_code or state):
        if country or county:
            draft.leave("no street, no city, no postal code and no state")
        return None
    if lines:
        found["line"] = lines
    if city:
        found["city"] = city
    if county:
        found["district"] = county
    if state:
        found["state"] = state
    if postal_code:
        found["postalCode"] = postal_code
    if country:
        found["country"] = country
    if parts[11] or parts[12] or parts[13]:
        start, end = parts[12], parts[13]
        if not (start or end):
            start, end = reader.subparts(repetition, 12)[:2]
        if period := period_of(draft, start, end):
            found["period"] = period
    if kind == "HV":
        found.setdefault("extension", []).append({"url": ISO_21090 + "AD-use", "valueCode": kind})
    if parts[9]:
        found.setdefault("extension", []).append({"url": ISO_21090 + "ADXP-censusTract", "valueString": parts[9]})
    return found


def county_of(reader: FieldReader, repetition: str) -> str:
    """XAD.9: the county's text (CWE.9, else CWE.2 in sub-components). Its code says something to people only where the
    component is a plain one (IS, before 2.6)."""
    parts = reader.subparts(repetition, 9)
    return parts[8] or parts[1] or ("" if any(parts[1:9]) else parts[0])


def _address_is_shifted(draft: Draft, parts: list[str], number: int) -> bool:
    """An address type where the postal code or the country belongs, or a lone telephone number: seen with missing `^`.

    Such an address is not sent: its use is not known, so that a home address could pass for another.
    """
    street, other, city, _, postal_code, country, kind = parts[:7]
    codes = draft.row.codes
    shifted = not kind and ((len(country) == 1 and country in codes) or postal_code in codes)
    alone = street and not (other or city or postal_code) and not any(map(str.isalpha, street))
    if shifted or alone:
        text = "an address type stands in another component" if shifted else "an address without a letter"
        draft.misfit(text, number if number > 1 else 0)
        return True
    return False


# --- DR, TS, DTM, DT, DIN --------------------------------------------------------------------------------------------


def date_time(draft: Draft, text: str, repetition: int = 0, component: int = 0) -> str:
    """A FHIR dateTime, or "" with a warning where the text is not a valid time."""
    if not text:
        return ""
    found = fhir_date_time(text, draft.zone)
    if not found:
        draft.warn("102", "invalid-time", "not a valid date or time (YYYYMMDD...): left out", repetition, component)
    return found


def time_field(draft: Draft, raw: str) -> str:
    """The text of a TS, DTM or DT field, cut to the precision that TS.2 states (2.3 to 2.5)."""
    parts = draft.reader.parts(raw.split(draft.reader.repetition, 1)[0])
    return truncated(parts[0], parts[1])


def period_of(draft: Draft, start: str, end: str) -> JsonObject | None:
    """A Period of two HL7 times. One the wrong way round is left out with a warning (R4 per-1)."""
    return checked_period(draft, date_time(draft, start), date_time(draft, end))


def checked_period(draft: Draft, start: str, end: str) -> JsonObject | None:
    """A Period of two FHIR dateTimes, either may be ""; None with a warning where it ends before it starts."""
    if start and end and ends_before(end, start):
        draft.warn("102", "period-reversed", "a period ends before it starts: left out")
        return None
    period: JsonObject = {}
    if start:
        period["start"] = start
    if end:
        period["end"] = end
    return period or None


def range_of(draft: Draft, raw: str) -> tuple[str, str]:
    """DR -> the two FHIR dateTimes, "" where absent. Sub-components (TS in DR) are cut by the reader."""
    parts = draft.reader.parts(raw.split(draft.reader.repetition, 1)[0])
    return date_time(draft, parts[0], component=1), date_time(draft, parts[1], component=2)


NOBODY: frozenset[str] = frozenset()


def names_of(code: str, text: str) -> frozenset[str]:
    """What a unit goes by, casefolded."""
    if code and text:
        return frozenset((code.casefold(), text.casefold()))
    return frozenset(((code or text).casefold(),)) if code or text else NOBODY


def institution_date(draft: Draft, repetition: str, number: int) -> tuple[str, frozenset[str]] | None:
    """DIN (CM before 2.3.1): the date, and the names of the institution (code and text, casefolded).

    The institution is a CE in sub-components, of which the first may be empty.
    """
    reader = draft.reader
    text, *rest = reader.parts(repetition)
    found = fhir_date_time(text, draft.zone)
    if not found:
        if text:
            draft.misfit("not a date", number if number > 1 else 0, 1)
        elif any(rest):
            draft.warn("101", "date-missing", "an institution without a date: left out", number if number > 1 else 0, 1)
        return None
    if reader.component not in repetition:
        return found, NOBODY
    names = reader.subparts(repetition, 2)
    return found, names_of(names[0], names[1])


def display(draft: Draft, raw: str, *components: int) -> str:
    """The first of these components that has text, of the first repetition: the name in an XON (1), XCN (2), CWE (2, 1)."""
    if not raw:
        return ""
    parts = draft.reader.parts(raw.split(draft.reader.repetition, 1)[0])
    for component in components:
        if parts[component - 1]:
            return parts[component - 1]
    return ""
