"""Where a connection stands: only what the table knows happens, and all that it knows does."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.hl7.mllp import frame
from hl7bridge.service.inbound.connection import BUILT_WITHIN, MllpConnection
from hl7bridge.service.inbound.states import (
    CONNECTION_STARTS,
    CONNECTION_TRANSITIONS,
    ConnectionEvent,
    ConnectionState,
    after,
)
from hl7bridge.service.inbound.tls import ListenerTls
from hl7bridge.service.inbound.unseen import SEEN_WITHIN
from tests.examples import examples
from tests.journey import mfn, person
from tests.service.test_listener import Bench, Slow
from tests.service.test_listener_tls import listener_tls
from tests.states import PAGE

ALL = {(was, one.event, one.becomes) for was, allowed in CONNECTION_TRANSITIONS.items() for one in allowed}
MESSAGE = frame(mfn("m", person("MAD", "K1", "Tamsworth^Ilse")))


def test_the_guide_names_every_state() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"\n| {state} |" in page for state in ConnectionState)


def test_every_state_is_reached_and_every_event_leads_to_one_state() -> None:
    assert set(CONNECTION_TRANSITIONS) == set(ConnectionState)
    reached = {becomes for _, _, becomes in ALL} | {becomes for becomes, _ in CONNECTION_STARTS.values()}
    assert reached == set(ConnectionState)
    assert len({(was, event) for was, event, _ in ALL}) == len(ALL)
    used = {event for _, event, _ in ALL} | set(CONNECTION_STARTS)
    assert used == set(ConnectionEvent)


@pytest.mark.parametrize("state", [None, *ConnectionState])
@pytest.mark.parametrize("event", ConnectionEvent)
def test_no_other_change_is_made(state: ConnectionState | None, event: ConnectionEvent) -> None:
    allowed = CONNECTION_STARTS if state is None else {one.event for one in CONNECTION_TRANSITIONS[state]}
    if event in allowed:
        after(state, event)
    else:
        with pytest.raises(ValueError, match=f"cannot take the event {event}"):
            after(state, event)


class Driven(Bench):
    """A connection and all that may befall it. A step that does not befall a connection in its state does nothing."""

    def __init__(self, tls: ListenerTls | None = None) -> None:
        super().__init__(tls)
        self.listener.commits = self.commits = Slow()

    def secured(self) -> None:
        self.connection.handshakeCompleted()

    def message(self) -> None:
        self.connection.dataReceived(MESSAGE)

    def part(self) -> None:
        self.connection.dataReceived(MESSAGE[:40])

    def filler(self) -> None:
        self.connection.dataReceived(b"\r\n")

    def answer(self) -> None:
        if self.commits.answers:  # type: ignore[attr-defined]
            self.commits.answers.pop(0)()  # type: ignore[attr-defined]

    def unread(self) -> None:
        if self.transport.producer:
            self.transport.producer.pauseProducing()

    def read(self) -> None:
        if self.transport.producer:
            self.transport.producer.resumeProducing()

    def sender_ends(self) -> None:
        if self.connection.state is not ConnectionState.CLOSED and not self.connection._ended:
            self.connection.readConnectionLost()

    def write_ended(self) -> None:
        if self.transport.write_ended:
            self.connection.writeConnectionLost()
            self.clock.advance(SEEN_WITHIN)

    def stop(self) -> None:
        self.listener.finish()

    def time_passes(self) -> None:
        self.clock.advance(self.listener.intake.policy.ack_deadline + BUILT_WITHIN)

    def lost(self) -> None:
        if self.connection.state is not ConnectionState.CLOSED:
            self.connection.connectionLost()

    STEPS: tuple[Callable[[Driven], None], ...] = (
        *(message, message, part, filler, answer, answer, unread, read),
        *(sender_ends, write_ended, stop, time_passes, lost),
    )


@settings(max_examples=examples(150), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_befalls_a_connection_it_moves_by_the_table_and_answers_each_message_once(seed: int) -> None:
    dice, driven = random.Random(seed), Driven()
    weights = [2 if step.__name__ in ("message", "answer") else 1 for step in Driven.STEPS]
    for step in dice.choices(Driven.STEPS, weights, k=25):
        step(driven)  # a change that the table does not know raises
    driven.lost()
    while driven.commits.answers:  # type: ignore[attr-defined]
        driven.answer()
    noted = driven.commits.noted  # type: ignore[attr-defined]
    assert len(noted) == len(driven.commits.stored), "what became of an answer was told twice, or not at all"
    assert len(driven.answers) >= noted.count("sent")


def test_all_that_the_table_knows_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No row of it is made up: here is how each comes about."""
    seen: set[tuple[ConnectionState | None, ConnectionEvent]] = set()
    move = MllpConnection._move

    def watched(connection: MllpConnection, event: ConnectionEvent) -> None:
        seen.add((connection.state, event))
        move(connection, event)

    monkeypatch.setattr(MllpConnection, "_move", watched)
    secured = listener_tls(tmp_path)
    for steps in (
        "lost",
        "part time_passes time_passes time_passes time_passes time_passes time_passes lost",  # too slow
        "message stop answer lost",
        "message stop lost",
        "message stop sender_ends lost",
        "message sender_ends answer lost",
        "message sender_ends time_passes",
        "message sender_ends answer write_ended",
    ):
        driven = Driven()
        for step in steps.split():
            getattr(driven, step)()
    for steps in ("secured lost", "lost", "time_passes time_passes", "stop"):
        driven = Driven(secured)
        for step in steps.split():
            getattr(driven, step)()
    full = Bench()
    full.listener.finish()
    full.listener.buildProtocol(None).makeConnection(full.transport)
    expected = {(was, event) for was, event, _ in ALL} | {(None, event) for event in CONNECTION_STARTS}
    assert seen == expected
