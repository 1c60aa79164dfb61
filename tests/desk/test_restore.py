"""Restoring, without a command: who may approve, and what stands in the way."""

from __future__ import annotations

import pytest

from hl7bridge.desk import restore
from hl7bridge.desk.deciding import Actor
from hl7bridge.destinations.protocol import TakenBack
from hl7bridge.errors import ConfigError
from hl7bridge.model import Difference, Outcome, Result
from hl7bridge.store.store import DeliveryState
from tests.desk.conftest import ANA, BO, WHY, Office, person


@pytest.fixture
def delivered(office: Office) -> Office:
    office.take_in(person("E100", "X1"))
    office.settle(Outcome(Result.UNCHANGED), DeliveryState.ENDED)
    return office


def test_nobody_approves_their_own_restore_by_any_way(delivered: Office) -> None:
    number = delivered.store.restores.ask_restore(1, 1.0, who=str(BO), reason=WHY)
    [waits] = restore.waiting(delivered.store)
    assert (waits.id, waits.who, waits.delivery_id) == (number, "bo (by console)", 1)
    for own in (BO, Actor("bo"), Actor("root (sudo: bo)")):
        with pytest.raises(ConfigError, match="is your own"):
            restore.approve(delivered.store, delivered.settings, number, own, WHY)
    [done] = restore.approve(delivered.store, delivered.settings, number, ANA, WHY)
    assert (done.state, done.problem) == ("failed", "it wrote nothing, or what it found is not kept any more")
    restore.reject(delivered.store, number, ANA, WHY)
    with pytest.raises(ConfigError, match=f"no restore {number} waits"):
        restore.approve(delivered.store, delivered.settings, number, ANA, WHY)
    with pytest.raises(ConfigError, match=f"no restore {number} waits"):
        restore.reject(delivered.store, number, ANA, WHY)


def test_what_has_not_ended_is_not_taken_back(delivered: Office) -> None:
    delivered.take_in(person("E200", "X2"))
    [done] = restore.take_back(delivered.store, delivered.settings, [2], ANA, WHY)
    assert (done.state, done.problem) == ("failed", "the delivery has not ended (queued)")
    assert (done.complete, done.unreachable) == (False, False)
    assert restore.deliveries_of(delivered.store, 2) == [2]
    with pytest.raises(ConfigError, match="no delivery 9"):
        restore.take_back(delivered.store, delivered.settings, [9], ANA, WHY)
    with pytest.raises(ConfigError, match="say why"):
        restore.take_back(delivered.store, delivered.settings, [1], ANA, "")


def test_a_restore_is_complete_when_nothing_stays() -> None:
    difference = Difference("name[0]", {"family": "B"}, {"family": "A"})
    resource = TakenBack("Thing", "1", differences=(difference,))
    whole = restore.Restored(1, 1, "ehr", "staff", "E100", restore.APPLIED, 7, resources=(resource,))
    assert whole.complete
    kept = restore.Restored(1, 1, "ehr", "staff", "E100", resources=(TakenBack("Thing", "1", kept=(difference,)),))
    assert not kept.complete
    data = whole.data()
    assert (data["state"], data["restore_id"], data["unreachable"]) == ("applied", 7, False)
    assert data["resources"][0]["differences"][0]["path"] == "name[0]"
    assert "base" not in data["resources"][0]
