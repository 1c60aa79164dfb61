"""Tables for spreadsheets: RFC 4180, UTF-8 with a byte order mark, as spreadsheets want it; no cell runs as a formula."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(value: object) -> str:
    """The text of a cell; one that a spreadsheet might run as a formula begins with an apostrophe."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


@contextmanager
def private_file(path: Path, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A new file to write to, readable by this user alone; it replaces one of that name. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding=encoding, newline="") as file:
        yield file


@contextmanager
def table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Iterable[object]], None]]:
    """A CSV file, row by row: yields `add(cells)`. Raises OSError."""
    with private_file(path, "utf-8-sig") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        yield lambda cells: writer.writerow([safe_cell(cell) for cell in cells])
