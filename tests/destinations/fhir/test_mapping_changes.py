"""What only a changed mapping stops giving stays at the server until a person has let that mapping go live."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.destinations.fhir.merging.earlier import EARLIER_RULE, VERSION_MARK
from hl7bridge.destinations.fhir.plan import plan_practitioner
from hl7bridge.model import (
    Action,
    ElementValue,
    Interaction,
    JsonObject,
    Location,
    Provenance,
    StaffChange,
    StaffIdentifier,
    Written,
)
from tests.destinations.fhir.people import KEYS, NOW, change, name, phone, rules, value

HOSPITAL = "urn:oid:2.999.1"
OLD, NEW, NEWER = "mapping-1", "mapping-2", "mapping-3"
GUESSED = StaffIdentifier("5001", HOSPITAL, "HOSP", "RN", Provenance.read("STF-2"))
UNGUESSED = StaffIdentifier("5001", "", "", "RN", Provenance.read("STF-2"))
OTHER = StaffIdentifier("77", "urn:oid:2.999.2", "X", "", Provenance.read("STF-2"))
KEPT = "kept 1 that only the changed mapping gives no more"


class Person:
    """One person at the server through several messages of one feed."""

    def __init__(self, first: StaffChange, **rule: Any) -> None:
        self.rules = rules(**rule)
        self.server: JsonObject | None = None
        self.own: Written | None = None
        self.last: Interaction
        self.take(first)

    def take(self, one: StaffChange, confirmed: str = "") -> Interaction:
        plan = plan_practitioner(one, "hr", self.rules, self.server, self.own, (), NOW, confirmed=confirmed)
        if plan.body is not None:
            self.server = {**plan.body, "id": "p"}
        self.own, self.last = plan.written, plan
        return plan

    @property
    def numbers(self) -> list[tuple[str, str]]:
        assert self.server is not None
        return [(one["system"], one["value"]) for one in self.server["identifier"] if one["system"] != KEYS]


def message(
    version: str, *identifiers: StaffIdentifier, values: tuple[ElementValue, ...] = (), **more: Any
) -> StaffChange:
    return change(Action.ADD, name(), *values, identifiers=identifiers, mapping_version=version, **more)


def test_a_number_that_a_changed_rule_gives_no_more_stays_and_is_told() -> None:
    person = Person(message(OLD, GUESSED))
    for _ in range(3):
        plan = person.take(message(NEW, UNGUESSED))
        assert person.numbers == [(HOSPITAL, "5001")]
        assert KEPT in plan.reason
        assert plan.body is None
    person.take(message(NEWER, UNGUESSED))
    assert person.numbers == [(HOSPITAL, "5001")]


def test_it_goes_once_a_person_has_let_that_very_mapping_go_live() -> None:
    person = Person(message(OLD, GUESSED))
    person.take(message(NEW, UNGUESSED), confirmed=OLD)
    assert person.numbers == [(HOSPITAL, "5001")]
    plan = person.take(message(NEW, UNGUESSED), confirmed=NEW)
    assert person.numbers == []
    assert "kept" not in plan.reason


def test_a_base_of_a_version_that_noted_no_mapping_counts_as_of_an_earlier_one() -> None:
    person = Person(message(OLD, GUESSED))
    assert person.own is not None
    values = tuple(one for one in person.own.values if one.element != VERSION_MARK)
    person.own = Written("Practitioner", "p", values, feed="hr", source_key="S100")
    person.take(message(NEW, UNGUESSED))
    assert person.numbers == [(HOSPITAL, "5001")]


def test_what_the_sender_stops_sending_goes_as_ever() -> None:
    person = Person(message(OLD, GUESSED, OTHER))
    person.take(message(NEW, OTHER))
    assert person.numbers == [("urn:oid:2.999.2", "77")]
    kept = Person(message(OLD, GUESSED, OTHER))
    kept.take(message(NEW, UNGUESSED, OTHER))
    assert len(kept.numbers) == 2
    kept.take(message(NEW, OTHER))
    assert kept.numbers == [("urn:oid:2.999.2", "77")]


def test_what_the_sender_states_differently_under_one_mapping_goes_as_ever() -> None:
    person = Person(message(NEW, GUESSED))
    person.take(message(NEW, StaffIdentifier("5001", "urn:oid:2.999.3", "CLINIC", "RN", Provenance.read("STF-2"))))
    assert person.numbers == [("urn:oid:2.999.3", "5001")]


def test_a_null_clears_what_stayed() -> None:
    person = Person(message(OLD, GUESSED))
    person.take(message(NEW, UNGUESSED))
    person.take(message(NEW, cleared=(Location("STF", field=2),)))
    assert person.numbers == []


def test_a_message_without_the_field_settles_nothing() -> None:
    person = Person(message(OLD, GUESSED))
    assert "kept" not in person.take(message(NEW)).reason
    assert KEPT in person.take(message(NEW, UNGUESSED)).reason
    assert person.numbers == [(HOSPITAL, "5001")]


def test_a_number_that_another_rule_gives_again_is_an_ordinary_one() -> None:
    person = Person(message(OLD, GUESSED))
    person.take(message(NEW, UNGUESSED))
    person.take(message(NEWER, GUESSED))
    assert person.own is not None
    assert not [one for one in person.own.values if one.rule == EARLIER_RULE]
    person.take(message(NEWER, OTHER))
    assert person.numbers == [("urn:oid:2.999.2", "77")]


def test_the_number_under_its_own_authority_comes_beside_the_earlier_one() -> None:
    tax = "urn:oid:2.16.840.1.113883.4.4"
    person = Person(message(OLD, StaffIdentifier("77-0077", tax, "HMRC", "", Provenance.read("STF-2"))))
    person.take(
        message(NEW, StaffIdentifier("770077", "urn:oid:1.2.826.0.1.999", "HMRC", "TAX", Provenance.read("STF-2"))), NEW
    )
    assert person.numbers == []  # a tax number is withheld
    person = Person(
        message(OLD, StaffIdentifier("77-0077", tax, "HMRC", "", Provenance.read("STF-2"))), withheld=frozenset()
    )
    person.take(
        message(NEW, StaffIdentifier("770077", "urn:oid:1.2.826.0.1.999", "HMRC", "TAX", Provenance.read("STF-2")))
    )
    assert sorted(person.numbers) == [("urn:oid:1.2.826.0.1.999", "770077"), (tax, "77-0077")]


@pytest.mark.parametrize("element", ["address", "telecom"])
def test_what_is_withheld_now_stays_too(element: str) -> None:
    content = {"city": "Leeds"} if element == "address" else {"system": "phone", "value": "555-9"}
    person = Person(message(OLD, values=(value(element, content, "STF-11"), phone("555-1"))))
    untyped = ElementValue(element, content, Provenance.read("STF-11"), "", "home")
    plan = person.take(message(NEW, values=(untyped, phone("555-1"))))
    assert person.server is not None
    assert content in person.server[element]
    assert KEPT in plan.reason
    person.take(message(NEW, values=(untyped, phone("555-1"))), confirmed=NEW)
    assert content not in person.server.get(element, [])


def test_an_ending_touches_none_of_it() -> None:
    person = Person(message(OLD, GUESSED))
    person.take(change(Action.DEACTIVATE, mapping_version=NEW))
    assert person.numbers == [(HOSPITAL, "5001")]
    person.take(message(NEW, UNGUESSED))
    assert person.numbers == [(HOSPITAL, "5001")]
