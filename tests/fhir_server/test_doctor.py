"""`doctor` and `lookup` on a server that others wrote: all is well there, and a person is found by the NPI."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stream import npi
from tests.bridges import Feed, destination, write_configuration
from tests.hapi.observer import Observer
from tests.hapi.proxy import Proxy
from tests.hapi.roster import BLOCK

NPI_SYSTEM = "http://hl7.org/fhir/sid/us-npi"


def asked(folder: Path, *arguments: str) -> tuple[int, Any]:
    command = [sys.executable, "-m", "hl7bridge", *arguments, "--config", str(folder), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


@pytest.fixture
def site(proxy: Proxy, key_system: str, tmp_path: Path) -> Path:
    write_configuration(tmp_path, [Feed("staff", key_system)], {"fhir": destination(proxy.base_url, timeout="10s")})
    return tmp_path


def test_all_is_well(site: Path, proxy: Proxy, observer: Observer, block: int) -> None:
    number = npi(block * BLOCK + BLOCK - 1)
    person = {
        "resourceType": "Practitioner",
        "active": True,
        "identifier": [{"system": NPI_SYSTEM, "value": number}],
        "name": [{"family": "Tamsworth"}],
    }
    code, nobody = asked(site, "lookup", "--npi", number)
    assert (code, nobody["practitioners"]) == (1, [])
    made = observer.send("POST", "/Practitioner", person).json()["id"]
    observer.send("POST", "/Practitioner", {**person, "identifier": []})  # a second one, so that there is a next page
    before = len(proxy.passed)
    code, read = asked(site, "doctor", "fhir", "--npi", number)
    (found,) = read["destinations"]
    unwell = [check for check in found["checks"] if check["state"] in ("warning", "problem")]
    assert (code, unwell) == (0, [])
    codes = {check["code"]: check["text"] for check in found["checks"]}
    assert {"interactions", "versioned", "conditional-create", "search", "pages"} <= codes.keys()
    assert "FHIR 4.0.1" in codes["fhir-version"]
    assert made in codes["npi-found"]
    assert {passed.asked.method for passed in proxy.passed[before:]} == {"GET"}, "nothing is written"
    code, seen = asked(site, "lookup", "--npi", number)
    assert (code, seen["practitioners"]) == (0, [{"id": made, "active": True, "roles": 0, "active_roles": 0}])
