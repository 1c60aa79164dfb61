"""On a terminal: colours and a progress bar; data that goes elsewhere stays untouched. Needs a pseudo-terminal (POSIX)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Peer, acknowledged, message

pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
StartPeer = Callable[[Callable[[bytes], list[bytes] | None]], Peer]


def read_all(descriptor: int, seen: bytearray) -> None:
    try:
        while data := os.read(descriptor, 65536):
            seen += data
    except OSError:
        pass  # the other end is closed: all is read


def run(arguments: list[str], *, stdout_is_terminal: bool, **environment: str) -> tuple[str, str]:
    """(what went to the terminal, what went to a piped standard output)."""
    ours, theirs = pty.openpty()
    given = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "hl7bridge", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs if stdout_is_terminal else subprocess.PIPE,
        stderr=theirs,
        env=given | {"TERM": "xterm"} | environment,
    )
    os.close(theirs)
    seen = bytearray()
    reader = threading.Thread(target=read_all, args=(ours, seen))
    reader.start()
    piped, _ = process.communicate()
    reader.join()
    os.close(ours)
    assert process.returncode == 0
    return seen.decode(), (piped or b"").decode()


@pytest.fixture
def arguments(tmp_path: Path, peer: StartPeer) -> list[str]:
    (tmp_path / "a.hl7").write_bytes(b"".join(message(f"M{n}") for n in range(3)))
    return ["send", str(tmp_path / "a.hl7"), "--to", f"127.0.0.1:{peer(lambda body: [acknowledged(body)]).port}"]


def test_data_in_a_pipe_is_plain_while_the_bar_is_on_the_terminal(arguments: list[str]) -> None:
    seen, piped = run(arguments, stdout_is_terminal=False)
    assert [line.split()[0] for line in piped.splitlines()] == ["M0", "M1", "M2"]
    assert "\x1b" not in piped
    assert "sending" in seen
    assert "M1" not in seen


def test_lines_stand_above_the_bar(arguments: list[str]) -> None:
    seen, _ = run(arguments, stdout_is_terminal=True)
    for number in range(3):
        assert f"\r\x1b[2KM{number} " in seen, "each line begins where the bar was wiped"
    assert "\x1b[32mAA" in seen


def test_a_table_that_is_too_wide_shows_the_rest_of_each_row_beneath_it(tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(message("M1"))
    narrow, _ = run(["map", "explain", str(tmp_path / "a.hl7")], stdout_is_terminal=True, NO_COLOR="1", COLUMNS="60")
    lines = [line.replace("\x1b[2m", "").replace("\x1b[0m", "").rstrip() for line in narrow.splitlines()]
    at = lines.index("Practitioner.name")
    assert lines[at + 1].startswith('    value {"use":"official","family":')
    assert "<- rule person_name  <- field STF-3" in "".join(lines[at + 2 : at + 4])
    wide, _ = run(["map", "explain", str(tmp_path / "a.hl7")], stdout_is_terminal=True, NO_COLOR="1", COLUMNS="400")
    assert any("<- rule" in line and "<- as sent" in line for line in wide.splitlines())


def test_no_color(arguments: list[str]) -> None:
    seen, _ = run(arguments, stdout_is_terminal=True, NO_COLOR="1")
    assert "AA" in seen
    assert "\x1b[32m" not in seen


@pytest.mark.parametrize("command", ["redact", "generate"])
def test_a_message_on_a_terminal_is_a_segment_a_line(tmp_path: Path, command: str) -> None:
    """A bare carriage return writes each segment over the one before; in a pipe the bytes stay as they are."""
    (tmp_path / "a.hl7").write_bytes(message("M1"))
    arguments = [command, str(tmp_path / "a.hl7")] if command == "redact" else [command, "--messages", "1"]
    seen, _ = run(arguments, stdout_is_terminal=True)
    assert "\r" not in seen.replace("\r\n", "")
    assert "\nSTF|" in seen.replace("\r\n", "\n")
    _, piped = run(arguments, stdout_is_terminal=False)
    assert "\rSTF|" in piped
    assert "\n" not in piped
