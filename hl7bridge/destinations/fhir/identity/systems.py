"""Identifier systems that have more than one name.

Servers keep the NPI under its HL7 URI or under its OID (both are met in vendors' material), the DEA number under its OID
or under the two spellings of a naming-system URL. They are one system each when people are matched.
"""

from __future__ import annotations

from hl7bridge.model.remembering import remembered

NPI = "http://hl7.org/fhir/sid/us-npi"
DEA = "urn:oid:2.16.840.1.113883.4.814"
SSN = "http://hl7.org/fhir/sid/us-ssn"

_ALIASES = {
    SSN: ("urn:oid:2.16.840.1.113883.4.1",),
    NPI: ("urn:oid:2.16.840.1.113883.4.6",),
    DEA: ("http://terminology.hl7.org/NamingSystem/USDEANumber", "http://terminology.hl7.org/NamingSystem/usdeanumber"),
}
_CANONICAL = {alias: system for system, aliases in _ALIASES.items() for alias in aliases}


def canonical_system(system: str) -> str:
    """The one name that stands for all names of the system."""
    return _CANONICAL.get(system.strip(), system.strip())


def names_of_system(system: str) -> tuple[str, ...]:
    """Every name under which a server may hold identifiers of that system, the given one first."""
    canonical = canonical_system(system)
    names = (system.strip(), canonical, *_ALIASES.get(canonical, ()))
    return tuple(dict.fromkeys(names))


_PRIVATE = {
    SSN: "SS",
    "urn:oid:2.16.840.1.113883.4.2": "TAX",  # individual taxpayer number
    "urn:oid:2.16.840.1.113883.4.4": "TAX",  # employer identification number
}
PRIVATE = frozenset({"SS", "TAX", "DL"})
"""What `private_kinds` calls numbers of somebody's private life."""

_DRIVER_LICENCES = "urn:oid:2.16.840.1.113883.4.3."  # of the United States, an arc for each state
_PRIVATE_AUTHORITIES = {"USSSA": "SS", "SSA": "SS"}
_PRIVATE_TYPES = {"NNUSA": "SS"}


@remembered(4096)
def private_kinds(type_code: str, authority: str, *systems: str) -> frozenset[str]:
    """What a destination may withhold an identifier by, as type codes of table 0203: its own type, and SS, TAX or DL where
    its system or its authority says that it is such a number, whatever its type says."""
    kinds = {type_code, _PRIVATE_TYPES.get(type_code, ""), _PRIVATE_AUTHORITIES.get(authority.upper(), "")}
    for system in systems:
        kinds.add(_PRIVATE.get(canonical_system(system), ""))
        if system.strip().lower().startswith(_DRIVER_LICENCES):
            kinds.add("DL")
    return frozenset(kinds - {""})
