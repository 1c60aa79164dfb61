"""What is known of people: whom a record is about, and what each feed wrote there."""

from __future__ import annotations

from hl7bridge.model import Known, Link, Written
from hl7bridge.store.connection import StorePart
from hl7bridge.store.encoding import written_from_row
from hl7bridge.store.reloads import confirmed_mapping

_BASES = (
    "SELECT resource_type, resource_id, content, codec, role_key, origin, holds_active, feed, source_key, version"
    " FROM feed_write WHERE "
)
# No ORDER BY: SQLite would choose the index in that order, in place of the one that finds the rows.
WRITTEN_BY = _BASES + "destination = ? AND resource_type = ? AND resource_id = ?"
OWN = _BASES + "destination = ? AND feed = ? AND source_key = ?"

PERSON = "SELECT person_id, link FROM crosswalk WHERE destination = ? AND feed = ? AND source_key = ?"


class People(StorePart):
    """The crosswalk and the bases, as deliveries read them."""

    def written_by(self, destination: str, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        """What every feed of this bridge wrote to that resource."""
        with self._reading():
            return self.bases(WRITTEN_BY, destination, resource_type, resource_id)

    def known(self, destination: str, feed: str, source_key: str) -> Known:
        """What a claim would hand out of that person: the crosswalk's id and what the feed wrote. For a dry run."""
        with self._reading():
            row = self._execute(PERSON, (destination, feed, source_key)).fetchone()
            own = self.bases(OWN, destination, feed, source_key)
            confirmed = confirmed_mapping(self._connection, feed)
            return (
                Known(row[0], own, link=Link(row[1]), confirmed=confirmed)
                if row
                else Known(own=own, confirmed=confirmed)
            )

    def bases(self, sql: str, *parameters: str) -> tuple[Written, ...]:
        """The bases that one of the statements above finds, always in one order."""
        bases = [written_from_row(row) for row in self._execute(sql, parameters)]
        return tuple(sorted(bases, key=lambda b: (b.resource_type, b.resource_id, b.feed, b.source_key, b.role_key)))
