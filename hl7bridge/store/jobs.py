"""What runs on a schedule: when it ran last, and whose turn it is. One process at a time has a job."""

from __future__ import annotations

from hl7bridge.store.connection import StorePart


class Jobs(StorePart):
    """The part of the store that a schedule needs. Times are Unix seconds."""

    def last_run(self, job: str, now: float) -> float:
        """When the job ended last; for one that was never seen, `now`, which is kept: its first turn comes by schedule."""
        look_up = "SELECT last FROM job WHERE name = ?"
        with self._reading():
            row = self._execute(look_up, (job,)).fetchone()
        if not row:
            with self._writing():
                self._execute("INSERT INTO job (name, last) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (job, now))
                row = self._execute(look_up, (job,)).fetchone()
        return float(row[0])

    def begin_job(self, job: str, owner: str, seconds: float, now: float) -> bool:
        """Take the job for so many seconds. False while another owner has it, or before it may be tried again."""
        with self._writing():
            taken = self._execute(
                "INSERT INTO job (name, last, owner, expiry) VALUES (?, 0, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " owner = excluded.owner, expiry = excluded.expiry WHERE job.expiry <= ?",
                (job, owner, now + seconds, now),
            )
            return taken.rowcount > 0

    def renew_job(self, job: str, owner: str, seconds: float, now: float) -> bool:
        """Have it for longer. False when it is another's by now, or was lost for a time: stop."""
        with self._writing():
            renewed = self._execute(
                "UPDATE job SET expiry = ? WHERE name = ? AND owner = ? AND expiry > ?",
                (now + seconds, job, owner, now),
            )
            return renewed.rowcount > 0

    def end_job(self, job: str, owner: str, now: float, *, again: float = 0.0) -> None:
        """Give it back: it ran. `again` > 0: it failed, `last_run` stays, and it may be tried again from then on."""
        with self._writing():
            self._execute(
                "UPDATE job SET owner = '', expiry = ?, last = CASE WHEN ? > 0 THEN last ELSE ? END"
                " WHERE name = ? AND owner = ?",
                (again, again, now, job, owner),
            )
