"""Which interaction of FHIR R4 (http.html) a request asks for, from its method and path alone."""

from __future__ import annotations

from dataclasses import dataclass

RESOURCE_TYPES = ("Practitioner", "PractitionerRole")

WRITES = frozenset({"create", "update", "patch", "delete"})
READS = frozenset({"read", "vread", "history", "search"})
OPEN = frozenset({"capabilities", "smart-configuration"})
INTERACTIONS = WRITES | READS | OPEN | {"token", "other"}

# The letter of a SMART v2 scope that an interaction needs (scopes-and-launch-context: c, r, u, d, s).
PERMISSION = {
    "create": "c",
    "read": "r",
    "vread": "r",
    "history": "r",
    "update": "u",
    "patch": "u",
    "delete": "d",
    "search": "s",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for; fields that do not apply are ""."""

    interaction: str
    resource_type: str = ""
    resource_id: str = ""
    version_id: str = ""


def asked_by(method: str, path: str) -> Asked:
    """Read method and path below the FHIR base ("Practitioner/1000/_history/2")."""
    read = method in ("GET", "HEAD")
    match path.strip("/").split("/"):
        case ["metadata"] if read:
            return Asked("capabilities")
        case [".well-known", "smart-configuration"] if read:
            return Asked("smart-configuration")
        case [kind, "_search"] if method == "POST":
            return Asked("search", kind)
        case [kind] if kind and read:
            return Asked("search", kind)
        case [kind] if kind and method == "POST":
            return Asked("create", kind)
        case [kind] if kind and method in _ON_INSTANCE:
            return Asked(_ON_INSTANCE[method], kind)
        case [kind, name] if read:
            return Asked("read", kind, name)
        case [kind, name] if method in _ON_INSTANCE:
            return Asked(_ON_INSTANCE[method], kind, name)
        case [kind, name, "_history"] if read:
            return Asked("history", kind, name)
        case [kind, name, "_history", number] if read:
            return Asked("vread", kind, name, number)
        case [kind, *_]:
            return Asked("other", kind)
    return Asked("other")


_ON_INSTANCE = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}
