"""Search, with the parameters that the sandbox has."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.sandbox import Habits
from hl7bridge.sandbox.search import split_escaped, unescape
from tests.sandbox.conftest import NPI, STAFF, Desk, found, next_link, practitioner, read


@pytest.fixture
def staff(desk: Desk) -> Desk:
    """Three people: 1000, 1001, 1002; and roles 1003 (of 1000) and 1004 (of 1002)."""
    desk.create(
        practitioner("S1", active=True, name=[{"family": "Brandvold", "given": ["Runa", "Thea"], "prefix": ["Dr"]}])
    )
    desk.create(
        practitioner(
            active=False,
            identifier=[{"system": STAFF, "value": "S2"}, {"system": NPI, "value": "1234567893"}, {"value": "x|y,z"}],
            name=[{"family": "Tëssier-Brand", "given": ["Odile"]}, {"text": "Madame T"}],
        )
    )
    desk.create(practitioner(identifier=[{"system": NPI, "value": "S1"}], name=[{"family": "Okonjo"}]))
    for person in ("1000", "1002"):
        role = {"resourceType": "PractitionerRole", "practitioner": {"reference": f"Practitioner/{person}"}}
        desk.create(role | {"identifier": [{"system": STAFF, "value": f"r{person}"}], "active": person == "1000"})
    return desk


@pytest.mark.parametrize(
    ("pairs", "ids"),
    [
        ([], ["1000", "1001", "1002"]),
        ([("_id", "1001")], ["1001"]),
        ([("_id", "1002,1000,77")], ["1000", "1002"]),
        ([("identifier", f"{STAFF}|S1")], ["1000"]),
        ([("identifier", "S1")], ["1000", "1002"]),
        ([("identifier", "s1")], []),
        ([("identifier", f"{NPI}|")], ["1001", "1002"]),
        ([("identifier", "|S1")], []),
        ([("identifier", r"|x\|y\,z")], ["1001"]),
        ([("identifier", r"x\|y\,z")], ["1001"]),
        ([("identifier", f"{STAFF}|S1,{NPI}|1234567893,{STAFF}|none")], ["1000", "1001"]),
        ([("identifier", f"{STAFF}|S2"), ("identifier", f"{NPI}|1234567893")], ["1001"]),
        ([("identifier", f"{STAFF}|S1"), ("identifier", f"{NPI}|1234567893")], []),
        ([("identifier", "S1"), ("family", "ok")], ["1002"]),
        ([("active", "true")], ["1000"]),
        ([("active", "false")], ["1001"]),
        ([("active", "true,false")], ["1000", "1001"]),
        ([("family", "brand")], ["1000"]),
        ([("family", "tessier")], ["1001"]),
        ([("family:contains", "brand")], ["1000", "1001"]),
        ([("family:exact", "brandvold")], []),
        ([("family:exact", "Brandvold")], ["1000"]),
        ([("given", "THEA")], ["1000"]),
        ([("name", "dr")], ["1000"]),
        ([("name", "od,ok")], ["1001", "1002"]),
        ([("name", "madame")], ["1001"]),
        ([("name", "nobody")], []),
        ([("_total", "accurate"), ("_format", "json"), ("name", "ok")], ["1002"]),
    ],
)
def test_what_is_found(staff: Desk, pairs: list[tuple[str, str]], ids: list[str]) -> None:
    answer = staff.call("GET", f"Practitioner?{urlencode(pairs)}")
    assert found(answer) == ids
    assert read(answer)["total"] == len(ids)
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert found(staff.call("POST", "Practitioner/_search", urlencode(pairs), **form)) == ids


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("practitioner=Practitioner/1000", ["1003"]),
        ("practitioner=1000,1002", ["1003", "1004"]),
        ("practitioner=http://localhost/fhir/Practitioner/1002", ["1004"]),
        ("practitioner=PractitionerRole/1000", []),
        ("practitioner=Practitioner/1001", []),
        ("practitioner=1000&active=false", []),
        ("identifier=r1002", ["1004"]),
        ("active=true", ["1003"]),
    ],
)
def test_roles_are_found(staff: Desk, query: str, ids: list[str]) -> None:
    assert found(staff.call("GET", f"PractitionerRole?{query}")) == ids


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("shoe-size=44", 400),
        ("practitioner=1000", 400),
        ("family:missing=true", 400),
        ("identifier:of-type=x", 400),
        ("identifier=", 400),
        ("identifier=a,,b", 400),
        ("active=maybe", 400),
        ("_count=many", 400),
        ("_count=-1", 400),
        ("_page=unknown", 410),
    ],
)
def test_what_cannot_be_searched(staff: Desk, query: str, status: int) -> None:
    answer = staff.call("GET", f"Practitioner?{query}")
    assert (answer.status_code, read(answer)["resourceType"]) == (status, "OperationOutcome")


def test_an_unknown_parameter_can_be_ignored_with_a_warning(staff: Desk) -> None:
    for answer in (
        staff.call("GET", "Practitioner?shoe-size=44&family=ok", prefer="handling=lenient"),
        _ignoring(staff).call("GET", "Practitioner?shoe-size=44&family=ok"),
    ):
        assert found(answer) == ["1002"]
        warning = read(answer)["entry"][1]
        assert warning["search"] == {"mode": "outcome"}
        assert warning["resource"]["issue"][0]["severity"] == "warning"
        assert "shoe-size" in warning["resource"]["issue"][0]["diagnostics"]
        assert "shoe-size" not in read(answer)["link"][0]["url"]


def _ignoring(desk: Desk) -> Desk:
    desk.sandbox.habits = Habits(unknown_parameters="ignore")
    return desk


def test_by_habit_a_parameter_is_ignored_without_a_word(staff: Desk) -> None:
    staff.sandbox.habits = Habits(ignored_parameters=("identifier",))
    answer = staff.call("GET", "Practitioner?identifier=nobody")
    assert found(answer) == ["1000", "1001", "1002"]
    assert len(read(answer)["entry"]) == 3


def test_pages_are_linked_opaquely(desk: Desk) -> None:
    for number in range(120):
        desk.create(practitioner(f"S{number}"))
    every = [str(1000 + number) for number in range(120)]
    first = desk.call("GET", "Practitioner?identifier=" + quote(f"{STAFF}|"))
    assert (found(first), read(first)["total"]) == (every[:10], 120)
    assert "identifier" not in next_link(first)
    for count, size in (("", 10), ("_count=7", 7), ("_count=1000", 50)):
        answer, seen = desk.call("GET", f"Practitioner?{count}"), []
        assert len(found(answer)) == size
        while True:
            seen += found(answer)
            if not next_link(answer):
                break
            answer = desk.call("GET", next_link(answer).removeprefix("http://localhost"))
        assert seen == every
    assert found(desk.call("GET", "Practitioner?_count=0")) == []


def test_a_page_leaves_out_what_was_deleted_meanwhile(desk: Desk) -> None:
    for number in range(3):
        desk.create(practitioner(f"S{number}"))
    first = desk.call("GET", "Practitioner?_count=1")
    desk.call("DELETE", "Practitioner/1001", x_sandbox_observer="true")
    second = desk.call("GET", next_link(first).removeprefix("http://localhost"))
    assert (found(second), found(desk.call("GET", "Practitioner"))) == ([], ["1000", "1002"])


def test_opaque_ids_are_found_in_the_order_of_creation(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(habits=Habits(id_style="opaque"))
    made = []
    for number in range(12):
        desk.clock.now += 1
        made.append(desk.create(practitioner(f"S{number % 2}"))["id"])
    assert found(desk.call("GET", "Practitioner?_count=50")) == made
    assert found(desk.call("GET", "Practitioner?identifier=S1")) == made[1::2]
    assert {len(name) for name in made} == {24}


def test_the_index_follows_changes(desk: Desk) -> None:
    made = desk.create(practitioner("S1"))
    desk.call("PUT", "Practitioner/1000", made | practitioner("S2"))
    assert found(desk.call("GET", "Practitioner?identifier=S1")) == []
    assert found(desk.call("GET", "Practitioner?identifier=S2")) == ["1000"]


@given(st.lists(st.text(st.sampled_from("ab,|$\\ "), min_size=1), min_size=1, max_size=4))
def test_escaped_values_come_out_as_they_went_in(values: list[str]) -> None:
    escaped = [
        value.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|").replace("$", "\\$") for value in values
    ]
    assert [unescape(part) for part in split_escaped(",".join(escaped), ",")] == values
