"""The thread that owns the accept connection: it drains its queue, commits once, and hands every answer back in one call.

No commit window by clock: while one commit syncs, the next batch gathers by itself (facts/performance.md section 3). What
one turn of the reactor brings is handed over together, or some at a time: a thread that is woken for each message competes
with the reactor for the interpreter, and commits few at a time.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hl7bridge.errors import Hl7BridgeError, StoreError
from hl7bridge.service.lasting import lasting
from hl7bridge.store.store import Accepted, AcknowledgmentState, NewMessage, Store

BATCH = 512  # messages a commit, or a few more; otherwise the first of them would wait too long
TOGETHER = 16  # messages that do not wait for the end of a turn: they are committed while others are translated
MARK_EVERY = 64  # acknowledgments handed to a socket are noted in groups, off the way of the next answer
IDLE = 0.5  # seconds without a message after which such notes are written

REFUSED = "store failed, messages refused"
UNNOTED = "store failed, what became of answers is noted later"
ANEW = "storing was interrupted, the store is opened anew"
UNANSWERED = "an answer could not be given"

Answer = Callable[[Accepted | None], None]
"""Called on the reactor thread with what was stored, or None when the commit failed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    message: NewMessage
    answer: Answer


class StoreWriter(threading.Thread):
    """Commits what `put` brings, in order. `open_store` is called on this thread, which alone uses that store."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        call_in_reactor: Callable[[Callable[[], None]], None],
        *,
        room: Callable[[], bool] = lambda: True,
        committed: Callable[[], None] = lambda: None,
        failed: Callable[[str, str], None] = lambda what, why: None,
        limit: int = 10_000,
        at_end_of_turn: Callable[[Callable[[], None]], object] = lambda call: call(),
    ) -> None:
        """`room()` says whether there is room for messages. `committed()` is called on this thread after each commit (to
        wake the delivery role), `failed(what, why)` after whatever failed: a line for people, and the error. `limit`:
        messages that may wait before `put` refuses. `at_end_of_turn(call)` calls it once the reactor has read what is
        there: what was `put` is handed to this thread then."""
        super().__init__(name="store-writer", daemon=True)
        self._open_store, self._call_in_reactor = open_store, call_in_reactor
        self._room, self._committed, self._failed = room, committed, failed
        self._at_end_of_turn = at_end_of_turn
        self._turn: list[_Entry] = []
        self._queue: queue.SimpleQueue[list[_Entry] | None] = queue.SimpleQueue()
        self._marks: list[tuple[int, str, AcknowledgmentState]] = []
        self._marks_lock = threading.Lock()
        self._limit = limit
        self._stopping = self._is_open = False
        self._files_gone = False  # told once while nobody sends, and with each refusal
        self._queued = self._queued_bytes = 0  # counted up by the thread that puts,
        self._written = self._written_bytes = 0  # and by the thread that writes: two counters need no lock

    @property
    def backlog(self) -> int:
        """Bytes of messages that wait for their commit."""
        return self._queued_bytes - self._written_bytes

    def put(self, message: NewMessage, answer: Answer) -> bool:
        """Queue a message; False when too many wait already (the sender is refused and keeps its message)."""
        if self._queued - self._written >= self._limit:
            return False
        self._queued += 1
        self._queued_bytes += message.size
        self._turn.append(_Entry(message, answer))
        if len(self._turn) == 1:
            self._at_end_of_turn(self.hand_over)
        if len(self._turn) >= TOGETHER:
            self.hand_over()
        return True

    def hand_over(self) -> None:
        """Have the thread take what was `put` so far; on the thread that puts, and once more before `stop`."""
        turn, self._turn = self._turn, []
        if turn:
            self._queue.put(turn)

    def note(self, message_id: int, kind: str, state: AcknowledgmentState) -> None:
        """Remember what became of an acknowledgment; written in groups, from any thread."""
        with self._marks_lock:
            self._marks.append((message_id, kind, state))

    def stop(self) -> None:
        """Commit what is queued, write the notes, end the thread."""
        self._stopping = True
        self._queue.put(None)

    def run(self) -> None:
        """The loop; ends after `stop`."""
        lasting(self._work, self._work_failed, lambda: self._stopping)

    def _work_failed(self, why: str) -> None:
        self._failed(ANEW if self._is_open else REFUSED, why)

    def _work(self) -> None:
        self._is_open = False
        try:
            store = self._open_store()
        except Exception:
            self._refuse_all()
            raise
        self._is_open = True
        try:
            while True:
                entries, ending = self._gather()
                if entries:
                    self._commit(store, entries)
                else:
                    self._check_files(store)
                with self._marks_lock:
                    due = len(self._marks) >= MARK_EVERY or (self._marks and (not entries or ending))
                if due:
                    self._write_notes(store)
                if ending:
                    return
        finally:
            store.close()

    def _refuse_all(self) -> None:
        """Without a store, whoever waits is told so, and keeps their message."""
        entries, ending = self._gather()
        self._hand_back(entries, [None] * len(entries))
        if ending:
            self._queue.put(None)

    def _check_files(self, store: Store) -> None:
        """While no message comes, too: what stands in a log that was removed is then saved before anything else happens."""
        if self._files_gone:
            return
        try:
            store.connection.check()
        except StoreError as error:
            self._files_gone = True
            self._failed(REFUSED, str(error))

    def _gather(self) -> tuple[list[_Entry], bool]:
        try:
            first = self._queue.get(timeout=IDLE)
        except queue.Empty:
            return [], False
        entries: list[_Entry] = []
        turn = first
        while turn is not None:
            entries += turn
            if len(entries) >= BATCH:
                return entries, False
            try:
                turn = self._queue.get_nowait()
            except queue.Empty:
                return entries, False
        return entries, True

    def _commit(self, store: Store, entries: list[_Entry]) -> None:
        if not self._room():
            self._hand_back(entries, [None] * len(entries))
            return
        try:
            accepted: Iterable[Accepted | None] = store.inbox.accept([entry.message for entry in entries], time.time())
        except StoreError as error:
            self._failed(REFUSED, str(error))
            accepted = [None] * len(entries)
        except Exception as error:  # a defect must not end this thread: without it every sender would wait for ever
            self._failed(REFUSED, f"a defect ({type(error).__name__})")
            accepted = [None] * len(entries)
        self._hand_back(entries, accepted)
        self._committed()

    def _hand_back(self, entries: list[_Entry], accepted: Iterable[Accepted | None]) -> None:
        self._written += len(entries)
        self._written_bytes += sum(entry.message.size for entry in entries)
        pairs = list(zip(entries, accepted, strict=True))

        def answer_all() -> None:
            for entry, stored in pairs:
                try:
                    entry.answer(stored)
                except Exception as error:  # the others, of other connections, must not go without theirs
                    self._failed(UNANSWERED, f"a defect ({type(error).__name__})")

        self._call_in_reactor(answer_all)

    def _write_notes(self, store: Store) -> None:
        with self._marks_lock:
            marks, self._marks = self._marks, []
        groups: dict[tuple[str, AcknowledgmentState], list[int]] = {}
        for message_id, kind, state in marks:
            groups.setdefault((kind, state), []).append(message_id)
        try:
            for (kind, state), ids in groups.items():
                store.inbox.mark_sent(ids, kind, state, time.time())
        except Hl7BridgeError as error:
            # The answer itself left; only the note of it is late, and the next group tries again.
            self._failed(UNNOTED, str(error))
            with self._marks_lock:
                self._marks[:0] = marks
