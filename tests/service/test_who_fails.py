"""A server that fails about some people for ever, over real sockets: the others are delivered all the same.

And one that is down for all: it is left in peace, and everybody is delivered when it is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from hl7bridge.destinations import keys
from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules, SmartRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.smart_auth import BackendServicesAuth, TokenSource
from hl7bridge.destinations.retry import RetryPolicy
from hl7bridge.service.outbound.loop import DestinationLoop, Target
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import DeliveryState
from tests.bridges import wait_until
from tests.destinations.fhir.server import Answer, Asked, FakeFhir, LostReply, served
from tests.service.test_delivery_loop import message

JSON = {"content-type": "application/fhir+json"}
KEY = keys.generate()


def lost(asked: Asked) -> Answer:
    raise LostReply


WAYS: dict[str, Callable[[Asked], Answer]] = {
    "500": lambda asked: Answer(500, JSON, b"{}"),
    "503, wait an hour": lambda asked: Answer(503, JSON | {"retry-after": "3600"}, b"{}"),
    "429, wait for ever": lambda asked: Answer(429, JSON | {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, b"{}"),
    "a login page": lambda asked: Answer(200, {"content-type": "text/html"}, b"<html>Sign in</html>"),
    "half of a JSON": lambda asked: Answer(200, JSON, b'{"resourceType":'),
    "no answer": lost,
    "401": lambda asked: Answer(401, JSON, b"{}"),
}


@dataclass
class Site:
    """A server that answers about BAD people as `bad` says, a store, and the loop between them."""

    path: Path
    bad: Callable[[Asked], Answer | None]
    fhir: FakeFhir = field(default_factory=FakeFhir)
    tokens: int = 0
    asked_about_bad: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, asked: Asked) -> Answer | None:
        if asked.path == "/token":
            self.tokens += 1
            return Answer(200, {"content-type": "application/json"}, b'{"access_token":"t","token_type":"bearer"}')
        if asked.path.endswith(("/metadata", "/smart-configuration")):
            return Answer(404)
        key = asked.query.get("identifier", "").rpartition("|")[2]
        if key.startswith("BAD"):
            with self.lock:
                self.asked_about_bad.add(key)
            if (spoiled := self.bad(asked)) is not None:
                return spoiled
        return self.fhir.answer(asked)

    def there(self) -> set[str]:
        return {one["identifier"][0]["value"] for one in self.fhir.all("Practitioner")}


@contextmanager
def delivering(tmp_path: Path, site: Site) -> Iterator[Callable[..., None]]:
    """Yields what accepts people by their keys."""
    with served(site.answer) as address:
        site.fhir.base = f"{address}/fhir"
        rules = DestinationRules(
            name="fhir", base_url=site.fhir.base, mode="write", verify=False, timeout=5.0,
            withheld=frozenset({"PractitionerRole"}), index_lag=0.0,
        )  # fmt: skip
        smart = SmartRules(site.fhir.base, "bridge-1", token_url=f"{address}/token", mode="write")
        auth = BackendServicesAuth(TokenSource(smart, KEY))
        store = open_store(site.path)
        retry = RetryPolicy(first=0.05, longest=0.4, pause=0.1)
        destination = FhirDestination(rules, lambda: FhirClient(rules, auth))
        target = Target(destination, retry)
        loop = DestinationLoop(target, lambda: open_store(site.path), structlog.get_logger(), poll_interval=0.02)
        loop.start()

        def accept(*people: str) -> None:
            store.inbox.accept([message(key) for key in people], time.time())
            loop.hint()

        try:
            yield accept
        finally:
            loop.stop()
            loop.join(20)
            destination.close()
            store.close()


@pytest.mark.parametrize("way", WAYS)
def test_people_about_whom_a_server_always_fails_hold_nobody_up(tmp_path: Path, way: str) -> None:
    site = Site(tmp_path / "store.db", WAYS[way])
    bad = [f"BAD{number}" for number in range(12)]
    good = {f"GOOD{number}" for number in range(5)}
    with delivering(tmp_path, site) as accept:
        accept(*bad)
        wait_until(lambda: len(site.asked_about_bad) >= 4, 20, lambda: str(site.asked_about_bad))
        accept(*good)
        wait_until(lambda: good <= site.there(), 20, lambda: str(site.there()))
        accept("GOODLATE")
        wait_until(lambda: "GOODLATE" in site.there(), 20, lambda: str(site.there()))
        site.bad = lambda asked: None
        if "wait" not in way:
            wait_until(lambda: set(bad) <= site.there(), 20, lambda: str(site.there()))
    assert not any(asked.method == "PUT" for asked in site.fhir.journal)


def test_a_server_that_is_down_for_all_is_left_in_peace_and_everybody_is_delivered_when_it_is_back(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path / "store.db", WAYS["500"])
    people = [f"BAD{number}" for number in range(30)]
    with delivering(tmp_path, site) as accept:
        accept(*people)
        youngest = set(people[-5:])
        wait_until(lambda: bool(site.asked_about_bad & youngest), 20, lambda: str(site.asked_about_bad))
        site.bad = lambda asked: None
        wait_until(lambda: set(people) <= site.there(), 20, lambda: str(site.there()))


def test_who_alone_is_left_is_asked_whether_the_token_is_taken_again(tmp_path: Path) -> None:
    """Whoever met the refusal is gone by then: discarded, or overtaken. Only somebody who was tried before still waits."""
    site = Site(tmp_path / "store.db", WAYS["500"])
    with delivering(tmp_path, site) as accept:
        accept("BAD1", "GOOD1")
        wait_until(lambda: "GOOD1" in site.there() and site.asked_about_bad, 20, lambda: str(site.there()))
    store = open_store(site.path)
    [(left,)] = store.connection.execute("SELECT state FROM delivery WHERE source_key = 'BAD1'").fetchall()
    assert left == DeliveryState.RETRY
    with store.connection.writing():
        store.connection.execute(
            "INSERT INTO health (destination, version, at_once, failures, rests, rest_until, pauses, paused_until, told)"
            " VALUES ('fhir', 1, 0, 0, 0, 0, 1, 0, 'unauthorized')"
            " ON CONFLICT (destination) DO UPDATE SET told = excluded.told"
        )
    store.close()
    site.bad = lambda asked: None
    with delivering(tmp_path, site):
        wait_until(lambda: "BAD1" in site.there(), 20, lambda: str(site.there()))
