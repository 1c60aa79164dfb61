"""Plans of whole resources: what a destination gets, who owns what, and the life of a person and their roles."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hl7bridge.destinations.fhir.desired import is_over, practitioner_values, sources
from hl7bridge.destinations.fhir.happened import happened
from hl7bridge.destinations.fhir.identity.systems import NPI
from hl7bridge.destinations.fhir.plan import (
    END_MARK,
    ENDED_UNLISTED,
    ENDED_WITH_PERSON,
    OPEN,
    TAG,
    RoleIntent,
    plan_practitioner,
    plan_role,
)
from hl7bridge.destinations.fhir.roles import STAFF, role_at_server, role_intents
from hl7bridge.model import (
    Action,
    Difference,
    Interaction,
    JsonObject,
    Kind,
    Location,
    Number,
    Provenance,
    StaffChange,
    StaffIdentifier,
    StaffRole,
    Written,
    write_json,
)
from tests.destinations.fhir.people import GOOD_NPI, KEYS, NOW, change, name, phone, rules, unit, value

STRANGE: JsonObject = {
    "extension": [{"url": "http://example.org/fte", "valueDecimal": Number("1.10")}],
    "photo": [{"url": "http://example.org/p.png"}],
    "contained": [{"resourceType": "Organization", "id": "o"}],
}


def person(**more: Any) -> JsonObject:
    return {
        "resourceType": "Practitioner",
        "id": "p1",
        "meta": {"versionId": "4", "profile": ["http://example.org/profile"]},
        "identifier": [{"system": KEYS, "value": "S100"}],
        "active": True,
        **more,
    }


def base(*values: Any, holds: bool = True, feed: str = "hr", key: str = "S100") -> Written:
    return Written("Practitioner", "p1", tuple(values), holds_active=holds, feed=feed, source_key=key)


def plan(
    one: StaffChange, server: JsonObject | None, own: Written | None = None, *others: Written, **rule: Any
) -> Interaction:
    return plan_practitioner(one, "hr", rules(**rule), server, own, others, NOW)


# --- what a destination gets -----------------------------------------------------------------------------------------


def test_personal_details_are_withheld_until_the_destination_asks_for_them() -> None:
    home = value("address", {"use": "home", "city": "Enugu"}, "STF-11")
    private = (value("birthDate", "1980-02-01", "STF-6"), home, phone("555-7", use="home"))
    ssn = StaffIdentifier("123", "http://hl7.org/fhir/sid/us-ssn", type_code="SS", provenance=Provenance.read("STF-2"))
    one = change(Action.ADD, name(), phone("555-1"), *private, identifiers=[ssn])
    assert [v.element for v in practitioner_values(one, rules())] == ["identifier", "name", "telecom"]
    everything = practitioner_values(one, rules(withheld=frozenset()))
    assert len(everything) == 7
    assert "123" not in write_json(plan(one, None).body)
    no_work = practitioner_values(one, rules(withheld=frozenset({"Practitioner.telecom", "PractitionerRole.name"})))
    assert [v.element for v in no_work] == ["identifier", "identifier", "name", "birthDate", "address"]


def test_the_destinations_own_system_for_an_authority() -> None:
    number = StaffIdentifier("77", "", authority="STMARY", type_code="EI", provenance=Provenance.read("STF-2"))
    one = change(Action.ADD, name(), identifiers=[number])
    assert [v.value["system"] for v in practitioner_values(one, rules())[:-1]] == [KEYS]
    named = practitioner_values(one, rules(systems={"STMARY": "urn:oid:2.999.1"}))
    assert named[1].value == {
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "EI"}]},
        "system": "urn:oid:2.999.1",
        "value": "77",
    }


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("STF-10[2].1", {("STF", 10)}),
        ("CER-10", {("CER", 0)}),
        ("CER[2]-11", {("CER", 0)}),
        ("PRA-8, PRA-10", {("PRA", 8), ("PRA", 10)}),
        ("ORG-2", {("ORG", 0)}),
        ("odd", {("odd", 0)}),
        ("", {("", 0)}),
    ],
)
def test_sources(field: str, expected: set[tuple[str, int]]) -> None:
    assert sources(Provenance.read(field)) == expected


def test_a_new_person() -> None:
    one = change(Action.ADD, name(), phone("555-1"), value("gender", "female", "STF-5"), npi=GOOD_NPI)
    created = plan(one, None)
    assert created.kind is Kind.CREATE
    assert created.body is not None
    assert list(created.body) == ["resourceType", "identifier", "active", "name", "telecom", "gender"]
    assert created.body["active"] is True
    assert created.written is not None
    assert created.written.holds_active
    assert {d.path: d.field for d in created.differences}["name[0]"] == "STF-3"
    inactive = plan(replace(one, active=False), None)
    assert inactive.body is not None
    assert inactive.body["active"] is False
    assert not inactive.written.holds_active  # type: ignore[union-attr]


def test_what_others_added_survives_an_update_and_a_deactivation() -> None:
    second = {"system": "phone", "value": "555-8", "use": "work"}
    badge = {"system": "urn:oid:2.999.7", "value": "B7"}
    ours = {"system": "phone", "value": "555-1", "use": "work"}
    server = person(name=[name().value], telecom=[second, ours], **STRANGE)
    server["identifier"].append(badge)
    own = base(name(), phone("555-1"), value("identifier", server["identifier"][0], "MFE-4"))
    updated = plan(change(Action.UPDATE, name(), phone("555-2")), server, own)
    assert updated.body is not None
    assert updated.body["telecom"] == [second, {**ours, "value": "555-2"}]
    ended = plan(change(Action.DEACTIVATE), updated.body, updated.written)
    assert ended.differences == (Difference("active", True, False, "MFE-1"),)
    assert ended.body is not None
    assert ended.body["identifier"] == server["identifier"]
    for element in (*STRANGE, "meta"):
        assert write_json(ended.body[element]) == write_json(server[element])
    assert plan(change(Action.DEACTIVATE), ended.body, ended.written).kind is Kind.NONE


def test_empty_is_unchanged_and_null_clears_what_we_wrote() -> None:
    theirs = {"system": "phone", "value": "555-8", "use": "work"}
    server = person(name=[name().value], telecom=[phone("555-1").value, theirs])
    own = base(name(), phone("555-1"))
    assert plan(change(Action.UPDATE, name()), server, own).kind is Kind.NONE
    cleared = plan(change(Action.UPDATE, name(), cleared=(Location("STF", field=10),)), server, own)
    assert cleared.body is not None
    assert cleared.body["telecom"] == [theirs]
    assert cleared.differences[0].field == "STF-10"


def test_a_certificate_that_is_not_listed_any_more_goes_with_its_segment() -> None:
    def licence(code: str, field: str) -> Any:
        return value("qualification", {"code": {"text": code}}, field)

    server = person(qualification=[{"code": {"text": "A"}}, {"code": {"text": "B"}}, {"code": {"text": "MD"}}])
    own = base(licence("A", "CER-10"), licence("B", "CER-11"), licence("MD", "EDU-2"))
    after = plan(change(Action.UPDATE, licence("A", "CER-11")), server, own)
    assert after.body is not None
    assert after.body["qualification"] == [{"code": {"text": "A"}}, {"code": {"text": "MD"}}]


# --- several feeds ---------------------------------------------------------------------------------------------------


def test_owners_let_the_later_feed_only_fill_gaps() -> None:
    order = {"telecom": ("credentialing", "hr"), "gender": ("credentialing", "hr")}
    theirs = base(phone("555-5"), value("gender", "other", "STF-5"), feed="credentialing", key="C9")
    server = person(telecom=[phone("555-5").value], gender="other")
    one = change(Action.UPDATE, phone("555-1"), phone("555-2", use="mobile"), value("gender", "female", "STF-5"))
    after = plan(one, server, None, theirs, owners=order)
    assert after.body is not None
    assert [point["value"] for point in after.body["telecom"]] == ["555-5", "555-2"]
    assert after.body["gender"] == "other"
    first = plan_practitioner(
        change(Action.UPDATE, phone("555-6"), key="C9"),
        "credentialing",
        rules(owners=order),
        person(telecom=[phone("555-1").value]),
        None,
        [base(phone("555-1"))],
        NOW,
    )
    assert first.body is not None
    assert [point["value"] for point in first.body["telecom"]] == ["555-6"]


def test_active_stays_while_another_feed_holds_the_person() -> None:
    other = base(holds=True, feed="credentialing", key="C9")
    kept = plan(change(Action.DEACTIVATE), person(), base(), other)
    assert (kept.kind, kept.written.holds_active) == (Kind.NONE, False)  # type: ignore[union-attr]
    assert "another feed" in kept.reason
    last = plan(change(Action.DEACTIVATE), person(), base(), replace(other, holds_active=False))
    assert last.body is not None
    assert last.body["active"] is False
    same_feed = plan(change(Action.DEACTIVATE), person(), base(), base(feed="hr", key="S200"))
    assert same_feed.kind is Kind.NONE


def test_role_scope_leaves_active_alone() -> None:
    kept = plan(change(Action.DEACTIVATE), person(), base(), lifecycle_scope="role")
    assert (kept.kind, kept.written.holds_active) == (Kind.NONE, False)  # type: ignore[union-attr]


# --- lifecycle of the person -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "active", "before", "after"),
    [
        (Action.ADD, True, True, True),
        (Action.UPDATE, True, False, True),
        (Action.UPDATE, False, True, False),
        (Action.UPDATE, None, False, False),
        (Action.UPDATE, None, None, None),
        (Action.UPDATE, True, None, True),
        (Action.DEACTIVATE, None, True, False),
        (Action.DEACTIVATE, None, None, False),
        (Action.REMOVE, None, True, False),
        (Action.REACTIVATE, None, False, True),
    ],
)
def test_active(action: Action, active: bool | None, before: bool | None, after: bool | None) -> None:
    server = person(active=before) if before is not None else {k: v for k, v in person().items() if k != "active"}
    planned = plan(change(action, active=active), server, None)
    assert (planned.body or server).get("active") == after


def test_an_active_flag_that_someone_changed_is_drift_but_for_a_lifecycle_event() -> None:
    own = base(value("identifier", person()["identifier"][0], "MFE-4"))
    update = change(Action.UPDATE, active=True)
    overwritten = plan(update, person(active=False), own)
    assert overwritten.drift == (Difference("active", False, True, "STF-7"),)
    assert plan(update, person(active=False), own, on_drift="keep").kind is Kind.NONE
    assert plan(change(Action.REACTIVATE), person(active=False), own, on_drift="keep").body["active"]  # type: ignore[index]


def test_a_deactivation_merges_no_content() -> None:
    ended = plan(change(Action.DEACTIVATE, name("Other"), phone("555-9")), person(name=[name().value]), base(name()))
    assert [d.path for d in ended.differences] == ["active"]
    assert [v.element for v in ended.written.values] == ["name"]  # type: ignore[union-attr]


def test_a_removed_record_is_tagged_once_and_untagged_when_it_returns() -> None:
    removed = plan(change(Action.REMOVE), person(), base())
    assert removed.body is not None
    assert removed.body["meta"]["tag"] == [TAG]
    assert removed.body["meta"]["profile"] == ["http://example.org/profile"]
    assert plan(change(Action.REMOVE), removed.body, removed.written).kind is Kind.NONE
    forgetful = {**removed.body, "meta": {"versionId": "5"}}
    assert plan(change(Action.REMOVE), forgetful, removed.written).kind is Kind.NONE
    back = plan(change(Action.REACTIVATE), removed.body, removed.written)
    assert back.body is not None
    assert "tag" not in back.body["meta"]


# --- roles -----------------------------------------------------------------------------------------------------------


def role(role_id: str, at: str = "ICU", **more: Any) -> JsonObject:
    return {
        "resourceType": "PractitionerRole",
        "id": role_id,
        "meta": {"versionId": "1"},
        "active": True,
        "practitioner": {"reference": "Practitioner/p1"},
        "organization": unit(at).values[0].value,
        **more,
    }


def role_base(key: str, *, origin: str = "STF-8", holds: bool = True, values: Any = (), role_id: str = "") -> Written:
    return Written("PractitionerRole", role_id or f"r-{key}", tuple(values), key, origin, holds, "hr", "S100")


def intents(one: StaffChange, *own: Written, person_active: bool = True, **rule: Any) -> dict[str, str]:
    planned = role_intents(one, own, rules(**rule), person_active=person_active)
    return {intent.role.key: intent.state + ("" if intent.own else " new") for intent in planned}


SHARED = (value("code", {"text": "Nurse"}, "PRA-3"),)
ENDED_MARK = (value(END_MARK, "2026-01-01", "MFE-1"),)


def ended_with_person(key: str) -> Written:
    return role_base(key, holds=False, values=[ENDED_MARK[0]._replace(rule=ENDED_WITH_PERSON)])


@pytest.mark.parametrize(
    ("one", "own", "expected"),
    [
        pytest.param(change(Action.UPDATE), [], {}, id="nothing said"),
        pytest.param(
            change(Action.ADD, roles=(unit("A"), unit("B"))),
            [],
            {"STF-8:A": "open new", "STF-8:B": "open new"},
            id="listed",
        ),
        pytest.param(
            change(Action.UPDATE, roles=(unit("A"),)),
            [role_base("STF-8:A"), role_base("STF-8:B"), role_base("ORG:C", origin="ORG")],
            {"STF-8:A": "open", "STF-8:B": "ended-unlisted"},
            id="unlisted of the same origin end",
        ),
        pytest.param(
            change(Action.UPDATE, roles=(unit("A"),)),
            [role_base("STF-8:A", holds=False)],
            {"STF-8:A": "open"},
            id="listed again",
        ),
        pytest.param(
            change(Action.UPDATE, roles=(unit("A"),)),
            [role_base(STAFF, origin="")],
            {"STF-8:A": "open new", STAFF: "ended-unlisted"},
            id="units are named at last",
        ),
        pytest.param(
            change(Action.UPDATE, cleared=(Location("STF", field=8),)),
            [role_base("STF-8:A"), role_base("ORG:C", origin="ORG")],
            {"STF-8:A": "ended-unlisted"},
            id="cleared",
        ),
        pytest.param(
            change(Action.UPDATE, shared_role=SHARED),
            [role_base("STF-8:A")],
            {"STF-8:A": "open"},
            id="shared, of open roles",
        ),
        pytest.param(change(Action.UPDATE, shared_role=SHARED), [], {STAFF: "open new"}, id="shared, no role yet"),
        pytest.param(change(Action.UPDATE, shared_role=(phone("555-1"),)), [], {}, id="a phone alone is no role"),
        pytest.param(
            change(Action.UPDATE, shared_role=SHARED),
            [role_base(STAFF, origin="")],
            {STAFF: "open"},
            id="shared, the role is there",
        ),
        pytest.param(
            change(Action.DEACTIVATE),
            [role_base("STF-8:A"), role_base("ORG:C", origin="ORG", holds=False)],
            {"STF-8:A": "ended-with-person"},
            id="the person leaves",
        ),
        pytest.param(
            change(Action.UPDATE, active=False, roles=(unit("A"), unit("B"))),
            [role_base("STF-8:A")],
            {"STF-8:A": "ended-with-person"},
            id="inactive: none is made",
        ),
        pytest.param(
            change(Action.REACTIVATE),
            [ended_with_person("STF-8:A"), role_base("STF-8:B", holds=False)],
            {"STF-8:A": "open"},
            id="back: what ended with the person",
        ),
        pytest.param(
            change(Action.REACTIVATE, roles=(unit("B"),)),
            [ended_with_person("STF-8:A")],
            {"STF-8:B": "open new"},
            id="back in another unit",
        ),
    ],
)
def test_role_intents(one: StaffChange, own: list[Written], expected: dict[str, str]) -> None:
    assert intents(one, *own) == expected


def test_roles_that_the_rules_exclude() -> None:
    listed = change(Action.ADD, roles=(unit("A"),))
    assert intents(listed, withheld=frozenset({"PractitionerRole"})) == {}
    assert intents(listed, person_active=False) == {}
    assert intents(change(Action.DEACTIVATE), role_base("STF-8:A"), lifecycle_scope="practitioner") == {}
    assert intents(change(Action.UPDATE, shared_role=SHARED), person_active=False) == {}


def test_a_shared_unit_does_not_move_a_role_that_names_its_own() -> None:
    elsewhere = value("organization", {"display": "Main house"}, "PRA-9")
    own = role_base("STF-8:A", values=unit("A").values)
    planned = role_intents(change(Action.UPDATE, shared_role=(elsewhere, *SHARED)), [own], rules(), person_active=True)
    assert [one.element for one in planned[0].role.values] == ["code"]


def plan_one(
    one: StaffChange, intent: RoleIntent, server: JsonObject | None, *others: Written, **rule: Any
) -> Interaction:
    return plan_role(one, intent, "hr", rules(**rule), "p1", server, others, NOW)


def test_a_role_from_its_first_day_to_its_last_and_back() -> None:
    first = unit("ICU", "STF-8", value("period", {"start": "2020-01-01"}, "STF-12"), phone("555-1"))
    created = plan_one(change(Action.ADD, roles=(first,)), RoleIntent(first), None)
    assert created.kind is Kind.CREATE
    assert created.body is not None
    assert created.body["practitioner"] == {"reference": "Practitioner/p1"}
    assert (created.body["active"], created.body["period"]) == (True, {"start": "2020-01-01"})
    server: JsonObject = {**created.body, "id": "r1", "extension": [{"url": "urn:x", "valueDecimal": Number("1.10")}]}
    own = replace(created.written, resource_id="r1")  # type: ignore[type-var]
    assert plan_one(change(Action.ADD, roles=(first,)), RoleIntent(first, OPEN, own), server).kind is Kind.NONE

    leaving = change(Action.DEACTIVATE, effective="2026-02-28T18:00:00+01:00", ended_for="Leave of absence")
    bare = StaffRole(first.key, first.origin)
    ended = plan_one(leaving, RoleIntent(bare, ENDED_WITH_PERSON, own), server)
    assert ended.body is not None
    assert ended.body["active"] is False
    assert ended.body["period"] == {"start": "2020-01-01", "end": "2026-02-28"}
    assert ended.body["notAvailable"] == [{"description": "Leave of absence", "during": {"start": "2026-02-28"}}]
    assert ended.body["telecom"] == server["telecom"]
    assert write_json(ended.body["extension"]) == write_json(server["extension"])
    assert happened(ended, ended.body)
    later = replace(leaving, effective="2026-03-15")
    assert plan_one(later, RoleIntent(bare, ENDED_WITH_PERSON, ended.written), ended.body).kind is Kind.NONE

    back = change(Action.REACTIVATE, effective="2026-09-01T00:00:00+02:00")
    reopened = plan_one(back, RoleIntent(bare, OPEN, ended.written), ended.body)
    assert reopened.body is not None
    assert reopened.body["active"] is True
    assert reopened.body["period"] == {"start": "2026-09-01"}
    assert "notAvailable" not in reopened.body
    assert reopened.body["telecom"] == server["telecom"]
    assert plan_one(back, RoleIntent(bare, OPEN, reopened.written), reopened.body).kind is Kind.NONE


def test_an_end_that_stands_there_is_left_and_a_period_never_ends_before_it_starts() -> None:
    bare = StaffRole("STF-8:ICU", "STF-8")
    own = role_base("STF-8:ICU", role_id="r1")
    leaving = change(Action.DEACTIVATE)
    ended = plan_one(leaving, RoleIntent(bare, ENDED_WITH_PERSON, own), role("r1", period={"end": "2030-12-31"}))
    assert ended.body is not None
    assert ended.body["period"] == {"end": "2030-12-31"}
    back = plan_one(change(Action.REACTIVATE), RoleIntent(bare, OPEN, ended.written), ended.body)
    assert back.body is not None
    assert back.body["period"] == {"end": "2030-12-31"}
    never_began = plan_one(
        leaving, RoleIntent(bare, ENDED_WITH_PERSON, own), role("r1", period={"start": "2027-01-01"})
    )
    assert never_began.body is not None
    assert never_began.body["period"] == {"start": "2027-01-01", "end": "2027-01-01"}


@pytest.mark.parametrize(
    ("doubtful", "stands", "reopened"),
    [
        (True, "2026-03-03", {"start": "2026-03-04"}),  # an attempt of yesterday had arrived
        (True, "2030-12-31", {"end": "2030-12-31"}),  # nothing of ours ends then
        (False, "2026-03-03", {"end": "2026-03-03"}),
    ],
)
def test_an_end_that_an_attempt_without_an_answer_left_is_ours(
    doubtful: bool, stands: str, reopened: JsonObject
) -> None:
    intent = RoleIntent(StaffRole("STF-8:ICU", "STF-8"), ENDED_WITH_PERSON, role_base("STF-8:ICU", role_id="r1"))
    there = {**role("r1", period={"end": stands}), "active": False}
    again = plan_role(change(Action.DEACTIVATE), intent, "hr", rules(), "p1", there, (), NOW, doubtful=doubtful)
    assert again.kind is Kind.NONE
    back = plan_one(change(Action.REACTIVATE), replace(intent, state=OPEN, own=again.written), there)
    assert back.body is not None
    assert (back.body["active"], back.body["period"]) == (True, reopened)


def test_the_end_that_the_message_states_stands_before_the_events_time() -> None:
    dates = StaffRole("STF-8:ICU", "STF-8", (value("period", {"end": "2026-03-31"}, "STF-13"),))
    own = role_base("STF-8:ICU", role_id="r1", values=[value("period", {"start": "2020"}, "STF-12")])
    ended = plan_one(
        change(Action.DEACTIVATE), RoleIntent(dates, ENDED_WITH_PERSON, own), role("r1", period={"start": "2020"})
    )
    assert ended.body is not None
    assert ended.body["period"] == {"start": "2020", "end": "2026-03-31"}


def test_a_role_that_another_feed_holds_is_left() -> None:
    other = Written("PractitionerRole", "r1", feed="credentialing", source_key="C9")
    bare = StaffRole("STF-8:ICU", "STF-8")
    own = role_base("STF-8:ICU", role_id="r1")
    kept = plan_one(change(Action.DEACTIVATE), RoleIntent(bare, ENDED_WITH_PERSON, own), role("r1"), other)
    assert (kept.kind, kept.written.holds_active) == (Kind.NONE, False)  # type: ignore[union-attr]


def test_a_role_that_is_not_there_needs_no_end() -> None:
    own = role_base("STF-8:ICU", role_id="r1")
    gone = plan_one(change(Action.DEACTIVATE), RoleIntent(StaffRole("STF-8:ICU", "STF-8"), ENDED_UNLISTED, own), None)
    assert (gone.kind, gone.written.holds_active) == (Kind.NONE, False)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("intent", "server_roles", "taken", "expected"),
    [
        pytest.param(
            RoleIntent(unit("ICU"), OPEN, role_base("STF-8:ICU", role_id="r2")),
            [role("r1"), role("r2", "ER")],
            [],
            "r2",
            id="the one we wrote",
        ),
        pytest.param(
            RoleIntent(unit("ICU"), OPEN, role_base("STF-8:ICU", role_id="r9")),
            [role("r1")],
            [],
            None,
            id="ours is not among them",
        ),
        pytest.param(RoleIntent(unit("ICU")), [role("r1"), role("r2", "ER")], [], "r1", id="adopted by its unit"),
        pytest.param(RoleIntent(unit("ICU")), [role("r1")], ["r1"], None, id="another feed's"),
        pytest.param(RoleIntent(unit("ICU")), [role("r1"), role("r2")], [], None, id="two alike"),
        pytest.param(RoleIntent(unit("ICU")), [role("r1", active=False)], [], None, id="an ended one is left"),
        pytest.param(
            RoleIntent(unit("ICU")),
            [role("r1", practitioner={"reference": "Practitioner/p2"})],
            [],
            None,
            id="somebody else's: parameter ignored",
        ),
        pytest.param(
            RoleIntent(unit("ICU")),
            [role("r1", practitioner={"reference": "https://x/Practitioner/p1/_history/3"})],
            [],
            "r1",
            id="absolute reference",
        ),
        pytest.param(
            RoleIntent(StaffRole(STAFF, "", SHARED)),
            [role("r1"), {k: v for k, v in role("r2", code=[{"text": "Nurse"}]).items() if k != "organization"}],
            [],
            "r2",
            id="without a unit, all of it",
        ),
        pytest.param(RoleIntent(StaffRole(STAFF, "", ())), [role("r1")], [], None, id="nothing to tell it by"),
    ],
)
def test_which_role_it_is(
    intent: RoleIntent, server_roles: list[JsonObject], taken: list[str], expected: str | None
) -> None:
    found = role_at_server(intent, "p1", server_roles, taken, rules())
    assert (found or {}).get("id") == expected


def test_an_npi_under_its_oid_is_not_added_again() -> None:
    server = person()
    server["identifier"].append({"system": "urn:oid:2.16.840.1.113883.4.6", "value": GOOD_NPI})
    planned = plan(change(Action.UPDATE, npi=GOOD_NPI), server, None)
    assert planned.kind is Kind.NONE
    assert [v.value.get("system") for v in planned.written.values] == [KEYS, NPI]  # type: ignore[union-attr]


def test_happened_sees_what_did_not() -> None:
    one = change(
        Action.UPDATE, phone("555-2"), value("gender", "female", "STF-5"), cleared=(Location("STF", field=11),)
    )
    home = value("address", {"use": "work", "city": "Enugu"}, "STF-11")
    server = person(telecom=[phone("555-1").value], address=[home.value])
    planned = plan(one, server, base(phone("555-1"), home))
    assert planned.body is not None
    assert happened(planned, planned.body)
    assert not happened(planned, server)
    assert not happened(planned, {**planned.body, "address": server["address"]})
    assert not happened(planned, {**planned.body, "gender": "other"})
    assert not happened(planned, {k: v for k, v in planned.body.items() if k != "telecom"})


def test_what_is_planned_is_fhir() -> None:
    """A second opinion on every kind of body that a plan makes."""
    practitioner = pytest.importorskip("fhir.resources.R4B.practitioner").Practitioner
    practitioner_role = pytest.importorskip("fhir.resources.R4B.practitionerrole").PractitionerRole
    licence = StaffIdentifier(
        "77", "urn:oid:2.999.1", type_code="MD", provenance=Provenance.read("STF-2"), extra={"period": {"end": "2030"}}
    )
    one = change(
        Action.ADD,
        name(suffix=["MD"]),
        phone("555-1"),
        value("gender", "female", "STF-5"),
        value("communication", {"text": "Igbo"}, "LAN-2"),
        value("qualification", {"code": {"text": "MD"}, "period": {"start": "2001-05"}}, "EDU-2"),
        npi=GOOD_NPI,
        identifiers=[licence],
    )
    created = plan(one, None)
    assert created.body is not None
    removed = plan(change(Action.REMOVE), {**created.body, "id": "p1"}, created.written)
    role_created = plan_one(one, RoleIntent(unit("ICU", "STF-8", value("code", {"text": "Nurse"}, "PRA-3"))), None)
    assert role_created.body is not None
    own = replace(role_created.written, resource_id="r1")  # type: ignore[type-var]
    leaving = change(Action.DEACTIVATE, ended_for="Leave of absence")
    bare = RoleIntent(StaffRole("STF-8:ICU", "STF-8"), ENDED_WITH_PERSON, own)
    ended = plan_one(leaving, bare, {**role_created.body, "id": "r1"})
    for model, planned in (
        (practitioner, created),
        (practitioner, removed),
        (practitioner_role, role_created),
        (practitioner_role, ended),
    ):
        model.model_validate_json(write_json(planned.body))


@pytest.mark.parametrize(
    ("end", "over"),
    [
        ("2026-03-17", True), ("2026-03-18", False), ("2026-02", True), ("2026-03", False), ("2025", True), ("2026", False),
        ("2026-03-18T11:00:00+00:00", True), ("2026-03-18T13:00:00+00:00", False), ("2026-03-18T13:30:00+02:00", True),
        ("", False),
    ],
)  # fmt: skip
def test_an_end_has_passed_with_its_last_instant(end: str, over: bool) -> None:
    assert is_over(end, datetime(2026, 3, 18, 12, tzinfo=UTC)) is over
