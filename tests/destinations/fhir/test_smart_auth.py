"""SMART Backend Services: the assertion, the cache, and where the token never goes."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import pytest

from hl7bridge.destinations import keys
from hl7bridge.destinations.fhir.rules import SmartRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import ReplyKind
from hl7bridge.destinations.fhir.wire.smart_auth import BackendServicesAuth, Token, TokenSource, needed_scopes
from hl7bridge.errors import ConfigError, TokenError
from tests.destinations.fhir.people import rules
from tests.destinations.fhir.server import BASE, FakeFhir, fhir, problem

EC = keys.generate()
RSA = keys.generate("rsa", 2048)
TOKEN_URL = "https://fhir.example.org/oauth2/token"
EPOCH = 1_770_000_000


class Authorization:
    """An authorization server: verifies each assertion, and answers as it is told."""

    def __init__(self, key: keys.SigningKey = EC, *, audience: str = TOKEN_URL) -> None:
        self.key, self.audience = key, audience
        self.configuration: Any = {"token_endpoint": TOKEN_URL, "capabilities": ["permission-v1", "client-x"]}
        self.answer: Callable[[int], tuple[int, Any]] = lambda number: (200, self.granted(number))
        self.calls: list[dict[str, str]] = []
        self.claims: list[dict[str, Any]] = []
        self.discoveries = 0

    def granted(self, number: int, **more: Any) -> dict[str, Any]:
        return {"access_token": f"CANARY-TOKEN-{number}", "token_type": "Bearer", "expires_in": 3600, **more}

    def transport(self) -> httpx.MockTransport:
        def respond(request: httpx.Request) -> httpx.Response:
            assert "authorization" not in request.headers
            if request.url.path.endswith("/.well-known/smart-configuration"):
                self.discoveries += 1
                answer = self.configuration
                return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)
            form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
            header = jwt.get_unverified_header(form["client_assertion"])
            assert header == {"alg": self.key.algorithm, "typ": "JWT", "kid": header["kid"]}
            public = jwt.PyJWK(self.key.public_jwk())
            # Its times are of the test's clock, not of this machine's.
            claims = jwt.decode(
                form["client_assertion"], public.key, algorithms=[self.key.algorithm], audience=self.audience,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )  # fmt: skip
            self.calls.append({**form, "kid": header["kid"], "url": str(request.url)})
            self.claims.append(claims)
            status, body = self.answer(len(self.calls))
            return body if isinstance(body, httpx.Response) else httpx.Response(status, json=body)

        return httpx.MockTransport(respond)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def source(authorization: Authorization, clock: Clock | None = None, **more: Any) -> TokenSource:
    given = {"base_url": BASE, "client_id": "bridge-1", "token_url": TOKEN_URL, **more}
    return TokenSource(
        SmartRules(**given),
        authorization.key,
        transport=authorization.transport(),
        clock=clock or Clock(),
        now=lambda: EPOCH + 0.9,
    )


@pytest.mark.parametrize("key", [EC, RSA])
def test_the_assertion(key: keys.SigningKey) -> None:
    server = Authorization(key)
    token = source(server).token()
    assert token.access_token == "CANARY-TOKEN-1"
    form, claims = server.calls[0], server.claims[0]
    assert form["grant_type"] == "client_credentials"
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert form["kid"] == key.kid
    assert claims["iss"] == claims["sub"] == "bridge-1"
    assert claims["iat"] == claims["nbf"] == EPOCH - 10
    assert claims["exp"] == EPOCH + 240
    assert len(claims["jti"]) == 36


def test_a_key_that_was_replaced_signs_the_next_assertion() -> None:
    server = Authorization(EC)
    server.answer = lambda number: (200, server.granted(number, expires_in=0))
    kept: list[keys.SigningKey | ConfigError] = [EC, RSA, ConfigError("the file is empty")]
    asked = 0

    def read() -> keys.SigningKey:
        nonlocal asked
        asked += 1
        found = kept[asked - 1]
        if isinstance(found, ConfigError):
            raise found
        return found

    smart = SmartRules(BASE, "bridge-1", token_url=TOKEN_URL)
    tokens = TokenSource(smart, EC, kept=read, transport=server.transport(), clock=Clock(), now=lambda: EPOCH + 0.9)
    for key in (EC, RSA, RSA):  # the third time it is being replaced again: the last one is good until it is
        server.key = key
        tokens.token()
    assert [call["kid"] for call in server.calls] == [EC.kid, RSA.kid, RSA.kid]


def test_a_new_jti_for_each_request_an_own_audience_and_key_id() -> None:
    server = Authorization(audience="https://proxy.example.org/token")
    server.answer = lambda number: (200, server.granted(number, expires_in=0))
    tokens = source(server, audience=server.audience, key_id="registered-1")
    tokens.token()
    tokens.token()
    assert len({claims["jti"] for claims in server.claims}) == 2
    assert [call["kid"] for call in server.calls] == ["registered-1"] * 2


# --- scopes and discovery --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "capabilities", "expected"),
    [
        ("report", [], "system/Practitioner.read system/PractitionerRole.read"),
        ("report", ["permission-v1", "permission-v2"], "system/Practitioner.read system/PractitionerRole.read"),
        ("report", ["permission-v2"], "system/Practitioner.rs system/PractitionerRole.rs"),
        (
            "write",
            ["permission-v2"],
            "system/Practitioner.rs system/Practitioner.cu system/PractitionerRole.rs system/PractitionerRole.cu",
        ),
        (
            "write",
            [],
            "system/Practitioner.read system/Practitioner.write system/PractitionerRole.read system/PractitionerRole.write",
        ),
    ],
)
def test_scopes_follow_the_mode_and_the_servers_form(mode: str, capabilities: list[str], expected: str) -> None:
    server = Authorization()
    server.configuration = {"token_endpoint": TOKEN_URL, "capabilities": capabilities}
    tokens = source(server, token_url="", mode=mode)
    tokens.token()
    tokens.token()
    assert server.calls[0]["scope"] == expected
    assert " ".join(needed_scopes(mode, frozenset(capabilities))) == expected
    assert server.discoveries == 1


def test_a_report_destination_never_asks_to_write() -> None:
    for capabilities in (frozenset[str](), frozenset({"permission-v2"})):
        asked = " ".join(needed_scopes("report", capabilities))
        assert ".write" not in asked
        assert ".cu" not in asked
        assert "Patient" not in asked
        assert "user/" not in asked


def test_scopes_of_the_configuration_stand_and_are_compared_with_what_was_granted() -> None:
    server = Authorization()
    tokens = source(server, scopes=("system/Practitioner.read", "system/PractitionerRole.read"))
    tokens.token()
    assert server.discoveries == 0
    assert tokens.missing_scopes("system/Practitioner.read") == ("system/PractitionerRole.read",)
    assert tokens.missing_scopes(None) == ()
    assert tokens.missing_scopes("") == ("system/Practitioner.read", "system/PractitionerRole.read")


@pytest.mark.parametrize(
    ("endpoint", "hosts", "accepted"),
    [
        (TOKEN_URL, (), True),
        ("https://fhir.example.org:443/t", (), True),
        ("https://idp.example.org/t", ("idp.example.org",), True),
        ("https://idp.example.org:8443/t", ("idp.example.org:8443",), True),
        ("https://idp.example.org:8443/t", ("idp.example.org",), False),
        ("https://evil.example/t", ("idp.example.org",), False),
        ("http://fhir.example.org/t", (), False),
        ("http://127.0.0.1/t", ("127.0.0.1",), False),
        ("https://fhir.example.org@evil.example/t", (), False),
        ("/oauth2/token", (), False),
        ("", (), False),
        (None, (), False),
    ],
)
def test_a_token_endpoint_elsewhere_is_not_believed(endpoint: Any, hosts: tuple[str, ...], accepted: bool) -> None:
    server = Authorization(audience=str(endpoint))
    server.configuration = {"token_endpoint": endpoint}
    tokens = source(server, token_url="", token_hosts=frozenset(hosts))
    if accepted:
        tokens.token()
        assert server.calls[0]["url"].startswith("https://")
        return
    with pytest.raises(TokenError) as caught:
        tokens.token()
    assert caught.value.permanent
    assert server.calls == []


@pytest.mark.parametrize(
    ("answer", "permanent"),
    [
        (httpx.Response(404), True),
        (httpx.Response(302, headers={"location": "https://evil.example/"}), True),
        (httpx.Response(503), False),
        (httpx.Response(200, text="<html>"), True),
        (httpx.Response(200, json=["x"]), True),
    ],
)
def test_discovery_that_fails(answer: httpx.Response, permanent: bool) -> None:
    server = Authorization()
    server.configuration = answer
    with pytest.raises(TokenError) as caught:
        source(server, token_url="").token()
    assert caught.value.permanent is permanent


# --- answers of the token endpoint -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "permanent", "word"),
    [
        (400, {"error": "invalid_client"}, True, "invalid_client"),
        (400, {"error": "invalid_scope", "error_description": "CANARY"}, True, "invalid_scope"),
        (401, {"error": "CANARY"}, True, "401"),
        (403, {}, True, "403"),
        (302, {}, True, "302"),
        (408, {}, False, "408"),
        (429, {}, False, "429"),
        (500, {}, False, "500"),
        (200, {}, False, "usable"),
        (200, {"access_token": "a b", "token_type": "bearer"}, False, "usable"),
        (200, {"access_token": "a\r\nx: y", "token_type": "bearer"}, False, "usable"),
        (200, {"access_token": "ä", "token_type": "bearer"}, False, "usable"),
        (200, {"access_token": "abc", "token_type": "mac"}, True, "bearer"),
        (200, httpx.Response(200, text="CANARY <html>"), False, "usable"),
        (200, httpx.Response(200, content=b"[" * 100_000), False, "usable"),
        (200, httpx.Response(200, content=b" " * 2_000_000), False, "too much"),
    ],
)
def test_no_token(status: int, body: Any, permanent: bool, word: str) -> None:
    server = Authorization()
    server.answer = lambda number: (status, body)
    with pytest.raises(TokenError, match=word) as caught:
        source(server).token()
    assert caught.value.permanent is permanent
    told = "".join(traceback.format_exception(caught.value))
    assert "CANARY" not in told
    assert server.calls[0]["client_assertion"] not in told


def test_no_answer() -> None:
    for error in (httpx.ConnectError("CANARY"), httpx.ReadTimeout("CANARY")):

        def fail(request: httpx.Request, error: Exception = error) -> httpx.Response:
            raise error

        tokens = TokenSource(SmartRules(BASE, "bridge-1", token_url=TOKEN_URL), EC, transport=httpx.MockTransport(fail))
        with pytest.raises(TokenError) as caught:
            tokens.token()
        assert not caught.value.permanent
        assert "CANARY" not in "".join(traceback.format_exception(caught.value))


# --- the cache -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires_in", "good_until"),
    [
        (3600, 3240),
        (300, 240),
        (60, 30),
        (5, 2.5),
        ("300", 240),
        (None, 240),
        ("never", 240),
        (True, 0.5),
    ],
)
def test_a_token_is_renewed_early(expires_in: Any, good_until: float) -> None:
    server = Authorization()
    server.answer = lambda number: (200, server.granted(number, expires_in=expires_in))
    clock = Clock()
    tokens = source(server, clock)
    first = tokens.token()
    clock.seconds += good_until - 0.001
    assert tokens.token() is first
    clock.seconds += 0.002
    assert tokens.token().access_token == "CANARY-TOKEN-2"


def test_an_early_renewal_that_fails_does_no_harm_while_the_old_token_lasts() -> None:
    server = Authorization()
    server.answer = lambda number: (200, server.granted(1)) if number == 1 else (503, {})
    clock = Clock()
    tokens = source(server, clock)
    first = tokens.token()
    clock.seconds += 3599
    assert tokens.token() is first
    clock.seconds += 2
    with pytest.raises(TokenError):
        tokens.token()


def all_at_once(number: int, what: Callable[[], Any]) -> list[Any]:
    start = threading.Barrier(number)
    results: list[Any] = []

    def run() -> None:
        start.wait()
        try:
            results.append(what())
        except TokenError as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_fifty_callers_one_request() -> None:
    server = Authorization()
    everyone_waits = threading.Event()

    def answer(number: int) -> tuple[int, Any]:
        everyone_waits.wait(0.2)
        return 200, server.granted(number)

    server.answer = answer
    tokens = source(server)
    results = all_at_once(50, tokens.token)
    assert len(server.calls) == 1
    assert {token.access_token for token in results} == {"CANARY-TOKEN-1"}


def test_callers_that_wait_share_the_failure() -> None:
    server = Authorization()
    waiting = threading.Event()

    def answer(number: int) -> tuple[int, Any]:
        waiting.wait(0.3)
        return 400, {"error": "invalid_client"}

    server.answer = answer
    results = all_at_once(20, source(server).token)
    assert {str(error) for error in results} == {"the token endpoint answered HTTP 400, invalid_client"}
    assert len(server.calls) < 20


def test_a_refused_token_is_replaced_once() -> None:
    server = Authorization()
    tokens = source(server)
    first = tokens.token()
    second = tokens.token(refused=first)
    assert second is not first
    assert tokens.token(refused=first) is second
    assert tokens.token() is second
    assert len(server.calls) == 2


def test_a_token_that_was_refused_for_one_person_is_good_for_others_while_there_is_no_other() -> None:
    server = Authorization()
    tokens = source(server)
    first = tokens.token()
    server.answer = lambda number: (503, {})
    with pytest.raises(TokenError):
        tokens.token(refused=first)
    assert tokens.token() is first


# --- on requests -----------------------------------------------------------------------------------------------------


def client(server: FakeFhir, authorization: Authorization) -> FhirClient:
    return FhirClient(rules(), BackendServicesAuth(source(authorization)), transport=server.transport())


def test_every_request_carries_the_token() -> None:
    server = FakeFhir()
    server.put({"resourceType": "Practitioner", "id": "p1"})
    fhir_client = client(server, Authorization())
    assert fhir_client.read("Practitioner", "p1").done
    assert fhir_client.search("Practitioner", [("identifier", "a|b")]).done
    assert [asked.headers["authorization"] for asked in server.journal] == ["Bearer CANARY-TOKEN-1"] * 2


def test_401_drops_the_token_once() -> None:
    server = FakeFhir()
    server.put({"resourceType": "Practitioner", "id": "p1"})
    server.faults.append(lambda asked: problem(401, "login") if asked.headers["authorization"].endswith("-1") else None)
    authorization = Authorization()
    reply = client(server, authorization).read("Practitioner", "p1")
    assert reply.done
    assert [asked.headers["authorization"] for asked in server.journal] == [
        "Bearer CANARY-TOKEN-1",
        "Bearer CANARY-TOKEN-2",
    ]
    assert [exchange.status for exchange in reply.exchanges] == [401, 200]


def test_401_always_is_exactly_two_calls() -> None:
    server = FakeFhir()
    server.faults.append(lambda asked: problem(401, "login"))
    authorization = Authorization()
    reply = client(server, authorization).create("Practitioner", {"resourceType": "Practitioner"})
    assert (reply.kind, reply.status, reply.detail) == (ReplyKind.AUTH, 401, "")
    assert len(server.journal) == len(authorization.calls) == 2


def test_403_asks_for_no_new_token() -> None:
    server = FakeFhir()
    server.faults.append(lambda asked: problem(403, "forbidden"))
    authorization = Authorization()
    assert client(server, authorization).read("Practitioner", "p1").kind is ReplyKind.FORBIDDEN
    assert (len(server.journal), len(authorization.calls)) == (1, 1)


@pytest.mark.parametrize(("status", "detail"), [(400, "token-refused"), (503, "token-unavailable")])
def test_without_a_token_nothing_is_sent(status: int, detail: str) -> None:
    server, authorization = FakeFhir(), Authorization()
    authorization.answer = lambda number: (status, {})
    reply = client(server, authorization).create("Practitioner", {"resourceType": "Practitioner"})
    assert (reply.kind, reply.detail, server.journal) == (ReplyKind.AUTH, detail, [])


def test_the_capability_statement_is_asked_for_without_a_token() -> None:
    server, authorization = FakeFhir(), Authorization()
    server.faults.append(lambda asked: fhir({"resourceType": "CapabilityStatement"}))
    assert client(server, authorization).capabilities().done
    assert authorization.calls == []
    assert "authorization" not in server.journal[0].headers


def test_another_origin_gets_no_token() -> None:
    authorization = Authorization()
    auth = BackendServicesAuth(source(authorization))
    with pytest.raises(TokenError):
        next(auth.sync_auth_flow(httpx.Request("GET", "https://evil.example/r4/Practitioner/1")))
    assert authorization.calls == []


def test_the_token_is_in_no_representation() -> None:
    tokens = source(Authorization())
    token = tokens.token()
    assert isinstance(token, Token)
    for thing in (token, tokens, BackendServicesAuth(tokens), tokens.rules):
        assert "CANARY" not in repr(thing)
        assert "CANARY" not in str(thing)


def test_a_ca_file_that_holds_nothing(tmp_path: Any) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="no certificates"):
        TokenSource(SmartRules(BASE, "bridge-1", ca_file=str(path)), EC)
    with pytest.raises(ConfigError, match="no certificates"):
        FhirClient(rules(ca_file=str(path)))
