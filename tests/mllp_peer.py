"""An interface engine as the tests need one: plain sockets, a log that survives anything, resend until acknowledged.

Knows nothing of the package that it tests: frames are cut and MSA is read by hand.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Address = tuple[str, int]
START, END = b"\x0b", b"\x1c\r"
POSITIVE = {"AA", "CA"}


class Closed(ConnectionError):
    """The other side closed, or the connection broke; `rest` is what was read of a frame that never ended."""

    def __init__(self, rest: bytes = b"") -> None:
        super().__init__(f"closed by the peer, {len(rest)} bytes of a frame left")
        self.rest = rest


class Connection:
    """One MLLP connection. What the listener writes outside of VT..FS CR is an error here: it must never happen."""

    def __init__(self, address: Address, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def write(self, raw: bytes) -> None:
        """Bytes as they are; raises Closed."""
        try:
            self.socket.sendall(raw)
        except OSError as error:
            raise Closed from error

    def send(self, body: bytes) -> None:
        self.write(START + body + END)

    def read(self, timeout: float) -> bytes | None:
        """The next frame's content, None when none came in time. Raises Closed."""
        deadline = time.monotonic() + timeout
        while END not in self._read:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError as error:
                raise Closed(self._read) from error
            if not piece:
                raise Closed(self._read)
            self._read += piece
        block, _, self._read = self._read.partition(END)
        if not block.startswith(START):
            raise AssertionError(f"bytes outside of a frame: {block[:8]!r}")
        return block[1:]

    def ask(self, body: bytes, timeout: float = 10.0) -> bytes:
        """Send, and read the one answer. Raises TimeoutError or Closed."""
        self.send(body)
        answer = self.read(timeout)
        if answer is None:
            raise TimeoutError("no answer")
        return answer


@dataclass(frozen=True)
class Answer:
    """What an acknowledgment says, read by hand. `records`: MFA-5 as sent -> S or U."""

    message_type: str
    control_id: str
    code: str
    records: dict[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()

    @property
    def positive(self) -> bool:
        return self.code in POSITIVE


def segments(body: bytes) -> list[list[str]]:
    """Segments split into fields, MSH numbered so that index n is MSH-n."""
    lines = [line for line in body.decode("utf-8", "replace").split("\r") if line]
    cut = lines[0][3]
    rows = [line.split(cut) for line in lines]
    rows[0].insert(1, cut)
    return rows


def read_answer(body: bytes) -> Answer:
    rows = segments(body)
    component = rows[0][2][0]
    msa = [*next(row for row in rows if row[0] == "MSA"), "", ""]  # empty fields at the end may be left out
    records = {row[5]: row[4].split(component)[0] for row in rows if row[0] == "MFA" and len(row) > 5}
    errors = tuple("|".join(row[1:]) for row in rows if row[0] == "ERR")
    return Answer(rows[0][9], msa[2], msa[1], records, errors)


class Ledger:
    """The sender's log: one JSON object a line, on the disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def note(self, **row: Any) -> None:
        with self._lock:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a file of JSON lines; a last line that was cut short by a kill is left out."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


@dataclass(frozen=True)
class Planned:
    """A message to send, and what it means: `records` are JSON objects that go into the log as they are."""

    control_id: str
    body: bytes
    records: tuple[dict[str, Any], ...] = ()
    enhanced: bool = False


class Sender:
    """Sends one message after the other on one connection, and each again until it is acknowledged positively.

    `address` is asked before each connection: after a restart the listener may have another port. A negative answer or
    none is followed by the same bytes, as an interface engine's queue does it. `stop` ends it between two attempts.
    """

    def __init__(
        self,
        name: str,
        address: Callable[[], Address],
        ledger: Ledger,
        *,
        patience: float = 10.0,
        pause: float = 0.1,
        pace: float = 0.0,
        linger: float = 3.0,
    ) -> None:
        """Seconds: `patience` for an answer, `pause` before a resend, `pace` between two messages, `linger` at the end."""
        self.name, self.address, self.ledger = name, address, ledger
        self.patience, self.pause, self.pace, self.linger = patience, pause, pace, linger
        self.stop = threading.Event()
        self.attempts = 0
        self._connection: Connection | None = None

    def run(self, messages: Iterable[Planned]) -> None:
        """Send all of them in order; reads late application acknowledgments until none came for `linger` seconds."""
        late = False
        for message in messages:
            late = late or message.enhanced
            self.ledger.note(
                event="sent", connection=self.name, control_id=message.control_id, records=list(message.records)
            )
            while not self.stop.is_set() and not self._attempt(message):
                self.stop.wait(self.pause)
            if self.stop.wait(self.pace):
                break
        if self._connection and late:
            try:
                while (body := self._connection.read(self.linger)) is not None:
                    self._note(body)
            except Closed:
                pass
        self._drop()

    def _attempt(self, message: Planned) -> bool:
        self.attempts += 1
        try:
            if self._connection is None:
                self._connection = Connection(self.address(), self.patience)
            self._connection.send(message.body)
            deadline = time.monotonic() + self.patience
            while (body := self._connection.read(max(0.0, deadline - time.monotonic()))) is not None:
                answer = self._note(body)
                wanted = answer.code.startswith("C") == message.enhanced
                if answer.control_id == message.control_id and wanted:
                    return answer.positive
            self.ledger.note(event="silence", connection=self.name, control_id=message.control_id)
        except OSError as error:
            self.ledger.note(
                event="broken", connection=self.name, control_id=message.control_id, why=type(error).__name__
            )
        self._drop()
        return False

    def _note(self, body: bytes) -> Answer:
        answer = read_answer(body)
        self.ledger.note(
            event="answered",
            connection=self.name,
            control_id=answer.control_id,
            code=answer.code,
            records=answer.records,
            findings=answer.findings,
        )
        return answer

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None
