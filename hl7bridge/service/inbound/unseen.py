"""Answers that were written, until it shows whether the sender was there to read them.

TCP takes bytes for a sender that is gone, and says so afterwards: its system answers them by a reset (RST, RFC 9293 3.5.2).
At the time of the write nothing tells one sender from the other, whether its own end (FIN) has come by then or comes later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Done = Callable[[bool], None]
"""Hears whether an answer was sent."""

SEEN_WITHIN = 0.5  # seconds within which a sender that is gone shows it


class Unseen:
    """Those of one connection. Reactor thread only.

    An answer counts as sent when its sender is still there `SEEN_WITHIN` to twice that after it was written, or when the
    connection ends in good order; as not sent when the connection breaks before.
    """

    def __init__(self, clock: Any, is_there: Callable[[], bool | None], seen: Callable[[], None]) -> None:
        """`clock`: the reactor, or one like it. `is_there()`: False = the sender has reset the connection; None = it takes
        nothing of what we write, and so it is not known. `seen()`: called after each look."""
        self._clock, self._is_there, self._seen = clock, is_there, seen
        self._waiting: list[Done] = []
        self._older = 0  # so many of them were there at the last look
        self._gone = False
        self._timer: Any = None

    def __len__(self) -> int:
        """Answers of which it is not known yet."""
        return len(self._waiting)

    def written(self, done: Done) -> None:
        """An answer was written; `done` will hear once what became of it."""
        self._waiting.append(done)
        if self._timer is None:
            self._timer = self._clock.callLater(SEEN_WITHIN, self._look)

    def end(self, *, broken: bool) -> None:
        """The connection ends, and nothing shows after that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._tell(len(self._waiting), not broken and bool(self._sees_it()))

    def _look(self) -> None:
        self._timer = None
        there = self._sees_it()
        if there is False:
            self._tell(len(self._waiting), False)
        elif there:
            self._tell(self._older, True)
        self._older = len(self._waiting)
        if self._waiting:
            self._timer = self._clock.callLater(SEEN_WITHIN, self._look)
        self._seen()

    def _sees_it(self) -> bool | None:
        there = None if self._gone else self._is_there()
        self._gone = self._gone or there is False  # a reset is told once
        return False if self._gone else there

    def _tell(self, count: int, sent: bool) -> None:
        told, self._waiting = self._waiting[:count], self._waiting[count:]
        for done in told:
            done(sent)
