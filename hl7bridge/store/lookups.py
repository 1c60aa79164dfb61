"""What people and acknowledgments read: messages, records, how deliveries stand, counts."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hl7bridge.model import DeliveryState, Record, Result, read_json
from hl7bridge.model.listing import Listed, place
from hl7bridge.store.connection import StoreConnection, StorePart, chunks, marks, page
from hl7bridge.store.encoding import (
    exchanges_from_text,
    findings_from_text,
    interactions_from_bytes,
    record_from_row,
    unseal,
)
from hl7bridge.store.inbox.arrivals import Arrivals
from hl7bridge.store.inbox.batch import HEADER, acknowledgments_of
from hl7bridge.store.rows import (
    Acknowledgment,
    DeliveryStatus,
    PendingAcknowledgment,
    RecordStatus,
)

_LINKS = {"duplicate": "duplicate_of", "repeat": "repeat_of", "replay": "replay_of"}

# "original" and "application" tell the verdict; an accept acknowledgment stands in where there is no other.
MESSAGES = (
    "SELECT m.id, m.received, m.feed, m.sending_application, m.sending_facility, m.message_type, m.trigger_event,"
    " m.control_id, m.version, m.message_time, m.state, m.note, m.records, m.link, m.linked_to, m.same_content,"
    " COALESCE((SELECT a.code FROM acknowledgment a WHERE a.message_id = m.id"
    " ORDER BY CASE a.kind WHEN 'accept' THEN 1 ELSE 0 END LIMIT 1), '') AS acknowledgment,"
    " (SELECT COUNT(*) FROM delivery d WHERE d.message_id = m.id AND d.state <> 'ended')"
    " + COALESCE((SELECT SUM(r.records) FROM arrival r WHERE r.message_id = m.id), 0) AS open_deliveries"
    " FROM message m"
)


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A message in a list.

    received         Unix seconds
    acknowledgment   the code of its answer (MSA-1) that tells the verdict; "" = none was due, or is
    records          how many it has; `open_deliveries`: those that have not ended, held and scheduled ones included
    duplicate_of, repeat_of, replay_of  the message that it is that of, 0 = of none; `same_content`: its bytes are the same
    """

    id: int
    received: float
    feed: str
    sending_application: str
    sending_facility: str
    message_type: str
    trigger_event: str
    control_id: str
    version: str
    message_time: str
    state: str
    acknowledgment: str
    records: int
    open_deliveries: int
    note: str
    duplicate_of: int
    repeat_of: int
    replay_of: int
    same_content: bool


class Lookups(StorePart):
    """Reads. Each method sees one commit."""

    def __init__(self, connection: StoreConnection, arrivals: Arrivals) -> None:
        super().__init__(connection)
        self._arrivals = arrivals

    # -- for acknowledgments --

    def pending_acknowledgments(self) -> list[PendingAcknowledgment]:
        """All that still wait for outcomes, oldest first (after a restart, too)."""
        with self._reading():
            rows = self._execute(
                "SELECT a.message_id, m.feed, a.kind, a.due, EXISTS (SELECT 1 FROM delivery d"
                " WHERE d.message_id = a.message_id AND d.state IN ('queued', 'claimed', 'retry', 'unknown'))"
                " OR EXISTS (SELECT 1 FROM arrival r WHERE r.message_id = a.message_id)"
                " FROM acknowledgment a JOIN message m ON m.id = a.message_id"
                " WHERE a.state = 'pending' ORDER BY a.message_id, a.kind"
            ).fetchall()
        return [
            PendingAcknowledgment(_acknowledgment_id(message_id, kind), message_id, feed, kind, due, bool(is_open))
            for message_id, feed, kind, due, is_open in rows
        ]

    def acknowledgments(self, message_id: int) -> tuple[Acknowledgment, ...]:
        """Every acknowledgment of a message, as it stands (of the first, where the message is a duplicate)."""
        with self._reading():
            return acknowledgments_of(self._connection, self._first(message_id))

    def _first(self, message_id: int) -> int:
        row = self._execute(
            "SELECT linked_to FROM message WHERE id = ? AND link = 'duplicate'", (message_id,)
        ).fetchone()
        return row[0] if row else message_id

    def statuses(self, message_ids: Sequence[int]) -> dict[int, list[RecordStatus]]:
        """Records of each message in order, with how their deliveries stand."""
        found: dict[int, list[RecordStatus]] = {message_id: [] for message_id in message_ids}
        with self._reading():
            for ids in chunks(found):
                deliveries = self._delivery_statuses(ids)
                for message_id, record in self._records(ids):
                    there = deliveries.get((message_id, record.position), {})
                    found[message_id].append(RecordStatus(record.position, record, there))
                for message_id in ids:
                    found[message_id] += self._arrivals.records_of(message_id)
        return found

    def _records(self, message_ids: Sequence[int]) -> list[tuple[int, Record]]:
        rows = self._execute(
            "SELECT message_id, position, findings, codec, echo, change FROM record"  # noqa: S608 (marks alone)
            f" WHERE message_id IN ({marks(len(message_ids))}) ORDER BY message_id, position",
            message_ids,
        )
        return [(row[0], record_from_row(*row[1:])) for row in rows]

    def _delivery_statuses(self, message_ids: Sequence[int]) -> dict[tuple[int, int], dict[str, DeliveryStatus]]:
        found: dict[tuple[int, int], dict[str, DeliveryStatus]] = {}
        rows = self._execute(
            "SELECT message_id, position, destination, id, state, result, code, local, text, ended"  # noqa: S608 (marks alone)
            f" FROM delivery WHERE message_id IN ({marks(len(message_ids))}) ORDER BY id",
            message_ids,
        )
        for message_id, position, destination, delivery_id, state, result, *rest in rows:
            status = DeliveryStatus(delivery_id, DeliveryState(state), Result(result) if result else None, *rest)
            found.setdefault((message_id, position), {})[destination] = status
        return found

    # -- for people --

    def last_received(self) -> float:
        """Unix seconds at which the last message came, by the clock of then; 0 = none came."""
        row = self._execute("SELECT received FROM message ORDER BY id DESC LIMIT 1").fetchone()
        return float(row[0]) if row else 0.0

    def messages(
        self,
        *,
        feed: str = "",
        control_id: str = "",
        state: str = "",
        source_key: str = "",
        since: float = 0.0,
        limit: int = 50,
        after: str = "",
    ) -> Listed[ListedMessage]:
        """Newest first. Each filter that is given narrows the list; `since` in Unix seconds, `source_key` as the message
        gave it. Messages that are only counted are listed by state or control id alone.

        `after`: the `next` of an earlier page; ValueError for another text.
        """
        filters = {
            "m.feed = ?": feed,
            "m.control_id = ?": control_id,
            "m.state = ?": state,
            "m.id IN (SELECT message_id FROM record WHERE source_key <> '' AND source_key = ?)": source_key,
            "m.received >= ?": since,
            "m.id < ?": place("messages", after),
        }
        given = {condition: value for condition, value in filters.items() if value}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        if not (state or control_id):
            where = " AND ".join([f"{self._connection.by_index('message_shown')} WHERE m.state <> 'counted'", *given])
        with self._reading():
            rows = self._dicts(f"{MESSAGES}{where} ORDER BY m.id DESC LIMIT ?", [*given.values(), limit + 1])
        return page("messages", [ListedMessage(**_named_links(row)) for row in rows], limit)

    def message(self, message_id: int) -> dict[str, Any] | None:
        """One message with records, deliveries (outcome, differences), acknowledgments, tasks and history.

        JSON-shaped, written by `model.write_json`: numbers keep their text.
        """
        with self._reading():
            found = self._dicts("SELECT * FROM message WHERE id = ?", (message_id,))
            if not found:
                return None
            message = _named_links(found[0])
            other = message.pop("other_header")
            header = {name: message.pop(name) for name in HEADER} | (json.loads(other) if other else {})
            message["header"] = header
            message["digest"] = message["digest"].hex()
            message["body_kept"] = self._body(message_id) is not None
            deliveries = self._deliveries(message_id)
            message["records"] = [
                _record_dict(record, [d for d in deliveries if d["position"] == record.position])
                for _, record in self._records([message_id])
            ]
            message["not_written_out"] = self._execute(
                "SELECT COALESCE(SUM(records), 0) FROM arrival WHERE message_id = ?", (message_id,)
            ).fetchone()[0]
            message["acknowledgments"] = [
                row | {"body": row["body"].decode("utf-8", "backslashreplace"), "positive": bool(row["positive"])}
                for row in self._dicts(
                    "SELECT kind, state, code, positive, due, changed, body FROM acknowledgment WHERE message_id = ?"
                    " ORDER BY kind",
                    (message_id,),
                )
            ]
            message["tasks"] = [
                row | {"steps": row["steps"].split("\n") if row["steps"] else []}
                for row in self._dicts("SELECT * FROM task WHERE message_id = ? ORDER BY id", (message_id,))
            ]
            message["history"] = [
                row | {"detail": json.loads(row["detail"]) if row["detail"] else {}}
                for row in self._dicts(
                    "SELECT at, delivery_id, event, detail FROM history WHERE message_id = ? ORDER BY id", (message_id,)
                )
            ]
        return message

    def _deliveries(self, message_id: int) -> list[dict[str, Any]]:
        deliveries = self._dicts(
            "SELECT id, position, destination, feed, source_key, action, state, result, code, local, text, http_status,"
            " person_id, version, attempts, ambiguous, not_before, next_attempt, order_time, force, ended"
            " FROM delivery WHERE message_id = ? ORDER BY id",
            (message_id,),
        )
        for delivery in deliveries:
            for name in ("ambiguous", "force"):
                delivery[name] = bool(delivery[name])
            delivery["tried"] = [
                {
                    "number": row["number"],
                    "at": row["at"],
                    "result": row["result"],
                    "local": row["local"],
                    "http_status": row["http_status"],
                    "exchanges": exchanges_from_text(row["exchanges"]),
                    "warnings": [finding.as_data() for finding in findings_from_text(row["warnings"])],
                    **interactions_from_bytes(row["codec"], row["interactions"]),
                }
                for row in self._dicts("SELECT * FROM attempt WHERE delivery_id = ? ORDER BY number", (delivery["id"],))
            ]
        return deliveries

    def body(self, message_id: int) -> bytes | None:
        """The bytes as received; None where they were not kept. Those of a duplicate are those of the first."""
        with self._reading():
            return self._body(self._first(message_id))

    def _body(self, message_id: int) -> bytes | None:
        row = self._execute("SELECT codec, content FROM body WHERE message_id = ?", (message_id,)).fetchone()
        return unseal(*row) if row else None

    def counts(self) -> dict[str, Any]:
        """How much there is: "messages" {state: n}, "deliveries" {destination: {state or result: n}},
        "pending_acknowledgments" n, "tasks" n open, "paused" {destination: reason}."""
        with self._reading():
            messages = self._execute("SELECT state, COUNT(*) FROM message GROUP BY state").fetchall()
            stands = self._execute(
                "SELECT destination, state, result, COUNT(*) FROM delivery GROUP BY destination, state, result"
            ).fetchall()
            arriving: Counter[str] = Counter()
            for (wanted,) in self._execute("SELECT deliveries FROM arrival"):
                arriving.update(json.loads(wanted))
            pending = self._execute("SELECT COUNT(*) FROM acknowledgment WHERE state = 'pending'").fetchone()[0]
            tasks = self._execute("SELECT COUNT(*) FROM task WHERE state = 'open'").fetchone()[0]
            paused = self._pauses()
        deliveries: dict[str, dict[str, int]] = {}
        for destination, state, result, count in stands:
            words = deliveries.setdefault(destination, {})
            word = result if state == DeliveryState.ENDED else state
            words[word] = words.get(word, 0) + count
        for destination, count in arriving.items():
            words = deliveries.setdefault(destination, {})
            words["queued"] = words.get("queued", 0) + count
        return {
            "messages": dict(messages),
            "deliveries": deliveries,
            "pending_acknowledgments": pending,
            "tasks": tasks,
            "paused": paused,
        }

    def paused(self) -> dict[str, str]:
        """The destinations that are paused, and why: the part of `counts` that costs nothing, for frequent looks."""
        with self._reading():
            return self._pauses()

    def _pauses(self) -> dict[str, str]:
        return dict(self._execute("SELECT destination, reason FROM pause ORDER BY destination").fetchall())

    def secret(self, name: str) -> bytes:
        """A random key of 32 bytes, made once per store (the keyed hash of ADT duplicates)."""
        look_up = "SELECT value FROM secret WHERE name = ?"
        with self._reading():
            row = self._execute(look_up, (name,)).fetchone()
        if not row:
            with self._writing():
                self._execute(
                    "INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                    (name, secrets.token_bytes(32)),
                )
                row = self._execute(look_up, (name,)).fetchone()
        return bytes(row[0])


def _acknowledgment_id(message_id: int, kind: str) -> int:
    """A message has at most one acknowledgment of each kind; the number is made of both."""
    return message_id * 4 + ("original", "accept", "application").index(kind)


def _named_links(row: dict[str, Any]) -> dict[str, Any]:
    """`link` and `linked_to` as the words that `Accepted` uses."""
    link, linked_to = row.pop("link"), row.pop("linked_to")
    row["same_content"] = bool(row["same_content"])
    return row | {name: linked_to if link == word else 0 for word, name in _LINKS.items()}


def _record_dict(record: Record, deliveries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
        "position": record.position,
        "failed": record.failed,
        "echo": record.echo._asdict(),
        "findings": [finding.as_data() for finding in record.findings],
        "change": read_json(record.change.to_json()) if record.change else None,
        "deliveries": list(deliveries),
    }
