"""Releasing and discarding holds, without a command: who may, what comes back, what the history says."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.desk import holds
from hl7bridge.desk.deciding import Actor
from hl7bridge.desk.holds import Which
from hl7bridge.errors import ConfigError
from tests.desk.conftest import ANA, BO, WHY, Office, person


def events(office: Office, message_id: int, event: str) -> list[dict[str, Any]]:
    message = office.store.audit.message(message_id)
    assert message is not None
    return [row["detail"] for row in message["history"] if row["event"] == event]


def test_a_release_is_a_value_and_in_the_history_with_the_actor(office: Office) -> None:
    office.take_in(person("E100", "X1"), person("E200", "X2"))
    office.hold("refused")
    done = holds.release(office.store, office.settings, Which([1]), BO, WHY, clock=lambda: 5e9)
    assert done == holds.HoldsDecided((holds.HoldDecided(1, True),))
    [detail] = events(office, 1, "released")
    assert (detail["who"], detail["reason"]) == ("bo (by console)", WHY)
    assert [hold.id for hold in holds.find(office.store).holds] == [2]
    again = holds.release(office.store, office.settings, Which([2], every=False), ANA, "  checked\nwith HR ")
    assert again.done == 1
    assert [(row["who"], row["reason"]) for row in events(office, 2, "released")] == [("ana", WHY)]


def test_lists_page_and_count_by_cause(office: Office) -> None:
    office.take_in(*(person(f"E{number}", f"X{number}") for number in range(4)))
    office.hold("brake")
    found = holds.find(office.store, cause="brake", limit=3)
    assert ([hold.source_key for hold in found.holds], bool(found.next), found.total) == (
        ["E0", "E1", "E2"],
        True,
        4,
    )
    rest = holds.find(office.store, limit=3, after=found.next)
    assert ([hold.source_key for hold in rest.holds], rest.next, rest.total) == (["E3"], "", 4)
    with pytest.raises(ConfigError, match="no place in the list of holds"):
        holds.find(office.store, after="elsewhere")
    assert holds.find(office.store, person="E3", limit=3).next == ""
    assert holds.find(office.store, destination="elsewhere").total == 0
    shown = holds.show(office.store, found.holds[0].id)
    assert (shown.hold.source_key, shown.header["control_id"]) == ("E0", "X0")
    assert [delivery["id"] for delivery in shown.record["deliveries"]] == [found.holds[0].id]


@pytest.mark.parametrize("account", ["ana", "root (sudo: ana)"])
def test_who_asked_for_a_change_does_not_approve_it_by_any_way(office: Office, account: str) -> None:
    office.take_in(person("E100", "X1"))
    office.hold("approval")
    held = holds.find(office.store).holds[0]
    for requested in ("ana", "ana (by console)", "root (sudo: ana)"):
        assert Actor(account, "console").is_who_asked(requested)
        assert Actor(account).is_who_asked(requested)
        assert not BO.is_who_asked(requested)
    assert not Actor(account).is_who_asked(held.requested_by), "a feed asked for it"
    assert not Actor("").is_who_asked("")


def test_a_discard_ends_it_and_a_second_says_so(office: Office) -> None:
    office.take_in(person("E100", "X1"))
    office.hold("brake")
    done = holds.discard(office.store, office.settings, Which(every=True, cause="brake"), ANA, WHY)
    assert [one.done for one in done.holds] == [True]
    [ended] = events(office, 1, "withdrawn")
    assert (ended["who"], ended["reason"], ended["held_for"]) == ("ana", WHY, "brake")
    assert holds.discard(office.store, office.settings, Which(every=True, cause="brake"), ANA, WHY).holds == ()
    with pytest.raises(ConfigError, match="no held delivery has the id 1"):
        holds.release(office.store, office.settings, Which([1]), ANA, WHY)


@pytest.mark.parametrize(
    "which",
    [Which(), Which([1], every=True), Which(every=True), Which([1], cause="brake"), Which([1], destination="ehr")],
)
def test_what_is_meant_has_to_be_said(office: Office, which: Which) -> None:
    with pytest.raises(ConfigError, match="say which"):
        holds.discard(office.store, office.settings, which, ANA, WHY)


@pytest.mark.parametrize("reason", ["", "  \n "])
def test_without_a_reason_nothing_is_decided(office: Office, reason: str) -> None:
    office.take_in(person("E100", "X1"))
    office.hold("brake")
    with pytest.raises(ConfigError, match="say why"):
        holds.release(office.store, office.settings, Which([1]), ANA, reason)
    assert holds.find(office.store).total == 1
