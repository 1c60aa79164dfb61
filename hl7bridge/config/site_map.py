"""The keys of conf/maps/NAME.toml: a site's dialect, for the feeds that name it (`map = "NAME"`)."""

from __future__ import annotations

import re
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hl7bridge.config.values import Names, Notation, Section, Uri, Wrong, setting

FIELD = re.compile(r"[A-Z][A-Z0-9]{2}-[1-9]\d{0,2}")
SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
TABLE_FILE = re.compile(r"[\w][\w.-]*\.csv")


def _fields(value: dict[str, Any]) -> dict[str, Any]:
    for place in value:
        if not FIELD.fullmatch(place):
            raise Wrong(f'"{place[:20]}" is not a field', 'Write a segment and a number, such as "STF-10".')
    return value


def _one_or_more(value: object) -> object:
    """A shift may stand alone; every key is a segment."""
    if not isinstance(value, dict):
        return value
    for segment in value:
        if not SEGMENT.fullmatch(segment):
            raise Wrong(f'"{segment[:20]}" is not a segment', "Write STF = { from = 10, by = 1 }.")
    return {segment: [shifts] if isinstance(shifts, dict) else shifts for segment, shifts in value.items()}


def _day(value: object) -> str:
    try:
        return (
            value.isoformat()
            if isinstance(value, date)
            else date.fromisoformat(str(value)).isoformat()
            if value
            else ""
        )
    except ValueError:
        raise Wrong("is not a day", 'Write it as "2027-03-31".') from None


def _tables(value: dict[str, Any]) -> dict[str, Any]:
    """Each table a file's name, or codes; what a code stands for is text."""
    for number, given in value.items():
        if isinstance(given, str):
            if not TABLE_FILE.fullmatch(given):
                advice = 'Write the name of a file in conf/tables, such as "0182.csv".'
                raise Wrong(f"{number}: is not the name of a CSV file", advice)
        elif not isinstance(given, dict) or not all(isinstance(target, str) for target in given.values()):
            raise Wrong(f"{number}: is not a table of code = code", 'Write "DR" = "MD", both between quotes.')
    return value


def _known_keys(section: type[Section], value: object) -> object:
    """A free table has no keys of its own to compare with: what a mistyped one means is said here."""
    known = [field.alias or name for name, field in section.model_fields.items()]
    for key in value if isinstance(value, dict) else ():
        if key not in known:
            close = get_close_matches(key, known, n=1)
            raise Wrong(
                f'unknown key "{key[:40]}"', f'Did you mean "{close[0]}"?' if close else f"Known: {', '.join(known)}."
            )
    return value


class ShiftSettings(Section):
    """From field `from` of the standard on, the sender's fields stand `by` places to the right."""

    start: int = Field(ge=1, le=300, alias="from")
    by: int = Field(ge=-50, le=50)

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, value: object) -> object:
        return _known_keys(cls, value)


class FieldSettings(Section):
    """One field's row, in the notation of the packaged fields.toml."""

    to: str = ""
    rule: str = ""
    table: str = ""
    drop: str = ""
    when: str = ""
    authority: str = ""

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, value: object) -> object:
        return _known_keys(cls, value)

    def row(self) -> dict[str, str]:
        """What is said, without what is not."""
        return {name: value for name, value in self.model_dump().items() if value}


class PractitionerSettings(Section):
    """Who is a practitioner."""

    field: Annotated[str, Field(pattern=FIELD.pattern)] = setting("STF-4", "the field that holds the staff type")
    staff_types: Names = setting((), "codes of it that are practitioners; others are acknowledged and left alone")
    master_files: Names = setting((), "MFI-1 of files that hold practitioners; other files are left alone")


class PlaceholderSettings(Section):
    """Staff records that are no people."""

    keys: Names = setting((), "staff keys of nobody; * stands for any characters")
    names: Names = setting((), "names of nobody, FAMILY or FAMILY^GIVEN; * stands for any characters")


class ReviewSettings(Section):
    """Who looks after the map."""

    owner: str = setting("", "who answers for this map")
    next: Annotated[str, BeforeValidator(_day), Notation("day")] = setting("", "when it is to be looked through again")


class SiteMapSettings(Section):
    """A site's dialect. `name` is the file's name."""

    name: str = ""
    key: Names = setting((), 'where the staff key stands, in order: "MFE-4", "STF-1", "STF-2[EI]", "ZSF-3.1"')
    practitioners: PractitionerSettings = PractitionerSettings()
    placeholders: PlaceholderSettings = PlaceholderSettings()
    review: ReviewSettings = ReviewSettings()
    shift: Annotated[
        dict[str, tuple[ShiftSettings, ...]],
        BeforeValidator(_one_or_more),
        Notation("segment = { from = FIELD, by = PLACES }"),
    ] = setting({}, "fields that this sender has further to the right (by = 1) or left (by = -1)")
    fields: Annotated[
        dict[str, FieldSettings],
        AfterValidator(_fields),
        Notation("field = { to, rule, table, when, authority, drop }"),
    ] = setting({}, "how single fields are read, in place of the packaged rows; Z segments too")
    authorities: Annotated[dict[str, Uri], Notation("name = URI")] = setting(
        {}, "identifier system of an assigning authority, by the name that the sender gives it"
    )
    tables: Annotated[dict[str, Any], AfterValidator(_tables), Notation("number = file, or table of codes")] = setting(
        {}, 'local codes, by HL7 table number: "0182" = "0182.csv" (in conf/tables), or [tables.0182]'
    )


__all__ = ["FieldSettings", "ShiftSettings", "SiteMapSettings"]
