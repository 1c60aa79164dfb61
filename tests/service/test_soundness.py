"""A store whose pages are damaged takes nothing more, once a role that read them has ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hl7bridge.errors import StoreBusy
from hl7bridge.service import log as logs
from hl7bridge.service.inbound.soundness import Soundness
from hl7bridge.store.opening import open_store
from hl7bridge.store.sqlite.driver import sqlite3
from tests.service.test_writer import new


def filled(path: Path) -> Path:
    with open_store(path) as store:
        store.inbox.accept([new(f"S{number}") for number in range(40)], time.time())
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def damage(path: Path) -> None:
    """As a failing disk leaves it: some pages hold anything."""
    with path.open("r+b") as file:
        for at in range(3 * 4096, path.stat().st_size, 4096):
            file.seek(at)
            file.write(b"\xa5" * 2000)


@pytest.mark.parametrize(
    ("damaged", "exit_code", "holds"), [(False, 3, True), (True, 3, False), (True, -9, True), (True, 0, True)]
)
def test_only_a_damaged_store_is_left_alone(tmp_path: Path, damaged: bool, exit_code: int, holds: bool) -> None:
    path = filled(tmp_path / "store.db")
    if damaged:
        damage(path)
    soundness = Soundness(lambda: open_store(path), logs.get_logger("listener"))
    soundness.doubt(exit_code)
    assert soundness.holds is holds


def test_a_store_that_is_busy_is_not_taken_for_damaged() -> None:
    def busy() -> None:
        raise StoreBusy("another process is writing")

    soundness = Soundness(busy, logs.get_logger("listener"))
    soundness.doubt(3)
    assert soundness.holds
