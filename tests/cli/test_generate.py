"""`generate`: into a file, a folder, a batch, frames or standard output; the same bytes for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.cli.messages.files import messages_of
from hl7bridge.hl7 import batch
from hl7bridge.hl7.message import Message
from hl7bridge.invented.malformed import MALFORMED
from tests.cli.conftest import Ended

Command = Callable[..., Ended]


def test_one_file_the_same_each_time(command: Command, tmp_path: Path) -> None:
    for name in ("a.hl7", "b.hl7"):
        ended = command("generate", "--messages", 30, "--seed", "s", "--out", tmp_path / name)
        assert ended.code == 0
        assert "30 messages in" in ended.err
    assert (tmp_path / "a.hl7").read_bytes() == (tmp_path / "b.hl7").read_bytes()
    assert len(messages_of([tmp_path / "a.hl7"])) == 30
    assert command("generate", "--messages", 30, "--seed", "s").out.encode() == (tmp_path / "a.hl7").read_bytes()


def test_a_folder_gets_a_file_for_each_message(command: Command, tmp_path: Path) -> None:
    ended = command("generate", "--kind", "pmu", "--messages", 4, "--out", f"{tmp_path}/new/")
    assert ended.code == 0
    assert [path.name for path in sorted((tmp_path / "new").iterdir())] == [f"{n:06d}-pmu.hl7" for n in range(1, 5)]


def test_a_batch_says_how_many_messages_it_holds(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.hl7"
    assert command("generate", "--messages", 5, "--framing", "batch", "--out", path).code == 0
    found = batch.split(path.read_bytes())
    assert (found.kind, len(found.messages), found.findings) == ("batch", 5, ())


def test_damaged_messages_come_in_frames_and_are_listed(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.mllp"
    told = command("generate", "--messages", 200, "--malformed", 50, "--out", path, "--json").json
    assert told["schema"] == "generate/1"
    assert path.read_bytes().count(b"\x0bMSH") > 100
    assert path.read_bytes().count(b"\x1c\r") == 200
    assert len(told["malformed"]) == told["counts"]["malformed"] > 50
    assert {one["damage"] for one in told["malformed"]} <= set(MALFORMED)


def test_help_names_every_damage(command: Command) -> None:
    told = "".join(command("generate", "--help").out.split())
    assert [name for name in MALFORMED if name not in told] == []


def test_versions_and_records(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.hl7"
    options = ("--kind", "m02", "--version", "2.9", "--records-per-message", 7, "--messages", 1, "--size", "large")
    assert command("generate", *options, "--out", path).code == 0
    message = Message(path.read_bytes())
    assert (message.header.version, len(message.all("MFE")), len(message.all("EDU"))) == ("2.9", 7, 7)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (("--kind", "mfn"), "--kind"),
        (("--version", "3.0"), "--version"),
        (("--kind", "pmu", "--version", "2.3"), "--version"),
        (("--size", "huge"), "--size"),
        (("--framing", "tar"), "--framing"),
        (("--json",), "--json"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_what_cannot_be_made_is_said(command: Command, options: tuple[str, ...], key: str) -> None:
    ended = command("generate", *options)
    assert ended.code == 2
    assert key in ended.err


def test_a_batch_is_no_folder(command: Command, tmp_path: Path) -> None:
    assert command("generate", "--framing", "batch", "--out", tmp_path).code == 2
