"""JSON of a server, read as RFC 8259 means it: without what Python takes beyond it."""

from __future__ import annotations

import json
from typing import Any

from hl7bridge.model import Number


class UnsoundJson(ValueError):
    """JSON that names one member twice (RFC 8259, 4: its meaning is not defined), or holds NaN or Infinity."""


def read_strictly(text: str | bytes) -> Any:
    """As `model.read_json`. Raises UnsoundJson, and ValueError for text that is not JSON."""
    return json.loads(text, parse_float=Number, parse_constant=_no_number, object_pairs_hook=_each_once)


def _no_number(text: str) -> Any:
    raise UnsoundJson(text)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise UnsoundJson("a name stands twice")
    return read
