"""Going live, without a command: what can't be planned can't be confirmed, and what does not wait neither."""

from __future__ import annotations

import pytest

from hl7bridge.desk import go_live
from hl7bridge.destinations.reasons import LEAVING_REPORT
from hl7bridge.errors import ConfigError
from hl7bridge.model import Outcome, Result
from hl7bridge.store.store import DeliveryState
from tests.desk.conftest import ANA, BO, WHY, Office, person


@pytest.fixture
def reported(office: Office) -> Office:
    """Two changes that were only reported, at a destination whose server does not answer, and which waits."""
    office.take_in(person("E100", "X1"), person("E200", "X2"))
    office.settle(Outcome(Result.REPORTED), DeliveryState.ENDED)
    office.store.pauses.pause("ehr", LEAVING_REPORT, 1.0)
    return office


def test_a_server_out_of_reach_leaves_everything_as_it_is(reported: Office) -> None:
    told: list[go_live.PlannedChange] = []
    waited: list[float] = []
    plan = go_live.plan(reported.store, reported.settings, "ehr", each=told.append, sleep=waited.append)
    assert (plan.waits, plan.deliveries, told) == (True, (), [])
    assert plan.problem
    assert waited, "a read that fails in passing is tried again"
    with pytest.raises(ConfigError, match="could not be planned"):
        go_live.confirm(reported.store, reported.settings, plan, ANA, WHY)
    assert reported.store.audit.counts()["deliveries"] == {"ehr": {"reported": 2}}
    assert reported.store.audit.paused() == {"ehr": LEAVING_REPORT}


def test_what_was_reported_may_be_left_and_once_is_enough(reported: Office) -> None:
    plan = go_live.leave(reported.store, reported.settings, "ehr")
    go_live.confirm(reported.store, reported.settings, plan, BO, WHY)
    assert (reported.store.audit.counts()["deliveries"], reported.store.audit.paused()) == (
        {"ehr": {"reported": 2}},
        {},
    )
    assert reported.store.modes.ran_as("ehr") is not None
    with pytest.raises(ConfigError, match="does not wait to go live"):
        go_live.confirm(reported.store, reported.settings, plan, BO, WHY)


def test_counts_by_feed_and_in_all() -> None:
    results = {"hr": {"created": 2, "held": 1}, "staff": {"created": 1}}
    plan = go_live.GoLivePlan("ehr", True, results, {"brake": 1}, 4, (1, 2, 3, 4))
    assert plan.data() == {"people": 4, "results": {"created": 3, "held": 1}, "feeds": results, "held": {"brake": 1}}


def test_an_unknown_destination_and_no_reason(reported: Office) -> None:
    with pytest.raises(ConfigError, match="there is no destination"):
        go_live.plan(reported.store, reported.settings, "elsewhere")
    with pytest.raises(ConfigError, match="say why"):
        go_live.confirm(
            reported.store, reported.settings, go_live.leave(reported.store, reported.settings, "ehr"), ANA, ""
        )
