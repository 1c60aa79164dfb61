"""`hl7bridge run` as the tests use it: a configuration in a folder, the real command as a process, ended by its pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hl7bridge.destinations import keys as signing
from hl7bridge.store.encoding import exchanges_from_text
from hl7bridge.store.opening import open_store
from hl7bridge.store.sqlite.driver import sqlite3
from tests.sandboxes import ClientKeys, RunningSandbox

ROOT = Path(__file__).parents[1]
START_WITHIN, STOP_WITHIN = 30.0, 45.0
POLL = 0.02


# --- configuration ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feed:
    """A feed's file. `settings` are further sections and keys, as they stand in the file."""

    name: str
    key_system: str
    destinations: tuple[str, ...] = ("fhir",)
    port: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        own = {
            "destinations": list(self.destinations),
            "listener": {"port": self.port},
            "hl7": {"key_system": self.key_system},
        }
        return merged(own, self.settings)


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """`other` over `one`, section by section."""
    result = dict(one)
    for key, value in other.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def toml(document: Mapping[str, Any], section: str = "") -> str:
    """A TOML document of strings, numbers, booleans, lists of these, sections, and lists of sections at its top."""
    keys = {key: value for key, value in document.items() if not isinstance(value, Mapping) and not _sections(value)}
    lines = [f"[{section}]"] if section and keys else []
    lines += [f"{quoted(key)} = {json.dumps(value)}" for key, value in keys.items()]
    for key, value in document.items():
        if isinstance(value, Mapping):
            lines.append(toml(value, f"{section}.{quoted(key)}" if section else quoted(key)))
        elif _sections(value):
            lines += [toml(one, f"[{quoted(key)}]") for one in value]
    return "\n".join(lines) + "\n"


def _sections(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def quoted(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def write_configuration(
    folder: Path,
    feeds: Sequence[Feed],
    destinations: Mapping[str, Mapping[str, Any]],
    service: Mapping[str, Any] | None = None,
) -> None:
    """Write conf/ below `folder`. Waits are short, so that a test of many failures ends soon."""
    quick = {"service": {"poll_interval": "100ms", "stop_timeout": "10s"}, "log": {"format": "json"}}
    files = {"hl7bridge": merged(quick, service or {})}
    files |= {f"feeds/{feed.name}": feed.document() for feed in feeds}
    files |= {f"destinations/{name}": dict(settings) for name, settings in destinations.items()}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, document in files.items():
        path = folder / "conf" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(toml(document), encoding="utf-8")


def destination(base_url: str, **settings: Any) -> dict[str, Any]:
    """A destination's file that writes, without authorization or brake unless told, and tries again soon."""
    own = {
        "base_url": base_url,
        "mode": "write",
        "timeout": "3s",
        "auth": {"type": "none"},
        "retry": {"first": "100ms", "longest": "1s"},
        "index_lag": "2s",  # the sandbox finds at once; two seconds let a request arrive that was under way
        "brake": {"deactivations_per_hour": 0, "share_of_file": 0},
    }
    return merged(own, settings)


def smart_keys(folder: Path) -> ClientKeys:
    """A key pair for a sandbox whose `kid` is the key's thumbprint, as the bridge sends it."""
    key = signing.generate()
    folder.mkdir(parents=True, exist_ok=True)
    keys = ClientKeys("hl7bridge", key.kid, key.algorithm, folder / "signing.pem", folder / "jwks.json")
    keys.private_pem.write_bytes(key.pem())
    keys.private_pem.chmod(0o600)
    keys.jwks.write_text(json.dumps(signing.jwks([key.public_jwk()])))
    return keys


def smart_auth(sandbox: RunningSandbox) -> dict[str, str]:
    """The destination's [auth] for a sandbox that was started with `smart_keys`."""
    assert sandbox.keys
    return {
        "type": "smart",
        "client_id": sandbox.keys.client_id,
        "key": f"file:{sandbox.keys.private_pem}",
        "token_url": sandbox.token_url,
    }


# --- the process -----------------------------------------------------------------------------------------------------


class Bridge:
    """The command as a process; may be killed and started again, keeping its folder."""

    def __init__(
        self, folder: Path, role: str = "all", core: int | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.role, self.core = folder, role, core
        self.environment = environment or {}
        self.log = folder / "bridge.log"
        self.ports: dict[str, int] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: set[int] = set()

    def start(self, *options: str) -> None:
        """Start it and wait until it says that it is ready."""
        self.spawn(*options)
        ready = json.loads(self._first_line())
        assert ready["event"] == "ready", ready
        self.ports = {name: at["port"] for name, at in ready["feeds"].items()}
        self.seen.update(pid for pid in ready["children"].values() if pid)

    def spawn(self, *options: str) -> None:
        """Start it, without waiting; `options` are further ones of `run`."""
        command = [
            sys.executable,
            "-m",
            "hl7bridge",
            "run",
            "--config",
            str(self.folder),
            "--role",
            self.role,
            "--json",
            *options,
        ]
        core = self.core
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )
        self.seen.add(self.process.pid)

    def _first_line(self) -> bytes:
        """What it says first; raises AssertionError when it ends or says nothing in time."""
        assert self.process
        assert self.process.stdout
        patience = threading.Timer(START_WITHIN, self.process.kill)
        patience.start()
        line = self.process.stdout.readline()
        patience.cancel()
        if not line:
            raise AssertionError(f"hl7bridge run did not become ready\n{self.log_end()}")
        return line

    def log_end(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def children(self) -> list[int]:
        """Process ids of its children now (Linux)."""
        found: list[int] = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
        self.seen.update(found)
        return found

    def kill(self, what: str) -> None:
        """kill -9 of the `tree`, of the `listener` alone, or of its `delivery` child alone. Returns when it is gone."""
        if what == "delivery":
            wait_until(self.children, 30, "the listener starts its delivery child")
        children = self.children()
        victims = {"tree": [self.pid, *children], "listener": [self.pid], "delivery": children}[what]
        for pid in victims:
            end(pid)
        if self.pid in victims:
            assert self.process
            self.process.communicate()

    def stop(self) -> int:
        """SIGTERM, as a service manager stops it; returns the exit code."""
        assert self.process
        if self.process.poll() is None:
            self.children()
            self.process.terminate()
            try:
                self.process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self.kill("tree")
                raise AssertionError(f"did not stop within {STOP_WITHIN:g} s\n{self.log_end()}") from None
        if self.process.stdout:
            self.process.stdout.close()
        return self.process.returncode

    def left(self) -> set[int]:
        """Which of the processes that it ever was are still there."""
        return {pid for pid in self.seen if is_alive(pid)}

    # -- its store, read from outside --

    @property
    def store_path(self) -> str:
        return str(self.folder / "data" / "hl7bridge.sqlite")

    def counts(self) -> dict[str, Any]:
        store = open_store(self.store_path)
        try:
            return store.audit.counts()
        finally:
            store.close()

    def undelivered(self) -> int:
        """Deliveries that are not ended, held or scheduled."""
        deliveries = self.counts()["deliveries"]
        return sum(count for states in deliveries.values() for state, count in states.items() if state in OPEN)

    def of_deliveries(self, passed: Iterable[Any]) -> list[Any]:
        """Those of the requests that passed a proxy which deliveries made: looking again for who was created is none."""
        with closing(sqlite3.connect(self.store_path)) as store:
            kept = store.execute("SELECT exchanges FROM attempt WHERE exchanges <> ''").fetchall()
        ids = {exchange["request_id"] for (text,) in kept for exchange in exchanges_from_text(text)}
        return [one for one in passed if one.asked.headers.get("x-request-id") in ids]

    def held(self) -> int:
        """Deliveries that wait for a person."""
        return sum(states.get("held", 0) for states in self.counts()["deliveries"].values())

    def wait_delivered(self, seconds: float = 30.0, every: float = 0.05) -> None:
        """Until nothing is open. The store is read once in `every` seconds."""

        def what() -> str:
            return f"deliveries open: {self.counts()}\n{self.log_end()}"

        wait_until(lambda: self.undelivered() == 0, seconds, what, every)


OPEN = {"queued", "claimed", "retry", "unknown"}


def end(pid: int) -> None:
    """kill -9 of one process that we started; it may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def is_alive(pid: int) -> bool:
    """Whether the process runs (one that ended and waits to be collected does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(
    condition: Callable[[], object], seconds: float, what: str | Callable[[], str], every: float = POLL
) -> None:
    """Look again and again until the condition holds; raises AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(every)


@contextmanager
def running_bridge(
    folder: Path,
    base_url: str,
    *,
    feeds: Sequence[Feed] | None = None,
    to: Mapping[str, Any] | None = None,
    service: Mapping[str, Any] | None = None,
    role: str = "all",
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Bridge]:
    """A bridge with one destination, `fhir`; stops it, and sees to it that no process of it is left.

    `to`: settings of the destination over those of `destination`; `environment`: variables beside those of this process.
    The folder may hold an earlier run's store.
    """
    feeds = feeds or [Feed("staff", "urn:uuid:2f9a7c1e-8d36-4f0b-9c55-1b7de2a40c11")]
    write_configuration(folder, feeds, {"fhir": destination(base_url, **(to or {}))}, service)
    bridge = Bridge(folder, role, core, environment)
    try:
        bridge.start()
        yield bridge
        assert bridge.stop() == 0, bridge.log_end()
    finally:
        if bridge.process and bridge.process.poll() is None:
            bridge.kill("tree")
        if bridge.process and bridge.process.stdout:
            bridge.process.stdout.close()
    wait_until(lambda: not bridge.left(), 15, lambda: f"processes left: {bridge.left()}")
