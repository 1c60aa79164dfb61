"""`export`: what people query, in a file of its own, from a store that a real delivery filled."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlite_utils

from hl7bridge.store import exports
from tests.cli import test_deciding, test_stored
from tests.cli.conftest import Ended, message
from tests.cli.test_stored import Server, take_in

Command = Callable[..., Ended]
serve, server, ready, delivered = test_stored.serve, test_stored.server, test_stored.ready, test_stored.delivered
held = test_deciding.held


def rows(file: Path, table: str) -> list[dict[str, object]]:
    database = sqlite_utils.Database(file)
    try:
        return list(database[table].rows)
    finally:
        database.close()


def test_what_came_and_what_became_of_it(command: Command, delivered: Path, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "staff.db"
    ended = command("export", file, "--config", delivered, "--json")
    assert ended.code == 0
    assert ended.json["rows"]["messages"] == ended.json["rows"]["deliveries"] == ended.json["rows"]["people"] == 1
    person = server.practitioners()[0]["id"]
    [sent], [delivery], [who] = (rows(file, table) for table in ("messages", "deliveries", "people"))
    assert (sent["control_id"], sent["feed"]) == ("X1", "staff")
    assert str(sent["received"]).endswith("+00:00")
    assert (delivery["result"], delivery["person_id"], who["person_id"]) == ("created", person, person)
    assert who["source_key"] == "E100"
    assert [row["code"] for row in rows(file, "acknowledgments")] == ["AA"]
    assert {row["event"] for row in rows(file, "history")} >= {"ended"}
    content = file.read_bytes()
    assert b"Okonkwo" not in content, "bodies come on request alone"
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_bodies_come_on_request(command: Command, delivered: Path, tmp_path: Path) -> None:
    assert command("export", tmp_path / "all.db", "--bodies", "--config", delivered).code == 0
    [body] = rows(tmp_path / "all.db", "bodies")
    assert body == {"message_id": 1, "body": message("X1").decode()}


def test_who_decided_what_and_why(command: Command, held: Path, tmp_path: Path) -> None:
    assert command("hold", "discard", 1, "--reason", "a test record", "--config", held).code == 0
    assert command("export", tmp_path / "staff.db", "--config", held).code == 0
    [decision] = rows(tmp_path / "staff.db", "decisions")
    assert (decision["event"], decision["reason"], decision["delivery_id"]) == ("withdrawn", "a test record", 1)
    assert decision["who"]


def test_a_file_that_is_there_stays(command: Command, delivered: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.db").write_text("mine")
    ended = command("export", tmp_path / "mine.db", "--config", delivered)
    assert (ended.code, ended.err.count("is there already")) == (2, 1)
    assert (tmp_path / "mine.db").read_text() == "mine"


def test_half_an_export_is_no_export(
    command: Command, delivered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, "_write", broken)
    assert command("export", tmp_path / "staff.db", "--config", delivered).code != 0
    assert not (tmp_path / "staff.db").exists()


def test_more_rows_than_are_written_at_once(
    command: Command, delivered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_AT_ONCE", 2)
    take_in(delivered, *(message(f"M{number}") for number in range(4)))
    assert command("export", tmp_path / "staff.db", "--config", delivered).code == 0
    assert [row["control_id"] for row in rows(tmp_path / "staff.db", "messages")] == ["X1", "M0", "M1", "M2", "M3"]
