"""One sender's MLLP connection: it moves bytes, keeps time, and stands in one of the states of `states.py`.

What it owes to its sender is `owed.py`. A sender may end its side (FIN) and wait: what it is owed then goes out on the other
side, for at most `ack_deadline`. (MLLP Release 1, HL7 v2 implementation guide appendix C; design.md section 5)
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import protocol, threads
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.python.failure import Failure
from zope.interface import implementer

from hl7bridge.hl7.batch import Batch
from hl7bridge.hl7.mllp import NEED_DATA, BytesDiscarded, Decoder, FrameReceived, FrameTooLarge
from hl7bridge.intake.intake import Prepared
from hl7bridge.intake.odd_frames import UNFINISHED, can_be_answered
from hl7bridge.intake.senders import NOT_ALLOWED, Senders
from hl7bridge.intake.verdict import takes_long
from hl7bridge.service.inbound.frame_memory import SMALL
from hl7bridge.service.inbound.frame_time import FrameTime
from hl7bridge.service.inbound.listening import Listening
from hl7bridge.service.inbound.owed import Owed
from hl7bridge.service.inbound.states import ConnectionEvent, ConnectionState, after
from hl7bridge.service.inbound.tls import peer_names, why_refused
from hl7bridge.service.inbound.unseen import SEEN_WITHIN

MANY = 8  # messages of one frame above which they are translated beside the reactor
PART_SIZE, PART_MESSAGES = 256 * 1024, 100  # so much of such a frame is translated at one time
TURN, BREATH = 0.003, 0.001  # seconds for which one connection's frames are taken, and then others have their turn
MOST_UNANSWERED = 256  # answers owed to one connection before its reading pauses
MOST_UNSTORED = 32  # of these, messages that are not on the disk yet: others wait behind them
CLOSE_WITHIN = 10.0  # seconds that a peer has to read its last answers
BUILT_WITHIN = 1.0  # seconds for an answer that falls due at `ack_deadline` itself to be built
HANDSHAKE_WITHIN = 10.0  # seconds that a peer has to agree on TLS
MOST_BACKLOG = 64 * 1024 * 1024  # bytes that wait for the disk before every connection that is owed answers pauses


def keep_alive(transport: Any) -> None:
    """Have the system find out within about two minutes that a peer is gone (its own default is two hours)."""
    transport.setTcpKeepAlive(True)
    connection = _socket_of(transport)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if connection is not None and hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _socket_of(transport: Any) -> Any:
    """The socket of a transport, also below TLS; None where it has none."""
    below = getattr(transport, "transport", None) or transport
    return below.getHandle() if hasattr(below, "getHandle") else None


def stopped(timer: Any) -> Any:
    """Cancel a timer that may have run, or never begun; returns the None that stands for none."""
    if timer is not None and timer.active():
        timer.cancel()
    return None


@dataclass(slots=True)
class LargeFrame:
    """A frame whose messages are translated some at a time, beside the reactor.

    waiting  those that are not translated yet; none while the frame is being split
    alone    whether it holds one message
    held_up  they wait for answers to leave
    """

    defect: str
    waiting: deque[bytes] = field(default_factory=deque)
    alone: bool = True
    held_up: bool = False


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class MllpConnection(protocol.Protocol):
    """One sender's connection."""

    factory: Listening

    def __init__(self, host: str, port: int) -> None:
        self.host, self.peer = host, f"{host}:{port}"
        self.state: ConnectionState | None = None  # None until it is admitted or refused
        self.silent_since = 0.0  # when its last message came, or it was opened; fillers and empty frames do not count
        self.spoke = False  # whether it has sent a message
        self.certificate: tuple[str, ...] = ()  # the names of the certificate that the sender showed
        self._pumping = False  # frames are being taken: an answer that leaves meanwhile takes no others before them
        self._large: LargeFrame | None = None  # frames behind it wait, so that order holds
        self._paused = False
        self._unread = False  # the peer does not read its answers: the socket takes no more of them
        self._said: dict[str, int] = {}  # what was put up with, and how often
        self._turn: Any = None  # what is left of its frames is taken after others had their turn
        self._frame_time = FrameTime()
        self._timer: Any = None
        self._unread_timer: Any = None

    def _move(self, event: ConnectionEvent) -> None:
        """The one place where the state changes: by the table."""
        self.state = after(self.state, event)

    @property
    def _ended(self) -> bool:
        """Whether the sender has ended its side."""
        return self.state in (ConnectionState.HALF_CLOSED, ConnectionState.ENDING)

    @property
    def _over(self) -> bool:
        """Whether nothing more is taken or answered."""
        return self.state in (ConnectionState.CLOSING, ConnectionState.CLOSED)

    # -- Twisted's names --

    def connectionMade(self) -> None:
        self._decoder, self._owed = Decoder(self.factory.limits.max_frame), Owed(self)
        self.silent_since = self.factory.clock.seconds()
        if not self.factory.admit(self):
            self._move(ConnectionEvent.REFUSED)
            self._transport.abortConnection()
            return
        self._transport.setTcpNoDelay(True)
        keep_alive(self._transport)
        if self.factory.tls is not None:
            self._move(ConnectionEvent.SECURING)
            self._timer = self.factory.clock.callLater(HANDSHAKE_WITHIN, self._handshake_too_slow)
            return
        self._move(ConnectionEvent.ADMITTED)
        self._begin()

    def handshakeCompleted(self) -> None:
        """TLS is agreed on. Whose certificate nobody named may connect, and is refused message by message."""
        if self.state is not ConnectionState.HANDSHAKE:
            return
        self.certificate = peer_names(self._transport)
        self._move(ConnectionEvent.SECURED)
        self._begin()

    def _begin(self) -> None:
        """Take messages."""
        self._transport.registerProducer(self, True)  # tells us when answers pile up, and when they are read
        self._keep_time()

    def _handshake_too_slow(self) -> None:
        self.factory.log.warning("TLS handshake too slow, connection closed", peer=self.peer)
        self.close()

    @property
    def _senders(self) -> Senders | None:
        """Who the sender's messages may say that they come from; None = anybody."""
        tls = self.factory.tls
        return tls.certificates.senders(self.certificate) if tls is not None else None

    def pauseProducing(self) -> None:
        self._unread = True
        self._pause(True)
        if self.factory.limits.answer_timeout and not self._over:
            self._unread_timer = self.factory.clock.callLater(self.factory.limits.answer_timeout, self._reads_nothing)

    def resumeProducing(self) -> None:
        self._unread = False
        self._unread_timer = stopped(self._unread_timer)
        self._pump()

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` says so, too."""

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        self._frame_time.received(len(data))
        self._decoder.receive_data(data)
        self._pump()
        self._keep_time()

    def readConnectionLost(self) -> None:
        """The peer has ended its side. What it is owed goes out, for at most `ack_deadline`; then we end ours."""
        if self._over:
            return
        self._move(ConnectionEvent.SENDER_ENDED)
        self._stop_timer()
        deadline = self.factory.intake.policy.ack_deadline + BUILT_WITHIN
        self._timer = self.factory.clock.callLater(deadline, self._too_late)
        self._end_block_came()
        self._pump()

    def writeConnectionLost(self) -> None:
        """Our side is ended, too, and all is written: in a moment it is clear whether the peer was there to read it."""
        self.factory.clock.callLater(SEEN_WITHIN, self.close)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._end_block_came()
        if self._turn:
            self._turn = stopped(self._turn)
            self._pump(at_once=True)  # what came whole is taken, though nobody may read the answers
        if self.state is ConnectionState.HANDSHAKE:
            why = why_refused(self._transport, reason.value)
            self.factory.log.warning("TLS handshake failed", peer=self.peer, reason=why)
        if self.state is not ConnectionState.CLOSED:
            self._move(ConnectionEvent.LOST)
        self._stop_timer()
        self._unread_timer = stopped(self._unread_timer)
        self.factory.memory.give_back(self)
        for what, count in self._said.items():
            if count > 1:
                self.factory.log.info("repeated on this connection", what=what, count=count, peer=self.peer)
        left = self._decoder.at_end()
        if left is not None:
            self.factory.log.warning("partial frame discarded, the peer closed", peer=self.peer, bytes=left.count)
        self._owed.give_up()
        if self._large and self._large.held_up:
            self._take_some(self._large)  # it is whole: its messages are taken though nobody reads the answers
        self.factory.release(self)

    # -- frames in --

    @property
    def _transport(self) -> Any:
        return self.transport

    def _pump(self, *, at_once: bool = False) -> None:
        """Take what the decoder holds, unless a large frame is under way or too many answers are owed."""
        if self._pumping or self._turn:
            return
        self._pumping = True
        try:
            self._take_frames(at_once)
        finally:
            self._pumping = False
        self.end_when_done()

    def _take_frames(self, at_once: bool) -> None:
        began = self.factory.clock.seconds()
        if self._large and self._large.held_up:
            self._take_some(self._large)
        while not (self._large or self._over):
            if self._is_ahead():
                self._pause(True)
                return
            if not at_once and self.factory.clock.seconds() - began >= TURN:
                self._pause(True)  # no more is read of whoever is ahead of us
                self._turn = self.factory.clock.callLater(BREATH, self._turn_comes)
                return
            event = self._decoder.next_event()
            if event is NEED_DATA:
                break
            if isinstance(event, FrameReceived):
                self._frame_time.end()
                self._frame(event)
            elif isinstance(event, FrameTooLarge):
                self._frame_time.end()
                self.factory.log.warning("frame larger than max_frame refused", peer=self.peer, bytes=event.size)
                self._owed.take([self.factory.intake.unread(event.head, event.size, self.peer)])
            elif isinstance(event, BytesDiscarded):
                self.factory.counted("bytes-discarded")
                self._warn_once(event.reason, bytes=event.count)
        if self._ended and not self._large:
            self._give_up_frame()
        has_room = self._has_memory()
        has_room = has_room and len(self._owed) < MOST_UNANSWERED // 2 and self._owed.unstored < MOST_UNSTORED // 2
        if self._paused and has_room and not (self._large or self._unread):
            self._pause(False)

    def _turn_comes(self) -> None:
        self._turn = None
        self._pump()
        self._keep_time()

    def _has_memory(self) -> bool:
        """Whether the frame under way may go on: a large one needs a place in the memory that all share."""
        if self._over or (self._decoder.held <= SMALL and not self._large):
            self.factory.memory.give_back(self)
        elif not self._large and not self.factory.memory.take(self, self.factory.limits.max_frame):
            self._pause(True)
            return False
        return True

    def place_given(self) -> None:
        """There is memory for the frame under way: go on reading."""
        self._pump()
        self._keep_time()

    def _is_ahead(self) -> bool:
        """Whether this sender is far ahead of our answers, or of the disk, or reads none; the next answer looks again."""
        backlog = self.factory.commits.backlog
        owed, unstored = len(self._owed), self._owed.unstored
        many = owed >= MOST_UNANSWERED or unstored >= MOST_UNSTORED
        return self._unread or many or (owed > 0 and backlog > MOST_BACKLOG)

    def _frame(self, event: FrameReceived) -> None:
        if event.tolerated:
            self._warn_once(event.tolerated)
        intake, body = self.factory.intake, event.body
        if body.strip():
            self.silent_since, self.spoke = self.factory.clock.seconds(), True
        if not takes_long(body):
            found = intake.split(body)
            messages = found.messages
            if len(messages) <= MANY:
                self._look_at_batch(found, body)
                alone = len(messages) == 1
                senders = self._senders
                self._take(
                    [intake.prepare_one(raw, self.peer, event.defect, alone=alone, senders=senders) for raw in messages]
                )
                return
        self._large = large = LargeFrame(event.defect)
        self._pause(True)
        work = self.factory.aside.run(threads.deferToThread, intake.split, body)
        work.addCallback(self._messages_of_large, body, large)
        work.addErrback(self._broken)

    def _messages_of_large(self, found: Batch, body: bytes, large: LargeFrame) -> None:
        self._look_at_batch(found, body)
        large.waiting.extend(found.messages)
        large.alone = len(found.messages) == 1
        self._take_some(large)

    def _look_at_batch(self, found: Batch, body: bytes) -> None:
        """Say what its wrappers say wrongly, and answer for a frame without a message."""
        for finding in found.findings:
            self._warn_once(finding.local)
        if found.messages:
            return
        if found.kind == "batch":
            self._owed.take([self.factory.intake.empty_batch(body)])
            return
        self.factory.counted("empty-frame")
        if body:
            self._warn_once("blank-frame", bytes=len(body))

    def _take_some(self, large: LargeFrame) -> None:
        """The next messages of a large frame, translated beside the reactor; again when not too many answers are owed."""
        waiting = large.waiting
        large.held_up = bool(waiting) and self.state is not ConnectionState.CLOSED and self._is_ahead()
        if large.held_up:
            return  # the next answer that leaves looks again
        some: list[bytes] = []
        size = 0
        while waiting and len(some) < PART_MESSAGES and (not some or size + len(waiting[0]) <= PART_SIZE):
            some.append(waiting.popleft())
            size += len(some[-1])
        if not some:
            self._large = None
            self._pump()
            return
        intake, peer, senders = self.factory.intake, self.peer, self._senders
        work = self.factory.aside.run(
            threads.deferToThread,
            lambda: [
                intake.prepare_one(raw, peer, large.defect, slices=True, alone=large.alone, senders=senders)
                for raw in some
            ],
        )
        work.addCallback(self._some_done, large)
        work.addErrback(self._broken)

    def _some_done(self, prepared: list[Prepared], large: LargeFrame) -> None:
        self._take(prepared)
        self._take_some(large)

    def _take(self, prepared: list[Prepared]) -> None:
        if self.certificate and any(one.new is not None and one.new.note == NOT_ALLOWED for one in prepared):
            text = "refused, MSH-3 and MSH-4 are not those of the sender's certificate"
            self.say_once(text, NOT_ALLOWED, self.factory.log.warning, certificate=self.certificate[0])
        self._owed.take(prepared)

    def _broken(self, failure: Failure) -> None:
        """A fault of ours: nothing was stored, so nothing positive is said; the sender keeps its message."""
        self.factory.log.error("intake failed", peer=self.peer, error=failure.type.__name__ if failure.type else "")
        self._large = None
        self.close()

    # -- answers out --

    def write(self, data: bytes) -> None:
        """Bytes to the sender."""
        self._transport.write(data)

    def answered(self) -> None:
        """An answer has left: there may be room for more messages, or nothing owed any more."""
        if self._paused:
            self._pump()
        self.end_when_done()

    # -- the peer has ended its side --

    def _end_block_came(self) -> None:
        if self._decoder.awaiting_end:
            # The end block came, only its CR did not: the message is whole, and is taken though nobody may read the answer.
            self._decoder.end_of_block_timeout()
            self._pump()

    def end_when_done(self) -> None:
        """End our side as soon as nothing is owed to a sender that has ended its own, or to anybody while we stop."""
        if self._pumping or self._turn or self._large or self._owed.anything:
            return
        if self.state is ConnectionState.HALF_CLOSED and self.factory.tls is not None and self._owed.unseen:
            return  # the end of TLS is data: a sender that has read its answer and is gone would reset the connection for it
        if self.state is ConnectionState.HALF_CLOSED and not self._unread:
            self._move(ConnectionEvent.ANSWERED)
            self._transport.unregisterProducer()
            self._transport.loseWriteConnection()
        elif self.state is ConnectionState.DRAINING:
            self.close()

    def _too_late(self) -> None:
        self.factory.log.warning("the sender ended its side, answers not sent within ack_deadline", peer=self.peer)
        self.close()

    # -- time and flow --

    def _pause(self, paused: bool) -> None:
        if paused == self._paused or self.state is ConnectionState.CLOSED:
            return
        self._paused = paused
        if self.state is not ConnectionState.OPEN:
            return  # there is nothing to read, or nothing more is read
        if paused:
            self._transport.pauseProducing()
        else:
            self._transport.resumeProducing()
            self._frame_time.end()
        self._keep_time()

    def _keep_time(self) -> None:
        limits, now = self.factory.limits, self.factory.clock.seconds()
        if self._ended or self.state is ConnectionState.CLOSING:
            return  # the timer that runs is of that state
        self._stop_timer()
        if self.state is not ConnectionState.OPEN or self._paused:
            return  # while we do not read, the sender's time does not run
        if self._decoder.inside_frame or self._decoder.outside_frame:
            self._frame_time.begin(now, self._decoder.held)
        else:
            self._frame_time.end()
        timed = limits.frame_timeout or limits.frame_rate
        if self._decoder.awaiting_end:
            self._timer = self.factory.clock.callLater(limits.end_of_block_timeout, self._end_of_block)
        elif self.frame_since is not None and timed:
            left = self._frame_time.left(now, limits.frame_timeout, limits.frame_rate)
            self._timer = self.factory.clock.callLater(left, self._look_at_frame)
        elif limits.idle_timeout and not self._decoder.inside_frame:
            self._timer = self.factory.clock.callLater(limits.idle_timeout, self._idle)

    def _stop_timer(self) -> None:
        self._timer = stopped(self._timer)

    def _end_of_block(self) -> None:
        self._decoder.end_of_block_timeout()
        self._pump()
        self._keep_time()

    def _look_at_frame(self) -> None:
        """Time is up for the frame under way, or a window of its rate has ended."""
        limits = self.factory.limits
        broken = self._frame_time.too_slow(self.factory.clock.seconds(), limits.frame_timeout, limits.frame_rate)
        if broken and self._decoder.outside_frame:
            self.factory.log.warning("bytes without a start block (VT), connection closed", peer=self.peer)
            self.close()
        elif broken and not self._give_up_frame(broken):
            self.factory.log.warning("frame too slow, connection closed", peer=self.peer, limit=broken)
            self.close()
        elif broken:
            self._frame_time.end()
        self._keep_time()

    def _reads_nothing(self) -> None:
        self.factory.log.warning("the sender does not read its answers, connection closed", peer=self.peer)
        self.close()

    def _give_up_frame(self, limit: str = "") -> bool:
        """Answer a frame that does not end, if there is an MSH to answer; what still comes of it is passed over."""
        given_up = self._decoder.give_up()
        if given_up is None or not can_be_answered(given_up.head):
            return False
        self.factory.log.warning(
            "unfinished frame refused", peer=self.peer, bytes=given_up.size, limit=limit or "cut off"
        )
        self._owed.take([self.factory.intake.unread(given_up.head, given_up.size, self.peer, UNFINISHED)])
        return True

    def _idle(self) -> None:
        if self._owed:
            self._keep_time()
            return
        self.factory.log.info("connection idle, closed", peer=self.peer)
        self.close()

    def close(self) -> None:
        """Close it; what is written may still be read."""
        if self._over:
            return
        has_producer = self.state not in (ConnectionState.ENDING, ConnectionState.HANDSHAKE)
        self._move(ConnectionEvent.CLOSE)
        self._owed.close()
        if has_producer:
            self._transport.unregisterProducer()
        self._transport.loseConnection()
        # It waits until the peer has read what was written; a peer that never does loses the connection all the same.
        self._stop_timer()
        self._unread_timer = stopped(self._unread_timer)
        self.factory.memory.give_back(self)
        self._timer = self.factory.clock.callLater(CLOSE_WITHIN, self._transport.abortConnection)

    @property
    def frame_since(self) -> float | None:
        """When the frame under way began, None where none is."""
        return self._frame_time.since

    @property
    def idle(self) -> bool:
        """Whether nothing is owed to it, and no message of it is under way."""
        inside = self._decoder.inside_frame or bool(self._decoder.outside_frame)
        return not (self._owed or self._large or inside or self.state is ConnectionState.CLOSING)

    @property
    def ended(self) -> bool:
        """Whether its sender has ended its side, and no message of it is being read any more."""
        return self._ended and not self._large

    def give_way(self) -> None:
        """Close at once, for a new connection: its sender has ended its side, or it has been silent for long, and may be
        half open."""
        why = "its sender has ended it" if self._ended else "used least"
        self.factory.log.info("connection closed to make room", peer=self.peer, reason=why)
        self._transport.abortConnection()

    def finish(self) -> None:
        """Service stop: take nothing more, close once what is owed has been written."""
        if self.state is ConnectionState.OPEN:
            self._pause(True)
            self._move(ConnectionEvent.STOPPING)
            self.end_when_done()
        elif self.state is ConnectionState.HANDSHAKE or (self._ended and not self._owed):
            self.close()

    @property
    def owes(self) -> int:
        """Answers that are not written yet."""
        return 0 if self.state is ConnectionState.CLOSED else len(self._owed)

    def is_there(self) -> bool | None:
        """False: the peer has reset the connection, which is told once. None: it takes nothing of what we write."""
        connection = _socket_of(self._transport)
        if connection is not None and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            return False
        return None if self._unread else True

    def _warn_once(self, what: str, **details: object) -> None:
        self.say_once("tolerated on the wire", what, self.factory.log.warning, **details)

    def say_once(self, text: str, what: str, tell: Callable[..., None] | None = None, **details: object) -> None:
        """A line in the log, the first time; how often it was is told at the end."""
        self._said[what] = self._said.get(what, 0) + 1
        if self._said[what] == 1:
            (tell or self.factory.log.info)(text, what=what, peer=self.peer, **details)
