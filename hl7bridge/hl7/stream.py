"""A file of messages, a piece at a time, without any I/O: framed or bare, one message or a million, few in memory.

In the manner of h11: feed `receive_data`, call `next_piece` until it gives None, feed more; at the end call `end`, and
`next_piece` until it gives None again.

    what the file holds                                  what comes out
    MSH .. MSH .. MSH ..                                 each message
    FHS BHS MSH .. MSH .. BTS FTS                        each message; what the wrappers state is compared (`findings`)
    VT MSH .. FS CR VT BHS MSH .. MSH .. BTS FS CR       each message of each MLLP frame
    anything else but blanks                             one piece, so that whoever reads it can refuse it in its place

The same bytes give the same pieces however they are cut, and the same as `batch.split` gives of the whole. Where one
message ends and the next begins: `boundaries`.
(HL7 v2.5.1 chapter 2.10.3, batch protocol; MLLP Release 1)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hl7bridge.hl7 import batch
from hl7bridge.hl7.boundaries import BLANK, BYTE_ORDER_MARK, beginning_of, separator_at, uses_line_feeds
from hl7bridge.hl7.mllp import (
    CARRIAGE_RETURN,
    END_BLOCK,
    HEAD_SIZE,
    NEED_DATA,
    START_BLOCK,
    BytesDiscarded,
    Decoder,
    FrameReceived,
    FrameTooLarge,
)
from hl7bridge.model import Finding, Severity

LARGEST = 256 * 1024 * 1024
"""Bytes of one message, unless told."""

MOST_FINDINGS = 100
"""Findings that are kept of one file."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One message. `end`: offset in the file behind it (of a framed file, behind its frame). `size`: its bytes, of which
    `raw` has only the first 64 KiB where they are more than the stream's `largest`."""

    raw: bytes
    end: int
    size: int

    @property
    def too_large(self) -> bool:
        """Whether the message was larger than the stream takes."""
        return self.size > len(self.raw)


class MessageStream:
    """The pieces of one file. Not thread-safe."""

    def __init__(self, largest: int = LARGEST) -> None:
        """`largest`: bytes of one message (or frame)."""
        self._largest = largest
        self._findings: list[Finding] = []
        self._begin = bytearray()  # what came before it was clear whether the file is framed
        self._passed = 0  # bytes of blanks that are not kept
        self._file: _Framed | _Bare | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Warnings of what the wrappers say, and of bytes that belong to no frame; complete after the last piece."""
        return tuple(self._findings)

    def receive_data(self, data: bytes) -> None:
        """The next bytes of the file."""
        if self._file is None:
            self._begin += data
            self._look()
        else:
            self._file.receive_data(data)

    def end(self) -> None:
        """There are no more."""
        if self._file is not None:
            self._file.end()

    def next_piece(self) -> Piece | None:
        """The next message; None when more bytes are needed, or, after `end`, when there is none."""
        piece = self._file.next_piece() if self._file else None
        if self._file and self._file.findings:
            room = MOST_FINDINGS - len(self._findings)
            self._findings += self._file.findings[:room]
            self._file.findings.clear()
        return piece

    def _look(self) -> None:
        first = self._begin.lstrip(BLANK)[:1]
        if first:
            kind = _Framed if first == START_BLOCK else _Bare
            self._file = kind(self._largest, self._passed)
            self._file.receive_data(bytes(self._begin))
        elif len(self._begin) <= HEAD_SIZE:
            return
        self._passed += len(self._begin)
        self._begin.clear()


class _Bare:
    """Messages one behind the other."""

    def __init__(self, largest: int, offset: int) -> None:
        self.findings: list[Finding] = []
        self._envelopes = batch.Envelopes()
        self._largest, self._kept = largest, min(HEAD_SIZE, largest)
        self._buffer = bytearray()
        self._at = 0  # where the part under way begins in the buffer
        self._scanned = 0  # no boundary stands before
        self._line_feeds: bool | None = None  # whether LF ends the segments of the part under way; None = not clear yet
        self._separator = b""
        self._offset = offset  # of the buffer's begin in the file
        self._head: bytes | None = None  # of a part that is too large
        self._dropped = 0
        self._begun = self._ended = self._parted = False
        self._leading = b""

    def receive_data(self, data: bytes) -> None:
        del self._buffer[: self._at]
        self._scanned = max(0, self._scanned - self._at)
        self._offset += self._at
        self._at = 0
        self._buffer += data

    def end(self) -> None:
        self._ended = True

    def next_piece(self) -> Piece | None:
        while self._begun or self._begin():
            end = self._boundary()
            if end < 0:
                if not self._ended:
                    self._bound()
                    return None
                if self._at == len(self._buffer) and not self._dropped:
                    self._close()
                    return None
                end = len(self._buffer)
            if piece := self._take(end):
                return piece
        return None

    def _begin(self) -> bool:
        """Pass over a byte order mark and blanks at the begin of the file. Whether anything follows them."""
        buffer, start = self._buffer, 0
        if not self._ended and len(buffer) < len(BYTE_ORDER_MARK):
            return False
        if buffer.startswith(BYTE_ORDER_MARK):
            start = len(BYTE_ORDER_MARK)
        start = len(buffer) - len(buffer[start:].lstrip(BLANK))
        if start == len(buffer):
            return False
        self._leading = bytes(buffer[:start])
        self._at = self._scanned = start
        self._begun = True
        return True

    def _boundary(self) -> int:
        """Where the next part begins; -1 = not in the buffer, as far as one can tell."""
        more = not self._ended
        if self._line_feeds is None:
            self._line_feeds = uses_line_feeds(self._buffer, self._at, more=more)
            self._separator = separator_at(self._buffer, self._at)
        if self._line_feeds is None:
            return -1
        end, self._scanned = beginning_of(self._buffer, self._separator, self._line_feeds, self._scanned, more=more)
        return end

    def _take(self, end: int) -> Piece | None:
        part = self._head if self._head is not None else bytes(self._buffer[self._at : end])
        size = self._dropped + end - self._at
        self._envelopes.see(part)
        whole = not self._parted and self._ended and end == len(self._buffer)
        self._parted, self._at, self._line_feeds = True, end, None
        self._head, self._dropped = None, 0
        message = batch.without_wrapper(part)
        if not message:
            return None
        if size > self._largest:
            return Piece(message[: self._kept], self._offset + end, size)
        if whole and message is part:
            message = self._leading + message  # a single message stands as it is
        return Piece(message, self._offset + end, len(message))

    def _bound(self) -> None:
        """Let go of the bytes of a part that is too large; only their number is kept."""
        held = self._scanned - self._at
        if self._dropped + held <= self._largest:
            return
        if self._head is None:
            self._head = bytes(self._buffer[self._at : self._at + self._kept])
        self._dropped += held
        self._at = self._scanned

    def _close(self) -> None:
        self._envelopes.end()
        self.findings += self._envelopes.findings
        self._envelopes = batch.Envelopes()


class _Framed:
    """Messages in MLLP frames, each frame with one or several."""

    def __init__(self, largest: int, offset: int) -> None:
        self.findings: list[Finding] = []
        self._decoder = Decoder(largest)
        self._waiting: deque[Piece] = deque()
        self._offset = offset  # behind the event that was taken last

    def receive_data(self, data: bytes) -> None:
        self._decoder.receive_data(data)

    def end(self) -> None:
        decoder = self._decoder
        while self._take():
            pass
        if decoder.awaiting_end:
            decoder.end_of_block_timeout()
        elif decoder.inside_frame:
            self._warn("frame-open", "the last frame has no end: it may be cut off")
            decoder.receive_data(END_BLOCK + CARRIAGE_RETURN)

    def next_piece(self) -> Piece | None:
        while not self._waiting:
            if not self._take():
                return None
        return self._waiting.popleft()

    def _take(self) -> bool:
        """Take the decoder's next event. False when it needs more bytes."""
        event = self._decoder.next_event()
        if event is NEED_DATA:
            return False
        if isinstance(event, BytesDiscarded):
            self._offset += event.count
            if event.reason != "filler":
                self._warn(event.reason, "bytes between the frames belong to no message")
        elif isinstance(event, FrameTooLarge):
            self._offset += event.size + 3  # VT, FS, CR
            self._waiting.append(Piece(event.head, self._offset, event.size))
        elif isinstance(event, FrameReceived):
            self._offset += len(event.body) + (2 if event.tolerated == "end-without-cr" else 3)
            if event.defect:
                self._warn(event.defect, "a block character (VT or FS) stands inside a message")
            found = batch.split(event.body)
            self.findings += found.findings
            self._waiting += (Piece(raw, self._offset, len(raw)) for raw in found.messages)
        return True

    def _warn(self, local: str, text: str) -> None:
        self.findings.append(Finding("100", local, text, Severity.WARNING))
