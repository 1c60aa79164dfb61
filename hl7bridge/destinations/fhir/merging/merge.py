"""The three-way merge of one element, value by value. Pure.

Three sides: what the message asks for (desired), what this feed wrote before (base), what the server holds now. The rules
(design.md section 6): remove or change only what this feed wrote; add what the message asks for; leave the rest. Without
a base nothing is removed, and equal values are adopted. What another feed wrote, too, is not removed.

A server's item *covers* a value when it says all that the value says; what it says beyond (an extension, a rank) is
someone else's, and stays. Labels (the display of a code, the type of an identifier) tell values apart only where the
message changed them. A value of ours that no item covers any more was changed at the server: drift.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from hl7bridge.destinations.fhir.identity.systems import canonical_system
from hl7bridge.destinations.fhir.merging.alike import Alike
from hl7bridge.model import NO_FIELD, Difference, ElementValue

IN_PLACE = frozenset({"name", "telecom", "address", "qualification", "period", "notAvailable"})
"""Elements whose items are changed member by member; a changed identifier, concept or reference is replaced as a whole,
for what others added to it (a verification, a translation, a resolved reference) belonged to the old value."""

_CORE = {"telecom": ("value",), "name": ("family",), "qualification": ("code",), "address": ("line", "city")}
"""What an item must share with a value of ours before it is completed with what the value says beyond it."""


def covers(item: Any, wanted: Any) -> bool:
    """Whether `item` says all that `wanted` says. Text is compared without padding, identifier systems by any name."""
    if isinstance(wanted, str):
        return isinstance(item, str) and (item == wanted or item.strip() == wanted.strip())
    if isinstance(wanted, dict):
        if not isinstance(item, dict) or not wanted.keys() <= item.keys():
            return False
        for key, value in wanted.items():
            if not (_same_system(item[key], value) if key == "system" else covers(item[key], value)):
                return False
        return True
    if isinstance(wanted, list):
        if not isinstance(item, list):
            return False
        if wanted and all(isinstance(value, dict) for value in wanted):
            return all(any(covers(one, value) for one in item) for value in wanted)
        return len(item) == len(wanted) and all(covers(one, value) for one, value in zip(item, wanted, strict=True))
    return isinstance(item, bool) == isinstance(wanted, bool) and bool(item == wanted)


def same(one: Any, other: Any) -> bool:
    """Whether both say the same."""
    return covers(one, other) and covers(other, one)


def essence(element: str, value: Any) -> Any:
    """The value without its labels: type and use of an identifier, text beside codings, display beside a code,
    reference or identifier. Servers and other feeds word them differently for one and the same thing."""
    if isinstance(value, list):
        return [essence(element, item) for item in value]
    if not isinstance(value, dict):
        return value
    labels = {"type", "use"} if element == "identifier" else set()
    if "coding" in value:
        labels.add("text")
    if not value.keys().isdisjoint(("code", "reference", "identifier")):
        labels.add("display")
    return {key: essence(key, item) for key, item in value.items() if key not in labels}


def _same_system(one: Any, other: Any) -> bool:
    if one == other:
        return True
    return isinstance(one, str) and isinstance(other, str) and canonical_system(one) == canonical_system(other)


def identity_key(element: str, value: Any) -> Hashable | None:
    """What tells that two values stand for the same thing, one being the other's successor; None where nothing does."""
    if not isinstance(value, dict):
        return None
    if element == "identifier":
        system = value.get("system")
        return ("identifier", canonical_system(system)) if isinstance(system, str) else None
    if element == "telecom":
        return ("telecom", _text(value.get("system")), _text(value.get("use")))
    if element in ("name", "address"):
        return (element, _text(value.get("use")))
    if element == "qualification":
        return _concept_key(value.get("code"))
    if element == "notAvailable":
        return ("notAvailable", _text(value.get("description")))
    return None


def _concept_key(concept: Any) -> Hashable | None:
    if not isinstance(concept, dict):
        return None
    codings = concept.get("coding")
    first = codings[0] if isinstance(codings, list) and codings else None
    if isinstance(first, dict):
        return ("coding", _text(first.get("system")), _text(first.get("code")))
    return ("text", _text(concept.get("text")))


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Sides:
    """What each side says of one element.

    others    values that other feeds stand for, too: never removed
    yielding  values of feeds that rank behind this one: they give way to a desired value of the same identity
    retained  whether a base value stays although the message does not list it (its field was not supplied)
    keep_drift leave what someone changed at the server
    """

    server: Any
    desired: tuple[ElementValue, ...] = ()
    base: tuple[ElementValue, ...] = ()
    others: tuple[Any, ...] = ()
    yielding: tuple[Any, ...] = ()
    retained: Callable[[ElementValue], bool] = lambda value: False
    keep_drift: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """The element as it should be (None = absent), the feed's new base, and what differs from the server's."""

    value: Any
    base: tuple[ElementValue, ...]
    differences: tuple[Difference, ...] = ()
    drift: tuple[Difference, ...] = ()


def merge_single(element: str, sides: Sides) -> Merged:
    """Merge an element that holds one value (gender, birthDate, organization, period)."""
    server = sides.server
    wanted = sides.desired[-1] if sides.desired else None
    base = sides.base[-1] if sides.base else None
    protected = server is not None and any(covers(server, essence(element, other)) for other in sides.others)
    if wanted is None:
        if base is None or sides.retained(base):
            return Merged(server, sides.base[-1:])
        if server is None or not covers(server, base.value) or protected:
            return Merged(server, ())
        rest = rebase(element, server, base.value, {}) if element in IN_PLACE else None
        return Merged(rest or None, (), (Difference(element, server, rest or None, base.provenance.text),))
    if element == "period" and base is not None and sides.retained(base):
        # The bounds come from fields of their own: the one that this message does not supply stays.
        wanted = wanted._replace(value={**base.value, **wanted.value})
    after = wanted.value
    drifted = base is not None and not covers(server, base.value) and not protected
    if server is not None and covers(server, essence(element, wanted.value)):
        relabelled = base is not None and covers(server, base.value) and not same(wanted.value, base.value)
        if not relabelled or protected:
            return Merged(server, (wanted,))
    if protected and base is not None and same(base.value, wanted.value):
        # Another feed changed it since, and this one has nothing new to say: who says the same again and again must not
        # win for that, or two feeds that disagree would write over each other with every message. `[owners]` orders them.
        return Merged(server, (wanted,))
    drift = (Difference(element, server, after, wanted.provenance.text),) if drifted else ()
    if drifted and sides.keep_drift:
        return Merged(server, (wanted,), (), drift)
    if isinstance(server, dict):
        after = rebase(element, server, base.value if base else {}, wanted.value)
    return Merged(after, (wanted,), (Difference(element, server, after, wanted.provenance.text),), drift)


def rebase(element: str, item: Any, base: Any, wanted: Any) -> Any:
    """`item` with what `base` put there replaced by what is wanted; the members that neither names stay."""
    if not isinstance(item, dict) or not isinstance(wanted, dict):
        return wanted
    if element not in IN_PLACE and not same(essence(element, base), essence(element, wanted)):
        return wanted
    base = base if isinstance(base, dict) else {}
    result = {key: value for key, value in item.items() if key not in base or key in wanted}
    for key, value in wanted.items():
        if key == "period" and isinstance(item.get(key), dict):
            result[key] = rebase("period", item[key], base.get(key), value)
        elif key not in item or not covers(item[key], value) or (key in base and not same(base[key], value)):
            result[key] = value
    if element in ("name", "address") and "text" not in wanted:
        result.pop("text", None)  # it spells out the old parts
    return result


def merge_list(element: str, sides: Sides) -> Merged:
    """Merge an element that repeats."""
    return _ListMerge(element, sides).merged()


_GONE = object()


class _ListMerge:
    """One merge of one list: `slots` are the server's items and what is appended, changed as the steps go."""

    def __init__(self, element: str, sides: Sides) -> None:
        self.element, self.sides = element, sides
        self.before: list[Any] = list(sides.server or [])
        self.slots: list[Any] = list(self.before)
        self.fields: dict[int, str] = {}
        self.claimed: set[int] = set()
        self.drift: list[tuple[int | None, Any, ElementValue]] = []
        self._cores: Alike | None = None
        self.desired = deduplicated(element, sides.desired)
        self._there = Alike(self.before)
        self._wanted = Alike([value.value for value in self.desired])
        self._stood = Alike([value.value for value in sides.base])
        self._bare = [essence(element, value.value) for value in self.desired]
        self._alike_bare = Alike(self._bare)
        self.kept = [base for base in sides.base if sides.retained(base) and not self._desired(base.value)]
        self.lapsed = [base for base in sides.base if not sides.retained(base) and not self._desired(base.value)]
        stands = (*sides.others, *(value.value for value in self.kept))
        self._guarded = [essence(element, value) for value in stands]
        self._alike_guarded = Alike(self._guarded)
        self._strays: dict[Hashable, deque[int]] | None = None
        keys = {identity_key(element, value.value) for value in self.desired} - {None}
        self.lapsed += [
            ElementValue(element, value, NO_FIELD) for value in sides.yielding if identity_key(element, value) in keys
        ]

    def merged(self) -> Merged:
        """Run the steps; each leaves to the next what it could not settle."""
        missing = self._claim_what_is_there()
        at = _Lapsed(self.element, self._find_lapsed())
        for value in missing:
            _ = self._complete(value) or self._succeed(value, at) or self._restore(value) or self._append(value)
        for lapsed, slot in at.all:
            if slot is not None and slot not in self.claimed and not self._protected(self.before[slot]):
                self.slots[slot] = _GONE
                self.fields[slot] = lapsed.provenance.text
        return self._result()

    # --- steps -------------------------------------------------------------------------------------------------------

    def _claim_what_is_there(self) -> list[ElementValue]:
        """Each desired or kept value claims an item that covers it; returns the desired ones that found none."""
        missing = []
        unmatched = []
        for value in self.desired:
            slot = self._find(value.value)
            if slot is None:
                unmatched.append(value)
            else:
                self.claimed.add(slot)
        for value in unmatched:
            slot = self._find(essence(self.element, value.value))
            if slot is None:
                missing.append(value)
            else:
                self.claimed.add(slot)
        for value in self.kept:
            slot = self._find(value.value)
            if slot is not None:
                self.claimed.add(slot)
        return missing

    def _find_lapsed(self) -> list[tuple[ElementValue, int | None]]:
        """Where the values that this feed no longer stands for are.

        One that a desired value has claimed already, because it said more than it or differs in labels alone, becomes
        that value here.
        """
        at: list[tuple[ElementValue, int | None]] = []
        for lapsed in self.lapsed:
            free = self._find(lapsed.value)
            may = self._there.covering(lapsed.value)
            taken = [slot for slot in may if slot in self.claimed and covers(self.before[slot], lapsed.value)]
            if free is not None or not taken:
                at.append((lapsed, free))
                continue
            for slot in taken:
                self._relabel(slot, lapsed)
        return at

    def _relabel(self, slot: int, lapsed: ElementValue) -> None:
        """Where the item said the lapsed value, and a desired one says less of the same, or labels it anew."""
        item = self.before[slot]
        if slot in self.fields or self._protected(item):
            return
        for place in self._alike_bare.covered_by(item):
            value, bare = self.desired[place], self._bare[place]
            if covers(item, bare) and covers(lapsed.value, bare):
                self._set(slot, rebase(self.element, item, lapsed.value, value.value), value)
                return

    def _complete(self, value: ElementValue) -> bool:
        """An unclaimed item that agrees with the value gets what the value says beyond it: nothing of it is lost."""
        for slot in self._may_agree(value.value):
            item = self.before[slot]
            if slot in self.claimed or not self._agrees(item, value.value):
                continue
            if self._ours(value):
                self.drift.append((slot, item, value))
                if self.sides.keep_drift:
                    self.claimed.add(slot)
                    return True
            both = {**item, **{k: v for k, v in value.value.items() if k not in item or not covers(item[k], v)}}
            self._set(slot, both, value)
            return True
        return False

    def _agrees(self, item: Any, value: Any) -> bool:
        """Whether the item has the value's core and contradicts it nowhere; a rank may change where it is nobody's."""
        core = _CORE.get(self.element)
        if core is None:
            return bool(item) and isinstance(value, dict) and covers(value, item)
        if not all(member in item and member in value for member in core):
            return False
        contradicted = {
            k for k in item.keys() & value.keys() if not covers(item[k], value[k]) and not covers(value[k], item[k])
        }
        return not contradicted or (contradicted == {"rank"} and not self._protected(item))

    def _may_agree(self, value: Any) -> Sequence[int]:
        """The items that may agree with the value: their core covers its core, or the other way round."""
        if self._cores is None:
            core = _CORE.get(self.element)
            of_items = [item.get(core[-1]) if core and isinstance(item, dict) else item for item in self.before]
            self._cores = Alike(of_items)
        core = _CORE.get(self.element)
        if core is None:
            return self._cores.covered_by(value)
        part = value.get(core[-1])
        return sorted({*self._cores.covering(part), *self._cores.covered_by(part)})

    def _succeed(self, value: ElementValue, at: _Lapsed) -> bool:
        """The value takes the place of a lapsed one of the same identity, even where someone has changed that."""
        key = identity_key(self.element, value.value)
        if key is None or self._ours(value):
            return False
        placed = at.first_placed(key, self._is_free)
        lost = at.first_lost(key)
        stray = self._stray(key) if lost is not None and (placed is None or lost < placed) else None
        if stray is not None and lost is not None:
            return self._overwrite(stray, at.take_lost(key).value, value)
        if placed is None:
            return False
        lapsed, slot = at.all[placed]
        assert slot is not None, "it has a place"
        self._set(slot, rebase(self.element, self.before[slot], lapsed.value, value.value), value)
        return True

    def _is_free(self, slot: int) -> bool:
        return slot not in self.claimed and not self._protected(self.before[slot])

    def _restore(self, value: ElementValue) -> bool:
        """A value that this feed wrote before and that is not there any more: drift."""
        if not self._ours(value):
            return False
        key = identity_key(self.element, value.value)
        stray = self._stray(key) if key is not None else None
        if stray is not None:
            return self._overwrite(stray, value.value, value)
        self.drift.append((None, None, value))
        return self.sides.keep_drift or self._append(value)

    def _append(self, value: ElementValue) -> bool:
        self.slots.append(value.value)
        self.fields[len(self.slots) - 1] = value.provenance.text
        return True

    def _overwrite(self, slot: int, base: Any, value: ElementValue) -> bool:
        self.drift.append((slot, self.before[slot], value))
        if self.sides.keep_drift:
            self.claimed.add(slot)
        else:
            self._set(slot, rebase(self.element, self.before[slot], base, value.value), value)
        return True

    # --- looking -----------------------------------------------------------------------------------------------------

    def _set(self, slot: int, item: Any, value: ElementValue) -> None:
        self.slots[slot] = item
        self.fields[slot] = value.provenance.text
        self.claimed.add(slot)

    def _find(self, value: Any) -> int | None:
        """An unclaimed item that covers the value, an equal one before a richer one."""
        may = self._there.covering(value)
        slots = [slot for slot in may if slot not in self.claimed and covers(self.before[slot], value)]
        equal = [slot for slot in slots if covers(value, self.before[slot])]
        return next(iter(equal + slots), None)

    def _stray(self, key: Hashable) -> int | None:
        """The item of that identity that no feed accounts for, if there is exactly one."""
        if self._strays is None:
            self._strays = self._find_strays()
        strays = self._strays.get(key, deque())
        while strays and strays[0] in self.claimed:
            strays.popleft()
        left = islice((slot for slot in strays if slot not in self.claimed), 2)
        first, second = next(left, None), next(left, None)
        return first if second is None else None

    def _find_strays(self) -> dict[Hashable, deque[int]]:
        values = [*(value.value for value in self.sides.base), *self.sides.others, *self.sides.yielding]
        known = [essence(self.element, value) for value in values]
        alike = Alike(known)
        found: dict[Hashable, deque[int]] = {}
        for slot, item in enumerate(self.before):
            key = identity_key(self.element, item)
            if key is not None and not any(covers(item, known[place]) for place in alike.covered_by(item)):
                found.setdefault(key, deque()).append(slot)
        return found

    def _protected(self, item: Any) -> bool:
        """Whether another feed, or a field that the message does not supply, stands for the item."""
        return any(covers(item, self._guarded[place]) for place in self._alike_guarded.covered_by(item))

    def _desired(self, value: Any) -> bool:
        return any(same(value, self.desired[place].value) for place in self._wanted.covering(value))

    def _ours(self, value: ElementValue) -> bool:
        base = self.sides.base
        return any(same(value.value, base[place].value) for place in self._stood.covering(value.value))

    # --- the result --------------------------------------------------------------------------------------------------

    def _result(self) -> Merged:
        final = [item for item in self.slots if item is not _GONE]
        places: dict[int, int] = {}
        for slot, item in enumerate(self.slots):
            if item is not _GONE:
                places[slot] = len(places)
        differences = []
        for slot in sorted(self.fields):
            before = self.before[slot] if slot < len(self.before) else None
            after = None if self.slots[slot] is _GONE else self.slots[slot]
            path = f"{self.element}[{places.get(slot, slot)}]"
            if before != after:
                differences.append(Difference(path, before, after, self.fields[slot]))
        drift = tuple(
            Difference(
                self.element if slot is None else f"{self.element}[{slot}]", item, value.value, value.provenance.text
            )
            for slot, item, value in self.drift
        )
        return Merged(final or None, (*self.desired, *self.kept), tuple(differences), drift)


class _Lapsed:
    """The values that a feed no longer stands for, each with its item's place (None: it is not there), by identity."""

    def __init__(self, element: str, found: Sequence[tuple[ElementValue, int | None]]) -> None:
        self.all = found
        self._placed: dict[Hashable, deque[int]] = {}
        self._lost: dict[Hashable, deque[int]] = {}
        for index, (lapsed, slot) in enumerate(found):
            key = identity_key(element, lapsed.value)
            if slot is not None:
                self._placed.setdefault(key, deque()).append(index)
            elif lapsed.provenance.fields:
                self._lost.setdefault(key, deque()).append(index)

    def first_placed(self, key: Hashable, is_free: Callable[[int], bool]) -> int | None:
        """The first whose item may still be taken; one that may not never may again."""
        waiting = self._placed.get(key, deque())
        while waiting:
            slot = self.all[waiting[0]][1]
            if slot is not None and is_free(slot):
                return waiting[0]
            waiting.popleft()
        return None

    def first_lost(self, key: Hashable) -> int | None:
        """The first whose item is not there."""
        waiting = self._lost.get(key)
        return waiting[0] if waiting else None

    def take_lost(self, key: Hashable) -> ElementValue:
        """The same, which is settled with that."""
        return self.all[self._lost[key].popleft()][0]


def deduplicated(element: str, values: Sequence[ElementValue]) -> tuple[ElementValue, ...]:
    """Without those that another one covers; of those that differ in labels alone the first."""
    alike = Alike([value.value for value in values])
    kept: list[int | None] = []
    at: dict[int, int] = {}  # place among the values -> among those that are kept
    for place, value in enumerate(values):
        bare = essence(element, value.value)
        poorer = sorted(
            at[other]
            for other in alike.covered_by(value.value)
            if other in at and _says_less(values[other].value, value.value)
        )
        if poorer:
            for slot in poorer:
                gone = kept[slot]
                assert gone is not None, "it was kept"
                del at[gone]
                kept[slot] = None
            kept[poorer[0]], at[place] = place, poorer[0]
        elif not any(
            covers(values[other].value, bare) and not _are_of_two_types(element, values[other].value, value.value)
            for other in alike.covering(bare)
            if other in at
        ):
            at[place] = len(kept)
            kept.append(place)
    return tuple(values[place] for place in kept if place is not None)


def _says_less(one: Any, other: Any) -> bool:
    return covers(other, one) and not same(other, one)


def _are_of_two_types(element: str, one: Any, other: Any) -> bool:
    """Whether both are identifiers whose types are coded, and differently: one number as two things is two."""
    if element != "identifier":
        return False
    codes = [{coding.get("code") for coding in value.get("type", {}).get("coding", [])} for value in (one, other)]
    return bool(codes[0] and codes[1]) and codes[0].isdisjoint(codes[1])
