"""What is asked before each write, and what becomes of a write that is not permitted."""

from __future__ import annotations

import pytest

from hl7bridge.destinations import reasons
from hl7bridge.model import Action, Interaction, Outcome, Result, StaffChange
from tests.destinations.fhir.people import GOOD_NPI, Bridge, change, name, phone, unit
from tests.destinations.fhir.server import FakeFhir

JOINS = change(Action.ADD, name(), npi=GOOD_NPI, roles=(unit("ICU"),))
LEAVES = change(Action.DEACTIVATE)


@pytest.mark.parametrize(
    ("later", "asked"),
    [
        (JOINS, []),
        (change(Action.UPDATE, name(), phone("1"), active=True), [False]),
        (change(Action.UPDATE, name(), active=True, roles=(unit("ER"),)), [False, False]),
        (LEAVES, [True, True]),
        (change(Action.REMOVE), [True, True]),
        (change(Action.UPDATE, name(), active=False), [True, True]),
    ],
)
def test_it_says_whether_somebody_ends(bridge: Bridge, server: FakeFhir, later: StaffChange, asked: list[bool]) -> None:
    bridge.deliver(JOINS)
    found: list[bool] = []

    def permit(interaction: Interaction, ends: bool) -> Outcome | None:
        found.append(ends)
        return None

    bridge.deliver(later, permit=permit)
    assert found == asked
    bridge.deliver(later, permit=permit)
    assert found == asked, "what is so already is not asked for"


@pytest.mark.parametrize("answer", [reasons.BRAKED, reasons.PROTECTED, reasons.writes_refused("No")])
@pytest.mark.parametrize("later", [LEAVES, change(Action.UPDATE, name("Okonkwo", "Ada"), active=True)])
def test_what_is_not_permitted_is_not_written(
    bridge: Bridge, server: FakeFhir, answer: Outcome, later: StaffChange
) -> None:
    bridge.deliver(JOINS)
    bridge.asked()
    outcome = bridge.deliver(later, permit=lambda interaction, ends: answer)
    assert (outcome.result, outcome.local, outcome.tasks) == (answer.result, answer.local, answer.tasks)
    assert outcome.interactions, "what was planned is told"
    assert not [line for line in bridge.asked() if not line.startswith("GET")]
    assert server.only("Practitioner")["active"] is True


def test_somebody_new_who_is_inactive_ends_nobody(bridge: Bridge) -> None:
    found: list[bool] = []
    inactive = change(Action.ADD, name(), npi=GOOD_NPI, active=False)
    outcome = bridge.deliver(inactive, permit=lambda interaction, ends: found.append(ends))
    assert outcome.result is Result.CREATED
    assert found == [False]


def test_a_role_that_moves_ends_nobody(bridge: Bridge) -> None:
    bridge.deliver(JOINS)
    found: list[bool] = []
    moves = change(Action.UPDATE, name(), npi=GOOD_NPI, active=True, roles=(unit("ER"),))
    bridge.deliver(moves, permit=lambda interaction, ends: found.append(ends))
    assert found
    assert not any(found)


def test_a_dry_run_asks_nobody(bridge: Bridge) -> None:
    bridge.deliver(JOINS)

    def permit(interaction: Interaction, ends: bool) -> Outcome | None:
        raise AssertionError("nothing is written")

    assert bridge.deliver(LEAVES, permit=permit, dry_run=True).result is Result.REPORTED
