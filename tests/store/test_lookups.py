"""What people see: lists, filters, counts, secrets."""

from __future__ import annotations

from dataclasses import asdict

from hl7bridge.model import Result, write_json
from hl7bridge.store.store import MessageState, Store
from tests.store.builders import (
    NEGATIVE,
    NOW,
    PENDING,
    OpenStore,
    accept_one,
    change,
    claim,
    message,
    settlement,
)


def test_newest_first_and_limited(store: Store) -> None:
    made = [accept_one(store, change()) for _ in range(5)]
    assert [row.id for row in store.audit.messages()] == made[::-1]
    assert [row.id for row in store.audit.messages(limit=2)] == made[:2:-1]


def test_a_row_of_the_list(store: Store) -> None:
    accept_one(store, change(), None, control_id="C7", acknowledgments=[NEGATIVE], destinations=("main", "lab"))
    (row,) = store.audit.messages()
    assert row.control_id == "C7"
    assert row.acknowledgment == "AE"
    assert (row.records, row.open_deliveries) == (2, 2)
    assert (row.message_type, row.trigger_event, row.state) == ("MFN", "M02", "accepted")
    assert (row.duplicate_of, row.repeat_of, row.replay_of) == (0, 0, 0)
    write_json(asdict(row))


def test_filters(store: Store) -> None:
    first = accept_one(store, change("A"), control_id="X", received=NOW)
    second = accept_one(store, change("B"), change("A"), feed="badge", received=NOW + 10)
    third = accept_one(store, None, state=MessageState.REFUSED, received=NOW + 20)

    def found(**given: object) -> list[int]:
        return [row.id for row in store.audit.messages(**given)]  # type: ignore[arg-type]

    assert found(source_key="A") == [second, first]
    assert found(feed="badge") == [second]
    assert found(control_id="X") == [first]
    assert found(state="refused") == [third]
    assert found(since=NOW + 10) == [third, second]
    assert found(source_key="A", feed="hr") == [first]
    assert found(source_key="nobody") == []


def test_no_such_message(store: Store) -> None:
    assert store.audit.message(1) is None
    assert store.audit.body(1) is None
    assert store.audit.acknowledgments(1) == ()


def test_a_message_is_json(store: Store) -> None:
    message_id = accept_one(store, change("A"), None)
    found = store.audit.message(message_id)
    text = write_json(found)
    assert "1.10" in text  # numbers keep their text
    assert found
    assert found["header"]["sending_application"] == "HRAPP"
    assert found["records"][1]["findings"][0]["location"]["segment"] == "MFE"
    assert found["acknowledgments"][0]["body"] == "MSH|ok\r"


def test_counts(store: Store) -> None:
    for n in range(4):
        accept_one(store, change(f"P{n}"), acknowledgments=[PENDING])
    accept_one(store, change("P9"), not_before=NOW + 9)
    accept_one(store, change("P8"), destinations=("lab",))
    store.inbox.accept([message(change(), control_id="D"), message(change(), control_id="D")], NOW)
    a, b, *_ = claim(store, limit=3)
    store.settlements.settle([settlement(a), settlement(b, result=Result.UNCHANGED)], NOW)
    counts = store.audit.counts()
    assert counts["messages"] == {"accepted": 7, "duplicate": 1}
    assert counts["deliveries"] == {
        "lab": {"queued": 1},
        "main": {"claimed": 1, "queued": 2, "scheduled": 1, "updated": 1, "unchanged": 1},
    }
    assert counts["pending_acknowledgments"] == 4
    assert counts["tasks"] == 0
    assert counts["paused"] == {}


def test_a_secret_is_made_once(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    made = first.audit.secret("adt")
    assert len(made) == 32
    assert second.audit.secret("adt") == made
    assert second.audit.secret("other") != made


def test_closing_twice(store: Store) -> None:
    store.close()
    store.close()
