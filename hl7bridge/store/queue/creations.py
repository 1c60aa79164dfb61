"""What was created at a destination, for as long as its searches may lag behind.

Two questions are answered from here. Before a create: was anybody written, or a create sent, for one of these identifiers,
by whatever feed? And later: does a search find what was created, how long did that take, and does it find a second one?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hl7bridge.model import Task
from hl7bridge.store.connection import StoreConnection, StorePart, marks
from hl7bridge.store.worklist import Worklist


@dataclass(frozen=True, slots=True)
class SecondLook:
    """A resource that was created, and is to be looked for. Times are Unix seconds.

    until  when a look is the last one that finds it, at the earliest
    looks  how many looks have not found it
    """

    resource_type: str
    resource_id: str
    person_id: str
    feed: str
    source_key: str
    message_id: int
    delivery_id: int
    created: float
    until: float
    looks: int


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look showed of one: whether a search found it (None = the server did not say), and the task where it found a
    second one."""

    look: SecondLook
    found: bool | None
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class IndexLag:
    """How long after a create a search found it: in the latest measurement, and at most within a week. Seconds."""

    latest: float
    longest: float
    at: float


REMEMBERED = 3600.0  # seconds; an index that lags longer is not waited for
MEASURED = 7 * 86400.0  # seconds after which the longest lag counts no more
MEASURE_EVERY = 3600.0  # seconds: one create in so many is looked for early, to measure
EARLY = 5.0  # seconds after which that one is looked for
UNTOLD = 60.0  # seconds until the next look where the server gave no answer
GIVEN_UP = 86400.0  # seconds after which what no search finds is looked for no more

ANY = ""
"""In place of a resource type: a create may have been sent, of whatever type."""


@dataclass(frozen=True, slots=True)
class Lately:
    """What the keys of a lane tell of the last hour.

    people      ids of those who were written
    unanswered  resource type (or `ANY`) of creates that were given up without an answer, and when (Unix seconds)
    """

    people: tuple[str, ...] = ()
    unanswered: tuple[tuple[str, float], ...] = ()


class Creations(StorePart):
    """The part of the store that knows what was created: for a later look, and for claims and settlements."""

    def __init__(self, connection: StoreConnection, tasks: Worklist) -> None:
        super().__init__(connection)
        self._tasks = tasks

    # -- within the transactions of claims and settlements --

    def lately(self, keys: Sequence[int], now: float) -> Lately:
        """What was written within the hour under any of these keys."""
        rows = self._execute(
            f"SELECT resource_type, resource_id, MAX(at) FROM lately WHERE key IN ({marks(len(keys))})"  # noqa: S608 (marks alone)
            " AND at > ? AND at < ? GROUP BY resource_type, resource_id ORDER BY resource_id",
            (*keys, now - REMEMBERED, now + REMEMBERED),
        ).fetchall()
        people = tuple(number for _, number, _ in rows if number)
        return Lately(people, tuple((kind, at) for kind, number, at in rows if not number))

    def remember_lately(self, keys: Sequence[int], what: Sequence[tuple[str, str]], now: float) -> None:
        """`what`: (resource type, id) of people; id "" = a create was sent and nobody knows whether it arrived."""
        self._executemany(
            "INSERT INTO lately (key, resource_type, resource_id, at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key, resource_type, resource_id) DO UPDATE SET at = excluded.at",
            [(key, kind, number, now) for kind, number in what for key in keys],
        )

    def look_later(self, destination: str, one: SecondLook) -> None:
        """Look for it once its time has come; for one now and then early, so that the lag is measured."""
        measured = self._execute(
            "SELECT at FROM index_lag WHERE destination = ? UNION ALL"
            " SELECT created FROM second_look WHERE destination = ? AND due < until ORDER BY 1 DESC LIMIT 1",
            (destination, destination),
        ).fetchone()
        early = not measured or measured[0] < one.created - MEASURE_EVERY
        due = min(one.until, one.created + EARLY) if early else one.until
        self._execute(
            "INSERT INTO second_look (destination, resource_type, resource_id, person_id, feed, source_key, message_id,"
            " delivery_id, created, due, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (destination, resource_type, resource_id) DO NOTHING",
            (
                destination, one.resource_type, one.resource_id, one.person_id, one.feed, one.source_key, one.message_id,
                one.delivery_id, one.created, due, one.until,
            ),
        )  # fmt: skip

    # -- the later search --

    def second_looks(self, destination: str, now: float, limit: int) -> list[SecondLook]:
        """What is to be looked for now, of one resource type, the longest due first."""
        with self._reading():
            rows = self._execute(
                "SELECT resource_type, resource_id, person_id, feed, source_key, message_id, delivery_id, created, until,"
                " looks FROM second_look WHERE destination = ? AND due <= ? ORDER BY due LIMIT ?",
                (destination, now, limit),
            ).fetchall()
        looks = [SecondLook(*row) for row in rows]
        return [one for one in looks if one.resource_type == looks[0].resource_type]

    def looked(self, destination: str, looks: Sequence[Looked], now: float) -> None:
        """Keep what a search showed of each, and when it is looked for next, if it is."""
        with self._writing():
            for looked in looks:
                one = looked.look
                if looked.task is not None:
                    about = (one.message_id, one.delivery_id, destination, one.feed, one.source_key)
                    self._tasks.open_task(looked.task, *about, now)
                self._looked(destination, one, looked.found, now)
            self._execute("DELETE FROM lately WHERE at < ?", (now - REMEMBERED,))

    def _looked(self, destination: str, one: SecondLook, found: bool | None, now: float) -> None:
        this = (destination, one.resource_type, one.resource_id)
        age = now - one.created
        if found and (one.looks or now < one.until):
            self._measured(destination, max(0.0, age), now)
        again = one.until if found else now + (max(EARLY, age) if found is False else UNTOLD)
        if (found and now >= one.until) or age > GIVEN_UP:
            self._execute(
                "DELETE FROM second_look WHERE destination = ? AND resource_type = ? AND resource_id = ?", this
            )
        else:
            self._execute(
                "UPDATE second_look SET due = ?, looks = ? WHERE destination = ? AND resource_type = ?"
                " AND resource_id = ?",
                (again, 0 if found else one.looks + (found is False), *this),
            )

    def _measured(self, destination: str, seconds: float, now: float) -> None:
        known = self._execute(
            "SELECT longest, longest_at FROM index_lag WHERE destination = ?", (destination,)
        ).fetchone()
        longest, since = (seconds, now) if not known or now - known[1] > MEASURED or seconds > known[0] else known
        self._execute(
            "INSERT INTO index_lag (destination, seconds, longest, at, longest_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (destination) DO UPDATE SET seconds = excluded.seconds, longest = excluded.longest,"
            " at = excluded.at, longest_at = excluded.longest_at",
            (destination, seconds, longest, now, since),
        )

    def index_lag(self, destination: str) -> IndexLag | None:
        """What was measured; None = nothing so far."""
        with self._reading():
            row = self._execute(
                "SELECT seconds, longest, at FROM index_lag WHERE destination = ?", (destination,)
            ).fetchone()
        return IndexLag(*row) if row else None
