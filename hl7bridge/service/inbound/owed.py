"""The answers that one connection owes: a `Slot` each, in the order in which their messages came.

Whatever is ready at the head is written, one `write` an answer (many senders read once). Application acknowledgments of
enhanced mode take no slot: they are later messages of their own. (HL7 v2 chapter 2.9; design.md section 5)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from hl7bridge.hl7.mllp import frame
from hl7bridge.intake.intake import CLOSE, Prepared
from hl7bridge.service.inbound.listening import Listening
from hl7bridge.service.inbound.states import ConnectionState
from hl7bridge.service.inbound.unseen import Done, Unseen
from hl7bridge.store.store import Accepted, Acknowledgment, AcknowledgmentState, MessageState

Outcome = TypeVar("Outcome")


class Slot:
    """The place of one answer in the order of a connection."""

    __slots__ = ("answer", "done", "filled")

    def __init__(self) -> None:
        self.filled = False
        self.answer: bytes | str | None = None
        self.done: Done | None = None


class Answering(Protocol):
    """The connection that owes, as its answers see it."""

    factory: Listening
    peer: str
    state: ConnectionState | None

    def write(self, data: bytes) -> None: ...

    def answered(self) -> None: ...

    def end_when_done(self) -> None: ...

    def close(self) -> None: ...

    def say_once(self, text: str, what: str) -> None: ...

    def is_there(self) -> bool | None: ...


class Owed:
    """What one connection owes. Reactor thread only."""

    def __init__(self, connection: Answering) -> None:
        self._connection = connection
        self._slots: deque[Slot] = deque()
        self.unstored = 0  # messages that are not on the disk yet
        self._later = 0  # application acknowledgments
        self._unseen = Unseen(connection.factory.clock, connection.is_there, connection.end_when_done)

    def __len__(self) -> int:
        """Answers that are not written yet, application acknowledgments left out."""
        return len(self._slots)

    @property
    def anything(self) -> bool:
        """Whether this connection has to stay for an answer: an application acknowledgment may have another way."""
        return bool(self._slots or (self._later and not self._has_elsewhere))

    @property
    def _has_elsewhere(self) -> bool:
        return bool(self._connection.factory.intake.policy.application_acknowledgment_to)

    @property
    def unseen(self) -> int:
        """Answers that were written, and of which it is not known yet whether the sender was there to read them."""
        return len(self._unseen)

    def take(self, prepared: list[Prepared]) -> None:
        """Have messages committed, and keep a place for the answer of each."""
        listener = self._connection.factory
        for one in prepared:
            listener.counted(one.counted)
            if one.new is None and not one.answer:
                self._connection.say_once("an acknowledgment came, which has no answer", one.counted)
                continue
            slot = Slot()
            self._slots.append(slot)
            if one.new is None:
                self._fill(slot, one.answer)
                continue
            self.unstored += 1
            if listener.stopping or not listener.commits.put(one.new, self._or_close(self._answer_to(one, slot), slot)):
                self.unstored -= 1
                self._fill(slot, one.refuse())

    def _answer_to(self, prepared: Prepared, slot: Slot) -> Callable[[Accepted | None], None]:
        def answer(accepted: Accepted | None) -> None:
            self.unstored -= 1
            if accepted is None:
                self._fill(slot, prepared.refuse())
                return
            new, listener = prepared.new, self._connection.factory
            assert new is not None
            message_id = accepted.duplicate_of or accepted.message_id
            acks = accepted.acknowledgments if accepted.duplicate_of else new.acknowledgments
            if accepted.duplicate_of:
                listener.counted("duplicate")
            elif new.state is MessageState.COUNTED:
                message_id = 0
            listener.intake.stored(new)
            self._give(message_id, acks, slot)
            self._connection.answered()

        return answer

    def _give(self, message_id: int, acks: tuple[Acknowledgment, ...], slot: Slot) -> None:
        """Write what is ready in its place; have the rest sent when its outcome is known."""
        commits = self._connection.factory.commits
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
                self._connection.say_once("no answer is asked for (MSH-15, MSH-16)", "no-answer-asked")
            self._fill(slot, None)
        for ack in later:
            if ack.state is AcknowledgmentState.PENDING:
                commits.await_outcome(message_id, ack.kind, self._sending_application(message_id))
            elif ack.body:
                # A turn later: never in one write with the accept acknowledgment (facts/peers.md 2c).
                send = self._sending_application(message_id)
                self._connection.factory.reactor.callLater(0, send, ack.body)

    def _filling(self, slot: Slot, message_id: int, kind: str) -> Callable[[bytes | None], None]:
        note = self._noting(message_id, kind)
        return self._or_close(lambda body: self._fill(slot, body or CLOSE, note), slot)

    def _or_close(self, give: Callable[[Outcome], None], slot: Slot | None = None) -> Callable[[Outcome], None]:
        """`give`, and where it fails by a defect, the end of the connection in its place: the answers behind it would wait
        for it for ever. The sender sends again what it has no answer to."""

        def give_or_close(outcome: Outcome) -> None:
            try:
                give(outcome)
            except Exception as error:
                text, connection = "an answer could not be given, connection closed", self._connection
                connection.factory.log.error(text, peer=connection.peer, error=type(error).__name__)
                if slot is None or slot.filled:
                    connection.close()
                    self._let_go()
                else:
                    self._fill(slot, CLOSE)  # in its turn: answers before it are still written

        return give_or_close

    def _noting(self, message_id: int, kind: str) -> Done:
        def note(sent: bool) -> None:
            if not message_id:  # of a message that is only counted, no answer is kept
                return
            state = AcknowledgmentState.SENT if sent else AcknowledgmentState.NOT_SENT
            self._connection.factory.commits.note(message_id, kind, state)

        return note

    def _sending_application(self, message_id: int) -> Callable[[bytes | None], None]:
        note = self._noting(message_id, "application")

        def written(sent: bool, body: bytes) -> None:
            if sent:
                note(True)
            elif message_id:
                self._connection.factory.send_elsewhere(message_id, body)

        def send(body: bytes | None) -> None:
            self._later -= 1
            if body is not None:
                state, elsewhere = self._connection.state, self._has_elsewhere
                half_closed = state in (ConnectionState.HALF_CLOSED, ConnectionState.ENDING)
                if state in (ConnectionState.CLOSING, ConnectionState.CLOSED) or (half_closed and elsewhere):
                    written(False, body)
                else:
                    self._write(body, lambda sent: written(sent, body))
            self._connection.end_when_done()

        return self._or_close(send)

    def _write(self, body: bytes, done: Done | None) -> None:
        self._connection.write(frame(body))
        if done:
            self._unseen.written(done)

    def _fill(self, slot: Slot, answer: bytes | str | None, done: Done | None = None) -> None:
        slot.answer, slot.done, slot.filled = answer, done, True
        if self._connection.state is ConnectionState.CLOSED:
            if done:
                done(False)
            return
        self._let_go()
        self._connection.answered()

    def _let_go(self) -> None:
        """Write what is ready at the head; of a connection that is closing, nothing more."""
        while self._slots and self._slots[0].filled:
            ready = self._slots.popleft()
            if self._connection.state is ConnectionState.CLOSING:
                if ready.done:
                    ready.done(False)
            elif ready.answer == CLOSE:
                self._connection.close()
            elif isinstance(ready.answer, bytes):
                self._write(ready.answer, ready.done)

    def close(self) -> None:
        """We close the connection: what is written may still be read."""
        self._unseen.end(broken=False)

    def give_up(self) -> None:
        """The connection is gone: nothing more is sent on it."""
        self._unseen.end(broken=True)
        for slot in self._slots:
            if slot.filled and slot.done:
                slot.done(False)
