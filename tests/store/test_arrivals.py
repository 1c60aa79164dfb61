"""Messages of very many records are written out part by part, and nobody can tell."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.model import Action, Finding, Location, Severity
from hl7bridge.store.encoding import echo_to_text, findings_from_text, findings_to_text
from hl7bridge.store.inbox.arrivals import pack, unpack
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.store import Acknowledgment, DeliveryState, NewMessage, NewRecord, Part
from tests.store.builders import NOW, PENDING, POSITIVE, accept_one, change, claim, message, settlement


def large(keys: Sequence[str], *, size: int = 2, answer: Acknowledgment = POSITIVE) -> NewMessage:
    """A message whose records are all in parts of `size`."""
    whole = message(*map(change, keys), control_id="BIG", acknowledgments=[answer])
    parts = tuple(pack(whole.records[start : start + size]) for start in range(0, len(keys), size))
    return replace(whole, records=(), parts=parts)


def claim_all(store: SqliteStore) -> list[str]:
    """Claim and end everything, one at a time; the source keys and messages in the order in which they were handed out."""
    order = []
    store.queue.join("w", 60.0, NOW)
    while handed := store.queue.claim("main", "w", 1, NOW):
        (one,) = handed
        order.append(f"{one.message_id}:{one.change.source_key}")
        assert store.settlements.settle([settlement(one)], NOW) == []
    return order


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=8))
def test_what_is_packed_is_unpacked(keys: list[str]) -> None:
    leaver = change("later", Action.DEACTIVATE)
    given = message(*map(change, keys), None, leaver, not_before=NOW + 60, destinations=["main", "other"])
    part = pack(given.records)
    assert tuple(unpack(part.content)) == given.records
    expected = len(keys) + 1
    assert (part.records, part.deliveries) == (len(keys) + 2, {"main": expected, "other": expected})


@pytest.mark.parametrize("form", ["first", "present"])
def test_its_rows_are_those_of_a_message_that_is_stored_at_once(tmp_path: Path, form: str) -> None:
    """Packed by this version, or by one that packed the echo, the findings and the change alone."""
    told = Finding("103", "unmapped-code", 'no code for "x"', Severity.WARNING, Location("STF", 2, 7, 1, 3), 1)
    changes = [change(f"k{number}", action) for number, action in enumerate(Action)]
    changes += [change("away", Action.DEACTIVATE, temporary=True), change("absent", active=False)]
    whole = message(*changes, None, not_before=LATER, destinations=["main", "other"])
    first = whole.records[0]
    told_twice = (told, told._replace(location=None))
    whole = replace(
        whole, records=(NewRecord(first.record._replace(findings=told_twice), first.deliveries), *whole.records[1:])
    )
    part = pack(whole.records) if form == "present" else packed_as_at_first(whole.records)
    rows = []
    for name, one in (("whole", whole), ("parts", replace(whole, records=(), parts=(part,)))):
        with SqliteStore(tmp_path / name) as store:
            accept = store.inbox.accept([one], NOW)
            store.arrivals.write_out_all(accept[0].message_id, NOW)
            tables = (f"SELECT * FROM {table} ORDER BY rowid" for table in ("record", "delivery"))
            rows.append([[tuple(row) for row in store.connection.execute(sql)] for sql in tables])
    assert rows[0] == rows[1]
    assert len(rows[0][0]) == len(changes) + 1


def packed_as_at_first(records: Sequence[NewRecord]) -> Part:
    """As earlier versions did it."""
    rows = [
        [
            new.record.position,
            findings_to_text(new.record.findings),
            echo_to_text(new.record.echo),
            new.record.change.to_json() if new.record.change else None,
            [[one.destination, one.lane, one.not_before, one.order_time] for one in new.deliveries],
        ]
        for new in records
    ]
    return replace(pack(records), content=zlib.compress(json.dumps(rows).encode(), 1))


@given(
    st.builds(
        Finding,
        code=st.sampled_from(["101", "103"]),
        local=st.sampled_from(["unmapped-code", "segment-missing"]),
        text=st.text(max_size=20),
        severity=st.sampled_from(list(Severity)),
        location=st.none() | st.builds(Location, segment=st.text(max_size=4), component=st.integers(0, 9)),
        position=st.integers(0, 10**6),
    )
)
def test_a_finding_is_read_back_as_it_was_written(finding: Finding) -> None:
    assert findings_from_text(findings_to_text([finding, finding])) == (finding, finding)


def test_it_is_delivered_in_order_with_what_came_before_and_after(store: SqliteStore) -> None:
    accept_one(store, change("a"), control_id="before")
    (big,) = store.inbox.accept([large(["a", "b", "a", "c", "b"])], NOW)
    accept_one(store, change("a"), control_id="after")
    order = claim_all(store)
    first, last = big.message_id - 1, big.message_id + 1
    of_a = [one.partition(":")[0] for one in order if one.endswith(":a")]
    assert of_a == [str(number) for number in (first, big.message_id, big.message_id, last)]
    assert len(order) == 7


def test_lists_and_counts_know_of_what_is_not_written_out(store: SqliteStore) -> None:
    (big,) = store.inbox.accept([large(["a", "b", "c"], answer=PENDING)], NOW)
    (listed,) = store.audit.messages()
    assert (listed.records, listed.open_deliveries) == (3, 3)
    assert store.audit.counts()["deliveries"] == {"main": {"queued": 3}}
    (pending,) = store.audit.pending_acknowledgments()
    assert pending.is_open
    before = store.audit.statuses([big.message_id])[big.message_id]
    assert [status.record.position for status in before] == [1, 2, 3]
    assert {d.state for status in before for d in status.deliveries.values()} == {DeliveryState.QUEUED}
    claim(store)
    after = store.audit.statuses([big.message_id])[big.message_id]
    assert [status.record for status in after] == [status.record for status in before]
    ids = [[d.delivery_id for d in status.deliveries.values()] for status in before]
    assert [[d.delivery_id for d in status.deliveries.values()] for status in after] == ids


def test_sent_again_it_is_a_duplicate_and_leaves_no_parts(store: SqliteStore) -> None:
    (first,) = store.inbox.accept([large(["a", "b", "c"])], NOW)
    (again,) = store.inbox.accept([large(["a", "b", "c"])], NOW + 1)
    assert (again.duplicate_of, len(claim_all(store))) == (first.message_id, 3)


def test_withdrawn_before_it_is_written_out_nothing_of_it_goes(store: SqliteStore) -> None:
    (big,) = store.inbox.accept([large(["a", "b", "c"])], NOW)
    assert store.settlements.withdraw(big.message_id, NOW)
    assert claim_all(store) == []
    message = store.audit.message(big.message_id)
    assert message is not None
    assert (message["not_written_out"], len(message["records"])) == (0, 3)


SOON, LATER = NOW + 100, NOW + 200


@pytest.mark.parametrize(
    ("in_file", "file_due", "since", "since_due"),
    [
        (Action.DEACTIVATE, LATER, Action.DEACTIVATE, SOON),
        (Action.DEACTIVATE, SOON, Action.DEACTIVATE, LATER),
        (Action.DEACTIVATE, SOON, Action.REACTIVATE, SOON),
        (Action.DEACTIVATE, SOON, Action.REACTIVATE, LATER),
        (Action.DEACTIVATE, SOON, Action.DEACTIVATE, 0.0),
        (Action.DEACTIVATE, SOON, Action.UPDATE, 0.0),
        (Action.DEACTIVATE, SOON, Action.UPDATE, LATER),
        (Action.DEACTIVATE, 0.0, Action.DEACTIVATE, LATER),
    ],
)
def test_dates_of_younger_messages_replace_those_of_a_file_as_if_it_had_been_written_out_before(
    store: SqliteStore, in_file: Action, file_due: float, since: Action, since_due: float
) -> None:
    accept_one(store, change("small", in_file, active=None), not_before=file_due)
    whole = message(change("large", in_file, active=None), control_id="BIG", not_before=file_due)
    store.inbox.accept([replace(whole, records=(), parts=(pack(whole.records),))], NOW)
    for key in ("small", "large"):
        accept_one(store, change(key, since, active=None), not_before=since_due)
    done: dict[str, list[Action]] = {"small": [], "large": []}
    for now in (NOW, LATER):
        store.queue.join("w", 60.0, now)
        while claimed := store.queue.claim("main", "w", 9, now):
            for one in claimed:
                done[one.change.source_key].append(one.change.action)
            store.settlements.settle([settlement(one) for one in claimed], now)
    assert done["large"] == done["small"]


@pytest.mark.parametrize("parts_done", [1, 2])
def test_a_stop_in_between_loses_nothing(tmp_path: Path, parts_done: int) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    store.inbox.accept([large(["a", "b", "c", "d", "e"])], NOW)
    for _ in range(parts_done):
        with store.connection.writing():
            assert store.arrivals.write_out(NOW)
    store.close()
    with SqliteStore(path) as opened:
        assert [one.partition(":")[2] for one in claim_all(opened)] == ["a", "b", "c", "d", "e"]
