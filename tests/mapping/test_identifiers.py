"""Identifiers: check digits, systems by authority, and the fields that hold them."""

from __future__ import annotations

import pytest

from hl7bridge.mapping.identifiers import DEA, NPI, SSN, dea_is_valid, npi_is_valid, system_for, universal_system
from hl7bridge.mapping.rules import FeedRules
from hl7bridge.model import StaffIdentifier
from tests.mapping.building import KEY_SYSTEM, RULES, change_of, one, said, staff_change, stf


@pytest.mark.parametrize("text", ["1234567893", "1245319599", "1558598797"])
def test_valid_npi(text: str) -> None:
    assert npi_is_valid(text)


@pytest.mark.parametrize(
    "text",
    [
        "3333445555",
        "9941339108",
        "1234567890",
        "123456789",
        "12345678930",
        "123456789A",
        "",
        "123456789\uff13",
        "0234567894",
    ],
)
def test_invalid_npi(text: str) -> None:
    assert not npi_is_valid(text)


@pytest.mark.parametrize("digit", range(10))
def test_npi_has_one_check_digit(digit: int) -> None:
    assert npi_is_valid(f"123456789{digit}") is (digit == 3)


@pytest.mark.parametrize("text", ["AP5836727", "F91234563", "AB1234563", "ab1234563", "AB1234563-0123"])
def test_valid_dea(text: str) -> None:
    assert dea_is_valid(text)


@pytest.mark.parametrize(
    "text", ["AB1234560", "1234987757", "A11234563", "AB123456", "", "AB12345\uff163", "AB12345630"]
)
def test_invalid_dea(text: str) -> None:
    assert not dea_is_valid(text)


AUTHORITIES = FeedRules(
    KEY_SYSTEM,
    authorities={
        "NORTH": "urn:north",
        "NORTH:EI": "urn:north:employee",
        "1.2.3.4": "urn:by-universal-id",
        "SL:CA": "urn:california",
        "SL": "urn:licences",
        "GMC": "https://fhir.hl7.org.uk/Id/gmc-number",
    },
)


@pytest.mark.parametrize(
    ("namespace", "universal_id", "kind", "type_code", "system"),
    [
        ("", "", "", "NPI", NPI),
        ("", "", "", "DEA", DEA),
        ("USSSA", "", "", "", SSN),
        ("ELSEWHERE", "2.16.840.1.113883.4.6", "ISO", "", NPI),
        ("ELSEWHERE", "2.16.840.1.113883.19", "ISO", "", "urn:oid:2.16.840.1.113883.19"),
        ("NORTH", "2.16.840.1.113883.19", "ISO", "", "urn:oid:2.16.840.1.113883.19"),
        ("", "2F1C1F2E-0000-4000-8000-00000000000A", "UUID", "", "urn:uuid:2f1c1f2e-0000-4000-8000-00000000000a"),
        ("", "2F1C1F2E-0000-4000-8000-00000000000A", "GUID", "", "urn:uuid:2f1c1f2e-0000-4000-8000-00000000000a"),
        ("", "https://north.example/staff", "URI", "", "https://north.example/staff"),
        ("", "north.example", "DNS", "", ""),
        ("", "north.example", "URI", "", ""),
        ("", "1.2.3.4", "DNS", "", "urn:by-universal-id"),
        ("NORTH", "", "", "", "urn:north"),
        ("NORTH", "", "", "LN", "urn:north"),
        ("NORTH", "", "", "EI", "urn:north:employee"),
        ("SOUTH", "", "", "EI", ""),
        ("", "", "", "", ""),
    ],
)
def test_system_of_an_authority(namespace: str, universal_id: str, kind: str, type_code: str, system: str) -> None:
    assert system_for(AUTHORITIES, namespace, universal_id, kind, type_code) == system


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1.2..3", "ISO"), ("9.2", "ISO"), ("1.02", "ISO"), ("1", "ISO"), ("no", "UUID"), ("a:b c", "URI"), ("1.2", "")],
)
def test_universal_id_that_is_none(text: str, kind: str) -> None:
    assert universal_system(text, kind) == ""


def identifiers(**fields: str) -> list[tuple[str, str, str, str]]:
    change = staff_change(rules=AUTHORITIES, **fields)
    return [(i.value, i.system, i.authority, i.type_code) for i in change.identifiers[1:]]


def test_staff_key_comes_first_with_the_system_of_the_feed() -> None:
    key = staff_change(f1="K1^^NORTH").identifiers[0]
    assert key == StaffIdentifier("K1", KEY_SYSTEM, "", "", "MFE-4", {"use": "secondary"})


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("E7^^^NORTH^EI", ("E7", "urn:north:employee", "NORTH", "EI")),
        ("E7^^^NORTH&1.2.3.4&ISO^LN", ("E7", "urn:by-universal-id", "NORTH", "LN")),
        ("E7^^^&1.2.3.4&ISO", ("E7", "urn:by-universal-id", "1.2.3.4", "")),
        (" E7 ^^^NORTH ", ("E7", "urn:north", "NORTH", "")),
        ("1234567893^^^^NPI", ("1234567893", NPI, "", "NPI")),
        ("1234567893^^^NPI", ("1234567893", NPI, "NPI", "NPI")),
        ("123-45-6789^^^USSSA^SS", ("123456789", SSN, "USSSA", "SS")),
        ("123-45-6789^^^USSSA", ("123456789", SSN, "USSSA", "SS")),
        ("123456789^^^^SSN", ("123456789", SSN, "", "SS")),
        ("C1^^^^GMC", ("C1", "https://fhir.hl7.org.uk/Id/gmc-number", "GMC", "")),
        ("C1^^^^^NORTH", ("C1", "urn:north", "NORTH", "")),
        ("C1^^^^^^^^NORTH", ("C1", "urn:north", "NORTH", "")),
        ("E7", ("E7", "urn:north", "NORTH", "")),
    ],
)
def test_staff_identifier_list(sent: str, expected: tuple[str, str, str, str]) -> None:
    assert identifiers(f2=sent) == [expected]


def test_an_assumed_authority_is_said() -> None:
    # MSH-4 of the test messages is NORTH: the last resort, and only because the feed maps it.
    assert said(one(stf(f2="E7"), rules=AUTHORITIES)) == ["authority-assumed@STF-2.4"]
    assert said(one(stf(f2="E7"), rules=RULES)) == ["unmapped-authority@STF-2"]


def test_unknown_type_is_kept_as_text() -> None:
    (identifier,) = staff_change(f2="E7^^^&1.2.3&ISO^HOUSE").identifiers[1:]
    assert identifier.type_code == ""
    assert identifier.extra == {"type": {"text": "HOUSE"}}


def test_validity_of_an_identifier() -> None:
    (identifier,) = staff_change(f2="E7^^^&1.2.3&ISO^EI^^20200101^20301231").identifiers[1:]
    assert identifier.extra == {"period": {"start": "2020-01-01", "end": "2030-12-31"}}


def test_unmapped_authority_is_kept_without_a_system_and_warned() -> None:
    record = one(stf(f2="E7^^^SOUTH^EI"))
    assert change_of(record).identifiers[1] == StaffIdentifier("E7", "", "SOUTH", "EI", "STF-2", {})
    assert said(record) == ["unmapped-authority@STF-2"]
    assert not record.failed


@pytest.mark.parametrize(
    ("sent", "finding"),
    [
        ("1234567890^^^^NPI", "npi-check-digit@STF-2.1"),
        ("1234567890^^^NPI", "npi-check-digit@STF-2.1"),
        ("1234567890^^^X&2.16.840.1.113883.4.6&ISO", "npi-check-digit@STF-2.1"),
        ("AB1234560^^^^DEA", "dea-check-digit@STF-2.1"),
    ],
)
def test_wrong_check_digit_drops_the_identifier_and_keeps_the_person(sent: str, finding: str) -> None:
    record = one(stf(f2=sent))
    assert said(record) == [finding]
    assert record.findings[0].code == "102"
    assert [i.value for i in change_of(record).identifiers] == ["K1"]


def test_the_key_again_without_an_authority_is_nothing_new() -> None:
    record = one(stf(f2="K1"))
    assert said(record) == []
    assert len(change_of(record).identifiers) == 1


@pytest.mark.parametrize(("version", "authority"), [("2.2", "NORTH"), ("2.3", "NORTH")])
def test_before_2_3_1_the_list_is_coded_elements(version: str, authority: str) -> None:
    (identifier,) = staff_change(f2="E7^Badge^NORTH", version=version, rules=AUTHORITIES).identifiers[1:]
    assert (identifier.authority, identifier.system) == (authority, "urn:north")


def test_before_2_3_1_the_later_form_is_read_where_it_is_sent() -> None:
    (identifier,) = staff_change(f2="E7^^^NORTH^EI", version="2.3", rules=AUTHORITIES).identifiers[1:]
    assert identifier.system == "urn:north:employee"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("1234567893^NPI", ("1234567893", NPI, "NPI", "NPI")),
        ("L1^SL^CA", ("L1", "urn:california", "SL:CA", "SL")),
        ("L1^SL^NY", ("L1", "urn:licences", "SL:NY", "SL")),
        ("L1^L&I", ("L1", "", "LI", "LI")),
        ("T1^TAX", ("T1", "urn:oid:2.16.840.1.113883.4.4", "TAX", "TAX")),
        ("C1^MDD^CA", ("C1", "", "MDD:CA", "")),
    ],
)
def test_practitioner_numbers(sent: str, expected: tuple[str, str, str, str]) -> None:
    change = staff_change(f"PRA|K1|||||{sent}", rules=AUTHORITIES)
    (found,) = change.identifiers[1:]
    assert (found.value, found.system, found.authority, found.type_code) == expected


def test_state_and_expiry_of_a_licence() -> None:
    change = staff_change("PRA|K1|||||L1^SL^CA^20271231", rules=AUTHORITIES)
    assert change.identifiers[1].extra == {"assigner": {"display": "CA"}, "period": {"end": "2027-12-31"}}


def test_escaped_ampersand_in_a_type_is_one_code() -> None:
    (found,) = staff_change("PRA|K1|||||L1^L\\T\\I", rules=AUTHORITIES).identifiers[1:]
    assert found.type_code == "LI"


def test_stf_2_stands_where_pra_6_says_something_else() -> None:
    record = one(stf(f2="1234567893^^^^NPI"), "PRA|K1|||||1245319599^NPI")
    assert said(record) == ["identifier-conflict@PRA-6.1"]
    assert [i.value for i in change_of(record).identifiers] == ["K1", "1234567893"]


def test_the_same_number_twice_is_one() -> None:
    record = one(stf(f2="1234567893^^^^NPI~1234567893^^^NPI"), "PRA|K1|||||1234567893^NPI")
    assert said(record) == []
    assert len(change_of(record).identifiers) == 2


def test_licences_of_two_states_are_two() -> None:
    change = staff_change("PRA|K1|||||L1^SL^CA~L1^SL^NY", rules=AUTHORITIES)
    assert [i.system for i in change.identifiers[1:]] == ["urn:california", "urn:licences"]
    unmapped = staff_change("PRA|K1|||||L1^MDD^CA~L1^MDD^NY")
    assert [i.authority for i in unmapped.identifiers[1:]] == ["MDD:CA", "MDD:NY"]


def test_driver_licence_is_typed_so_that_a_destination_withholds_it() -> None:
    (found,) = staff_change(f22="D1^CA^20270101").identifiers[1:]
    assert (found.type_code, found.authority, found.field) == ("DL", "DL:CA", "STF-22")


def test_two_identifiers_of_one_system_within_stf_2_both_stand() -> None:
    change = staff_change(f2="E7^^^NORTH~E8^^^NORTH", rules=AUTHORITIES)
    assert [i.value for i in change.identifiers[1:]] == ["E7", "E8"]
    assert change.identifiers[2].field == "STF-2[2]"
