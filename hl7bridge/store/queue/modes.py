"""What a destination may write: as what it ran last, what of it was only reported, what its server refuses.

A change that was reported is not lost when the destination begins to write: it is queued again, at its old place, when a
person says so. Until then the destination hands out nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from hl7bridge.model import APPLIED, DeliveryEvent, DeliveryState, Result, StaffChange
from hl7bridge.model.ordering import CLOCK_TOLERANCE, seconds_behind
from hl7bridge.store.connection import StoreConnection, StorePart, marks
from hl7bridge.store.encoding import unseal
from hl7bridge.store.queue.lanes import Lanes, keys_from_text
from hl7bridge.store.queue.moves import ANEW, Move, move
from hl7bridge.store.rows import Reported

_AT_ONCE = 500  # deliveries that one transaction queues again at most: bounds how long it holds the store

REPORTED = (
    "SELECT d.id, d.message_id, d.place, d.feed, d.source_key, d.order_time, d.force, d.lane,"
    " CASE WHEN f.change IS NULL THEN r.codec ELSE f.codec END, COALESCE(f.change, r.change),"
    " COALESCE(x.order_time, '')"
    " FROM delivery d JOIN record r ON r.message_id = d.message_id AND r.position = d.position"
    " LEFT JOIN released f ON f.delivery_id = d.id"
    " LEFT JOIN crosswalk x ON x.destination = d.destination AND x.feed = d.feed AND x.source_key = d.source_key"
    " WHERE d.destination = ? AND d.state = 'ended' AND d.result = 'reported'"
)
APPLIED_SINCE = (
    "SELECT r.codec, r.change FROM record r JOIN delivery d ON d.message_id = r.message_id AND d.position = r.position"  # noqa: S608 (marks alone)
    " WHERE r.source_key = ? AND d.destination = ? AND d.feed = ? AND d.place > ? AND d.state = 'ended'"
    f" AND d.result IN ({marks(len(APPLIED))})"
)
OLDER_OF_LATER = (
    "SELECT 1 FROM record r JOIN delivery d ON d.message_id = r.message_id AND d.position = r.position"
    " WHERE r.source_key = ? AND d.destination = ? AND d.feed = ? AND d.place < ? AND d.order_time > ?"
    " AND d.result NOT IN ('stale', 'withdrawn') LIMIT 1"
)


class Modes(StorePart):
    """Going from reporting to writing, and interactions that a server refuses."""

    def __init__(self, connection: StoreConnection, lanes: Lanes) -> None:
        super().__init__(connection)
        self._lanes = lanes

    def ran_as(self, destination: str) -> dict[str, Any] | None:
        """What was remembered of the destination's last run; None = it never ran."""
        with self._reading():
            row = self._execute("SELECT settings FROM ran_as WHERE destination = ?", (destination,)).fetchone()
        return json.loads(row[0]) if row else None

    def remember_ran_as(self, destination: str, settings: dict[str, Any], now: float) -> None:
        """Remember as what the destination runs: JSON that the store does not look into."""
        with self._writing():
            self._remember_ran_as(destination, settings, now)

    def _remember_ran_as(self, destination: str, settings: dict[str, Any], now: float) -> None:
        text = json.dumps(settings, sort_keys=True)
        changed = self._execute(
            "INSERT INTO ran_as (destination, settings, changed) VALUES (?, ?, ?)"
            " ON CONFLICT (destination) DO UPDATE SET settings = excluded.settings, changed = excluded.changed"
            " WHERE ran_as.settings <> excluded.settings",
            (destination, text, now),
        )
        if changed.rowcount:
            self._note(now, 0, 0, "runs as", destination=destination, **settings)

    def has_reported(self, destination: str) -> bool:
        """Whether anything was reported there, and not queued since."""
        with self._reading():
            found = self._execute(
                "SELECT EXISTS (SELECT 1 FROM delivery WHERE destination = ? AND state = 'ended' AND result = 'reported')",
                (destination,),
            )
            return bool(found.fetchone()[0])

    def reported(
        self, destination: str, after: int = 0, limit: int = 1000, *, clock_tolerance: float = CLOCK_TOLERANCE
    ) -> list[Reported]:
        """What was reported there, in order of place, from behind place `after`."""
        with self._reading():
            rows = self._execute(f"{REPORTED} AND d.place > ? ORDER BY d.place LIMIT ?", (destination, after, limit))
            found = []
            for (
                delivery_id,
                message_id,
                place,
                feed,
                key,
                order_time,
                force,
                _,
                codec,
                content,
                last,
            ) in rows.fetchall():
                change = StaffChange.from_json(unseal(codec, content).decode())
                goes = bool(force) or self._leaves_anyway(change, destination, feed, place, order_time)
                behind = 0.0 if goes else seconds_behind(order_time, last)
                stale = bool(behind) and behind >= clock_tolerance
                overtaken = stale or self._is_overtaken(change, destination, feed, place)
                found.append(Reported(delivery_id, message_id, place, feed, key, change, order_time, goes, overtaken))
            return found

    def _leaves_anyway(self, change: StaffChange, destination: str, feed: str, place: int, order_time: str) -> bool:
        """Whether somebody leaves whose message was in order when it came: what was written since, and speaks of other
        things (see `overtakes`), does not make it stale."""
        if change.says_staff is not False:
            return False
        person = (change.source_key, destination, feed)
        return self._execute(OLDER_OF_LATER, (*person, place, order_time)).fetchone() is None

    def _is_overtaken(self, change: StaffChange, destination: str, feed: str, place: int) -> bool:
        """Whether a newer change of the person was applied that leaves nothing to do for this one."""
        younger = self._execute(
            APPLIED_SINCE, (change.source_key, destination, feed, place, *sorted(result.value for result in APPLIED))
        ).fetchall()
        applied = (StaffChange.from_json(unseal(codec, content).decode()) for codec, content in younger)
        return any(later.overtakes(change.kind) for later in applied)

    def go_live(
        self, destination: str, deliveries: Sequence[int], now: float, *, who: str, reason: str
    ) -> Iterator[int]:
        """Queue again what was reported, each at its old place: before all that came since. One that was applied since
        ends as superseded. Yields how many are done so far; the destination must be paused meanwhile."""
        for start in range(0, len(deliveries), _AT_ONCE):
            some = deliveries[start : start + _AT_ONCE]
            with self._writing():
                rows = self._execute(
                    f"{REPORTED} AND d.id IN ({marks(len(some))}) ORDER BY d.place", (destination, *some)
                ).fetchall()
                for delivery_id, message_id, place, feed, _, order_time, force, lane, codec, content, _ in rows:
                    change = StaffChange.from_json(unseal(codec, content).decode())
                    if self._is_overtaken(change, destination, feed, place):
                        self._lanes.end(delivery_id, Result.SUPERSEDED, now, who=who)
                        continue
                    force = force or self._leaves_anyway(change, destination, feed, place, order_time)
                    # head = 1 whoever stands in the lane: claiming checks, and unmarks whoever is behind another.
                    columns, told = {"head": 1, "force": force}, {"was": "reported", "who": who, "reason": reason}
                    again = Move(delivery_id, message_id, DeliveryState.ENDED, {**columns, **ANEW}, told)
                    move(self._connection, DeliveryEvent.QUEUED_AGAIN, [again], now)
                    self._lanes.enter(delivery_id, place, keys_from_text(lane))
            yield start + len(some)

    # -- interactions that a server refuses --

    def forbid(self, destination: str, operation: str, feed: str, source_key: str) -> int:
        """The server forbade that to a person. Returns to how many in a row, of all instances, since it permitted it to
        anybody."""
        with self._writing():
            self._execute(
                "INSERT INTO forbidden (destination, operation, feed, source_key) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (destination, operation, feed, source_key),
            )
            people: int = self._execute(
                "SELECT COUNT(*) FROM forbidden WHERE destination = ? AND operation = ?", (destination, operation)
            ).fetchone()[0]
            return people

    def permit(self, destination: str, operations: Collection[str]) -> None:
        """The server took these: those whom it forbade them before were no row."""
        with self._writing():
            self._executemany(
                "DELETE FROM forbidden WHERE destination = ? AND operation = ?",
                [(destination, operation) for operation in operations],
            )

    def refused(self, destination: str) -> tuple[dict[str, str], set[str]]:
        """The latches, and the operations that it forbade to somebody since it last permitted them."""
        with self._reading():
            forbidden = self._execute("SELECT DISTINCT operation FROM forbidden WHERE destination = ?", (destination,))
            return self._latches(destination), {row[0] for row in forbidden.fetchall()}

    def latches(self, destination: str) -> dict[str, str]:
        """Interaction ("Practitioner create") -> what the server said; changes that need it are held."""
        with self._reading():
            return self._latches(destination)

    def _latches(self, destination: str) -> dict[str, str]:
        rows = self._execute(
            "SELECT operation, text FROM latch WHERE destination = ? ORDER BY operation", (destination,)
        )
        return dict(rows.fetchall())

    def latch(self, destination: str, operation: str, text: str, now: float) -> bool:
        """Ask for that interaction no more. True for the first who says so: who tells people."""
        with self._writing():
            made = self._execute(
                "INSERT INTO latch (destination, operation, since, text) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (destination, operation, now, text),
            )
            if made.rowcount:
                self._note(now, 0, 0, "latched", destination=destination, operation=operation)
            return bool(made.rowcount)

    def unlatch(self, destination: str, now: float, *, who: str, note: str) -> list[str]:
        """Ask for all of them again; returns those that were latched."""
        with self._writing():
            rows = self._execute(
                "SELECT operation FROM latch WHERE destination = ? ORDER BY operation", (destination,)
            ).fetchall()
            if rows:
                self._execute("DELETE FROM latch WHERE destination = ?", (destination,))
                self._executemany(
                    "DELETE FROM forbidden WHERE destination = ? AND operation = ?",
                    [(destination, operation) for (operation,) in rows],
                )
                self._note(now, 0, 0, "tried again", destination=destination, who=who, note=note)
            return [row[0] for row in rows]
