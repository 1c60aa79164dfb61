"""Identifiers of a person: which system they are of, and whether their check digit is right.

The system follows facts/mapping.md section 7.1: the site's table for the very authority, a national system by type, a
universal id (HD.2, HD.3), the site's table by namespace. Without one the identifier stays in the change with system "",
the plan leaves it out, and a warning says so.
"""

from __future__ import annotations

from functools import cache
from uuid import UUID

from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules.datatypes import period_of
from hl7bridge.mapping.rules.draft import Draft, Row, field_rule
from hl7bridge.mapping.rules.said import FEW, NOWHERE, same_of_few
from hl7bridge.mapping.rules.tables import named
from hl7bridge.mapping.rules.times import fhir_date
from hl7bridge.model import JsonObject, StaffIdentifier
from hl7bridge.model.remembering import remembered

NPI = "http://hl7.org/fhir/sid/us-npi"
DEA = "urn:oid:2.16.840.1.113883.4.814"
SSN = "http://hl7.org/fhir/sid/us-ssn"


def npi_is_valid(text: str) -> bool:
    """Whether text is a US National Provider Identifier: ten digits from 1 or 2 on, Luhn's check over `80840` before it."""
    if len(text) != 10 or not (text.isascii() and text.isdigit()) or text[0] not in "12":
        return False
    total = 24  # what 80840 adds
    for place, digit in enumerate(text):
        number = int(digit)
        if place % 2 == 0:
            number = number * 2 if number < 5 else number * 2 - 9
        total += number
    return total % 10 == 0


def dea_is_valid(text: str) -> bool:
    """Whether text is a US DEA registration number: a letter, a letter or 9, seven digits of which the last checks the
    others; a suffix after a hyphen names the user of an institution's number."""
    number = text.partition("-")[0].upper()
    digits = number[2:]
    if len(number) != 9 or not number.isascii() or not digits.isdigit():
        return False
    if not number[0].isalpha() or not (number[1].isalpha() or number[1] == "9"):
        return False
    values = [int(digit) for digit in digits]
    return (values[0] + values[2] + values[4] + 2 * (values[1] + values[3] + values[5])) % 10 == values[6]


@remembered(4096)
def system_for(rules: FeedRules, namespace: str, universal_id: str, universal_type: str, type_code: str) -> str:
    """The identifier system of an assigning authority (HD) and an identifier type, "" if nothing gives one.

    In this order: what the feed's table says of the authority and the type together, or of the universal id; the universal
    id itself, for it says whose number it is whatever the type suggests; where none is stated, the system that numbers of
    the type have by themselves (NPI, DEA, SS); the feed's table by namespace.
    """
    by_authority = rules.systems_by_authority
    for name in (universal_id, namespace):
        if name and type_code and (system := by_authority.get(f"{name}:{type_code}")):
            return system
    if universal_id:
        if system := by_authority.get(universal_id) or universal_system(universal_id, universal_type):
            return system
    elif system := _national().get(type_code, ""):
        return system
    return by_authority.get(namespace, "") if namespace else ""


@remembered(1024)
def contradicts(universal_id: str, universal_type: str, type_code: str, system: str) -> bool:
    """Whether a type says that the number is of another registry than the universal id that gave its system. Not where the
    feed's table settled it (`[authorities]` "2.16.840.1.113883.19:NPI")."""
    if not type_code or not system or system != universal_system(universal_id, universal_type):
        return False
    of_type, of_system = _national().get(type_code, ""), _type_of_system().get(system, "")
    if of_type:
        return of_type != system
    return bool(of_system) and type_code in _type_of_system().values() and type_code != of_system


@cache
def _national() -> dict[str, str]:
    return named("national")


@cache
def _registered() -> dict[str, str]:
    return named("registered")


@cache
def _type_of_system() -> dict[str, str]:
    return {system: type_code for section in ("national", "typed") for type_code, system in named(section).items()}


@remembered(1024)
def universal_system(universal_id: str, universal_type: str) -> str:
    """HD.2 and HD.3 -> URI: ISO object identifiers, UUIDs, absolute URIs; "" for what is not one (DNS needs a table).
    Without HD.3 only a registry that everybody knows by its object identifier."""
    kind = universal_type.upper()
    if not kind:
        known = f"urn:oid:{universal_id}"
        return _registered().get(universal_id, known if known in _type_of_system() else "")
    if kind == "ISO":
        arcs = universal_id.split(".")
        if len(arcs) > 1 and arcs[0] in ("0", "1", "2") and all(_is_arc(arc) for arc in arcs):
            return _registered().get(universal_id, f"urn:oid:{universal_id}")
    elif kind in ("UUID", "GUID"):
        try:
            return f"urn:uuid:{UUID(universal_id)}"
        except ValueError:
            return ""
    elif kind == "URI":
        scheme, colon, rest = universal_id.partition(":")
        if colon and rest and scheme.isascii() and scheme.isalpha() and universal_id.isprintable():
            return universal_id if not any(character in universal_id for character in ' <>"{}|\\^`') else ""
    return ""


def type_of_authority(namespace: str, universal_id: str, universal_type: str) -> str:
    """The type (table 0203) of the numbers that an authority gives, where everybody knows it: SS of USSSA; else ""."""
    system = universal_system(universal_id, universal_type) if universal_id else named("authorities").get(namespace, "")
    return _type_of_system().get(system, "")


PRIVATE = frozenset({"SS", "DL", "TAX"})
"""Types of the numbers of a private person, which destinations may withhold."""

_PRIVATE_REGISTRIES = frozenset({"USSSA", "SSA", "SOCIAL SECURITY ADMINISTRATION", "IRS", "INTERNAL REVENUE SERVICE"})


def is_private(draft: Draft, type_text: str, registry: str, universal_id: str = "", universal_type: str = "") -> bool:
    """Whether a number is a private person's, by its type (table 0203) or by who gave it (an HD, or its name alone).

    Identifiers are withheld by these. Elsewhere, as of a certificate or of whoever granted it, such a number is left out.
    """
    kinds = {draft.codes["0203"].get(type_text.upper(), ""), type_of_authority(registry, universal_id, universal_type)}
    if not universal_id:
        kinds.add(type_of_authority("", registry, ""))
    return not kinds.isdisjoint(PRIVATE) or registry.upper() in _PRIVATE_REGISTRIES


def _is_arc(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def type_of(draft: Draft, code: str) -> tuple[str, JsonObject]:
    """An identifier type (tables 0203 and 0338) -> its v2-0203 code, and what an unknown one adds to Identifier."""
    if not code:
        return "", {}
    known = draft.codes["0203"].get(code) or draft.row.codes.get(code) or draft.codes["0203"].get(code.upper())
    return (known, {}) if known else ("", {"type": {"text": code}})


def typed(type_code: str) -> JsonObject:
    """Identifier.type of a v2-0203 code; {} where there is none."""
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": type_code}
    return {"type": {"coding": [coding]}} if type_code else {}


def organization_named(draft: Draft, raw: str) -> JsonObject:
    """XON -> a logical Reference(Organization): its name, else its number, and its identifier. {} where nothing names it.

    The identifier is XON.10 (before 2.5 XON.3) with its type (XON.7), of the system that its authority (XON.6) or type has,
    as of a CX; where none is known, of the authority by name. A number that no authority gave says nothing beside a name.
    """
    if not raw:
        return {}
    reader = draft.reader
    repetition = reader.repetitions(raw)[0]
    parts = reader.parts(repetition)
    name, number = parts[0], parts[9] or parts[2]
    reference: JsonObject = {}
    if name and not any(character.isalpha() for character in name):
        draft.misfit("no name of an organisation: left out", 0, 1)
        return reference
    if number:
        namespace, universal_id, universal_type = reader.subparts(repetition, 6)[:3]
        type_code, extra = type_of(draft, reader.code(repetition, 7))
        system = system_for(draft.envelope.rules, namespace, universal_id, universal_type, type_code)
        if is_private(draft, type_code, namespace, universal_id, universal_type):
            number = ""  # the school or board is one person: nobody else's business
        authority = {"system": system} if system else _assigned_by(namespace or universal_id)
        if authority and (value := number and _checked(draft, 1, number, system, type_code, 10 if parts[9] else 3)):
            reference["identifier"] = {**typed(type_code), **authority, "value": value, **extra}
    if words := name or number:
        reference["display"] = words
    return reference


def _assigned_by(authority: str) -> JsonObject:
    return {"assigner": {"display": authority}} if authority else {}


def add(draft: Draft, number: int, value: str, system: str, authority: str, type_code: str, extra: JsonObject) -> None:
    """Take an identifier of the current field's repetition `number`, unless its check digit is wrong, or another field
    gives it already. One without a system is kept, and warned about."""
    if not type_code:
        type_code = _type_of_system().get(system, "")
    if type_code in _CHECKED or system in _CHECKED:
        value = _checked(draft, number, value, system, type_code)
        if not value:
            return
    one_thing, other = system in _type_of_system(), NOWHERE
    if len(draft.identifiers) <= FEW:
        same = same_of_few(draft.identifiers, value, system, authority, type_code, one_thing=one_thing)
    else:
        same = draft.said.follow(draft.identifiers).same(value, system, authority, type_code, one_thing=one_thing)
    if system and draft.row.label == "PRA-6":
        other = draft.said.follow(draft.identifiers).other_of_staff(value, system)
    if same < other:
        draft.leave("says again what another field says")
        return
    if other < NOWHERE:
        text = "STF-2 gives another value of the same system: STF-2 stands"
        draft.warn("103", "identifier-conflict", text, number if number > 1 else 0, 1)
        return
    if not system:
        if value == draft.key and not authority:
            draft.leave("the staff key again")
            return
        text = "the identifier names no assigning authority: it is left out"
        if authority:
            text = "no system for this assigning authority in [authorities] of the feed: the identifier is left out"
        draft.warn("103", "unmapped-authority", text, number if number > 1 else 0)
        if draft.trace is not None:
            draft.trace.unmapped.append((draft.row.label, "authorities", authority))
    draft.identify(StaffIdentifier(value, system, authority, type_code, draft.provenance(number), extra))


_CHECKED = frozenset({NPI, "NPI", DEA, "DEA", SSN})


def _checked(draft: Draft, number: int, value: str, system: str, type_code: str, component: int = 1) -> str:
    """The value in the form that its system wants; "" with a warning where it has another form or a wrong check digit."""
    at = number if number > 1 else 0
    if system == SSN:
        digits = value.replace("-", "").replace(" ", "")
        if len(digits) == 9 and digits.isascii() and digits.isdigit():
            return digits
        draft.warn("102", "ssn-digits", "not a social security number (nine digits): left out", at, component)
        return ""
    if (system == NPI or type_code == "NPI") and not npi_is_valid(value):
        draft.warn("102", "npi-check-digit", "not a valid NPI (ten digits, check digit): left out", at, component)
        return ""
    if (system == DEA or type_code == "DEA") and not dea_is_valid(value):
        draft.warn("102", "dea-check-digit", "not a valid DEA number (check digit): left out", at, component)
        return ""
    return value


def value_of(draft: Draft, repetition: str, number: int) -> str:
    """The identifier that a repetition begins with, whole; "" where there is none, or where it would not survive (said)."""
    value = draft.reader.identifier(repetition)
    if value is None:
        text = (
            "a character or escape sequence of the identifier would be lost: left out, it is taken whole or not at all"
        )
        draft.warn("102", "identifier-unreadable", text, number if number > 1 else 0, 1)
    return value or ""


@field_rule
def staff_identifier(draft: Draft, row: Row, raw: str) -> None:
    """STF-2: CX, or before 2.3.1 CE (whose third component names the authority)."""
    envelope, reader = draft.envelope, draft.reader
    for number, repetition in enumerate(reader.repetitions(raw), 1):
        parts = reader.parts(repetition)
        value, third, namespace = value_of(draft, repetition, number), parts[2], parts[3]
        if not value:
            continue
        type_text = reader.code(repetition, 5)
        type_code, extra = type_of(draft, type_text)
        universal_id = universal_type = ""
        if reader.subcomponent in repetition:
            namespace, universal_id, universal_type = reader.subparts(repetition, 4)[:3]
        elif not (namespace or type_text) and envelope.version < (2, 3, 1):
            namespace = third
        authority = namespace or universal_id
        system = system_for(envelope.rules, namespace, universal_id, universal_type, type_code)
        if not (system or authority):
            system, authority = _without_authority(draft, parts, type_text, type_code, number)
        if contradicts(universal_id, universal_type, type_code, system):
            text = "the type is of another registry than the authority's universal id, which stands ([authorities] OID:TYPE)"
            draft.warn("103", "type-contradicts-authority", text, number if number > 1 else 0, 5)
        if (parts[6] or parts[7]) and (period := period_of(draft, parts[6], parts[7])):
            extra["period"] = period
        add(draft, number, value, system, authority, type_code, extra)


def _without_authority(draft: Draft, parts: list[str], type_text: str, type_code: str, number: int) -> tuple[str, str]:
    """CX.4 is empty: other components may name an authority that the feed's table knows; which one it was is said."""
    by_authority = draft.envelope.rules.systems_by_authority
    if draft.row.authority:  # declared by the site: nothing is assumed
        return by_authority.get(draft.row.authority, ""), draft.row.authority
    candidates = other_authorities(type_text, type_code, parts[8], parts[9])
    for name in candidates:
        if name in by_authority:
            text = "no assigning authority: taken from the identifier's type, jurisdiction or agency"
            draft.warn("101", "authority-assumed", text, number if number > 1 else 0, 4)
            return by_authority[name], name
    return "", next(iter(candidates), "")


def other_authorities(type_text: str, type_code: str, jurisdiction: str, agency: str) -> tuple[str, ...]:
    """What may stand for an assigning authority that is not stated, as the feed's `[authorities]` may name it.

    As of a licence (PRA-6) the type with the jurisdiction (CX.9, XCN.22) or agency (CX.10, XCN.23): `RN:MN`; these by
    themselves; else the type by itself. Never a type alone where a jurisdiction stands beside it: nurses of two states may
    have one number. Nothing else is guessed: where a message comes from does not say who gave a number.
    """
    kinds = tuple(dict.fromkeys(filter(None, (type_text, type_code))))
    places = tuple(filter(None, (jurisdiction, agency)))
    paired = tuple(f"{kind}:{place}" for place in places for kind in kinds)
    return paired + places if places else kinds


@field_rule
def practitioner_number(draft: Draft, row: Row, raw: str) -> None:
    """PRA-6: PLN (CM before 2.3.1): number, type, state or other qualifier, expiry."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        if value := value_of(draft, repetition, number):
            _, _, state, expiry = draft.reader.parts(repetition)[:4]
            _licence(draft, value, draft.reader.code(repetition, 2), state, expiry, number)


@field_rule
def driver_licence(draft: Draft, row: Row, raw: str) -> None:
    """STF-22: DLN: number, issuing state, expiry."""
    repetition = raw.split(draft.reader.repetition, 1)[0]
    if value := value_of(draft, repetition, 1):
        _, state, expiry = draft.reader.parts(repetition)[:3]
        _licence(draft, value, "DL", state, expiry, 1)


def _licence(draft: Draft, value: str, type_text: str, state: str, expiry: str, number: int) -> None:
    """A licence by its type, its state and its last day, each "" where it is not said."""
    system, authority, type_code, extra = licensed(draft, type_text, state)
    if expiry:
        end = fhir_date(expiry)
        if end:
            extra["period"] = {"end": end}
        else:
            draft.warn("102", "invalid-time", "not a valid date: left out", number if number > 1 else 0, 4)
    add(draft, number, value, system, authority, type_code, extra)


def licensed(draft: Draft, type_text: str, state: str) -> tuple[str, str, str, JsonObject]:
    """The system, authority and type of a licence, and what they add: its authority is its type and, where said, the
    state: `SL:CA`, else `SL`."""
    type_code, extra = type_of(draft, type_text)
    kind = type_code or type_text
    authority = f"{kind}:{state}" if state else kind
    by_authority = draft.envelope.rules.systems_by_authority
    system = (
        by_authority.get(authority, "")
        or _national().get(type_code, "")
        or (by_authority.get(kind, "") if kind else "")
    )
    if state:
        extra["assigner"] = {"display": state}
    return system, authority, type_code, extra
