"""The way to a server through a forward proxy: what the proxy learns, what it refuses, what `doctor` says of it."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hl7bridge.destinations import keys
from hl7bridge.destinations.examining import State
from hl7bridge.destinations.fhir.examine.reach import reach
from hl7bridge.destinations.fhir.rules import DestinationRules, SmartRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.network import pin_of
from hl7bridge.destinations.fhir.wire.replies import ReplyKind
from hl7bridge.destinations.fhir.wire.smart_auth import TokenSource
from hl7bridge.errors import ConfigError, TokenError
from tests.destinations.fhir.test_client import over_tls


class ForwardProxy:
    """Connects whoever asks by CONNECT, or answers with `refusal`. `asked`: the request lines; `seen`: all bytes."""

    def __init__(self, refusal: int = 0, asks_for: tuple[str, str] | None = None) -> None:
        self.asks_for = asks_for
        self.refusal, self.asked, self.seen = refusal, list[str](), bytearray()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):  # wakes the thread that accepts, where closing does not
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(connection,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.seen += head
        line = head.split(b"\r\n")[0].decode()
        self.asked.append(line)
        own = base64.b64encode(":".join(self.asks_for or ()).encode())
        refusal = 407 if self.asks_for and b"roxy-Authorization: Basic " + own not in head else self.refusal
        if refusal:
            client.sendall(f"HTTP/1.1 {refusal} No\r\nContent-Length: 0\r\n\r\n".encode())
            client.close()
            return
        port = line.split()[1].rpartition(":")[2]
        server = socket.create_connection(("127.0.0.1", int(port)))  # whatever its name: a name server is not asked
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
        back.start()
        self._pass_on(client, server)
        back.join()
        client.close()
        server.close()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while part := one.recv(65536):
                self.seen += part
                other.sendall(part)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side has gone


@contextmanager
def forward_proxy(refusal: int = 0, asks_for: tuple[str, str] | None = None) -> Iterator[ForwardProxy]:
    proxy = ForwardProxy(refusal, asks_for)
    try:
        yield proxy
    finally:
        proxy.close()


def rules(base_url: str, ca_file: str, proxy: str) -> DestinationRules:
    return DestinationRules("ehr", base_url, timeout=5.0, ca_file=ca_file, proxy=proxy)


def test_a_proxy_learns_host_and_port_alone(tmp_path: Path) -> None:
    with over_tls(tmp_path) as (base_url, ca_file), forward_proxy() as proxy:
        client = FhirClient(rules(base_url, ca_file, proxy.url))
        assert client.read("Practitioner", "p1").done
        client.close()
        port = base_url.rpartition(":")[2].partition("/")[0]
        assert proxy.asked == [f"CONNECT localhost:{port} HTTP/1.1"]
        assert b"Practitioner" not in proxy.seen
        assert len(proxy.seen) > 1000


def test_the_token_endpoint_is_reached_through_it_too(tmp_path: Path) -> None:
    with over_tls(tmp_path) as (base_url, ca_file), forward_proxy() as proxy:
        smart = SmartRules(base_url, "bridge-1", token_url=f"{base_url}/token", ca_file=ca_file, proxy=proxy.url)
        source = TokenSource(smart, keys.generate())
        with pytest.raises(TokenError, match="without a usable token"):  # it answers like a FHIR server
            source.token()
        source.close()
        assert [line.split()[0] for line in proxy.asked] == ["CONNECT"]


def test_what_the_environment_says_of_proxies_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with over_tls(tmp_path) as (base_url, ca_file), forward_proxy() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        client = FhirClient(rules(base_url, ca_file, ""))
        assert client.read("Practitioner", "p1").done
        client.close()
        assert proxy.asked == []


@pytest.mark.parametrize("refusal", [403, 407, 502])
def test_a_proxy_that_lets_nobody_through(tmp_path: Path, refusal: int) -> None:
    with over_tls(tmp_path) as (base_url, ca_file), forward_proxy(refusal) as proxy:
        client = FhirClient(rules(base_url, ca_file, proxy.url))
        reply = client.create("Practitioner", {"resourceType": "Practitioner"})
        client.close()
        assert (reply.kind, reply.detail) == (ReplyKind.UNREACHABLE, "unreachable")  # it never left: no ambiguity
        *before, last = reach(rules(base_url, ca_file, proxy.url), datetime.now(UTC))
        assert [check.code for check in before] == ["address", "through-proxy"]
        assert (last.state, last.code, last.facts["status"]) == (State.PROBLEM, "no-tunnel", refusal)


def test_the_certificate_is_looked_at_through_it(tmp_path: Path) -> None:
    with over_tls(tmp_path, (-1, 90)) as (base_url, ca_file), forward_proxy() as proxy:
        checks = [*reach(rules(base_url, ca_file, proxy.url), datetime.now(UTC))]
        assert [check.code for check in checks] == ["address", "through-proxy", "tls"]
        assert checks[1].facts["port"] == int(proxy.url.rpartition(":")[2])
        untrusted = [*reach(rules(base_url, "", proxy.url), datetime.now(UTC))][-1]
        assert (untrusted.code, untrusted.facts["names"]) == ("untrusted", "localhost")


# --- who we are, and who the server is -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_asks_for_our_certificate(tmp_path: Path, version: ssl.TLSVersion) -> None:
    with over_tls(tmp_path, mutual=True, minimum_version=version, maximum_version=version) as (base_url, ca_file):
        own = {"client_certificate": ca_file, "client_key": str(tmp_path / "key.pem")}
        for given, done in ((own, True), ({}, False)):
            client = FhirClient(replace(rules(base_url, ca_file, ""), **given))
            reply = client.read("Practitioner", "p1")
            client.close()
            assert reply.done == done
        assert [*reach(replace(rules(base_url, ca_file, ""), **own), datetime.now(UTC))][-1].state is not State.PROBLEM


@pytest.mark.parametrize("broken", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_our_certificate_without_its_key(tmp_path: Path, broken: str) -> None:
    with over_tls(tmp_path) as (base_url, ca_file):
        (tmp_path / "broken.pem").write_text(broken)
        given = replace(
            rules(base_url, ca_file, ""), client_certificate=ca_file, client_key=str(tmp_path / "broken.pem")
        )
        with pytest.raises(ConfigError) as raised:
            FhirClient(given)
    assert raised.value.key == "client_key"


def test_a_server_has_one_of_the_pinned_keys(tmp_path: Path) -> None:
    with over_tls(tmp_path) as (base_url, ca_file), forward_proxy() as proxy:
        pem = x509.load_pem_x509_certificate(Path(ca_file).read_bytes())
        present, other = pin_of(pem.public_bytes(serialization.Encoding.DER)), "sha256//" + "A" * 43 + "="
        for way in ("", proxy.url):
            for pins, kind in (
                ((other, present), ReplyKind.DONE),
                ((other, "sha256//" + "B" * 43 + "="), ReplyKind.UNREACHABLE),
            ):
                pinned = replace(rules(base_url, ca_file, way), pins=pins)
                client = FhirClient(pinned)
                reply = client.create("Practitioner", {"resourceType": "Practitioner"})
                client.close()
                assert (reply.kind, reply.detail) == (kind, "" if kind is ReplyKind.DONE else "tls")
        last = [*reach(pinned, datetime.now(UTC))][-1]
        assert (last.state, last.code, last.facts["pin"]) == (State.PROBLEM, "other-key", present)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("fhir.example.org", "FHIR.Example.org"),
        ("xn--krnten-bua.example", "k\u00e4rnten.example"),
        ("xn--krnten-bua.example", "xn--krnten-bua.example"),
    ],
)
def test_keys_are_pinned_however_the_name_of_the_server_is_written(tmp_path: Path, name: str, written: str) -> None:
    with over_tls(tmp_path, host=name) as (base_url, ca_file), forward_proxy() as proxy:
        way = rules(base_url.replace(name, written), ca_file, proxy.url)
        for pins, kind in (((), ReplyKind.DONE), (("sha256//" + "A" * 43 + "=",), ReplyKind.UNREACHABLE)):
            client = FhirClient(replace(way, pins=pins))
            assert client.read("Practitioner", "p1").kind is kind
            client.close()


def test_a_proxy_that_asks_who_we_are(tmp_path: Path) -> None:
    with over_tls(tmp_path) as (base_url, ca_file), forward_proxy(asks_for=("bridge", "CANARY:ü")) as proxy:
        for credentials, done in (
            (lambda: ("bridge", "CANARY:ü"), True),
            (lambda: ("bridge", "CANARY:other"), False),
            (None, False),
        ):
            way = replace(rules(base_url, ca_file, proxy.url), proxy_credentials=credentials)
            client = FhirClient(way)
            assert client.read("Practitioner", "p1").done == done
            client.close()
            assert ([*reach(way, datetime.now(UTC))][-1].state is not State.PROBLEM) == done
            assert "CANARY" not in repr(way)


def test_a_proxy_that_is_not_there(tmp_path: Path) -> None:
    with over_tls(tmp_path) as (base_url, ca_file):
        with forward_proxy() as proxy:
            gone = proxy.url
        client = FhirClient(rules(base_url, ca_file, gone))
        assert client.read("Practitioner", "p1").kind is ReplyKind.UNREACHABLE
        client.close()
        last = [*reach(rules(base_url, ca_file, gone), datetime.now(UTC))][-1]
        assert (last.subject, last.code) == ("connection", "refused")
