"""What latches a destination, what the brake lets through, how often the server is asked what it offers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import structlog

from hl7bridge.destinations.fhir import outcomes
from hl7bridge.destinations.fhir.destination import FhirDestination, offer_of
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.capabilities import Capabilities
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.policy import Brake
from hl7bridge.destinations.protocol import Offer
from hl7bridge.model import WRITES_REFUSED, Action, Interaction, Kind, Known, Outcome, Result, StaffChange, Task
from hl7bridge.service.outbound.offered import HOUR, READ_AGAIN, Offered
from hl7bridge.service.outbound.safeguards import Safeguards
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import Claimed, Store

RULES = DestinationRules(name="fhir", base_url="http://127.0.0.1/fhir", mode="write")
PUT = Interaction(Kind.UPDATE, "Practitioner", "p1")
POST = Interaction(Kind.CREATE, "Practitioner")
DONE = Outcome(Result.UPDATED, interactions=(PUT,))
SAME = Outcome(Result.UNCHANGED)
BY_HAND = (Task("write-by-hand", "Write"),)
FORBIDDEN = Outcome(Result.HELD, "207", "forbidden", "Not permitted", tasks=BY_HAND, refused="Practitioner update")
UNREADABLE = Outcome(Result.HELD, "207", "forbidden", "Not permitted", tasks=BY_HAND)
NOT_OFFERED = outcomes.not_offered("update", "Practitioner")
NO_CREATE = outcomes.not_offered("create", "Practitioner")
NO_ROLES = Outcome(Result.HELD, "207", "forbidden", "Not permitted", refused="PractitionerRole update")
INVALID = Outcome(Result.HELD, "207", "server-refused", "Invalid")


def claimed(key: str, *, approved: bool = False) -> Claimed:
    change = StaffChange(Action.DEACTIVATE, key, ())
    return Claimed(1, 1, 1, "hr", "fhir", change, Known(), 1, approved=approved)


def safeguards(brake: Brake | None = None) -> Safeguards:
    return Safeguards(FhirDestination(RULES), brake or Brake(), structlog.get_logger())


def served_by(serve: Callable[[httpx.Request], httpx.Response]) -> FhirDestination:
    return FhirDestination(RULES, lambda: FhirClient(RULES, transport=httpx.MockTransport(serve)))


def no_store() -> Store:
    raise AssertionError("the store is asked only where there is something to count")


@pytest.mark.parametrize(
    ("story", "latched"),
    [
        ([("A", NOT_OFFERED)], True),
        ([("A", FORBIDDEN), ("B", FORBIDDEN)], False),
        ([("A", FORBIDDEN), ("B", FORBIDDEN), ("C", FORBIDDEN)], True),
        ([("A", FORBIDDEN), ("A", FORBIDDEN), ("A", FORBIDDEN)], False),
        ([("A", FORBIDDEN), ("B", FORBIDDEN), ("D", DONE), ("C", FORBIDDEN)], False),
        ([("A", FORBIDDEN), ("B", FORBIDDEN), ("D", SAME), ("C", FORBIDDEN)], True),
        ([("A", INVALID), ("B", INVALID), ("C", INVALID)], False),
        ([("A", UNREADABLE), ("B", UNREADABLE), ("C", UNREADABLE)], True),
        ([("A", NO_CREATE)], False),
        ([("A", NO_ROLES), ("B", NO_ROLES), ("C", NO_ROLES)], False),
    ],
)
@pytest.mark.parametrize("processes", [1, 2])
def test_what_latches(processes: int, story: list[tuple[str, Outcome]], latched: bool, tmp_path: Path) -> None:
    """However many instances deliver in turn."""
    store = open_store(tmp_path / "store.db")
    several = [safeguards() for _ in range(processes)]
    judged = []
    for number, (key, outcome) in enumerate(story):
        guards = several[number % processes]
        guards.hear(store)
        judged.append(guards.judge(claimed(key), outcome, lambda: store))
    assert guards.latched is latched
    assert judged[:-1] == [outcome for _, outcome in story[:-1]], "those before it stay as they are"
    last = judged[-1]
    if latched:
        assert (last.result, last.local, last.tasks) == (Result.PAUSED, WRITES_REFUSED, ())
        assert guards.permit(claimed("Z"), PUT, False, no_store) == guards.refusal
        assert guards.judge(claimed("Z"), FORBIDDEN, no_store).result is Result.PAUSED
    else:
        assert last == story[-1][1]
        assert guards.permit(claimed("Z"), PUT, False, no_store) is None
    store.close()


def test_what_was_written_before_the_refusal_is_kept() -> None:
    access = Task("leaver-access", "End access")
    half = Outcome(Result.HELD, "207", "not-offered", "No", tasks=(access, *NOT_OFFERED.tasks), person_id="p1")
    judged = safeguards().judge(claimed("A"), half, no_store)
    assert (judged.tasks, judged.person_id) == ((access,), "p1")


def test_it_is_told_once_and_ends_when_the_store_hands_out_again(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    guards, others = safeguards(), safeguards()
    guards.tell(store)
    assert store.audit.paused() == {}
    for one in (guards, others):
        one.judge(claimed("A"), NOT_OFFERED, no_store)
        one.resumed(store)
        assert one.latched, "what was claimed before it was told does not end it"
        one.tell(store)
        one.tell(store)
    assert store.audit.paused() == {"fhir": WRITES_REFUSED}
    assert len(store.worklist.tasks()) == 1
    guards.resumed(store)
    assert not guards.latched
    store.close()


def test_each_interaction_is_latched_by_itself(tmp_path: Path) -> None:
    """A server that offers update and not create: joiners are held, each with a task, and leavers go on."""
    store = open_store(tmp_path / "store.db")
    guards = safeguards()
    assert guards.judge(claimed("A"), NO_CREATE, no_store) == NO_CREATE, "held, with its task"
    guards.tell(store)
    assert store.modes.latches("fhir") == {"Practitioner create": NO_CREATE.text}
    assert store.audit.paused() == {}
    held = guards.permit(claimed("B"), POST, False, no_store)
    assert held is not None
    assert (held.result, held.local, held.refused) == (Result.HELD, "not-offered", "Practitioner create")
    assert [task.kind for task in held.tasks] == ["write-by-hand"]
    assert guards.permit(claimed("C"), PUT, True, no_store) is None

    again = safeguards()
    again.hear(store)
    assert again.permit(claimed("B"), POST, False, no_store) == held, "a restart does not forget it"
    again.resumed(store)
    assert again.permit(claimed("B"), POST, False, no_store) == held, "nor does a claim"
    assert store.modes.unlatch("fhir", 1.0, who="ana", note="granted") == ["Practitioner create"]
    again.resumed(store)
    assert again.permit(claimed("B"), POST, False, no_store) is None
    store.close()


@pytest.mark.parametrize(
    ("key", "ends", "approved", "local"),
    [
        ("P1", True, False, "protected"),
        ("P1", True, True, ""),
        ("P1", False, False, ""),
        ("A", True, False, ""),
    ],
)
def test_protected_people(key: str, ends: bool, approved: bool, local: str) -> None:
    guards = safeguards(Brake(protected=frozenset({"P1"})))
    answer = guards.permit(claimed(key, approved=approved), PUT, ends, no_store)
    assert (answer.local if answer else "") == local


def test_the_brake_asks_the_store_for_those_who_end_and_are_not_approved(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    guards = safeguards(Brake(per_hour=1))
    assert guards.permit(claimed("A"), PUT, False, no_store) is None
    assert guards.permit(claimed("A", approved=True), PUT, True, no_store) is None
    assert guards.permit(claimed("A"), PUT, True, lambda: store) is None
    store.close()


STATEMENT = b'{"resourceType":"CapabilityStatement","rest":[{"mode":"server","resource":[{"type":"Practitioner"}]}]}'


@pytest.mark.parametrize(
    ("body", "status", "known", "again"),
    [
        (STATEMENT, 200, True, HOUR),
        (b'{"resourceType":"CapabilityStatement"}', 200, False, READ_AGAIN),
        (b"<html>", 200, False, READ_AGAIN),
        (b"{}", 404, False, READ_AGAIN),
        (b"[" * 100_000, 200, False, READ_AGAIN),
    ],
)
def test_what_it_offers_is_read_now_and_then(body: bytes, status: int, known: bool, again: float) -> None:
    asked: list[str] = []
    now = 1000.0

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/smart-configuration"):
            return httpx.Response(404)
        asked.append(request.url.path)
        return httpx.Response(status, content=body, headers={"content-type": "application/fhir+json"})

    clock: Callable[[], float] = lambda: now  # noqa: E731
    offered = Offered(served_by(serve), clock)
    assert (offered.current() is not None) is known
    now += again - 1
    assert (offered.current() is not None) is known
    assert asked == ["/fhir/metadata"]
    now += 1
    offered.current()
    assert len(asked) == 2
    offered.forget()
    offered.current()
    assert len(asked) == 3


def test_the_loop_does_not_wait_for_a_server_to_say_what_it_offers() -> None:
    """It would not renew its lease meanwhile."""
    asked, answer, go_on = [], threading.Semaphore(0), threading.Semaphore(0)

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer.release()
        go_on.acquire()
        return httpx.Response(200, content=offering("create", "update"))

    offered = Offered(served_by(serve))
    reading = threading.Thread(target=offered.current)
    reading.start()
    assert answer.acquire(timeout=10)
    offered.forget()  # what is being read was asked for before that
    go_on.release(2)
    reading.join(10)
    offered.current()
    offered.current()
    assert len(asked) == 2


def offering(*interactions: str, software: str = "A server") -> bytes:
    codes = [{"code": code} for code in ("read", "search-type", *interactions)]
    resources = [{"type": name, "interaction": codes} for name in ("Practitioner", "PractitionerRole")]
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "software": {"name": software},
        "rest": [{"mode": "server", "resource": resources}],
    }
    return json.dumps(statement).encode()


def test_what_it_offers_is_told_once_and_when_it_changes() -> None:
    answers = [b"", b"", offering("create", "update"), offering("create", "update"), b"", offering("create")]
    told: list[tuple[str, bool]] = []
    now = 0.0

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/smart-configuration"):
            return httpx.Response(200, json={"token_endpoint": "https://fhir.example.org/token"})
        body = answers.pop(0)
        return httpx.Response(200 if body else 503, content=body, headers={"content-type": "application/fhir+json"})

    def tell(offer: Offer | None, changed: bool) -> None:
        told.append((str(offer) if offer else "", changed))
        assert offer is None or offer.endpoint == "https://fhir.example.org/token"

    offered = Offered(served_by(serve), lambda: now, interval=HOUR, tell=tell)
    while answers:
        offered.current()
        now += HOUR
    text = "A server, FHIR 4.0.1, "
    assert told == [
        ("", False),
        (text + "offers all that is needed", False),
        (text + "does not offer: update Practitioner, update PractitionerRole", True),
    ]


@pytest.mark.parametrize(
    ("mode", "interactions", "needed"),
    [
        ("write", ("update",), ("create Practitioner", "create PractitionerRole")),
        ("report", ("update",), ()),
        ("write", ("create", "update"), ()),
    ],
)
def test_what_is_needed_follows_the_mode(mode: str, interactions: tuple[str, ...], needed: tuple[str, ...]) -> None:
    read = Capabilities.from_statement(json.loads(offering(*interactions, software="Bad\x1b[2J\nname" * 20)))
    offer = offer_of(read, None, replace(RULES, mode=mode))
    assert offer.needed == needed
    assert offer.software.isprintable()
    assert len(offer.software) <= 80
    assert offer_of(read, {"token_endpoint": 7}, RULES).endpoint == ""
    assert offer_of(Capabilities(), None, RULES).missing[0] == "read Practitioner"


def test_it_is_watched_until_the_end() -> None:
    asked = threading.Event()

    def serve(_: httpx.Request) -> httpx.Response:
        asked.set()
        raise httpx.ConnectError("nobody there")

    stopping = threading.Event()
    offered = Offered(served_by(serve))
    watching = threading.Thread(target=offered.watch, args=(stopping,))
    watching.start()
    assert asked.wait(10)
    stopping.set()
    watching.join(10)
    assert not watching.is_alive()
    assert offered.current() is None
