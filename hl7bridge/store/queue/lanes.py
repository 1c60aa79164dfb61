"""Lanes and claims: who may be handed out next.

A delivery stands in one lane per key of its person at its destination: identifiers, feed and source key, and, once
known, the id there. It may go when it is first in all of them and nobody who was handed out holds one of the keys.

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
from collections.abc import Collection, Sequence

from hl7bridge.model import DeliveryEvent, DeliveryState, Result
from hl7bridge.store.connection import StoreConnection, StorePart, each
from hl7bridge.store.queue.moves import Move, move
from hl7bridge.store.rows import OPEN_LANE
from hl7bridge.store.worklist import Worklist

NEW = -1  # the mark of a delivery that has not entered its lanes
LINED_UP = 1000  # deliveries that one transaction lines up at most: bounds how long it holds the store

OCCUPIED = each("lane", "key")
# Nothing newer than what is still to be written out: the lanes keep the order of commit.
NEWCOMERS = (
    "SELECT id, place, lane FROM delivery WHERE head = -1 AND state = 'queued' AND destination = ?"
    " AND place < COALESCE((SELECT delivery_id FROM arrival ORDER BY message_id, part LIMIT 1), 9223372036854775807)"
    " ORDER BY place LIMIT ?"
)


Standing = tuple[int, int, Collection[int]]
"""A delivery, its place, and the keys of its lanes."""


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

    def __init__(self, connection: StoreConnection, tasks: Worklist) -> None:
        super().__init__(connection)
        self._tasks = tasks

    def line_up(self, destination: str) -> bool:
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
            self.enter(delivery_id, place, keys)
        self._executemany("UPDATE delivery SET head = ? WHERE id = ?", heads)
        return len(new) == LINED_UP

    def enter(self, delivery_id: int, place: int, keys: Collection[int]) -> None:
        """Let a delivery stand in the lanes of these keys, at its place."""
        self._executemany(
            "INSERT INTO lane (key, place, delivery_id) VALUES (?, ?, ?)", [(key, place, delivery_id) for key in keys]
        )

    def leave_all(self, standing: Sequence[Standing]) -> None:
        """End the deliveries' stand in their lanes, and their claims."""
        rows = [(key, place) for _, place, keys in standing for key in keys]
        self._executemany("DELETE FROM lane WHERE key = ? AND place = ?", rows)
        self.free_all([(delivery_id, keys) for delivery_id, _, keys in standing])

    def free_all(self, claims: Sequence[tuple[int, Collection[int]]]) -> None:
        """End claims (delivery id, keys), and mark who is first in each lane."""
        rows = [(key, delivery_id) for delivery_id, keys in claims for key in keys]
        self._executemany("DELETE FROM claim WHERE key = ? AND delivery_id = ?", rows)
        self._executemany(
            "UPDATE delivery SET head = 1 WHERE head = 0 AND id ="
            " (SELECT delivery_id FROM lane WHERE key = ? ORDER BY place LIMIT 1)",
            [(key,) for key, _ in rows],
        )

    def end(self, delivery_id: int, result: Result, now: float, **detail: object) -> None:
        """End a delivery that is not claimed, without an attempt: superseded, stale or withdrawn. Its tasks end with it,
        but for those that are about the person."""
        message_id, state, place, lane = self._execute(
            "SELECT message_id, state, place, lane FROM delivery WHERE id = ?", (delivery_id,)
        ).fetchone()
        was = DeliveryState(state)
        columns, told = {"result": result.value}, {"was": state, **detail}
        move(self._connection, DeliveryEvent(result.value), [Move(delivery_id, message_id, was, columns, told)], now)
        if was in OPEN_LANE:
            self.leave_all([(delivery_id, place, keys_from_text(lane))])
        self._tasks.end_tasks(delivery_id, result.value, now)
