"""A clock that is set back makes no wait longer than it was meant to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from hl7bridge.service.outbound.clock import SMALL, ClockWatch
from hl7bridge.store.opening import open_store
from hl7bridge.store.queue.waits import TURN
from hl7bridge.store.store import Store

NOW, HOUR, LONGEST, LEASE = 1_800_000_000.0, 3600.0, 300.0, 30.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store.db")


def put(store: Store, sql: str, *rows: tuple[object, ...]) -> None:
    with store.connection.writing():
        store.connection.execute_many(sql, rows)


def one(store: Store, sql: str) -> list[object]:
    return [row[0] for row in store.connection.execute(sql).fetchall()]


DELIVERY = (
    "INSERT INTO delivery (id, message_id, position, destination, feed, source_key, action, state, next_attempt, not_before,"
    " place, lane, head, leaver, order_time, force)"
    " VALUES (?1, 1, ?1, ?2, 'staff', 'K', 'update', ?3, ?4, ?5, ?1, '', 1, 0, '', 0)"
)


def test_what_waits_is_pulled_in_and_what_is_dated_stays(store: Store) -> None:
    store.connection.execute("PRAGMA foreign_keys = OFF")
    far, near = NOW + HOUR, NOW + 10
    put(
        store,
        DELIVERY,
        (1, "fhir", "retry", far, 0),
        (2, "fhir", "unknown", far, 0),
        (3, "fhir", "retry", near, 0),
        (4, "other", "retry", far, 0),
        (5, "fhir", "scheduled", 0, far),
        (6, "fhir", "held", far, 0),
    )
    assert store.waits.shorten("fhir", LONGEST, LEASE, NOW) == 2
    at = one(store, "SELECT next_attempt FROM delivery ORDER BY id")
    assert at == [NOW + LONGEST, NOW + LONGEST, near, far, 0, far]
    assert one(store, "SELECT not_before FROM delivery WHERE id = 5") == [far]
    assert store.waits.shorten("fhir", LONGEST, LEASE, NOW) == 0


def test_pauses_rests_and_leases_are_pulled_in_too(store: Store) -> None:
    put(
        store,
        "INSERT INTO pause (destination, reason, since, until) VALUES (?, ?, 0, ?)",
        ("fhir", "token-refused", NOW + HOUR),
        ("closed", "maintenance", NOW + HOUR),
        ("stopped", "by hand", 0.0),
    )
    put(store, "INSERT INTO worker (owner, expiry) VALUES (?, ?)", ("dead", NOW + HOUR), ("alive", NOW + 5))
    put(
        store,
        "INSERT INTO health (destination, version, at_once, failures, rests, rest_until, pauses, paused_until, told)"
        " VALUES (?, 7, 0, 0, 0, ?, 0, ?, '')",
        ("fhir", NOW + HOUR, NOW + HOUR),
    )
    for destination in ("fhir", "closed", "stopped"):
        store.waits.shorten(destination, LONGEST, LEASE, NOW, but="maintenance")
    assert one(store, "SELECT until FROM pause ORDER BY destination") == [NOW + HOUR, NOW + LONGEST, 0.0]
    assert one(store, "SELECT expiry FROM worker ORDER BY owner") == [NOW + 5, NOW + LEASE]
    assert (
        one(store, "SELECT rest_until FROM health") == one(store, "SELECT paused_until FROM health") == [NOW + LONGEST]
    )
    assert one(store, "SELECT version FROM health") == [9]  # whoever decided upon the older one decides again


def test_what_ran_or_was_told_in_the_future_is_due_as_if_it_were_now(store: Store) -> None:
    store.connection.execute("PRAGMA foreign_keys = OFF")
    look = "INSERT INTO second_look VALUES ('fhir', 'Practitioner', ?, '', 'staff', 'K', 1, 1, ?, ?, ?, 0)"
    put(store, look, ("far", NOW + HOUR, NOW + HOUR, NOW + HOUR), ("near", NOW, NOW + 5, NOW + 60))
    jobs = ("dead", NOW + HOUR, "gone", NOW + HOUR), ("ran", NOW + HOUR, "", 0.0), ("runs", NOW - 5, "me", NOW + 50)
    put(store, "INSERT INTO job (name, last, owner, expiry) VALUES (?, ?, ?, ?)", *jobs)
    put(store, "INSERT INTO alert (destination, kind, at) VALUES (?, 'off-hours', ?)", ("fhir", NOW + HOUR), ("b", NOW))
    store.waits.shorten("fhir", LONGEST, LEASE, NOW)
    assert one(store, "SELECT due FROM second_look ORDER BY resource_id") == [NOW + LONGEST, NOW + 5]
    assert one(store, "SELECT last FROM job ORDER BY name") == [NOW, NOW, NOW - 5]
    assert one(store, "SELECT expiry FROM job ORDER BY name") == [NOW + TURN, 0.0, NOW + 50]
    assert one(store, "SELECT at FROM alert ORDER BY destination") == [NOW, NOW]


def test_the_history_shows_that_the_clock_was_set_back_while_nobody_ran(store: Store) -> None:
    assert store.waits.ahead(NOW) == 0.0
    with store.connection.writing():
        store.connection.note(NOW, 0, 0, "resumed")
    assert store.waits.ahead(NOW + 1) == 0.0
    assert store.waits.ahead(NOW - HOUR) == HOUR


@pytest.mark.parametrize(
    ("wall", "steady", "back"),
    [(10, 10, 0), (10 - SMALL, 10, 0), (-HOUR, 1, HOUR + 1), (HOUR, 1, 0), (0, HOUR, HOUR)],
    ids=["even", "corrected", "set back", "set forward", "stood still"],
)
def test_a_step_back_is_noticed_once(wall: float, steady: float, back: float) -> None:
    now = [NOW, 0.0]
    clock = ClockWatch(lambda: now[0], lambda: now[1])
    assert clock.set_back() == 0.0
    now[0] += wall
    now[1] += steady
    assert clock.set_back() == back
    assert clock.set_back() == 0.0
