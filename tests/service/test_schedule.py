"""What is due when, and that one process at a time runs it, over restarts. The clock is the test's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hl7bridge.errors import StoreError
from hl7bridge.service import log as logs
from hl7bridge.service.outbound.schedule import AGAIN, DAY, LEASE, Job, Schedule, Turn, daily, every
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import Store

NEW_YORK = ZoneInfo("America/New_York")
LOG = logs.get_logger("delivery")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


@dataclass
class Clock:
    now: float = at("2026-03-02 12:00")

    def __call__(self) -> float:
        return self.now


@dataclass
class Kept:
    """What a job did; it ends with `error`, after `meanwhile` has passed."""

    clock: Clock
    runs: list[float] = field(default_factory=list)
    error: Exception | None = None
    steps: tuple[float, ...] = ()
    went_on: list[bool] = field(default_factory=list)

    def __call__(self, turn: Turn) -> None:
        self.runs.append(self.clock.now)
        for seconds in self.steps:
            self.clock.now += seconds
            self.went_on.append(turn.go_on())
        if self.error:
            raise self.error


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "s.sqlite"))
    yield opened
    opened.close()


def schedule_of(store: Store, clock: Clock, job: Job) -> Schedule:
    return Schedule([job], lambda: store, LOG, clock=clock)


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        ("2026-03-02 02:00", "2026-03-02 03:29", False),
        ("2026-03-02 02:00", "2026-03-02 03:30", True),
        ("2026-03-02 03:31", "2026-03-02 23:00", False),
        ("2026-03-02 03:31", "2026-03-03 03:30", True),
        ("2026-02-20 03:31", "2026-03-02 01:00", True),  # missed: made up for once
        ("2026-03-07 03:31", "2026-03-08 03:30", True),  # the night that has 23 hours
        ("2026-10-31 03:31", "2026-11-01 03:30", True),  # the night that has 25 hours
        ("2026-10-31 03:31", "2026-11-01 03:29", False),
    ],
)
def test_daily(last: str, now: str, expected: bool) -> None:
    assert daily("03:30", DAY, NEW_YORK)(at(now), at(last)) is expected


def test_several_times_a_day_and_every_second_day() -> None:
    six = daily("03:30", DAY / 4, NEW_YORK)
    assert not six(at("2026-03-02 09:29"), at("2026-03-02 03:31"))
    assert six(at("2026-03-02 09:30"), at("2026-03-02 03:31"))
    assert six(at("2026-03-02 01:00"), at("2026-03-01 20:00"))
    second = daily("03:30", 2 * DAY, NEW_YORK)
    assert not second(at("2026-03-03 03:30"), at("2026-03-02 03:45"))
    assert second(at("2026-03-04 03:30"), at("2026-03-02 03:45"))


def test_every() -> None:
    assert every(60)(160, 100)
    assert not every(60)(159, 100)


def test_a_job_that_was_never_seen_waits_for_its_turn_and_then_runs_once(store: Store) -> None:
    clock = Clock()
    kept = Kept(clock)
    schedule = schedule_of(store, clock, Job("nightly", daily("03:30", DAY, NEW_YORK), kept))
    schedule.look(store)
    assert kept.runs == []
    clock.now = at("2026-03-03 03:31")
    for _ in range(3):
        schedule.look(store)
        clock.now += 60
    assert kept.runs == [at("2026-03-03 03:31")]


def test_a_restart_neither_repeats_nor_skips_a_turn(store: Store) -> None:
    clock = Clock()
    kept = Kept(clock)
    job = Job("nightly", daily("03:30", DAY, NEW_YORK), kept)
    schedule_of(store, clock, job).look(store)
    clock.now = at("2026-03-03 08:00")  # it was down at 03:30
    schedule_of(store, clock, job).look(store)
    schedule_of(store, clock, job).look(store)
    assert kept.runs == [at("2026-03-03 08:00")]


def test_one_process_at_a_time_and_another_when_it_died(store: Store) -> None:
    clock = Clock()
    kept = Kept(clock)
    job = Job("often", every(10), kept)
    schedule_of(store, clock, job).look(store)
    clock.now += 10
    assert store.schedule.begin_job("often", "somebody else", LEASE, clock.now)
    schedule_of(store, clock, job).look(store)
    assert kept.runs == []
    clock.now += LEASE
    schedule_of(store, clock, job).look(store)
    assert len(kept.runs) == 1
    assert not store.schedule.renew_job("often", "somebody else", LEASE, clock.now)


def test_a_long_run_keeps_its_turn_and_stops_when_it_lost_it(store: Store) -> None:
    clock = Clock()
    kept = Kept(clock, steps=(30.0, 30.0, 30.0, 2 * LEASE))
    schedule = schedule_of(store, clock, Job("often", every(10), kept))
    schedule.look(store)
    clock.now += 10
    schedule.look(store)
    assert kept.went_on == [True, True, True, False]


def test_a_run_whose_clock_is_set_back_holds_its_turn_for_no_longer_than_any_other(store: Store) -> None:
    clock, held = Clock(), list[float]()

    def run(turn: Turn) -> None:
        for seconds in (-3600.0, 30.0, 30.0):
            clock.now += seconds
            assert turn.go_on()
            held.extend(
                expiry - clock.now for (expiry,) in store.connection.execute("SELECT expiry FROM job").fetchall()
            )

    schedule = schedule_of(store, clock, Job("often", every(10), run))
    schedule.look(store)
    clock.now += 10
    schedule.look(store)
    assert held == [LEASE, LEASE, LEASE]


def test_a_job_that_fails_is_tried_again_and_keeps_nobody_waiting(store: Store) -> None:
    clock = Clock()
    bad, good = Kept(clock, error=ValueError("no")), Kept(clock)
    schedule = Schedule([Job("bad", every(10), bad), Job("good", every(10), good)], lambda: store, LOG, clock=clock)
    schedule.look(store)
    clock.now += 10
    schedule.look(store)
    assert (len(bad.runs), len(good.runs)) == (1, 1)
    clock.now += AGAIN - 1
    schedule.look(store)
    assert (len(bad.runs), len(good.runs)) == (1, 2)
    clock.now += 1
    schedule.look(store)
    assert len(bad.runs) == 2


def test_what_was_cut_off_by_a_stop_begins_anew(store: Store) -> None:
    clock = Clock()
    kept = Kept(clock)

    def cut_off(turn: Turn) -> None:
        kept(turn)
        first.stop()
        assert not turn.go_on()

    first = schedule_of(store, clock, Job("often", every(10), cut_off))
    first.look(store)
    clock.now += 10
    first.look(store)
    schedule_of(store, clock, Job("often", every(10), kept)).look(store)
    assert len(kept.runs) == 2


def test_a_store_that_fails_is_said_and_opened_again(store: Store, tmp_path: Path) -> None:
    opened: list[int] = []

    def open_again() -> Store:
        opened.append(1)
        if len(opened) == 1:
            raise StoreError("the disk is full")
        schedule.stop()
        return open_store(str(tmp_path / "s.sqlite"))

    schedule = Schedule([], open_again, LOG, look=0.001)
    schedule.start()
    schedule.join(10)
    assert not schedule.is_alive()
    assert len(opened) == 2


def test_a_quick_job_has_its_turn_while_a_long_one_goes_on(store: Store) -> None:
    clock = Clock()
    long, short = Kept(clock, steps=(20.0, 20.0)), Kept(clock)
    jobs = [Job("long", every(10), long), Job("short", every(15), short, quick=True)]
    schedule = Schedule(jobs, lambda: store, LOG, clock=clock)
    schedule.look(store)
    clock.now += 10
    schedule.look(store)
    assert (len(long.runs), len(short.runs)) == (1, 2)
    assert long.went_on == [True, True]
