"""The roles that a record describes: by unit, by department, or without; and their periods."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules.role import is_taxonomy_code
from hl7bridge.model import StaffChange
from tests.mapping.building import KEY_SYSTEM, change_of, one, said, segment, staff_change, stf, values

SITE = FeedRules(
    KEY_SYSTEM,
    authorities={"UNITS": "urn:units", "NORTH": "urn:north"},
    tables={
        "0182": {"RN": "http://snomed.info/sct|224535009|Registered nurse", "DR": "Doctor"},
        "0184": {"CARD": "urn:departments|c1|Cardiology (heart)"},
        "0327": {"J1": "urn:jobs|j1|Ward nurse"},
        "specialty": {
            "OB/GYN": "http://nucc.org/provider-taxonomy|207V00000X|Obstetrics & Gynecology",
            "KIDS": "Paediatrics",
        },
        "0453": {"HEART": "http://nucc.org/provider-taxonomy|207RC0000X|Cardiovascular Disease"},
    },
)


def roles(change: StaffChange) -> dict[str, dict[str, list[Any]]]:
    """key -> element -> values."""
    return {
        role.key: {element: values(role.values, element) for element in {value.element for value in role.values}}
        for role in change.roles
    }


# --- code ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("NURSE", [{"text": "NURSE"}]),
        ("N^Nurse^L", [{"text": "Nurse"}]),
        ("^Nurse", [{"text": "Nurse"}]),
        ("N^Nurse^L^^^^^^Night nurse", [{"text": "Night nurse"}]),
        ("N~M", [{"text": "N"}, {"text": "M"}]),
        ("N~N", [{"text": "N"}]),
        ("DR", [{"text": "Doctor"}]),
        (
            "RN",
            [{"coding": [{"system": "http://snomed.info/sct", "code": "224535009", "display": "Registered nurse"}]}],
        ),
        (
            "224535009^Nurse^SCT",
            [{"coding": [{"system": "http://snomed.info/sct", "code": "224535009", "display": "Nurse"}]}],
        ),
        (
            "MED^Medicine^HL70069",
            [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v2-0069",
                            "code": "MED",
                            "display": "Medicine",
                        }
                    ]
                }
            ],
        ),
        (
            "X^Local^L^224535009^Nurse^SCT",
            [
                {
                    "coding": [{"system": "http://snomed.info/sct", "code": "224535009", "display": "Nurse"}],
                    "text": "Local",
                }
            ],
        ),
        (
            "224535009^Nurse^SCT^^^^^^RN",
            [{"coding": [{"system": "http://snomed.info/sct", "code": "224535009", "display": "Nurse"}], "text": "RN"}],
        ),
        ('""^""', []),
        ("^^L", []),
    ],
)
def test_role_code(sent: str, expected: list[Any]) -> None:
    assert values(staff_change(f4=sent, rules=SITE).shared_role, "code") == expected


def test_every_field_that_says_what_the_person_does() -> None:
    change = staff_change("PRA|K1||CFP", f4="P", f9="MED", f19="J1^F^Ward duty", f39="T", rules=SITE)
    found = [(v.provenance.text, v.value.get("text")) for v in change.shared_role if v.element == "code"]
    assert found == [("STF-4", "P"), ("STF-9", "MED"), ("STF-19", "Ward duty"), ("STF-39", "T"), ("PRA-3", "CFP")]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("J1", {"coding": [{"system": "urn:jobs", "code": "j1", "display": "Ward nurse"}]}),
        ("J2^F^Porter", {"text": "Porter"}),
        ("J2&Porter&L^F", {"text": "Porter"}),
        ("J2", {"text": "J2"}),
        ("^F^Porter", {"text": "Porter"}),
    ],
)
def test_job_code(sent: str, expected: dict[str, Any]) -> None:
    assert values(staff_change(f19=sent, rules=SITE).shared_role, "code") == [expected]


def test_job_title_only_where_no_code_says_it() -> None:
    assert values(staff_change(f18="Matron").shared_role, "code") == [{"text": "Matron"}]
    assert values(staff_change(f18="Matron", f4="RN").shared_role, "code") == [{"text": "RN"}]


def test_unmapped_codes_are_sent_as_text_and_said() -> None:
    record = one(stf(f4="N", f8="C^Cardiology^L"), "PRA|K1||ST")
    assert said(record) == ["unmapped-code@STF-4.1", "unmapped-code@STF-8.1", "unmapped-code@PRA-3.1"]
    assert {finding.severity.value for finding in record.findings} == {"I"}


def test_a_date_where_a_code_belongs_is_no_code() -> None:
    record = one(stf(f8="20000101", f9="20000101"))
    assert said(record) == ["shifted-field@STF-8", "shifted-field@STF-9"]
    assert change_of(record).roles == ()
    assert change_of(record).shared_role == ()


# --- specialty -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "specialty", "qualification"),
    [
        ("CARDIOLOGY", {"text": "CARDIOLOGY"}, None),
        ("207RC0000X", {"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "207RC0000X"}]}, None),
        ("KIDS", {"text": "Paediatrics"}, None),
        (
            "OB/GYN^Board^C^19790123",
            {
                "coding": [
                    {
                        "system": "http://nucc.org/provider-taxonomy",
                        "code": "207V00000X",
                        "display": "Obstetrics & Gynecology",
                    }
                ],
                "text": "OB/GYN",
            },
            {
                "code": {
                    "coding": [
                        {
                            "system": "http://nucc.org/provider-taxonomy",
                            "code": "207V00000X",
                            "display": "Obstetrics & Gynecology",
                        }
                    ],
                    "text": "OB/GYN",
                },
                "issuer": {"display": "Board"},
                "period": {"start": "1979-01-23"},
            },
        ),
        ("KIDS^Board^E^19790123", {"text": "Paediatrics"}, None),
        ("KIDS^^C", {"text": "Paediatrics"}, {"code": {"text": "Paediatrics"}}),
    ],
)
def test_specialty(sent: str, specialty: dict[str, Any], qualification: dict[str, Any] | None) -> None:
    change = staff_change(f"PRA|K1||||{sent}", rules=SITE)
    assert values(change.shared_role, "specialty") == [specialty]
    assert values(change, "qualification") == ([qualification] if qualification else [])


def test_coded_specialty_is_read_and_said() -> None:
    record = one(stf(), "PRA|K1||||CARD^Cardiology^HL70186")
    assert said(record) == ["coded-specialty@PRA-5"]
    (value,) = values(change_of(record).shared_role, "specialty")
    assert value["coding"][0]["display"] == "Cardiology"
    assert said(one(stf(), "PRA|K1||||KIDS^Board^MAIN", rules=SITE)) == ["unmapped-code@PRA-5.3"]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("207R00000X", True),
        ("2084P0800X", True),
        ("207R000000", False),
        ("207R0000X", False),
        ("CARDIOLOGX", False),
        ("207r00000X", False),
    ],
)
def test_taxonomy_code(text: str, is_one: bool) -> None:
    assert is_taxonomy_code(text) is is_one


# --- units -----------------------------------------------------------------------------------------------------------


def test_without_a_unit_the_values_are_shared() -> None:
    change = staff_change(f4="RN")
    assert change.roles == ()
    assert [(v.element, v.value) for v in change.shared_role] == [("code", {"text": "RN"})]


def test_one_role_per_department_with_what_holds_for_all() -> None:
    change = staff_change(f4="RN", f8="CARD^Cardiology~ONC^Oncology^UNITS", f10="^WPN^PH^^^^1", rules=SITE)
    assert change.shared_role == ()
    assert [(role.key, role.origin) for role in change.roles] == [("STF-8:CARD", "STF-8"), ("STF-8:ONC", "STF-8")]
    found = roles(change)
    assert found["STF-8:CARD"]["organization"] == [
        {"identifier": {"system": "urn:departments", "value": "c1"}, "display": "Cardiology (heart)"}
    ]
    assert found["STF-8:ONC"]["organization"] == [
        {"identifier": {"system": "urn:units", "value": "ONC"}, "display": "Oncology"}
    ]
    for role in found.values():
        assert len(role["code"]) == len(role["telecom"]) == 1


def test_department_without_a_code_goes_by_its_name() -> None:
    assert [role.key for role in staff_change(f8="^ICU").roles] == ["STF-8:ICU"]


def test_the_same_department_twice_is_one_role() -> None:
    record = one(stf(f8="^ICU~^ICU"))
    assert len(change_of(record).roles) == 1
    assert said(record) == ["duplicate-role@STF-8"]


def test_org_lists_the_units_before_departments_do() -> None:
    change = staff_change(
        "PRA|K1||ST",
        "ORG|1|CARD^Cardiology^UNITS|D|Y|7^^^NORTH^EI|||207RC0000X^Cardiology^NUCC|20200101^20291231",
        "ORG|2|ONC^Oncology",
        f8="X",
        rules=SITE,
    )
    assert [(role.key, role.origin) for role in change.roles] == [("ORG:CARD|207RC0000X", "ORG"), ("ORG:ONC|", "ORG")]
    first, second = change.roles
    assert roles(change)["ORG:CARD|207RC0000X"] == {
        "organization": [{"identifier": {"system": "urn:units", "value": "CARD"}, "display": "Cardiology"}],
        "specialty": [
            {"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "207RC0000X", "display": "Cardiology"}]}
        ],
        "identifier": [
            {
                "system": "urn:north",
                "value": "7",
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "EI"}]},
            }
        ],
        "period": [{"start": "2020-01-01", "end": "2029-12-31"}],
        "code": [{"text": "ST"}],
    }
    assert values(second.values, "code") == [{"text": "ST"}]
    assert first.values[0].provenance.text == "ORG-2"


@pytest.mark.parametrize(
    ("fields", "key", "specialties", "codes"),
    [
        (
            {"f6": "20^Physicians", "f7": "207R00000X^Internal", "f8": "207RC0000X^Cardio"},
            "ORG:U|207RC0000X",
            1,
            ["Internal", "Physicians"],
        ),
        ({"f6": "20", "f7": "207R00000X"}, "ORG:U|207R00000X", 1, []),
        ({"f7": "HEART"}, "ORG:U|207RC0000X", 1, []),
        ({"f6": "P"}, "ORG:U|", 0, []),
        ({"f6": "P^Physician"}, "ORG:U|", 1, []),
        ({}, "ORG:U|", 0, []),
    ],
)
def test_the_most_specific_taxonomy_code_is_the_specialty(
    fields: dict[str, str], key: str, specialties: int, codes: list[str]
) -> None:
    (role,) = staff_change(segment("ORG", f1="1", f2="U", **fields), rules=SITE).roles
    assert role.key == key
    assert len(values(role.values, "specialty")) == specialties
    assert [code["text"] for code in values(role.values, "code")] == codes


def test_unit_without_a_code_is_that_of_pra_9_or_none() -> None:
    change = staff_change("PRA|K1||||||||NORTH^North Hospital", "ORG|1||||||||20200101")
    assert [role.key for role in change.roles] == ["ORG:NORTH|"]
    record = one(stf(), "ORG|1||||||||20200101")
    assert said(record) == ["unit-missing@ORG-2"]
    assert change_of(record).roles == ()


def test_unit_identifier_without_a_system_is_left_out() -> None:
    record = one(stf(), "ORG|1|U|||7^^^SOUTH")
    assert said(record) == ["unmapped-code@ORG-2.1", "unmapped-authority@ORG-5"]
    assert values(change_of(record).roles[0].values, "identifier") == []


@pytest.mark.parametrize(
    ("pra", "expected", "field"),
    [
        ("PRA|K1|GRP^Group practice", "Group practice", "PRA-2"),
        ("PRA|K1|GRP^Group practice|||||||NORTH^North Hospital", "North Hospital", "PRA-9"),
    ],
)
def test_practice_is_the_unit_where_no_other_is(pra: str, expected: str, field: str) -> None:
    (organization,) = [v for v in staff_change(pra).shared_role if v.element == "organization"]
    assert (organization.value["display"], organization.provenance.text) == (expected, field)
    assert values(staff_change(pra, f8="^ICU").roles[0].values, "organization") == [{"display": "ICU"}]


# --- period ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "segments", "expected"),
    [
        ({"f12": "20200101"}, [], {"start": "2020-01-01"}),
        ({"f12": "20200101^NORTH", "f13": "20291231^NORTH"}, [], {"start": "2020-01-01", "end": "2029-12-31"}),
        ({"f12": "20200101^N&North Hospital&L01"}, [], {"start": "2020-01-01"}),
        ({"f13": "20291231"}, [], {"end": "2029-12-31"}),
        ({"f12": "20200101120000"}, [], {"start": "2020-01-01T12:00:00+00:00"}),
        ({"f12": "20200101", "f34": "20210101^20221231"}, [], {"start": "2021-01-01", "end": "2022-12-31"}),
        ({}, ["PRA|K1|||||||20180101||20301231"], {"start": "2018-01-01", "end": "2030-12-31"}),
        ({"f12": "20200101"}, ["PRA|K1|||||||20180101"], {"start": "2020-01-01"}),
    ],
)
def test_period(fields: dict[str, str], segments: list[str], expected: dict[str, str]) -> None:
    assert values(staff_change(*segments, **fields).shared_role, "period") == [expected]
    assert values(staff_change(*segments, f8="^ICU", **fields).roles[0].values, "period") == [expected]


def test_dates_belong_to_the_unit_that_goes_by_the_institution() -> None:
    record = one(stf(f8="CARD^Cardiology~ONC^Oncology", f12="20200101^ONC~20180101^CARDIOLOGY~20100101^ELSEWHERE"))
    change = change_of(record)
    assert {role.key: values(role.values, "period") for role in change.roles} == {
        "STF-8:CARD": [{"start": "2018-01-01"}],
        "STF-8:ONC": [{"start": "2020-01-01"}],
    }
    assert "institution-unmatched@STF-12" in said(record)
    (period,) = [v for v in change.roles[0].values if v.element == "period"]
    assert period.provenance.text == "STF-12[2]"


def test_one_institution_that_is_no_unit_is_the_house_of_all() -> None:
    change = staff_change(f8="^A~^B", f12="20200101^NORTH", f13="20291231^NORTH")
    assert [values(role.values, "period") for role in change.roles] == [
        [{"start": "2020-01-01", "end": "2029-12-31"}]
    ] * 2


def test_several_institutions_that_are_no_units_date_nothing() -> None:
    record = one(stf(f4="P", f12="20200101^A~20210101^B"))
    assert values(change_of(record).shared_role, "period") == []
    assert said(record).count("institution-unmatched@STF-12") == 2


def test_practice_dates_are_of_their_institution() -> None:
    change = staff_change("PRA|K1|||||||20180101|B", f8="A~B")
    assert [values(role.values, "period") for role in change.roles] == [[], [{"start": "2018-01-01"}]]


def test_period_that_ends_before_it_starts_is_left_out_and_said_once() -> None:
    record = one(stf(f8="^A~^B", f12="20091211", f13="20081101"))
    assert said(record) == ["period-reversed@STF-13"]
    assert all(values(role.values, "period") == [] for role in change_of(record).roles)


def test_contradicting_relationship_period_stands_and_is_said() -> None:
    assert said(one(stf(f12="20200101", f34="20210101"))) == ["period-conflict@STF-12"]
    assert said(one(stf(f12="20210101", f34="20210101"))) == []


def test_own_period_of_a_unit_stands_before_the_institution_dates() -> None:
    record = one(stf(f12="20200101"), "ORG|1|^A|||||||20210101")
    assert values(change_of(record).roles[0].values, "period") == [{"start": "2021-01-01"}]
    assert said(record) == []


def test_end_of_a_role_ends_nobody() -> None:
    change = staff_change(f7="A", f13="20200101")
    assert change.active is True


def test_invalid_dates_are_said() -> None:
    assert said(one(stf(f12="MORNING", f34="A^B", f35="X"))) == [
        "shifted-field@STF-12.1",
        "invalid-time@STF-34.1",
        "invalid-time@STF-34.2",
        "invalid-time@STF-35",
    ]


@pytest.mark.parametrize(
    ("segments", "keys"),
    [
        ([stf(f8="R&D1^Research~R&D2^Development")], ["STF-8:R&D1", "STF-8:R&D2"]),
        ([stf(f8="R&D1~R&D2")], ["STF-8:R&D1", "STF-8:R&D2"]),
        ([stf(), "ORG|1|R&D1", "ORG|2|R&D2"], ["ORG:R&D1|", "ORG:R&D2|"]),
        ([stf(f8="^Lab & Path")], ["STF-8:Lab & Path"]),
        ([stf(f8=r"R\T\D1")], ["STF-8:R&D1"]),
    ],
)
def test_a_unit_is_not_cut_at_a_separator_that_was_not_escaped(segments: list[str], keys: list[str]) -> None:
    record = one(*segments)
    assert [role.key for role in change_of(record).roles] == keys
    assert "duplicate-role" not in str(said(record))


def test_the_words_of_a_code_are_whole() -> None:
    change = staff_change(f4="L&D^Labour & Delivery")
    assert values(change.shared_role, "code") == [{"text": "Labour & Delivery"}]
