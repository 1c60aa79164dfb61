"""The fault matrix: each request of a person's life at the server, spoiled in each way, once.

Whatever is lost, refused in passing or done without an answer, tried again it must end as if nothing had happened: the same
people and roles, each once, with the same content, and nothing that was taken back on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hl7bridge.model import Action, JsonObject, Result
from tests.destinations.fhir.people import ADA, LEAVES, Bridge, change, name, phone, rules, unit
from tests.destinations.fhir.server import Answer, Asked, FakeFhir, LostReply, problem

LIFE = (
    replace(ADA, roles=(unit("ICU"),)),
    replace(ADA, practitioner=(name(), phone("555-2")), roles=(unit("ER"),)),
    LEAVES,
    change(Action.REACTIVATE),
)
PASSING = (Result.RETRY, Result.UNKNOWN, Result.PAUSED)
ATTEMPTS = 12
Spoil = Callable[[FakeFhir, Asked], Answer | None]


def lost(server: FakeFhir, asked: Asked) -> Answer | None:
    """It never arrives."""
    raise LostReply


def lost_answer(server: FakeFhir, asked: Asked) -> Answer | None:
    """It is done, and nobody hears."""
    server._answer(asked)
    raise LostReply


def done_and_failed(server: FakeFhir, asked: Asked) -> Answer | None:
    """It is done, and a gateway says that it failed."""
    server._answer(asked)
    return Answer(504, {"content-type": "text/html"}, b"<html>Gateway timeout</html>")


def without_body(server: FakeFhir, asked: Asked) -> Answer | None:
    """It is done, and the answer is empty; a read is cut off."""
    answer = server._answer(asked)
    return Answer(answer.status, {} if asked.method == "GET" else answer.headers)


def edited(server: FakeFhir, asked: Asked) -> Answer | None:
    """Somebody else writes the resource a moment before we do."""
    resource_type, _, resource_id = asked.path.removeprefix("/r4/").partition("/")
    if asked.method == "PUT":
        server.put({**server.get(resource_type, resource_id), "language": "en"})
    return None


def answered(answer: Answer) -> Spoil:
    return lambda server, asked: answer


FAULTS: dict[str, Spoil] = {
    "lost": lost,
    "done, no answer": lost_answer,
    "done, 504": done_and_failed,
    "done, no body": without_body,
    "edited meanwhile": edited,
    "408": answered(problem(408)),
    "409": answered(problem(409, "conflict")),
    "425": answered(problem(425)),
    "429": answered(problem(429, "throttled", retry_after="1")),
    "500": answered(problem(500, "exception")),
    "502": answered(Answer(502, {"content-type": "text/html"}, b"<html>Bad gateway</html>")),
    "503": answered(problem(503, "transient")),
    "a login page": answered(Answer(200, {"content-type": "text/html"}, b"<html>Please sign in</html>")),
    "half a body": answered(Answer(200, {"content-type": "application/fhir+json"}, b'{"resourceType": "Practiti')),
}
ON_READS = ("a login page", "half a body")  # a write that is answered so and shows no effect waits for a person


def live(conditional: bool, fault: str = "", place: int = 0) -> FakeFhir:
    """The life; each step is delivered until it is settled, as the delivery role does. The request at that place (from 1;
    of reads, where the fault is one of reads) is spoiled."""
    server = FakeFhir()
    bridge = Bridge(server, rules(conditional_create=conditional))
    left_to_pass = place

    def strike(asked: Asked) -> Answer | None:
        nonlocal left_to_pass
        left_to_pass -= asked.method == "GET" or fault not in ON_READS
        if left_to_pass or not place or (fault in ON_READS and asked.method != "GET"):
            return None
        left_to_pass = -1
        return FAULTS[fault](server, asked)

    server.faults.append(strike)
    for step in LIFE:
        for _ in range(ATTEMPTS):
            outcome = bridge.deliver(step)
            if outcome.result not in PASSING:
                break
        assert outcome.result not in (Result.HELD, *PASSING), (step.action, outcome.local, outcome.text)
    assert left_to_pass < 0
    return server


def left(server: FakeFhir) -> list[JsonObject]:
    """Who and what is there, whatever ids and versions it has."""
    found = []
    for resource_type in ("Practitioner", "PractitionerRole"):
        for resource in server.all(resource_type):
            aside = ("id", "meta", "practitioner", "language")
            found.append({key: value for key, value in resource.items() if key not in aside})
    return sorted(found, key=str)


@pytest.mark.parametrize("conditional", [True, False], ids=["conditional create", "plain create"])
@pytest.mark.parametrize("fault", FAULTS)
def test_it_ends_as_if_nothing_had_happened(fault: str, conditional: bool) -> None:
    undisturbed = live(conditional)
    assert (len(undisturbed.all("Practitioner")), len(undisturbed.all("PractitionerRole"))) == (1, 2)
    asked = [line for line in undisturbed.methods() if line.startswith("GET") or fault not in ON_READS]
    assert len(asked) > 5
    for place, line in enumerate(asked, 1):
        assert left(live(conditional, fault, place)) == left(undisturbed), (place, line)
