"""Leavers whose end takes too long: each becomes a task, so that a person sees to it."""

from __future__ import annotations

from hl7bridge.model import LEAVER_UNVERIFIED, Task
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.inbox.arrivals import Arrivals
from hl7bridge.store.worklist import Worklist

UNVERIFIED_AT_ONCE = 500  # people for whom one look opens a task at most; the next look takes the next ones

AHEAD = 60.0  # seconds by which clocks of several machines, and one that is corrected now and then, may differ

LATE_LEAVERS = (
    "SELECT d.id, d.message_id, d.feed, d.source_key, d.person_id FROM delivery d JOIN message m ON m.id = d.message_id"
    " WHERE d.destination = ? AND d.leaver = 1 AND d.state <> 'ended' AND d.action <> 'rest'"
    " AND (m.received <= ? OR m.received > ?) AND d.not_before <= ?"
    " AND NOT EXISTS (SELECT 1 FROM task t WHERE t.state = 'open' AND t.kind = ? AND t.destination = d.destination"
    " AND t.feed = d.feed AND t.source_key = d.source_key)"
    # Whom this feed ended before is inactive already: ending them again changes nothing.
    " AND NOT EXISTS (SELECT 1 FROM feed_write w WHERE w.destination = d.destination AND w.feed = d.feed"
    " AND w.source_key = d.source_key AND w.role_key = '' AND w.holds_active = 0)"
    " ORDER BY d.id LIMIT ?"
)


class Leavers(StorePart):
    """Looking for them."""

    def __init__(self, connection: StoreConnection, arrivals: Arrivals, tasks: Worklist) -> None:
        super().__init__(connection)
        self._arrivals, self._tasks = arrivals, tasks

    def watch(self, destination: str, task: Task, now: float) -> int:
        """Open `task` for each person whose end was asked for more than `task.due_within` seconds ago and is not done: the
        server is down, or the change is held. One a person; it is due at once. Returns how many were opened.

        What came more than `AHEAD` after `now` counts as well: the clock was set back since, nobody knows how long ago it
        came, and whoever waits for the clock to catch up may see to it hours too late.

        While nothing is handed out, nobody writes large messages out: this does, a few parts a call, to find who is in them.
        """
        self._arrivals.write_out_some(now)
        late = now - task.due_within
        asked = (destination, late, now + AHEAD, late, LEAVER_UNVERIFIED, UNVERIFIED_AT_ONCE)
        with self._reading():
            if not self._execute(LATE_LEAVERS, asked).fetchone():
                return 0
        people = set()
        with self._writing():
            for delivery_id, message_id, feed, source_key, _ in self._execute(LATE_LEAVERS, asked).fetchall():
                if (feed, source_key) not in people:
                    people.add((feed, source_key))
                    task_id = self._tasks.open_task(task, message_id, delivery_id, destination, feed, source_key, now)
                    self._execute("UPDATE task SET due = ? WHERE id = ?", (now, task_id))
        return len(people)
