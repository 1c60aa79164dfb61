"""What the rest may ask of the store about files of drop folders: the part of `Store` that takes messages from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hl7bridge.store.store import Accepted, NewMessage

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


class DropStore(Protocol):
    """The part of a store that drop folders need. Times are Unix seconds."""

    def begin_drop_file(self, feed: str, name: str, identity: str, size: int, now: float) -> DropFile:
        """The file of that identity that is under way, with how far it was read; or a new one."""

    def accept_from_file(
        self, file: DropFile, messages: Sequence[NewMessage], taken: Callable[[list[Accepted]], Taken], now: float
    ) -> DropFile:
        """Accept messages and keep how far their file was read by then, in one transaction; returns the file as it stands.

        `taken(accepted)` is called within it, and says how far. Raises StoreError, ClaimLost when another process has read
        on in this file: then nothing of it is stored.
        """

    def settle_drop_file(self, file: DropFile, state: str, now: float, *, target: str = "") -> DropFile:
        """Keep that a file was read, moved, or changed; of files that were moved, the latest thousand of a feed stay."""

    def drop_files(self, feed: str = "", *, under_way: bool = False, limit: int = 50) -> list[DropFile]:
        """Newest first; `under_way`: only those that are being read, or are to be moved."""
