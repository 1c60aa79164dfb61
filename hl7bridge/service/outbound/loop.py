"""The delivery role: for each destination, claim what is due, deliver it with a few threads, settle in groups.

One loop thread a destination owns a store connection and is the only one to claim, renew and settle; worker threads
speak HTTP and return an `Outcome`. A worker process holds a lease: when it can't renew it in time, it stops and forgets
what it held, for another worker may have it by now (design.md sections 3 and 6).
"""

from __future__ import annotations

import os
import queue
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from hl7bridge.assemble.ledger import StoreLedger, effective_lag
from hl7bridge.destinations.policy import Brake
from hl7bridge.destinations.protocol import Destination, Work
from hl7bridge.destinations.reasons import LEAVING_REPORT, MAINTENANCE
from hl7bridge.destinations.retry import RetryPolicy
from hl7bridge.errors import HealthChanged, Hl7BridgeError
from hl7bridge.model import Outcome, Result
from hl7bridge.model.health import Health, Learned
from hl7bridge.service.log import Log
from hl7bridge.service.outbound.clock import SMALL, ClockWatch
from hl7bridge.service.outbound.deciding import Decisions, decide
from hl7bridge.service.outbound.failing import Failing
from hl7bridge.service.outbound.leaving import LeavingReport
from hl7bridge.service.outbound.offered import HOUR
from hl7bridge.service.outbound.pace import REST_LONGEST, Pace
from hl7bridge.service.outbound.safeguards import Safeguards
from hl7bridge.service.outbound.schedule import Schedule
from hl7bridge.service.outbound.second_looks import EVERY as LAG_EVERY
from hl7bridge.service.outbound.watch import Watch, Watched
from hl7bridge.store.store import Claimed, DeliveryState, Settlement, Store

GROUP = 64  # settlements a transaction
GROUP_SECONDS = 0.1  # and the longest that a settlement waits for company
LEASE = 5.0  # seconds that a worker's claims outlive its last renewal
REFUSED = 64  # deliveries that are remembered for having met a refused token
UNWRITABLE = "unwritable-outcome"


@dataclass(frozen=True, slots=True)
class Target:
    """A destination ready to be delivered to."""

    destination: Destination
    retry: RetryPolicy
    brake: Brake = field(default_factory=Brake)
    capabilities_interval: float = HOUR
    watched: Watched = field(default_factory=Watched)


class DestinationLoop(threading.Thread):
    """Everything that happens to one destination, until `stop`."""

    def __init__(
        self,
        target: Target,
        open_store: Callable[[], Store],
        log: Log,
        *,
        settled: Callable[[], None] = lambda: None,
        poll_interval: float = 0.25,
        stop_timeout: float = 10.0,
    ) -> None:
        """`settled()` is called after each settlement (to hint to the listener)."""
        policy = target.destination.policy
        super().__init__(name=f"delivery-{policy.name}", daemon=True)
        self._name, self._policy = policy.name, policy
        self._target, self._open_store, self._log, self._settled = target, open_store, log, settled
        self._poll, self._stop_timeout = poll_interval, stop_timeout
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._wake: queue.SimpleQueue[tuple[Claimed, Outcome] | None] = queue.SimpleQueue()
        self._done: list[tuple[Claimed, Outcome]] = []
        self._open: dict[int, Claimed] = {}
        self._stopping = threading.Event()
        self._local = threading.local()
        self._stores: list[Store] = []
        self._watch = Watch(policy.name, target.watched, target.destination.words.leaver_unverified(), log)
        self._paused_for = ""  # why nothing was handed out, until something is delivered again
        self._leaving = LeavingReport(policy, log)
        self._slots = policy.in_flight
        self._clock = ClockWatch()
        self._pace = Pace(policy.in_flight, min(REST_LONGEST, target.retry.longest))
        self._failing = Failing()
        self._before: frozenset[int] | None = None  # what was under way when the trouble began that lasts
        self._refused: deque[int] = deque(maxlen=REFUSED)  # whom a server that refuses our token is asked about last
        self._safeguards = Safeguards(
            target.destination, target.brake, log, capabilities_interval=target.capabilities_interval
        )
        self._index_lag = policy.index_lag  # as it was measured
        self._index_lag_from = 0.0
        self._ledger = StoreLedger(self._own_store, policy.name)
        self.failed: str = ""

    @property
    def target(self) -> Target:
        """The destination that it serves."""
        return self._target

    def hint(self) -> None:
        """Something was committed: look now."""
        self._wake.put(None)

    def stop(self) -> None:
        """Claim nothing more, let what is under way end, settle it, leave."""
        self._stopping.set()
        self._wake.put(None)

    def run(self) -> None:
        """The loop. A store that fails ends it; the role then ends, and its parent starts it anew."""
        policy = self._policy
        pool = ThreadPoolExecutor(max_workers=policy.in_flight, thread_name_prefix=f"deliver-{policy.name}")
        store: Store | None = None
        try:
            store = self._opened()
            # On a thread of its own: neither the start nor a delivery waits for a server that does not answer.
            look = self._safeguards.offered.watch
            known = (self._stopping, self._watch.closed_until)
            threading.Thread(target=look, args=known, name=f"offer-{policy.name}", daemon=True).start()
            self._work(store, pool)
        except Exception as error:
            # A fault of ours, too, ends this loop in order: the role ends, and starts anew. Its text may hold content.
            self.failed = str(error) if isinstance(error, Hl7BridgeError) else f"a defect ({type(error).__name__})"
            self._log.error("delivery stopped", destination=policy.name, error=self.failed)
        finally:
            pool.shutdown(wait=not self.failed, cancel_futures=True)
            if not self.failed:
                # After a failure a worker may still be reading, and a connection closed under it takes the interpreter
                # down with it: they end with the process then, which the parent starts anew.
                for opened in self._stores:
                    opened.close()
            if store is not None:
                store.close()

    def _work(self, store: Store, pool: ThreadPoolExecutor) -> None:
        self._join(store)
        if (step := store.waits.ahead(time.time())) > SMALL:  # while nobody ran
            self._shorten_waits(store, step)
        renewed = time.monotonic()
        look = True
        first_done = 0.0
        give_up = 0.0
        while True:
            now, arriving = time.monotonic(), False
            if now - renewed > LEASE / 3:
                renewed = self._renew(store)
            if self._stopping.is_set():
                give_up = give_up or now + self._stop_timeout
                if (not self._open and not self._done) or now > give_up:
                    self._settle(store)
                    # What is under way still may reach the server: whoever gets it next has to look for it first.
                    store.queue.leave(self.owner, time.time(), begun=set(self._open))
                    return
            elif look:
                look = self._claim(store, pool)
                if not look:  # it rests or is paused, and records of a large file need not wait for its return
                    look = arriving = store.arrivals.write_out_some(time.time())
            waiting = 0.0 if arriving else self._wait(first_done)
            try:
                item = self._wake.get(timeout=max(waiting, 0.001))
            except queue.Empty:
                item = None
                look = True
            else:
                look = look or item is None or len(self._open) < self._policy.in_flight
            while item is not None:
                if not self._done:
                    first_done = time.monotonic()
                self._done.append(item)
                item = self._next_done()
            full = len(self._done) >= GROUP
            idle = len(self._done) == len(self._open)
            if self._done and (full or idle or time.monotonic() - first_done >= GROUP_SECONDS):
                self._settle(store)
                look = True

    def _next_done(self) -> tuple[Claimed, Outcome] | None:
        try:
            return self._wake.get_nowait()
        except queue.Empty:
            return None

    def _wait(self, first_done: float) -> float:
        if self._done:
            return min(GROUP_SECONDS, first_done + GROUP_SECONDS - time.monotonic())
        return min(self._poll, LEASE / 3)

    def _claim(self, store: Store, pool: ThreadPoolExecutor) -> bool:
        """Claim up to what the workers can take next. True when there may be more at once."""
        policy = self._policy
        if step := self._clock.set_back():
            self._shorten_waits(store, step)
        if not self._watch.look(store):
            self._paused_for = MAINTENANCE
            return False
        health = store.health.of(policy.name)
        again, room, more = self._room(health)
        if room + more <= 0:
            return False
        if time.monotonic() >= self._index_lag_from:
            self._index_lag = effective_lag(store, policy)
            self._index_lag_from = time.monotonic() + LAG_EVERY
        self._safeguards.hear(store)
        self._safeguards.tell(store)
        if not self._leaving.may_go(store):
            self._paused_for = LEAVING_REPORT
            return False
        claimed = self._handed_out(store, health, room, more)
        if not claimed and (self._refused or health.told) and policy.name not in store.audit.paused():
            self._refused.clear()  # nobody else is there to ask about, but who was tried before
            claimed = self._handed_out(store, health, room, max(more, 1 - again))
        if claimed:
            self._safeguards.resumed(store)
        else:
            self._paused_for = store.audit.paused().get(policy.name, self._paused_for)
        for one in claimed:
            self._open[one.delivery_id] = one
            pool.submit(self._deliver, one)
        return len(claimed) == room + more

    def _room(self, health: Health) -> tuple[int, int, int]:
        """How many are open that were tried before; how many others may be claimed, and how many such.

        In trouble what was under way before it holds nobody up, and who failed before is not the one to ask about.
        """
        again = sum(1 for one in self._open.values() if one.known.attempts)
        if not self._pace.at_most(health):
            self._before = None
        elif self._before is None:
            self._before = frozenset(self._open)
        before = self._before or frozenset()
        new = sum(1 for number, one in self._open.items() if not one.known.attempts and number not in before)
        return again, self._pace.room(health, self._slots, new), self._pace.again(health, self._slots, again)

    def _handed_out(self, store: Store, health: Health, room: int, again: int) -> list[Claimed]:
        policy = self._policy
        return store.queue.claim(
            policy.name,
            self.owner,
            room,
            time.time(),
            self._target.destination.lane_keys,
            policy.clock_tolerance,
            self._tell_stale,
            at_most=self._pace.at_most(health),
            besides=self._before or (),
            again=again,
            later=tuple(self._refused),
            spread=self._before is not None,
        )

    def _shorten_waits(self, store: Store, step: float) -> None:
        """What waits was told a time of day, and by the clock as it is now that is too far off."""
        longest = self._target.retry.longest
        count = store.waits.shorten(self._name, longest, LEASE, time.time(), but=MAINTENANCE)
        self._watch.look_again()
        self._log.warning(
            "the clock was set back, waits are shortened", destination=self._name, seconds=round(step), count=count
        )

    def _tell_stale(self, delivery_id: int, message_id: int) -> None:
        self._log.warning(
            "delivery stale, not applied", destination=self._name, delivery_id=delivery_id,
            message_id=message_id,
        )  # fmt: skip

    def _deliver(self, claimed: Claimed) -> None:
        """On a worker thread. An exception here is a fault of ours: the change is held with its name, never lost."""
        safeguards = self._safeguards
        try:
            if closed := self._watch.refusal():
                outcome = closed
            elif safeguards.latched:  # claimed before the server refused: not even read
                outcome = safeguards.refusal
            else:
                [outcome] = self._target.destination.deliver(
                    [self._work_of(claimed)],
                    self._ledger,
                    datetime.now(UTC),
                    offer=safeguards.offered.current() if self._policy.writes else None,
                    index_lag=self._index_lag,
                )
                outcome = safeguards.judge(claimed, outcome, self._own_store)
        except Exception as error:  # a defect met by one change must not stop the others
            self._log.error(
                "delivery failed by a defect", destination=self._name, delivery_id=claimed.delivery_id,
                error=type(error).__name__,
            )  # fmt: skip
            outcome = Outcome(
                Result.HELD,
                "207",
                "internal-error",
                f"A defect of the bridge ended the delivery: {type(error).__name__}",
            )
        self._wake.put((claimed, outcome))

    def _work_of(self, claimed: Claimed) -> Work:
        return Work(
            claimed.change,
            claimed.feed,
            claimed.known,
            approved=claimed.approved,
            permit=lambda interaction, ends: self._safeguards.permit(claimed, interaction, ends, self._own_store),
        )

    def _own_store(self) -> Store:
        """The store of the worker thread that asks."""
        store: Store | None = getattr(self._local, "store", None)
        if store is None:
            store = self._local.store = self._opened()
            self._stores.append(store)
        return store

    def _opened(self) -> Store:
        store = self._open_store()
        store.worklist.word_tasks(self._target.watched.wording)
        return store

    def _settle(self, store: Store) -> None:
        done, self._done = self._done, []
        if not done:
            return
        self._safeguards.tell(store)  # first, so that nobody is handed what is given back
        now = time.time()
        off_hours = self._watch.off_hours(outcome for _, outcome in done)
        decisions, lost = self._decided(store, done, off_hours, now)
        decisions.tell(self._log, self._name)
        self._failing = decisions.failing
        if decisions.delivered:
            self._refused.clear()
        self._refused.extend(decisions.refused)
        if self._paused_for and decisions.delivered:
            self._log.info("deliveries go on after a pause", destination=self._name, reason=self._paused_for)
            self._paused_for = ""
        if off_hours:
            self._watch.look_at_off_hours(store)
        for claimed, _ in done:
            self._open.pop(claimed.delivery_id, None)
        if lost:
            self._log.warning("claims lost, nothing recorded", destination=self._name, lost=len(lost))
        self._settled()

    def _decided(
        self, store: Store, done: list[tuple[Claimed, Outcome]], off_hours: int, now: float
    ) -> tuple[Decisions, list[int]]:
        """Decide and write it down; again, while others learn something of the destination between the two."""
        while True:
            health = store.health.of(self._name)
            decisions = decide(
                done, health, self._target.retry, self._pace, now, look_after=self._index_lag, failing=self._failing
            )
            learned = Learned(health, decisions.health, off_hours)
            try:
                return decisions, self._recorded(store, decisions.settlements, now, learned)
            except HealthChanged:
                continue

    def _recorded(self, store: Store, settlements: list[Settlement], now: float, learned: Learned | None) -> list[int]:
        """Settle; returns the ids of lost claims. One outcome that cannot be written down (half a surrogate pair, lists
        in lists without end from a server) must not stop the others: it goes without its differences, at last it is held.
        """
        try:
            return store.settlements.settle(settlements, now, learned)
        except Hl7BridgeError:
            raise
        except Exception as error:
            one = settlements[0]
            outcome = one.outcome
            if len(settlements) > 1:
                lost = self._recorded(store, settlements[:1], now, learned)
                return lost + [
                    each for settlement in settlements[1:] for each in self._recorded(store, [settlement], now, None)
                ]
            if outcome.local == UNWRITABLE:
                raise
            self._log.error(
                "outcome cannot be written down", destination=one.claimed.destination,
                delivery_id=one.claimed.delivery_id, error=type(error).__name__,
            )  # fmt: skip
            if outcome.interactions or outcome.drift:
                bare = replace(one, outcome=replace(outcome, interactions=(), drift=()))
            else:
                text = f"The outcome cannot be written down: {type(error).__name__}"
                held = Outcome(Result.HELD, "207", UNWRITABLE, text, person_id=outcome.person_id)
                bare = Settlement(one.claimed, held, DeliveryState.HELD)
            return self._recorded(store, [bare], now, learned)

    def _join(self, store: Store) -> None:
        store.queue.join(self.owner, LEASE, time.time(), self._name)
        self._share(store)

    def _share(self, store: Store) -> None:
        """Hear how much of what the destination may be sent is ours: others may have come or gone."""
        self._slots = store.queue.share(self.owner, self._policy.in_flight, time.time())
        self._target.destination.share(self._slots)

    def _renew(self, store: Store) -> float:
        if not store.queue.renew(self.owner, LEASE, time.time()):
            # Another worker may have what we held: forget it. What is under way ends unrecorded and is found by search.
            self._log.warning("lease ended, joining again", destination=self._name)
            self._open.clear()
            self._done.clear()
            self.owner = f"{self.owner.rsplit('-', 1)[0]}-{secrets.token_hex(4)}"
            self._join(store)
        else:
            self._share(store)
        return time.monotonic()


@dataclass(slots=True)
class DeliveryRole:
    """All destinations of this process: started together, stopped together."""

    loops: list[DestinationLoop] = field(default_factory=list)
    schedule: Schedule | None = None

    def start(self) -> None:
        """Start a loop for each destination, and what runs by the clock."""
        for loop in self.loops:
            loop.start()
        if self.schedule is not None:
            self.schedule.start()

    def hint(self) -> None:
        """Something was committed."""
        for loop in self.loops:
            loop.hint()

    def stop(self, timeout: float) -> bool:
        """Stop all loops; True when each ended within `timeout` seconds."""
        threads: list[DestinationLoop | Schedule] = [*self.loops]
        if self.schedule is not None:
            threads.append(self.schedule)
        for thread in threads:
            thread.stop()
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    @property
    def failed(self) -> bool:
        """Whether a loop ended by itself (a store that failed)."""
        return any(not loop.is_alive() for loop in self.loops)


__all__ = ["LEASE", "DeliveryRole", "DestinationLoop", "Target"]
