"""Peers that hold places, time or memory which others need: each kind, with a clock that is passed in."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock

from hl7bridge.hl7.mllp import Decoder, FrameReceived, frame
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.service.inbound.admission import LONG_SILENT, SAID_NOTHING, SLOW
from hl7bridge.service.inbound.connection import MOST_UNSTORED, TURN, MllpConnection
from hl7bridge.service.inbound.frame_memory import SMALL, FrameMemory
from hl7bridge.service.inbound.frame_time import WINDOW
from hl7bridge.service.inbound.listener import MllpListener
from hl7bridge.service.inbound.listening import Limits
from tests.journey import KEY_SYSTEM, mfn, person
from tests.service.test_listener import DESTINATION, Commits, Slow, Transport

BAD, GOOD = "10.20.0.66", "10.20.0.1"
LIMITS = Limits(max_frame=1024 * 1024, max_connections=4, frame_timeout=30.0, frame_rate=256.0, answer_timeout=30.0)


class Peer:
    """One sender."""

    def __init__(self, port: Port, host: str) -> None:
        self.transport = Transport()
        version = IPv6Address if ":" in host else IPv4Address
        self.connection: MllpConnection = port.listener.buildProtocol(version("TCP", host, 40000))
        self.connection.makeConnection(self.transport)

    def write(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def send(self, control_id: str) -> None:
        self.write(frame(message(control_id)))

    @property
    def open(self) -> bool:
        return not (self.transport.aborted or self.transport.disconnecting)

    @property
    def read(self) -> bool:
        """Whether what it sends is read."""
        return bool(self.transport.producerState == "producing")

    @property
    def answers(self) -> list[str]:
        """MSA-1 and MSA-2 of each, `AA a`."""
        found = re.findall(rb"\rMSA\|(\w+)\|([\w-]*)", self.transport.value())
        return [b" ".join(one).decode() for one in found]


class Port:
    def __init__(self, clock: Clock | None = None, commits: Commits | None = None, **limits: Any) -> None:
        self.clock = clock or Clock()
        self.commits = commits or Commits()
        self.memory = FrameMemory(limits.pop("memory", 64 * 1024 * 1024))
        intake = Intake(FeedPolicy("staff", FeedRules(KEY_SYSTEM), {"fhir": DESTINATION}), b"x" * 32)
        self.listener = MllpListener(
            intake,
            self.commits,
            replace(LIMITS, **limits),
            self.clock,
            structlog.get_logger(),
            clock=self.clock,
            memory=self.memory,
        )

    def peers(self, host: str, count: int) -> list[Peer]:
        return [Peer(self, host) for _ in range(count)]


def message(control_id: str, more: bytes = b"") -> bytes:
    return mfn(control_id, person("MAD", "K1", "Tamsworth^Ilse")) + more


# --- messages that do not end ----------------------------------------------------------------------------------------


def test_a_byte_now_and_then_does_not_keep_a_message_under_way() -> None:
    port = Port(frame_timeout=0.0)
    (slow,) = port.peers(BAD, 1)
    slow.write(b"\x0bMS")
    with capture_logs() as lines:
        for _ in range(int(WINDOW) + 1):
            port.clock.advance(1.0)
            slow.write(b"H")
    assert not slow.open
    assert [(line["event"], line["limit"]) for line in lines] == [("frame too slow, connection closed", "frame_rate")]


def test_a_message_with_a_header_that_comes_too_slowly_is_refused_and_the_next_is_taken() -> None:
    port = Port()
    (slow,) = port.peers(BAD, 1)
    slow.write(b"\x0b" + message("slow") + b"NTE|1||" + b"x" * 2560)
    port.clock.advance(WINDOW)  # all of it came within the first window
    assert slow.answers == []
    port.clock.advance(WINDOW)
    assert slow.answers == ["AR slow"]
    slow.write(b"\x1c\r")
    slow.send("next")
    assert slow.answers == ["AR slow", "AA next"]


def test_a_slow_line_is_no_attack() -> None:
    """4 KiB at 300 bytes a second."""
    port = Port()
    (slow,) = port.peers(GOOD, 1)
    whole = frame(message("a", b"NTE|1||" + b"x" * 4000 + b"\r"))
    for at in range(0, len(whole), 300):
        port.clock.advance(1.0)
        slow.write(whole[at : at + 300])
    assert slow.answers == ["AA a"]


@pytest.mark.parametrize("rate", [0.0, 256.0])
def test_the_whole_message_has_a_deadline_however_fast_it_comes(rate: float) -> None:
    port = Port(frame_rate=rate)
    (endless,) = port.peers(BAD, 1)
    endless.write(b"\x0b" + message("endless"))
    for _ in range(300):
        port.clock.advance(0.1)
        endless.write(b"x" * 60_000)
    assert endless.answers == ["AR endless"]
    for _ in range(300):
        port.clock.advance(0.1)
        endless.write(b"x" * 60_000)
    assert not endless.open


# --- places ----------------------------------------------------------------------------------------------------------


def test_fillers_and_empty_frames_do_not_hold_places() -> None:
    port = Port()
    fillers = port.peers(BAD, 2) + port.peers(BAD, 2)
    for number in range(30):
        port.clock.advance(20.0)
        for one in fillers:
            if one.open:
                one.write(b"\r\n" if number % 2 else frame(b""))
    (sender,) = port.peers(BAD, 1)  # from the same host: nothing tells it from the others
    sender.send("a")
    assert sender.answers == ["AA a"]


def test_a_connection_that_said_nothing_gives_way_soon_and_one_that_did_does_not() -> None:
    port = Port(max_connections=2)
    spoke, silent = port.peers(GOOD, 2)
    spoke.send("a")
    port.clock.advance(SAID_NOTHING)
    (new,) = port.peers(GOOD, 1)
    assert (spoke.open, silent.open, new.open) == (True, False, True)


@pytest.mark.parametrize(
    "doing", ["nothing", "fillers", "slow messages", "a message before"], ids=lambda name: name.replace(" ", "-")
)
def test_a_host_that_holds_all_places_gives_one_to_another_host(doing: str) -> None:
    port = Port()
    held = port.peers(BAD, 4)
    for one in held:
        one.write({"fillers": b"\r", "slow messages": b"\x0bM"}.get(doing, b""))
        if doing == "a message before":
            one.send("x")
    port.clock.advance(SLOW)
    (sender,) = port.peers(GOOD, 1)
    sender.send("a")
    assert sender.answers == ["AA a"]
    assert [one.open for one in held].count(False) == 1
    assert not port.peers(BAD, 1)[0].open, "it takes no place of who holds fewer"
    assert sender.open


def test_nobody_who_is_owed_an_answer_gives_way() -> None:
    port = Port(commits=Slow())
    held = port.peers(BAD, 4)
    for one in held:
        one.send("x")
    port.clock.advance(10 * LONG_SILENT)
    assert not port.peers(GOOD, 1)[0].open
    assert all(one.open for one in held)


@pytest.mark.parametrize(
    ("hosts", "taken"),
    [
        ([BAD, BAD, BAD, GOOD, GOOD], [True, True, False, True, True]),
        (["2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:8::1", "2001:db8:0:1::1"], [True, True, False, True]),
        (["10.0.0.1", "::ffff:10.0.0.1", "::ffff:10.0.0.1"], [True, True, False]),
    ],
)
def test_one_host_holds_no_more_than_it_may(hosts: list[str], taken: list[bool]) -> None:
    port = Port(max_connections_per_host=2)
    with capture_logs() as lines:
        peers = [Peer(port, host) for host in hosts]
    assert [peer.open for peer in peers] == taken
    assert [line["reason"] for line in lines] == ["max_connections_per_host reached"]


def test_a_thousand_half_open_connections_keep_nobody_out() -> None:
    port = Port(max_connections=64)
    port.peers(BAD, 1000)
    (elsewhere,) = port.peers(GOOD, 1)
    assert elsewhere.open
    port.clock.advance(SAID_NOTHING)
    assert port.peers(BAD, 1)[0].open
    assert len(port.listener.connections) == 64


# --- answers that nobody reads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reads", [True, False])
def test_who_does_not_read_its_answers_is_closed_in_time(reads: bool) -> None:
    port = Port(answer_timeout=20.0)
    (peer,) = port.peers(BAD, 1)
    peer.send("a")
    peer.transport.producer.pauseProducing()
    port.clock.advance(19.0)
    if reads:
        peer.transport.producer.resumeProducing()
    port.clock.advance(1.0)
    assert peer.open is reads


# --- memory ----------------------------------------------------------------------------------------------------------


def held(peers: list[Peer]) -> int:
    return sum(one.connection._decoder.held for one in peers)


def test_large_messages_under_way_share_a_bounded_memory_and_small_ones_pass() -> None:
    port = Port(memory=3 * 1024 * 1024, max_connections=64)
    large = port.peers(BAD, 40)
    for one in large:
        one.write(b"\x0b" + message("big"))
    for _ in range(20):
        for one in large:
            if one.read:
                one.write(b"Z" * 50_000)
    assert held(large) <= 3 * 1024 * 1024 + 40 * (SMALL + 50_000)
    assert sum(one.read for one in large) == 2  # the third place is left to other hosts
    (small,) = port.peers(BAD, 1)
    small.send("a")
    assert small.answers == ["AA a"]


@pytest.mark.parametrize(
    "hosts", [[BAD], ["2001:db8:0:66::1", "2001:db8:0:66::2"]], ids=["one address", "one network of IPv6"]
)
def test_one_host_alone_does_not_take_the_memory_that_another_needs(hosts: list[str]) -> None:
    port = Port(memory=6 * 1024 * 1024, max_connections=64)

    def large(host: str) -> Peer:
        (peer,) = port.peers(host, 1)
        peer.write(b"\x0b" + message("big") + b"NTE|1||" + b"x" * SMALL)
        return peer

    slow = [large(hosts[number % len(hosts)]) for number in range(8)]
    assert [peer.read for peer in slow] == [True] * 5 + [False] * 3
    first, second, third = [large(GOOD) for _ in range(3)]
    assert [first.read, second.read] == [True, False]
    for gone, other in zip(slow, (second, third), strict=False):
        gone.connection.connectionLost()
        assert other.read, "it has fewer places, and goes before those who asked earlier"
    assert not any(peer.read for peer in slow[5:])
    for peer in [first, second, third, *slow]:
        if peer not in slow[:2]:
            peer.connection.connectionLost()
    assert (port.memory._places, port.memory._waiting) == ({}, {})


def test_who_waits_for_memory_gets_it_in_turn_and_its_time_does_not_run() -> None:
    port = Port(memory=1024 * 1024, frame_rate=0.0)
    first, second, third = peers = port.peers(GOOD, 3)
    for number, peer in enumerate(peers):
        peer.write(b"\x0b" + message(f"m{number}") + b"NTE|1||" + b"x" * SMALL)
    assert [peer.read for peer in peers] == [True, False, False]
    port.clock.advance(29.0)
    first.connection.connectionLost()
    assert [peer.read for peer in peers[1:]] == [True, False]
    port.clock.advance(29.0)
    assert second.answers == []
    port.clock.advance(1.0)
    assert second.answers == ["AR m1"]  # its rest may still come, and no more than a little of it is kept
    second.connection.connectionLost()
    assert third.read
    third.connection.connectionLost()
    assert port.memory._places == {}


# --- more than its share ---------------------------------------------------------------------------------------------


class Busy(Clock):
    """Time that passes while one works."""

    def seconds(self) -> float:
        self.rightNow += TURN / 10
        return float(self.rightNow)


@pytest.mark.parametrize(
    "what", [frame(b""), frame(message("p")), b"\x0b" + message("p")[:20]], ids=["empty", "whole", "cut"]
)
def test_whoever_sends_many_at_once_leaves_the_others_their_turn(what: bytes) -> None:
    port = Port(clock=Busy())
    many, other = port.peers(GOOD, 2)
    count = 60
    many.write(what * count + frame(message("last")))
    assert "AA last" not in many.answers
    assert not many.read
    other.send("a")
    assert other.answers == ["AA a"]
    for _ in range(count):
        port.clock.advance(1.0)
    assert many.answers[-1] == "AA last"
    assert many.read


def test_what_came_whole_before_the_connection_was_lost_is_taken() -> None:
    port = Port(clock=Busy())
    (many,) = port.peers(GOOD, 1)
    many.write(b"".join(frame(message(f"m{number}")) for number in range(20)))
    many.connection.connectionLost()
    assert len(port.commits.stored) == 20


def test_one_sender_does_not_fill_the_queue_to_the_disk() -> None:
    port = Port(commits=Slow())
    (many,) = port.peers(GOOD, 1)
    many.write(b"".join(frame(message(f"m{number}")) for number in range(3 * MOST_UNSTORED)))
    assert len(port.commits.stored) == MOST_UNSTORED
    while port.commits.answers:  # type: ignore[attr-defined]
        port.commits.answers.pop(0)()  # type: ignore[attr-defined]
    assert many.answers == [f"AA m{number}" for number in range(3 * MOST_UNSTORED)]
    assert many.read


# --- bytes that cost more than others ---------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [b"\x0b", b"\x0bM", b"\x1cx", b"\x1c\x1c\x1cx", b"\x0bx\x1cx"], ids=repr)
def test_block_characters_inside_a_frame_are_passed_over_by_a_search(
    monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    looks = 0
    at_start, at_end = Decoder._at_start_block, Decoder._at_end_block

    def counted(look: Any) -> Any:
        def counting(decoder: Decoder, at: int) -> Any:
            nonlocal looks
            looks += 1
            return look(decoder, at)

        return counting

    monkeypatch.setattr(Decoder, "_at_start_block", counted(at_start))
    monkeypatch.setattr(Decoder, "_at_end_block", counted(at_end))
    decoder = Decoder()
    decoder.receive_data(b"\x0bMSH|" + piece * 50_000 + b"\x1c\r")
    event = decoder.next_event()
    assert isinstance(event, FrameReceived)
    assert len(event.body) == 4 + 50_000 * len(piece)
    assert event.defect
    assert looks < 10
