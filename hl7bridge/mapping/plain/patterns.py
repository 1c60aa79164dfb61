"""The plain form of each data type, as a pattern for one repetition.

What matches has no escape sequence, no null, no sub-component but those named, no control character and no outer blank,
and by its digits and letters can't be of another field (`rules.shapes`). What does not match may be right all the same:
its rule reads it.
"""

from __future__ import annotations

import re

from hl7bridge.mapping.rules.reading import UNUSED, FieldReader

_LETTER = "A-Za-zÀ-ÖØ-öø-ɏ"  # Latin: names in other scripts are read by the rules
_NAME = rf"[{_LETTER}][{_LETTER}'. -]*+(?<! )"
_GIVEN = rf"{_NAME}\d{{0,4}}"
_LINE = rf"(?!\d{{3}}[ .-]\d{{3}})[{_LETTER}\d][{_LETTER}\d'.,/ -]*+(?<! )"  # no telephone number
_POSTAL = r"[A-Z]{0,2}\d[A-Z\d-]{0,9}(?: [A-Z\d]{2,4})?"
_MARKS = frozenset("'.,/-+@_%() ")
"""What the patterns take for text: a sender who separates by one of them is read by the rules alone."""


class Patterns:
    """The plain forms, by the separators of a message. `usable` False: there are none."""

    def __init__(self, reader: FieldReader) -> None:
        marks = {reader.component, reader.repetition, reader.subcomponent, reader.escape}
        self.usable = _MARKS.isdisjoint(marks) and UNUSED not in (reader.component, reader.repetition)
        self.component = reader.component
        self.repetition = reader.repetition
        c, s = re.escape(reader.component), re.escape(reader.subcomponent)

        def some(first: str, *more: str) -> str:
            """The first component, and as many of the others as were sent."""
            tail = ""
            for part in reversed(more):
                tail = rf"(?:{c}({part})?{tail})?"
            return rf"({first}){tail}{c}*+"

        self.name = re.compile(some(_NAME, _GIVEN, _GIVEN, _NAME, _NAME, _NAME, "[A-Z]+"))
        """XPN.1 to .7: family, given, middle, suffix, prefix, degree, type."""
        self.telephone = re.compile(
            rf"{c}([A-Z]+){c}([A-Z]+){c}{c}\+?([1-9]\d{{0,2}}){c}(\d{{1,5}}){c}(\d{{4,7}}){c}*+"
        )
        """XTN.2, .3, .5 to .7: use, equipment, country, area, number."""
        self.old_telephone = re.compile(rf"([+(\d][\d() .-]*\d){c}([A-Z]+){c}([A-Z]+){c}*+")
        """XTN.1 to .3: number as one text, use, equipment."""
        self.address = re.compile(
            rf"({_LINE}){c}((?:{_LINE})?){c}({_NAME}){c}((?:{_NAME})?){c}({_POSTAL}){c}([A-Z]*){c}([A-Z]+){c}*+"
        )
        """XAD.1 to .7: street, other, city, state, postal code, country, type."""
        self.identifier = re.compile(
            rf"([A-Za-z0-9]+){c}{c}{c}([A-Za-z0-9_.-]{{0,40}})(?:{s}([\d.]{{1,60}}){s}(ISO))?{c}([A-Z]{{1,8}}){c}*+"
        )
        """CX.1, .4 (namespace, universal id and its type), .5: number, authority, type."""
        self.licence = re.compile(some("[A-Za-z0-9]+", "[A-Z]{1,8}", "[A-Za-z]{1,8}", r"\d{8}"))
        """PLN.1 to .4: number, type, state, expiry."""
        self.day_of = re.compile(rf"(\d{{8}})(?:{c}({_NAME}))?{c}*+")
        """DIN: a day, and the code of the institution."""
        self.mail = re.compile(r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
        self.day = re.compile(r"(?:19|20)\d{6}", re.ASCII)
