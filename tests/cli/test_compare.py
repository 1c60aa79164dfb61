"""`diff` and `grep`: over files and stored messages, in words and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.cli.messages import files as messages
from tests.cli.conftest import Ended, message
from tests.cli.test_stored import take_in

Command = Callable[..., Ended]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "a.hl7", tmp_path / "b.hl7"
    first.write_bytes(message("X1"))
    second.write_bytes(message("X2").replace(b"Adaeze", b"Ada\x1b[31m"))
    return first, second


def test_diff_tells_the_field_and_ends_with_1(command: Command, two: tuple[Path, Path]) -> None:
    ended = command("diff", *two)
    assert ended.code == 1
    assert ended.out.splitlines() == ["record E100", "  ~ STF-3.2         Adaeze -> Ada\\x1b[31m  Given name"]
    assert command("diff", two[0], two[0]).code == 0
    assert "no difference (but MSH-7, MSH-10, not looked at)" in command("diff", two[0], two[0]).err


def test_diff_as_json_and_with_nothing_left_out(command: Command, two: tuple[Path, Path]) -> None:
    told = command("diff", *two, "--all", "--json").json
    assert told["schema"] == "diff/1"
    assert not told["equal"]
    [compared] = told["compared"]
    assert [(one["path"], one["name"]) for one in compared["differences"]] == [
        ("MSH-10", "Message control ID"),
        ("STF-3.2", "Given name"),
    ]
    assert command("diff", *two, "--ignore", "MSH-10,STF-3").code == 0
    assert command("diff", *two, "--ignore", "name").code == 2


def test_diff_of_files_with_several_messages(command: Command, tmp_path: Path, two: tuple[Path, Path]) -> None:
    many = tmp_path / "c.hl7"
    many.write_bytes(message("X1") + message("X2"))
    ended = command("diff", two[0], many)
    assert ended.code == 1
    assert ended.out == f"messages: 1 in {two[0]}, 2 in {many}; those without a partner are not compared\n"


def test_grep_in_files_and_folders(command: Command, tmp_path: Path, two: tuple[Path, Path]) -> None:
    ended = command("grep", "STF-3.2=Adaeze", tmp_path)
    assert ended.code == 0
    assert ended.out == f"{two[0]}  X1  E100  STF-3.2  Adaeze\n"
    assert "2 messages looked at" in ended.err
    told = command("grep", "STF-3.2~ada*", *two, "-i", "--json").json
    assert [(one["control_id"], one["record"], one["path"]) for one in told["found"]] == [
        ("X1", "E100", "STF-3.2"),
        ("X2", "E100", "STF-3.2"),
    ]
    assert command("grep", "STF-3.2=Nobody", tmp_path).code == 1
    assert command("grep", "STF", tmp_path).code == 2
    assert command("grep", "STF-1=1", tmp_path / "none.hl7").code == 2


def test_grep_counts_what_it_cannot_read(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.hl7"
    path.write_bytes(message().replace(b"Adaeze", b"\xff"))
    told = command("grep", "STF-1=E100", path, "--charset", "utf-8", "--json")
    assert told.code == 1
    assert (told.json["looked_at"], told.json["unreadable"]) == (1, 1)


@pytest.mark.parametrize("frame", [b"%s", b"\x0b%s\x1c\r"], ids=["bare", "framed"])
@pytest.mark.parametrize("chunk", [7, 300, 1_000_000])
def test_files_are_read_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: bytes, chunk: int) -> None:
    path = tmp_path / "a.hl7"
    bodies = [message(f"X{number}") for number in range(20)]
    content = b"".join(frame % body for body in bodies)
    if frame == b"%s":
        content = b"FHS|^~\\&\rBHS|^~\\&\r" + content + b"BTS|20\rFTS|1\r"
    path.write_bytes(content)
    monkeypatch.setattr(messages, "_CHUNK", chunk)
    assert list(messages.stream_messages(path)) == bodies


def test_stored_messages_are_searched_and_compared(command: Command, site: Path, tmp_path: Path) -> None:
    first, second = take_in(site, message("X1"), message("X2").replace(b"Adaeze", b"Ada"))
    found = command("grep", "STF-3.2~*", "--config", site)
    assert [line.split()[:2] for line in found.out.splitlines()] == [[str(second), "X2"], [str(first), "X1"]]
    assert [
        line.split()[0] for line in command("grep", "STF-3.2=Ada", "--feed", "staff", "-c", site).out.splitlines()
    ] == [str(second)]
    newest = command("grep", "STF-3.2=Adaeze", "--since", "1d", "--limit", 1, "-c", site)
    assert newest.code == 1
    assert "The newest 1 stored messages only" in newest.err
    assert command("grep", "STF-3.2=Ada", "--feed", "none", "-c", site).code == 2
    ended = command("diff", first, second, "--config", site)
    assert (ended.code, ended.out.count("Adaeze -> Ada")) == (1, 1)
    path = tmp_path / "a.hl7"
    path.write_bytes(message("X9"))
    assert command("diff", first, path, "--config", site).code == 0
    assert command("diff", 99, path, "--config", site).code == 2
    copy = command("redact", first, "--config", site)
    assert copy.code == 0
    assert "Okonkwo" not in copy.out
    assert copy.out.startswith("MSH|")
