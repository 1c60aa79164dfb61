"""Destinations that are paused: until a time, or until a person resumes them."""

from __future__ import annotations

from dataclasses import dataclass

from hl7bridge.model import WRITES_REFUSED, Task
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.queue.health import DestinationHealth
from hl7bridge.store.worklist import Worklist

CLOCKS_DIFFER = 60.0  # seconds, between the machines that share a store


def is_over(until: float, since: float, now: float) -> bool:
    """Whether the time of a pause has come. One that begins in the future is over, too: the clock was set back, and it
    would last as much longer."""
    return until > 0 and (until <= now or since > now + CLOCKS_DIFFER)


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing goes out to a destination, and since when (Unix seconds); `until` 0 = until a person resumes it. `who`
    paused it, and the `note` that they gave; "" = the bridge did."""

    reason: str
    since: float
    until: float
    who: str = ""
    note: str = ""


NO_PAUSE = Pause("", 0.0, 0.0)
"""Of a destination that is not paused."""


class Pauses(StorePart):
    """Pausing, resuming, and looking."""

    def __init__(self, connection: StoreConnection, tasks: Worklist, health: DestinationHealth) -> None:
        super().__init__(connection)
        self._tasks, self._health = tasks, health

    # -- within the transactions of claims and settlements --

    def is_paused(self, destination: str, now: float) -> bool:
        """Whether a destination is paused; a pause that is over ends here."""
        pause = self._execute("SELECT until, since FROM pause WHERE destination = ?", (destination,)).fetchone()
        if not pause:
            return False
        if is_over(pause[0], pause[1], now):
            self._resume(destination, now)
            return False
        return True

    def _resume(self, destination: str, now: float, **detail: object) -> None:
        self._execute("DELETE FROM pause WHERE destination = ?", (destination,))
        self._note(now, 0, 0, "resumed", destination=destination, **detail)

    def pause_until(
        self, destination: str, reason: str, now: float, until: float, *, who: str = "", note: str = ""
    ) -> bool:
        """`until` 0 = until a person resumes it. The later end wins: False when nothing changes."""
        known = self._execute("SELECT until FROM pause WHERE destination = ?", (destination,)).fetchone()
        if known and (known[0] == 0 or 0 < until <= known[0]):
            return False
        self._execute(
            "INSERT INTO pause (destination, reason, since, until, who, note) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (destination) DO UPDATE SET reason = excluded.reason, until = excluded.until,"
            " who = excluded.who, note = excluded.note",
            (destination, reason, now, until, who, note),
        )
        detail = {"who": who, "note": note} if who else {}
        self._note(now, 0, 0, "paused", destination=destination, reason=reason, until=until, **detail)
        return True

    # -- for people --

    def pauses(self) -> dict[str, Pause]:
        """Those that are, by destination."""
        with self._reading():
            rows = self._execute("SELECT destination, reason, since, until, who, note FROM pause ORDER BY destination")
            return {destination: Pause(*row) for destination, *row in rows}

    def pause(
        self,
        destination: str,
        reason: str,
        now: float,
        *,
        who: str = "",
        note: str = "",
        task: Task | None = None,
        until: float = 0.0,
    ) -> bool:
        """Pause a destination until a person resumes it (or `until`), and open the task that says so. False, and nothing is
        done, when it is paused so already, or for longer: whoever gets True tells people, once."""
        with self._writing():
            if not self.pause_until(destination, reason, now, until, who=who, note=note):
                return False
            if task:
                self._tasks.open_task(task, 0, 0, destination, "", "", now)
            return True

    def resume(self, destination: str, now: float, *, who: str = "", note: str = "") -> bool:
        """End a destination's pause, and the tasks that it opened; what waits for its next attempt may go at once. False
        when it was not paused."""
        with self._writing():
            row = self._execute("SELECT reason FROM pause WHERE destination = ?", (destination,)).fetchone()
            if row:
                self._resume(destination, now, was=row[0], **({"who": who, "note": note} if who else {}))
                self._execute(
                    "UPDATE task SET state = 'done', closed = ?, closed_by = ?, evidence = ?"
                    " WHERE state = 'open' AND kind = ? AND destination = ?",
                    (now, who, note, row[0], destination),
                )
                self._health.begin_anew(destination)
            if row and row[0] == WRITES_REFUSED:
                self._execute("DELETE FROM forbidden WHERE destination = ?", (destination,))
            if row or who:
                self._execute(
                    "UPDATE delivery SET next_attempt = ? WHERE destination = ? AND state = 'retry' AND next_attempt > ?",
                    (now, destination, now),
                )
            return bool(row)
