"""How many requests a person costs, counted in front of a server that others wrote (facts: deliver.py's first lines)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.stream import npi
from tests.bridges import Bridge, Feed, running_bridge
from tests.hapi.observer import Observer
from tests.hapi.proxy import Proxy, proxy_to
from tests.hapi.roster import BLOCK
from tests.journey import KEY_SYSTEM, ask, mfn, person

UNITS = ("NEPH^Nephrology", "CARD^Cardiology")


@pytest.fixture(scope="module", params=[True, False], ids=["conditional create", "plain create"])
def conditional(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def bridge(proxy: Proxy, conditional: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    to = {"conditional_create": conditional, "timeout": "10s"}
    folder: Path = tmp_path_factory.mktemp("bridge")
    with running_bridge(folder, proxy.base_url, feeds=[Feed("staff", KEY_SYSTEM)], to=to) as running:
        yield running


Cost = Callable[[str], list[str]]


@pytest.fixture
def cost(bridge: Bridge, proxy: Proxy, block: int) -> Cost:
    """What delivering one record asked of the server: "GET Practitioner" a read, "GET Practitioner?" a search."""
    sent = 0

    def of(record: str) -> list[str]:
        nonlocal sent
        sent, place = sent + 1, len(proxy.passed)
        assert ask(bridge, mfn(f"cost-{block}-{sent}", record)).code == "AA"
        bridge.wait_delivered()
        assert bridge.held() == 0
        asked = [passed.asked for passed in bridge.of_deliveries(proxy.since(place))]
        return [f"{a.method} {a.resource_type}{'?' if '?' in a.target else ''}" for a in asked]

    return of


def test_a_practitioner_alone(cost: Cost, conditional: bool, block: int) -> None:
    key, number = f"P{block}", npi(block * BLOCK)

    def record(action: str, name: str = "Halloway^Runa", flag: str = "A") -> str:
        return person(action, key, name, flag=flag, npi=number)

    look_again = [] if conditional else ["GET Practitioner?"]  # nothing but the bridge keeps two creates apart
    new = cost(record("MAD"))
    assert new == ["GET Practitioner?", "POST Practitioner", *look_again]
    unchanged = cost(record("MUP"))
    assert unchanged == ["GET Practitioner"]
    changed = cost(record("MUP", "Halloway^Runa^Maria"))
    assert changed == ["GET Practitioner", "PUT Practitioner"]
    deactivated = cost(record("MDC", flag="I"))
    assert deactivated == ["GET Practitioner", "PUT Practitioner", "GET Practitioner"]
    deactivated_again = cost(record("MDC", flag="I"))
    assert deactivated_again == ["GET Practitioner"]
    reactivated = cost(record("MAC"))
    assert reactivated == ["GET Practitioner", "PUT Practitioner"]


@pytest.mark.parametrize("count", [1, 2])
def test_roles_cost_one_search_and_one_write_each(cost: Cost, block: int, count: int) -> None:
    key, number = f"Q{block}", npi(block * BLOCK)

    def record(action: str, phone: str, flag: str = "A") -> str:
        lines = person(action, key, "Halloway^Runa", phone=phone, flag=flag, npi=number)
        units = [f"ORG|{n}|{unit}|D^Department^HL70474|Y" for n, unit in enumerate(UNITS[:count], 1)]
        return "\n".join([lines, *(units if action != "MDC" else [])])

    def roles(asked: list[str]) -> list[str]:
        assert sum(name.split()[1].rstrip("?") == "Practitioner" for name in asked) <= 3
        return [name for name in asked if "PractitionerRole" in name]

    assert roles(cost(record("MAD", "5550141"))) == ["POST PractitionerRole"] * count
    assert roles(cost(record("MUP", "5550141"))) == ["GET PractitionerRole?"]
    assert roles(cost(record("MUP", "5550142"))) == ["GET PractitionerRole?", *["PUT PractitionerRole"] * count]
    assert roles(cost(record("MDC", "", flag="I"))) == ["GET PractitionerRole?", *["PUT PractitionerRole"] * count]
    assert roles(cost(record("MDC", "", flag="I"))) == []


def test_report_mode_sends_no_write(server_url: str, observer: Observer, block: int, tmp_path: Path) -> None:
    numbers = [npi(block * BLOCK + place) for place in range(5)]
    records = [person("MAD", f"V{number}", "Halloway^Runa", unit=UNITS[0], npi=number) for number in numbers]
    feeds = [Feed("staff", KEY_SYSTEM)]
    with (
        proxy_to(server_url) as proxy,
        running_bridge(tmp_path, proxy.base_url, feeds=feeds, to={"mode": "report"}) as bridge,
    ):
        assert ask(bridge, mfn(f"report-{block}", *records)).code == "AA"
        bridge.wait_delivered()
        assert bridge.counts()["deliveries"]["fhir"] == {"reported": len(records)}
        assert {passed.asked.line.partition("?")[0] for passed in proxy.since(0)} == {"GET /Practitioner"}
    assert observer.with_npi(numbers) == []
