"""A destination that fails in passing rests longer and longer, and goes on at once when it answers."""

from hl7bridge.fhir.retry import CONFLICT
from hl7bridge.model import Outcome, Result
from hl7bridge.service.delivery import Pace

BUSY = Outcome(Result.RETRY, local="server-busy")


def test_rests_double_up_to_the_longest():
    pace, rests, now = Pace(longest=4.0), [], 100.0
    for _ in range(6):
        pace.note(BUSY, now, lambda: 1.0)
        rests.append(pace.rest_until - now)
        now = pace.rest_until
    assert rests == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_what_was_under_way_together_fails_once():
    pace = Pace()
    for _ in range(16):
        pace.note(BUSY, 100.0, lambda: 1.0)
    assert (pace.failures, pace.rest_until) == (1, 100.5)


def test_the_server_may_ask_for_more():
    pace = Pace()
    pace.note(Outcome(Result.RETRY, local="server-busy", retry_after=90.0), 100.0, lambda: 0.0)
    assert pace.rest_until == 190.0


def test_one_answer_of_another_kind_ends_it():
    pace = Pace()
    pace.note(BUSY, 100.0, lambda: 0.5)
    pace.note(Outcome(Result.HELD), 100.0, lambda: 0.5)
    assert (pace.failures, pace.rest_until) == (0, 0.0)


def test_a_lost_reply_and_a_version_conflict_say_nothing_of_the_destination():
    pace = Pace()
    pace.note(BUSY, 100.0, lambda: 0.5)
    before = (pace.failures, pace.rest_until)
    pace.note(Outcome(Result.UNKNOWN), 200.0, lambda: 0.5)
    pace.note(Outcome(Result.RETRY, local=CONFLICT), 200.0, lambda: 0.5)
    assert (pace.failures, pace.rest_until) == before
