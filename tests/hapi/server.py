"""A HAPI FHIR server of a test's own: started, stopped, killed and started again on the same port and folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bridges import is_alive, wait_until

START = Path(__file__).with_name("start")
CANNOT = {3: "Java 17 is missing", 4: "Maven is missing", 5: "it cannot be built"}  # exit codes of `start`


class Unavailable(Exception):
    """No HAPI can run here; the text says why."""


class Hapi:
    """The server. `folder` keeps its resources; the first start chooses the port, later ones take it again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base_url = ""
        self.pid = 0

    def start(self) -> None:
        """Start it and wait until it answers. Raises Unavailable."""
        port = self.base_url.rpartition(":")[2].partition("/")[0] or "0"
        options = ["--port", port, "--data", str(self.folder / "data"), "--log", str(self.folder / "hapi.log")]
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([sys.executable, START, *options], capture_output=True, text=True)
        if done.returncode in CANNOT:
            raise Unavailable(f"{CANNOT[done.returncode]}: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        self.base_url, self.pid = said["base_url"], said["pid"]

    def stop(self) -> None:
        """End it as an operator does: what it has begun is answered first."""
        done = subprocess.run([sys.executable, START, "--stop", str(self.pid)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.pid = 0

    def kill(self) -> None:
        """End it without warning, as `kill -9`."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(self.pid), 10, "the server is gone")
        self.pid = 0


@contextmanager
def running_hapi(folder: Path) -> Iterator[Hapi]:
    """A server that ends with the block. Raises Unavailable."""
    server = Hapi(folder)
    server.start()
    try:
        yield server
    finally:
        if server.pid:
            server.stop()
