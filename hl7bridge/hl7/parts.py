"""A large master file, read a part at a time: each part is a message of its own, the file's opening and some of its records.

A file of 50,000 records, cut and mapped at once, takes twenty times its size in memory; in parts of a few hundred it
takes its own size and little more. Cut is before an MFE alone, so that every record stays whole. (HL7 v2.5.1 chapter 8.5:
MFI, then a group for each MFE; 2.5.2: segments.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from hl7bridge.hl7.boundaries import message_uses_line_feeds
from hl7bridge.hl7.message import Message
from hl7bridge.model import Finding, Location, Record


def split_records(raw: bytes, separator: bytes, records: int) -> Iterator[bytes]:
    """The message in parts of at most `records` MFE, each behind all that stands before the first MFE.

    `separator`: MSH-1. A message without any MFE is one part. The parts are copies; one exists at a time.
    """
    line_break, blank = (rb"[\r\n]", rb"[ \t\0]*+") if message_uses_line_feeds(raw) else (rb"\r", rb"[\n \t\0]*+")
    entry = line_break + blank + rb"MFE(?=" + blank + rb"(?:" + re.escape(separator) + rb"|[\r\n]|\Z))"
    opening, begun, count = b"", 0, 0
    for found in re.finditer(entry, raw):
        start = found.start() + 1  # behind the line break, which ends the segment before
        if not opening:
            opening, begun = raw[:start], start
        elif count == records:
            yield opening + raw[begun:start]
            begun, count = start, 0
        count += 1
    yield opening + raw[begun:] if opening else raw


@dataclass(slots=True)
class Numbering:
    """Where a part stands in the whole: what its own numbers must be raised by. Parts are given in order."""

    positions: int = 0
    _seen: dict[str, int] = field(default_factory=dict)
    _opening: dict[str, int] = field(default_factory=dict)

    def record(self, record: Record) -> Record:
        """A record of the part, with its position and the places of its findings in the whole message."""
        if not self.positions:
            return record
        findings = tuple(self.finding(finding) for finding in record.findings)
        return record._replace(position=record.position + self.positions, findings=findings)

    def finding(self, finding: Finding) -> Finding:
        """A finding about a record of the part, as one of the whole message."""
        place = finding.location
        # A segment that is not there has no number of its own: it is named by that of its MFE.
        counted = "MFE" if finding.local == "segment-missing" else place.segment if place else ""
        return Finding(
            finding.code,
            finding.local,
            finding.text,
            finding.severity,
            self._place(place, counted) if place else None,
            finding.position + self.positions if finding.position else 0,
        )

    def _place(self, place: Location, counted: str) -> Location:
        if place.occurrence <= self._opening.get(counted, 0):
            return place
        occurrence = place.occurrence + self._seen.get(counted, 0)
        return Location(place.segment, occurrence, place.field, place.repetition, place.component)

    def advance(self, part: Message, records: int) -> None:
        """The part has been read: the next one stands behind it."""
        if not self.positions:
            for segment in part.segments:
                if segment.name == "MFE":
                    break
                self._opening[segment.name] = segment.occurrence
        self.positions += records
        for name, count in part.counts().items():
            self._seen[name] = self._seen.get(name, 0) + count - self._opening.get(name, 0)
