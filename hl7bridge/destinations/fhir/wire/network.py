"""The way to a server: connections, TLS, the forward proxy, and the time that one exchange may take in all.

httpx begins each wait anew with every byte, so that a server that drips one now and then is never given up. Here each step
of an exchange (to connect, to write, to read the head, to read the body) waits for `timeout` at most, and all of them
together for `deadline`. No thread watches: whoever reads looks at the clock between two reads.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import httpcore
import httpx
import truststore
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hl7bridge.destinations.fhir.rules import Credentials
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HEAD = 128 * 1024  # bytes that may come before a body, headers and informational answers (1xx) together
SLICE = 16 * 1024  # bytes written between two looks at the clock
DEADLINE = 3.0  # times the timeout, where no deadline is given


class Way(Protocol):
    """How a server is reached.

    timeout   seconds for each step; `deadline`: for a whole exchange, 0 = three times the timeout
    ca_file   PEM file of trusted certificates, "" = those of the system
    client_certificate   PEM file of our own, "" = none; `client_key`: its private key, "" = in that file
    pins      public keys of which the server's certificate has to have one, "sha256//BASE64"; () = any. A token endpoint
              on another host is not pinned
    proxy     forward proxy, "http://host:port"; "" = none; `proxy_credentials`: gives our user and password there
    """

    @property
    def base_url(self) -> str: ...
    @property
    def timeout(self) -> float: ...
    @property
    def deadline(self) -> float: ...
    @property
    def ca_file(self) -> str: ...
    @property
    def client_certificate(self) -> str: ...
    @property
    def client_key(self) -> str: ...
    @property
    def pins(self) -> tuple[str, ...]: ...
    @property
    def proxy(self) -> str: ...
    @property
    def proxy_credentials(self) -> Credentials | None: ...


def deadline_of(way: Way) -> float:
    """Seconds for a whole exchange."""
    return way.deadline or DEADLINE * way.timeout


class _Course:
    """Of one exchange: until when it may last, and how much may still come before its body."""

    __slots__ = ("before_body", "until")

    def __init__(self, until: float) -> None:
        self.until, self.before_body = until, HEAD


class _Patience(float):
    """The longest wait for one step, seconds. httpcore hands it from the request to each step on its connection, and with
    it the course of the whole exchange."""

    course: _Course

    def __new__(cls, seconds: float, course: _Course) -> _Patience:
        made = super().__new__(cls, seconds)
        made.course = course
        return made


class Network(httpx.BaseTransport):
    """The transport to one server. Raises httpx's exceptions; past the deadline `httpx.ReadTimeout` and its like.

    Raises ConfigError where certificates, keys or the proxy's password cannot be read.
    """

    def __init__(self, way: Way, *, connections: int = 4, clock: Callable[[], float] = time.monotonic) -> None:
        self._deadline, self._clock = deadline_of(way), clock
        options: dict[str, Any] = {
            "ssl_context": tls_context(way),
            "max_connections": connections,
            "max_keepalive_connections": connections,
            "keepalive_expiry": 5.0,
            "network_backend": _Backend(clock, httpx.URL(way.base_url).raw_host.decode("ascii"), way.pins),
        }
        if way.proxy:
            user, password = way.proxy_credentials() if way.proxy_credentials else ("", "")
            own = (user.encode(), password.encode()) if user or password else None
            self._pool: httpcore.ConnectionPool = httpcore.HTTPProxy(way.proxy, proxy_auth=own, **options)
        else:
            self._pool = httpcore.ConnectionPool(**options)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the answer's head is there, its body is read later, under the same deadline."""
        course = _Course(self._clock() + self._deadline)
        waits = {
            step: seconds for step, seconds in request.extensions.get("timeout", {}).items() if seconds is not None
        }
        timeout = {step: s if step == "pool" else _Patience(s, course) for step, s in waits.items()}
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions={**request.extensions, "timeout": timeout},
        )
        with _as_httpx():
            came = self._pool.handle_request(sent)
        course.before_body = -1
        assert isinstance(came.stream, Iterable)
        return httpx.Response(came.status, headers=came.headers, stream=_Body(came.stream), extensions=came.extensions)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, inner: Iterable[bytes]) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._inner

    def close(self) -> None:
        if hasattr(self._inner, "close"):
            self._inner.close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """httpx's exceptions for httpcore's: they have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error


class _Backend(httpcore.NetworkBackend):
    def __init__(self, clock: Callable[[], float], host: str, pins: tuple[str, ...]) -> None:
        self._inner, self._clock, self._host, self._pins = httpcore.SyncBackend(), clock, host, pins

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, self._clock, httpcore.ConnectTimeout)
        connected = self._inner.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(connected, self._clock, self._host, self._pins)


class _Stream(httpcore.NetworkStream):
    """A connection on which each step heeds the deadline of the exchange that it belongs to."""

    def __init__(
        self, inner: httpcore.NetworkStream, clock: Callable[[], float], host: str, pins: tuple[str, ...]
    ) -> None:
        self._inner, self._clock, self._host, self._pins = inner, clock, host, pins

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        part = self._inner.read(max_bytes, _left(timeout, self._clock, httpcore.ReadTimeout))
        if isinstance(timeout, _Patience) and timeout.course.before_body >= 0:
            timeout.course.before_body -= len(part)
            if timeout.course.before_body < 0:
                raise httpcore.RemoteProtocolError("too much before the body")
        return part

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), SLICE):
            piece = buffer[start : start + SLICE] if len(buffer) > SLICE else buffer
            self._inner.write(piece, _left(timeout, self._clock, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, self._clock, httpcore.ConnectTimeout)
        secured = self._inner.start_tls(ssl_context, server_hostname, left)
        try:
            if server_hostname == self._host:
                _check_pins(secured.get_extra_info("ssl_object").getpeercert(True), self._pins)
        except ssl.SSLError as error:
            secured.close()
            raise httpcore.ConnectError(str(error)) from error
        return _Stream(secured, self._clock, self._host, self._pins)


def _left(timeout: float | None, clock: Callable[[], float], late: type[httpcore.TimeoutException]) -> float | None:
    """How long a step may wait. Raises `late` past the deadline."""
    if not isinstance(timeout, _Patience):
        return timeout
    left = timeout.course.until - clock()
    if left <= 0:
        raise late("the exchange takes too long")
    return min(float(timeout), left)


def tls_context(way: Way) -> ssl.SSLContext:
    """TLS 1.2 or later, the name checked; trusts the system's certificates, or those of `ca_file` alone.

    Raises ConfigError for a file that holds no certificates, or not the key of one.
    """
    if httpx.URL(way.base_url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # of no use there; it trusts nobody and costs nothing to make
    if not way.ca_file:
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        try:
            context = ssl.create_default_context(cafile=way.ca_file)
        except OSError:  # an ssl.SSLError is one, too
            raise ConfigError("no certificates can be read", file=way.ca_file, key="ca_file") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if way.client_certificate:
        try:
            # The empty password keeps OpenSSL from asking for one at the terminal.
            context.load_cert_chain(way.client_certificate, way.client_key or None, password="")
        except OSError:
            key = "client_key" if way.client_key else "client_certificate"
            raise ConfigError(
                "no certificate with its private key can be read", file=way.client_certificate, key=key
            ) from None
    return context


def pin_of(certificate: bytes) -> str:
    """The pin of a certificate (DER): "sha256//BASE64" over its SubjectPublicKeyInfo (RFC 7469, 2.4), as curl writes it."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "sha256//" + base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")


def _check_pins(certificate: bytes | None, pins: tuple[str, ...]) -> None:
    """Raises ssl.SSLCertVerificationError."""
    if not is_pinned(certificate, pins):
        raise ssl.SSLCertVerificationError("the certificate has none of the pinned keys")


def is_pinned(certificate: bytes | None, pins: tuple[str, ...]) -> bool:
    """Whether the certificate has one of the keys; any, where none is pinned."""
    return not pins or (certificate is not None and pin_of(certificate) in pins)


def within_process(application: WSGIApplication) -> httpx.BaseTransport:
    """In place of a network: a server that is a WSGI application of this process."""
    return httpx.WSGITransport(app=application)
