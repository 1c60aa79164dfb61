"""The sending end of a wire: messages, and the acknowledgments that they ask for, read and matched.

MLLP sends a message when the one before it is answered. A receiver that answers in order may be sent some ahead: it stores
them together then, where each alone would wait for the disk.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field, replace

from hl7bridge.cli.messages.sender_tls import SenderTls, in_words
from hl7bridge.errors import ConfigError, MessageError, Unreachable
from hl7bridge.hl7.acknowledgment import asked
from hl7bridge.hl7.message import Header, Message, Segment, read_header
from hl7bridge.hl7.mllp import Decoder, FrameReceived, NeedData, frame
from hl7bridge.mapping.messages.visits import is_answer

POSITIVE = ("AA", "CA")
AHEAD_BYTES = 64 * 1024
"""Bytes that may be under way together: what sockets hold, so that neither end waits for the other to read."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One ERR segment, old form or new: HL7 code (table 0357), severity, place in the message, text."""

    code: str
    severity: str
    place: str
    text: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.place, self.code, self.text) if part)


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """One MFA segment: the record's control id (MFA-2) and key (MFA-5), "S" or "U" (MFA-4.1) and its text."""

    control_id: str
    key: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class MllpAnswer:
    """One acknowledgment as received. `code` MSA-1, `to` MSA-2, `text` MSA-3, `milliseconds` since the message was sent."""

    code: str
    to: str
    text: str
    milliseconds: float
    raw: bytes
    complaints: tuple[Complaint, ...] = ()
    records: tuple[RecordAnswer, ...] = ()

    @property
    def positive(self) -> bool:
        """AA or CA."""
        return self.code in POSITIVE

    def reasons(self) -> list[str]:
        """MSA-3 and the ERR texts, each once."""
        texts = [self.text, *(str(complaint) for complaint in self.complaints)]
        return list(dict.fromkeys(text for text in texts if text))


@dataclass(slots=True)
class Sent:
    """What became of one message. `problem`: why an answer that was due did not come, "" when all came."""

    control_id: str
    kind: str
    answers: list[MllpAnswer] = field(default_factory=list)
    due: int = 0
    problem: str = ""

    @property
    def good(self) -> bool:
        """All answers that were due came, all positive."""
        return not self.problem and all(answer.positive for answer in self.answers)

    @property
    def refused(self) -> bool:
        """A negative acknowledgment came."""
        return any(not answer.positive for answer in self.answers)


@dataclass(slots=True)
class _UnderWay:
    """A message that was sent. `began`: when; `strays`: answers that came meanwhile, and were nobody's; `broken`: why it
    could not be sent."""

    sent: Sent
    size: int
    accept_first: bool
    began: float
    complete: bool = False
    strays: int = 0
    broken: str = ""

    def add(self, answer: MllpAnswer) -> None:
        """An answer to it."""
        self.sent.answers.append(answer)
        # What is no CA where one was asked for ends it: the accept acknowledgment refuses the message, so that no
        # application one follows. Or the receiver gives one answer to each message, whatever MSH-15/16 ask.
        refused = self.accept_first and answer.code != "CA"
        self.complete = refused or len(self.sent.answers) >= self.sent.due


def address_of(text: str) -> tuple[str, int]:
    """HOST:PORT, [IPV6]:PORT, or a port of this machine. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f'"{text}" is not HOST:PORT', key="--to", advice="Write it like 127.0.0.1:2575.")
    return host.strip("[]") or "127.0.0.1", int(port)


class MllpClient:
    """One connection at a time to one listener; opened when needed. A context manager. Not thread-safe.

    `send` sends a message and waits; `put` and `take` do one of the two, so that several are under way."""

    def __init__(self, host: str, port: int, timeout: float = 30.0, tls: SenderTls | None = None) -> None:
        """`timeout`: seconds to wait for the connection, and for each answer. `tls` None: in the clear.

        Raises ConfigError for certificates that can't be used.
        """
        self._address, self._timeout = (host, port), timeout
        self._context = tls.context() if tls is not None else None
        self._socket: socket.socket | None = None
        self._decoder = Decoder()
        self._under_way: deque[_UnderWay] = deque()

    def __enter__(self) -> MllpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def connect(self) -> None:
        """Open the connection. Raises Unreachable."""
        host, port = self._address
        try:
            self._socket = socket.create_connection(self._address, self._timeout)
        except OSError as error:
            reason = "timed out" if isinstance(error, TimeoutError) else (error.strerror or "no connection").lower()
            raise Unreachable(f"nobody takes messages at {host}:{port} ({reason})") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = Decoder()
        if self._context is not None:
            try:
                self._socket = self._context.wrap_socket(self._socket, server_hostname=host)
            except OSError as error:
                reason = "timed out" if isinstance(error, TimeoutError) else "it speaks no TLS"
                reason = in_words(error) if isinstance(error, ssl.SSLError) else reason
                self.close()
                raise Unreachable(f"no TLS with {host}:{port} ({reason})") from None

    def send(self, message: bytes) -> Sent:
        """Send one message and wait for the answers that it asks for. Raises Unreachable when there is no connection."""
        self.put(message)
        return self.take()

    def put(self, message: bytes) -> bool:
        """Send one message, whose answers `take` waits for. False, and it is not sent, where answers to those under way
        have to come first: it is long, or they could not be told from answers to it.

        Raises Unreachable when there is no connection."""
        sent, accept_first = expected(message)
        if self._under_way and not self._goes_ahead(sent.control_id, len(message)):
            return False
        if self._socket is None:
            self.connect()
        assert self._socket is not None
        one = _UnderWay(sent, len(message), accept_first, time.monotonic(), complete=not sent.due)
        self._under_way.append(one)
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(frame(message))
        except OSError as error:
            one.broken = self._why(one, error)
        return True

    def _goes_ahead(self, control_id: str, size: int) -> bool:
        if not control_id or size + sum(one.size for one in self._under_way) > AHEAD_BYTES:
            return False
        return not any(one.broken or one.sent.control_id in ("", control_id) for one in self._under_way)

    def take(self) -> Sent:
        """Wait for the answers to the message that was sent first of those under way."""
        one = self._under_way[0]
        try:
            while not (one.complete or one.broken):
                if self._socket is None:
                    one.broken = "the connection was lost"
                else:
                    self._hand_on(self._next_answer(self._socket))
        except OSError as error:
            one.broken = self._why(one, error)
        self._under_way.popleft()
        if one.broken:
            one.sent.problem = one.broken
            self.close()  # an answer that comes after all must not be taken for another one's
        return one.sent

    def _hand_on(self, raw: bytes) -> None:
        """Give an answer to the message that it is for."""
        answer = read_answer(raw)
        for one in self._under_way:
            if not one.complete and (not answer.to or one.sent.control_id in ("", answer.to)):
                one.add(replace(answer, milliseconds=(time.monotonic() - one.began) * 1000))
                return
        self._under_way[0].strays += 1  # a late answer to an earlier message

    def _why(self, one: _UnderWay, error: OSError) -> str:
        if isinstance(error, TimeoutError):
            others = f" (but {one.strays} to other messages, by MSA-2)" if one.strays else ""
            return f"no answer within {self._timeout:g} s{others}"
        if isinstance(error, ssl.SSLError):  # in TLS 1.3 our certificate is refused only now
            return f"the connection was lost ({in_words(error)})"
        return str(error) if isinstance(error, _Closed) else "the connection was lost"

    def _next_answer(self, connection: socket.socket) -> bytes:
        while True:
            event = self._decoder.next_event()
            if isinstance(event, FrameReceived) and event.body.strip():
                return event.body
            if isinstance(event, NeedData):
                if not (data := connection.recv(65536)):
                    raise _Closed("the connection was closed without an answer")
                self._decoder.receive_data(data)


class _Closed(OSError):
    """The peer closed in good order."""


def expected(message: bytes) -> tuple[Sent, bool]:
    """The message's id and kind with the number of answers it asks for; whether an accept acknowledgment is among them."""
    try:
        header = read_header(message)
    except MessageError:
        return Sent("", "?", due=1), False
    sent = Sent(header.control_id, _kind_of(header))
    if is_answer(header, message):
        return sent, False
    wanted = asked(header)
    if wanted.mode == "original":
        sent.due = 1
        return sent, False
    # Only what is certain to come when all goes well is waited for: ER asks for an answer to a failure alone.
    sent.due = int(wanted.wants_accept(True)) + int(wanted.wants_application(True))
    return sent, wanted.wants_accept(True)


def _kind_of(header: Header) -> str:
    return "^".join(part for part in (header.message_type, header.trigger_event) if part) or "?"


def read_answer(raw: bytes, milliseconds: float = 0.0) -> MllpAnswer:
    """Read an ACK or MFK of any version; what can't be read counts as a negative answer with code "?"."""
    try:
        message = Message(raw, ("utf-8", "cp1252", "iso8859-1"))
    except MessageError:
        return MllpAnswer("?", "", "the answer can't be read", milliseconds, raw)
    acknowledged = message.first("MSA")
    if acknowledged is None:
        return MllpAnswer("?", "", "the answer has no MSA segment", milliseconds, raw)
    return MllpAnswer(
        acknowledged.value(1) or "?",
        acknowledged.raw(2).encode(message.codec).decode("latin-1"),  # as the header of what we sent reads
        acknowledged.value(3),
        milliseconds,
        raw,
        tuple(_complaint(segment) for segment in message.all("ERR")),
        tuple(
            RecordAnswer(line.value(2), line.value(5), line.value(4), line.value(4, 2)) for line in message.all("MFA")
        ),
    )


def _complaint(segment: Segment) -> Complaint:
    """ERR-2 to ERR-8 (from 2.5 on), or the components of ERR-1 (before)."""
    if segment.is_present(3):
        places = [_place(*(place.component(n) for n in range(1, 6))) for place in segment.repetitions(2)]
        text = segment.value(8) or segment.value(7) or segment.value(3, 2)
        return Complaint(segment.value(3), segment.value(4), ", ".join(filter(None, places)), text)
    parts = [segment.value(1, n) for n in (1, 2, 3)]
    return Complaint(segment.value(1, 4), "", _place(*parts), segment.value(1, 4, 2))


def _place(segment: str, sequence: str, field_number: str, repetition: str = "", component: str = "") -> str:
    """A location as an analyst says it, `STF[2]-3.1`."""
    text = f"{segment}[{sequence}]" if sequence not in ("", "1") else segment
    if field_number:
        text += f"-{field_number}"
        text += f"[{repetition}]" if repetition not in ("", "1") else ""
        text += f".{component}" if component else ""
    return text
