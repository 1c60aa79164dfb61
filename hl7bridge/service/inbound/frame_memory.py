"""The memory of frames under way, over the connections of all feeds: a large one needs a place, and there are as many places
as fit. Whoever finds none is not read until one is free, so that its bytes wait at its sender; small frames never wait.

One host alone, however many slow senders it has, always leaves a place to others; and of those who wait, a host that has
fewer bytes comes first.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from hl7bridge.service.inbound.admission import host_of

SMALL = 64 * 1024  # bytes of a frame that need no place


class Waiting(Protocol):
    """What is asked of a connection that waits for a place."""

    host: str

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
        self._waiting: dict[Waiting, int] = {}  # in order of asking
        self._left_to_others = 0  # bytes that one host alone does not take: the largest place that was asked for

    def take(self, connection: Waiting, largest: int) -> bool:
        """Whether it has a place for a frame of `largest` bytes. If not, it is told once it has one."""
        if connection not in self._places and connection not in self._waiting:
            self._left_to_others = max(self._left_to_others, largest)
            self._waiting[connection] = largest
            if self._next() is connection:
                self._places[connection] = self._waiting.pop(connection)
        return connection in self._places

    def give_back(self, connection: Waiting) -> None:
        """It needs no place any more, nor waits for one."""
        self._places.pop(connection, None)
        self._waiting.pop(connection, None)
        while (other := self._next()) is not None:
            self._places[other] = self._waiting.pop(other)
            other.place_given()

    def waits(self, connection: Waiting) -> bool:
        """Whether it waits for a place."""
        return connection in self._waiting

    def _next(self) -> Waiting | None:
        """Who has the next place: the first that asked, of the host with the fewest bytes. None while there is no room for
        it: whoever needs less does not go before it."""
        if not self._waiting:
            return None
        held = Counter[str]()
        for one, size in self._places.items():
            held[host_of(one.host)] += size
        may = [one for one in self._waiting if self._is_within_share(held[host_of(one.host)], self._waiting[one])]
        first = min(may, key=lambda one: held[host_of(one.host)], default=None)
        if first is None or (self._places and held.total() + self._waiting[first] > self.size):
            return None
        return first

    def _is_within_share(self, held: int, largest: int) -> bool:
        """Whether a host that has so many bytes may have so many more; its first place always."""
        return not held or held + largest + self._left_to_others <= self.size
