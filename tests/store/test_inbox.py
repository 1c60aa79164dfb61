"""What `accept` promises: all or nothing, in order, and read back as it was given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.errors import StoreError
from hl7bridge.model import Finding, Record, RecordEcho, Severity, StaffChange
from hl7bridge.store.store import AcknowledgmentState, DeliveryState, MessageState, NewRecord, Store
from tests.store.builders import (
    NEGATIVE,
    NOW,
    PENDING,
    POSITIVE,
    OpenStore,
    accept_one,
    change,
    deliveries,
    events,
    message,
)


def test_each_message_gets_the_next_number(store: Store) -> None:
    accepted = store.inbox.accept([message(change(), control_id=f"C{n}") for n in range(200)], NOW)
    ids = [one.message_id for one in accepted]
    assert ids == sorted(set(ids))
    assert store.inbox.accept([message(control_id="later")], NOW)[0].message_id > ids[-1]
    assert accepted[0].acknowledgments == (POSITIVE,)


def test_nothing_to_accept(store: Store) -> None:
    assert store.inbox.accept([], NOW) == []


@pytest.mark.parametrize("count", [1, 3, 4, 15, 16, 37])
def test_what_comes_together_is_written_as_if_each_came_alone(open_store: OpenStore, count: int) -> None:
    """Several rows take one statement: none is left out, none written twice, and none holds values of another one."""
    given = [message(change(f"S{n}"), control_id=f"C{n}", body=f"body {n}".encode()) for n in range(count)]
    store = open_store()
    tables = ("message", "body", "record", "delivery", "acknowledgment", "history")
    last = dict.fromkeys(tables, 0)

    def written() -> list[list[tuple[object, ...]]]:
        """The rows that are new in each table, without numbers."""
        new = []
        for name in tables:
            order = "id" if name in ("message", "delivery", "history") else "message_id"
            rows = store.connection.dicts(f"SELECT * FROM {name} WHERE {order} > {last[name]} ORDER BY {order}")
            last[name] = max(row[order] for row in rows)
            numbers = ("id", "message_id", "delivery_id", "place", "detail")
            new.append([tuple(value for column, value in row.items() if column not in numbers) for row in rows])
        return new

    store.inbox.accept(given, NOW)
    together = written()
    for one in given:
        store.inbox.accept([replace(one, duplicate_window=0.0)], NOW)
    assert together == written()
    assert [len(rows) for rows in together] == [count] * len(tables)


def test_records_come_back_equal(store: Store) -> None:
    given = message(change("S1"), None, change("S2", effective="2027-02-01T00:00:00+01:00", active=None))
    warned = Finding("0", "unmapped-authority", "Left out", Severity.WARNING)
    nothing = NewRecord(Record(4, RecordEcho(), None, (warned,)))
    accepted = store.inbox.accept([given_with(given, nothing)], NOW)[0]
    statuses = store.audit.statuses([accepted.message_id])[accepted.message_id]
    assert [status.record for status in statuses] == [new.record for new in given.records] + [nothing.record]
    assert [status.position for status in statuses] == [1, 2, 3, 4]
    assert statuses[1].record.failed
    assert statuses[1].deliveries == {}
    assert statuses[0].deliveries["main"].state is DeliveryState.QUEUED
    assert statuses[0].deliveries["main"].result is None


def given_with(given, more):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(given, records=(*given.records, more))


def test_statuses_of_many_messages_and_of_none(store: Store) -> None:
    ids = [
        one.message_id for one in store.inbox.accept([message(change(), control_id=f"C{n}") for n in range(1200)], NOW)
    ]
    statuses = store.audit.statuses([*ids, 999_999])
    assert set(statuses) == {*ids, 999_999}
    assert statuses[999_999] == []
    assert all(len(statuses[message_id]) == 1 for message_id in ids)
    assert store.audit.statuses([]) == {}


def test_a_delivery_for_each_destination(store: Store) -> None:
    message_id = accept_one(store, change(), destinations=("main", "lab"))
    assert set(store.audit.statuses([message_id])[message_id][0].deliveries) == {"main", "lab"}


def test_the_body_comes_back_byte_for_byte(store: Store) -> None:
    raw = bytes(range(256)) * 9
    message_id = accept_one(store, change(), body=raw)
    assert store.audit.body(message_id) == raw
    assert store.audit.body(message_id + 1) is None


def test_a_message_whose_bytes_must_not_reach_the_disk(store: Store) -> None:
    message_id = accept_one(store, None, body=None, state=MessageState.REFUSED, acknowledgments=[NEGATIVE])
    assert store.audit.body(message_id) is None
    found = store.audit.message(message_id)
    assert found
    assert found["body_kept"] is False
    assert found["header"]["control_id"].startswith("A")
    assert found["header"]["processing_id"] == "P"
    assert found["state"] == "refused"


def test_all_or_nothing(store: Store) -> None:
    broken = message(change(), control_id="C2")
    object.__setattr__(broken, "digest", None)
    with pytest.raises(StoreError) as failure:
        store.inbox.accept([message(change(), control_id="C1"), broken], NOW)
    assert "digest" not in str(failure.value)
    assert store.audit.messages().rows == ()
    assert store.audit.counts()["deliveries"] == {}
    assert accept_one(store, change())


def test_another_connection_sees_it_at_once(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    message_id = accept_one(first, change())
    assert second.audit.messages()[0].id == message_id


def test_history_says_what_was_queued(store: Store) -> None:
    message_id = accept_one(store, change())
    found = store.audit.message(message_id)
    assert found
    assert [row["event"] for row in found["history"]] == ["accepted"]
    assert found["history"][0]["detail"] == {"queued": [deliveries(store, message_id)[0]["id"]]}


def test_pending_acknowledgments_until_they_are_answered(open_store: OpenStore) -> None:
    store = open_store()
    first = accept_one(store, change(), acknowledgments=[PENDING])
    second = accept_one(store, change(), acknowledgments=[PENDING], feed="pmu")
    accept_one(store, change())
    waiting = open_store().audit.pending_acknowledgments()
    assert [(p.message_id, p.feed, p.kind, p.due) for p in waiting] == [
        (first, "hr", "original", PENDING.due),
        (second, "pmu", "original", PENDING.due),
    ]
    assert len({p.acknowledgment_id for p in waiting}) == 2
    store.inbox.acknowledged(first, "original", POSITIVE, NOW + 1)
    assert [p.message_id for p in store.audit.pending_acknowledgments()] == [second]
    assert store.audit.acknowledgments(first) == (POSITIVE,)
    assert "acknowledgment" in events(store, first)


def test_what_became_of_answers(store: Store) -> None:
    sent = accept_one(store, change())
    gone = accept_one(store, change())
    store.inbox.mark_sent([sent], "original", AcknowledgmentState.SENT, NOW + 1)
    store.inbox.mark_sent([gone], "original", AcknowledgmentState.NOT_SENT, NOW + 2)
    assert store.audit.acknowledgments(sent)[0].state is AcknowledgmentState.SENT
    assert store.audit.acknowledgments(sent)[0].body == POSITIVE.body
    assert store.audit.acknowledgments(gone)[0].state is AcknowledgmentState.NOT_SENT
    assert events(store, gone) == ["accepted", "acknowledgment"]
    found = store.audit.message(sent)
    assert found
    assert found["acknowledgments"][0]["changed"] == NOW + 1


def test_accept_and_application_acknowledgment_stand_side_by_side(store: Store) -> None:
    from dataclasses import replace

    accept = replace(POSITIVE, kind="accept", code="CA")
    message_id = accept_one(store, change(), acknowledgments=[accept, replace(PENDING, kind="application")])
    store.inbox.acknowledged(message_id, "application", replace(NEGATIVE, kind="application"), NOW)
    assert {a.kind: a.code for a in store.audit.acknowledgments(message_id)} == {"accept": "CA", "application": "AE"}
    assert store.audit.messages()[0].acknowledgment == "AE"


def test_a_change_with_nothing_in_it(store: Store) -> None:
    from hl7bridge.model import Action

    bare = StaffChange(Action.ADD, "", ())
    message_id = accept_one(store, bare, lane=())
    assert store.audit.statuses([message_id])[message_id][0].record.change == bare
