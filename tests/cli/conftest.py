"""What the command line's tests share: commands run in this process, a configured folder, a peer that answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.cli.main import main
from hl7bridge.hl7.acknowledgment import build
from hl7bridge.hl7.message import read_header
from hl7bridge.hl7.mllp import Decoder, FrameReceived, NeedData, frame
from hl7bridge.model import Finding, Location


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Runs `hl7bridge ARGUMENTS` in this process, off a terminal."""
    monkeypatch.delenv("HL7BRIDGE_CONFIG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(int(code), captured.out, captured.err)

    return run


@pytest.fixture
def site(tmp_path: Path, command: Callable[..., Ended]) -> Path:
    """A folder as `init` writes it, its listener on a port of the system's choice."""
    assert command("init", tmp_path).code == 0
    feed = tmp_path / "conf" / "feeds" / "staff.toml"
    feed.write_text(feed.read_text().replace("port = 2575", "port = 0"))
    return tmp_path


MESSAGE = (
    "MSH|^~\\&|HR|NORTH|HL7BRIDGE|NORTH|20260301120000+0000||MFN^M02^MFN_M02|{id}|P|2.5.1{tail}\r"
    "MFI|STF^Staff^HL70175||UPD|||AL\r"
    "MFE|MAD|C1||E100|CE\r"
    'STF|E100|E100^^^NORTH^EI|Okonkwo^Adaeze|P|F||A|""\r'
    "PRA|E100||||||1234567893^NPI\r"
)


def message(control_id: str = "X1", accept: str = "", application: str = "") -> bytes:
    """A staff message; `accept` and `application` are MSH-15 and MSH-16."""
    tail = f"|||{accept}|{application}" if accept or application else ""
    return MESSAGE.format(id=control_id, tail=tail).encode()


def acknowledged(to: bytes, code: str = "AA", kind: str = "original", text: str = "") -> bytes:
    """An answer to a message."""
    findings = ()
    if code[1] != "A":
        findings = (Finding("101", "no-key", "the key is missing", location=Location("STF", 1, 1)),)
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return build(read_header(to), kind, code, control_id="A1", now=now, text=text, findings=findings)


@dataclass
class Peer:
    """A listener that answers each message with what `answers(message)` says; None closes the connection."""

    answers: Callable[[bytes], list[bytes] | None]
    received: list[bytes] = field(default_factory=list)
    port: int = 0
    connections: int = 0

    def serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # closed: the test is over
            self.connections += 1
            with connection, suppress(ConnectionError):  # who sent ahead may be gone before all answers are
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        decoder = Decoder()
        while data := connection.recv(65536):
            decoder.receive_data(data)
            while not isinstance(event := decoder.next_event(), NeedData):
                if isinstance(event, FrameReceived):
                    self.received.append(event.body)
                    answers = self.answers(event.body)
                    if answers is None:
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass  # closed with something unread, the answers on their way would be lost
                        return
                    for answer in answers:
                        connection.sendall(frame(answer))


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[bytes], list[bytes] | None]], Peer]]:
    """Starts a peer on a port of the system's choice."""
    listening: list[socket.socket] = []

    def start(answers: Callable[[bytes], list[bytes] | None]) -> Peer:
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)
        made = Peer(answers, port=listener.getsockname()[1])
        threading.Thread(target=made.serve, args=(listener,), daemon=True).start()
        return made

    yield start
    for listener in listening:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
