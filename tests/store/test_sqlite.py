"""What is particular to SQLite: the file, its errors in plain words, a full disk, migrations, query plans."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hl7bridge.errors import ConfigError, StoreBusy, StoreError
from hl7bridge.store import encoding, lookups
from hl7bridge.store.connection import each
from hl7bridge.store.inbox import batch
from hl7bridge.store.opening import open_store
from hl7bridge.store.people import crosswalk
from hl7bridge.store.queue import claims, lanes
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.sqlite import migrations as upgrade
from hl7bridge.store.sqlite.connection import PIECE
from hl7bridge.store.sqlite.driver import sqlite3
from tests.store.builders import FAILED, NOW, accept_one, change, claim, message, settlement

CANARY = "Quellmalz"  # a name in every change that `builders` makes


def test_the_file_is_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        accept_one(store, change())
        made = sorted(tmp_path.iterdir())
        assert {file.name for file in made} == {
            "store.db",
            "store.db-wal",
            "store.db-shm",
            "store.db-turn",
            "store.db-made",
            "store.db-open",
        }
        if os.name == "posix":
            assert {stat.S_IMODE(file.stat().st_mode) for file in made} == {0o600}


def test_durable_settings(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        values = {
            name: store.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 4000}


def test_where_a_store_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for location in ("a.db", tmp_path / "b.db", "sqlite:///c.db", f"sqlite:///{tmp_path / 'd.db'}"):
        open_store(location).close()
    assert {path.name for path in tmp_path.glob("*.db")} == {"a.db", "b.db", "c.db", "d.db"}
    with pytest.raises(ConfigError, match="mysql"):
        open_store("mysql://host/db")


# -- errors --


def says(failure: pytest.ExceptionInfo[StoreError], *words: str) -> None:
    text = str(failure.value)
    assert all(word in text for word in words), text
    assert CANARY not in text
    assert "\n" not in text
    assert failure.value.__cause__ is None


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as failure:
        SqliteStore(tmp_path / "missing" / "store.db")
    says(failure, "missing", "check that its folder exists")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as failure:
        SqliteStore(tmp_path)
    says(failure, "cannot be")


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"MSH|^~\\&|something else" * 1000)
    with pytest.raises(StoreError) as failure:
        SqliteStore(path)
    says(failure, "not a SQLite database")


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id)")
    connection.close()
    with pytest.raises(StoreError) as failure:
        SqliteStore(path)
    says(failure, "something else")


def test_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        for _ in range(50):
            accept_one(store, change(), body=b"x" * 5000)
    content = bytearray(path.read_bytes())
    content[8192:-4096] = b"\xff" * (len(content) - 12288)
    path.write_bytes(content)
    with pytest.raises(StoreError) as failure:
        read_and_accept(path)
    says(failure, "damaged", "backup")


def read_and_accept(path: Path) -> None:
    with SqliteStore(path) as store:
        store.audit.messages()
        accept_one(store, change())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    path.chmod(0o400)
    with pytest.raises(StoreError) as failure:
        SqliteStore(path)
    says(failure, "permission")


def test_read_only_connection(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        store.connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError) as failure:
            accept_one(store, change())
        says(failure, "cannot be written")


def test_busy(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as holder, SqliteStore(path, busy_timeout=0.02) as other, holder.connection.writing():
        with pytest.raises(StoreBusy) as failure:
            accept_one(other, change())
        says(failure, "busy for 0.02 s")
        assert other.audit.messages().rows == ()  # reading goes on


def test_a_turn_that_is_never_given(tmp_path: Path) -> None:
    """A process that is suspended while it waits for the write lock."""
    path = tmp_path / "store.db"
    with SqliteStore(path) as stuck, SqliteStore(path, busy_timeout=0.02) as other:
        assert stuck.connection._turn
        assert stuck.connection._turn.take()
        with pytest.raises(StoreBusy):
            accept_one(other, change())
        stuck.connection._turn.give()
        accept_one(other, change())


def test_it_waits_for_another_thread(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as holder, SqliteStore(path) as other:
        with holder.connection.writing():
            thread = threading.Thread(target=accept_one, args=(other, change()))
            thread.start()
        thread.join()
        assert len(holder.audit.messages()) == 1


def test_closed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    store.close()
    with pytest.raises(StoreError) as failure:
        store.audit.messages()
    says(failure, "closed")


def test_content_in_an_unknown_codec(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        message_id = accept_one(store, change())
        store.connection.execute("UPDATE body SET codec = 9")
        with pytest.raises(StoreError) as failure:
            store.audit.body(message_id)
        says(failure, "codec 9")


def test_findings_round_trip() -> None:
    assert encoding.findings_from_text(encoding.findings_to_text((FAILED,))) == (FAILED,)
    assert encoding.findings_from_text("") == ()


def test_an_exception_of_the_caller_leaves_nothing(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        accept_one(store, change())
        store.queue.join("w", 60, NOW)

        def lane_of(given: object, feed: str, person_id: str) -> tuple[str, ...]:
            raise KeyError("lane")

        with pytest.raises(KeyError):
            store.queue.claim("main", "w", 1, NOW, lane_of)
        assert len(claim(store)) == 1


# -- a full disk --


def fill(store: SqliteStore, content: bytes) -> int:
    """Accept until it fails; how many were accepted."""
    accepted = 0

    def accept_more() -> None:
        nonlocal accepted
        while True:
            store.inbox.accept([message(change(f"P{accepted}"), control_id=f"C{accepted}", body=content)], NOW)
            accepted += 1

    with pytest.raises(StoreError) as failure:
        accept_more()
    says(failure, "full")
    return accepted


def test_full_by_page_count(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        store.connection.execute("PRAGMA max_page_count = 200")
        accepted = fill(store, b"x" * 9000)
        assert len(store.audit.messages(limit=10_000)) == accepted
        store.connection.execute("PRAGMA max_page_count = 100000")
        accept_one(store, change())
        assert len(claim(store, limit=10_000)) == accepted + 1


def test_full_disk(tmp_path: Path) -> None:
    """A real file system without room: the write-ahead log, the shared memory and the database share it."""
    mount = shutil.which("mount")
    room = tmp_path / "room"
    room.mkdir()
    if sys.platform != "linux" or not mount or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small file system")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(room)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        ballast = room / "ballast"
        ballast.write_bytes(b"x" * 400_000)
        with SqliteStore(room / "store.db") as store:
            accepted = fill(store, b"x" * 20_000)
            assert accepted > 5
            assert len(store.audit.messages(limit=10_000)) == accepted
            ballast.unlink()
            message_id = accept_one(store, change())  # goes on by itself
        with SqliteStore(room / "store.db") as store:
            assert store.audit.messages(limit=1)[0].id == message_id
            assert len(store.audit.messages(limit=10_000)) == accepted + 1
    finally:
        subprocess.run(["umount", str(room)], check=True)


# -- migrations --

LATEST = len(upgrade.numbered(upgrade.MIGRATIONS))


def test_the_latest_schema_is_recorded(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        assert store.connection.execute("SELECT MAX(number) FROM migration").fetchone()[0] == LATEST
    assert not list(tmp_path.glob("*.before-*"))


@pytest.mark.parametrize("version", range(1, LATEST + 1))
def test_a_store_of_each_version_opens_with_its_content(tmp_path: Path, version: int) -> None:
    """`versions/NNNN.sql` is a store as that version left it: add one with each migration (see versions/README.md)."""
    path = tmp_path / "store.db"
    script = Path(__file__).parent / "versions" / f"{version:04}.sql"
    connection = sqlite3.connect(path)
    connection.executescript(script.read_text(encoding="utf-8"))
    connection.close()
    with SqliteStore(path) as store:
        states = {row.control_id: row.state for row in store.audit.messages()}
        assert states == {"V1": "accepted", "V2": "accepted", "V3": "refused"}
        (one,) = claim(store)
        assert one.change.source_key == "S2"
        assert one.known.attempts == 1
        assert store.settlements.settle([settlement(one)], NOW) == []
        assert store.crosswalk.written_by("main", "Practitioner", "p1")[0].feed == "hr"
        assert store.inbox.accept([message(change("S1"), control_id="V1")], NOW)[0].duplicate_of
        assert len(store.audit.secret("adt")) == 32
    assert bool(list(tmp_path.glob("*.before-*"))) is (version < LATEST)


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A copy of the folder of migrations, to add to."""
    folder = tmp_path / "migrations"
    shutil.copytree(upgrade.MIGRATIONS, folder)
    return folder


def next_migration(folder: Path, sql: str) -> None:
    number = len(upgrade.numbered(folder)) + 1
    (folder / f"{number:04}_next.sql").write_text(sql, encoding="utf-8")


def test_an_upgrade_keeps_a_copy(tmp_path: Path, migrations: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        message_id = accept_one(store, change())
    next_migration(migrations, "ALTER TABLE message ADD COLUMN more TEXT;\n-- a comment; with a semicolon\n")
    next_migration(migrations, "CREATE TABLE another (\n    id INTEGER\n);\nINSERT INTO another VALUES (7);\n")
    with SqliteStore(path, migrations=migrations) as store:
        assert store.connection.execute("SELECT id FROM another").fetchone()[0] == 7
        found = store.audit.message(message_id)
        assert found
        assert "more" in found
    copy = tmp_path / f"store.db.before-{LATEST + 1:04}"
    assert sorted(tmp_path.glob("*.before-*")) == [copy]
    if os.name == "posix":
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with SqliteStore(copy) as old:
        assert old.audit.messages()[0].id == message_id
    with SqliteStore(path, migrations=migrations):
        pass
    with pytest.raises(StoreError, match="newer hl7bridge"):
        SqliteStore(path)


def test_a_failing_upgrade_leaves_the_store_as_it_was(tmp_path: Path, migrations: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        accept_one(store, change())
    next_migration(migrations, "CREATE TABLE another (id INTEGER);\nINSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(StoreError):
        SqliteStore(path, migrations=migrations)
    with SqliteStore(path) as store:
        assert len(store.audit.messages()) == 1
        assert store.connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'another'").fetchone()[0] == 0


def test_no_copy_no_upgrade(tmp_path: Path, migrations: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    next_migration(migrations, "CREATE TABLE another (id INTEGER);\n")
    (tmp_path / f"store.db.before-{LATEST + 1:04}").mkdir()
    with pytest.raises(StoreError, match="nothing was changed"):
        SqliteStore(path, migrations=migrations)
    SqliteStore(path).close()
    assert not list(tmp_path.glob("*.partial"))


def test_a_gap_in_the_numbers(tmp_path: Path, migrations: Path) -> None:
    (migrations / f"{LATEST + 2:04}_late.sql").write_text("SELECT 1;\n")
    with pytest.raises(StoreError, match="install hl7bridge again"):
        SqliteStore(tmp_path / "store.db", migrations=migrations)


# -- query plans: what is asked often never scans --

PLANS = {
    "delivery_new": (lanes.NEWCOMERS, ("main", 1)),
    "delivery_ready": (claims.READY, ("main", 1, 64)),
    "delivery_waiting": (claims.WAITING, ("main", 1, NOW, 64)),
    "delivery_due": (claims.DUE, ("main", NOW, 64)),
    "candidate": (claims.CANDIDATE, (1,)),
    "blocked": (claims.blocked(2), (1, 2, 1, 3, 4, 3)),
    "feed_write_own": (crosswalk.OWN, ("main", "hr", "S1")),
    "autoindex_feed_write": (crosswalk.WRITTEN_BY, ("main", "Practitioner", "p1")),
    "seen control id": (batch.SEEN[1], ["C1"]),
    "seen control ids": (batch.SEEN[64], ["C1"] + [None] * 63),
    "occupied lanes": (lanes.OCCUPIED[64], [1] + [None] * 63),
    "message list": (
        lookups.MESSAGES + " INDEXED BY message_shown WHERE m.state <> 'counted' ORDER BY m.id DESC LIMIT 50",
        (),
    ),
    "message list by control id": (lookups.MESSAGES + " WHERE m.control_id = ? ORDER BY m.id DESC", ("C1",)),
}


@pytest.mark.parametrize("name", PLANS)
def test_it_uses_an_index(tmp_path: Path, name: str) -> None:
    sql, parameters = PLANS[name]
    with SqliteStore(tmp_path / "store.db") as store:
        plan = [row[3] for row in store.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    # The first row of an index is no scan, though it is called one.
    known = (
        "SCAN m USING INDEX message_shown",
        "SCAN CONSTANT ROW",
        "SCAN arrival USING INDEX sqlite_autoindex_arrival_1",
    )
    scans = [step for step in plan if step.startswith("SCAN") and step not in known]
    assert not scans, plan
    if "_" in name:  # named after its index, which gives the order, too
        assert name in plan[0]
        assert len([step for step in plan if step != "SCALAR SUBQUERY 1" and step not in known]) == 1


@pytest.mark.parametrize("more", [0, 1, PIECE])
def test_a_long_body_is_stored_a_piece_at_a_time(tmp_path: Path, more: int) -> None:
    """No statement carries it: as a parameter, SQLite would copy it twice."""
    body = random.Random(1).randbytes(batch.LONG_BODY + more)
    statements: list[str] = []
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        assert store.connection._connection
        store.connection._connection.set_trace_callback(statements.append)
        long, short = (replace(message(control_id=name), body=text) for name, text in (("L", body), ("S", b"MSH")))
        ids = [one.message_id for one in store.inbox.accept([long, short], NOW)]
    assert (max(map(len, statements)) < 64 * 1024) == (more > 0)
    with SqliteStore(path) as store:
        assert [store.audit.body(one) for one in ids] == [body, b"MSH"]


def test_a_claim_looks_at_what_it_hands_out(tmp_path: Path) -> None:
    """However many wait: the number of statements of a claim depends on its limit alone."""
    statements: list[str] = []
    with SqliteStore(tmp_path / "store.db") as store:
        one_lane = [message(change("BIG"), control_id=f"B{n}", lane=("hr/BIG",)) for n in range(1500)]
        others = [message(change(f"P{n}"), control_id=f"P{n}") for n in range(500)]
        store.inbox.accept(one_lane + others, NOW)
        claimed = claim(store, limit=2)  # lines everything up
        assert [one.change.source_key for one in claimed] == ["BIG", "P0"]
        assert store.connection._connection
        store.connection._connection.set_trace_callback(statements.append)
        assert [one.change.source_key for one in claim(store, limit=3)] == ["P1", "P2", "P3"]
        store.connection._connection.set_trace_callback(None)
    assert len(statements) < 70, len(statements)


def test_a_vast_backlog_is_lined_up_over_several_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a claim ends before its worker's lease does."""
    monkeypatch.setattr(claims, "LINE_UPS", 2)
    monkeypatch.setattr(lanes, "LINED_UP", 5)
    with SqliteStore(tmp_path / "store.db") as store:
        store.inbox.accept([message(change(f"P{n}"), control_id=f"C{n}") for n in range(23)], NOW)
        handed_out = [len(claim(store)) for _ in range(3)]
        assert handed_out == [10, 10, 3]
        assert store.queue.next_due("main", NOW) == NOW + 60


def test_each_of_many_is_looked_up_however_many_there_are(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        connection = store.connection
        with connection.writing():
            connection.execute_many("INSERT INTO counter (name, value) VALUES (?, 0)", [(f"c{n}",) for n in range(200)])
        look_up = each("counter", "name")
        for count in (0, 1, 2, 7, 8, 9, 63, 64, 65, 128, 129):
            there, others = {f"c{n}" for n in range(count)}, {f"d{n}" for n in range(count)}
            with connection.reading():
                assert connection.present(look_up, there | others) == there


def test_numbers_drawn_for_both_go_on_where_each_counter_stood(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db") as store:
        connection, drawn = store.connection, []
        with connection.writing():
            for messages, deliveries in ((1, 0), (3, 5), (2, 1)):
                drawn.append(connection.draw_for_messages(messages, deliveries))
            after = connection.draw("message"), connection.draw("delivery")
    assert drawn == [(1, 1), (2, 1), (5, 6)]
    assert after == (7, 7)
