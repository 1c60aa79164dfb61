"""Conditions on a field: `STF-3.1=ADAMS`, `STF-7!=A`, `PRA-6.1~12*`.

What a path leaves out is any: `STF-10=555*` looks at every STF, repetition and component; `STF[1]-10[2].3` at one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hl7bridge.hl7.comparing import path_of, values
from hl7bridge.hl7.message import Message

_CONDITION = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d+)])?-(\d+)(?:\[(\d+)])?(?:\.(\d+))?(?:\.(\d+))?(!=|=|~)(.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class FittingValue:
    """A value that fits. `record` is the key of its record (MFE-4; of a PMU, STF-1), "" outside of records."""

    path: str
    value: str
    record: str


@dataclass(frozen=True)
class Condition:
    """One condition, 0 = any. `operator`: "=" the whole value, "~" the same with `*` for any text, "!=" any other value."""

    segment: str
    occurrence: int
    field: int
    repetition: int
    component: int
    subcomponent: int
    operator: str
    value: str
    ignore_case: bool = False

    @classmethod
    def parse(cls, text: str, *, ignore_case: bool = False) -> Condition:
        """Read a condition as it is typed. Raises ValueError."""
        match = _CONDITION.fullmatch(text)
        if not match:
            raise ValueError("not a condition: write it like STF-3.1=ADAMS, STF-7!=A or PRA-6.1~12*")
        occurrence, field, repetition, component, subcomponent = (int(number or 0) for number in match.groups()[1:6])
        place = (match[1], occurrence, field, repetition, component, subcomponent)
        return cls(*place, match[7], match[8], ignore_case)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = self.value.split("*") if self.operator == "~" else [self.value]
        return re.compile(".*".join(map(re.escape, parts)), re.DOTALL | (re.IGNORECASE if self.ignore_case else 0))

    @property
    def sign(self) -> bytes:
        """What the bytes of a message that fits hold, to leave out the others unread."""
        return self.segment.encode()

    def fits(self, text: str) -> bool:
        """Whether a value is what is looked for. `""` (a null) is written as it is."""
        return (self._pattern.fullmatch(text) is None) == (self.operator == "!=")

    def search(self, message: Message) -> Iterator[FittingValue]:
        """The values that fit, in order. With "!=" an empty field is no value: it does not fit."""
        record = ""
        for segment in message.segments:
            if segment.name in ("MFE", "STF"):
                record = segment.value(4 if segment.name == "MFE" else 1) or record
            if segment.name != self.segment or self.occurrence not in (0, segment.occurrence):
                continue
            found = values(segment, self.field)
            simple = all(place.component == 1 for place in found)
            for place, text in found.items():
                wanted = zip((self.repetition, self.component, self.subcomponent), place, strict=True)
                if all(asked in (0, there) for asked, there in wanted) and self.fits(text):
                    yield FittingValue(f"{path_of(segment)}-{self.field}{place.text(simple)}", text, record)
