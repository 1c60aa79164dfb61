"""The practitioners whom a feed's patient messages named lately: about them nobody needs to be asked.

Nearly every patient message names people who are known, so the listener answers from memory, and such a message costs no
request and a row at most. What is forgotten here is only asked of the store, which decides (`Store.accept`).
"""

from __future__ import annotations

from collections.abc import Iterable

MOST = 200_000  # people remembered at one time, about 200 bytes each


class KnownPractitioners:
    """(destination, source key) -> when the destination was asked about the person. One writer; reading needs no lock."""

    def __init__(self, recheck: float, most: int = MOST) -> None:
        """`recheck`: seconds after which a person is asked about again: they may have been deleted, or merged."""
        self.recheck = recheck
        self._most = most
        self._asked: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def load(self, rows: Iterable[tuple[str, str, float]]) -> None:
        """Take over what the store remembers: (destination, source key, when)."""
        for destination, key, asked in rows:
            self.note(destination, key, asked)

    def knows(self, destination: str, key: str, now: float) -> bool:
        """Whether the destination was asked about the person not long ago."""
        return self._asked.get((destination, key), 0.0) > now - self.recheck

    def note(self, destination: str, key: str, asked: float) -> None:
        """The destination is asked about the person, as the store has committed. The oldest is forgotten where there is no
        room."""
        person = (destination, key)
        self._asked.pop(person, None)
        self._asked[person] = asked
        while len(self._asked) > self._most:
            del self._asked[next(iter(self._asked))]
