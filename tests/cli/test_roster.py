"""`roster` against a real FHIR server: all pages, roles, and tables that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Ended
from tests.cli.test_stored import DESTINATION, Server, ready, serve, server

__all__ = ["ready", "serve", "server"]

Command = Callable[..., Ended]
COUNT = 107  # three pages of fifty
FORMULA = '=HYPERLINK("http://x","y")'


def put(server: Server, *resources: dict[str, Any]) -> list[str]:
    """Write resources as somebody else would; returns their ids."""
    ids = []
    headers = {"content-type": "application/fhir+json", "X-Sandbox-Observer": "true"}
    with httpx.Client(headers=headers, trust_env=False, verify=False) as client:
        for resource in resources:
            address = f"{server.base_url}/{resource['resourceType']}"
            method, address = ("PUT", f"{address}/{resource['id']}") if "id" in resource else ("POST", address)
            ids.append(str(client.request(method, address, json=resource).raise_for_status().json()["id"]))
    return ids


@pytest.fixture
def people(server: Server) -> None:
    everybody = []
    for number in range(COUNT):
        person: dict[str, Any] = {
            "resourceType": "Practitioner",
            "identifier": [{"system": "urn:oid:2.16.840.1.113883.4.6", "value": f"{number}"}],
            "name": [{"family": "Nickname"}, {"use": "official", "family": f"Ngata {number}", "given": ["Aroha", "M"]}],
        }
        if number % 2:
            person["active"] = number % 4 == 1
        everybody.append(person)
    ids = put(server, *everybody)
    put(server, {"resourceType": "Practitioner", "name": [{"family": FORMULA}]})
    for active in (True, False):
        put(
            server,
            {
                "resourceType": "PractitionerRole",
                "active": active,
                "practitioner": {"reference": f"Practitioner/{ids[1]}"},
                "organization": {"display": "Cardiology"},
                "code": [{"coding": [{"code": "doctor"}]}],
            },
        )


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))


@pytest.mark.usefixtures("people")
def test_all_pages_as_a_table(command: Command, ready: Path, server: Server) -> None:
    out = ready / "people.csv"
    ended = command("roster", "--roles", "--out", out, "--config", ready)
    assert (ended.code, ended.out) == (0, "")
    assert f"wrote {COUNT + 1} people" in ended.err
    found = {row["family"]: row for row in rows(out)}
    assert found.keys() == {f"'{FORMULA}", *(f"Ngata {number}" for number in range(COUNT))}
    one = found["Ngata 1"]
    assert (one["family"], one["given"], one["npi"], one["active"]) == ("Ngata 1", "Aroha M", "1", "active")
    assert one["roles"] == "Cardiology, doctor (active); Cardiology, doctor (inactive)"
    assert (found["Ngata 3"]["active"], found["Ngata 2"]["active"]) == ("inactive", "active")
    assert out.stat().st_mode & 0o777 == 0o600
    assert set(server.requests()[COUNT + 3 :]) == {"GET"}


@pytest.mark.usefixtures("people")
def test_who_is_active_and_who_is_not(command: Command, ready: Path) -> None:
    out = ready / "people.jsonl"
    counts = {}
    for which in ("--active", "--inactive"):
        assert command("roster", "ehr", which, "--out", out, "--config", ready).code == 0
        found = [json.loads(line) for line in out.read_text().splitlines()]
        assert all((one.get("active") is not False) is (which == "--active") for one in found)
        counts[which] = len(found)
    assert counts == {"--active": COUNT + 1 - COUNT // 4, "--inactive": COUNT // 4}


@pytest.mark.usefixtures("people")
def test_as_json_and_on_the_screen(command: Command, ready: Path) -> None:
    document = command("roster", "--roles", "--json", "--config", ready).json
    assert document["schema"] == "roster/1"
    with_roles = [one for one in document["people"] if one["roles"]]
    assert [one["practitioner"]["name"][1]["family"] for one in with_roles] == ["Ngata 1"]
    assert [role["active"] for role in with_roles[0]["roles"]] == [True, False]
    assert "Ngata 5" in command("roster", "--config", ready).out


def test_what_cannot_be_asked(command: Command, ready: Path) -> None:
    assert command("roster", "--out", ready / "people.xlsx", "--config", ready).code == 2
    assert 'no destination "lab"' in command("roster", "lab", "--config", ready).err
    second = ready / DESTINATION
    second.with_name("lab.toml").write_text(second.read_text())
    several = command("roster", "--config", ready)
    assert (several.code, "several destinations" in several.err) == (2, True)


def test_a_server_that_is_not_there(command: Command, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    path = ready / DESTINATION
    path.write_text(path.read_text().replace("http://127.0.0.1:", "http://127.0.0.1:1/"))
    ended = command("roster", "--config", ready)
    assert ended.code == 3
    assert "did not give all Practitioner resources" in ended.err
