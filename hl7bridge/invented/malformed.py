"""What goes wrong with messages on their way, done to a good one: each variant is a function (bytes, chance) -> bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

Damage = Callable[[bytes, Random], bytes]


def _truncated(message: bytes, chance: Random) -> bytes:
    return message[: chance.randrange(9, max(10, len(message) - 1))]


def _glued(message: bytes, chance: Random) -> bytes:
    return message.replace(b"\r", b"")


def _line_feeds(message: bytes, chance: Random) -> bytes:
    return message.replace(b"\r", b"\n")


def _no_header(message: bytes, chance: Random) -> bytes:
    return message.partition(b"\r")[2]


def _header_alone(message: bytes, chance: Random) -> bytes:
    return message.partition(b"\r")[0] + b"\r"


def _wrong_separators(message: bytes, chance: Random) -> bytes:
    return message.replace(b"MSH|^~\\&|", b"MSH|ABCD|", 1)


def _other_separators(message: bytes, chance: Random) -> bytes:
    return message.replace(b"MSH|^~\\&|", b"MSH|!~\\&|", 1)


def _undecodable(message: bytes, chance: Random) -> bytes:
    at = message.find(b"\r", 80) + 6
    return message[:at] + b"\xff\xfe" + message[at:]


def _field(number: int, value: bytes) -> Damage:
    def changed(message: bytes, chance: Random) -> bytes:
        header, end, rest = message.partition(b"\r")
        fields = header.split(b"|")
        fields[number - 1] = value
        return b"|".join(fields) + end + rest

    return changed


def _without(name: bytes) -> Damage:
    def changed(message: bytes, chance: Random) -> bytes:
        return re.sub(b"(?m)^" + name + b"\\|[^\r]*\r", b"", message.replace(b"\r", b"\r\n")).replace(b"\r\n", b"\r")

    return changed


def _no_key(message: bytes, chance: Random) -> bytes:
    return _in_segments(message, {b"MFE": (4,), b"STF": (1, 2)})


def _no_name(message: bytes, chance: Random) -> bytes:
    return _in_segments(message, {b"STF": (3,)})


def _in_segments(message: bytes, emptied: Mapping[bytes, tuple[int, ...]]) -> bytes:
    lines = message.split(b"\r")
    for place, line in enumerate(lines):
        fields = line.split(b"|")
        for number in emptied.get(fields[0], ()):
            if number < len(fields):
                fields[number] = b""
        lines[place] = b"|".join(fields)
    return b"\r".join(lines)


def _shifted(message: bytes, chance: Random) -> bytes:
    return message.replace(b"\rSTF|", b"\rSTF||")


def _control_characters(message: bytes, chance: Random) -> bytes:
    return message.replace(b"^Dr", b"^\x00\x1b[2JDr")


def _empty(message: bytes, chance: Random) -> bytes:
    return b"\r"


MALFORMED: Mapping[str, Damage] = {
    "truncated": _truncated,
    "glued": _glued,
    "line-feeds": _line_feeds,
    "no-header": _no_header,
    "header-alone": _header_alone,
    "wrong-separators": _wrong_separators,
    "other-separators": _other_separators,
    "undecodable": _undecodable,
    "unknown-charset": _field(18, b"KLINGON"),
    "wrong-encoding": _field(18, b"ASCII"),
    "unknown-event": _field(9, b"MFN^Z99"),
    "unknown-version": _field(12, b"7.1"),
    "no-type": _field(9, b""),
    "no-control-id": _field(10, b""),
    "wrong-time": _field(7, b"yesterday"),
    "missing-mfe": _without(b"MFE"),
    "missing-stf": _without(b"STF"),
    "no-key": _no_key,
    "no-name": _no_name,
    "shifted-fields": _shifted,
    "control-characters": _control_characters,
    "empty": _empty,
}
"""Name -> what it does to a message. Some leave a message that can still be read: engines send those, too."""
