"""Files of drop folders: the rows."""

from __future__ import annotations

from dataclasses import dataclass

READING, READ, DONE, FAILED, CHANGED = "reading", "read", "done", "failed", "changed"
"""States of a file: under way; all is stored and it is to be moved; moved; or written to while it was read."""


@dataclass(frozen=True, slots=True)
class Taken:
    """How far a file was read. `messages` are all that were passed, `offset` bytes; `results`: bytes of the file of results.

    The others count what became of the messages: `others` were not taken and not refused (acknowledgments, ignored ones).
    """

    messages: int = 0
    offset: int = 0
    accepted: int = 0
    refused: int = 0
    duplicates: int = 0
    others: int = 0
    results: int = 0


@dataclass(frozen=True, slots=True)
class DropFile:
    """A file of a feed's drop folder. `identity`: tells it from another one under its name. `target`: where it is, or is
    to be, moved, below the folder. Times in Unix seconds."""

    file_id: int
    feed: str
    name: str
    identity: str
    size: int
    state: str
    began: float
    changed: float
    target: str
    taken: Taken
