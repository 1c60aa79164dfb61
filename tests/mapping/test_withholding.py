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
