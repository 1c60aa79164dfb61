"""What an answer repeats of the header that it answers: each value in a form that is valid in the answer itself.

A header may be damaged anywhere, and a value that is copied unseen makes an answer that its sender cannot read: a character
set in which the answer is not written, a version that nobody defined, separators that separate nothing. Only MSH-10 goes
back byte for byte, for by it alone the sender finds what is answered.

HL7 v2.5.1 chapter 2: 2.5.4 (delimiters), 2.15.9 (MSH). Tables 0103, 0104, 0207, 0211, 0356.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hl7bridge.errors import MessageError
from hl7bridge.hl7.charset import AMBIGUOUS, codec_of_field, name_in_table
from hl7bridge.hl7.escapes import DEFAULT_ENCODING_CHARACTERS, Separators, escaping, separators_of, unescape
from hl7bridge.hl7.header import Header
from hl7bridge.model.remembering import remembered

Version = tuple[int, int]
"""2.5.1 as (5, 1), 2.4 as (4, 0)."""

V2_1, V2_2, V2_3, V2_3_1, V2_5, V2_6, V2_7 = (1, 0), (2, 0), (3, 0), (3, 1), (5, 0), (6, 0), (7, 0)

# Table 0104.
_VERSIONS: tuple[Version, ...] = (
    *((1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (4, 0), (5, 0), (5, 1)),
    *((6, 0), (7, 0), (7, 1), (8, 0), (8, 1), (8, 2), (9, 0), (9, 1)),
)
_VERSION = re.compile(r"2\.(\d{1,2})(?:\.(\d{1,2}))?(?:\.\d{1,2})?")

_NEEDED = "."
"""Stands in every version number: as a separator it would cut MSH-12."""

_LONGEST_NAME = 227
"""Characters of MSH-3 to MSH-6: what is longer is no name."""

_PROCESSING_IDS, _PROCESSING_MODES = frozenset("DPTN"), frozenset("ARIT")
_SCHEMES = frozenset({"ISO 2022-1994", "2.3"})
_EVENT = re.compile("[A-Z][A-Z0-9][0-9]|Z[A-Z0-9]{2}")

# ESC alone of the control characters has a meaning in text: it switches between Japanese sets.
_CONTROLS = dict.fromkeys(code for code in (*range(32), 127) if code != 27)


@remembered(256)
def version_of(text: str) -> Version | None:
    """The version of table 0104 that a text means: "2.5.7", which nobody defined, is 2.5.1; None for no version at all."""
    match = _VERSION.fullmatch(text.strip())
    if not match:
        return None
    said = int(match.group(1)), int(match.group(2) or 0)
    return max((one for one in _VERSIONS if one[0] == said[0] and one <= said), default=None)


def version_text(version: Version) -> str:
    """As MSH-12 says it: `2.5.1`."""
    minor, patch = version
    return f"2.{minor}.{patch}" if patch else f"2.{minor}"


def separators_for(header: Header, version: Version) -> Separators:
    """The separators of an answer: those of the sender, with the recommended ones in the places that MSH-2 leaves out.

    The recommended ones alone where the sender's cannot separate anything, or would cut what every answer holds. A
    truncation character is known from 2.7 on.
    """
    sent = header.delimiters
    if _NEEDED in sent.field + sent.encoding_characters:
        sent = Separators()
    marks = [sent.component, sent.repetition, sent.escape, sent.subcomponent]
    free = [mark for mark in DEFAULT_ENCODING_CHARACTERS + "#@!%*" if mark != sent.field and mark not in marks]
    for place, mark in enumerate(marks):
        if not mark:
            usual = DEFAULT_ENCODING_CHARACTERS[place]
            marks[place] = usual if usual in free else free[0]
            free.remove(marks[place])
    truncation = sent.truncation if version >= V2_7 else ""
    return separators_of(sent.field, "".join(marks) + truncation)


def is_writable(text: str, separators: Separators) -> bool:
    """Whether text that knows no escape sequences (a code, a time) holds none of the separators."""
    return not any(mark in text for mark in separators.field + separators.encoding_characters)


def name(header: Header, number: int, separators: Separators, version: Version, codec: str) -> str:
    """MSH-3 to MSH-6 as an HD (2.A.33), before 2.3 as an ST. A separator that has no meaning there is text, and escaped.

    MSH-18, else `codec`, tells where a character of the sender's set only looks like a separator.
    """
    text = header.text(number)
    codec = _stated_codec(header) or codec
    wide = _wide(text, codec)
    if wide is not None:
        text = wide
    text = text.translate(_CONTROLS)
    if len(text) > _LONGEST_NAME:
        return ""
    sent = header.delimiters
    parts = text.split(sent.component)[:3] if sent.component and version >= V2_3 else [text]
    said = separators.component.join(_said(part, sent, separators) for part in parts)
    return said if wide is None else said.encode(codec).decode("latin-1")


def _stated_codec(header: Header) -> str:
    """The codec that MSH-18 names; "" where it names none that can be read."""
    try:
        return codec_of_field(header.charsets)
    except MessageError:
        return ""


def _wide(text: str, codec: str) -> str | None:
    """The characters of raw text in a set that has bytes of separators in its characters; None for any other set."""
    try:
        return text.encode("latin-1").decode(codec) if codec in AMBIGUOUS else None
    except UnicodeDecodeError:
        return None


def _said(part: str, sent: Separators, separators: Separators) -> str:
    """One part of a field of the header as text of the answer."""
    if (sent.field, sent.escape) != (separators.field, separators.escape):
        return unescape(part, sent, "latin-1").translate(escaping(separators))
    marks = {ord(mark): said for mark, said in _marks(separators) if mark in part}
    return part.translate(marks) if marks else part


@lru_cache(maxsize=64)
def _marks(separators: Separators) -> tuple[tuple[str, str], ...]:
    """The separators within a field, each with its escape sequence."""
    table = escaping(separators)
    marks = separators.component, separators.repetition, separators.subcomponent
    return tuple((mark, table[ord(mark)]) for mark in marks)


def trigger_event(header: Header) -> str:
    """MSH-9.2 where it has the form of a trigger event (table 0003), else ""."""
    event = header.trigger_event
    return event if _EVENT.fullmatch(event) else ""


def processing_id(header: Header, separators: Separators, version: Version) -> str:
    """MSH-11 (PT, 2.A.51): P where it names no processing id of table 0103; its mode from 2.3 on."""
    sent, mode = header.component(11, 1), header.component(11, 2)
    if sent not in _PROCESSING_IDS:
        return "P"
    return f"{sent}{separators.component}{mode}" if version >= V2_3 and mode in _PROCESSING_MODES else sent


def version_id(header: Header, separators: Separators, version: Version) -> str:
    """MSH-12 (VID, 2.A.83): the version in which the answer is written, and the sender's country and its version from
    2.3.1 on."""
    text = version_text(version)
    sent = header.text(12)
    parts = sent.split(separators.component)
    plain = separators == header.delimiters and sent.isprintable() and separators.repetition not in sent
    if version >= V2_3_1 and plain and len(parts) <= 3 and parts[0] == text:
        return sent
    return text


def character_set(header: Header, answer: bytes, mark: str, version: Version) -> str:
    """MSH-18 for an answer of those bytes, from 2.3 on: the sender's as table 0211 names it, if the answer can be read by
    it (further ones behind `mark`, a repetition separator). Else "" where it is plain ASCII, and otherwise a set by which
    it can be read."""
    if version < V2_3 or not any(header.charsets):
        return ""
    try:
        codec = codec_of_field(header.charsets)
        if _is_text(answer, codec or "ascii"):
            first, *others = map(name_in_table, header.charsets)
            return mark.join([first, *filter(None, others)]) if version >= V2_3_1 else first
    except MessageError:
        pass
    if answer.isascii():
        return ""
    return "UNICODE UTF-8" if _is_text(answer, "utf-8") else "8859/1"


def _is_text(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def set_handling(header: Header, version: Version) -> str:
    """MSH-20, from 2.3.1 on, where table 0356 has it."""
    text = header.text(20)
    return text if version >= V2_3_1 and text in _SCHEMES else ""
