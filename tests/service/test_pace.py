"""A server that fails in passing now and then is sent to at nearly its own rate; one that is down is left in peace."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from hl7bridge.destinations.retry import CONFLICT
from hl7bridge.model import Outcome, Result
from hl7bridge.model.health import Health
from hl7bridge.service.outbound.failing import KNOWN, Failing, Person
from hl7bridge.service.outbound.pace import IN_A_ROW, REST_LONGEST, Pace

BUSY = Outcome(Result.RETRY, local="server-busy")
DONE = Outcome(Result.UPDATED)
SOMEBODY = ("staff", "K1")
PEOPLE = itertools.count()


class Paced:
    """A destination that is learned of, as its one process sees it."""

    def __init__(self, in_flight: int = 8, longest: float = REST_LONGEST) -> None:
        self.pace, self.health, self.failing = Pace(in_flight, longest), Health(), Failing()

    def note(self, outcome: Outcome, person: Person, now: float, draw: Callable[[], float]) -> None:
        self.health = self.pace.learn(self.health, self.failing, person, outcome, now, draw)

    def room(self, open_now: int) -> int:
        room, at_most = self.pace.room(self.health, 8, open_now), self.pace.at_most(self.health)
        return max(0, min(room, at_most - open_now)) if at_most else room

    @property
    def rest_until(self) -> float:
        return self.health.rest_until


def fail(pace: Paced, times: int, now: float = 100.0) -> None:
    """So many different people fail."""
    for _ in range(times):
        pace.note(BUSY, ("staff", f"F{next(PEOPLE)}"), now, lambda: 1.0)


def test_a_failure_alone_makes_no_rest_and_halves_what_is_sent_at_one_time():
    pace = Paced(in_flight=8)
    assert pace.room(0) == 16, "claimed ahead while all is well"
    fail(pace, 1)
    assert (pace.rest_until, pace.room(0), pace.room(3), pace.room(9)) == (0.0, 4, 1, 0)
    fail(pace, 2)
    assert (pace.rest_until, pace.room(0)) == (0.0, 1)
    for _ in range(7):
        pace.note(DONE, SOMEBODY, 100.0, lambda: 0.5)
    assert pace.room(0) == 16


def test_a_success_between_failures_is_no_row():
    pace = Paced()
    for _ in range(20):
        fail(pace, IN_A_ROW - 1)
        pace.note(DONE, SOMEBODY, 100.0, lambda: 0.5)
    assert pace.rest_until == 0.0


def test_rests_double_up_to_the_longest_and_two_at_a_time_ask_whether_it_is_back():
    pace, rests, now = Paced(longest=4.0), [], 100.0
    fail(pace, IN_A_ROW - 1)
    for _ in range(6):
        fail(pace, 1, now)
        rests.append(pace.rest_until - now)
        assert [pace.room(open_) for open_ in (0, 1, 2)] == [2, 1, 0]
        now = pace.rest_until
    assert rests == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_what_was_under_way_when_a_rest_began_does_not_prolong_it():
    pace = Paced()
    fail(pace, 16)
    assert (pace.health.rests, pace.rest_until) == (1, 100.5)


@pytest.mark.parametrize(("asked", "rest"), [(3.0, 3.0), (90.0, REST_LONGEST), (3600.0, REST_LONGEST)])
def test_the_server_may_ask_for_a_rest_and_is_heard_when_two_people_say_so(asked: float, rest: float):
    pace, busy = Paced(), Outcome(Result.RETRY, local="server-busy", retry_after=asked)
    for _ in range(5):
        pace.note(busy, SOMEBODY, 100.0, lambda: 0.0)
    assert pace.rest_until == 0.0, "one person alone"
    pace.note(busy, ("staff", "K2"), 100.0, lambda: 0.0)
    assert pace.rest_until == 100.0 + rest


def test_one_person_who_always_fails_slows_nobody():
    pace = Paced()
    for _ in range(50):
        pace.note(BUSY, SOMEBODY, 100.0, lambda: 1.0)
    assert (pace.rest_until, pace.health.rests) == (0.0, 0)
    pace.note(DONE, ("staff", "K2"), 100.0, lambda: 0.5)
    before = pace.health
    for _ in range(50):
        pace.note(BUSY, SOMEBODY, 100.0, lambda: 1.0)
    assert pace.health == before


@pytest.mark.parametrize("evil", [1, 12, 200])
def test_many_who_always_fail_make_rests_until_somebody_is_taken_and_never_again(evil: int):
    pace, failing = Paced(), [("staff", f"E{number}") for number in range(evil)]
    for person in failing * 3:
        pace.note(BUSY, person, 100.0, lambda: 1.0)
    assert (pace.rest_until > 0) == (evil >= IN_A_ROW)
    pace.note(DONE, SOMEBODY, 100.0, lambda: 0.5)
    for person in failing * 3:
        pace.note(BUSY, person, 100.0, lambda: 1.0)
    assert pace.rest_until == 0.0
    fail(pace, IN_A_ROW)
    assert pace.rest_until > 0, "and others are heard as ever"


def test_who_is_taken_again_counts_again():
    failing = Failing()
    assert failing.failed(SOMEBODY)
    failing.succeeded(("staff", "K2"))
    assert not failing.failed(SOMEBODY)
    failing.succeeded(SOMEBODY)
    assert failing.failed(SOMEBODY)


def test_people_who_fail_are_remembered_up_to_a_number():
    failing = Failing()
    for number in range(KNOWN + 10):
        failing.failed(("staff", str(number)))
    failing.succeeded(SOMEBODY)
    assert len(failing.alone) == KNOWN


def test_connections_that_do_not_come_about_say_it_whoever_it_was_for():
    pace, unreachable = Paced(), Outcome(Result.RETRY, local="unreachable")
    for _ in range(IN_A_ROW):
        pace.note(unreachable, SOMEBODY, 100.0, lambda: 1.0)
    assert pace.rest_until == 100.5


def test_a_rest_is_over_when_the_clock_was_set_back():
    pace = Paced()
    fail(pace, IN_A_ROW, now=9000.0)
    fail(pace, 1, now=5400.0)
    assert 5400.0 < pace.rest_until <= 5400.0 + REST_LONGEST


def test_who_was_tried_before_takes_a_quarter_of_the_places():
    pace = Paced(in_flight=8)
    assert [pace.pace.again(pace.health, 8, open_) for open_ in (0, 1, 2, 3)] == [2, 1, 0, 0]
    assert pace.pace.again(pace.health, 1, 0) == 1
    assert pace.pace.again(pace.health, 0, 0) == pace.pace.room(pace.health, 0, 0) == 0  # it stands by
    fail(pace, 1)
    assert [pace.pace.again(pace.health, 8, open_) for open_ in (0, 1)] == [1, 0]
    assert pace.pace.again(Health(told="unauthorized"), 8, 0) == 0


@pytest.mark.parametrize("result", [Result.HELD, Result.UNCHANGED, Result.CREATED])
def test_one_answer_of_another_kind_ends_a_rest(result):
    pace = Paced()
    fail(pace, 8)
    pace.note(Outcome(result), SOMEBODY, 100.0, lambda: 0.5)
    assert (pace.health.failures, pace.health.rests, pace.rest_until) == (0, 0, 0.0)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Result.UNKNOWN),
        Outcome(Result.RETRY, local=CONFLICT),
        Outcome(Result.RETRY, local="found-strayed"),
        Outcome(Result.PAUSED),
    ],
)
def test_what_says_nothing_of_the_destination(outcome):
    pace = Paced()
    fail(pace, 8)
    before = pace.health
    pace.note(outcome, SOMEBODY, 200.0, lambda: 0.5)
    assert pace.health == before


class Round:
    """Deliveries in rounds of one second, as many as there is room for, against a server that fails a share of them."""

    def __init__(self, share: float, seconds: int, seed: int = 7) -> None:
        self.sent = self.done = 0
        pace, draw = Paced(in_flight=8), random.Random(seed)
        for second in range(seconds):
            now = 1000.0 + second
            if pace.rest_until > now:
                continue
            for _ in range(min(8, pace.room(0))):
                fails = draw.random() < share
                self.sent, self.done = self.sent + 1, self.done + (not fails)
                pace.note(BUSY if fails else DONE, ("staff", f"R{next(PEOPLE)}"), now, draw.random)


def test_a_server_that_fails_a_little_loses_little_and_one_that_is_down_is_hardly_asked():
    flaky, down = Round(0.08, 1000), Round(1.0, 3600)
    assert flaky.done > 0.75 * 8 * 1000, flaky.done
    assert down.sent < 3600 / 5, down.sent
