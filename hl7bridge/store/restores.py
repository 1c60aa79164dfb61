"""What a restore goes by: the before-image of each write, what was asked for and decided, and whether it lasted."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from hl7bridge.model import Image, Outcome, Written, read_json, values_from_json, values_to_json, write_json
from hl7bridge.store.connection import StorePart
from hl7bridge.store.encoding import PLAIN, unseal, written_to_bytes

WAITING, APPLIED, REJECTED = "waiting", "applied", "rejected"

RESTORES = (
    "SELECT id, delivery_id, message_id, destination, feed, source_key, state, asked, who, reason, decided, decided_by,"
    " elements, undone FROM restore"
)


@dataclass(frozen=True, slots=True)
class WrittenDelivery:
    """A delivery that a restore is about.

    at         when it was tried last, in Unix seconds
    under_way  whether a worker has a change of that person, or does not know how one ended
    """

    id: int
    message_id: int
    position: int
    destination: str
    feed: str
    source_key: str
    action: str
    state: str
    result: str
    person_id: str
    at: float
    under_way: bool


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """A restore: asked for, then decided. Times in Unix seconds, 0 = not (yet).

    state     WAITING, APPLIED or REJECTED
    elements  what it brought back: "Practitioner/17/telecom"
    undone    when a later message changed one of these again
    """

    id: int
    delivery_id: int
    message_id: int
    destination: str
    feed: str
    source_key: str
    state: str
    asked: float
    who: str
    reason: str
    decided: float
    decided_by: str
    elements: tuple[str, ...]
    undone: float


class Restores(StorePart):
    """The part of the store that restores need, and what settling leaves for it. Times are Unix seconds."""

    # -- settlements --

    def keep_images(self, delivery_id: int, attempt: int, outcome: Outcome, message_id: int, now: float) -> None:
        """Keep what each write of an attempt found and left."""
        for number, image in enumerate(outcome.images):
            try:
                content = image_to_bytes(image)
            except (RecursionError, ValueError, TypeError):
                # A server's resource that cannot be written down must not lose the record of what was done to it.
                self._note(now, message_id, delivery_id, "before-image not kept", resource_type=image.resource_type)
                continue
            self._execute(
                "INSERT INTO image (delivery_id, attempt, number, at, resource_type, resource_id, codec, key_id, content)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, '', ?)",
                (delivery_id, attempt, number, now, image.resource_type, image.resource_id, PLAIN, content),
            )

    def undone(
        self,
        destination: str,
        feed: str,
        source_key: str,
        outcome: Outcome,
        message_id: int,
        delivery_id: int,
        now: float,
    ) -> bool:
        """Whether this outcome changed elements that a restore had brought back; said once of each restore."""
        rows = self._execute(
            "SELECT id, elements FROM restore WHERE source_key = ? AND feed = ? AND destination = ?"
            " AND state = 'applied' AND undone = 0",
            (source_key, feed, destination),
        ).fetchall()
        if not rows:
            return False
        changed = {
            element_name(one.resource_type, one.resource_id, difference.path)
            for one in outcome.interactions
            for difference in one.differences
        }
        undone = [restore_id for restore_id, elements in rows if not changed.isdisjoint(json.loads(elements))]
        for restore_id in undone:
            self._execute("UPDATE restore SET undone = ? WHERE id = ?", (now, restore_id))
            self._note(now, message_id, delivery_id, "restore undone", restore=restore_id)
        return bool(undone)

    # -- people --

    def images(self, delivery_id: int) -> tuple[Image, ...]:
        """What each write of the delivery found and left, in the order of the writes; () once they are not kept."""
        with self._reading():
            rows = self._execute(
                "SELECT resource_type, resource_id, codec, content FROM image WHERE delivery_id = ?"
                " ORDER BY attempt, number",
                (delivery_id,),
            ).fetchall()
        return tuple(image_from_row(*row) for row in rows)

    def delivery(self, delivery_id: int) -> WrittenDelivery | None:
        """One delivery; None where there is none of that id."""
        with self._reading():
            found = self._dicts(
                "SELECT d.id, d.message_id, d.position, d.destination, d.feed, d.source_key, d.action, d.state, d.result,"
                " d.person_id, COALESCE((SELECT MAX(a.at) FROM attempt a WHERE a.delivery_id = d.id), 0) AS at,"
                " EXISTS (SELECT 1 FROM delivery o JOIN record r ON r.message_id = o.message_id"
                " AND r.position = o.position WHERE r.source_key = d.source_key AND o.feed = d.feed"
                " AND o.destination = d.destination AND o.state IN ('claimed', 'unknown')) AS under_way"
                " FROM delivery d WHERE d.id = ?",
                (delivery_id,),
            )
        return WrittenDelivery(**(found[0] | {"under_way": bool(found[0]["under_way"])})) if found else None

    def restores(self, *, restore_id: int = 0, delivery_id: int = 0, state: str = "") -> list[RestoreRequest]:
        """Newest first, those that fit all that is given."""
        filters = {"id = ?": restore_id, "delivery_id = ?": delivery_id, "state = ?": state}
        given = {condition: value for condition, value in filters.items() if value}
        where = " AND ".join(given) or "1 = 1"
        with self._reading():
            rows = self._dicts(f"{RESTORES} WHERE {where} ORDER BY id DESC", list(given.values()))
        for row in rows:
            row["elements"] = tuple(json.loads(row["elements"])) if row["elements"] else ()
        return [RestoreRequest(**row) for row in rows]

    def ask_restore(self, delivery_id: int, now: float, *, who: str, reason: str) -> int:
        """Keep a restore that somebody else has to approve; returns its id (the same one while it waits)."""
        with self._writing():
            waiting = self._execute(
                "SELECT id FROM restore WHERE delivery_id = ? AND state = 'waiting'", (delivery_id,)
            ).fetchone()
            return int(waiting[0]) if waiting else self._new_restore(delivery_id, WAITING, now, who, reason)

    def restored(
        self,
        delivery_id: int,
        now: float,
        *,
        who: str,
        reason: str,
        elements: Sequence[str],
        bases: Sequence[Written],
        restore_id: int = 0,
    ) -> int:
        """Record a restore that was applied, and the bases that it leaves; ends the one that waited. Returns its id."""
        with self._writing():
            restore_id = restore_id or self._new_restore(delivery_id, APPLIED, now, who, reason)
            self._execute(
                "UPDATE restore SET state = 'applied', decided = ?, decided_by = ?, elements = ? WHERE id = ?",
                (now, who, json.dumps(sorted(elements)), restore_id),
            )
            destination, message_id = self._execute(
                "SELECT destination, message_id FROM restore WHERE id = ?", (restore_id,)
            ).fetchone()
            for base in bases:
                self._execute(
                    "UPDATE feed_write SET holds_active = ?, version = ?, changed = ?, codec = ?, content = ?"
                    " WHERE destination = ? AND resource_type = ? AND resource_id = ? AND feed = ? AND source_key = ?"
                    " AND role_key = ?",
                    (
                        base.holds_active, base.version, now, PLAIN, written_to_bytes(base),
                        destination, base.resource_type, base.resource_id, base.feed, base.source_key, base.role_key,
                    ),
                )  # fmt: skip
            self._note(
                now, message_id, delivery_id, "restored", restore=restore_id, who=who, reason=reason,
                elements=sorted(elements),
            )  # fmt: skip
            return restore_id

    def _new_restore(self, delivery_id: int, state: str, now: float, who: str, reason: str) -> int:
        self._execute(
            "INSERT INTO restore (delivery_id, message_id, destination, feed, source_key, state, asked, who, reason)"
            " SELECT id, message_id, destination, feed, source_key, ?, ?, ?, ? FROM delivery WHERE id = ?",
            (state, now, who, reason, delivery_id),
        )
        restore_id, message_id = self._execute(
            "SELECT id, message_id FROM restore WHERE delivery_id = ? ORDER BY id DESC LIMIT 1", (delivery_id,)
        ).fetchone()
        if state == WAITING:
            self._note(now, message_id, delivery_id, "restore asked for", restore=restore_id, who=who, reason=reason)
        return int(restore_id)

    def reject_restore(self, restore_id: int, now: float, *, who: str, reason: str) -> bool:
        """End one that waits. False when it does not wait (any more)."""
        with self._writing():
            row = self._execute(
                "SELECT message_id, delivery_id FROM restore WHERE id = ? AND state = 'waiting'", (restore_id,)
            ).fetchone()
            if row:
                self._execute(
                    "UPDATE restore SET state = 'rejected', decided = ?, decided_by = ? WHERE id = ?",
                    (now, who, restore_id),
                )
                self._note(now, row[0], row[1], "restore rejected", restore=restore_id, who=who, reason=reason)
            return bool(row)


# --- encoding --------------------------------------------------------------------------------------------------------


def element_name(resource_type: str, resource_id: str, path: str) -> str:
    """An element of one resource, as restores are told by: "Practitioner/17/telecom"."""
    element = path.partition("[")[0].partition(".")[0]
    return f"{resource_type}/{resource_id}/{element}"


def image_to_bytes(image: Image) -> bytes:
    """Compressed JSON: before, after, and the base. Before and after say nearly the same, so that it takes little room."""
    own = image.own
    base = None
    if own is not None:
        base = [
            values_to_json(own.values),
            own.role_key,
            own.origin,
            own.holds_active,
            own.feed,
            own.source_key,
            own.version,
        ]
    text = write_json([image.before, image.after, base])
    return zlib.compress(text.encode("utf-8", "surrogatepass"))


def image_from_row(resource_type: str, resource_id: str, codec: int, content: bytes) -> Image:
    """The inverse."""
    before, after, base = read_json(zlib.decompress(unseal(codec, content)).decode("utf-8", "surrogatepass"))
    own = None
    if base is not None:
        values, *rest = base
        own = Written(resource_type, resource_id, values_from_json(values), *rest)
    return Image(resource_type, resource_id, before, after, own)
