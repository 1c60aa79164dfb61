"""A page of a list, and the way to the next one."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Listed(Generic[Row], Sequence[Row]):
    """Rows of a list, in its order.

    next  what the list is asked with for the rows behind them, "" = there are none. Opaque: only the list it is of reads
          it. It names the last row, so that rows which come or go meanwhile neither repeat another nor hide one.
    """

    rows: tuple[Row, ...] = ()
    next: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self.rows[index]


def cursor(of: str, row_id: int) -> str:
    """The place behind a row of the list `of`."""
    return urlsafe_b64encode(f"{of} {row_id}".encode()).decode().rstrip("=")


def place(of: str, text: str) -> int:
    """The row that a cursor of that list stands behind; 0 for "", the beginning. Raises ValueError for any other text."""
    if not text:
        return 0
    try:
        name, _, row_id = (
            urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii").partition(" ")
        )
        found = int(row_id)
    except ValueError:
        found, name = 0, ""
    if name != of or cursor(of, found) != text:
        raise ValueError(f"this is no place in the list of {of}")
    return found
