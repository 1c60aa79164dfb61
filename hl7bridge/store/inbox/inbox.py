"""Accepting messages: one transaction for all that came (`batch`), and what becomes of their acknowledgments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.inbox.batch import ACKNOWLEDGMENT, InboxRows, acknowledgment_row
from hl7bridge.store.queue.lanes import Lanes
from hl7bridge.store.rows import Accepted, Acknowledgment, AcknowledgmentState, MessageState, NewMessage

COUNTED_FOR = 7 * 86400.0
"""Seconds for which a message that is only counted keeps its row."""


class Inbox(StorePart):
    """`accept`, and what becomes of acknowledgments."""

    def __init__(self, connection: StoreConnection, lanes: Lanes) -> None:
        super().__init__(connection)
        self._lanes = lanes

    def accept(self, messages: Sequence[NewMessage], now: float) -> list[Accepted]:
        """Commit all of them in one transaction, in order. Raises StoreError: then nothing of it is stored."""
        if not messages:
            return []
        with self._writing():
            return self.take(messages, now)

    def take(self, messages: Sequence[NewMessage], now: float) -> list[Accepted]:
        """Inside the caller's transaction."""
        batch = InboxRows(self._connection, self._lanes, messages, now)
        accepted = [batch.add(message) for message in messages]
        batch.write()
        self._forget_counted(sum(message.state is MessageState.COUNTED for message in messages), now)
        return accepted

    def _forget_counted(self, come: int, now: float) -> None:
        """As many rows of counted messages go as come, and a few more, once they are old: no task of its own is needed."""
        if not come:
            return
        oldest = "SELECT id, received FROM message WHERE state = 'counted' ORDER BY id LIMIT ?"
        old = [(row[0],) for row in self._execute(oldest, (2 * come,)) if row[1] < now - COUNTED_FOR]
        if old:
            self._executemany("DELETE FROM message WHERE id = ?", old)

    def known_practitioners(self, feed: str, since: float) -> list[tuple[str, str, float]]:
        """(destination, source key, when it was asked about) of the people whom patient messages of the feed named and about
        whom a destination was asked since then."""
        with self._reading():
            sql = "SELECT destination, source_key, asked FROM known_practitioner WHERE feed = ? AND asked > ?"
            return [(str(name), str(key), float(asked)) for name, key, asked in self._execute(sql, (feed, since))]

    def acknowledged(self, message_id: int, kind: str, acknowledgment: Acknowledgment, now: float) -> None:
        """Record what was answered (a pending one that was built) or what became of it (sent, not sent)."""
        with self._writing():
            self._execute(
                ACKNOWLEDGMENT + " ON CONFLICT (message_id, kind) DO UPDATE SET state = excluded.state,"
                " code = excluded.code, positive = excluded.positive, due = excluded.due, changed = excluded.changed,"
                " body = excluded.body",
                acknowledgment_row(message_id, kind, acknowledgment, now),
            )
            self._note(
                now, message_id, 0, "acknowledgment", kind=kind, state=acknowledgment.state, code=acknowledgment.code
            )

    def mark_sent(self, message_ids: Iterable[int], kind: str, state: AcknowledgmentState, now: float) -> None:
        """Group form for acknowledgments whose body is stored already. `acknowledgment.changed` says when; one that was
        not sent gets a history row, too."""
        ids = list(message_ids)
        with self._writing():
            self._executemany(
                "UPDATE acknowledgment SET state = ?, changed = ? WHERE message_id = ? AND kind = ?",
                [(state.value, now, message_id, kind) for message_id in ids],
            )
            if state is not AcknowledgmentState.SENT:
                detail = json.dumps({"kind": kind, "state": state.value})
                self._note_all((now, message_id, 0, "acknowledgment", detail) for message_id in ids)
