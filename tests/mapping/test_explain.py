"""Every field that has a value is accounted for."""

from __future__ import annotations

import pytest

from hl7bridge.errors import UnsupportedMessage
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import Explanation, UnknownSegment, UnmappedCode, explain
from hl7bridge.mapping.feed_rules import FeedRules
from tests.mapping.building import KEY_SYSTEM, NOW, RULES, message, mfe, segment, stf, translate


def explained(*segments: str, rules: FeedRules = RULES) -> Explanation:
    found = explain(Message(message(*segments)), rules, NOW)
    assert found.valued == found.used + found.dropped + found.unused + found.unknown
    return found


def rows_of(found: Explanation, field: str) -> list[tuple[str, str]]:
    return [(row.element, row.rule) for row in found.rows if row.field == field]


def reasons(found: Explanation) -> dict[str, str]:
    return {left.field: left.reason for left in found.left if not left.dropped}


def test_element_rule_field_value() -> None:
    found = explained(mfe(), stf(f5="F", f10="^WPN^PH^^^^5550101", f4="RN"))
    assert rows_of(found, "STF-3") == [("Practitioner.name", "person_name")]
    assert rows_of(found, "STF-5") == [("Practitioner.gender", "gender")]
    assert rows_of(found, "STF-10") == [("Practitioner.telecom", "phone"), ("PractitionerRole.telecom", "phone")]
    assert rows_of(found, "STF-1") == [("identity", "primary_key")]
    (gender,) = [row for row in found.rows if row.field == "STF-5"]
    assert (gender.position, gender.value, gender.source) == (1, "female", "F")


def test_the_envelope_counts() -> None:
    found = explained(mfe())
    assert {row.field for row in found.rows if row.element == "envelope"} >= {
        "MSH-1",
        "MSH-9",
        "MFI-3",
        "MFE-1",
        "MFE-4",
    }


def test_dropped_fields_say_why() -> None:
    found = explained("MFE|MAD|R1||K1|CWE|20260101|X^Clerk", stf(f14="K9", f27="X"), "AFF|1|College", "NTE|1||x")
    dropped = {left.field: left.reason for left in found.left if left.dropped}
    assert set(dropped) == {"MFE-6", "MFE-7", "STF-14", "STF-27", "AFF-1", "AFF-2", "NTE-1", "NTE-3"}
    assert all(dropped.values())
    assert found.dropped == 8


def test_unknown_segments_are_named() -> None:
    found = explained(mfe(), stf(), "ZPR|1||x", "QQQ|1")
    assert found.segments == (UnknownSegment(1, "ZPR", 1, 2), UnknownSegment(1, "QQQ", 1, 1))
    assert found.unknown == 3


def test_unmapped_codes_are_counted() -> None:
    found = explained(
        mfe(key="A"), stf("A", f4="N~M"), mfe(key="B"), stf("B", f4="N", f2="7^^^SOUTH"), mfe(key="C"), stf("C", f4="N")
    )
    assert found.unmapped == (
        UnmappedCode("STF-2", "authorities", "SOUTH", 1),
        UnmappedCode("STF-4", "0182", "M", 1),
        UnmappedCode("STF-4", "0182", "N", 3),
    )


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("STF-6", "MORNING", "not a date"),
        ("STF-7", "X", "not a flag of table 0183 (A, I): map it to A or I in [tables.0183] of the feed"),
        ("STF-5", '""', None),
        ("STF-7", '""', 'a null ("") has no meaning here: ignored'),
        ("STF-10", "^WPN^PH", "holds nothing that can be used"),
        ("STF-11", "^^Leeds^^^^N", "a birth place"),
        ("STF-16", "B", "no telecom of the preferred kind"),
        ("STF-99", "x", "fields.toml has no row for it"),
        ("STF-2", "1234567890^^^^NPI", "not a valid NPI (ten digits, check digit): left out"),
        ("STF-2", "K1", "the staff key again"),
        ("STF-12", "20200101", None),
        ("STF-18", "Matron", None),
    ],
)
def test_unused_fields_say_why(field: str, value: str, reason: str | None) -> None:
    found = explained(mfe(), stf(**{"f" + field[4:]: value}))
    assert reasons(found).get(field) == reason


def test_fields_that_others_outdo() -> None:
    found = explained(
        mfe(),
        stf(f4="RN", f8="^ICU", f12="20200101", f18="Matron", f34="20200101", f15="a@example.org~a@example.org"),
        "PRA|K1|^Group|||||||^North",
        "ORG|1|^Ward",
        "EDU|1|MD||||SCHOOL",
    )
    assert reasons(found) == {
        "STF-8": "ORG lists the units",
        "STF-12": "STF-34 gives the period",
        "STF-18": "a coded field says what the person does",
        "PRA-2": "another field names the unit",
        "PRA-9": "another field names the unit",
    }
    assert rows_of(found, "EDU-2") == [("Practitioner.qualification", "education")]


def test_what_is_not_read_says_why() -> None:
    found = explained(
        mfe("XXX"),
        stf(),
        mfe("MDC"),
        stf(f10="5550101"),
        mfe("MAD"),
        stf(),
        stf("K9"),
    )
    positions = {(left.position, left.field): left.reason for left in found.left}
    assert positions[1, "STF-3"] == "the record is refused"
    assert positions[2, "STF-10"] == "an event that ends a person merges no content"
    assert positions[3, "STF-1"] == "a second STF in one record"  # of the second, which comes later


def test_the_translation_is_the_same() -> None:
    raw = message(mfe(), stf(f4="RN", f8="^ICU", f12="20200101", f2="7^^^SOUTH"), "PRA|K1||ST", mfe("XXX"))
    found = explain(Message(raw), RULES, NOW)
    assert found.translation == translate(raw)
    assert found.findings == (
        *found.translation.findings,
        *found.translation.records[0].findings,
        *found.translation.records[1].findings,
    )


def test_site_rows_are_explained() -> None:
    rules = FeedRules(
        KEY_SYSTEM,
        fields={"STF-5": {"drop": "not wanted here"}, "ZST-1": {"rule": "job_title", "to": "PractitionerRole.code"}},
    )
    found = explained(mfe(), stf(f5="F"), segment("ZST", f1="Matron"), rules=rules)
    assert [left.reason for left in found.left if left.field == "STF-5"] == ["not wanted here"]
    assert rows_of(found, "ZST-1") == [("PractitionerRole.code", "job_title")]


def test_other_messages_are_refused_as_by_translate() -> None:
    with pytest.raises(UnsupportedMessage):
        explain(Message(message(mfe(), stf(), event="ADT^A01")), RULES, NOW)
