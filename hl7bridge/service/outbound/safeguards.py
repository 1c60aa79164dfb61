"""What stands between a plan and the wire: the brake, protected people, and the latch of a server that refuses writes.

A worker asks `permit` right before each write and hands each outcome to `judge`; the loop calls `tell` before it settles
or claims. What lasts is in the store, so that it holds for other processes and after a restart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from hl7bridge.destinations import reasons
from hl7bridge.destinations.policy import Brake
from hl7bridge.destinations.protocol import Destination, Offer
from hl7bridge.model import WRITES_REFUSED, Interaction, Outcome, Result
from hl7bridge.service.log import Log
from hl7bridge.service.outbound.offered import HOUR, Offered
from hl7bridge.store.store import Braked, Claimed, Store

PEOPLE = 3  # so many in a row whom the server forbids to write: it forbids all

_WROTE = frozenset({Result.CREATED, Result.UPDATED, Result.DEACTIVATED, Result.REACTIVATED})


class Safeguards:
    """Those of one destination. `permit` and `judge` are for workers, the others for the loop.

    What a server does not offer, or forbids to three people in a row, is latched for each interaction by itself: a change
    that needs it is held, with a task, and not sent. Only a server that refuses the essential one (to update a person)
    pauses as a whole: there leavers wait, and whatever else is written would hide that.

    Whom the server forbade, and what is latched, is in the store. Here is a copy, so that no worker sends what another has
    just seen refused, and none asks the store with each write; and what the server offers, which each process asks it for
    itself.
    """

    def __init__(
        self, destination: Destination, brake: Brake, log: Log, *, capabilities_interval: float = HOUR
    ) -> None:
        self._name, self._brake, self._log = destination.policy.name, brake, log
        self._essential, self._words = destination.essential, destination.words
        self.offered = Offered(destination, interval=capabilities_interval, tell=self._tell_offer)
        self._lock = threading.Lock()
        self._latched: dict[str, str] = {}  # interaction -> what the server said
        self._forbidden: frozenset[str] = frozenset()  # what the server may have forbidden to somebody
        self._told: set[str] = set()  # those of them that the store knows

    def _tell_offer(self, offer: Offer | None, changed: bool) -> None:
        if offer is None:
            self._log.warning(
                "the server does not say what it offers", destination=self._name, text="everything is tried"
            )
            return
        what = "the server has changed what it offers" if changed else "the server offers"
        tell = self._log.warning if changed or offer.needed else self._log.info
        tell(what, destination=self._name, text=str(offer))

    # -- workers --

    def permit(
        self, claimed: Claimed, interaction: Interaction, ends: bool, store: Callable[[], Store]
    ) -> Outcome | None:
        """What happens instead of a write; None = write. `ends`: it makes an active person, or a role, inactive."""
        if self.latched:
            return self.refusal
        operation = reasons.operation(interaction.resource_type, interaction.kind.value)
        said = self._latched.get(operation)
        if said is not None:
            return self._words.held_as_refused(operation, said)
        if not ends or claimed.approved:
            return None
        if claimed.change.source_key in self._brake.protected:
            return reasons.PROTECTED
        per_hour, share = self._brake.per_hour, self._brake.share_of_file
        if not per_hour and not share:
            return None
        answer = store().brake.may_end(claimed, per_hour, share, time.time())
        if answer is Braked.TOLD:
            self._log.error(
                "brake: further deactivations are held", destination=self._name,
                text=f"deactivations_per_hour = {per_hour}, share_of_file = {share:g}",
            )  # fmt: skip
        return None if answer is Braked.FREE else reasons.BRAKED

    def judge(self, claimed: Claimed, outcome: Outcome, store: Callable[[], Store]) -> Outcome:
        """The outcome as it counts. One that shows that an interaction is refused latches it; where that pauses the
        destination, its change stays queued."""
        if outcome.result in _WROTE and outcome.interactions:
            made = {reasons.operation(made.resource_type, made.kind.value) for made in outcome.interactions}
            if permitted := made & self._forbidden:
                store().modes.permit(self._name, permitted)
                self._forbidden -= permitted
        if outcome.result is not Result.HELD or outcome.local not in (reasons.NOT_OFFERED, reasons.FORBIDDEN):
            return outcome
        operation = outcome.refused or self._essential  # who may not even read can't update anybody
        if outcome.local == reasons.FORBIDDEN and operation not in self._latched:
            self._forbidden |= {operation}
            people = store().modes.forbid(self._name, operation, claimed.feed, claimed.change.source_key)
            if people < PEOPLE:
                return outcome
        with self._lock:
            self._latched.setdefault(operation, outcome.text)
        if operation != self._essential:
            return outcome
        kept = tuple(task for task in outcome.tasks if task.kind != reasons.BY_HAND)
        return replace(outcome, result=Result.PAUSED, local=WRITES_REFUSED, tasks=kept)

    @property
    def latched(self) -> bool:
        """Whether no write leaves any more."""
        return self._essential in self._latched

    @property
    def refusal(self) -> Outcome:
        """What becomes of changes while no write leaves."""
        return reasons.writes_refused(self._latched.get(self._essential, ""))

    # -- the loop --

    def hear(self, store: Store) -> None:
        """Read what others latched, and what they were forbidden."""
        known, forbidden = store.modes.refused(self._name)
        with self._lock:
            self._latched = known | self._latched
            self._forbidden |= forbidden
        self._told |= known.keys()

    def tell(self, store: Store) -> None:
        """Write new latches down; whoever is the first to do so tells people."""
        for operation, said in list(self._latched.items()):
            if operation in self._told:
                continue
            if operation == self._essential:
                task = self._words.writes_refused(self._name, said)
                if store.pauses.pause(self._name, WRITES_REFUSED, time.time(), note=said, task=task):
                    text = "writes refused, destination paused until a person tries again"
                    self._log.error(text, destination=self._name, text=said)
            elif store.modes.latch(self._name, operation, said, time.time()):
                text = "writes refused, changes that need them are held until a person tries again"
                self._log.error(text, destination=self._name, what=operation, text=said)
            self._told.add(operation)

    def resumed(self, store: Store) -> None:
        """The store hands out changes: what was latched, and is not any more, a person ended."""
        if not self._told:
            return
        ended = self._told - store.modes.latches(self._name).keys()
        if not ended:
            return
        with self._lock:
            for operation in ended:
                self._latched.pop(operation, None)
        self._told -= ended
        self.offered.forget()
