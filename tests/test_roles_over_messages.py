"""A record that says something of the work without listing units again: what it clears, dates or gives reaches the roles
that this feed wrote, and `map explain` says of it what the plan does."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import explain
from hl7bridge.model import Result, StaffChange
from tests.destinations.fhir.people import Bridge
from tests.destinations.fhir.server import FakeFhir
from tests.mapping.building import NOW, RULES, change_of, message, mfe, segment, stf, translate

UNITS = {"f8": "CARD^Cardiology~ORTH^Orthopaedics"}
WORK, HOME = "^WPN^PH^^1^212^5550100", "^PRN^PH^^1^212^5550199"
JOINS = {
    "STF-4": ("f4", "NURSE^Nurse"),
    "STF-9": ("f9", "SVC^Surgical service"),
    "STF-10": ("f10", f"{WORK}~{HOME}"),
    "STF-12": ("f12", "20200101"),
    "STF-13": ("f13", "20300101"),
    "STF-18": ("f18", "Attending"),
    "STF-19": ("f19", "J1^1^Consultant"),
    "PRA-3": ("f3", "PHYS^Physician"),
    "PRA-5": ("f5", "Pain medicine"),
}
ELEMENT = {
    "STF-4": "code", "STF-9": "code", "STF-10": "telecom", "STF-12": "period", "STF-13": "period", "STF-18": "code",
    "STF-19": "code", "PRA-3": "code", "PRA-5": "specialty",
}  # fmt: skip


def raw(event: str, *fields: str, **values: str) -> bytes:
    """A record with these fields (of `JOINS`, or as given: "STF-13=20250101"), and these of STF."""
    sent: dict[str, dict[str, str]] = {"STF": dict(values), "PRA": {}}
    for one in fields:
        name, _, text = one.partition("=")
        where, what = JOINS[name]
        sent[name[:3]][where] = text or what
    lines = [stf(**sent["STF"])]
    if sent["PRA"]:
        lines.append(segment("PRA", f1="K1", **sent["PRA"]))
    return message(mfe(event), *lines)


def change(event: str, *fields: str, **values: str) -> StaffChange:
    (record,) = translate(raw(event, *fields, **values)).records
    return change_of(record)


@pytest.fixture
def bridge() -> Bridge:
    return Bridge(FakeFhir())


def roles(bridge: Bridge) -> list[dict[str, Any]]:
    return sorted(
        bridge.server.all("PractitionerRole"), key=lambda role: role.get("organization", {}).get("display", "")
    )


def clears(field: str) -> str:
    return f'{field}=""'


@pytest.mark.parametrize("units", [UNITS, {}], ids=["by unit", "without units"])
@pytest.mark.parametrize("field", list(JOINS))
def test_a_null_clears_the_roles_that_the_field_wrote(bridge: Bridge, field: str, units: dict[str, str]) -> None:
    bridge.deliver(change("MAD", field, "PRA-5=Anaesthesia" if field != "PRA-5" else "STF-19", **units))
    before = roles(bridge)
    assert before
    assert all(ELEMENT[field] in role for role in before)
    outcome = bridge.deliver(change("MUP", clears(field)))
    assert outcome.result is Result.UPDATED
    other = "code" if field == "PRA-5" else "specialty"
    for role in roles(bridge):
        assert ELEMENT[field] not in role
        assert other in role, "what another field gave stays"
        assert role["active"] is True
    assert bridge.deliver(change("MUP", clears(field))).result is Result.UNCHANGED


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("STF-4", "PHYS^Physician"),
        ("STF-10", "^WPN^PH^^1^212^5550177"),
        ("STF-18", "Locum"),
        ("PRA-5", "Cardiology"),
        ("STF-12", "20210101"),
        ("STF-13", "20310101"),
    ],
)
def test_a_value_takes_the_place_of_the_earlier_one(bridge: Bridge, field: str, text: str) -> None:
    bridge.deliver(change("MAD", field, **UNITS))
    bridge.deliver(change("MUP", f"{field}={text}"))
    fresh = Bridge(FakeFhir())
    fresh.deliver(change("MAD", f"{field}={text}", **UNITS))
    assert [role[ELEMENT[field]] for role in roles(bridge)] == [role[ELEMENT[field]] for role in roles(fresh)]


@pytest.mark.parametrize("null", ['""^""^""', '""&""', '""~""', ' ""^'])
@pytest.mark.parametrize("field", ["STF-4", "STF-10", "STF-19", "PRA-5"])
def test_a_null_in_each_part_is_a_null(bridge: Bridge, field: str, null: str) -> None:
    bridge.deliver(change("MAD", field, **UNITS))
    assert bridge.deliver(change("MUP", f"{field}={null}")).result is Result.UPDATED
    assert all(ELEMENT[field] not in role for role in roles(bridge))


def test_a_telephone_that_is_not_repeated_leaves_the_roles_too(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-10", **UNITS))
    bridge.deliver(change("MUP", f"STF-10={HOME}"))
    assert all("telecom" not in role for role in roles(bridge))


# -- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "later", "period"),
    [
        ([], ["STF-13=20250101"], {"end": "2025-01-01"}),
        (["STF-12"], ["STF-13=20250101"], {"start": "2020-01-01", "end": "2025-01-01"}),
        (["STF-12"], ["STF-13=2027"], {"start": "2020-01-01", "end": "2027"}),
        (["STF-12", "STF-13"], ["STF-13=20250101"], {"start": "2020-01-01", "end": "2025-01-01"}),
        (["STF-12", "STF-13"], ["STF-12=20210101"], {"start": "2021-01-01", "end": "2030-01-01"}),
        (["STF-12", "STF-13"], ['STF-13=""'], {"start": "2020-01-01"}),
        (["STF-12", "STF-13"], ['STF-12=""'], {"end": "2030-01-01"}),
        (["STF-12", "STF-13"], ['STF-12=""', 'STF-13=""'], None),
        (["STF-12", "STF-13"], ['STF-12=""', "STF-13=20250101"], {"end": "2025-01-01"}),
        (["STF-13"], ["STF-12"], {"start": "2020-01-01", "end": "2030-01-01"}),
        (["STF-12", "STF-13"], ["STF-13=20100101"], {"start": "2020-01-01", "end": "2030-01-01"}),  # R4 per-1
        (["STF-12"], ["STF-13=2027-01-31"], {"start": "2020-01-01"}),  # no date: left out, and told
    ],
)
def test_each_date_is_its_fields_own(
    bridge: Bridge, before: list[str], later: list[str], period: dict[str, str] | None
) -> None:
    bridge.deliver(change("MAD", *before, **UNITS))
    bridge.deliver(change("MUP", *later))
    assert [role.get("period") for role in roles(bridge)] == [period, period]
    over = bool(period) and period.get("end", "9999") < NOW.date().isoformat()
    assert [role["active"] for role in roles(bridge)] == [not over, not over], "a role whose period is over is inactive"
    assert bridge.deliver(change("MUP", *later)).result is Result.UNCHANGED


def test_a_period_the_wrong_way_round_is_told(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-12", **UNITS))
    outcome = bridge.deliver(change("MUP", "STF-13=20100101"))
    assert [warning.local for warning in outcome.warnings] == ["period-reversed"]


def test_dates_of_one_institution_are_of_the_role_there(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", **UNITS))
    bridge.deliver(change("MUP", "STF-13=20250101^ORTH&Orthopaedics"))
    assert [role.get("period") for role in roles(bridge)] == [None, {"end": "2025-01-01"}]


def test_dates_of_a_house_that_no_role_goes_by_are_of_all(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", **UNITS))
    bridge.deliver(change("MUP", "STF-13=20250101^NORTH&North Hospital"))
    assert [role.get("period") for role in roles(bridge)] == [{"end": "2025-01-01"}] * 2


@pytest.mark.parametrize(
    ("institution", "ended"),
    [("", [True, True]), ("ORTH^Orthopaedics", [False, True]), ("SOUTH^South practice", [False, False])],
)
@pytest.mark.parametrize("units", [{}, UNITS], ids=["units before", "units again"])
def test_dates_of_a_practice_are_of_the_institution_that_pra_9_names(
    bridge: Bridge, institution: str, ended: list[bool], units: dict[str, str]
) -> None:
    bridge.deliver(change("MAD", **UNITS))
    practice = segment("PRA", f1="K1", f9=institution, f10="20250101")
    (record,) = translate(message(mfe("MUP"), stf(**units), practice)).records
    bridge.deliver(change_of(record))
    assert ["period" in role for role in roles(bridge)] == ended
    assert [not role["active"] for role in roles(bridge)] == ended


def test_a_unit_that_dates_itself_is_not_dated_by_the_institution(bridge: Bridge) -> None:
    (record,) = translate(message(mfe(), stf(), "ORG|1|CARD^Cardiology|||||||20180101^20280101")).records
    bridge.deliver(change_of(record))
    bridge.deliver(change("MUP", "STF-13=20250101"))
    assert [role["period"] for role in roles(bridge)] == [{"start": "2018-01-01", "end": "2028-01-01"}]


# -- roles that are not open, or not listed ------------------------------------------------------------------------------


def test_a_null_reaches_a_role_that_rests_and_wakes_nobody(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-10", **UNITS))
    (away,) = translate(
        message("EVN||20260318113000", stf(), event="PMU^B05").replace(b"MFI|PRA^Practitioner^HL70175||UPD|||AL\r", b"")
    ).records
    bridge.deliver(change_of(away))
    bridge.deliver(change("MUP", clears("STF-10")))
    assert [("telecom" in role, role["active"]) for role in roles(bridge)] == [(False, False)] * 2
    bridge.deliver(change("MAC"))
    assert [("telecom" in role, role["active"]) for role in roles(bridge)] == [(False, True)] * 2


def test_a_value_reaches_a_role_that_rests_and_wakes_nobody(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-10", **UNITS))
    (away,) = translate(
        message("EVN||20260318113000", stf(), event="PMU^B05").replace(b"MFI|PRA^Practitioner^HL70175||UPD|||AL\r", b"")
    ).records
    bridge.deliver(change_of(away))
    bridge.deliver(change("MUP", "STF-10=^WPN^PH^^1^212^5550177"))
    for role in roles(bridge):
        assert [point["value"] for point in role["telecom"]] == ["+1 212 5550177"]
        assert role["active"] is False


def test_a_null_reaches_a_role_that_has_ended_and_opens_none(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-10", "STF-12", **UNITS))
    bridge.deliver(change("MDC"))
    ended = [role["period"] for role in roles(bridge)]
    bridge.deliver(change("MUP", clears("STF-10"), clears("STF-12")))
    assert [("telecom" in role, role["active"]) for role in roles(bridge)] == [(False, False)] * 2
    assert [role["period"] for role in roles(bridge)] == ended


def test_a_null_beside_the_end_is_heeded(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-10", **UNITS))
    bridge.deliver(change("MUP", clears("STF-10"), f7="I"))
    assert [("telecom" in role, role["active"]) for role in roles(bridge)] == [(False, False)] * 2


def test_a_null_beside_other_units_reaches_those_that_are_not_listed(bridge: Bridge) -> None:
    (record,) = translate(message(mfe(), stf(f10=WORK), "ORG|1|LAB^Laboratory")).records
    bridge.deliver(change_of(record))
    bridge.deliver(change("MUP", clears("STF-10"), **UNITS))
    assert all("telecom" not in role for role in roles(bridge))


def test_what_other_feeds_and_people_gave_stays(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-10", **UNITS))
    theirs = {"system": "pager", "value": "77"}
    for role in roles(bridge):
        bridge.server.put({**role, "telecom": [*role["telecom"], theirs]})
    bridge.deliver(change("MUP", clears("STF-10")))
    assert [role["telecom"] for role in roles(bridge)] == [[theirs], [theirs]]


def test_an_end_that_the_leavers_record_dates_anew_stands_for_the_one_of_before(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-12", "STF-13", **UNITS))
    bridge.deliver(change("MDC", "STF-13=20260301"))
    bridge.deliver(change("MDC", "STF-13=20260301"))
    assert [role["period"] for role in roles(bridge)] == [{"start": "2020-01-01", "end": "2026-03-01"}] * 2
    bridge.deliver(change("MAC"))
    assert [(role["active"], "end" in role["period"]) for role in roles(bridge)] == [(True, False)] * 2


def test_a_year_as_an_end_is_its_last_day(bridge: Bridge) -> None:
    """It is not before a start within it, so that the start does not take its place."""
    bridge.deliver(change("MAD", "STF-12=20260201", **UNITS))
    bridge.deliver(change("MDC", "STF-13=2026"))
    assert [role["period"] for role in roles(bridge)] == [{"start": "2026-02-01", "end": "2026"}] * 2


def test_an_end_of_somebody_else_stands_when_the_person_leaves(bridge: Bridge) -> None:
    bridge.deliver(change("MAD", "STF-12", **UNITS))
    for role in roles(bridge):
        bridge.server.put({**role, "period": {**role["period"], "end": "2029-01-01"}})
    bridge.deliver(change("MDC", "STF-13=20260301"))
    assert [role["period"]["end"] for role in roles(bridge)] == ["2029-01-01"] * 2


# -- one account --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", list(JOINS))
@pytest.mark.parametrize("later", ["null", "value"])
def test_what_explain_claims_of_the_roles_is_what_is_written(bridge: Bridge, field: str, later: str) -> None:
    """Of a record that lists no unit: "cleared", or PractitionerRole.X."""
    bridge.deliver(change("MAD", field, **UNITS))
    fresh = {"STF-12": "20210101", "STF-13": "20310101", "STF-10": "^WPN^PH^^1^212^5550177"}.get(field, "NEW^New words")
    sent = raw("MUP", clears(field) if later == "null" else f"{field}={fresh}")
    before = roles(bridge)
    (record,) = (found := explain(Message(sent), RULES, NOW)).translation.records
    bridge.deliver(change_of(record))
    claims = [row.element for row in found.rows if row.field == field]
    changed = {element for old, new in zip(before, roles(bridge), strict=True) for element in {*old, *new} - {"meta"}
               if old.get(element) != new.get(element)}  # fmt: skip
    if later == "null":
        assert claims == ["cleared"]
        assert changed == {ELEMENT[field]}
    else:
        claimed = {claim.split(".")[1] for claim in claims if claim.startswith("PractitionerRole.")}
        assert claimed == changed


@pytest.mark.parametrize("event", ["MDC", "MDL"])
def test_explain_does_not_say_that_an_end_clears_what_it_leaves(event: str) -> None:
    found = explain(Message(raw(event, *(clears(field) for field in JOINS))), RULES, NOW)
    assert [row.element for row in found.rows if row.element == "cleared"] == []
    assert change_of(found.translation.records[0]).cleared == ()
    assert found.valued == found.used + found.dropped + found.unused + found.unknown
