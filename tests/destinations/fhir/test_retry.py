"""What happens to a delivery next."""

from __future__ import annotations

import pytest

from hl7bridge.destinations.retry import RetryPolicy, Step, next_step
from hl7bridge.model import ENDED_WELL, Outcome, Result

POLICY = RetryPolicy(first=1.0, longest=300.0, attempts=0, conflicts=5, look=2.0, pause=16.0)


def step(result: Result, attempts: int = 0, draw: float = 0.5, policy: RetryPolicy = POLICY, **more: object) -> Step:
    return next_step(Outcome(result, **more), attempts, policy, lambda: draw)  # type: ignore[arg-type]


@pytest.mark.parametrize("result", [*sorted(ENDED_WELL), Result.STALE, Result.SUPERSEDED, Result.WITHDRAWN])
def test_what_is_over(result: Result) -> None:
    assert step(result) == Step("end")


def test_held() -> None:
    assert step(Result.HELD) == Step("hold")


@pytest.mark.parametrize(("attempts", "longest"), [(0, 1), (1, 2), (4, 16), (8, 256), (9, 300), (5000, 300)])
def test_back_off_doubles_to_a_ceiling_with_full_jitter(attempts: int, longest: float) -> None:
    assert step(Result.RETRY, attempts, 0.0) == Step("retry", 0.0)
    assert step(Result.RETRY, attempts, 0.5) == Step("retry", longest / 2)


def test_the_servers_own_word_comes_first() -> None:
    assert step(Result.RETRY, retry_after=30.0, draw=0.0) == Step("retry", 30.0)
    assert step(Result.RETRY, retry_after=30.0, draw=0.5) == Step("retry", 30.5)


@pytest.mark.parametrize(("asked", "others", "leaver"), [(20.0, 20.0, 20.0), (90.0, 90.0, 30.0), (9e9, 300.0, 30.0)])
def test_the_servers_word_counts_up_to_what_the_site_allows(asked: float, others: float, leaver: float) -> None:
    busy = Outcome(Result.RETRY, retry_after=asked)
    assert next_step(busy, 0, POLICY, lambda: 0.0).delay == others
    assert next_step(busy, 0, POLICY, lambda: 0.0, leaver=True).delay == leaver
    assert next_step(busy, 0, RetryPolicy(asked=10.0), lambda: 0.0, leaver=True).delay == 10.0


def test_an_index_that_lags_is_waited_for_by_leavers_too() -> None:
    """That is no wish of the server: sent again earlier, the person would be there twice."""
    unknown = Outcome(Result.UNKNOWN, retry_after=120.0)
    assert next_step(unknown, 0, POLICY, lambda: 0.0, leaver=True).delay == 120.0


def test_attempts_end_where_the_policy_says_so() -> None:
    few = RetryPolicy(attempts=3)
    assert step(Result.RETRY, 1, policy=few).kind == "retry"
    assert step(Result.RETRY, 2, policy=few) == Step("hold")
    assert step(Result.RETRY, 10_000).kind == "retry"


def test_conflicts_end_sooner() -> None:
    assert step(Result.RETRY, 3, local="version-conflict").kind == "retry"
    assert step(Result.RETRY, 4, local="version-conflict") == Step("hold")


@pytest.mark.parametrize(("attempts", "wait"), [(0, 2.0), (1, 3.0), (2, 6.0), (50, 6.0)])
def test_fewer_looks_wait_longer(attempts: int, wait: float) -> None:
    assert step(Result.UNKNOWN, attempts) == Step("unknown", wait)


def test_a_missing_token_is_asked_for_soon_and_often() -> None:
    for local in ("token-unavailable", "token-refused"):
        waits = [step(Result.PAUSED, times, 1.0, local=local).delay for times in range(6)]
        assert waits == [2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert step(Result.PAUSED, 9, 1.0, local="token-unavailable", retry_after=90.0) == Step("pause", 90.0)


def test_a_refused_token_pauses_the_destination() -> None:
    assert step(Result.PAUSED, 0, 0.0) == Step("pause", 8.0)
    assert step(Result.PAUSED, 2, 0.5) == Step("pause", 48.0)
    assert step(Result.PAUSED, 20, 1.0) == Step("pause", 300.0)
    assert step(Result.PAUSED, retry_after=400.0) == Step("pause", 300.0)
