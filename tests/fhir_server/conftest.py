"""What these tests need: a FHIR R4 server that others wrote. HL7BRIDGE_TEST_FHIR names one; without it they are skipped."""

from __future__ import annotations

import itertools
import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hapi.observer import Observer
from tests.hapi.proxy import Proxy, proxy_to
from tests.hapi.server import Hapi, Unavailable, running_hapi

VARIABLE = "HL7BRIDGE_TEST_FHIR"


@pytest.fixture(scope="session")
def server_url() -> str:
    """The base URL of the server."""
    url = os.environ.get(VARIABLE, "").rstrip("/")
    if not url:
        pytest.skip(f"{VARIABLE} names no FHIR server (tests/hapi/start starts one)")
    with Observer(url) as look:
        statement = look.send("GET", "/metadata").json()
    assert statement["fhirVersion"].startswith("4.0"), "the server is not one of FHIR R4"
    return url


@pytest.fixture
def observer(server_url: str) -> Iterator[Observer]:
    with Observer(server_url) as watching:
        yield watching


@pytest.fixture(scope="module")
def proxy(server_url: str) -> Iterator[Proxy]:
    """In front of the server, for all tests of a module."""
    with proxy_to(server_url) as between:
        yield between


@pytest.fixture
def key_system() -> str:
    """The system of staff keys of one test alone: the server may hold what other tests brought."""
    return f"urn:uuid:{uuid.uuid4()}"


@pytest.fixture(scope="session")
def blocks() -> Iterator[int]:
    """From somewhere on, so that two runs on one server hardly ever meet."""
    return itertools.count(random.SystemRandom().randrange(1, 90_000))


@pytest.fixture
def block(blocks: Iterator[int]) -> int:
    """The number of a block of NPIs (tests.hapi.roster.BLOCK) that this test has for itself."""
    return next(blocks)


@pytest.fixture
def own_server(server_url: str, tmp_path: Path) -> Iterator[Hapi]:
    """A HAPI that may be stopped and started."""
    try:
        with running_hapi(tmp_path / "hapi") as server:
            yield server
    except Unavailable as why:
        pytest.skip(f"no HAPI can be started here: {why}")
