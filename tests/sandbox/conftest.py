"""A sandbox without a socket, and one shared process with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client as WsgiClient
from werkzeug.test import TestResponse

from hl7bridge.model import read_json, write_json
from hl7bridge.sandbox import Sandbox, SandboxSettings, create_app
from tests.sandboxes import RunningSandbox, running_sandbox

NPI = "http://hl7.org/fhir/sid/us-npi"
STAFF = "urn:oid:2.16.840.1.113883.19.4.6"


class Clock:
    """A clock that is moved by hand; Unix seconds."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """A sandbox and a client that calls it without a socket."""

    sandbox: Sandbox
    client: WsgiClient
    clock: Clock
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """Send a request; header names with underscores: if_match='W/"1"'."""
        sent = {name.replace("_", "-"): text for name, text in (self.headers | headers).items()}
        data = None
        if body is not None:
            data = body if isinstance(body, (bytes, str)) else write_json(body)
            sent.setdefault("content-type", "application/fhir+json")
        url = path if path.startswith("/") else f"/fhir/{path}"
        local = {"REMOTE_ADDR": "127.0.0.1"}
        return self.client.open(url, method=method, data=data, headers=sent, environ_overrides=local)

    def create(self, resource: dict[str, Any], **headers: str) -> dict[str, Any]:
        answer = self.call("POST", resource["resourceType"], resource, **headers)
        assert answer.status_code == 201, answer.text
        return read(answer)

    def entries(self) -> list[dict[str, Any]]:
        return list(self.sandbox.journal.entries())


def read(answer: TestResponse) -> Any:
    return read_json(answer.data)


def found(answer: TestResponse) -> list[str]:
    """The ids of a searchset's matches."""
    bundle = read(answer)
    assert bundle["resourceType"] == "Bundle", bundle
    return [entry["resource"]["id"] for entry in bundle.get("entry", []) if entry["search"]["mode"] == "match"]


def next_link(answer: TestResponse) -> str:
    return next((link["url"] for link in read(answer)["link"] if link["relation"] == "next"), "")


def practitioner(value: str = "", **elements: Any) -> dict[str, Any]:
    """An invented person; `value` is an identifier of the staff system."""
    made: dict[str, Any] = {"resourceType": "Practitioner"}
    if value:
        made["identifier"] = [{"system": STAFF, "value": value}]
    return made | elements


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Opens desks with settings; without auth unless told otherwise."""
    opened: list[Desk] = []

    def make(**settings: Any) -> Desk:
        clock = Clock()
        app = create_app(SandboxSettings(**{"auth": False, "clock": clock, **settings}))
        desk = Desk(app.extensions["sandbox"], WsgiClient(app), clock)
        opened.append(desk)
        return desk

    yield make
    for desk in opened:
        desk.sandbox.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


@pytest.fixture(scope="module")
def served_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(Path(tmp_path_factory.mktemp("sandbox"))) as running:
        yield running


@pytest.fixture
def served(served_once: RunningSandbox) -> RunningSandbox:
    """A sandbox process, empty and without faults."""
    served_once.reset()
    return served_once
