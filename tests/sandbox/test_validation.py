"""What is stored passed these checks. Codes and shapes are answered 400 as by HAPI; rules 422."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import STAFF, Desk, practitioner, read

PERSON = {"reference": "Practitioner/1000"}


@pytest.mark.parametrize(
    ("elements", "status", "path"),
    [
        ({"gender": "F"}, 400, "Practitioner.gender"),
        ({"gender": ["female"]}, 400, "Practitioner.gender"),
        ({"active": "true"}, 400, "Practitioner.active"),
        ({"birthDate": "19800230T"}, 400, "Practitioner.birthDate"),
        ({"birthDate": "1980-13"}, 400, "Practitioner.birthDate"),
        ({"birthDate": 1980}, 400, "Practitioner.birthDate"),
        ({"name": {"family": "Brandvold"}}, 400, "Practitioner.name"),
        ({"name": ["Brandvold"]}, 400, "Practitioner.name[0]"),
        ({"name": [{"family": ["Brandvold"]}]}, 400, "Practitioner.name[0].family"),
        ({"name": [{"given": "Runa"}]}, 400, "Practitioner.name[0].given"),
        ({"name": [{"use": "legal"}]}, 400, "Practitioner.name[0].use"),
        ({"name": []}, 400, "Practitioner.name"),
        ({"name": [{}]}, 400, "Practitioner.name[0]"),
        ({"name": [{"family": ""}]}, 400, "Practitioner.name[0].family"),
        ({"gender": None}, 400, "Practitioner.gender"),
        ({"telecom": [{"system": "fon", "value": "1"}]}, 400, "Practitioner.telecom[0].system"),
        ({"telecom": [{"system": "phone", "use": "business"}]}, 400, "Practitioner.telecom[0].use"),
        ({"address": [{"use": "office"}]}, 400, "Practitioner.address[0].use"),
        ({"address": [{"type": "snail"}]}, 400, "Practitioner.address[0].type"),
        ({"identifier": {"value": "S1"}}, 400, "Practitioner.identifier"),
        ({"identifier": [{"value": 7}]}, 400, "Practitioner.identifier[0].value"),
        ({"identifier": [{"use": "primary", "value": "7"}]}, 400, "Practitioner.identifier[0].use"),
        ({"identifier": [{"system": STAFF}]}, 422, "Practitioner.identifier[0].value"),
        ({"identifier": [{"system": "SER", "value": "7"}]}, 422, "Practitioner.identifier[0].system"),
        ({"identifier": [{"value": "7", "period": {"end": "soon"}}]}, 400, "Practitioner.identifier[0].period.end"),
        ({"nickname": "Ru"}, 422, "Practitioner.nickname"),
        ({"_name": [{"id": "x"}]}, 422, "Practitioner._name"),
        ({"_gender": "x"}, 400, "Practitioner._gender"),
        ({"period": {"start": "2026"}}, 422, "Practitioner.period"),
        (
            {"extension": [{"url": "urn:x:y", "valueDecimal": float("nan")}]},
            400,
            "Practitioner.extension[0].valueDecimal",
        ),
    ],
)
def test_a_practitioner_that_is_none(desk: Desk, elements: dict[str, Any], status: int, path: str) -> None:
    answer = desk.call("POST", "Practitioner", practitioner(**elements))
    assert (answer.status_code, read(answer)["issue"][0].get("expression")) == (status, [path])
    assert desk.sandbox.resources.counts().get("Practitioner", {}).get("resources", 0) == 0


@pytest.mark.parametrize(
    ("elements", "status"),
    [
        ({"practitioner": PERSON}, 201),
        ({"practitioner": {"identifier": {"system": STAFF, "value": "S1"}}}, 201),
        ({"practitioner": {"reference": "#p"}}, 201),
        ({"organization": {"identifier": {"value": "CARD"}, "display": "Cardiology"}}, 201),
        ({"practitioner": {"reference": "Practitioner/77"}}, 400),
        ({"practitioner": {"reference": "http://localhost/fhir/Practitioner/1000"}}, 400),
        ({"practitioner": {"reference": "Practitioner"}}, 400),
        ({"practitioner": {"reference": 1000}}, 400),
        ({"practitioner": "Practitioner/1000"}, 400),
        ({"practitioner": {"reference": "PractitionerRole/1000"}}, 422),
        ({"organization": {"reference": "Organization/1"}}, 400),
        ({"location": [{"reference": "Location/1"}]}, 400),
        ({"period": {"start": "2026-02-30T10:00"}}, 400),
        ({"period": {"start": "2026-02-02", "end": "2026-02-02T06:00:00.5+01:00"}}, 201),
        ({"gender": "female"}, 422),
        ({"notAvailable": [{"description": "leave", "during": {"start": "2026-02"}}]}, 201),
    ],
)
def test_a_role_and_what_it_refers_to(desk: Desk, elements: dict[str, Any], status: int) -> None:
    desk.create(practitioner("S1"))
    answer = desk.call("POST", "PractitionerRole", {"resourceType": "PractitionerRole", **elements})
    assert answer.status_code == status, answer.text


def test_a_full_practitioner_passes(desk: Desk) -> None:
    full = practitioner(
        "S1",
        text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Runa</div>'},
        contained=[{"resourceType": "Organization", "id": "o", "name": "Northside"}],
        active=True,
        name=[
            {
                "use": "official",
                "family": "Brandvold",
                "given": ["Runa", None],
                "_given": [None, {"id": "g"}],
                "prefix": ["Dr"],
            }
        ],
        telecom=[{"system": "phone", "use": "work", "value": "+1 555 0100001", "rank": 1, "period": {"start": "2026"}}],
        address=[{"use": "work", "type": "postal", "line": ["1 Long Street"], "city": "Northside"}],
        gender="other",
        _gender={"extension": [{"url": "urn:x:g", "valueCode": "x"}]},
        birthDate="1980-02-29",
        photo=[{"contentType": "image/png", "url": "urn:x:photo"}],
        qualification=[{"identifier": [{"value": "L-1"}], "code": {"text": "MD"}}],
        communication=[{"coding": [{"system": "urn:ietf:bcp:47", "code": "nb"}]}],
        extension=[{"url": "urn:x:e", "valueInteger": 3}],
    )
    made = desk.create(full)
    assert {name: value for name, value in made.items() if name not in ("id", "meta")} == full
