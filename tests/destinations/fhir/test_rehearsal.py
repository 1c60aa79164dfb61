"""A rehearsal does what the delivery does, and sends nothing but reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.destinations.fhir.rehearsal import NEW_IDS, Rehearsal, RehearsalClient
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import ReplyKind
from hl7bridge.model import Action, Outcome, Result, StaffChange
from tests.destinations.fhir.people import GOOD_NPI, NOW, Bridge, change, name, phone, rules, unit
from tests.destinations.fhir.server import FakeFhir, problem

READS = {"GET"}
HERS = {"resourceType": "Practitioner", "identifier": [{"system": "urn:x", "value": "1"}], "name": [{"family": "Ito"}]}


def rehearsed(bridge: Bridge, stories: Sequence[tuple[str, StaffChange]], **more: Any) -> list[Outcome]:
    rehearsal = Rehearsal(bridge.rules, bridge.client, lambda feed, key: _known(bridge, feed, key), bridge.written_by)
    return [rehearsal.deliver(one, feed, NOW, **more) for feed, one in stories]


def _known(bridge: Bridge, feed: str, key: str) -> Any:
    return bridge.known(change(key=key), feed)


def told(outcome: Outcome) -> Any:
    """What is equal whatever ids a server gives: result, kinds, differences, tasks."""
    plan = [
        (one.kind, one.resource_type, [(d.path, d.field) for d in one.differences], sorted(one.body or {}))
        for one in outcome.interactions
    ]
    return outcome.result, outcome.local, plan, [task.kind for task in outcome.tasks]


people = st.sampled_from(["S1", "S2"])
feeds = st.sampled_from(["hr", "roster"])
units = st.lists(st.sampled_from(["ICU", "ER"]), max_size=2, unique=True)


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, StaffChange]:
    action = draw(st.sampled_from(list(Action)))
    active = draw(st.sampled_from([True, False, None]))
    npi = draw(st.sampled_from(["", GOOD_NPI]))
    values = draw(st.sampled_from([(), (name(),), (name(), phone("1")), (name("Ito"), phone("2"))]))
    roles = tuple(unit(code) for code in draw(units))
    made = change(action, *values, key=draw(people), npi=npi, roles=roles, active=active, complete=bool(values))
    return draw(feeds), made


@settings(max_examples=60, deadline=None)
@given(st.lists(changes(), min_size=1, max_size=3), st.lists(changes(), min_size=1, max_size=6))
def test_what_is_rehearsed_is_what_happens(
    before: list[tuple[str, StaffChange]], story: list[tuple[str, StaffChange]]
) -> None:
    server = FakeFhir()
    bridge = Bridge(server)
    for feed, one in before:
        bridge.deliver(one, feed)
    server.journal.clear()
    shown = [told(outcome) for outcome in rehearsed(bridge, story)]
    assert {asked.method for asked in server.journal} <= READS
    assert not [asked for asked in server.journal if NEW_IDS in asked.target], (
        "the server is not asked for what it has not"
    )
    assert shown == [told(bridge.deliver(one, feed)) for feed, one in story]


def test_a_later_change_finds_whom_an_earlier_one_would_create() -> None:
    server = FakeFhir()
    joins = change(Action.ADD, name(), npi=GOOD_NPI, roles=(unit("ICU"),))
    story = [("hr", joins), ("hr", change(Action.UPDATE, phone("7"))), ("hr", change(Action.DEACTIVATE))]
    results = [one.result for one in rehearsed(Bridge(server), story)]
    assert results == [Result.CREATED, Result.UPDATED, Result.DEACTIVATED]
    assert server.all("Practitioner") == []


def test_what_is_older_than_the_last_one_is_stale() -> None:
    bridge = Bridge(FakeFhir())
    rehearsal = Rehearsal(bridge.rules, bridge.client, lambda feed, key: _known(bridge, feed, key), bridge.written_by)
    joins = change(Action.ADD, name(), npi=GOOD_NPI)
    assert rehearsal.deliver(joins, "hr", NOW, order_time="2026-03-02").result is Result.CREATED
    assert rehearsal.deliver(joins, "hr", NOW, order_time="2026-03-01").result is Result.STALE
    assert rehearsal.deliver(joins, "hr", NOW, order_time="2026-03-01", force=True).result is Result.UNCHANGED
    # Older by less than clocks differ: compared.
    assert rehearsal.deliver(joins, "hr", NOW, order_time="2026-03-01T23:30:00").result is Result.UNCHANGED
    moves = replace(joins, practitioner=(name("Obi"),))
    held = rehearsal.deliver(moves, "hr", NOW, order_time="2026-03-01T23:30:00")
    assert (held.result, held.local) == (Result.HELD, "out-of-order")


def test_a_server_that_fails_shows_in_the_rehearsal() -> None:
    server = FakeFhir()
    bridge = Bridge(server)
    bridge.deliver(change(Action.ADD, name(), npi=GOOD_NPI))
    server.faults.append(lambda asked: problem(503, "transient"))
    [outcome] = rehearsed(bridge, [("hr", change(Action.UPDATE, phone("1")))])
    assert outcome.result is Result.RETRY


@pytest.fixture
def client() -> RehearsalClient:
    server = FakeFhir()
    server.put(HERS)
    return RehearsalClient(FhirClient(rules(), transport=server.transport()))


def test_creates_are_conditional_as_at_a_server(client: RehearsalClient) -> None:
    again = client.create("Practitioner", {"resourceType": "Practitioner"}, if_none_exist=[("identifier", "urn:x|1")])
    assert (again.kind, again.status) == (ReplyKind.DONE, 200)
    twin = dict(HERS)
    assert client.create("Practitioner", twin).status == 201
    several = client.create("Practitioner", twin, if_none_exist=[("identifier", "urn:x|1")])
    assert several.kind is ReplyKind.CONFLICT
    assert len(client.search("Practitioner", [("identifier", "urn:x|1")]).resources) == 2


def test_updates_are_refused_as_by_the_real_client(client: RehearsalClient) -> None:
    [found] = client.search("Practitioner", [("identifier", "urn:x|1")]).resources
    body = {key: value for key, value in found.items() if key != "name"}
    assert client.update("Practitioner", found["id"], body, seen=found).detail == "would-drop-elements"
    stale = client.update("Practitioner", found["id"], found, version="9", seen=found)
    assert stale.kind is ReplyKind.CONFLICT
    done = client.update("Practitioner", found["id"], {**found, "active": False}, version="1", seen=found)
    assert done.done
    read = client.read("Practitioner", found["id"])
    assert read.resource is not None
    assert (read.resource["active"], read.version) == (False, done.version)
    assert read.version != "1"
