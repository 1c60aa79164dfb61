"""The MSH segment alone, byte-faithful: all that routing, the duplicate rule and acknowledging need.

HL7 v2.5.1 chapter 2: 2.15.9 (MSH), 2.5.4 (delimiters). Where it ends: `boundaries`.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from hl7bridge.errors import MessageError, UnreadableMessage
from hl7bridge.hl7.boundaries import BYTE_ORDER_MARK, uses_line_feeds
from hl7bridge.hl7.charset import AMBIGUOUS, codec_of_field
from hl7bridge.hl7.escapes import Separators, separators_of
from hl7bridge.model import Location

NULL = '""'
"""A value that says "nothing" (2.5.3). In the header nothing is ever cleared: it counts as empty."""
_LEADING = b"\r\n \t\0"
_NEVER = " \n\x0b\x1c"
"""No field separators: an answer that is cut by them would end where its frame or its segment does not."""
_OF_EACH_MESSAGE = frozenset({7, 10})  # the fields that no two messages of a sender have alike

_Made = TypeVar("_Made")
_LONGEST, _MOST = 1024, 256  # bytes of a header whose consequences are kept, and for how many headers
_KNOWN: dict[tuple[str, ...], dict[Hashable, Any]] = {}


class Header:
    """The MSH segment as bytes of the message, each shown as the latin-1 character of that number.

    Raw text: escape sequences stand as sent; `text.encode("latin-1")` gives the bytes back. What is absent is "", and so
    is what was sent as `""`, but for `field`. `delimiters`: what separates the parts of this header, the recommended
    characters where MSH-2 names none that could.

    A sender's headers differ in MSH-7 and MSH-10 alone: what follows from all other fields is worked out `once` for them.
    """

    __slots__ = ("_fields", "_known", "delimiters", "separators")

    def __init__(self, fields: list[str], separators: Separators) -> None:
        self._fields = fields
        self._known = _known(separators.field, fields)
        self.separators = separators
        self.delimiters = separators if separators.usable else separators_of(separators.field, "")

    def field(self, number: int) -> str:
        """The raw text of MSH-`number` with all its repetitions, a null as sent; MSH-1 is the field separator."""
        if number == 1:
            return self.separators.field
        return self._fields[number - 1] if 1 < number <= len(self._fields) else ""

    def text(self, number: int) -> str:
        """The same, "" for a null."""
        text = self.field(number)
        return "" if text.strip() == NULL else text

    def once(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """What `make` gives, worked out once for every header that differs in MSH-7 and MSH-10 alone. `key`: names it."""
        known = self._known
        if key not in known:
            known[key] = make()
        made: _Made = known[key]
        return made

    def component(self, number: int, component: int) -> str:
        """The raw text of one component of the first repetition of MSH-`number`, surrounding blanks removed."""
        if number in _OF_EACH_MESSAGE:
            return self._component(number, component)
        key = number, component
        text: str | None = self._known.get(key)
        if text is None:
            text = self._known[key] = self._component(number, component)
        return text

    def _component(self, number: int, component: int) -> str:
        text = self.field(number)
        separators = self.delimiters
        if separators.repetition and separators.repetition in text:
            text = text.split(separators.repetition, 1)[0]
        if separators.component and separators.component in text:
            components = text.split(separators.component)
            text = components[component - 1] if component <= len(components) else ""
        elif component > 1:
            return ""
        text = text.strip()
        return "" if text == NULL else text

    def _coded(self, number: int, component: int) -> str:
        """The same of a code: what stands behind a sub-component separator is none of it."""
        text, mark = self.component(number, component), self.delimiters.subcomponent
        return text.split(mark, 1)[0].strip() if mark and mark in text else text

    @property
    def sending_application(self) -> str:
        """MSH-3, raw."""
        return self.text(3)

    @property
    def sending_facility(self) -> str:
        """MSH-4, raw."""
        return self.text(4)

    @property
    def message_time(self) -> str:
        """MSH-7, raw."""
        return self.text(7)

    @property
    def message_type(self) -> str:
        """MSH-9.1, table 0076."""
        return self._coded(9, 1)

    @property
    def trigger_event(self) -> str:
        """MSH-9.2, table 0003."""
        return self._coded(9, 2)

    @property
    def structure(self) -> str:
        """MSH-9.3, table 0354; often missing or wrong, so nothing is decided by it."""
        return self.component(9, 3)

    @property
    def control_id(self) -> str:
        """MSH-10, raw and untrimmed."""
        return self.text(10)

    @property
    def processing_id(self) -> str:
        """MSH-11.1, table 0103."""
        return self.component(11, 1)

    @property
    def version(self) -> str:
        """MSH-12.1, table 0104."""
        return self.component(12, 1)

    @property
    def accept_type(self) -> str:
        """MSH-15, table 0155."""
        return self.component(15, 1)

    @property
    def application_type(self) -> str:
        """MSH-16, table 0155."""
        return self.component(16, 1)

    @property
    def charset(self) -> str:
        """The first repetition of MSH-18, table 0211."""
        return self.component(18, 1)

    @property
    def charsets(self) -> tuple[str, ...]:
        """Every repetition of MSH-18."""
        return self.once("charsets", self._charsets)

    def _charsets(self) -> tuple[str, ...]:
        text, repetition = self.text(18), self.delimiters.repetition
        names = text.split(repetition) if repetition and repetition in text else (text,)
        return tuple("" if name.strip() == NULL else name for name in names)


def _known(separator: str, fields: list[str]) -> dict[Hashable, Any]:
    """Where headers like this one keep what follows from them."""
    key = (separator, *fields[:6], *fields[7:9], "", *fields[10:])
    known = _KNOWN.get(key)
    if known is None:
        known = {}
        if sum(map(len, key)) <= _LONGEST:
            if len(_KNOWN) >= _MOST:
                _KNOWN.clear()
            _KNOWN[key] = known
    return known


def header_fields(header: Header) -> dict[str, str]:
    """MSH-3 to MSH-12 by name, as `NewMessage.header` wants them."""
    of_sender = header.once("fields", lambda: _fields_of_sender(header))
    return {**of_sender, "message_time": header.message_time, "control_id": header.control_id}


def _fields_of_sender(header: Header) -> dict[str, str]:
    """The same, without what differs from message to message."""
    return {
        "sending_application": header.sending_application,
        "sending_facility": header.sending_facility,
        "message_time": "",
        "message_type": header.message_type,
        "trigger_event": header.trigger_event,
        "control_id": "",
        "processing_id": header.processing_id,
        "version": header.version,
    }


def read_header(raw: bytes, charset: str | Sequence[str] = ()) -> Header:
    """Read the MSH segment alone; a byte order mark, blank lines and blanks before it are skipped.

    A missing MSH-9 or MSH-10 reads as "". `charset`, the feed's for a blank MSH-18, matters only where a character of
    that set may hold the byte of the field separator. Raises UnreadableMessage (100) when no MSH segment comes first.
    """
    start = 0
    if not raw.startswith(b"MSH"):
        start = 3 if raw.startswith(BYTE_ORDER_MARK) else 0
        start = len(raw) - len(raw[start:].lstrip(_LEADING))
    end = raw.find(b"\r", start)
    if end < 0:
        end = len(raw)
    line_feed = raw.find(b"\n", start, end)
    if line_feed >= 0 and uses_line_feeds(raw, start):
        end = line_feed
    segment = raw[start:end]
    text = segment.decode("latin-1")
    separator = text[3:4]
    if text[:3] != "MSH" or not separator or separator.isalnum() or separator in _NEVER or not separator.isascii():
        raise UnreadableMessage("100", "not-hl7", "the message does not begin with an MSH segment", Location("MSH"))
    fields = text.split(separator)
    separators = separators_of(separator, "" if fields[1] == NULL else fields[1])
    if not segment.isascii() or b"\x1b" in segment:
        fields = _fields_of_wide_characters(segment, fields, separators, charset)
    return Header(fields, separators)


def _fields_of_wide_characters(
    segment: bytes, fields: list[str], separators: Separators, charset: str | Sequence[str]
) -> list[str]:
    """The fields of an MSH whose characters may hold a separator's byte (Big5, Shift_JIS, GB 18030, JIS).

    Such a byte moves everything behind it by a field, MSH-18 as well: so each field from there on is asked for the name
    of such a set, and believed where decoding by it puts that very name into MSH-18. Where MSH-18 is blank, the first of
    the feed's sets that can read the segment is believed.
    """
    splits = _Splits(segment, separators.field)
    for name in dict.fromkeys(field for field in fields[17:] if field):
        names = name.split(separators.repetition) if separators.repetition else [name]
        decoded = splits.by(names)
        if decoded == [] and fields[17:18] == [name]:
            return fields
        if decoded and decoded[17:18] == [name]:
            return decoded
    for name in (charset,) if isinstance(charset, str) else charset:
        decoded = splits.by([name])
        if decoded is not None:
            return decoded if decoded and decoded[17:18] in ([], [""], [NULL]) else fields
    return fields


class _Splits:
    """The raw fields of a segment by its characters, once for each codec: a header may name one set in a thousand ways."""

    def __init__(self, segment: bytes, separator: str) -> None:
        self._segment, self._separator = segment, separator
        self._by_codec: dict[str, list[str] | None] = {}

    def by(self, names: list[str]) -> list[str] | None:
        """Split by the set that the repetitions of MSH-18 name; [] where it needs no such care, None if it does not fit."""
        try:
            codec = codec_of_field(names) or "ascii"
        except MessageError:
            return None
        if codec not in self._by_codec:
            self._by_codec[codec] = self._split(codec)
        return self._by_codec[codec]

    def _split(self, codec: str) -> list[str] | None:
        segment, mark = self._segment, self._separator.encode("ascii")
        try:
            segment.decode(codec)
        except UnicodeDecodeError:
            return None
        if codec not in AMBIGUOUS:
            return []
        decoder = getincrementaldecoder(codec)()
        fields, start, read = [], 0, 0
        while (at := segment.find(mark, read)) >= 0:
            decoder.decode(segment[read:at])
            if decoder.decode(mark) == self._separator:  # and no part of a wider character
                fields.append(segment[start:at].decode("latin-1"))
                start = at + 1
            read = at + 1
        return [*fields, segment[start:].decode("latin-1")]
