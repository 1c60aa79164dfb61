"""The roster over servers that page as they like: short pages, loops, foreign links, sessions that expire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.roster import RESTARTS, TRIES, Roster
from hl7bridge.errors import Unreachable
from hl7bridge.model import JsonObject
from tests.destinations.fhir.server import BASE, Answer, Asked, FakeFhir, fhir, problem, served

TOKEN = "a%2Fb|c,{d}~%7Ee+f%20g=="


def bundle(ids: Iterable[str], link: str = "", **more: Any) -> Answer:
    entries = [{"resource": {"resourceType": "Practitioner", "id": one}, "search": {"mode": "match"}} for one in ids]
    links = [{"relation": "next", "url": link}] if link else []
    return fhir({"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": links, **more})


def client_of(answers: Callable[[Asked], Answer], asked: list[str] | None = None) -> FhirClient:
    server = FakeFhir()

    def answer(request: Asked) -> Answer:
        if asked is not None:
            asked.append(request.target)
        return answers(request)

    server.faults.append(answer)
    return FhirClient(DestinationRules("main", BASE), transport=server.transport())


def scripted(*answers: Answer) -> Callable[[Asked], Answer]:
    given = iter(answers)
    return lambda asked: next(given)


def ids(roster: Roster) -> list[str]:
    return [resource["id"] for resource in roster]


def test_three_pages_by_links_that_come_back_byte_for_byte() -> None:
    """Over a real socket: what httpx would write otherwise is the server's own writing here."""
    asked: list[str] = []
    base = ""

    def answer(request: Asked) -> Answer:
        asked.append(request.target)
        number = len(asked)
        link = f"{base}?_page={number};{TOKEN}" if number < 3 else ""
        return bundle([f"p{number}"], link, total=3)

    with served(answer) as address:
        base = f"{address}/r4"
        client = FhirClient(DestinationRules("main", base))
        roster = Roster(client, "Practitioner")
        assert ids(roster) == ["p1", "p2", "p3"]
        client.close()
    assert asked == ["/r4/Practitioner?_count=50", f"/r4?_page=1;{TOKEN}", f"/r4?_page=2;{TOKEN}"]
    assert (roster.pages, roster.total, roster.restarts) == (3, 3, 0)


def test_short_and_empty_pages_are_not_the_last() -> None:
    pages = scripted(
        bundle([], f"{BASE}?p=1"), bundle(["a"], f"{BASE}?p=2"), bundle([], f"{BASE}?p=3"), bundle(["b", "a"])
    )
    assert ids(Roster(client_of(pages), "Practitioner")) == ["a", "b"]


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_search_that_expires_starts_over_without_repeating_anybody(status: int) -> None:
    asked: list[str] = []
    pages = scripted(
        bundle("ab", f"{BASE}?p=1"), bundle("cd", f"{BASE}?p=2"), problem(status),
        bundle("ba", f"{BASE}?p=1"), bundle("ec", f"{BASE}?p=2"), bundle("df"),
    )  # fmt: skip
    roster = Roster(client_of(pages, asked), "Practitioner")
    assert ids(roster) == list("abcdef")
    assert roster.restarts == 1
    assert asked[3] == asked[0]


def test_a_search_that_always_expires_ends() -> None:
    asked: list[str] = []
    always = client_of(lambda request: problem(410) if "p=" in request.target else bundle("a", f"{BASE}?p=1"), asked)
    roster = Roster(always, "Practitioner")
    with pytest.raises(Unreachable, match="expired again and again"):
        ids(roster)
    assert len(asked) == 2 * (RESTARTS + 1)


@pytest.mark.parametrize(
    "link", ["https://evil.example.org/r4?p=1", "http://fhir.example.org/r4?p=1", "https://fhir.example.org/Patient"]
)
def test_a_link_elsewhere_is_never_requested(link: str) -> None:
    asked: list[str] = []
    with pytest.raises(Unreachable, match="foreign-link"):
        ids(Roster(client_of(lambda request: bundle("a", link), asked), "Practitioner"))
    assert len(asked) == 1


def test_pages_without_an_end() -> None:
    loop = Roster(client_of(lambda request: bundle("a", f"{BASE}?p=1")), "Practitioner")
    with pytest.raises(Unreachable, match="have no end"):
        ids(loop)
    asked: list[str] = []
    ever_new = client_of(lambda request: bundle("a", f"{BASE}?p={len(asked)}"), asked)
    with pytest.raises(Unreachable, match="have no end"):
        ids(Roster(ever_new, "Practitioner", max_pages=7))
    assert len(asked) == 7


def test_a_server_that_fails_in_passing_is_asked_again() -> None:
    waits: list[float] = []
    pages = scripted(bundle("a", f"{BASE}?p=1"), problem(503, retry_after="7"), problem(429), bundle("b"))
    assert ids(Roster(client_of(pages), "Practitioner", sleep=waits.append)) == ["a", "b"]
    assert waits == [7.0, 2.0]
    refusing = client_of(lambda request: problem(503))
    with pytest.raises(Unreachable, match="status 503"):
        ids(Roster(refusing, "Practitioner", sleep=waits.append))
    assert len(waits) == 2 + TRIES - 1


@pytest.mark.parametrize(
    "answer", [problem(403), problem(401), problem(404), bundle(["../x"]), fhir({"resourceType": "Basic", "id": "x"})]
)
def test_what_is_no_roster_is_said_without_the_servers_words(answer: Answer) -> None:
    with pytest.raises(Unreachable) as raised:
        ids(Roster(client_of(lambda request: answer), "Practitioner", sleep=lambda seconds: None))
    assert "CANARY" not in str(raised.value)


def test_whoever_was_handed_out_stands_when_the_rest_fails() -> None:
    found: list[JsonObject] = []
    pages = scripted(bundle("ab", f"{BASE}?p=1"), problem(403))
    with pytest.raises(Unreachable):
        found.extend(Roster(client_of(pages), "Practitioner"))
    assert [one["id"] for one in found] == ["a", "b"]
