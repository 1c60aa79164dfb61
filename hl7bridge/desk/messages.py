"""Stored messages as people name them: by the id that `msg list` shows, or by their control id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.store.store import Store

_MOST_NAMESAKES = 20  # messages of one control id that are told of


@dataclass(frozen=True, slots=True)
class MessageList:
    """Messages, the newest first; `more` than are listed; `pauses`: destination -> why nothing goes out there, and since."""

    messages: tuple[dict[str, Any], ...]
    more: bool
    pauses: Mapping[str, dict[str, Any]]


def find(
    store: Store,
    *,
    feed: str = "",
    control_id: str = "",
    state: str = "",
    person: str = "",
    since: float = 0.0,
    limit: int = 50,
) -> MessageList:
    """Messages of a feed, with an MSH-10, in a state, about a staff key ("" = any), received at or after `since` (Unix
    seconds). Raises ConfigError for what is no state."""
    from hl7bridge.store.store import MessageState

    if state and state not in {known.value for known in MessageState}:
        known = ", ".join(known.value for known in MessageState)
        raise ConfigError(f'"{state}" is no state', key="--state", advice=f"Write one of {known}.")
    found = store.audit.messages(
        feed=feed, control_id=control_id, state=state, source_key=person, since=since, limit=limit + 1
    )
    return MessageList(tuple(found[:limit]), len(found) > limit, store.pausing.pauses())


def message_of(store: Store, message_id: int) -> dict[str, Any]:
    """One stored message. Raises ConfigError when there is none of that id."""
    message = store.audit.message(message_id)
    if message is None:
        raise ConfigError(f"there is no message {message_id}", advice="`hl7bridge msg list` shows what there is.")
    return message


def ids_of(store: Store, text: str) -> tuple[int, ...]:
    """The id of the stored message that is meant: the id that `msg list` shows, else a control id (MSH-10), of which the
    newest that came is meant; the others follow. Raises ConfigError when there is none."""
    if text.isascii() and text.isdecimal() and len(text) < 19 and store.audit.message(int(text)) is not None:
        return (int(text),)
    found = [int(row["id"]) for row in store.audit.messages(control_id=text, limit=_MOST_NAMESAKES)] if text else []
    if not found:
        advice = "`hl7bridge msg list` shows ids and control ids."
        raise ConfigError(f"there is no message {text[:60]}", advice=advice)
    return tuple(found)


def body_of(store: Store, message_id: int) -> bytes:
    """Its bytes as received. Raises ConfigError where they were not kept."""
    message_of(store, message_id)
    body = store.audit.body(message_id)
    if body is None:
        raise ConfigError(
            f"the bytes of message {message_id} were not kept",
            advice="Only staff messages are; ask the sender to send it again.",
        )
    return body


def open_deliveries(message: dict[str, Any]) -> int:
    """How many deliveries of a message will go on by themselves soon: one held or scheduled waits for a person or a day."""
    deliveries = [delivery for record in message["records"] for delivery in record["deliveries"]]
    return sum(delivery["state"] not in ("ended", "held", "scheduled") for delivery in deliveries)
