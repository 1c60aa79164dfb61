"""What a Practitioner resource carries, as far as it tells who it is about. Pure."""

from __future__ import annotations

from typing import Any

from hl7bridge.destinations.fhir.desired import IDENTIFIER_TYPES
from hl7bridge.destinations.fhir.identity.systems import PRIVATE, canonical_system, private_kinds
from hl7bridge.model import JsonObject

Token = tuple[str, str]

_MERGED_TAG = ("http://hapifhir.io/fhir/NamingSystem/mdm-record-status", "REDIRECTED")  # HAPI's master data management


def identifiers_of(resource: JsonObject, *, valid: bool = False) -> frozenset[Token]:
    """Identifiers of a resource, padding removed (Epic pads some), systems by their canonical names. `valid`: without
    those of use "old" (R4: no longer considered valid, but may be relevant for search purposes)."""
    found = set()
    for identifier in resource.get("identifier", []):
        system, value = identifier.get("system"), identifier.get("value")
        if valid and identifier.get("use") == "old":
            continue
        if isinstance(system, str) and isinstance(value, str):
            found.add((canonical_system(system), value.strip()))
    return frozenset(found)


def types_of(resource: JsonObject, shared: Token) -> frozenset[str]:
    """The types (table 0203) that a resource states for one of its identifiers."""
    found: set[str] = set()
    for identifier in _dicts(resource.get("identifier")):
        system, value, kind = (identifier.get(element) for element in ("system", "value", "type"))
        if not (isinstance(system, str) and isinstance(value, str) and isinstance(kind, dict)):
            continue
        if (canonical_system(system), value.strip()) == shared:
            codings = _dicts(kind.get("coding"))
            found.update(str(one.get("code", "")) for one in codings if one.get("system") in _TYPE_SYSTEMS)
    return frozenset(found - {""})


def public_identifiers(resource: JsonObject) -> list[JsonObject]:
    """The identifiers of a resource without numbers of the person's private life, by their type or their system."""
    return [one for one in _dicts(resource.get("identifier")) if not _is_private(one)]


def _is_private(identifier: JsonObject) -> bool:
    kind = identifier.get("type")
    codings = _dicts(kind.get("coding")) if isinstance(kind, dict) else []
    codes = [str(coding.get("code", "")) for coding in codings] or [""]
    system = str(identifier.get("system", ""))
    return any(not PRIVATE.isdisjoint(private_kinds(code, "", system)) for code in codes)


_TYPE_SYSTEMS = (IDENTIFIER_TYPES, "http://hl7.org/fhir/v2/0203")


def _dicts(value: Any) -> list[JsonObject]:
    return [one for one in _list(value) if isinstance(one, dict)]


def is_merged(resource: JsonObject) -> bool:
    """Whether the server marks the resource as replaced by another. R4 gives Practitioner no `link`; servers that merge
    staff all the same use Patient's, or a tag."""
    links, tags = resource.get("link"), resource.get("meta", {}).get("tag")
    replaced = any(isinstance(one, dict) and one.get("type") == "replaced-by" for one in _list(links))
    return replaced or any(
        isinstance(tag, dict) and (tag.get("system"), tag.get("code")) == _MERGED_TAG for tag in _list(tags)
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
