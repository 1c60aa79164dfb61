"""Settling deliveries: outcomes, bases, crosswalk, tasks, pauses and history in one transaction; and withdrawing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hl7bridge.model import (
    ABSENT,
    APPLIED,
    RESTORE_UNDONE,
    STANDING_TASKS,
    Action,
    DeliveryEvent,
    DeliveryState,
    Result,
    StaffChange,
    Written,
)
from hl7bridge.model.health import Learned
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.encoding import (
    PLAIN,
    exchanges_to_text,
    findings_to_text,
    interactions_to_bytes,
    unseal,
    written_to_bytes,
)
from hl7bridge.store.inbox.arrivals import Arrivals
from hl7bridge.store.queue.creations import Creations, SecondLook
from hl7bridge.store.queue.health import DestinationHealth
from hl7bridge.store.queue.lanes import Lanes, Standing, keys_from_text
from hl7bridge.store.queue.moves import Move, move
from hl7bridge.store.queue.pauses import Pauses
from hl7bridge.store.restores import Restores
from hl7bridge.store.rows import Claimed, Settlement
from hl7bridge.store.worklist import Worklist

SETTLED_AS = {
    DeliveryState.ENDED: DeliveryEvent.ENDED,
    DeliveryState.RETRY: DeliveryEvent.RETRY,
    DeliveryState.UNKNOWN: DeliveryEvent.UNKNOWN,
    DeliveryState.HELD: DeliveryEvent.HELD,
    DeliveryState.QUEUED: DeliveryEvent.GIVEN_BACK,
}

# A deactivation of somebody unknown is dealt with, too: an older message that comes later must not bring them back.
_DEALT_WITH = APPLIED | {Result.NOTHING_TO_DO}

_PLACE = "COALESCE(f.place, d.place) FROM delivery d LEFT JOIN released f ON f.delivery_id = d.id"
HELD_OF_PERSON = (
    "SELECT d.id, CASE WHEN f.change IS NULL THEN r.codec ELSE f.codec END, COALESCE(f.change, r.change)"  # noqa: S608 (our names)
    " FROM delivery d JOIN record r ON r.message_id = d.message_id AND r.position = d.position"
    " LEFT JOIN released f ON f.delivery_id = d.id"
    " WHERE d.state = 'held' AND d.source_key = ? AND d.feed = ? AND d.destination = ?"
    f" AND COALESCE(f.place, d.place) < (SELECT {_PLACE} WHERE d.id = ?)"
)

# By the person's records, of which there is an index; tasks that are closed have none of their own.
_OF_PERSON = (
    " FROM record r JOIN delivery d ON d.message_id = r.message_id AND d.position = r.position{more}"
    " WHERE r.source_key = ? AND d.feed = ? AND d.destination = ?"
)
LAST_ASKED = (
    f"SELECT MAX(d.place){_OF_PERSON.format(more=' JOIN task t ON t.message_id = d.message_id AND t.delivery_id = d.id')}"
    " AND t.kind = ? HAVING COUNT(*) > 0"
)
SAID_SINCE = f"SELECT r.codec, r.change{_OF_PERSON.format(more='')} AND d.place > ? AND d.place < ?"

_CHANGED_THE_SERVER = frozenset({Result.CREATED, Result.UPDATED, Result.DEACTIVATED, Result.REACTIVATED})


def _evidence(settlement: Settlement) -> str:
    """What showed the facts of an outcome, in words."""
    outcome = settlement.outcome
    seen = (outcome.shown or outcome.person_id) if outcome.person_id else "nobody carries the record's identifiers"
    version = f" version {outcome.version}" if outcome.person_id and outcome.version else ""
    return f"{seen}{version}, message {settlement.claimed.message_id}"


class Settlements(StorePart):
    """What workers bring back."""

    def __init__(
        self,
        connection: StoreConnection,
        *,
        lanes: Lanes,
        arrivals: Arrivals,
        creations: Creations,
        restores: Restores,
        pauses: Pauses,
        health: DestinationHealth,
        tasks: Worklist,
    ) -> None:
        super().__init__(connection)
        self._lanes, self._arrivals, self._creations = lanes, arrivals, creations
        self._restores, self._pauses, self._tasks = restores, pauses, tasks
        self._health = health

    def settle(self, settlements: Sequence[Settlement], now: float, learned: Learned | None = None) -> list[int]:
        """Record outcomes, crosswalk, bases, tasks, history, and what was learned of their destination, in one
        transaction; returns the ids of deliveries whose claim was lost (nothing of those was recorded).

        Raises HealthChanged, and records nothing, when `learned` goes by an older health than is there now.
        """
        for settlement in settlements:
            if settlement.state not in SETTLED_AS:
                raise ValueError(f"a delivery cannot be settled as {settlement.state}")
        if not settlements:
            return []
        with self._writing():
            if learned:
                self._health.keep(settlements[0].claimed.destination, learned, now)
            left: list[Standing] = []
            freed: list[tuple[int, Collection[int]]] = []
            lost = [s.claimed.delivery_id for s in settlements if not self._settle(s, left, freed, now)]
            self._lanes.leave_all(left)
            self._lanes.free_all(freed)
        return lost

    def _settle(
        self,
        settlement: Settlement,
        left: list[Standing],
        freed: list[tuple[int, Collection[int]]],
        now: float,
    ) -> bool:
        """False where the claim was lost. Whose lanes move on is added to `left` or `freed`, for all of them at once."""
        claimed, outcome, state = settlement.claimed, settlement.outcome, settlement.state
        row = self._execute(
            "SELECT d.place, d.lane, d.order_time, d.sent, d.attempts, d.ambiguous FROM delivery d"
            " JOIN worker w ON w.owner = d.owner"
            " WHERE d.id = ? AND d.state = 'claimed' AND d.fence = ? AND w.expiry > ?",
            (claimed.delivery_id, claimed.fence, now),
        ).fetchone()
        if not row:
            return False
        place, lane, order_time, sent, attempts, ambiguous = row
        keys = keys_from_text(lane)
        attempted = state is not DeliveryState.QUEUED
        sent = sent or state is DeliveryState.UNKNOWN or outcome.result in _CHANGED_THE_SERVER or bool(outcome.written)
        ended = state is DeliveryState.ENDED
        if state in (DeliveryState.ENDED, DeliveryState.HELD):
            left.append((claimed.delivery_id, place, keys))
        else:
            freed.append((claimed.delivery_id, keys))
        if attempted or outcome.interactions or outcome.exchanges:
            self._remember_attempt(settlement, now)
        self._remember_creates(settlement, keys, ambiguous=bool(ambiguous), now=now)
        self._remember_person(settlement, order_time if ended and outcome.result in _DEALT_WITH else "", now)
        for task in outcome.tasks:
            if outcome.result is Result.REPORTED and self._reported_before(task.kind, claimed, place):
                continue
            self._tasks.open_task(
                task,
                claimed.message_id,
                claimed.delivery_id,
                claimed.destination,
                claimed.feed,
                claimed.change.source_key,
                now,
            )
        person = (claimed.destination, claimed.feed, claimed.change.source_key)
        changed = outcome.result in _CHANGED_THE_SERVER
        if changed and self._restores.undone(*person, outcome, claimed.message_id, claimed.delivery_id, now):
            self._tasks.open_kind(RESTORE_UNDONE, claimed.message_id, claimed.delivery_id, *person, now)
        self._tasks.close_shown(
            claimed.destination, claimed.feed, claimed.change.source_key, outcome.facts, _evidence(settlement), now
        )
        if ended:
            self._tasks.close_unverified(claimed.delivery_id, outcome.result.value, now)
        detail = {"result": outcome.result.value, "local": outcome.local, "status": outcome.http_status}
        columns = {
            "next_attempt": settlement.next_attempt if state in (DeliveryState.RETRY, DeliveryState.UNKNOWN) else 0,
            "attempts": attempts + attempted,
            "ambiguous": ambiguous or state is DeliveryState.UNKNOWN,
            "sent": sent,
            "head": state not in (DeliveryState.ENDED, DeliveryState.HELD),
            "result": outcome.result.value,
            "code": outcome.code,
            "local": outcome.local,
            "text": outcome.text,
            "http_status": outcome.http_status,
            "person_id": outcome.person_id,
            "version": outcome.version,
        }
        told = {"fence": claimed.fence, **detail}
        moved = Move(claimed.delivery_id, claimed.message_id, DeliveryState.CLAIMED, columns, told)
        move(self._connection, SETTLED_AS[state], [moved], now)
        # A late one that changed nothing says no more than what was applied before it.
        if ended and outcome.result in APPLIED and not claimed.known.late:
            self._supersede_held(settlement, now)
        if not sent and state not in (DeliveryState.RETRY, DeliveryState.UNKNOWN):
            self._execute("DELETE FROM ending WHERE delivery_id = ?", (claimed.delivery_id,))  # ended nobody
        if settlement.pause:
            self._pauses.pause_until(claimed.destination, settlement.pause, now, settlement.pause_until)
        return True

    def _reported_before(self, kind: str, claimed: Claimed, place: int) -> bool:
        """Whether a task of that kind was asked of people before, and is perhaps done, and nothing since said that the
        person is there: where nothing is written, every repetition of a leaver's message finds them active."""
        if kind not in STANDING_TASKS:
            return False
        person = (claimed.change.source_key, claimed.feed, claimed.destination)
        last = self._execute(LAST_ASKED, (*person, kind)).fetchone()
        if not last:
            return False
        since = self._execute(SAID_SINCE, (*person, last[0], place)).fetchall()
        changes = (StaffChange.from_json(unseal(codec, content).decode()) for codec, content in since)
        return not any(change.says_staff for change in changes)

    def _remember_attempt(self, settlement: Settlement, now: float) -> None:
        claimed, outcome = settlement.claimed, settlement.outcome
        last = self._execute("SELECT MAX(number) FROM attempt WHERE delivery_id = ?", (claimed.delivery_id,)).fetchone()
        self._execute(
            "INSERT INTO attempt (delivery_id, number, at, result, local, http_status, exchanges, warnings, codec, key_id,"
            " interactions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?)",
            (
                claimed.delivery_id,
                (last[0] or 0) + 1,
                now,
                outcome.result.value,
                outcome.local,
                outcome.http_status,
                exchanges_to_text(outcome.exchanges),
                findings_to_text(outcome.warnings),
                PLAIN,
                interactions_to_bytes(outcome.interactions, outcome.drift, outcome.candidates),
            ),
        )
        self._restores.keep_images(claimed.delivery_id, (last[0] or 0) + 1, outcome, claimed.message_id, now)

    def _remember_creates(self, settlement: Settlement, keys: Sequence[int], *, ambiguous: bool, now: float) -> None:
        """Who was written, and which create nobody answered, for those who ask before an index has caught up; and what is
        to be looked for later: each resource that was created, or may have been, twice."""
        claimed, outcome = settlement.claimed, settlement.outcome
        bases = [base for base in outcome.written if base.resource_id and base.values]
        lately = {(base.resource_type, base.resource_id) for base in bases if base.is_person}
        if outcome.unanswered:
            lately.add((outcome.unanswered, ""))
        if lately:
            self._creations.remember_lately(keys, sorted(lately), now)
        created = {(one.resource_type, one.resource_id) for one in outcome.images if one.before is None}
        doubtful = ambiguous or claimed.known.unanswered
        for resource_type, resource_id in ((base.resource_type, base.resource_id) for base in bases):
            if doubtful or (resource_type, resource_id) in created:
                self._creations.look_later(
                    claimed.destination,
                    SecondLook(
                        resource_type, resource_id, outcome.person_id, claimed.feed, claimed.change.source_key,
                        claimed.message_id, claimed.delivery_id, now, now + settlement.look_after, 0,
                    ),
                )  # fmt: skip

    def _remember_person(self, settlement: Settlement, order_time: str, now: float) -> None:
        """The crosswalk, what was applied last, and the bases. An attempt that failed half way leaves bases, too."""
        claimed, outcome = settlement.claimed, settlement.outcome
        applied = settlement.state is DeliveryState.ENDED and outcome.result in APPLIED
        person_id = outcome.person_id if applied or outcome.written else ""
        if person_id or order_time:
            self._execute(
                "INSERT INTO crosswalk (destination, feed, source_key, person_id, order_time, changed)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (destination, feed, source_key) DO UPDATE SET"
                " person_id = CASE WHEN excluded.person_id <> '' THEN excluded.person_id ELSE crosswalk.person_id END,"
                " link = CASE WHEN crosswalk.link <> 'apart' AND excluded.person_id NOT IN ('', crosswalk.person_id) THEN ''"
                " ELSE crosswalk.link END,"
                " order_time = CASE WHEN excluded.order_time > crosswalk.order_time THEN excluded.order_time"
                " ELSE crosswalk.order_time END, changed = excluded.changed",
                (claimed.destination, claimed.feed, claimed.change.source_key, person_id, order_time, now),
            )
        for written in outcome.written:
            self._remember_base(settlement, written, now)

    def _remember_base(self, settlement: Settlement, written: Written, now: float) -> None:
        claimed = settlement.claimed
        self._execute(
            "INSERT INTO feed_write (destination, resource_type, resource_id, feed, source_key, role_key, origin,"
            " holds_active, version, changed, codec, key_id, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?)"
            " ON CONFLICT (destination, resource_type, resource_id, feed, source_key, role_key) DO UPDATE SET"
            " origin = excluded.origin, holds_active = excluded.holds_active, version = excluded.version,"
            " changed = excluded.changed, codec = excluded.codec, key_id = excluded.key_id, content = excluded.content",
            (
                claimed.destination,
                written.resource_type,
                written.resource_id,
                written.feed or claimed.feed,
                written.source_key or claimed.change.source_key,
                written.role_key,
                written.origin,
                written.holds_active,
                written.version,
                now,
                PLAIN,
                written_to_bytes(written),
            ),
        )

    def _supersede_held(self, settlement: Settlement, now: float) -> None:
        """End what is held of the person and came before. One that a person released stands where it stood at first."""
        claimed = settlement.claimed
        held = self._execute(
            HELD_OF_PERSON, (claimed.change.source_key, claimed.feed, claimed.destination, claimed.delivery_id)
        ).fetchall()
        for delivery_id, codec, content in held:
            earlier = StaffChange.from_json(unseal(codec, content).decode())
            ends = earlier.says_staff is False
            # Held for being absent from a whole file: whoever is spoken of again is not.
            absent = earlier.event_field == ABSENT and not claimed.change.only_if_missing
            if absent or claimed.change.overtakes(Action.DEACTIVATE if ends else earlier.kind):
                self._lanes.end(delivery_id, Result.SUPERSEDED, now, by=claimed.delivery_id)

    def withdraw(self, message_id: int, now: float) -> bool:
        """Withdraw every delivery of the message of which nothing can have reached a server. True when that is all of
        them. One that is claimed, of unknown result, or written in part goes on."""
        self._arrivals.write_out_all(message_id, now)
        with self._writing():
            rows = self._execute(
                "SELECT id, state, sent FROM delivery WHERE message_id = ? ORDER BY id", (message_id,)
            ).fetchall()
            not_sent = [
                delivery_id
                for delivery_id, state, sent in rows
                if not sent and state not in (DeliveryState.CLAIMED, DeliveryState.UNKNOWN, DeliveryState.ENDED)
            ]
            for delivery_id in not_sent:
                self._lanes.end(delivery_id, Result.WITHDRAWN, now)
            if not_sent:
                self._execute("UPDATE message SET state = 'withdrawn' WHERE id = ?", (message_id,))
                self._note(now, message_id, 0, "withdrawn", deliveries=not_sent)
            return not any(sent or state == DeliveryState.CLAIMED for _, state, sent in rows)
