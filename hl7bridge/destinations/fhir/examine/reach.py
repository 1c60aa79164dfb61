"""Whether a server can be reached at all: its name, its port, its certificate; and the way to it that only reads."""

from __future__ import annotations

import base64
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from cryptography import x509

from hl7bridge.destinations.examining import State
from hl7bridge.destinations.fhir.rules import origin
from hl7bridge.destinations.fhir.wire.gate import GateRefused
from hl7bridge.destinations.fhir.wire.network import Way, is_pinned, pin_of, tls_context

ENDS_SOON = 30  # days


@dataclass(frozen=True, slots=True)
class Observed:
    """One thing that was looked at. `code` says what was found, `facts` the figures; no token, no key, no person.

    The words for people are made from the code (`words.diagnosis`).
    """

    subject: str
    state: State
    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Watching(httpx.BaseTransport):
    """Notes how far the server's clock is ahead of ours, and lets nothing out that could change anything there."""

    def __init__(self, inner: httpx.BaseTransport, now: Callable[[], float], token_requests: bool = False) -> None:
        self._inner, self._now, self._token_requests = inner, now, token_requests
        self.skew: float | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises `GateRefused` for what is no read."""
        harmless = request.method == "POST" and (self._token_requests or request.url.path.endswith("/_search"))
        if request.method != "GET" and not harmless:
            raise GateRefused("not-allowed")
        began = self._now()
        response = self._inner.handle_request(request)
        if "age" not in response.headers:  # else its Date is that of a cache's first copy
            try:
                there = parsedate_to_datetime(response.headers.get("date", ""))
            except (ValueError, TypeError, OverflowError):
                return response
            there = there if there.tzinfo else there.replace(tzinfo=UTC)
            self.skew = there.timestamp() + 0.5 - (began + self._now()) / 2  # Date has no fractions: half a second
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def reach(way: Way, now: datetime) -> Iterator[Observed]:
    """Name and port of the server, or of the proxy on the way to it, and the server's certificate; the first problem ends
    it. Raises ConfigError for certificates, keys or a proxy's password that cannot be read."""
    scheme = origin(way.base_url)[0]
    proxy, timeout = way.proxy, way.timeout
    _, host, port = origin(proxy or way.base_url)
    place = {"host": host, "port": port}
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        yield Observed("address", State.PROBLEM, "no-address", place)
        return
    addresses = sorted({str(entry[4][0]) for entry in found})
    yield Observed("address", State.OK, "address", place | {"addresses": addresses[:4]})
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError as error:
        code = "refused" if isinstance(error, ConnectionRefusedError) else "no-connection"
        yield Observed("connection", State.PROBLEM, code, place | {"seconds": timeout})
        return
    yield Observed("connection", State.OK, "through-proxy" if proxy else "connected", place)
    if scheme == "http":
        yield Observed("tls", State.OK, "plain-http", place)
    else:
        own = way.proxy_credentials() if proxy and way.proxy_credentials else None
        yield _tls(_Line(way.base_url, proxy, timeout, own), way, now)


def _tls(line: _Line, way: Way, now: datetime) -> Observed:
    facts: dict[str, Any] = {"host": line.host}
    try:
        version, der = _handshake(line, tls_context(way))
    except ssl.SSLCertVerificationError as error:
        return Observed("tls", State.PROBLEM, _WHY.get(error.verify_code, "untrusted"), _seen(facts, line))
    except _NoTunnel as refused:
        place = {"proxy": "{}:{}".format(*origin(line.proxy)[1:]), "status": refused.status}
        return Observed("tls", State.PROBLEM, "no-tunnel", facts | place)
    except ssl.SSLError:
        return Observed("tls", State.PROBLEM, "no-tls", facts)
    except OSError:
        return Observed("tls", State.PROBLEM, "tls-broken", facts)
    facts |= {"version": version, **_certificate(der)}
    if not is_pinned(der, way.pins):
        return Observed("tls", State.PROBLEM, "other-key", facts | {"pin": pin_of(der)})
    days = (datetime.fromisoformat(facts["ends"]).replace(tzinfo=UTC) - now).days if facts["ends"] else ENDS_SOON
    soon = days < ENDS_SOON
    return Observed("tls", State.WARNING if soon else State.OK, "ends-soon" if soon else "tls", facts | {"days": days})


# X.509 verification results of OpenSSL
_WHY = {9: "not-yet-valid", 10: "expired", 62: "other-name", 64: "other-name"}


@dataclass(frozen=True, slots=True)
class _Line:
    """How to get to a server: its URL, the proxy on the way ("" = none), the seconds to wait for each step, and our user and
    password at the proxy."""

    url: str
    proxy: str
    timeout: float
    own: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return origin(self.url)[1]

    def connected(self) -> socket.socket:
        """A connection that the server itself reads. Raises OSError, `_NoTunnel`."""
        _, host, port = origin(self.url)
        if not self.proxy:
            return socket.create_connection((host, port), self.timeout)
        there = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        tunnel = socket.create_connection(origin(self.proxy)[1:], self.timeout)
        asked = f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n"
        if self.own:
            asked += f"Proxy-Authorization: Basic {base64.b64encode(':'.join(self.own).encode()).decode('ascii')}\r\n"
        tunnel.sendall(f"{asked}\r\n".encode("ascii"))
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < _LONGEST_HEAD:
            part = tunnel.recv(1)  # what follows the head is the server's, for TLS to read
            if not part:
                break
            head += part
        status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        if status is None or not status[1].startswith(b"2"):
            tunnel.close()
            raise _NoTunnel(int(status[1]) if status else 0)
        return tunnel


class _NoTunnel(OSError):
    """The proxy does not let through (RFC 9110, 9.3.6). `status`: its answer, 0 = none that can be read."""

    def __init__(self, status: int) -> None:
        super().__init__("the proxy does not connect")
        self.status = status


_LONGEST_HEAD = 64 * 1024  # bytes


def _handshake(way: _Line, context: ssl.SSLContext) -> tuple[str, bytes]:
    """Protocol version and the server's certificate (DER)."""
    with way.connected() as plain, context.wrap_socket(plain, server_hostname=way.host) as secured:
        return secured.version() or "", secured.getpeercert(True) or b""


def _seen(facts: dict[str, Any], way: _Line) -> dict[str, Any]:
    """What an unacceptable certificate says of itself. Nothing is sent over this connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return facts | _certificate(_handshake(way, context)[1])
    except OSError:
        return facts | _certificate(b"")


def _certificate(der: bytes) -> dict[str, str]:
    """Its first and last day and its names; each "" where it can't be read."""
    names: list[str] = []
    try:
        read = x509.load_der_x509_certificate(der)
        begins, ends = read.not_valid_before_utc.date().isoformat(), read.not_valid_after_utc.date().isoformat()
        alternatives = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += alternatives.get_values_for_type(x509.DNSName)
        names += [str(address) for address in alternatives.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        pass
    except (ValueError, x509.DuplicateExtension):
        return {"begins": "", "ends": "", "names": ""}
    return {"begins": begins, "ends": ends, "names": ", ".join(names[:8])}
