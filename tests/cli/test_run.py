"""`run` with a configuration that will not do: one line, exit code 2, nothing left running."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ended
from tests.cli.test_setup import DESTINATION, FEED, edit, smart

Command = Callable[..., Ended]


def run(site: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "hl7bridge", "run", "--config", str(site)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda site: edit(site, FEED, "port = 0", "prot = 0"), f"{FEED}: listener.prot: unknown key. Did you mean"),
        (lambda site: smart(site, "env:NO_SUCH_KEY"), f"{DESTINATION}: auth.key: the environment variable NO_SUCH_KEY"),
        (lambda site: smart(site, "file:keys/none.pem"), f"{DESTINATION}: auth.key: the file"),
        (
            lambda site: edit(site, DESTINATION, "http://127.0.0.1:8480", "http://fhir.example.org"),
            f"{DESTINATION}: base_url: is plain http to another machine",
        ),
    ],
    ids=["unknown key", "missing secret", "unreachable key file", "plain http"],
)
def test_a_mistake_is_one_line_and_ends_with_2(site: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(site)
    code, err = run(site)
    assert code == 2
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


def test_a_port_in_use(site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        edit(site, FEED, "port = 0", f"port = {port}")
        code, err = run(site)
    assert code == 2
    assert err.startswith(f"error: {FEED}: listener.port: cannot listen on 127.0.0.1:{port} (address already in use)")
    assert err.count("\n") == 1
