"""Reconciliation by the clock: the comparison of the desk as a job of the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hl7bridge.desk.reconcile import CutOff, ReconcilePlan, reconcile
from hl7bridge.destinations.protocol import Destination
from hl7bridge.errors import NotOffered
from hl7bridge.model.discrepancy import ACTIVE_AT_SERVER
from hl7bridge.service.log import Log
from hl7bridge.service.outbound.schedule import Job, Turn, daily


def job(destination: Destination, plan: ReconcilePlan, log: Log) -> Job:
    """The scheduled reconciliation of a destination: keeps its run, logs one line with the counts."""

    def run(turn: Turn) -> None:
        try:
            report = reconcile(turn.store, destination, plan, go_on=turn.go_on, sleep=_sleeping(turn))
        except CutOff:
            return
        except NotOffered as error:
            log.info("not reconciled", destination=destination.policy.name, text=str(error))
            return
        counts, problem = report.run.counts, report.run.problem
        say = log.error if ACTIVE_AT_SERVER in counts else log.warning if counts or problem else log.info
        text = ", ".join(f"{kind} {count}" for kind, count in counts.items()) or "no difference"
        say("reconciled", destination=destination.policy.name, count=report.run.people, text=text, error=problem)

    return Job(f"reconcile {destination.policy.name}", daily(plan.at, plan.every), run)


def _sleeping(turn: Turn) -> Callable[[float], None]:
    """Waits in small steps, so that a stop of the service is not kept waiting."""
    never = threading.Event()

    def sleep(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not turn.go_on():
                raise CutOff("the reconciliation was cut off")
            never.wait(min(left, 0.5))

    return sleep
