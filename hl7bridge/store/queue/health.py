"""The health of destinations, for everybody who delivers to them: see `model/health.py`."""

from __future__ import annotations

from hl7bridge.errors import HealthChanged
from hl7bridge.model.health import Health, Learned
from hl7bridge.store.connection import StorePart

HOUR = 3600.0
HEALTH = (
    "SELECT at_once, failures, rests, rest_until, pauses, paused_until, told, version FROM health WHERE destination = ?"
)
ANEW = "UPDATE health SET pauses = 0, paused_until = 0, version = version + 1 WHERE destination = ?"
UNTOLD = "UPDATE health SET told = '', version = version + 1 WHERE destination = ? AND told <> ''"


class DestinationHealth(StorePart):
    """Reading them, and writing down what was learned."""

    def of(self, destination: str) -> Health:
        """As it is now."""
        with self._reading():
            row = self._execute(HEALTH, (destination,)).fetchone()
        return Health(*row) if row else Health()

    def forget(self, destination: str) -> None:
        """What people were told of a destination whose settings may have changed: the next failure is told anew."""
        with self._writing():
            self._execute(UNTOLD, (destination,))

    def written_at_odd_hours(self, destination: str, now: float) -> int:
        """Changes written outside of office hours within the last hour, to the minute."""
        with self._reading():
            rows = self._execute(
                "SELECT COALESCE(SUM(changes), 0) FROM odd_hours WHERE destination = ? AND minute > ?",
                (destination, _minute(now - HOUR)),
            )
            total: int = rows.fetchone()[0]
        return total

    # -- within the transactions of settlements and of a person's word --

    def keep(self, destination: str, learned: Learned, now: float) -> None:
        """Raises HealthChanged when somebody else has changed it since it was read."""
        before, after = learned.before, learned.after
        if after != before:
            columns = (after.at_once, after.failures, after.rests, after.rest_until, after.pauses, after.paused_until)
            if before.version:
                kept = self._execute(
                    "UPDATE health SET at_once = ?, failures = ?, rests = ?, rest_until = ?, pauses = ?,"
                    " paused_until = ?, told = ?, version = version + 1 WHERE destination = ? AND version = ?",
                    (*columns, after.told, destination, before.version),
                )
            else:
                kept = self._execute(
                    "INSERT INTO health (destination, at_once, failures, rests, rest_until, pauses, paused_until, told,"
                    " version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING",
                    (destination, *columns, after.told),
                )
            if not kept.rowcount:
                raise HealthChanged("somebody else has learned something of this destination: decide again")
        if learned.off_hours:
            self._execute(
                "INSERT INTO odd_hours (destination, minute, changes) VALUES (?, ?, ?)"
                " ON CONFLICT (destination, minute) DO UPDATE SET changes = odd_hours.changes + excluded.changes",
                (destination, _minute(now), learned.off_hours),
            )
            self._execute(
                "DELETE FROM odd_hours WHERE destination = ? AND minute <= ?", (destination, _minute(now - HOUR))
            )

    def begin_anew(self, destination: str) -> None:
        """A person ended the pause: the next one is as short as the first."""
        self._execute(ANEW, (destination,))


def _minute(now: float) -> int:
    return int(now // 60)
