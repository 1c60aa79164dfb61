"""The judge of all request logs is awake: what may be asked passes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.business import AGENT, improper, improper_in
from tests.sandboxes import running_sandbox


@pytest.mark.parametrize(
    "line",
    [
        "GET /metadata",
        "GET /.well-known/smart-configuration",
        "GET /Practitioner/17",
        "GET /PractitionerRole?practitioner=17&_count=50",
        "GET /Practitioner/?page=2",
        "GET ?_getpages=4711",
        "POST /Practitioner",
        "POST /PractitionerRole/_search",
        "PUT /PractitionerRole/18",
    ],
)
def test_what_is_proper(line: str) -> None:
    assert improper([line]) == []


@pytest.mark.parametrize(
    "line",
    [
        "GET /Patient/17",
        "GET /Patient?identifier=1",
        "POST /Patient",
        "DELETE /Practitioner/17",
        "PATCH /Practitioner/17",
        "PUT /Practitioner?identifier=1",
        "PUT /Practitioner/17/_history/1",
        "GET /Practitioner/17/_history",
        "POST /Practitioner/$validate",
        "POST ",
        "GET /",
        "GET /PractitionerRoles",
    ],
)
def test_what_is_not(line: str) -> None:
    assert improper([line]) == [line]


def test_a_sandbox_tells_of_it_when_it_ends(tmp_path: Path) -> None:
    headers = {"user-agent": AGENT}
    with (
        pytest.raises(AssertionError, match="DELETE /Practitioner/17"),
        running_sandbox(tmp_path, auth=False) as sandbox,
    ):
        httpx.delete(f"{sandbox.base_url}/Practitioner/17", headers=headers, trust_env=False)


def test_a_token_where_none_was_given_is_another_s() -> None:
    entry = {"agent": AGENT, "method": "GET", "path": "/fhir/Practitioner/17", "with_token": True}
    assert improper_in([entry], "/fhir", auth=True) == []
    assert improper_in([entry], "/fhir", auth=False) == ["GET /Practitioner/17 with another's token"]
    asked = {"agent": AGENT, "method": "POST", "path": "/oauth2/token", "with_token": True}
    assert improper_in([asked], "/fhir", auth=True) == ["POST /oauth2/token with another's token"]
    assert improper_in([asked | {"with_token": False}, {**entry, "agent": "curl"}], "/fhir", auth=False) == []
