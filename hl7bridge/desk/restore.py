"""What a delivery wrote, taken back as far as nobody changed it since; in mode approve, by somebody else's approval."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.destinations import destination_of
from hl7bridge.assemble.ledger import ledger_of
from hl7bridge.desk.deciding import Actor, Clock, Progress, Role, unseen, why
from hl7bridge.desk.messages import message_of
from hl7bridge.destinations.policy import APPROVE, REPORT, WRITE, Policy
from hl7bridge.destinations.protocol import Destination, TakenBack
from hl7bridge.errors import ConfigError
from hl7bridge.model import Image
from hl7bridge.store.restores import RestoreRequest as RestoreRequest
from hl7bridge.store.restores import WrittenDelivery, element_name

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.store import Store

PLANNED, APPLIED, WAITING, NOTHING, FAILED = "planned", "applied", "waiting", "nothing", "failed"
IN_WORDS = {
    PLANNED: "planned, nothing is written",
    APPLIED: "taken back",
    WAITING: "waits for somebody else's approval",
    NOTHING: "nothing to take back",
    FAILED: "not taken back",
}
_UNDER_WAY = frozenset({"scheduled", "queued", "claimed", "retry", "unknown"})


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of the restore of one delivery.

    state       planned, applied, waiting (for an approval), nothing or failed: see `IN_WORDS`
    restore_id  of a restore that was made, or waits; 0 = there is none
    problem     why it is not possible at all; those of single resources stand there
    """

    delivery_id: int
    message_id: int
    destination: str
    feed: str
    source_key: str
    state: str = NOTHING
    restore_id: int = 0
    problem: str = ""
    resources: tuple[TakenBack, ...] = ()

    @property
    def unreachable(self) -> bool:
        """Whether the server did not answer: another try may do it."""
        return any(resource.unreachable for resource in self.resources)

    @property
    def complete(self) -> bool:
        """Whether nothing stays that the delivery wrote."""
        return not self.problem and not any(resource.kept or resource.problem for resource in self.resources)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        resources = [asdict(resource) for resource in self.resources]
        for resource in resources:
            del resource["base"]
        return asdict(replace(self, resources=())) | {"unreachable": self.unreachable, "resources": resources}


def deliveries_of(store: Store, message_id: int) -> list[int]:
    """Those of a message, the latest first, so that what was written last is taken back first. Raises ConfigError."""
    message = message_of(store, message_id)
    return sorted((d["id"] for record in message["records"] for d in record["deliveries"]), reverse=True)


def waiting(store: Store) -> tuple[RestoreRequest, ...]:
    """Restores that wait for an approval."""
    return tuple(store.restores.restores(state=WAITING))


def take_back(
    store: Store,
    settings: Settings,
    deliveries: Sequence[int],
    actor: Actor,
    reason: str,
    *,
    dry_run: bool = False,
    clock: Clock = time.time,
    progress: Progress = unseen,
) -> tuple[Restored, ...]:
    """Take back what deliveries wrote, one after the other; `dry_run` writes nothing. Where the mode is report it is planned
    alone; in mode approve it waits until somebody else approves it. Raises ConfigError for what is no delivery."""
    actor.must_have(Role.OPERATE)
    reason = reason if dry_run else why(reason)
    return _each(_WayBack(settings, store, actor, reason, clock, dry_run), deliveries, progress)


def approve(
    store: Store,
    settings: Settings,
    restore_id: int,
    actor: Actor,
    reason: str,
    *,
    clock: Clock = time.time,
    progress: Progress = unseen,
) -> tuple[Restored, ...]:
    """Carry out a restore that waits. Raises ConfigError where none does, and for the one who asked for it."""
    actor.must_have(Role.APPROVE)
    reason = why(reason)
    found = store.restores.restores(restore_id=restore_id, state=WAITING)
    if not found:
        raise _none_waits(restore_id)
    if actor.is_who_asked(found[0].who):
        raise ConfigError(f"restore {restore_id} is your own", advice="Somebody else has to approve it.")
    way = _WayBack(settings, store, actor, reason, clock, asked=restore_id)
    return _each(way, [found[0].delivery_id], progress)


def reject(store: Store, restore_id: int, actor: Actor, reason: str, *, clock: Clock = time.time) -> None:
    """End a restore that waits. Raises ConfigError where none does."""
    actor.must_have(Role.APPROVE)
    if not store.restores.reject_restore(restore_id, clock(), who=str(actor), reason=why(reason)):
        raise _none_waits(restore_id)


def _none_waits(restore_id: int) -> ConfigError:
    return ConfigError(f"no restore {restore_id} waits", advice="`hl7bridge restore --waiting` shows those that do.")


def _each(way: _WayBack, deliveries: Sequence[int], progress: Progress) -> tuple[Restored, ...]:
    done = []
    try:
        with progress("restoring", len(deliveries)) as advance:
            for one in deliveries:
                done.append(way.take_back(one))
                advance()
    finally:
        way.close()
    return tuple(done)


@dataclass(slots=True)
class _WayBack:
    """Takes deliveries back, one after the other. `asked`: the restore that is approved by that, 0 = none."""

    settings: Settings
    store: Store
    actor: Actor
    reason: str
    clock: Clock
    dry_run: bool = False
    asked: int = 0
    _opened: dict[str, Destination] = field(default_factory=dict)

    def close(self) -> None:
        """Close what was opened."""
        for there in self._opened.values():
            there.close()

    def take_back(self, delivery_id: int) -> Restored:
        """What becomes of one delivery."""
        delivery = self.store.restores.delivery(delivery_id)
        if delivery is None:
            advice = "`hl7bridge msg show ID` shows its deliveries."
            raise ConfigError(f"there is no delivery {delivery_id}", advice=advice)
        restored = Restored(delivery_id, delivery.message_id, delivery.destination, delivery.feed, delivery.source_key)
        if problem := self._obstacle(delivery):
            return replace(restored, problem=problem, state=FAILED)
        there = self._destination(delivery.destination)
        images = there.to_take_back(self.store.restores.images(delivery_id), delivery.person_id)
        if not images:
            return replace(restored, problem="it wrote nothing, or what it found is not kept any more", state=FAILED)
        restored = replace(restored, resources=self._resources(there, restored, images, write=False))
        changes = [one for one in restored.resources if one.differences]
        if restored.unreachable or (not changes and any(one.problem for one in restored.resources)):
            return replace(restored, state=FAILED)
        if not changes:
            return restored
        mode = REPORT if self.dry_run else _mode(there.policy, changes)
        if mode == REPORT:
            return replace(restored, state=PLANNED)
        if mode == APPROVE and not self.asked:
            number = self.store.restores.ask_restore(delivery_id, self.clock(), who=str(self.actor), reason=self.reason)
            return replace(restored, state=WAITING, restore_id=number)
        return self._applied(there, restored, images)

    def _obstacle(self, delivery: WrittenDelivery) -> str:
        if delivery.state in _UNDER_WAY:
            return f"the delivery has not ended ({delivery.state})"
        if delivery.under_way:
            return "a change of the same person is being delivered: try again when that has ended"
        if delivery.destination not in self.settings.destinations:
            return f"there is no destination {delivery.destination} any more"
        return ""

    def _destination(self, name: str) -> Destination:
        if name not in self._opened:
            self._opened[name] = destination_of(self.settings.destinations[name])
        return self._opened[name]

    def _resources(
        self, there: Destination, restored: Restored, images: Iterable[Image], *, write: bool
    ) -> tuple[TakenBack, ...]:
        ledger = ledger_of(self.store, restored.destination)
        mine, now = (restored.feed, restored.source_key), datetime.fromtimestamp(self.clock(), UTC)
        return tuple(there.take_back(image, mine, ledger, now, write=write) for image in images)

    def _applied(self, there: Destination, restored: Restored, images: Iterable[Image]) -> Restored:
        resources = self._resources(there, restored, images, write=True)
        written = [one for one in resources if one.differences and not one.problem]
        elements = {
            element_name(one.resource_type, one.resource_id, difference.path)
            for one in written
            for difference in one.differences
        }
        if not elements:
            failed = any(one.problem for one in resources)
            return replace(restored, resources=resources, state=FAILED if failed else NOTHING)
        number = self.store.restores.restored(
            restored.delivery_id,
            self.clock(),
            who=str(self.actor),
            reason=self.reason,
            elements=sorted(elements),
            bases=[one.base for one in written if one.base is not None],
            restore_id=self.asked,
        )
        return replace(restored, resources=resources, state=APPLIED, restore_id=number)


def _mode(policy: Policy, changes: Iterable[TakenBack]) -> str:
    """The strictest mode of what is to be written."""
    ends = any(
        difference.path == "active" and difference.after is False for one in changes for difference in one.differences
    )
    modes = {policy.mode_of("update"), *([policy.mode_of("deactivate")] if ends else [])}
    return next(mode for mode in (REPORT, APPROVE, WRITE) if mode in modes)
