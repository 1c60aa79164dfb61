"""Before-images as each write left them, restores that wait and are decided, and whether they last."""

from __future__ import annotations

from dataclasses import replace

from hl7bridge.model import Difference, ElementValue, Image, Interaction, Kind, Number, Provenance, Result, Written
from hl7bridge.store.restores import image_from_row, image_to_bytes
from hl7bridge.store.store import DeliveryState, Store
from tests.store.builders import NOW, accept_one, change, claim, deliveries, events, outcome, settlement

WHO = {"who": "ana", "reason": "wrong file"}
BASE = Written(
    "Practitioner",
    "p1",
    (ElementValue("telecom", {"value": "1"}, Provenance.read("STF-10")),),
    feed="hr",
    source_key="S1",
)
BEFORE = {"resourceType": "Practitioner", "id": "p1", "extension": [{"valueDecimal": Number("1.10")}]}
IMAGE = Image("Practitioner", "p1", BEFORE, {**BEFORE, "active": False}, BASE)


def written(*images: Image, path: str = "telecom[0]") -> dict[str, object]:
    difference = Difference(path, {"value": "1"}, {"value": "2"}, "STF-10")
    interaction = Interaction(Kind.UPDATE, "Practitioner", "p1", {}, "1", (difference,))
    return {"images": images, "interactions": (interaction,), "person_id": "p1", "written": (BASE,)}


def deliver(store: Store, state: DeliveryState = DeliveryState.ENDED, **given: object) -> int:
    accept_one(store, change())
    (one,) = claim(store)
    result = Result.UPDATED if state is DeliveryState.ENDED else Result.UNKNOWN
    store.settlements.settle([settlement(one, state, outcome=outcome(result, **given))], NOW)
    return one.delivery_id


def test_an_image_survives_as_it_was() -> None:
    created = Image("PractitionerRole", "r1", None, {"id": "r1", "text": "half \ud800 of a pair"}, None)
    for image in (IMAGE, created):
        again = image_from_row(image.resource_type, image.resource_id, 0, image_to_bytes(image))
        assert again == image
    again = image_from_row("Practitioner", "p1", 0, image_to_bytes(IMAGE))
    assert again.before is not None
    assert again.before["extension"][0]["valueDecimal"].text == "1.10"
    big = {**BEFORE, "note": "x" * 40_000}
    assert len(image_to_bytes(Image("Practitioner", "p1", big, big))) < 1000


def test_the_images_of_all_attempts_are_kept_in_order(store: Store) -> None:
    accept_one(store, change())
    (one,) = claim(store)
    first = replace(IMAGE, resource_id="", before=None, own=None)
    store.settlements.settle(
        [settlement(one, DeliveryState.UNKNOWN, outcome=outcome(Result.UNKNOWN, images=(first,)), next_attempt=NOW)],
        NOW,
    )
    (one,) = claim(store, NOW + 1)
    role = Image("PractitionerRole", "r1", None, {"id": "r1"})
    store.settlements.settle([settlement(one, outcome=outcome(images=(IMAGE, role)))], NOW + 1)
    assert store.restores.images(one.delivery_id) == (first, IMAGE, role)
    found = store.restores.delivery(one.delivery_id)
    assert found is not None
    assert (found.source_key, found.state, found.under_way) == ("S1", "ended", False)
    assert store.restores.images(99) == ()
    assert store.restores.delivery(99) is None


def test_an_image_that_cannot_be_written_down_loses_nothing_else(store: Store) -> None:
    endless: dict[str, object] = {}
    endless["a"] = endless
    delivery_id = deliver(store, images=(Image("Practitioner", "p1", endless, {}), IMAGE), written=(BASE,))
    assert store.restores.images(delivery_id) == (IMAGE,)
    assert store.crosswalk.written_by("main", "Practitioner", "p1") == (BASE,)
    assert "before-image not kept" in events(store, 1)


def test_a_delivery_of_a_person_under_way_is_seen(store: Store) -> None:
    delivery_id = deliver(store, **written(IMAGE))
    accept_one(store, change())
    claim(store)
    found = store.restores.delivery(delivery_id)
    assert found is not None
    assert found.under_way


def test_a_restore_leaves_its_bases_and_its_history(store: Store) -> None:
    delivery_id = deliver(store, **written(IMAGE))
    after = replace(BASE, values=(), holds_active=False, version="9")
    elements = ["Practitioner/p1/telecom"]
    restore_id = store.restores.restored(delivery_id, NOW, **WHO, elements=elements, bases=(after,))
    assert store.crosswalk.written_by("main", "Practitioner", "p1") == (after,)
    (row,) = store.restores.restores(restore_id=restore_id)
    assert (row.state, row.who, row.decided_by, row.elements) == ("applied", "ana", "ana", tuple(elements))
    assert events(store, 1)[-1] == "restored"
    assert store.restores.restores(state="waiting") == []


def test_a_restore_waits_is_approved_or_rejected(store: Store) -> None:
    delivery_id = deliver(store, **written(IMAGE))
    waiting = store.restores.ask_restore(delivery_id, NOW, **WHO)
    assert store.restores.ask_restore(delivery_id, NOW, who="bea", reason="again") == waiting
    (row,) = store.restores.restores(state="waiting")
    assert (row.id, row.who, row.source_key) == (waiting, "ana", "S1")
    done = store.restores.restored(
        delivery_id, NOW, who="bea", reason="right", elements=[], bases=(), restore_id=waiting
    )
    assert done == waiting
    assert store.restores.restores(delivery_id=delivery_id)[0].decided_by == "bea"
    assert not store.restores.reject_restore(waiting, NOW, **WHO)
    second = store.restores.ask_restore(delivery_id, NOW, **WHO)
    assert second != waiting
    assert store.restores.reject_restore(second, NOW, who="bea", reason="no")
    assert [row.state for row in store.restores.restores()] == ["rejected", "applied"]


def test_a_later_message_that_changes_it_again_opens_a_task_once(store: Store) -> None:
    delivery_id = deliver(store, **written(IMAGE))
    store.restores.restored(delivery_id, NOW, **WHO, elements=["Practitioner/p1/telecom"], bases=())
    deliver(store, **written(path="name[0]"))
    assert store.worklist.tasks(kind="restore-undone").rows == ()
    deliver(store, **written(path="telecom[1]"))
    deliver(store, **written(path="telecom[1]"))
    (task,) = store.worklist.tasks(kind="restore-undone")
    assert (task.state, task.source_key, task.message_id) == ("open", "S1", 3)
    assert store.restores.restores()[0].undone == NOW
    assert deliveries(store, 3)[0]["result"] == "updated"
