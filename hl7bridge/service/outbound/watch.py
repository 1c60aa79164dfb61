"""What is looked after beside delivering: maintenance windows, leavers that take too long, tasks that are overdue, and
masses of changes at odd hours. Each is told once, over processes and restarts: what was told is in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from hl7bridge.destinations.reasons import MAINTENANCE, SCOPE_REFUSED
from hl7bridge.model import LEAVER_UNVERIFIED, Outcome, Result, Task, worded
from hl7bridge.service.log import Log
from hl7bridge.service.outbound import hours as windows
from hl7bridge.service.outbound.hours import Window
from hl7bridge.service.outbound.wording import Wording
from hl7bridge.store.kinds import Engine
from hl7bridge.store.store import OPEN_LANE, DeliveryState, Store

OFF_HOURS = "off-hours"
HOUR = 3600.0
EVERY = 10.0  # seconds between two looks for leavers and overdue tasks

_WRITTEN = frozenset({Result.CREATED, Result.UPDATED, Result.DEACTIVATED, Result.REACTIVATED})


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked after at one destination.

    maintenance        windows in which nothing is sent
    office             hours of the house; () = no hour is odd
    off_hours_changes  changes written within an hour outside of them that are a mass
    wording            a site's words, owners and due times for tasks
    """

    maintenance: tuple[Window, ...] = ()
    office: tuple[Window, ...] = ()
    off_hours_changes: int = 50
    wording: Wording = field(default_factory=Wording)


class Watch:
    """That of one destination. `closed_until`, `refusal` are for any thread, the others for the loop's.

    When it looks next is its own affair: each process looks, and what is found is told by the first of them alone.
    """

    def __init__(
        self, name: str, watched: Watched, unverified: Task, log: Log, clock: Callable[[], float] = time.time
    ) -> None:
        """`unverified`: what people are asked to do about a leaver who takes too long."""
        self._name, self._watched, self._log, self._clock = name, watched, log, clock
        self._next = 0.0
        self._begun = False
        self._unverified = watched.wording.timed(unverified)

    def closed_until(self) -> float:
        """When the maintenance window that is on ends, Unix seconds; 0 = none is on."""
        return windows.until(self._watched.maintenance, self._clock()) if self._watched.maintenance else 0.0

    def refusal(self) -> Outcome | None:
        """What becomes of a change that was claimed before a window began; None = it may go."""
        if not self.closed_until():
            return None
        return Outcome(
            Result.PAUSED, "207", MAINTENANCE, "Nothing is sent during the maintenance window: it is sent after"
        )

    def look_again(self) -> None:
        """Look with the next call, whenever that was due: the clock was set back."""
        self._next = 0.0

    def look(self, store: Store) -> bool:
        """Look after everything that is due. False while nothing may be sent."""
        now = self._clock()
        end = self.closed_until()
        if not self._begun:
            self._begin(store, now, end)
        if now >= self._next:
            self._next = now + EVERY
            self._look_for_leavers(store, now)
            self._look_for_overdue(store, now)
        if (
            end
            and self._name not in store.audit.paused()
            and store.pauses.pause(self._name, MAINTENANCE, now, until=end)
        ):
            self._log.info("maintenance window, nothing is sent", destination=self._name, seconds=round(end - now))
        return not end

    def _begin(self, store: Store, now: float, end: float) -> None:
        """With a new process come new settings: a window that is no longer there, a scope that is asked for no more."""
        self._begun = True
        reason = store.audit.paused().get(self._name, "")
        if reason == SCOPE_REFUSED:
            store.health.forget(self._name)
        if reason == SCOPE_REFUSED or (reason == MAINTENANCE and not end):
            store.pauses.resume(self._name, now, note="the service was started anew")

    def _look_for_leavers(self, store: Store, now: float) -> None:
        if opened := store.leavers.watch(self._name, self._unverified, now):
            self._log.error(
                "leavers not shown to be inactive in time", destination=self._name, people=opened,
                text=f"hl7bridge task list --kind {LEAVER_UNVERIFIED}",
            )  # fmt: skip

    def _look_for_overdue(self, store: Store, now: float) -> None:
        for task in store.worklist.overdue_tasks(self._name, now):
            self._log.error(
                "task overdue", destination=self._name, task=task.id, kind=task.kind, escalation=task.told,
                seconds=round(now - task.due),
            )  # fmt: skip

    def off_hours(self, outcomes: Iterable[Outcome]) -> int:
        """How many of these are changes written outside of office hours."""
        office = self._watched.office
        if not office or windows.until(office, self._clock()):
            return 0
        return sum(outcome.result in _WRITTEN for outcome in outcomes)

    def look_at_off_hours(self, store: Store) -> None:
        """Tell of a mass of changes outside of office hours, once an hour, whoever wrote them."""
        now = self._clock()
        total = store.health.written_at_odd_hours(self._name, now)
        if total >= self._watched.off_hours_changes and store.worklist.tell_once(
            self._name, OFF_HOURS, now, HOUR, worded(OFF_HOURS)
        ):
            self._log.error("mass of changes outside of office hours", destination=self._name, changes=total)


def tell_unserved(store: Store, served: Collection[str], log: Log) -> None:
    """Tell, at the start, of changes that wait for a destination that no feed names any more (a file renamed, a feed taken
    away): nobody delivers them."""
    for name, counts in store.audit.counts()["deliveries"].items():
        waiting = sum(counts.get(state.value, 0) for state in (*OPEN_LANE, DeliveryState.SCHEDULED))
        if waiting and name not in served:
            log.error(
                "changes wait for a destination that no feed names", destination=name, count=waiting,
                text="name it in the feed again, and start the service anew",
            )  # fmt: skip


def tell_engine(log: Log, engine: Engine) -> None:
    """Tell, at the start, that the store runs on another library than ours; aloud where that one may lose a commit."""
    if engine.flaw:
        log.warning("the store's database has a known fault", text=f"{engine.text}: {engine.flaw}. {engine.cure}")
    elif not engine.is_usual:
        log.info("the store runs on another library", text=engine.text)


def of_maintenance(outcome: Outcome) -> bool:
    """Whether a change was not sent because a window is on."""
    return outcome.local == MAINTENANCE


__all__ = ["MAINTENANCE", "Watch", "Watched", "of_maintenance", "tell_engine", "tell_unserved"]
