"""A delivery changes its state by the table alone, and each change is in its history."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from hl7bridge.errors import StoreError
from hl7bridge.model import STARTS, TRANSITIONS, Action, DeliveryEvent, DeliveryState, Result, StaffChange
from hl7bridge.store.inbox.arrivals import pack
from hl7bridge.store.people.full_files import FullFile, HeldEnd
from hl7bridge.store.queue.moves import Move, move
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.sqlite.driver import sqlite3
from hl7bridge.store.store import Claimed, Settlement
from tests.examples import examples
from tests.states import PAGE, drawn, shown
from tests.store.builders import NOW, accept_one, change, claim, deliveries, events, message, outcome, settlement

ALL = {(was, one.event, one.becomes) for was, allowed in TRANSITIONS.items() for one in allowed}
TIMES = ("", "2027-01-15T00:00:00+00:00", "2027-01-15T01:00:00+00:00", "2027-01-15T02:00:00+00:00")
_EVENTS = frozenset(DeliveryEvent)
_WATCH = (
    "CREATE TABLE watched (id INTEGER PRIMARY KEY, delivery_id INTEGER, was TEXT, becomes TEXT)",
    "CREATE TRIGGER watch_new AFTER INSERT ON delivery BEGIN"
    " INSERT INTO watched (delivery_id, was, becomes) VALUES (new.id, '', new.state); END",
    "CREATE TRIGGER watch_change AFTER UPDATE OF state ON delivery BEGIN"
    " INSERT INTO watched (delivery_id, was, becomes) VALUES (new.id, old.state, new.state); END",
)


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_guide_draws_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert shown(page) == drawn(), "python -m tests.states writes the page again"
    assert all(f"\n| {state} |" in page for state in DeliveryState)


def test_every_state_is_reached_and_left_and_every_event_leads_to_one_state() -> None:
    assert set(TRANSITIONS) == set(DeliveryState)
    assert {becomes for _, _, becomes in ALL} | set(STARTS) == set(DeliveryState)
    assert len({(was, event) for was, event, _ in ALL}) == len(ALL)
    assert all(len({becomes for _, found, becomes in ALL if found is event}) == 1 for event in DeliveryEvent)


# --- the one place ---------------------------------------------------------------------------------------------------


def only(store: SqliteStore, message_id: int) -> tuple[int, str]:
    (one,) = deliveries(store, message_id)
    return int(str(one["id"])), str(one["state"])


@pytest.mark.parametrize("event", sorted(_EVENTS - {one.event for one in TRANSITIONS[DeliveryState.QUEUED]}))
def test_what_the_table_does_not_know_is_undone_and_named(store: SqliteStore, event: DeliveryEvent) -> None:
    message_id = accept_one(store, change())
    delivery_id, _ = only(store, message_id)
    before = events(store, message_id)
    becomes = next(becomes for _, found, becomes in ALL if found is event)
    with pytest.raises(StoreError, match=f"from queued to {becomes} "), store.connection.writing():
        move(store.connection, event, [Move(delivery_id, message_id, DeliveryState.QUEUED)], NOW)
    assert only(store, message_id) == (delivery_id, "queued")
    assert events(store, message_id) == before


def test_a_delivery_that_stands_elsewhere_is_not_moved_and_neither_are_the_others(store: SqliteStore) -> None:
    first, second = accept_one(store, change("A")), accept_one(store, change("B"))
    [claimed] = claim(store, limit=1)
    moves = [Move(only(store, n)[0], n, DeliveryState.QUEUED, {"fence": 9}) for n in (second, first)]
    with pytest.raises(StoreError, match="to claimed"), store.connection.writing():
        move(store.connection, DeliveryEvent.CLAIMED, moves, NOW)
    assert (only(store, first)[1], only(store, second)[1]) == ("claimed", "queued")
    assert events(store, second) == ["accepted"]
    assert store.settlements.settle([settlement(claimed)], NOW) == []


def test_moves_that_write_different_columns_do_not_go_together(store: SqliteStore) -> None:
    first, second = accept_one(store, change("A")), accept_one(store, change("B"))
    one = Move(only(store, first)[0], first, DeliveryState.QUEUED, {"owner": "w", "fence": 9})
    other = Move(only(store, second)[0], second, DeliveryState.QUEUED, {"fence": 9, "owner": "w"})
    with pytest.raises(ValueError, match="different columns"), store.connection.writing():
        move(store.connection, DeliveryEvent.CLAIMED, [one, other], NOW)
    assert (only(store, first)[1], only(store, second)[1]) == ("queued", "queued")


# --- whatever happens ------------------------------------------------------------------------------------------------


class Everything:
    """All that changes states, by dice: accepting, delivering, time, deciding, going live, large messages, whole files."""

    def __init__(self, location: str) -> None:
        self.store = SqliteStore(location)
        self.watch = sqlite3.connect(location, isolation_level=None)
        for statement in _WATCH:
            self.watch.execute(statement)
        self.now, self.control_ids = NOW, 0
        self.claimed: dict[int, Claimed] = {}
        self.seen: Counter[tuple[str, str, str]] = Counter()
        self.stands: dict[int, str] = {}
        self.read = self.told = 0

    def close(self) -> None:
        self.watch.close()
        self.store.close()

    def step(self, dice: random.Random) -> None:
        steps = {self.accept: 6, self.claim: 6, self.settle: 6, self.time_passes: 2, self.leave: 1, self.withdraw: 2}
        steps |= {self.decide: 3, self.go_live: 1, self.whole_file: 1}
        (chosen,) = dice.choices(list(steps), weights=list(steps.values()))
        chosen(dice)

    def accept(self, dice: random.Random) -> None:
        self.control_ids += 1
        source_key = dice.choice("ABC")
        given = message(
            *[self.anything(dice, source_key) for _ in range(dice.randint(1, 2))],
            control_id=f"M{self.control_ids}",
            lane=[f"hr/{source_key}"],
            order_time=dice.choice(TIMES),
            not_before=dice.choice([0.0, 0.0, 0.0, self.now + 10, self.now + 30]),
        )
        if dice.random() < 0.1:
            given = replace(given, records=(), parts=(pack(given.records),))
        self.store.inbox.accept([given], self.now)

    def anything(self, dice: random.Random, source_key: str) -> StaffChange:
        return change(source_key, dice.choice(list(Action)), active=None)

    def claim(self, dice: random.Random) -> None:
        owner = dice.choice(["w1", "w2"])
        if not self.store.queue.renew(owner, 20.0, self.now):
            self.store.queue.join(owner, 20.0, self.now)
        found = self.store.queue.claim(
            "main", owner, dice.randint(1, 4), self.now, clock_tolerance=dice.choice([0.0, 1e9])
        )
        self.claimed |= {one.delivery_id: one for one in found}

    def settle(self, dice: random.Random) -> None:
        well = dice.choice([Result.UPDATED, Result.REPORTED, Result.NOTHING_TO_DO])
        state, result = dice.choice(
            [
                (DeliveryState.ENDED, well),
                (DeliveryState.ENDED, well),
                (DeliveryState.RETRY, Result.RETRY),
                (DeliveryState.UNKNOWN, Result.UNKNOWN),
                (DeliveryState.HELD, Result.HELD),
                (DeliveryState.QUEUED, Result.PAUSED),
            ]
        )
        some = dice.sample(sorted(self.claimed), min(len(self.claimed), 2))
        given = [
            Settlement(self.claimed.pop(n), outcome(result), state, next_attempt=self.now + dice.choice([0, 5]))
            for n in some
        ]
        self.store.settlements.settle(given, self.now)

    def time_passes(self, dice: random.Random) -> None:
        self.now += dice.choice([1.0, 12.0, 25.0])

    def leave(self, dice: random.Random) -> None:
        begun = [n for n in self.claimed if dice.random() < 0.5]
        self.store.queue.leave(dice.choice(["w1", "w2"]), self.now, begun)

    def withdraw(self, dice: random.Random) -> None:
        if found := self.store.audit.messages(limit=30):
            self.store.settlements.withdraw(int(dice.choice(found).id), self.now)

    def decide(self, dice: random.Random) -> None:
        if found := self.store.holds.holds():
            delivery_id = int(dice.choice(found).id)
            if dice.random() < 0.3:
                self.store.holds.discard(delivery_id, self.now, who="ana", reason="no")
            else:
                self.store.holds.release(delivery_id, self.now, who="ana", reason="yes")

    def go_live(self, dice: random.Random) -> None:
        found = [one.delivery_id for one in self.store.modes.reported("main") if dice.random() < 0.8]
        list(self.store.modes.go_live("main", found, self.now, who="ana", reason="go"))

    def whole_file(self, dice: random.Random) -> None:
        if found := self.store.audit.messages(limit=5):
            file = FullFile(int(dice.choice(found).id), "hr", self.now, "", 1, 0, 0, 0)
            source_key = dice.choice("ABC")
            end = HeldEnd(change(source_key, Action.DEACTIVATE), {"main": (f"hr/{source_key}",)})
            self.store.whole_files.decide_full_file(file, "held", [source_key], 3, self.now, hold=[end], text="absent")

    def look(self) -> None:
        """Each change since the last look is in the table, and in the history as the event that leads there."""
        changes = self._new("SELECT id, delivery_id, was, becomes FROM watched WHERE id > ? ORDER BY id", self.read)
        told: dict[int, list[str]] = {}
        for number, delivery_id, event in self._new(
            "SELECT id, delivery_id, event FROM history WHERE id > ? ORDER BY id", self.told
        ):
            self.told = number
            if delivery_id and event in _EVENTS:
                told.setdefault(delivery_id, []).append(event)
        for number, delivery_id, was, becomes in changes:
            self.read = number
            assert was == self.stands.get(delivery_id, "")
            self.stands[delivery_id] = becomes
            if was:
                event = told[delivery_id].pop(0)
                assert (was, event, becomes) in ALL
                self.seen[was, event, becomes] += 1
            else:
                assert becomes in STARTS
        assert not any(told.values()), "an event without its change"

    def _new(self, sql: str, since: int) -> list[Any]:
        return self.watch.execute(sql, (since,)).fetchall()


class TransitionMachine(RuleBasedStateMachine):
    """Drives a store, and watches each change in its file."""

    new_location: Callable[[], str]

    @initialize()
    def start(self) -> None:
        self.everything = Everything(self.new_location())

    @rule(seed=st.integers(0, 2**32))
    def step(self, seed: int) -> None:
        self.everything.step(random.Random(seed))

    @invariant()
    def by_the_table(self) -> None:
        if hasattr(self, "everything"):
            self.everything.look()

    def teardown(self) -> None:
        if hasattr(self, "everything"):
            self.everything.close()


def test_only_what_the_table_knows_happens(new_location: Callable[[], str]) -> None:
    class Machine(TransitionMachine):
        pass

    Machine.new_location = staticmethod(new_location)  # type: ignore[method-assign]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=examples(5),
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_all_that_the_table_knows_happens(tmp_path: Path) -> None:
    """No row of it is made up: here is how each comes about."""
    everything = Everything(str(tmp_path / "store.db"))
    store, later = everything.store, NOW + 50

    def settled(state: DeliveryState, result: Result | None = None, now: float = NOW) -> None:
        store.settlements.settle([settlement(one, state, result) for one in claim(store, now)], now)

    def attempted(source_key: str, state: DeliveryState, result: Result | None = None, order_time: str = "") -> int:
        message_id = accept_one(store, change(source_key), order_time=order_time)
        settled(state, result)
        return message_id

    try:
        accept_one(store, change("A", Action.DEACTIVATE), not_before=later)
        scheduled = accept_one(store, change("A", Action.DEACTIVATE), not_before=later)  # the first is superseded
        store.settlements.withdraw(scheduled, NOW)
        store.settlements.withdraw(accept_one(store, change("A")), NOW)
        store.settlements.withdraw(attempted("B", DeliveryState.RETRY), NOW)
        accept_one(store, change("A"), not_before=later)
        settled(DeliveryState.ENDED, now=later)  # it was due

        for state in (DeliveryState.QUEUED, DeliveryState.RETRY, DeliveryState.UNKNOWN):  # tried again, and then stale
            old = accept_one(store, change("C"), order_time=TIMES[1])
            if state is not DeliveryState.QUEUED:
                settled(state)
                settled(state)
            with store.connection.writing():
                store.connection.execute(
                    "INSERT INTO crosswalk (destination, feed, source_key, person_id, order_time, changed)"
                    " VALUES ('main', 'hr', 'C', '', '2027-01-16T00:00:00.000000+00:00', 0)"
                )
            assert claim(store) == []
            assert only(store, old)[1] == "ended"
            with store.connection.writing():
                store.connection.execute("DELETE FROM crosswalk WHERE source_key = 'C'")

        held = attempted("D", DeliveryState.HELD)
        store.holds.release(only(store, held)[0], NOW, who="ana", reason="yes")
        settled(DeliveryState.QUEUED)  # given back
        settled(DeliveryState.HELD)
        attempted("D", DeliveryState.ENDED)  # what was held is superseded
        store.holds.discard(only(store, attempted("E", DeliveryState.HELD))[0], NOW, who="ana", reason="no")

        accept_one(store, change("F"))
        [begun] = claim(store)
        store.queue.leave("w", NOW, [begun.delivery_id])  # taken over
        settled(DeliveryState.ENDED, Result.REPORTED)
        reported = [one.delivery_id for one in store.modes.reported("main")]
        assert list(store.modes.go_live("main", reported, NOW, who="ana", reason="go")) == [1]
        settled(DeliveryState.ENDED, Result.REPORTED)
        attempted("F", DeliveryState.ENDED)
        assert list(store.modes.go_live("main", reported, NOW, who="ana", reason="go")) == [1]  # superseded by now

        file = FullFile(held, "hr", NOW, "", 1, 0, 0, 0)
        end = HeldEnd(change("G", Action.DEACTIVATE), {"main": ("hr/G",)})
        assert store.whole_files.decide_full_file(file, "held", ["G"], 3, NOW, hold=[end], text="absent")
        everything.look()
    finally:
        everything.close()
    assert {(str(was), str(event), str(becomes)) for was, event, becomes in ALL} - set(everything.seen) == set()
