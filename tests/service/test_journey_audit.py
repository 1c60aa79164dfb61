"""What an auditor asks of a running bridge: where each request comes from, whom it talks to, and how keys are changed.

One bridge with tokens from a sandbox. An audit hook of the interpreter notes each connection and look-up of each of its
processes, whatever library makes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hl7bridge.destinations import keys
from hl7bridge.store.opening import open_store
from tests.bridges import ROOT, Bridge, Feed, running_bridge, smart_auth, smart_keys
from tests.journey import KEY_SYSTEM, ask, mfn, person
from tests.sandboxes import RunningSandbox, running_sandbox

HOOK = """
import json, os, sys

file = os.open(os.environ["NOTED_CONNECTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
TOLD = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname"}

def note(event, arguments):
    if event in TOLD:
        first = 0 if event in ("socket.getaddrinfo", "socket.gethostbyname") else 1
        where = arguments[first]
        where = list(where[:2]) if isinstance(where, tuple) else [str(where)]
        os.write(file, json.dumps([event, *where]).encode() + b"\\n")

sys.addaudithook(note)
"""


@dataclass
class Audited:
    """The bridge, its server, and what the interpreters of both bridge processes and of commands noted."""

    sandbox: RunningSandbox
    bridge: Bridge
    environment: dict[str, str]

    def send(self, control_id: str, *records: str) -> dict[str, Any]:
        """Send, wait until all is delivered, and hand back the message as the store tells of it."""
        assert ask(self.bridge, mfn(control_id, *records)).code == "AA"
        self.bridge.wait_delivered()
        store = open_store(self.bridge.store_path)
        try:
            (row,) = store.audit.messages(control_id=control_id)
            found = store.audit.message(row.id)
        finally:
            store.close()
        assert found
        return found

    def connections(self) -> set[tuple[Any, ...]]:
        lines = Path(self.environment["NOTED_CONNECTIONS"]).read_text().splitlines()
        return {tuple(json.loads(line)) for line in lines}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audited")
    hook = folder / "hook" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(HOOK)
    environment = {
        "PYTHONPATH": os.pathsep.join([str(hook.parent), str(ROOT)]),
        "NOTED_CONNECTIONS": str(folder / "connections.jsonl"),
        "HTTPS_PROXY": "http://proxy.invalid:3128",  # a site's environment: not ours to follow
    }
    registered = smart_keys(folder / "keys")
    with running_sandbox(folder / "sandbox", keys=registered) as sandbox:
        auth = {name: value for name, value in smart_auth(sandbox).items() if name != "token_url"}
        feeds, to = [Feed("staff", KEY_SYSTEM)], {"auth": auth}
        folder = folder / "bridge"
        with running_bridge(folder, sandbox.base_url, feeds=feeds, to=to, environment=environment) as bridge:
            yield Audited(sandbox, bridge, environment)


def test_each_request_is_found_from_the_message_and_back(audited: Audited) -> None:
    message = audited.send(
        "AUDIT-1", person("MAD", "A1", "Halloway^Runa", unit="NEPH"), person("MAD", "A2", "Tamsworth^Ida")
    )
    assert message["header"]["control_id"] == "AUDIT-1"
    asked = {}
    for record in message["records"]:
        for delivery in record["deliveries"]:
            for attempt in delivery["tried"]:
                for exchange in attempt["exchanges"]:
                    asked[exchange["request_id"]] = (
                        record["change"]["source_key"],
                        exchange["method"],
                        exchange["resource_type"],
                        exchange["status"],
                    )
    journal = [line for line in audited.sandbox.journal() if line["type"] and line["client"] != "observer"]
    seen = {line["request_id"]: (line["method"], line["type"], line["status"]) for line in journal}
    assert len(seen) == len(journal)  # each request has an id of its own
    assert seen == {request_id: what[1:] for request_id, what in asked.items()}
    assert "" not in seen

    # From a version at the server back to who asked for it, what was there before, and why.
    (version,) = (line for line in journal if line["type"] == "PractitionerRole" and line["changed"])
    assert asked[version["request_id"]][0] == "A1"
    (delivery,) = message["records"][0]["deliveries"]
    role = next(one for one in delivery["tried"][-1]["interactions"] if one["resource_type"] == "PractitionerRole")
    assert {(one["path"], one["before"]) for one in role["differences"]} >= {("active", None)}
    events = [line["event"] for line in message["history"]]
    assert events[0] == "accepted"
    assert events.count("ended") == 2


def test_a_replaced_key_is_used_without_a_restart(audited: Audited) -> None:
    assert audited.sandbox.keys
    pid, file = audited.bridge.children(), audited.sandbox.keys.private_pem
    successor = keys.generate()
    registered = json.dumps(keys.jwks([successor.public_jwk()]))
    audited.sandbox.keys.jwks.write_text(registered)  # the old one is worth nothing any more
    file.with_suffix(".new").write_bytes(successor.pem())
    file.with_suffix(".new").replace(file)
    audited.sandbox.revoke_tokens()
    message = audited.send("ROTATED-1", person("MAD", "A3", "Okonedo^Mira"))
    (delivery,) = message["records"][0]["deliveries"]
    assert (delivery["result"], delivery["attempts"]) == ("created", 1)
    assert audited.bridge.children() == pid


def test_it_talks_to_whom_it_was_told_to_and_to_nobody_else(audited: Audited) -> None:
    environment = {**os.environ, **audited.environment}
    for command in (["doctor", "--npi", "1234567893"], ["reconcile"]):
        subprocess.run(
            [sys.executable, "-m", "hl7bridge", *command, "--config", str(audited.bridge.folder)],
            env=environment, capture_output=True, timeout=60, check=False, cwd=audited.bridge.folder,
        )  # fmt: skip
    server = urlsplit(audited.sandbox.base_url)
    noted = audited.connections()
    assert {line for line in noted if line[0] == "socket.connect"} == {("socket.connect", server.hostname, server.port)}
    assert {line[1] for line in noted if line[0] in ("socket.getaddrinfo", "socket.gethostbyname")} == {server.hostname}
    assert {line for line in noted if line[0] == "socket.bind"} == {("socket.bind", "127.0.0.1", 0)}
    assert not [line for line in noted if line[0] in ("socket.sendto", "socket.sendmsg")]
