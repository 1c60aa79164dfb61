"""The stores under test. Tests that take `store` or `open_store` know the interface alone and run against each kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hl7bridge.store.opening import open_store as open_at
from hl7bridge.store.store import Store
from tests.store.builders import OpenStore


@pytest.fixture(params=["sqlite"])
def new_location(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes up the location of another empty store of each kind."""
    numbers = itertools.count()
    return lambda: str(tmp_path / f"store-{next(numbers)}.db")


@pytest.fixture
def location(new_location: Callable[[], str]) -> str:
    """Where this test's store is."""
    return new_location()


@pytest.fixture
def open_store(location: str) -> Iterator[OpenStore]:
    """Opens connections to one store; all of them are closed in the end."""
    opened: list[Store] = []

    def open_another() -> Store:
        opened.append(open_at(location))
        return opened[-1]

    yield open_another
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """One connection."""
    return open_store()
