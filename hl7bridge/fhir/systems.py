"""Identifier systems that have more than one name.

Servers keep the NPI under its HL7 URI or under its OID (both are met in vendors' material), the DEA number under its OID
or under the two spellings of a naming-system URL. They are one system each when people are matched.
"""

from __future__ import annotations

NPI = "http://hl7.org/fhir/sid/us-npi"
DEA = "urn:oid:2.16.840.1.113883.4.814"

_ALIASES = {
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
