"""What the store knows of one destination, as the destination asks for it."""

from __future__ import annotations

from collections.abc import Callable

from hl7bridge.destinations.policy import Policy
from hl7bridge.model import ElementValue, Known, Written
from hl7bridge.store.queue.creations import REMEMBERED
from hl7bridge.store.store import Store

LONGER = 1.5  # an index that was seen to lag is waited for so many times as long


class StoreLedger:
    """See `hl7bridge.destinations.protocol.Ledger`. `store` gives the store of the thread that asks."""

    def __init__(self, store: Callable[[], Store], destination: str) -> None:
        self._store, self._destination = store, destination

    def known(self, feed: str, source_key: str) -> Known:
        """The crosswalk, and what the feed wrote."""
        return self._store().crosswalk.known(self._destination, feed, source_key)

    def written_by(self, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        """What every record of this bridge wrote to that resource."""
        return self._store().crosswalk.written_by(self._destination, resource_type, resource_id)

    def said_by(self, feed: str, source_key: str) -> tuple[ElementValue, ...]:
        """What the last records of that person said of name, sex and birth date."""
        return self._store().links.said_by(self._destination, feed, source_key)


def ledger_of(store: Store, destination: str) -> StoreLedger:
    """For one thread, with its own store."""
    return StoreLedger(lambda: store, destination)


def effective_lag(store: Store, policy: Policy) -> float:
    """Seconds that a search of the destination may lag behind: as configured, longer where it was measured so."""
    measured = store.creations.index_lag(policy.name)
    if not policy.index_lag or measured is None:
        return policy.index_lag
    return min(max(policy.index_lag, LONGER * measured.longest), max(policy.index_lag, REMEMBERED))
