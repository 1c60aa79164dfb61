"""Lanes and claims: who may be handed out next.

A delivery stands in one lane per key of its person at its destination: identifiers, feed and source key, and, once
known, the Practitioner. It may go when it is first in all of them and nobody who was handed out holds one of the keys.

Looking for such deliveries must not walk over the thousands that wait behind one person's first. So each delivery has a
mark, `head`, with one promise: **a delivery that may go has head = 1**. The reverse need not hold; claiming checks,
and unmarks whoever is in fact behind somebody. Whenever a lane moves (its first leaves, or a claim on its key ends),
the one who is then first is marked. So a claim costs what it hands out, however long the lanes are.

Accepting only writes down the keys. A claim lines up what is new before it looks, hundreds at a time: lane rows lie
all over the index, and one that is written with many others costs a fraction of one that is written for a sender who
waits. New deliveries have the mark NEW.

Keys are kept as 64-bit hashes over destination and key: short in the index, and no identifier in it. Should two keys ever
share a hash, two persons would wait for each other, and nothing worse.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Collection

from hl7bridge.model import LEAVER_UNVERIFIED, STANDING_TASKS, DeliveryEvent, DeliveryState, Result
from hl7bridge.store.connection import StorePart, each, marks
from hl7bridge.store.moving import Move, move
from hl7bridge.store.store import OPEN_LANE

BRAKE = "brake"  # the cause of a hold, and the kind of its task
US = "hl7bridge"  # who closed what a read showed
NEW = -1  # the mark of a delivery that has not entered its lanes
WRITE_OUTS = 40  # parts of large messages that are written out at one time at most
LINED_UP = 1000  # deliveries that one transaction lines up at most: bounds how long it holds the store

OCCUPIED = each("lane", "key")
_END_TASKS = (
    "UPDATE task SET state = ?, closed = ? WHERE delivery_id = ? AND state = 'open'"  # noqa: S608 (marks alone)
    f" AND kind NOT IN ({marks(len(STANDING_TASKS))}) AND NOT (kind = ? AND ? = 'released')"
)
# The brake's task is about all that it holds: decided one by one, the last one closes it.
_END_BRAKE_TASK = (
    "UPDATE task SET state = 'done', closed = ?, closed_by = ?, evidence = 'all that the brake held is decided'"
    " WHERE state = 'open' AND kind = ? AND destination = (SELECT destination FROM delivery WHERE id = ?)"
    " AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.destination = task.destination AND d.state = 'held' AND d.local = ?)"
)
# Nothing newer than what is still to be written out: the lanes keep the order of commit.
NEWCOMERS = (
    "SELECT id, place, lane FROM delivery WHERE head = -1 AND state = 'queued' AND destination = ?"
    " AND place < COALESCE((SELECT delivery_id FROM arrival ORDER BY message_id, part LIMIT 1), 9223372036854775807)"
    " ORDER BY place LIMIT ?"
)


def lane_key(destination: str, key: str) -> int:
    """The hash under which a key stands: signed, as databases want their integers."""
    digest = hashlib.blake2b(f"{destination}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def keys_to_text(keys: Collection[int]) -> str:
    """As `delivery.lane` holds them."""
    return f"[{','.join(map(str, keys))}]"


def keys_from_text(text: str) -> tuple[int, ...]:
    """The inverse of `keys_to_text`."""
    return tuple(json.loads(text))


class Lanes(StorePart):
    """Entering, leaving and freeing lanes. All of it inside the caller's transaction."""

    @abstractmethod
    def _write_out(self, now: float) -> bool:
        """Write out the oldest part of a message of very many records. False when there is none."""

    def _write_out_all(self, message_id: int, now: float) -> None:
        """Write out a message, and those before it, in transactions of their own."""
        while True:
            with self._writing():
                if not self._is_arriving(message_id) or not self._write_out(now):
                    return

    def _write_out_some(self, now: float) -> None:
        """Write out the oldest parts that wait, in transactions of their own; the next call goes on."""
        for _ in range(WRITE_OUTS):
            with self._reading():
                if not self._execute("SELECT 1 FROM arrival LIMIT 1").fetchone():
                    return
            with self._writing():
                self._write_out(now)

    def _is_arriving(self, message_id: int) -> bool:
        return bool(self._execute("SELECT 1 FROM arrival WHERE message_id = ? LIMIT 1", (message_id,)).fetchone())

    def _line_up(self, destination: str) -> bool:
        """Let new deliveries enter their lanes, in order of place. True when there may be more of them."""
        new = [
            (delivery_id, place, keys_from_text(lane))
            for delivery_id, place, lane in self._execute(NEWCOMERS, (destination, LINED_UP))
        ]
        occupied = self._present(OCCUPIED, {key for _, _, keys in new for key in keys})
        heads = []
        for delivery_id, _, keys in new:
            heads.append((occupied.isdisjoint(keys), delivery_id))
            occupied.update(keys)
        for delivery_id, place, keys in new:
            self._enter(delivery_id, place, keys)
        self._executemany("UPDATE delivery SET head = ? WHERE id = ?", heads)
        return len(new) == LINED_UP

    def _enter(self, delivery_id: int, place: int, keys: Collection[int]) -> None:
        self._executemany(
            "INSERT INTO lane (key, place, delivery_id) VALUES (?, ?, ?)", [(key, place, delivery_id) for key in keys]
        )

    def _leave_lanes(self, delivery_id: int, place: int, keys: Collection[int]) -> None:
        """Step out of the lanes and give up the claim, if any; who is first then is marked."""
        self._executemany("DELETE FROM lane WHERE key = ? AND place = ?", [(key, place) for key in keys])
        self._free(delivery_id, keys)

    def _free(self, delivery_id: int, keys: Collection[int]) -> None:
        """End the delivery's claims on these keys, and mark who is first in each lane."""
        self._executemany("DELETE FROM claim WHERE key = ? AND delivery_id = ?", [(key, delivery_id) for key in keys])
        self._executemany(
            "UPDATE delivery SET head = 1 WHERE head = 0 AND id ="
            " (SELECT delivery_id FROM lane WHERE key = ? ORDER BY place LIMIT 1)",
            [(key,) for key in keys],
        )

    def _end(self, delivery_id: int, result: Result, now: float, **detail: object) -> None:
        """End a delivery that is not claimed, without an attempt: superseded, stale or withdrawn. Its tasks end with it,
        but for those that are about the person."""
        message_id, state, place, lane = self._execute(
            "SELECT message_id, state, place, lane FROM delivery WHERE id = ?", (delivery_id,)
        ).fetchone()
        was = DeliveryState(state)
        columns, told = {"result": result.value}, {"was": state, **detail}
        move(self._connection, DeliveryEvent(result.value), [Move(delivery_id, message_id, was, columns, told)], now)
        if was in OPEN_LANE:
            self._leave_lanes(delivery_id, place, keys_from_text(lane))
        self._end_tasks(delivery_id, result.value, now)

    def _end_tasks(self, delivery_id: int, state: str, now: float) -> None:
        """Close the open tasks of a delivery, but for those that are about the person. A release is no proof that a leaver
        is inactive."""
        self._execute(_END_TASKS, (state, now, delivery_id, *sorted(STANDING_TASKS), LEAVER_UNVERIFIED, state))
        self._execute(_END_BRAKE_TASK, (now, US, BRAKE, delivery_id, BRAKE))
