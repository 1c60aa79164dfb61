"""The gate before the wire: an httpx transport that refuses each request and response that must not pass.

Out: only the destination's own origin, only below its base, only Practitioner, PractitionerRole, the
CapabilityStatement and the SMART configuration, only GET, POST and PUT. So a `next` link, a Location or a mistake of
ours can neither carry the token elsewhere nor touch a patient or delete anything.
In: bounded size and time, also of what comes compressed although it was asked not to; no redirects to follow.
Each request that went out is noted as an `Exchange`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

import httpx

from hl7bridge.destinations.budget import TokenBucket
from hl7bridge.destinations.fhir.rules import Origin, origin
from hl7bridge.destinations.fhir.wire.bodies import TooLarge, Undecodable, decoded
from hl7bridge.model import Exchange

RESOURCE_TYPES = frozenset({"Practitioner", "PractitionerRole"})


class GateRefused(Exception):
    """A request or response that does not pass. `detail` is a local code; `status` is 0 when nothing was sent."""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.detail, self.status = detail, status


class Gate(httpx.BaseTransport):
    """Wraps the transport that speaks to the destination. Raises `GateRefused`."""

    def __init__(
        self,
        inner: httpx.BaseTransport,
        base: httpx.URL,
        *,
        max_response: int,
        deadline: float,
        bucket: TokenBucket,
        clock: Callable[[], float],
    ) -> None:
        self._inner, self._bucket, self._clock = inner, bucket, clock
        self._origin: Origin = origin(base)
        self._base_path = base.raw_path.decode("ascii").rstrip("/")
        self._max_response, self._deadline = max_response, deadline

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
        encoding = response.headers.pop("content-encoding", "")  # httpx would unpack without a limit
        if response.is_redirect:
            response.headers.pop("location", None)  # httpx would parse it; nobody follows it
        if isinstance(response.stream, httpx.SyncByteStream):
            until = began + self._deadline
            response.stream = _Bounded(response.stream, status, encoding, self._max_response, until, self._clock)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _checked(self, request: httpx.Request) -> str:
        """The first path segment below the base. Raises `GateRefused` for what must not leave."""
        if origin(request.url) != self._origin:
            raise GateRefused("foreign-origin")
        target: bytes = request.extensions.get("target", request.url.raw_path)
        path = target.partition(b"?")[0].decode("ascii", "replace")
        below = path.removeprefix(self._base_path)
        if not path.startswith(self._base_path) or (below and not below.startswith("/")) or ".." in unquote(path):
            raise GateRefused("foreign-path")
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
            raise GateRefused("not-allowed")
        return segments[0]


class _Bounded(httpx.SyncByteStream):
    """A response body that ends with `GateRefused` past a size, packed or not, and with a timeout past a moment."""

    def __init__(
        self,
        inner: httpx.SyncByteStream,
        status: int,
        encoding: str,
        limit: int,
        until: float,
        clock: Callable[[], float],
    ) -> None:
        self._inner, self._status, self._encoding = inner, status, encoding
        self._limit, self._until, self._clock = limit, until, clock

    def __iter__(self) -> Iterator[bytes]:
        try:
            for part in decoded(self._inner, self._encoding, self._limit):
                if self._clock() > self._until:
                    raise httpx.ReadTimeout("the response takes too long")
                yield part
        except TooLarge:
            raise GateRefused("too-large", self._status) from None
        except Undecodable:
            raise GateRefused("encoded", self._status) from None

    def close(self) -> None:
        self._inner.close()
