"""What may be written to a destination without a person."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Brake:
    """How many people may be deactivated without a person. 0 = no limit.

    per_hour       at this destination within an hour
    share_of_file  percent of the records of one message, for messages of 20 records and more
    protected      staff keys that are never deactivated without a person
    """

    per_hour: int = 0
    share_of_file: float = 0.0
    protected: frozenset[str] = frozenset()
