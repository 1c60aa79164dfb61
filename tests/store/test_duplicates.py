"""The duplicate rule (design.md section 5): a positive or pending answer is given again, a negative one never."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.store.store import Accepted, Acknowledgment, AcknowledgmentState, MessageState, NewMessage, Store
from tests.store.builders import (
    DAY,
    NEGATIVE,
    NOW,
    PENDING,
    POSITIVE,
    SILENT,
    accept_one,
    change,
    claim,
    events,
    message,
    settlement,
)

ACCEPT = Acknowledgment("accept", AcknowledgmentState.SENT, "CA", True, b"MSH|ca\r")
SILENT_NEGATIVE = replace(SILENT, code="AE", positive=False)


def take(store: Store, *messages: NewMessage) -> list[Accepted]:
    return store.inbox.accept(list(messages), NOW)


def take_one_by_one(store: Store, *messages: NewMessage) -> list[Accepted]:
    return [store.inbox.accept([one], NOW)[0] for one in messages]


@pytest.fixture(params=[take, take_one_by_one], ids=["one-batch", "one-by-one"])
def accept(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """The rule holds between transactions and inside one."""
    return request.param


def test_the_same_again_has_no_effect(store: Store, accept) -> None:  # type: ignore[no-untyped-def]
    first, again, once_more = accept(store, message(change()), message(change()), message(change()))
    assert again.duplicate_of == once_more.duplicate_of == first.message_id
    assert again.acknowledgments == (POSITIVE,)
    assert again.message_id not in (first.message_id, once_more.message_id)
    assert len(claim(store)) == 1
    assert store.audit.acknowledgments(again.message_id) == (POSITIVE,)
    assert store.audit.body(again.message_id) == store.audit.body(first.message_id)
    found = store.audit.message(again.message_id)
    assert found
    assert (found["state"], found["duplicate_of"], found["records"]) == ("duplicate", first.message_id, [])
    assert found["history"][0]["detail"] == {"of": first.message_id}


@pytest.mark.parametrize(
    ("state", "acknowledgments"),
    [
        (MessageState.ACCEPTED, [POSITIVE]),
        (MessageState.ACCEPTED, [replace(POSITIVE, state=AcknowledgmentState.NOT_SENT)]),
        (MessageState.ACCEPTED, [PENDING]),
        (MessageState.ACCEPTED, [ACCEPT, replace(PENDING, kind="application")]),
        (MessageState.ACCEPTED, [ACCEPT]),
        (MessageState.ACCEPTED, []),
        (MessageState.ACCEPTED, [SILENT]),
        (MessageState.IGNORED, [POSITIVE]),
    ],
)
def test_a_positive_or_pending_answer_is_given_again(store: Store, accept, state, acknowledgments) -> None:  # type: ignore[no-untyped-def]
    same = message(change(), state=state, acknowledgments=acknowledgments)
    first, again = accept(store, same, same)
    assert again.duplicate_of == first.message_id
    assert sorted(again.acknowledgments, key=lambda a: a.kind) == sorted(acknowledgments, key=lambda a: a.kind)


@pytest.mark.parametrize(
    ("state", "acknowledgments"),
    [
        (MessageState.REFUSED, [NEGATIVE]),
        (MessageState.ACCEPTED, [NEGATIVE]),  # some records failed: AE, the others are delivered
        (MessageState.ACCEPTED, [ACCEPT, replace(NEGATIVE, kind="application")]),
        (MessageState.ACCEPTED, [SILENT_NEGATIVE]),
        (MessageState.REFUSED, []),
        (MessageState.WITHDRAWN, []),
    ],
)
def test_a_negative_answer_is_never_given_again(store: Store, accept, state, acknowledgments) -> None:  # type: ignore[no-untyped-def]
    refused = message(None, state=state, acknowledgments=acknowledgments)
    first, again, third = accept(store, refused, message(change()), message(change()))
    assert again.duplicate_of == 0
    assert (again.repeat_of, again.same_content) == (first.message_id, True)
    assert third.duplicate_of == again.message_id
    found = store.audit.message(again.message_id)
    assert found
    assert (found["repeat_of"], found["same_content"]) == (first.message_id, True)


def test_refused_twice_then_taken(store: Store, accept) -> None:  # type: ignore[no-untyped-def]
    refused = message(None, state=MessageState.REFUSED, acknowledgments=[NEGATIVE])
    first, second, third, fourth = accept(store, refused, refused, message(change()), message(change()))
    assert second.repeat_of == first.message_id
    assert third.repeat_of == second.message_id
    assert fourth.duplicate_of == third.message_id


def test_same_id_new_content_is_processed_and_flagged(store: Store, accept) -> None:  # type: ignore[no-untyped-def]
    first, other, third = accept(
        store, message(change()), message(change(), content="second"), message(change(), content="third")
    )
    assert (other.duplicate_of, other.repeat_of, other.same_content) == (0, first.message_id, False)
    assert (third.repeat_of, third.same_content) == (other.message_id, False)
    assert store.audit.counts()["deliveries"]["main"] == {"queued": 3}


def test_each_content_of_one_id_has_its_own_first_answer(store: Store, accept) -> None:  # type: ignore[no-untyped-def]
    """A sender whose control id never changes: every content counts for itself."""
    made = [message(change(), content=f"content {n}") for n in range(5)]
    firsts = accept(store, *made)
    again = accept(store, *made)
    assert [one.duplicate_of for one in again] == [one.message_id for one in firsts]


@pytest.mark.parametrize("name", ["sending_application", "sending_facility", "control_id"])
def test_another_sender_or_id_is_another_message(store: Store, accept, name: str) -> None:  # type: ignore[no-untyped-def]
    given = message(change())
    other = replace(given, header={**given.header, name: "OTHER"})
    first, second = accept(store, given, other)
    assert (second.duplicate_of, second.repeat_of) == (0, 0)
    assert first.message_id != second.message_id


def test_another_feed_is_another_message(store: Store, accept) -> None:  # type: ignore[no-untyped-def]
    _, second = accept(store, message(change()), message(change(), feed="badge"))
    assert (second.duplicate_of, second.repeat_of) == (0, 0)


def test_after_the_window_it_is_a_message_like_any_other(store: Store, accept) -> None:  # type: ignore[no-untyped-def]
    first, within, beyond, again = accept(
        store,
        message(change(), received=NOW),
        message(change(), received=NOW + 7 * DAY),
        message(change(), received=NOW + 8 * DAY),
        message(change(), received=NOW + 9 * DAY),
    )
    assert within.duplicate_of == first.message_id
    assert (beyond.duplicate_of, beyond.repeat_of) == (0, 0)
    assert again.duplicate_of == beyond.message_id


def test_outside_the_rule(store: Store, accept) -> None:  # type: ignore[no-untyped-def]
    """No window, no control id, or a replay: taken, and not looked at by later ones."""
    for given in (message(change(), control_id="A", window=0), message(change(), control_id="")):
        one, two = accept(store, given, given)
        assert (one.duplicate_of, two.duplicate_of, two.repeat_of) == (0, 0, 0)
    first = accept_one(store, change(), control_id="B")
    replay = accept(store, message(change(), control_id="B", window=0, replay_of=first))[0]
    assert (replay.duplicate_of, replay.repeat_of) == (0, 0)
    found = store.audit.message(replay.message_id)
    assert found
    assert found["replay_of"] == first
    assert accept(store, message(change(), control_id="B"))[0].duplicate_of == first


def test_the_answer_that_was_built_meanwhile_counts(store: Store) -> None:
    first = accept_one(store, change(), control_id="C", acknowledgments=[PENDING])
    assert store.inbox.accept([message(change(), control_id="C")], NOW)[0].duplicate_of == first
    store.inbox.acknowledged(first, "original", NEGATIVE, NOW)
    again = store.inbox.accept([message(change(), control_id="C")], NOW)[0]
    assert (again.duplicate_of, again.repeat_of, again.same_content) == (0, first, True)


def test_withdrawn_and_refused_then_sent_again(store: Store) -> None:
    first = accept_one(store, change(), control_id="C", acknowledgments=[PENDING])
    assert store.settlements.withdraw(first, NOW)
    store.inbox.acknowledged(first, "original", NEGATIVE, NOW)
    again = store.inbox.accept([message(change(), control_id="C")], NOW)[0]
    assert again.repeat_of == first
    (one,) = claim(store)
    assert one.message_id == again.message_id
    store.settlements.settle([settlement(one)], NOW)
    assert events(store, again.message_id)[-1] == "ended"


def test_a_first_beyond_the_window_inside_a_batch(store: Store) -> None:
    first, late = store.inbox.accept([message(change(), received=NOW), message(change(), received=NOW + 30 * DAY)], NOW)
    assert (late.duplicate_of, late.repeat_of) == (0, 0)
    assert first.message_id < late.message_id
