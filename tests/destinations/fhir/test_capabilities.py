"""What a server says that it can do."""

from __future__ import annotations

import pytest

from hl7bridge.destinations.fhir.wire.capabilities import Capabilities, read_capabilities
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import Reply
from hl7bridge.model import JsonObject
from tests.destinations.fhir.people import rules
from tests.destinations.fhir.server import Answer, FakeFhir, fhir, problem

STATEMENT: JsonObject = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "software": {"name": "Example FHIR"},
    "rest": [
        {"mode": "client", "resource": [{"type": "Practitioner", "interaction": [{"code": "delete"}]}]},
        {
            "mode": "server",
            "resource": [
                {
                    "type": "Practitioner",
                    "interaction": [{"code": "read"}, {"code": "create"}, "odd"],
                    "searchParam": [{"name": "identifier"}],
                    "versioning": "versioned",
                    "conditionalCreate": True,
                },
                {"type": 7},
            ],
        },
        "odd",
    ],
}


def client(answer: Answer) -> FhirClient:
    server = FakeFhir()
    server.faults.append(lambda asked: answer)
    return FhirClient(rules(), transport=server.transport())


def test_capabilities() -> None:
    found = read_capabilities(client(fhir(STATEMENT)))
    assert isinstance(found, Capabilities)
    assert (found.fhir_version, found.software) == ("4.0.1", "Example FHIR")
    person = found.of("Practitioner")
    assert [person.offers(what) for what in ("create", "read", "update", "delete")] == [True, True, False, False]
    assert (person.versioning, person.conditional_create, person.conditional_update) == ("versioned", True, False)
    assert person.search_parameters == {"identifier"}
    assert not found.of("PractitionerRole").offers("read")


@pytest.mark.parametrize(
    "answer",
    [
        problem(404),
        fhir({"resourceType": "Practitioner", "id": "p1"}),
        Answer(200, {"content-type": "text/html"}, b"x"),
    ],
)
def test_no_statement(answer: Answer) -> None:
    assert isinstance(read_capabilities(client(answer)), Reply)


@pytest.mark.parametrize("statement", [{}, {"rest": {}}, {"rest": [{"resource": "x"}], "software": []}])
def test_a_statement_of_another_shape(statement: JsonObject) -> None:
    assert Capabilities.from_statement(statement).resources == {}
