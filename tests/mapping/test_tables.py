"""The tables agree with the code that reads them, and sites can override them by key."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hl7bridge.errors import ConfigError
from hl7bridge.mapping.explain import MAPPING_VERSION
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules import tables
from hl7bridge.mapping.rules.draft import FIELD_RULES, SEGMENT_RULES
from hl7bridge.mapping.rules.plans import FOR_SITES, fields_in_force, plans_for
from hl7bridge.model import Action
from tests.mapping.building import (
    KEY_SYSTEM,
    RULES,
    change_of,
    message,
    mfe,
    one,
    said,
    staff_change,
    stf,
    translate,
    values,
)

FIELDS = tables.field_table()
LENGTHS = {"STF": 41, "PRA": 12, "ORG": 13, "LAN": 4, "EDU": 9, "CER": 31}


@pytest.mark.parametrize(("segment", "length"), LENGTHS.items())
def test_every_field_has_a_row_that_maps_it_or_says_why_not(segment: str, length: int) -> None:
    numbers = sorted(int(place.partition("-")[2]) for place in FIELDS if place.startswith(segment + "-"))
    assert numbers == list(range(1, length + 1))


@pytest.mark.parametrize("place", FIELDS)
def test_row_names_a_rule_or_a_reason(place: str) -> None:
    row = FIELDS[place]
    if "drop" in row:
        assert set(row) == {"drop"}
        assert len(row["drop"]) > 5
    else:
        assert set(row) <= {"to", "rule", "table"}
        assert row["rule"] in FIELD_RULES or row["rule"] in SEGMENT_RULES
        element = row["to"].removeprefix("Practitioner.").removeprefix("PractitionerRole.")
        assert element in {
            "identity",
            "standing",
            "name",
            "telecom",
            "address",
            "gender",
            "birthDate",
            "qualification",
            "communication",
            "organization",
            "code",
            "specialty",
            "period",
            "notAvailable",
            "identifier",
        }


def test_every_rule_is_documented_and_used_or_offered_to_sites() -> None:
    used = {row.get("rule") for row in FIELDS.values()}
    assert set(FIELD_RULES) | set(SEGMENT_RULES) == (used - {None}) | set(FOR_SITES)
    for rule in (*FIELD_RULES.values(), *SEGMENT_RULES.values()):
        assert rule.__doc__


@pytest.mark.parametrize("number", tables.TARGETS)
def test_targets_are_words_that_fhir_or_a_rule_knows(number: str) -> None:
    assert set(tables.code_tables()[number].values()) <= tables.TARGETS[number]


def test_every_event_has_an_action_and_every_language_a_tag() -> None:
    codes = tables.code_tables()
    assert {Action(action) for action in codes["0180"].values()} == set(Action)
    assert all(" " not in tag and tag for tag in codes["0296"].values())
    assert len(codes["0296"]) > 360


@pytest.mark.parametrize(
    ("number", "target", "problem"),
    [
        ("0001", "femail", "no target of table 0001"),
        ("0180", "delete", "no target of table 0180"),
        ("0182", "|RN", "system.code.display"),
        ("0184", "urn:units||Ward", "system.code.display"),
        ("0203", "urn:x|EI", "one word"),
    ],
)
def test_table_entry_that_cannot_be_used(number: str, target: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        FeedRules(KEY_SYSTEM, tables={number: {"X": target}})


def test_unknown_time_zone() -> None:
    with pytest.raises(ConfigError, match="unknown time zone"):
        FeedRules(KEY_SYSTEM, timezone="Mars/Olympus")


def test_version_is_a_short_hash_and_grows_with_a_sites_settings() -> None:
    assert len(MAPPING_VERSION) == 12
    assert RULES.mapping_version == MAPPING_VERSION == tables.mapping_version()
    mapped = FeedRules(KEY_SYSTEM, tables={"0182": {"RN": "a|b|c"}})
    other = FeedRules(KEY_SYSTEM, tables={"0182": {"RN": "a|b|d"}})
    same = FeedRules(KEY_SYSTEM, tables={"0182": {"RN": "a|b|c"}})
    assert mapped.mapping_version.startswith(MAPPING_VERSION + "+")
    assert mapped.mapping_version == same.mapping_version != other.mapping_version
    assert FeedRules(KEY_SYSTEM, authorities={"A": "urn:a"}).mapping_version != MAPPING_VERSION
    assert change_of(one(stf(), rules=mapped)).mapping_version == mapped.mapping_version
    assert translate(message(mfe(), stf()), mapped).mapping_version == mapped.mapping_version


def test_site_codes_override_by_key_and_may_name_a_standard_code() -> None:
    site = FeedRules(
        KEY_SYSTEM, tables={"0001": {"W": "F", "X": "other"}, "0183": {"ACTIVE": "A"}, "0200": {"PRI": "L"}}
    )
    assert values(staff_change(f5="W", rules=site), "gender") == ["female"]
    assert values(staff_change(f5="X", rules=site), "gender") == ["other"]
    assert values(staff_change(f5="M", rules=site), "gender") == ["male"]
    assert staff_change(event="MUP", f7="ACTIVE", rules=site).active is True
    assert values(staff_change(f5="W"), "gender") == ["unknown"]


def test_site_languages_and_master_files() -> None:
    site = FeedRules(KEY_SYSTEM, tables={"0296": {"SP": "es", "ch": "zh"}, "0175": {"PRACT": "staff"}})
    change = staff_change("LAN|1|SP^Spanish^L", "LAN|2|ch^Chinese^L", rules=site)
    assert [v["coding"][0]["code"] for v in values(change, "communication")] == ["es", "zh"]
    assert said(translate(message("MFI|PRACT||UPD", mfe(), stf()), site)) == []


def test_site_field_rows_replace_packaged_ones() -> None:
    site = FeedRules(
        KEY_SYSTEM,
        fields={
            "STF-5": {"drop": "not wanted here"},
            "STF-9": {"to": "PractitionerRole.healthcareService", "rule": "healthcare_service"},
            "STF-20": {"to": "PractitionerRole.code", "rule": "role_code", "table": "0066"},
            "ZST-1": {"to": "PractitionerRole.code", "rule": "job_title"},
        },
    )
    change = staff_change("ZST|Matron", f5="F", f9="MED^Medicine", f20="FT^Full time", rules=site)
    assert values(change, "gender") == []
    assert [(v.element, v.value, v.provenance.text) for v in change.shared_role] == [
        ("healthcareService", {"display": "Medicine"}, "STF-9"),
        ("code", {"text": "Full time"}, "STF-20"),
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"STF-5": {"rule": "gendr"}}, "Did you mean 'gender'"),
        ({"STF-5": {}}, "unknown rule"),
        ({"STF": {"drop": "x"}}, "not a field"),
        ({"STF-x": {"drop": "x"}}, "not a field"),
    ],
)
def test_field_row_that_cannot_be_used(fields: Mapping[str, Mapping[str, str]], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        fields_in_force(FeedRules(KEY_SYSTEM, fields=fields))


def test_plans_are_compiled_once_per_feed() -> None:
    assert plans_for(RULES) is plans_for(RULES)
    assert set(plans_for(RULES)) == set(LENGTHS)


def test_lifecycle_events_read_who_and_in_what_standing() -> None:
    deciding = [row.label for row in plans_for(RULES)["STF"].deciding.values()]
    assert deciding == ["STF-1", "STF-2", "STF-7", "STF-13", "STF-22", "STF-29", "STF-32", "STF-35", "STF-37", "STF-38"]
    assert [row.label for row in plans_for(RULES)["PRA"].deciding.values()] == ["PRA-1", "PRA-6"]
