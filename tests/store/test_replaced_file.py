"""A store whose file goes away under the service: nothing is acknowledged that nobody would find again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.errors import StoreError
from hl7bridge.store.sqlite import SqliteStore
from tests.store.builders import NOW, message

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let go of a file in use")


def removed(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replaced(path: Path) -> None:
    other = path.with_name("other.db")
    SqliteStore(other).close()
    other.replace(path)


@pytest.mark.parametrize("happens", [removed, moved, replaced])
def test_nothing_more_is_accepted(tmp_path: Path, happens: Callable[[Path], None]) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    store.accept([message()], NOW)
    happens(path)
    for _ in range(2):
        with pytest.raises(StoreError, match="moved, removed or replaced under the service"):
            store.accept([message()], NOW)
    assert store.counts()["messages"] == {"accepted": 1}
    store.close()


def test_a_relative_path_means_the_same_file_wherever_the_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("store.db")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert store.accept([message()], NOW)
    store.close()
