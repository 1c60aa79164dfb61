"""(what a write found, what it left, what the server holds now) -> the way back. Pure.

Only what that write changed is taken back, and only where nobody changed it since: a value that stands differently now is
left, and said. What the write had created is made inactive, never deleted. A restore that was carried out plans nothing
when made again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hl7bridge.destinations.defaults import one_of_each
from hl7bridge.destinations.fhir.merging.merge import covers, identity_key, same
from hl7bridge.destinations.fhir.plan import ORDER, held_by_others
from hl7bridge.destinations.fhir.wire.replies import version_in
from hl7bridge.model import Difference, ElementValue, Image, Interaction, JsonObject, Kind, Written

CREATED = "the write created it: it is made inactive, nothing is deleted"
HELD_ACTIVE = "another feed holds it active: it stays so"
NOTHING = "nothing of that write is there to take back"


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """The way back for one resource.

    interaction  UPDATE or NONE; its differences lead from what stands there now to what stood there before
    kept         what is left although the write changed it: before = what the write left, after = what stands there now
    base         the record's base once it is done, None = it has none
    """

    interaction: Interaction
    kept: tuple[Difference, ...] = ()
    base: Written | None = None


def combined(images: Sequence[Image], person_id: str) -> tuple[Image, ...]:
    """One image a resource, the latest resource first. `person_id` stands in for the Practitioner whose create got no
    answer; a role of which nothing is known is left out."""
    named = (
        replace(image, resource_id=person_id)
        if image.resource_type == "Practitioner" and not image.resource_id
        else image
        for image in images
    )
    return one_of_each([image for image in named if image.resource_id])


def plan_restore(
    image: Image, server: JsonObject, own: Written | None, others: Sequence[Written], date: str
) -> RestorePlan:
    """Plan the way back for one resource.

    image   what the write found and left, and the record's base until then
    server  the resource as it stands now
    own     the record's base now; `others`: what every other record of this bridge wrote there
    date    today, a FHIR date: the end of a role that the write had created
    """
    if image.before is None:
        return _created(image, server, own, others, date)
    plan = _Reversal(image, image.before, image.after or {}, server, others)
    for element in ORDER[image.resource_type]:
        plan.element(element)
    plan.tags()
    return plan.planned(own)


def _created(
    image: Image, server: JsonObject, own: Written | None, others: Sequence[Written], date: str
) -> RestorePlan:
    body = dict(server)
    differences = []
    if server.get("active") is not False and held_by_others(others):
        kept = (Difference("active", True, server.get("active")),)
        return RestorePlan(_interaction(image, server, None, (), HELD_ACTIVE), kept, own)
    if server.get("active") is not False:
        body["active"] = False
        differences.append(Difference("active", server.get("active"), False))
    period = server.get("period", {})
    if image.resource_type == "PractitionerRole" and differences and not period.get("end"):
        start = str(period.get("start", ""))[:10]
        body["period"] = {**period, "end": max(start, date)}
        differences.append(Difference("period", server.get("period"), body["period"]))
    base = replace(own, holds_active=False) if own is not None else None
    reason = CREATED if differences else NOTHING
    return RestorePlan(_interaction(image, server, body, tuple(differences), reason), (), base)


def _interaction(
    image: Image, server: JsonObject, body: JsonObject | None, differences: tuple[Difference, ...], reason: str
) -> Interaction:
    return Interaction(
        Kind.UPDATE if differences else Kind.NONE,
        image.resource_type,
        image.resource_id,
        body if differences else None,
        version_in(server),
        differences,
        reason,
    )


class _Reversal:
    """The plan of one resource in the making."""

    def __init__(
        self, image: Image, before: JsonObject, after: JsonObject, server: JsonObject, others: Sequence[Written]
    ) -> None:
        self.image, self.before, self.after, self.server, self.others = image, before, after, server, others
        self.body = dict(server)
        self.differences: list[Difference] = []
        self.kept: list[Difference] = []

    def element(self, element: str) -> None:
        before, after, now = (side.get(element) for side in (self.before, self.after, self.server))
        if before == after:
            return
        if isinstance(before, list) or isinstance(after, list):
            self._list(element, _items(before), _items(after), _items(now))
        elif _equal(now, after):
            if element == "active" and before is not True and held_by_others(self.others):
                self.kept.append(Difference(element, after, now))
                return
            self._set(element, before)
            self.differences.append(Difference(element, now, before))
        elif not _equal(now, before):
            self.kept.append(Difference(element, after, now))

    def _list(self, element: str, before: list[Any], after: list[Any], now: list[Any]) -> None:
        """Item by item. An item that took another's place gives it back there."""
        removed = [(place, item) for place, item in enumerate(before) if not _in(item, after)]
        added = [item for item in after if not _in(item, before)]
        items = list(now)
        for item in added:
            pair = next((one for one in removed if _key(element, one[1]) == _key(element, item)), None)
            if pair is not None:
                removed.remove(pair)
            place = next((place for place, one in enumerate(items) if same(one, item)), None)
            if place is None:
                if pair is None or not _in(pair[1], items):
                    self.kept.append(Difference(element, item, None))  # changed or taken away since
            elif any(value.element == element and covers(item, value.value) for o in self.others for value in o.values):
                self.kept.append(Difference(f"{element}[{place}]", item, items[place]))
            elif pair is not None and not _in(pair[1], items):
                self.differences.append(Difference(f"{element}[{place}]", items[place], pair[1]))
                items[place] = pair[1]
            else:
                self.differences.append(Difference(f"{element}[{place}]", items[place], None))
                del items[place]
        for place, item in removed:
            if not _in(item, items):
                place = min(place, len(items))
                items.insert(place, item)
                self.differences.append(Difference(f"{element}[{place}]", None, item))
        if items != now:
            self._set(element, items or None)

    def tags(self) -> None:
        """meta.tag, of which the write may have added or removed ours; the rest of meta is the server's."""
        before, after, now = (
            _items(side.get("meta", {}).get("tag")) for side in (self.before, self.after, self.server)
        )
        added = [tag for tag in after if not _in(tag, before) and _in(tag, now)]
        removed = [tag for tag in before if not _in(tag, after) and not _in(tag, now)]
        if not added and not removed:
            return
        tags = [tag for tag in now if not _in(tag, added)] + removed
        meta = {key: value for key, value in self.server.get("meta", {}).items() if key != "tag"}
        self._set("meta", {**meta, "tag": tags} if tags else meta)
        self.differences += [Difference("meta.tag", tag, None) for tag in added]
        self.differences += [Difference("meta.tag", None, tag) for tag in removed]

    def _set(self, element: str, value: Any) -> None:
        if value is None:
            self.body.pop(element, None)
        else:
            self.body[element] = value

    def planned(self, own: Written | None) -> RestorePlan:
        differences = tuple(self.differences)
        reason = f"{len(differences)} to take back" if differences else NOTHING
        interaction = _interaction(self.image, self.server, self.body, differences, reason)
        return RestorePlan(interaction, tuple(self.kept), self._base(own) if differences else own)

    def _base(self, own: Written | None) -> Written | None:
        """What the record stands for afterwards: what it stood for before the write, and what it has written since, as far
        as it is there."""
        if own is None:
            return None
        earlier = self.image.own.values if self.image.own else ()
        values: list[ElementValue] = []
        for value in (*own.values, *earlier):
            known = any(one.element == value.element and same(one.value, value.value) for one in values)
            if "." not in value.element and not known and _is_there(value, self.body):
                values.append(value)
        marks = tuple(value for value in earlier if "." in value.element)
        active = own.holds_active
        if any(difference.path == "active" for difference in self.differences):
            active = self.image.own.holds_active if self.image.own else self.before.get("active") is not False
        return replace(own, values=(*values, *marks), holds_active=active)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _in(item: Any, items: Sequence[Any]) -> bool:
    return any(same(item, one) for one in items)


def _equal(one: Any, other: Any) -> bool:
    return one is other or (one is not None and other is not None and same(one, other))


def _key(element: str, item: Any) -> Hashable:
    """What tells that two items stand for the same thing; an item that nothing tells is its own."""
    return identity_key(element, item) or id(item)


def _is_there(value: ElementValue, body: JsonObject) -> bool:
    there = body.get(value.element)
    return any(
        covers(item, value.value) for item in (there if isinstance(there, list) else [there]) if item is not None
    )
