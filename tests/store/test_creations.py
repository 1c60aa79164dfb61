"""What was created: who asks before an index has caught up is told, and a later look shows whether it is there, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hl7bridge.model import Image, Outcome, Result, Task, Written
from hl7bridge.store.queue.creations import Looked, SecondLook
from hl7bridge.store.queue.lanes import lane_key
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.store import Claimed, DeliveryState
from tests.store.builders import NOW, accept_one, change, claim, settlement

SECOND = Task("second-at-server", "A person stands at the FHIR server twice", ("Compare both.",))


@pytest.fixture
def store(tmp_path: Any) -> Any:
    with SqliteStore(tmp_path / "store.db") as opened:
        yield opened


def created(resource_id: str = "p1", resource_type: str = "Practitioner") -> Outcome:
    person = Written(resource_type, resource_id, change().practitioner, role_key="" if resource_id == "p1" else "k")
    image = Image(resource_type, resource_id, None, {"id": resource_id})
    return Outcome(Result.CREATED, written=(person,), images=(image,), person_id="p1")


def one(store: SqliteStore, key: str = "S1", now: float = NOW, **given: Any) -> Claimed:
    accept_one(store, change(key), now=now, **given)
    (claimed,) = claim(store, now)
    return claimed


def settle(
    store: SqliteStore, claimed: Claimed, outcome: Outcome, state: Any = DeliveryState.ENDED, now: float = NOW
) -> None:
    assert store.settlements.settle([replace(settlement(claimed, state), outcome=outcome, next_attempt=now)], now) == []


LOST = Outcome(Result.UNKNOWN, unanswered="Practitioner")


def test_another_feed_learns_who_was_written_under_a_shared_identifier(store: SqliteStore) -> None:
    settle(store, one(store, lane=("S1", "npi")), created())
    other = one(store, "OTHER", feed="second", lane=("OTHER", "npi"))
    assert other.known.lately == ("p1",)
    settle(store, other, Outcome(Result.UNCHANGED))
    assert one(store, "STRANGER", lane=("STRANGER",)).known.lately == ()


def test_the_record_itself_knows_its_person_and_after_an_hour_nobody_asks(store: SqliteStore) -> None:
    settle(store, one(store, lane=("S1", "npi")), created())
    again = one(store, lane=("S1", "npi"))
    assert (again.known.person_id, again.known.lately) == ("p1", ())
    settle(store, again, Outcome(Result.UNCHANGED, person_id="p1"))
    assert one(store, "OTHER", lane=("OTHER", "npi"), now=NOW + 3601).known.lately == ()


@pytest.mark.parametrize("state", [DeliveryState.UNKNOWN, DeliveryState.RETRY, DeliveryState.HELD])
@pytest.mark.parametrize("what", ["Practitioner", "PractitionerRole"])
def test_a_create_without_an_answer_is_told_to_all_who_share_an_identifier(
    store: SqliteStore, state: DeliveryState, what: str
) -> None:
    """Held and discarded since, or released as new: the next one must not create them again."""
    first = one(store, lane=("S1", "npi"))
    settle(store, first, Outcome(Result.RETRY, unanswered=what), state)
    if state is not DeliveryState.HELD:
        (again,) = claim(store, NOW + 5)
        assert again.known.unanswered == ((what, NOW),)
        settle(store, again, Outcome(Result.HELD), DeliveryState.HELD, NOW + 5)
    store.holds.discard(first.delivery_id, NOW + 6, who="ana", reason="test")
    other = one(store, "OTHER", feed="second", lane=("OTHER", "npi"), now=NOW + 7)
    assert [other.known.unsure_since(kind) for kind in (what, "another type")] == [NOW, 0.0]


def test_looking_again_does_not_put_off_the_end_of_the_wait(store: SqliteStore) -> None:
    settle(store, one(store), LOST, DeliveryState.UNKNOWN)
    for seconds in (5, 10):
        (again,) = claim(store, NOW + seconds)
        assert again.known.unsure_since("Practitioner") == NOW
        settle(store, again, Outcome(Result.UNKNOWN), DeliveryState.UNKNOWN, NOW + seconds)


def test_a_worker_that_was_killed_may_have_created_anything(store: SqliteStore) -> None:
    one(store)
    store.queue.join("successor", 60, NOW + 100)
    (again,) = store.queue.claim("main", "successor", 8, NOW + 100)
    assert again.known.ambiguous
    assert {again.known.unsure_since(kind) for kind in ("Practitioner", "PractitionerRole", "Group")} == {NOW + 100}


def test_what_an_earlier_version_remembered_is_read(store: SqliteStore) -> None:
    """It named two types for a worker that was killed, and kept the ids of people alone."""
    accept_one(store, change("S1"), lane=("S1", "npi"))
    keys = [lane_key("main", "npi")]
    store.creations.remember_lately(keys, [("Practitioner", ""), ("PractitionerRole", ""), ("Practitioner", "p9")], NOW)
    (claimed,) = claim(store)
    assert claimed.known.lately == ("p9",)
    assert [claimed.known.unsure_since(kind) for kind in ("Practitioner", "PractitionerRole")] == [NOW, NOW]


def test_it_survives_a_restart(tmp_path: Any) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        settle(store, one(store), LOST, DeliveryState.UNKNOWN)
        store.queue.leave("w", NOW)
    with SqliteStore(tmp_path / "store.db") as store:
        (again,) = claim(store, NOW + 1)
        assert again.known.unsure_since("Practitioner") == NOW


# --- the later look --------------------------------------------------------------------------------------------------


def due(store: SqliteStore, now: float) -> list[SecondLook]:
    return store.creations.second_looks("main", now, 50)


def test_what_was_created_is_looked_for_early_once_an_hour_and_else_when_the_index_has_it(store: SqliteStore) -> None:
    settle(store, one(store), created())
    settle(store, one(store, "S2"), created("p2"))
    (early,) = due(store, NOW + 5)
    assert (early.resource_id, early.created, early.until, early.looks) == ("p1", NOW, NOW + 60, 0)
    store.creations.looked("main", [Looked(early, True)], NOW + 7)
    lag = store.creations.index_lag("main")
    assert lag is not None
    assert (lag.latest, lag.longest, lag.at) == (7.0, 7.0, NOW + 7)
    assert due(store, NOW + 59) == []
    both = due(store, NOW + 60)
    assert [look.resource_id for look in both] == ["p1", "p2"]
    store.creations.looked("main", [Looked(look, True) for look in both], NOW + 60)
    assert due(store, NOW + 10**6) == []
    after = store.creations.index_lag("main")
    assert after is not None
    assert after.latest == 7.0  # found at the first look after a minute: no measurement


def test_what_is_not_found_is_looked_for_at_growing_intervals_and_measured(store: SqliteStore) -> None:
    settle(store, one(store), created())
    times = []
    now = NOW + 5.0
    while now < NOW + 100:
        (look,) = due(store, now)
        times.append(now - NOW)
        store.creations.looked("main", [Looked(look, False)], now)
        assert due(store, now) == []
        now += now - NOW
    assert times == [5.0, 10.0, 20.0, 40.0, 80.0]
    (look,) = due(store, now)
    store.creations.looked("main", [Looked(look, True)], now)
    lag = store.creations.index_lag("main")
    assert lag is not None
    assert lag.longest == 160.0
    assert due(store, NOW + 10**6) == []


def test_no_answer_is_no_measurement_and_at_last_nothing_is_looked_for_any_more(store: SqliteStore) -> None:
    settle(store, one(store), created())
    (look,) = due(store, NOW + 60)
    store.creations.looked("main", [Looked(look, None)], NOW + 60)
    assert due(store, NOW + 119) == []
    (look,) = due(store, NOW + 120)
    assert look.looks == 0
    store.creations.looked("main", [Looked(look, False)], NOW + 90_000)
    assert due(store, NOW + 10**6) == []
    assert store.creations.index_lag("main") is None


def test_a_second_one_is_asked_about_once(store: SqliteStore) -> None:
    settle(store, one(store), created())
    for now in (NOW + 5, NOW + 60):
        (look,) = due(store, now)
        store.creations.looked("main", [Looked(look, True, SECOND)], now)
    (task,) = store.worklist.tasks(kind="second-at-server")
    assert (task.source_key, task.feed, task.delivery_id) == ("S1", "hr", look.delivery_id)


def test_what_was_found_under_doubt_is_looked_at_later_too(store: SqliteStore) -> None:
    settle(store, one(store), LOST, DeliveryState.UNKNOWN)
    (again,) = claim(store, NOW + 5)
    settle(store, again, replace(created(), images=()), now=NOW + 5)
    assert [look.resource_id for look in due(store, NOW + 65)] == ["p1"]


def test_an_update_is_not_looked_at_later(store: SqliteStore) -> None:
    settle(store, one(store), replace(created(), images=()))
    assert due(store, NOW + 10**6) == []


def test_one_look_is_about_one_type(store: SqliteStore) -> None:
    settle(store, one(store), created())
    settle(store, one(store, "S2"), created("r1", "PractitionerRole"))
    assert len(due(store, NOW + 60)) == 1
