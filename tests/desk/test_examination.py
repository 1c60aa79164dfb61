"""What an examination of destinations says, without a command."""

from __future__ import annotations

import socket
from dataclasses import replace
from types import MappingProxyType

import pytest

from hl7bridge.desk.setup import examination
from hl7bridge.destinations.examining import Diagnosis, State
from hl7bridge.errors import ConfigError
from hl7bridge.store.queue.creations import Looked, SecondLook
from tests.desk.conftest import Office


def nobody_listens() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/fhir"


def moved(office: Office, **destinations: str) -> Office:
    """The office, with one destination of each name at that address."""
    [one] = office.settings.destinations.values()
    made = {name: one.model_copy(update={"name": name, "base_url": url}) for name, url in destinations.items()}
    return replace(office, settings=replace(office.settings, destinations=MappingProxyType(made)))


def test_it_is_told_as_it_goes_and_returned_as_a_whole(office: Office) -> None:
    office = moved(office, ehr=nobody_listens(), idp=nobody_listens())
    begun: list[str] = []
    told: list[Diagnosis] = []
    found = examination.examine(office.settings, begun=lambda one: begun.append(one.name), told=told.append)
    assert begun == [one.name for one in found] == ["ehr", "idp"]
    assert told == [diagnosis for one in found for diagnosis in one.diagnoses]
    assert all(one.unreachable for one in found)
    [refused] = [one for one in found[1].diagnoses if not one.is_sound]
    assert (refused.code, refused.state) == ("refused", State.PROBLEM)
    assert "conf/destinations/idp.toml" in refused.fixes[0]
    assert [one.name for one in examination.examine(office.settings, "idp")] == ["idp"]
    with pytest.raises(ConfigError, match='no destination "lab"'):
        examination.examine(office.settings, "lab")


def test_a_diagnosis_as_a_document() -> None:
    one = Diagnosis("token", State.PROBLEM, "x", "refused", "the key", ("Register it.",), said="CANARY of the server")
    found = examination.Examined("ehr", "write", (one,))
    assert found.data() == {
        "name": "ehr",
        "mode": "write",
        "checks": [
            {"check": "token", "state": "problem", "code": "x", "text": "refused", "cause": "the key"}
            | {"fixes": ["Register it."]}
        ],
    }
    assert "CANARY" not in repr(found), "a server's words are for a terminal alone"
    assert not found.unreachable


@pytest.mark.parametrize(
    ("seconds", "code", "waits"), [(1.5, "index-lag", "60 s"), (80.0, "index-slow", "120 s"), (None, "", "")]
)
def test_the_lag_of_searches_is_said_where_it_was_measured(
    office: Office, seconds: float | None, code: str, waits: str
) -> None:
    [destination] = office.settings.destinations.values()
    if seconds is not None:
        created = SecondLook("Practitioner", "p1", "p1", "staff", "S1", 1, 1, 1000.0, 1060.0, 1)
        office.store.creations.looked("ehr", [Looked(created, True)], 1000.0 + seconds)
    found = [one for one in examination.examine(office.settings)[0].diagnoses if one.step == "index"]
    assert [one.code for one in found] == ([code] if code else [])
    for one in found:
        assert f"{waits}" in (one.cause or one.text)
        assert one.is_sound is (code == "index-lag")
        assert all(destination.file in fix or "owner" in fix for fix in one.fixes)


@pytest.mark.parametrize("npi", ["1234567893", "1245319599"])
def test_an_npi(npi: str) -> None:
    examination.check_npi(npi)


@pytest.mark.parametrize("wrong", ["1234567890", "123456789", "12345678930", "123456789x", ""])
def test_no_npi(wrong: str) -> None:
    with pytest.raises(ConfigError, match="is no NPI"):
        examination.check_npi(wrong)
