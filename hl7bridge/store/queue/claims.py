"""Handing out deliveries: leases of workers, claims, what is due, what is stale.

A claim costs what it hands out: it looks only at deliveries that are marked as first in their lanes (lanes.py), through
partial indexes that hold nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hl7bridge.errors import ClaimLost
from hl7bridge.model import LIFECYCLE, STALE_LIFECYCLE, DeliveryEvent, DeliveryState, Known, Link, Result, StaffChange
from hl7bridge.model.ordering import CLOCK_TOLERANCE, seconds_behind
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.encoding import unseal
from hl7bridge.store.inbox.arrivals import WRITE_OUTS, Arrivals
from hl7bridge.store.people.crosswalk import OWN, People
from hl7bridge.store.queue.creations import ANY, Creations
from hl7bridge.store.queue.lanes import NEWCOMERS, Lanes, keys_from_text, keys_to_text, lane_key
from hl7bridge.store.queue.moves import Move, move
from hl7bridge.store.queue.pauses import Pauses, is_over
from hl7bridge.store.reloads import confirmed_mapping
from hl7bridge.store.rows import Claimed
from hl7bridge.store.worklist import Worklist

PROMOTED = 500  # scheduled deliveries that one claim lines up at most; the next claim takes the next ones
LINE_UPS = 10  # transactions in which one claim lines up new deliveries at most, so that its lease outlives it
TRIED = 1000  # candidates that one claim looks at, about: bounds how long it holds the store when many are stale

LaneOf = Callable[[StaffChange, str, str], tuple[str, ...]]
Told = Callable[[int, int], None]

READY = (
    "SELECT id, place FROM delivery WHERE head = 1 AND state = 'queued' AND destination = ? AND leaver = ?"
    " ORDER BY place LIMIT ?"
)
YOUNGEST = READY.replace("ORDER BY place", "ORDER BY place DESC")
WAITING = (
    "SELECT id, place FROM delivery WHERE head = 1 AND state IN ('retry', 'unknown') AND destination = ? AND leaver = ?"
    " AND next_attempt <= ? ORDER BY next_attempt, place LIMIT ?"
)
DUE = (
    "SELECT id, message_id FROM delivery WHERE state = 'scheduled' AND destination = ? AND not_before <= ?"
    " ORDER BY not_before, id LIMIT ?"
)
UNDER_WAY = "SELECT id FROM delivery WHERE state = 'claimed' AND destination = ? AND attempts = 0"
CANDIDATE = (
    "SELECT d.message_id, d.position, d.feed, d.source_key, d.place, d.lane, d.order_time, d.force, d.attempts,"
    " d.ambiguous, CASE WHEN f.change IS NULL THEN r.codec ELSE f.codec END, COALESCE(f.change, r.change), f.approves,"
    " x.person_id, x.order_time, x.link, d.state"
    " FROM delivery d JOIN record r ON r.message_id = d.message_id AND r.position = d.position"
    " LEFT JOIN released f ON f.delivery_id = d.id"
    " LEFT JOIN crosswalk x ON x.destination = d.destination AND x.feed = d.feed AND x.source_key = d.source_key"
    " WHERE d.id = ?"
)


@cache
def blocked(keys: int) -> str:
    """SQL that tells whether somebody stands before a place in one of so many lanes, or holds its key; asked with (key,
    place, key) of each."""
    one = "EXISTS (SELECT 1 FROM lane WHERE key = ? AND place < ?) OR EXISTS (SELECT 1 FROM claim WHERE key = ?)"
    return "SELECT " + " OR ".join([one] * keys)


def _nobody(delivery_id: int, message_id: int) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a claim asks for, see `Claims.claim`."""

    destination: str
    owner: str
    lane_of: LaneOf | None = None
    clock_tolerance: float = CLOCK_TOLERANCE
    told: Told = _nobody
    again: int | None = None
    later: Collection[int] = ()
    spread: bool = False
    confirmed: dict[str, str] = field(default_factory=dict)  # versions of mappings by feed, once they were looked up


class Claims(StorePart):
    """Leases and claims."""

    def __init__(
        self,
        connection: StoreConnection,
        *,
        lanes: Lanes,
        arrivals: Arrivals,
        creations: Creations,
        people: People,
        pauses: Pauses,
        tasks: Worklist,
    ) -> None:
        super().__init__(connection)
        self._lanes, self._arrivals, self._creations = lanes, arrivals, creations
        self._people, self._pauses, self._tasks = people, pauses, tasks

    # -- leases --

    def join(self, owner: str, seconds: float, now: float, destination: str = "") -> None:
        """Register a worker process, of a destination; its claims hold until now + seconds unless renewed.

        What an earlier life of the same owner had claimed is taken over: nobody knows how it ended.
        """
        with self._writing():
            self._execute(
                "INSERT INTO worker (owner, expiry, destination, joined) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (owner) DO UPDATE SET expiry = excluded.expiry, destination = excluded.destination",
                (owner, now + seconds, destination, now),
            )
            for row in self._claims_of(owner):
                self._take_over(now, *row)

    def renew(self, owner: str, seconds: float, now: float) -> bool:
        """Extend the worker's claims. False when the lease had ended already: stop working, join again."""
        with self._writing():
            renewed = self._execute(
                "UPDATE worker SET expiry = ? WHERE owner = ? AND expiry > ?", (now + seconds, owner, now)
            )
            return renewed.rowcount > 0

    def share(self, owner: str, in_flight: int, now: float) -> int:
        """How many of the requests at one time that a destination takes are this worker's: all who live divide them, and
        who came first gets what is left over. 0 = the others take them all: stand by.

        Nobody waits for the others to hear of a newcomer: they may ask too much until each renews its lease.
        """
        with self._reading():
            rows = self._execute(
                "SELECT w.owner FROM worker w JOIN worker me ON me.destination = w.destination"
                " WHERE me.owner = ? AND w.expiry > ? ORDER BY w.joined, w.owner",
                (owner, now),
            ).fetchall()
        owners = [row[0] for row in rows]
        if owner not in owners:
            return 0
        each, left_over = divmod(in_flight, len(owners))
        return each + (owners.index(owner) < left_over)

    def leave(self, owner: str, now: float, begun: Collection[int] = ()) -> None:
        """End the lease and give back what is claimed. `begun`: ids of deliveries whose attempt was cut off; those are
        handed out again as ambiguous, the others as they were."""
        with self._writing():
            for row in self._claims_of(owner):
                delivery_id, message_id, lane, _, fence, _ = row
                if delivery_id in begun:
                    self._take_over(now, *row)
                    continue
                who = {"owner": owner, "fence": fence}
                back = Move(delivery_id, message_id, DeliveryState.CLAIMED, {"head": 1}, who)
                move(self._connection, DeliveryEvent.GIVEN_BACK, [back], now)
                self._lanes.free_all([(delivery_id, keys_from_text(lane))])
            self._execute("DELETE FROM worker WHERE owner = ?", (owner,))

    def _claims_of(self, owner: str) -> list[Any]:
        return self._execute(
            "SELECT id, message_id, lane, owner, fence, attempts FROM delivery WHERE state = 'claimed' AND owner = ?",
            (owner,),
        ).fetchall()

    def _take_over(
        self, now: float, delivery_id: int, message_id: int, lane: str, owner: str, fence: int, attempts: int
    ) -> None:
        """A claim whose worker is gone: its attempt counts, and may have reached the server, with a create of anything."""
        self._creations.remember_lately(keys_from_text(lane), [(ANY, "")], now)
        columns = {"next_attempt": now, "attempts": attempts + 1, "ambiguous": 1, "sent": 1}
        gone = Move(delivery_id, message_id, DeliveryState.CLAIMED, columns, {"owner": owner, "fence": fence})
        move(self._connection, DeliveryEvent.TAKEN_OVER, [gone], now)
        self._lanes.free_all([(delivery_id, keys_from_text(lane))])

    # -- claims --

    def claim(
        self,
        destination: str,
        owner: str,
        limit: int,
        now: float,
        lane_of: LaneOf | None = None,
        clock_tolerance: float = CLOCK_TOLERANCE,
        told: Told = _nobody,
        *,
        at_most: int = 0,
        besides: Collection[int] = (),
        again: int | None = None,
        later: Collection[int] = (),
        spread: bool = False,
    ) -> list[Claimed]:
        """Hand out due deliveries whose lanes are free, in order of commit, leavers' lanes first.

        Promotes due scheduled ones first. Deliveries of an owner whose lease ended are handed out again, marked
        `known.ambiguous`. A stale one (order_time older than the last applied for that feed and key by
        `clock_tolerance` seconds or more) is ended here, with its result, history and, of a lifecycle change, a task; it is
        not handed out, and `told(delivery id, message id)` hears of it. One that is older by less is `known.late`. Nothing
        while the destination is paused. Raises ClaimLost when the owner holds no lease.

        lane_of   (change, feed, person's id) -> a candidate's lane under current settings
        at_most   how many may be claimed there by all workers together, 0 = no such bound; those in `besides`, and those
                  that were tried before, are not counted
        again     how many that were tried before are handed out beside `limit` others; None: they share the limit, in
                  order of commit
        later     ids that are left for another time
        spread    the youngest in turn with the oldest, so that those who were accepted first are not the only ones whom a
                  server is asked about
        """
        asked = _Asked(destination, owner, lane_of, clock_tolerance, told, again, later, spread)
        with self._reading():
            self._require_lease(owner, now)
            due = self._next_due(destination, now)
        if due is None or due > now or limit + (again or 0) <= 0:
            return []
        line_ups = write_outs = 0
        while True:
            with self._writing():
                self._require_lease(owner, now)
                self._promote(destination, now)
                # Each in a transaction of its own, so that nobody waits long for the store.
                if write_outs < WRITE_OUTS and self._arrivals.write_out(now):
                    write_outs += 1
                    continue
                line_ups += 1
                if self._lanes.line_up(destination) and line_ups < LINE_UPS:
                    continue
                if self._pauses.is_paused(destination, now):
                    return []
                self._take_over_orphans(destination, now)
                if at_most:
                    under_way = {row[0] for row in self._execute(UNDER_WAY, (destination,))}
                    limit = min(limit, at_most - len(under_way.difference(besides)))
                return self._hand_out(asked, limit, now)

    def _require_lease(self, owner: str, now: float) -> None:
        if not self._execute("SELECT 1 FROM worker WHERE owner = ? AND expiry > ?", (owner, now)).fetchone():
            raise ClaimLost("this worker's lease has ended, or it never joined: join before you claim")

    def _promote(self, destination: str, now: float) -> None:
        """Queue what was scheduled and is due, behind everything that was accepted until now."""
        due = self._execute(DUE, (destination, now, PROMOTED)).fetchall()
        if due:
            first = self._draw("delivery", len(due))
            lined_up = [
                Move(delivery_id, message_id, DeliveryState.SCHEDULED, {"place": place})
                for place, (delivery_id, message_id) in enumerate(due, first)
            ]
            move(self._connection, DeliveryEvent.DUE, lined_up, now)

    def _take_over_orphans(self, destination: str, now: float) -> None:
        orphans = self._execute(
            "SELECT d.id, d.message_id, d.lane, d.owner, d.fence, d.attempts FROM delivery d"
            " LEFT JOIN worker w ON w.owner = d.owner"
            " WHERE d.state = 'claimed' AND d.destination = ? AND (w.expiry IS NULL OR w.expiry <= ?)",
            (destination, now),
        ).fetchall()
        for row in orphans:
            self._take_over(now, *row)

    def _hand_out(self, asked: _Asked, limit: int, now: float) -> list[Claimed]:
        """Try candidates until `limit` are claimed or none is left: each is claimed, ended as stale, or unmarked."""
        if asked.again is None:
            return self._claimed(asked, limit, now, self._candidates)
        waiting = self._claimed(asked, asked.again, now, self._waiting)
        return [*waiting, *self._claimed(asked, limit, now, self._ready)]

    def _claimed(
        self, asked: _Asked, limit: int, now: float, candidates_of: Callable[[_Asked, int, float], list[int]]
    ) -> list[Claimed]:
        fence = tried = 0
        claimed: list[Claimed] = []
        while len(claimed) < limit and tried < TRIED:
            candidates = candidates_of(asked, limit - len(claimed), now)
            if not candidates:
                break
            fence = fence or self._draw("fence")
            tried += len(candidates)
            moves: list[Move] = []
            for delivery_id in candidates:
                one = self._try(delivery_id, asked, fence, now, moves)
                if one:
                    claimed.append(one)
            move(self._connection, DeliveryEvent.CLAIMED, moves, now)
        return claimed

    def _candidates(self, asked: _Asked, limit: int, now: float) -> list[int]:
        """Deliveries that may be first in their lanes: leavers before others, each group in order of place. Of those that
        are tried again, the ones that have been due for longest."""
        found: list[int] = []
        for leaver in (1, 0):
            room = limit - len(found)
            if room > 0:
                rows = self._execute(READY, (asked.destination, leaver, room)).fetchall()
                rows += self._execute(WAITING, (asked.destination, leaver, now, room)).fetchall()
                found += [row[0] for row in sorted(rows, key=lambda row: row[1])[:room]]
        return found

    def _ready(self, asked: _Asked, limit: int, now: float) -> list[int]:
        """Those of them that were not tried before, in order of place, or from both ends."""
        room = limit + len(asked.later)
        found: list[int] = []
        for leaver in (1, 0):
            rows = self._execute(READY, (asked.destination, leaver, room)).fetchall()
            if asked.spread:
                youngest = self._execute(YOUNGEST, (asked.destination, leaver, room)).fetchall()
                rows = [row for pair in zip(youngest, rows, strict=True) for row in pair]
            found += [row[0] for row in rows if row[0] not in asked.later]
        return list(dict.fromkeys(found))[:limit]

    def _waiting(self, asked: _Asked, limit: int, now: float) -> list[int]:
        """Those that were, and are due again: the ones that have been due for longest."""
        rows = [row for leaver in (1, 0) for row in self._execute(WAITING, (asked.destination, leaver, now, limit))]
        return [row[0] for row in rows][:limit]

    def _try(self, delivery_id: int, asked: _Asked, fence: int, now: float, moves: list[Move]) -> Claimed | None:
        """A candidate's claim, whose move is added to `moves`; None where it may not go."""
        destination, owner = asked.destination, asked.owner
        row = self._execute(CANDIDATE, (delivery_id,)).fetchone()
        message_id, position, feed, source_key, place, lane, order_time, force, attempts = row[:9]
        ambiguous, codec, content, approves, person_id, applied, link, state = row[9:]
        change = StaffChange.from_json(unseal(codec, content).decode())
        keys = self._claim_keys(delivery_id, destination, place, lane, change, feed, person_id, asked.lane_of)
        if self._execute(blocked(len(keys)), [value for key in keys for value in (key, place, key)]).fetchone()[0]:
            # The delivery that blocks it marks it again when it leaves the lane or its claim ends.
            self._execute("UPDATE delivery SET head = 0 WHERE id = ?", (delivery_id,))
            return None
        behind = 0.0 if force else seconds_behind(order_time, applied or "")
        if behind and behind >= asked.clock_tolerance:
            self._lanes.end(delivery_id, Result.STALE, now, seconds_behind=round(behind))
            if change.action in LIFECYCLE or change.says_staff is False:
                self._tasks.open_kind(STALE_LIFECYCLE, message_id, delivery_id, destination, feed, source_key, now)
            asked.told(delivery_id, message_id)
            return None
        self._executemany(
            "INSERT INTO claim (key, delivery_id, owner, fence) VALUES (?, ?, ?, ?)",
            [(key, delivery_id, owner, fence) for key in keys],
        )
        who = {"owner": owner, "fence": fence}
        moves.append(Move(delivery_id, message_id, DeliveryState(state), who, who))
        own = self._people.bases(OWN, destination, feed, source_key)
        lately = self._creations.lately(keys, now)
        confirmed = asked.confirmed.get(feed)
        if confirmed is None:
            confirmed = asked.confirmed[feed] = confirmed_mapping(self._connection, feed)
        known = Known(
            person_id or "",
            own,
            bool(ambiguous),
            attempts,
            Link(link or ""),
            tuple(number for number in lately.people if number != person_id),
            lately.unanswered,
            late=behind > 0,
            confirmed=confirmed,
        )
        return Claimed(
            delivery_id,
            message_id,
            position,
            feed,
            destination,
            change,
            known,
            fence,
            bool(force),
            bool(approves),
        )

    def _claim_keys(
        self,
        delivery_id: int,
        destination: str,
        place: int,
        lane: str,
        change: StaffChange,
        feed: str,
        person_id: str | None,
        lane_of: LaneOf | None,
    ) -> tuple[int, ...]:
        """The lane as accepted, joined by what present settings and the crosswalk say. What is new is entered at the
        delivery's own place, so that a retry keeps those lanes waiting, too. Sorted: everybody claims in one order."""
        names = lane_of(change, feed, person_id or "") if lane_of else ()
        known = keys_from_text(lane)
        more = {lane_key(destination, name) for name in names}.difference(known)
        keys = tuple(sorted((*known, *more)))
        if more:
            self._lanes.enter(delivery_id, place, more)
            self._execute("UPDATE delivery SET lane = ? WHERE id = ?", (keys_to_text(keys), delivery_id))
        return keys

    # -- when to look again --

    def next_due(self, destination: str, now: float) -> float | None:
        """Unix seconds at which something may become claimable (scheduled, retry, pause, foreign lease), None = nothing."""
        with self._reading():
            return self._next_due(destination, now)

    def _next_due(self, destination: str, now: float) -> float | None:
        pause = self._execute("SELECT until, since FROM pause WHERE destination = ?", (destination,)).fetchone()
        if pause:  # one that has ended is due: the next claim takes it away
            return now if is_over(pause[0], pause[1], now) else pause[0] or None
        if self._execute(NEWCOMERS, (destination, 1)).fetchone():
            return now
        if self._execute("SELECT 1 FROM arrival LIMIT 1").fetchone():
            return now
        if any(self._execute(READY, (destination, leaver, 1)).fetchone() for leaver in (1, 0)):
            return now
        moments = [
            self._execute(
                "SELECT MIN(next_attempt) FROM delivery WHERE head = 1 AND state IN ('retry', 'unknown')"
                " AND destination = ? AND leaver = ?",
                (destination, leaver),
            ).fetchone()[0]
            for leaver in (1, 0)
        ]
        moments.append(
            self._execute(
                "SELECT MIN(not_before) FROM delivery WHERE state = 'scheduled' AND destination = ?", (destination,)
            ).fetchone()[0]
        )
        moments.append(
            self._execute(
                "SELECT MIN(COALESCE(w.expiry, 0)) FROM delivery d LEFT JOIN worker w ON w.owner = d.owner"
                " WHERE d.state = 'claimed' AND d.destination = ?",
                (destination,),
            ).fetchone()[0]
        )
        return min((moment for moment in moments if moment is not None), default=None)
