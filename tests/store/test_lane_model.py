"""Any sequence of accepts, claims, settlements, withdrawals, leases and time, against a model that is plain to read.

The model keeps a list and looks at all of it each time; the store must agree on every state after every step, hand out
what the model says may go, and in the end let everything through.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from hl7bridge.model import APPLIED, LIFECYCLE, Action, Result
from hl7bridge.store.opening import open_store as open_at
from hl7bridge.store.store import OPEN_LANE, Claimed, DeliveryState, Settlement, Store
from tests.examples import examples
from tests.store.builders import NOW, change, message, outcome

LEASE = 20.0
OPEN = frozenset(OPEN_LANE)
TIMES = [""] + [
    (datetime(2027, 1, 15, tzinfo=UTC) + timedelta(hours=hour)).isoformat(timespec="milliseconds") for hour in range(3)
]


@dataclass
class Modelled:
    """One delivery."""

    message_id: int
    person: tuple[str, str]
    keys: frozenset[str]
    action: Action
    place: float
    order_time: str
    not_before: float
    force: bool
    state: DeliveryState
    result: Result | None = None
    next_attempt: float = 0.0
    attempts: int = 0
    ambiguous: bool = False
    sent: bool = False
    owner: str = ""
    claimed: Claimed | None = None

    @property
    def leaver(self) -> bool:
        return self.action in (Action.DEACTIVATE, Action.REMOVE)

    def end(self, result: Result) -> None:
        self.state, self.result, self.claimed = DeliveryState.ENDED, result, None


@dataclass
class Model:
    """All deliveries, the leases, and what was applied last."""

    deliveries: list[Modelled] = field(default_factory=list)
    leases: dict[str, float] = field(default_factory=dict)
    applied: dict[tuple[str, str], str] = field(default_factory=dict)
    places: int = 0
    now: float = NOW

    def next_place(self) -> int:
        self.places += 1
        return self.places

    def alive(self, owner: str) -> bool:
        return self.leases.get(owner, 0.0) > self.now

    def promote(self) -> None:
        due = [d for d in self.deliveries if d.state is DeliveryState.SCHEDULED and d.not_before <= self.now]
        for d in sorted(due, key=lambda d: (d.not_before, self.deliveries.index(d))):
            d.state, d.place = DeliveryState.QUEUED, self.next_place()

    def take_over(self, gone: Callable[[str], bool]) -> None:
        for d in self.deliveries:
            if d.state is DeliveryState.CLAIMED and gone(d.owner):
                d.state, d.next_attempt, d.claimed = DeliveryState.UNKNOWN, self.now, None
                d.attempts, d.ambiguous, d.sent = d.attempts + 1, True, True

    def may_go(self) -> list[Modelled]:
        due = (
            d
            for d in self.deliveries
            if d.state is DeliveryState.QUEUED
            or (d.state in (DeliveryState.RETRY, DeliveryState.UNKNOWN) and d.next_attempt <= self.now)
        )
        free = [
            d
            for d in due
            if not any(
                other is not d
                and other.keys & d.keys
                and other.state in OPEN
                and (other.place < d.place or other.state is DeliveryState.CLAIMED)
                for other in self.deliveries
            )
        ]
        return sorted(free, key=lambda d: (not d.leaver, d.place))

    def is_stale(self, d: Modelled) -> bool:
        return bool(d.order_time) and not d.force and self.applied.get(d.person, "") > d.order_time


class LaneMachine(RuleBasedStateMachine):
    """Drives a store and the model side by side."""

    new_location: Callable[[], str]

    @initialize()
    def start(self) -> None:
        self.store: Store = open_at(self.new_location())
        self.model = Model()
        self.control_ids = 0
        self.failed = False

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                if not self.failed:
                    self.let_everything_through()
            finally:
                self.store.close()

    # -- what happens --

    @rule(seed=st.integers(0, 2**32))
    def step(self, seed: int) -> None:
        """One rule that throws its own dice: hypothesis then neither leaves out kinds of steps nor favours simple ones,
        and still finds the shortest list of steps that fails."""
        dice = random.Random(seed)
        steps = [self.accept, self.claim, self.settle, self.time_passes, self.renew, self.leave, self.withdraw]
        (chosen,) = dice.choices(steps, weights=[6, 5, 6, 3, 1, 1, 1])
        self.failed = True
        chosen(dice)
        self.failed = False

    def accept(self, dice: random.Random) -> None:
        feed, source_key = dice.choice(["hr", "badge"]), dice.choice("AB")
        action = dice.choice(list(Action))
        order_time = dice.choice(TIMES)
        force = dice.random() < 0.2
        wait = dice.choice([0.0, 0.0, 0.0, 5.0, 6.0, 30.0])
        count = dice.randint(1, 3)
        lane = tuple(key for key in (f"{feed}/{source_key}", dice.choice(["", "npi/1", "npi/2"])) if key)
        not_before = self.model.now + wait if wait else 0.0
        self.control_ids += 1
        given = message(
            *[change(source_key, action)] * count,
            control_id=f"M{self.control_ids}",
            feed=feed,
            lane=lane,
            order_time=order_time,
            not_before=not_before,
            force=force,
        )
        message_id = self.store.inbox.accept([given], self.model.now)[0].message_id
        for _ in range(count):
            for d in self.model.deliveries:
                replaced = (not_before and d.not_before == not_before) or (action in LIFECYCLE and d.action is action)
                if d.state is DeliveryState.SCHEDULED and d.person == (feed, source_key) and replaced:
                    d.end(Result.SUPERSEDED)
            self.model.deliveries.append(
                Modelled(
                    message_id,
                    (feed, source_key),
                    frozenset(lane),
                    action,
                    self.model.next_place(),
                    order_time,
                    not_before,
                    force,
                    DeliveryState.SCHEDULED if wait else DeliveryState.QUEUED,
                )
            )

    def time_passes(self, dice: random.Random) -> None:
        self.model.now += dice.choice([1.0, 6.0, 6.0, 25.0])

    def claim(self, dice: random.Random) -> None:
        self.claim_as(dice.choice(["w1", "w2"]), dice.randint(1, 4))

    def claim_as(self, owner: str, limit: int) -> None:
        model = self.model
        if not model.alive(owner):
            self.store.queue.join(owner, LEASE, model.now)
            model.take_over(lambda other: other == owner)
            model.leases[owner] = model.now + LEASE
        claimed = self.store.queue.claim("main", owner, limit, model.now)
        model.promote()
        model.take_over(lambda other: not model.alive(other))
        stale = self.apply_stale()
        free = model.may_go()
        handed_out = [self.find(one) for one in claimed]
        left = [d for d in free if d not in handed_out]
        if not stale:  # an end as stale may bring up a leaver when others were chosen already
            assert handed_out == sorted(handed_out, key=lambda d: not d.leaver)
            assert all(d.leaver for d in handed_out) or not any(d.leaver for d in left)
        for d in handed_out:
            passed = [p for p in left if (p.state, p.leaver) == (DeliveryState.QUEUED, d.leaver) and p.place < d.place]
            assert stale or d.state is not DeliveryState.QUEUED or not passed
        for one in claimed:
            d = self.find(one)
            assert d in model.may_go()
            assert not model.is_stale(d)
            assert (one.known.ambiguous, one.known.attempts, one.force) == (d.ambiguous, d.attempts, d.force)
            d.state, d.owner, d.claimed = DeliveryState.CLAIMED, owner, one
        if len(claimed) < limit:
            assert model.may_go() == []

    def settle(self, dice: random.Random) -> None:
        held = [d for d in self.model.deliveries if d.claimed]
        for d in dice.sample(held, min(len(held), dice.randint(1, 3))):
            well = dice.choice([Result.UPDATED, Result.UNCHANGED, Result.REPORTED, Result.NOTHING_TO_DO])
            state, result = dice.choice(
                [
                    (DeliveryState.ENDED, well),
                    (DeliveryState.ENDED, well),
                    (DeliveryState.RETRY, Result.RETRY),
                    (DeliveryState.UNKNOWN, Result.UNKNOWN),
                    (DeliveryState.HELD, Result.HELD),
                    (DeliveryState.QUEUED, Result.PAUSED),
                ]
            )
            self.settle_as(d, state, result)

    def settle_as(self, d: Modelled, state: DeliveryState, result: Result) -> None:
        model, one = self.model, d.claimed
        assert one
        given = Settlement(one, outcome(result), state, next_attempt=model.now + 5)
        lost = self.store.settlements.settle([given], model.now)
        assert self.store.settlements.settle([given], model.now) == [one.delivery_id]  # never twice
        if not model.alive(d.owner):
            assert lost == [one.delivery_id]
            return
        assert lost == []
        d.claimed = None
        d.state = state
        d.attempts += state is not DeliveryState.QUEUED
        d.next_attempt = model.now + 5
        d.ambiguous |= state is DeliveryState.UNKNOWN
        d.sent |= state is DeliveryState.UNKNOWN or result is Result.UPDATED
        d.result = result
        if state is DeliveryState.ENDED:
            if result in APPLIED or result is Result.NOTHING_TO_DO:
                model.applied[d.person] = max(model.applied.get(d.person, ""), d.order_time)
            if result in APPLIED:
                for other in model.deliveries:
                    if other.state is DeliveryState.HELD and other.person == d.person and other.place < d.place:
                        other.end(Result.SUPERSEDED)

    def renew(self, dice: random.Random) -> None:
        owner = dice.choice(["w1", "w2"])
        assert self.store.queue.renew(owner, LEASE, self.model.now) is self.model.alive(owner)
        if self.model.alive(owner):
            self.model.leases[owner] = self.model.now + LEASE

    def leave(self, dice: random.Random) -> None:
        owner = dice.choice(["w1", "w2"])
        mine = [d for d in self.model.deliveries if d.state is DeliveryState.CLAIMED and d.owner == owner]
        begun = [d for d in mine if dice.random() < 0.5]
        self.store.queue.leave(owner, self.model.now, [d.claimed.delivery_id for d in begun if d.claimed])
        self.model.leases.pop(owner, None)
        for d in mine:
            if d not in begun:
                d.state, d.claimed = DeliveryState.QUEUED, None
        self.model.take_over(lambda other: other == owner)

    def withdraw(self, dice: random.Random) -> None:
        if not self.model.deliveries:
            return
        message_id = dice.choice(self.model.deliveries).message_id
        mine = [d for d in self.model.deliveries if d.message_id == message_id]
        unsent = not any(d.sent or d.state is DeliveryState.CLAIMED for d in mine)
        assert self.store.settlements.withdraw(message_id, self.model.now) is unsent
        for d in mine:
            gone = (DeliveryState.QUEUED, DeliveryState.RETRY, DeliveryState.SCHEDULED, DeliveryState.HELD)
            if d.state in gone and not d.sent:
                d.end(Result.WITHDRAWN)

    # -- what must hold --

    @invariant()
    def both_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.seen() == {
            self.name(d): (d.state, d.result if d.state is DeliveryState.ENDED else None) for d in self.model.deliveries
        }

    @invariant()
    def looking_is_worth_it_when_something_may_go(self) -> None:
        if not hasattr(self, "store"):
            return
        due = self.store.queue.next_due("main", self.model.now)
        if self.model.may_go():
            assert due is not None
            assert due <= self.model.now

    def let_everything_through(self) -> None:
        """Liveness: whatever happened, everything that stands in a lane gets through, and claiming ends."""
        model = self.model
        for _ in range(len(model.deliveries) * 2 + 2):
            model.now += 40
            self.claim_as("w1", 1000)
            for d in model.deliveries:
                if d.claimed and d.owner == "w1":
                    self.settle_as(d, DeliveryState.ENDED, Result.UNCHANGED)
        assert all(d.state in (DeliveryState.ENDED, DeliveryState.HELD) for d in model.deliveries)
        self.both_agree()
        assert self.store.queue.next_due("main", model.now) is None

    # -- looking --

    def name(self, d: Modelled) -> tuple[int, int]:
        """(message id, position): positions count the deliveries of a message from 1."""
        mine = [other for other in self.model.deliveries if other.message_id == d.message_id]
        return d.message_id, next(n for n, other in enumerate(mine, 1) if other is d)

    def find(self, one: Claimed) -> Modelled:
        return next(d for d in self.model.deliveries if self.name(d) == (one.message_id, one.position))

    def seen(self) -> dict[tuple[int, int], tuple[DeliveryState, Result | None]]:
        ids = sorted({d.message_id for d in self.model.deliveries})
        return {
            (message_id, status.position): (there.state, there.result if there.state is DeliveryState.ENDED else None)
            for message_id, statuses in self.store.audit.statuses(ids).items()
            for status in statuses
            for there in status.deliveries.values()
        }

    def apply_stale(self) -> int:
        """Which ones the store ended as stale depends on how far it looked; each must be rightly so."""
        seen = self.seen()
        found = 0
        while True:
            now_stale = [
                d
                for d in self.model.may_go()
                if self.model.is_stale(d) and seen[self.name(d)] == (DeliveryState.ENDED, Result.STALE)
            ]
            if not now_stale:
                return found
            for d in now_stale:
                d.end(Result.STALE)
                found += 1


def test_the_store_agrees_with_the_model(new_location: Callable[[], str]) -> None:
    class Machine(LaneMachine):
        pass

    Machine.new_location = staticmethod(new_location)  # type: ignore[method-assign]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=examples(10),
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
