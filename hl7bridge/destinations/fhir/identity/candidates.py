"""A Practitioner as a person sees it who has to say whom a record is about."""

from __future__ import annotations

from typing import Any

from hl7bridge.destinations.candidates import Candidate, Carried, Fact
from hl7bridge.destinations.fhir.desired import system_at
from hl7bridge.destinations.fhir.identity.carried import identifiers_of
from hl7bridge.destinations.fhir.identity.resolve import summary
from hl7bridge.destinations.fhir.identity.systems import canonical_system
from hl7bridge.destinations.fhir.outcomes import of_reply
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirServer
from hl7bridge.destinations.fhir.wire.replies import ReplyKind
from hl7bridge.errors import Unreachable
from hl7bridge.model import JsonObject, StaffIdentifier, full_name

_NOBODY = (ReplyKind.NOT_FOUND, ReplyKind.GONE, ReplyKind.PERMANENT)


def candidate_of(resource: JsonObject) -> Candidate:
    """A Practitioner, or what `summary` left of one."""
    shown = summary(resource)
    said = shown.get("active")
    facts = (
        Fact("name", "; ".join(full_name(name) for name in _dicts(shown.get("name")))),
        Fact("status", "active" if said is True else "inactive" if said is False else ""),
        Fact("sex", str(shown.get("gender") or "")),
        Fact("birth date", str(shown.get("birthDate") or "")),
    )
    identifiers = (
        Carried(*(str(one.get(element, "")) for element in ("system", "value", "use")))
        for one in _dicts(shown.get("identifier"))
    )
    person_id = str(shown.get("id", ""))
    return Candidate(
        person_id,
        f"Practitioner/{person_id}",
        tuple(fact for fact in facts if fact.text),
        tuple(identifiers),
        identifiers_of(resource),
        shown,
    )


def read_candidate(client: FhirServer, person_id: str) -> Candidate | None:
    """The Practitioner as it stands, None = there is none of that id. Raises Unreachable."""
    reply = client.read("Practitioner", person_id)
    if reply.kind in _NOBODY:
        return None
    if not reply.done or reply.resource is None:
        raise Unreachable(of_reply(reply, "read").text)
    return candidate_of(reply.resource)


def bears(candidate: Candidate, key: StaffIdentifier, rules: DestinationRules) -> bool:
    """Whether the Practitioner carries the key under the system that this destination has for it, and not as an old one."""
    system = system_at(key, rules) or key.system
    return (canonical_system(system), key.value.strip()) in identifiers_of(candidate.summary, valid=True)


def _dicts(items: Any) -> list[JsonObject]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
