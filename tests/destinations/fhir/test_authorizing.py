"""Why a token is refused, found out by trying: clocks a minute apart, scopes that are too wide, a server's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import pytest

from hl7bridge.destinations import keys
from hl7bridge.destinations.examining import State
from hl7bridge.destinations.fhir.examine import authorizing
from hl7bridge.destinations.fhir.examine.authorizing import TokenTrial, too_wide
from hl7bridge.destinations.fhir.examine.reach import Observed
from hl7bridge.destinations.fhir.examine.words import diagnosis
from hl7bridge.destinations.fhir.rules import SmartRules
from hl7bridge.destinations.fhir.wire.smart_auth import explanation_in, hint_of

KEY = keys.generate()
BASE = "https://fhir.example.org/r4"
RULES = SmartRules(BASE, "me", "write", token_url="https://fhir.example.org/token")
EPOCH = 1_790_000_000.0
NEEDED = (
    "system/Practitioner.read", "system/Practitioner.write",
    "system/PractitionerRole.read", "system/PractitionerRole.write",
)  # fmt: skip

Refuses = Callable[[dict[str, Any], float], str]


def keycloak(claims: dict[str, Any], now: float) -> str:
    """As it judges an assertion: one minute from iat, whatever exp says, and no word of the clock."""
    if claims["iat"] > now or now > claims["exp"]:
        return "Token is not active"
    return "Token was issued too long ago to be used now" if now - claims["iat"] > 60 else ""


def silent(claims: dict[str, Any], now: float) -> str:
    return keycloak(claims, now) and "Invalid client or Invalid client credentials"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Observed]]:
    """The checks against a server whose clock is `ahead` seconds ahead of ours."""

    def made(ahead: float = 0.0, refuses: Refuses = keycloak, **granted: Any) -> list[Observed]:
        def respond(request: httpx.Request) -> httpx.Response:
            now = EPOCH + ahead
            headers = {"date": formatdate(now, usegmt=True)}
            if request.method == "GET":  # no SMART configuration
                return httpx.Response(404, headers=headers)
            form = parse_qs(request.content.decode())
            claims = jwt.decode(form["client_assertion"][0], options={"verify_signature": False})
            if said := refuses(claims, now):
                body = {"error": "invalid_client", "error_description": said}
                return httpx.Response(401, headers=headers, json=body)
            scope = granted.get("scope", form["scope"][0])
            body = {"access_token": "t", "token_type": "bearer", "expires_in": 60}
            return httpx.Response(200, headers=headers, json=body | ({} if scope is None else {"scope": scope}))

        monkeypatch.setattr(authorizing, "Network", lambda *_: httpx.MockTransport(respond))
        trial = TokenTrial(RULES, KEY, None, lambda: EPOCH)
        found = list(trial.checks())
        if trial.source is not None:
            trial.source.close()
        return found

    return made


@pytest.mark.parametrize("refuses", [keycloak, silent])
@pytest.mark.parametrize("ahead", [60, 120, 200, 240, 600, -60, -600])
def test_clocks_that_differ_are_the_cause_where_trying_shows_it(checks: Any, ahead: float, refuses: Refuses) -> None:
    (check,) = checks(ahead, refuses)
    assert (check.state, check.code) == (State.PROBLEM, "token-clock")
    told = diagnosis(check, "ehr", "ehr.toml")
    assert "proven" in told.cause
    assert "NTP" in told.fixes[0]


@pytest.mark.parametrize("ahead", [0, 30])
def test_clocks_that_agree_well_enough_are_not_suspected(checks: Any, ahead: float) -> None:
    assert [check.code for check in checks(ahead)] == ["token", "scopes"]
    (check,) = checks(ahead, lambda claims, now: "Unknown client")
    assert check.code == "token-perhaps-client"


def test_a_clock_that_differs_and_is_not_the_cause_is_not_called_proven(checks: Any) -> None:
    (check,) = checks(120, lambda claims, now: "no such client_id")
    assert check.code == "token-perhaps-client"
    assert "were tried" in diagnosis(check, "ehr", "ehr.toml").cause or check.facts["tried"] is False


def test_the_servers_own_words_are_for_a_terminal_alone(checks: Any) -> None:
    (check,) = checks(0, lambda claims, now: "CANARY words of the server")
    assert check.facts["explanation"] == "CANARY words of the server"
    told = diagnosis(check, "ehr", "ehr.toml")
    assert "CANARY" not in json.dumps([told.text, told.cause, told.fixes])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (None, ""),
        (7, ""),
        ("The client\x1b[31m is\r\n unknown\u202e", "The client [31m is unknown"),
        ("aud of eyJhbGciOiJFUzM4NCJ9.eyJpc3MiOiJtZSJ9.c2ln_bmF0dXJl is wrong", "aud of [left out] is wrong"),
        ("secret " + "A1b2" * 12 + " seen", "secret [left out] seen"),
        ("x " * 300, ("x " * 100)[:200]),
    ],
)
def test_what_is_shown_of_an_explanation(said: Any, shown: str) -> None:
    assert explanation_in(said) == shown


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ("Token was issued too long ago to be used now", "clock"),
        ("Client authentication with signed JWT failed: Token is issued before it may be used", "clock"),
        ("Invalid client or Invalid client credentials", ""),
        ("unknown client", "client"),
    ],
)
def test_what_an_explanation_is_about(said: str, about: str) -> None:
    assert hint_of(said) == about


@pytest.mark.parametrize(
    ("granted", "wide"),
    [
        ("system/Practitioner.read system/Practitioner.write", ""),
        ("system/Practitioner.* system/PractitionerRole.cu", ""),
        ("openid system/Practitioner.rs", ""),
        ("system/*.read", "system/*.read"),
        ("system/*.* system/Practitioner.read", "system/*.*"),
        ("system/Patient.rs system/Practitioner.cruds", "system/Patient.rs system/Practitioner.cruds"),
        ("user/*.write patient/Patient.read", "user/*.write patient/Patient.read"),
    ],
)
def test_scopes_that_are_far_too_wide(granted: str, wide: str) -> None:
    assert " ".join(too_wide(NEEDED, tuple(granted.split()))) == wide


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (None, "scopes"),  # RFC 6749, 5.1: not said = as asked
        (" ".join(NEEDED), "scopes"),
        ("", "scopes-missing"),  # said: none
        ("system/Practitioner.read", "scopes-missing"),
        (" ".join([*NEEDED, "system/Patient.read"]), "scopes-too-wide"),
        ("system/*.cruds", "scopes-too-wide"),
    ],
)
def test_granted_scopes_in_mode_write(checks: Any, scope: str | None, code: str) -> None:
    assert [check.code for check in checks(scope=scope)] == ["token", code]
