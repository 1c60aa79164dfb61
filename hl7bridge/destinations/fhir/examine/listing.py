"""Everybody whom a FHIR server holds, with their roles, and as lines of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hl7bridge.destinations.examining import ListedPerson
from hl7bridge.destinations.fhir.identity.systems import NPI, canonical_system
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.roster import Roster
from hl7bridge.model import JsonObject


class PeopleListing:
    """Iterate it: each Practitioner once, page after page. `with_roles`: the roles are read before them, all at once.

    Iterating raises Unreachable when the server ends it early.
    """

    def __init__(self, client: FhirClient, *, with_roles: bool = False) -> None:
        self._people = Roster(client, "Practitioner")
        self._roles = Roster(client, "PractitionerRole") if with_roles else None

    @property
    def total(self) -> int:
        """How many there are, as the server says on its first page; -1: it does not."""
        return self._people.total

    @property
    def pages(self) -> int:
        """Of people, read until now."""
        return self._people.pages

    def __iter__(self) -> Iterator[ListedPerson]:
        of_person = _by_person(self._roles) if self._roles is not None else {}
        for person in self._people:
            roles = tuple(of_person.get(person["id"], ()))
            yield ListedPerson(person, roles, person.get("active") is not False, _row(person, roles))


def _by_person(roles: Iterable[JsonObject]) -> dict[str, list[JsonObject]]:
    """Roles by the id of their Practitioner; those of nobody are left out."""
    found: dict[str, list[JsonObject]] = {}
    for role in roles:
        reference = _of(role.get("practitioner")).get("reference")
        if isinstance(reference, str) and "Practitioner/" in reference:
            person = reference.partition("/_history/")[0].rpartition("Practitioner/")[2]
            found.setdefault(person, []).append(role)
    return found


def _row(person: JsonObject, roles: tuple[JsonObject, ...]) -> tuple[str, ...]:
    """One line of the table. Of a name the official one, else the first."""
    names = [name for name in _items(person.get("name")) if isinstance(name, dict)]
    name = next((name for name in names if name.get("use") == "official"), names[0] if names else {})
    identifiers = [one for one in _items(person.get("identifier")) if isinstance(one, dict)]
    npis = [_text(one.get("value")) for one in identifiers if canonical_system(_text(one.get("system"))) == NPI]
    meta = _of(person.get("meta"))
    return (
        str(person["id"]),
        _standing(person),
        _text(name.get("family")),
        " ".join(_text(given) for given in _items(name.get("given"))),
        " ".join(npis),
        "; ".join(f"{_text(one.get('system'))}|{_text(one.get('value'))}" for one in identifiers),
        "; ".join(_text(one.get("value")) for one in _items(person.get("telecom")) if isinstance(one, dict)),
        _text(person.get("gender")),
        _text(meta.get("lastUpdated")),
        _text(meta.get("versionId")),
        "; ".join(_role(role) for role in roles),
    )


def _standing(resource: JsonObject) -> str:
    return "inactive" if resource.get("active") is False else "active"


def _role(role: JsonObject) -> str:
    """`Cardiology, Physician (active)`."""
    unit = _of(role.get("organization"))
    words = [
        _text(unit.get("display")) or _text(_of(unit.get("identifier")).get("value")) or _text(unit.get("reference"))
    ]
    for element in ("code", "specialty"):
        for concept in _items(role.get(element)):
            coding = next((one for one in _items(_of(concept).get("coding")) if isinstance(one, dict)), {})
            words.append(_text(_of(concept).get("text")) or _text(coding.get("display")) or _text(coding.get("code")))
    return f"{', '.join(filter(None, words)) or role['id']} ({_standing(role)})"


def _of(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
