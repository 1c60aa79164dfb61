"""The writer thread: answers in order, refusals when the store fails, and it outlives whatever a store does."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.errors import StoreError
from hl7bridge.service.inbound.writer import ANEW, REFUSED, TOGETHER, UNANSWERED, UNNOTED, StoreWriter
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import Acknowledgment, AcknowledgmentState, MessageState, NewMessage


def new(control_id: str) -> NewMessage:
    return NewMessage(
        feed="staff",
        received=1_800_000_000.0,
        header={"control_id": control_id, "sending_application": "HR", "sending_facility": "N"},
        digest=control_id.encode(),
        size=10,
        body=b"MSH",
        state=MessageState.ACCEPTED,
        acknowledgments=(Acknowledgment("original", AcknowledgmentState.OWED, "AA", True, b"MSA|AA"),),
        duplicate_window=60.0,
    )


def into(said: list) -> Callable[[str, str], None]:
    """Remembers what failed, and why."""
    return lambda *one: said.append(one)


class Answers:
    """Answers in the order in which the reactor would give them."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[str, object]] = queue.Queue()

    def to(self, name: str):
        return lambda accepted: self.got.put((name, accepted))

    def next(self) -> tuple[str, object]:
        return self.got.get(timeout=20)


def writer_on(open_it, **given) -> StoreWriter:
    writer = StoreWriter(open_it, lambda call: call(), **given)
    writer.start()
    return writer


def test_answers_come_in_order_and_a_duplicate_finds_the_first(tmp_path: Path) -> None:
    answers, committed = Answers(), []
    writer = writer_on(lambda: open_store(tmp_path / "store.db"), committed=lambda: committed.append(1))
    for name in ("a", "b", "a"):
        assert writer.put(new(name), answers.to(name))
    got = [answers.next() for _ in range(3)]
    writer.stop()
    writer.join(20)
    assert [name for name, _ in got] == ["a", "b", "a"]
    assert got[2][1].duplicate_of == got[0][1].message_id
    assert committed


@pytest.mark.parametrize(("came", "before_the_end", "commits"), [(1, [], 1), (5, [], 1), (TOGETHER + 2, [TOGETHER], 2)])
def test_what_comes_in_one_turn_of_the_reactor_is_committed_together(
    tmp_path: Path, came: int, before_the_end: list[int], commits: int
) -> None:
    answers, ends = Answers(), []
    store = open_store(tmp_path / "store.db")
    accept, sizes = store.inbox.accept, []

    def counted(messages, now):
        sizes.append(len(messages))
        return accept(messages, now)

    store.inbox.accept = counted
    writer = writer_on(lambda: store, at_end_of_turn=ends.append)
    for number in range(came):
        assert writer.put(new(str(number)), answers.to(str(number)))
    got = [answers.next()[0] for _ in range(sum(before_the_end))]
    assert sizes == before_the_end
    assert writer.backlog == 10 * (came - len(got))
    for end in ends:
        end()
    got += [answers.next()[0] for _ in range(came - len(got))]
    writer.stop()
    writer.join(20)
    assert got == list(map(str, range(came)))
    assert len(sizes) == commits
    assert writer.backlog == 0


def test_what_came_in_the_turn_in_which_the_service_stops_is_committed_too(tmp_path: Path) -> None:
    answers = Answers()
    writer = writer_on(lambda: open_store(tmp_path / "store.db"), at_end_of_turn=lambda call: None)
    assert writer.put(new("a"), answers.to("a"))
    writer.hand_over()
    writer.hand_over()  # as the end of the turn does later, with nothing
    writer.stop()
    writer.join(20)
    name, accepted = answers.next()
    assert name == "a"
    assert accepted.message_id > 0
    assert answers.got.empty()


@pytest.mark.parametrize("error", [StoreError("the disk is full"), RuntimeError("a defect"), MemoryError()])
def test_a_commit_that_fails_refuses_its_batch_and_the_thread_goes_on(tmp_path: Path, error: Exception) -> None:
    answers, said = Answers(), []
    store = open_store(tmp_path / "store.db")
    accept, failing = store.inbox.accept, [True]

    def sometimes(messages, now):
        if failing[0]:
            raise error
        return accept(messages, now)

    store.inbox.accept = sometimes
    writer = writer_on(lambda: store, failed=into(said))
    writer.put(new("a"), answers.to("a"))
    assert answers.next() == ("a", None)
    failing[0] = False
    writer.put(new("a"), answers.to("a"))
    assert answers.next()[1].message_id
    writer.stop()
    writer.join(20)
    ((what, why),) = said
    assert what == REFUSED
    assert "a defect" not in why or "RuntimeError" in why or "MemoryError" in why


def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    writer = StoreWriter(lambda: open_store(tmp_path / "store.db"), lambda call: call(), limit=2)
    assert writer.put(new("a"), lambda _: None)
    assert writer.put(new("b"), lambda _: None)
    assert not writer.put(new("c"), lambda _: None)


def test_what_became_of_an_answer_is_written_down(tmp_path: Path) -> None:
    answers = Answers()
    writer = writer_on(lambda: open_store(tmp_path / "store.db"))
    writer.put(new("a"), answers.to("a"))
    accepted = answers.next()[1]
    writer.note(accepted.message_id, "original", AcknowledgmentState.NOT_SENT)
    writer.stop()
    writer.join(20)
    store = open_store(tmp_path / "store.db")
    assert store.audit.acknowledgments(accepted.message_id)[0].state is AcknowledgmentState.NOT_SENT
    store.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreError("the disk is full"), (UNNOTED, "the disk is full")),
        (RuntimeError("a value"), (ANEW, "a defect (RuntimeError)")),
    ],
)
def test_a_note_that_fails_is_not_told_as_a_refused_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: tuple[str, str]
) -> None:
    monkeypatch.setattr("hl7bridge.service.lasting.REST", 0.0)
    answers, told = Answers(), []
    store = open_store(tmp_path / "store.db")

    def fails(*_: object) -> None:
        raise error

    store.inbox.mark_sent = fails
    writer = StoreWriter(lambda: store, lambda call: call(), failed=into(told))
    assert writer.put(new("a"), answers.to("a"))
    writer.note(1, "original", AcknowledgmentState.SENT)
    writer.stop()
    writer.run()
    assert answers.next()[1] is not None
    assert told == [said]


def test_an_answer_that_fails_keeps_nobody_else_from_theirs(tmp_path: Path) -> None:
    answers, told = Answers(), []

    def broken(_: object) -> None:
        raise RuntimeError("a value that must not be told")

    writer = StoreWriter(lambda: open_store(tmp_path / "store.db"), lambda call: call(), failed=into(told))
    assert writer.put(new("a"), broken)
    assert writer.put(new("b"), answers.to("b"))
    writer.stop()
    writer.run()
    assert answers.next()[0] == "b"
    assert told == [(UNANSWERED, "a defect (RuntimeError)")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let go of a file in use")
def test_a_log_that_is_removed_while_nobody_sends_is_told_once_and_saved(tmp_path: Path) -> None:
    answers, told = Answers(), queue.Queue[tuple[str, str]]()
    path = tmp_path / "store.db"
    writer = writer_on(lambda: open_store(path), failed=lambda *one: told.put(one))
    assert writer.put(new("a"), answers.to("a"))
    assert answers.next()[1] is not None
    path.with_name("store.db-wal").unlink()
    assert "what it held was written into the store" in told.get(timeout=20)[1]
    time.sleep(1.2)
    assert told.empty()
    assert writer.put(new("b"), answers.to("b"))
    assert answers.next() == ("b", None)
    assert "start the service again" in told.get(timeout=20)[1]
    writer.stop()
    writer.join(20)


@pytest.mark.parametrize(
    ("error", "told"),
    [(StoreError("the disk is full"), "the disk is full"), (OSError("a value"), "a defect (OSError)")],
)
def test_a_store_that_does_not_open_refuses_whoever_waits_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    """As after a defect that ended the work, on a disk that is full by then."""
    answers, said, tries = Answers(), [], []
    monkeypatch.setattr("hl7bridge.service.lasting.REST", 0.0)

    def opens():
        tries.append(1)
        if len(tries) < 3:
            raise error
        return open_store(tmp_path / "store.db")

    writer = StoreWriter(opens, lambda call: call(), failed=into(said))
    assert writer.put(new("a"), answers.to("a"))
    writer.start()
    assert answers.next() == ("a", None)
    while len(tries) < 3:
        time.sleep(0.01)
    assert writer.put(new("b"), answers.to("b"))
    assert answers.next()[1] is not None
    writer.stop()
    writer.join(20)
    assert said == [(REFUSED, told)] * 2


def test_who_is_told_of_a_commit_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, said = Answers(), []
    monkeypatch.setattr("hl7bridge.service.lasting.REST", 0.0)

    def committed() -> None:
        raise BrokenPipeError("the child is gone")

    writer = writer_on(lambda: open_store(tmp_path / "store.db"), committed=committed, failed=into(said))
    for name in ("a", "b"):
        assert writer.put(new(name), answers.to(name))
        assert answers.next()[1] is not None
    writer.stop()
    writer.join(20)
    assert said == [(ANEW, "a defect (BrokenPipeError)")] * 2
