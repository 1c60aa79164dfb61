"""What was created, looked for again once the server's searches have caught up: is it found, and is there a second one?

A second one comes of a create that arrived though its answer was lost, or of somebody else who created the same person in
the same moment. One search asks for as many people as an address holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from hl7bridge.destinations.fhir.identity.carried import Token, identifiers_of, is_merged
from hl7bridge.destinations.fhir.identity.systems import canonical_system, names_of_system
from hl7bridge.destinations.fhir.roles import is_of_person, says_all
from hl7bridge.destinations.fhir.wire.client import FhirClient, query, token
from hl7bridge.destinations.fhir.wire.replies import Reply
from hl7bridge.destinations.protocol import Sighting, Sought
from hl7bridge.model import JsonObject, Task

AT_ONCE = 50  # people of one search
ADDRESS = 6000  # characters of a query; servers refuse addresses beyond 8 KiB
ROLES_A_PAGE = "50"

SECOND = "second-at-server"


def look_for_people(client: FhirClient, sought: Sequence[Sought]) -> tuple[Mapping[str, Sighting], Reply | None]:
    """By id what a search shows of each, and the reply that failed, if one did: then of the rest nothing is known."""
    seen: dict[str, Sighting] = {}
    for group in _searches(sought):
        asked = ",".join(token(system, value) for one in group for system, value in _tokens(one))
        if not asked:
            continue
        reply = client.search("Practitioner", [("identifier", asked)])
        if not reply.done:
            return seen, reply
        for one in group:
            seen[one.resource_id] = _person(one, reply.resources)
    return seen, None


def look_for_roles(
    client: FhirClient, sought: Sequence[Sought], is_ours: Callable[[str], bool]
) -> tuple[Mapping[str, Sighting], Reply | None]:
    """The same for roles. `is_ours`: whether this bridge wrote the role of that id; such a one is no second one."""
    people = list(dict.fromkeys(one.person_id for one in sought))
    seen: dict[str, Sighting] = {}
    for start in range(0, len(people), AT_ONCE):
        part = people[start : start + AT_ONCE]
        reply = client.search("PractitionerRole", [("practitioner", ",".join(part)), ("_count", ROLES_A_PAGE)])
        if not reply.done:
            return seen, reply
        for one in sought:
            if one.person_id in part:
                seen[one.resource_id] = _role(one, reply.resources, is_ours)
    return seen, None


def second_task(resource_type: str, resource_id: str, others: Sequence[str]) -> Task:
    """What people are asked to do about a second one."""
    what = "person" if resource_type == "Practitioner" else "role"
    listed = ", ".join(f"{resource_type}/{other}" for other in others[:5])
    return Task(
        SECOND,
        f"A {what} stands at the FHIR server twice",
        (
            f"This bridge created {resource_type}/{resource_id}; {listed} stands for the same {what}.",
            "A create whose answer was lost may have arrived after all, or another system created the same one.",
            "Compare both, have them merged at the server, or one made inactive; this bridge deletes nothing.",
            f"This bridge goes on with {resource_type}/{resource_id}; `hl7bridge identity link` says otherwise."
            if what == "person"
            else f"This bridge goes on with {resource_type}/{resource_id}.",
        ),
    )


def _tokens(one: Sought) -> tuple[Token, ...]:
    """The identifiers that we wrote to a Practitioner, under every name that a server may hold the system under."""
    found: list[Token] = []
    for value in (value for base in one.written for value in base.values if value.element == "identifier"):
        system, number = value.value.get("system"), value.value.get("value")
        if isinstance(system, str) and isinstance(number, str) and number.strip():
            found += [(name, number.strip()) for name in names_of_system(system)]
    return tuple(dict.fromkeys(found))


def _searches(sought: Sequence[Sought]) -> Iterator[list[Sought]]:
    """Whom to ask for together."""
    group: list[Sought] = []
    length = 0
    for one in sought:
        more = len(query([("", ",".join(token(system, value) for system, value in _tokens(one)))])) + 3
        if group and (len(group) == AT_ONCE or length + more > ADDRESS):
            yield group
            group, length = [], 0
        group.append(one)
        length += more
    if group:
        yield group


def _person(one: Sought, resources: Sequence[JsonObject]) -> Sighting:
    ours = {(canonical_system(system), value) for system, value in _tokens(one)}
    alike = [found for found in resources if identifiers_of(found, valid=True) & ours]
    others = [
        str(found["id"])
        for found in alike
        if found["id"] != one.resource_id and found.get("active") is not False and not is_merged(found)
    ]
    return Sighting(any(found["id"] == one.resource_id for found in alike), tuple(sorted(others)))


def _role(one: Sought, resources: Sequence[JsonObject], is_ours: Callable[[str], bool]) -> Sighting:
    of_person = [found for found in resources if is_of_person(found, one.person_id)]
    values = [value for base in one.written for value in base.values if "." not in value.element]
    others = [
        str(found["id"])
        for found in of_person
        if found["id"] != one.resource_id
        and found.get("active") is not False
        and says_all(found, values)
        and not is_ours(found["id"])
    ]
    return Sighting(any(found["id"] == one.resource_id for found in of_person), tuple(sorted(others)))
