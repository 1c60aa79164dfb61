"""The gate before the wire: an httpx transport that refuses each request and response that must not pass.

Out: only the destination's own origin, only below its base, only Practitioner, PractitionerRole, the
CapabilityStatement and the SMART configuration, only GET, POST and PUT. So a `next` link, a Location or a mistake of
ours can neither carry the token elsewhere nor touch a patient or delete anything.
In: bounded size and time, no compressed bodies, no redirects to follow.
Each request that went out is noted as an `Exchange`.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import truststore

from hl7bridge.destinations.budget import TokenBucket
from hl7bridge.destinations.fhir.rules import Origin, origin
from hl7bridge.errors import ConfigError
from hl7bridge.model import Exchange

RESOURCE_TYPES = frozenset({"Practitioner", "PractitionerRole"})
PATIENCE = 6  # a response may take this many times the timeout in all, however slowly it drips


class Refused(Exception):
    """A request or response that does not pass. `detail` is a local code; `status` is 0 when nothing was sent."""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.detail, self.status = detail, status


class Gate(httpx.BaseTransport):
    """Wraps the transport that speaks to the destination. Raises `Refused`."""

    def __init__(
        self,
        inner: httpx.BaseTransport,
        base: httpx.URL,
        *,
        max_response: int,
        timeout: float,
        bucket: TokenBucket,
        clock: Callable[[], float],
    ) -> None:
        self._inner, self._bucket, self._clock = inner, bucket, clock
        self._origin: Origin = origin(base)
        self._base_path = base.raw_path.decode("ascii").rstrip("/")
        self._max_response, self._patience = max_response, timeout * PATIENCE

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Check, wait for the budget, send, note, bound the answer."""
        resource_type = self._checked(request)
        self._bucket.take()
        began = self._clock()
        status = 0
        try:
            response = self._inner.handle_request(request)
            status = response.status_code
        finally:
            noted = request.extensions.get("exchanges")
            if noted is not None:
                milliseconds = (self._clock() - began) * 1000
                request_id = request.headers.get("x-request-id", "")
                noted.append(Exchange(request.method, resource_type, status, round(milliseconds, 3), request_id))
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            response.close()
            raise Refused("encoded", status)
        if response.is_redirect:
            response.headers.pop("location", None)  # httpx would parse it; nobody follows it
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Bounded(response.stream, status, self._max_response, began + self._patience, self._clock)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _checked(self, request: httpx.Request) -> str:
        """The first path segment below the base. Raises `Refused` for what must not leave."""
        if origin(request.url) != self._origin:
            raise Refused("foreign-origin")
        target: bytes = request.extensions.get("target", request.url.raw_path)
        path = target.partition(b"?")[0].decode("ascii", "replace")
        below = path.removeprefix(self._base_path)
        if not path.startswith(self._base_path) or (below and not below.startswith("/")) or ".." in unquote(path):
            raise Refused("foreign-path")
        segments = below.strip("/").split("/")
        # A next link is the server's own (R4 http.html, Paging: opaque), and may lead to a path of its own below the base;
        # never to another resource type or an operation.
        is_own_page = "target" in request.extensions and re.fullmatch(r"[a-z0-9_.~-]+", segments[0]) is not None
        allowed = {
            "GET": segments[0] in RESOURCE_TYPES
            or is_own_page
            or below.strip("/") in ("", "metadata", ".well-known/smart-configuration"),
            "POST": segments[0] in RESOURCE_TYPES and segments[1:] in ([], ["_search"]),
            "PUT": segments[0] in RESOURCE_TYPES and len(segments) == 2,
        }
        if not allowed.get(request.method, False):
            raise Refused("not-allowed")
        return segments[0]


class _Bounded(httpx.SyncByteStream):
    """A response body that ends with `Refused` past a size and with a timeout past a moment."""

    def __init__(
        self, inner: httpx.SyncByteStream, status: int, limit: int, until: float, clock: Callable[[], float]
    ) -> None:
        self._inner, self._status, self._limit, self._until, self._clock = inner, status, limit, until, clock

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for part in self._inner:
            size += len(part)
            if size > self._limit:
                raise Refused("too-large", self._status)
            if self._clock() > self._until:
                raise httpx.ReadTimeout("the response takes too long")
            yield part

    def close(self) -> None:
        self._inner.close()


def network(url: str, ca_file: str, proxy: str = "", **options: Any) -> httpx.HTTPTransport:
    """The way to the server at `url`: straight, or through the forward proxy at `proxy` (https by CONNECT, so that the
    proxy sees host and port alone). What the environment says of proxies counts for nothing.

    Raises ConfigError for a `ca_file` that cannot be read.
    """
    verify = tls_context(url, ca_file)
    return httpx.HTTPTransport(verify=verify, proxy=proxy or None, trust_env=False, http2=False, **options)


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
