"""How long the frame under way may take: a deadline for the whole of it, and a floor on the rate at which it comes."""

from __future__ import annotations

WINDOW = 10.0  # seconds over which the rate is looked at


class FrameTime:
    """The clock of one connection's frame. Times are seconds of a monotonic clock; limits of 0 are none."""

    def __init__(self) -> None:
        self.since: float | None = None  # when the frame under way began; None = none is
        self._window_since = 0.0
        self._window_bytes = 0

    def begin(self, now: float, count: int) -> None:
        """A frame is under way, of which `count` bytes are there; no effect where that is known."""
        if self.since is None:
            self.since = self._window_since = now
            self._window_bytes = count

    def end(self) -> None:
        """None is under way."""
        self.since = None

    def received(self, count: int) -> None:
        """So many bytes came."""
        self._window_bytes += count

    def left(self, now: float, timeout: float, rate: float) -> float:
        """Seconds until the next look: what is left of the whole time, or of the window of the rate."""
        began = now if self.since is None else self.since
        ends = [began + timeout] if timeout else []
        ends += [self._window_since + WINDOW] if rate else []
        return max(0.0, min(ends) - now)

    def too_slow(self, now: float, timeout: float, rate: float) -> str:
        """Why the frame is given up: the name of the limit that it broke, "" while it keeps both. Begins a new window."""
        if timeout and self.since is not None and now >= self.since + timeout:
            return "frame_timeout"
        if rate and now >= self._window_since + WINDOW:
            came, self._window_since, self._window_bytes = self._window_bytes, now, 0
            if came < rate * WINDOW:
                return "frame_rate"
        return ""
