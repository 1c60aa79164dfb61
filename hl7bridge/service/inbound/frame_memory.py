"""The memory of frames under way, over the connections of all feeds: a large one needs a place, and there are as many places
as fit. Whoever finds none is not read until one is free, so that its bytes wait at its sender; small frames never wait."""

from __future__ import annotations

from collections import deque
from typing import Protocol

SMALL = 64 * 1024  # bytes of a frame that need no place


class Waiting(Protocol):
    """What is asked of a connection that waits for a place."""

    def place_given(self) -> None: ...


class FrameMemory:
    """Places by their size in bytes. Reactor thread only.

    A place is as large as the largest frame of its feed, so that whoever has one can finish: connections that each held a
    part and waited for the rest would wait for each other.
    """

    def __init__(self, size: int = 64 * 1024 * 1024) -> None:
        """`size`: bytes in all. One frame has a place however large it may be."""
        self.size = size
        self._places: dict[Waiting, int] = {}
        self._waiting: deque[tuple[Waiting, int]] = deque()

    def take(self, connection: Waiting, largest: int) -> bool:
        """Whether it has a place for a frame of `largest` bytes. If not, it is told once it has one, in order of asking."""
        if connection in self._places:
            return True
        if not self._waiting and self._fits(largest):
            self._places[connection] = largest
            return True
        if not self.waits(connection):
            self._waiting.append((connection, largest))
        return False

    def give_back(self, connection: Waiting) -> None:
        """It needs no place any more, nor waits for one."""
        had = self._places.pop(connection, None)
        if had is None and self.waits(connection):
            self._waiting = deque(one for one in self._waiting if one[0] is not connection)
        while self._waiting and self._fits(self._waiting[0][1]):
            other, largest = self._waiting.popleft()
            self._places[other] = largest
            other.place_given()

    def waits(self, connection: Waiting) -> bool:
        """Whether it waits for a place."""
        return any(one is connection for one, _ in self._waiting)

    def _fits(self, largest: int) -> bool:
        return not self._places or sum(self._places.values()) + largest <= self.size
