"""Invented messages, changes and outcomes for the tests of any store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from hl7bridge.model import (
    Action,
    Difference,
    ElementValue,
    Exchange,
    Finding,
    Interaction,
    Kind,
    Location,
    Number,
    Outcome,
    Provenance,
    Record,
    RecordEcho,
    Result,
    Severity,
    StaffChange,
    StaffIdentifier,
    StaffRole,
    Task,
    Written,
)
from hl7bridge.store.store import (
    Acknowledgment,
    AcknowledgmentState,
    Claimed,
    DeliveryState,
    MessageState,
    NewDelivery,
    NewMessage,
    NewRecord,
    Settlement,
    Store,
)

NOW = 1_800_000_000.0
DAY = 86_400.0
KEY_SYSTEM = "urn:uuid:0d6f0f6e-8f67-4a5c-9a5e-27ad6a1d5e01"

OpenStore = Callable[[], Store]


def change(source_key: str = "S1", action: Action = Action.UPDATE, **given: object) -> StaffChange:
    """A staff change with something of every kind in it."""
    made = StaffChange(
        action,
        source_key,
        (
            StaffIdentifier(source_key, KEY_SYSTEM, type_code="EI", provenance=Provenance.read("STF-1")),
            StaffIdentifier(
                "7",
                "",
                "LOCAL&1.2.3&ISO",
                "MD",
                Provenance.read("STF-2[2]"),
                {"use": "official", "weight": Number("1.10")},
            ),
        ),
        True,
        practitioner=(
            ElementValue("name", {"family": "Quellmalz", "given": ["Änne", "Ö"]}, Provenance.read("STF-3"), "XPN"),
            ElementValue("gender", "female", Provenance.read("STF-5")),
        ),
        roles=(StaffRole("ward-3", "ORG", (ElementValue("location", [{"display": "W3"}], Provenance.read("ORG-2")),)),),
        shared_role=(ElementValue("specialty", {"text": "Surgery"}, Provenance.read("PRA-5")),),
        cleared=(Location("STF", field=10),),
        mapping_version="m1",
    )
    return replace(made, **given)  # type: ignore[arg-type]


def record(given: StaffChange | None, position: int = 1, findings: Sequence[Finding] = ()) -> Record:
    key = given.source_key if given else ""
    return Record(position, RecordEcho("MUP", f"E{position}", f"{key}^\\T\\", "CWE"), given, tuple(findings))


FAILED = Finding(
    "101", "missing-key", "MFE-4 is empty", Severity.ERROR, Location("MFE", occurrence=2, field=4, component=1), 2
)


def message(
    *changes: StaffChange | None,
    control_id: str = "C1",
    content: str = "first",
    feed: str = "hr",
    destinations: Sequence[str] = ("main",),
    lane: Sequence[str] | None = None,
    not_before: float = 0.0,
    order_time: str = "",
    received: float = NOW,
    state: MessageState = MessageState.ACCEPTED,
    acknowledgments: Sequence[Acknowledgment] | None = None,
    window: float = 7 * DAY,
    replay_of: int = 0,
    force: bool = False,
    body: bytes | None = b"",
) -> NewMessage:
    """A message with one record per change; a None change is a record that failed."""
    records = []
    for position, given in enumerate(changes, 1):
        deliveries: tuple[NewDelivery, ...] = ()
        if given is not None:
            keys = tuple(lane) if lane is not None else (f"{feed}/{given.source_key}",)
            deliveries = tuple(NewDelivery(name, keys, not_before, order_time) for name in destinations)
        findings = () if given is not None else (FAILED._replace(position=position),)
        records.append(NewRecord(record(given, position, findings), deliveries))
    raw = f"MSH|{control_id}|{content}".encode()
    return NewMessage(
        feed=feed,
        received=received,
        header={
            "sending_application": "HRAPP",
            "sending_facility": "GENERAL",
            "message_type": "MFN",
            "trigger_event": "M02",
            "control_id": control_id,
            "version": "2.5.1",
            "message_time": "20270115080000",
            "processing_id": "P",
            "security": "",
        },
        digest=hashlib.sha256(raw).digest(),
        size=len(raw),
        body=raw if body == b"" else body,
        state=state,
        records=tuple(records),
        acknowledgments=tuple(acknowledgments if acknowledgments is not None else (POSITIVE,)),
        duplicate_window=window,
        mapping_version="m1",
        peer="127.0.0.1:50000",
        replay_of=replay_of,
        force=force,
    )


POSITIVE = Acknowledgment("original", AcknowledgmentState.OWED, "AA", True, b"MSH|ok\r")
NEGATIVE = Acknowledgment("original", AcknowledgmentState.OWED, "AE", False, b"MSH|no\r")
PENDING = Acknowledgment("original", AcknowledgmentState.PENDING, due=NOW + 4)
SILENT = Acknowledgment("original", AcknowledgmentState.NONE, "AA", True)


def outcome(result: Result = Result.UPDATED, **given: object) -> Outcome:
    return replace(Outcome(result, http_status=200), **given)  # type: ignore[arg-type]


def full_outcome(person_id: str = "p1", result: Result = Result.UPDATED) -> Outcome:
    """An outcome with everything that a store keeps."""
    base = Written(
        "Practitioner",
        person_id,
        (ElementValue("telecom", {"value": "1", "rank": Number("2.50")}, Provenance.read("STF-10")),),
        version="2",
    )
    role = Written("PractitionerRole", f"r-{person_id}", (), "ward-3", "ORG", False)
    differences = (Difference("telecom[0].rank", Number("1.0"), Number("2.50"), "STF-10"),)
    return Outcome(
        result,
        http_status=200,
        interactions=(
            Interaction(Kind.UPDATE, "Practitioner", person_id, {"id": person_id}, "1", differences, "changed"),
        ),
        written=(base, role),
        person_id=person_id,
        version="2",
        exchanges=(
            Exchange("GET", "Practitioner", 200, 3.25, "5a0e9f0c-1"),
            Exchange("PUT", "Practitioner", 200, 7.5, "5a0e9f0c-2"),
        ),
        tasks=(Task("leaver-access", "Remove the login", ("Open the console.", "Disable the login.")),),
        warnings=(Finding("0", "drift", "A value was changed at the server", Severity.WARNING),),
    )


def settlement(
    claimed: Claimed,
    state: DeliveryState = DeliveryState.ENDED,
    result: Result | None = None,
    **given: object,
) -> Settlement:
    """A settlement with the result that usually goes with the state."""
    usual = {
        DeliveryState.ENDED: Result.UPDATED,
        DeliveryState.RETRY: Result.RETRY,
        DeliveryState.UNKNOWN: Result.UNKNOWN,
        DeliveryState.HELD: Result.HELD,
        DeliveryState.QUEUED: Result.PAUSED,
    }
    made = Settlement(claimed, outcome(result or usual[state]), state)
    return replace(made, **given)  # type: ignore[arg-type]


def accept_one(store: Store, *changes: StaffChange | None, now: float = NOW, **given: object) -> int:
    """Accept one message (under a control id of its own unless told) and return its id."""
    if "control_id" not in given:
        accept_one.count += 1  # type: ignore[attr-defined]
        given["control_id"] = f"A{accept_one.count}"  # type: ignore[attr-defined]
    return store.inbox.accept([message(*changes, **given)], now)[0].message_id  # type: ignore[arg-type]


accept_one.count = 0  # type: ignore[attr-defined]


def claim(
    store: Store, now: float = NOW, limit: int = 64, owner: str = "w", destination: str = "main"
) -> list[Claimed]:
    """Claim as a worker that joins first (or renews)."""
    if not store.queue.renew(owner, 60, now):
        store.queue.join(owner, 60, now)
    return store.queue.claim(destination, owner, limit, now, by_person)


def by_person(given: StaffChange, feed: str, person_id: str) -> tuple[str, ...]:
    """The lane of whom the crosswalk names, beside those under which the change was accepted."""
    return (f"person/{person_id}",) if person_id else ()


def deliveries(store: Store, message_id: int) -> list[dict[str, object]]:
    """The deliveries of a message as people see them."""
    found = store.audit.message(message_id)
    assert found
    return [delivery for record in found["records"] for delivery in record["deliveries"]]


def state_of(store: Store, message_id: int) -> str:
    """The state of the message's only delivery, or its result when it has ended."""
    (delivery,) = deliveries(store, message_id)
    return str(delivery["result"] if delivery["state"] == "ended" else delivery["state"])


def events(store: Store, message_id: int) -> list[str]:
    """The history of a message, event by event."""
    found = store.audit.message(message_id)
    assert found
    return [row["event"] for row in found["history"]]
