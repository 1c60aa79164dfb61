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
from hl7bridge.store.exporting import Exporting
from hl7bridge.store.inbox.accepting import Accepting
from hl7bridge.store.inbox.arriving import Arriving
from hl7bridge.store.inbox.dropping import Dropping
from hl7bridge.store.jobs import Jobs
from hl7bridge.store.leavers import Leavers
from hl7bridge.store.people.crosswalk import People
from hl7bridge.store.people.full_file import FullFiles
from hl7bridge.store.people.linking import Linking
from hl7bridge.store.people.reconciling import Reconciling
from hl7bridge.store.queue.braking import Braking
from hl7bridge.store.queue.claiming import Claiming
from hl7bridge.store.queue.creating import Creating
from hl7bridge.store.queue.deciding import Deciding
from hl7bridge.store.queue.health import DestinationHealth
from hl7bridge.store.queue.lanes import Lanes
from hl7bridge.store.queue.modes import Modes
from hl7bridge.store.queue.pausing import Pausing
from hl7bridge.store.queue.settling import Settling
from hl7bridge.store.queue.waits import Waits
from hl7bridge.store.reading import Lookups
from hl7bridge.store.reloading import Reloading
from hl7bridge.store.restoring import Restoring
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
from hl7bridge.store.tasking import Tasking


class Store:
    """The store over a connection, which it closes with itself: each part is an attribute, and is asked by its name.

    `store.inbox.accept(...)`, `store.queue.claim(...)`. Whoever needs one part alone is given that part.
    """

    def __init__(self, connection: StoreConnection) -> None:
        self.connection = connection
        self.worklist = tasks = Tasking(connection)
        self.lanes = lanes = Lanes(connection, tasks)
        self.arrivals = arrivals = Arriving(connection, lanes)
        self.crosswalk = people = People(connection)
        self.created = created = Creating(connection, tasks)
        self.health = health = DestinationHealth(connection)
        self.pausing = pausing = Pausing(connection, tasks, health)
        self.restoring = restoring = Restoring(connection)
        self.inbox = inbox = Accepting(connection, lanes)
        self.drops = Dropping(connection, inbox)
        self.queue = Claiming(
            connection,
            lanes=lanes,
            arrivals=arrivals,
            created=created,
            people=people,
            pausing=pausing,
            tasks=tasks,
        )
        self.settling = Settling(
            connection,
            lanes=lanes,
            arrivals=arrivals,
            created=created,
            restoring=restoring,
            pausing=pausing,
            health=health,
            tasks=tasks,
        )
        self.waits = Waits(connection)
        self.brake = Braking(connection, tasks)
        self.leavers = Leavers(connection, arrivals, tasks)
        self.modes = Modes(connection, lanes)
        self.held = Deciding(connection, lanes, arrivals, tasks)
        self.links = Linking(connection)
        self.compared = Reconciling(connection, people, tasks)
        self.whole_files = FullFiles(connection, lanes, tasks)
        self.audit = Lookups(connection, arrivals)
        self.exports = Exporting(connection)
        self.schedule = Jobs(connection)
        self.reloading = Reloading(connection)

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
