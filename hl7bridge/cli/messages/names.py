"""What the standard calls things: segments, fields, components (from hl7apy), and what codes mean (meanings.toml).

For people who read a message; nothing is decided by it. hl7apy knows 2.1 to 2.8.2; 2.9 reads by 2.8.2, and a field or
component that a version does not have (withdrawn, or not yet there) by the nearest version that has it. hl7apy leaves
withdrawn ones out (XTN.1 from 2.6 on, DG1-7), so that the number in its labels counts, not the place in its lists.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from importlib.resources import files
from typing import Any

VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
_SAME = {"2.7.1": "2.7", "2.9": "2.8.2"}
_UPPER = {"ACK", "AFF", "CER", "DEA", "DMV", "EDU", "ERR", "HL7", "ID", "LAN", "MFE", "MFN", "MSA", "MSH", "NPI", "ORG"}
_UPPER |= {"PRA", "SSN", "STF", "UPIN", "URL"}


@dataclass(frozen=True, slots=True)
class Name:
    """A field or component: its name in words, datatype, table number ("0180", "" for none), and its own components.

    `most` is how often a field may repeat, 0 = any number.
    """

    text: str
    datatype: str = ""
    table: str = ""
    required: bool = False
    components: tuple[Name, ...] = ()
    most: int = 0

    def component(self, number: int) -> Name:
        """The name of a component; of one that no version has, its number."""
        known = self.components[number - 1] if number <= len(self.components) else Name("")
        return known if known.text else Name(f"component {number}")


@cache
def names(version: str) -> Names:
    """The names of one HL7 version; of one that is unknown, those of 2.5.1."""
    known = _SAME.get(version, version)
    return Names(known if known in VERSIONS else "2.5.1")


class Names:
    """The names of one HL7 version."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._fields: dict[tuple[str, int], Name] = {}
        self._by_number: dict[str, dict[int, Sequence[Any]]] = {}

    @cached_property
    def _segments(self) -> dict[str, Any]:
        segments: dict[str, Any] = self._module("segments").SEGMENTS
        return segments

    @cached_property
    def _tables(self) -> dict[str, tuple[str, Sequence[str]]]:
        try:
            tables: dict[str, tuple[str, Sequence[str]]] = self._module("tables").TABLES
        except ModuleNotFoundError:  # hl7apy has no tables before 2.3.1
            return {}
        return tables

    def _module(self, name: str) -> Any:
        return import_module(f"hl7apy.v{self.version.replace('.', '_')}.{name}")

    def has_segment(self, segment: str) -> bool:
        """Whether this version defines the segment."""
        return segment in self._segments

    def segment(self, segment: str) -> str:
        """What the segment is for, in a few words; "" for one that is not known."""
        title: str = meanings()["segments"].get(segment, "site-defined segment" if segment.startswith("Z") else "")
        return title

    def fields(self, segment: str) -> int:
        """The number of the last field that this version gives the segment; 0 for a segment that it does not have."""
        return max(self._numbered(segment), default=0)

    def field(self, segment: str, number: int) -> Name:
        """The name of a field, by this version, else by the next one that has it; Name("") when none does."""
        place = (segment, number)
        if place not in self._fields:
            self._fields[place] = self._find_field(segment, number)
        return self._fields[place]

    def _find_field(self, segment: str, number: int) -> Name:
        """The field by the first version that has it, and what that one lacks of its components by the others."""
        name = Name("")
        for version in (self.version, *VERSIONS[VERSIONS.index(self.version) :], *reversed(VERSIONS)):
            found = names(version)._own_field(segment, number)
            if found is not None:
                name = replace(name, components=_completed(name, found)) if name.text else found
        return name

    def _own_field(self, segment: str, number: int) -> Name | None:
        found = self._numbered(segment).get(number)
        if found is None:
            return None
        _, definition, (fewest, most), _ = found
        return _name(definition, required=fewest > 0, most=max(most, 0))

    def _numbered(self, segment: str) -> dict[int, Sequence[Any]]:
        if segment not in self._by_number:
            definition = self._segments.get(segment, ())
            fields = definition[1] if len(definition) > 1 else ()
            self._by_number[segment] = {_number_of(field[0], at): field for at, field in enumerate(fields, 1)}
        return self._by_number[segment]

    def meaning(self, table: str, code: str) -> str:
        """What a code of a table means; "" when it is not known here."""
        meaning: str = meanings()["tables"].get(table, {}).get(code, "")
        return meaning

    def is_foreign(self, name: Name, code: str) -> bool:
        """Whether a code is not among those of its HL7-defined table, as far as that can be told."""
        if name.datatype != "ID" or name.table in ("", "0396") or not code:  # 0396 is open: HL7nnnn, 99zzz, L
            return False
        codes = self._tables.get(f"HL7{name.table}", ("", ()))[1]
        return bool(codes) and code not in codes


def _name(definition: Sequence[Any], *, required: bool = False, most: int = 0) -> Name:
    """hl7apy's (kind, components, datatype, long name, table, length)."""
    kind, components, datatype, long_name, table = definition[:5]
    found = (components or ()) if kind == "sequence" else ()
    numbered = {_number_of(part[0], at): _name(part[1]) for at, part in enumerate(found, 1)}
    last = max(numbered, default=0)
    parts = tuple(numbered.get(at, Name("")) for at in range(1, last + 1))
    number = (table or "").removeprefix("HL7")
    if number == "9999":  # stands for "the master file's own keys"
        number = ""
    if parts and number and not parts[0].table:
        first = parts[0]
        parts = (Name(first.text, first.datatype, number), *parts[1:])
    return Name(_in_words(long_name or ""), datatype or "", number, required, parts, most)


def _number_of(label: str, place: int) -> int:
    """The number in hl7apy's label of a field or component (`XTN_2`); its place in the list where the label has none."""
    number = label.rpartition("_")[2]
    return int(number) if number.isdecimal() else place


def _completed(name: Name, other: Name) -> tuple[Name, ...]:
    """The components of a name, those that it lacks as another version has them. What one version has as plain text is the
    first of the components that another has there."""
    have = name.components or ((replace(name, required=False, most=0),) if other.components else ())
    size = max(len(have), len(other.components))
    known = [*have, *[Name("")] * (size - len(have))]
    more = [*other.components, *[Name("")] * (size - len(other.components))]
    return tuple(one if one.text else two for one, two in zip(known, more, strict=True))


def _in_words(name: str) -> str:
    words = [word if word in _UPPER else word.lower() for word in name.split("_")]
    text = " ".join(words).replace(" s ", "'s ")
    return text[:1].upper() + text[1:]


@cache
def meanings() -> dict[str, Any]:
    """meanings.toml: `segments` and, by number, `tables`."""
    return tomllib.loads(files(__package__).joinpath("meanings.toml").read_text(encoding="utf-8"))
