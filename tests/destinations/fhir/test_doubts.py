"""Changes of which it is not certain when they apply, or whether they are the younger ones: a person decides before anything
is written of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.destinations.fhir.deliver import deliver
from hl7bridge.model import Action, Kind, Outcome, Result, StaffChange
from tests.destinations.fhir.people import GOOD_NPI, NOW, Bridge, change, name, open_units, phone, rules, unit
from tests.destinations.fhir.server import FakeFhir

JOINS = change(Action.ADD, name(), npi=GOOD_NPI, roles=(unit("ICU"),))
LEAVES = change(Action.DEACTIVATE, undated="unreadable-time")
UNDATED = [
    LEAVES,
    change(Action.REMOVE, undated="partial-time"),
    change(Action.DEACTIVATE, temporary=True, ended_for="Temporarily unavailable", undated="partial-time"),
    change(Action.UPDATE, active=False, undated="unreadable-time"),
]


@pytest.mark.parametrize("undated", UNDATED)
def test_nobody_is_ended_until_a_person_says_so(server: FakeFhir, undated: StaffChange) -> None:
    bridge = Bridge(server)
    bridge.deliver(JOINS)
    server.journal.clear()
    outcome = bridge.deliver(undated)
    assert (outcome.result, outcome.code, outcome.local) == (Result.HELD, "102", undated.undated)
    assert server.writes() == []
    assert [(task.kind, task.due_within <= 1) for task in outcome.tasks] == [("uncertain-time", True)]
    assert outcome.interactions[-1].differences, "what waits can be seen"
    assert open_units(server) == {"ICU"}
    released = bridge.deliver(undated, approved=True)
    assert released.result is Result.DEACTIVATED
    assert (server.only("Practitioner")["active"], open_units(server)) == (False, set())


def test_nobody_is_ended_by_a_file_that_may_be_of_something_else(server: FakeFhir) -> None:
    bridge = Bridge(server)
    leaves = change(Action.DEACTIVATE, undated="unknown-master-file")
    assert bridge.deliver(leaves).result is Result.NOTHING_TO_DO, "of a key that nobody has nothing is asked"
    bridge.deliver(JOINS)
    server.journal.clear()
    outcome = bridge.deliver(leaves)
    assert (outcome.result, outcome.code, outcome.local) == (Result.HELD, "103", "unknown-master-file")
    assert server.writes() == []
    assert [(task.kind, task.due_within <= 1) for task in outcome.tasks] == [("unknown-master-file", True)]
    assert bridge.deliver(leaves, approved=True).result is Result.DEACTIVATED


def test_a_destination_that_ends_roles_alone_ends_none_either(server: FakeFhir) -> None:
    bridge = Bridge(server, rules(lifecycle_scope="role"))
    bridge.deliver(JOINS)
    assert bridge.deliver(LEAVES).local == "unreadable-time"
    assert open_units(server) == {"ICU"}


def test_a_word_that_would_count_later_waits_too(server: FakeFhir) -> None:
    """Another feed holds the person, so that nothing would be written now; but this feed's word must not turn."""
    bridge = Bridge(server, rules(withheld=frozenset({"PractitionerRole"})))
    bridge.deliver(JOINS)
    bridge.deliver(replace(JOINS, source_key="B7"), "badge")
    assert bridge.deliver(LEAVES).result is Result.HELD
    bridge.deliver(change(Action.DEACTIVATE, key="B7", npi=GOOD_NPI), "badge")
    assert server.only("Practitioner")["active"] is True


def test_somebody_who_is_back_at_an_uncertain_time_stays_away(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(JOINS)
    bridge.deliver(change(Action.DEACTIVATE))
    assert bridge.deliver(change(Action.REACTIVATE, undated="unreadable-time")).result is Result.HELD
    assert server.only("Practitioner")["active"] is False


def test_where_nothing_is_written_people_are_asked_when_and_not_to_end_access(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(JOINS)
    bridge.rules = rules(mode="report")
    outcome = bridge.deliver(LEAVES)
    assert (outcome.result, [task.kind for task in outcome.tasks]) == (Result.REPORTED, ["uncertain-time"])


def test_said_again_of_somebody_who_has_left_it_asks_nobody(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(JOINS)
    bridge.deliver(change(Action.DEACTIVATE))
    outcome = bridge.deliver(LEAVES)
    assert (outcome.result, outcome.tasks) == (Result.UNCHANGED, ())
    assert all(one.kind is Kind.NONE for one in outcome.interactions)


# -- late ones ---------------------------------------------------------------------------------------------------------


def late(bridge: Bridge, one: StaffChange) -> Outcome:
    """One that is older by its sender's clock than what was applied last."""
    known = replace(bridge.known(one, "hr"), late=True)
    return deliver(one, known, "hr", bridge.rules, bridge.client, bridge.written_by, NOW)


def test_a_late_one_that_says_the_same_is_unchanged(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(JOINS)
    server.journal.clear()
    outcome = late(bridge, JOINS)
    assert (outcome.result, outcome.written, server.writes()) == (Result.UNCHANGED, (), [])


@pytest.mark.parametrize(
    ("one", "asks"),
    [
        (change(Action.UPDATE, name(), phone("1"), npi=GOOD_NPI), []),
        (change(Action.UPDATE, name("Obi"), npi=GOOD_NPI), []),
        (change(Action.UPDATE, name(), npi=GOOD_NPI, roles=(unit("ER"),)), []),
        (change(Action.DEACTIVATE), ["out-of-order"]),
        (change(Action.REMOVE), ["out-of-order"]),
        (change(Action.UPDATE, active=False), ["out-of-order"]),
        (change(Action.DEACTIVATE, temporary=True, ended_for="Temporarily unavailable"), ["out-of-order"]),
    ],
)
def test_a_late_one_that_would_change_something_is_held(server: FakeFhir, one: StaffChange, asks: list[str]) -> None:
    bridge = Bridge(server)
    bridge.deliver(JOINS)
    server.journal.clear()
    outcome = late(bridge, one)
    assert (outcome.result, outcome.local, outcome.written) == (Result.HELD, "out-of-order", ())
    assert [task.kind for task in outcome.tasks] == asks
    assert server.writes() == []


def test_a_late_joiner_whom_nobody_knows_is_not_created_unasked(server: FakeFhir) -> None:
    bridge = Bridge(server)
    assert late(bridge, JOINS).local == "out-of-order"
    assert server.writes() == []


def test_where_nothing_is_written_a_late_one_is_reported(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(JOINS)
    bridge.rules = rules(mode="report")
    assert late(bridge, change(Action.UPDATE, name("Obi"), npi=GOOD_NPI)).result is Result.REPORTED
