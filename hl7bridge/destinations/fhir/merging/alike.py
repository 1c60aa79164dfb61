"""Which values of a list may cover a value, or be covered by one: a few, found by a text that they share. Pure.

What covers a value has each of its texts at the same place (identifier systems apart, which have several names). So of a
thousand telephone numbers those alone are compared that have the number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

FEW = 16
"""So many values are compared one by one: that is faster than to look for what they share."""

Leaf = tuple[tuple[str, ...], str]


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """The texts of a JSON value without padding, each with the members that lead to it."""
    if isinstance(value, str):
        yield path, value.strip()
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key != "system":
                yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)


class Alike:
    """The values of one list, by their places in it."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._count = len(values)
        self._by_leaf: dict[Leaf, list[int]] = {}
        self._by_rarest: dict[Leaf, list[int]] = {}
        self._without: list[int] = []
        if self._count < FEW:
            return
        of_each = [set(leaves(value)) for value in values]
        for place, found in enumerate(of_each):
            for leaf in found:
                self._by_leaf.setdefault(leaf, []).append(place)
        for place, found in enumerate(of_each):
            if found:
                rarest = min(found, key=lambda leaf: (len(self._by_leaf[leaf]), leaf))
                self._by_rarest.setdefault(rarest, []).append(place)
            else:
                self._without.append(place)

    def covering(self, value: Any) -> Sequence[int]:
        """The places of those that may cover the value, in order."""
        if self._count < FEW:
            return range(self._count)
        found: Sequence[int] = range(self._count)
        for leaf in leaves(value):
            there = self._by_leaf.get(leaf, ())
            if len(there) < len(found):
                found = there
        return found

    def covered_by(self, value: Any) -> Sequence[int]:
        """The places of those that the value may cover, in order."""
        if self._count < FEW:
            return range(self._count)
        found = set(self._without)
        for leaf in set(leaves(value)):
            found.update(self._by_rarest.get(leaf, ()))
        return sorted(found)
