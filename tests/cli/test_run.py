"""`run` with a configuration that will not do: one line, exit code 2, nothing left running."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hl7bridge.store.sqlite.driver import sqlite3
from tests.bridges import running_bridge
from tests.cli.conftest import Ended
from tests.cli.test_setup import DESTINATION, FEED, edit, smart
from tests.journey import ask, mfn, person

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


def test_a_store_that_is_gone_is_begun_anew_only_on_request(tmp_path: Path) -> None:
    with running_bridge(tmp_path, "http://127.0.0.1:9/fhir", role="listener") as bridge:
        assert ask(bridge, mfn("before", person("MAD", "N1", "Tamsworth^Ada"))).code == "AA"
        assert bridge.stop() == 0
        path = Path(bridge.store_path)
        for file in path.parent.glob(f"{path.name}*"):
            if not file.name.endswith("-made"):
                file.unlink()
        for _ in range(2):
            code, err = run(tmp_path)
            assert code == 3
            assert err.count("\n") == 1
            assert err.startswith(f"error: there was a store at {path}, and it is gone.")
            assert "hl7bridge run --new-store" in err
            assert not path.exists()
        bridge.start("--new-store")
        assert ask(bridge, mfn("after", person("MAD", "N1", "Tamsworth^Ada"))).code == "AA"
        assert bridge.stop() == 0
        bridge.start("--new-store")  # left behind in a unit's file, it throws nothing away
        with closing(sqlite3.connect(bridge.store_path)) as store:
            assert store.execute("SELECT control_id FROM message").fetchall() == [("after",)]
