"""The one place where a delivery changes its state: by the table, and with the history row that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hl7bridge.errors import StoreError
from hl7bridge.model import TRANSITIONS, DeliveryEvent, DeliveryState
from hl7bridge.store.connection import StoreConnection

_NEXT = {(was, one.event): one.becomes for was, allowed in TRANSITIONS.items() for one in allowed}
_AIMS = {one.event: one.becomes for allowed in TRANSITIONS.values() for one in allowed}

# What a state says of other columns, whatever led to it.
_FOLLOWS = {
    DeliveryState.QUEUED: "owner = '', ended = 0",
    DeliveryState.RETRY: "owner = '', head = 1",
    DeliveryState.UNKNOWN: "owner = '', head = 1",
    DeliveryState.HELD: "owner = '', head = 0",
    DeliveryState.ENDED: "owner = '', head = 0",
}

ANEW = {"attempts": 0, "next_attempt": 0, "result": "", "code": "", "local": "", "text": "", "http_status": 0}
"""Columns of a delivery that begins anew."""


@dataclass(frozen=True, slots=True)
class Move:
    """A delivery that changes its state.

    was      its state, as it was read in this transaction
    columns  what else is written to its row; those of one call name the same columns, in one order
    detail   what the history adds: ids, codes and our own texts, never message content
    """

    delivery_id: int
    message_id: int
    was: DeliveryState
    columns: Mapping[str, Any] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)


def move(connection: StoreConnection, event: DeliveryEvent, moves: Sequence[Move], now: float) -> None:
    """Change the state of deliveries, and write a history row for each, inside the caller's transaction.

    Raises StoreError, so that the transaction is undone, where `TRANSITIONS` knows no such change, or a delivery does not
    stand where its move says: a defect of ours, never a sender's.
    """
    if not moves:
        return
    becomes = _AIMS[event]
    for one in moves:
        if (one.was, event) not in _NEXT:
            raise StoreError(f"delivery {one.delivery_id} cannot go from {one.was} to {becomes} ({event}): {_REPORT}")
    names = tuple(moves[0].columns)
    if any(tuple(one.columns) != names for one in moves):
        raise ValueError("the moves of one call write different columns")
    sql = _update(becomes, names)
    settled = (now,) if becomes is DeliveryState.ENDED else ()
    rows = [(*settled, *one.columns.values(), one.delivery_id, one.was.value) for one in moves]
    changed = connection.execute(sql, rows[0]) if len(rows) == 1 else connection.execute_many(sql, rows)
    if changed.rowcount != len(rows):
        raise StoreError(f"{_named(moves)} cannot go to {becomes} ({event}) any more: {_REPORT}")
    connection.note_all(
        (now, one.message_id, one.delivery_id, event.value, json.dumps(one.detail) if one.detail else "")
        for one in moves
    )


_REPORT = "no rule allows it, and nothing was changed; please report it"


def _named(moves: Sequence[Move]) -> str:
    some = ", ".join(f"{one.delivery_id} ({one.was})" for one in moves[:5])
    return f"delivery {some}" if len(moves) == 1 else f"one of the {len(moves)} deliveries {some}"


@cache
def _update(becomes: DeliveryState, names: tuple[str, ...]) -> str:
    settled = ["ended = ?"] if becomes is DeliveryState.ENDED else []
    follows = [_FOLLOWS[becomes]] if becomes in _FOLLOWS else []
    columns = ", ".join([f"state = '{becomes.value}'", *settled, *follows, *(f"{name} = ?" for name in names)])
    return f"UPDATE delivery SET {columns} WHERE id = ? AND state = ?"  # noqa: S608 (our names)
