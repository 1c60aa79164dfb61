"""What a server that others wrote makes of the less usual: odd staff keys, many roles, somebody faster, rich resources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stream import npi
from tests.bridges import Bridge, Feed, running_bridge
from tests.hapi.observer import NPI, Observer, content, values
from tests.hapi.proxy import Answer, Asked, Proxy
from tests.hapi.roster import BLOCK
from tests.journey import KEY_SYSTEM, ask, mfn, person

NAME = "Pemberly^Thea"
HERS = [{"use": "official", "family": "Pemberly", "given": ["Thea"]}]
ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}


@pytest.fixture(scope="module", params=["get", "post"])
def search_method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bridge(proxy: Proxy, search_method: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    to = {"timeout": "10s", "search_method": search_method}
    folder: Path = tmp_path_factory.mktemp("bridge")
    with running_bridge(folder, proxy.base_url, feeds=[Feed("staff", KEY_SYSTEM)], to=to) as running:
        yield running


@pytest.fixture
def number(block: int) -> str:
    """An NPI of this test alone."""
    return npi(block * BLOCK)


def send(bridge: Bridge, *records: str) -> None:
    sent = sum(bridge.counts()["messages"].values())
    assert ask(bridge, mfn(f"peculiar-{sent}", *records)).code == "AA"
    bridge.wait_delivered()
    assert bridge.held() == 0


@pytest.mark.parametrize(
    "odd", ["A,B", "A$B", "A|B", "A\\B", "A&B", "A+B", "A%2CB", "A B", "A=B", "A#B?", "Ä 王", "a\\,b", '"A"', "A;B"]
)
def test_a_staff_key_is_searched_for_as_it_is(bridge: Bridge, observer: Observer, number: str, odd: str) -> None:
    """By the search and by If-None-Exist; somebody with one half of it as key is somebody else."""
    key = f"{number}{odd}"
    half = {
        "resourceType": "Practitioner",
        "identifier": [{"system": KEY_SYSTEM, "value": number + odd[0]}],
        "name": HERS,
    }
    observer.post(half)
    escaped = "".join(ESCAPES.get(letter, letter) for letter in key)
    send(bridge, person("MAD", escaped, NAME, npi=number))
    (found,) = observer.with_npi([number])
    assert values(found, "identifier") == {key, number}
    send(bridge, person("MUP", escaped, f"{NAME}^Odile"))  # without the NPI: known by the key alone
    (found,) = observer.with_npi([number])
    assert found["name"][0]["given"] == ["Thea", "Odile"]


def test_whoever_is_created_meanwhile_is_not_created_again(
    bridge: Bridge, proxy: Proxy, observer: Observer, number: str
) -> None:
    """Between our search, which found nobody, and our create: If-None-Exist finds the person, and their content stays."""
    theirs = {
        "resourceType": "Practitioner",
        "identifier": [{"system": NPI, "value": number}],
        "name": HERS,
        "telecom": [{"system": "phone", "value": "555 7777"}],
    }

    def after(asked: Asked, answer: Answer) -> Answer:
        if asked.resource_type == "Practitioner" and answer.status == 200 and not observer.with_npi([number]):
            observer.post(theirs)
        return answer

    place = len(proxy.passed)
    with proxy.interfering(after=after):
        send(bridge, person("MAD", f"M{number}", NAME, phone="5550161", npi=number))
    created = [p.status for p in proxy.since(place) if p.asked.line == "POST /Practitioner"]
    assert created == [200]
    (found,) = observer.with_npi([number])
    assert values(found, "telecom") == {"555 7777", "5550161"}
    assert values(found, "identifier") == {number, f"M{number}"}


def test_a_role_beyond_the_first_page_is_found(bridge: Bridge, proxy: Proxy, observer: Observer, number: str) -> None:
    """HAPI gives at most fifty at once, and a next link of its own make."""
    key = f"T{number}"
    send(bridge, person("MAD", key, NAME, unit="CARD^Cardiology", npi=number))
    (found,) = observer.with_npi([number])
    theirs = {"reference": f"Practitioner/{found['id']}"}
    for ward in range(60):
        unit = {"display": f"Ward {ward}"}
        observer.post(
            {"resourceType": "PractitionerRole", "active": True, "practitioner": theirs, "organization": unit}
        )
    place = len(proxy.passed)
    # A unit where somebody else made the role already: it is that role, and no second one.
    send(bridge, person("MUP", key, NAME, unit="^Ward 59", npi=number))
    assert len(observer.roles_of([found])) == 61
    states = {role["organization"]["display"]: role["active"] for role in observer.roles_of([found])}
    assert states["Cardiology"] is False
    assert states["Ward 59"] is True
    assert sum("_getpages" in passed.asked.target for passed in bridge.of_deliveries(proxy.since(place))) == 1


def test_everything_else_on_the_resource_survives(bridge: Bridge, observer: Observer, number: str) -> None:
    key = f"E{number}"
    send(bridge, person("MAD", key, NAME, phone="5550162", npi=number))
    (before,) = observer.with_npi([number])
    extra: dict[str, Any] = {
        "language": "en",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Thea <b>P.</b></div>'},
        "contained": [{"resourceType": "Organization", "id": "school", "name": "Inside"}],
        "photo": [{"contentType": "image/png", "title": "portrait", "data": "AAEC"}],
        "birthDate": "1975-03-01",
        "qualification": [{"code": {"text": "Sailing licence"}, "issuer": {"reference": "#school"}}],
    }
    edited = {**before, **extra, "meta": {"tag": [{"system": "urn:example:list", "code": "checked"}]}}
    text = json.dumps(edited)[:-1] + (
        ', "extension": [{"url": "https://elsewhere.example/fte", "valueDecimal": 1.10}],'
        ' "_gender": {"extension": [{"url": "https://elsewhere.example/said", "valueBoolean": true}]}}'
    )
    response = observer.http.put(
        f"{observer.base_url}/Practitioner/{before['id']}",
        content=text.encode(),
        headers={"Content-Type": "application/fhir+json"},
    )
    assert response.is_success, response.text
    send(bridge, person("MUP", key, f"{NAME}^Odile", phone="5550163", npi=number))
    *_, old, new = observer.history("Practitioner", before["id"])
    assert new["name"][0]["given"] == ["Thea", "Odile"]
    assert values(new, "telecom") == {"5550163"}
    ours = ("name", "telecom")
    assert {k: v for k, v in content(new).items() if k not in ours} == {
        k: v for k, v in content(old).items() if k not in ours
    }
    assert new["meta"]["tag"] == old["meta"]["tag"] != []
    raw = observer.send("GET", f"/Practitioner/{before['id']}").text
    read = json.loads(raw, parse_float=Decimal)
    assert str(read["extension"][0]["valueDecimal"]) == "1.10"
    assert read["_gender"]["extension"][0]["valueBoolean"] is True
