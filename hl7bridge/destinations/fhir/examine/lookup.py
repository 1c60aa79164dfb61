"""Whom a FHIR server holds under an NPI: one search for the person, one for the roles of each who is found."""

from __future__ import annotations

from typing import Any

from hl7bridge.destinations.examining import Carrier
from hl7bridge.destinations.fhir.examine.probe import ROLES_A_PAGE, carriers, npi_tokens
from hl7bridge.destinations.fhir.roles import is_of_person
from hl7bridge.destinations.fhir.wire.capabilities import types_used
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import Reply
from hl7bridge.errors import Unreachable


def look_up(client: FhirClient, npi: str) -> tuple[Carrier, ...]:
    """Everybody who carries it. Raises Unreachable where the server does not do what is asked."""
    reply = _answered(client, client.search("Practitioner", [("identifier", npi_tokens(npi))]))
    return tuple(_carrier(client, one) for one in carriers(reply.resources, npi))


def _carrier(client: FhirClient, person: dict[str, Any]) -> Carrier:
    number = str(person["id"])
    roles: list[dict[str, Any]] = []
    if "PractitionerRole" in types_used(client.rules):
        asked = [("practitioner", number), ("_count", ROLES_A_PAGE)]
        found = _answered(client, client.search("PractitionerRole", asked)).resources
        roles = [role for role in found if is_of_person(role, number)]
    active = sum(role.get("active") is not False for role in roles)
    return Carrier(number, person.get("active"), len(roles), active)


def _answered(client: FhirClient, reply: Reply) -> Reply:
    if reply.done:
        return reply
    answer = f"answers HTTP {reply.status}" if reply.status else f"does not answer ({reply.detail or reply.kind.value})"
    name = client.rules.name
    raise Unreachable(f"{name}: the server {answer}. `hl7bridge doctor {name}` says why.")
