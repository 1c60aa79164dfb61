"""What answers a batch or a file of batches that holds no message: an empty one, sent back. Pure.

A batch is answered by the answers of its messages, or by a batch of them; of an empty one the latter is empty as well.
HL7 v2.5.1 chapter 2: 2.10.3.2 (acknowledging batches), 2.15.2 (BHS), 2.15.6 (FHS): both have the same fields; -12 refers to
the control id (-11) of what is answered.
"""

from __future__ import annotations

from datetime import datetime

from hl7bridge.hl7.acknowledgment import hl7_time
from hl7bridge.hl7.boundaries import BLANK, BYTE_ORDER_MARK, first_line, name_at, parts_of
from hl7bridge.hl7.escapes import Separators, separators_of

_LONGEST = 250  # characters of a field that is repeated


def answer_to_empty(raw: bytes, control_id: str, now: datetime) -> bytes:
    """The batch, or the file of batches, that answers `raw`: wrappers (FHS, BHS, BTS, FTS) without a message.

    `control_id`: our own, for BHS-11 and FHS-11. A trailer alone is answered like the whole that it ends.
    """
    parts = list(parts_of(raw.removeprefix(BYTE_ORDER_MARK).lstrip(BLANK)))
    names = [name_at(part) for part in parts]
    headers = [_header(part, control_id, now) for part in parts if name_at(part) == b"BHS"]
    is_file = b"FHS" in names or b"FTS" in names
    if not headers and (b"BTS" in names or not is_file):
        headers = [_header(b"BHS|^~\\&", control_id, now)]
    lines = [line for header in headers for line in (header, "BTS" + header[3] + "0")]
    if is_file:
        opening = next((part for part in parts if name_at(part) == b"FHS"), b"FHS|^~\\&")
        header = _header(opening, control_id, now)
        lines = [header, *lines, f"FTS{header[3]}{len(headers)}"]
    return ("\r".join(lines) + "\r").encode("latin-1")


def _header(part: bytes, control_id: str, now: datetime) -> str:
    """BHS or FHS of the answer: sender and receiver exchanged, separators kept."""
    line = first_line(part).decode("latin-1")
    sent = line.split(line[3])
    separators = separators_of(line[3], sent[1] if len(sent) > 1 else "")
    if not (separators.usable and separators.component):
        separators, sent = Separators(), []
    sent += [""] * (12 - len(sent))
    application, facility, ours, our_facility, theirs = (_plain(sent[index]) for index in (2, 3, 4, 5, 10))
    fields = [line[:3], separators.encoding_characters, ours, our_facility, application, facility, hl7_time(now)]
    return separators.field.join([*fields, "", "", "", control_id, theirs])


def _plain(field: str) -> str:
    return field if field.isprintable() and len(field) <= _LONGEST and field != '""' else ""
