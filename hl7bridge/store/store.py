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
from hl7bridge.store.queue.lanes import Lanes
from hl7bridge.store.queue.modes import Modes
from hl7bridge.store.queue.pausing import Pausing
from hl7bridge.store.queue.settling import Settling
from hl7bridge.store.reading import Reading
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
    """The store over a connection, which it closes with itself: each part is an attribute.

    What is asked of the store goes to the part that does it, as it is; whoever needs one part alone may be given that part.
    """

    def __init__(self, connection: StoreConnection) -> None:
        self.connection = connection
        self.worklist = tasks = Tasking(connection)
        self.lanes = lanes = Lanes(connection, tasks)
        self.arrivals = arrivals = Arriving(connection, lanes)
        self.crosswalk = people = People(connection)
        self.created = created = Creating(connection, tasks)
        self.pausing = pausing = Pausing(connection, tasks)
        self.restoring = restoring = Restoring(connection)

        inbox = self.inbox = Accepting(connection, lanes)
        self.accept, self.known_practitioners = inbox.accept, inbox.known_practitioners
        self.acknowledged, self.mark_sent = inbox.acknowledged, inbox.mark_sent

        drops = self.drops = Dropping(connection, inbox)
        self.begin_drop_file, self.accept_from_file = drops.begin_drop_file, drops.accept_from_file
        self.settle_drop_file, self.drop_files = drops.settle_drop_file, drops.drop_files

        queue = self.queue = Claiming(
            connection,
            lanes=lanes,
            arrivals=arrivals,
            created=created,
            people=people,
            pausing=pausing,
            tasks=tasks,
        )
        self.join, self.renew, self.leave = queue.join, queue.renew, queue.leave
        self.claim, self.next_due = queue.claim, queue.next_due

        settling = self.settling = Settling(
            connection,
            lanes=lanes,
            arrivals=arrivals,
            created=created,
            restoring=restoring,
            pausing=pausing,
            tasks=tasks,
        )
        self.settle, self.withdraw = settling.settle, settling.withdraw

        self.written_by, self.known = people.written_by, people.known
        self.may_end = Braking(connection, tasks).may_end
        self.watch_leavers = Leavers(connection, arrivals, tasks).watch_leavers
        self.second_looks, self.looked, self.index_lag = created.second_looks, created.looked, created.index_lag
        self.pauses, self.pause, self.resume = pausing.pauses, pausing.pause, pausing.resume

        modes = self.modes = Modes(connection, lanes)
        self.ran_as, self.remember_ran_as = modes.ran_as, modes.remember_ran_as
        self.has_reported, self.reported, self.go_live = modes.has_reported, modes.reported, modes.go_live
        self.latches, self.latch, self.unlatch = modes.latches, modes.latch, modes.unlatch

        held = self.held = Deciding(connection, lanes, arrivals, tasks)
        self.holds, self.hold_causes = held.holds, held.hold_causes
        self.release, self.discard = held.release, held.discard

        self.tasks, self.word_tasks, self.verify = tasks.tasks, tasks.word_tasks, tasks.verify
        self.finish_task, self.finish_item, self.assign_task = tasks.finish_task, tasks.finish_item, tasks.assign_task
        self.overdue_tasks, self.tell_once = tasks.overdue_tasks, tasks.tell_once

        self.images, self.delivery, self.restores = restoring.images, restoring.delivery, restoring.restores
        self.ask_restore, self.restored = restoring.ask_restore, restoring.restored
        self.reject_restore, self.forget_images = restoring.reject_restore, restoring.forget_images

        links = self.links = Linking(connection)
        self.quarantined, self.link_of, self.linked_to = links.quarantined, links.link_of, links.linked_to
        self.said_by, self.link, self.id_map, self.import_ids = (
            links.said_by,
            links.link,
            links.id_map,
            links.import_ids,
        )

        compared = self.compared = Reconciling(connection, people, tasks)
        self.people, self.source_person, self.access_review = (
            compared.people,
            compared.source_person,
            compared.access_review,
        )
        self.keep_reconciliation, self.last_reconciliation = compared.keep_reconciliation, compared.last_reconciliation
        self.keep_verified = compared.keep_verified

        files = self.whole_files = FullFiles(connection, lanes, tasks)
        self.full_files, self.decide_full_file = files.full_files, files.decide_full_file
        self.missing_of, self.keys_of = files.missing_of, files.keys_of

        reading = self.audit = Reading(connection, arrivals)
        self.pending_acknowledgments, self.acknowledgments = reading.pending_acknowledgments, reading.acknowledgments
        self.statuses, self.messages, self.message = reading.statuses, reading.messages, reading.message
        self.body, self.counts, self.paused, self.secret = reading.body, reading.counts, reading.paused, reading.secret
        self.export = Exporting(connection).export

        jobs = self.schedule = Jobs(connection)
        self.last_run, self.begin_job, self.renew_job, self.end_job = (
            jobs.last_run,
            jobs.begin_job,
            jobs.renew_job,
            jobs.end_job,
        )

        reloads = self.reloading = Reloading(connection)
        self.ask_reload, self.reload_asked, self.reloads = reloads.ask_reload, reloads.reload_asked, reloads.reloads
        self.answer_reload, self.withdraw_reload = reloads.answer_reload, reloads.withdraw_reload

        self.check_files = connection.check

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
