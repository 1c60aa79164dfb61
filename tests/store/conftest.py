"""The stores under test. Tests that take `store` or `open_store` know the interface alone and run against each kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from hl7bridge.model import worded
from hl7bridge.store.opening import open_store as open_at
from hl7bridge.store.store import Store
from tests.store.builders import OpenStore
from tests.store.watched import WatchedKind


@pytest.fixture
def new_location(tmp_path: Path) -> Callable[[], str]:
    """Makes up the location of another empty store."""
    numbers = itertools.count()
    return lambda: str(tmp_path / f"store-{next(numbers)}.db")


@pytest.fixture
def location(new_location: Callable[[], str]) -> str:
    """Where this test's store is."""
    return new_location()


def watched(location: str) -> Store:
    """A store over a connection of another class."""
    file = Path(location)
    return WatchedKind(file.parent).open(f"watched://{file.name}", worded)


KINDS = {"sqlite": partial(open_at, words=worded), "watched": watched}


@pytest.fixture(params=KINDS)
def open_store(request: pytest.FixtureRequest, location: str) -> Iterator[OpenStore]:
    """Opens connections of each kind to one store; all of them are closed in the end."""
    opened: list[Store] = []

    def open_another() -> Store:
        opened.append(KINDS[request.param](location))
        return opened[-1]

    yield open_another
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """One connection."""
    return open_store()
