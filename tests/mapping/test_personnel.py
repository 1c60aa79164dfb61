"""PMU^B01 to B08: which change each trigger event makes. What becomes of it: tests/test_decision_table.py."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import explain
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.model import Action, Record, RecordEcho, Severity, StaffChange
from tests.examples import examples
from tests.mapping.building import KEY_SYSTEM, NOW, RULES, change_of, errors, msh, said, segment, stf, translate, values
from tests.mapping.test_properties import FRAGMENTS, check_change

EVENTS = [f"B0{number}" for number in range(1, 9)]
CER = segment("CER", f1="1", f2="L1", f4="Board", f10="LIC^Licence", f25="20200101", f27="20301231")


def pmu(
    event: str, *segments: str, version: str = "2.5.1", structure: str = "", evn: str = "EVN||20260318113000"
) -> bytes:
    lines = [msh(version, f"PMU^{event}{structure}"), *([evn] if evn else []), *segments]
    return ("\r".join(lines) + "\r").encode()


def one(event: str, *segments: str, rules: FeedRules = RULES, evn: str = "EVN||20260318113000") -> Record:
    (record,) = translate(pmu(event, *(segments or (stf(),)), evn=evn), rules).records
    return record


def warned(record: Record) -> list[str]:
    return said(record, Severity.WARNING)


# --- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "action", "active", "kind"),
    [
        ("B01", Action.ADD, True, "add"),
        ("B02", Action.UPDATE, None, "update"),
        ("B03", Action.REMOVE, False, "remove"),
        ("B04", Action.REACTIVATE, True, "reactivate"),
        ("B05", Action.DEACTIVATE, False, "rest"),
        ("B06", Action.DEACTIVATE, False, "deactivate"),
        ("B07", Action.UPDATE, None, "grant"),
        ("B08", Action.UPDATE, None, "revoke"),
    ],
)
def test_each_event_has_its_meaning(event: str, action: Action, active: bool | None, kind: str) -> None:
    record = one(event, stf(), CER)
    change = change_of(record)
    assert (change.action, change.active, change.kind) == (action, active, kind)
    assert change.deleted_in_source is (event == "B03")
    assert record.echo == RecordEcho()
    assert change.event_field.text == "MSH-9"
    assert StaffChange.from_json(change.to_json()) == change


@pytest.mark.parametrize("structure", ["", "^PMU_B01", "^PMU_B05", "^NONSENSE"])
def test_msh_9_3_decides_nothing(structure: str) -> None:
    (record,) = translate(pmu("B05", stf(), structure=structure)).records
    assert change_of(record).temporary


@pytest.mark.parametrize("version", ["2.4", "2.5", "2.6", "2.7.1", "2.8.2", "2.9", ""])
def test_versions_that_have_pmu(version: str) -> None:
    assert len(translate(pmu("B01", stf(), version=version)).records) == 1


@pytest.mark.parametrize(
    ("version", "rules"), [("2.3.1", RULES), ("2.2", RULES), ("", FeedRules(KEY_SYSTEM, fallback_version="2.3"))]
)
def test_pmu_began_with_2_4(version: str, rules: FeedRules) -> None:
    with pytest.raises(MessageError) as caught:
        translate(pmu("B01", stf(), version=version), rules)
    assert (caught.value.finding.code, str(caught.value.finding.location)) == ("203", "MSH-12")


@pytest.mark.parametrize("event", EVENTS)
def test_a_message_without_stf_names_nobody(event: str) -> None:
    (record,) = translate(pmu(event, "PRA|K1||ST")).records
    (error,) = errors(record)
    assert (error.code, error.local, str(error.location)) == ("100", "segment-missing", "STF")


def test_segments_of_other_people_are_known_by_name() -> None:
    record = one("B01", stf(), "NK1|1|X^Y", "PRT|1|AD||SB|9^Z", "ROL|1|AD|AT|9^Z", "GSP|1|S", "AFF|1|Society")
    assert warned(record) == []
    found = explain(Message(pmu("B01", stf(), "NK1|1|X^Y", "PRT|1|AD", "ROL|1|AD")), RULES, NOW)
    assert (found.segments, found.unknown, found.unused) == ((), 0, 0)


# --- key -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stf_1", "stf_2", "key", "field"),
    [
        ("K1^Rossi", "E7^^^NORTH^EI", "K1", "STF-1"),
        ("", "E7^^^NORTH^EI", "E7", "STF-2"),
        ("", "E7", "E7", "STF-2"),
        ("", "1234567893^^^^NPI~E7^^^NORTH^EI", "E7", "STF-2[2]"),
        ("", "E7^^^NORTH^EI~1234567893^^^^NPI", "E7", "STF-2"),
        ("", "111223333^^^USSSA^SS~E7^^^NORTH", "E7", "STF-2[2]"),
        ("", "111223333^^^USSSA^SS~AB1234563^^^^DEA~1234567893^^^^NPI", "AB1234563", "STF-2[2]"),
        ("", "~E7", "E7", "STF-2[2]"),
    ],
)
def test_where_the_key_comes_from(stf_1: str, stf_2: str, key: str, field: str) -> None:
    record = one("B01", stf(stf_1, f2=stf_2))
    change = change_of(record)
    assert (change.source_key, change.identifiers[0].provenance.text) == (key, field)
    (finding,) = [finding for finding in record.findings if finding.local == "key-source"]
    assert finding.severity is Severity.INFORMATION
    assert field in finding.text


@pytest.mark.parametrize("stf_2", ["", '""', "^^^NORTH", "111223333^^^USSSA^SS", "D1^^^CA^DL~9^^^^TAX"])
def test_no_key(stf_2: str) -> None:
    (error,) = errors(one("B06", stf("", f2=stf_2)))
    assert (error.code, error.local, str(error.location)) == ("101", "key-missing", "STF-2")


@pytest.mark.parametrize(("number", "fails"), [("K1", False), ("E77", False), ("", False), ("another", True)])
def test_pra_1_is_the_key_in_master_files_alone_and_names_nobody_else_here(number: str, fails: bool) -> None:
    record = one("B01", stf(f2="E77^^^NORTH^EI"), f"PRA|{number}||ST")
    assert [finding.local for finding in errors(record)] == ["key-mismatch"] * fails


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evn", "effective", "finding"),
    [
        ("EVN||20260318113000", "2026-03-18T11:30:00+00:00", []),
        ("EVN||20260317|20260316", "2026-03-17T00:00:00+00:00", []),
        ("EVN||20260317|20260401", "2026-04-01T00:00:00+00:00", []),
        ("EVN||20260317|20260401|||20260310", "2026-03-10T00:00:00+00:00", []),
        ("EVN||20260317||||20260401", "2026-03-17T00:00:00+00:00", ["invalid-time@EVN-6"]),
        ("EVN||20260317|20260402|||20260401", "2026-04-02T00:00:00+00:00", ["invalid-time@EVN-6"]),
        ("EVN||20260401", "", ["invalid-time@EVN-2"]),
        ("EVN||20260318120300", "", []),
        ("EVN||soon|later|||now", "", ["invalid-time@EVN-6", "invalid-time@EVN-3", "invalid-time@EVN-2"]),
        ("EVN|B01", "", []),
        ("", "", ["segment-missing@EVN"]),
    ],
)
def test_when_it_takes_effect(evn: str, effective: str, finding: list[str]) -> None:
    translation = translate(pmu("B01", stf(), evn=evn))
    assert change_of(translation.records[0]).effective == effective
    assert said(translation) == finding


# --- content ---------------------------------------------------------------------------------------------------------


def test_a_leave_says_until_when_and_why_and_merges_no_content() -> None:
    change = change_of(one("B05", stf(f8="CARD", f13="20260401", f35="20260930", f38="L"), "PRA|K1||ST"))
    assert (change.temporary, change.until, change.ended_for) == (True, "2026-09-30", "Leave of absence")
    assert (change.practitioner, change.roles, change.shared_role, change.cleared) == ((), (), (), ())
    assert change_of(one("B05")).ended_for == "Temporarily unavailable"


@pytest.mark.parametrize("event", ["B03", "B06"])
def test_nobody_who_has_left_is_expected_back(event: str) -> None:
    change = change_of(one(event, stf(f35="20260930")))
    assert (change.temporary, change.until) == (False, "")


@pytest.mark.parametrize("event", ["B01", "B02"])
def test_a_flag_of_no_table_is_an_error_where_it_decides(event: str) -> None:
    (error,) = errors(one(event, stf(f7="T")))
    assert (error.code, str(error.location)) == ("103", "STF-7")


@pytest.mark.parametrize("event", ["B03", "B04", "B05", "B06"])
def test_a_flag_of_no_table_is_said_where_the_event_decides(event: str) -> None:
    assert warned(one(event, stf(f7="T"))) == ["unknown-active-flag@STF-7"]


@pytest.mark.parametrize("event", ["B07", "B08"])
def test_certificates_bring_nothing_but_themselves(event: str) -> None:
    record = one(
        event, stf(f2="1234567893^^^^NPI", f5="F", f7="T", f8="CARD", f37="N"), "PRA|K1||ST", "EDU|1|MD", CER, CER
    )
    change = change_of(record)
    assert warned(record) == []
    assert {value.element for value in change.practitioner} == {"qualification"}
    assert (change.roles, change.shared_role, change.active, change.complete) == ((), (), None, False)
    assert [one.value for one in change.identifiers] == ["K1", "1234567893"]


@pytest.mark.parametrize("event", ["B07", "B08"])
@pytest.mark.parametrize("unreadable", [[], ["CER|1"]], ids=["none", "one that says nothing"])
def test_certificates_without_any_fail(event: str, unreadable: list[str]) -> None:
    """An answer of success would say that something was granted, or revoked."""
    record = one(event, stf(), *unreadable)
    assert (record.change, record.failed) == (None, True)
    assert "no-certificate" in [finding.local for finding in record.findings]


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"f29": "20260301", "f27": "20301231"}, "2026-03-01"),
        ({"f26": "20260301", "f27": "20301231"}, "2026-03-01"),
        ({"f29": "20260601", "f27": "20301231"}, "2026-06-01"),
        ({"f27": "20301231"}, "2026-03-17"),
        ({"f27": "20250101"}, "2025-01-01"),
        ({}, "2026-03-17"),
    ],
)
def test_a_revocation_ends_when_it_was_revoked_or_takes_effect(fields: dict[str, str], end: str) -> None:
    cer = segment("CER", **({"f1": "1", "f2": "L1", "f10": "LIC"} | fields))
    (found,) = values(change_of(one("B08", stf(), cer, evn="EVN||20260317")), "qualification")
    assert found["period"]["end"] == end


def test_a_revocation_needs_the_number_alone() -> None:
    record = one("B08", stf(), "CER|1|L1")
    (found,) = values(change_of(record), "qualification")
    assert set(found) == {"identifier", "period"}
    assert one("B08", stf(), "CER|1").change is None
    assert one("B07", stf(), "CER|1|L1").change is None


def test_what_a_master_file_says_has_ended_has_ended_however_far_off_its_expiry_is() -> None:
    cer = segment("CER", f1="1", f2="L1", f10="LIC", f27="20301231", f31="R")
    (found,) = values(change_of(one("B01", stf(), cer)), "qualification")
    assert found["period"] == {"end": "2026-03-18"}


# --- whatever stands in the fields -----------------------------------------------------------------------------------

FULL = (
    stf(
        f2="E7^^^NORTH&1.2.3&ISO^EI~1234567893^^^^NPI",
        f5="F",
        f6="19790412",
        f7="A",
        f8="CARD^Cardiology",
        f35="20260930",
    ),
    "PRA|||ST||207R00000X^Board^C^20050101",
    "ORG|1|CARD^Cardiology|||||207R00000X",
    "LAN|1|fr",
    "EDU|1|MD|||19890604",
    CER,
    "PRT|1|AD",
)


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([*EVENTS, "B09"]),
    st.lists(st.tuples(st.integers(60, 500), st.integers(0, 12), st.sampled_from(FRAGMENTS)), max_size=5),
)
def test_any_mutation_gives_one_record_or_a_refusal(event: str, changes: list[tuple[int, int, bytes]]) -> None:
    raw = pmu(event, *FULL, evn="EVN||20260317|20260401|||20260310")
    for at, removed, added in changes:
        raw = raw[:at] + added + raw[at + removed :]
    try:
        message = Message(raw, ("utf-8", "latin-1"))
        translation = staff.translate(message, RULES, NOW)
    except MessageError:
        return
    for record in translation.records:
        if record.change is not None and not record.change.revokes:
            check_change(record.change)
    found = explain(message, RULES, NOW)
    assert found.translation == translation
    assert found.valued == found.used + found.dropped + found.unused + found.unknown


@pytest.mark.parametrize("event", EVENTS)
def test_each_field_is_accounted_for(event: str) -> None:
    message = Message(pmu(event, *FULL, evn="EVN||20260317|20260401||CLERK|20260310"))
    found = explain(message, RULES, NOW)
    assert found.valued == found.used + found.dropped + found.unused + found.unknown
    assert all(left.reason for left in found.left)
    assert {row.position for row in found.rows if row.element != "envelope"} == {1}
    assert "EVN-5" in {left.field for left in found.left if left.dropped}
