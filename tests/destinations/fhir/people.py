"""Staff changes about invented people, and a bridge's memory of what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hl7bridge.destinations.fhir.deliver import deliver
from hl7bridge.destinations.fhir.identity.evidence import words_about
from hl7bridge.destinations.fhir.identity.systems import NPI
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.model import (
    APPLIED,
    Action,
    ElementValue,
    Known,
    Outcome,
    Provenance,
    StaffChange,
    StaffIdentifier,
    StaffRole,
    Written,
)
from tests.destinations.fhir.server import BASE, FakeFhir

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
BETWEEN = 30.0  # seconds between two attempts of a delivery: two of them are the index lag
KEYS = "urn:uuid:6f1f0d51-0c4e-4f0e-9d8c-3f1f5f6f7a01"
OTHER_KEYS = "urn:uuid:6f1f0d51-0c4e-4f0e-9d8c-3f1f5f6f7a02"
GOOD_NPI = "1234567893"


def value(element: str, what: Any, field: str) -> ElementValue:
    return ElementValue(element, what, Provenance.read(field))


def name(family: str = "Okonkwo", given: str = "Adaeze", **more: Any) -> ElementValue:
    return value("name", {"use": "official", "family": family, "given": [given], **more}, "STF-3")


def phone(number: str, field: str = "STF-10", use: str = "work") -> ElementValue:
    return value("telecom", {"system": "phone", "value": number, "use": use}, field)


def unit(code: str, origin: str = "STF-8", *values: ElementValue) -> StaffRole:
    organization = {"identifier": {"system": "urn:oid:2.999.8", "value": code}, "display": f"Unit {code}"}
    return StaffRole(f"{origin}:{code}", origin, (value("organization", organization, origin), *values))


def change(
    action: Action = Action.ADD,
    *values: ElementValue,
    key: str = "S100",
    keys: str = KEYS,
    npi: str = "",
    identifiers: Sequence[StaffIdentifier] = (),
    **more: Any,
) -> StaffChange:
    known = [StaffIdentifier(key, keys, provenance=Provenance.read("MFE-4")), *identifiers]
    if npi:
        known.append(StaffIdentifier(npi, NPI, type_code="NPI", provenance=Provenance.read("STF-2")))
    if action in (Action.ADD,) and "active" not in more:
        more["active"] = True
    return StaffChange(action, key, tuple(known), practitioner=values, **more)


def rules(**more: Any) -> DestinationRules:
    return DestinationRules("ehr", **{"base_url": BASE, "mode": "write", **more})


class Bridge:
    """What the store does between deliveries: crosswalk, bases, attempts. One destination."""

    def __init__(
        self, server: FakeFhir, destination: DestinationRules | None = None, client: FhirClient | None = None
    ) -> None:
        self.server = server
        self.rules = destination or rules(base_url=server.base)
        self.client = client or FhirClient(self.rules, transport=server.transport())
        self.crosswalk: dict[tuple[str, str], str] = {}
        self.bases: dict[tuple[str, ...], Written] = {}
        self.ambiguous: dict[tuple[str, str], bool] = {}
        self.attempts: dict[tuple[str, str], int] = {}
        self.unsure: dict[tuple[str, str, str], float] = {}
        self.lately: tuple[str, ...] = ()  # ids written under one of the identifiers, by whatever record
        self.said: dict[tuple[str, str], tuple[ElementValue, ...]] = {}

    def said_by(self, feed: str, source_key: str) -> tuple[ElementValue, ...]:
        return self.said.get((feed, source_key), ())

    def written_by(self, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        bases = self.bases.values()
        return tuple(b for b in bases if (b.resource_type, b.resource_id) == (resource_type, resource_id))

    def known(self, one: StaffChange, feed: str) -> Known:
        record = (feed, one.source_key)
        own = tuple(base for base in self.bases.values() if (base.feed, base.source_key) == record)
        return Known(
            self.crosswalk.get(record, ""),
            own,
            self.ambiguous.get(record, False),
            self.attempts.get(record, 0),
            lately=self.lately,
            unanswered=tuple((kind, at) for (*whose, kind), at in self.unsure.items() if tuple(whose) == record),
        )

    def deliver(self, one: StaffChange, feed: str = "hr", **more: Any) -> Outcome:
        record = (feed, one.source_key)
        now = more.pop("now", NOW + timedelta(seconds=BETWEEN * self.attempts.get(record, 0)))
        more.setdefault("said_by", self.said_by)
        outcome = deliver(one, self.known(one, feed), feed, self.rules, self.client, self.written_by, now, **more)
        if outcome.result in APPLIED and (said := words_about(one)):
            self.said[record] = said
        if outcome.unanswered:
            self.unsure[*record, outcome.unanswered] = now.timestamp()
        self.attempts[record] = self.attempts.get(record, 0) + 1
        if outcome.person_id and self.rules.writes:
            self.crosswalk[record] = outcome.person_id
        for base in outcome.written:
            self.bases[base.feed, base.source_key, base.resource_type, base.resource_id, base.role_key] = base
        self.ambiguous[record] = outcome.result == "unknown"
        if outcome.result not in ("unknown", "retry"):
            self.attempts[record] = 0
        return outcome

    def asked(self) -> list[str]:
        """What was asked since the last call."""
        asked = self.server.methods()
        self.server.journal.clear()
        return asked


ADA = change(Action.ADD, name(), phone("555-1"), npi=GOOD_NPI)
LEAVES = change(Action.DEACTIVATE)


def kinds(outcome: Outcome) -> list[str]:
    """The kinds of its tasks."""
    return [task.kind for task in outcome.tasks]


def open_units(server: FakeFhir) -> set[str]:
    """The units of the roles that are active at the server."""
    return {
        role["organization"]["identifier"]["value"] for role in server.all("PractitionerRole") if role["active"] is True
    }
