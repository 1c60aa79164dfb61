"""Where a value came from: the fields of the message that gave it. A value that the plan reads by its parts; text is for
people and for the store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import lru_cache
from typing import NamedTuple

_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:[\[(](\d+)[\])])?(?:-(\d+)(?:\[(\d+)\])?(?:\.(\d+))?)?")


class Location(NamedTuple):
    """A place in a message, as ERR-2 (ERL) gives it. All numbers are 1-based; 0 says "not narrower than this".

    `occurrence` counts the segments of that name in the message: the second STF is ("STF", 2).
    """

    segment: str
    occurrence: int = 1
    field: int = 0
    repetition: int = 0
    component: int = 0

    def __str__(self) -> str:
        """As an analyst says it: `STF-3.1`, `PRA-6[2].1`."""
        text = self.segment
        if self.field:
            text += f"-{self.field}"
            if self.repetition > 1:
                text += f"[{self.repetition}]"
            if self.component:
                text += f".{self.component}"
        return text

    @classmethod
    def read(cls, text: str) -> Location:
        """The inverse of `str`. What is no place (no version of the program wrote such a text) stands as a segment of that
        name: it is kept, and is equal to itself alone."""
        found = _PLACE.fullmatch(text)
        if found is None:
            return cls(text)
        segment, occurrence, field, repetition, component = found.groups()
        return cls(segment, int(occurrence or 1), int(field or 0), int(repetition or 0), int(component or 0))

    @property
    def whole_field(self) -> tuple[str, int]:
        """Segment and number of the field: ("STF", 10) of `STF-10[2].1`."""
        return self.segment, self.field


@dataclass(frozen=True, slots=True)
class Provenance:
    """The fields that gave a value: one; of a period two where its start and its end come from different ones, in that
    order; none of what no field gave.

    `text` is what people read and what is stored: `STF-10[2]`, `STF-12,STF-13`, "" for none.
    """

    fields: tuple[Location, ...] = ()
    text: str = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", ",".join(map(str, self.fields)))

    def __str__(self) -> str:
        return self.text

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(segment: str, number: int = 0, repetition: int = 1) -> Provenance:
        """One field; `number` 0 = the segment as a whole. Message after message names the same ones."""
        return Provenance((Location(segment, field=number, repetition=repetition if repetition > 1 else 0),))

    @staticmethod
    @lru_cache(maxsize=4096)
    def read(text: str) -> Provenance:
        """The inverse of `text`: for what was stored, by this version or an earlier one."""
        return Provenance(tuple(Location.read(part.strip()) for part in text.split(",")) if text else ())

    @staticmethod
    def joined(*given: Provenance) -> Provenance:
        """All their fields, each once, in order."""
        return Provenance(tuple(dict.fromkeys(place for one in given for place in one.fields)))

    def at(self, repetition: int) -> Provenance:
        """The same field at that repetition, 1-based."""
        if repetition == 1:
            return self
        (place,) = self.fields
        return Provenance.of(place.segment, place.field, repetition)

    @property
    def whole_field(self) -> tuple[str, int]:
        """Segment and number of the first field; ("", 0) for none."""
        return self.fields[0].whole_field if self.fields else ("", 0)

    def is_of(self, segment: str) -> bool:
        """Whether a field of that segment gave it."""
        return any(place.segment == segment for place in self.fields)


NO_FIELD = Provenance()
"""Of what the bridge says by itself."""
