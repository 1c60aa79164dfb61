"""Messages told as one story: what is answered, how each record ends, and what stands at a destination afterwards.

The whole journey in this process: the feed's own rules, a store of this story alone, and a destination inside the process.
Nothing is sent to anybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.assemble.ledger import ledger_of
from hl7bridge.assemble.stores import store_in
from hl7bridge.desk.messages import RecordEnd, record_end
from hl7bridge.destinations.protocol import Work
from hl7bridge.errors import ClaimLost, MessageError
from hl7bridge.hl7.message import read_header
from hl7bridge.intake.intake import Intake
from hl7bridge.mapping.rules.times import instant
from hl7bridge.model import JsonObject, Outcome, Result, write_json
from hl7bridge.store.store import Claimed, DeliveryState, Settlement, Store

if TYPE_CHECKING:
    from hl7bridge.config import Feed, Settings
    from hl7bridge.destinations.candidates import Candidate
    from hl7bridge.destinations.protocol import Destination

WORKER = "story"
_ENDLESS = 1e12  # seconds: no other process takes over
NO_TIME = 1767225600.0  # 2026-01-01, for a message without MSH-7


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one message. `resources`: of the people of its records, without what is the server's own."""

    acknowledgment: bytes
    records: tuple[RecordEnd, ...]
    resources: tuple[JsonObject, ...]


class Story:
    """Tell it message by message. Every message is read at the time that it gives itself (MSH-7), so that what comes of it
    is the same on any day. Not thread-safe."""

    def __init__(self, feed: Feed, settings: Settings, destination: Destination, folder: Path) -> None:
        """`destination`: empty, and nobody else's; `folder`: where the store is made, the caller's to remove."""
        self._destination, self._name = destination, destination.policy.name
        self._store = store_in(folder)
        self._store.queue.join(WORKER, _ENDLESS, 0.0)
        policy = replace(feed_policy(feed, settings), destinations={self._name: destination}, acknowledge_for=())
        self._zone, self._key_system = policy.rules.zone, policy.rules.key_system
        self._now = 0.0
        self._intake = Intake(policy, b"\0" * 32, clock=lambda: self._now)

    def close(self) -> None:
        """End it."""
        self._destination.close()
        self._store.close()

    def tell(self, body: bytes) -> Told:
        """One message."""
        self._now = self._time_of(body)
        answers: list[bytes] = []
        records: list[RecordEnd] = []
        for prepared in self._intake.prepare(body, "story"):
            if prepared.new is None:
                continue
            (accepted,) = self._store.inbox.accept([prepared.new], self._now)
            deliver_due(self._store, self._destination, self._now)
            message_id = accepted.duplicate_of or accepted.message_id
            answers += [ack.body for ack in self._store.audit.acknowledgments(message_id) if ack.body]
            records += [record_end(status) for status in self._store.audit.statuses([message_id])[message_id]]
        people = {record.person for record in records}
        return Told(b"\r".join(answers), tuple(records), tuple(self._resources(people)))

    def _time_of(self, body: bytes) -> float:
        try:
            sent = instant(read_header(body).message_time.strip(), self._zone)
        except MessageError:
            sent = None
        return sent.timestamp() if sent else max(self._now, NO_TIME)

    def _resources(self, people: Collection[str]) -> Iterator[JsonObject]:
        """What stands there of people: by staff key, type and content, without ids, metadata and the person's reference."""
        told = []
        for listed in self._destination.people(with_roles=True):
            candidate = self._destination.candidate(listed.resource)
            if keys := sorted(set(people) & self._staff_keys(candidate)):
                for resource in (listed.resource, *listed.roles):
                    bare = {name: value for name, value in resource.items() if name not in _THE_SERVERS}
                    told.append(
                        (keys[0], str(resource.get("resourceType", "")), write_json(bare, sort_keys=True), bare)
                    )
        return (bare for *_, bare in sorted(told, key=lambda one: one[:3]))

    def _staff_keys(self, candidate: Candidate) -> set[str]:
        return {value for system, value in candidate.keys if system == self._key_system}


def deliver_due(store: Store, destination: Destination, now: float) -> list[tuple[Claimed, Outcome]]:
    """Deliver what is due, as the delivery role does; how each attempt ended. Nothing waits for a later attempt: what could
    not be delivered is held. `now`: Unix seconds; `WORKER` has joined the queue. Raises ClaimLost where another worker does,
    too."""
    name, moment = destination.policy.name, datetime.fromtimestamp(now, UTC)
    ledger, ended = ledger_of(store, name), []
    while claimed := store.queue.claim(name, WORKER, 8, now, destination.lane_keys):
        settlements = []
        for one in claimed:
            [outcome] = destination.deliver([Work(one.change, one.feed, one.known)], ledger, moment)
            state = DeliveryState.HELD if outcome.result in _NOT_DELIVERED else DeliveryState.ENDED
            settlements.append(Settlement(one, outcome, state))
            ended.append((one, outcome))
        if store.settlements.settle(settlements, now):
            raise ClaimLost("another worker delivers from this store")
    return ended


_NOT_DELIVERED = frozenset({Result.HELD, Result.RETRY, Result.UNKNOWN, Result.PAUSED})
_THE_SERVERS = frozenset({"id", "meta", "practitioner"})
