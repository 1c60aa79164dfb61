"""A store that is gone is not silently made anew, and one that was not left in order is looked over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hl7bridge.errors import StoreError
from hl7bridge.service import log as logs
from hl7bridge.service.startup import look_over
from hl7bridge.store.opening import mark_of, open_store
from hl7bridge.store.sqlite.driver import sqlite3


def test_a_store_that_was_deleted_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    open_store(path).close()
    for file in tmp_path.glob("data.sqlite*"):
        if file != mark_of(path).path:
            file.unlink()
    for _ in range(2):  # a second try does not make it either
        with pytest.raises(StoreError, match=r"there was a store at .* and it is gone.*hl7bridge run --new-store"):
            open_store(path)
        assert not path.exists()
    assert mark_of(path).lost
    mark_of(path).forget()
    open_store(path).close()
    assert not mark_of(path).lost


def test_a_store_of_an_earlier_version_or_from_a_backup_is_marked_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    open_store(path).close()
    mark_of(path).path.unlink()
    open_store(path).close()
    assert mark_of(path).path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such mode there")
def test_the_mark_is_for_the_service_alone(tmp_path: Path) -> None:
    open_store(tmp_path / "data.sqlite").close()
    assert mark_of(tmp_path / "data.sqlite").path.stat().st_mode & 0o777 == 0o600


def test_a_service_knows_whether_the_last_one_left_it_in_order(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    open_store(path).close()
    mark = mark_of(path)
    assert not mark.begin()  # nobody knows
    assert not mark.begin()  # killed
    mark.end()
    assert mark.begin()
    mark.end()
    mark.path.write_bytes(b"\xff damaged")
    assert not mark.begin()


def test_what_cannot_be_marked_costs_nothing(tmp_path: Path) -> None:
    mark = mark_of(tmp_path / "missing" / "data.sqlite")
    mark.made()
    mark.end()
    assert not mark.begin()


def filled(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 2000)
    connection.close()


def test_a_damaged_store_is_found_at_the_start(tmp_path: Path) -> None:
    path, log = tmp_path / "data.sqlite", logs.get_logger("listener")
    open_store(path).close()
    filled(path)
    store = open_store(path)
    assert store.connection.looks_sound(60) is True
    assert store.connection.looks_sound(-1) is None  # too large for the time
    look_over(store, log)
    store.close()
    content = bytearray(path.read_bytes())
    content[-400_000:-300_000] = b"\x5a" * 100_000
    path.write_bytes(content)
    store = open_store(path)
    with pytest.raises(StoreError, match="damaged"):
        look_over(store, log)
    store.close()
