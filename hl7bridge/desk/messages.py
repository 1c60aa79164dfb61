"""Stored messages as people name them: by the id that `msg list` shows, or by their control id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hl7bridge.desk.deciding import listed
from hl7bridge.errors import ConfigError
from hl7bridge.model import DeliveryState, Severity

if TYPE_CHECKING:
    from hl7bridge.store.lookups import ListedMessage as ListedMessage
    from hl7bridge.store.queue.pauses import Pause as Pause
    from hl7bridge.store.store import RecordStatus as RecordStatus
    from hl7bridge.store.store import Store

_MOST_NAMESAKES = 20  # messages of one control id that are told of


@dataclass(frozen=True, slots=True)
class MessageList:
    """Messages, the newest first; `next`: where the list goes on, "" = these are the last; `pauses`: destination -> why
    nothing goes out there, and since."""

    messages: tuple[ListedMessage, ...]
    next: str
    pauses: Mapping[str, Pause]


def find(
    store: Store,
    *,
    feed: str = "",
    control_id: str = "",
    state: str = "",
    person: str = "",
    since: float = 0.0,
    limit: int = 50,
    after: str = "",
) -> MessageList:
    """Messages of a feed, with an MSH-10, in a state, about a staff key ("" = any), received at or after `since` (Unix
    seconds), from behind `after`: the `next` of an earlier list. Raises ConfigError for what is none, or no state."""
    from hl7bridge.store.store import MessageState

    if state and state not in {known.value for known in MessageState}:
        known = ", ".join(known.value for known in MessageState)
        raise ConfigError(f'"{state}" is no state', key="--state", advice=f"Write one of {known}.")
    wanted: dict[str, Any] = {"feed": feed, "control_id": control_id, "state": state, "source_key": person}
    found = listed(lambda: store.audit.messages(**wanted, since=since, limit=limit, after=after))
    return MessageList(found.rows, found.next, store.pauses.pauses())


class RecordEnd(NamedTuple):
    """How one record of a message ended: its event (MFE-1; "" in a PMU), the staff key, and a word: a `model.Result`, the
    state of a delivery that is open, "nothing-to-do", or the local code of what is wrong with it."""

    event: str
    person: str
    result: str


def record_end(status: RecordStatus) -> RecordEnd:
    """How a record ended at its (first) destination."""
    record = status.record
    person = record.change.source_key if record.change else record.echo.key.partition("^")[0]
    if record.failed:
        result = next(f.local for f in record.findings if f.severity is Severity.ERROR)
    elif not status.deliveries:
        result = "nothing-to-do"
    else:
        delivery = next(iter(status.deliveries.values()))
        ended = delivery.state is DeliveryState.ENDED and delivery.result is not None
        result = str(delivery.result) if ended else delivery.state.value
    return RecordEnd(record.echo.event, person, result)


@dataclass(frozen=True, slots=True)
class Followed:
    """A message and how its records stand; `is_duplicate`: it came before, and has no effect; `is_settled`: no delivery of
    it will go on by itself."""

    message_id: int
    is_duplicate: bool
    records: tuple[RecordEnd, ...]
    is_settled: bool


def newest_after(store: Store, message_id: int) -> Followed | None:
    """The newest message, if it came after the one of that id."""
    newest = store.audit.messages(limit=1)
    if not newest or newest[0].id <= message_id:
        return None
    number = newest[0].id
    statuses = store.audit.statuses([number]).get(number, [])
    settled = all(d.state in _SETTLED for status in statuses for d in status.deliveries.values())
    duplicate = newest[0].state == "duplicate"
    return Followed(number, duplicate, tuple(map(record_end, statuses)), settled)


_SETTLED = (DeliveryState.ENDED, DeliveryState.HELD, DeliveryState.SCHEDULED)


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
    found = [row.id for row in store.audit.messages(control_id=text, limit=_MOST_NAMESAKES)] if text else []
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
