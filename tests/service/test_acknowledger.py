"""The thread that answers when outcomes are known: whoever asks at whatever moment gets the answer, once it is there."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

import pytest

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.intake.intake import FeedPolicy
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import Action, Outcome, Record, RecordEcho, Result, StaffChange, StaffIdentifier
from hl7bridge.service.inbound.acknowledging import Acknowledger
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import (
    Acknowledgment,
    AcknowledgmentState,
    DeliveryState,
    MessageState,
    NewDelivery,
    NewMessage,
    NewRecord,
    Settlement,
    Store,
)
from tests.journey import KEY_SYSTEM, mfn, person

DESTINATION = FhirDestination(DestinationRules("fhir", "https://fhir.example.org/r4", mode="write"))
CHANGE = StaffChange(Action.ADD, "K1", (StaffIdentifier("K1", KEY_SYSTEM),))


def waiting_message(kind: str = "original", *, deadline: float = 600.0) -> NewMessage:
    enhanced = {"accept": "NE", "application": "AL"} if kind == "application" else {}
    body = mfn("race-1", person("MAD", "K1", "Tamsworth^Ilse"), **enhanced)
    now = time.time()
    return NewMessage(
        feed="staff",
        received=now,
        header={"control_id": "race-1", "sending_application": "HR", "sending_facility": "N"},
        digest=b"race-1",
        size=len(body),
        body=body,
        state=MessageState.ACCEPTED,
        records=(NewRecord(Record(1, RecordEcho("MAD", "", "K1", "CWE"), CHANGE), (NewDelivery("fhir", ("k1",)),)),),
        acknowledgments=(Acknowledgment(kind, AcknowledgmentState.PENDING, due=now + deadline),),
        duplicate_window=60.0,
    )


class Bench:
    """An acknowledger on a store of its own; `answers` holds what it handed out."""

    def __init__(self, path: Path, **policy: object) -> None:
        self.path = path
        self.store = open_store(path)
        self.looks: Store = open_store(path)
        self.answers: queue.Queue[bytes | None] = queue.Queue()
        given = {"ack_deadline": 600.0, **policy}
        policies = {"staff": FeedPolicy("staff", FeedRules(KEY_SYSTEM), {"fhir": DESTINATION}, **given)}
        self.thread = Acknowledger(lambda: self.looks, policies, lambda pending, body: self.answers.put(body))

    def accept(self, kind: str = "original", **given: float) -> int:
        return self.store.inbox.accept([waiting_message(kind, **given)], time.time())[0].message_id

    def claim(self):
        self.store.queue.join("worker", 60, time.time())
        (claimed,) = self.store.queue.claim("fhir", "worker", 1, time.time())
        return claimed

    def deliver(self) -> None:
        outcome = Outcome(Result.CREATED, person_id="p1")
        self.store.settlements.settle([Settlement(self.claim(), outcome, DeliveryState.ENDED)], time.time())
        self.thread.hint()

    def end(self) -> None:
        self.thread.stop()
        self.thread.join(20)
        self.store.close()


@pytest.mark.parametrize("kind", ["original", "application"])
def test_a_message_that_comes_while_the_thread_looks_is_answered_when_its_outcome_is_known(
    tmp_path: Path, kind: str
) -> None:
    """It was asked for, and the look that had begun did not see it: it is pending all the same, and not answered."""
    bench = Bench(tmp_path / "store.db")
    look, looked = bench.looks.audit.pending_acknowledgments, threading.Event()
    message: list[int] = []

    def while_it_comes():
        rows = look()
        if message:
            looked.set()
        else:
            message.append(bench.accept(kind))
            bench.thread.expect(message[0], kind)
        return rows

    bench.looks.audit.pending_acknowledgments = while_it_comes
    bench.thread.start()
    assert looked.wait(20)
    assert bench.answers.empty()
    bench.deliver()
    answer = bench.answers.get(timeout=20)
    assert answer
    assert b"MSA|AA|race-1" in answer
    bench.end()


def test_whoever_asks_after_it_was_answered_gets_that_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "store.db")
    message_id = bench.accept()
    bench.deliver()
    bench.thread.start()
    first = bench.answers.get(timeout=20)
    bench.thread.expect(message_id, "original")
    assert bench.answers.get(timeout=20) == first
    bench.end()


def test_a_refusal_does_not_say_withdrawn_of_what_is_under_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "store.db", when_pending="refuse")
    bench.accept(deadline=0.0)
    bench.claim()
    bench.thread.start()
    answer = bench.answers.get(timeout=20)
    assert answer
    assert b"MSA|AR|race-1" in answer
    assert b"withdrawn" not in answer
    assert b"under way" in answer
    bench.end()
