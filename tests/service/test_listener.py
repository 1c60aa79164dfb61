"""One connection without a socket: when it reads, when it stops reading, and how it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from hl7bridge.fhir.rules import DestinationRules
from hl7bridge.hl7.mllp import frame
from hl7bridge.mapping.rules import FeedRules
from hl7bridge.service.intake import FeedPolicy, Intake
from hl7bridge.service.listener import CLOSE_WITHIN, Limits, MllpListener
from hl7bridge.store.store import Accepted, NewMessage
from tests.journey import KEY_SYSTEM, mfn, person

DESTINATION = DestinationRules(name="fhir", base_url="http://127.0.0.1/fhir", mode="write")


class Commits:
    """Stores at once, in memory."""

    backlog = 0

    def __init__(self) -> None:
        self.stored: list[NewMessage] = []

    def put(self, message: NewMessage, answer: Callable[[Accepted | None], None]) -> bool:
        self.stored.append(message)
        answer(Accepted(len(self.stored), acknowledgments=message.acknowledgments))
        return True

    def note(self, *_: object) -> None: ...

    def await_outcome(self, *_: object) -> None: ...


class Transport(StringTransport):
    aborted = False

    def setTcpNoDelay(self, _: bool) -> None: ...

    def setTcpKeepAlive(self, _: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True


class Bench:
    def __init__(self) -> None:
        self.commits, self.clock, self.transport = Commits(), Clock(), Transport()
        intake = Intake(FeedPolicy("staff", FeedRules(KEY_SYSTEM), {"fhir": DESTINATION}), b"x" * 32)
        limits = Limits(max_frame=1024 * 1024, frame_timeout=30.0)
        log = structlog.get_logger()
        self.listener = MllpListener(intake, self.commits, limits, self.clock, log, clock=self.clock)
        self.connection = self.listener.buildProtocol(None)
        self.connection.makeConnection(self.transport)

    def send(self, *control_ids: str) -> None:
        for control_id in control_ids:
            self.connection.dataReceived(frame(mfn(control_id, person("MAD", "K1", "Tamsworth^Ilse"))))

    @property
    def stored(self) -> list[str]:
        return [message.header["control_id"] for message in self.commits.stored]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_peer_that_reads_no_answers_is_not_read_either(bench: Bench) -> None:
    bench.send("a")
    bench.transport.producer.pauseProducing()  # as the transport says when its buffer is full
    assert bench.transport.producerState == "paused"
    bench.send("b")
    assert bench.stored == ["a"]
    bench.transport.producer.resumeProducing()
    assert bench.transport.producerState == "producing"
    assert bench.stored == ["a", "b"]


def test_a_peer_that_never_reads_its_last_answer_does_not_keep_the_connection(bench: Bench) -> None:
    bench.send("a")
    bench.transport.producer.pauseProducing()
    bench.listener.finish()
    assert bench.transport.producer is None  # a transport with a paused one would never end
    assert bench.transport.disconnecting
    bench.clock.advance(CLOSE_WITHIN)
    assert bench.transport.aborted


def test_a_connection_that_ends_in_time_is_not_aborted(bench: Bench) -> None:
    bench.send("a")
    bench.listener.finish()
    bench.connection.connectionLost()
    bench.clock.advance(CLOSE_WITHIN)
    assert not bench.transport.aborted


class Full(Commits):
    """A queue to the disk that takes the first message only, and answers it when told."""

    first: Callable[[], None]

    def put(self, message: NewMessage, answer: Callable[[Accepted | None], None]) -> bool:
        if self.stored:
            return False
        self.stored.append(message)
        self.first = lambda: answer(Accepted(1, acknowledgments=message.acknowledgments))
        return True


def test_a_burst_that_is_refused_is_answered_in_order_however_long_it_is(bench: Bench) -> None:
    bench.listener.commits = bench.commits = commits = Full()
    many = 3000  # in one read of 64 KiB
    burst = b"".join(frame(b"MSH|^~\\&|" + bytes(str(number), "ascii")) for number in range(many))
    bench.connection.dataReceived(frame(mfn("M0", person("MAD", "K1", "Tamsworth^Ilse"))) + burst)
    assert bench.transport.producerState == "paused"
    commits.first()
    assert bench.transport.value().count(b"\x1c\r") == many + 1
    assert bench.connection.owes == 0
    assert bench.transport.producerState == "producing"
