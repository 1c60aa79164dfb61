"""Which SQLite the store runs on, and what is done where that is one with the race of the write-ahead log."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlite_utils.utils

from hl7bridge.desk.setup import examination, readiness
from hl7bridge.service.outbound.watch import tell_engine
from hl7bridge.store.opening import engine_of
from hl7bridge.store.sqlite import SqliteStore, connection, driver
from hl7bridge.store.sqlite.driver import sqlite3
from hl7bridge.store.sqlite.turn import StoreTurn
from tests.store.builders import NOW, change, message


def test_the_store_runs_on_a_version_without_the_race(tmp_path: Path) -> None:
    """With what `pip install` brings, on this machine: asked of the connection that the store uses."""
    with SqliteStore(tmp_path / "store.db") as store:
        (version,) = store.connection.execute("SELECT sqlite_version()").fetchone()
    assert version == driver.VERSION
    assert tuple(map(int, version.split("."))) >= (3, 51, 3)
    assert driver.SAFE


def test_sqlite_utils_uses_the_same_library() -> None:
    assert sqlite_utils.utils.sqlite3 is sqlite3


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((3, 53, 4), True),
        ((4, 0, 0), True),
    ],
)
def test_which_versions_are_safe(version: tuple[int, int, int], safe: bool) -> None:
    assert driver.is_safe(version) is safe


WITHOUT = """
import sqlite3, sys
sys.modules["pysqlite3"] = None  # as where no wheel was to be had
from hl7bridge.store.sqlite import driver
import sqlite_utils.utils
assert driver.sqlite3 is sqlite3 is sqlite_utils.utils.sqlite3
assert driver.SAFE == (sqlite3.sqlite_version_info >= (3, 51, 3))
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.sqlite.turn import StoreTurn
with SqliteStore(sys.argv[1]) as store:
    assert store.audit.messages().rows == ()
    assert store.connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (4000 if driver.SAFE else 0,)
print(driver.in_words())
"""


def test_without_pysqlite3_that_of_the_interpreter_is_used_and_said(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "store.db")], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "of this Python (pysqlite3 is not installed)" in ended.stdout


class Said:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))


def test_what_is_said_of_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert readiness._engine("s.db").verdict == "good"
    found = examination.installation("s.db")
    assert (found.state, found.text, found.cause) == ("ok", driver.in_words(), "")
    log = Said()
    tell_engine(log, engine_of("s.db"))  # type: ignore[arg-type]
    assert log.lines == []
    monkeypatch.setattr(driver, "NAME", "sqlite3")
    tell_engine(log, engine_of("s.db"))  # type: ignore[arg-type]
    text = f"SQLite {driver.VERSION} of this Python (pysqlite3 is not installed)"
    assert log.lines == [("info", "the store runs on another library", {"text": text})]


def test_what_is_said_of_one_with_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "SAFE", False)
    line = readiness._engine("s.db")
    assert line.verdict == "warning"
    assert "may lose a commit" in line.text
    assert "pysqlite3" in line.advice
    found = examination.installation("s.db")
    assert (found.state, found.cause, found.fixes) == ("warning", driver.RACE, (driver.CURE,))
    log = Said()
    tell_engine(log, engine_of("s.db"))  # type: ignore[arg-type]
    ((level, _, fields),) = log.lines
    assert level == "warning"
    assert "pysqlite3" in str(fields["text"])


# -- one checkpoints, and nobody writes meanwhile --


@pytest.fixture
def unsafe(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the library had the race; a log of 10 pages is long."""
    monkeypatch.setattr(connection, "SAFE", False)
    monkeypatch.setattr(connection, "LONG", 10)


def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    store.connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    return store


def fill(store: SqliteStore, name: str, count: int) -> None:
    for number in range(count):
        store.inbox.accept([message(change(f"{name}{number}"), control_id=f"{name}{number}", body=b"x" * 4000)], NOW)


@pytest.mark.usefixtures("unsafe")
def test_nobody_writes_while_one_checkpoints(tmp_path: Path) -> None:
    """Whenever a checkpoint begins, the turn is held and no other connection is within a transaction that writes."""
    path = tmp_path / "store.db"
    stores = {name: opened(path) for name in "abc"}
    seen: list[str] = []

    def watched(name: str) -> Callable[[str], None]:
        def began(sql: str) -> None:
            if "wal_checkpoint" in sql:
                seen.append(name)
                others = [stores[other].connection._open_connection() for other in stores if other != name]
                if any(other.in_transaction for other in others) or probe.take():
                    probe.give()
                    seen.append("while another could write")

        return began

    probe = StoreTurn(path.with_name(f"{path.name}-turn"))
    for name, store in stores.items():
        store.connection._open_connection().set_trace_callback(watched(name))
    threads = [threading.Thread(target=fill, args=(stores[name], name, 8)) for name in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) <= set(stores)
    assert len(seen) > 1
    assert sum(stores["a"].audit.counts()["messages"].values()) == 24
    assert stores["a"].connection._files.log.stat().st_size < 40 * connection.PAGE
    probe.close()
    for store in stores.values():
        store.close()


@pytest.mark.usefixtures("unsafe")
def test_a_reader_keeps_the_log_and_not_the_commit(tmp_path: Path) -> None:
    """A checkpoint that cannot end costs nobody an answer; the next commit after the reader does it."""
    path = tmp_path / "store.db"
    with opened(path) as writer, opened(path) as reader:
        with reader.connection.reading():
            assert reader.connection.execute("SELECT COUNT(*) FROM message").fetchone() == (0,)
            fill(writer, "a", 8)
            assert writer.connection._files.log.stat().st_size > connection.LONG * connection.PAGE
            assert reader.connection.execute("SELECT COUNT(*) FROM message").fetchone() == (0,)
        fill(writer, "b", 1)
        assert writer.connection._files.log.stat().st_size == 0
        assert sum(reader.audit.counts()["messages"].values()) == 9
