"""What PMU asks of the plan beyond MFN: single certificates, and people who are away for a time."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl7bridge.destinations.fhir.merging.merge import covers
from hl7bridge.destinations.fhir.merging.qualifications import merge_certificates
from hl7bridge.model import Action, ElementValue, Provenance, Result, StaffChange, StaffRole
from tests.destinations.fhir.people import Bridge, change, name, rules, unit, value
from tests.destinations.fhir.server import FakeFhir
from tests.examples import examples


def certificate(number: str = "", code: str = "LIC", issuer: str = "Board", **period: str) -> dict[str, Any]:
    found: dict[str, Any] = {"code": {"text": code}, "issuer": {"display": issuer}}
    if number:
        found["identifier"] = [{"value": number, "assigner": {"display": issuer}}]
    return found | ({"period": period} if period else {})


def merge(wanted: dict[str, Any], base: Any = (), server: Any = (), others: Any = (), revokes: bool = False) -> Any:
    ours = [ElementValue("qualification", one, Provenance.read("CER-10")) for one in base]
    merged, complete = merge_certificates(
        [ElementValue("qualification", wanted, Provenance.read("CER-10"))],
        ours,
        list(server),
        list(others),
        revokes=revokes,
    )
    return merged.value, [one.value for one in merged.base], complete


# --- certificates ----------------------------------------------------------------------------------------------------


def test_a_grant_is_added_beside_the_others() -> None:
    have, new = certificate("1"), certificate("2")
    assert merge(new, [have], [have]) == ([have, new], [have, new], True)


def test_a_grant_renews_the_certificate_of_that_number_and_keeps_what_others_added() -> None:
    have, new = certificate("1", start="2020", end="2022"), certificate("1", "LICENCE", start="2026")
    item = have | {"extension": [{"url": "http://example.org/x", "valueCode": "y"}]}
    assert merge(new, [have], [item]) == ([new | {"extension": item["extension"]}], [new], True)


@pytest.mark.parametrize(
    "other",
    [
        certificate("2"),
        certificate("1", issuer="Office"),
        certificate(),
        certificate("1") | {"identifier": [{"system": "urn:oid:2.999.2", "value": "1"}]},
    ],
)
def test_another_number_issuer_or_system_is_another_certificate(other: dict[str, Any]) -> None:
    new = certificate("1", end="2026")
    if "identifier" in other and "system" in other["identifier"][0]:
        new["identifier"] = [{"system": "urn:oid:2.999.1", "value": "1"}]
    assert merge(new, [], [other], revokes=True) == ([other], [], False)
    assert merge(new, [], [other])[0] == [other, new]


def test_without_numbers_what_is_certified_and_by_whom_tells() -> None:
    have = certificate(start="2020")
    assert merge(certificate(end="2026"), [have], [have], revokes=True)[0] == [certificate(start="2020", end="2026")]
    assert merge(certificate(issuer="Office", end="2026"), [have], [have], revokes=True)[2] is False


def test_a_revocation_by_number_alone_ends_the_certificate_whoever_wrote_it() -> None:
    wanted = {"identifier": [{"value": "1"}], "period": {"end": "2026-03-18"}}
    have = certificate("1", start="2020-01-01", end="2030-01-01")
    ended = certificate("1", start="2020-01-01", end="2026-03-18")
    assert merge(wanted, [have], [have], revokes=True) == ([ended], [ended], True)
    assert merge(wanted, [], [have], [have], revokes=True) == ([ended], [], True)


@pytest.mark.parametrize(
    ("period", "end"), [({"start": "2027-01-01"}, "2027-01-01"), ({"end": "2021"}, "2021"), ({}, "2026-03-18")]
)
def test_a_revocation_ends_nothing_before_it_starts_nor_later_than_it_ended(period: dict[str, str], end: str) -> None:
    have = certificate("1") | ({"period": period} if period else {})
    ((found,), _, _) = merge(certificate("1", end="2026-03-18"), [have], [have], revokes=True)
    assert found["period"]["end"] == end


def test_a_grant_leaves_what_another_feed_stands_for() -> None:
    theirs = certificate("1", start="2020", end="2022")
    assert merge(certificate("1", start="2026"), [], [theirs], [theirs])[:2] == ([theirs], [])


def test_a_revocation_means_ours_though_another_ones_dates_are_those_that_it_names() -> None:
    ours, theirs = certificate("2", end="2026-01-01"), certificate("2", start="2020-01-01", end="2030-01-01")
    items = [certificate("2"), theirs, ours]
    assert merge(theirs, [ours], items, revokes=True) == (items, [ours], True)
    lasting = certificate("2", start="2021-01-01")
    ended = certificate("2", start="2021-01-01", end="2030-01-01")
    assert merge(theirs, [lasting], [theirs, lasting], revokes=True) == ([theirs, ended], [ended], True)


def test_what_somebody_changed_is_ended_as_it_stands_and_told_once() -> None:
    ours, now = certificate("2", start="2020-01-01"), certificate("2", start="2021-05-05")
    values = [
        ElementValue("qualification", one, Provenance.read("CER-10"))
        for one in (ours, certificate("2", end="2026-01-01"))
    ]
    merged, complete = merge_certificates(values[1:], values[:1], [now], [], revokes=True)
    assert complete
    assert merged.value == [now | {"period": {"start": "2021-05-05", "end": "2026-01-01"}}]
    assert len(merged.drift) == 1
    again, _ = merge_certificates(values[1:], merged.base, merged.value, [], revokes=True)
    assert (again.value, again.differences, again.drift) == (merged.value, (), ())


numbers = st.sampled_from(["", "1", "2"])
certificates = st.builds(
    lambda number, code, issuer, start, end: certificate(number, code, issuer, **start, **end),
    numbers,
    st.sampled_from(["LIC", "BLS"]),
    st.sampled_from(["Board", "Office"]),
    st.sampled_from([{}, {"start": "2020-01-01"}]),
    st.sampled_from([{}, {"end": "2026-01-01"}, {"end": "2030-01-01"}]),
)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.booleans(), certificates), max_size=6), st.lists(certificates, max_size=3))
def test_any_story_of_certificates(story: list[tuple[bool, dict[str, Any]]], foreign: list[dict[str, Any]]) -> None:
    """Nothing is lost, nothing is changed in place, a second time changes nothing, and what we stand for is there."""
    server: list[Any] = copy.deepcopy(foreign)
    base: list[ElementValue] = []
    for revokes, one in story:
        if revokes and not one.get("period", {}).get("end"):
            one = one | {"period": {**one.get("period", {}), "end": "2026-01-01"}}
        wanted = [ElementValue("qualification", one, Provenance.read("CER-10"))]
        frozen = copy.deepcopy(server)
        merged, complete = merge_certificates(wanted, base, server, foreign, revokes=revokes)
        assert server == frozen
        after = merged.value or []
        assert len(after) >= len(server)
        assert len(after) - len(server) <= 1
        assert len([True for a, b in zip(server, after, strict=False) if a != b]) <= 1
        again, still = merge_certificates(wanted, merged.base, after, foreign, revokes=revokes)
        assert (again.value, again.differences, again.drift) == (merged.value, (), ())
        assert (again.base, still) == (merged.base, complete)
        server, base = after, list(merged.base)
        if not (revokes or foreign):
            assert one["code"] in [item["code"] for item in server]
        assert all(any(covers(item, mine.value) for item in server) for mine in base)


# --- being away ------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> FakeFhir:
    return FakeFhir()


EVENTS: dict[str, StaffChange] = {
    "MAD": change(Action.ADD, name(), roles=(unit("A"), unit("B"))),
    "MUP": change(Action.UPDATE, name()),
    "MUP unit": change(Action.UPDATE, name(), roles=(unit("A"),)),
    "MUP A": change(Action.UPDATE, name(), active=True),
    "MUP I": change(Action.UPDATE, name(), active=False),
    "MDC": change(Action.DEACTIVATE, active=False, complete=False),
    "MAC": change(Action.REACTIVATE, name(), active=True, roles=(unit("A"), unit("B"))),
    "B04": change(Action.REACTIVATE, name(), active=True),
    "B05": change(
        Action.DEACTIVATE, active=False, temporary=True, complete=False, ended_for="Away", until="2026-09-30"
    ),
}


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(sorted(EVENTS)), min_size=1, max_size=7), st.sampled_from([True, True, False]))
def test_any_story_of_coming_and_going(story: list[str], b05_deactivates: bool) -> None:
    """A second time changes nothing; who is away has no end, who is back or gone is not away, the inactive do not work."""
    server = FakeFhir()
    bridge = Bridge(server, rules(base_url=server.base, b05_deactivates=b05_deactivates))
    bridge.deliver(EVENTS["MAD"])
    for event in story:
        bridge.deliver(EVENTS[event])
        bridge.asked()
        again = bridge.deliver(EVENTS[event])
        assert again.result is Result.UNCHANGED, (event, again.interactions)
        assert [ask for ask in bridge.asked() if ask[:3] in ("PUT", "POS")] == []
        person = server.only("Practitioner")
        for role in server.all("PractitionerRole"):
            away = "notAvailable" in role
            assert not (role["active"] and (away or not person["active"]))
            assert not (away and role.get("period", {}).get("end"))
            if event in ("MAD", "MAC", "B04", "MUP A", "MDC"):
                assert not away
        if event in ("MAD", "MAC"):
            states = {role["organization"]["display"]: role["active"] for role in server.all("PractitionerRole")}
            assert states == {"Unit A": True, "Unit B": True}


def test_a_role_whose_bounds_others_set_rests_and_returns_unchanged(server: FakeFhir) -> None:
    bridge = Bridge(server)
    period = value("period", {"start": "2020-01-01", "end": "2030-01-01"}, "STF-34")
    bridge.deliver(change(Action.ADD, name(), roles=(StaffRole("STF-8:A", "STF-8", (*unit("A").values, period)),)))
    before = server.only("PractitionerRole")
    bridge.deliver(EVENTS["B05"])
    assert server.only("PractitionerRole")["period"] == period.value
    bridge.deliver(EVENTS["B04"])
    after = server.only("PractitionerRole")
    assert {k: v for k, v in after.items() if k != "meta"} == {k: v for k, v in before.items() if k != "meta"}


def test_a_return_before_the_leave_is_not_said(server: FakeFhir) -> None:
    bridge = Bridge(server)
    bridge.deliver(EVENTS["MAD"])
    bridge.deliver(change(Action.DEACTIVATE, active=False, temporary=True, ended_for="Away", until="2020-01-01"))
    assert {str(role["notAvailable"]) for role in server.all("PractitionerRole")} == {
        str([{"description": "Away", "during": {"start": "2026-03-04"}}])
    }


def test_an_older_stored_change_is_read(server: FakeFhir) -> None:
    text = EVENTS["MAD"].to_json()
    for name_of in ("temporary", "until", "qualifications_only", "revokes", "event_field"):
        assert f'"{name_of}":' in text
    older = text[: text.index(',"temporary"')] + "}"
    assert StaffChange.from_json(older) == EVENTS["MAD"]
