"""`redact`: a copy of a file or a stored message, with a key that is kept or made for the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hl7bridge.hl7 import batch
from tests.cli.conftest import Ended, message

Command = Callable[..., Ended]


def test_a_file_is_copied_with_its_people_replaced(command: Command, tmp_path: Path) -> None:
    source, copy = tmp_path / "a.hl7", tmp_path / "b.hl7"
    wrapped = b"FHS|^~\\&|HR\rBHS|^~\\&|HR\r" + message("X1") + message("X2") + b"BTS|2\rFTS|1\r"
    source.write_bytes(wrapped)
    assert command("redact", source, "--out", copy).code == 0
    found = batch.split(copy.read_bytes())
    assert (found.kind, len(found.messages), found.findings) == ("batch", 2, ())
    assert b"Okonkwo" not in copy.read_bytes()
    assert source.read_bytes() == wrapped
    again = tmp_path / "c.hl7"
    assert command("redact", source, "--out", again).code == 0
    assert again.read_bytes() != copy.read_bytes()


def test_a_key_file_is_made_and_gives_the_same_pseudonyms_again(command: Command, tmp_path: Path) -> None:
    source, key = tmp_path / "a.hl7", tmp_path / "p.key"
    source.write_bytes(message())
    first = command("redact", source, "--key-file", key)
    assert first.code == 0
    assert "is made" in first.err
    if os.name == "posix":
        assert key.stat().st_mode & 0o077 == 0
    assert command("redact", source, "--key-file", key).out == first.out != ""
    key.write_text("short")
    assert command("redact", source, "--key-file", key).code == 2


def test_strictly_only_known_codes_stay(command: Command, tmp_path: Path) -> None:
    source = tmp_path / "a.hl7"
    source.write_bytes(message())
    assert "1234567893" in command("redact", source).out
    strictly = command("redact", source, "--strict").out
    assert "1234567893" not in strictly
    assert "NORTH^EI" not in strictly
    assert "^EI|" in strictly


def test_frames_stay_around_messages(command: Command, tmp_path: Path) -> None:
    source, copy = tmp_path / "a.mllp", tmp_path / "b.mllp"
    source.write_bytes(b"\x0b" + message() + b"\x1c\r\x0b" + message() + b"\x1c\r")
    assert command("redact", source, "--out", copy).code == 0
    assert copy.read_bytes().count(b"\x0bMSH") == copy.read_bytes().count(b"\x1c\r") == 2


def test_nothing_is_written_of_what_cannot_be_read(command: Command, tmp_path: Path) -> None:
    source, copy = tmp_path / "a.hl7", tmp_path / "b.hl7"
    source.write_bytes(message() + message().replace(b"Adaeze", b"\xff\xfe"))
    ended = command("redact", source, "--out", copy, "--charset", "utf-8")
    assert ended.code == 1
    assert "message 2" in ended.err
    assert "Okonkwo" not in ended.err
    assert not copy.exists()
    assert command("redact", source, "--out", source).code == 2
    empty = tmp_path / "empty.hl7"
    empty.write_bytes(b"\r\n")
    assert command("redact", empty).code == 2
    assert command("redact", tmp_path / "none.hl7").code == 2
