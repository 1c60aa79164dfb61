"""The brake: how many persons may be ended in an hour, and of one message, before a person is asked.

A worker asks right before the request leaves, when the plan is made: what is inactive already never counts. The answer
is given and counted in one transaction, so that it holds over processes and restarts. A delivery that is tried again
keeps its place in the count; one that turns out to have written nothing gives it back when it is settled.
"""

from __future__ import annotations

from hl7bridge.model import BRAKE
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.rows import Braked, Claimed
from hl7bridge.store.worklist import Worklist

HOUR = 3600.0
FILE = 20  # records from which a message counts as a file
_REMEMBERED = 7 * 86400.0  # seconds for which the deliveries of one message are counted together

IN_THE_HOUR = "SELECT COUNT(*) FROM ending WHERE destination = ? AND at > ? AND delivery_id <> ?"
OF_THE_MESSAGE = "SELECT COUNT(*) FROM ending WHERE message_id = ? AND destination = ? AND delivery_id <> ?"


class BrakeCount(StorePart):
    """Letting deliveries through that end a person."""

    def __init__(self, connection: StoreConnection, tasks: Worklist) -> None:
        super().__init__(connection)
        self._tasks = tasks

    def may_end(self, claimed: Claimed, per_hour: int, share_of_file: float, now: float) -> Braked:
        """Whether this delivery may end its person now; it then counts among those of the last hour and of its message.

        per_hour       so many at that destination within 3600 s; 0 = no limit
        share_of_file  percent of the records of one message, counted for messages of 20 records and more; 0 = no limit
        The first refusal within an hour is `TOLD`: it opens the one task, and is for the caller to log.
        """
        destination, delivery_id, message_id = claimed.destination, claimed.delivery_id, claimed.message_id
        with self._writing():
            others = self._execute(IN_THE_HOUR, (destination, now - HOUR, delivery_id)).fetchone()[0]
            full = bool(per_hour) and others >= per_hour
            if not full and share_of_file:
                records = self._execute("SELECT records FROM message WHERE id = ?", (message_id,)).fetchone()[0]
                of_message = self._execute(OF_THE_MESSAGE, (message_id, destination, delivery_id)).fetchone()[0]
                full = records >= FILE and (of_message + 1) * 100 > records * share_of_file
            if full:
                return Braked.TOLD if self._alert(claimed, now) else Braked.HELD
            self._execute(
                "INSERT INTO ending (delivery_id, destination, message_id, at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (delivery_id) DO UPDATE SET at = excluded.at",
                (delivery_id, destination, message_id, now),
            )
            self._execute("DELETE FROM ending WHERE destination = ? AND at < ?", (destination, now - _REMEMBERED))
            return Braked.FREE

    def _alert(self, claimed: Claimed, now: float) -> bool:
        """Tell people, unless they were told within the hour."""
        if not self._tasks.tell_first(claimed.destination, BRAKE, now, HOUR):
            return False
        self._note(now, claimed.message_id, claimed.delivery_id, "brake", destination=claimed.destination)
        self._tasks.open_kind(BRAKE, claimed.message_id, 0, claimed.destination, claimed.feed, "", now)
        return True
