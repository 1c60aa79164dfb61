"""Pausing, resuming, writing again, without a command."""

from __future__ import annotations

import pytest

from hl7bridge.desk import destinations, holds
from hl7bridge.destinations.reasons import LEAVING_REPORT, MAINTENANCE
from hl7bridge.errors import ConfigError
from hl7bridge.model import WRITES_REFUSED
from tests.desk.conftest import ANA, BO, WHY, Office, person

NOW = 4e9


def test_a_pause_says_who_and_a_second_one_changes_nothing(office: Office) -> None:
    office.take_in(person("E100", "X1"))
    paused = destinations.pause(office.store, office.settings, "ehr", BO, WHY, clock=lambda: NOW)
    assert paused == destinations.Resumption("ehr", True, "ehr is paused")
    again = destinations.pause(office.store, office.settings, "ehr", ANA, WHY)
    assert again == destinations.Resumption("ehr", False, "ehr was paused already (paused-by-person)")
    [one] = destinations.standing(office.store, office.settings)
    assert (one.name, one.mode, one.waiting, one.held) == ("ehr", "write", 1, 0)
    assert (one.paused, one.since, one.who, one.note) == ("paused-by-person", NOW, "bo (by console)", WHY)
    assert one.data()["since"] == "2096-10-02T07:06:40.000+00:00"
    assert destinations.resume(office.store, office.settings, "ehr", ANA, WHY).said == "ehr is resumed"
    assert destinations.resume(office.store, office.settings, "ehr", ANA, WHY).said == "ehr was not paused"


def test_a_maintenance_window_and_going_live_are_not_resumed(office: Office) -> None:
    office.store.pauses.pause("ehr", MAINTENANCE, NOW, until=NOW + 600)
    with pytest.raises(ConfigError, match="maintenance window until"):
        destinations.resume(office.store, office.settings, "ehr", ANA, WHY, clock=lambda: NOW + 599)
    assert destinations.resume(office.store, office.settings, "ehr", ANA, WHY, clock=lambda: NOW + 601).changed
    office.store.pauses.pause("ehr", LEAVING_REPORT, NOW)
    with pytest.raises(ConfigError, match="waits to go live"):
        destinations.resume(office.store, office.settings, "ehr", ANA, WHY)


def test_what_was_refused_goes_out_again_and_is_not_approved(office: Office) -> None:
    office.take_in(person("E100", "X1"), person("E200", "X2"))
    office.hold("forbidden")
    office.take_in(person("E300", "X3"))
    office.hold("brake")
    office.store.pauses.pause("ehr", WRITES_REFUSED, NOW)
    done = destinations.retry_writes(office.store, office.settings, "ehr", ANA, WHY)
    assert (done.changed, done.said) == (True, "ehr is written to again; 2 of 2 held changes are queued")
    assert [hold.local for hold in holds.find(office.store).holds] == ["brake"]
    assert office.hold("approval") == [False, False]
    nothing = destinations.retry_writes(office.store, office.settings, "ehr", ANA, WHY)
    assert (nothing.changed, nothing.said) == (False, "ehr has not refused writes")


def test_one_that_is_paused_for_another_reason_is_not_written_to(office: Office) -> None:
    destinations.pause(office.store, office.settings, "ehr", ANA, WHY)
    with pytest.raises(ConfigError, match="paused for another reason"):
        destinations.retry_writes(office.store, office.settings, "ehr", ANA, WHY)


@pytest.mark.parametrize("decide", [destinations.pause, destinations.resume, destinations.retry_writes])
def test_an_unknown_name_and_no_reason(office: Office, decide: object) -> None:
    assert callable(decide)
    with pytest.raises(ConfigError, match='there is no destination "elsewhere"'):
        decide(office.store, office.settings, "elsewhere", ANA, WHY)
    with pytest.raises(ConfigError, match="say why"):
        decide(office.store, office.settings, "ehr", ANA, "")
