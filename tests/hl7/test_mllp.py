"""MLLP framing: every stream gives the same events however it is cut (facts of real senders, one row each)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.hl7 import mllp
from hl7bridge.hl7.mllp import (
    HEAD_SIZE,
    NEED_DATA,
    BytesDiscarded,
    Decoder,
    Event,
    FrameReceived,
    FrameTooLarge,
    FrameUnfinished,
    frame,
)
from tests.examples import examples
from tests.hl7.corpus import FILES, needs_corpus

A = b"MSH|^~\\&|HR|NORTH|||20260304||MFN^M02|A1|P|2.5.1\rMFI|STF||UPD|||AL\r"
B = b"MSH|^~\\&|HR|NORTH|||20260304||MFN^M02|B2|P|2.5.1\rMFI|STF||UPD|||NE\r"

MAX = 400


def drained(decoder: Decoder) -> Iterator[Event]:
    while True:
        event = decoder.next_event()
        if event is NEED_DATA:
            return
        yield event


def events_of(pieces: Iterable[bytes], *, max_frame: int = MAX, timeout: bool = False) -> list[Event | str]:
    """All events of a stream and, at its end, of a silent second (`timeout`) and the close."""
    decoder = Decoder(max_frame)
    events: list[Event | str] = []
    for piece in pieces:
        decoder.receive_data(piece)
        events.extend(drained(decoder))
    if timeout:
        decoder.end_of_block_timeout()
        events.extend(drained(decoder))
    left = decoder.at_end()
    if left is not None:
        events.append(left)
    events.append("closed")
    return events


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """The stream whole, byte by byte, and split in two at each point."""
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]


STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "one frame": (frame(A), [FrameReceived(A)]),
    "nothing": (b"", []),
    "two frames in one packet": (frame(A) + frame(B), [FrameReceived(A), FrameReceived(B)]),
    "junk before VT": (b"junk" + frame(A), [BytesDiscarded(4, "outside-frame"), FrameReceived(A)]),
    "LF between frames": (
        frame(A) + b"\n" + frame(B),
        [FrameReceived(A), BytesDiscarded(1, "filler"), FrameReceived(B)],
    ),
    "CR LF keep-alives before a frame": (b"\r\n\r\n" + frame(A), [BytesDiscarded(4, "filler"), FrameReceived(A)]),
    "NULs between frames": (
        frame(A) + b"\0\0\0" + frame(B),
        [FrameReceived(A), BytesDiscarded(3, "filler"), FrameReceived(B)],
    ),
    "filler and junk count as junk": (b"\r\n?\r\n" + frame(A), [BytesDiscarded(5, "outside-frame"), FrameReceived(A)]),
    "peer closes inside a frame": (b"\x0b" + A, [BytesDiscarded(len(A) + 1, "partial-frame")]),
    "peer closes after FS": (b"\x0b" + A + b"\x1c", [BytesDiscarded(len(A) + 2, "partial-frame")]),
    "peer closes behind junk": (frame(A) + b"junk", [FrameReceived(A), BytesDiscarded(4, "outside-frame")]),
    "peer closes behind VT and half a name": (b"\x0b" + A + b"\x0bMS", [BytesDiscarded(len(A) + 4, "partial-frame")]),
    "FS LF for FS CR": (b"\x0b" + A + b"\x1c\n", [FrameReceived(A, tolerated="end-with-line-feed")]),
    "FS LF, then a frame": (
        b"\x0b" + A + b"\x1c\n" + frame(B),
        [FrameReceived(A, tolerated="end-with-line-feed"), FrameReceived(B)],
    ),
    "FS CR LF": (frame(A) + b"\n", [FrameReceived(A), BytesDiscarded(1, "filler")]),
    "FS VT without CR": (
        b"\x0b" + A + b"\x1c" + frame(B),
        [FrameReceived(A, tolerated="end-without-cr"), FrameReceived(B)],
    ),
    "no VT": (A + b"\x1c\r", [BytesDiscarded(len(A) + 2, "outside-frame")]),
    "no VT, then a frame": (
        A + b"\x1c\r" + frame(B),
        [BytesDiscarded(len(A) + 2, "outside-frame"), FrameReceived(B)],
    ),
    "VT inside the message": (
        b"\x0b" + A + b"\x0bNTE\x1c\r",
        [FrameReceived(A + b"\x0bNTE", defect="start-block-inside")],
    ),
    "VT MS is not a beginning": (
        b"\x0b" + A + b"\x0bMS\x1c\r",
        [FrameReceived(A + b"\x0bMS", defect="start-block-inside")],
    ),
    "VT right before the end": (b"\x0b" + A + b"\x0b\x1c\r", [FrameReceived(A + b"\x0b", defect="start-block-inside")]),
    "partial frame, then a whole one": (
        b"\x0b" + A[:30] + frame(B),
        [BytesDiscarded(31, "partial-frame"), FrameReceived(B)],
    ),
    "VT twice": (b"\x0b" + frame(A), [BytesDiscarded(1, "partial-frame"), FrameReceived(A)]),
    "partial frame, then a batch": (
        b"\x0b" + A[:30] + frame(b"FHS|^~\\&\r"),
        [BytesDiscarded(31, "partial-frame"), FrameReceived(b"FHS|^~\\&\r")],
    ),
    "partial frame, then a batch without file": (
        b"\x0b" + A[:30] + frame(b"BHS|^~\\&\r"),
        [BytesDiscarded(31, "partial-frame"), FrameReceived(b"BHS|^~\\&\r")],
    ),
    "FS inside the message": (
        b"\x0b" + A + b"\x1cNTE\r\x1c\r",
        [FrameReceived(A + b"\x1cNTE\r", defect="end-block-inside")],
    ),
    "FS FS CR": (b"\x0b" + A + b"\x1c\x1c\r", [FrameReceived(A + b"\x1c", defect="end-block-inside")]),
    "FS inside, never ended, then a frame": (
        b"\x0b" + A + b"\x1c\0\0" + frame(B),
        [FrameReceived(A + b"\x1c\0\0", defect="end-block-inside"), FrameReceived(B)],
    ),
    "VT and FS inside, then a frame": (
        b"\x0b" + A + b"\x0bx\x1cy" + frame(B),
        [FrameReceived(A + b"\x0bx\x1cy", defect="end-block-inside"), FrameReceived(B)],
    ),
    "empty frame": (b"\x0b\x1c\r", [FrameReceived(b"")]),
    "empty frame, then a frame": (b"\x0b\x1c\r" + frame(A), [FrameReceived(b""), FrameReceived(A)]),
    "MLLP Release 2 commit": (b"\x0b\x06\x1c\r", [FrameReceived(b"\x06")]),
    "no HL7 in the frame": (frame(b"GET / HTTP/1.1\r\n"), [FrameReceived(b"GET / HTTP/1.1\r\n")]),
    "byte order mark": (frame(b"\xef\xbb\xbf" + A), [FrameReceived(b"\xef\xbb\xbf" + A)]),
    "CR LF before MSH": (frame(b"\r\n" + A), [FrameReceived(b"\r\n" + A)]),
    "LF segments": (frame(A.replace(b"\r", b"\n")), [FrameReceived(A.replace(b"\r", b"\n"))]),
    "high bytes": (frame(A + b"NTE|\xc9\xff\x00\r"), [FrameReceived(A + b"NTE|\xc9\xff\x00\r")]),
    "exactly max_frame": (frame(b"x" * MAX), [FrameReceived(b"x" * MAX)]),
    "one more than max_frame": (frame(b"x" * (MAX + 1)), [FrameTooLarge(b"x" * MAX, MAX + 1)]),
    "over the cap, then a frame": (
        frame(A + b"y" * 900) + frame(B),
        [FrameTooLarge((A + b"y" * 900)[:MAX], len(A) + 900), FrameReceived(B)],
    ),
    "over the cap with blocks inside": (
        frame(A + b"y\x0by\x1cy" * 100) + frame(B),
        [FrameTooLarge((A + b"y\x0by\x1cy" * 100)[:MAX], len(A) + 500), FrameReceived(B)],
    ),
    "over the cap, ended by FS LF": (
        b"\x0b" + A + b"y" * 900 + b"\x1c\n" + frame(B),
        [FrameTooLarge((A + b"y" * 900)[:MAX], len(A) + 900), FrameReceived(B)],
    ),
    "over the cap, given up for a new frame": (
        b"\x0b" + b"y" * 900 + frame(B),
        [BytesDiscarded(901, "partial-frame"), FrameReceived(B)],
    ),
    "over the cap, closed": (b"\x0b" + b"y" * 900, [BytesDiscarded(901, "partial-frame")]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_stream_gives_its_events_however_it_is_cut(name: str) -> None:
    stream, expected = STREAMS[name]
    for pieces in cuts(stream):
        assert events_of(pieces) == [*expected, "closed"]


@pytest.mark.parametrize("name", STREAMS)
def test_a_frame_behind_the_stream_is_received_where_the_stream_ends_between_frames(name: str) -> None:
    stream, expected = STREAMS[name]
    ends_inside = expected and isinstance(expected[-1], BytesDiscarded) and expected[-1].reason == "partial-frame"
    for pieces in cuts(stream):
        events = events_of([*pieces, frame(A)])
        assert events[-2:] == [FrameReceived(A), "closed"]
        if not ends_inside:
            assert events[: len(expected)] == expected


TIMEOUTS: dict[str, tuple[bytes, list[Event]]] = {
    "FS without CR": (b"\x0b" + A + b"\x1c", [FrameReceived(A, tolerated="end-without-cr")]),
    "empty frame without CR": (b"\x0b\x1c", [FrameReceived(b"", tolerated="end-without-cr")]),
    "over the cap without CR": (b"\x0b" + b"y" * 900 + b"\x1c", [FrameTooLarge(b"y" * MAX, 900)]),
    "no FS yet": (b"\x0b" + A, [BytesDiscarded(len(A) + 1, "partial-frame")]),
    "between frames": (frame(A), [FrameReceived(A)]),
    "behind VT and half a name": (b"\x0b" + A + b"\x0bMS", [BytesDiscarded(len(A) + 4, "partial-frame")]),
}


@pytest.mark.parametrize("name", TIMEOUTS)
def test_silence_after_fs_completes_the_frame(name: str) -> None:
    stream, expected = TIMEOUTS[name]
    for pieces in cuts(stream):
        assert events_of(pieces, timeout=True) == [*expected, "closed"]


def test_cr_that_comes_after_the_timeout_is_filler() -> None:
    decoder = Decoder()
    decoder.receive_data(b"\x0b" + A + b"\x1c")
    assert decoder.next_event() is NEED_DATA
    decoder.end_of_block_timeout()
    assert list(drained(decoder)) == [FrameReceived(A, tolerated="end-without-cr")]
    decoder.receive_data(b"\r" + frame(B))
    assert list(drained(decoder)) == [BytesDiscarded(1, "filler"), FrameReceived(B)]


def test_timeout_is_void_once_more_bytes_have_come() -> None:
    decoder = Decoder()
    decoder.receive_data(b"\x0b" + A + b"\x1c")
    assert decoder.next_event() is NEED_DATA
    decoder.end_of_block_timeout()
    decoder.receive_data(b"x\x1c")
    assert decoder.next_event() is NEED_DATA
    decoder.receive_data(b"\r")
    assert decoder.next_event() == FrameReceived(A + b"\x1cx", defect="end-block-inside")


def test_states_that_the_listener_keeps_time_by() -> None:
    decoder = Decoder()
    steps = [
        (b"", False, False, 0),
        (b"\r\n", False, False, 0),
        (b"?", False, False, 3),
        (b"\x0b", True, False, 0),
        (A, True, False, 0),
        (b"\x1c", True, True, 0),
        (b"x", True, False, 0),
        (b"\x0b", True, False, 0),
        (b"\x1c", True, True, 0),
        (b"\r", False, False, 0),
    ]
    for data, inside, awaiting, outside in steps:
        decoder.receive_data(data)
        list(drained(decoder))
        assert (decoder.inside_frame, decoder.awaiting_end, decoder.outside_frame) == (inside, awaiting, outside)


def test_head_of_a_frame_too_large_is_its_first_64_kib() -> None:
    body = A + b"z" * 200_000
    assert events_of([frame(body)], max_frame=100_000) == [FrameTooLarge(body[:HEAD_SIZE], len(body)), "closed"]


def test_memory_stays_within_max_frame_and_the_last_piece() -> None:
    decoder = Decoder(max_frame=10_000)
    stream = frame(b"y" * 300_000) + b"j" * 300_000 + frame(A)
    for at in range(0, len(stream), 1000):
        decoder.receive_data(stream[at : at + 1000])
        list(drained(decoder))
        assert len(decoder._buffer) <= 10_000 + 1000


class _CountingBuffer(bytearray):
    """Counts how many bytes searches have looked at, at most."""

    looked_at = 0

    def find(self, wanted: object, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        stop = len(self) if end is None else min(end, len(self))
        found = super().find(wanted, start, stop)  # type: ignore[arg-type]
        self.looked_at += (stop if found < 0 else found + 1) - start
        return found


@pytest.mark.parametrize(
    "body",
    [b"a" * 60_000, b"\x0b" * 60_000, b"\x1cx" * 30_000, b"\x0bMS" * 20_000],
    ids=["plain", "VT", "FS", "half beginnings"],
)
@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_searching_is_linear(body: bytes, size: int) -> None:
    decoder = Decoder()
    decoder._buffer = buffer = _CountingBuffer()
    stream = frame(b"MSH|" + body)
    for at in range(0, len(stream), size):
        decoder.receive_data(stream[at : at + size])
        list(drained(decoder))
    assert not decoder.inside_frame
    assert buffer.looked_at < 6 * len(stream)


def test_ten_megabytes_come_through_in_pieces() -> None:
    body = b"MSH|" + b"x" * (10 * 1024 * 1024 - 4)
    stream = frame(body)
    pieces = (stream[at : at + 65_536] for at in range(0, len(stream), 65_536))
    assert events_of(pieces, max_frame=mllp.DEFAULT_MAX_FRAME) == [FrameReceived(body), "closed"]


_PARTS = st.one_of(
    st.sampled_from(
        [
            frame(A),
            frame(B),
            b"\x0b",
            b"\x1c",
            b"\r",
            b"\n",
            b"\0",
            b"MSH|",
            b"M",
            b"S",
            b"H",
            b"\x0bMSH|^~\\&",
            b"FHS|",
        ]
    ),
    st.binary(max_size=20),
    st.just(b"q" * (MAX + 1)),
)


def test_any_split_of_any_stream_gives_the_same_events() -> None:
    @settings(max_examples=examples(80), deadline=None)
    @given(st.lists(_PARTS, max_size=12).map(b"".join), st.data(), st.booleans())
    def check(stream: bytes, data: st.DataObject, timeout: bool) -> None:
        expected = events_of([stream], timeout=timeout)
        points = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10), label="cut at"))
        pieces = [stream[a:b] for a, b in zip([0, *points], [*points, len(stream)], strict=True)]
        assert events_of(pieces, timeout=timeout) == expected
        assert events_of([stream[at : at + 1] for at in range(len(stream))], timeout=timeout) == expected

    check()


def test_every_byte_is_accounted_for() -> None:
    @settings(max_examples=examples(80), deadline=None)
    @given(st.lists(_PARTS, max_size=12).map(b"".join))
    def check(stream: bytes) -> None:
        frames = counted = 0
        for event in events_of([stream]):
            if isinstance(event, BytesDiscarded):
                counted += event.count
            elif isinstance(event, FrameReceived | FrameTooLarge):
                frames += 1
                counted += 1 + (len(event.body) if isinstance(event, FrameReceived) else event.size)
        # Behind the body come two bytes, one (no CR), or none (given up for the next frame).
        assert counted <= len(stream) <= counted + 2 * frames

    check()


_BODY = st.binary(max_size=30).map(lambda body: body.replace(b"\x0b", b"").replace(b"\x1c", b""))


@settings(max_examples=examples(80), deadline=None)
@given(_BODY, _BODY | st.just(b"q" * (MAX + 1)), st.booleans(), st.data())
def test_behind_a_frame_that_was_given_up_the_stream_is_in_order(
    begun: bytes, rest: bytes, ends: bool, data: st.DataObject
) -> None:
    decoder = Decoder(MAX)
    decoder.receive_data(b"\x0b" + begun)
    assert decoder.next_event() is NEED_DATA
    assert decoder.give_up() == FrameUnfinished(begun, len(begun))
    assert decoder.give_up() is None
    stream = rest + (b"\x1c\r" if ends else b"") + frame(A)
    points = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    found = []
    for a, b in zip([0, *points], [*points, len(stream)], strict=True):
        decoder.receive_data(stream[a:b])
        while (event := decoder.next_event()) is not NEED_DATA:
            found.append(event)
    assert found == [BytesDiscarded(1 + len(begun + rest), "rest-of-frame"), FrameReceived(A)]
    assert not decoder.given_up


@needs_corpus
def test_corpus_comes_through_unchanged() -> None:
    bodies = [path.read_bytes() for path in FILES]
    clean = [body for body in bodies if b"\x0b" not in body and b"\x1c" not in body]
    assert len(clean) > 200
    stream = b"".join(frame(body) for body in clean)
    for size in (997, 65_536, len(stream)):
        pieces = (stream[at : at + size] for at in range(0, len(stream), size))
        assert events_of(pieces, max_frame=1 << 24) == [*(FrameReceived(body) for body in clean), "closed"]
