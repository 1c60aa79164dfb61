"""What a record has said already, found at the same cost for its thousandth value as for its first.

Each reads on in a list that grows, from where it stopped the last time; what stood in the list stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from hl7bridge.model import StaffIdentifier

T = TypeVar("T")

NOWHERE = 1 << 60
FEW = 8  # values that are compared one by one at less cost than a key is made of each


def frozen(value: Any) -> Hashable:
    """A JSON value as something that can stand in a set: equal where the values are."""
    if isinstance(value, dict):
        return frozenset((key, frozen(one)) for key, one in value.items())
    if isinstance(value, list):
        return tuple(map(frozen, value))
    return value  # type: ignore[no-any-return]  # a text, number or truth value


class Said(Generic[T]):
    """Whether something of a list has a key; `key` None: that one is not asked for."""

    __slots__ = ("_key", "_keys", "_read")

    def __init__(self, key: Callable[[T], Hashable | None]) -> None:
        self._key = key
        self._keys: set[Hashable | None] = set()
        self._read = 0

    def has(self, key: Hashable, listed: list[T]) -> bool:
        """Whether one of the list has it."""
        for one in listed[self._read :]:
            self._keys.add(self._key(one))
        self._read = len(listed)
        return key in self._keys


def same_of_few(
    listed: list[StaffIdentifier], value: str, system: str, authority: str, type_code: str, *, one_thing: bool
) -> int:
    """`SaidIdentifiers.same`, of a list that is looked through at less cost."""
    for at, (its_value, its_system, its_authority, its_type, *_) in enumerate(listed):
        if its_value != value:
            continue
        if system:
            if its_system == system and (one_thing or not type_code or its_type == type_code):
                return at
        elif (type_code and its_type == type_code) if its_system else its_authority == authority:
            return at
    return NOWHERE


class SaidIdentifiers:
    """The identifiers of a record, by what may make one of them say the same as another, or contradict it."""

    __slots__ = ("_first", "_indexed", "_listed", "_of_staff", "_read", "values")

    def __init__(self) -> None:
        self._start([])

    def _start(self, listed: list[StaffIdentifier]) -> None:
        self._listed, self._read, self._indexed = listed, 0, 0
        self._first: dict[tuple[str, ...], int] = {}
        self._of_staff: dict[str, list[tuple[int, str]]] = {}
        self.values: set[str] = set()

    def follow(self, listed: list[StaffIdentifier]) -> SaidIdentifiers:
        """Take in what the list holds by now; a list that another one replaced is read anew."""
        if listed is not self._listed:
            self._start(listed)
        self.values.update([one.value for one in listed[self._read :]])
        self._read = len(listed)
        return self

    def _index(self) -> None:
        """Most records say nothing twice, and need no more than `values`: the rest is made where it is asked for."""
        for at in range(self._indexed, self._read):
            self._take(at, self._listed[at])
        self._indexed = self._read

    def _take(self, at: int, one: StaffIdentifier) -> None:
        keys: list[tuple[str, ...]] = [("authority", one.value, one.authority)]
        if one.system:
            keys = [("system", one.value, one.system), ("of system", one.value, one.system, one.type_code)]
            keys.append(("type", one.value, one.type_code))
        for key in keys:
            self._first.setdefault(key, at)
        if one.system and one.provenance.whole_field == ("STF", 2):
            of_system = self._of_staff.setdefault(one.system, [])
            if not of_system or (len(of_system) == 1 and of_system[0][1] != one.value):
                of_system.append((at, one.value))

    def same(self, value: str, system: str, authority: str, type_code: str, *, one_thing: bool) -> int:
        """Where the first one stands to which an identifier of equal value adds nothing; NOWHERE where none does.

        One number of an authority that numbers several things, given as a physician's and as an osteopath's, is two; a
        national registry numbers one thing (`one_thing`).
        """
        if value not in self.values:
            return NOWHERE
        self._index()
        first = self._first.get
        if not system:
            of_authority = first(("authority", value, authority), NOWHERE)
            return min(of_authority, first(("type", value, type_code), NOWHERE)) if type_code else of_authority
        if one_thing or not type_code:
            return first(("system", value, system), NOWHERE)
        return first(("of system", value, system, type_code), NOWHERE)

    def other_of_staff(self, value: str, system: str) -> int:
        """Where the first one of STF-2 stands that has another value of the system; NOWHERE where none does."""
        self._index()
        return next((at for at, other in self._of_staff.get(system, ()) if other != value), NOWHERE)
