"""A merge of very many values: the same as of few, value by value, at a cost near linear in their number."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from hl7bridge.destinations.fhir.merging import alike
from hl7bridge.destinations.fhir.merging.alike import Alike
from hl7bridge.destinations.fhir.merging.merge import Merged, Sides, covers, deduplicated, merge_list
from hl7bridge.model import ElementValue, Provenance
from tests import growth

FIELD = Provenance.read("STF-10")
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"


def telecom(pick: random.Random) -> dict[str, Any]:
    value: dict[str, Any] = {
        "system": pick.choice(["phone", "email"]),
        "value": f"{pick.choice(['', ' '])}{pick.randrange(6)}",
    }
    if pick.random() < 0.5:
        value["use"] = pick.choice(["work", "home"])
    if pick.random() < 0.3:
        value["rank"] = pick.randrange(1, 3)
    return value


def identifier(pick: random.Random) -> dict[str, Any]:
    system = pick.choice(["urn:oid:2.16.840.1.113883.4.6", "http://hl7.org/fhir/sid/us-npi", "urn:oid:2.999.1"])
    value: dict[str, Any] = {"system": system, "value": str(pick.randrange(6))}
    if pick.random() < 0.5:
        value["type"] = {"coding": [{"system": V2, "code": pick.choice(["MD", "DO"])}]}
    return value


def name(pick: random.Random) -> dict[str, Any]:
    value: dict[str, Any] = {
        "family": pick.choice(["A", "B", "C"]),
        "given": pick.sample(["D", "E", "F"], pick.randrange(1, 3)),
    }
    if pick.random() < 0.5:
        value["use"] = pick.choice(["official", "usual"])
    return value


def qualification(pick: random.Random) -> dict[str, Any]:
    code: dict[str, Any] = {"text": pick.choice(["X", "Y"])}
    if pick.random() < 0.6:
        code["coding"] = [{"system": "urn:a", "code": pick.choice(["1", "2", "3"])}]
    value: dict[str, Any] = {"code": code}
    if pick.random() < 0.4:
        value["period"] = {"start": pick.choice(["2010", "2011"])}
    return value


KINDS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "telecom": telecom,
    "identifier": identifier,
    "name": name,
    "qualification": qualification,
}


def merged(element: str, seed: int) -> tuple[Merged, tuple[ElementValue, ...]]:
    pick = random.Random(seed)
    build = KINDS[element]

    def some(most: int) -> list[dict[str, Any]]:
        return [build(pick) for _ in range(pick.randrange(most))]

    base = tuple(ElementValue(element, value, FIELD) for value in some(6))
    server = [{**value, **({"id": "x"} if pick.random() < 0.2 else {})} for value in some(6)]
    server += [dict(value.value) for value in base if pick.random() < 0.6]
    desired = tuple(ElementValue(element, value, FIELD) for value in some(6))
    desired += tuple(value for value in base if pick.random() < 0.5)
    kept = {id(value) for value in base if pick.random() < 0.2}
    sides = Sides(
        server,
        desired,
        base,
        tuple(some(3)),
        tuple(some(3)),
        lambda value: id(value) in kept,
        pick.random() < 0.3,
    )
    return merge_list(element, sides), deduplicated(element, desired)


@pytest.mark.parametrize("element", KINDS)
def test_what_is_looked_up_is_what_a_comparison_of_each_with_each_finds(
    element: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(150):
        monkeypatch.setattr(alike, "FEW", 1 << 30)
        by_each = merged(element, seed)
        monkeypatch.setattr(alike, "FEW", 0)
        assert merged(element, seed) == by_each, seed


def test_nothing_that_covers_or_is_covered_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "FEW", 0)
    for seed in range(100):
        pick = random.Random(seed)
        build = KINDS[pick.choice([*KINDS])]
        values: list[Any] = [build(pick) for _ in range(8)] + [{}, {"system": "phone"}, [], None, True, "text"]
        index, wanted = Alike(values), build(pick)
        assert {at for at, one in enumerate(values) if covers(one, wanted)} <= set(index.covering(wanted))
        assert {at for at, one in enumerate(values) if covers(wanted, one)} <= set(index.covered_by(wanted))


def numbers(area: str, size: int) -> list[dict[str, Any]]:
    return [{"system": "phone", "value": f"{area} {at}", "use": "work"} for at in range(size)]


def sides(size: int, before: str, after: str) -> Sides:
    given = tuple(ElementValue("telecom", value, FIELD) for value in numbers(after, size))
    base = tuple(ElementValue("telecom", value, FIELD) for value in numbers(before, size)) if before else ()
    return Sides(numbers(before, size) if before else [], given, base)


@pytest.mark.parametrize(
    ("before", "after"), [("", "555"), ("555", "555"), ("555", "666")], ids=["first", "the same", "all others"]
)
def test_ten_times_the_values_are_ten_times_the_work(before: str, after: str) -> None:
    assert growth.growth(lambda size: lambda: merge_list("telecom", sides(size, before, after)), 40) <= growth.MOST


def test_values_that_were_all_changed_at_the_server_cost_no_more() -> None:
    def drifted(size: int) -> Callable[[], object]:
        given = sides(size, "555", "555")
        changed = Sides(numbers("777", size), given.desired, given.base)
        return lambda: merge_list("telecom", changed)

    assert growth.growth(drifted, 40) <= growth.MOST
