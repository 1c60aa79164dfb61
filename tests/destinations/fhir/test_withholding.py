"""What a destination does not get unless it asks: numbers by their system as well as by their type, addresses unless they
are plainly of work. From the field as sent to the values of the plan."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.destinations.fhir.desired import allowed, practitioner_values
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import ElementValue, Provenance, StaffChange, StaffIdentifier
from tests.mapping.building import KEY_SYSTEM, staff_change

FEED = FeedRules(KEY_SYSTEM, authorities={"NORTH": "urn:north"})
DEFAULT = DestinationRules("ehr", "http://127.0.0.1/fhir")
EVERYTHING = DestinationRules("all", "http://127.0.0.1/fhir", withheld=frozenset())


def sent(element: str, rules: DestinationRules = DEFAULT, feed: FeedRules = FEED, **fields: str) -> list[Any]:
    """The values of one element that a destination gets of an STF with these fields, the staff key aside."""
    values = practitioner_values(staff_change(rules=feed, **fields), rules)
    return [value.value for value in values if value.element == element and value.value.get("system") != KEY_SYSTEM]


HOME = "1 Quay^^Leeds^^LS1^GBR"

AT_HOME = ["", "H", "P", "V", "HV", "RH", "M", "L", "BA", "BI", "C", "SH", "TM", "XX", '""', "h", "&B", "O&H"]
AT_WORK = ["B", "O", "S"]


@pytest.mark.parametrize("kind", AT_HOME)
def test_an_address_that_is_not_plainly_of_work_stays_here(kind: str) -> None:
    assert sent("address", f11=f"{HOME}^{kind}") == []
    assert len(sent("address", EVERYTHING, f11=f"{HOME}^{kind}")) == 1


@pytest.mark.parametrize("kind", AT_WORK)
def test_an_address_of_work_is_sent(kind: str) -> None:
    assert [one["use"] for one in sent("address", f11=f"{HOME}^{kind}")] == ["work"]


def test_a_temporary_address_is_of_work_at_an_organisation() -> None:
    at = f"{HOME}^C" + "^" * 12 + "Quay Clinic"
    assert len(sent("address", f11=at)) == 1
    assert sent("address", f11=at.replace("^C^", "^H^")) == []


def test_a_site_may_call_its_own_type_work_but_never_a_home() -> None:
    feed = FeedRules(KEY_SYSTEM, tables={"0190": {"WRK": "work", "H": "work", "RH": "work"}})
    assert len(sent("address", feed=feed, f11=f"{HOME}^WRK")) == 1
    assert sent("address", feed=feed, f11=f"{HOME}^H~{HOME}^RH") == []


def test_of_several_addresses_those_of_work_are_sent() -> None:
    found = sent("address", f11="1 Elm^^Leeds^^LS1^GBR^H~2 Quay^^Leeds^^LS2^GBR^B~3 Oak^^Leeds^^LS3^GBR")
    assert [one["line"] for one in found] == [["2 Quay"]]


def test_an_address_that_an_earlier_version_stored_goes_by_its_use() -> None:
    values = [
        ElementValue("address", {"use": use, "city": "Leeds"}, Provenance.read("STF-11"))
        for use in ("home", "work", "old")
    ]
    assert [one.value["use"] for one in allowed("Practitioner", values, DEFAULT)] == ["work", "old"]


def test_the_kind_of_a_value_survives_the_store() -> None:
    change = staff_change(f11=f"{HOME}^V")
    assert [value.kind for value in change.practitioner if value.element == "address"] == ["home"]
    assert StaffChange.from_json(change.to_json()) == change
    earlier = change.to_json().replace(',"home"]', "]")
    assert earlier != change.to_json()
    assert [v.kind for v in StaffChange.from_json(earlier).practitioner if v.element == "address"] == [""]


SSN = "2.16.840.1.113883.4.1"
EIN = "2.16.840.1.113883.4.4"

PRIVATE = [
    f"123456789^^^&{SSN}&ISO^NI",
    f"123456789^^^&{SSN}&ISO^PI",
    f"123456789^^^&{SSN}&ISO",
    f"123456789^^^NORTH&{SSN}&ISO^EI",
    f"123-45-6789^^^&urn:oid:{SSN}&URI^XX",
    "123456789^^^&http://hl7.org/fhir/sid/us-ssn&URI^XX",
    "987-65-4321^^^USSSA^PI",
    "987-65-4321^^^USSSA",
    "222-33-4444^^^^SS",
    "222-33-4444^^^NORTH^SSN",
    f"991234567^^^&{EIN}&ISO^XX",
    f"99-1234567^^^&{EIN}&ISO^EI",
    "991234567^^^&2.16.840.1.113883.4.2&ISO^XX",
    "991234567^^^&1.2.826.0.1.999&ISO^TAX",
    "991234567^^^NORTH^TAX",
    "D555^^^NORTH^DL",
    "D555^^^&2.16.840.1.113883.4.3.27&ISO^XX",
]


@pytest.mark.parametrize("number", PRIVATE)
def test_a_private_number_stays_here_whatever_its_type_says(number: str) -> None:
    assert sent("identifier", f2=number) == []
    assert len(sent("identifier", EVERYTHING, f2=number)) == 1
    assert len(sent("identifier", f2="E7^^^NORTH^EI")) == 1


def test_a_destination_gets_what_it_asks_for_and_nothing_else() -> None:
    ssn_alone = DestinationRules("a", "http://127.0.0.1/fhir", withheld=frozenset({"identifier.TAX", "identifier.DL"}))
    number = f"123456789^^^&{SSN}&ISO^NI"
    assert len(sent("identifier", ssn_alone, f2=f"{number}~99-1234567^^^&{EIN}&ISO^XX")) == 1


def test_the_name_that_a_destination_gives_a_system_counts_too() -> None:
    rules = DestinationRules("ehr", "http://127.0.0.1/fhir", systems={"PAYROLL": f"urn:oid:{SSN}"})
    assert sent("identifier", rules, f2="123456789^^^PAYROLL^PI") == []
    other = DestinationRules("ehr", "http://127.0.0.1/fhir", systems={"USSSA": "urn:theirs"})
    assert sent("identifier", other, f2="123456789^^^USSSA^PI") == []


def test_of_a_role_no_private_number_goes_out() -> None:
    identifier = {"system": f"urn:oid:{SSN}", "value": "123456789"}
    typed = {"system": "urn:north", "value": "1", "type": {"coding": [{"code": "TAX"}]}}
    values = [
        ElementValue("identifier", one, Provenance.read("ORG-5"))
        for one in (identifier, typed, {"system": "urn:north", "value": "2"})
    ]
    assert [one.value["value"] for one in allowed("PractitionerRole", values, DEFAULT)] == ["2"]
    assert len(allowed("PractitionerRole", values, EVERYTHING)) == 3


def test_a_number_of_an_unknown_authority_is_still_nothing() -> None:
    change = StaffChange(staff_change().action, "K1", (StaffIdentifier("1", "", "SOUTH", "EI"),))
    assert practitioner_values(change, EVERYTHING) == ()
