"""The journal: one JSON object a line for each request, in the order in which the server applied them.

It is an instrument for tests. A checker that reads nothing else can tell who was created, each version with its content,
and the order of all. The lines of writes are appended while the resources are locked, before the answer leaves.

    sequence      1, 2, 3 ... without a gap, across restarts
    time          ISO 8601, UTC
    method, path  without the query; `parameters` has the names of the search parameters, never their values
    interaction   create, read, vread, history, search, update, patch, delete, capabilities, smart-configuration, token,
                  other; or "reset" when the sandbox was emptied
    type, id      of the resource, "" when there is none
    status        as sent (or as it would have been sent, where `answered` is false)
    version       after the request, "" when there is none
    changed       whether a version was stored
    stored        that version, whole, its meta included (only with `changed`); null for a deletion
    unchanged     true for an update that would change nothing
    sent          the body of a write that stored nothing
    if_match, conditional   If-Match as sent; whether If-None-Exist was there
    client        the client id of the access token; "observer" for a request of the test itself; "" without a token
    agent         User-Agent, "" when absent
    with_token    whether it had an Authorization header, whatever that was worth
    request_id    X-Request-Id, "" when absent
    fault         the kind of the fault that struck, `answered` false when the connection was closed without an answer
    recovered     true: the server was killed between storing this version and writing its line
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hl7bridge.model import JsonObject, read_json, write_json

KEPT_IN_MEMORY = 10_000


class LineFile:
    """An append-only file of JSON lines. A line is there whole or not at all: a torn end is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = open(path, "ab", buffering=0, opener=_open_private)  # noqa: SIM115
        self._cut_torn_end()

    def _cut_torn_end(self) -> None:
        end = size = self.path.stat().st_size
        with self.path.open("rb") as file:
            while end > 0:
                start = max(0, end - 65536)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    end = start + newline + 1
                    break
                end = start
        if end != size:
            self._file.truncate(end)

    def append(self, value: JsonObject) -> None:
        """Hand the line to the operating system: it survives a kill of this process, not yet a power cut."""
        line = write_json(value).encode() + b"\n"
        while line:
            line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Wait until all that was appended is on the disk."""
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        self._file.truncate(0)

    def close(self) -> None:
        self._file.close()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_lines(path: Path) -> Iterator[JsonObject]:
    """The JSON objects of a journal or another file of lines; a torn last line is left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield read_json(line)


class Journal:
    """Takes the entries; thread-safe. Without a file the last 10,000 are kept in memory."""

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        """Raises OSError."""
        self._lock = threading.Lock()
        self._clock = clock
        self._recent: deque[JsonObject] = deque(maxlen=KEPT_IN_MEMORY)
        self._file: LineFile | None = None
        self.sequence = 0
        if path is not None:
            self._file = LineFile(path)
            for entry in read_lines(path):
                self.sequence = entry["sequence"]

    def append(self, entry: JsonObject) -> None:
        """Number the entry, stamp it with the time and append it."""
        with self._lock:
            self.sequence += 1
            numbered = {"sequence": self.sequence, "time": iso_time(self._clock()), **entry}
            if self._file is not None:
                self._file.append(numbered)
            else:
                self._recent.append(numbered)

    def entries(self, since: int = 0) -> Iterator[JsonObject]:
        """The entries whose sequence is greater than `since`."""
        if self._file is not None:
            found: Iterator[JsonObject] = read_lines(self._file.path)
        else:
            with self._lock:
                found = iter(list(self._recent))
        return (entry for entry in found if entry["sequence"] > since)

    def recover(self, stored: JsonObject | None) -> None:
        """Append the line of the last stored version where a kill came between the two.

        Both files are written under one lock, so no more than one line can be missing. A journal that starts empty
        tells of what happens from now on.
        """
        if stored is None or self.sequence == 0:
            return
        place = (stored["type"], stored["id"], stored["version"])
        for entry in self.entries():
            if entry["interaction"] == "reset":
                continue
            if entry.get("changed") and (entry["type"], entry["id"], entry["version"]) == place:
                return
        self.append({**stored, "interaction": stored["interaction"], "changed": True, "recovered": True})

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Entry:
    """The entry of one request while it is being answered; it is appended once.

    `status` other than 0 is what will be sent, whatever `append` is told.
    """

    def __init__(self, journal: Journal, **fields: Any) -> None:
        self._journal = journal
        self._appended = False
        self.status = 0
        self.fields: JsonObject = fields

    def append(self, *, status: int, **fields: Any) -> None:
        """Add these fields and append the entry; does nothing the second time."""
        if not self._appended:
            self._appended = True
            self._journal.append({**self.fields, **fields, "status": self.status or status})


def iso_time(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
