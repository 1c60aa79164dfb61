"""Frames that hold no message to read, and what they get: one that is too large, one that never ended, an empty batch.

Every frame with anything in it has an answer, or a line in the log: no answer may be taken for that of another frame.
(HL7 v2 chapter 2.9: an error that precludes processing; facts/peers.md section 2)
"""

from __future__ import annotations

from collections.abc import Mapping

from hl7bridge.errors import MessageError, UnreadableMessage
from hl7bridge.hl7.boundaries import BLANK, BYTE_ORDER_MARK, first_line
from hl7bridge.hl7.header import Header, read_header
from hl7bridge.hl7.message import location_of
from hl7bridge.mapping.messages import visits
from hl7bridge.model import Refusal

TOO_LARGE, UNFINISHED = "frame-too-large", "frame-unfinished"

_TEXTS: Mapping[str, str] = {
    TOO_LARGE: "The frame is larger than max_frame of this feed",
    UNFINISHED: "The frame did not end (FS, CR) in time: nothing of it is kept, send the whole message",
}
_NO_HEADER = b"MSH|^~\\&|||||||ACK||P|2.5.1"


def no_header() -> Header:
    """Stands for an MSH that cannot be read: an answer with an empty MSA-2 beats silence."""
    return read_header(_NO_HEADER)


def header_of(head: bytes) -> Header | None:
    """The MSH of a frame of which only the begin is there, what it quotes of a patient left out; None: it cannot be read."""
    try:
        return read_header(visits.without_quoted_patient(head, read_header(head).separators))
    except MessageError:
        return None


def can_be_answered(head: bytes) -> bool:
    """Whether the MSH of a frame that did not end is there to its end: of a part, MSH-10 and MSH-16 might be others."""
    header = header_of(head)
    said = head.removeprefix(BYTE_ORDER_MARK).lstrip(BLANK)
    return header is not None and bool(header.control_id) and len(first_line(said)) < len(said)


def refusal(local: str) -> MessageError:
    """Why such a frame is refused, as *unsupported*. `local`: TOO_LARGE or UNFINISHED."""
    error = MessageError("207", local, _TEXTS[local])
    error.refusal = Refusal.UNSUPPORTED
    return error


def block_inside(raw: bytes, header: Header, defect: str) -> UnreadableMessage:
    """The error about a block character within a message; its place is that of the first one."""
    at = next((at for at, byte in enumerate(raw) if byte in b"\x0b\x1c"), 0)
    text = "A block character (VT or FS) stands inside the message: it is not read, for it may be two cut into one"
    return UnreadableMessage("207", defect, text, location_of(raw, at, header.separators.field))
