"""What the mapping on disk reads differently in messages that are stored already. Nothing is written, sent or stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.desk.deciding import Progress, unseen
from hl7bridge.desk.translating import translation_differences
from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.messages import staff
from hl7bridge.model import Record, read_json

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.store import Store


REFUSED, TAKEN = "refused", "taken"
PARTS = {
    REFUSED: "taken until now, would be refused",
    TAKEN: "refused until now, would be taken",
    "action": "what is asked for (add, update, deactivate ...)",
    "source_key": "staff key",
    "identifiers": "identifiers",
    "active": "active or not",
    "effective": "when it takes effect",
    "practitioner": "content of the person",
    "roles": "roles by unit",
    "shared_role": "content of every role",
    "cleared": "fields to clear",
    "message_time": "time of the message",
    "message_time_exact": "time of the message",
    "complete": "enough to create somebody",
    "needs_approval": "approval before a reactivation",
    "deleted_in_source": "deleted at the source",
    "ended_for": "reason of an end",
    "temporary": "away for a while, or for good",
    "until": "expected return",
    "qualifications_only": "certificates alone",
    "revokes": "certificates that end",
    "event_field": "field that says what is asked for",
    "only_if_missing": "a mention of somebody, which only creates",
}
"""Part of a staff change -> what people call it, in the order of a message; what refuses or takes a record comes first."""


@dataclass(frozen=True, slots=True)
class MappingPreview:
    """What was looked at, and what differs.

    without_bytes  messages that have none to read
    messages       id, feed, control id and differences of each message that reads differently
    counts         part of a change (`identifiers`, `roles`...) or "refused", "taken" -> in how many messages it differs;
                   what else differs in a record that turns is not counted
    """

    looked_at: int = 0
    without_bytes: int = 0
    messages: tuple[dict[str, Any], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything would be read differently."""
        return bool(self.messages)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        counted = {"looked_at": self.looked_at, "without_bytes": self.without_bytes, "counts": dict(self.counts)}
        return {**counted, "messages": list(self.messages)}


def in_words(part: str) -> str:
    """What people call a part of a staff change."""
    return PARTS.get(part, part.replace("_", " "))


def ordered(counts: Mapping[str, int]) -> list[str]:
    """The parts in the order in which people are told of them."""
    order = list(PARTS)
    return sorted(counts, key=lambda part: (order.index(part) if part in PARTS else len(order), part))


def preview(
    store: Store, settings: Settings, last: int, *, feed: str = "", progress: Progress = unseen
) -> MappingPreview:
    """Translate the last stored messages again, of one feed or of all."""
    policies = {name: feed_policy(one, settings) for name, one in settings.feeds.items()}
    rows = [row for row in store.audit.messages(feed=feed, limit=last) if row.feed in policies]
    looked_at = without_bytes = 0
    messages: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    with progress("reading", len(rows)) as advance:
        for row in rows:
            body = store.audit.body(row.id)
            first = store.audit.message(row.id)
            advance()
            if row.duplicate_of:
                continue  # the first of them is looked at, or is too old
            if body is None or first is None:
                without_bytes += 1
                continue
            looked_at += 1
            differences = _differences(first, body, policies[row.feed])
            if differences:
                control_id = first["header"].get("control_id", "")
                message = {"id": row.id, "feed": row.feed, "control_id": control_id}
                messages.append({**message, "differences": differences})
                counts.update({_kind(difference) for difference in differences})
    return MappingPreview(looked_at, without_bytes, tuple(messages), counts)


def _differences(first: dict[str, Any], body: bytes, policy: FeedPolicy) -> list[dict[str, Any]]:
    """What the intake would make of the bytes today, had they come when they did: only the settings differ."""
    received = first["received"]
    prepared = Intake(policy, b"\0" * 32, clock=lambda: received).prepare(body, "preview")
    news = [one.new for one in prepared if one.new is not None]
    records = [new.record for one in news for new in one.records]
    if not records:  # as a whole refused, ignored, or so large that its records are written out later
        if not first["records"]:
            return []
        try:
            moment = datetime.fromtimestamp(received, UTC)
            records = list(staff.translate(Message(body, policy.charset), policy.rules, moment).records)
        except MessageError as error:
            return [{"path": "message: refused", "before": None, "after": str(error), "field": ""}]
    second = {"records": [_record_data(record) for record in records]}
    before = {record["position"]: record["failed"] for record in first["records"]}
    turned = [
        record for record in second["records"] if before.get(record["position"], record["failed"]) != record["failed"]
    ]
    others = {"records": [record for record in second["records"] if record not in turned]}  # all else follows from it
    return [*map(_turned, turned), *translation_differences(first, others)]


def _turned(record: dict[str, Any]) -> dict[str, Any]:
    """A record that would be refused, or taken, unlike then; and why."""
    reasons = [finding["text"] for finding in record["findings"] if finding["severity"] == "E"]
    path = f"record {record['position']}: {REFUSED if record['failed'] else TAKEN}"
    return {"path": path, "before": None, "after": "; ".join(reasons) or "now", "field": ""}


def _record_data(record: Record) -> dict[str, Any]:
    """A record in the form in which the store gives those that it keeps."""
    return {
        "position": record.position,
        "failed": record.failed,
        "change": read_json(record.change.to_json()) if record.change else None,
        "findings": [finding.as_data() for finding in record.findings],
    }


def _kind(difference: dict[str, Any]) -> str:
    return str(difference["path"]).partition(": ")[2]


def difference_in_words(difference: dict[str, Any]) -> dict[str, Any]:
    """A difference whose path names the part as people call it."""
    place, _, part = str(difference["path"]).partition(": ")
    return {**difference, "path": f"{place}: {in_words(part)}"}
