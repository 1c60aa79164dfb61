"""Pages of a search: every one is read, and no link leads anywhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hl7bridge.destinations.fhir.wire.client import FhirClient, token
from hl7bridge.destinations.fhir.wire.replies import ReplyKind
from hl7bridge.model import JsonObject
from tests.destinations.fhir.people import rules
from tests.destinations.fhir.server import BASE, Answer, Asked, FakeFhir, fhir, problem, served
from tests.destinations.fhir.test_client import PERSON, answering


def test_next_links_are_followed_byte_for_byte() -> None:
    server = FakeFhir()
    server.page_size = 2
    for number in range(5):
        server.put({"resourceType": "Practitioner", "identifier": [{"system": "urn:x", "value": str(number)}]})
    with served(server.answer) as address:
        server.base = f"{address}/r4"
        client = FhirClient(rules(base_url=server.base))
        asked = ",".join(token("urn:x", str(number)) for number in range(5))
        reply = client.search("Practitioner", [("identifier", asked)])
        client.close()
    assert [one["identifier"][0]["value"] for one in reply.resources] == ["0", "1", "2", "3", "4"]
    assert reply.total == 5
    assert [exchange.status for exchange in reply.exchanges] == [200, 200, 200]
    assert server.journal[1].target == "/r4?page=1&type=Practitioner&ids=0.1.2.3.4&session=a%2Fb|c,{d}"


def page(link: str = "", *entries: JsonObject, **more: Any) -> Answer:
    links = [{"relation": "self", "url": "x"}, {"relation": "next", "url": link}] if link else []
    return fhir({"resourceType": "Bundle", "type": "searchset", "entry": list(entries), "link": links, **more})


def match(resource: JsonObject, mode: str = "match") -> JsonObject:
    return {"resource": resource, "search": {"mode": mode}}


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/r4/Practitioner?page=2",
        "http://fhir.example.org/r4/Practitioner?page=2",
        "https://fhir.example.org:8443/r4/Practitioner?page=2",
        "https://fhir.example.org@evil.example/r4/Practitioner",
        "https://user:secret@fhir.example.org/r4/Practitioner?page=2",
        "//evil.example/r4/Practitioner",
        "https://fhir.example.org/r4/Patient?page=2",
        "https://fhir.example.org/r4/Practitioner/../Patient",
        "https://fhir.example.org/other/Practitioner",
        "https://fhir.example.org/r4/Organization?page=2",
        "https://fhir.example.org/r4/$everything?page=2",
        "https://fhir.example.org/r4/%50atient?page=2",
        "https://fhir.example.org/r4x/page?page=2",
        "/other/page?id=2",
        "https://fhir.example.org/r4/Practitioner?a=b\r\nX-Evil: 1",
        "https://fhir.example.org/r4/Practitioner?ä",
        "https://[broken/r4",
        "file:///etc/passwd",
    ],
)
def test_a_next_link_elsewhere_is_never_requested(link: str) -> None:
    server = FakeFhir()
    server.faults.append(lambda asked: page(link, match(PERSON)))
    client = FhirClient(rules(), transport=server.transport())
    reply = client.search("Practitioner", [("identifier", "a")])
    assert (reply.kind, reply.detail, reply.resources) == (ReplyKind.PERMANENT, "foreign-link", ())
    assert len(server.journal) == 1


@pytest.mark.parametrize(
    "link", ["/r4/Practitioner?page=2", "Practitioner?page=2", f"{BASE}/Practitioner/?page=2", BASE + "?page=2"]
)
def test_links_that_stay_below_the_base(link: str) -> None:
    pages = iter([page(link, match(PERSON)), page("", match({**PERSON, "id": "p2"}))])
    reply = answering(lambda asked: next(pages)).search("Practitioner", [("identifier", "a")])
    assert [one["id"] for one in reply.resources] == ["p1", "p2"]


def test_pages_without_an_end() -> None:
    loop = answering(lambda asked: page(f"{BASE}/Practitioner?page=1", match(PERSON)))
    assert loop.search("Practitioner", []).detail == "endless-pages"
    asked_pages: list[str] = []

    def ever_new(asked: Asked) -> Answer:
        asked_pages.append(asked.target)
        return page(f"{BASE}/Practitioner?page={len(asked_pages)}", match(PERSON))

    assert answering(ever_new, max_pages=7).search("Practitioner", []).detail == "endless-pages"
    assert len(asked_pages) == 7


EXPIRED = {
    "bad request": problem(400),
    "not found": problem(404),
    "gone": problem(410),
    "an outcome with 200": problem(200, "processing"),
    "an outcome with 200 that says so": problem(200, "expired"),
    "an outcome as an entry": page("", match(json.loads(problem(200, "not-found").body), "outcome")),
}


@pytest.mark.parametrize("how", EXPIRED)
def test_a_page_session_that_expired_starts_over_once(how: str) -> None:
    refused = EXPIRED[how]
    given = iter([page(f"{BASE}/Practitioner?page=1"), refused, page("", match(PERSON))])
    reply = answering(lambda asked: next(given)).search("Practitioner", [])
    assert reply.done
    assert len(reply.resources) == 1
    assert len(reply.exchanges) == 3
    refusing = iter([page(f"{BASE}/Practitioner?page=1"), refused] * 2)
    reply = answering(lambda asked: next(refusing)).search("Practitioner", [])
    assert (reply.done, reply.status, reply.resources, len(reply.exchanges)) == (False, refused.status, (), 4)


@pytest.mark.parametrize(
    "answer",
    [problem(503), problem(403), problem(200, "throttled"), Answer(302)],
    ids=["busy", "forbidden", "throttled", "moved"],
)
def test_a_page_that_fails_otherwise_does_not_start_over(answer: Answer) -> None:
    given = iter([page(f"{BASE}/Practitioner?page=1", match(PERSON)), answer])
    reply = answering(lambda asked: next(given)).search("Practitioner", [])
    assert (reply.done, reply.resources, len(reply.exchanges)) == (False, (), 2)


def test_short_and_empty_pages_do_not_end_a_search() -> None:
    given = iter([page(f"{BASE}/Practitioner?page=1", total=1), page("", match(PERSON), match(PERSON))])
    reply = answering(lambda asked: next(given)).search("Practitioner", [])
    assert (len(reply.resources), reply.total) == (1, 1)


def test_entries_that_are_no_matches() -> None:
    warning = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "processing"}]}
    included = match({**PERSON, "id": "p9"}, "include")
    reply = answering(lambda asked: page("", match(warning, "outcome"), included, {"fullUrl": "x"})).search(
        "Practitioner", []
    )
    assert (reply.done, reply.resources) == (True, ())
    failed = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
    reply = answering(lambda asked: page("", match(failed, "outcome"))).search("Practitioner", [])
    assert (reply.kind, reply.issues) == (ReplyKind.TRANSIENT, ("timeout",))


def test_a_match_that_cannot_be_read_is_not_nobody() -> None:
    broken = {"resourceType": "Practitioner", "id": "../1"}
    reply = answering(lambda asked: page("", match(broken))).search("Practitioner", [])
    assert (reply.kind, reply.detail) == (ReplyKind.TRANSIENT, "not-fhir")


@pytest.mark.parametrize(
    "link",
    [
        f"{BASE}/page?id=a%2Fb",
        f"{BASE}/_getpages/2f9a?_offset=50",
        "/r4/search.page/Abc123?x=1",
        f"{BASE}?_getpages=2f9a",
        f"{BASE}/Practitioner?page=2",
    ],
)
def test_a_path_of_the_servers_own_below_the_base_is_followed_as_it_is(link: str) -> None:
    """R4 http.html, Paging: the links are opaque to the client."""
    asked_for: list[str] = []

    def pages(asked: Asked) -> Answer:
        asked_for.append(asked.target)
        return page("" if len(asked_for) > 1 else link, match({**PERSON, "id": f"p{len(asked_for)}"}))

    reply = answering(pages).search("Practitioner", [])
    assert [one["id"] for one in reply.resources] == ["p1", "p2"]
    assert asked_for[1] == link.removeprefix("https://fhir.example.org")


@pytest.mark.parametrize(
    "body",
    [
        '{"resourceType":"Bundle","type":"searchset","total":NaN}',
        '{"resourceType":"Bundle","type":"searchset","x":-Infinity}',
        '{"resourceType":"Bundle","type":"searchset","entry":[],"entry":[]}',
        '{"resourceType":"Bundle","type":"searchset","entry":[{"resource":'
        '{"resourceType":"Practitioner","id":"a","id":"b"}}]}',
    ],
)
def test_json_that_nobody_can_read_in_one_way_is_not_read(body: str) -> None:
    """Permanent: asked again, the server says the same; others need not wait for it."""
    given = Answer(200, {"content-type": "application/fhir+json"}, body.encode())
    reply = answering(lambda asked: given).search("Practitioner", [])
    assert (reply.kind, reply.detail, reply.resources) == (ReplyKind.PERMANENT, "unsound-json", ())
