"""Separators, and the escape sequences that let them stand in data.

HL7 v2.5.1 chapter 2: 2.5.4 (message delimiters), 2.7 (use of escape sequences in text fields); `\\P\\` came with v2.7.
Sequences are resolved after splitting, never before, and do not nest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import lru_cache

DEFAULT_ENCODING_CHARACTERS = "^~\\&"


@dataclass(frozen=True, slots=True)
class Separators:
    """The delimiters of one message, each one character; "" when MSH-2 leaves the place out (then it is not in use)."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""
    usable: bool = dataclass_field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """`usable` says whether data can be told from delimiters: printable ASCII, no letter, no digit, no blank."""
        characters = self.field + self.encoding_characters
        usable = (
            characters.isascii() and characters.isprintable() and not any(c.isalnum() or c == " " for c in characters)
        )
        object.__setattr__(self, "usable", usable)

    @property
    def encoding_characters(self) -> str:
        """The text of MSH-2 that says the same."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


def separators_of(field: str, encoding_characters: str) -> Separators:
    """The delimiters that MSH-1 and MSH-2 name.

    An empty MSH-2 means the recommended ones. In a shorter one the places left out are not in use. A character named
    twice counts once, where it stands first: two backslashes (a sender's own escaping gone wrong) are one.
    """
    if len(encoding_characters) > _MOST:  # kept by what counts of it, not by what was sent
        encoding_characters = "".join(dict.fromkeys(encoding_characters.replace(field, "")))[:_MOST]
    return _separators_of(field, encoding_characters)


_MOST = 5  # encoding characters of MSH-2


@lru_cache(maxsize=64)
def _separators_of(field: str, encoding_characters: str) -> Separators:
    if not encoding_characters:
        return Separators(field, *("" if mark == field else mark for mark in DEFAULT_ENCODING_CHARACTERS))
    distinct = "".join(dict.fromkeys(encoding_characters.replace(field, "")))
    return Separators(field, *distinct, *([""] * (_MOST - len(distinct))))


def escape(text: str, separators: Separators) -> str:
    """Text as it may stand in a field: separators, line breaks and the MLLP block characters become escape sequences.

    Without an escape character in MSH-2 there is no way to say them: each becomes a blank.
    """
    return text.translate(escaping(separators))


@lru_cache(maxsize=64)
def escaping(separators: Separators) -> dict[int, str]:
    """The table of `escape`, for `str.translate`."""
    mark = separators.escape
    names = {
        "\r": "X0D",
        "\n": ".br",
        "\x0b": "X0B",
        "\x1c": "X1C",
        separators.truncation: "P",
        separators.subcomponent: "T",
        separators.repetition: "R",
        separators.component: "S",
        separators.field: "F",
        mark: "E",
    }
    return {ord(character): f"{mark}{name}{mark}" if mark else " " for character, name in names.items() if character}


def unescape(text: str, separators: Separators, codec: str = "utf-8") -> str:
    """Resolve the escape sequences of one field, component or sub-component.

    `\\F\\ \\S\\ \\T\\ \\R\\ \\E\\ \\P\\` become their separators, `\\Xhh..\\` the characters that these bytes are in
    `codec`, `\\.br\\` a newline. Highlighting (`\\H\\ \\N\\`), switches of the character set (`\\C..\\ \\M..\\`) and
    locally defined sequences (`\\Z..\\`) have no text and are left out. Everything else, such as a lone backslash or
    an unknown sequence, stays as it is.
    """
    if not separators.escape or separators.escape not in text:
        return text
    pattern, replacements = _sequences(separators)
    pieces: list[str] = []
    run: list[
        str
    ] = []  # the hexadecimal digits of sequences side by side: a sender may write one per byte of a character
    beside = f"{separators.escape * 2}X"
    begun = done = 0  # where that run began, and how far the text is read
    for match in pattern.finditer(text):
        (start, end), (name, data) = match.span(), match.groups()
        if run and (data is None or start != done):
            pieces.append(_characters(run, text[begun:done], codec))
            run = []
        if start != done:
            pieces.append(text[done:start])
        if data is not None:
            begun = begun if run else start
            run.append(data.replace(beside, ""))
        elif name is not None:
            pieces.append(replacements.get(name.upper(), ""))
        done = end
    if run:
        pieces.append(_characters(run, text[begun:done], codec))
    pieces.append(text[done:])
    return "".join(pieces)


def _characters(run: list[str], sent: str, codec: str) -> str:
    """What the digits of a run say, or what was sent where they say nothing in `codec`."""
    try:
        return bytes.fromhex("".join(run)).decode(codec)
    except (ValueError, LookupError):
        return sent


# \Cxxyy\ and \Mxxyyzz\ switch the character set (2.7.2), \Zdd..\ is locally defined (2.7.7); dd are hexadecimal digits,
# so that the folder names in \\server\Charts\Zoe stay what they are.
_SILENT = "(?:C[0-9A-Fa-f]{4}|M[0-9A-Fa-f]{4}(?:[0-9A-Fa-f]{2})?|Z[0-9A-Fa-f]+)"


_SIDE_BY_SIDE = 999  # sequences that are found in one step: a step through megabytes would let no other thread work


@lru_cache(maxsize=64)
def _sequences(separators: Separators) -> tuple[re.Pattern[str], dict[str, str]]:
    """The pattern of the known sequences, and what stands for the named ones."""
    mark = re.escape(separators.escape)
    named = "[FSTREHN]|P|\\.(?:br|BR)" if separators.truncation else "[FSTREHN]|\\.(?:br|BR)"
    pattern = re.compile(
        f"{mark}(?:({named})|X((?:[0-9A-Fa-f]{{2}})+(?:{mark}{mark}X(?:[0-9A-Fa-f]{{2}})+){{0,{_SIDE_BY_SIDE}}})|{_SILENT}){mark}"
    )
    replacements = {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent,
        "R": separators.repetition,
        "E": separators.escape,
        "P": separators.truncation,
        ".BR": "\n",
    }
    return pattern, replacements


def drops_text(text: str, separators: Separators) -> bool:
    """Whether `unescape` leaves out a sequence that may have carried meaning: a switch of the set, or a local one."""
    mark = separators.escape
    return bool(mark) and mark in text and _silent_sequence(mark).search(text) is not None


@lru_cache(maxsize=16)
def _silent_sequence(mark: str) -> re.Pattern[str]:
    return re.compile(re.escape(mark) + _SILENT + re.escape(mark))
