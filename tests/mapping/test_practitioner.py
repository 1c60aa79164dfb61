"""Field by field, what becomes of Practitioner."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import explain
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import StaffChange
from tests.mapping.building import (
    KEY_SYSTEM,
    NOW,
    RULES,
    change_of,
    errors,
    message,
    mfe,
    one,
    said,
    segment,
    staff_change,
    stf,
    values,
)

SID = "http://terminology.hl7.org/CodeSystem/v2-"


# --- STF-3 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("Rossi^Ada", {"use": "official", "family": "Rossi", "given": ["Ada"]}),
        ("Rossi", {"use": "official", "family": "Rossi"}),
        ("Rossi^^Mia", {"use": "official", "family": "Rossi", "given": ["Mia"]}),
        (
            "Rossi^Ada^Mia^JR^Dr^MD",
            {"use": "official", "family": "Rossi", "given": ["Ada", "Mia"], "prefix": ["Dr"], "suffix": ["JR", "MD"]},
        ),
        ("Rossi^Ada^^^^MD^^^^^^^^MD", {"use": "official", "family": "Rossi", "given": ["Ada"], "suffix": ["MD"]}),
        (
            "Rossi^Ada^^^^MD^^^^^^^^FRCP",
            {"use": "official", "family": "Rossi", "given": ["Ada"], "suffix": ["MD", "FRCP"]},
        ),
        ("Rossi^Ada^^^^^M", {"use": "maiden", "family": "Rossi", "given": ["Ada"]}),
        ("Rossi^Ada^^^^^S", {"family": "Rossi", "given": ["Ada"]}),
        (
            "Rossi^Ada^^^^^L^^^20200101&20251231",
            {
                "use": "official",
                "family": "Rossi",
                "given": ["Ada"],
                "period": {"start": "2020-01-01", "end": "2025-12-31"},
            },
        ),
        (
            "Rossi^Ada^^^^^L^^^^^20200101^20251231",
            {
                "use": "official",
                "family": "Rossi",
                "given": ["Ada"],
                "period": {"start": "2020-01-01", "end": "2025-12-31"},
            },
        ),
        ('Rossi^""^""', {"use": "official", "family": "Rossi"}),
        ("  Rossi ^ Ada ", {"use": "official", "family": "Rossi", "given": ["Ada"]}),
        ("R\\T\\B^Ada", {"use": "official", "family": "R&B", "given": ["Ada"]}),
        ("Łuczak^Zoë", {"use": "official", "family": "Łuczak", "given": ["Zoë"]}),
        (
            "van Dam&van&Dam^Eva",
            {
                "use": "official",
                "family": "van Dam",
                "_family": {
                    "extension": [
                        {"url": "http://hl7.org/fhir/StructureDefinition/humanname-own-prefix", "valueString": "van"},
                        {"url": "http://hl7.org/fhir/StructureDefinition/humanname-own-name", "valueString": "Dam"},
                    ]
                },
                "given": ["Eva"],
            },
        ),
    ],
)
def test_name(sent: str, expected: dict[str, Any]) -> None:
    assert values(staff_change(name=sent), "name") == [expected]


def test_several_names_and_what_the_person_is_called() -> None:
    names = values(staff_change(name="Rossi^Ada^^^^^L^^^^^^^^Addie~Bianchi^Ada^^^^^M~Rossi^A"), "name")
    assert [name.get("use") for name in names] == ["official", "nickname", "maiden", None]
    assert names[1] == {"use": "nickname", "given": ["Addie"]}


def test_second_name_knows_its_repetition() -> None:
    change = staff_change(name="Rossi^Ada~Bianchi^Ada^^^^^M")
    assert [(v.provenance.text, v.rule) for v in change.practitioner] == [
        ("STF-3", "person_name"),
        ("STF-3[2]", "person_name"),
    ]


def test_unknown_name_type_is_said_and_left_out() -> None:
    record = one(stf(name="Rossi^Ada~Bianchi^Ada^^^^^ZZ"))
    assert said(record) == ["unmapped-code@STF-3[2].7"]
    assert values(change_of(record), "name")[1] == {"family": "Bianchi", "given": ["Ada"]}


@pytest.mark.parametrize("event", ["MAD", "MUP", "MAC"])
@pytest.mark.parametrize("name", ["^Ada", '""', '""^Ada', "~^Ada", " ^Ada"])
def test_empty_family_name_is_an_error(event: str, name: str) -> None:
    record = one(stf(name=name), event=event)
    (error,) = errors(record)
    assert (error.code, error.local, str(error.location)) == ("101", "family-name-missing", "STF-3.1")
    assert record.change is None


def test_name_is_required_to_add_and_left_alone_by_an_update() -> None:
    assert [error.local for error in errors(one(stf(name=""), event="MAD"))] == ["family-name-missing"]
    change = change_of(one(stf(name="", f5="F"), event="MUP"))
    assert not change.complete
    assert values(change, "name") == []
    assert staff_change(event="MUP").complete


# --- STF-5, STF-6 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("F", "female"),
        ("M", "male"),
        ("O", "other"),
        ("U", "unknown"),
        ("A", "other"),
        ("N", "other"),
        ("F^Female^HL70001", "female"),
    ],
)
def test_gender(sent: str, expected: str) -> None:
    assert values(staff_change(f5=sent), "gender") == [expected]


def test_other_sex_code_is_unknown_and_said() -> None:
    record = one(stf(f5="UNKNOWN"))
    assert values(change_of(record), "gender") == ["unknown"]
    assert said(record) == ["unmapped-code@STF-5"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("19790412", "1979-04-12"),
        ("197904", "1979-04"),
        ("1979", "1979"),
        ("19790412083000+0100", "1979-04-12"),
        ("19790412^L", "1979-04"),
    ],
)
def test_birth_date(sent: str, expected: str) -> None:
    assert values(staff_change(f6=sent), "birthDate") == [expected]


def test_what_is_no_date_is_said_and_left_out() -> None:
    record = one(stf(f6="A"))
    assert values(change_of(record), "birthDate") == []
    assert said(record) == ["shifted-field@STF-6"]


# --- STF-10, STF-15, STF-16 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("^WPN^PH^^44^113^4960123", [{"system": "phone", "value": "+44 113 4960123", "use": "work"}]),
        ("^WPN^PH^^+44^113^4960123", [{"system": "phone", "value": "+44 113 4960123", "use": "work"}]),
        ("^WPN^PH^^^555^5550101^12", [{"system": "phone", "value": "555 5550101 X12", "use": "work"}]),
        ("^PRN^PH^^^^5550101", [{"system": "phone", "value": "5550101", "use": "home"}]),
        ("^WPN^CP^^44^7700^900123", [{"system": "phone", "value": "+44 7700 900123", "use": "mobile"}]),
        ("^PRN^CP^^44^7700^900123", [{"system": "phone", "value": "+44 7700 900123", "use": "mobile"}]),
        ("^PRS^CP^^44^7700^900123", [{"system": "phone", "value": "+44 7700 900123", "use": "mobile"}]),
        ("^WPN^FX^^^555^5550102", [{"system": "fax", "value": "555 5550102", "use": "work"}]),
        ("^WPN^BP^^^555^5550103", [{"system": "pager", "value": "555 5550103", "use": "work"}]),
        ("^WPN^TDD^^^555^5550104", [{"system": "other", "value": "555 5550104", "use": "work"}]),
        ("^NET^Internet^ada@example.org", [{"system": "email", "value": "ada@example.org"}]),
        ("^WPN^X.400^ada@example.org", [{"system": "email", "value": "ada@example.org", "use": "work"}]),
        (
            "^WPN^Internet^https://example.org/ada",
            [{"system": "url", "value": "https://example.org/ada", "use": "work"}],
        ),
        ("^NET^^ada@example.org", [{"system": "email", "value": "ada@example.org"}]),
        ("ada@example.org^NET^Internet", [{"system": "email", "value": "ada@example.org"}]),
        (
            "(555)555-0101^WPN^PH^ada@example.org^^555^5550101",
            [
                {"system": "phone", "value": "555 5550101", "use": "work"},
                {"system": "email", "value": "ada@example.org", "use": "work"},
            ],
        ),
        ("(555)555-0101^WPN^PH", [{"system": "phone", "value": "(555)555-0101", "use": "work"}]),
        ("^WPN^PH^^^^^^^^^+1 555 555 0101", [{"system": "phone", "value": "+1 555 555 0101", "use": "work"}]),
        ("(555)555-0101X345CO", [{"system": "phone", "value": "(555)555-0101X345CO"}]),
        ("ada@example.org", [{"system": "email", "value": "ada@example.org"}]),
        (
            "^WPN^PH^^^555^5550101^^^^^^20200101^20301231^^^^2",
            [
                {
                    "system": "phone",
                    "value": "555 5550101",
                    "use": "work",
                    "period": {"start": "2020-01-01", "end": "2030-12-31"},
                    "rank": 2,
                }
            ],
        ),
        ("^WPN^PH", []),
        ("^WPN^PH^^^555", []),
        ("~^WPN^PH^^^^5550101", [{"system": "phone", "value": "5550101", "use": "work"}]),
    ],
)
def test_telecom(sent: str, expected: list[dict[str, Any]]) -> None:
    assert values(staff_change(f10=sent), "telecom") == expected


@pytest.mark.parametrize(
    ("sent", "finding", "count"),
    [
        ("HOSPITAL^^^LOC", "shifted-field@STF-10", 0),
        ("5550101^5550102^ada@example.org", "shifted-field@STF-10.2", 1),
        ("5550101^HOUSE", "unmapped-code@STF-10.2", 1),
        ("5550101^WPN^DRUM", "unmapped-code@STF-10.3", 1),
    ],
)
def test_odd_phones_are_said(sent: str, finding: str, count: int) -> None:
    record = one(stf(f10=sent))
    assert finding in said(record)
    assert len(values(change_of(record), "telecom")) == count


def test_work_phones_are_the_roles_too_and_others_not() -> None:
    change = staff_change(f10="^WPN^PH^^^^5550101~^PRN^PH^^^^5550102~5550103")
    assert len(values(change, "telecom")) == 3
    assert values(change.shared_role, "telecom") == [{"system": "phone", "value": "5550101", "use": "work"}]


def test_email_field() -> None:
    change = staff_change(f10="^NET^Internet^ada@example.org", f15="ada@example.org~a.rossi@example.org")
    assert [point["value"] for point in values(change, "telecom")] == ["ada@example.org", "a.rossi@example.org"]
    record = one(stf(f15="A^Active"))
    assert said(record) == ["shifted-field@STF-15"]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("O", "1"),
        ("H", "2"),
        ("C", "3"),
        ("F", "4"),
        ("B", "5"),
        ("E", "ada@example.org"),
        ("E^E-mail^HL70185", "ada@example.org"),
    ],
)
def test_preferred_contact_gets_rank_1(code: str, value: str) -> None:
    phones = "^WPN^PH^^^^1~^PRN^PH^^^^2~^WPN^CP^^^^3~^WPN^FX^^^^4~^WPN^BP^^^^5~^WPN^PH^^^^6"
    change = staff_change(f10=phones, f15="ada@example.org", f16=code)
    ranked = [point["value"] for point in values(change, "telecom") if point.get("rank") == 1]
    assert ranked == [value]
    in_roles = [point["value"] for point in values(change.shared_role, "telecom") if point.get("rank") == 1]
    assert in_roles == [v for v in ranked if v in ("1", "3", "4", "5")]


def test_preferred_contact_that_is_not_there_changes_nothing() -> None:
    record = one(stf(f10="^WPN^PH^^^^1", f16="B"))
    assert "rank" not in values(change_of(record), "telecom")[0]
    assert said(one(stf(f16="X"))) == ["unmapped-code@STF-16"]


# --- STF-11 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            "1 High St^Floor 2^Leeds^WY^LS1 4AP^GBR^O",
            {
                "use": "work",
                "line": ["1 High St", "Floor 2"],
                "city": "Leeds",
                "state": "WY",
                "postalCode": "LS1 4AP",
                "country": "GBR",
            },
        ),
        ("4 Elm Row^^Leeds^^LS6^^H", {"use": "home", "line": ["4 Elm Row"], "city": "Leeds", "postalCode": "LS6"}),
        ("4 Elm Row^^Leeds^^LS6", {"line": ["4 Elm Row"], "city": "Leeds", "postalCode": "LS6"}),
        ("PO Box 7^^Leeds^^LS6^^M", {"type": "postal", "line": ["PO Box 7"], "city": "Leeds", "postalCode": "LS6"}),
        ("&Elm Row&4^^Leeds", {"line": ["Elm Row 4"], "city": "Leeds"}),
        ("4 Elm Row&Elm Row&4^^Leeds", {"line": ["4 Elm Row"], "city": "Leeds"}),
        ("4 Elm Row^^Leeds^^^^B^^Yorks", {"use": "work", "line": ["4 Elm Row"], "city": "Leeds", "district": "Yorks"}),
        (
            "4 Elm Row^^Leeds^^^^C^^^^^20200101&20211231",
            {
                "use": "temp",
                "line": ["4 Elm Row"],
                "city": "Leeds",
                "period": {"start": "2020-01-01", "end": "2021-12-31"},
            },
        ),
        (
            "4 Elm Row^^Leeds^^^^C^^^^^^20200101^20211231",
            {
                "use": "temp",
                "line": ["4 Elm Row"],
                "city": "Leeds",
                "period": {"start": "2020-01-01", "end": "2021-12-31"},
            },
        ),
        ("4 Elm Row^2^Leeds^^^^O^^^^^^^^^^^^c/o", {"use": "work", "line": ["4 Elm Row", "2", "c/o"], "city": "Leeds"}),
    ],
)
def test_address(sent: str, expected: dict[str, Any]) -> None:
    assert values(staff_change(f11=sent), "address") == [expected]


@pytest.mark.parametrize("kind", ["N", "F", "BR", "BDL"])
def test_birth_place_is_never_sent(kind: str) -> None:
    assert values(staff_change(f11=f"^^Leeds^^^GBR^{kind}"), "address") == []


@pytest.mark.parametrize(
    "sent", ["4 Elm Row^^Leeds, WY^48104^O", "4 Elm Row^^Leeds^WY^48104^H", "123-456-7890", "4^^^^^^"]
)
def test_shifted_address_is_said_and_left_out(sent: str) -> None:
    record = one(stf(f11=sent))
    assert said(record) == ["shifted-field@STF-11"]
    assert values(change_of(record), "address") == []


@pytest.mark.parametrize("sent", ["^^^^^GBR^O", "^^^^^^O", "~"])
def test_address_without_a_place_is_none(sent: str) -> None:
    assert values(staff_change(f11=sent), "address") == []


def test_unknown_address_type_is_said() -> None:
    record = one(stf(f11="4 Elm Row^^Leeds^^^^BUSIN"))
    assert said(record) == ["unmapped-code@STF-11.7"]
    assert "use" not in values(change_of(record), "address")[0]


# --- LAN, EDU, CER ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            "fr^French^ISO639",
            {"coding": [{"system": "urn:ietf:bcp:47", "code": "fr", "display": "French"}], "text": "French"},
        ),
        ("FRE^^ISO639", {"coding": [{"system": "urn:ietf:bcp:47", "code": "fr"}]}),
        ("fra", {"coding": [{"system": "urn:ietf:bcp:47", "code": "fr"}]}),
        ("EN", {"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]}),
        ("en-gb", {"coding": [{"system": "urn:ietf:bcp:47", "code": "en-GB"}]}),
        (
            "haw^Hawaiian",
            {"coding": [{"system": "urn:ietf:bcp:47", "code": "haw", "display": "Hawaiian"}], "text": "Hawaiian"},
        ),
        ("^Klingon", {"text": "Klingon"}),
        ("QQ^Quechuan^L", {"text": "Quechuan"}),
        ("ch^Chinese^L", {"text": "Chinese"}),
    ],
)
def test_language(sent: str, expected: dict[str, Any]) -> None:
    assert values(staff_change(f"LAN|1|{sent}"), "communication") == [expected]


def test_one_language_once_though_each_ability_has_a_segment() -> None:
    change = staff_change("LAN|1|fr|1^READ", "LAN|2|fr|2^WRITE", "LAN|3|es|3")
    assert [v["coding"][0]["code"] for v in values(change, "communication")] == ["fr", "es"]


def test_no_ability_is_no_language() -> None:
    change = staff_change("LAN|1|fr|3|6^None^HL70404", "LAN|2|es|3|1", "LAN|3|de|1|6", "LAN|4|de|3|2")
    assert [v["coding"][0]["code"] for v in values(change, "communication")] == ["es", "de"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            "EDU|1|MD^Doctor of Medicine^HL70360|||19890604|LEEDS SCHOOL^L",
            {
                "code": {"coding": [{"system": SID + "0360", "code": "MD", "display": "Doctor of Medicine"}]},
                "period": {"start": "1989-06-04"},
                "issuer": {"display": "LEEDS SCHOOL"},
            },
        ),
        ("EDU|1|M.D.", {"code": {"coding": [{"system": SID + "0360", "code": "MD"}]}}),
        ("EDU|1|Ph.D.", {"code": {"coding": [{"system": SID + "0360", "code": "PHD"}]}}),
        ("EDU|1|PharmD", {"code": {"coding": [{"system": SID + "0360", "code": "PharmD"}]}}),
        ("EDU|1|LIC^Licentiate^L", {"code": {"text": "Licentiate"}}),
        ("EDU|1|BA|||||||^History", {"code": {"coding": [{"system": SID + "0360", "code": "BA"}], "text": "History"}}),
        ("EDU|1||||19890604||||^History", {"code": {"text": "History"}, "period": {"start": "1989-06-04"}}),
    ],
)
def test_education(sent: str, expected: dict[str, Any]) -> None:
    assert values(staff_change(sent), "qualification") == [expected]


def test_education_without_degree_and_subject_is_none() -> None:
    assert values(staff_change("EDU|1|||||LEEDS SCHOOL"), "qualification") == []


@pytest.mark.parametrize(
    "education",
    [
        "EDU|1|BA|19810901^19850601|LEEDS SCHOOL^L|U^HL70402|456 Main",
        "EDU|1|BA||||LEEDS SCHOOL^L|1 High Street^^Northlake^MN^55501^USA^B",
        "EDU|1|BA||||dean@example.org",
        "EDU|1|^WPN^PH^^1^612^5550196",
    ],
)
def test_of_shifted_education_nothing_is_written_and_that_is_said(education: str) -> None:
    record = one(stf(), education)
    assert {local.split("@")[0] for local in said(record)} == {"shifted-field"}
    assert values(change_of(record), "qualification") == []


def test_certificate() -> None:
    change = staff_change(
        segment(
            "CER",
            f1="1",
            f2="S-77",
            f4="State Board^L",
            f10="RN^Registered nurse^L",
            f11="PED^Paediatrics^L",
            f23="20100101",
            f24="20100201",
            f25="20100301",
            f26="20301231",
            f27="20281231",
        )
    )
    assert values(change, "qualification") == [
        {
            "code": {"text": "Registered nurse (Paediatrics)"},
            "identifier": [{"value": "S-77", "assigner": {"display": "State Board"}}],
            "period": {"start": "2010-03-01", "end": "2028-12-31"},
            "issuer": {"display": "State Board"},
        }
    ]


@pytest.mark.parametrize(
    ("status", "end"),
    [("R", "2026-03-18"), ("E", "2026-03-18"), ("I^Inactive", "2026-03-18"), ("V", None), ("P", None), ("", None)],
)
def test_status_ends_a_certificate_that_has_no_end(status: str, end: str | None) -> None:
    change = staff_change(segment("CER", f10="RN", f25="20100301", f31=status))
    (qualification,) = values(change, "qualification")
    assert qualification["period"].get("end") == end


@pytest.mark.parametrize(
    ("revoked", "expires", "end"),
    [
        ("20260701", "2027", "2026-07-01"),
        ("20260701", "2026", "2026-07-01"),  # a year ends with its last day
        ("2026", "20260701", "2026-07-01"),
        ("202607", "2026", "2026-07"),
        ("20260731", "202607", "2026-07-31"),
    ],
)
def test_of_the_ends_of_a_certificate_the_earliest_counts(revoked: str, expires: str, end: str) -> None:
    change = staff_change(segment("CER", f10="RN", f25="20100301", f29=revoked, f27=expires))
    (qualification,) = values(change, "qualification")
    assert qualification["period"]["end"] == end


def test_certificate_of_a_domain_alone_and_of_nothing() -> None:
    assert values(staff_change(segment("CER", f2="7", f11="PED")), "qualification")[0]["code"] == {"text": "PED"}
    record = one(stf(), segment("CER", f2="7", f25="20100301"))
    assert said(record) == ["qualification-without-code@CER-10"]
    assert values(change_of(record), "qualification") == []


def test_certificate_that_ends_before_it_starts_has_no_period() -> None:
    record = one(stf(), segment("CER", f10="RN^Nurse^HL70360", f25="20100301", f27="20090101"))
    assert said(record) == ["period-reversed@CER-10"]
    assert "period" not in values(change_of(record), "qualification")[0]


# --- nulls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [5, 6, 8, 9, 10, 11, 12, 13, 15, 16, 18, 35])
def test_null_clears_and_empty_leaves(field: int) -> None:
    change = staff_change(event="MUP", **{f"f{field}": '""'})
    assert [*map(str, change.cleared)] == [f"STF-{field}"]
    assert [v.element for v in change.practitioner] == ["name"]
    assert staff_change(event="MUP", **{f"f{field}": ""}).cleared == ()


def test_null_of_other_segments_and_of_dropped_fields() -> None:
    change = staff_change('PRA|K1|""||""|""', 'EDU|1|MD|""||""', event="MUP", f14='""')
    assert [*map(str, change.cleared)] == ["PRA-2", "PRA-5", "EDU-5"]


@pytest.mark.parametrize("event", ["MDC", "MDL"])
def test_of_a_leaver_what_shows_who_is_meant_is_kept_and_nothing_is_merged(event: str) -> None:
    segments = (mfe(event), stf(f3="Rossi^Ada", f5="F", f6="19800201", f10="^WPN^PH^^^555^5550101"))
    record = one(*segments[1:], event=event)
    assert record.change is not None
    assert record.change.practitioner == ()
    shows = {value.element: value.value for value in record.change.evidence}
    assert (shows["name"]["family"], shows["gender"], shows["birthDate"]) == ("Rossi", "female", "1980-02-01")
    assert StaffChange.from_json(record.change.to_json()) == record.change
    # What cannot be read of it is no loss, and nothing is said.
    odd = one(stf(f3="Rossi^Ada", f5="7", f6="yesterday"), event=event)
    assert odd.findings == record.findings
    assert odd.change is not None
    assert {value.element for value in odd.change.evidence} == {"name"}
    left = {field.field: field.reason for field in explain(Message(message(*segments)), RULES, NOW).left}
    assert left["STF-3"] == left["STF-6"] == "shows who is meant: the event itself merges no content"
    assert left["STF-10"] == "an event that ends a person merges no content"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("BS", ("http://terminology.hl7.org/CodeSystem/v2-0360", "BS")),
        ("B.S.^Science", ("http://terminology.hl7.org/CodeSystem/v2-0360", "BS")),
        ("PA^Physician Assistant^HL70360", ("http://terminology.hl7.org/CodeSystem/v2-0360", "PA")),
        ("BS^Bachelor of Surgery^99LOC", "Bachelor of Surgery"),
        ("MS^Master of Surgery^L", "Master of Surgery"),
        ("BS^^99LOC", "BS"),
        ("BS^Bachelor of Surgery^SCT", ("http://snomed.info/sct", "BS")),
        ("BS^Surgery^99LOC^MD^Medicine^HL70360", ("http://terminology.hl7.org/CodeSystem/v2-0360", "MD")),
    ],
)
def test_a_degree_is_of_table_0360_only_where_it_is_said_to_be_or_nothing_is(sent: str, expected: Any) -> None:
    (found,) = values(staff_change(f"EDU|1|{sent}"), "qualification")
    code = found["code"]
    coded = [(one["system"], one["code"]) for one in code.get("coding", [])]
    assert coded == [expected] if isinstance(expected, tuple) else (coded, code["text"]) == ([], expected)


def test_a_site_may_give_its_own_degrees_a_code() -> None:
    rules = FeedRules(KEY_SYSTEM, tables={"0360": {"BS": "urn:degrees|surgery|Bachelor of Surgery"}})
    (found,) = values(staff_change("EDU|1|BS^Surgery^99LOC", rules=rules), "qualification")
    assert found["code"]["coding"][0]["system"] == "urn:degrees"


@pytest.mark.parametrize(
    ("county", "district"),
    [
        ("Denver County", "Denver County"),
        ("031", "031"),
        ("031&Denver County&L", "Denver County"),
        ("&Denver County", "Denver County"),
        ("031&Denver&L&&&&&&Denver County", "Denver County"),
        ("031&&L", None),
        ("031&", "031"),
        ("", None),
    ],
)
def test_the_county_is_a_text(county: str, district: str | None) -> None:
    (found,) = values(staff_change(f11=f"1 Main^^Denver^CO^80202^USA^B^^{county}"), "address")
    assert found.get("district") == district
