"""The FHIR client against servers that lie, loop, flood, stall and point elsewhere: over real sockets where these matter."""

from __future__ import annotations

import datetime
import gzip
import logging
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hl7bridge.destinations.budget import TokenBucket
from hl7bridge.destinations.fhir.wire.client import FhirClient, query, token
from hl7bridge.destinations.fhir.wire.gate import Gate, GateRefused
from hl7bridge.destinations.fhir.wire.network import tls_context
from hl7bridge.destinations.fhir.wire.replies import ReplyKind
from hl7bridge.model import JsonObject, Number, write_json
from tests.destinations.fhir.people import NOW, rules
from tests.destinations.fhir.server import BASE, Answer, Asked, FakeFhir, LostReply, fhir, problem, served

PERSON = {"resourceType": "Practitioner", "id": "p1", "meta": {"versionId": "3"}}


def packed(encoding: str, body: bytes) -> Answer:
    return Answer(200, {"content-type": "application/fhir+json", "content-encoding": encoding}, body)


def answering(answer: Callable[[Asked], Answer | None], **rule: Any) -> FhirClient:
    server = FakeFhir()
    server.faults.append(answer)
    return FhirClient(rules(**rule), transport=server.transport(), now=lambda: NOW)


@contextmanager
def over_sockets(answer: Callable[[Asked], Answer | None], **rule: Any) -> Iterator[FhirClient]:
    with served(answer) as address:
        client = FhirClient(rules(base_url=f"{address}/r4", **rule))
        try:
            yield client
        finally:
            client.close()


# --- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "value", "escaped"),
    [
        ("urn:x", "A1", "urn:x|A1"),
        ("", "A1", "A1"),
        ("urn:x", r"a\b,c|d$e", r"urn:x|a\\b\,c\|d\$e"),
        ("urn:a|b", "c", r"urn:a\|b|c"),
        ("urn:x", 'x|y,"z"\r\nEvil: 1', 'urn:x|x\\|y\\,"z"\r\nEvil: 1'),
    ],
)
def test_tokens_are_escaped_then_percent_encoded(system: str, value: str, escaped: str) -> None:
    assert token(system, value) == escaped
    encoded = query([("identifier", escaped)])
    assert encoded.startswith("identifier=")
    assert set('\r\n "|,$\\').isdisjoint(encoded)


def test_a_search_arrives_as_it_was_meant() -> None:
    server = FakeFhir()
    evil = 'x|y,"z"\r\nX-Evil: 1&_id=2#'
    with served(server.answer) as address:
        server.base = f"{address}/r4"
        client = FhirClient(rules(base_url=server.base))
        asked = f"{token('urn:x', evil)},{token('urn:x', 'b')}"
        assert client.search("Practitioner", [("identifier", asked)]).done
        assert client.create(
            "Practitioner", {"resourceType": "Practitioner"}, if_none_exist=[("identifier", asked)]
        ).done
        client.close()
    assert server.journal[0].query == {"identifier": asked}
    assert "x-evil" not in server.journal[0].headers
    assert server.journal[1].headers["if-none-exist"] == query([("identifier", asked)])
    assert server.journal[1].headers["prefer"] == "return=representation"
    assert server.journal[1].headers["content-type"] == "application/fhir+json"
    assert server.journal[1].headers["accept"] == "application/fhir+json"


def test_a_search_by_post_keeps_identifiers_out_of_the_url() -> None:
    server = FakeFhir()
    server.put({"resourceType": "Practitioner", "identifier": [{"system": "urn:x", "value": "A1"}]})
    client = FhirClient(rules(search_method="post"), transport=server.transport())
    assert len(client.search("Practitioner", [("identifier", token("urn:x", "A1"))]).resources) == 1
    assert server.journal[0].target.endswith("/Practitioner/_search")


def test_numbers_keep_their_text_both_ways() -> None:
    server = FakeFhir()
    fte = {"url": "http://example.org/fte", "valueDecimal": Number("1.10")}
    server.put({**PERSON, "extension": [fte]})
    client = FhirClient(rules(), transport=server.transport())
    read = client.read("Practitioner", "p1").resource
    assert read is not None
    assert client.update("Practitioner", "p1", {**read, "active": False}, seen=read, version="1").done
    assert b'"valueDecimal":1.10}' in server.writes()[0].body


def test_an_update_that_would_lose_an_element_is_not_sent() -> None:
    """The shape of the source's own sample: id and active alone (S36)."""
    server = FakeFhir()
    server.put({**PERSON, "name": [{"family": "Okonkwo"}]})
    client = FhirClient(rules(), transport=server.transport())
    seen = client.read("Practitioner", "p1").resource
    assert seen is not None
    bare = {"resourceType": "Practitioner", "id": "p1", "active": False}
    reply = client.update("Practitioner", "p1", bare, seen=seen)
    assert (reply.kind, reply.detail) == (ReplyKind.PERMANENT, "would-drop-elements")
    assert client.update("Practitioner", "p1", bare, seen=seen, dropped=frozenset({"name", "meta"})).done
    assert len(server.writes()) == 1


@pytest.mark.parametrize(
    ("resource_id", "body"),
    [
        ("p1", {**PERSON, "id": "p2"}),
        ("p1", {**PERSON, "resourceType": "Patient"}),
        ("../Patient/1", {**PERSON, "id": "../Patient/1"}),
        ("p1", {**PERSON, "name": [{"family": "\ud800"}]}),
    ],
)
def test_updates_that_cannot_be_sent(resource_id: str, body: JsonObject) -> None:
    server = FakeFhir()
    client = FhirClient(rules(), transport=server.transport())
    assert client.update("Practitioner", resource_id, body, seen={}).detail == "not-sendable"
    assert server.journal == []


def test_a_create_has_no_id() -> None:
    server = FakeFhir()
    client = FhirClient(rules(), transport=server.transport())
    assert client.create("Practitioner", PERSON).detail == "not-sendable"
    assert client.create("PractitionerRole", {"resourceType": "Practitioner"}).detail == "not-sendable"
    assert server.journal == []


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", f"{BASE}/Patient/1"),
        ("GET", f"{BASE}/Practitioner/../Patient/1"),
        ("GET", f"{BASE}/Practitioner/%2e%2e/Patient"),
        ("GET", f"{BASE}x/Practitioner/1"),
        ("GET", "https://fhir.example.org/Practitioner/1"),
        ("GET", "https://evil.example/r4/Practitioner/1"),
        ("GET", "http://fhir.example.org/r4/Practitioner/1"),
        ("GET", "https://fhir.example.org:8443/r4/Practitioner/1"),
        ("DELETE", f"{BASE}/Practitioner/1"),
        ("PATCH", f"{BASE}/Practitioner/1"),
        ("PUT", f"{BASE}/Practitioner"),
        ("PUT", f"{BASE}/Practitioner?identifier=x"),
        ("PUT", f"{BASE}/Organization/1"),
        ("POST", BASE),
        ("POST", f"{BASE}/"),
        ("POST", f"{BASE}/Practitioner/1/$everything"),
        ("POST", f"{BASE}/Patient"),
        ("POST", f"{BASE}/Patient/_search"),
    ],
)
def test_what_never_leaves(method: str, url: str) -> None:
    sent: list[httpx.Request] = []
    inner = httpx.MockTransport(lambda request: sent.append(request) or httpx.Response(200))  # type: ignore[func-returns-value]
    bucket = TokenBucket(0, lambda: 0.0, lambda _: None)
    gate = Gate(inner, httpx.URL(BASE), max_response=1000, deadline=1, bucket=bucket, clock=lambda: 0.0)
    with pytest.raises(GateRefused):
        gate.handle_request(httpx.Request(method, url))
    assert sent == []


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (fhir(PERSON), ReplyKind.DONE, ""),
        (Answer(200, {"content-type": "text/html"}, b"<html>Sign in</html>"), ReplyKind.TRANSIENT, "not-fhir"),
        (
            Answer(200, {"content-type": "application/fhir+xml"}, b"<!DOCTYPE x><Practitioner/>"),
            ReplyKind.TRANSIENT,
            "not-fhir",
        ),
        (Answer(200, {"content-type": "application/fhir+json"}, b"{"), ReplyKind.TRANSIENT, "not-fhir"),
        (Answer(200, {"content-type": "application/fhir+json"}, b"[" * 200_000), ReplyKind.TRANSIENT, "not-fhir"),
        (Answer(200, {"content-type": "application/fhir+json"}, b'"x"'), ReplyKind.TRANSIENT, "not-fhir"),
        (Answer(200, {"content-type": "application/fhir+json"}, b""), ReplyKind.TRANSIENT, "not-fhir"),
        (
            Answer(
                200,
                {"content-type": "application/json"},
                b'{"resourceType":"Practitioner","id":"p1","a":"\\u0000number0\\u0000"}',
            ),
            ReplyKind.TRANSIENT,
            "not-fhir",
        ),
        (
            Answer(200, {"content-type": "application/json"}, b'{"resourceType":"Practitioner","id":"p1","a":\xff}'),
            ReplyKind.TRANSIENT,
            "not-fhir",
        ),
        (fhir({**PERSON, "resourceType": "Patient"}), ReplyKind.TRANSIENT, "not-fhir"),
        (fhir({**PERSON, "name": "x"}), ReplyKind.TRANSIENT, "not-fhir"),
        (fhir({**PERSON, "id": "p2"}), ReplyKind.PERMANENT, "another-resource"),
        (problem(200, "throttled"), ReplyKind.TRANSIENT, "error-in-success"),
        (problem(200, "invariant"), ReplyKind.PERMANENT, "error-in-success"),
        (problem(200, "processing", "warning"), ReplyKind.TRANSIENT, "not-fhir"),
        (problem(404, "not-found"), ReplyKind.NOT_FOUND, ""),
        (problem(410, "deleted"), ReplyKind.GONE, ""),
        (Answer(301, {"location": "https://evil.example/Practitioner/p1"}), ReplyKind.REDIRECT, ""),
        (Answer(302, {"location": "http://[broken"}), ReplyKind.REDIRECT, ""),
        (Answer(503, {"content-type": "text/html"}, b"<html>Maintenance</html>"), ReplyKind.TRANSIENT, ""),
        (packed("gzip", gzip.compress(write_json(PERSON).encode())), ReplyKind.DONE, ""),
        (packed("X-GZip", gzip.compress(write_json(PERSON).encode())), ReplyKind.DONE, ""),
        (packed("deflate", zlib.compress(write_json(PERSON).encode())), ReplyKind.DONE, ""),
        (packed("identity", write_json(PERSON).encode()), ReplyKind.DONE, ""),
        (packed("gzip", gzip.compress(write_json(PERSON).encode())[:-9]), ReplyKind.PERMANENT, "encoded"),
        (packed("gzip", write_json(PERSON).encode()), ReplyKind.PERMANENT, "encoded"),
        (packed("br", b"\x0b\x02\x80"), ReplyKind.PERMANENT, "encoded"),
        (packed("gzip, gzip", gzip.compress(gzip.compress(b"{}"))), ReplyKind.PERMANENT, "encoded"),
        (packed("gzip", gzip.compress(b" " * (33 << 20))), ReplyKind.PERMANENT, "too-large"),
    ],
)
def test_reads(answer: Answer, kind: ReplyKind, detail: str) -> None:
    server = FakeFhir()
    server.faults.append(lambda asked: answer)
    reply = FhirClient(rules(), transport=server.transport()).read("Practitioner", "p1")
    assert (reply.kind, reply.detail) == (kind, detail)
    assert (reply.resource is not None) == (kind is ReplyKind.DONE)
    assert len(server.journal) == 1
    assert "CANARY" not in repr(reply)


def test_a_reply_shows_no_resource() -> None:
    reply = answering(lambda asked: fhir({**PERSON, "name": [{"family": "CANARY"}]}, etag='W/"7"')).read(
        "Practitioner", "p1"
    )
    assert reply.version == "7"
    assert "CANARY" not in repr(reply)


@pytest.mark.parametrize(
    ("answer", "kind", "location", "version", "has_resource"),
    [
        (
            fhir(PERSON, 201, etag='W/"1"', location=f"{BASE}/Practitioner/p1/_history/1"),
            ReplyKind.DONE,
            "p1",
            "1",
            True,
        ),
        (Answer(201, {"location": "https://inner/Practitioner/p1/_history/4"}), ReplyKind.DONE, "p1", "4", False),
        (Answer(201, {"location": "/Practitioner/p1", "etag": 'W/"0"'}), ReplyKind.DONE, "p1", "0", False),
        (
            Answer(201, {"location": "/Practitioner/p1", "content-type": "text/html"}, b"<p>Created</p>"),
            ReplyKind.DONE,
            "p1",
            "",
            False,
        ),
        (fhir({**PERSON, "resourceType": "Patient"}, 201), ReplyKind.DONE, "", "3", False),
        (problem(201, "informational", "information", location="/Practitioner/p1"), ReplyKind.DONE, "p1", "", False),
        (problem(200, "business-rule"), ReplyKind.PERMANENT, "", "", False),
        (problem(412, "multiple-matches"), ReplyKind.CONFLICT, "", "", False),
        (Answer(405), ReplyKind.DISABLED, "", "", False),
    ],
)
def test_creates(answer: Answer, kind: ReplyKind, location: str, version: str, has_resource: bool) -> None:
    reply = answering(lambda asked: answer).create("Practitioner", {"resourceType": "Practitioner"})
    assert (reply.kind, reply.location, reply.version) == (kind, location, version)
    assert (reply.resource is not None) == has_resource


def test_the_answer_to_an_update_is_about_that_very_resource() -> None:
    reply = answering(lambda asked: fhir({**PERSON, "id": "p2"})).update("Practitioner", "p1", PERSON, seen=PERSON)
    assert (reply.done, reply.resource) == (True, None)


def test_retry_after_is_read_where_it_means_something() -> None:
    reply = answering(lambda asked: problem(429, "throttled", retry_after="30")).read("Practitioner", "p1")
    assert (reply.kind, reply.retry_after) == (ReplyKind.TRANSIENT, 30.0)
    assert answering(lambda asked: problem(422, retry_after="30")).read("Practitioner", "p1").retry_after == 0


# --- on the wire -----------------------------------------------------------------------------------------------------


def test_an_answer_that_never_ends_is_cut_off() -> None:
    flood = Answer(200, {"content-type": "application/fhir+json", "content-length": str(1 << 40)}, b" " * 300_000)
    with over_sockets(lambda asked: flood, max_response=100_000) as client:
        read = client.read("Practitioner", "p1")
        assert (read.kind, read.detail) == (ReplyKind.PERMANENT, "too-large")
        written = client.create("Practitioner", {"resourceType": "Practitioner"})
        assert (written.kind, written.detail, written.resource) == (ReplyKind.DONE, "too-large", None)


def test_an_answer_that_drips_ends_with_our_patience() -> None:
    time = iter(range(0, 10_000, 7))
    drip = httpx.MockTransport(
        lambda request: httpx.Response(200, headers={"content-type": "application/json"}, stream=Drip())
    )
    client = FhirClient(rules(timeout=5), transport=drip, clock=lambda: float(next(time)))
    assert client.read("Practitioner", "p1").detail == "timeout"
    assert client.create("Practitioner", {"resourceType": "Practitioner"}).kind is ReplyKind.AMBIGUOUS


class Drip(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b" "


def test_a_lost_answer_is_ambiguous_for_a_write_and_passing_for_a_read() -> None:
    def lost(asked: Asked) -> Answer | None:
        raise LostReply

    with over_sockets(lost) as client:
        read = client.read("Practitioner", "p1")
        assert (read.kind, read.detail) == (ReplyKind.TRANSIENT, "connection-lost")
        for written in (
            client.create("Practitioner", {"resourceType": "Practitioner"}),
            client.update("Practitioner", "p1", PERSON, seen=PERSON),
        ):
            assert (written.kind, written.detail) == (ReplyKind.AMBIGUOUS, "connection-lost")
            assert [exchange.status for exchange in written.exchanges] == [0]


def test_silence_is_ambiguous_for_a_write() -> None:
    silent = threading.Event()

    def quiet(asked: Asked) -> None:
        silent.wait(5)

    with over_sockets(quiet, timeout=0.05) as client:
        assert client.create("Practitioner", {"resourceType": "Practitioner"}).kind is ReplyKind.AMBIGUOUS
        assert client.read("Practitioner", "p1").kind is ReplyKind.TRANSIENT
        silent.set()


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    client = FhirClient(rules(base_url=f"http://127.0.0.1:{port}"))
    reply = client.create("Practitioner", {"resourceType": "Practitioner"})
    assert (reply.kind, reply.detail) == (ReplyKind.UNREACHABLE, "unreachable")
    client.close()


def test_plain_http_where_tls_is_due() -> None:
    with served(lambda asked: fhir(PERSON)) as address:
        client = FhirClient(rules(base_url=address.replace("http://", "https://")))
        reply = client.create("Practitioner", {"resourceType": "Practitioner"})
        assert (reply.kind, reply.detail) == (ReplyKind.UNREACHABLE, "tls")
        client.close()


@contextmanager
def over_tls(
    tmp_path: Path, days: tuple[int, int] = (-1, 1), *, host: str = "localhost", mutual: bool = False, **versions: Any
) -> Iterator[tuple[str, str]]:
    """A TLS server on the loopback with a certificate of its own, good from and to those `days` from now; yields its base
    URL and the certificate's file. `host`: what it
    is called; `mutual`: it asks for that very certificate; key.pem beside it is its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * day)
        .not_valid_after(now + days[1] * day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    key_file, ca_file = tmp_path / "key.pem", tmp_path / "ca.pem"
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca_file)
    for option, version in versions.items():
        setattr(context, option, version)
    with served(lambda asked: fhir(PERSON), context) as address:
        yield address.replace("http://127.0.0.1", f"https://{host}"), str(ca_file)


def test_tls_with_a_certificate_of_the_house(tmp_path: Path) -> None:
    with over_tls(tmp_path) as (base_url, ca_file):
        trusting = FhirClient(rules(base_url=base_url, ca_file=ca_file))
        assert trusting.read("Practitioner", "p1").done
        trusting.close()
        system = FhirClient(rules(base_url=base_url))
        reply = system.create("Practitioner", {"resourceType": "Practitioner"})
        assert (reply.kind, reply.detail) == (ReplyKind.UNREACHABLE, "tls")
        system.close()
        by_number = FhirClient(rules(base_url=base_url.replace("localhost", "127.0.0.1"), ca_file=ca_file))
        assert by_number.read("Practitioner", "p1").detail == "tls"
        by_number.close()


def test_the_least_tls_version() -> None:
    for ca_file in ("", ssl.get_default_verify_paths().cafile or ""):
        assert (
            tls_context(rules(base_url="https://fhir.example.org", ca_file=ca_file)).minimum_version
            is ssl.TLSVersion.TLSv1_2
        )
    bare = tls_context(rules(base_url="http://127.0.0.1"))
    assert bare.verify_mode is ssl.CERT_REQUIRED


def test_nothing_of_a_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with over_sockets(lambda asked: fhir({"resourceType": "Bundle", "type": "searchset"})) as client:
        client.search("Practitioner", [("identifier", "CANARY")])
        client.create("Practitioner", {"resourceType": "Practitioner", "name": [{"family": "CANARY"}]})
    assert "CANARY" not in caplog.text
    assert "127.0.0.1" not in caplog.text


def test_connections_are_kept() -> None:
    server = FakeFhir()
    server.put(PERSON)
    ports: set[int] = set()
    with served(server.answer) as address:
        client = FhirClient(rules(base_url=f"{address}/r4"))
        pool = client._http._transport._inner._pool  # type: ignore[attr-defined]
        for _ in range(5):
            assert client.read("Practitioner", "p1").done
            ports.add(len(pool.connections))
        client.close()
    assert ports == {1}


def test_no_more_requests_at_a_time_than_agreed() -> None:
    under_way = 0
    most = 0
    lock = threading.Lock()
    gathered = threading.Barrier(3, timeout=5)

    def answer(asked: Asked) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        try:
            gathered.wait()
        finally:
            with lock:
                under_way -= 1
        return fhir(PERSON)

    with over_sockets(answer, in_flight=3) as client:
        threads = [threading.Thread(target=client.read, args=("Practitioner", "p1")) for _ in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 3


def test_requests_are_spaced_as_agreed() -> None:
    now = 100.0
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        waits.append(round(seconds, 6))
        now += seconds

    server = FakeFhir()
    server.put(PERSON)
    client = FhirClient(rules(requests_per_second=2.0), transport=server.transport(), clock=lambda: now, sleep=sleep)
    for _ in range(4):
        client.read("Practitioner", "p1")
    assert waits == [0.5, 0.5, 0.5]
    now += 60
    client.read("Practitioner", "p1")
    assert len(waits) == 3, "a rest is no credit, and no debt"
