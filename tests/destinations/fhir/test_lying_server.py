"""Servers that never come to an end, over real sockets: each exchange does, and its slot is free for somebody else.

The servers send as fast as they can, and each look at the clock costs a second of it: nothing here waits for real time.
"""

from __future__ import annotations

import itertools
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from hl7bridge.destinations import keys
from hl7bridge.destinations.fhir.rules import SmartRules
from hl7bridge.destinations.fhir.wire.bodies import PIECE, TooLarge, Undecodable, decoded
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.fhir.wire.smart_auth import TokenSource
from hl7bridge.errors import TokenError
from tests.destinations.fhir.people import rules

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
GZIP, STORED = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\0\x01\0\xfe\xff "  # RFC 1952; RFC 1951, 3.2.4: a block of one blank
CHUNK = b"800\r\n" + b" " * 2048 + b"\r\n"
NEVER_ENDS = {
    "a header": (OK + b"X-A: ", b"a" * 8),
    "headers": (OK, b"X-A: a\r\n" * 8),
    "a status line": (b"HTTP/1.1 200 ", b"O" * 8),
    "informational answers": (HINTS, HINTS),
    "a flood of them": (HINTS, HINTS * 2000),
    "large headers": (OK, b"X-A: " + b"a" * 8000 + b"\r\n"),
    "a body of a stated length": (OK + b"Content-Length: 100000000\r\n\r\n", b" "),
    "a body in chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
    "the size of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "a body until the end of the connection": (OK + b"Connection: close\r\n\r\n", b" "),
    "a packed body": (OK + b"Content-Encoding: gzip\r\nContent-Length: 100000000\r\n\r\n" + GZIP, STORED),
    "garbage": (b"\x00\xff", b"\x00\xff" * 500),
}


@contextmanager
def endless(first: bytes, each: bytes) -> Iterator[str]:
    """A server that reads what comes first of a request, and then sends without an end."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(first)
            while True:
                connection.sendall(each)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def ticking() -> Callable[[], float]:
    seconds = itertools.count()
    return lambda: float(next(seconds))


@pytest.mark.parametrize("what", NEVER_ENDS)
def test_an_answer_that_never_ends(what: str) -> None:
    with endless(*NEVER_ENDS[what]) as address:
        client = FhirClient(rules(base_url=address, in_flight=1, deadline=60.0), clock=ticking())
        read = client.read("Practitioner", "p1")
        written = client.create("Practitioner", {"resourceType": "Practitioner"})
        client.close()
    assert read.detail in ("timeout", "connection-lost"), read
    assert read.kind is ReplyKind.TRANSIENT
    assert written.kind is ReplyKind.AMBIGUOUS, "whether it arrived, nobody knows"


@pytest.mark.parametrize("what", NEVER_ENDS)
def test_a_token_endpoint_that_never_ends(what: str) -> None:
    with endless(*NEVER_ENDS[what]) as address:
        smart = SmartRules(address, "bridge-1", token_url=f"{address}/token", deadline=60.0)
        source = TokenSource(smart, keys.generate(), clock=ticking())
        with pytest.raises(TokenError) as raised:
            source.token()
        source.close()
    assert not raised.value.permanent


def test_the_deadline_is_three_times_the_timeout_where_nobody_says_another() -> None:
    with endless(*NEVER_ENDS["a body in chunks"]) as address:
        for given, looks in (({"timeout": 10.0}, 30), ({"timeout": 10.0, "deadline": 300.0}, 300)):
            clock = ticking()
            client = FhirClient(rules(base_url=address, **given), clock=clock)
            assert client.read("Practitioner", "p1").detail == "timeout"
            client.close()
            assert looks < clock() < looks + 20


def test_what_another_exchange_took_is_not_counted() -> None:
    """A connection that is kept carries no deadline from one exchange to the next."""
    body = b'{"resourceType":"Practitioner","id":"p1"}'
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            while connection.recv(65536):
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    client = FhirClient(rules(base_url=address, deadline=40.0), clock=ticking())
    replies: list[Reply] = [client.read("Practitioner", "p1") for _ in range(20)]
    client.close()
    listening.close()
    assert all(reply.done for reply in replies)


def test_a_packed_body_is_unpacked_a_piece_at_a_time() -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packing.compress(b"\0" * (20 << 20)) + packing.flush()
    sizes: list[int] = []
    with pytest.raises(TooLarge):
        sizes.extend(map(len, decoded([bomb], "gzip", 1 << 20)))
    assert sum(sizes) <= 1 << 20
    assert max(sizes) <= PIECE


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_a_packed_body_may_come_in_any_parts(size: int) -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    text = b"".join(b"%d," % number for number in range(20000))
    packed = packing.compress(text) + packing.flush()
    parts = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert b"".join(decoded(parts, "gzip", len(text))) == text
    with pytest.raises(Undecodable):
        list(decoded(parts[:-1], "gzip", len(text)))
    with pytest.raises(TooLarge):
        list(decoded(parts, "gzip", len(text) - 1))
