"""Where segments and messages begin and end: the one rule, and everything that cuts bytes or text goes by it.

    A CR ends a segment. A LF does so only where the first segment (MSH; of a batch FHS or BHS) ends in a LF: in a message
    whose first segment ends in CR, or in CR LF, a LF is text, in every field. A message, or a batch header or trailer,
    begins where a segment begins, and only with its separator behind its name: `MSH|`, `BHS|`, `BTS|`.

    written with        what ends a segment            a LF elsewhere
    CR                  CR                             is text
    CR LF               CR; a LF behind it is blank    is text
    LF                  LF, and any CR                 there is none

The first segment ends at its first CR. At a LF before that CR it ends only if it is whole by then (MSH-10 has come), a
segment of the message, name and separator, follows, and CR ends no segment of this message: behind the CR stands nothing
or the next message, or a header stands before it. So a LF in MSH is text, too, whatever it quotes. If no CR comes within
64 KiB, LF is what ends it. Each message of a file or a frame is judged by itself. What begins with no header has no rule,
and either ends its lines.

No text without CR can therefore move a boundary of a message that is written with CR. A LF in it before what looks like a
segment is told to the sender (`line-feed-in-text`), for it may be one whose line ending was lost.

HL7 v2.5.1 chapter 2: 2.5.4 (the segment terminator is CR, and cannot be changed), 2.10.3 (batches), 2.15.9 (MSH).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANK = b"\r\n \t\0"
WINDOW = 64 * 1024  # bytes of a message that decide how it is written
REACH = 32  # bytes behind a line break that show whether a message begins there
MOST_BLANKS = 1000  # blanks between a line break and a header

_WHOLE_HEADER = 9  # field separators of an MSH before MSH-10
_MARK = rb"[!-/:-@\[-`{-~]"  # what may be a separator: printable, no letter, no digit, no blank
# A header whose separators are not known yet: MSH-1, MSH-2, and the separator again.
_ANY_HEADER = rb"(?P<mark>" + _MARK + rb")(?:(?!(?P=mark))" + _MARK + rb"){1,6}(?:(?P=mark)|(?=[\r\n]|\Z))"
_LINE_END = rb"[ \t\0]{0,9}(?:[\r\n]|\Z)"
_ANY_TRAILER = _MARK + rb"\d{0,10}(?:" + _MARK + rb"|" + _LINE_END + rb")"  # a count, or none
_NAME = re.compile(rb"(?:MSH|FHS|BHS)" + _MARK + rb"|(?:BTS|FTS)(?:" + _MARK + rb"|" + _LINE_END + rb")")
_NAMES = (b"MSH", b"BHS", b"FHS", b"BTS", b"FTS")


def name_at(raw: bytes | bytearray, start: int = 0) -> bytes:
    """The name of the header or trailer that begins there, its separator behind it; b"" for anything else."""
    return bytes(raw[start : start + 3]) if _NAME.match(raw, start) else b""


def separator_at(raw: bytes | bytearray, start: int = 0) -> bytes:
    """The field separator of the header or trailer that begins there; b"" where there is none."""
    mark = bytes(raw[start + 3 : start + 4])
    return mark if name_at(raw, start) and mark not in b"\r\n \t\0" else b""


def uses_line_feeds(raw: bytes | bytearray, start: int = 0, *, more: bool = False) -> bool | None:
    """Whether LF ends the segments of what begins at `start` (no blanks before it), by the rule of this module.

    `more`: the rest has not come yet; None = it decides. The answer is the same however much has come.
    """
    limit = min(len(raw), start + WINDOW)
    cut = more and limit < start + WINDOW
    if cut and limit < start + REACH:
        return None
    name = name_at(raw, start)
    if not name:
        return True
    first_cr = raw.find(b"\r", start, limit)
    end = limit if first_cr < 0 else first_cr
    if raw.find(b"\n", start, end) < 0:
        return None if cut and first_cr < 0 else False
    if first_cr < 0 and not cut:
        return True
    follows = _kind_behind(raw, first_cr, separator_at(raw, start), more) if first_cr >= 0 else None
    judge = _header_ends_in_line_feed if name == b"MSH" else _wrapper_ends_in_line_feed
    return judge(raw, start, end, follows)


def message_uses_line_feeds(raw: bytes) -> bool:
    """Whether LF ends the segments of a whole message, a byte order mark and blanks before it passed over."""
    start = len(BYTE_ORDER_MARK) if raw.startswith(BYTE_ORDER_MARK) else 0
    return bool(uses_line_feeds(raw, len(raw) - len(raw[start:].lstrip(BLANK))))


class _Kind(Enum):
    """What stands at a place: a header or trailer, another segment, or neither."""

    HEADER = "header"
    SEGMENT = "segment"
    NEITHER = "neither"


def _kind_behind(raw: bytes | bytearray, line_break: int, separator: bytes, more: bool) -> _Kind | None:
    """What stands behind a line break and blanks; None = it has not come yet."""
    at = line_break + 1
    while at < len(raw) and at - line_break < MOST_BLANKS and raw[at] in BLANK:
        at += 1
    if more and at + REACH > len(raw):
        return None
    if name_at(raw, at):
        return _Kind.HEADER
    return _Kind.SEGMENT if _named(separator).match(raw, at) else _Kind.NEITHER


def _header_ends_in_line_feed(raw: bytes | bytearray, start: int, end: int, follows: _Kind | None) -> bool | None:
    """Whether a LF before `end`, the first CR, ends an MSH. `follows`: what stands behind that CR; None = not known yet."""
    separator = separator_at(raw, start)
    fields, at = 0, start
    for found in _segment(separator).finditer(raw, start, end):
        fields += raw.count(separator, at, found.start())
        at = found.start()
        if fields >= _WHOLE_HEADER:
            break
    else:
        return None if follows is None else False
    if found["name"] in _NAMES:  # a message is more than its header: this one is quoted
        return None if follows is None else False
    next_one = _beginning(True, separator).search(raw, at, end)
    if next_one and (follows is not None or next_one.end() + REACH <= end):
        return True
    return None if follows is None else follows is not _Kind.SEGMENT


def _wrapper_ends_in_line_feed(raw: bytes | bytearray, start: int, end: int, follows: _Kind | None) -> bool | None:
    """The same of a BHS or FHS: a header or trailer follows it; of an MSH that has nothing behind it, it is quoted."""
    found = _beginning(True, separator_at(raw, start)).search(raw, start, end)
    if found is None or name_at(raw, found.end()) != b"MSH" or raw.find(b"\n", found.end(), end) >= 0:
        return None if follows is None else found is not None
    return None if follows is None else follows is not _Kind.HEADER


def beginning_of(
    raw: bytes | bytearray, separator: bytes, line_feeds: bool, scanned: int, *, more: bool
) -> tuple[int, int]:
    """Where the next message, header or trailer begins behind `scanned`, or -1; and up to where none does.

    `separator`, `line_feeds`: as `separator_at` and `uses_line_feeds` say of the message before it; `more`: the bytes are
    not all there yet.
    """
    found = _beginning(line_feeds, separator).search(raw, scanned)
    if found and (not more or found.end() + REACH <= len(raw)):
        return found.end(), found.end()
    if found:
        return -1, found.start()
    return -1, max(scanned, len(raw) - MOST_BLANKS - REACH) if more else len(raw)


def parts_of(raw: bytes) -> Iterator[bytes]:
    """The bytes in parts, each of which begins at a message, a header or a trailer; the first one may begin at neither."""
    if not any(raw.find(name, 1) > 0 for name in _NAMES):
        yield raw
        return
    start = 0
    while start < len(raw):
        end, _ = beginning_of(raw, separator_at(raw, start), bool(uses_line_feeds(raw, start)), start, more=False)
        end = len(raw) if end < 0 else end
        yield raw[start:end]
        start = end


def first_line(part: bytes) -> bytes:
    """The first segment of a part, without its line ending."""
    return re.split(b"[\r\n]" if uses_line_feeds(part) else b"\r", part, maxsplit=1)[0]


def lines_of(text: str, line_feeds: bool) -> list[str]:
    """The segments of a message's text without their line endings, blank ones among them."""
    if line_feeds:
        return text.replace("\r\n", "\r").replace("\n", "\r").split("\r")
    lines = text.split("\r")
    return [line.strip("\n") for line in lines] if "\n" in text else lines


@lru_cache(maxsize=64)
def _beginning(line_feeds: bool, separator: bytes) -> re.Pattern[bytes]:
    """A line break, blanks, and what begins with a header or a trailer behind them."""
    own = re.escape(separator) if separator else rb"(?!)"
    line_break = rb"[\r\n][ \t\0]" if line_feeds else rb"\r[\n \t\0]"
    header = rb"(?:MSH|FHS|BHS)(?:" + own + rb"|" + _ANY_HEADER + rb")"
    trailer = rb"(?:BTS|FTS)(?:" + own + rb"|" + _ANY_TRAILER + rb"|" + _LINE_END + rb")"
    return re.compile(line_break + rb"{0,%d}+(?=" % MOST_BLANKS + header + rb"|" + trailer + rb")")


@lru_cache(maxsize=64)
def _segment(separator: bytes) -> re.Pattern[bytes]:
    """A LF, and a segment behind it."""
    return re.compile(rb"\n(?=[ \t\0]{0,%d}+(?P<name>[A-Z][A-Z0-9]{2})" % MOST_BLANKS + re.escape(separator) + rb")")


@lru_cache(maxsize=64)
def _named(separator: bytes) -> re.Pattern[bytes]:
    """The name of a segment with the separator behind it."""
    return re.compile(rb"[A-Z][A-Z0-9]{2}" + re.escape(separator))
