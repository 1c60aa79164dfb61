"""The three-way merge of one element, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.destinations.fhir.identity.systems import NPI
from hl7bridge.destinations.fhir.merging.merge import (
    Merged,
    Sides,
    covers,
    deduplicated,
    merge_list,
    merge_single,
    rebase,
)
from hl7bridge.model import Number
from tests.destinations.fhir.people import value

WORK = {"system": "phone", "value": "555-1", "use": "work"}
WORK_2 = {"system": "phone", "value": "555-2", "use": "work"}
CELL = {"system": "phone", "value": "555-9", "use": "mobile"}
DECORATED = {**WORK, "rank": 2, "extension": [{"url": "http://example.org/x", "valueDecimal": Number("1.10")}]}
ANN = {"use": "official", "family": "Okonkwo", "given": ["Ann"]}
SPANISH = {"coding": [{"system": "urn:ietf:bcp:47", "code": "es", "display": "Spanish"}], "text": "Spanish"}
NPI_ID = {"system": NPI, "value": "1234567893"}
NPI_BY_OID = {"system": "urn:oid:2.16.840.1.113883.4.6", "value": " 1234567893 ", "use": "official"}


def merged(
    element: str,
    server: Any,
    desired: list[Any],
    base: list[Any] | None = None,
    *,
    single: bool = False,
    retained: bool = False,
    **more: Any,
) -> Merged:
    sides = Sides(
        server,
        tuple(value(element, one, "STF-10") for one in desired),
        tuple(value(element, one, "STF-10") for one in base or []),
        retained=lambda _: retained,
        **more,
    )
    return merge_single(element, sides) if single else merge_list(element, sides)


@pytest.mark.parametrize(
    ("element", "server", "desired", "base", "after"),
    [
        pytest.param("telecom", None, [WORK], [], [WORK], id="first contact adds"),
        pytest.param("telecom", [CELL], [WORK], [], [CELL, WORK], id="what others have stays, ours is appended"),
        pytest.param(
            "telecom", [DECORATED, CELL], [WORK], [], [DECORATED, CELL], id="an equal value is adopted as it is"
        ),
        pytest.param("telecom", [WORK], [], [], [WORK], id="without a base nothing is removed"),
        pytest.param("telecom", [WORK, CELL], [], [WORK], [CELL], id="what we wrote and is not listed any more goes"),
        pytest.param("telecom", [WORK], [], [WORK], None, id="an empty list is no element"),
        pytest.param("telecom", [CELL, WORK], [WORK_2], [WORK], [CELL, WORK_2], id="a successor takes the place"),
        pytest.param(
            "telecom",
            [DECORATED],
            [WORK_2],
            [WORK],
            [{**DECORATED, "value": "555-2"}],
            id="a successor keeps what others added to the place",
        ),
        pytest.param(
            "telecom", [WORK, WORK_2], [WORK], [WORK], [WORK, WORK_2], id="a second work phone of others stays"
        ),
        pytest.param(
            "telecom", [WORK_2, CELL], [WORK], [WORK], [WORK, CELL], id="drift: ours comes back into its place"
        ),
        pytest.param("telecom", [CELL], [WORK], [WORK], [CELL, WORK], id="drift: ours was removed, it comes back"),
        pytest.param(
            "telecom",
            [{"value": "555-1", "system": "phone"}],
            [WORK],
            [],
            [WORK],
            id="a poorer form of the value is completed",
        ),
        pytest.param(
            "name",
            [{**ANN, "text": "Ann Okonkwo"}],
            [{**ANN, "given": ["Bea"]}],
            [ANN],
            [{**ANN, "given": ["Bea"]}],
            id="a text that spells out the old name goes",
        ),
        pytest.param(
            "name",
            [{**ANN, "prefix": ["Dr."]}],
            [{**ANN, "suffix": ["MD"]}],
            [],
            [{**ANN, "prefix": ["Dr."], "suffix": ["MD"]}],
            id="names that agree become one",
        ),
        pytest.param(
            "name",
            [ANN],
            [{**ANN, "given": ["Bea"]}],
            [],
            [ANN, {**ANN, "given": ["Bea"]}],
            id="names that disagree stand side by side without a base",
        ),
        pytest.param(
            "communication",
            [{"coding": [{"system": "urn:ietf:bcp:47", "code": "es"}]}],
            [SPANISH],
            [],
            [{"coding": [{"system": "urn:ietf:bcp:47", "code": "es"}]}],
            id="a code is the same without our words",
        ),
        pytest.param(
            "communication", [{"text": "Spanish"}], [SPANISH], [], [SPANISH], id="a text is completed by its code"
        ),
        pytest.param(
            "identifier",
            [NPI_BY_OID],
            [NPI_ID],
            [],
            [NPI_BY_OID],
            id="an identifier by another name of its system, padded",
        ),
        pytest.param(
            "identifier",
            [{**NPI_ID, "assigner": {"display": "CMS"}}],
            [{**NPI_ID, "value": "1245319599"}],
            [NPI_ID],
            [{**NPI_ID, "value": "1245319599"}],
            id="another number is another identifier",
        ),
        pytest.param(
            "telecom",
            [{**WORK, "rank": 1}, CELL],
            [WORK, {**CELL, "rank": 1}],
            [{**WORK, "rank": 1}, CELL],
            [WORK, {**CELL, "rank": 1}],
            id="the preferred one changes",
        ),
    ],
)
def test_lists(element: str, server: Any, desired: list[Any], base: list[Any], after: Any) -> None:
    result = merged(element, server, desired, base)
    assert result.value == after
    assert [one.value for one in result.base] == desired
    again = merged(element, after, desired, desired)
    assert (again.differences, again.drift) == ((), ())
    assert again.value == after


def test_what_a_field_that_is_not_supplied_gave_stays() -> None:
    result = merged("telecom", [WORK], [], [WORK], retained=True)
    assert (result.value, result.differences) == ([WORK], ())
    assert [one.value for one in result.base] == [WORK]


def test_what_another_feed_wrote_too_is_neither_removed_nor_changed() -> None:
    removed = merged("telecom", [DECORATED], [], [WORK], others=(WORK,))
    assert (removed.value, removed.base) == ([DECORATED], ())
    changed = merged("telecom", [WORK], [WORK_2], [WORK], others=(WORK,))
    assert changed.value == [WORK, WORK_2]


def test_another_feeds_value_is_no_drift_of_ours() -> None:
    result = merged("telecom", [WORK_2], [WORK], [WORK], others=(WORK_2,))
    assert result.value == [WORK_2, WORK]


def test_drift_is_reported_and_overwritten_or_kept() -> None:
    overwritten = merged("telecom", [WORK_2], [WORK], [WORK])
    assert [(d.path, d.before, d.after) for d in overwritten.drift] == [("telecom[0]", WORK_2, WORK)]
    assert overwritten.value == [WORK]
    kept = merged("telecom", [WORK_2], [WORK], [WORK], keep_drift=True)
    assert (kept.value, kept.differences) == ([WORK_2], ())
    assert kept.drift == overwritten.drift
    removed = merged("telecom", [], [WORK], [WORK], keep_drift=True)
    assert (removed.value, len(removed.drift)) == (None, 1)


def test_two_strangers_of_one_kind_are_nobodys_drift() -> None:
    third = {**WORK, "value": "555-3"}
    result = merged("telecom", [WORK_2, third], [WORK], [WORK])
    assert result.value == [WORK_2, third, WORK]


def test_a_feed_that_ranks_behind_gives_way_within_the_same_kind() -> None:
    result = merged("telecom", [WORK, CELL], [WORK_2], [], yielding=(WORK, CELL))
    assert result.value == [WORK_2, CELL]


@pytest.mark.parametrize(
    ("server", "desired", "base", "others", "after", "drifts"),
    [
        pytest.param(None, "female", None, (), "female", False, id="added"),
        pytest.param("female", "female", None, (), "female", False, id="adopted"),
        pytest.param("male", "female", None, (), "female", False, id="the message's word on first contact"),
        pytest.param("female", None, "female", (), None, False, id="cleared"),
        pytest.param("male", None, "female", (), "male", False, id="not ours any more: left"),
        pytest.param("female", None, "female", ("female",), "female", False, id="another feed's, too"),
        pytest.param("male", "female", "female", (), "female", True, id="changed at the server"),
        pytest.param(None, "female", "female", (), "female", True, id="removed at the server"),
        pytest.param(
            "male", "female", "female", ("male",), "male", False, id="the other feed spoke last, and we repeat"
        ),
        pytest.param("male", "female", "other", ("male",), "female", False, id="the other feed spoke, now we do"),
    ],
)
def test_single_values(server: Any, desired: Any, base: Any, others: Any, after: Any, drifts: bool) -> None:
    result = merged("gender", server, [desired] if desired else [], [base] if base else [], single=True, others=others)
    assert result.value == after
    assert bool(result.drift) == drifts
    assert bool(result.differences) == (server != after)
    kept = merged(
        "gender",
        server,
        [desired] if desired else [],
        [base] if base else [],
        single=True,
        others=others,
        keep_drift=True,
    )
    assert kept.value == (server if drifts else after)


@pytest.mark.parametrize(
    ("server", "desired", "base", "after"),
    [
        ({"start": "2020", "end": "2030"}, {"start": "2021"}, {"start": "2020"}, {"start": "2021", "end": "2030"}),
        ({"start": "2020", "end": "2030"}, {"start": "2020"}, {"start": "2020", "end": "2030"}, {"start": "2020"}),
        ({"start": "2020", "end": "2030"}, None, {"start": "2020"}, {"end": "2030"}),
    ],
)
def test_a_period_is_merged_by_its_bounds(server: Any, desired: Any, base: Any, after: Any) -> None:
    assert merged("period", server, [desired] if desired else [], [base], single=True).value == after


def test_a_period_keeps_the_bound_of_a_field_that_is_not_supplied() -> None:
    result = merged("period", {"start": "2020"}, [{"end": "2030"}], [{"start": "2020"}], single=True, retained=True)
    assert result.value == {"start": "2020", "end": "2030"}


def test_a_resolved_reference_is_still_the_one_that_we_named() -> None:
    named = {"identifier": {"system": "urn:x", "value": "ICU"}, "display": "ICU"}
    resolved = {**named, "reference": "Organization/7", "display": "Intensive care"}
    assert merged("organization", resolved, [named], [named], single=True).differences == ()
    moved = {"identifier": {"system": "urn:x", "value": "ER"}, "display": "ER"}
    assert merged("organization", resolved, [moved], [named], single=True).value == moved
    renamed = {**named, "display": "Critical care"}
    after = merged("organization", {**named, "reference": "Organization/7"}, [renamed], [named], single=True).value
    assert after == {**renamed, "reference": "Organization/7"}


@pytest.mark.parametrize(
    ("item", "wanted", "expected"),
    [
        ({"a": " x "}, {"a": "x"}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"b": 1}, {"c": 2}]}, {"a": [{"c": 2}]}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": Number("1.10")}, {"a": Number("1.1")}, True),
        ({}, {"a": None}, False),
        ("x", {"a": 1}, False),
        ({"a": "x"}, {"a": ["x"]}, False),
    ],
)
def test_covers(item: Any, wanted: Any, expected: bool) -> None:
    assert covers(item, wanted) is expected


def test_rebase_touches_only_what_both_sides_name() -> None:
    item = {"use": "official", "family": "A", "given": ["B"], "_family": {"id": "x"}, "period": {"start": "2000"}}
    wanted = {"use": "official", "family": "C"}
    after = rebase("name", item, {"use": "official", "family": "A", "given": ["B"]}, wanted)
    assert after == {"use": "official", "family": "C", "_family": {"id": "x"}, "period": {"start": "2000"}}


def test_values_that_say_the_same_are_sent_once() -> None:
    poor, rich = {"system": "phone", "value": "555-1"}, WORK
    assert [
        one.value for one in deduplicated("telecom", [value("telecom", poor, "a"), value("telecom", rich, "b")])
    ] == [rich]
    first = {"system": NPI, "value": "1234567893"}
    second = {**first, "type": {"text": "NPI"}}
    third = {**first, "system": "urn:oid:2.16.840.1.113883.4.6"}
    kept = deduplicated("identifier", [value("identifier", one, "c") for one in (first, second, third)])
    assert [one.value for one in kept] == [second]
