"""The same examples with each run of the tests, others where a seed is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import examples
from tests.acceptance import properties


def drawn(profile: str) -> list[int]:
    """What a property is given in a run with those settings."""
    numbers: list[int] = []

    @settings(settings.get_profile(profile), database=None)
    @given(st.integers(0, 2**64))
    def draw(number: int) -> None:
        numbers.append(number)

    draw()
    return numbers


def test_each_run_draws_the_same_and_a_seed_others() -> None:
    first = drawn("fixed")
    assert len(first) >= 50
    assert drawn("fixed") == first
    assert drawn("seeded") != first


def test_the_seed_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().derandomize is examples.is_fixed()
    monkeypatch.delenv(examples.SEED_VARIABLE, raising=False)
    assert examples.seed() == examples.seed()
    monkeypatch.setenv(examples.SEED_VARIABLE, "17")
    assert examples.seed() == 17
    monkeypatch.setenv(examples.SEED_VARIABLE, "random")
    assert examples.seed() != examples.seed()


def test_acceptance_runs_every_file_that_draws() -> None:
    found = properties.tests()
    assert {"tests/test_histories.py", "tests/hl7/test_mllp.py", "tests/store/test_processes.py"} <= set(found)
    assert not [name for name in found if "acceptance" in name or "fhir_server" in name]
