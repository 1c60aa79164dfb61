"""Conditions that a field's row may name with `when`: plain Python functions, each tested. There are no expressions.

A row whose condition does not hold is passed over for that message, and `map explain` says which condition it was.
"""

from __future__ import annotations

from collections.abc import Callable

from hl7bridge.mapping.rules.draft import CONDITIONS, Condition, Draft, Row
from hl7bridge.mapping.rules.times import fhir_date


def condition(function: Condition) -> Condition:
    """Make a function available to `when` under its name."""
    CONDITIONS[function.__name__] = function
    return function


@condition
def is_known_code(draft: Draft, row: Row, raw: str) -> bool:
    """The field's first component is a code of the row's table."""
    return draft.reader.first(raw) in row.codes


@condition
def is_date(draft: Draft, row: Row, raw: str) -> bool:
    """The field's first component is a date, of a year at least."""
    return bool(fhir_date(draft.reader.first(raw)))


@condition
def is_number(draft: Draft, row: Row, raw: str) -> bool:
    """The field's first component has digits only."""
    text = draft.reader.first(raw)
    return text.isascii() and text.isdigit()


@condition
def has_at_sign(draft: Draft, row: Row, raw: str) -> bool:
    """The field holds an @, as e-mail addresses do."""
    return "@" in raw


@condition
def ends_after_start(draft: Draft, row: Row, raw: str) -> bool:
    """The field's date does not lie before the one of the field to its left (STF-12 and 13, PRA-8 and a later 9...)."""
    left = row.number - 1
    start = fhir_date(draft.reader.first(draft.fields[left])) if 0 < left < len(draft.fields) else ""
    end = fhir_date(draft.reader.first(raw))
    shared = min(len(start), len(end))
    return not (start and end) or end[:shared] >= start[:shared]


def documented() -> list[tuple[str, str]]:
    """(name, meaning) of every condition."""
    return [(name, _first_line(function)) for name, function in sorted(CONDITIONS.items())]


def _first_line(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").strip().splitlines()[0]
