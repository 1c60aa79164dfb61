"""What became of every field of a message: `hl7bridge map explain`.

The same rules run as in `staff.translate`, with a trace. Every field that has a value is accounted for exactly once: used,
dropped (fields.toml says why), unused (it gave nothing: why), or of a segment that the mapping does not know. What is
shown here is message content: it is for the analyst who asked, never for a log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hl7bridge.hl7.message import Message, Segment
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import events
from hl7bridge.mapping.messages.record import BEFORE_RECORDS, NOT_A_PRACTITIONER
from hl7bridge.mapping.messages.staff import opened
from hl7bridge.mapping.rules.plans import fields_in_force
from hl7bridge.mapping.rules.tables import mapping_version, segment_table
from hl7bridge.mapping.tracing import Place, Trace
from hl7bridge.model import Finding, Provenance, Translation

MAPPING_VERSION = mapping_version()
"""Of the packaged tables and the code; a feed with tables of its own adds to it (`FeedRules.mapping_version`)."""

ENVELOPE = "envelope"
_SET_ASIDE = frozenset({NOT_A_PRACTITIONER, "placeholder"})


@dataclass(frozen=True, slots=True)
class ExplainedValue:
    """One value: `element` <- `rule` <- `field` <- `source`.

    `position` is the record, 1-based (0 = the message); `element` a FHIR path, or what the field decides ("active",
    "identity", "cleared"); `source` the field's text as sent.
    """

    position: int
    element: str
    value: Any
    rule: str
    field: str
    source: str


@dataclass(frozen=True, slots=True)
class LeftField:
    """A field that has a value and gave nothing. `dropped`: by the tables, on purpose; else `reason` says what was wrong."""

    position: int
    field: str
    occurrence: int
    source: str
    reason: str
    dropped: bool


@dataclass(frozen=True, slots=True)
class UnknownSegment:
    """A segment that the mapping does not know, such as a Z segment: kept in the stored bytes, and named here."""

    position: int
    name: str
    occurrence: int
    fields: int


@dataclass(frozen=True, slots=True)
class UnmappedCode:
    """A code without an entry in its table (or an authority without a system), and how often it came."""

    field: str
    table: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """The accounts of one message: `valued == used + dropped + unused + unknown` (numbers of fields)."""

    message: Message
    translation: Translation
    rows: tuple[ExplainedValue, ...]
    left: tuple[LeftField, ...]
    segments: tuple[UnknownSegment, ...]
    unmapped: tuple[UnmappedCode, ...]
    findings: tuple[Finding, ...]
    valued: int
    used: int
    dropped: int
    unused: int
    unknown: int


def explain(message: Message, rules: FeedRules, now: datetime) -> Explanation:
    """Account for every field. Raises what `staff.translate` raises for a message that is not taken as a whole."""
    trace = Trace()
    opening = opened(message, rules, now, trace)
    translation = Translation(tuple(opening.records()), tuple(opening.findings), rules.mapping_version)
    return _Accounts(message, rules, trace, translation).close()


class _Accounts:
    def __init__(self, message: Message, rules: FeedRules, trace: Trace, translation: Translation) -> None:
        self.message = message
        self.family = events.family(message.header)
        self.site = rules.site
        self.trace = trace
        self.translation = translation
        self.table: Mapping[str, Mapping[str, str]] = fields_in_force(rules)
        self.whole = segment_table()
        self.mapped = {place.partition("-")[0] for place in self.table} - set(self.whole)
        self.findings = (
            *translation.findings,
            *(finding for record in translation.records for finding in record.findings),
        )
        self.said = {
            Place(at.segment, at.occurrence, rules.site.standard(at.segment, at.field) or at.field): finding.text
            for finding in reversed(self.findings)
            if (at := finding.location) is not None and at.field
        }
        self.used_places = self._used_places()
        self.at: dict[tuple[str, int], tuple[int, Segment]] = {}
        self.left: list[LeftField] = []
        self.segments: list[UnknownSegment] = []
        self.envelope: list[ExplainedValue] = []
        self.counts: Counter[str] = Counter()

    def _used_places(self) -> set[Place]:
        """Fields that gave something: by themselves, or read together with the others of their segment."""
        used = {entry.place for entry in self.trace.entries}
        giving = {(place.segment, place.occurrence) for place in used}
        together = {place for place in self.trace.read if (place.segment, place.occurrence) in giving}
        return used | (together - set(self.trace.left))

    def close(self) -> Explanation:
        position, staff_seen = 0, 0
        personnel = self.family == events.PERSONNEL
        for segment in self.message.segments:
            if segment.name == "MFE":
                position, staff_seen = position + 1, 0
            elif personnel and segment.name not in BEFORE_RECORDS:
                position = 1
            if segment.name == "STF":
                staff_seen += 1
            self.at[segment.name, segment.occurrence] = position, segment
            self._account(segment, position, staff_seen)
        rows = []
        for entry in self.trace.entries:
            place = entry.place
            position, segment = self.at[place.segment, place.occurrence]
            position = position or self._mentioned(entry.provenance)
            source = self._sent(segment, place.number)
            rows.append(ExplainedValue(position, entry.element, entry.value, entry.rule, entry.provenance.text, source))
        codes = Counter((field.partition("[")[0], table, code) for field, table, code in self.trace.unmapped)
        return Explanation(
            self.message,
            self.translation,
            tuple(sorted((*self.envelope, *rows), key=lambda row: row.position)),
            tuple(self.left),
            tuple(self.segments),
            tuple(UnmappedCode(*key, count) for key, count in sorted(codes.items())),
            self.findings,
            self.counts.total(),
            self.counts["used"],
            self.counts["dropped"],
            self.counts["unused"],
            self.counts["unknown"],
        )

    def _mentioned(self, named: Provenance) -> int:
        """The record of the practitioner whom a field of a patient message names; 0 = none."""
        for record in self.translation.records:
            if record.change and any(identifier.provenance == named for identifier in record.change.identifiers):
                return record.position
        return 0

    def _account(self, segment: Segment, position: int, staff_seen: int) -> None:
        valued = [number for number in range(1, segment.fields + 1) if segment.raw(number)]
        if self.family == events.ADT and segment.name not in self.whole:
            for number in valued:
                place = Place(segment.name, segment.occurrence, number)
                if place in self.used_places:
                    self.counts["used"] += 1
                else:
                    reason = self.trace.left.get(place) or self.said.get(place) or "about the patient: not read"
                    self._leave(place, position, segment, reason, "dropped")
            return
        if segment.name not in self.whole and segment.name not in self.mapped:
            self.counts["unknown"] += len(valued)
            self.segments.append(UnknownSegment(position, segment.name, segment.occurrence, len(valued)))
            return
        for sent in valued:
            number = self.site.standard(segment.name, sent)
            if not number:
                self._leave_sent(segment, position, sent)
                continue
            place = Place(segment.name, segment.occurrence, number)
            row = self.table.get(f"{segment.name}-{number}", {})
            whole = self.whole.get(segment.name, {})
            if "drop" in row or "drop" in whole:
                self._leave(place, position, segment, row.get("drop") or whole["drop"], "dropped")
            elif whole:
                self.counts["used"] += 1
                self.envelope.append(
                    ExplainedValue(position, ENVELOPE, "", ENVELOPE, f"{segment.name}-{number}", segment.raw(number))
                )
            elif place in self.used_places:
                self.counts["used"] += 1
            else:
                self._leave(place, position, segment, self._reason(place, position, row, staff_seen), "unused")

    def _leave(self, place: Place, position: int, segment: Segment, reason: str, kind: str) -> None:
        self.counts[kind] += 1
        field = f"{place.segment}-{place.number}"
        source = self._sent(segment, place.number)
        self.left.append(LeftField(position, field, place.occurrence, source, reason, kind == "dropped"))

    def _leave_sent(self, segment: Segment, position: int, sent: int) -> None:
        """A field that the sender put in between, by the site's map."""
        self.counts["dropped"] += 1
        field, text = f"{segment.name}-{sent}", "by the site's map ([shift]) a field of the sender's own"
        self.left.append(LeftField(position, field, segment.occurrence, segment.raw(sent), text, True))

    def _sent(self, segment: Segment, number: int) -> str:
        """A field by its place in the standard, as this sender sent it."""
        return segment.raw(self.site.sent_at(segment.name, number))

    def _reason(self, place: Place, position: int, row: Mapping[str, str], staff_seen: int) -> str:
        """Why a field that the tables map gave nothing."""
        if position == 0:
            return "stands before the first MFE"
        if not row:
            return "fields.toml has no row for it"
        if place.segment == "STF" and staff_seen > 1:
            return "a second STF in one record"
        if (reason := self.trace.left.get(place)) is not None:
            return reason
        if (text := self.said.get(place)) is not None:
            return text
        record = self.translation.records[position - 1]
        if record.change is None and record.failed:
            return "the record is refused"
        if record.change is None and record.findings and record.findings[0].local in _SET_ASIDE:
            return record.findings[0].text
        if record.change is not None and record.change.qualifications_only:
            return "the event speaks of certificates alone"
        if record.change is not None and record.change.action.ends:
            return "an event that ends a person merges no content"
        return "holds nothing that can be used"
