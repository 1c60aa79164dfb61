"""Who is active afterwards: the decision table of facts/mapping.md section 8, row by row."""

from __future__ import annotations

import pytest

from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import Action
from tests.mapping.building import (
    KEY_SYSTEM,
    change_of,
    errors,
    message,
    mfe,
    one,
    said,
    staff_change,
    stf,
    translate,
    values,
)

EVENTS = {
    "MAD": Action.ADD,
    "MUP": Action.UPDATE,
    "MDC": Action.DEACTIVATE,
    "MAC": Action.REACTIVATE,
    "MDL": Action.REMOVE,
}


@pytest.mark.parametrize(
    ("event", "flag", "active"),
    [
        ("MAD", "A", True),
        ("MAD", "", True),
        ("MAD", "I", False),
        ("MUP", "A", True),
        ("MUP", "I", False),
        ("MUP", "", None),
        ("MUP", '""', None),
        ("MDC", "A", False),
        ("MDC", "I", False),
        ("MDC", "", False),
        ("MAC", "A", True),
        ("MAC", "I", True),
        ("MAC", "", True),
        ("MDL", "A", False),
        ("MDL", "", False),
    ],
)
def test_event_and_flag_decide_who_is_active(event: str, flag: str, active: bool | None) -> None:
    change = staff_change(event=event, f7=flag)
    assert change.action is EVENTS[event]
    assert change.active is active
    assert change.deleted_in_source is (event == "MDL")


@pytest.mark.parametrize(("event", "flag"), [("MDC", "A"), ("MDL", "A"), ("MAC", "I")])
def test_event_wins_over_a_contradicting_flag_and_says_so(event: str, flag: str) -> None:
    record = one(stf(f7=flag), event=event)
    assert said(record) == ["event-conflict@STF-7"]
    assert not record.failed


@pytest.mark.parametrize(
    ("flag", "active", "findings"),
    [
        ("A^Active^HL70183", True, []),
        ("I^Inactive^HL70183", False, []),
        ('""', None, ["null-ignored@STF-7"]),
        ("Y", True, ["active-flag-alias@STF-7"]),
        ("N", False, ["active-flag-alias@STF-7"]),
    ],
)
def test_flag_is_read_in_its_forms_and_never_guessed(flag: str, active: bool | None, findings: list[str]) -> None:
    record = one(stf(f7=flag), event="MUP")
    assert change_of(record).active is active
    assert said(record) == findings


@pytest.mark.parametrize("event", ["MAD", "MUP"])
@pytest.mark.parametrize("flag", ["Z", "T", "1", "PRESENTLY ABSENT", "555-0101", "^I", "^Inactive", "&I"])
def test_a_flag_of_no_table_is_an_error_where_the_flag_decides(event: str, flag: str) -> None:
    record = one(stf(f7=flag), event=event)
    (error,) = errors(record)
    assert (error.code, error.local, str(error.location)) == ("103", "unknown-active-flag", "STF-7")
    assert "[tables.0183]" in error.text
    assert record.change is None


@pytest.mark.parametrize(("event", "active"), [("MDC", False), ("MAC", True), ("MDL", False)])
def test_a_flag_of_no_table_does_not_keep_an_event_that_decides_by_itself(event: str, active: bool) -> None:
    record = one(stf(f7="Z"), event=event)
    assert change_of(record).active is active
    assert said(record) == ["unknown-active-flag@STF-7"]


def test_a_site_says_what_its_own_flags_mean() -> None:
    rules = FeedRules(KEY_SYSTEM, tables={"0183": {"T": "I", "P": "A", "-": ""}})
    assert [staff_change(f7=flag, event="MUP", rules=rules).active for flag in "TP-"] == [False, True, None]


@pytest.mark.parametrize(("event", "active"), [("MAD", False), ("MUP", False), ("MDC", False)])
def test_death_makes_inactive(event: str, active: bool) -> None:
    change = staff_change(event=event, f7="" if event == "MDC" else "A", f32="Y")
    assert change.active is active
    assert change.action is EVENTS[event]


def test_reactivating_the_dead_needs_approval() -> None:
    record = one(stf(f32="Y"), event="MAC")
    assert change_of(record).active is True
    assert change_of(record).needs_approval
    assert said(record) == ["event-conflict@STF-32"]


@pytest.mark.parametrize(
    ("event", "indicator", "needs"),
    [("MAC", "Y", True), ("MAC", "N", False), ("MAC", "", False), ("MUP", "Y", False), ("MAD", "Y", False)],
)
def test_approval_is_asked_for_a_reactivation_alone(event: str, indicator: str, needs: bool) -> None:
    assert staff_change(event=event, f29=indicator).needs_approval is needs


@pytest.mark.parametrize("event", ["MAD", "MUP", "MAC"])
def test_no_practitioner_of_a_placeholder(event: str) -> None:
    record = one(stf(f37="N"), event=event)
    assert record.change is None
    assert not record.failed
    assert said(record) == ["placeholder@STF-37"]


def test_placeholder_can_be_ended_and_a_real_person_is_real() -> None:
    assert staff_change(event="MDC", f37="N").active is False
    assert staff_change(f37="Y").active is True


@pytest.mark.parametrize(
    ("event", "field", "fails"),
    [
        ("MAD", 37, True),
        ("MUP", 32, True),
        ("MAC", 29, True),
        ("MAC", 32, True),
        ("MDC", 32, False),
        ("MUP", 29, False),
    ],
)
@pytest.mark.parametrize("sent", ["2", "^Y", "^Yes"])
def test_a_yes_or_no_that_is_neither_fails_where_it_decides(event: str, field: int, fails: bool, sent: str) -> None:
    record = one(stf(**{f"f{field}": sent}), event=event)
    assert said(record) == ([f"unknown-indicator@STF-{field}"] if fails else [f"unmapped-code@STF-{field}"])
    assert record.failed is fails


@pytest.mark.parametrize("event", ["MDC", "MDL"])
def test_an_ending_needs_the_key_alone(event: str) -> None:
    change = change_of(one(event=event))
    assert change.source_key == "K1"
    assert not change.complete
    assert (change.practitioner, change.roles, change.shared_role, change.cleared) == ((), (), (), ())


def test_an_ending_merges_who_it_is_and_when_it_ends_but_no_content() -> None:
    change = staff_change(
        "PRA|K1||ST||||||||20270101",
        "ORG|1|CARD",
        event="MDC",
        f2="1234567893^^^^NPI",
        f4="RN",
        f8="CARD^Cardiology",
        f10="^WPN^PH^^^555^5550101",
        f13="20260401",
        f38="L",
    )
    assert change.practitioner == ()
    assert change.roles == ()
    assert [identifier.value for identifier in change.identifiers] == ["K1", "1234567893"]
    assert [(v.element, v.value, v.provenance.text) for v in change.shared_role] == [
        ("period", {"end": "2026-04-01"}, "STF-13")
    ]
    assert change.ended_for == "Leave of absence"


def test_an_ending_with_different_dates_leaves_them_to_the_event() -> None:
    assert staff_change(event="MDC", f13="20260401^A~20260501^B").shared_role == ()
    assert staff_change(event="MDC", f13="20260401^A~20260401^B").shared_role != ()


@pytest.mark.parametrize(
    ("code", "words"), [("L", "Leave of absence"), ("R", ""), ("T^Terminated^HL70540", ""), ("Q", "")]
)
def test_inactive_reason_has_words_only_for_a_leave(code: str, words: str) -> None:
    assert staff_change(event="MUP", f7="I", f38=code).ended_for == words


def test_reason_without_inactivity_is_ignored_and_said() -> None:
    record = one(stf(f7="A", f38="L"))
    assert change_of(record).ended_for == ""
    assert said(record) == ["event-conflict@STF-38"]


def test_expected_return_is_an_absence_with_a_description() -> None:
    change = staff_change(event="MUP", f7="I", f38="L", f35="20260901")
    (absence,) = values(change.shared_role, "notAvailable")
    assert absence == {"description": "Leave of absence", "during": {"end": "2026-09-01"}}
    assert change.ended_for == ""
    (absence,) = values(staff_change(f35="20260901").shared_role, "notAvailable")
    assert absence["description"] == "Expected to return"


def test_each_record_of_a_message_does_its_own() -> None:
    translation = translate(
        message(
            mfe("MAD", "A"),
            stf("A"),
            mfe("MUP", "B"),
            stf("B", f7="I"),
            mfe("MDC", "C"),
            mfe("MAC", "D"),
            stf("D"),
            mfe("MDL", "E"),
        )
    )
    changes = [change_of(record) for record in translation.records]
    assert [(change.source_key, change.action.value, change.active) for change in changes] == [
        ("A", "add", True),
        ("B", "update", False),
        ("C", "deactivate", False),
        ("D", "reactivate", True),
        ("E", "remove", False),
    ]
    assert [record.position for record in translation.records] == [1, 2, 3, 4, 5]
