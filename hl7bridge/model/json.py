"""JSON that keeps the text of its numbers."""

from __future__ import annotations

import json
import re
import secrets
from decimal import Decimal
from typing import Any

JsonObject = dict[str, Any]


class Number(Decimal):
    """A JSON number with a fraction or an exponent; `text` is how it was written."""

    text: str

    def __new__(cls, text: str) -> Number:
        number = super().__new__(cls, text)
        number.text = text
        return number


_PLACE = secrets.token_hex(8)  # nobody outside this process can write the mark of a number into a text
_NUMBER = re.compile(rf'"{_PLACE}:(\d+)"')


def read_json(text: str | bytes) -> Any:
    """Parse JSON; a number with a fraction or an exponent becomes a `Number`, so that 1.10 stays 1.10.

    FHIR R4 (json.html, decimal): "the precision of the decimal value has significance" and must be kept.
    Raises ValueError for text that is not JSON.
    """
    return json.loads(text, parse_float=Number)


class _HoldsNumber(Exception):
    """A value has a number that is kept with its text."""


def _refuse(item: object) -> str:
    if isinstance(item, Decimal):
        raise _HoldsNumber
    raise TypeError(f"not a JSON value: {type(item).__name__}")


_WITHOUT_NUMBERS = json.JSONEncoder(
    default=_refuse, ensure_ascii=False, separators=(",", ":"), check_circular=False
).encode  # what is written was read or built from a message: a tree, whatever it holds


def write_json(value: Any, *, sort_keys: bool = False) -> str:
    """The inverse of `read_json`: compact JSON text, each `Number` written as the text that it was read from."""
    if not sort_keys:
        try:
            return _WITHOUT_NUMBERS(value)
        except _HoldsNumber:
            pass
    numbers: list[str] = []

    def decimal_text(item: object) -> str:
        if not isinstance(item, Decimal):
            raise TypeError(f"not a JSON value: {type(item).__name__}")
        numbers.append(item.text if isinstance(item, Number) else str(item))
        return f"{_PLACE}:{len(numbers) - 1}"

    text = json.dumps(value, default=decimal_text, ensure_ascii=False, sort_keys=sort_keys, separators=(",", ":"))
    return _NUMBER.sub(lambda match: numbers[int(match.group(1))], text) if numbers else text
