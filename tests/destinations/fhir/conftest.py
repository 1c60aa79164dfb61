"""A server and a bridge before it, for each test afresh."""

from __future__ import annotations

import pytest

from tests.destinations.fhir.people import Bridge
from tests.destinations.fhir.server import FakeFhir


@pytest.fixture
def server() -> FakeFhir:
    return FakeFhir()


@pytest.fixture
def bridge(server: FakeFhir) -> Bridge:
    return Bridge(server)
