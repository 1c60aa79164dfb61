"""Reconciliation lists exactly what differs: drift is seeded at a real FHIR server, and nothing else may be found."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hl7bridge.desk.reconcile import CutOff, ReconcilePlan, ReconcileReport, reconcile
from hl7bridge.destinations.fhir.deliver import deliver
from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.identity.resolve import lane_keys
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.policy import REPORT, WRITE
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import JsonObject, Outcome, Result
from hl7bridge.model.discrepancy import ACTIVE_AT_SERVER
from hl7bridge.service import log as logs
from hl7bridge.service.outbound.reconciling import job
from hl7bridge.service.outbound.schedule import DAY, Turn
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import DeliveryState, Settlement, Store
from tests.bridges import ROOT
from tests.destinations.fhir.server import BASE, Answer, Asked, FakeFhir, fhir, problem
from tests.journey import KEY_SYSTEM, mfn, person

NAME = "ehr"
OTHER_SYSTEM = "urn:uuid:66666666-6666-4666-8666-666666666666"
PEOPLE = [f"E{number:03}" for number in range(12)]
FAMILIES = ("Okonkwo", "Halvorsen", "Brightwater", "Ngata")


@dataclass
class World:
    """A store, a FHIR server in memory, and the delivery between them, step by step."""

    store: Store
    server: FakeFhir = field(default_factory=FakeFhir)
    mode: str = WRITE
    options: dict[str, Any] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        self.rules = DestinationRules(NAME, BASE, mode=self.mode, **self.options)
        self.client = FhirClient(self.rules, transport=self.server.transport())
        self.destination = FhirDestination(self.rules, lambda: self.client)

    def take(self, body: bytes, feed: str = "staff") -> None:
        """What the listener does."""
        system = KEY_SYSTEM if feed == "staff" else OTHER_SYSTEM
        policy = FeedPolicy(feed, FeedRules(system), {NAME: self.destination})
        new = [one.new for one in Intake(policy, b"x" * 32).prepare(body, "test")]
        self.store.inbox.accept([one for one in new if one], time.time())

    def send(self, *records: str, feed: str = "staff") -> None:
        """A message, taken and delivered."""
        self.sent += 1
        self.take(mfn(f"C{self.sent}", *records), feed)
        self.deliver()

    def deliver(self, held: frozenset[str] = frozenset()) -> None:
        """What the delivery role does; the changes of `held` people are held, as the brake would."""
        store, now = self.store, time.time()
        store.queue.join("test", 60, now)

        def lane_of(change: Any, feed: str, person_id: str) -> tuple[str, ...]:
            return lane_keys(change, feed, self.rules, person_id)

        while claimed := store.queue.claim(NAME, "test", 50, now, lane_of):
            for one in claimed:
                if one.change.source_key in held:
                    outcome, state = Outcome(Result.HELD, "207", "brake", "held"), DeliveryState.HELD
                else:
                    outcome = deliver(
                        one.change,
                        one.known,
                        one.feed,
                        self.rules,
                        self.client,
                        partial(store.crosswalk.written_by, NAME),
                        datetime.now(UTC),
                    )
                    state = DeliveryState.HELD if outcome.result is Result.HELD else DeliveryState.ENDED
                assert store.settlements.settle([Settlement(one, outcome, state)], now) == []
        store.queue.leave("test", now)

    def people(self, key: str, resource_type: str = "Practitioner") -> JsonObject:
        """The Practitioner of a staff key, or their only role, as a copy."""
        found = [
            one
            for kind, number in list(self.server.resources)
            if kind == "Practitioner" and (one := self.server.resources[kind, number][-1])
            if any(i["value"] == key for i in one.get("identifier", []))
        ]
        [practitioner] = found
        if resource_type == "Practitioner":
            return dict(practitioner)
        [role] = [
            one
            for kind, number in list(self.server.resources)
            if kind == "PractitionerRole" and (one := self.server.resources[kind, number][-1])
            if one["practitioner"]["reference"].endswith(f"/{practitioner['id']}")
        ]
        return dict(role)

    def delete(self, resource: JsonObject) -> None:
        self.server.resources[resource["resourceType"], resource["id"]].append(None)

    def reconcile(self, **options: Any) -> ReconcileReport:
        plan = ReconcilePlan(requests_per_second=0, systems={KEY_SYSTEM: "staff", OTHER_SYSTEM: "clinic"})
        sent, asked = self.sent, len(self.server.journal)
        report = reconcile(self.store, self.destination, plan, **options)
        wrote = {one.method for one in self.server.journal[asked:]} - {"GET"}
        assert not wrote or sent != self.sent, "it wrote"
        return report

    def found(self, **options: Any) -> Counter[tuple[str, str, tuple[str, ...]]]:
        """(kind, staff key, elements) of every discrepancy."""
        report = self.reconcile(**options)
        assert report.run.problem == ""
        return Counter((one.kind, one.source_key, tuple(d.path for d in one.differences)) for one in report.found)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    stores: list[Store] = []

    def world(**options: Any) -> World:
        stores.append(open_store(str(tmp_path / f"{len(stores)}.sqlite")))
        return World(stores[-1], **options)

    yield world
    for store in stores:
        store.close()


def record(key: str, action: str = "MAD", *, phone: str = "5550100", flag: str = "A", unit: str = "CARD") -> str:
    number = int(key[1:])
    return person(action, key, f"{FAMILIES[number % 4]}^Ada {key}", phone=phone, flag=flag, unit=unit)


@pytest.fixture
def staffed(make: Callable[..., World]) -> World:
    """Twelve people, all in step."""
    world = make()
    world.send(*[record(key) for key in PEOPLE])
    assert world.found(scan=True) == Counter()
    return world


# --- seeded drift ----------------------------------------------------------------------------------------------------


def test_exactly_the_seeded_drift_is_found(staffed: World) -> None:
    world, server = staffed, staffed.server
    world.send(*[record(key, "MDC", flag="I") for key in ("E000", "E001")])
    assert world.found(scan=True) == Counter()

    server.put({**world.people("E000"), "active": True})  # somebody let a leaver in again
    server.put({**world.people("E001", "PractitionerRole"), "active": True})
    world.delete(world.people("E002"))
    server.put({**world.people("E003"), "active": False})
    changed = world.people("E004")
    server.put({**changed, "telecom": [{**changed["telecom"][0], "value": "555 9999"}], "gender": "male"})
    gone = world.people("E005")
    world.delete(gone)
    server.put({key: value for key, value in gone.items() if key != "id"})  # the same person under another id
    server.put({**world.people("E006"), "identifier": [{"system": "urn:oid:1.2.3", "value": "E006"}]})
    world.delete(world.people("E007", "PractitionerRole"))
    server.put({**world.people("E008", "PractitionerRole"), "active": False})
    moved = world.people("E009", "PractitionerRole")
    server.put({**moved, "organization": {"display": "Elsewhere"}})
    theirs = world.people("E010")
    server.put({**theirs, "photo": [{"title": "portrait"}], "extension": [{"url": "urn:x", "valueString": "y"}]})
    stranger = {"resourceType": "Practitioner", "active": True, "name": [{"family": "Stranger"}]}
    server.put({**stranger, "identifier": [{"system": KEY_SYSTEM, "value": "X1"}]})
    server.put({**stranger, "identifier": [{"system": KEY_SYSTEM, "value": "X2"}], "active": False})
    server.put({**stranger, "identifier": [{"system": "urn:oid:1.2.3", "value": "X3"}]})

    expected = Counter(
        [
            (ACTIVE_AT_SERVER, "E000", ("active",)),
            ("role-active-at-server", "E001", ("active",)),
            ("gone", "E002", ()),
            ("moved", "E005", ()),
            ("unclear", "E006", ()),
            ("inactive-at-server", "E003", ("active",)),
            ("role-inactive-at-server", "E008", ("active",)),
            ("role-missing", "E007", ()),
            ("role-missing", "E005", ()),
            ("changed", "E004", ("gender", "telecom")),
            ("changed", "E009", ("organization",)),
        ]
    )
    found = world.found()
    found = Counter({(kind, key, tuple(sorted(paths))): count for (kind, key, paths), count in found.items()})
    assert found == expected
    scanned = world.reconcile(scan=True)
    assert [one.source_key for one in scanned.found if one.kind == "extra"] == ["X1"]
    assert len(scanned.found) == sum(expected.values()) + 1
    assert scanned.found[0].kind == ACTIVE_AT_SERVER

    # What the server says of a field, and what should be there.
    [telecom] = [d for one in scanned.found if one.source_key == "E004" for d in one.differences if d.path == "telecom"]
    assert (telecom.before["value"], telecom.after["value"]) == ("555 9999", "5550100")

    # Kept, with the time at which each was looked at.
    run, kept = world.store.reconciliations.last_reconciliation(NAME) or pytest.fail("not kept")
    assert (run, tuple(kept)) == (scanned.run, scanned.found)
    assert all(run.began <= one.verified <= run.ended for one in kept)
    assert run.people == len(PEOPLE)
    [task] = world.store.worklist.tasks(kind="drift", state="open")
    assert "one person is" in task.title


def test_what_waits_differs_too_and_says_why(staffed: World) -> None:
    world = staffed
    world.take(mfn("H1", record("E001", "MDC", flag="I"), record("E002", "MUP", phone="5550222")))
    assert {one.note for one in world.reconcile().found} == {"queued"}
    world.deliver(held=frozenset({"E001", "E002"}))
    report = world.reconcile()
    assert [(one.kind, one.source_key, one.resource_type, one.note) for one in report.found] == [
        (ACTIVE_AT_SERVER, "E001", "Practitioner", "held: brake"),
        ("behind", "E002", "Practitioner", "held: brake"),
        ("behind", "E002", "PractitionerRole", "held: brake"),
    ]
    assert {d.path for one in report.found[1:] for d in one.differences} == {"telecom"}
    # A later change of something else does not make the leaver forgotten.
    world.send(person("MUP", "E001", "Halvorsen^Ada E001", phone="5550333", flag="", unit="CARD"))
    assert (ACTIVE_AT_SERVER, "E001") in [(one.kind, one.source_key) for one in world.reconcile().found]


def test_in_report_mode_the_source_is_compared_with_what_it_never_wrote(
    make: Callable[..., World], staffed: World
) -> None:
    """Nothing was written: whoever is there as the source says is no finding."""
    world = make(server=staffed.server, mode=REPORT)
    world.send(*[record(key) for key in PEOPLE], record("E900"))
    changed = staffed.people("E004")
    staffed.server.put({**changed, "telecom": [{**changed["telecom"][0], "value": "555 9999"}]})
    world.send(record("E003", "MDC", flag="I"))
    world.send(record("E005", "MUP", unit="NEPH"))
    writes = [one.method for one in staffed.server.journal].count("PUT")
    found = world.found(scan=True)
    assert [one.method for one in staffed.server.journal].count("PUT") == writes
    assert {(kind, key) for kind, key, _ in found} == {
        (ACTIVE_AT_SERVER, "E003"),
        ("missing", "E900"),
        ("behind", "E004"),
        ("role-missing", "E005"),
        ("role-active-at-server", "E005"),  # the one that the new unit replaces
    }


def test_what_somebody_did_by_hand_closes_the_steps_of_a_leaver_s_task(
    make: Callable[..., World], staffed: World
) -> None:
    world = make(server=staffed.server, mode=REPORT)
    world.send(record("E003"))
    world.send(record("E003", "MDC", flag="I"))

    def steps() -> list[str]:
        (task,) = world.store.worklist.tasks(kind="leaver-access")
        return [item.state for item in task.items if item.fact]

    world.reconcile()
    assert steps() == ["open", "open"]
    world.server.put({**world.people("E003"), "active": False})
    world.reconcile(source_key="E003")
    assert steps()[0] == "verified"
    world.server.put({**world.people("E003", "PractitionerRole"), "active": False})
    world.reconcile()
    assert steps() == ["verified", "verified"]
    (task,) = world.store.worklist.tasks(kind="leaver-access")
    assert task.items[-2].evidence == f"Practitioner/{world.people('E003')['id']}, reconciled"


def test_several_feeds_and_a_scope(make: Callable[..., World]) -> None:
    """Active because another feed says so, or because this destination ends roles alone: no finding."""
    world = make()
    world.send(person("MAD", "E001", "Okonkwo^Ada", npi="1234567893", unit="CARD"))
    world.send(person("MAD", "K1", "Okonkwo^Ada", npi="1234567893", unit="ED"), feed="clinic")
    world.send(person("MDC", "E001", "Okonkwo^Ada", flag="I"))
    assert world.people("K1")["active"] is True
    assert world.found(scan=True) == Counter()
    world.send(person("MDC", "K1", "Okonkwo^Ada", flag="I"), feed="clinic")
    assert world.found() == Counter()
    world.server.put({**world.people("K1"), "active": True})
    assert {kind for kind, _, _ in world.found()} == {ACTIVE_AT_SERVER}
    assert {key for _, key, _ in world.found(feed="clinic")} == {"K1"}
    scoped = make(options={"lifecycle_scope": "role"})
    scoped.send(record("E002"))
    scoped.send(record("E002", "MDC", flag="I"))
    assert scoped.people("E002")["active"] is True
    assert scoped.found() == Counter()


def test_one_person_now(staffed: World) -> None:
    world = staffed
    world.server.put({**world.people("E003"), "active": False})
    world.reconcile()
    assert world.found(source_key="E001") == Counter()
    assert len(world.found(source_key="E003")) == 1
    run, found = world.store.reconciliations.last_reconciliation(NAME) or pytest.fail("not kept")
    assert (run.people, len(found)) == (len(PEOPLE), 1)  # the last run of all stands


def test_a_server_that_cannot_be_asked_ends_the_run_and_is_no_finding(staffed: World) -> None:
    world = staffed
    answers = iter([None] * 8)
    world.server.faults.append(lambda asked: next(answers, problem(403)))
    report = world.reconcile()
    assert "cannot be read" in report.run.problem
    assert "403" in report.run.problem
    assert 0 < report.run.people < len(PEOPLE)
    assert report.found == ()


def test_a_server_that_fails_in_passing_is_asked_again(staffed: World) -> None:
    waits: list[float] = []
    answers = iter([problem(503, retry_after="7"), None, problem(429)])
    staffed.server.faults.append(lambda asked: next(answers, None))
    assert staffed.found(sleep=waits.append) == Counter()
    assert waits == [7.0, 1.0]


def test_somebody_who_moves_meanwhile_is_looked_at_again(staffed: World) -> None:
    """A change that is delivered between our look into the store and our look at the server is no finding."""
    world = staffed
    delivered: list[int] = []

    def meanwhile(asked: Any) -> None:
        if not delivered:
            delivered.append(1)
            world.send(record("E000", "MUP", phone="5550777"), record("E000", "MDC", flag="I"))

    world.server.faults.append(meanwhile)
    assert world.found() == Counter()
    assert delivered


def test_no_date_or_version_is_relied_on(staffed: World) -> None:
    for place, versions in enumerate(staffed.server.resources.values()):
        assert versions[-1] is not None
        versions[-1] = {**versions[-1], "meta": {"versionId": "77", "lastUpdated": "2031-01-01T00:00:00Z"}}
        if place % 2:
            versions[-1].pop("meta")
    assert staffed.found() == Counter()


def test_of_a_search_that_gives_parts_the_whole_is_read(make: Callable[..., World], staffed: World) -> None:
    world = make(server=staffed.server, mode=REPORT)
    world.send(*[record(key) for key in PEOPLE])

    def parts(asked: Asked, answer: Answer) -> Answer:
        body = json.loads(answer.body)
        for entry in body.get("entry", []):
            if entry["resource"]["resourceType"] == "Practitioner":
                entry["resource"].pop("telecom", None)
                entry["resource"]["meta"] = {"tag": [{"code": "SUBSETTED"}]}
        return fhir(body, answer.status) if "entry" in body else answer

    staffed.server.after = parts
    assert world.found() == Counter()


# --- by the clock ----------------------------------------------------------------------------------------------------


def test_as_a_job(staffed: World) -> None:
    world = staffed
    plan = ReconcilePlan(DAY, "03:30", 0.0, scan=True, systems={KEY_SYSTEM: "staff"})
    with capture_logs() as said:
        nightly = job(world.destination, plan, logs.get_logger("delivery"))
        assert nightly.name == "reconcile ehr"
        nightly.run(Turn(world.store, lambda: True))
        world.server.put({**world.people("E003"), "active": False})
        nightly.run(Turn(world.store, lambda: True))
        world.server.put({**world.people("E003"), "active": True})
        nightly.run(Turn(world.store, lambda: True))
    assert [line["text"] for line in said] == ["no difference", "inactive-at-server 1", "no difference"]
    assert all(set(line) - {"log_level"} <= logs.SAFE_KEYS for line in said)
    run, found = world.store.reconciliations.last_reconciliation(NAME) or pytest.fail("not kept")
    assert (run.scanned, run.people, found) == (True, len(PEOPLE), [])
    asked = len(world.server.journal)
    nightly.run(Turn(world.store, lambda: False))  # the service stops
    assert len(world.server.journal) == asked
    assert (world.store.reconciliations.last_reconciliation(NAME) or pytest.fail("not kept"))[0] == run
    with pytest.raises(CutOff):
        world.reconcile(go_on=lambda: False)


def test_the_rate_is_kept(staffed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests a second: each waits for its turn, whatever a person costs."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    waits: list[float] = []
    asked = len(staffed.server.journal)
    plan = ReconcilePlan(requests_per_second=2.0)
    reconcile(staffed.store, staffed.destination, plan, sleep=waits.append)
    requests = len(staffed.server.journal) - asked
    assert len(waits) >= requests - 1
    assert max(waits) >= (requests - 1) / 2


# --- whatever happened before ----------------------------------------------------------------------------------------

SAMPLES = sorted((ROOT / "sample_messages").glob("*.hl7"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PEOPLE[:3]),
            st.sampled_from(["MAD", "MUP", "MDC", "MAC", "MDL"]),
            st.sampled_from(["5550100", "5550200", ""]),
            st.sampled_from(["A", "I", ""]),
            st.sampled_from(["CARD", "NEPH", ""]),
        ),
        max_size=8,
    )
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_without_drift_nothing_is_found_whatever_happened(
    make: Callable[..., World], story: list[tuple[str, str, str, str, str]]
) -> None:
    world = make()
    for key, action, phone, flag, unit in story:
        world.send(record(key, action, phone=phone, flag=flag, unit=unit))
    found = world.found(scan=True)
    assert {one for one in found if one[1] not in {hold.source_key for hold in world.store.holds.holds()}} == set()


@pytest.mark.skipif(not SAMPLES, reason="there are no sample messages")
def test_after_every_sample_nothing_is_found(make: Callable[..., World]) -> None:
    world = make()
    for sample in SAMPLES:
        world.take(sample.read_bytes())
        world.deliver()
    held = {hold.source_key for hold in world.store.holds.holds(limit=1000)}
    found = world.found(scan=True)
    assert {one for one in found if one[1] not in held} == set()
    assert world.store.reconciliations.people(NAME)
