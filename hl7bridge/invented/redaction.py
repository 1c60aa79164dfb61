"""A message with its people replaced: structure, codes, times of the message and of employment as they were.

What stays is listed in redaction.toml, field by field; everything that is not listed is replaced, Z segments and unknown
fields included. Separators, escape sequences, line endings and the character set stay, byte for byte.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Container, Mapping
from functools import cache, lru_cache
from importlib.resources import files

from hl7bridge.hl7.boundaries import BYTE_ORDER_MARK
from hl7bridge.hl7.escapes import Separators, separators_of, unescape
from hl7bridge.hl7.message import NULL, Message
from hl7bridge.invented.pseudonyms import Pseudonyms, when

_HEADERS = frozenset({"MSH", "FHS", "BHS"})
_ENVELOPE = frozenset({"MSH", "FHS", "BHS"})
_SAYING = re.compile(r"[^\W_]|[^\x00-\x7f]")
_KEEP, _TEXT, _WHEN = "keep", "text", "when"
_DIGITS = {"number": 3, "count": 10}  # the most that each may have
_VERBATIM, _SYSTEM, _AUTHORITY, _UNIVERSAL = "verbatim", "system", "authority", "universal"
_KEPT = frozenset({_KEEP, _WHEN, _VERBATIM, _SYSTEM, _AUTHORITY, _UNIVERSAL, "number", "count"})
_DIGIT = re.compile("[0-9]")
_SOMEBODYS = frozenset({"key", "identifier", "name", "person", "contact", "mail"})
_CODE = re.compile(r"HL7\d{4}|ISO\d{3,5}(?:-\d)?|\d{3}[0-9A-Z]{6}X")  # names of tables, and codes of the NUCC taxonomy
_UNIVERSAL_ID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){3,}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_TELLING = 4  # characters: a shorter name or number elsewhere is as well a code
_TELEPHONE_CODES = " WPN PRN ORN VHN PRS ASN BPN EMR NET PH FX MD CP SAT BP TDD TTY Internet X.400 "
"""Tables 0201 and 0202: they show that a telephone was shifted to where it stands, and name nobody."""

_PLAIN_ESCAPES = frozenset("FSTREPHN")


def redact(message: Message, pseudonyms: Pseudonyms, known: Container[str] | None = None) -> bytes:
    """The message's bytes with pseudonyms in place of what identifies people, in its own character set.

    A name, number or address that stands in a field that is kept (a shifted one, a code that is none) is replaced there,
    too, if another field of the message shows what it is; a field of a time keeps a valid time alone. With `known`, the
    codes and authorities that tables know, nothing else stays but valid times, numbers and universal ids in their places.
    """
    start = len(BYTE_ORDER_MARK) if message.raw.startswith(BYTE_ORDER_MARK) else 0
    text = message.raw[start:].decode(message.codec)
    work = _Redaction(message.separators, message.codec, pseudonyms, known)
    for kept_too in (False, True):
        work.kept_too = kept_too
        pieces, at, work.person = [], 0, ""
        for segment in message.segments:
            found = text.index(segment.text, at)
            pieces.append(text[at:found])
            at = found + len(segment.text)
            if segment.name == "MFE":
                work.person = segment.value(4)
            elif segment.name == "STF":
                work.person = segment.value(1) or work.person
            pieces.append(work.segment(segment.name, segment.text))
        pieces.append(text[at:])
    return message.raw[:start] + "".join(pieces).encode(message.codec, "replace")


def redact_between(raw: bytes, pseudonyms: Pseudonyms) -> bytes:
    """What stands between the messages of a file: line ends and frames as they are; of FHS, BHS, BTS and FTS, names and
    comments are replaced, and any other text as well."""
    return b"".join(
        _wrapper(line, pseudonyms) if line.strip(b"\r\n\x0b\x1c \t\0") else line
        for line in re.split(b"([\r\n\x0b\x1c]+)", raw)
    )


def _wrapper(line: bytes, pseudonyms: Pseudonyms) -> bytes:
    bare = line.removeprefix(BYTE_ORDER_MARK)
    text = bare.decode("latin-1")
    name = text[:3]
    marks = text.split(text[3:4])[1] if name in _HEADERS and len(text) > 4 else "^~\\&"
    replaced = _Redaction(separators_of(text[3:4] or "|", marks), "latin-1", pseudonyms).segment(name, text)
    return line[: len(line) - len(bare)] + replaced.encode("latin-1", "replace")


@cache
def _table() -> dict[str, dict[str, str]]:
    """Segment -> field -> what it holds ("*" = every other field)."""
    read: dict[str, dict[str, str]] = _document()["segments"]
    return read


@cache
def _datatypes() -> dict[str, dict[str, str]]:
    read: dict[str, dict[str, str]] = _document()["datatypes"]
    return read


@cache
def _document() -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads(files(__package__).joinpath("redaction.toml").read_text(encoding="utf-8"))


@cache
def _structure() -> frozenset[str]:
    """The codes of message structure, which a strict copy keeps beside what the mapping's tables know."""
    return frozenset().union(*_document()["tables"].values())


@lru_cache(maxsize=256)
def _escapes(mark: str) -> re.Pattern[str]:
    return re.compile(f"({re.escape(mark)}[^{re.escape(mark)}]*{re.escape(mark)})")


class _Redaction:
    """Replaces the values of one message, segment by segment.

    person    whose dates are being shifted
    kept_too  whether what is kept is looked at, for values that are known to be somebody's
    """

    def __init__(
        self, separators: Separators, codec: str, pseudonyms: Pseudonyms, known: Container[str] | None = None
    ) -> None:
        self.person = ""
        self.kept_too = False
        self._separators = separators
        self._codec = codec
        self._pseudonyms = pseudonyms
        self._known = known
        self._somebodys: dict[str, str] = {}

    def segment(self, name: str, text: str) -> str:
        """One segment as it may be shown; `name` "" for a line that begins with none."""
        mark = self._separators.field
        if not name:
            return mark.join(self._field(_TEXT, part) for part in text.split(mark))
        fields = text.split(mark)
        kinds = _table().get(name, {})
        first = 2 if name in _HEADERS else 1  # MSH-1 is the separator itself
        for index in range(1, len(fields)):
            kind = kinds.get(str(index + first - 1)) or kinds.get("*", _TEXT)
            if fields[index] and self._is_looked_at(name, kind):
                fields[index] = self._field(kind, fields[index])
        return mark.join(fields)

    def _is_looked_at(self, name: str, kind: str) -> bool:
        """Whether a field may change: what is kept is looked at in the second pass, of a header only strictly."""
        if kind not in (_KEEP, _SYSTEM):
            return kind != _VERBATIM
        return self.kept_too and (self._known is not None or name not in _ENVELOPE)

    def _field(self, kind: str, raw: str) -> str:
        if raw == NULL:
            return raw
        datatype = _datatypes().get(kind)
        repetitions = _split(raw, self._separators.repetition)
        return self._separators.repetition.join(self._repetition(kind, datatype, part) for part in repetitions)

    def _repetition(self, kind: str, datatype: Mapping[str, str] | None, raw: str) -> str:
        mark = self._separators.component
        found = []
        for number, component in enumerate(_split(raw, mark), 1):
            what = kind if datatype is None else datatype.get(str(number)) or datatype.get("*", _TEXT)
            found.append(self._component(what, component))
            if kind in _SOMEBODYS and what not in _KEPT and len(component) >= _TELLING:
                self._somebodys[component] = found[-1]
        return mark.join(found)

    def _component(self, what: str, raw: str) -> str:
        mark = self._separators.subcomponent
        parts = _split(raw, mark)
        if what == _AUTHORITY:
            kinds = (_KEEP, _UNIVERSAL, *[_KEEP] * len(parts))
            return mark.join(self._leaf(kind, part) for kind, part in zip(kinds, parts, strict=False))
        return mark.join(self._leaf(what, part) for part in parts)

    def _leaf(self, what: str, raw: str) -> str:
        value = raw.strip()
        if value == NULL or not _SAYING.search(value):
            return raw
        if what in (_KEEP, _UNIVERSAL):
            if self._stays(what, value):
                return raw
            return raw.replace(value, self._somebodys.get(value) or self._shaped(value), 1)
        if what == _WHEN:
            return raw.replace(value, when(value) or self._shaped(_DIGIT.sub("9", value)), 1)
        if what in _DIGITS and value.isascii() and value.isdecimal() and len(value) <= _DIGITS[what]:
            return raw
        if what == _TEXT and f" {value} " in _TELEPHONE_CODES:
            return raw
        if what == _TEXT or what in _DIGITS:
            replaced = self._shaped(value)
        else:
            plain = unescape(value, self._separators, self._codec) if self._escaped(value) else value
            replaced = self._replacement(what)(plain)
            if self._escaped(replaced):
                replaced = self._shaped(value)
        return raw.replace(value, replaced, 1)

    def _stays(self, what: str, value: str) -> bool:
        """Whether a value of a field that is kept does stay."""
        if value in self._somebodys or not self.kept_too:
            return value not in self._somebodys
        if self._known is None or value in self._known or value in _structure():
            return True
        return bool(_CODE.fullmatch(value) or (what == _UNIVERSAL and _UNIVERSAL_ID.fullmatch(value)))

    def _escaped(self, value: str) -> bool:
        return bool(self._separators.escape) and self._separators.escape in value

    def _replacement(self, what: str) -> Callable[[str], str]:
        if what == "date":
            return lambda text: self._pseudonyms.shifted(text, self.person)
        replacement: Callable[[str], str] = getattr(self._pseudonyms, what)
        return replacement

    def _shaped(self, value: str) -> str:
        """Text in its shape; escape sequences stay, but for characters hidden in them (`\\X..\\`)."""
        if not self._escaped(value):
            return self._pseudonyms.text(value)
        pieces = _escapes(self._separators.escape).split(value)
        replaced = self._pseudonyms.text("".join(pieces[::2]))
        found, at = [], 0
        for index, piece in enumerate(pieces):
            if index % 2:
                found.append(self._sequence(piece))
            else:
                found.append(replaced[at : at + len(piece)])
                at += len(piece)
        return "".join(found)

    def _sequence(self, sequence: str) -> str:
        inner = sequence[1:-1]
        if inner[:1] == "X":
            return sequence[0] + "X" + re.sub("..", "78", inner[1:]) + sequence[-1]
        if inner[:1] == "Z" or (inner not in _PLAIN_ESCAPES and inner[:1] not in ".CM"):
            return sequence[0] + inner[:1] + self._pseudonyms.text(inner[1:]) + sequence[-1]
        return sequence


def _split(text: str, mark: str) -> list[str]:
    return text.split(mark) if mark else [text]
