"""Any WSGI callable, served by Twisted in a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

APP = """
import json, signal, sys, threading, time
from hl7bridge.errors import ConfigError
from hl7bridge.service.web import CLOSE_CONNECTION, serve

entered = threading.Event()

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one ", b"", b"two"])
    if path == "/close":
        environ[CLOSE_CONNECTION](environ["QUERY_STRING"])
        start_response("500 Internal Server Error", [])
        return [b"must not be seen"]
    if path == "/wrong-date":
        start_response("200 OK", [("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Content-Length", "0")])
        return [b""]
    if path == "/slow":
        sys.stderr.write("entered\\n"); sys.stderr.flush()
        entered.wait(30)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]
    if path == "/slower":
        sys.stderr.write("entered\\n"); sys.stderr.flush()
        time.sleep(1)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]
    if path == "/broken":
        raise ValueError("secret")
    start_response("404 Not Found", [("Content-Length", "0")])
    return [b""]

def ready(port):
    print(json.dumps({"port": port}), flush=True)

def stopping():
    sys.stderr.write("stopping\\n"); sys.stderr.flush()
    entered.set()

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in a shell's background inherit that it is ignored
try:
    serve(app, port=int(sys.argv[1]), threads=4, ready=ready, stopping=stopping, until=0)
except ConfigError as error:
    print(json.dumps({"refused": str(error)}))
"""


class Served:
    def __init__(self, port: int = 0) -> None:
        command = [sys.executable, "-c", APP, str(port)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout is not None
        self.said = json.loads(self.process.stdout.readline())
        self.port = self.said.get("port", 0)
        self.url = f"http://127.0.0.1:{self.port}"

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(20)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    running = Served()
    yield running
    assert running.end() == 0


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False, timeout=20) as client:
        yield client


def test_a_connection_is_kept(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as peer:
        for _ in range(3):
            peer.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            answer = b""
            while not answer.endswith(b"\r\n\r\nhi"):
                answer += peer.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_bodies_of_both_kinds_are_read_whole(http: httpx.Client) -> None:
    large = b"x" * 300_000
    assert http.post("/echo", content=large).content == large
    assert http.post("/echo", content=iter([b"a", b"b" * 70_000])).content == b"a" + b"b" * 70_000
    assert http.post("/echo").content == b""


def test_what_the_callable_sends_in_parts_arrives_whole(http: httpx.Client) -> None:
    assert http.get("/stream").text == "one two"
    assert http.get("/elsewhere").status_code == 404


@pytest.mark.parametrize(("how", "error"), [("reset", httpx.ReadError), ("end", httpx.RemoteProtocolError)])
def test_the_callable_can_close_the_connection(http: httpx.Client, how: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        http.get(f"/close?{how}")
    assert http.post("/echo", content=b"hi").content == b"hi"


def test_the_callables_date_is_sent_alone(http: httpx.Client) -> None:
    assert http.get("/wrong-date").headers.get_list("date") == ["Thu, 01 Jan 1970 00:00:00 GMT"]
    assert len(http.post("/echo").headers.get_list("date")) == 1


def test_a_failure_is_answered_without_its_text(http: httpx.Client) -> None:
    answer = http.get("/broken")
    assert (answer.status_code, "secret" in answer.text) == (500, False)


@pytest.mark.parametrize("how", ["stdin", "term", "int"])
def test_it_stops_once_what_is_in_progress_is_answered(how: str) -> None:
    running = Served()
    assert running.process.stderr is not None
    assert running.process.stdin is not None
    with (
        socket.create_connection(("127.0.0.1", running.port), timeout=20) as peer,
        socket.create_connection(("127.0.0.1", running.port), timeout=20) as idle,
    ):
        peer.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert running.process.stderr.readline() == "entered\n"
        if how == "stdin":
            running.process.stdin.close()
        else:
            running.process.send_signal(signal.SIGTERM if how == "term" else signal.SIGINT)
        answer = b""
        while data := peer.recv(4096):
            answer += data
        assert answer.endswith(b"done")
        assert idle.recv(1) == b""
    assert running.end() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_while_it_stops_changes_nothing(number: signal.Signals) -> None:
    running = Served()
    assert running.process.stderr is not None
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as peer:
        peer.sendall(b"GET /slower HTTP/1.1\r\nHost: x\r\n\r\n")
        assert running.process.stderr.readline() == "entered\n"
        running.process.send_signal(number)
        assert running.process.stderr.readline() == "stopping\n"
        running.process.send_signal(number)
        answer = b""
        while data := peer.recv(4096):
            answer += data
        assert answer.endswith(b"done")
    running.process.wait(20)
    assert running.process.stderr.read() == ""
    assert running.end() == 0


def test_a_port_that_is_taken_is_said_in_one_line(served: Served) -> None:
    second = Served(served.port)
    assert second.said["refused"].startswith(f"port: cannot listen on 127.0.0.1 port {served.port}: ")
    assert second.end() == 0
