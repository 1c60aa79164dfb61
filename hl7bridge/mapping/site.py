"""A site's dialect as plain values: what a sender does differently from the standard, declared and never guessed.

`SiteMap` says where the key stands, which fields are shifted, who is a practitioner and who is no person at all. Field
rows, code tables and assigning authorities of a site stand beside it in `FeedRules`, since a feed can have these alone.
Which keys of `conf/maps/NAME.toml` these are: settings/maps.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from hl7bridge.errors import ConfigError

_SOURCE = re.compile(r"([A-Z][A-Z0-9]{2})-(\d{1,3})(?:\.(\d{1,2})|\[([^\[\]]+)\])?")
_FIELD = re.compile(r"[A-Z][A-Z0-9]{2}-[1-9]\d{0,2}")


@dataclass(frozen=True, slots=True)
class Shift:
    """From field `start` of the standard on, the sender's fields stand `by` places to the right (negative: left)."""

    start: int
    by: int


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a staff key may stand: a field, one of its components, or its repetition of an identifier type (CX.5)."""

    segment: str
    number: int
    component: int = 1
    type_code: str = ""

    @classmethod
    def parse(cls, text: str) -> KeySource:
        """`MFE-4`, `STF-1`, `ZSF-3.2`, `STF-2[EI]`. Raises ConfigError."""
        found = _SOURCE.fullmatch(text)
        if found is None or (found[1] == "MFE" and text != "MFE-4"):
            advice = "Write MFE-4, STF-1, a component as ZSF-3.2, or an identifier's type as STF-2[EI]."
            raise ConfigError(f"{text[:40]!r} is no place of a key", key="key", advice=advice)
        return cls(found[1], int(found[2]), int(found[3] or 1), found[4] or "")


def pattern(text: str) -> re.Pattern[str]:
    """A pattern for a whole value, letter case aside: `*` stands for any characters, everything else for itself."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, eq=False)
class SiteMap:
    """A site's dialect. Raises ConfigError for what cannot be used.

    key                where the staff key is looked for, in order; empty = MFE-4, then STF-1, then STF-2
    shifts             segment -> its declared shifts, by ascending field
    staff_types        codes of `staff_type_field` that are practitioners; empty = everybody is
    master_files       MFI-1 that hold practitioners; empty = all that are staff files
    placeholder_keys   staff keys of nobody; patterns for the whole key
    placeholder_names  names of nobody: `FAMILY` or `FAMILY^GIVEN`; patterns for the whole name
    """

    name: str = ""
    key: Sequence[str] = ()
    shifts: Mapping[str, Sequence[Shift]] = field(default_factory=dict)
    staff_type_field: str = "STF-4"
    staff_types: Sequence[str] = ()
    master_files: Sequence[str] = ()
    placeholder_keys: Sequence[str] = ()
    placeholder_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        _ = self.key_sources
        if not _FIELD.fullmatch(self.staff_type_field):
            raise ConfigError(f"{self.staff_type_field!r} is not a field such as STF-4", key="practitioners.field")
        for segment, shifts in self.shifts.items():
            for before, after in pairwise(shifts):
                if after.start <= before.start or after.start + after.by - before.by <= before.start:
                    advice = "Give them by ascending `from`, each with room for the fields of the one before."
                    raise ConfigError("two shifts overlap", key=f"shift.{segment}", advice=advice)
            if shifts and shifts[0].start + min(shifts[0].by, 0) < 1:
                raise ConfigError("it would stand before the first field", key=f"shift.{segment}")

    @cached_property
    def key_sources(self) -> tuple[KeySource, ...]:
        """`key`, parsed."""
        return tuple(map(KeySource.parse, self.key))

    @cached_property
    def nobody_keys(self) -> tuple[re.Pattern[str], ...]:
        """`placeholder_keys`, compiled."""
        return tuple(map(pattern, self.placeholder_keys))

    @cached_property
    def nobody_names(self) -> tuple[re.Pattern[str], ...]:
        """`placeholder_names`, compiled."""
        return tuple(map(pattern, self.placeholder_names))

    def is_nobody(self, key: str, family: str, given: str = "") -> bool:
        """Whether a staff key or a name is one of the declared placeholders."""
        names = {family, f"{family}^{given}"} if family else set()
        if any(one.fullmatch(key) for one in self.nobody_keys):
            return True
        return any(one.fullmatch(name) for one in self.nobody_names for name in names)

    def sent_at(self, segment: str, number: int) -> int:
        """At which field of the sender's segment the standard's field stands; 0 = the sender leaves it out."""
        for start, end, by in self._regions(segment):
            if start <= number < end:
                at = number + by
                later = next((s for s in self.shifts[segment] if s.start >= end), None)
                return 0 if later is not None and at >= later.start + later.by else at
        return number

    def standard(self, segment: str, sent: int) -> int:
        """Which field of the standard a field of the sender's segment is; 0 = none (the sender inserted it)."""
        for start, end, by in self._regions(segment):
            if start <= sent - by < end and self.sent_at(segment, sent - by) == sent:
                return sent - by
        return 0 if self.shifts.get(segment) else sent

    def straightened(self, segment: str, fields: list[str]) -> list[str]:
        """A segment's fields (the name at 0) where the standard has them."""
        if segment not in self.shifts:
            return fields
        straight = fields[:1]
        furthest = len(fields) + max((abs(shift.by) for shift in self.shifts[segment]), default=0)
        for number in range(1, furthest):
            at = self.sent_at(segment, number)
            straight.append(fields[at] if 0 < at < len(fields) else "")
        return straight

    def _regions(self, segment: str) -> Iterator[tuple[int, int, int]]:
        """(first field, field after the last, places to the right) of the standard's fields, in order."""
        start, by = 1, 0
        for shift in self.shifts.get(segment, ()):
            yield start, shift.start, by
            start, by = shift.start, shift.by
        if segment in self.shifts:
            yield start, 10_000, by

    def as_data(self) -> dict[str, Any]:
        """Everything that changes what comes out, for the mapping's version; {} for a map that changes nothing."""
        said = {
            "key": list(self.key),
            "shifts": {name: [[s.start, s.by] for s in shifts] for name, shifts in self.shifts.items() if shifts},
            "staff_types": sorted(self.staff_types),
            "master_files": sorted(self.master_files),
            "placeholder_keys": sorted(self.placeholder_keys),
            "placeholder_names": sorted(self.placeholder_names),
        }
        said = {name: value for name, value in said.items() if value}
        return said | ({"staff_type_field": self.staff_type_field} if "staff_types" in said else {})


STANDARD = SiteMap()
"""A sender who does as the standard says."""
