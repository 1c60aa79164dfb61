"""What a server says that it can do with Practitioner and PractitionerRole (R4 capabilitystatement.html).

Absent means unsupported; present does not mean permitted: 403 may still come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import Reply
from hl7bridge.destinations.policy import REPORT
from hl7bridge.model import JsonObject


@dataclass(frozen=True, slots=True)
class ResourceCapabilities:
    """One resource type. `versioning`: "no-version", "versioned", "versioned-update" or "" (not said)."""

    interactions: frozenset[str] = frozenset()
    search_parameters: frozenset[str] = frozenset()
    versioning: str = ""
    conditional_create: bool = False
    conditional_update: bool = False
    update_create: bool = False

    def offers(self, interaction: str) -> bool:
        """Whether the server says that it offers "create", "read", "update", "search-type" ..."""
        return interaction in self.interactions


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one server offers, by resource type."""

    fhir_version: str = ""
    software: str = ""
    resources: Mapping[str, ResourceCapabilities] = field(default_factory=dict)

    def of(self, resource_type: str) -> ResourceCapabilities:
        """The type's capabilities; all absent where the statement does not list it."""
        return self.resources.get(resource_type, ResourceCapabilities())

    @classmethod
    def from_statement(cls, statement: JsonObject) -> Capabilities:
        """Read a CapabilityStatement, tolerantly: what has another shape than R4's counts as absent."""
        resources = {}
        for rest in _objects(statement.get("rest")):
            if rest.get("mode", "server") != "server":
                continue
            for resource in _objects(rest.get("resource")):
                if isinstance(resource.get("type"), str):
                    resources[resource["type"]] = _resource(resource)
        software = statement.get("software")
        name = software.get("name") if isinstance(software, dict) else ""
        return cls(_text(statement.get("fhirVersion")), _text(name), resources)


def read_capabilities(client: FhirClient) -> Capabilities | Reply:
    """Ask the server; the failing reply where there is no statement."""
    reply = client.capabilities()
    return Capabilities.from_statement(reply.resource) if reply.done and reply.resource else reply


READING, WRITING = ("read", "search-type"), ("create", "update")
SEARCHED = {"Practitioner": "identifier", "PractitionerRole": "practitioner"}
"""The search parameter that finds each type."""


def types_used(rules: DestinationRules) -> tuple[str, ...]:
    """The resource types that this destination keeps in step."""
    return tuple(name for name in SEARCHED if name not in rules.withheld)


def written(rules: DestinationRules) -> tuple[str, ...]:
    """The interactions by which this destination is written to, as its modes stand."""
    by = {"create": ("create",), "update": ("update", "deactivate")}
    return tuple(name for name in WRITING if any(rules.mode_of(operation) != REPORT for operation in by[name]))


def not_offered(offered: Capabilities, rules: DestinationRules, interactions: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the interactions that the statement does not list, as "create Practitioner", type by type."""
    return tuple(
        f"{interaction.removesuffix('-type')} {name}"
        for name in types_used(rules)
        for interaction in interactions
        if not offered.of(name).offers(interaction)
    )


def _resource(resource: JsonObject) -> ResourceCapabilities:
    return ResourceCapabilities(
        interactions=frozenset(_text(item.get("code")) for item in _objects(resource.get("interaction"))),
        search_parameters=frozenset(_text(item.get("name")) for item in _objects(resource.get("searchParam"))),
        versioning=_text(resource.get("versioning")),
        conditional_create=resource.get("conditionalCreate") is True,
        conditional_update=resource.get("conditionalUpdate") is True,
        update_create=resource.get("updateCreate") is True,
    )


def _objects(value: Any) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
