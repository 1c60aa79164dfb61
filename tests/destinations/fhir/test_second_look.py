"""Who was created is looked for again once the index has caught up, many people in one request; and whom this bridge wrote
itself is found before the index has caught up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import structlog

from hl7bridge.assemble.ledger import effective_lag
from hl7bridge.destinations.fhir.conversation import may_have_arrived
from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.identity.second_look import look_for_people, look_for_roles
from hl7bridge.destinations.fhir.identity.systems import NPI
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.protocol import Sighting, Sought
from hl7bridge.model import Action, ElementValue, Provenance, Result, Written
from hl7bridge.service.outbound.second_looks import look
from hl7bridge.store.queue.creations import IndexLag, Looked, SecondLook
from tests.destinations.fhir.people import ADA, GOOD_NPI, KEYS, OTHER_KEYS, Bridge, change, kinds, name, rules, unit
from tests.destinations.fhir.server import FakeFhir, LostReply, once, problem


@pytest.fixture
def server() -> FakeFhir:
    return FakeFhir()


def key(value: str) -> dict[str, str]:
    return {"system": KEYS, "value": value}


def person(resource_id: str, value: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Practitioner", "id": resource_id, "identifier": [key(value)], "active": True, **more}


def sought(resource_id: str, value: str) -> Sought:
    values = (
        ElementValue("identifier", key(value), Provenance.read("MFE-4")),
        ElementValue("name", {"family": "Okonkwo"}, Provenance.read("STF-3")),
    )
    return Sought(resource_id, resource_id, (Written("Practitioner", resource_id, values),))


# --- what we wrote is known before the index shows it ----------------------------------------------------------------


def hidden(server: FakeFhir) -> str:
    """The only person is not in the index yet."""
    resource_id = str(server.only("Practitioner")["id"])
    server.indexed["Practitioner", resource_id] = None
    return resource_id


SAME_PERSON = change(Action.ADD, name(), key="X9", keys=OTHER_KEYS, npi=GOOD_NPI)


@pytest.mark.parametrize("mention", [False, True])
def test_a_second_feed_finds_whom_the_first_one_created_a_moment_ago(server: FakeFhir, mention: bool) -> None:
    bridge = Bridge(server)
    bridge.deliver(ADA)
    bridge.lately = (hidden(server),)
    outcome = bridge.deliver(replace(SAME_PERSON, only_if_missing=mention), "second")
    assert outcome.result is (Result.UNCHANGED if mention else Result.UPDATED)
    assert len(server.all("Practitioner")) == 1


def test_an_identifier_that_was_added_to_somebody_else_a_moment_ago(server: FakeFhir) -> None:
    """The index shows one carrier, the store knows of another: that is not clear, and nobody is written."""
    bridge = Bridge(server)
    bridge.deliver(ADA)
    bridge.lately = (hidden(server),)
    server.put(person("p2", "K2"))
    both = change(Action.ADD, name(), key="K2", npi=GOOD_NPI)
    held = bridge.deliver(both)
    assert (held.result, held.local) == (Result.HELD, "several-people")
    bridge.crosswalk["hr", "K2"] = "p2"
    held = bridge.deliver(both)
    assert (held.result, held.local) == (Result.HELD, "identifier-of-another")


def test_who_carries_none_of_the_identifiers_or_is_gone_by_now_is_passed_over(server: FakeFhir) -> None:
    server.put(person("p2", "SOMEBODY"))
    bridge = Bridge(server)
    bridge.lately = ("p2", "gone")
    assert bridge.deliver(ADA).result is Result.CREATED


def test_where_the_store_knows_somebody_and_the_server_does_not_answer_nobody_is_created(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.lately = ("p2",)
    server.faults.append(once(problem(503), when="GET Practitioner/p2"))
    assert bridge.deliver(ADA).result is Result.RETRY
    assert server.writes() == []


@pytest.mark.parametrize(
    ("reply", "doubtful"),
    [
        (Reply(ReplyKind.AMBIGUOUS), True),
        (Reply(ReplyKind.TRANSIENT, 500, issues=("exception",)), True),
        (Reply(ReplyKind.TRANSIENT, 502), True),
        (Reply(ReplyKind.TRANSIENT, 503), True),
        (Reply(ReplyKind.TRANSIENT, 504), True),
        (Reply(ReplyKind.TRANSIENT, 408), True),
        (Reply(ReplyKind.TRANSIENT, 503, issues=("throttled",)), False),
        (Reply(ReplyKind.TRANSIENT, 503, retry_after=5.0), False),
        (Reply(ReplyKind.TRANSIENT, 429), False),
        (Reply(ReplyKind.TRANSIENT, 200, detail="error-in-success"), False),
        (Reply(ReplyKind.UNREACHABLE), False),
        (Reply(ReplyKind.PERMANENT, 422), False),
        (Reply(ReplyKind.DONE, 201), False),
    ],
)
def test_which_answers_leave_it_open_whether_a_create_arrived(reply: Reply, doubtful: bool) -> None:
    assert may_have_arrived(reply) is doubtful


def test_a_doubt_of_another_record_is_waited_for_and_one_of_a_role_keeps_nobody_from_being_created(
    server: FakeFhir,
) -> None:
    bridge = Bridge(server)
    bridge.unsure["hr", "S100", "Practitioner"] = 1e12  # a clock that was ahead: never longer than the store remembers
    assert bridge.deliver(ADA).result is Result.UNKNOWN
    assert server.writes() == []
    bridge = Bridge(server)
    bridge.unsure["hr", "S100", "PractitionerRole"] = 1e12
    half = bridge.deliver(replace(ADA, roles=(unit("ICU"),)))
    assert half.result is Result.CREATED
    assert len(server.all("PractitionerRole")) == 1  # who was created just now has no role that an index could hide


# --- the later look --------------------------------------------------------------------------------------------------


def test_fifty_people_in_one_request(server: FakeFhir) -> None:
    people = [sought(f"p{n}", f"K{n}") for n in range(50)]
    for n in range(50):
        server.put(person(f"p{n}", f"K{n}"))
    server.put(person("second", "K7"))
    server.put(person("inactive", "K8", active=False))
    server.put(person("merged", "K9", link=[{"type": "replaced-by"}]))
    server.indexed["Practitioner", "p3"] = None
    seen, failed = look_for_people(FhirClient(rules(), transport=server.transport()), people)
    assert failed is None
    assert len(server.journal) == 1
    assert max(len(asked.target) for asked in server.journal) < 7000
    assert {number for number, one in seen.items() if not one.found} == {"p3"}
    assert {number: one.others for number, one in seen.items() if one.others} == {"p7": ("second",)}


def test_an_address_never_grows_beyond_what_servers_take(server: FakeFhir) -> None:
    long = [sought(f"p{n}", f"{n}" + "x" * 400) for n in range(50)]
    look_for_people(FhirClient(rules(), transport=server.transport()), long)
    assert len(server.journal) > 1
    assert max(len(asked.target) for asked in server.journal) < 7000


def test_roles_of_many_people_in_one_request(server: FakeFhir) -> None:
    def role(resource_id: str, who: str, code: str, **more: Any) -> Sought:
        values = unit(code).values
        server.put(
            {
                "resourceType": "PractitionerRole",
                "id": resource_id,
                "active": True,
                "practitioner": {"reference": f"Practitioner/{who}"},
                "organization": values[0].value,
                **more,
            }
        )
        return Sought(resource_id, who, (Written("PractitionerRole", resource_id, values, role_key=code),))

    ours = [role("r1", "p1", "ICU"), role("r2", "p1", "ER"), role("r3", "p2", "ICU")]
    role("again", "p1", "ICU")
    role("ended", "p2", "ICU", active=False)
    role("feed2", "p1", "ER")
    client = FhirClient(rules(), transport=server.transport())
    seen, failed = look_for_roles(client, ours, lambda number: number == "feed2")
    assert failed is None
    assert len(server.journal) == 1
    assert seen == {"r1": Sighting(True, ("again",)), "r2": Sighting(True), "r3": Sighting(True)}


class OneLook:
    """A store with what one look needs: it is its own parts."""

    def __init__(self, *due: SecondLook, waiting: float | None = None, lag: IndexLag | None = None) -> None:
        self.due, self.waiting, self.lag = list(due), waiting, lag
        self.kept: list[Looked] = []
        self.creations = self.queue = self.crosswalk = self

    def second_looks(self, destination: str, now: float, limit: int) -> list[SecondLook]:
        return self.due

    def next_due(self, destination: str, now: float) -> float | None:
        return self.waiting

    def written_by(self, destination: str, kind: str, number: str) -> tuple[Written, ...]:
        return sought(number, number.replace("p", "K")).written if number != "second" else ()

    def looked(self, destination: str, looks: list[Looked], now: float) -> None:
        self.kept += looks

    def index_lag(self, destination: str) -> IndexLag | None:
        return self.lag


def row(resource_id: str, until: float = 60.0) -> SecondLook:
    return SecondLook("Practitioner", resource_id, resource_id, "hr", "S1", 1, 1, 0.0, until, 0)


def once_looked(server: FakeFhir, store: OneLook, now: float = 60.0) -> int:
    client = FhirClient(rules(), transport=server.transport())
    return look(store, FhirDestination(rules(), lambda: client), structlog.get_logger(), now)  # type: ignore[arg-type]


def test_a_look_opens_a_task_for_a_second_one(server: FakeFhir) -> None:
    for number, value in (("p1", "K1"), ("p2", "K2"), ("second", "K2")):
        server.put(person(number, value))
    store = OneLook(row("p1"), row("p2"))
    assert once_looked(server, store) == 2
    assert [(one.look.resource_id, one.found, bool(one.task)) for one in store.kept] == [
        ("p1", True, False),
        ("p2", True, True),
    ]
    told = " ".join(store.kept[1].task.steps) if store.kept[1].task else ""
    assert "Practitioner/second" in told
    assert "K2" not in told


def test_a_look_gives_way_to_deliveries_for_a_time(server: FakeFhir) -> None:
    server.put(person("p1", "K1"))
    assert once_looked(server, OneLook(row("p1"), waiting=59.0)) == 0
    assert server.journal == []
    assert once_looked(server, OneLook(row("p1"), waiting=61.0)) == 1
    assert once_looked(server, OneLook(row("p1"), waiting=59.0), now=60.0 + 601) == 1


def test_a_look_without_an_answer_proves_nothing(server: FakeFhir) -> None:
    server.faults.append(lambda asked: problem(503))
    store = OneLook(row("p1"))
    once_looked(server, store)
    assert [one.found for one in store.kept] == [None]


@pytest.mark.parametrize(
    ("configured", "longest", "lag"),
    [
        (60.0, None, 60.0),
        (60.0, 7.0, 60.0),
        (60.0, 80.0, 120.0),
        (0.0, 80.0, 0.0),
        (60.0, 9000.0, 3600.0),
        (7200.0, 9000.0, 7200.0),
    ],
)
def test_the_lag_that_counts(configured: float, longest: float | None, lag: float) -> None:
    store = OneLook(lag=IndexLag(1.0, longest, 0.0) if longest is not None else None)
    assert effective_lag(store, rules(index_lag=configured)) == lag  # type: ignore[arg-type]


def test_lost_reply_end_to_end_with_an_index_that_lags(server: FakeFhir) -> None:
    """The create arrives, its answer is lost, and searches see nobody for a while: one person in the end."""
    bridge = Bridge(server)

    def lose(asked: Any) -> None:
        if asked.method == "POST" and not server.all("Practitioner"):
            server._answer(asked)
            hidden(server)
            raise LostReply

    server.faults.append(lose)
    assert bridge.deliver(ADA).result is Result.UNKNOWN
    assert bridge.deliver(ADA).result is Result.UNKNOWN
    server.indexed.clear()
    found = bridge.deliver(ADA)
    assert (found.result, kinds(found)) == (Result.UNCHANGED, [])
    assert len(server.all("Practitioner")) == 1


def test_every_name_of_a_system_is_asked_for(server: FakeFhir) -> None:
    server.put(
        {
            "resourceType": "Practitioner",
            "id": "old",
            "identifier": [{"system": "urn:oid:2.16.840.1.113883.4.6", "value": GOOD_NPI}],
        }
    )
    values = (ElementValue("identifier", {"system": NPI, "value": GOOD_NPI}, Provenance.read("STF-2")),)
    one = Sought("p1", "p1", (Written("Practitioner", "p1", values),))
    seen, _ = look_for_people(FhirClient(rules(), transport=server.transport()), [one])
    assert seen == {"p1": Sighting(False, ("old",))}
