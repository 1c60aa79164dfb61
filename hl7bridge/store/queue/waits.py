"""Waits that are longer than anybody asked for: the clock of the machine was set back, and their ends are far off now."""

from __future__ import annotations

from hl7bridge.store.connection import StorePart

TURN = 900.0  # seconds: for no longer is a job held, or kept from being tried again


class Waits(StorePart):
    """What waits for a time of day, and whether the clock was set back since that was written down."""

    def ahead(self, now: float) -> float:
        """Seconds by which the last row of the history is younger than now; 0 = it is older, as it should be."""
        row = self._execute("SELECT at FROM history ORDER BY id DESC LIMIT 1").fetchone()
        return max(0.0, row[0] - now) if row else 0.0

    def shorten(self, destination: str, longest: float, lease: float, now: float, *, but: str = "") -> int:
        """Let nothing there wait for longer than `longest` seconds: retries, rests, looks for what was created, pauses that
        end by themselves (`but` those with that reason); no worker's lease last longer than `lease`; and no job and no
        alert wait as if it had run, or been told, in the future. Returns how many deliveries that is.

        Changes that are dated (`scheduled`) keep their date.
        """
        end = now + longest
        with self._writing():
            shortened = self._execute(
                "UPDATE delivery SET next_attempt = ? WHERE destination = ? AND state IN ('retry', 'unknown')"
                " AND next_attempt > ?",
                (end, destination, end),
            ).rowcount
            self._execute(
                "UPDATE pause SET until = ? WHERE destination = ? AND until > ? AND reason <> ?",
                (end, destination, end, but),
            )
            for column in ("rest_until", "paused_until"):
                self._execute(
                    f"UPDATE health SET {column} = ?, version = version + 1 WHERE destination = ? AND {column} > ?",  # noqa: S608 (our names)
                    (end, destination, end),
                )
            self._execute("UPDATE second_look SET due = ? WHERE destination = ? AND due > ?", (end, destination, end))
            self._execute("UPDATE worker SET expiry = ? WHERE expiry > ?", (now + lease, now + lease))
            self._execute("UPDATE job SET expiry = ? WHERE expiry > ?", (now + TURN, now + TURN))
            self._execute("UPDATE job SET last = ? WHERE last > ?", (now, now))
            self._execute("UPDATE alert SET at = ? WHERE destination = ? AND at > ?", (now, destination, now))
        return int(shortened)
