"""MLLP framing: bytes of a connection to frames, without any I/O.

HL7 v2 Transport Specification, MLLP Release 1: a frame is VT, the message, FS, CR (0x0B .. 0x1C 0x0D); the message itself
may hold neither VT nor FS. In the manner of h11: feed `receive_data`, then call `next_event` until it says NEED_DATA.

    what arrives                            what comes out
    VT a FS CR                              FrameReceived(a)
    VT a FS LF, VT a FS VT ..               FrameReceived(a), tolerated "end-with-line-feed", "end-without-cr"
    VT a FS, then nothing for a while       FrameReceived(a), tolerated "end-without-cr"   (`end_of_block_timeout`)
    VT FS CR                                FrameReceived(b""): a keep-alive
    CR, LF, NUL and blanks between frames   BytesDiscarded, "filler"
    anything else between frames            BytesDiscarded, "outside-frame"
    VT a VT b FS CR                         FrameReceived(a VT b), defect "start-block-inside"
    VT a FS b FS CR                         FrameReceived(a FS b), defect "end-block-inside"
    VT a VT MSH.. FS CR                     BytesDiscarded, "partial-frame" (VT a), then FrameReceived(MSH..)
    VT a FS b VT MSH.. FS CR                FrameReceived(a FS b), defect "end-block-inside", then FrameReceived(MSH..)
    more than `max_frame` before FS CR      FrameTooLarge(the first 64 KiB, size) at its end
    VT a, and `give_up` before its end      what is there of a; BytesDiscarded, "rest-of-frame", when the rest has ended

The same stream gives the same events however it is cut, in linear time, and with no more memory than `max_frame` and the
piece that was fed last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

START_BLOCK = b"\x0b"
END_BLOCK = b"\x1c"
CARRIAGE_RETURN = b"\r"

DEFAULT_MAX_FRAME = 10 * 1024 * 1024
HEAD_SIZE = 64 * 1024

_VT, _FS, _CR, _LF = 0x0B, 0x1C, 0x0D, 0x0A
_FILLER = b"\r\n\0 \t"

# A VT before one of these inside a frame begins anew: the sender gave up the frame before (reset, or resent).
_BEGINNINGS = (b"MSH", b"FHS", b"BHS")
_DECIDING_START = re.compile(rb"\x0b(?![^MFB])(?=MSH|FHS|BHS|(?:MS?|FH?|BH?)?\Z)")
_DECIDING_END = re.compile(rb"\x1c(?=[\r\n\x0b]|\Z)")


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A whole frame. `body` is what stood between VT and FS, untouched; b"" is a keep-alive.

    defect     "", or what makes the content corrupt: "start-block-inside", "end-block-inside"
    tolerated  "", or how the end differed from FS CR: "end-with-line-feed", "end-without-cr"
    """

    body: bytes
    defect: str = ""
    tolerated: str = ""


@dataclass(frozen=True, slots=True)
class FrameTooLarge:
    """A frame beyond `max_frame` has ended. `head`: its first 64 KiB, for the MSH segment; `size`: of the body, in bytes."""

    head: bytes
    size: int


@dataclass(frozen=True, slots=True)
class FrameUnfinished:
    """A frame that was given up before its end. `head`: its first 64 KiB at most, for the MSH segment; `size`: so far."""

    head: bytes
    size: int


@dataclass(frozen=True, slots=True)
class BytesDiscarded:
    """Bytes that belong to no frame. `reason`: "filler", "outside-frame", "partial-frame" or "rest-of-frame"."""

    count: int
    reason: str


class NeedData(Enum):
    """The type of NEED_DATA."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA

Event = FrameReceived | FrameTooLarge | BytesDiscarded


class Decoder:
    """The receiving side of one connection. Not thread-safe."""

    def __init__(self, max_frame: int = DEFAULT_MAX_FRAME) -> None:
        """`max_frame`: the largest body in bytes."""
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._scanned = 0  # bytes of the buffer that are known to be body
        self._inside = False
        self._defect = ""
        self._end_forced = False
        # An oversized body leaves the buffer as it comes: its head and its size stay.
        self._head: bytes | None = None
        self._dropped = 0
        self._given_up = False
        # Bytes outside frames are counted and told once, when the next frame begins or the connection ends.
        self._outside = 0
        self._outside_is_filler = True

    @property
    def inside_frame(self) -> bool:
        """Whether a VT has come whose frame has not ended."""
        return self._inside

    @property
    def given_up(self) -> bool:
        """Whether the rest of a frame is being discarded (`give_up`), until it ends or the next one begins."""
        return self._given_up

    @property
    def awaiting_end(self) -> bool:
        """Whether the last byte was a FS inside a frame, so that a CR should follow."""
        return self._inside and len(self._buffer) == self._scanned + 1 and self._buffer[-1] == _FS

    @property
    def held(self) -> int:
        """How many bytes are kept of what has come."""
        return len(self._buffer)

    @property
    def outside_frame(self) -> int:
        """How many bytes have come since the last frame that belong to none, filler left out: 0 from a peer in order."""
        return 0 if self._outside_is_filler else self._outside

    def receive_data(self, data: bytes) -> None:
        """Add bytes as they arrived; then take events until NEED_DATA, as only that bounds the memory."""
        self._buffer += data

    def end_of_block_timeout(self) -> None:
        """No CR followed the FS in time: `next_event` will give the frame as complete. No effect in any other state."""
        if self.awaiting_end:
            self._end_forced = True

    def give_up(self) -> FrameUnfinished | None:
        """Wait no longer for the end of the frame under way: what is there of it. None if there is none, or the second time.

        Its rest is discarded as it comes, so that the stream is in order again with the next frame.
        """
        if not self._inside or self._given_up:
            return None
        given_up = FrameUnfinished(self._head or self._first_bytes(), self._dropped + len(self._buffer))
        self._given_up, self._head = True, given_up.head
        return given_up

    def next_event(self) -> Event | Literal[NeedData.NEED_DATA]:
        """The next event, in the order of the stream, or NEED_DATA."""
        if not self._inside and not self._find_start():
            return NEED_DATA
        if self._outside:
            return self._take_outside()
        buffer, end = self._buffer, -1
        while True:
            if end < self._scanned:
                end = self._next_end_block()
                end = len(buffer) if end < 0 else end
            start = self._next_start_block(end)
            self._scanned = at = end if start < 0 else start
            event = None
            if start >= 0:
                event = self._at_start_block(at)
            elif end < len(buffer):
                event = self._at_end_block(at)
            if event is not None:
                return event
            if self._scanned == at:
                self._bound()
                return NEED_DATA

    def at_end(self) -> BytesDiscarded | None:
        """The peer has closed: what is left over and belongs to no frame.

        A frame whose FS has come is whole but for its CR: call `end_of_block_timeout` and take its event first.
        """
        if self._inside:
            return self._abandon(len(self._buffer), len(self._buffer))
        return self._take_outside() if self._outside else None

    # Of a frame that is corrupt anyway, block characters that decide nothing are passed over at the speed of a search: a
    # megabyte of them must not cost more than another megabyte.

    def _next_end_block(self) -> int:
        if self._defect == "end-block-inside":
            return _position(_DECIDING_END.search(self._buffer, self._scanned))
        return self._buffer.find(END_BLOCK, self._scanned)

    def _next_start_block(self, end: int) -> int:
        if self._defect:
            return _position(_DECIDING_START.search(self._buffer, self._scanned, end))
        return self._buffer.find(START_BLOCK, self._scanned, end)

    # -- between frames --

    def _find_start(self) -> bool:
        """Count what stands before the next VT, and begin the frame behind it. Whether there is one."""
        buffer = self._buffer
        start = buffer.find(START_BLOCK)
        before = len(buffer) if start < 0 else start
        if before:
            if self._outside_is_filler and buffer[:before].strip(_FILLER):
                self._outside_is_filler = False
            self._outside += before
        del buffer[: before + (start >= 0)]
        self._inside = start >= 0
        return self._inside

    def _take_outside(self) -> BytesDiscarded:
        reason = "filler" if self._outside_is_filler else "outside-frame"
        event = BytesDiscarded(self._outside, reason)
        self._outside, self._outside_is_filler = 0, True
        return event

    # -- inside a frame: `at` is where the buffer holds a block character; None = go on, or wait if `_scanned` stays --

    def _at_start_block(self, at: int) -> Event | None:
        following = bytes(self._buffer[at + 1 : at + 4])
        if following in _BEGINNINGS:
            event = self._frame(at, at + 1) if self._defect == "end-block-inside" else self._abandon(at, at + 1)
            self._inside = True
            return event
        if len(following) < 3 and any(beginning.startswith(following) for beginning in _BEGINNINGS):
            return None
        self._defect = self._defect or "start-block-inside"
        self._scanned = at + 1
        return None

    def _at_end_block(self, at: int) -> Event | None:
        if at + 1 == len(self._buffer):
            if self._end_forced:
                return self._frame(at, at + 1, "end-without-cr")
            return None
        self._end_forced = False
        following = self._buffer[at + 1]
        if following == _CR:
            return self._frame(at, at + 2)
        if following == _LF:
            return self._frame(at, at + 2, "end-with-line-feed")
        if following == _VT:
            return self._frame(at, at + 1, "end-without-cr")
        self._defect = "end-block-inside"
        self._scanned = at + 1
        return None

    def _frame(self, end: int, consumed: int, tolerated: str = "") -> Event:
        """The frame whose body ends at `end`; the buffer goes on at `consumed`."""
        size = self._dropped + end
        event: Event
        if self._given_up:
            return self._abandon(end, consumed)
        if size > self._max_frame:
            event = FrameTooLarge(self._head or self._first_bytes(), size)
        else:
            with memoryview(self._buffer) as whole:  # a slice of the buffer itself would be one more copy
                event = FrameReceived(bytes(whole[:end]), self._defect, tolerated)
        self._reset(consumed)
        return event

    def _abandon(self, end: int, consumed: int) -> BytesDiscarded:
        reason = "rest-of-frame" if self._given_up else "partial-frame"
        event = BytesDiscarded(1 + self._dropped + end, reason)
        self._reset(consumed)
        return event

    def _reset(self, consumed: int) -> None:
        del self._buffer[:consumed]
        self._scanned = 0
        self._inside = False
        self._defect = ""
        self._end_forced = False
        self._head = None
        self._dropped = 0
        self._given_up = False

    def _first_bytes(self) -> bytes:
        # Not more than `max_frame`: so many are there whenever it is exceeded, however the stream was cut.
        return bytes(self._buffer[: min(HEAD_SIZE, self._max_frame)])

    def _bound(self) -> None:
        """Let go of body bytes beyond `max_frame`; only their number is kept."""
        if self._head is None:
            if self._scanned <= self._max_frame:
                return
            self._head = self._first_bytes()
        self._dropped += self._scanned
        del self._buffer[: self._scanned]
        self._scanned = 0


def _position(found: re.Match[bytes] | None) -> int:
    return -1 if found is None else found.start()


def frame(body: bytes) -> bytes:
    """`body` as one MLLP frame. The caller sees to it that the body holds neither VT nor FS."""
    return START_BLOCK + body + END_BLOCK + CARRIAGE_RETURN
