"""The way to a server: connections, TLS, the forward proxy, and the time that one exchange may take in all.

httpx begins each wait anew with every byte, so that a server that drips one now and then is never given up. Here each step
of an exchange (to connect, to write, to read the head, to read the body) waits for `timeout` at most, and all of them
together for `deadline`. No thread watches: whoever reads looks at the clock between two reads.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import httpcore
import httpx
import truststore

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
    proxy     forward proxy, "http://host:port"; "" = none
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
    def proxy(self) -> str: ...


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
    """The transport to one server. Raises httpx's exceptions; past the deadline `httpx.ReadTimeout` and its like."""

    def __init__(self, way: Way, *, connections: int = 4, clock: Callable[[], float] = time.monotonic) -> None:
        self._deadline, self._clock = deadline_of(way), clock
        options: dict[str, Any] = {
            "ssl_context": tls_context(way.base_url, way.ca_file),
            "max_connections": connections,
            "max_keepalive_connections": connections,
            "keepalive_expiry": 5.0,
            "network_backend": _Backend(clock),
        }
        self._pool = httpcore.HTTPProxy(way.proxy, **options) if way.proxy else httpcore.ConnectionPool(**options)

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
    def __init__(self, clock: Callable[[], float]) -> None:
        self._inner, self._clock = httpcore.SyncBackend(), clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, self._clock, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options), self._clock)


class _Stream(httpcore.NetworkStream):
    """A connection on which each step heeds the deadline of the exchange that it belongs to."""

    def __init__(self, inner: httpcore.NetworkStream, clock: Callable[[], float]) -> None:
        self._inner, self._clock = inner, clock
        self.get_extra_info = inner.get_extra_info  # type: ignore[method-assign]
        self.close = inner.close  # type: ignore[method-assign]

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
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._clock)


def _left(timeout: float | None, clock: Callable[[], float], late: type[httpcore.TimeoutException]) -> float | None:
    """How long a step may wait. Raises `late` past the deadline."""
    if not isinstance(timeout, _Patience):
        return timeout
    left = timeout.course.until - clock()
    if left <= 0:
        raise late("the exchange takes too long")
    return min(float(timeout), left)


def tls_context(url: str, ca_file: str) -> ssl.SSLContext:
    """TLS 1.2 or later, the name checked; trusts the system's certificates, or those of `ca_file` alone.

    Raises ConfigError for a file that holds no certificates.
    """
    if httpx.URL(url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # of no use there; it trusts nobody and costs nothing to make
    if not ca_file:
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError:  # an ssl.SSLError is one, too
            raise ConfigError("no certificates can be read", file=ca_file, key="ca_file") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def within_process(application: WSGIApplication) -> httpx.BaseTransport:
    """In place of a network: a server that is a WSGI application of this process."""
    return httpx.WSGITransport(app=application)
