"""What is decided about one message before anything is written: times at the edges, and faults of ours."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.intake import intake, verdict
from hl7bridge.intake.intake import FeedPolicy, Intake, new_deliveries
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import Action, StaffChange, StaffIdentifier
from hl7bridge.model.ordering import seconds_behind
from hl7bridge.service.outbound.clock import came_last
from hl7bridge.store.inbox.arrivals import unpack
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import MessageState
from tests.journey import KEY_SYSTEM, mfn, person

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp()
DESTINATION = FhirDestination(DestinationRules(name="fhir", base_url="http://127.0.0.1/fhir", mode="write"))
POLICY = FeedPolicy("staff", FeedRules(KEY_SYSTEM, timezone="America/New_York"), {"fhir": DESTINATION})
CHANGE = StaffChange(Action.UPDATE, "K1", (StaffIdentifier("K1", KEY_SYSTEM),), message_time_exact=True)


def prepared(body: bytes):
    (one,) = Intake(POLICY, b"x" * 32, clock=lambda: NOW).prepare(body, "127.0.0.1:1")
    assert one.new
    return one.new


@pytest.mark.parametrize(
    "when", ["99991231235959-1200", "99991231235959", "99991231235959.9999-0001", "00010101000000+1400"]
)
@pytest.mark.parametrize("where", ["MSH-7", "MFE-3"])
def test_a_time_that_utc_cannot_tell_is_no_reason_to_fall_silent(where: str, when: str) -> None:
    body = mfn("edge-1", person("MAD", "K1", "Tamsworth^Ilse"), **({"when": when} if where == "MSH-7" else {}))
    if where == "MFE-3":
        body = body.replace(b"MFE|MAD|K1||", b"MFE|MAD|K1|" + when.encode() + b"|")
    new = prepared(body)
    assert new.acknowledgments[0].code in ("AA", "AE")
    assert new.note != "internal-error"


@pytest.mark.parametrize(
    ("sent", "order_time"),
    [
        ("2026-03-02T09:59:59+01:00", "2026-03-02T08:59:59.000+00:00"),
        ("2026-03-02T09:00:01+00:00", "2026-03-02T09:00:00.000+00:00"),
        ("2026-03-02T09:04:59+00:00", "2026-03-02T09:00:00.000+00:00"),  # a clock that is ahead
        ("2027-03-02T09:00:00+00:00", "2026-03-02T09:00:00.000+00:00"),  # a sender with a wrong year
    ],
)
def test_the_stale_rule_does_not_believe_a_time_of_the_future(sent: str, order_time: str) -> None:
    """Nothing was sent later than it came: nobody is stale against such a time."""
    (delivery,) = new_deliveries(POLICY, replace(CHANGE, message_time=sent), NOW + 0.9)
    assert delivery.order_time == order_time


HOUR = 3600.0


@pytest.mark.parametrize("back", [0.0, 1.0, 2 * HOUR, 40 * HOUR])
@pytest.mark.parametrize("anew", [False, True], ids=["goes on", "started anew"])
def test_a_clock_that_is_set_back_makes_no_later_message_stale(back: float, anew: bool) -> None:
    """The sender's clock is right, ours is not any more: a message that came after another is no older for that."""
    at = [NOW]
    intake = Intake(POLICY, b"x" * 32, clock=lambda: at[0])

    def order_time(minutes: int) -> str:
        sent = datetime.fromtimestamp(NOW + 60 * minutes, UTC).strftime("%Y%m%d%H%M%S+0000").encode()
        body = mfn(f"m{minutes}", person("MUP", "K1", "Tamsworth^Ilse")).split(b"|")
        body[6] = sent
        (one,) = intake.prepare(b"|".join(body), "127.0.0.1:1")
        assert one.new
        return one.new.records[0].deliveries[0].order_time

    first = order_time(0)
    assert first == "2026-03-02T09:00:00.000+00:00"
    at[0] -= back
    if anew:
        intake = Intake(POLICY, b"x" * 32, clock=lambda: at[0], came=NOW)
    assert seconds_behind(order_time(5), first) == 0
    assert seconds_behind(order_time(-90), first) == 90 * 60  # what is older by its sender's clock is so still
    at[0] = NOW + HOUR
    assert order_time(30) == "2026-03-02T09:30:00.000+00:00"


@pytest.mark.parametrize(("back", "known"), [(-HOUR, True), (HOUR, True), (23 * HOUR, True), (400 * 24 * HOUR, False)])
def test_a_start_knows_when_the_last_message_came_unless_the_clock_was_wrong_before(
    tmp_path: Path, back: float, known: bool
) -> None:
    with closing(open_store(tmp_path / "store.sqlite")) as store:
        assert came_last(store, NOW) == 0.0
        store.inbox.accept([prepared(mfn("m1", person("MUP", "K1", "Tamsworth^Ilse")))], NOW)
        assert came_last(store, NOW - back) == (NOW if known else 0.0)


@pytest.mark.parametrize(
    ("sent", "exact", "order_time"),
    [
        ("2026-03-02T08:00:00+00:00", True, "2026-03-02T08:00:00.000+00:00"),
        ("2026-03-02T08:50:00+00:00", True, "2026-03-02T08:30:00.000+00:00"),  # its clock was ahead
        ("2026-03-02T08:00:00+00:00", False, "2026-03-02T08:30:00.000+00:00"),
        ("", False, "2026-03-02T08:30:00.000+00:00"),
    ],
)
def test_what_is_replayed_is_no_younger_than_when_it_first_came(sent: str, exact: bool, order_time: str) -> None:
    one = replace(CHANGE, message_time=sent, message_time_exact=exact)
    (delivery,) = new_deliveries(POLICY, one, NOW, first_received=NOW - 1800)
    assert delivery.order_time == order_time


def test_a_message_whose_time_orders_nothing_is_ordered_by_arrival() -> None:
    (delivery,) = new_deliveries(POLICY, replace(CHANGE, message_time_exact=False), NOW)
    assert delivery.order_time == ""


@pytest.mark.parametrize("hours", [-12, -6, 0, 14])
def test_an_end_of_time_can_be_told_in_every_zone(hours: int) -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=hours)))
    (delivery,) = new_deliveries(POLICY, replace(CHANGE, effective=end.isoformat()), NOW)
    assert delivery.not_before > NOW
    assert datetime.fromtimestamp(delivery.not_before, timezone(timedelta(hours=14))).year == 9999
    assert delivery.order_time


def test_a_fault_of_ours_is_answered_and_the_bytes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise IndexError("Tamsworth")

    monkeypatch.setattr(verdict.staff, "translate", fails)
    new = prepared(mfn("fault-1", person("MAD", "K1", "Tamsworth^Ilse")))
    answer = new.acknowledgments[0]
    assert (new.state, new.note, answer.code) == (MessageState.REFUSED, "internal-error", "AE")
    assert b"IndexError" in answer.body
    assert b"Tamsworth" not in answer.body
    assert new.body is not None


@pytest.mark.parametrize("asks", [{}, {"accept": "AL", "application": "AL"}], ids=["original", "enhanced"])
def test_a_large_file_read_in_parts_is_answered_and_stored_as_one_read_at_once(
    asks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    people = {number: person("MAD", f"K{number}", f"Tamsworth{number}^Ilse") for number in range(250)}
    people[120] = person("MXX", "K120", "Tamsworth^Ilse")
    dated = {30: b"2999", 31: b"TBD", 239: b"209902"}  # each record has a time of its own
    people |= {number: person("MDC", f"K{number}", "Tamsworth^Ilse") for number in dated}
    raw = mfn("large-1", *people.values(), **asks)
    for number, when in dated.items():
        raw = raw.replace(b"MFE|MDC|K%d||" % number, b"MFE|MDC|K%d|%s|" % (number, when))
    at_once = prepared(raw)
    assert [new.record.change.undated for new in at_once.records if new.record.change].count("unreadable-time") == 1
    waiting = [one.not_before > 0 for new in at_once.records for one in new.deliveries]
    assert waiting.count(True) == 2
    monkeypatch.setattr(intake, "LARGE_FILE", 1000)
    in_parts = prepared(raw)
    assert in_parts.records == ()
    assert [part.records for part in in_parts.parts] == [20] * 12 + [10]
    assert tuple(new for part in in_parts.parts for new in unpack(part.content)) == at_once.records
    assert (in_parts.state, in_parts.mapping_version) == (at_once.state, at_once.mapping_version)
    for one, other in zip(in_parts.acknowledgments, at_once.acknowledgments, strict=True):
        assert (one.kind, one.state, one.code) == (other.kind, other.state, other.code)
        assert one.body.split(b"\r")[1:] == other.body.split(b"\r")[1:], (
            "all but MSH, which has a time and an id of its own"
        )
