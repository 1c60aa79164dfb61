"""What runs beside the deliveries, and when: jobs that are due by the clock, one process at a time each.

    Schedule([Job("reconcile ehr", daily("03:30", 86400), reconcile), Job("overdue", every(60), tell)], open_store, log)

`due(now, last)` decides with both in Unix seconds; `last` is kept in the store, so that a restart neither repeats nor
skips a turn. A job whose process dies is run again once its lease has ended. All jobs of a schedule run on one thread.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from hl7bridge.errors import Hl7BridgeError, StoreError
from hl7bridge.service.lasting import lasting
from hl7bridge.service.log import Log
from hl7bridge.store.queue.waits import TURN
from hl7bridge.store.store import Store

DAY = 86400.0
LEASE = 60.0  # seconds that a job outlives the last sign of its process
AGAIN = TURN  # seconds until a job that failed is tried again
LOOK = 1.0  # seconds between two looks at the clock

Due = Callable[[float, float], bool]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a job gets when it runs: a store of the schedule's thread, and `go_on`, to be asked at least each half minute
    of a long run: it renews the lease, and is False when the job has to stop (it will be run again)."""

    store: Store
    go_on: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Job:
    """Something that runs now and then.

    name  one name, one process at a time, over all processes that share the store
    due   (now, last) -> whether it is time; `last` = when it ended last, or when it was first seen
    run   does it; an exception is logged, and the job is tried again after `again` seconds
    quick it takes moments: it has its turn while a long one goes on, too
    """

    name: str
    due: Due
    run: Callable[[Turn], None]
    again: float = AGAIN
    quick: bool = False


def every(seconds: float) -> Due:
    """Due so many seconds after the last time."""
    return lambda now, last: now - last >= seconds


def daily(at: str, seconds: float = DAY, zone: tzinfo | None = None) -> Due:
    """Due at a time of the day ("03:30"), and each `seconds` after it: 6 hours give 03:30, 09:30, 15:30 and 21:30; two
    days, each second day. A turn that was missed is made up for once. `zone` None = that of this machine."""
    hour, minute = map(int, at.split(":"))

    def latest(now: float) -> float:
        """The latest of those times that is not after `now`."""
        local = datetime.fromtimestamp(now, zone)
        first = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if first > local:
            first = (local - timedelta(days=1)).replace(hour=hour, minute=minute, second=0, microsecond=0)
        begin = first.timestamp()
        return begin + (now - begin) // seconds * seconds if seconds < DAY else begin

    def due(now: float, last: float) -> bool:
        slack = DAY / 2 if seconds > DAY else 0.0  # days are of 23 to 25 hours, and a run takes its time
        return last < latest(now) and (seconds <= DAY or now - last >= seconds - slack)

    return due


class Schedule(threading.Thread):
    """Runs the jobs that are due, until `stop`. `clock` is the wall clock, in Unix seconds."""

    def __init__(
        self,
        jobs: Sequence[Job],
        open_store: Callable[[], Store],
        log: Log,
        *,
        look: float = LOOK,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name="schedule", daemon=True)
        self._jobs, self._open_store, self._log = tuple(jobs), open_store, log
        self._look, self._clock = look, clock
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Begin nothing more; a job that runs is told to stop."""
        self._stopping.set()

    def run(self) -> None:
        """Look at the clock again and again. A store that fails is opened anew."""
        lasting(self._work, lambda text: self._log.error("schedule", error=text), self._stopping.is_set)

    def _work(self) -> None:
        store: Store | None = None
        while True:
            try:
                store = store or self._open_store()
                self.look(store)
            except Hl7BridgeError as error:
                self._log.error("schedule waits for the store", error=str(error))
                if store is not None:
                    store.close()
                store = None
            if self._stopping.wait(self._look):
                break
        if store is not None:
            store.close()

    def look(self, store: Store, *, quick: bool = False) -> None:
        """Run, one after the other, each job that is due; `quick`: those alone that take moments. Raises StoreError."""
        for job in self._jobs:
            if self._stopping.is_set():
                return
            if quick and not job.quick:
                continue
            now = self._clock()
            if job.due(now, store.schedule.last_run(job.name, now)) and store.schedule.begin_job(
                job.name, self.owner, LEASE, now
            ):
                self._run(job, store)

    def _run(self, job: Job, store: Store) -> None:
        renewed = began = self._clock()

        def go_on() -> bool:
            nonlocal renewed
            if self._stopping.is_set():
                return False
            now = self._clock()
            if abs(now - renewed) >= LEASE / 4:  # also where the clock was set back
                if not store.schedule.renew_job(job.name, self.owner, LEASE, now):
                    return False
                renewed = now
            if not job.quick:
                self.look(store, quick=True)
            return True

        again = 0.0
        try:
            # Another process may have run it between our look and our turn.
            if job.due(began, store.schedule.last_run(job.name, began)):
                job.run(Turn(store, go_on))
            else:
                again = began
        except StoreError:
            raise
        except Exception as error:
            # The text of a fault of ours may hold content.
            text = str(error) if isinstance(error, Hl7BridgeError) else f"a defect ({type(error).__name__})"
            self._log.error("job failed", what=job.name, error=text, seconds=round(job.again))
            again = self._clock() + job.again
        if self._stopping.is_set() and not again:
            again = self._clock()  # cut off: the next process begins it anew
        store.schedule.end_job(job.name, self.owner, self._clock(), again=again)
