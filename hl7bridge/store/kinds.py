"""What a kind of store is to whoever opens one: everything else asks the store itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hl7bridge.store.store import Store
from hl7bridge.store.worklist import Words


@dataclass(frozen=True, slots=True)
class Engine:
    """The database that a store runs on.

    code   what it is, for programs ("sqlite"); `text`: in words; `is_usual`: it is the one that an installation brings
    flaw   why it may harm the store, "" = it is sound; `cure`: what to do about it
    schema the number of the schema that this version of hl7bridge brings a store to
    """

    code: str
    text: str
    is_usual: bool = True
    flaw: str = ""
    cure: str = ""
    schema: int = 0


class Mark(Protocol):
    """What is known of a store beside it: that there is one, and how the last service left it."""

    @property
    def lost(self) -> bool:
        """Whether there was a store, and is none."""

    def begin(self) -> bool:
        """A service takes the store. False when it did not leave it in order the last time, or nobody knows."""

    def end(self) -> None:
        """The service has closed the store."""

    def forget(self) -> None:
        """A new store is to be made, though there was one. Raises OSError."""


class Unmarked:
    """The mark of a store that has nothing beside it: nobody knows how it was left."""

    lost = False

    def begin(self) -> bool:
        """Nobody knows."""
        return False

    def end(self) -> None:
        """Nothing is kept."""

    def forget(self) -> None:
        """There is nothing to forget."""


class StoreKind(Protocol):
    """A kind of store. `location`: what the [store] setting says."""

    def open(self, location: str, words: Words) -> Store:
        """The store, made or brought up to date where that is needed. Raises StoreError."""

    def file(self, location: str) -> Path | None:
        """The file that it is; None: it is none of this machine."""

    def mark(self, location: str) -> Mark:
        """What is known of it beside it."""

    def is_current(self, location: str) -> bool:
        """Whether it is there with the schema of this version. Nothing is changed; False for whatever can't be read."""

    def engine(self) -> Engine:
        """What it runs on."""
