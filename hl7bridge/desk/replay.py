"""A stored message as it would be delivered today: planned (reads alone), or stored again and sent."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.choosing import feed_named
from hl7bridge.assemble.destinations import destination_of
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.assemble.ledger import ledger_of
from hl7bridge.assemble.stores import open_store, store_location, there_is_a_store
from hl7bridge.desk.deciding import Actor, Clock, Role
from hl7bridge.desk.messages import body_of, message_of, open_deliveries
from hl7bridge.desk.translating import translated, translation_differences
from hl7bridge.destinations.protocol import Destination, NothingKnown, Rehearsing
from hl7bridge.errors import ConfigError, MessageError
from hl7bridge.hl7.header import header_fields
from hl7bridge.intake.intake import new_deliveries
from hl7bridge.model import APPLIED, Outcome, Record, Result, StaffChange
from hl7bridge.store.store import Acknowledgment, AcknowledgmentState, MessageState, NewMessage, NewRecord

if TYPE_CHECKING:
    from hl7bridge.config import Feed, Settings
    from hl7bridge.store.store import Store

_LOOK_AGAIN = 0.1  # seconds between two looks at the store while waiting


# --- planned, and nothing written ------------------------------------------------------------------------------------


class Planner:
    """Plans messages against the servers as they are now: reads only. A context manager."""

    def __init__(self, settings: Settings, clock: Clock = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._opened: dict[str, Destination] = {}
        self._rehearsals: dict[str, Rehearsing] = {}
        self.store: Store | None = None

    def __enter__(self) -> Planner:
        if there_is_a_store(self._settings):
            self.store = open_store(store_location(self._settings))
        return self

    def __exit__(self, *_: object) -> None:
        for there in self._opened.values():
            there.close()
        if self.store is not None:
            self.store.close()

    def stored(self, message_id: int) -> tuple[str, bytes]:
        """Feed and bytes of a stored message. Raises ConfigError where they are not kept."""
        if self.store is None:
            raise ConfigError(f"there is no message {message_id}", advice="There is no store yet.")
        return message_of(self.store, message_id)["feed"], body_of(self.store, message_id)

    def document(self, feed: Feed, body: bytes) -> dict[str, Any]:
        """What one message would do: its records, and for each destination the planned interactions."""
        try:
            message, records, version = translated(feed, body, self._clock())
        except MessageError as error:
            return {"control_id": "", "error": str(error), "mapping_version": "", "records": []}
        return {
            "control_id": message.header.control_id,
            "error": "",
            "mapping_version": version,
            "records": [self._record(feed, record) for record in records],
        }

    def _record(self, feed: Feed, record: Record) -> dict[str, Any]:
        change = record.change
        return {
            "position": record.position,
            "action": change.action.value if change else "",
            "source_key": change.source_key if change else record.echo.key,
            "effective": change.effective if change else "",
            "findings": [finding.as_data() for finding in record.findings],
            "destinations": [self._planned(feed, name, change) for name in feed.destinations] if change else [],
        }

    def _planned(self, feed: Feed, name: str, change: StaffChange) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock(), UTC)
        outcome = self._rehearsal(name).deliver(change, feed.name, now, approved=True)
        if outcome.result in APPLIED:
            outcome = replace(outcome, result=Result.REPORTED)
        return {"destination": name, **outcome_data(outcome)}

    def _rehearsal(self, name: str) -> Rehearsing:
        """Of one destination, as if it wrote: a later message finds whom an earlier one would create."""
        if name not in self._rehearsals:
            self._opened[name] = destination_of(self._settings.destinations[name])
            ledger = ledger_of(self.store, name) if self.store else NothingKnown()
            self._rehearsals[name] = self._opened[name].rehearsal(ledger, as_if_writing=True)
        return self._rehearsals[name]


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """The JSON of a planned delivery."""
    return {
        "result": outcome.result.value,
        "code": outcome.code,
        "local": outcome.local,
        "text": outcome.text,
        "person_id": outcome.person_id,
        "interactions": [
            {
                "kind": interaction.kind.value,
                "resource_type": interaction.resource_type,
                "resource_id": interaction.resource_id,
                "reason": interaction.reason,
                "differences": [asdict(difference) for difference in interaction.differences],
                "drift": [asdict(difference) for difference in interaction.drift],
            }
            for interaction in outcome.interactions
        ],
        "tasks": [{"kind": task.kind, "title": task.title, "steps": list(task.steps)} for task in outcome.tasks],
    }


# --- stored again, and delivered -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replayed:
    """A stored message that is stored again as another one; what the mapping of today reads differently in it."""

    replay_of: int
    message_id: int
    mapping_before: str
    read_differently: tuple[dict[str, Any], ...]


def again(
    store: Store, settings: Settings, message_id: int, actor: Actor, *, force: bool = False, clock: Clock = time.time
) -> Replayed:
    """Translate a stored message and store the result as a message of its own, linked to the first, outside the duplicate
    rule and asked for by the actor (who can't approve it). `force`: even if a later message was applied since.

    Raises ConfigError for what is not stored, MessageError for what can't be read any more.
    """
    actor.must_have(Role.OPERATE)
    first = message_of(store, message_id)
    feed = feed_named(settings, first["feed"])
    body = body_of(store, message_id)
    new_id = _store_again(store, settings, feed, first, body, force, str(actor), clock())
    differs = tuple(translation_differences(first, message_of(store, new_id)))
    return Replayed(message_id, new_id, first["mapping_version"], differs)


def _store_again(
    store: Store,
    settings: Settings,
    feed: Feed,
    first: dict[str, Any],
    body: bytes,
    force: bool,
    who: str,
    now: float,
) -> int:
    policy = feed_policy(feed, settings)
    message, records, version = translated(feed, body, now)
    new = NewMessage(
        feed=feed.name,
        received=now,
        header=header_fields(message.header),
        digest=hashlib.sha256(body).digest(),
        size=len(body),
        body=body,
        state=MessageState.REFUSED if all(record.failed for record in records) else MessageState.ACCEPTED,
        records=tuple(
            NewRecord(record, new_deliveries(policy, record.change, now, first_received=first["received"]))
            for record in records
        ),
        acknowledgments=(Acknowledgment("original", AcknowledgmentState.NONE),),
        mapping_version=version,
        peer="replay",
        replay_of=first["id"],
        note="replayed by force" if force else "replayed",
        force=force,
        requested_by=who,
    )
    return store.inbox.accept([new], now)[0].message_id


def when_ended(
    store: Store,
    message_id: int,
    wait: float,
    *,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The message once no delivery of it goes on by itself, or when the wait (seconds) is over; bodies of acknowledgments
    are left out."""
    until = clock() + wait
    message = message_of(store, message_id)
    while open_deliveries(message) and clock() < until:
        sleep(_LOOK_AGAIN)
        message = message_of(store, message_id)
    for acknowledgment in message["acknowledgments"]:
        del acknowledgment["body"]
    return message
