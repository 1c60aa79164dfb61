"""Whether a server can be reached: its name, port, certificate and clock; and what may be behind a token's refusal."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from hl7bridge.destinations.examining import State
from hl7bridge.destinations.fhir.examine.authorizing import audiences, covered, likely, simple_cause
from hl7bridge.destinations.fhir.examine.probe import clock
from hl7bridge.destinations.fhir.examine.reach import Observed, Watching, reach
from hl7bridge.destinations.fhir.rules import DestinationRules, SmartRules
from hl7bridge.destinations.fhir.wire.gate import GateRefused
from hl7bridge.destinations.fhir.wire.smart_auth import hint_of
from hl7bridge.errors import TokenError
from tests.destinations.fhir.test_client import over_tls


def last(url: str, ca_file: str = "", now: datetime | None = None, timeout: float = 3.0) -> Observed:
    """Where the way ends."""
    return [*reach(DestinationRules("ehr", url, timeout=timeout, ca_file=ca_file), now or datetime.now(UTC))][-1]


def test_a_certificate_that_is_well_or_ends_soon(tmp_path: Path) -> None:
    with over_tls(tmp_path, (-1, 90)) as (url, ca_file):
        well = last(url, ca_file)
        assert (well.state, well.code, well.facts["version"]) == (State.OK, "tls", "TLSv1.3")
        assert well.facts["days"] in (88, 89)
        soon = last(url, ca_file, datetime.now(UTC) + timedelta(days=70))
        assert (soon.state, soon.code) == (State.WARNING, "ends-soon")


@pytest.mark.parametrize(
    ("days", "host", "trusted", "code"),
    [
        ((-9, -1), "localhost", True, "expired"),
        ((1, 9), "localhost", True, "not-yet-valid"),
        ((-1, 9), "127.0.0.1", True, "other-name"),
        ((-1, 9), "localhost", False, "untrusted"),
    ],
)
def test_a_certificate_that_is_not_acceptable(
    tmp_path: Path, days: tuple[int, int], host: str, trusted: bool, code: str
) -> None:
    with over_tls(tmp_path, days) as (url, ca_file):
        check = last(url.replace("localhost", host), ca_file if trusted else "")
    assert (check.subject, check.state, check.code) == ("tls", State.PROBLEM, code)
    assert check.facts["names"] == "localhost"
    assert check.facts["ends"] == (datetime.now(UTC) + timedelta(days=days[1])).date().isoformat()


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check = last(f"https://localhost:{silent.getsockname()[1]}", timeout=0.2)
    assert (check.subject, check.state, check.code) == ("tls", State.PROBLEM, "tls-broken")


def test_a_name_that_nobody_knows() -> None:
    assert last("https://nowhere.invalid/r4").code == "no-address"


@pytest.mark.parametrize(
    ("skew", "code", "state"),
    [
        (None, "no-date", State.SKIPPED),
        (29.0, "clock", State.OK),
        (-31.0, "clock-drifts", State.WARNING),
        (121.0, "clock-off", State.PROBLEM),
    ],
)
def test_clocks(skew: float | None, code: str, state: State) -> None:
    (check,) = clock(skew)
    assert (check.code, check.state) == (code, state)


def test_the_servers_clock_is_read_from_its_date_but_not_from_a_copy() -> None:
    headers = {"date": "Sun, 22 Nov 2026 10:10:00 GMT"}
    now = datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp()
    with httpx.Client(transport=(one := watching(headers, now))) as http:
        http.get("https://fhir.example.org/r4/metadata")
    assert one.skew == 600.5
    for other in ({**headers, "age": "30"}, {}, {"date": "yesterday"}):
        with httpx.Client(transport=(one := watching(other, now))) as http:
            http.get("https://fhir.example.org/r4/metadata")
        assert one.skew is None


def watching(headers: dict[str, str], now: float) -> Watching:
    return Watching(httpx.MockTransport(lambda _: httpx.Response(200, headers=headers)), lambda: now)


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_nothing_but_reads_leaves(method: str) -> None:
    with httpx.Client(transport=watching({}, 0.0)) as http:
        with pytest.raises(GateRefused):
            http.request(method, "https://fhir.example.org/r4/Practitioner")
        assert http.post("https://fhir.example.org/r4/Practitioner/_search").status_code == 200


# --- why there is no token -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "about"),
    [
        ("aud is not the URL of this token endpoint", "audience"),
        ("Invalid audience", "audience"),
        ("exp is past", "clock"),
        ("The assertion has expired", "clock"),
        ("nbf is in the future", "clock"),
        ("kid is not in the registered key set", "key"),
        ("The signature does not verify", "key"),
        ("iss is not a registered client", "client"),
        ("No requested scope is allowed to this client", "scope"),
        ("", ""),
        (None, ""),
        ("You shall not pass", ""),
    ],
)
def test_what_a_refusal_is_about(description: str | None, about: str) -> None:
    assert hint_of(description) == about


@pytest.mark.parametrize(
    ("status", "permanent", "cause"),
    [
        (0, False, "token-unreachable"),
        (0, True, "token-address"),
        (302, True, "token-address"),
        (404, True, "token-address"),
        (429, False, "token-later"),
        (503, False, "token-later"),
        (200, True, "token-unusable"),
        (400, True, ""),
        (401, True, ""),
    ],
)
def test_what_the_status_tells(status: int, permanent: bool, cause: str) -> None:
    assert simple_cause(TokenError("no", permanent=permanent, status=status)) == cause


def test_the_likely_causes() -> None:
    assert likely("", False) == ("client", "key", "inactive", "audience")
    assert likely("", True)[0] == "clock"
    assert likely("key", False)[:2] == ("key", "client")
    assert likely("clock", False)[0] == "clock"
    assert sorted(likely("clock", True)) == sorted(set(likely("clock", True)))


def test_other_audiences() -> None:
    rules = SmartRules("https://fhir.example.org/r4", "me", audience="https://wrong.example.org")
    endpoint = "https://fhir.example.org/token"
    assert audiences(rules, endpoint, "https://inner.example.org/token") == (
        endpoint,
        "https://inner.example.org/token",
        "https://fhir.example.org/r4",
        "https://fhir.example.org/r4/",
        endpoint + "/",
    )
    assert endpoint not in audiences(SmartRules("https://fhir.example.org/r4", "me"), endpoint, endpoint)


@pytest.mark.parametrize(
    ("needed", "granted", "enough"),
    [
        ("system/Practitioner.read", "system/Practitioner.read", True),
        ("system/Practitioner.read", "system/Practitioner.rs", True),
        ("system/Practitioner.rs", "system/Practitioner.read", True),
        ("system/Practitioner.read", "system/*.*", True),
        ("system/Practitioner.read", "system/PractitionerRole.read", False),
        ("system/Practitioner.write", "system/Practitioner.read", False),
        ("system/Practitioner.write", "system/Practitioner.cu", True),
        ("system/Practitioner.write", "system/Practitioner.u", False),
        ("system/Practitioner.cu", "system/Practitioner.c system/Practitioner.u", True),
        ("system/Practitioner.read", "user/Practitioner.read", False),
        ("system/Practitioner.read", "openid", False),
    ],
)
def test_scopes_that_cover_others(needed: str, granted: str, enough: bool) -> None:
    assert covered(needed, tuple(granted.split())) is enough
