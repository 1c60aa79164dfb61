"""How far `replay FILE` came, for the next run: a small record in the data folder that holds digests and a number alone.

It is written about once a second, so that a run which is killed is resumed, too; what it sent since is sent once more, and
the duplicate rule answers that without a second effect.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

FOLDER = "replays"
EVERY = 1.0  # seconds between two notes
FIRST_BYTES = 64 * 1024
FORGET_AFTER = 30 * 86400.0  # seconds after which nobody comes back


class Progress:
    """The record of one run over some files: under their names, sizes, times and first bytes, and where they go."""

    def __init__(self, data: Path, files: Sequence[Path], to: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`data`: the data folder. Raises OSError for a file that cannot be read."""
        digest = hashlib.sha256(to.encode())
        for file in files:
            stat = file.stat()
            digest.update(f"\0{file.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode(errors="surrogateescape"))
            with file.open("rb") as content:
                digest.update(hashlib.sha256(content.read(FIRST_BYTES)).digest())
        self.path = data / FOLDER / f"{digest.hexdigest()[:32]}.json"
        self._clock, self._noted = clock, clock()

    def messages(self) -> int:
        """How many messages an earlier run that did not end has sent; 0 = there was none."""
        try:
            return int(json.loads(self.path.read_text(encoding="ascii"))["messages"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def note(self, messages: int, *, now: bool = False) -> None:
        """So many are sent and answered. `now`: the run ends here; else once a second is enough. Raises OSError."""
        if not now and self._clock() - self._noted < EVERY:
            return
        self._noted = self._clock()
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(mode=0o700, parents=True)
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps({"schema": "replay-progress/1", "messages": messages}) + "\n", encoding="ascii")
        beside.replace(self.path)

    def forget(self) -> None:
        """The run came to its end. Records to which nobody came back go, too."""
        self.path.unlink(missing_ok=True)
        for other in self.path.parent.glob("*.json"):
            if time.time() - other.stat().st_mtime > FORGET_AFTER:
                other.unlink(missing_ok=True)
