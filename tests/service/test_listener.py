"""One connection without a socket: when it reads, when it stops reading, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import structlog
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.hl7.mllp import frame
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import Refusal
from hl7bridge.service.inbound.connection import BUILT_WITHIN, CLOSE_WITHIN
from hl7bridge.service.inbound.listener import MllpListener
from hl7bridge.service.inbound.listening import Limits
from hl7bridge.service.inbound.states import ConnectionState
from hl7bridge.service.inbound.tls import ListenerTls
from hl7bridge.service.inbound.unseen import SEEN_WITHIN
from hl7bridge.store.store import Accepted, NewMessage
from tests.journey import KEY_SYSTEM, mfn, person

DESTINATION = FhirDestination(DestinationRules(name="fhir", base_url="http://127.0.0.1/fhir", mode="write"))


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
    write_ended = False

    def loseWriteConnection(self) -> None:
        self.write_ended = True

    def setTcpNoDelay(self, _: bool) -> None: ...

    def setTcpKeepAlive(self, _: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True

    def getPeerCertificate(self) -> None: ...

    def getHandle(self) -> None: ...


class Bench:
    def __init__(self, tls: ListenerTls | None = None) -> None:
        self.commits, self.clock, self.transport = Commits(), Clock(), Transport()
        intake = Intake(FeedPolicy("staff", FeedRules(KEY_SYSTEM), {"fhir": DESTINATION}), b"x" * 32)
        limits = Limits(max_frame=1024 * 1024, frame_timeout=30.0)
        log = structlog.get_logger()
        self.listener = MllpListener(intake, self.commits, limits, self.clock, log, clock=self.clock, tls=tls)
        self.connection = self.listener.buildProtocol(None)
        self.connection.makeConnection(self.transport)

    def send(self, *control_ids: str) -> None:
        for control_id in control_ids:
            self.connection.dataReceived(frame(mfn(control_id, person("MAD", "K1", "Tamsworth^Ilse"))))

    @property
    def stored(self) -> list[str]:
        return [message.header["control_id"] for message in self.commits.stored]

    @property
    def answers(self) -> list[tuple[bytes, bytes]]:
        """(MSA-1, MSA-2) of each answer that was written."""
        return re.findall(rb"\rMSA\|(\w+)\|(\w*)", self.transport.value())


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


class Slow(Commits):
    """Stores at once and answers when told; notes what became of each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Callable[[], None]] = []
        self.noted: list[str] = []

    def put(self, message: NewMessage, answer: Callable[[Accepted | None], None]) -> bool:
        self.stored.append(message)
        number = len(self.stored)
        self.answers.append(lambda: answer(Accepted(number, acknowledgments=message.acknowledgments)))
        return True

    def note(self, message_id: int, kind: str, state: object) -> None:
        self.noted.append(str(state))


def test_a_sender_that_ended_its_side_gets_what_it_is_owed_and_then_the_end(bench: Bench) -> None:
    bench.listener.commits = commits = Slow()
    bench.send("a", "b")
    bench.connection.readConnectionLost()
    commits.answers[0]()
    assert not bench.transport.write_ended
    bench.clock.advance(1.0)
    commits.answers[1]()
    assert bench.transport.value().count(b"MSA|AA|") == 2
    assert bench.transport.write_ended
    bench.connection.writeConnectionLost()
    bench.clock.advance(SEEN_WITHIN)
    assert bench.transport.disconnecting
    assert commits.noted == ["sent", "sent"]


def test_answers_later_than_the_deadline_count_as_not_sent(bench: Bench) -> None:
    bench.listener.commits = commits = Slow()
    bench.send("a", "b")
    bench.connection.readConnectionLost()
    commits.answers[0]()
    bench.clock.advance(bench.listener.intake.policy.ack_deadline)
    assert not bench.transport.disconnecting  # what falls due by now is still to be built
    bench.clock.advance(BUILT_WITHIN)
    assert bench.transport.disconnecting
    commits.answers[1]()
    assert bench.transport.value().count(b"MSA|AA|") == 1
    assert commits.noted == ["sent", "not sent"]


class Fails:
    """In place of a function: fails the first time, with a text that must not be told."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function, self._failed = function, False

    def __call__(self, *given: object) -> object:
        if not self._failed:
            self._failed = True
            raise RuntimeError("CANARY")
        return self._function(*given)


# What fails once the answer to the second of three messages is given.
BREAKS: dict[str, Callable[[Bench], tuple[object, str]]] = {
    "noting that it is stored": lambda bench: (bench.listener.intake, "stored"),
    "writing it": lambda bench: (bench.transport, "write"),
    "what follows on it": lambda bench: (bench.connection, "answered"),
    "having its outcome awaited": lambda bench: (bench.listener.commits, "await_outcome"),
}


@pytest.mark.parametrize("breaks", BREAKS)
@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
def test_an_answer_that_cannot_be_given_ends_the_connection_and_keeps_no_other_waiting(
    bench: Bench, breaks: str, order: list[int]
) -> None:
    bench.listener.commits = commits = Slow()
    policy = bench.listener.intake.policy
    bench.send("a")
    if breaks == "having its outcome awaited":
        bench.listener.intake.policy = replace(policy, acknowledge_when="delivered")
    bench.send("b")
    bench.listener.intake.policy = policy
    bench.send("c")
    place, name = BREAKS[breaks](bench)
    with structlog.testing.capture_logs() as lines:
        for number in order:
            if number == 1:
                setattr(place, name, Fails(getattr(place, name)))
            commits.answers[number]()
    assert bench.connection.owes == 0
    assert bench.transport.disconnecting
    assert bench.transport.value().count(b"MSA|AA|c") == 0
    told = [line for line in lines if line["log_level"] == "error"]
    assert [(line["event"], line["error"]) for line in told] == [
        ("an answer could not be given, connection closed", "RuntimeError")
    ]


class Resettable:
    """The socket of a transport, as far as it is asked: whether the peer has reset it, which is told once."""

    reset = False

    def getsockopt(self, *_: int) -> int:
        told, self.reset = self.reset, False
        return 104 * told

    def setsockopt(self, *_: int) -> None: ...


# Steps: a = an answer leaves, "." = half of `SEEN_WITHIN` passes, R = the peer resets, u / r = it stops reading / reads on,
# F = it ends its side, c = we close, x = the connection breaks. Then what was noted of the answers, s = sent, n = not sent.
SEEN = {
    "a ....": "s",
    "a a ....": "ss",
    "a . a ..": "",  # not before the second look
    "a . a ....": "ss",
    "a R ..": "n",
    "a .. a R ..": "nn",
    "a .... a R ..": "sn",
    "a R .. a ..": "nn",  # a reset is told once
    "a R .. a c": "nn",
    "a x": "n",
    "a .... x": "s",
    "a c": "s",
    "a R c": "n",
    "a u ........": "",
    "a u ........ c": "n",
    "a u ........ x": "n",
    "a u ........ r ....": "s",
    "a F ..": "s",
    "a F R ..": "n",
    "F a ..": "s",
    "F a R ..": "n",
    "F a x": "n",
    "u F a ......": "",
    "u F a ...... r ....": "s",
}


@pytest.mark.parametrize("steps", SEEN)
def test_an_answer_is_sent_when_its_sender_is_still_there_a_moment_later(bench: Bench, steps: str) -> None:
    bench.listener.commits = commits = Slow()
    wire = Resettable()
    bench.transport.getHandle = lambda: wire  # type: ignore[method-assign, return-value, assignment]
    bench.send(*(f"m{number}" for number in range(steps.count("a"))))
    connection, answers = bench.connection, iter(commits.answers)
    step: dict[str, Callable[[], object]] = {
        "a": lambda: next(answers)(),
        ".": lambda: bench.clock.advance(SEEN_WITHIN / 2),
        "R": lambda: setattr(wire, "reset", True),
        "u": connection.pauseProducing,
        "r": connection.resumeProducing,
        "F": connection.readConnectionLost,
        "c": connection.close,
        "x": connection.connectionLost,
        " ": lambda: None,
    }
    for one in steps:
        was = connection.state
        step[one]()
        if connection.state is ConnectionState.ENDING is not was:
            connection.writeConnectionLost()  # the transport says so as soon as all is written
    assert "".join("s" if noted == "sent" else "n" for noted in commits.noted) == SEEN[steps]


def test_nothing_is_read_again_of_a_peer_that_ended_its_side(bench: Bench) -> None:
    bench.send("a")
    bench.transport.producer.pauseProducing()
    bench.connection.readConnectionLost()
    assert not bench.transport.write_ended  # what was written is not read yet
    state = bench.transport.producerState
    bench.transport.producer.resumeProducing()
    assert bench.transport.producerState == state
    assert bench.transport.write_ended


def message_of(control_id: str, **given: str) -> bytes:
    return mfn(control_id, person("MAD", "K1", "Tamsworth^Ilse"), **given)


@pytest.mark.parametrize("begun", [b"", b"NTE|1||" + b"x" * 3_000_000], ids=["short", "beyond max_frame"])
def test_a_frame_that_does_not_end_is_answered_and_passed_over(bench: Bench, begun: bytes) -> None:
    bench.connection.dataReceived(b"\x0b" + message_of("half") + begun)
    bench.clock.advance(30.0)
    answer = bench.transport.value()
    assert b"MSA|AR|half" in answer
    assert b"frame-unfinished" in answer
    bench.transport.clear()
    bench.connection.dataReceived(b"STF|K1\r" + b"\x1c\r")
    bench.send("next")
    assert bench.transport.value().count(b"MSA|") == 1
    assert b"MSA|AA|next" in bench.transport.value()
    assert not bench.transport.disconnecting


def test_a_frame_that_is_begun_anew_is_taken(bench: Bench) -> None:
    bench.connection.dataReceived(b"\x0b" + message_of("half")[:-9])
    bench.clock.advance(30.0)
    bench.send("half")
    assert bench.answers == [
        (b"AR", b"half"),
        (b"AA", b"half"),
    ]


def test_what_goes_on_for_ever_ends_the_connection(bench: Bench) -> None:
    bench.connection.dataReceived(b"\x0b" + message_of("half"))
    bench.clock.advance(30.0)
    for _ in range(30):
        bench.connection.dataReceived(b"x" * 1000)
        bench.clock.advance(1.0)
    assert bench.transport.disconnecting
    assert bench.transport.value().count(b"MSA|") == 1


@pytest.mark.parametrize(
    ("given", "codes", "answers", "ends"),
    [
        ({"accept": "NE", "application": "NE"}, {}, [], False),
        ({"accept": "AL", "application": "NE"}, {}, [b"CR"], False),
        ({"accept": "NE", "application": "AL"}, {}, [b"AR"], False),
        ({}, {Refusal.UNSUPPORTED: "close"}, [], True),
        ({}, {Refusal.UNSUPPORTED: "AE"}, [b"AE"], False),
    ],
)
def test_it_is_answered_as_it_asks_and_as_the_feed_says(
    bench: Bench, given: dict[str, str], codes: dict[Refusal, str], answers: list[bytes], ends: bool
) -> None:
    bench.listener.intake.policy = replace(bench.listener.intake.policy, codes=codes)
    bench.connection.dataReceived(b"\x0b" + message_of("half", **given))
    bench.clock.advance(30.0)
    assert [code for code, _ in bench.answers] == answers
    assert bench.transport.disconnecting is ends


@pytest.mark.parametrize("begun", [b"", b"MS", b"MSH|^~\\&|HR|N|B|F|20260302||MFN^M02|ha", b"no HL7\r" * 9])
def test_without_a_whole_header_there_is_nobody_to_answer(bench: Bench, begun: bytes) -> None:
    bench.connection.dataReceived(b"\x0b" + begun)
    bench.clock.advance(30.0)
    assert bench.transport.disconnecting
    assert bench.transport.value() == b""


def test_a_frame_that_its_sender_cut_off_is_answered_on_the_open_side(bench: Bench) -> None:
    bench.send("a")
    bench.connection.dataReceived(b"\x0b" + message_of("half"))
    bench.connection.readConnectionLost()
    assert bench.answers == [
        (b"AA", b"a"),
        (b"AR", b"half"),
    ]
    assert bench.transport.write_ended


BHS, FHS = "BHS|^~\\&|HR|NORTH|BRIDGE|FHIR|20260302||||B77", "FHS|^~\\&|HR|NORTH|BRIDGE|FHIR|20260302||||F77"


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([BHS, "BTS|0"], "BHS BTS"),
        ([BHS], "BHS BTS"),
        (["BTS|0"], "BHS BTS"),
        ([FHS, BHS, "BTS|0", BHS, "BTS|0", "FTS|2"], "FHS BHS BTS BHS BTS FTS"),
        ([FHS, "FTS|0"], "FHS FTS"),
    ],
)
def test_an_empty_batch_is_answered_by_an_empty_batch(bench: Bench, lines: list[str], names: str) -> None:
    bench.connection.dataReceived(frame("".join(line + "\r" for line in lines).encode()))
    (answer,) = bench.transport.value().split(b"\x0b")[1:]
    said = [line.split("|") for line in answer.decode().removesuffix("\x1c\r").removesuffix("\r").split("\r")]
    assert " ".join(line[0] for line in said) == names
    for line in said:
        if line[0] in ("BHS", "FHS") and line[2]:
            assert line[2:6] == ["BRIDGE", "FHIR", "HR", "NORTH"]
            assert line[11] == ("B77" if line[0] == "BHS" else "F77")
    assert [line[1] for line in said if line[0] == "FTS"] == [str(names.count("BHS"))] * names.count("FTS")
    assert bench.commits.stored == []
    bench.send("a")
    assert b"MSA|AA|a" in bench.transport.value()


def test_a_batch_is_answered_by_the_answers_of_its_messages(bench: Bench) -> None:
    bench.connection.dataReceived(frame(BHS.encode() + b"\r" + message_of("a") + message_of("b") + b"BTS|2\r"))
    assert bench.transport.value().count(b"MSA|AA|") == 2
    assert b"BHS" not in bench.transport.value()


SILENT = {
    "a blank frame": (b"\r\n ", "blank-frame"),
    "an acknowledgment": (b"MSH|^~\\&|A|B|C|D|20260302||ACK|9|P|2.5.1\rMSA|AA|1\r", "acknowledgment"),
    "nothing asked": (message_of("quiet", accept="NE", application="NE"), "no-answer-asked"),
}


@pytest.mark.parametrize(("body", "what"), SILENT.values(), ids=list(SILENT))
def test_where_there_is_no_answer_the_log_says_why(bench: Bench, body: bytes, what: str) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            bench.connection.dataReceived(frame(body))
        bench.connection.connectionLost()
    assert bench.transport.value() == b""
    assert [(line["what"], line.get("count")) for line in logs if "what" in line] == [(what, None), (what, 3)]
