"""The durable middle, of whatever kind of database: its parts over one connection, which they share.

What it promises:

- `accept` returns after the transaction is synced to disk; a positive acknowledgment may leave only then.
- A history row is written in the same transaction as the state that it explains.
- A duplicate (same feed, MSH-3/4/10 and bytes, within the window) whose first answer was positive or is pending has no
  second effect. A negative answer is never replayed: the message is taken afresh and linked to the first.
- Deliveries of one lane (destination, key) are handed out one at a time, in order of commit.
- A settlement counts only while its claim holds: (owner, expiry, fencing number) are checked in the same transaction.

The store knows neither HL7 nor FHIR nor Twisted: keys, codes and bodies are opaque to it. All methods block; one `Store`
object belongs to one thread.
"""

from __future__ import annotations

from typing import Self

from hl7bridge.model import DeliveryState, RecordEcho
from hl7bridge.store.connection import StoreConnection
from hl7bridge.store.exports import Exports
from hl7bridge.store.inbox.arrivals import Arrivals
from hl7bridge.store.inbox.drops import Drops
from hl7bridge.store.inbox.inbox import Inbox
from hl7bridge.store.jobs import Jobs
from hl7bridge.store.leavers import Leavers
from hl7bridge.store.lookups import Lookups
from hl7bridge.store.people.crosswalk import People
from hl7bridge.store.people.full_files import FullFiles
from hl7bridge.store.people.links import Links
from hl7bridge.store.people.reconciliations import Reconciliations
from hl7bridge.store.queue.brake import BrakeCount
from hl7bridge.store.queue.claims import Claims
from hl7bridge.store.queue.creations import Creations
from hl7bridge.store.queue.health import DestinationHealth
from hl7bridge.store.queue.holds import Holds
from hl7bridge.store.queue.lanes import Lanes
from hl7bridge.store.queue.modes import Modes
from hl7bridge.store.queue.pauses import Pauses
from hl7bridge.store.queue.settlements import Settlements
from hl7bridge.store.queue.waits import Waits
from hl7bridge.store.reloads import Reloads
from hl7bridge.store.restores import Restores
from hl7bridge.store.rows import (
    OPEN_LANE,
    Accepted,
    Acknowledgment,
    AcknowledgmentState,
    Braked,
    Claimed,
    DeliveryStatus,
    MessageState,
    NewDelivery,
    NewMessage,
    NewRecord,
    Part,
    PendingAcknowledgment,
    RecordStatus,
    Released,
    Reported,
    Settlement,
    same_person,
)
from hl7bridge.store.worklist import Words, Worklist, unworded


class Store:
    """The store over a connection, which it closes with itself: each part is an attribute, and is asked by its name.

    `store.inbox.accept(...)`, `store.queue.claim(...)`. Whoever needs one part alone is given that part. `words` say what
    the tasks are about that the store opens by itself.
    """

    def __init__(self, connection: StoreConnection, words: Words = unworded) -> None:
        self.connection = connection
        self.worklist = tasks = Worklist(connection, words)
        self.lanes = lanes = Lanes(connection, tasks)
        self.arrivals = arrivals = Arrivals(connection, lanes)
        self.crosswalk = people = People(connection)
        self.creations = creations = Creations(connection, tasks)
        self.health = health = DestinationHealth(connection)
        self.pauses = pauses = Pauses(connection, tasks, health)
        self.restores = restores = Restores(connection)
        self.inbox = inbox = Inbox(connection, lanes)
        self.drops = Drops(connection, inbox)
        self.queue = Claims(
            connection,
            lanes=lanes,
            arrivals=arrivals,
            creations=creations,
            people=people,
            pauses=pauses,
            tasks=tasks,
        )
        self.settlements = Settlements(
            connection,
            lanes=lanes,
            arrivals=arrivals,
            creations=creations,
            restores=restores,
            pauses=pauses,
            health=health,
            tasks=tasks,
        )
        self.waits = Waits(connection)
        self.brake = BrakeCount(connection, tasks)
        self.leavers = Leavers(connection, arrivals, tasks)
        self.modes = Modes(connection, lanes)
        self.holds = Holds(connection, lanes, arrivals, tasks)
        self.links = Links(connection)
        self.reconciliations = Reconciliations(connection, people, tasks)
        self.whole_files = FullFiles(connection, lanes, tasks)
        self.audit = Lookups(connection, arrivals)
        self.exports = Exports(connection)
        self.schedule = Jobs(connection)
        self.reloads = Reloads(connection)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


__all__ = [
    "OPEN_LANE",
    "Accepted",
    "Acknowledgment",
    "AcknowledgmentState",
    "Braked",
    "Claimed",
    "DeliveryState",
    "DeliveryStatus",
    "MessageState",
    "NewDelivery",
    "NewMessage",
    "NewRecord",
    "Part",
    "PendingAcknowledgment",
    "RecordEcho",
    "RecordStatus",
    "Released",
    "Reported",
    "Settlement",
    "Store",
    "same_person",
]
