"""The token endpoint: a row for each rule that it checks; and what a token opens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.test import TestResponse

from hl7bridge.sandbox import Client, Habits
from tests.sandbox.conftest import Desk, practitioner, read
from tests.sandboxes import ASSERTION_TYPE, ClientKeys, new_keys

TOKEN_URL = "http://localhost/oauth2/token"
NOW = 1_790_000_000
FORM = {"content_type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> ClientKeys:
    return new_keys(Path(tmp_path_factory.mktemp("keys")))


@pytest.fixture(scope="module")
def rsa_keys(tmp_path_factory: pytest.TempPathFactory) -> ClientKeys:
    return new_keys(Path(tmp_path_factory.mktemp("keys")), algorithm="RS384")


@pytest.fixture
def desk(open_desk: Callable[..., Desk], keys: ClientKeys) -> Desk:
    return open_desk(auth=True, clients=(Client("hl7bridge", keys.jwks),))


def claims(**other: Any) -> dict[str, Any]:
    times = {"iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 240}
    return times | other


def ask(desk: Desk, assertion: str, **fields: str) -> TestResponse:
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    } | fields
    return desk.call("POST", "/oauth2/token", urlencode(form), **FORM)


def test_a_good_assertion_gets_a_token(desk: Desk, keys: ClientKeys) -> None:
    answer = ask(desk, keys.assertion(TOKEN_URL, **claims()), scope="system/Practitioner.rs system/Patient.rs")
    given = read(answer)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert given.pop("access_token").count(".") == 0
    assert given == {"token_type": "bearer", "expires_in": 300, "scope": "system/Practitioner.rs"}
    assert desk.entries()[-1]["client"] == "hl7bridge"


def test_rs384_is_good_too(open_desk: Callable[..., Desk], rsa_keys: ClientKeys) -> None:
    desk = open_desk(auth=True, clients=(Client("hl7bridge", json.loads(rsa_keys.jwks.read_text())),))
    assert ask(desk, rsa_keys.assertion(TOKEN_URL, **claims())).status_code == 200


@pytest.mark.parametrize(
    ("changed", "headers", "reason"),
    [
        ({"aud": "http://localhost/fhir"}, {}, "aud"),
        ({"aud": None}, {}, "aud"),
        ({"aud": ["https://elsewhere.example/token"]}, {}, "aud"),
        ({"exp": NOW}, {}, "exp is past"),
        ({"exp": NOW + 301}, {}, "exp is more than five minutes ahead"),
        ({"exp": None}, {}, "exp is missing"),
        ({"exp": "soon"}, {}, "exp is not a number"),
        ({"exp": True}, {}, "exp is not a number"),
        ({"iat": NOW + 5}, {}, "iat is in the future"),
        ({"nbf": NOW + 5}, {}, "nbf is in the future"),
        ({"iat": NOW - 61}, {}, "exp is more than five minutes after iat"),
        ({"nbf": NOW - 61}, {}, "exp is more than five minutes after nbf"),
        ({"iss": "someone"}, {}, "iss and sub"),
        ({"sub": "someone"}, {}, "iss and sub"),
        ({"iss": None, "sub": None}, {}, "iss and sub"),
        ({"iss": 7, "sub": 7}, {}, "iss and sub"),
        ({"iss": "someone", "sub": "someone"}, {}, "registered client"),
        ({"jti": None}, {}, "jti"),
        ({"jti": ""}, {}, "jti"),
        ({"jti": "j" * 152}, {}, "jti"),
        ({}, {"kid": "other"}, "kid"),
        ({}, {"kid": None}, "kid"),
        ({}, {"typ": "at+jwt"}, "typ"),
        ({}, {"jku": "https://elsewhere.example/jwks.json"}, "jku"),
    ],
)
def test_an_assertion_that_breaks_a_rule(
    desk: Desk, keys: ClientKeys, changed: dict[str, Any], headers: dict[str, Any], reason: str
) -> None:
    # PyJWT refuses to write some of these; put the parts together by hand.
    body = {"iss": "hl7bridge", "sub": "hl7bridge", "aud": TOKEN_URL, "jti": "j1"} | claims() | changed
    head = {"alg": "ES384", "kid": keys.kid} | headers
    assertion = signed(
        {name: value for name, value in head.items() if value is not None},
        {name: value for name, value in body.items() if value is not None},
        keys,
    )
    answer = ask(desk, assertion)
    assert (answer.status_code, read(answer)["error"]) == (401, "invalid_client")
    assert reason in read(answer)["error_description"]
    assert desk.entries()[-1]["error"] == "invalid_client"


def signed(header: dict[str, Any], body: dict[str, Any], keys: ClientKeys) -> str:
    parts = b".".join(jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, body))
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384)
    signature = algorithm.sign(parts, algorithm.prepare_key(keys.private_pem.read_bytes()))
    return (parts + b"." + jwt.utils.base64url_encode(signature)).decode()


def test_the_least_that_is_good_is_good(desk: Desk, keys: ClientKeys) -> None:
    body = {"iss": "hl7bridge", "sub": "hl7bridge", "aud": [TOKEN_URL], "jti": "j" * 151, "exp": NOW + 300}
    assert ask(desk, signed({"alg": "ES384", "kid": keys.kid}, body, keys)).status_code == 200


@pytest.mark.parametrize("algorithm", ["none", "HS384", "ES256", "RS256", "RS384"])
def test_other_algorithms_are_refused(desk: Desk, keys: ClientKeys, rsa_keys: ClientKeys, algorithm: str) -> None:
    body = {"iss": "hl7bridge", "sub": "hl7bridge", "aud": TOKEN_URL, "jti": "j1"} | claims()
    secret: Any = {
        "none": None,
        "HS384": "k" * 64,
        "ES256": ec.generate_private_key(ec.SECP256R1()),
    }.get(algorithm, rsa_keys.private_pem.read_bytes())
    answer = ask(desk, jwt.encode(body, secret, algorithm, {"kid": keys.kid}))
    assert (answer.status_code, read(answer)["error_description"].split()[0]) == (401, "alg")


def test_the_signature_must_be_that_of_the_registered_key(desk: Desk, keys: ClientKeys, tmp_path: Path) -> None:
    other = new_keys(tmp_path)
    forged = other.assertion(TOKEN_URL, headers={"kid": keys.kid}, **claims())
    assert "signature" in read(ask(desk, forged))["error_description"]
    for broken in ("", "x", "a.b.c", keys.assertion(TOKEN_URL, **claims())[:-20]):
        answer = ask(desk, broken)
        assert answer.status_code == (401 if broken else 400)


def test_a_used_jti_is_refused_until_the_assertion_ends(desk: Desk, keys: ClientKeys) -> None:
    assertion = keys.assertion(TOKEN_URL, **claims(jti="once"))
    assert ask(desk, assertion).status_code == 200
    assert "jti was used" in read(ask(desk, assertion))["error_description"]
    assert ask(desk, keys.assertion(TOKEN_URL, **claims(jti="twice"))).status_code == 200
    desk.clock.now += 241
    later = claims(jti="once", iat=NOW + 240, nbf=NOW + 240, exp=NOW + 480)
    assert ask(desk, keys.assertion(TOKEN_URL, **later)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "urn:x"}, "invalid_request"),
        ({"client_assertion": ""}, "invalid_request"),
        ({"scope": "system/Patient.rs"}, "invalid_scope"),
        ({"client_id": "someone"}, "invalid_client"),
    ],
)
def test_a_form_that_breaks_a_rule(desk: Desk, keys: ClientKeys, fields: dict[str, str], error: str) -> None:
    answer = ask(desk, keys.assertion(TOKEN_URL, **claims()), **fields)
    assert (answer.status_code, read(answer)["error"]) == (401 if error == "invalid_client" else 400, error)
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_key_set_is_read_at_each_request(open_desk: Callable[..., Desk], keys: ClientKeys, tmp_path: Path) -> None:
    registered = tmp_path / "jwks.json"
    registered.write_text('{"keys": []}')
    desk = open_desk(auth=True, clients=(Client("hl7bridge", registered),))
    assert "kid" in read(ask(desk, keys.assertion(TOKEN_URL, **claims())))["error_description"]
    registered.write_text(keys.jwks.read_text())
    assert ask(desk, keys.assertion(TOKEN_URL, **claims())).status_code == 200
    one = json.loads(keys.jwks.read_text())["keys"][0]
    registered.write_text(json.dumps({"keys": [one, one]}))
    assert "kid" in read(ask(desk, keys.assertion(TOKEN_URL, **claims())))["error_description"]
    registered.write_text("no JSON")
    answer = ask(desk, keys.assertion(TOKEN_URL, **claims()))
    assert (answer.status_code, read(answer)["error"]) == (500, "server_error")


def test_epic_gives_no_reasons(open_desk: Callable[..., Desk], keys: ClientKeys) -> None:
    habits = Habits(explains_token_errors=False)
    desk = open_desk(auth=True, clients=(Client("hl7bridge", keys.jwks),), habits=habits)
    assert read(ask(desk, keys.assertion("https://elsewhere.example"))) == {
        "error": "invalid_client",
        "error_description": None,
    }
    assert "iss" not in desk.entries()[-1]["reason"]


def test_another_audience_or_a_wrong_clock(open_desk: Callable[..., Desk], keys: ClientKeys) -> None:
    proxied = "https://ehr.example/oauth2/token"
    desk = open_desk(auth=True, clients=(Client("hl7bridge", keys.jwks),), audience=proxied)
    assert ask(desk, keys.assertion(TOKEN_URL, **claims())).status_code == 401
    assert ask(desk, keys.assertion(proxied, **claims())).status_code == 200
    desk.sandbox.habits = Habits(clock_offset=-600.0)
    answer = ask(desk, keys.assertion(proxied, **claims()))
    assert "ahead" in read(answer)["error_description"]
    assert answer.headers["Date"] == "Mon, 21 Sep 2026 14:03:20 GMT"


# --- what a token opens ----------------------------------------------------------------------------------------------


def token(desk: Desk, keys: ClientKeys, scope: str = "") -> str:
    fields = {"scope": scope} if scope else {}
    return f"Bearer {read(ask(desk, keys.assertion(TOKEN_URL, **claims()), **fields))['access_token']}"


def test_without_a_token_there_is_nothing_but_the_descriptions(desk: Desk) -> None:
    assert desk.call("GET", "metadata").status_code == 200
    configuration = read(desk.call("GET", ".well-known/smart-configuration"))
    assert configuration["token_endpoint"] == TOKEN_URL
    assert configuration["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    for path in ("Practitioner", "Practitioner/1", "Patient/1"):
        answer = desk.call("GET", path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="sandbox"')
    for header in ("Bearer nonsense", "Bearer", "Basic aGk6aG8="):
        answer = desk.call("GET", "Practitioner", authorization=header)
        assert answer.status_code == 401
        assert ("invalid_token" in answer.headers["WWW-Authenticate"]) == (header == "Bearer nonsense")


def test_a_token_ends(desk: Desk, keys: ClientKeys) -> None:
    desk.sandbox.habits = Habits(expires_in=20)
    bearer = token(desk, keys)
    assert desk.call("GET", "Practitioner", authorization=bearer).status_code == 200
    desk.clock.now += 20
    answer = desk.call("GET", "Practitioner", authorization=bearer)
    assert (answer.status_code, "invalid_token" in answer.headers["WWW-Authenticate"]) == (401, True)


def test_revoked_tokens_are_refused(desk: Desk, keys: ClientKeys) -> None:
    bearer = token(desk, keys)
    assert desk.sandbox.authorization.revoke() == 1
    assert desk.call("GET", "Practitioner", authorization=bearer).status_code == 401


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("system/Practitioner.read", "read search"),
        ("system/Practitioner.write", "create update"),
        ("system/Practitioner.*", "create read search update"),
        ("system/Practitioner.cu", "create update"),
        ("system/Practitioner.r", "read"),
        ("system/Practitioner.s", "search"),
        ("system/PractitionerRole.cruds", ""),
        ("system/*.rs", "read search"),
    ],
)
def test_scopes_are_enforced(desk: Desk, keys: ClientKeys, scope: str, allowed: str) -> None:
    bearer = token(desk, keys, scope)
    made = desk.create(practitioner("S1"), x_sandbox_observer="true")
    statuses = {
        "create": desk.call("POST", "Practitioner", practitioner("S2"), authorization=bearer),
        "read": desk.call("GET", "Practitioner/1000", authorization=bearer),
        "search": desk.call("GET", "Practitioner?identifier=S1", authorization=bearer),
        "update": desk.call("PUT", "Practitioner/1000", made, authorization=bearer),
    }
    assert " ".join(name for name, answer in statuses.items() if answer.status_code < 300) == allowed
    for answer in statuses.values():
        if answer.status_code >= 300:
            assert answer.status_code == 403
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
            assert read(answer)["issue"][0]["code"] == "forbidden"


def test_nothing_secret_stands_in_the_journal(desk: Desk, keys: ClientKeys) -> None:
    assertion = keys.assertion(TOKEN_URL, **claims())
    bearer = f"Bearer {read(ask(desk, assertion))['access_token']}"
    desk.call("GET", "Practitioner?identifier=S-canary", authorization=bearer)
    text = json.dumps(desk.entries())
    for secret in (assertion, bearer.split()[1], "S-canary"):
        assert secret not in text
