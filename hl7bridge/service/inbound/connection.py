"""One sender's MLLP connection: it only moves bytes, keeps the order of answers, and keeps time.

A connection holds one `Slot` for each answer that it owes, in order of arrival: whatever is ready at the head is written,
one `write` an answer (many senders read once). Application acknowledgments of enhanced mode take no slot: they are later
messages of their own. (MLLP Release 1, HL7 v2 implementation guide appendix C; design.md section 5)

A sender may end its side (FIN) and wait: what it is owed then goes out on the other side, for at most `ack_deadline`.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet import protocol, threads
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from hl7bridge.hl7.batch import Batch
from hl7bridge.hl7.mllp import NEED_DATA, BytesDiscarded, Decoder, FrameReceived, FrameTooLarge, frame
from hl7bridge.intake.intake import CLOSE, Prepared
from hl7bridge.intake.odd_frames import UNFINISHED, can_be_answered
from hl7bridge.store.store import Accepted, Acknowledgment, AcknowledgmentState, MessageState

if TYPE_CHECKING:
    from hl7bridge.service.inbound.listener import MllpListener

LARGE = 256 * 1024  # bytes above which a frame is translated off the reactor thread
MANY = 100  # messages of one frame above which they are taken some at a time
MOST_UNANSWERED = 256  # answers owed to one connection before its reading pauses
CLOSE_WITHIN = 10.0  # seconds that a peer has to read its last answers
BUILT_WITHIN = 1.0  # seconds for an answer that falls due at `ack_deadline` itself to be built
SEEN_WITHIN = 0.5  # seconds within which it shows that a peer that ended its side does not read any more
MOST_BACKLOG = 64 * 1024 * 1024  # bytes that wait for the disk before every connection that is owed answers pauses


def keep_alive(transport: Any) -> None:
    """Have the system find out within about two minutes that a peer is gone (its own default is two hours)."""
    transport.setTcpKeepAlive(True)
    connection = transport.getHandle() if hasattr(transport, "getHandle") else None
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if connection is not None and hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Slot:
    """The place of one answer in the order of a connection."""

    __slots__ = ("answer", "done", "filled")

    def __init__(self) -> None:
        self.filled = False
        self.answer: bytes | str | None = None
        self.done: Callable[[bool], None] | None = None


@implementer(IHalfCloseableProtocol)
class MllpConnection(protocol.Protocol):
    """One sender's connection."""

    factory: MllpListener

    def __init__(self, host: str, port: int) -> None:
        self.host, self.peer = host, f"{host}:{port}"
        self.silent_since = 0.0
        self._slots: deque[Slot] = deque()
        self._pumping = False  # frames are being taken: an answer that leaves meanwhile takes no others before them
        self._busy = False  # a large frame is being translated: frames behind it wait, so that order holds
        self._gone = False
        self._closing = False
        self._paused = False
        self._waiting: deque[bytes] = deque()  # messages of a large frame that are not translated yet
        self._held_up = False  # they wait for answers to leave
        self._defect = ""
        self._alone = True
        self._unread = False  # the peer does not read its answers: the socket takes no more of them
        self._said: dict[str, int] = {}  # what was put up with, and how often
        self._ended = False  # the peer has ended its side: it sends no more, and may still read
        self._ending = False  # and so have we, once all is written
        self._later = 0  # application acknowledgments that are owed
        self._unseen: list[
            Callable[[bool], None]
        ] = []  # of answers written since: they hear whether somebody reads them
        self._frame_since = 0.0  # when the frame under way began; 0 = none is
        self._timer: Any = None

    # -- Twisted's names --

    def connectionMade(self) -> None:
        self._decoder = Decoder(self.factory.limits.max_frame)
        self.silent_since = self.factory.clock.seconds()
        if not self.factory.admit(self):
            self._gone = True
            self._transport.abortConnection()
            return
        self._transport.setTcpNoDelay(True)
        keep_alive(self._transport)
        self._transport.registerProducer(self, True)  # tells us when answers pile up, and when they are read
        self._keep_time()

    def pauseProducing(self) -> None:
        self._unread = True
        self._pause(True)

    def resumeProducing(self) -> None:
        self._unread = False
        self._pump()

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` says so, too."""

    def dataReceived(self, data: bytes) -> None:
        if self._gone or self._closing:
            return
        self.silent_since = self.factory.clock.seconds()
        self._decoder.receive_data(data)
        self._pump()
        self._keep_time()

    def readConnectionLost(self) -> None:
        """The peer has ended its side. What it is owed goes out, for at most `ack_deadline`; then we end ours."""
        if self._gone or self._closing:
            return
        self._ended = True
        self._stop_timer()
        deadline = self.factory.intake.policy.ack_deadline + BUILT_WITHIN
        self._timer = self.factory.clock.callLater(deadline, self._too_late)
        self._end_block_came()
        self._pump()

    def writeConnectionLost(self) -> None:
        """Our side is ended, too, and all is written: in a moment it is clear whether the peer was there to read it."""
        self.factory.clock.callLater(SEEN_WITHIN, self._close)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._end_block_came()
        self._gone = True
        self._stop_timer()
        self._tell_unseen(False)
        for what, count in self._said.items():
            if count > 1:
                self.factory.log.info("repeated on this connection", what=what, count=count, peer=self.peer)
        left = self._decoder.at_end()
        if left is not None:
            self.factory.log.warning("partial frame discarded, the peer closed", peer=self.peer, bytes=left.count)
        for slot in self._slots:
            if slot.filled and slot.done:
                slot.done(False)
        if self._held_up:
            self._take_some()  # the frame is whole: its messages are taken though nobody reads the answers
        self.factory.release(self)

    # -- frames in --

    @property
    def _transport(self) -> Any:
        return self.transport

    def _pump(self) -> None:
        """Take what the decoder holds, unless a large frame is under way or too many answers are owed."""
        if self._pumping:
            return
        self._pumping = True
        try:
            self._take_frames()
        finally:
            self._pumping = False
        self._end_when_done()

    def _take_frames(self) -> None:
        if self._held_up:
            self._take_some()
        while not (self._busy or self._gone or self._closing):
            if self._is_ahead():
                self._pause(True)
                return
            event = self._decoder.next_event()
            if event is NEED_DATA:
                break
            if isinstance(event, FrameReceived):
                self._frame_since = 0.0
                self._frame(event)
            elif isinstance(event, FrameTooLarge):
                self._frame_since = 0.0
                self.factory.log.warning("frame larger than max_frame refused", peer=self.peer, bytes=event.size)
                self._take([self.factory.intake.unread(event.head, event.size, self.peer)])
            elif isinstance(event, BytesDiscarded):
                self.factory.counted("bytes-discarded")
                self._warn_once(event.reason, bytes=event.count)
        if self._ended and not (self._busy or self._gone or self._closing):
            self._give_up_frame()
        if self._paused and not (self._busy or self._unread) and len(self._slots) < MOST_UNANSWERED // 2:
            self._pause(False)

    def _is_ahead(self) -> bool:
        """Whether this sender is far ahead of our answers, or of the disk, or reads none; the next answer looks again."""
        backlog = self.factory.commits.backlog
        return self._unread or len(self._slots) >= MOST_UNANSWERED or (bool(self._slots) and backlog > MOST_BACKLOG)

    def _frame(self, event: FrameReceived) -> None:
        if event.tolerated:
            self._warn_once(event.tolerated)
        intake, body = self.factory.intake, event.body
        if len(body) <= LARGE:
            found = intake.split(body)
            messages = found.messages
            if len(messages) <= MANY:
                self._look_at_batch(found, body)
                alone = len(messages) == 1
                self._take([intake.prepare_one(raw, self.peer, event.defect, alone=alone) for raw in messages])
                return
        self._busy = True
        self._pause(True)
        self._defect = event.defect
        work = threads.deferToThread(intake.split, body)
        work.addCallback(self._messages_of_large, body)
        work.addErrback(self._broken)

    def _messages_of_large(self, found: Batch, body: bytes) -> None:
        self._look_at_batch(found, body)
        self._waiting = deque(found.messages)
        self._alone = len(found.messages) == 1
        self._take_some()

    def _look_at_batch(self, found: Batch, body: bytes) -> None:
        """Say what its wrappers say wrongly, and answer for a frame without a message."""
        for finding in found.findings:
            self._warn_once(finding.local)
        if found.messages:
            return
        if found.kind == "batch":
            self._take([self.factory.intake.empty_batch(body)])
            return
        self.factory.counted("empty-frame")
        if body:
            self._warn_once("blank-frame", bytes=len(body))

    def _take_some(self) -> None:
        """The next messages of a large frame, translated beside the reactor; again when not too many answers are owed."""
        self._held_up = bool(self._waiting) and not self._gone and self._is_ahead()
        if self._held_up:
            return  # the next answer that leaves looks again
        some: list[bytes] = []
        size = 0
        while self._waiting and len(some) < MANY and (not some or size + len(self._waiting[0]) <= LARGE):
            some.append(self._waiting.popleft())
            size += len(some[-1])
        if not some:
            self._busy = False
            self._pump()
            return
        intake, peer, defect, alone = self.factory.intake, self.peer, self._defect, self._alone
        work = threads.deferToThread(
            lambda: [intake.prepare_one(raw, peer, defect, slices=True, alone=alone) for raw in some]
        )
        work.addCallback(self._some_done)
        work.addErrback(self._broken)

    def _some_done(self, prepared: list[Prepared]) -> None:
        self._take(prepared)
        self._take_some()

    def _broken(self, failure: Failure) -> None:
        """A fault of ours: nothing was stored, so nothing positive is said; the sender keeps its message."""
        self.factory.log.error("intake failed", peer=self.peer, error=failure.type.__name__ if failure.type else "")
        self._busy = False
        self._close()

    def _take(self, prepared: list[Prepared]) -> None:
        for one in prepared:
            self.factory.counted(one.counted)
            if one.new is None and not one.answer:
                self._say_once("an acknowledgment came, which has no answer", one.counted)
                continue
            slot = Slot()
            self._slots.append(slot)
            if one.new is None:
                self._fill(slot, one.answer)
                continue
            stopping = self.factory.stopping
            if stopping or not self.factory.commits.put(one.new, self._answer_to(one, slot)):
                self._fill(slot, one.refuse())

    # -- answers out --

    def _answer_to(self, prepared: Prepared, slot: Slot) -> Callable[[Accepted | None], None]:
        def answer(accepted: Accepted | None) -> None:
            if accepted is None:
                self._fill(slot, prepared.refuse())
                return
            new = prepared.new
            assert new is not None
            message_id = accepted.duplicate_of or accepted.message_id
            acks = accepted.acknowledgments if accepted.duplicate_of else new.acknowledgments
            if accepted.duplicate_of:
                self.factory.counted("duplicate")
            elif new.state is MessageState.COUNTED:
                message_id = 0
            self.factory.intake.stored(new)
            self._give(message_id, acks, slot)

        return answer

    def _give(self, message_id: int, acks: tuple[Acknowledgment, ...], slot: Slot) -> None:
        """Write what is ready in its place; have the rest sent when its outcome is known."""
        commits = self.factory.commits
        in_place = False
        later: list[Acknowledgment] = []
        for ack in acks:
            if ack.kind == "application":
                later.append(ack)
            elif ack.state is AcknowledgmentState.PENDING:
                in_place = True
                commits.await_outcome(message_id, ack.kind, self._filling(slot, message_id, ack.kind))
            elif ack.body:
                in_place = True
                self._fill(slot, ack.body, self._noting(message_id, ack.kind))
            elif ack.code == CLOSE:
                in_place = True
                self._fill(slot, CLOSE)
        self._later += len(later)
        if not in_place:
            if not later:
                self._say_once("no answer is asked for (MSH-15, MSH-16)", "no-answer-asked")
            self._fill(slot, None)
        for ack in later:
            if ack.state is AcknowledgmentState.PENDING:
                commits.await_outcome(message_id, ack.kind, self._sending_application(message_id))
            elif ack.body:
                # A turn later: never in one write with the accept acknowledgment (facts/peers.md 2c).
                send = self._sending_application(message_id)
                self.factory.reactor.callLater(0, send, ack.body)

    def _filling(self, slot: Slot, message_id: int, kind: str) -> Callable[[bytes | None], None]:
        note = self._noting(message_id, kind)
        return lambda body: self._fill(slot, body or CLOSE, note)

    def _noting(self, message_id: int, kind: str) -> Callable[[bool], None]:
        def note(sent: bool) -> None:
            if not message_id:  # of a message that is only counted, no answer is kept
                return
            state = AcknowledgmentState.SENT if sent else AcknowledgmentState.NOT_SENT
            self.factory.commits.note(message_id, kind, state)

        return note

    def _sending_application(self, message_id: int) -> Callable[[bytes | None], None]:
        note = self._noting(message_id, "application")

        def written(sent: bool, body: bytes) -> None:
            if sent:
                note(True)
            elif message_id:
                self.factory.send_elsewhere(message_id, body)

        def send(body: bytes | None) -> None:
            self._later -= 1
            if body is not None:
                if self._gone or self._closing or (self._ended and self._has_elsewhere):
                    written(False, body)
                else:
                    self._write(body, lambda sent: written(sent, body))
            self._end_when_done()

        return send

    def _write(self, body: bytes, done: Callable[[bool], None] | None) -> None:
        self._transport.write(frame(body))
        if done and self._ended:
            self._unseen.append(done)
        elif done:
            done(True)

    def _fill(self, slot: Slot, answer: bytes | str | None, done: Callable[[bool], None] | None = None) -> None:
        slot.answer, slot.done, slot.filled = answer, done, True
        if self._gone:
            if done:
                done(False)
            return
        while self._slots and self._slots[0].filled:
            ready = self._slots.popleft()
            if self._closing:
                if ready.done:
                    ready.done(False)
            elif ready.answer == CLOSE:
                self._close()
            elif isinstance(ready.answer, bytes):
                self._write(ready.answer, ready.done)
        if self._paused:
            self._pump()
        self._end_when_done()

    # -- the peer has ended its side --

    def _end_block_came(self) -> None:
        if self._decoder.awaiting_end:
            # The end block came, only its CR did not: the message is whole, and is taken though nobody may read the answer.
            self._decoder.end_of_block_timeout()
            self._pump()

    @property
    def _has_elsewhere(self) -> bool:
        return bool(self.factory.intake.policy.application_acknowledgment_to)

    def _end_when_done(self) -> None:
        """End our side as soon as nothing is owed to a peer that has ended its own."""
        if not self._ended or self._ending or self._gone or self._closing or self._pumping:
            return
        later = self._later and not self._has_elsewhere
        if not (self._slots or later or self._busy or self._held_up or self._unread):
            self._ending = True
            self._transport.unregisterProducer()
            self._transport.loseWriteConnection()

    def _too_late(self) -> None:
        self.factory.log.warning("the sender ended its side, answers not sent within ack_deadline", peer=self.peer)
        self._close()

    def _tell_unseen(self, read: bool) -> None:
        unseen, self._unseen = self._unseen, []
        for done in unseen:
            done(read)

    # -- time and flow --

    def _pause(self, paused: bool) -> None:
        if paused == self._paused or self._gone:
            return
        self._paused = paused
        if self._ended:
            return  # there is nothing to read
        if paused:
            self._transport.pauseProducing()
        else:
            self._transport.resumeProducing()
            self._frame_since = 0.0
        self._keep_time()

    def _keep_time(self) -> None:
        limits, now = self.factory.limits, self.factory.clock.seconds()
        if self._closing or self._ended:
            return
        self._stop_timer()
        if self._gone or self._paused:
            return  # while we do not read, the sender's time does not run
        inside = self._decoder.inside_frame or bool(self._decoder.outside_frame)
        self._frame_since = (self._frame_since or now) if inside else 0.0
        if self._decoder.awaiting_end:
            self._timer = self.factory.clock.callLater(limits.end_of_block_timeout, self._end_of_block)
        elif self._decoder.inside_frame and limits.frame_timeout:
            self._timer = self.factory.clock.callLater(self._time_left(now), self._too_slow)
        elif self._decoder.outside_frame and limits.frame_timeout:
            self._timer = self.factory.clock.callLater(self._time_left(now), self._no_start_block)
        elif limits.idle_timeout and not self._decoder.inside_frame:
            self._timer = self.factory.clock.callLater(limits.idle_timeout, self._idle)

    def _time_left(self, now: float) -> float:
        """Seconds that the frame under way still has: a peer that sends a byte now and then gains none."""
        return max(0.0, self._frame_since + self.factory.limits.frame_timeout - now)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _end_of_block(self) -> None:
        self._decoder.end_of_block_timeout()
        self._pump()
        self._keep_time()

    def _too_slow(self) -> None:
        if self._give_up_frame():
            self._frame_since = 0.0
            self._keep_time()
            return
        self.factory.log.warning("frame not finished within frame_timeout, connection closed", peer=self.peer)
        self._close()

    def _give_up_frame(self) -> bool:
        """Answer a frame that does not end, if there is an MSH to answer; what still comes of it is passed over."""
        given_up = self._decoder.give_up()
        if given_up is None or not can_be_answered(given_up.head):
            return False
        self.factory.log.warning("unfinished frame refused", peer=self.peer, bytes=given_up.size)
        self._take([self.factory.intake.unread(given_up.head, given_up.size, self.peer, UNFINISHED)])
        return True

    def _no_start_block(self) -> None:
        self.factory.log.warning("bytes without a start block (VT), connection closed", peer=self.peer)
        self._close()

    def _idle(self) -> None:
        if self._slots:
            self._keep_time()
            return
        self.factory.log.info("connection idle, closed", peer=self.peer)
        self._close()

    def _close(self) -> None:
        if self._gone or self._closing:
            return
        self._closing = True
        self._tell_unseen(bool(self._unseen) and not self._peer_is_gone())
        if not self._ending:
            self._transport.unregisterProducer()
        self._transport.loseConnection()
        # It waits until the peer has read what was written; a peer that never does loses the connection all the same.
        self._stop_timer()
        self._timer = self.factory.clock.callLater(CLOSE_WITHIN, self._transport.abortConnection)

    @property
    def idle(self) -> bool:
        """Whether nothing is owed to it, and no message of it is under way."""
        inside = self._decoder.inside_frame or bool(self._decoder.outside_frame)
        return not (self._slots or self._busy or self._closing or inside)

    @property
    def ended(self) -> bool:
        """Whether its sender has ended its side, and no message of it is being read any more."""
        return self._ended and not self._busy

    def give_way(self) -> None:
        """Close at once, for a new connection: its sender has ended its side, or it has been silent for long, and may be
        half open."""
        why = "its sender has ended it" if self._ended else "silent for long"
        self.factory.log.info("connection closed to make room", peer=self.peer, reason=why)
        self._transport.abortConnection()

    def finish(self) -> None:
        """Service stop: take nothing more, close once what is owed has been written."""
        self._pause(True)
        if not self._slots:
            self._close()

    @property
    def owes(self) -> int:
        """Answers that are not written yet."""
        return 0 if self._gone else len(self._slots)

    def _peer_is_gone(self) -> bool:
        """Whether the peer has shown (RST) that it does not read what we wrote."""
        connection = self._transport.getHandle() if hasattr(self._transport, "getHandle") else None
        return connection is not None and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def _warn_once(self, what: str, **details: object) -> None:
        self._said[what] = self._said.get(what, 0) + 1
        if self._said[what] == 1:
            self.factory.log.warning("tolerated on the wire", what=what, peer=self.peer, **details)

    def _say_once(self, text: str, what: str) -> None:
        self._said[what] = self._said.get(what, 0) + 1
        if self._said[what] == 1:
            self.factory.log.info(text, what=what, peer=self.peer)
