"""Leaving mode report: a destination that begins to write stands still until a person has seen what came in before.

What was reported is in the store. Were deliveries simply to go on, a change of yesterday would be missing at the server for
ever, and the one of today would be written upon a state that nobody planned for. `hl7bridge destination go-live` shows
the differences and queues them; here is the part of the running service: to notice, to say so once, and to wait.
"""

from __future__ import annotations

import time

from hl7bridge.destinations.policy import Policy, writes_more
from hl7bridge.destinations.reasons import LEAVING_REPORT
from hl7bridge.model import worded
from hl7bridge.service.log import Log
from hl7bridge.store.store import Store


class LeavingReport:
    """Whether one destination may be delivered to. For the loop's thread alone."""

    def __init__(self, policy: Policy, log: Log) -> None:
        self._name, self._log = policy.name, log
        self._runs_as = policy.ran_as()
        self._passed = False

    def may_go(self, store: Store) -> bool:
        """False while what was reported waits for a person. The first to find out pauses the destination and tells."""
        if not self._passed:
            self._passed = self._look(store)
        return self._passed

    def _look(self, store: Store) -> bool:
        name = self._name
        before = store.modes.ran_as(name)
        if before != self._runs_as:
            if writes_more(self._runs_as, before) and store.modes.has_reported(name):
                if store.pauses.pause(name, LEAVING_REPORT, time.time(), task=worded(LEAVING_REPORT, destination=name)):
                    event = "would write more than before, paused until a person has seen what was only reported"
                    self._log.error(event, destination=name, text=f"hl7bridge destination go-live {name}")
                return False
            store.modes.remember_ran_as(name, self._runs_as, time.time())
        if store.audit.paused().get(name) == LEAVING_REPORT:
            store.pauses.resume(name, time.time(), note="nothing that was reported is to be written")
        return True
