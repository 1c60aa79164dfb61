"""What is agreed with a destination holds for all who share it, whatever they do."""

from __future__ import annotations

import threading

import pytest

from hl7bridge.destinations.budget import Budget


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.takes = 1000.0, []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def taken(self, budget: Budget, times: int) -> list[float]:
        began = self.now
        for _ in range(times):
            budget.bucket.take()
            self.takes.append(round(self.now - began, 6))
        return self.takes[-times:]


@pytest.mark.parametrize(("slots", "gap"), [(8, 0.5), (4, 1.0), (3, 4 / 3), (1, 4.0), (0, 4.0), (99, 0.5)])
def test_the_rate_is_divided_as_the_requests_are(slots: int, gap: float) -> None:
    time = Time()
    budget = Budget(8, 2.0, lambda: time.now, time.sleep)
    budget.share(slots)
    assert time.taken(budget, 3) == [0.0, pytest.approx(gap, abs=1e-5), pytest.approx(2 * gap, abs=1e-5)]


def test_no_rate_is_no_limit_whatever_the_share() -> None:
    time = Time()
    budget = Budget(8, 0.0, lambda: time.now, time.sleep)
    budget.share(1)
    assert time.taken(budget, 100) == [0.0] * 100


def test_a_share_that_shrinks_and_grows_lets_so_many_in_at_one_time() -> None:
    budget = Budget(3, 0.0, lambda: 0.0, lambda _: None)
    inside, leave = threading.Semaphore(0), threading.Semaphore(0)

    def ask() -> None:
        with budget.slot():
            inside.release()
            leave.acquire()

    def entered(count: int) -> bool:
        return all(inside.acquire(timeout=10) for _ in range(count)) and not inside.acquire(blocking=False)

    asking = [threading.Thread(target=ask) for _ in range(6)]
    budget.share(2)
    for one in asking:
        one.start()
    assert entered(2)
    budget.share(3)
    assert entered(1)
    budget.share(0)
    leave.release()
    leave.release()
    leave.release()
    assert entered(1), "one at a time, so that what is under way ends"
    for _ in range(3):
        leave.release()
    for one in asking:
        one.join(10)
    assert not any(one.is_alive() for one in asking)
