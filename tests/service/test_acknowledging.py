"""What an acknowledgment says while deliveries stand as they do: one row per state."""

import pytest

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.intake.intake import FeedPolicy, mfa_line
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import Action, Finding, Record, RecordEcho, Refusal, Result, StaffChange, StaffIdentifier
from hl7bridge.service.inbound.acknowledging import message_verdict, record_verdict
from hl7bridge.store.store import DeliveryState, DeliveryStatus, PendingAcknowledgment, RecordStatus

NOW = 1_800_000_000.0
WRITES = FhirDestination(DestinationRules("d1", "https://fhir.example.org/r4", mode="write"))
CHANGE = StaffChange(Action.ADD, "K1", (StaffIdentifier("K1", "urn:x:key"),))
ECHO = RecordEcho("MAD", "C1", "K1", "CWE")


def record(position=1, *findings, change=CHANGE):
    return Record(position, ECHO, change, findings)


def status(*deliveries, of=None, position=1):
    named = {f"d{number}": delivery for number, delivery in enumerate(deliveries, 1)}
    return RecordStatus(position, of or record(position), named)


def delivery(state, result=None, **more):
    return DeliveryStatus(7, state, result, **more)


ENDED = DeliveryState.ENDED


@pytest.mark.parametrize(
    ("given", "settled", "success", "text"),
    [
        (status(of=record(1, Finding("101", "missing-family", "x"), change=None)), True, False, "missing-family"),
        (status(of=record(change=None)), True, True, "nothing to do"),
        (status(delivery(DeliveryState.QUEUED)), False, True, "stored, delivery pending"),
        (status(delivery(DeliveryState.CLAIMED)), False, True, "stored, delivery pending"),
        (status(delivery(DeliveryState.RETRY)), False, True, "stored, delivery pending"),
        (status(delivery(DeliveryState.UNKNOWN)), False, True, "stored, delivery pending"),
        (status(delivery(DeliveryState.HELD, code="205", local="ambiguous")), True, False, "ambiguous"),
        (status(delivery(DeliveryState.HELD, local="brake")), True, True, "held for approval"),
        (status(delivery(DeliveryState.HELD, local="approval")), True, True, "held for approval"),
        (
            status(delivery(DeliveryState.HELD, code="207", local="not-offered")),
            True,
            True,
            "held, the server does not take it",
        ),
        (status(delivery(ENDED, Result.CREATED, ended=NOW)), True, True, "created"),
        (status(delivery(ENDED, Result.DEACTIVATED, ended=NOW)), True, True, "deactivated"),
        (status(delivery(ENDED, Result.UNCHANGED, ended=NOW)), True, True, "unchanged"),
        (status(delivery(ENDED, Result.REPORTED, ended=NOW)), True, True, "report mode, nothing written"),
        (status(delivery(ENDED, Result.STALE, ended=NOW)), True, True, "stale, not applied"),
        (status(delivery(ENDED, Result.SUPERSEDED, ended=NOW)), True, True, "superseded"),
        (status(delivery(ENDED, Result.WITHDRAWN, ended=NOW)), True, False, "withdrawn"),
        (
            status(delivery(ENDED, Result.CREATED), delivery(DeliveryState.QUEUED)),
            False,
            True,
            "stored, delivery pending",
        ),
        (status(delivery(ENDED, Result.CREATED), delivery(DeliveryState.HELD, local="x")), True, False, "x"),
    ],
)
def test_one_record(given, settled, success, text):
    verdict = record_verdict(given, ("d1", "d2"))
    assert (verdict.settled, verdict.success, verdict.text) == (settled, success, text)


def test_a_scheduled_record_says_for_when():
    change = StaffChange(Action.DEACTIVATE, "K1", (), effective="2027-01-31T00:00:00+01:00")
    given = status(delivery(DeliveryState.SCHEDULED), of=record(change=change))
    assert record_verdict(given, ("d1",)).text == "scheduled for 2027-01-31T00:00:00+01:00"


def test_only_the_destinations_that_must_succeed_count():
    given = status(delivery(ENDED, Result.CREATED), delivery(DeliveryState.QUEUED))
    assert record_verdict(given, ("d1",)).settled


def policy(**given):
    return FeedPolicy("hr", FeedRules("urn:x:key"), **{"destinations": {"d1": WRITES}, **given})


PENDING = PendingAcknowledgment(1, 5, "hr", "original", NOW + 4)
OPEN = status(delivery(DeliveryState.QUEUED))
FAILED_ONCE = status(delivery(DeliveryState.RETRY))
GOOD = status(delivery(ENDED, Result.UPDATED, ended=NOW))
BAD = status(delivery(DeliveryState.HELD, code="207", local="refused"), position=2)


@pytest.mark.parametrize(
    ("statuses", "given", "now", "down", "code"),
    [
        ([GOOD], {}, NOW, False, "AA"),
        ([BAD], {}, NOW, False, "AE"),
        ([GOOD, BAD], {}, NOW, False, "AE"),
        ([GOOD, BAD], {"codes": {Refusal.MIXED: "AA"}}, NOW, False, "AA"),
        ([OPEN], {}, NOW, False, None),
        ([OPEN], {}, NOW + 5, False, "AA"),
        ([OPEN], {}, NOW, True, "AA"),
        ([FAILED_ONCE], {}, NOW, False, "AA"),
        ([OPEN], {"when_pending": "refuse"}, NOW + 5, False, "AR"),
        ([OPEN], {"when_pending": "refuse", "codes": {Refusal.UNAVAILABLE: "close"}}, NOW + 5, False, "close"),
        ([OPEN, BAD], {}, NOW + 5, False, "AE"),
    ],
)
def test_one_message(statuses, given, now, down, code):
    verdict = message_verdict(policy(**given), PENDING, statuses, now, down=down)
    assert verdict.code == code
    assert verdict.withdraw == (given.get("when_pending") == "refuse")


def test_a_refused_message_says_of_no_open_record_that_it_is_stored():
    given = policy(when_pending="refuse")
    verdict = message_verdict(given, PENDING, [GOOD, OPEN], NOW + 5, down=False)
    assert [(line.success, line.text) for line in verdict.lines] == [
        (True, "updated"),
        (False, "not delivered in time"),
    ]


@pytest.mark.parametrize("beside", [[], [OPEN]])
def test_what_was_withdrawn_before_a_stop_is_refused_as_unavailable_after_it(beside):
    given = policy(when_pending="refuse", codes={Refusal.UNAVAILABLE: "close"})
    withdrawn = status(delivery(ENDED, Result.WITHDRAWN, ended=NOW))
    verdict = message_verdict(given, PENDING, [withdrawn, *beside], NOW, down=False)
    assert (verdict.code, verdict.withdraw) == ("close", True)


MODES = [
    ({"mode": "report"}, "stored, report only"),
    ({"mode": "approve"}, "stored, delivery pending"),
    ({"mode": "report", "modes": {"update": "write"}}, "stored"),
    ({"mode": "write", "modes": {"deactivate": "report"}}, "stored, delivery pending"),
    ({"mode": "write", "cohort_staff_keys": frozenset({"K2"})}, "stored, report only"),
    ({"mode": "write", "cohort_feeds": frozenset({"hr"})}, "stored, delivery pending"),
]


@pytest.mark.parametrize(("settings", "text"), MODES)
def test_nothing_is_called_pending_that_the_modes_rule_out(settings, text):
    given = policy(
        destinations={"d1": FhirDestination(DestinationRules("d1", "https://fhir.example.org/r4", **settings))}
    )
    assert mfa_line(given, record()).text == text
    verdict = message_verdict(given, PENDING, [OPEN], NOW + 5, down=False)
    assert (verdict.code, verdict.lines[0].text) == ("AA", text)
    assert verdict.text == f"1 of 1 records {text}"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"mode": "report"}, "stored, report only"),
        ({"mode": "write"}, "stored, delivery pending"),
        ({"mode": "write", "modes": {"update": "report"}}, "stored, report only"),
        ({"mode": "report", "modes": {"update": "write"}}, "stored, delivery pending"),
        ({"mode": "report", "modes": {"deactivate": "write"}}, "stored, report only"),
    ],
)
def test_a_temporary_absence_is_written_as_an_update(settings, text):
    away = StaffChange(Action.DEACTIVATE, "K1", CHANGE.identifiers, temporary=True)
    given = policy(
        destinations={"d1": FhirDestination(DestinationRules("d1", "https://fhir.example.org/r4", **settings))}
    )
    assert mfa_line(given, record(change=away)).text == text


@pytest.mark.parametrize("change", [
    StaffChange(action, "K1", CHANGE.identifiers, active=active, **more)
    for action in Action
    for active in (True, False, None)
    for more in ({}, {"temporary": True}, {"qualifications_only": True}, {"only_if_missing": True})
])  # fmt: skip
def test_whatever_a_change_asks_for_a_destination_that_only_reports_says_so(change):
    given = policy(
        destinations={"d1": FhirDestination(DestinationRules("d1", "https://fhir.example.org/r4", mode="report"))}
    )
    assert mfa_line(given, record(change=change)).text == "stored, report only"


def test_a_deadline_says_how_much_is_pending():
    verdict = message_verdict(policy(), PENDING, [GOOD, OPEN], NOW + 5, down=False)
    assert verdict.text == "1 of 2 records stored, delivery pending"


def test_an_application_acknowledgment_waits_without_a_deadline():
    pending = PendingAcknowledgment(1, 5, "hr", "application", 0.0)
    assert message_verdict(policy(), pending, [FAILED_ONCE], NOW + 9999, down=True).code is None
