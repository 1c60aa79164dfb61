"""Whom records are about: what is quarantined, whom a person linked a record to, the map of ids."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from hl7bridge.model import APPLIED, ElementValue, JsonObject, Link, StaffChange
from hl7bridge.model.listing import Listed, place
from hl7bridge.store.connection import StorePart, conditions, marks, page
from hl7bridge.store.encoding import interactions_from_bytes, unseal

SAID = 20
"""How many of a person's last records are looked through for what they said of the person."""

CROSSWALK = "SELECT destination, feed, source_key, person_id, link, changed FROM crosswalk"

SAID_BY = (
    "SELECT CASE WHEN f.change IS NULL THEN r.codec ELSE f.codec END, COALESCE(f.change, r.change)"  # noqa: S608 (our names)
    " FROM record r JOIN delivery d ON d.message_id = r.message_id AND d.position = r.position"
    " LEFT JOIN released f ON f.delivery_id = d.id"
    " WHERE r.source_key = ? AND d.feed = ? AND d.destination = ? AND d.state = 'ended'"
    f" AND d.result IN ({marks(len(APPLIED))}) AND COALESCE(f.change, r.change) IS NOT NULL ORDER BY d.place DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A delivery that is held until a person says whom it is about.

    action      what the change asks for; `code`, `local`, `text`: why it is held, `local` being the cause
    person_id   whom the last attempt found, "" = nobody
    linked      whom the crosswalk names for the record, "" = nobody
    since       when it was tried last, in Unix seconds, 0 = never
    change      the record's side
    candidates  the server's side, as the last attempt saw it: summaries as the destination made them
    """

    id: int
    message_id: int
    position: int
    destination: str
    feed: str
    source_key: str
    action: str
    code: str
    local: str
    text: str
    person_id: str
    linked: str
    since: float
    change: StaffChange
    candidates: tuple[JsonObject, ...] = ()


@dataclass(frozen=True, slots=True)
class CrosswalkEntry:
    """Whom a record is about at a destination. `person_id` "" = nobody so far; `link`: a `model.Link`, "" = it was found;
    `changed` in Unix seconds."""

    destination: str
    feed: str
    source_key: str
    person_id: str
    link: str
    changed: float


class Links(StorePart):
    """The part of the store that identity decisions need. Times are Unix seconds."""

    def quarantined(
        self,
        causes: Collection[str],
        *,
        delivery_id: int = 0,
        destination: str = "",
        limit: int = 50,
        after: str = "",
    ) -> Listed[Quarantined]:
        """Deliveries held for one of these causes, oldest first.

        `after`: the `next` of an earlier page; ValueError for another text."""
        where, values = conditions(
            {"d.id = ?": delivery_id, "d.destination = ?": destination, "d.id > ?": place("quarantine", after)}
        )
        with self._reading():
            rows = self._dicts(
                "SELECT d.id, d.message_id, d.position, d.destination, d.feed, d.source_key, d.action, d.code, d.local,"  # noqa: S608
                " d.text, d.person_id, COALESCE(x.person_id, '') AS linked, COALESCE(a.at, 0) AS since,"
                " a.codec AS attempt_codec, a.interactions,"
                " CASE WHEN f.change IS NULL THEN r.codec ELSE f.codec END AS change_codec,"
                " COALESCE(f.change, r.change) AS change"
                " FROM delivery d JOIN record r ON r.message_id = d.message_id AND r.position = d.position"
                " LEFT JOIN released f ON f.delivery_id = d.id"
                " LEFT JOIN crosswalk x ON x.destination = d.destination AND x.feed = d.feed"
                " AND x.source_key = d.source_key"
                " LEFT JOIN attempt a ON a.delivery_id = d.id"
                " AND a.number = (SELECT MAX(b.number) FROM attempt b WHERE b.delivery_id = d.id)"
                f" WHERE d.state = 'held' AND d.local IN ({marks(len(causes))}){where} ORDER BY d.id LIMIT ?",
                [*sorted(causes), *values, limit + 1],
            )
        return page("quarantine", [_quarantined(row) for row in rows], limit)

    def link_of(self, destination: str, feed: str, source_key: str) -> CrosswalkEntry | None:
        """The crosswalk's entry; None where there is none."""
        found = self._entries("destination = ? AND feed = ? AND source_key = ?", destination, feed, source_key)
        return found[0] if found else None

    def linked_to(self, destination: str, person_id: str) -> list[CrosswalkEntry]:
        """The entries that name that person."""
        return self._entries("destination = ? AND person_id = ?", destination, person_id)

    def _entries(self, where: str, *values: str) -> list[CrosswalkEntry]:
        with self._reading():
            rows = self._execute(f"{CROSSWALK} WHERE {where} ORDER BY feed, source_key", values).fetchall()
        return [CrosswalkEntry(*row) for row in rows]

    def said_by(self, destination: str, feed: str, source_key: str) -> tuple[ElementValue, ...]:
        """What the last records of the person that were applied there said of name, sex and birth date, of each the latest
        word, whether or not the destination got it."""
        with self._reading():
            rows = self._execute(SAID_BY, (source_key, feed, destination, *sorted(APPLIED), SAID)).fetchall()
        found: dict[str, tuple[ElementValue, ...]] = {}
        for codec, content in rows:
            change = StaffChange.from_json(unseal(codec, content).decode())
            said = [*change.practitioner, *change.evidence]
            for element in ("name", "gender", "birthDate"):
                if element not in found and (values := tuple(one for one in said if one.element == element)):
                    found[element] = values
            if len(found) == 3:
                break
        return tuple(value for values in found.values() for value in values)

    def link(
        self,
        destination: str,
        feed: str,
        source_key: str,
        person_id: str,
        link: Link,
        now: float,
        *,
        who: str,
        reason: str,
    ) -> bool:
        """Set the crosswalk as a person says; "" takes the id away. False while a delivery of the record is under way."""
        with self._writing():
            under_way = self._execute(
                "SELECT 1 FROM delivery d JOIN record r ON r.message_id = d.message_id AND r.position = d.position"
                " WHERE r.source_key = ? AND d.feed = ? AND d.destination = ? AND d.state IN ('claimed', 'unknown')",
                (source_key, feed, destination),
            ).fetchone()
            if under_way:
                return False
            row = self._execute(
                "SELECT person_id, link FROM crosswalk WHERE destination = ? AND feed = ? AND source_key = ?",
                (destination, feed, source_key),
            ).fetchone()
            before = {"person_id": row[0], "link": row[1]} if row else {"person_id": "", "link": ""}
            self._set_person(destination, feed, source_key, person_id, link, now)
            self._note(
                now, 0, 0, "linked" if person_id else "unlinked", destination=destination, feed=feed,
                source_key=source_key, who=who, reason=reason, before=before,
                after={"person_id": person_id, "link": link.value},
            )  # fmt: skip
            return True

    def _set_person(self, destination: str, feed: str, source_key: str, person_id: str, link: Link, now: float) -> None:
        self._execute(
            "INSERT INTO crosswalk (destination, feed, source_key, person_id, order_time, changed, link)"
            " VALUES (?, ?, ?, ?, '', ?, ?) ON CONFLICT (destination, feed, source_key) DO UPDATE SET"
            " person_id = excluded.person_id, changed = excluded.changed, link = excluded.link",
            (destination, feed, source_key, person_id, now, link.value),
        )

    def id_map(self, destination: str) -> list[CrosswalkEntry]:
        """Every entry of the destination that names somebody, in order of feed and source key."""
        return self._entries("destination = ? AND person_id <> ''", destination)

    def import_ids(
        self, destination: str, rows: Collection[tuple[str, str, str]], now: float, *, who: str, reason: str
    ) -> tuple[int, int]:
        """Take in (feed, source key, person's id) where the crosswalk names nobody; returns how many were new, and how
        many name somebody else and were left as they are."""
        new = different = 0
        with self._writing():
            for feed, source_key, person_id in rows:
                known = self._execute(
                    "SELECT person_id FROM crosswalk WHERE destination = ? AND feed = ? AND source_key = ?",
                    (destination, feed, source_key),
                ).fetchone()
                if known and known[0]:
                    different += known[0] != person_id
                    continue
                self._set_person(destination, feed, source_key, person_id, Link.FOUND, now)
                new += 1
            self._note(
                now, 0, 0, "ids imported", destination=destination, who=who, reason=reason, new=new, different=different
            )
        return new, different


def _quarantined(row: dict[str, Any]) -> Quarantined:
    content, codec = row.pop("change"), row.pop("change_codec")
    kept, kept_codec = row.pop("interactions"), row.pop("attempt_codec")
    candidates = interactions_from_bytes(kept_codec, kept).get("candidates", []) if kept else []
    change = StaffChange.from_json(unseal(codec, content).decode())
    return Quarantined(**row, change=change, candidates=tuple(candidates))
