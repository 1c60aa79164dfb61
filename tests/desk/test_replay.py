"""A stored message again, without a command: who asked for it is kept, what is read differently is said."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from hl7bridge.desk import holds, replay
from hl7bridge.desk.holds import Which
from hl7bridge.errors import ConfigError
from hl7bridge.model import Outcome, Result
from hl7bridge.store.store import DeliveryState
from tests.desk.conftest import ANA, BO, WHY, Office, person


def test_who_asks_for_a_replay_may_not_approve_it(office: Office) -> None:
    office.take_in(person("E100", "X1"))
    office.settle(Outcome(Result.UNCHANGED), DeliveryState.ENDED)
    done = replay.again(office.store, office.settings, 1, BO, clock=lambda: 4e9)
    assert (done.replay_of, done.message_id, done.read_differently) == (1, 2, ())
    message = office.store.audit.message(2)
    assert message is not None
    assert (message["replay_of"], message["received"], message["note"]) == (1, 4e9, "replayed")
    office.hold("approval")
    [own] = holds.release(office.store, office.settings, Which([2]), replace(BO, way="command line"), WHY).holds
    assert (own.done, own.problem) == (
        False, "you asked for this change yourself (bo (by console)): another account has to approve it",
    )  # fmt: skip
    assert holds.release(office.store, office.settings, Which([2]), ANA, WHY).done == 1


def test_another_mapping_is_shown_in_what_it_reads_differently(office: Office) -> None:
    office.take_in(person("E100", "X1"))
    feed = office.settings.feeds["staff"].model_copy(update={"tables": MappingProxyType({"0001": {"F": "M"}})})
    settings = replace(office.settings, feeds=MappingProxyType({"staff": feed}))
    done = replay.again(office.store, settings, 1, ANA)
    values = [(one["path"], one["before"] or one["after"]) for one in done.read_differently]
    assert [value[1][:2] for value in values if value[0] == "record 1: practitioner"] == [
        ["gender", "female"],
        ["gender", "male"],
    ]


def test_the_wait_ends_with_the_deliveries_or_with_the_time(office: Office) -> None:
    office.take_in(person("E100", "X1"))
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 103:
            office.settle(Outcome(Result.UNCHANGED), DeliveryState.ENDED)

    short = replay.when_ended(office.store, 1, 1, clock=lambda: now[0], sleep=sleep)
    assert (short["records"][0]["deliveries"][0]["state"], now[0] >= 101) == ("queued", True)
    whole = replay.when_ended(office.store, 1, 60, clock=lambda: now[0], sleep=sleep)
    assert whole["records"][0]["deliveries"][0]["state"] == "ended"
    assert 103 < now[0] < 104


def test_what_is_not_stored_is_not_replayed(office: Office) -> None:
    with pytest.raises(ConfigError, match="no message 7"):
        replay.again(office.store, office.settings, 7, ANA)
