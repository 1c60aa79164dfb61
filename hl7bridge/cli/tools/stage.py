"""What the demo plays on: a sandbox and a bridge as processes of their own, in a temporary folder, on this machine alone.

    with Stage() as stage:                   # starts both; ends both and removes the folder whatever happens
        played = stage.play(sample)          # sends it, waits for the answers and until its deliveries have settled

Both end when their standard input closes, so that nothing is left even where this process is killed. Nothing of the
environment reaches the bridge's settings, and every port is chosen by the system.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hl7bridge import config
from hl7bridge.assemble.stores import opened
from hl7bridge.cli.messages.mllp_client import Sent
from hl7bridge.cli.tools import samples
from hl7bridge.cli.tools.other_sender import OtherSender
from hl7bridge.cli.tools.samples import FEED_SETTINGS, Sample, SampleRecord
from hl7bridge.desk.messages import newest_after
from hl7bridge.desk.setup import keys
from hl7bridge.errors import Unreachable
from hl7bridge.model import JsonObject, read_json

CLIENT_ID = "hl7bridge-demo"
START_WITHIN, STOP_WITHIN, SETTLE_WITHIN = 30.0, 10.0, 15.0  # seconds
UNANSWERED = 0.5  # seconds to look for a message that got no answer although one was due
LOOK_EVERY = 0.003  # seconds between looks at the store
OWN_SETTINGS = "HL7BRIDGE_"


@dataclass(frozen=True, slots=True)
class SeenWrite:
    """One write that the FHIR server saw: create or update, its status, whose resource it was (a staff key), the version."""

    interaction: str
    resource_type: str
    status: int
    person: str
    version: str


@dataclass(frozen=True, slots=True)
class Played:
    """One sample and what became of it. `requests`: how many the FHIR server got. `differences`: none = as expected."""

    sample: Sample
    sent: Sent
    records: tuple[SampleRecord, ...]
    writes: tuple[SeenWrite, ...]
    requests: int
    differences: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether the expectation was met."""
        return not self.differences


class Stage:
    """A running sandbox and bridge. A context manager; not thread-safe."""

    def __init__(self) -> None:
        self.folder = Path()
        self.base_url = self.control_url = ""
        self.host, self.port = "127.0.0.1", 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._client: OtherSender | None = None
        self._opened = ExitStack()
        self._http: httpx.Client | None = None
        self._journal_seen = 0
        self._last_message = 0

    def __enter__(self) -> Stage:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- processes --

    @property
    def store_path(self) -> Path:
        """The bridge's store."""
        return self.folder / "data" / "hl7bridge.sqlite"

    @property
    def processes(self) -> list[int]:
        """Ids of the processes that were started here and still run."""
        return [process.pid for process in self._processes if process.poll() is None]

    def _start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hl7bridge-demo-"))
        pem, public = self.folder / "demo.pem", self.folder / "demo.jwks.json"
        keys.generate(pem)
        public.write_text(json.dumps(keys.key_set_of_files([pem])), encoding="utf-8")
        options = ["--client-id", CLIENT_ID, "--client-jwks", str(public), "--until-stdin-closes", "--json"]
        sandbox = self._run("sandbox", *options)
        self.base_url, self.control_url = sandbox["base_url"], sandbox["control_url"]
        self._configure(sandbox["token_url"], pem)
        bridge = self._run("run", "--config", str(self.folder), "--child", "--json")
        listener = bridge["feeds"]["staff"]
        self.host, self.port = listener["host"], listener["port"]
        self._client = OtherSender(self.host, self.port, timeout=SETTLE_WITHIN)
        self._store = self._opened.enter_context(opened(config.load(self.folder, {})))
        self._http = httpx.Client(headers={"X-Sandbox-Observer": "true"}, trust_env=False)

    def _configure(self, token_url: str, pem: Path) -> None:
        feed = {"destinations": ["sandbox"], "listener": {"port": 0}, **FEED_SETTINGS}
        auth = {"type": "smart", "client_id": CLIENT_ID, "key": f"file:{pem.as_posix()}", "token_url": token_url}
        unbraked = {"deactivations_per_hour": 0, "share_of_file": 0}  # people leave here all the time
        destination = {"base_url": self.base_url, "mode": "write", "auth": auth, "brake": unbraked}
        service = {"service": {"poll_interval": "50ms", "stop_timeout": "5s"}}
        for name, settings in (("hl7bridge", service), ("feeds/staff", feed), ("destinations/sandbox", destination)):
            path = self.folder / "conf" / f"{name}.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_toml(settings), encoding="utf-8")

    def _run(self, command: str, *options: str) -> JsonObject:
        """Start `hl7bridge COMMAND` and return what it prints once it is ready. Raises Unreachable."""
        log = self.folder / f"{command}.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
        with log.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "hl7bridge", command, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        self._processes.append(process)
        assert process.stdout is not None
        watch = threading.Timer(START_WITHIN, process.kill)
        watch.daemon = True  # an interrupt may come before `try`: it must not hold up our end
        watch.start()
        try:
            line = process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise Unreachable(f"hl7bridge {command} did not start: {said[-1] if said else 'it said nothing'}")
        read: JsonObject = json.loads(line)
        return read

    def close(self) -> None:
        """End what was started here and remove the folder."""
        for one in (self._client, self._opened, self._http):
            if one is not None:
                one.close()
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()  # both end in order when it closes, on every system
        for process in self._processes:
            _await_end(process)
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- the replay --

    def play(self, sample: Sample) -> Played:
        """Send one sample, wait for its answers and until its deliveries have settled, and compare. Raises Unreachable."""
        assert self._client is not None
        sent = self._client.send(sample.message)
        records, problems = self._settled(sample, UNANSWERED if sent.problem else SETTLE_WITHIN)
        entries = self.journal()
        resources, people = self._resources()
        differences = [*([sent.problem] if sent.problem else []), *problems]
        differences += samples.acknowledgment_differences(
            sample.acknowledgments, [answer.raw for answer in sent.answers]
        )
        differences += samples.record_differences(sample.records, records)
        differences += samples.resource_differences(sample.resources, samples.of_people(resources, sample.people))
        writes = tuple(_written(entry, people) for entry in entries if entry["interaction"] in ("create", "update"))
        return Played(sample, sent, tuple(records), writes, len(entries), tuple(differences))

    def _settled(self, sample: Sample, seconds: float) -> tuple[list[SampleRecord], list[str]]:
        """The message's records once none of its deliveries is open; what did not come about in time."""
        deadline = time.monotonic() + seconds
        records: list[SampleRecord] = []
        while time.monotonic() < deadline:
            if newest := newest_after(self._store, self._last_message):
                if newest.is_duplicate:
                    self._last_message = newest.message_id
                    return [SampleRecord(r.event, r.person, samples.DUPLICATE) for r in sample.records], []
                records = [SampleRecord(*record) for record in newest.records]
                if newest.is_settled:
                    self._last_message = newest.message_id
                    return records, []
            time.sleep(LOOK_EVERY)
        return records, [f"not settled within {seconds:g} s"]

    # -- what the FHIR server says --

    def journal(self) -> list[JsonObject]:
        """Requests for resources that the FHIR server got since the last call."""
        entries = self._control(f"journal?since={self._journal_seen}")["entries"]
        if entries:
            self._journal_seen = entries[-1]["sequence"]
        return [entry for entry in entries if entry["type"]]

    def practitioners(self) -> list[JsonObject]:
        """Every Practitioner as it stands, in order of creation."""
        return list(self._control("state?resources=true")["resources"]["Practitioner"])

    def counts(self) -> JsonObject:
        """How many resources of each type there are."""
        return {kind: len(found) for kind, found in self._control("state?resources=true")["resources"].items()}

    def _resources(self) -> tuple[list[JsonObject], dict[str, str]]:
        """All resources in the form of the expectations; staff key by Practitioner id."""
        found = self._control("state?resources=true")["resources"]
        people = {str(p["id"]): samples.staff_key(p) for p in found["Practitioner"]}
        return samples.comparable(found["Practitioner"], found["PractitionerRole"]), people

    def _control(self, path: str) -> JsonObject:
        assert self._http is not None
        try:
            read: JsonObject = read_json(self._http.get(f"{self.control_url}/{path}").raise_for_status().content)
        except httpx.HTTPError as error:
            raise Unreachable(f"the sandbox does not answer ({type(error).__name__})") from None
        return read


def _written(entry: JsonObject, people: Mapping[str, str]) -> SeenWrite:
    body = entry.get("stored") or entry.get("sent") or {}
    practitioner = entry["id"] if entry["type"] == "Practitioner" else _referred(body)
    return SeenWrite(
        entry["interaction"], entry["type"], entry["status"], people.get(practitioner, ""), str(entry["version"])
    )


def _referred(role: JsonObject) -> str:
    return str(role.get("practitioner", {}).get("reference", "")).removeprefix("Practitioner/")


def _await_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process of ours that was asked to stop, and end it if it does not."""
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _toml(settings: Mapping[str, Any], section: str = "") -> str:
    """Settings as a TOML file: texts, numbers, lists of these, and sections."""
    lines = [f"[{section}]"] if section else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, Mapping)]
    for key, value in settings.items():
        if isinstance(value, Mapping):
            lines += ["", _toml(value, f"{section}.{key}" if section else key)]
    return "\n".join(lines)
