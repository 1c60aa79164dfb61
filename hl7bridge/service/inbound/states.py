"""Where a sender's connection stands, and every change from one state to another, as data; `guide/states.md` draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ConnectionState(StrEnum):
    """Where a connection stands. Messages are taken while it is OPEN alone."""

    HANDSHAKE = "handshake"  # TLS is being agreed on
    OPEN = "open"
    DRAINING = "draining"  # the service stops: what is owed is written, nothing more is read
    HALF_CLOSED = "half closed"  # the sender has ended its side, and may still read what it is owed
    ENDING = "ending"  # both sides have ended; it soon shows whether the last answers were read
    CLOSING = "closing"  # we close it; the last answers may still be read
    CLOSED = "closed"  # it is gone


class ConnectionEvent(StrEnum):
    """What changes the state of a connection."""

    ADMITTED = "admitted"
    SECURING = "securing"
    SECURED = "secured"
    REFUSED = "refused"
    STOPPING = "stopping"
    SENDER_ENDED = "sender ended"
    ANSWERED = "answered"
    CLOSE = "close"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class ConnectionTransition:
    """One change of state that is allowed, and when it happens, as people read it."""

    event: ConnectionEvent
    becomes: ConnectionState
    why: str


CONNECTION_STARTS: Mapping[ConnectionEvent, tuple[ConnectionState, str]] = {
    ConnectionEvent.ADMITTED: (ConnectionState.OPEN, "its address is allowed, and a place is free"),
    ConnectionEvent.SECURING: (ConnectionState.HANDSHAKE, "the same, and its listener speaks TLS"),
    ConnectionEvent.REFUSED: (ConnectionState.CLOSED, "its address is not allowed, or no place is free"),
}
"""How a connection begins, and why so."""

_TO_HALF_CLOSED = ConnectionTransition(
    ConnectionEvent.SENDER_ENDED, ConnectionState.HALF_CLOSED, "the sender has ended its side, and may still read"
)
_TO_CLOSED = ConnectionTransition(ConnectionEvent.LOST, ConnectionState.CLOSED, "the connection is gone")

CONNECTION_TRANSITIONS: Mapping[ConnectionState, tuple[ConnectionTransition, ...]] = {
    ConnectionState.HANDSHAKE: (
        ConnectionTransition(
            ConnectionEvent.SECURED, ConnectionState.OPEN, "TLS is agreed on, its certificate is good"
        ),
        ConnectionTransition(ConnectionEvent.CLOSE, ConnectionState.CLOSING, "too slow, or the service stops"),
        _TO_CLOSED,
    ),
    ConnectionState.OPEN: (
        ConnectionTransition(ConnectionEvent.STOPPING, ConnectionState.DRAINING, "the service stops"),
        _TO_HALF_CLOSED,
        ConnectionTransition(
            ConnectionEvent.CLOSE,
            ConnectionState.CLOSING,
            "too slow or silent, or the feed says so in place of an answer",
        ),
        _TO_CLOSED,
    ),
    ConnectionState.DRAINING: (
        _TO_HALF_CLOSED,
        ConnectionTransition(ConnectionEvent.CLOSE, ConnectionState.CLOSING, "all that was owed is written"),
        _TO_CLOSED,
    ),
    ConnectionState.HALF_CLOSED: (
        ConnectionTransition(
            ConnectionEvent.ANSWERED, ConnectionState.ENDING, "all that was owed is written, and so our side ends, too"
        ),
        ConnectionTransition(
            ConnectionEvent.CLOSE, ConnectionState.CLOSING, "not all was answered in time, or the service stops"
        ),
        _TO_CLOSED,
    ),
    ConnectionState.ENDING: (
        ConnectionTransition(
            ConnectionEvent.CLOSE, ConnectionState.CLOSING, "the sender was there to read its answers"
        ),
        _TO_CLOSED,
    ),
    ConnectionState.CLOSING: (_TO_CLOSED,),
    ConnectionState.CLOSED: (),
}
"""Every change of state of a connection: where it stands -> what may come next. `after` lets no other happen."""

_NEXT = {(was, one.event): one.becomes for was, allowed in CONNECTION_TRANSITIONS.items() for one in allowed}


def after(state: ConnectionState | None, event: ConnectionEvent) -> ConnectionState:
    """Where a connection stands after the event; `state` None: it is new.

    Raises ValueError where the table knows no such change: a defect of ours, never a sender's.
    """
    if state is None and event in CONNECTION_STARTS:
        return CONNECTION_STARTS[event][0]
    if state is not None and (state, event) in _NEXT:
        return _NEXT[state, event]
    raise ValueError(f"a connection that is {state or 'new'} cannot take the event {event}")
