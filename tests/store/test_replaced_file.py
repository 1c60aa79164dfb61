"""A store whose file goes away under the service: nothing is acknowledged that nobody would find again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
    store.inbox.accept([message()], NOW)
    happens(path)
    for _ in range(2):
        with pytest.raises(StoreError, match="moved, removed or replaced under the service"):
            store.inbox.accept([message()], NOW)
    assert store.audit.counts()["messages"] == {"accepted": 1}
    store.close()


def gone(path: Path) -> None:
    path.unlink()


def moved_away(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def copied(path: Path) -> None:
    """As a backup tool puts it back: the same content in another file."""
    other = path.with_name("copy")
    shutil.copy(path, other)
    other.replace(path)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


AWAY = [gone, moved_away, copied]


@pytest.mark.parametrize("happens", AWAY)
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_nothing_more_is_accepted_without_the_log_or_its_index(
    tmp_path: Path, happens: Callable[[Path], None], suffix: str
) -> None:
    """Nobody is told yes, by any connection; started again, the store has what was acknowledged, and goes on."""
    path = tmp_path / "store.db"
    run_killed(path, f"{happens.__name__}", suffix)
    with SqliteStore(path) as store:
        assert {row.control_id for row in store.audit.messages()} == {"before"}
        store.inbox.accept([message(control_id="after")], NOW)
    with SqliteStore(path) as store:
        assert {row.control_id for row in store.audit.messages()} == {"before", "after"}
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def run_killed(path: Path, happens: str, suffix: str) -> None:
    """In a process of its own, that ends as by kill -9: no connection is closed, as SQLite saves more when it is."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.store.test_replaced_file", str(path), happens, suffix],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, "")


def lose(path: Path, happens: str, suffix: str) -> None:
    """Two connections, one message; then it happens, and neither takes another."""
    one, other = SqliteStore(path), SqliteStore(path)
    one.inbox.accept([message(control_id="before")], NOW)
    globals()[happens](path.with_name(path.name + suffix))
    for store in (one, other, one, other):
        refused(store, f"{path.name}{suffix}")
    os.kill(os.getpid(), signal.SIGKILL)


def refused(store: SqliteStore, name: str) -> None:
    with pytest.raises(StoreError, match=f"{name}.*start the service again"):
        store.inbox.accept([message(control_id="during")], NOW)


def test_a_log_that_is_gone_is_saved_and_nobody_opens_the_store_before_the_service_ends(tmp_path: Path) -> None:
    """Whoever opened it then would make a log of their own, and two logs would be written under one index."""
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    store.inbox.accept([message(control_id="before")], NOW)
    gone(store.connection._files.log)
    with pytest.raises(StoreError, match="removed under a service that runs"):
        SqliteStore(path)
    with pytest.raises(StoreError, match="what it held was written into the store"):
        store.connection.check()
    with pytest.raises(StoreError, match="removed under a service that runs"):
        SqliteStore(path)
    store.close()
    with SqliteStore(path) as again:
        assert [row.control_id for row in again.audit.messages()] == ["before"]


def test_an_emptied_log_is_noticed(tmp_path: Path) -> None:
    """Emptied in its place it is the same file; what is written on into it has no beginning and is read by nobody."""
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        store.inbox.accept([message(control_id="before")], NOW)
        emptied(store.connection._files.log)
        for _ in range(2):
            refused(store, "store.db-wal")


def test_a_log_that_a_checkpoint_emptied_is_none(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store, SqliteStore(path) as other:
        store.inbox.accept([message(control_id="a")], NOW)
        assert other.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        assert store.connection._files.log.stat().st_size == 0
        store.connection.check()
        store.inbox.accept([message(control_id="b")], NOW)
        assert len(other.audit.messages()) == 2


def test_what_remains_of_a_killed_service_whose_log_was_removed_opens(tmp_path: Path) -> None:
    """The index alone is left; nobody uses it."""
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    path.with_name("store.db-shm").write_bytes(b"\0" * 32768)
    with SqliteStore(path) as store:
        store.inbox.accept([message()], NOW)


def test_many_connections_come_and_go(tmp_path: Path) -> None:
    """The files that SQLite itself makes and removes are never taken for somebody else's doing."""
    path = tmp_path / "store.db"
    SqliteStore(path).close()

    def use(name: str) -> None:
        for number in range(15):
            with SqliteStore(path) as store:
                store.inbox.accept([message(control_id=f"{name}{number}")], NOW)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(use, "abc"))
    with SqliteStore(path) as store:
        assert len(store.audit.messages()) == 45


def test_a_relative_path_means_the_same_file_wherever_the_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("store.db")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert store.inbox.accept([message()], NOW)
    store.close()


if __name__ == "__main__":
    lose(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
