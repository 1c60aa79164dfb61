"""Bodies that a server compressed although it was asked not to: unpacked piece by piece, never beyond what was agreed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

GZIP = 16 + zlib.MAX_WBITS  # RFC 1952
ENCODINGS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": zlib.MAX_WBITS}
PIECE = 64 * 1024  # bytes that are unpacked at one time


class TooLarge(Exception):
    """A body that is larger than agreed, packed or unpacked."""


class Undecodable(Exception):
    """A body that is not what Content-Encoding says, or that ends too soon."""


def is_plain(encoding: str) -> bool:
    """Whether a Content-Encoding says that nothing was done to the body (RFC 9110, 8.4)."""
    return encoding.strip().lower() in ("", "identity")


def decoded(parts: Iterable[bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """The body as it was before `encoding` was applied, at most `limit` bytes of it.

    Raises TooLarge, and Undecodable for an encoding that nobody here knows.
    """
    wanted = encoding.strip().lower()
    if is_plain(wanted):
        yield from bounded(parts, limit)
        return
    if wanted not in ENCODINGS:
        raise Undecodable(wanted)
    yield from bounded(_unpacked(bounded(parts, limit), ENCODINGS[wanted]), limit)


def bounded(parts: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The same parts. Raises TooLarge before more than `limit` bytes were handed on."""
    size = 0
    for part in parts:
        size += len(part)
        if size > limit:
            raise TooLarge
        yield part


def _unpacked(parts: Iterable[bytes], window: int) -> Iterator[bytes]:
    unpacking = zlib.decompressobj(window)
    try:
        for part in parts:
            rest = part
            while rest and not unpacking.eof:
                if piece := unpacking.decompress(rest, PIECE):
                    yield piece
                rest = unpacking.unconsumed_tail
    except zlib.error:
        raise Undecodable from None
    if not unpacking.eof:
        raise Undecodable
