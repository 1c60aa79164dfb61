"""Tables for reviews: who has access, as source and server say; dropped files; all that the store holds as a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.choosing import feed_named
from hl7bridge.desk.deciding import EVERY, Clock
from hl7bridge.desk.times import utc_time
from hl7bridge.errors import ConfigError
from hl7bridge.store.inbox.drops import DropFile as DropFile

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.model.discrepancy import SourcePerson
    from hl7bridge.store.people.reconciliations import PersonSeen
    from hl7bridge.store.store import Store


@dataclass(frozen=True, slots=True)
class Access:
    """One person in an access review.

    active_at_source, active_at_server  None = not known
    matter                 "access": active at the server though inactive at the source; else ""
    verified, last_message   ISO 8601 in UTC, "" = never
    seconds_to_deactivate  of a leaver, from the receipt of the message to the read that verified it; None = not a leaver
    """

    key: str
    feed: str
    name: str
    id: str
    active_at_source: bool | None
    active_at_server: bool | None
    matter: str
    verified: str
    last_message: str
    seconds_to_deactivate: float | None


@dataclass(frozen=True, slots=True)
class AccessReview:
    """Everybody of a destination, and what to look at: open tasks, and how long the oldest of them waits (seconds)."""

    destination: str
    people: tuple[Access, ...]
    open_tasks: int
    oldest_open_task: int

    @property
    def matters(self) -> int:
        """How many are active at the server though inactive at the source."""
        return sum(one.matter == "access" for one in self.people)

    @property
    def times(self) -> list[float]:
        """Seconds to deactivate of all leavers, the shortest first."""
        return sorted(one.seconds_to_deactivate for one in self.people if one.seconds_to_deactivate is not None)

    def summary(self) -> dict[str, Any]:
        """The counts, for JSON."""
        times = self.times
        return {
            "destination": self.destination,
            "people": len(self.people),
            "active_at_server_inactive_at_source": self.matters,
            "median_seconds_to_deactivate": times[len(times) // 2] if times else None,
            "longest_seconds_to_deactivate": times[-1] if times else None,
            "open_tasks": self.open_tasks,
            "oldest_open_task_seconds": self.oldest_open_task,
        }

    def data(self) -> dict[str, Any]:
        """For JSON."""
        people = []
        for one in self.people:
            row = asdict(one)
            people.append({"source_key": row.pop("key"), **row})
        return {**self.summary(), "people": people}


def access(store: Store, destination: str, feed: str = "", *, clock: Clock = time.time) -> AccessReview:
    """What the last reconciliation, or a later deactivation, saw of everybody (of a feed); no server is asked."""
    people = tuple(_line(store, destination, row) for row in store.reconciliations.access_review(destination, feed))
    tasks = store.worklist.tasks(state="open", destination=destination, limit=EVERY)
    now = clock()
    oldest = round(max((now - task.opened for task in tasks), default=0.0))
    return AccessReview(destination, people, len(tasks), oldest)


def _line(store: Store, destination: str, row: PersonSeen) -> Access:
    person = store.reconciliations.source_person(destination, row.feed, row.source_key)
    at_source = _says(person)
    took = row.deactivated - row.asked if row.deactivated and row.asked else None
    return Access(
        row.source_key,
        row.feed,
        _name(person),
        row.person_id,
        at_source,
        row.active_at_server,
        "access" if row.active_at_server and at_source is False else "",
        utc_time(row.verified),
        utc_time(row.last_message),
        None if took is None else round(max(took, 0.0), 1),
    )


def _says(person: SourcePerson) -> bool | None:
    """Whether the person is active by what the source says; somebody who is away for a time is not."""
    if person.away:
        return False
    if person.says is not None:
        return person.says
    own = [base for base in person.known.own if base.is_person]
    return any(base.holds_active for base in own) if own else None


def _name(person: SourcePerson) -> str:
    change = person.latest
    for value in change.practitioner if change is not None else ():
        if value.element == "name" and isinstance(value.value, dict):
            given = value.value.get("given") or []
            return ", ".join(filter(None, (str(value.value.get("family", "")), " ".join(map(str, given)))))
    return ""


def drop_files(
    store: Store, settings: Settings, feed: str = "", *, under_way: bool = False, limit: int = 50
) -> list[DropFile]:
    """The files of drop folders, the newest first. Raises ConfigError for an unknown feed."""
    if feed:
        feed_named(settings, feed)
    return store.drops.drop_files(feed, under_way=under_way, limit=limit)


def percent_read(file: DropFile) -> int:
    """How far a file was read, in percent of its bytes."""
    if file.state in ("read", "done", "failed"):
        return 100
    return int(100 * file.taken.offset / max(1, file.size))


def drop_data(file: DropFile) -> dict[str, Any]:
    """A file for JSON."""
    taken = file.taken
    return {
        "id": file.file_id,
        "feed": file.feed,
        "name": file.name,
        "state": file.state,
        "target": file.target,
        "bytes": file.size,
        "percent": percent_read(file),
        "began": utc_time(file.began),
        "changed": utc_time(file.changed),
        "messages": taken.messages,
        "accepted": taken.accepted,
        "refused": taken.refused,
        "duplicates": taken.duplicates,
        "others": taken.others,
    }


def export(
    store: Store, file: Path, *, bodies: bool = False, told: Callable[[int], None] = lambda rows: None
) -> dict[str, int]:
    """Write messages, people, deliveries, tasks and decisions into a SQLite file that other programs can query.

    file    to write, for this user alone; there must be none of that name
    bodies  also the messages as they were received
    told    called with how many rows are written so far
    Returns table -> rows. Raises ConfigError for a file that is there, OSError.
    """
    done: dict[str, int] = {}

    def count(table: str, rows: int) -> None:
        done[table] = rows
        told(sum(done.values()))

    try:
        return store.exports.export(file, bodies=bodies, told=count)
    except FileExistsError:
        raise ConfigError("is there already", file=str(file), advice="Name another file, or remove it.") from None
