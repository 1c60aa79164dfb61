"""Stored messages translated again, with the mapping and tables of today; and what is read differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.assemble.mapping import feed_rules
from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.intake.intake import new_deliveries
from hl7bridge.mapping.messages import staff

if TYPE_CHECKING:
    from hl7bridge.config import Feed, Settings
    from hl7bridge.model import Record, StaffChange
    from hl7bridge.store.people.links import Quarantined
    from hl7bridge.store.queue.holds import Hold
    from hl7bridge.store.store import Store


def translated(feed: Feed, body: bytes, now: float) -> tuple[Message, tuple[Record, ...], str]:
    """A message as the feed reads it, its records, and the mapping's version. Raises MessageError."""
    message = Message(body, feed.hl7.charset)
    translation = staff.translate(message, feed_rules(feed), datetime.fromtimestamp(now, UTC))
    return message, translation.records, translation.mapping_version


@dataclass(frozen=True, slots=True)
class Anew:
    """A held record as it is read today. `change` None: it goes as it was stored, and `note` says why. `problem`: it can't
    be released so."""

    change: StaffChange | None = None
    lane: tuple[str, ...] = ()
    note: str = ""
    problem: str = ""


@dataclass(slots=True)
class Translations:
    """Translates held records again; a message of many is translated once."""

    store: Store
    settings: Settings
    _message_id: int = 0
    _records: dict[int, Record] | str = field(default_factory=dict)

    def of(self, hold: Hold | Quarantined, now: float) -> Anew:
        """The held record of today."""
        if hold.message_id != self._message_id:
            self._message_id, self._records = hold.message_id, self._translated(hold, now)
        if isinstance(self._records, str):
            return Anew(note=f"released as it was stored: {self._records}")
        record = self._records.get(hold.position)
        if record is None or record.failed or record.change is None:
            return Anew(problem=f"record {hold.position} of the message leads to no change any more; discard it")
        if record.change.source_key != hold.source_key:
            return Anew(problem=f"the record is read as another person now; `hl7bridge replay {hold.message_id}`")
        policy = feed_policy(self.settings.feeds[hold.feed], self.settings)
        new = new_deliveries(policy, record.change, now)
        mine = next((one for one in new if one.destination == hold.destination), None)
        if mine is None:
            return Anew(problem="its feed does not go to that destination any more; discard it")
        if mine.not_before:
            return Anew(problem=f"it is not due yet as it is read now; `hl7bridge replay {hold.message_id}`")
        return Anew(record.change, mine.lane)

    def _translated(self, hold: Hold | Quarantined, now: float) -> dict[int, Record] | str:
        """Records by position, or why there are none."""
        body, feed = self.store.audit.body(hold.message_id), self.settings.feeds.get(hold.feed)
        if body is None:
            return "the bytes of its message were not kept"
        if feed is None:
            return f"there is no feed {hold.feed} any more"
        try:
            _, records, _ = translated(feed, body, now)
        except MessageError as error:
            return f"its message can't be read any more ({error})"
        return {record.position: record for record in records}


def translation_differences(first: dict[str, Any], second: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the mapping of today reads differently in the same bytes, record by record."""
    before = {record["position"]: record["change"] or {} for record in first["records"]}
    for record in second["records"]:
        position = record["position"]
        old, new = before.get(position, {}), record["change"] or {}
        for name in sorted({*old, *new} - {"mapping_version"}):
            if old.get(name) == new.get(name):
                continue
            path = f"record {position}: {name}"
            if isinstance(old.get(name, []), list) and isinstance(new.get(name, []), list):
                gone = [item for item in old.get(name, []) if item not in new.get(name, [])]
                come = [item for item in new.get(name, []) if item not in old.get(name, [])]
                yield from ({"path": path, "before": item, "after": None, "field": ""} for item in gone)
                yield from ({"path": path, "before": None, "after": item, "field": ""} for item in come)
            else:
                yield {"path": path, "before": old.get(name), "after": new.get(name), "field": ""}
