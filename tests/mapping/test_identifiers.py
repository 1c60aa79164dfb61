"""Identifiers: check digits, systems by authority, and the fields that hold them."""

from __future__ import annotations

import pytest

from hl7bridge.destinations.fhir.desired import practitioner_values
from hl7bridge.destinations.fhir.merging.merge import deduplicated
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules.identifiers import DEA, NPI, SSN, dea_is_valid, npi_is_valid, system_for, universal_system
from hl7bridge.model import Provenance, StaffIdentifier
from tests.mapping.building import KEY_SYSTEM, change_of, one, said, staff_change, stf


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


TAX = "urn:oid:2.16.840.1.113883.4.4"

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
    assert key == StaffIdentifier("K1", KEY_SYSTEM, "", "", Provenance.read("MFE-4"), {"use": "secondary"})


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
        ("C1^^^^^NORTH", ("C1", "", "", "")),
        ("C1^^^^^^^^NORTH", ("C1", "urn:north", "NORTH", "")),
        ("E7", ("E7", "", "", "")),
        ("L1^^^^SL^^^^CA", ("L1", "urn:california", "SL:CA", "SL")),
        ("L1^^^^SL^^^^NY", ("L1", "", "SL:NY", "SL")),
        ("L1^^^^SL^^^^CA&California&ISO3166", ("L1", "urn:california", "SL:CA", "SL")),
        ("L1^^^^SL", ("L1", "urn:licences", "SL", "SL")),
        ("L1^^^^SL^^^^^CA", ("L1", "urn:california", "SL:CA", "SL")),
        ("1234567893^^^^NPI^^^^USA", ("1234567893", NPI, "", "NPI")),
        ("1234567893^^^NORTH^NPI", ("1234567893", NPI, "NORTH", "NPI")),
        ("1234567893^^^NORTH&2.999.7&ISO^NPI", ("1234567893", "urn:oid:2.999.7", "NORTH", "NPI")),
        ("1234567893^^^&north.example&DNS^NPI", ("1234567893", "", "north.example", "NPI")),
        ("1234567893^^^&2.16.840.1.113883.4.6&^EI", ("1234567893", NPI, "2.16.840.1.113883.4.6", "EI")),
        ("770077^^^HMRC&1.2.826.0.1.999&ISO^TAX", ("770077", "urn:oid:1.2.826.0.1.999", "HMRC", "TAX")),
        ("777^^^&1.2.826.0.1.998&ISO^UPIN", ("777", "urn:oid:1.2.826.0.1.998", "1.2.826.0.1.998", "UPIN")),
        ("AB1234563^^^&1.2.826.0.1.997&ISO^DEA", ("AB1234563", "urn:oid:1.2.826.0.1.997", "1.2.826.0.1.997", "DEA")),
        ("123456789^^^&1.2.826.0.1.996&ISO^SS", ("123456789", "urn:oid:1.2.826.0.1.996", "1.2.826.0.1.996", "SS")),
        ("991234567^^^^TAX", ("991234567", "", "TAX", "TAX")),
        ("A12345^^^^UPIN", ("A12345", "", "UPIN", "UPIN")),
        ("991234567^^^&2.16.840.1.113883.4.4&ISO", ("991234567", TAX, "2.16.840.1.113883.4.4", "TAX")),
    ],
)
def test_staff_identifier_list(sent: str, expected: tuple[str, str, str, str]) -> None:
    assert identifiers(f2=sent) == [expected]


@pytest.mark.parametrize("sent", ["C1^^^^GMC", "L1^^^^SL^^^^CA", "C1^^^^^^^^NORTH", "C1^^^^^^^^^NORTH"])
def test_an_assumed_authority_is_said(sent: str) -> None:
    assert said(one(stf(f2=sent), rules=AUTHORITIES)) == ["authority-assumed@STF-2.4"]


@pytest.mark.parametrize(
    ("sent", "key"),
    [("E7", "K1"), ("E7^^^^^NORTH", "K1"), ("E7^^^^RN^NORTH", "K1"), ("E7", "K1^Rossi^NORTH"), ("E7^^^^HOUSE", "K1")],
)
def test_where_a_message_comes_from_says_nothing_of_whose_number_it_is(sent: str, key: str) -> None:
    # MSH-4 of the test messages is NORTH, which the feed maps.
    record = one(stf(key, f2=sent), rules=AUTHORITIES)
    assert said(record) == ["unmapped-authority@STF-2"]
    assert [one.system for one in change_of(record).identifiers] == [KEY_SYSTEM, ""]


def test_nurses_of_two_states_are_two_though_their_licences_have_one_number() -> None:
    rules = FeedRules(KEY_SYSTEM, authorities={"RN": "urn:nurses", "RN:MN": "urn:minnesota", "NORTH": "urn:north"})
    systems = [
        [(i.system, i.authority) for i in staff_change(f2=f"L900^^^^RN^^^^{state}", rules=rules).identifiers[1:]]
        for state in ("MN", "WI", "")
    ]
    assert systems == [[("urn:minnesota", "RN:MN")], [("", "RN:WI")], [("urn:nurses", "RN")]]


@pytest.mark.parametrize(
    ("authority", "kind", "told"),
    [
        ("&2.999.7&ISO", "NPI", True),
        ("&2.999.7&ISO", "SS", True),
        ("NORTH&2.999.7&ISO", "NPI", True),
        ("&2.16.840.1.113883.4.6&ISO", "NPI", False),
        ("&2.16.840.1.113883.4.6&ISO", "UPIN", True),
        ("&2.16.840.1.113883.4.6&ISO", "PRN", False),
        ("&2.999.8&ISO", "NPI", False),  # settled by the feed
        ("&2.999.7&ISO", "TAX", False),
        ("NORTH", "NPI", False),
    ],
)
def test_a_type_that_contradicts_the_stated_authority_is_told(authority: str, kind: str, told: bool) -> None:
    rules = FeedRules(KEY_SYSTEM, authorities={"NORTH": "urn:north", "2.999.8:NPI": NPI})
    number = "123456789" if kind == "SS" else "1234567893"
    record = one(stf(f2=f"{number}^^^{authority}^{kind}"), rules=rules)
    assert said(record) == (["type-contradicts-authority@STF-2.5"] if told else [])
    if "2.999" in authority:
        (found,) = change_of(record).identifiers[1:]
        assert found.system == (NPI if authority == "&2.999.8&ISO" else "urn:oid:2.999.7")


@pytest.mark.parametrize("sent", ["123456789", "123-45-6789", "123 45 6789"])
def test_a_social_security_number_has_nine_digits(sent: str) -> None:
    (found,) = staff_change(f2=f"{sent}^^^^SS").identifiers[1:]
    assert (found.value, found.system) == ("123456789", SSN)


@pytest.mark.parametrize(
    "sent", ["AB12", "801", "12345678", "1234567890", "12345678\uff19", "12345678A", "123.45.6789"]
)
@pytest.mark.parametrize(
    "authority", ["^^^^SS", "^^^USSSA^SS", "^^^USSSA", "^^^&2.16.840.1.113883.4.1&ISO^NI", "^^^NORTH^SSN"]
)
def test_what_has_not_nine_digits_is_no_social_security_number(sent: str, authority: str) -> None:
    record = one(stf(f2=sent + authority), rules=AUTHORITIES)
    assert said(record) == ["ssn-digits@STF-2.1"]
    assert [one.value for one in change_of(record).identifiers] == ["K1"]


def test_one_number_of_a_national_registry_is_one_whatever_its_types() -> None:
    record = one(stf(f2="1234567893^^^&2.16.840.1.113883.4.6&ISO^PRN"), "PRA|K1|||||1234567893^NPI")
    assert [(i.value, i.system) for i in change_of(record).identifiers[1:]] == [("1234567893", NPI)]


def test_one_number_of_one_authority_as_two_types_is_two() -> None:
    change = staff_change(f2="M1^^^NORTH^MD~M1^^^NORTH^DO~M1^^^NORTH~M1^^^NORTH^MD", rules=AUTHORITIES)
    assert [(i.value, i.type_code, i.system) for i in change.identifiers[1:]] == [
        ("M1", "MD", "urn:north"),
        ("M1", "DO", "urn:north"),
    ]
    values = practitioner_values(change, DestinationRules("x", "http://127.0.0.1/fhir"))
    assert len(deduplicated("identifier", [value for value in values if value.element == "identifier"])) == 3


def test_unknown_type_is_kept_as_text() -> None:
    (identifier,) = staff_change(f2="E7^^^&1.2.3&ISO^HOUSE").identifiers[1:]
    assert identifier.type_code == ""
    assert identifier.extra == {"type": {"text": "HOUSE"}}


def test_validity_of_an_identifier() -> None:
    (identifier,) = staff_change(f2="E7^^^&1.2.3&ISO^EI^^20200101^20301231").identifiers[1:]
    assert identifier.extra == {"period": {"start": "2020-01-01", "end": "2030-12-31"}}


def test_unmapped_authority_is_kept_without_a_system_and_warned() -> None:
    record = one(stf(f2="E7^^^SOUTH^EI"))
    assert change_of(record).identifiers[1] == StaffIdentifier("E7", "", "SOUTH", "EI", Provenance.read("STF-2"), {})
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
        ("T1^TAX", ("T1", "", "TAX", "TAX")),
        ("A12345^UPIN", ("A12345", "", "UPIN", "UPIN")),
        ("123-45-6789^SS", ("123456789", SSN, "SS", "SS")),
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
    assert (found.type_code, found.authority, found.provenance.text) == ("DL", "DL:CA", "STF-22")


def test_two_identifiers_of_one_system_within_stf_2_both_stand() -> None:
    change = staff_change(f2="E7^^^NORTH~E8^^^NORTH", rules=AUTHORITIES)
    assert [i.value for i in change.identifiers[1:]] == ["E7", "E8"]
    assert change.identifiers[2].provenance.text == "STF-2[2]"
