"""Whom records are about: both sides of what is quarantined, what a person links, the map of ids."""

from __future__ import annotations

import json
from dataclasses import replace

from hl7bridge.destinations.reasons import QUARANTINE
from hl7bridge.model import Action, ElementValue, Link, Number, Provenance, Result, Written
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.store import DeliveryState, Store
from tests.store.builders import NOW, accept_one, change, claim, outcome, settlement

CANDIDATES = (
    {"id": "a", "active": True, "name": [{"family": "Quellmalz"}], "identifier": [{"value": "S1", "rank": Number("1.10")}]},
    {"id": "b", "active": False},
)  # fmt: skip
DECIDED = {"who": "ana", "reason": "asked HR"}


def hold(store: Store, local: str = "several-people", **given: object) -> int:
    (one,) = claim(store)
    held = replace(outcome(Result.HELD), local=local, candidates=CANDIDATES, **given)
    store.settlements.settle([settlement(one, DeliveryState.HELD, outcome=held)], NOW)
    return one.delivery_id


def history(store: SqliteStore, event: str) -> list[dict[str, object]]:
    rows = store.connection.execute("SELECT detail FROM history WHERE event = ?", (event,)).fetchall()
    return [json.loads(row[0]) for row in rows]


def test_both_sides_of_a_quarantined_record_are_kept(store: Store) -> None:
    accept_one(store, change())
    delivery_id = hold(store)
    accept_one(store, change("S2"))
    hold(store, "forbidden")
    (row,) = store.links.quarantined(QUARANTINE)
    assert (row.id, row.local, row.source_key, row.linked) == (delivery_id, "several-people", "S1", "")
    assert row.candidates == CANDIDATES
    assert row.candidates[0]["identifier"][0]["rank"].text == "1.10"
    assert row.change.source_key == "S1"
    assert store.links.quarantined(QUARANTINE, delivery_id=99).rows == ()
    assert store.links.quarantined(QUARANTINE, destination="lab").rows == ()
    assert store.links.quarantined(QUARANTINE, destination="main", delivery_id=delivery_id).rows == (row,)


def test_a_link_is_known_to_the_next_delivery_and_audited(store: SqliteStore) -> None:
    assert store.links.link("main", "hr", "S1", "p7", Link.LINKED, NOW, **DECIDED)
    accept_one(store, change())
    (one,) = claim(store)
    assert (one.known.person_id, one.known.link) == ("p7", Link.LINKED)
    assert store.crosswalk.known("main", "hr", "S1").link is Link.LINKED
    assert store.crosswalk.known("lab", "hr", "S1").person_id == ""
    store.settlements.settle([settlement(one, outcome=outcome(person_id="p7"))], NOW)
    assert store.crosswalk.known("main", "hr", "S1").link is Link.LINKED
    assert store.links.link("main", "hr", "S1", "p8", Link.FORCED, NOW, **DECIDED)
    first, second = history(store, "linked")
    assert first["before"] == {"person_id": "", "link": ""}
    assert second["before"] == {"person_id": "p7", "link": "linked"}
    assert second["after"] == {"person_id": "p8", "link": "forced"}
    assert (second["who"], second["reason"], second["source_key"]) == ("ana", "asked HR", "S1")


def test_a_delivery_that_finds_somebody_else_ends_the_link(store: Store) -> None:
    store.links.link("main", "hr", "S1", "p7", Link.LINKED, NOW, **DECIDED)
    accept_one(store, change())
    (one,) = claim(store)
    store.settlements.settle([settlement(one, outcome=outcome(person_id="p9"))], NOW)
    known = store.crosswalk.known("main", "hr", "S1")
    assert (known.person_id, known.link) == ("p9", Link.FOUND)


def test_an_unlink_leaves_what_was_applied_last(store: SqliteStore) -> None:
    accept_one(store, change(), order_time="2027-01-02T00:00:00Z")
    (one,) = claim(store)
    store.settlements.settle([settlement(one, outcome=outcome(person_id="p1"))], NOW)
    assert store.links.link("main", "hr", "S1", "", Link.FOUND, NOW, **DECIDED)
    entry = store.links.link_of("main", "hr", "S1")
    assert entry is not None
    assert entry.person_id == ""
    assert [row["event"] for row in store.connection.dicts("SELECT event FROM history WHERE event = 'unlinked'")] == [
        "unlinked"
    ]
    accept_one(store, change(), order_time="2027-01-01T00:00:00Z")
    assert claim(store) == []  # stale still
    assert store.links.link_of("main", "hr", "S9") is None


def test_nobody_links_while_a_delivery_is_under_way(store: Store) -> None:
    accept_one(store, change())
    claim(store)
    assert not store.links.link("main", "hr", "S1", "p7", Link.LINKED, NOW, **DECIDED)
    assert store.links.link("main", "hr", "S2", "p7", Link.LINKED, NOW, **DECIDED)


def test_who_is_linked_to_one_practitioner(store: Store) -> None:
    for feed, key in (("hr", "S2"), ("hr", "S1"), ("badge", "9")):
        store.links.link("main", feed, key, "p7", Link.LINKED, NOW, **DECIDED)
    store.links.link("lab", "hr", "S1", "p7", Link.LINKED, NOW, **DECIDED)
    assert [(row.feed, row.source_key) for row in store.links.linked_to("main", "p7")] == [
        ("badge", "9"), ("hr", "S1"), ("hr", "S2"),
    ]  # fmt: skip


def test_a_map_of_ids_is_taken_in_where_nobody_is_known(store: SqliteStore) -> None:
    store.links.link("main", "hr", "S1", "p1", Link.LINKED, NOW, **DECIDED)
    store.links.link("main", "hr", "S2", "", Link.FOUND, NOW, **DECIDED)
    rows = [("hr", "S1", "other"), ("hr", "S2", "p2"), ("hr", "S3", "p3")]
    assert store.links.import_ids("main", rows, NOW, **DECIDED) == (2, 1)
    assert store.links.import_ids("main", rows, NOW, **DECIDED) == (0, 1)
    exported = [(row.source_key, row.person_id, row.link) for row in store.links.id_map("main")]
    assert exported == [("S1", "p1", "linked"), ("S2", "p2", ""), ("S3", "p3", "")]
    assert list(store.links.id_map("lab")) == []


def test_a_base_of_another_record_does_not_make_a_link(store: Store) -> None:
    accept_one(store, change())
    (one,) = claim(store)
    given = outcome(person_id="p1", written=(Written("Practitioner", "p1"),))
    store.settlements.settle([settlement(one, outcome=given)], NOW)
    assert store.crosswalk.known("main", "hr", "S1").link is Link.FOUND


def test_who_was_set_apart_stays_so_once_there_is_a_person(store: SqliteStore) -> None:
    assert store.links.link("main", "hr", "S1", "", Link.APART, NOW, **DECIDED)
    accept_one(store, change())
    (one,) = claim(store)
    assert (one.known.person_id, one.known.link) == ("", Link.APART)
    store.settlements.settle([settlement(one, outcome=outcome(person_id="p9"))], NOW)
    known = store.crosswalk.known("main", "hr", "S1")
    assert (known.person_id, known.link) == ("p9", Link.APART)


def test_what_the_last_applied_records_said_of_a_person_is_at_hand(store: Store) -> None:
    born, sex = (
        ElementValue("birthDate", "1980-02-01", Provenance.read("STF-6")),
        ElementValue("gender", "male", Provenance.read("STF-5")),
    )
    married = ElementValue("name", {"family": "Brandt"}, Provenance.read("STF-3"))
    said = (
        (change(practitioner=(born,)), DeliveryState.ENDED),
        (change(), DeliveryState.ENDED),  # a name, and female
        (change(action=Action.DEACTIVATE, practitioner=(), evidence=(married,)), DeliveryState.ENDED),
        (change(practitioner=(sex,)), DeliveryState.HELD),  # was not applied
    )
    for one, state in said:
        accept_one(store, one)
        (claimed,) = claim(store)
        held = outcome(Result.HELD) if state is DeliveryState.HELD else outcome()
        store.settlements.settle([settlement(claimed, state, outcome=held)], NOW)
    accept_one(store, change("S2"))
    found = {value.element: value.value for value in store.links.said_by("main", "hr", "S1")}
    assert found == {"name": {"family": "Brandt"}, "gender": "female", "birthDate": "1980-02-01"}
    assert store.links.said_by("lab", "hr", "S1") == store.links.said_by("main", "badge", "S1") == ()
