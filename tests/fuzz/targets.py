"""What is fuzzed: functions of bytes. Whatever the bytes are, they return; a broken promise is an AssertionError.

The promises: the codec gives the same events however a stream is cut, and neither makes nor loses a byte; the reader says
what a message holds or refuses it; a batch is cut into slices of itself; the intake comes to an end for every message, and
what it answers is an acknowledgment that can be read, wherever the header could be.
"""

from __future__ import annotations

from collections.abc import Callable

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.errors import MessageError
from hl7bridge.hl7 import acknowledgment, batch
from hl7bridge.hl7.message import Message, read_header
from hl7bridge.hl7.mllp import (
    NEED_DATA,
    BytesDiscarded,
    Decoder,
    Event,
    FrameReceived,
    FrameTooLarge,
)
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.store.store import MessageState

CHARSETS = ("utf-8", "latin-1")
NOW = 1_772_442_000.0  # 2026-03-02T09:00:00Z: what is future-dated does not hang on the day of the run
MOST = 512  # the longest frame of the codec's target, so that oversized ones come up

_RULES = FeedRules("urn:oid:2.999.1", takes=frozenset({"staff", "adt"}))
_TO = {"ehr": FhirDestination(DestinationRules("ehr", "http://127.0.0.1/fhir", mode="write"))}
_INTAKE = Intake(FeedPolicy("hr", _RULES, _TO, charset=CHARSETS), b"\0" * 32, clock=lambda: NOW)


def codec(data: bytes) -> None:
    """The first byte says how the rest is cut, which is a frame and whatever block characters it holds."""
    step, stream = (data[0] or 1) if data else 1, b"\x0b" + data[1:] + b"\x1c\r"
    whole = _events([stream])
    assert whole == _events([stream[at : at + step] for at in range(0, len(stream), step)])
    assert sum(map(_size, whole)) <= len(stream)
    for event in whole:
        if isinstance(event, FrameReceived):
            assert event.body in stream


def _events(pieces: list[bytes]) -> list[Event]:
    decoder, found = Decoder(MOST), []
    for piece in pieces:
        decoder.receive_data(piece)
        while (event := decoder.next_event()) is not NEED_DATA:
            found.append(event)
    decoder.end_of_block_timeout()
    while (event := decoder.next_event()) is not NEED_DATA:
        found.append(event)
    if left := decoder.at_end():
        found.append(left)
    return found


def _size(event: Event) -> int:
    if isinstance(event, BytesDiscarded):
        return event.count
    return event.size if isinstance(event, FrameTooLarge) else len(event.body)


def reader(data: bytes) -> None:
    """Everything of a message is read; its segments hold what was sent, and a value is in no place that is not there."""
    try:
        message = Message(data, CHARSETS)
    except MessageError:
        return
    for segment in message.segments:
        for number in range(1, min(segment.fields, 60) + 1):
            count = len(segment.repetitions(number))
            for repetition in (1, count):
                segment.value(number, 1, 1, repetition)
                segment.value(number, 2, 2, repetition)
            assert not segment.value(number, 1, 1, count + 1)
        assert not segment.raw(segment.fields + 1)
    assert isinstance(message.deviations, tuple)


def in_batch(data: bytes) -> None:
    """Each message is a slice of the frame, and they follow each other."""
    found, at = batch.split(data), 0
    for part in found.messages:
        at = data.find(part, at)
        assert at >= 0
        at += len(part)
    assert found.kind == "batch" or found.messages or not data.strip(b"\xef\xbb\xbf\r\n\0 \t")


def mapping(data: bytes) -> None:
    """Every message of the frame ends as one that is stored, and is answered where its header can be read."""
    for prepared in _INTAKE.prepare(data, "127.0.0.1"):
        new = prepared.new
        if new is None:
            assert prepared.counted
            continue
        assert new.note != "internal-error"
        assert new.state in set(MessageState)
        for answer in (*(owed.body for owed in new.acknowledgments), prepared.answer, prepared.refuse()):
            if isinstance(answer, bytes) and answer:
                assert acknowledgment.is_acknowledgment(read_header(answer))
                assert not {0x0B, 0x1C} & set(answer)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "codec": codec,
    "reader": reader,
    "batch": in_batch,
    "mapping": mapping,
}
