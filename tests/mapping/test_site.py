"""What a site declares of its sender: shifts, where the key stands, who is a practitioner, Z segments, conditions."""

from __future__ import annotations

import pytest

from hl7bridge.errors import ConfigError
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import explain
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules.conditions import documented
from hl7bridge.mapping.rules.draft import CONDITIONS
from hl7bridge.mapping.rules.plans import plans_for
from hl7bridge.mapping.site import Shift, SiteMap
from tests.mapping.building import (
    KEY_SYSTEM,
    NOW,
    change_of,
    check_resources,
    errors,
    message,
    mfe,
    one,
    said,
    segment,
    staff_change,
    stf,
    translate,
    values,
)


def rules(**site: object) -> FeedRules:
    return FeedRules(KEY_SYSTEM, site=SiteMap(**site))  # type: ignore[arg-type]


# --- shifts ----------------------------------------------------------------------------------------------------------

RIGHT, LEFT = SiteMap(shifts={"STF": (Shift(10, 1),)}), SiteMap(shifts={"STF": (Shift(10, -1),)})
BOTH = SiteMap(shifts={"STF": (Shift(5, 2), Shift(10, -1))})


@pytest.mark.parametrize(
    ("site", "standard", "sent"),
    [
        (RIGHT, 9, 9),
        (RIGHT, 10, 11),
        (RIGHT, 15, 16),
        (LEFT, 8, 8),
        (LEFT, 9, 0),
        (LEFT, 10, 9),
        (LEFT, 15, 14),
        (BOTH, 4, 4),
        (BOTH, 5, 7),
        (BOTH, 6, 8),
        (BOTH, 7, 0),
        (BOTH, 9, 0),
        (BOTH, 10, 9),
    ],
)
def test_where_a_field_stands(site: SiteMap, standard: int, sent: int) -> None:
    assert site.sent_at("STF", standard) == sent
    assert not sent or site.standard("STF", sent) == standard
    assert site.sent_at("PRA", standard) == standard == site.standard("PRA", standard)


@pytest.mark.parametrize(("site", "inserted"), [(RIGHT, 10), (BOTH, 5), (BOTH, 6)])
def test_what_the_sender_put_in_between_is_no_field_of_the_standard(site: SiteMap, inserted: int) -> None:
    assert site.standard("STF", inserted) == 0


@pytest.mark.parametrize("site", [RIGHT, LEFT, BOTH], ids=["right", "left", "both"])
def test_straightened_fields_stand_where_the_table_says(site: SiteMap) -> None:
    sent = ["STF", *map(str, range(1, 20))]
    straight = site.straightened("STF", sent)
    for number in range(1, len(straight)):
        at = site.sent_at("STF", number)
        assert straight[number] == (str(at) if 0 < at < 20 else "")
    assert {text for text in straight if text} <= set(sent)
    assert site.straightened("PRA", sent) is sent


def test_a_declared_shift_is_read_in_place_and_found_where_it_was_sent() -> None:
    shifted = FeedRules(KEY_SYSTEM, site=RIGHT)
    plain = staff_change(f10="555 0100^WPN", f15="ada@example.org")
    raw = message(mfe(), stf(f10="something else", f11="555 0100^WPN", f16="ada@example.org"))
    change = change_of(translate(raw, shifted).records[0])
    assert values(change, "telecom") == values(plain, "telecom") != []
    assert {value.provenance.text for value in change.practitioner if value.element == "telecom"} == {
        "STF-10",
        "STF-15",
    }
    found = explain(Message(raw), shifted, NOW)
    assert found.valued == found.used + found.dropped + found.unused + found.unknown
    assert [(row.field, row.source) for row in found.left if "shift" in row.reason] == [("STF-10", "something else")]
    assert ("STF-15", "ada@example.org") in {(row.field, row.source) for row in found.rows}


def test_a_finding_about_a_shifted_field_says_where_the_sender_has_it() -> None:
    record = one(stf(f16="no address"), rules=FeedRules(KEY_SYSTEM, site=RIGHT))
    assert said(record) == ["shifted-field@STF-16"]


def test_the_key_and_the_name_may_be_shifted_too() -> None:
    site = SiteMap(shifts={"STF": (Shift(1, 1),)})
    record = one(segment("STF", f1="1", f2="K1", f4="Rossi^Ada"), rules=FeedRules(KEY_SYSTEM, site=site))
    assert values(change_of(record), "name")[0]["family"] == "Rossi"


@pytest.mark.parametrize(
    "shifts",
    [(Shift(10, 1), Shift(10, 2)), (Shift(10, 1), Shift(5, 1)), (Shift(5, 1), Shift(7, -2)), (Shift(1, -1),)],
    ids=["twice", "descending", "into the one before", "before the first field"],
)
def test_shifts_that_overlap_are_refused(shifts: tuple[Shift, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        SiteMap(shifts={"STF": shifts})
    assert caught.value.key == "shift.STF"


# --- the key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected", "field"),
    [
        (("STF-2[EI]", "MFE-4"), "E77", "STF-2[2]"),
        (("STF-2[XX]", "STF-1"), "K1", "STF-1"),
        (("ZSF-1.2",), "Z9", "ZSF-1"),
        (("PRA-9", "MFE-4"), "K1", "MFE-4"),
    ],
)
def test_the_key_stands_where_the_site_says(key: tuple[str, ...], expected: str, field: str) -> None:
    site = FeedRules(KEY_SYSTEM, site=SiteMap(key=key), fields={"STF-1": {"drop": "another number"}})
    record = one(stf(f2="N1^^^N^NPI~E77^^^HR^EI"), "ZSF|a^Z9", rules=site)
    identifier = change_of(record).identifiers[0]
    assert (change_of(record).source_key, identifier.value, identifier.provenance.text) == (expected, expected, field)
    assert "key-assumed" not in " ".join(said(record))


def test_a_record_without_any_declared_key_is_refused() -> None:
    assert said(one(stf(), rules=rules(key=("ZSF-1",)))) == ["key-missing@MFE-4"]


def test_personnel_messages_know_the_declared_key() -> None:
    site = FeedRules(KEY_SYSTEM, site=SiteMap(key=("MFE-4", "STF-2[EI]")))
    raw = message("EVN|B01|20260318", stf("", f2="N^^^^PN~E77^^^^EI"), event="PMU^B01").replace(b"MFI", b"NTE", 1)
    record = translate(raw, site).records[0]
    assert (change_of(record).source_key, said(record)[0]) == ("E77", "key-source@STF-2")


@pytest.mark.parametrize("text", ["STF", "MFE-3", "MFE-4.1", "stf-1", "STF-2[]", "STF-1.1.1"])
def test_what_is_no_place_of_a_key(text: str) -> None:
    with pytest.raises(ConfigError, match="no place of a key"):
        SiteMap(key=(text,))


# --- who is a practitioner -------------------------------------------------------------------------------------------

TYPES = {"staff_types": ("PHY", "NP")}


@pytest.mark.parametrize(
    ("sent", "taken"),
    [("PHY", True), ("NP^Nurse practitioner", True), ("CLERK~PHY", True), ("", True), ("CLERK", False), ("phy", False)],
)
def test_staff_types_decide_who_is_a_practitioner(sent: str, taken: bool) -> None:
    record = one(stf(f4=sent), rules=rules(**TYPES))
    assert (record.change is not None) is taken
    assert not record.failed
    if not taken:
        assert said(record) == ["not-a-practitioner@STF-4"]


def test_who_ends_is_ended_whatever_the_type_says() -> None:
    assert one(stf(f4="CLERK"), event="MDC", rules=rules(**TYPES)).change is not None


def test_another_field_may_hold_the_staff_type() -> None:
    site = rules(staff_types=("D",), staff_type_field="ZSF-2")
    assert one(stf(), "ZSF|x|D", rules=site).change is not None
    assert one(stf(), "ZSF|x|C", rules=site).change is None
    assert one(stf(), rules=site).change is not None


def test_master_files_that_hold_no_practitioners() -> None:
    site = rules(master_files=("PRO",))
    (record,) = translate(message("MFI|ORG||UPD|||AL", mfe(), stf()), site).records
    assert (record.change, said(record)) == (None, ["not-a-practitioner@MFI-1"])
    taken = translate(message("MFI|PRO||UPD|||AL", mfe(), stf()), site)
    assert taken.records[0].change is not None
    assert said(taken) == []


@pytest.mark.parametrize(
    ("key", "name", "taken"),
    [
        ("K1", "Rossi^Ada", True),
        ("K1", "Provider^Unknown", False),
        ("K1", "PROVIDER^UNKNOWN", False),
        ("K1", "Providerson^Unknown", True),
        ("K1", "ZZTEST^Ada", False),
        ("999001", "Rossi^Ada", False),
    ],
)
def test_placeholders_are_whole_values_with_stars(key: str, name: str, taken: bool) -> None:
    site = rules(placeholder_keys=("999*",), placeholder_names=("Provider^Unknown", "ZZ*"))
    record = one(stf(key, name), key=key, rules=site)
    assert (record.change is not None) is taken
    assert not record.failed
    if not taken:
        assert said(record) == ["placeholder@STF"]


def test_a_record_set_aside_is_accounted_for() -> None:
    found = explain(Message(message(mfe(), stf(f4="CLERK", f5="F"))), rules(**TYPES), NOW)
    assert found.valued == found.used + found.dropped + found.unused + found.unknown
    assert {row.reason for row in found.left} == {
        "by the site's map the staff type (STF-4) is not that of a practitioner"
    }


# --- fields ----------------------------------------------------------------------------------------------------------


def test_z_segments_belong_to_the_record_that_they_follow() -> None:
    fields = {
        "ZSF-3": {"to": "Practitioner.telecom", "rule": "email"},
        "ZSF-4": {"to": "identity", "rule": "site_identifier", "authority": "BADGE"},
    }
    site = FeedRules(KEY_SYSTEM, authorities={"BADGE": "urn:oid:2.999.4"}, fields=fields)
    raw = message(
        mfe(key="K1"), stf("K1"), "ZSF|1||ada@example.org|B7", mfe(key="K2"), stf("K2"), "ZSF|1||eve@example.org|B8"
    )
    first, second = (change_of(record) for record in translate(raw, site).records)
    assert [value["value"] for value in values(first, "telecom")] == ["ada@example.org"]
    assert [value["value"] for value in values(second, "telecom")] == ["eve@example.org"]
    assert [(i.system, i.value, i.provenance.text) for i in second.identifiers[1:]] == [
        ("urn:oid:2.999.4", "B8", "ZSF-4")
    ]
    found = explain(Message(raw), site, NOW)
    assert found.segments == ()
    assert found.unused == 2  # ZSF-1, which no row speaks of
    check_resources(first)


def test_an_authority_that_the_sender_never_names_may_be_declared() -> None:
    fields = {"STF-2": {"to": "identity", "rule": "staff_identifier", "table": "0203", "authority": "LANR"}}
    site = FeedRules(KEY_SYSTEM, authorities={"LANR": "urn:oid:2.999.5"}, fields=fields)
    record = one(stf(f2="123456789"), rules=site)
    assert [(i.system, i.authority) for i in change_of(record).identifiers[1:]] == [("urn:oid:2.999.5", "LANR")]
    assert said(record) == []


def test_telephone_fax_and_address_in_components() -> None:
    site = FeedRules(KEY_SYSTEM, fields={"STF-10": {"rule": "phone_fax_email"}})
    change = staff_change(f10="0100^0200^ada@example.org", rules=site)
    assert [(v["system"], v["value"], v["use"]) for v in values(change, "telecom")] == [
        ("phone", "0100", "work"),
        ("fax", "0200", "work"),
        ("email", "ada@example.org", "work"),
    ]
    record = one(stf(f10="ada@example.org^0200"), rules=site)
    assert said(record) == ["shifted-field@STF-10.1"]


def test_specialties_of_several_schemes() -> None:
    tables = {"specialty": {"DG:TRAUMA": "urn:oid:2.999.6|T|Trauma", "020": "Fractures"}}
    fields = {"PRA-5": {"rule": "specialty_of_scheme", "table": "specialty"}}
    site = FeedRules(KEY_SYSTEM, authorities={"NAT": "urn:oid:2.999.7"}, tables=tables, fields=fields)
    record = one(stf(), "PRA|K1||||100^NAT^MAIN~TRAUMA^DG^SEC1~020^LOCAL~X^ABC", rules=site)
    (role,) = change_of(record).roles or ((),)
    found = values(change_of(record).shared_role, "specialty") or values(role.values, "specialty")
    assert found == [
        {"coding": [{"system": "urn:oid:2.999.7", "code": "100"}]},
        {"coding": [{"system": "urn:oid:2.999.6", "code": "T", "display": "Trauma"}]},
        {"text": "Fractures"},
        {"text": "X"},
    ]
    assert [finding.text for finding in record.findings if "specialty" in finding.text] != []


# --- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "raw", "holds"),
    [
        ("is_known_code", "F", True),
        ("is_known_code", "Q", False),
        ("is_date", "20010203", True),
        ("is_date", "soon", False),
        ("is_number", "0123^x", True),
        ("is_number", "12a", False),
        ("has_at_sign", "a@b", True),
        ("has_at_sign", "ab", False),
    ],
)
def test_each_condition(name: str, raw: str, holds: bool) -> None:
    """STF-5 is left out where the condition does not hold; gender shows whether its rule ran."""
    plain = {"to": "Practitioner.gender", "rule": "gender", "table": "0001"}
    site = FeedRules(KEY_SYSTEM, fields={"STF-5": {**plain, "when": name}})
    found = explain(Message(message(mfe(), stf(f5=raw))), site, NOW)
    passed_over = [row.reason for row in found.left if row.field == "STF-5" and name in row.reason]
    assert passed_over == ([] if holds else [f"{name} does not hold"])


@pytest.mark.parametrize(
    ("start", "end", "used"),
    [
        ("20200101", "20210101", True),
        ("20200101", "20190101", False),
        ("", "20190101", True),
        ("2020", "20200301", True),
    ],
)
def test_an_end_before_its_start(start: str, end: str, used: bool) -> None:
    row = {"to": "standing", "rule": "institution_end", "when": "ends_after_start"}
    site = FeedRules(KEY_SYSTEM, fields={"STF-13": row})
    change = staff_change(f8="D1^Ward", f12=start, f13=end, rules=site)
    (period,) = values(change.roles[0].values, "period") or [{}]
    assert ("end" in period) is used


def test_conditions_are_documented() -> None:
    assert {name for name, _ in documented()} == set(CONDITIONS)
    assert all(meaning.endswith(".") for _, meaning in documented())


# --- the version -----------------------------------------------------------------------------------------------------


def test_a_map_is_part_of_the_mapping_version() -> None:
    plain = FeedRules(KEY_SYSTEM).mapping_version
    versions = [
        rules(key=("STF-1",)),
        rules(staff_types=("PHY",)),
        rules(staff_types=("PHY",), staff_type_field="STF-9"),
        rules(placeholder_names=("X",)),
        rules(shifts={"STF": (Shift(10, 1),)}),
        rules(master_files=("PRA",)),
    ]
    assert len({plain, *(one.mapping_version for one in versions)}) == 7
    assert rules(name="kings").mapping_version == plain


def test_rows_that_cannot_be_used_are_refused() -> None:
    for row, wrong in (({"rule": "emial"}, "emial"), ({"rule": "email", "when": "is_dat"}, "is_dat")):
        with pytest.raises(ConfigError, match=wrong) as caught:
            plans_for(FeedRules(KEY_SYSTEM, fields={"ZSF-3": row}))
        assert "Did you mean" in caught.value.advice
    assert errors(one(stf())) == []
