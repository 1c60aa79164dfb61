"""The HL7 message: a lazy view over the bytes as received.

`Message` decodes once (MSH-18), cuts the text into segments, and splits a field only when it is read; nothing is ever
re-encoded. Numbers are 1-based as in the standard: `message.read("STF-3.1")`. What stands inside a field never raises.

HL7 v2.5.1 chapter 2: 2.5.3 (fields, and the null `""`), 2.5.4 (delimiters), 2.6.2 (rules for the recipient: what is not
known is not an error), 2.15.9 (MSH).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from hl7bridge.errors import UnreadableMessage
from hl7bridge.hl7 import charset as charsets
from hl7bridge.hl7.boundaries import BYTE_ORDER_MARK, lines_of, message_uses_line_feeds
from hl7bridge.hl7.escapes import Separators, drops_text, escape, unescape
from hl7bridge.hl7.header import NULL, Header, read_header
from hl7bridge.model import Finding, Location, Severity

__all__ = [
    "NULL",
    "Header",
    "Message",
    "Repetition",
    "Segment",
    "Separators",
    "codec_of_message",
    "escape",
    "location_of",
    "read_header",
    "unescape",
]

# In these, field 1 is the separator itself and field 2 holds the encoding characters.
_HEADERS = frozenset({"MSH", "FHS", "BHS"})
_LEADING = "\r\n \t\0"
_NAME = re.compile("[A-Z][A-Z0-9]{2}")
_VERBATIM = Separators("", "", "", "", "", "")
_LINE_FEED_IN_TEXT = (
    "a line feed stands before what looks like a segment: read as text, for the segments of this message end in CR"
)


class Repetition:
    """One repetition of a field; split when read."""

    __slots__ = ("_codec", "_components", "_separators", "raw")

    def __init__(self, raw: str, separators: Separators, codec: str) -> None:
        self.raw = raw
        self._separators = separators
        self._codec = codec
        self._components: list[str] | None = None

    def _split(self) -> list[str]:
        if self._components is None:
            separator = self._separators.component
            self._components = self.raw.split(separator) if separator else [self.raw]
        return self._components

    @property
    def components(self) -> int:
        """How many components were sent; 0 for an empty repetition."""
        return len(self._split()) if self.raw else 0

    @property
    def text(self) -> str:
        """The whole repetition, escape sequences resolved; component separators stand as sent."""
        return unescape(self.raw, self._separators, self._codec)

    def raw_component(self, component: int) -> str:
        """One component as sent, still escaped, with all its sub-components."""
        components = self._split()
        return components[component - 1] if 0 < component <= len(components) else ""

    def component(self, component: int, subcomponent: int = 1) -> str:
        """The text of one component, escape sequences resolved; "" when absent or null (`is_null` tells which).

        The first sub-component unless another is asked for; 0 asks for the whole component, `&` and all.
        """
        return _text_of(self.raw_component(component), subcomponent, self._separators, self._codec)

    def subcomponents(self, component: int) -> list[str]:
        """The texts of one component's sub-components, escape sequences resolved; a null stands as `""`."""
        raw, mark = self.raw_component(component), self._separators.subcomponent
        parts = raw.split(mark) if mark else [raw]
        return [unescape(part, self._separators, self._codec) for part in parts]

    def is_null(self, component: int = 0) -> bool:
        """Whether `""` was sent: as this component, or (0) as the whole repetition."""
        return (self.raw_component(component) if component else self.raw) == NULL


class Segment:
    """One segment; its fields are split when the first of them is read.

    name         three characters ("STF"); "" when the line does not begin with a segment name
    occurrence   1-based among the segments of that name in the message
    text         the segment as sent, without its line ending
    """

    __slots__ = ("_codec", "_fields", "_separators", "name", "occurrence", "text")

    def __init__(self, text: str, name: str, occurrence: int, separators: Separators, codec: str) -> None:
        self.text = text
        self.name = name
        self.occurrence = occurrence
        self._separators = separators
        self._codec = codec
        self._fields: list[str] | None = None

    def _split(self) -> list[str]:
        fields = self._fields
        if fields is None:
            separator = self._separators.field
            fields = self.text.split(separator)
            if self.name in _HEADERS:
                fields.insert(1, separator)
            self._fields = fields
        return fields

    @property
    def fields(self) -> int:
        """The number of the last field that was sent, empty or not."""
        return len(self._split()) - 1

    def raw(self, number: int) -> str:
        """The text of field `number` as sent, escaped, with all repetitions; "" when absent."""
        fields = self._split()
        return fields[number] if 0 < number < len(fields) else ""

    def is_null(self, number: int) -> bool:
        """Whether the field is `""`: the sender asks to clear it (2.5.3)."""
        return self.raw(number) == NULL

    def is_present(self, number: int) -> bool:
        """Whether anything was sent, `""` included; an empty field says "unchanged"."""
        return self.raw(number) != ""

    def repetitions(self, number: int) -> list[Repetition]:
        """The repetitions of a field, empty ones between `~` included; [] for an empty field."""
        text = self.raw(number)
        if not text:
            return []
        separators = self._separators
        if number <= 2 and self.name in _HEADERS:
            separators = _VERBATIM
        mark = separators.repetition
        if not mark or mark not in text:
            return [Repetition(text, separators, self._codec)]
        return [Repetition(part, separators, self._codec) for part in text.split(mark)]

    def value(self, number: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """The text at that place, escape sequences resolved; "" when absent or null (`is_null` tells which).

        As everywhere in HL7, a missing split reads as the first part: `A` and `A^Active` both have `A` as component 1.
        `component=0` asks for the whole repetition, `subcomponent=0` for the whole component.
        """
        fields = self._split()
        if not 0 < number < len(fields):
            return ""
        text = fields[number]
        if not text:
            return ""
        if number <= 2 and self.name in _HEADERS:
            return text if component <= 1 and subcomponent <= 1 and repetition == 1 else ""
        separators = self._separators
        mark = separators.repetition
        if mark and mark in text:
            repetitions = text.split(mark)
            text = repetitions[repetition - 1] if 0 < repetition <= len(repetitions) else ""
        elif repetition != 1:
            return ""
        if not component:
            return "" if text == NULL else unescape(text, separators, self._codec)
        mark = separators.component
        if mark and mark in text:
            components = text.split(mark)
            text = components[component - 1] if component <= len(components) else ""
        elif component != 1:
            return ""
        return _text_of(text, subcomponent, separators, self._codec)

    def __repr__(self) -> str:
        return f"<Segment {self.name} {self.occurrence}>"


def _text_of(component: str, subcomponent: int, separators: Separators, codec: str) -> str:
    if subcomponent:
        mark = separators.subcomponent
        if mark and mark in component:
            parts = component.split(mark)
            component = parts[subcomponent - 1] if subcomponent <= len(parts) else ""
        elif subcomponent != 1:
            return ""
    if component == NULL:
        return ""
    mark = separators.escape
    return unescape(component, separators, codec) if mark and mark in component else component


class Message:
    """A message as received, read lazily and never changed.

    raw          the bytes, as given
    header       its MSH, byte-faithful
    codec        the Python codec that read it
    separators   of MSH-1 and MSH-2
    segments     all segments in order; blank lines are not segments
    line_feed_is_text  whether it holds a LF that ends no segment
    line_ending  what ends the first segment: "\\r" (the standard's), "\\n", "\\r\\n"; "\\r" when there is but one segment

    Segments end at CR; at LF only where MSH does (`boundaries`). Any other LF is text.
    """

    __slots__ = ("_by_name", "codec", "header", "line_ending", "line_feed_is_text", "raw", "segments", "separators")

    def __init__(self, raw: bytes, charset: str | Sequence[str] = "utf-8", *, codec: str = "") -> None:
        """Decode and cut. MSH-18 decides the character set; `charset` (one name, or several tried in order) a blank one.
        `codec`: that of the whole message, where `raw` is a part of it (`codec_of_message`).

        Raises UnreadableMessage when MSH is not readable or a byte does not belong to the set, UnsupportedMessage when
        MSH-18 names a set that cannot be read.
        """
        self.raw = raw
        self.header = header = read_header(raw, charset)
        self.separators = separators = header.separators
        if not separators.usable:
            raise UnreadableMessage(
                "102",
                "encoding-characters",
                "MSH-2 must hold the encoding characters, such as ^~\\&, and neither letters, digits nor blanks",
                Location("MSH", 1, 2),
            )
        text, self.codec = (_without_mark(raw).decode(codec), codec) if codec else _decode(raw, header, charset)
        line_feed = "\n" in text
        line_feeds = line_feed and message_uses_line_feeds(raw)
        lines = lines_of(text, line_feeds)
        self.line_ending = "\n" if line_feeds else "\r\n" if line_feed and _ends_in_cr_lf(text) else "\r"
        self.line_feed_is_text = line_feed and not line_feeds
        by_name: dict[str, list[Segment]] = {}
        self._by_name = by_name
        segments: list[Segment] = []
        self.segments = segments
        field, codec = separators.field, self.codec
        for line in lines:
            name = line[:3]
            namesakes = by_name.get(name)
            if namesakes is None or line[3:4] != field:
                if line[3:4] != field or not _NAME.fullmatch(name):
                    if not line.strip():
                        continue
                    name = _odd_name(line, field)
                namesakes = by_name.setdefault(name, [])
            segment = Segment(line, name, len(namesakes) + 1, separators, codec)
            namesakes.append(segment)
            segments.append(segment)

    def first(self, name: str) -> Segment | None:
        """The first segment of that name."""
        found = self._by_name.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[Segment]:
        """Every segment of that name, in order."""
        return list(self._by_name.get(name, ()))

    def count(self, name: str) -> int:
        """How many segments of that name there are."""
        return len(self._by_name.get(name, ()))

    def counts(self) -> dict[str, int]:
        """How many segments of each name there are."""
        return {name: len(found) for name, found in self._by_name.items()}

    def read(self, path: str) -> str:
        """The text at a place such as `STF-3.1`, `PRA-6[2].1`, `MFE[2]-4`, `STF-2.4.2`; "" when absent or null.

        Without an occurrence the first segment of that name, without a repetition the first, without a component the
        first. Raises ValueError for text that names no place.
        """
        name, occurrence, field, repetition, component, subcomponent = _place(path)
        found = self._by_name.get(name)
        if not found or occurrence > len(found):
            return ""
        return found[occurrence - 1].value(field, component, subcomponent, repetition)

    @property
    def deviations(self) -> tuple[str, ...]:
        """What the reader put up with, for one warning per feed: local codes, no content.

        byte-order-mark, leading-blank, line-feed (segments do not end in CR alone), no-segment-name (a line that begins
        with none), escape-left-out (a `\\C..\\`, `\\M..\\` or `\\Z..\\` sequence).
        """
        found = []
        if self.raw.startswith(BYTE_ORDER_MARK):
            found.append("byte-order-mark")
        if self.raw.removeprefix(BYTE_ORDER_MARK)[:1] in (b"\r", b"\n", b" ", b"\t", b"\0"):
            found.append("leading-blank")
        if self.line_ending != "\r":
            found.append("line-feed")
        if "" in self._by_name:
            found.append("no-segment-name")
        if any(drops_text(segment.text, self.separators) for segment in self.segments):
            found.append("escape-left-out")
        return tuple(found)

    def line_feed_findings(self, segments: Iterable[Segment], position: int = 0) -> list[Finding]:
        """A warning for each of these segments in whose text a LF stands before what looks like a segment, at the first.

        `position`: the record that they belong to.
        """
        if not self.line_feed_is_text:
            return []
        field = self.separators.field
        looks = _looks_like_a_segment(field)
        found = []
        for segment in segments:
            if match := looks.search(segment.text):
                number = segment.text.count(field, 0, match.start()) + (segment.name in _HEADERS)
                place = Location(segment.name or "MSH", segment.occurrence, number)
                found.append(Finding("100", "line-feed-in-text", _LINE_FEED_IN_TEXT, Severity.WARNING, place, position))
        return found

    def __repr__(self) -> str:
        return f"<Message of {len(self.segments)} segments>"


def _odd_name(line: str, field: str) -> str:
    """The name of a segment that does not read `XYZ|..`: blanks around the name are forgiven, "" when there is none."""
    name = line.split(field, 1)[0].strip(_LEADING)
    return name if _NAME.fullmatch(name) else ""


def _ends_in_cr_lf(text: str) -> bool:
    """Whether the first segment does, of a message in which CR ends segments."""
    end = text.find("\r", len(text) - len(text.lstrip(_LEADING)))
    return end >= 0 and text.startswith("\n", end + 1)


@lru_cache(maxsize=64)
def _looks_like_a_segment(field: str) -> re.Pattern[str]:
    return re.compile(f"\n[ \t\0]*[A-Z][A-Z0-9]{{2}}{re.escape(field)}")


_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)])?-(\d+)(?:\[(\d+)])?(?:\.(\d+))?(?:\.(\d+))?")


@lru_cache(maxsize=1024)
def _place(path: str) -> tuple[str, int, int, int, int, int]:
    match = _PLACE.fullmatch(path)
    if not match:
        raise ValueError(f"not a place in a message: {path!r}; write it like STF-3.1 or PRA-6[2].1")
    name, *numbers = match.groups()
    occurrence, field, repetition, component, subcomponent = (int(number or 1) for number in numbers)
    return name, occurrence or 1, field, repetition or 1, component, subcomponent


def codec_of_message(raw: bytes, charset: str | Sequence[str] = "utf-8") -> str:
    """The Python codec that reads the message, by the rules of `Message`. Raises what `Message` raises about it."""
    return _decode(raw, read_header(raw, charset), charset)[1]


def _without_mark(raw: bytes) -> bytes:
    return raw.removeprefix(BYTE_ORDER_MARK)


def _decode(raw: bytes, header: Header, charset: str | Sequence[str]) -> tuple[str, str]:
    """The text without byte order mark, and the codec that read it."""
    start = len(BYTE_ORDER_MARK) if raw.startswith(BYTE_ORDER_MARK) else 0
    body = raw[start:] if start else raw
    stated = "".join(header.charsets)
    codec = charsets.codec_of_field(header.charsets) if stated else ""
    if codec:
        codecs = [codec]
    else:
        names = [charset] if isinstance(charset, str) else charset
        codecs = [charsets.codec_of(name) for name in names]
    failure: UnicodeDecodeError | None = None
    for codec in codecs:
        try:
            return body.decode(codec), codec
        except UnicodeDecodeError as error:
            failure = error
    assert failure is not None, "no character set to try"
    at = start + failure.start
    place = location_of(raw, at, header.separators.field)
    names_tried = " or ".join(codecs)
    advice = (
        "correct MSH-18 or the text"
        if stated.strip()
        else "send MSH-18, or name the sender's character set in the setting `charset` of the feed"
    )
    raise UnreadableMessage(
        "102", "undecodable", f"byte {at} (in {place}) is not {names_tried}: {advice}", place
    ) from None


def location_of(raw: bytes, offset: int, separator: str) -> Location:
    """The segment and field that hold the byte at `offset`."""
    before = raw[:offset].decode("latin-1")
    lines = lines_of(before.removeprefix("\xef\xbb\xbf").lstrip(_LEADING), message_uses_line_feeds(raw))
    name = lines[-1].split(separator, 1)[0].strip()
    if not _NAME.fullmatch(name):
        return Location("MSH")
    occurrence = sum(line.startswith(name) for line in lines)
    field = lines[-1].count(separator) + (1 if name in _HEADERS else 0)
    return Location(name, occurrence, field)
