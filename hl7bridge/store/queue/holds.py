"""What people decide about held deliveries. The history says who did, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hl7bridge.model import DeliveryEvent, DeliveryState, Result, StaffChange
from hl7bridge.model.listing import Listed, place
from hl7bridge.model.ordering import OUT_OF_ORDER
from hl7bridge.store.connection import StoreConnection, StorePart, conditions, page
from hl7bridge.store.encoding import PLAIN, unseal
from hl7bridge.store.inbox.arrivals import Arrivals
from hl7bridge.store.queue.lanes import NEW, Lanes, keys_from_text, keys_to_text, lane_key
from hl7bridge.store.queue.moves import ANEW, Move, move
from hl7bridge.store.rows import Released, same_person
from hl7bridge.store.worklist import Worklist

HOLDS = (
    "SELECT d.id, d.message_id, d.position, d.destination, d.feed, d.source_key, d.action, d.code, d.local, d.text,"
    " d.http_status, d.person_id, d.attempts, m.requested_by,"
    " COALESCE((SELECT MAX(a.at) FROM attempt a WHERE a.delivery_id = d.id), 0) AS since"
    " FROM delivery d JOIN message m ON m.id = d.message_id WHERE d.state = 'held'"
)
HOLD_CAUSES = "SELECT d.local, COUNT(*) FROM delivery d WHERE d.state = 'held'"
HELD = (
    "SELECT d.message_id, d.destination, d.feed, d.source_key, d.lane, d.local, COALESCE(f.place, d.place), d.force,"
    " r.codec, r.change, m.requested_by, f.codec, f.change FROM delivery d JOIN message m ON m.id = d.message_id"
    " JOIN record r ON r.message_id = d.message_id AND r.position = d.position"
    " LEFT JOIN released f ON f.delivery_id = d.id WHERE d.id = ? AND d.state = 'held'"
)
# A newer change of the same person that waits or is being delivered.
YOUNGER = (
    "SELECT 1 FROM lane l JOIN delivery d ON d.id = l.delivery_id LEFT JOIN released f ON f.delivery_id = d.id"
    " WHERE l.key = ? AND d.source_key = ? AND d.feed = ? AND COALESCE(f.place, d.place) > ? LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Hold:
    """A held delivery.

    action        what the change asks for; `code`, `local`, `text`: why it is held, `local` being the cause
    http_status   of the deciding response, 0 = there was none
    person_id     whom the last attempt found, "" = nobody
    requested_by  the account that asked for the message (a replay), "" = it came over the feed
    since         when it was tried last, in Unix seconds, 0 = never
    """

    id: int
    message_id: int
    position: int
    destination: str
    feed: str
    source_key: str
    action: str
    code: str
    local: str
    text: str
    http_status: int
    person_id: str
    attempts: int
    requested_by: str
    since: float


class Holds(StorePart):
    """Holds, as people see and decide them."""

    def __init__(self, connection: StoreConnection, lanes: Lanes, arrivals: Arrivals, tasks: Worklist) -> None:
        super().__init__(connection)
        self._lanes, self._arrivals, self._tasks = lanes, arrivals, tasks

    # -- holds --

    def holds(
        self,
        *,
        delivery_id: int = 0,
        destination: str = "",
        feed: str = "",
        local: str = "",
        source_key: str = "",
        limit: int = 50,
        after: str = "",
    ) -> Listed[Hold]:
        """Held deliveries in the order in which they came, those that fit all that is given.

        `after`: the `next` of an earlier page; ValueError for another text."""
        where, values = conditions(
            {
                "d.id = ?": delivery_id,
                "d.source_key = ?": source_key,
                "d.feed = ?": feed,
                "d.destination = ?": destination,
                "d.local = ?": local,
                "d.id > ?": place("holds", after),
            }
        )
        with self._reading():
            rows = self._execute(f"{HOLDS}{where} ORDER BY d.id LIMIT ?", [*values, limit + 1]).fetchall()
        return page("holds", [Hold(*row) for row in rows], limit)

    def hold_causes(
        self, *, destination: str = "", feed: str = "", local: str = "", source_key: str = ""
    ) -> dict[str, int]:
        """How many deliveries are held for each cause, the most frequent first."""
        where, values = conditions(
            {"d.source_key = ?": source_key, "d.feed = ?": feed, "d.destination = ?": destination, "d.local = ?": local}
        )
        with self._reading():
            sql = f"{HOLD_CAUSES}{where} GROUP BY d.local ORDER BY COUNT(*) DESC, d.local"
            return dict(self._execute(sql, values).fetchall())

    def release(
        self,
        delivery_id: int,
        now: float,
        *,
        who: str,
        reason: str,
        change: StaffChange | None = None,
        lane: Sequence[str] = (),
        approves: bool = True,
    ) -> Released:
        """Put a held delivery back into its lane, at the end, as new and approved.

        `change`: the record translated again, with its lane; None = it goes as it was stored. A release of somebody who
        leaves is not stale, whatever was applied since: nothing of it spoke of the leaving (see `overtakes`). Nor is one
        that was held because it came out of order: that is what the person decided. Not
        approved where `approves` is False, or `who` asked for the change: then it is tried again as it was, and an
        approval of before counts as long as it says the same.
        """
        while True:
            with self._writing():
                row = self._execute(HELD, (delivery_id,)).fetchone()
                if not row:
                    return Released.NOT_HELD
                (
                    message_id,
                    destination,
                    feed,
                    source_key,
                    keys_text,
                    local,
                    first_place,
                    force,
                    codec,
                    content,
                    asked,
                    last_codec,
                    last_content,
                ) = row
                if self._arrivals.write_out(now) or self._lanes.line_up(destination):
                    continue  # in a transaction of its own, so that nobody waits long for the store
                keys = set(keys_from_text(keys_text))
                if any(self._execute(YOUNGER, (key, source_key, feed, first_place)).fetchone() for key in keys):
                    return Released.OVERTAKEN
                stored = StaffChange.from_json(unseal(codec, content).decode())
                went = StaffChange.from_json(unseal(last_codec, last_content).decode()) if last_content else stored
                goes = change or stored
                keys |= {lane_key(destination, key) for key in lane}
                force = force or goes.says_staff is False or (approves and local == OUT_OF_ORDER)
                columns = {
                    "place": self._draw("delivery"),
                    "lane": keys_to_text(sorted(keys)),
                    "head": NEW,
                    "force": force,
                }
                version = change.mapping_version if change else ""
                told = {"who": who, "reason": reason, "was": local, "mapping_version": version}
                goes_on = Move(delivery_id, message_id, DeliveryState.HELD, {**columns, **ANEW}, told)
                move(self._connection, DeliveryEvent.RELEASED, [goes_on], now)
                self._execute(
                    "INSERT INTO released (delivery_id, at, who, reason, place, codec, key_id, change, approves)"
                    " VALUES (?, ?, ?, ?, ?, ?, '', ?, ?) ON CONFLICT (delivery_id) DO UPDATE SET at = excluded.at,"
                    " who = excluded.who, reason = excluded.reason, codec = excluded.codec, key_id = excluded.key_id,"
                    " change = excluded.change,"
                    # What was approved was that content, and no other.
                    " approves = CASE WHEN excluded.approves = 1 THEN 1 WHEN ? THEN released.approves ELSE 0 END",
                    (
                        delivery_id,
                        now,
                        who,
                        reason,
                        first_place,
                        PLAIN,
                        change.to_json().encode() if change else None,
                        approves and not same_person(who, asked),
                        replace(went, mapping_version="") == replace(goes, mapping_version=""),
                    ),
                )
                self._tasks.end_tasks(delivery_id, "released", now)
                return Released.QUEUED

    def discard(self, delivery_id: int, now: float, *, who: str, reason: str) -> bool:
        """End a held delivery as withdrawn. False when it is not held (any more)."""
        with self._writing():
            row = self._execute("SELECT local FROM delivery WHERE id = ? AND state = 'held'", (delivery_id,)).fetchone()
            if row:
                self._lanes.end(delivery_id, Result.WITHDRAWN, now, who=who, reason=reason, held_for=row[0])
            return bool(row)
