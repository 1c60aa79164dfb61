"""Senders in the background: a stream that goes on while something else happens to the bridge or the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance import stream
from tests.bridges import Bridge, Feed
from tests.mllp_peer import Address, Ledger, Planned, Sender

DRAIN_WITHIN = 120.0
FEEDS = (
    Feed("stored", "urn:uuid:2f9a7c1e-8d36-4f0b-9c55-1b7de2a40c11"),
    Feed(
        "delivered",
        "urn:uuid:2f9a7c1e-8d36-4f0b-9c55-1b7de2a40c22",
        settings={"acknowledgment": {"acknowledge_when": "delivered", "ack_deadline": "2s"}},
    ),
)
"""Half of the senders are answered when the message is stored, half when its outcome is known."""


@dataclass
class Traffic:
    """`connections` senders with their own people each, sending until `finish`, in turn to one and the other of FEEDS."""

    path: Path
    bridge: Bridge
    seed: int
    connections: int = 4
    people: int = 90
    pace: float = 0.15
    senders: list[Sender] = field(default_factory=list)
    lines: list[stream.Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ledger = Ledger(self.path)
        self._enough = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self.lines = stream.lines(self.seed, self.connections, self.people)
        for number, line in enumerate(self.lines):
            address = self._address_of(FEEDS[number % len(FEEDS)].name)
            self.senders.append(Sender(line.name, address, self._ledger, pace=self.pace, patience=5.0))

    def _address_of(self, feed: str) -> Callable[[], Address]:
        return lambda: ("127.0.0.1", self.bridge.ports[feed])

    def start(self) -> None:
        for sender, line in zip(self.senders, self.lines, strict=True):
            thread = threading.Thread(target=self._run, args=(sender, line), name=sender.name)
            thread.start()
            self._threads.append(thread)

    def _run(self, sender: Sender, line: stream.Line) -> None:
        try:
            sender.run(self._until_enough(line))
        except BaseException as error:
            self._failures.append(error)

    def _until_enough(self, line: stream.Line) -> Iterator[Planned]:
        while not self._enough.is_set():
            yield line.message()

    def finish(self) -> None:
        """Begin nothing more; wait until all that was begun is acknowledged. Raises what a sender raised."""
        self._enough.set()
        for thread in self._threads:
            thread.join(DRAIN_WITHIN)
        self.abandon()
        if self._failures:
            raise self._failures[0]

    def abandon(self) -> None:
        """Stop at once, acknowledged or not."""
        self._enough.set()
        for sender in self.senders:
            sender.stop.set()
        for thread in self._threads:
            thread.join(30)
        self._ledger.close()

    @property
    def attempts(self) -> int:
        return sum(sender.attempts for sender in self.senders)

    @property
    def sent(self) -> int:
        return sum(line.sent for line in self.lines)


@contextmanager
def flowing(traffic: Traffic) -> Iterator[Traffic]:
    """Traffic while the block runs. It ends by `finish`, or at once when the block fails."""
    traffic.start()
    try:
        yield traffic
        traffic.finish()
    finally:
        traffic.abandon()
