"""What is asked of people when somebody joins or leaves, and what reads and records show of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hl7bridge.destinations.fhir.tasks import TaskRules, is_provider, leaver_unverified, security_class, shown_by_record
from hl7bridge.model import (
    CLASS_KNOWN,
    LOGIN_KNOWN,
    NAME_KNOWN,
    PERSON_INACTIVE,
    ROLES_ENDED,
    Action,
    ElementValue,
    Outcome,
    Provenance,
    Result,
    StaffIdentifier,
    Task,
)
from tests.destinations.fhir.people import ADA, LEAVES, Bridge, change, kinds, name, rules, unit, value
from tests.destinations.fhir.server import FakeFhir

JOINERS = TaskRules(
    joiner=True,
    login_identifiers=frozenset({"LOGIN"}),
    security_classes={"job:RN": "Nurse", "department:ICU": "Critical care", "category:MD": "Physician"},
)
LOGIN = StaffIdentifier("aokonkwo", authority="LOGIN", provenance=Provenance.read("STF-2[2]"))


def facts(outcome: Outcome) -> set[str]:
    return set(outcome.facts)


def only(outcome: Outcome, kind: str) -> Task:
    (task,) = [task for task in outcome.tasks if task.kind == kind]
    return task


# -- leavers --


def test_a_leaver_s_checklist_and_what_the_deactivation_showed(bridge: Bridge) -> None:
    bridge.deliver(replace(ADA, roles=(unit("ICU"),)))
    left = bridge.deliver(LEAVES)
    task = only(left, "leaver-access")
    words = ("user record", "sessions and credentials", "service accounts", "In Basket")
    assert [word in step for word, step in zip(words, task.steps, strict=True)] == [True] * 4
    assert [check.fact for check in task.checks] == [PERSON_INACTIVE, ROLES_ENDED]
    assert (task.due_within, facts(left)) == (900.0, {PERSON_INACTIVE, ROLES_ENDED})
    again = bridge.deliver(LEAVES)
    assert (kinds(again), facts(again)) == ([], {PERSON_INACTIVE, ROLES_ENDED}), "a later read shows it as well"


@pytest.mark.parametrize(
    ("how", "checks", "shown"),
    [
        ({"lifecycle_scope": "practitioner"}, [PERSON_INACTIVE], {PERSON_INACTIVE}),
        ({"lifecycle_scope": "role"}, [ROLES_ENDED], {ROLES_ENDED}),
        ({"mode": "report"}, [PERSON_INACTIVE, ROLES_ENDED], set()),
        ({"tasks": TaskRules(leaver=False)}, None, {PERSON_INACTIVE, ROLES_ENDED}),
        ({"verify": False}, [PERSON_INACTIVE, ROLES_ENDED], {PERSON_INACTIVE, ROLES_ENDED}),
    ],
    ids=["person alone", "roles alone", "report", "off", "unread"],
)
def test_what_can_be_shown_and_is(how: dict[str, Any], checks: list[str] | None, shown: set[str]) -> None:
    server = FakeFhir()
    before = Bridge(server)
    before.deliver(replace(ADA, roles=(unit("ICU"),)))
    after = Bridge(server, rules(**how))
    after.crosswalk, after.bases = before.crosswalk, before.bases
    left = after.deliver(LEAVES)
    found = [[check.fact for check in task.checks] for task in left.tasks if task.kind == "leaver-access"]
    assert found == ([] if checks is None else [checks])
    assert facts(left) == shown


def test_somebody_active_is_not_said_to_be_inactive(bridge: Bridge) -> None:
    assert facts(bridge.deliver(ADA)) == set()
    assert facts(bridge.deliver(replace(ADA, practitioner=(name("Brandt"),)))) == set()
    bridge.deliver(LEAVES)
    assert facts(bridge.deliver(change(Action.REACTIVATE, name(), active=True))) == set()


def test_nobody_there_is_nobody_active(bridge: Bridge) -> None:
    gone = bridge.deliver(LEAVES)
    assert (gone.result, facts(gone)) == (Result.NOTHING_TO_DO, {PERSON_INACTIVE, ROLES_ENDED})


def test_a_read_of_somebody_else_s_deactivation_shows_it(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    server.only("Practitioner")["active"] = False
    assert PERSON_INACTIVE in facts(bridge.deliver(change(Action.UPDATE, name())))


def test_the_task_of_a_late_leaver_hangs_on_a_read_alone() -> None:
    task = leaver_unverified()
    assert (task.by_facts, [check.fact for check in task.checks], task.due_within) == (True, [PERSON_INACTIVE], 900.0)


# -- joiners --

EVA = change(Action.ADD, name("Lindqvist", "Eva"), key="S200")


def job(code: str, field: str = "STF-19") -> ElementValue:
    return value("code", {"coding": [{"system": "urn:oid:2.999.5", "code": code}], "text": f"Job {code}"}, field)


@pytest.mark.parametrize(
    ("joins", "asked", "shown"),
    [
        (EVA, ["joiner-setup"], {NAME_KNOWN}),
        (replace(EVA, identifiers=(*EVA.identifiers, LOGIN)), ["joiner-setup"], {NAME_KNOWN, LOGIN_KNOWN}),
        (replace(EVA, roles=(unit("ICU"),)), ["joiner-setup"], {NAME_KNOWN, CLASS_KNOWN}),
        (
            replace(EVA, shared_role=(job("MD", "PRA-3"),)),
            ["joiner-setup", "provider-linkage"],
            {NAME_KNOWN, CLASS_KNOWN},
        ),
        (change(Action.ADD, name(), npi="1234567893"), ["joiner-setup", "provider-linkage"], {NAME_KNOWN}),
    ],
    ids=["name alone", "login", "class", "PRA", "NPI"],
)
@pytest.mark.parametrize("mode", ["write", "report"])
def test_a_joiner_is_set_up_by_what_is_known(joins, asked: list[str], shown: set[str], mode: str) -> None:
    outcome = Bridge(FakeFhir(), rules(mode=mode, tasks=JOINERS)).deliver(joins)
    assert (kinds(outcome), facts(outcome)) == (asked, shown)
    gates = only(outcome, "joiner-setup").checks
    assert [(check.fact, check.gate) for check in gates] == [
        (NAME_KNOWN, True), (LOGIN_KNOWN, True), (CLASS_KNOWN, True),
    ]  # fmt: skip


def test_the_class_is_only_suggested() -> None:
    outcome = Bridge(FakeFhir(), rules(tasks=JOINERS)).deliver(replace(EVA, roles=(unit("ICU"),)))
    assert only(outcome, "joiner-setup").steps[0].startswith("Confirm the security class; suggested for the role: Crit")


def test_nobody_is_set_up_who_is_there_or_leaves_or_is_not_asked_for() -> None:
    bridge = Bridge(FakeFhir(), rules(tasks=JOINERS))
    bridge.deliver(EVA)
    assert kinds(bridge.deliver(EVA)) == []
    assert kinds(bridge.deliver(change(Action.ADD, name("Gone"), key="S9", active=False))) == []
    assert kinds(Bridge(FakeFhir()).deliver(EVA)) == []


@pytest.mark.parametrize(
    ("given", "suggested"),
    [
        (replace(EVA, shared_role=(job("RN"), job("MD", "PRA-3")), roles=(unit("ICU"),)), "Nurse"),
        (replace(EVA, shared_role=(job("MD", "PRA-3"),), roles=(unit("ICU"),)), "Critical care"),
        (replace(EVA, roles=(unit("ICU|207R00000X", "ORG"),)), "Critical care"),
        (replace(EVA, shared_role=(job("MD", "PRA-3"),)), "Physician"),
        (replace(EVA, shared_role=(job("MD"),)), ""),
        (replace(EVA, shared_role=(value("code", {"text": "RN"}, "STF-18"),)), "Nurse"),
        (EVA, ""),
    ],
    ids=["job first", "then department", "of ORG", "then category", "a job is no category", "job in words", "nothing"],
)
def test_which_class_is_suggested(given, suggested: str) -> None:
    assert security_class(given, JOINERS) == suggested


def test_records_show_nothing_of_joiners_where_nobody_asks() -> None:
    assert shown_by_record(replace(EVA, identifiers=(LOGIN,)), TaskRules()) == frozenset()
    assert not is_provider(EVA)
