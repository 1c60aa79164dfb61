"""What the modes of a destination and its cohort let through; the rest is reported or waits, and nothing is half done."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.smart_auth import needed_scopes
from hl7bridge.destinations.policy import Cohort, writes_more
from hl7bridge.errors import ConfigError
from hl7bridge.model import Action, Kind, Outcome, Result, StaffChange
from tests.destinations.fhir.people import GOOD_NPI, Bridge, change, kinds, name, open_units, phone, rules, unit
from tests.destinations.fhir.server import BASE, FakeFhir

JOINS = change(Action.ADD, name(), npi=GOOD_NPI, roles=(unit("ICU"),))
MOVES = change(Action.UPDATE, phone("1"), active=True, roles=(unit("ER"),))
LEAVES = change(Action.DEACTIVATE)


def after_joining(server: FakeFhir, **modes: Any) -> Bridge:
    """A person whom the bridge created while it wrote; then the destination's modes are these."""
    bridge = Bridge(server)
    bridge.deliver(JOINS)
    server.journal.clear()
    bridge.rules = rules(**modes)
    return bridge


def verbs(server: FakeFhir) -> list[str]:
    return [asked.method for asked in server.writes()]


@pytest.mark.parametrize(
    ("later", "modes", "result", "writes"),
    [
        (MOVES, {"mode": "report"}, Result.REPORTED, []),
        (MOVES, {"mode": "approve"}, Result.HELD, []),
        (MOVES, {"mode": "report", "modes": {"update": "write"}}, Result.REPORTED, ["PUT", "PUT"]),
        (MOVES, {"mode": "write", "modes": {"update": "report"}}, Result.REPORTED, []),
        (MOVES, {"mode": "write", "modes": {"create": "approve"}}, Result.HELD, ["PUT", "PUT"]),
        (LEAVES, {"mode": "report", "modes": {"deactivate": "write"}}, Result.DEACTIVATED, ["PUT", "PUT"]),
        (LEAVES, {"mode": "write", "modes": {"deactivate": "report"}}, Result.REPORTED, []),
        (LEAVES, {"mode": "write", "modes": {"deactivate": "approve"}}, Result.HELD, []),
        (JOINS, {"mode": "report"}, Result.REPORTED, []),
        (JOINS, {"mode": "approve"}, Result.UNCHANGED, []),
    ],
)
def test_each_interaction_has_its_mode(
    server: FakeFhir, later: StaffChange, modes: dict[str, Any], result: Result, writes: list[str]
) -> None:
    bridge = after_joining(server, **modes)
    outcome = bridge.deliver(later)
    assert (outcome.result, verbs(server)) == (result, writes)
    if result is Result.HELD:
        assert outcome.local == "approval"
        assert outcome.interactions[-1].differences, "what is to be approved can be seen"


def test_a_person_who_is_only_reported_gets_no_role(server: FakeFhir) -> None:
    bridge = Bridge(server, rules(mode="report", modes={"update": "write"}))
    outcome = bridge.deliver(JOINS)
    assert (outcome.result, outcome.written, server.writes()) == (Result.REPORTED, (), [])
    assert [one.kind for one in outcome.interactions] == [Kind.CREATE, Kind.CREATE]


def test_who_is_reported_as_leaving_is_not_said_to_be_inactive(server: FakeFhir) -> None:
    bridge = after_joining(server, mode="write", modes={"deactivate": "report"})
    outcome = bridge.deliver(LEAVES)
    [task] = [task for task in outcome.tasks if task.kind == "leaver-access"]
    assert "was not changed" in " ".join(task.steps)
    assert server.only("Practitioner")["active"] is True


def test_approval_lets_it_through_once(server: FakeFhir) -> None:
    bridge = after_joining(server, mode="approve")
    asked: list[Outcome] = [bridge.deliver(MOVES), bridge.deliver(MOVES, approved=True), bridge.deliver(MOVES)]
    assert [one.result for one in asked] == [Result.HELD, Result.UPDATED, Result.UNCHANGED]
    assert open_units(server) == {"ER"} or open_units(server) == {"ICU", "ER"}


def test_a_part_that_was_written_is_told(server: FakeFhir) -> None:
    bridge = after_joining(server, mode="report", modes={"update": "write"})
    outcome = bridge.deliver(MOVES)
    assert (outcome.result, outcome.local) == (Result.REPORTED, "partly-reported")
    assert outcome.written, "and remembered, so that nothing is written twice"
    bridge.rules = rules()
    server.journal.clear()
    bridge.deliver(MOVES)
    assert verbs(server) == ["POST"], "the role that was missing"


@pytest.mark.parametrize(
    ("cohort", "one", "written"),
    [
        ({"cohort_feeds": {"hr"}}, MOVES, True),
        ({"cohort_feeds": {"roster"}}, MOVES, False),
        ({"cohort_staff_keys": {"S100"}}, MOVES, True),
        ({"cohort_staff_keys": {"S101"}}, LEAVES, False),
        ({"cohort_departments": {"ER"}}, MOVES, True),
        ({"cohort_departments": {"LAB"}}, MOVES, False),
        ({"cohort_departments": {"ICU"}}, LEAVES, True),  # named by no leaver's message, but written before
        ({"cohort_departments": {"LAB"}, "cohort_feeds": {"hr"}}, MOVES, True),
    ],
)
def test_a_cohort_limits_who_is_written(
    server: FakeFhir, cohort: dict[str, Any], one: StaffChange, written: bool
) -> None:
    bridge = after_joining(server, **{key: frozenset(value) for key, value in cohort.items()})
    outcome = bridge.deliver(one)
    assert bool(server.writes()) is written
    if not written:
        assert (outcome.result, outcome.local) == (Result.REPORTED, "outside-cohort")
        assert "leaver-access" in kinds(outcome) or one is MOVES


def ran(mode: str = "report", cohort: Cohort | None = None, **modes: str) -> dict[str, Any]:
    limits = {f"cohort_{name}": getattr(cohort, name) for name in Cohort.__slots__} if cohort else {}
    return DestinationRules("ehr", BASE, mode=mode, modes=modes, **limits).ran_as()


ICU, BOTH = Cohort(departments=frozenset({"ICU"})), Cohort(departments=frozenset({"ICU", "ER"}))


@pytest.mark.parametrize(
    ("now", "before", "more"),
    [
        (ran("report"), None, False),
        (ran("write"), None, True),
        (ran("approve"), ran("report"), True),
        (ran("write"), ran("approve"), False),
        (ran("report"), ran("write"), False),
        (ran("report", deactivate="write"), ran("report"), True),
        (ran("write"), ran("write", update="report"), True),
        (ran("write"), ran("write", ICU), True),
        (ran("write", BOTH), ran("write", ICU), True),
        (ran("write", ICU), ran("write", BOTH), False),
        (ran("write", ICU), ran("write"), False),
    ],
)
def test_what_is_more_than_before(now: dict[str, Any], before: dict[str, Any] | None, more: bool) -> None:
    assert writes_more(now, before) is more


def test_words_that_are_no_modes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"modes\.create"):
        rules(modes={"create": "perhaps"})
    with pytest.raises(ConfigError, match="modes"):
        rules(modes={"delete": "write"})


@pytest.mark.parametrize(
    ("mode", "verbs", "asked"),
    [
        ("report", "cu", ["system/Practitioner.rs", "system/PractitionerRole.rs"]),
        ("write", "u", ["rs", "u", "rs", "u"]),
        ("write", "c", ["rs", "c", "rs", "c"]),
    ],
)
def test_scopes_follow_the_modes(mode: str, verbs: str, asked: list[str]) -> None:
    found = needed_scopes(mode, frozenset({"permission-v2"}), verbs)
    assert all(scope.endswith(end) for scope, end in zip(found, asked, strict=True))
