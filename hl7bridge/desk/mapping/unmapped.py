"""The inbox of codes and authorities that stored messages brought and no table knows.

Findings hold no values: each value is read from the stored bytes, when it is listed, and kept nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.mapping import feed_rules
from hl7bridge.desk.deciding import Progress, unseen
from hl7bridge.desk.times import utc_time
from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import explain
from hl7bridge.mapping.rules.plans import fields_in_force
from hl7bridge.model import Provenance

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.mapping.feed_rules import FeedRules
    from hl7bridge.model import Finding, Record
    from hl7bridge.store.lookups import ListedMessage
    from hl7bridge.store.store import Store

AUTHORITIES = "authorities"
_LOCAL = frozenset({"unmapped-code", "unmapped-authority"})
_AT_ONCE = 200  # messages


@dataclass(slots=True)
class Unmapped:
    """A code without an entry in its table, or an authority without a system.

    table    HL7 table, or "authorities"; `field` the field that brought it last
    lost     whether nothing of it is sent on; otherwise it goes out as text
    mapped   whether the configuration knows it by now
    example  the id of the last message that brought it; `first` and `last` in Unix seconds
    """

    feed: str
    table: str
    code: str
    field: str
    lost: bool
    mapped: bool
    count: int
    first: float
    last: float
    example: int

    @property
    def line(self) -> str:
        """What to write into conf/feeds/NAME.toml (or a map): TOML, a section and an entry; "" where none helps."""
        return f"[{self.section}]\n{self.entry}" if self.entry else ""

    @property
    def section(self) -> str:
        """The section of the entry."""
        return AUTHORITIES if self.table == AUTHORITIES else f"tables.{self.table}"

    @property
    def entry(self) -> str:
        """The entry, its target left open; "" where none can help."""
        if self.mapped or not self.code:
            return ""
        target = "urn:oid:..." if self.table == AUTHORITIES else "..."
        return f"{_toml_text(self.code)} = {_toml_text(target)}"

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "feed": self.feed,
            "table": self.table,
            "code": self.code,
            "field": self.field,
            "count": self.count,
            "first": utc_time(self.first),
            "last": utc_time(self.last),
            "example": self.example,
            "lost": self.lost,
            "mapped": self.mapped,
            "line": self.line,
        }


def _toml_text(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for the delete character, which JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def to_paste(found: Sequence[Unmapped]) -> Iterator[str]:
    """The lines of TOML that map what was found, each section once."""
    for section in dict.fromkeys(one.section for one in found if one.entry):
        yield f"[{section}]"
        yield from (one.entry for one in found if one.entry and one.section == section)


@dataclass(frozen=True, slots=True)
class UnmappedCodes:
    """What was found in the newest messages, those lost first, then by how often they came; how many were looked at, and
    whether the limit left older ones out."""

    found: tuple[Unmapped, ...]
    looked_at: int
    more: bool


def find(
    store: Store,
    settings: Settings,
    *,
    feed: str = "",
    since: float = 0.0,
    limit: int = 1000,
    progress: Progress = unseen,
) -> UnmappedCodes:
    """Every code and authority that was unmapped when a message came: of the newest `limit` messages, of one feed or of all,
    received after `since` (Unix seconds)."""
    rows = store.audit.messages(feed=feed, since=since, limit=limit)
    return UnmappedCodes(tuple(_gathered(store, settings, rows, progress)), len(rows), len(rows) == limit)


def _gathered(store: Store, settings: Settings, rows: Sequence[ListedMessage], progress: Progress) -> list[Unmapped]:
    rules = {name: feed_rules(feed) for name, feed in settings.feeds.items()}
    found: dict[tuple[str, str, str], Unmapped] = {}
    with progress("messages", len(rows)) as advance:
        for begin in range(0, len(rows), _AT_ONCE):
            part = rows[begin : begin + _AT_ONCE]
            statuses = store.audit.statuses([row.id for row in part])
            for row in part:
                records = [status.record for status in statuses[row.id]]
                if row.feed in rules and any(f.local in _LOCAL for record in records for f in record.findings):
                    charset = settings.feeds[row.feed].hl7.charset
                    for one in _of_message(store.audit.body(row.id), row, records, rules[row.feed], charset):
                        _count(found, one)
                advance()
    return sorted(found.values(), key=lambda one: (one.mapped, not one.lost, -one.count, one.table, one.code))


def _count(found: dict[tuple[str, str, str], Unmapped], one: Unmapped) -> None:
    have = found.setdefault((one.feed, one.table, one.code), one)
    if have is not one:
        have.count += one.count
        have.first = min(have.first, one.first)
        have.lost = have.lost or one.lost
        have.mapped = have.mapped and one.mapped
        if one.last > have.last:
            have.last, have.example, have.field = one.last, one.example, one.field


def _of_message(
    body: bytes | None, row: ListedMessage, records: Sequence[Record], rules: FeedRules, charset: tuple[str, ...]
) -> Iterator[Unmapped]:
    """What the findings of then speak of, read from the bytes; mapped where the mapping of now does not list it."""
    if body is None:
        return
    try:
        message = Message(body, charset)
        explained = explain(message, rules, datetime.now(UTC))
    except MessageError:
        return
    open_now = {(code.field, code.code): code.table for code in explained.unmapped}
    tables = {code.field: code.table for code in explained.unmapped if code.table != AUTHORITIES}
    for record in records:
        for finding in record.findings:
            if finding.local not in _LOCAL or finding.location is None:
                continue
            place = finding.location
            field = f"{place.segment}-{place.field}"
            if finding.local == "unmapped-authority":
                code, table = _authority(record, finding), AUTHORITIES
            else:
                code = message.read(_path(finding))
                table = tables.get(field) or _table_of(field, rules)
            mapped = (field, code) not in open_now
            table = open_now.get((field, code), table)
            lost = finding.local == "unmapped-authority" or finding.severity.value == "W"
            at = row.received
            yield Unmapped(row.feed, table, code, field, lost, mapped, 1, at, at, row.id)


def _path(finding: Finding) -> str:
    place = finding.location
    assert place is not None, "asked of a finding with a place"
    repetition = f"[{place.repetition}]" if place.repetition > 1 else ""
    component = f".{place.component}" if place.component else ""
    return f"{place.segment}[{place.occurrence}]-{place.field}{repetition}{component}"


def _authority(record: Record, finding: Finding) -> str:
    """The authority as the change has it: of a licence, its type and state."""
    place = finding.location
    assert place is not None, "asked of a finding with a place"
    named = Provenance.of(place.segment, place.field, place.repetition)
    identifiers = record.change.identifiers if record.change else ()
    return next((one.authority for one in identifiers if one.provenance == named and not one.system), "")


def _table_of(field: str, rules: FeedRules) -> str:
    return fields_in_force(rules).get(field, {}).get("table", "")
