"""The judge of the soak: what leaks is found, what breathes is not."""

from __future__ import annotations

import random

import pytest

from tests.acceptance.soak import BREATHING, LEAK, Sample, judged, slope

MIB = 1024 * 1024


def samples(leak: float, *, breath: float = 3 * MIB, warming: float = 60 * MIB, seed: int = 7) -> list[Sample]:
    """Ten minutes of 50 messages a second: a process that warms up, breathes, and keeps `leak` bytes of each message."""
    dice = random.Random(seed)
    return [
        Sample(
            second,
            50 * second,
            int(80 * MIB + warming * min(1, second / 120) + dice.gauss(0, breath / 2) + 50 * second * leak),
        )
        for second in range(1, 601)
    ]


def test_the_slope_is_that_of_the_line() -> None:
    assert slope([(0, 5), (1, 7), (2, 9)]) == 2
    assert slope([(3, 1), (3, 9)]) == 0
    assert slope([(0, 0), (1, 3), (2, 0), (3, 3)]) == pytest.approx(0.6)


@pytest.mark.parametrize("seed", range(20))
def test_what_breathes_and_warms_up_is_no_leak(seed: int) -> None:
    assert judged("listener", samples(0, seed=seed)).faults == []


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_twice_the_bound_is_found(seed: int) -> None:
    (fault,) = judged("listener", samples(2 * LEAK, seed=seed)).faults
    assert (fault.kind, fault.person) == ("memory", "listener")


def test_a_short_run_says_what_it_can_see() -> None:
    few = samples(2 * LEAK)[:60]
    report = judged("listener", few)
    messages = few[-1].messages - next(one for one in few if one.seconds >= 18).messages
    assert report.figures["listener: least leak seen, bytes a message"] == round(BREATHING / messages)
