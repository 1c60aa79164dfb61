"""The table of answers to an update, row by row, and to the requests around it: what each means for the delivery.

Creates stand in test_deliver_faults.py; what a status or an issue code means by itself, in test_replies.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.model import Outcome, Result
from tests.destinations.fhir.people import ADA, GOOD_NPI, KEYS, LEAVES, Bridge, kinds, name, phone
from tests.destinations.fhir.server import Answer, Asked, FakeFhir, LostReply, fhir, once, problem

MOVED = replace(ADA, practitioner=(name(), phone("555-2")))
DONE = Result.UPDATED

UPDATES = {
    "400": (problem(400, "invalid"), Result.HELD, "server-refused", "refused-change"),
    "422": (problem(422, "business-rule"), Result.HELD, "server-refused", "refused-change"),
    "401": (problem(401, "expired"), Result.PAUSED, "unauthorized", ""),
    "403": (problem(403, "forbidden"), Result.HELD, "forbidden", "write-by-hand"),
    "404": (problem(404, "not-found"), DONE, "", ""),
    "405": (problem(405, "not-supported"), Result.HELD, "not-offered", "write-by-hand"),
    "501": (problem(501, "not-supported"), Result.HELD, "not-offered", "write-by-hand"),
    "408": (problem(408), Result.RETRY, "server-error", ""),
    "409": (problem(409, "conflict"), DONE, "", ""),
    "412": (problem(412, "conflict"), DONE, "", ""),
    "425": (problem(425), Result.RETRY, "server-error", ""),
    "428": (problem(428), DONE, "", ""),
    "429": (problem(429, "throttled", retry_after="9"), Result.RETRY, "server-busy", ""),
    "500": (problem(500, "exception"), Result.RETRY, "server-error", ""),
    "502": (Answer(502, {"content-type": "text/html"}, b"<html>Bad gateway</html>"), Result.RETRY, "server-error", ""),
    "503": (problem(503, retry_after="9"), Result.RETRY, "server-busy", ""),
    "504": (problem(504, "timeout"), Result.RETRY, "server-error", ""),
    "301": (Answer(301, {"location": "https://evil.example/"}), Result.HELD, "redirected", "identity-review"),
    "307": (Answer(307, {"location": "/r4/Patient/1"}), Result.HELD, "redirected", "identity-review"),
    "302 without an address": (Answer(302), Result.HELD, "redirected", "identity-review"),
    "200, an error": (problem(200, "business-rule"), Result.HELD, "error-in-success", "refused-change"),
    "200, an error in passing": (problem(200, "lock-error"), Result.RETRY, "error-in-success", ""),
    "200, a conflict as an error": (problem(200, "conflict"), DONE, "", ""),
    "no answer": (LostReply, Result.UNKNOWN, "reply-lost", ""),
}


@pytest.mark.parametrize("row", UPDATES)
def test_an_update_that_was_not_done(bridge: Bridge, server: FakeFhir, row: str) -> None:
    answer, result, local, task = UPDATES[row]
    bridge.deliver(ADA)
    server.faults.append(once(answer, when="PUT"))
    bridge.asked()
    outcome = bridge.deliver(MOVED)
    assert (outcome.result, outcome.local, kinds(outcome)) == (result, local, [task] if task else [])
    assert (outcome.written == ()) == (result is not DONE)
    asked = [one.split()[0] for one in bridge.asked()]
    assert asked == (["GET", "PUT", "GET", "PUT"] if result is DONE else ["GET", "PUT"])
    assert outcome.retry_after == (9.0 if local == "server-busy" else 0.0)
    if result in (Result.RETRY, Result.UNKNOWN, Result.PAUSED):
        assert bridge.deliver(MOVED).result is DONE
    if result is not Result.HELD:
        assert [one["value"] for one in server.only("Practitioner")["telecom"]] == ["555-2"]
    told = outcome.text + str(outcome.tasks)
    assert "CANARY" not in told


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(204, None, id="204"),
        pytest.param(200, None, id="200 without a body"),
        pytest.param(200, problem(200, "informational", "information").body, id="200 with an information"),
        pytest.param(200, problem(200, "processing", "warning").body, id="200 with a warning"),
    ],
)
def test_an_update_that_was_done_without_saying_what(
    bridge: Bridge, server: FakeFhir, status: int, body: bytes | None
) -> None:
    """Prefer is a wish (http.html, "Managing Return Content"): what did not come back is read."""
    bridge.deliver(ADA)

    def terse(asked: Asked, answer: Answer) -> Answer:
        headers = {"content-type": "application/fhir+json"} if body else {}
        return answer if asked.method == "GET" else Answer(status, headers, body or b"")

    server.after = terse
    bridge.asked()
    assert bridge.deliver(MOVED).result is DONE
    assert [one.split()[0] for one in bridge.asked()] == ["GET", "PUT", "GET"]


def test_an_update_of_what_was_deleted_meanwhile_is_held_and_makes_nothing_anew(
    bridge: Bridge, server: FakeFhir
) -> None:
    bridge.deliver(ADA)
    person_id = bridge.crosswalk["hr", "S100"]

    def deleted(asked: Asked) -> Answer | None:
        if asked.method == "PUT":
            server.delete("Practitioner", person_id)
            return problem(410, "deleted")
        return None

    server.faults.append(deleted)
    outcome = bridge.deliver(MOVED)
    assert (outcome.result, outcome.local) == (Result.HELD, "deleted-at-server")
    assert server.all("Practitioner") == []
    assert bridge.crosswalk["hr", "S100"] == person_id


READS = {
    "401": (problem(401), Result.PAUSED, "unauthorized"),
    "403": (problem(403), Result.HELD, "forbidden"),
    "429": (problem(429), Result.RETRY, "server-busy"),
    "500": (problem(500), Result.RETRY, "server-error"),
    "no answer": (LostReply, Result.RETRY, "timeout"),
    "no FHIR": (Answer(200, {"content-type": "text/html"}, b"<html>Sign in</html>"), Result.RETRY, "not-fhir"),
    "301": (Answer(301, {"location": "https://evil.example/"}), Result.HELD, "redirected"),
}


@pytest.mark.parametrize("row", READS)
@pytest.mark.parametrize("known", [True, False], ids=["read", "search"])
def test_nothing_is_written_where_nothing_could_be_read(
    bridge: Bridge, server: FakeFhir, row: str, known: bool
) -> None:
    answer, result, local = READS[row]
    if known:
        bridge.deliver(ADA)
    server.journal.clear()
    server.faults.append(once(answer, when="GET"))
    outcome = bridge.deliver(MOVED)
    assert (outcome.result, outcome.local, server.writes()) == (result, local, [])
    assert len(outcome.exchanges) == 1


def test_a_lost_create_that_left_two_is_for_a_person(bridge: Bridge, server: FakeFhir) -> None:
    server.faults.append(once(LostReply, when="POST"))
    assert bridge.deliver(ADA).result is Result.UNKNOWN
    for system, number in ((KEYS, "S100"), ("http://hl7.org/fhir/sid/us-npi", GOOD_NPI)):
        server.put({"resourceType": "Practitioner", "identifier": [{"system": system, "value": number}]})
    writes = len(server.writes())
    held = bridge.deliver(ADA)
    assert (held.result, held.local, len(held.candidates)) == (Result.HELD, "several-people", 2)
    assert len(server.writes()) == writes


def test_a_deactivation_that_another_ends_first_is_one_change(bridge: Bridge, server: FakeFhir) -> None:
    """409 because somebody else has made the person inactive: nothing is left to write."""
    bridge.deliver(ADA)

    def first(asked: Asked) -> Answer | None:
        if asked.method == "PUT":
            server.put({**server.only("Practitioner"), "active": False})
            server.faults.clear()
            return problem(409, "conflict")
        return None

    server.faults.append(first)
    outcome: Outcome = bridge.deliver(LEAVES)
    assert outcome.result is Result.UNCHANGED
    assert kinds(outcome) == ["leaver-access"]
    assert len(server.writes()) == 2


def test_an_answer_about_somebody_else_is_not_believed(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    other = {"resourceType": "Practitioner", "id": "other", "telecom": [phone("555-2").value]}
    server.faults.append(once(fhir(other), when="PUT"))
    outcome = bridge.deliver(MOVED)
    assert (outcome.result, outcome.local) == (Result.HELD, "not-verified")
    assert [one["value"] for one in server.only("Practitioner")["telecom"]] == ["555-1"]
