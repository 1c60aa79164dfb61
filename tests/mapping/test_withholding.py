"""Whose a telephone is: by XTN.2 as sent, whatever FHIR's use is, and by the marks of the old text form."""

from __future__ import annotations

import pytest

from hl7bridge.config.destination import ElementSettings
from hl7bridge.destinations.fhir import desired
from hl7bridge.destinations.fhir.rules import DEFAULT_WITHHELD, DestinationRules
from hl7bridge.mapping.feed_rules import FeedRules
from tests.mapping.building import KEY_SYSTEM, RULES, staff_change

WITHHOLDS = DestinationRules("fhir", "http://127.0.0.1/fhir", withheld=DEFAULT_WITHHELD | {"telecom.untyped"})
SENDS = DestinationRules("fhir", "http://127.0.0.1/fhir")

# What is sent -> its kind.
KINDS = [
    ("5550101^PRN^PH", "home"),
    ("5550101^PRN^CP", "home"),
    ("5550101^PRN^FX", "home"),
    ("5550101^ORN", "home"),
    ("5550101^VHN^PH", "home"),
    ("5550101^PRS^CP", "home"),
    ("^PRN^Internet^ada@example.org", "home"),
    ("^PRN^PH^ada@example.org^^612^5550101", "home"),
    ("5550101^WPN^PH", "work"),
    ("5550101^WPN^CP", "work"),
    ("5550101^BPN", ""),
    ("5550101^ASN^PH", ""),
    ("^NET^Internet^ada@example.org", ""),
    ("5550101", "untyped"),
    ("5550101^^CP", "untyped"),
    ("5550101^^PH", "untyped"),
    ("5550101^XYZ^PH", "untyped"),
    ("(612)555-0101", "untyped"),
    ("(612)555-0101X345", "untyped"),
    ("(612)555-0101CH", "home"),
    ("(612)555-0101X345CH", "home"),
    ("(612)555-0101X345CO", "work"),
    ("(612)555-0101^C^H", "home"),
    ("(612)555-0101^C^O", "work"),
    ("555-0101 (home)", "home"),
    ("555-0101 H", "home"),
    ("home: 555-0101", "home"),
    ("555-0101 privat", "home"),
    ("555-0101 (work)", "work"),
    ("5550101^prn^PH", "home"),
    ("5550101^HOME^PH", "home"),
    ("5550101^HP^PH", "home"),
    ("5550101^Residence", "home"),
    ("5550101^private^CP", "home"),
    ("5550101^office", "work"),
    ("5550101^^PH^^^^^^home", "home"),
    ("^^PH^^1^612^5550101^^privat", "home"),
    ("5550101^WPN^PH^^^^^^home office", "work"),  # XTN.2 says it
]


@pytest.mark.parametrize(("sent", "kind"), KINDS)
@pytest.mark.parametrize("rules", [RULES, FeedRules(KEY_SYSTEM, tables={"0201": {"PRN": "work", "PRS": ""}})])
def test_a_telephone_is_withheld_by_what_was_sent(sent: str, kind: str, rules: FeedRules) -> None:
    change = staff_change(f10=sent, rules=rules)
    points = [value for value in change.practitioner if value.element == "telecom"]
    assert points
    assert {value.kind for value in points} == {kind}
    for destination, hidden in ((SENDS, {"home"}), (WITHHOLDS, {"home", "untyped"})):
        given = [v for v in desired.practitioner_values(change, destination) if v.element == "telecom"]
        assert given == ([] if kind in hidden else points)
    in_roles = [value for value in change.shared_role if value.element == "telecom"]
    assert in_roles == (points if kind == "work" else [])


@pytest.mark.parametrize(
    ("sent", "private"),
    [
        ("ada@example.org", False),
        ("^NET^Internet^ada@example.org", False),
        ("^WPN^Internet^ada@example.org", False),
        ("^^Internet^ada@example.org", False),
        ("^PRN^Internet^ada@example.org", True),
        ("ada@example.org^PRN", True),
        ("^ORN^^ada@example.org", True),
        ("^PRS^Internet^ada@example.org", True),
        ("^HOME^Internet^ada@example.org", True),
    ],
)
def test_an_address_of_home_is_withheld_in_STF_15_as_in_STF_10(sent: str, private: bool) -> None:
    change = staff_change(f15=sent)
    given = [one.value["value"] for one in desired.practitioner_values(change, WITHHOLDS) if one.element == "telecom"]
    assert given == ([] if private else ["ada@example.org"])
    with_homes = DestinationRules("fhir", "http://127.0.0.1/fhir", withheld=frozenset())
    assert [one for one in desired.practitioner_values(change, with_homes) if one.element == "telecom"]


@pytest.mark.parametrize("type_code", ["SS", "ss", "SSN", "NNUSA", "EIN", "TIN", "ITIN", "tax", "DL", "dl"])
def test_an_identifier_is_withheld_by_its_type_however_it_is_written(type_code: str) -> None:
    change = staff_change(f2=f"123456789^^^HR&2.999.1&ISO^{type_code}")
    assert [one.value["value"] for one in desired.identifiers(change, WITHHOLDS)] == ["K1"]


@pytest.mark.parametrize(
    "certificate",
    [
        "CER|1|123456789||USSSA||||||CARD^Card",
        "CER|1|123456789||Social Security Administration||||||CARD^Card",
        "CER|1|123456789||Agency^^^^^&2.16.840.1.113883.4.1&ISO||||||CARD^Card",
        "CER|1|123456789||||||||SS^Social security",
        "CER|1|123456789||DMV||||||DL^Driver licence",
        "CER|1|C1||Board^^123456789^^^USSSA^SS||||||LIC",
        "CER|1|C1||^^^^^USSSA^SS^^^123456789||||||LIC",
        "CER|1|C1|||123456789^^^^^^^^USSSA||||||LIC",
        "CER|1|C1|||123456789^^^^^^^^^^^^SS|||||LIC",
        "EDU|1|MD||||^^123456789^^^IRS^TAX",
    ],
)
def test_a_private_number_does_not_leave_as_the_number_of_a_certificate_or_of_who_gave_it(certificate: str) -> None:
    change = staff_change(certificate)
    (qualification,) = (one.value for one in change.practitioner if one.element == "qualification")
    assert "123456789" not in str(qualification)


def test_who_says_nothing_sends_them_as_before() -> None:
    assert "telecom.untyped" not in ElementSettings().withheld()
    assert "telecom.untyped" in ElementSettings(untyped_phone="withhold").withheld()
    assert not any(
        name.startswith("telecom") for name in ElementSettings(untyped_phone="withhold", home_phone=True).withheld()
    )


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("^WPN^PH^^001^612^5550101", "+1 612 5550101"),
        ("^WPN^PH^^+001^612^5550101", "+1 612 5550101"),
        ("^WPN^PH^^0044^113^4960123", "+44 113 4960123"),
        ("^WPN^PH^^+44^113^4960123", "+44 113 4960123"),
        ("^WPN^PH^^000^612^5550101", "612 5550101"),
        ("tel:+1-612-555-0101^WPN^PH", "+1-612-555-0101"),
    ],
)
def test_a_country_is_written_as_people_dial_it(sent: str, value: str) -> None:
    (point,) = [one.value for one in staff_change(f10=sent).practitioner if one.element == "telecom"]
    assert point["value"] == value


def test_rank_1_is_one_and_of_what_is_not_private_where_there_is_a_choice() -> None:
    change = staff_change(
        f10="^PRN^Internet^a@example.org~^WPN^Internet^b@example.org~^WPN^PH^c@example.org^^^5550101" + "^" * 11 + "1",
        f16="E",
    )
    ranks = {
        point.value["value"]: point.value.get("rank") for point in change.practitioner if point.element == "telecom"
    }
    assert ranks == {"a@example.org": None, "b@example.org": 1, "5550101": None, "c@example.org": None}
