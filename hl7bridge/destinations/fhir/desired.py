"""What a destination may get of a staff change: its identifiers under this server's systems, its values without what the
destination withholds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from hl7bridge.destinations.fhir.identity.systems import private_kinds
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.model import NO_FIELD, ElementValue, JsonObject, Provenance, StaffChange, StaffIdentifier

IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"


def system_at(identifier: StaffIdentifier, rules: DestinationRules) -> str:
    """The identifier's system at this destination, "" when it has none or the destination withholds the identifier."""
    named = rules.systems.get(identifier.authority, "") if identifier.authority else ""
    kinds = private_kinds(identifier.type_code, identifier.authority, named, identifier.system)
    if _is_withheld("Practitioner", "identifier", kinds, rules):
        return ""
    return named or identifier.system


def identifiers(change: StaffChange, rules: DestinationRules) -> tuple[ElementValue, ...]:
    """Practitioner.identifier; identifiers without a system are left out (the mapping has warned of them)."""
    values = []
    for one in change.identifiers:
        system = system_at(one, rules)
        if system and one.value.strip():
            values.append(ElementValue("identifier", _identifier(one, system), one.provenance, "identifier"))
    return tuple(values)


def _identifier(one: StaffIdentifier, system: str) -> JsonObject:
    value: JsonObject = {}
    if "use" in one.extra:
        value["use"] = one.extra["use"]
    if one.type_code:
        value["type"] = {"coding": [{"system": IDENTIFIER_TYPES, "code": one.type_code}]}
    return {**value, "system": system, "value": one.value, **one.extra}


def practitioner_values(change: StaffChange, rules: DestinationRules) -> tuple[ElementValue, ...]:
    """All values for Practitioner that the destination may get."""
    return identifiers(change, rules) + allowed("Practitioner", change.practitioner, rules)


def allowed(resource_type: str, values: Iterable[ElementValue], rules: DestinationRules) -> tuple[ElementValue, ...]:
    """The values without those that the destination withholds."""
    return tuple(value for value in values if not _is_withheld(resource_type, value.element, kinds_of(value), rules))


def kinds_of(value: ElementValue) -> frozenset[str]:
    """What a value may be withheld by, beside its element: its kind as the sender stated it, else its use; of an identifier
    its type and its system."""
    content = value.value if isinstance(value.value, dict) else {}
    if value.element == "identifier":
        codings = content.get("type", {}).get("coding", [])
        types = [str(coding.get("code", "")) for coding in codings] or [""]
        return frozenset().union(*(private_kinds(code, "", str(content.get("system", ""))) for code in types))
    return frozenset({value.kind or str(content.get("use", ""))} - {""})


def _is_withheld(resource_type: str, element: str, kinds: frozenset[str], rules: DestinationRules) -> bool:
    names = [element, *[f"{element}.{kind}" for kind in kinds]]
    return any(name in rules.withheld or f"{resource_type}.{name}" in rules.withheld for name in names)


Field = tuple[str, int]
"""Segment and number of a field; number 0 = any field of the segment."""

_ONCE = frozenset({"STF", "PRA", "MFE"})
"""Segments that stand once a record."""

_NOBODYS = frozenset({("", 0)})


def sources(provenance: Provenance) -> frozenset[Field]:
    """What a value's fields count as when the plan asks whether a message supplied it again.

    STF and PRA stand once a record: their fields, whatever the repetition. Segments that repeat list things: a message with
    any CER lists the certificates, so the segment counts.
    """
    places = provenance.fields
    return frozenset((at.segment, at.field if at.segment in _ONCE else 0) for at in places) or _NOBODYS


def supplied(change: StaffChange) -> frozenset[Field]:
    """The sources from which the message gives any value at all."""
    values = [*change.practitioner, *change.shared_role, *(value for role in change.roles for value in role.values)]
    given = {value.provenance for value in values} | {identifier.provenance for identifier in change.identifiers}
    return frozenset().union(*map(sources, given))


def cleared(change: StaffChange) -> frozenset[Field]:
    """The fields that the message clears."""
    return frozenset(place.whole_field for place in change.cleared)


def bounds(period: ElementValue) -> dict[str, Provenance]:
    """The fields that give the bounds of a period: one both, or each its own."""
    own = [Provenance((place,)) for place in period.provenance.fields] or [NO_FIELD]
    return {bound: own[at] for bound, at in (("start", 0), ("end", -1)) if bound in period.value}


def is_over(end: str, now: datetime) -> bool:
    """Whether an end has passed: a day, month or year with its last instant."""
    if "T" in end:
        return datetime.fromisoformat(end) < now
    return bool(end) and end < now.date().isoformat()[: len(end)]
