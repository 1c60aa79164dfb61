"""Source against servers: what the store knows of each person, and what reconciliations found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hl7bridge.model import (
    APPLIED,
    Action,
    DeliveryState,
    Difference,
    Known,
    Link,
    Result,
    StaffChange,
    Task,
    read_json,
    write_json,
)
from hl7bridge.model.discrepancy import Discrepancy, SourcePerson
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.encoding import PLAIN, unseal
from hl7bridge.store.people.crosswalk import OWN, People
from hl7bridge.store.reloads import confirmed_mapping
from hl7bridge.store.worklist import Worklist

KEPT = 30  # runs of a destination
WAITING = 30  # changes of one person that are not applied; of more, the newest

# Not those whom patient messages only mention: no source of staff answers for them.
PEOPLE = (
    "SELECT p.feed, p.source_key FROM (SELECT feed, source_key FROM crosswalk WHERE destination = ?"
    " UNION SELECT feed, source_key FROM feed_write WHERE destination = ?"
    " UNION SELECT feed, source_key FROM delivery WHERE destination = ? AND source_key <> '') p"
    " WHERE NOT EXISTS (SELECT 1 FROM known_practitioner k"
    " WHERE k.feed = p.feed AND k.destination = ? AND k.source_key = p.source_key)"
)
# Newest first. What is scheduled is not said yet; what a person withdrew, or was older than what was applied, never was.
SAID = (
    "SELECT d.state, d.result, d.local, m.received, CASE WHEN f.change IS NULL THEN r.codec ELSE f.codec END,"
    " COALESCE(f.change, r.change)"
    " FROM record r JOIN delivery d ON d.message_id = r.message_id AND d.position = r.position"
    " JOIN message m ON m.id = r.message_id LEFT JOIN released f ON f.delivery_id = d.id"
    " WHERE r.source_key = ? AND d.feed = ? AND d.destination = ? AND d.state <> 'scheduled'"
    " AND d.result NOT IN ('stale', 'withdrawn', 'superseded') ORDER BY COALESCE(f.place, d.place) DESC"
)
CROSSWALK = "SELECT person_id, link FROM crosswalk WHERE destination = ? AND feed = ? AND source_key = ?"

_DEALT_WITH = APPLIED | {Result.NOTHING_TO_DO}


@dataclass(frozen=True, slots=True)
class Verified:
    """How a person stood at the server when it was read. `active` None: nobody was there. `at`: Unix seconds."""

    feed: str
    source_key: str
    resource_id: str
    active: bool | None
    at: float


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A run over the people of a destination. Times in Unix seconds; `reconciliation_id` 0 = not kept yet.

    feed     "" = of every feed
    scanned  the server's whole roster was read, for people whom the source does not know
    counts   kind of discrepancy -> number
    problem  why it ended early, "" = everybody was compared
    """

    destination: str
    began: float
    ended: float
    people: int
    feed: str = ""
    scanned: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    reconciliation_id: int = 0


@dataclass(frozen=True, slots=True)
class PersonSeen:
    """What is known of a person at a destination without asking it. Times in Unix seconds, 0 = never.

    active_at_server    None = not looked at, or nobody there; `verified`: when that was seen
    last_message        when the last message about them was received
    asked, deactivated  when their latest deactivation was received, and when it was done
    """

    feed: str
    source_key: str
    person_id: str
    active_at_server: bool | None
    verified: float
    last_message: float
    asked: float
    deactivated: float


class Reconciliations(StorePart):
    """The part of the store that reconciliation needs. Times are Unix seconds."""

    def __init__(self, connection: StoreConnection, people: People, tasks: Worklist) -> None:
        super().__init__(connection)
        self._people, self._tasks = people, tasks

    def people(self, destination: str, feed: str = "") -> list[tuple[str, str]]:
        """(feed, source key) of everybody whom this bridge knows for a destination, sorted."""
        with self._reading():
            rows = self._execute(PEOPLE, (destination,) * 4).fetchall()
        return sorted((name, key) for name, key in rows if not feed or name == feed)

    def source_person(self, destination: str, feed: str, source_key: str) -> SourcePerson:
        """One of them, as the destination should have them."""
        with self._reading():
            row = self._execute(CROSSWALK, (destination, feed, source_key)).fetchone()
            own = self._people.bases(OWN, destination, feed, source_key)
            person = Known(row[0], own, link=Link(row[1])) if row else Known("", own)
            person = replace(person, confirmed=confirmed_mapping(self._connection, feed))
            return self._said(person, destination, feed, source_key)

    def _said(self, known: Known, destination: str, feed: str, source_key: str) -> SourcePerson:
        """Read what was said of them, from the newest back, as far as it matters."""
        says: bool | None = None
        away = stated = False
        describes = newest = None
        waiting: list[StaffChange] = []
        applied: list[StaffChange] = []
        why, received = "", 0.0
        for state, result, local, at, codec, content in self._execute(SAID, (source_key, feed, destination)):
            change = StaffChange.from_json(unseal(codec, content).decode())
            newest = newest or change
            received = max(received, at)
            if describes is None and not _is_partial(change):
                describes = change
            if not stated and not change.qualifications_only and not change.only_if_missing:
                away, says = change.temporary, change.says_present
                stated = says is not None
            ended = state == DeliveryState.ENDED
            if ended and result in _DEALT_WITH:
                applied.append(change)
            elif not any(later.overtakes(change.kind) for later in applied) and len(waiting) < WAITING:
                waiting.append(change)
                why = why or (result if ended else ": ".join(filter(None, (state, local))))
            if applied and stated and describes is not None:
                break  # what is older is superseded; a leaver only by a record that says whether the person is active
        return SourcePerson(
            feed, source_key, known, describes or newest, tuple(reversed(waiting)), why, says, away, received
        )

    # -- what was found --

    def keep_reconciliation(
        self,
        run: Reconciliation,
        found: Sequence[Discrepancy],
        verified: Sequence[Verified],
        *,
        task: Task | None = None,
    ) -> int:
        """Keep a run and what it found; returns its id. `task`: opened unless one of its kind is open for that destination.
        Of each destination the latest runs are kept."""
        with self._writing():
            number: int = 1 + (self._execute("SELECT MAX(id) FROM reconciliation").fetchone()[0] or 0)
            self._execute(
                "INSERT INTO reconciliation (id, destination, feed, began, ended, people, scanned, counts, problem)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number, run.destination, run.feed, run.began, run.ended, run.people, run.scanned,
                    json.dumps(dict(run.counts)), run.problem,
                ),
            )  # fmt: skip
            self._executemany(
                "INSERT INTO drift (reconciliation_id, number, kind, feed, source_key, resource_type, resource_id, verified,"
                " codec, key_id, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?)",
                [
                    (
                        number, place, one.kind, one.feed, one.source_key, one.resource_type, one.resource_id, one.verified,
                        PLAIN, _to_bytes(one),
                    )
                    for place, one in enumerate(found, 1)
                ],
            )  # fmt: skip
            self._keep_verified(run.destination, verified)
            if (
                task is not None
                and not self._execute(
                    "SELECT 1 FROM task WHERE kind = ? AND destination = ? AND state = 'open' LIMIT 1",
                    (task.kind, run.destination),
                ).fetchone()
            ):
                self._tasks.open_task(task, 0, 0, run.destination, "", "", run.ended)
            self._forget(run.destination)
        return number

    def _forget(self, destination: str) -> None:
        old = self._execute(
            "SELECT id FROM reconciliation WHERE destination = ? AND id <="
            " (SELECT id FROM reconciliation WHERE destination = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (destination, destination, KEPT),
        ).fetchall()
        for table, column in (("drift", "reconciliation_id"), ("reconciliation", "id")):
            self._executemany(f"DELETE FROM {table} WHERE {column} = ?", old)  # noqa: S608 (our names)

    def keep_verified(self, destination: str, verified: Sequence[Verified]) -> None:
        """Keep how people stood, outside a run of all."""
        with self._writing():
            self._keep_verified(destination, verified)

    def _keep_verified(self, destination: str, verified: Sequence[Verified]) -> None:
        self._executemany(
            "INSERT INTO verified (destination, feed, source_key, resource_id, active, at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (destination, feed, source_key) DO UPDATE SET resource_id = excluded.resource_id,"
            " active = excluded.active, at = excluded.at",
            [
                (
                    destination,
                    one.feed,
                    one.source_key,
                    one.resource_id,
                    -1 if one.active is None else one.active,
                    one.at,
                )
                for one in verified
            ],
        )

    def last_reconciliation(self, destination: str) -> tuple[Reconciliation, list[Discrepancy]] | None:
        """The latest run and its findings; None = there was none."""
        with self._reading():
            row = self._execute(
                "SELECT id, feed, began, ended, people, scanned, counts, problem FROM reconciliation"
                " WHERE destination = ? ORDER BY id DESC LIMIT 1",
                (destination,),
            ).fetchone()
            if not row:
                return None
            number, feed, began, ended, people, scanned, counts, problem = row
            found = self._execute(
                "SELECT kind, feed, source_key, resource_type, resource_id, verified, codec, content FROM drift"
                " WHERE reconciliation_id = ? ORDER BY number",
                (number,),
            ).fetchall()
        run = Reconciliation(
            destination, began, ended, people, feed, bool(scanned), json.loads(counts), problem, number
        )
        return run, [_discrepancy(row) for row in found]

    def access_review(self, destination: str, feed: str = "") -> list[PersonSeen]:
        """Each person that `people` lists. What the source says is `source_person`'s."""
        known = self.people(destination, feed)
        with self._reading():
            return [self._review(destination, name, key) for name, key in known]

    def _review(self, destination: str, feed: str, source_key: str) -> PersonSeen:
        person = (destination, feed, source_key)
        crosswalk = self._execute(CROSSWALK, person).fetchone()
        seen = self._execute(
            "SELECT resource_id, active, at FROM verified WHERE destination = ? AND feed = ? AND source_key = ?", person
        ).fetchone()
        deliveries = (
            "FROM record r JOIN delivery d ON d.message_id = r.message_id AND d.position = r.position"
            " JOIN message m ON m.id = r.message_id WHERE d.destination = ? AND d.feed = ? AND r.source_key = ?"
        )
        last = self._execute(f"SELECT MAX(m.received) {deliveries}", person).fetchone()[0] or 0.0
        ended = self._execute(
            f"SELECT m.received, d.ended {deliveries} AND d.state = 'ended' AND d.result = 'deactivated'"
            " ORDER BY d.ended DESC LIMIT 1",
            person,
        ).fetchone()
        applied = self._execute(
            f"SELECT d.ended, d.result {deliveries} AND d.state = 'ended' AND d.result IN ('deactivated', 'reactivated')"
            " ORDER BY d.ended DESC LIMIT 1",
            person,
        ).fetchone()
        active, verified = (None if seen[1] < 0 else bool(seen[1]), seen[2]) if seen else (None, 0.0)
        if applied and applied[0] > verified:  # what was verified with the write is newer than the last look
            active, verified = applied[1] == "reactivated", applied[0]
        person_id = crosswalk[0] if crosswalk else seen[0] if seen else ""
        asked, deactivated = ended or (0.0, 0.0)
        return PersonSeen(feed, source_key, person_id, active, verified, last, asked, deactivated)


def _is_partial(change: StaffChange) -> bool:
    """Whether it says too little of the person to know them by."""
    return (
        change.qualifications_only
        or change.action.ends
        or (change.action is Action.REACTIVATE and not change.practitioner)
    )


def _to_bytes(one: Discrepancy) -> bytes:
    fields = [[d.path, d.before, d.after, d.field] for d in one.differences]
    return write_json({"note": one.note, "differences": fields}).encode()


def _discrepancy(row: Sequence[Any]) -> Discrepancy:
    kind, feed, source_key, resource_type, resource_id, verified, codec, content = row
    read = read_json(unseal(codec, content))
    differences = tuple(Difference(*one) for one in read["differences"])
    return Discrepancy(kind, feed, source_key, resource_type, resource_id, verified, differences, read["note"])
