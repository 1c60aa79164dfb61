"""Batches: one frame or file that holds several messages, with or without FHS/BHS/BTS/FTS around them.

HL7 v2.5.1 chapter 2: 2.10.3 (batch protocol), 2.15.2 (BHS), 2.15.3 (BTS), 2.15.6 (FHS), 2.15.7 (FTS). Every wrapper is
optional there, and an empty batch is legal. Where one message ends and the next begins: `boundaries`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hl7bridge.hl7.boundaries import BLANK, BYTE_ORDER_MARK, first_line, name_at, parts_of
from hl7bridge.model import Finding, Location, Severity

_NAMES = (b"MSH", b"FHS", b"BHS", b"BTS", b"FTS")
_WRAPPERS = _NAMES[1:]


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of a frame, in order, each a slice of its bytes.

    messages  what begins at an MSH; what stands between wrappers without one is listed as well, so that the reader refuses
              it in its place and nothing is lost. Empty for a frame of blanks and for an empty batch
    kind      "single": one message, the bytes as given; "batch": with wrappers; "several": messages without wrappers
    findings  warnings about counts and missing wrappers
    """

    messages: list[bytes]
    kind: Literal["single", "batch", "several"]
    findings: tuple[Finding, ...] = ()


def split(raw: bytes) -> Batch:
    """Split the body of a frame, or a file, into messages. Never raises: what is no HL7 is one "single" message."""
    start = 0
    if not raw.startswith(b"MSH"):
        start = len(BYTE_ORDER_MARK) if raw.startswith(BYTE_ORDER_MARK) else 0
        start = len(raw) - len(raw[start:].lstrip(BLANK))
        if start == len(raw):
            return Batch([], "single")
    parts = list(parts_of(raw[start:] if start else raw))
    messages = [part for part in map(without_wrapper, parts) if part]
    if not any(map(is_wrapper, parts)):
        return Batch([raw], "single") if len(messages) == 1 else Batch(messages, "several")
    envelopes = Envelopes()
    for part in parts:
        envelopes.see(part)
    envelopes.end()
    return Batch(messages, "batch", tuple(envelopes.findings))


def is_wrapper(part: bytes) -> bool:
    """Whether a part begins with FHS, BHS, BTS or FTS."""
    return name_at(part) in _WRAPPERS


def without_wrapper(part: bytes) -> bytes:
    """What a part holds beside FHS, BHS, BTS or FTS: a message as it is; of a wrapper what follows its own line, if that
    is more than blanks."""
    if not is_wrapper(part):
        return part
    rest = part[len(first_line(part)) :]
    return rest if rest.strip(BLANK) else b""


class Envelopes:
    """Compares BTS-1 and FTS-1 with what was there, and headers with trailers, part by part."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._seen = dict.fromkeys(_NAMES, 0)
        self._in_batch = self._in_file = False
        self._messages = self._batches = 0

    def see(self, part: bytes) -> None:
        """The next part: what begins at an MSH, FHS, BHS, BTS or FTS (its own line is enough), or anything else."""
        name = name_at(part)
        if not name:
            return
        self._seen[name] += 1
        if name == b"MSH":
            self._messages += 1
        elif name == b"FHS":
            if self._in_file:
                self._warn("file-open", "FHS comes before the FTS of the file before it", "FHS")
            self._in_file, self._batches = True, 0
        elif name == b"BHS":
            if self._in_batch:
                self._warn("batch-open", "BHS comes before the BTS of the batch before it", "BHS")
            self._in_batch, self._messages = True, 0
            self._batches += 1
        elif name == b"BTS":
            self._batch_ends(part)
        else:
            self._file_ends(part)

    def end(self) -> None:
        """Nothing follows: what is open now was cut off, or never closed."""
        if self._in_batch:
            self._warn("batch-open", "the last batch has no BTS: it may be cut off", "BHS")
        if self._in_file:
            self._warn("file-open", "the file has no FTS: it may be cut off", "FHS")

    def _batch_ends(self, part: bytes) -> None:
        if not self._in_batch:
            self._warn("batch-not-open", "BTS closes a batch that no BHS opened", "BTS")
        if not _agrees(part, self._messages):
            text = f"BTS-1 does not say how many messages the batch holds: {self._messages}"
            self._warn("batch-count", text, "BTS", 1)
        self._in_batch, self._messages = False, 0

    def _file_ends(self, part: bytes) -> None:
        if self._in_batch:
            self._warn("batch-open", "FTS comes before the BTS of the last batch", "FTS")
        if not self._in_file:
            self._warn("file-not-open", "FTS closes a file that no FHS opened", "FTS")
        # A file without BHS holds one batch.
        batches = self._batches or 1
        if not _agrees(part, batches):
            self._warn("file-count", f"FTS-1 does not say how many batches the file holds: {batches}", "FTS", 1)
        self._in_file = self._in_batch = False

    def _warn(self, local: str, text: str, name: str, field: int = 0) -> None:
        place = Location(name, max(self._seen[name.encode()], 1), field)
        self.findings.append(Finding("100", local, text, Severity.WARNING, place))


def _agrees(trailer: bytes, count: int) -> bool:
    """Whether field 1 of BTS or FTS is empty or holds `count`."""
    line = first_line(trailer)
    fields = line.split(line[3:4]) if len(line) > 3 else []
    stated = fields[1].strip() if len(fields) > 1 else b""
    return not stated or (stated.isdigit() and int(stated) == count)
