"""A proxy between the bridge and a FHIR server: it writes down every request, and may spoil, delay or overtake it.

    with proxy_to(base_url) as proxy:
        proxy.base_url              # where the bridge sends to
        proxy.passed                # every request so far, with its answer
        proxy.before = hook         # hook(asked) -> Answer instead of the server's, Reset, or None to let it pass
        proxy.after = hook          # hook(asked, answer) -> Answer to hand back, or Reset: the server did it, nobody hears
        with proxy.interfering(before=hook, after=hook): ...    # the same for a while

No request may leave what a staff bridge has any business with; `proxy_to` fails otherwise, whatever the test is about.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.business import improper

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
PATIENCE = 60.0


@dataclass(frozen=True)
class Asked:
    """A request as it came. `target`: path and query below the base URL's path."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"

    @property
    def resource_type(self) -> str:
        return re.split(r"[/?]", self.target.lstrip("/"))[0]

    @property
    def id(self) -> str:
        """The id in the path, "" for a search or a create."""
        path = urlsplit(self.target).path.strip("/").split("/")
        return path[1] if len(path) > 1 else ""

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Reset(Exception):
    """The connection breaks (RST) instead of an answer."""


@dataclass(frozen=True)
class Passed:
    """A request and the status that the bridge got, 0 when its connection broke."""

    asked: Asked
    status: int


Before = Callable[[Asked], Answer | None]
After = Callable[[Asked, Answer], Answer]


def let_pass(asked: Asked) -> None:
    """The hook `before` that does nothing."""


def hand_back(asked: Asked, answer: Answer) -> Answer:
    """The hook `after` that does nothing."""
    return answer


class Proxy:
    """See the top of the file. `base_url` may be pointed elsewhere by setting `target`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.passed: list[Passed] = []
        self.before: Before = let_pass
        self.after: After = hand_back
        self.lock = threading.Lock()
        proxy = self

        class Conversation(_Conversation):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Conversation)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}{urlsplit(target).path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def interfering(self, *, before: Before | None = None, after: After | None = None) -> Iterator[None]:
        """With these hooks while the block runs."""
        self.before, self.after = before or self.before, after or self.after
        try:
            yield
        finally:
            self.before, self.after = let_pass, hand_back

    def note(self, asked: Asked, status: int) -> None:
        with self.lock:
            self.passed.append(Passed(asked, status))

    def statuses(self) -> Counter[str]:
        """How often each method was answered with each status: "PUT 409" -> 1; status 0 = the connection broke."""
        with self.lock:
            return Counter(f"{passed.asked.method} {passed.status}" for passed in self.passed)

    def since(self, place: int) -> list[Passed]:
        """The requests for resources from that place in `passed` on; what the server can do is asked apart from them."""
        with self.lock:
            return [p for p in self.passed[place:] if p.asked.resource_type not in ("metadata", ".well-known")]

    def improper(self) -> list[str]:
        """Requests that a staff bridge has no business with (tests/business.py), and those with a token: the server behind
        wants none, so that it would be another's."""
        with self.lock:
            asked = [passed.asked for passed in self.passed]
        with_token = [f"{one.line} with another's token" for one in asked if "authorization" in one.headers]
        return improper(one.line for one in asked) + with_token

    # --- one request -------------------------------------------------------------------------------------------------

    def answer(self, asked: Asked) -> Answer:
        spoiled = self.before(asked)
        return spoiled if spoiled is not None else self.after(asked, self._forwarded(asked))

    def _forwarded(self, asked: Asked) -> Answer:
        """The server's answer over a connection of its own; 502 where there is none, as gateways have it."""
        target = urlsplit(self.target)
        connection = http.client.HTTPConnection(target.netloc, timeout=PATIENCE)
        headers = {name: value for name, value in asked.headers.items() if name not in HOP_BY_HOP}
        try:
            connection.request(asked.method, target.path + asked.target, asked.body or None, headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return Answer(502, {"Content-Type": "text/html"}, b"<html><body>Bad Gateway</body></html>")
        finally:
            connection.close()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
        return Answer(response.status, kept, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news here; anything else is a fault of a hook or of this file."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Proxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = self.path.removeprefix(urlsplit(self.owner.target).path)
        asked = Asked(self.command, target, headers, body)
        try:
            answer = self.owner.answer(asked)
        except Reset:
            self.owner.note(asked, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        self.owner.note(asked, answer.status)
        lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [f"Content-Length: {len(answer.body)}", "", ""]
        self.wfile.write("\r\n".join(lines).encode("latin-1") + answer.body)  # one write, one segment

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""


@contextmanager
def proxy_to(base_url: str) -> Iterator[Proxy]:
    """A proxy that ends with the block, and in front of which nothing improper was asked."""
    proxy = Proxy(base_url)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()
    wrong = proxy.improper()
    assert not wrong, wrong
