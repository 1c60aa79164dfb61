"""The loop of one destination, on a real store, against servers that answer what nobody should."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import structlog

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.retry import RetryPolicy
from hl7bridge.model import Action, ElementValue, Provenance, Record, RecordEcho, StaffChange, StaffIdentifier
from hl7bridge.service.outbound.loop import UNWRITABLE, DestinationLoop, Target
from hl7bridge.store.inbox.arrivals import WRITE_OUTS, pack
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import MessageState, NewDelivery, NewMessage, NewRecord, Store
from tests.bridges import wait_until
from tests.journey import KEY_SYSTEM

RULES = DestinationRules(name="fhir", base_url="http://127.0.0.1/fhir", mode="write", verify=False)
HALF_A_PAIR = "\\ud800male"


class Server(httpx.BaseTransport):
    """Holds a Practitioner for K1, with `gender` as it stands in JSON; knows nobody else, and takes every write."""

    def __init__(self, gender: str) -> None:
        self.gender = gender
        self.put = b""
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(("/metadata", "/smart-configuration")):
            return answer(404, b"")
        self.asked.set()
        self.go_on.wait(20)
        if request.method == "POST":
            return answer(201, request.read().replace(b"{", b'{"id":"p2",', 1))
        if request.method == "PUT":
            self.put = request.read()
            return answer(200, self.put)
        person = PERSON.replace("GENDER", self.gender).replace("SYSTEM", KEY_SYSTEM)
        if request.url.path.endswith("/p1"):
            return answer(200, self.put or person.encode())
        if b"PractitionerRole" in request.url.raw_path or b"K1" not in request.url.query:
            return answer(200, b'{"resourceType":"Bundle","type":"searchset","total":0}')
        return answer(200, b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":%s}]}' % person.encode())


PERSON = (
    '{"resourceType":"Practitioner","id":"p1","active":true,"gender":"GENDER",'
    '"identifier":[{"system":"SYSTEM","value":"K1"}]}'
)


def answer(status: int, body: bytes) -> httpx.Response:
    return httpx.Response(status, content=body, headers={"content-type": "application/fhir+json"})


def message(key: str) -> NewMessage:
    values = (
        ElementValue("name", {"use": "official", "family": "Tamsworth"}, Provenance.read("STF-3")),
        ElementValue("gender", "female", Provenance.read("STF-5")),
    )
    change = StaffChange(Action.UPDATE, key, (StaffIdentifier(key, KEY_SYSTEM),), active=True, practitioner=values)
    record = NewRecord(Record(1, RecordEcho(key=key), change), (NewDelivery("fhir", (key,)),))
    return NewMessage(
        "staff", time.time(), {"control_id": key}, key.encode(), 10, b"MSH", MessageState.ACCEPTED, (record,)
    )


class Running:
    def __init__(self, path: Path, server: Server) -> None:
        self.path, self.server = path, server
        self.store = open_store(path)

    def start(self, store: Store | None = None, **given: float) -> None:
        target = Target(FhirDestination(RULES, lambda: FhirClient(RULES, transport=self.server)), RetryPolicy())
        prepared = [store] if store else []  # for the loop, which opens one first; a store belongs to one thread

        def opened() -> Store:
            return prepared.pop() if prepared else open_store(self.path)

        self.loop = DestinationLoop(target, opened, structlog.get_logger(), **given)
        self.loop.start()

    def states(self) -> dict[str, int]:
        found: dict[str, int] = self.store.audit.counts()["deliveries"]["fhir"]
        return found

    def end(self) -> None:
        self.server.go_on.set()
        self.loop.stop()
        self.loop.join(20)
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "store.db", Server("male"))
    yield running
    running.end()


def test_differences_that_cannot_be_written_down_are_left_out(bench: Running) -> None:
    bench.server.gender = HALF_A_PAIR
    bench.store.inbox.accept([message("K1"), message("K2")], time.time())
    bench.start()
    wait_until(lambda: bench.states() == {"updated": 1, "created": 1}, 20, lambda: str(bench.states()))
    assert bench.loop.is_alive()


def test_a_large_file_is_written_out_while_its_destination_is_paused(bench: Running) -> None:
    parts = tuple(
        pack([replace(one, record=one.record._replace(position=number)) for one in message(f"K{number}").records])
        for number in range(1, 2 * WRITE_OUTS + 2)
    )
    [large] = bench.store.inbox.accept([replace(message("large"), records=(), parts=parts)], time.time())
    bench.store.pauses.pause("fhir", "by hand", time.time())
    bench.start()
    wait_until(lambda: not bench.store.arrivals.is_arriving(large.message_id), 20, "all is written out")
    assert bench.states() == {"queued": len(parts)}


def test_an_outcome_that_cannot_be_written_down_at_all_holds_its_change_and_no_other(bench: Running) -> None:
    store = open_store(bench.path)
    settle = store.settlements.settle

    def choosy(settlements, now, learned):
        if any(s.claimed.change.source_key == "K1" and s.outcome.local != UNWRITABLE for s in settlements):
            raise RecursionError
        return settle(settlements, now, learned)

    store.settlements.settle = choosy
    bench.store.inbox.accept([message("K1"), message("K2")], time.time())
    bench.start(store=store)
    wait_until(lambda: bench.states() == {"held": 1, "created": 1}, 20, lambda: str(bench.states()))
    assert bench.loop.is_alive()


def test_what_is_under_way_when_the_stop_must_not_wait_longer_is_looked_for_before_it_is_sent_again(
    bench: Running,
) -> None:
    bench.server.go_on.clear()
    (accepted,) = bench.store.inbox.accept([message("K2")], time.time())
    bench.start(stop_timeout=0.0)
    assert bench.server.asked.wait(20)
    bench.loop.stop()
    wait_until(lambda: "claimed" not in bench.states(), 20, lambda: str(bench.states()))
    found = bench.store.audit.message(accepted.message_id)
    assert found
    (delivery,) = found["records"][0]["deliveries"]
    assert (delivery["state"], delivery["ambiguous"]) == ("unknown", True)


def test_a_defect_ends_the_loop_in_order_and_says_nothing_of_its_text(bench: Running, capsys) -> None:
    store = open_store(bench.path)

    def claim(*_: object, **__: object) -> None:
        raise ValueError("Tamsworth")

    store.queue.claim = claim
    bench.start(store=store)
    bench.loop.join(20)
    assert bench.loop.failed == "a defect (ValueError)"
    said = capsys.readouterr()
    assert "Tamsworth" not in said.out + said.err
