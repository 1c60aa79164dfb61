"""The way back from a write, planned: only what it changed, and what nobody changed since."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hl7bridge.destinations.fhir.restore import CREATED, HELD_ACTIVE, NOTHING, RestorePlan, combined, plan_restore
from hl7bridge.model import Action, ElementValue, Image, JsonObject, Kind, Number, Provenance, Written
from tests.destinations.fhir.people import ADA, LEAVES, Bridge, change, name, phone, unit, value
from tests.destinations.fhir.server import FakeFhir

TODAY = "2026-03-04"
OLD, NEW, THEIRS = ({"system": "phone", "use": "work", "value": number} for number in ("555-1", "555-2", "555-9"))
PHOTO = [{"url": "http://example.org/p.png"}]


def practitioner(**elements: Any) -> JsonObject:
    return {"resourceType": "Practitioner", "id": "p1", "meta": {"versionId": "7"}, **elements}


def base(*values: ElementValue, holds_active: bool = True, **more: Any) -> Written:
    return Written("Practitioner", "p1", values, holds_active=holds_active, feed="hr", source_key="S100", **more)


def way_back(
    before: JsonObject, after: JsonObject, now: JsonObject, *others: Written, own: Written | None = None
) -> RestorePlan:
    image = Image("Practitioner", "p1", practitioner(**before), practitioner(**after), own)
    return plan_restore(image, practitioner(**now), base(phone("555-2")), others, TODAY)


# --- element by element ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "now", "restored", "kept"),
    [
        pytest.param({"telecom": [OLD]}, {"telecom": [NEW]}, {"telecom": [NEW]}, {"telecom": [OLD]}, [], id="replaced"),
        pytest.param({}, {"telecom": [NEW]}, {"telecom": [NEW]}, {}, [], id="added"),
        pytest.param({"telecom": [OLD]}, {}, {}, {"telecom": [OLD]}, [], id="removed"),
        pytest.param(
            {"telecom": [OLD]}, {"telecom": [NEW]}, {"telecom": [THEIRS, NEW]}, {"telecom": [THEIRS, OLD]}, [],
            id="an item of others beside it stays",
        ),
        pytest.param(
            {"telecom": [OLD]}, {"telecom": [NEW]}, {"telecom": [THEIRS]}, None, ["telecom"], id="changed since"
        ),
        pytest.param({"telecom": [OLD]}, {"telecom": [NEW]}, {"telecom": [OLD]}, None, [], id="taken back already"),
        pytest.param({"telecom": [OLD]}, {"telecom": [NEW]}, {}, None, ["telecom"], id="removed since"),
        pytest.param({"active": True}, {"active": False}, {"active": False}, {"active": True}, [], id="a deactivation"),
        pytest.param({}, {"active": False}, {"active": False}, {}, [], id="active, where none stood"),
        pytest.param({"gender": "male"}, {"gender": "female"}, {"gender": "other"}, None, ["gender"], id="single, changed"),
        pytest.param(
            {"gender": "male", "telecom": [OLD]}, {"gender": "female", "telecom": [NEW]},
            {"gender": "other", "telecom": [NEW], "photo": PHOTO},
            {"gender": "other", "telecom": [OLD], "photo": PHOTO}, ["gender"], id="partly",
        ),
        pytest.param({"photo": []}, {"photo": PHOTO}, {"photo": PHOTO}, None, [], id="an element that is never ours"),
    ],
)  # fmt: skip
def test_only_what_the_write_changed_and_nobody_since(
    before: JsonObject, after: JsonObject, now: JsonObject, restored: JsonObject | None, kept: list[str]
) -> None:
    plan = way_back(before, after, now)
    assert [difference.path for difference in plan.kept] == kept
    if restored is None:
        assert (plan.interaction.kind, plan.interaction.body) == (Kind.NONE, None)
        assert plan.base == base(phone("555-2"))
        return
    assert plan.interaction.kind is Kind.UPDATE
    assert plan.interaction.body == practitioner(**restored)
    assert plan.interaction.version == "7"
    again = plan_restore(
        Image("Practitioner", "p1", practitioner(**before), practitioner(**after)),
        practitioner(**restored),
        plan.base,
        (),
        TODAY,
    )
    assert again.interaction.kind is Kind.NONE


def test_numbers_and_order_come_back_as_they_were() -> None:
    ranked = {**OLD, "extension": [{"url": "http://example.org/w", "valueDecimal": Number("1.10")}]}
    plan = way_back({"telecom": [ranked, THEIRS]}, {"telecom": [THEIRS]}, {"telecom": [THEIRS]})
    assert plan.interaction.body is not None
    first = plan.interaction.body["telecom"][0]
    assert (plan.interaction.body["telecom"], first["extension"][0]["valueDecimal"].text) == ([ranked, THEIRS], "1.10")
    assert [(d.path, d.before) for d in plan.interaction.differences] == [("telecom[0]", None)]


def test_our_tag_goes_the_rest_of_meta_is_the_servers() -> None:
    ours, theirs = (
        {"system": "urn:hl7bridge:lifecycle", "code": "deleted-in-source"},
        {"system": "urn:x", "code": "y"},
    )
    image = Image("Practitioner", "p1", practitioner(), {**practitioner(), "meta": {"tag": [ours]}})
    now = {**practitioner(), "meta": {"versionId": "8", "tag": [theirs, ours]}}
    plan = plan_restore(image, now, None, (), TODAY)
    assert plan.interaction.body is not None
    assert plan.interaction.body["meta"] == {"versionId": "8", "tag": [theirs]}


# --- other feeds -----------------------------------------------------------------------------------------------------


def test_what_another_feed_supplies_too_stays() -> None:
    other = Written("Practitioner", "p1", (phone("555-2"),), feed="badge", source_key="9")
    plan = way_back({"telecom": [OLD]}, {"telecom": [NEW]}, {"telecom": [NEW]}, other)
    assert (plan.interaction.kind, [d.path for d in plan.kept]) == (Kind.NONE, ["telecom[0]"])


def test_nobody_is_made_inactive_whom_another_feed_holds_active() -> None:
    other = Written("Practitioner", "p1", feed="badge", source_key="9")
    plan = way_back({"active": False}, {"active": True}, {"active": True}, other)
    assert (plan.interaction.kind, [d.path for d in plan.kept]) == (Kind.NONE, ["active"])
    created = plan_restore(Image("Practitioner", "p1", None, {}), practitioner(active=True), None, (other,), TODAY)
    assert (created.interaction.kind, created.interaction.reason) == (Kind.NONE, HELD_ACTIVE)


# --- what was created ------------------------------------------------------------------------------------------------


def test_who_was_created_is_made_inactive() -> None:
    image = Image("Practitioner", "p1", None, practitioner(active=True))
    now = practitioner(active=True, telecom=[THEIRS])
    plan = plan_restore(image, now, base(phone("555-2")), (), TODAY)
    assert plan.interaction.body == {**now, "active": False}
    assert plan.interaction.reason == CREATED
    assert plan.base == base(phone("555-2"), holds_active=False)
    again = plan_restore(image, {**now, "active": False}, plan.base, (), TODAY)
    assert (again.interaction.kind, again.interaction.reason) == (Kind.NONE, NOTHING)


@pytest.mark.parametrize(
    ("period", "end"), [({}, TODAY), ({"start": "2027-01-01"}, "2027-01-01"), ({"end": "2026-01-31"}, "2026-01-31")]
)
def test_a_role_that_was_created_ends(period: JsonObject, end: str) -> None:
    role = {"resourceType": "PractitionerRole", "id": "r1", "active": True, **({"period": period} if period else {})}
    plan = plan_restore(Image("PractitionerRole", "r1", None, role), role, None, (), TODAY)
    assert plan.interaction.body is not None
    assert (plan.interaction.body["active"], plan.interaction.body["period"]["end"]) == (False, end)


# --- bases -----------------------------------------------------------------------------------------------------------


def test_the_record_stands_for_what_it_stood_for() -> None:
    own = base(phone("555-1"), ElementValue("active.away", True, Provenance.read("EVN-2")), holds_active=False)
    plan = way_back({"telecom": [OLD], "active": False}, {"telecom": [NEW], "active": True},
                    {"telecom": [NEW], "active": True}, own=own)  # fmt: skip
    assert plan.base == own
    adopted = way_back({"telecom": [OLD]}, {"telecom": [OLD, NEW]}, {"telecom": [OLD, NEW]})
    assert adopted.base == base()


def test_what_was_written_since_stays_in_the_base() -> None:
    image = Image("Practitioner", "p1", practitioner(telecom=[OLD]), practitioner(telecom=[NEW]), base(phone("555-1")))
    since = base(phone("555-2"), value("gender", "female", "STF-5"))
    plan = plan_restore(image, practitioner(telecom=[NEW], gender="female"), since, (), TODAY)
    assert plan.base is not None
    assert [one.element for one in plan.base.values] == ["gender", "telecom"]
    assert plan.base.values[1].value["value"] == "555-1"


# --- images of several writes ----------------------------------------------------------------------------------------


def test_the_images_of_one_resource_are_one_way_back() -> None:
    first = Image("Practitioner", "", None, {"n": 1})
    second = Image("Practitioner", "p1", {"n": 1}, {"n": 2}, base())
    role, lost = Image("PractitionerRole", "r1", None, {}), Image("PractitionerRole", "", None, {})
    assert combined((first, second, role, lost), "p1") == (role, Image("Practitioner", "p1", None, {"n": 2}))
    assert combined((first,), "") == ()


# --- after real deliveries -------------------------------------------------------------------------------------------


def restore(bridge: Bridge, server: FakeFhir, images: tuple[Image, ...]) -> list[Kind]:
    """Carry the way back out as the command does."""
    done = []
    for image in combined(images, ""):
        bases = bridge.written_by(image.resource_type, image.resource_id)
        now = server.get(image.resource_type, image.resource_id)
        plan = plan_restore(image, now, bases[0] if bases else None, (), TODAY)
        done.append(plan.interaction.kind)
        if plan.interaction.body is not None:
            server.put(plan.interaction.body)
        if plan.base is not None:
            key = (plan.base.feed, plan.base.source_key, plan.base.resource_type, plan.base.resource_id)
            bridge.bases[*key, plan.base.role_key] = plan.base
    return done


def without_meta(resource: JsonObject) -> JsonObject:
    return {element: there for element, there in resource.items() if element != "meta"}


def test_a_move_and_back_leaves_nothing_and_the_same_message_does_it_again(bridge: Bridge, server: FakeFhir) -> None:
    staffed = replace(ADA, roles=(unit("ICU"),))
    bridge.deliver(staffed)
    before = {kind: without_meta(server.only(kind)) for kind in ("Practitioner", "PractitionerRole")}
    moves = change(Action.UPDATE, name("Okonkwo-Brandt"), phone("555-2"), roles=(unit("ER"),))
    moved = bridge.deliver(moves)
    assert [image.resource_type for image in moved.images] == ["Practitioner", "PractitionerRole", "PractitionerRole"]
    restore(bridge, server, moved.images)
    assert without_meta(server.only("Practitioner")) == before["Practitioner"]
    units = {role["organization"]["identifier"]["value"]: role for role in server.all("PractitionerRole")}
    assert without_meta(units["ICU"]) == before["PractitionerRole"]
    assert units["ER"]["active"] is False
    assert bridge.deliver(staffed).drift == ()
    again = bridge.deliver(moves)
    assert again.result == "updated"
    assert server.only("Practitioner")["telecom"][0]["value"] == "555-2"


def test_a_leaver_comes_back_with_her_roles_and_leaves_again(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(replace(ADA, roles=(unit("ICU"),)))
    left = bridge.deliver(LEAVES)
    assert restore(bridge, server, left.images) == [Kind.UPDATE, Kind.UPDATE]
    assert (server.only("Practitioner")["active"], server.only("PractitionerRole")["active"]) == (True, True)
    assert "period" not in server.only("PractitionerRole")
    assert all(written.holds_active for written in bridge.bases.values())
    assert bridge.deliver(LEAVES).result == "deactivated"
