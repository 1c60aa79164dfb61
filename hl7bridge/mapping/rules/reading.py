"""Field text -> components, quickly: the innermost loop of the mapping.

Splits what a rule asks for with `str.split`, and takes the slower road (sub-components, escape sequences, nulls, control
characters) only where a character in the text calls for it. All text that leaves here is stripped of surrounding blanks
and fit for a FHIR string: no control characters but tab and line breaks, no blanks but the plain one.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hl7bridge.hl7.escapes import Separators, drops_text, unescape
from hl7bridge.mapping.rules.shapes import glances

NULL = '""'

UNUSED = "\udfff"
"""Stands for a separator that MSH-2 leaves out. No character set decodes to it, so that no text is ever split there."""

_ABSENT = ("",) * 20  # no data type read here has more components
_ODD_BLANKS = "\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_CLEAN: dict[int, str | None] = {
    **{code: None for code in range(32) if chr(code) not in "\t\n\r"},
    0x7F: None,
    **{ord(character): " " for character in _ODD_BLANKS},
}


class FieldReader:
    """Splits the fields of one message. `parts` and `leaf` give text; `repetitions` and `subparts` keep what is inside."""

    __slots__ = (
        "_blank_after",
        "_blank_before",
        "_codec",
        "_glances",
        "_no_text",
        "_separators",
        "component",
        "escape",
        "field",
        "repetition",
        "subcomponent",
    )

    def __init__(self, separators: Separators, codec: str) -> None:
        self._separators = separators
        self._codec = codec
        self.field = separators.field
        self.component = separators.component or UNUSED
        self.repetition = separators.repetition or UNUSED
        self.escape = separators.escape or UNUSED
        self.subcomponent = separators.subcomponent or UNUSED
        self._no_text = re.compile(re.escape(self.escape) + r"[HN]" + re.escape(self.escape))
        self._blank_before = " " + self.component
        self._blank_after = self.component + " "
        self._glances = glances(self.component, self.subcomponent)

    def repetitions(self, raw: str) -> list[str]:
        """The repetitions of a field as sent, empty ones included."""
        return raw.split(self.repetition)

    def parts(self, repetition: str) -> list[str]:
        """The components of a repetition, each the text of its first sub-component, and twenty "" for absent ones.

        A component that is null (`""`) is "", too.
        """
        found = repetition.split(self.component)
        if (
            self.subcomponent in repetition
            or self.escape in repetition
            or '"' in repetition
            or not repetition.isprintable()
        ):
            leaf = self.leaf
            found = [part if part.isalnum() or not part else leaf(part) for part in found]
        elif " " in repetition and self._has_outer_blanks(repetition):
            found = [part.strip() for part in found]
        found.extend(_ABSENT)
        return found

    def texts(self, repetition: str) -> list[str]:
        """As `parts`, of a data type whose components have no sub-components (CE, CWE): an `&` in one was not escaped, and
        is text, so that the units `R&D1` and `R&D2` are two."""
        if self.subcomponent not in repetition:
            return self.parts(repetition)
        return [*map(self._text, repetition.split(self.component)), *_ABSENT]

    def looks_foreign(self, raw: str, data_type: str) -> bool:
        """Whether a field is worth a look, for it may hold what can't be of its type (`shapes.glances`)."""
        if data_type not in self._glances:
            return False
        mark, pattern = self._glances[data_type]
        if mark in raw or self.escape in raw or '"' in raw or not raw.isprintable():
            return True
        if self.repetition in raw:
            return any(map(pattern.match, raw.split(self.repetition)))
        return pattern.match(raw) is not None

    def _has_outer_blanks(self, repetition: str) -> bool:
        return (
            self._blank_before in repetition
            or self._blank_after in repetition
            or repetition[0] == " "
            or repetition[-1] == " "
        )

    def is_blank(self, text: str) -> bool:
        """Whether nothing but blanks and nulls stands in any part of a field or repetition."""
        parts = text.replace(self.repetition, self.component).replace(self.subcomponent, self.component)
        return all(part.strip() in ("", NULL) for part in parts.split(self.component))

    def is_null(self, text: str) -> bool:
        """Whether a field says null (2.5.3): `""`, as a whole or in each of its parts that has anything."""
        return text == NULL or (NULL in text and self.is_blank(text))

    def subparts(self, repetition: str, component: int) -> list[str]:
        """The sub-components of one component (1-based) as text, and twenty "" for absent ones."""
        components = repetition.split(self.component)
        found = []
        if component <= len(components):
            leaf = self.leaf
            parts = components[component - 1].split(self.subcomponent)
            found = [part if part.isalnum() or not part else leaf(part) for part in parts]
        found.extend(_ABSENT)
        return found

    def leaf(self, text: str) -> str:
        """The text of a component's first sub-component: unescaped, cleaned, stripped; "" for null."""
        return self._text(text.split(self.subcomponent, 1)[0] if self.subcomponent in text else text)

    def _text(self, text: str) -> str:
        if self.escape in text:
            text = unescape(text, self._separators, self._codec)
        if not text.isprintable():
            text = text.translate(_CLEAN)
        text = text.strip()
        return "" if text == NULL else text

    def whole(self, text: str) -> str | None:
        """The text of a component that identifies (a key, CX.1, XCN.1, PLN.1): all of it, or None where it could not be kept
        as sent. "" for an empty one and for null.

        Such a component has no sub-components (CWE.1, CX.1: ST), so that a separator of theirs is a character that the
        sender did not escape. Nothing is left out: a text with a control character, an unusual blank, or an escape sequence
        that has no text of its own would become another key, perhaps somebody else's. Plain blanks around it have no
        meaning (2.A.75, ST).
        """
        if text.isalnum():
            return text
        if self.escape in text:
            if drops_text(text, self._separators) or self._no_text.search(text):
                return None
            text = unescape(text, self._separators, self._codec)
        text = text.strip(" ")
        if not text.isprintable():
            return None
        return "" if text == NULL else text

    def identifier(self, repetition: str) -> str | None:
        """The first component of a repetition, `whole`."""
        return self.whole(repetition.split(self.component, 1)[0])

    def code(self, repetition: str, component: int) -> str:
        """A component (1-based) that is a code, of which nothing is cut off either: `L&I`; "" where it cannot be kept."""
        parts = repetition.split(self.component, component)
        return (self.whole(parts[component - 1]) or "") if component <= len(parts) else ""

    def key(self, raw: str) -> str | None:
        """What a field that may hold one key says, "" where it says nothing; None where it cannot be kept as sent, or where
        repetitions differ: which of them it is, nobody can tell."""
        if self.repetition not in raw:
            return self.identifier(raw)
        found = {self.identifier(repetition) for repetition in raw.split(self.repetition)} - {""}
        return "" if not found else found.pop() if len(found) == 1 else None

    def first(self, raw: str) -> str:
        """The text of the first component of the first repetition that has one: for fields that may not repeat."""
        if raw.isalnum():
            return raw
        text = raw.split(self.component, 1)[0]
        if text.isalnum():
            return text
        for repetition in raw.split(self.repetition):
            text = self.leaf(repetition.split(self.component, 1)[0])
            if text:
                return text
        return ""


@lru_cache(maxsize=64)
def reader_of(separators: Separators, codec: str) -> FieldReader:
    """The reader of messages with these separators, read by this codec: message after message has the same."""
    return FieldReader(separators, codec)
