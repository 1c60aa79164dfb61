"""What holds of every plan, whoever wrote what before: hypothesis plays two feeds and the people at the server."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl7bridge.destinations.fhir.happened import happened
from hl7bridge.destinations.fhir.merging.merge import covers, essence, same
from hl7bridge.destinations.fhir.plan import plan_practitioner
from hl7bridge.model import (
    Action,
    ElementValue,
    Interaction,
    JsonObject,
    Kind,
    Location,
    Number,
    Provenance,
    StaffChange,
    StaffIdentifier,
    Written,
    write_json,
)
from tests.destinations.fhir.people import KEYS, NOW, rules
from tests.examples import examples

numbers = st.sampled_from(["555-1", "555-2", "555-3", "555-4"])
points = st.builds(
    lambda number, use, system: {"system": system, "value": number} | ({"use": use} if use else {}),
    numbers,
    st.sampled_from(["work", "mobile", ""]),
    st.sampled_from(["phone", "fax"]),
)
names = st.builds(
    lambda family, given, use, suffix: {"family": family, "given": [given], "use": use} | suffix,
    st.sampled_from(["Okonkwo", "Brandt"]),
    st.sampled_from(["Adaeze", "Ada"]),
    st.sampled_from(["official", "usual"]),
    st.sampled_from([{}, {"suffix": ["MD"]}, {"prefix": ["Dr."]}]),
)
languages = st.sampled_from(
    [
        {"coding": [{"system": "urn:ietf:bcp:47", "code": "es"}]},
        {"coding": [{"system": "urn:ietf:bcp:47", "code": "es", "display": "Spanish"}], "text": "Spanish"},
        {"text": "Spanish"},
        {"coding": [{"system": "urn:ietf:bcp:47", "code": "ig"}]},
    ]
)
degrees = st.builds(
    lambda code, period: {"code": {"coding": [{"system": "urn:x", "code": code}]}} | period,
    st.sampled_from(["MD", "RN"]),
    st.sampled_from([{}, {"period": {"start": "2001"}}, {"period": {"start": "2001", "end": "2030"}}]),
)
ids = st.builds(
    lambda system, value, kind: {"system": f"urn:oid:2.999.{system}", "value": value} | kind,
    st.sampled_from([1, 2]),
    st.sampled_from(["A1", "A2"]),
    st.sampled_from([{}, {"use": "official"}, {"type": {"text": "licence"}}]),
)
ITEMS: dict[str, Any] = {
    "identifier": ids,
    "name": names,
    "telecom": points,
    "qualification": degrees,
    "communication": languages,
}
FIELDS = {
    "identifier": ("STF-2",),
    "name": ("STF-3",),
    "telecom": ("STF-10", "STF-15"),
    "qualification": ("CER-10", "EDU-2"),
    "communication": ("LAN-2",),
}
MANAGED = set(ITEMS) | {"gender", "active"}


@st.composite
def messages(draw: Any, key: str) -> StaffChange:
    """A staff change with some of the elements; what is not drawn is not supplied."""
    values: list[ElementValue] = []
    identifiers = [StaffIdentifier(key, KEYS, provenance=Provenance.read("MFE-4"))]
    for element, items in ITEMS.items():
        for number, item in enumerate(draw(st.lists(items, max_size=3)), 1):
            field = f"{draw(st.sampled_from(FIELDS[element]))}[{number}]"
            if element == "identifier":
                extra = {name: item[name] for name in item if name not in ("system", "value")}
                identifiers.append(
                    StaffIdentifier(item["value"], item["system"], provenance=Provenance.read(field), extra=extra)
                )
            else:
                values.append(ElementValue(element, item, Provenance.read(field)))
    if draw(st.booleans()):
        values.append(ElementValue("gender", draw(st.sampled_from(["female", "other"])), Provenance.read("STF-5")))
    cleared = draw(st.lists(st.sampled_from([("STF", 10), ("STF", 3), ("LAN", 2)]), max_size=1))
    active = draw(st.sampled_from([True, True, False, None]))
    return StaffChange(
        Action.UPDATE,
        key,
        tuple(identifiers),
        active,
        practitioner=tuple(values),
        cleared=tuple(Location(segment, field=number) for segment, number in cleared),
    )


@st.composite
def edits(draw: Any) -> tuple[str, Any]:
    """What somebody at the server does: adds an item, decorates one (its place), or removes the first (None)."""
    element = draw(st.sampled_from(sorted(ITEMS)))
    return element, draw(st.one_of(ITEMS[element], st.integers(0, 3), st.none()))


steps = st.lists(st.one_of(messages("A"), messages("B"), edits()), min_size=1, max_size=7)

FOREIGN: JsonObject = {
    "resourceType": "Practitioner",
    "id": "p1",
    "meta": {"versionId": "1", "profile": ["http://example.org/profile"]},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Ward"}],
    "extension": [{"url": "http://example.org/fte", "valueDecimal": Number("1.10")}],
    "photo": [{"url": "http://example.org/photo.png"}],
    "unheardOf": {"a": [1, 2.5, None]},
    "_birthDate": {"extension": [{"url": "http://example.org/x", "valueBoolean": True}]},
}


def plan(
    change: StaffChange, server: JsonObject | None, bases: dict[str, Written], on_drift: str = "overwrite"
) -> Interaction:
    feed = change.source_key
    others = [base for other, base in bases.items() if other != feed]
    return plan_practitioner(change, feed, rules(on_drift=on_drift), server, bases.get(feed), others, NOW)


def check_put_is_get_plus_differences(server: JsonObject, interaction: Interaction) -> None:
    body = interaction.body or server
    for element in server.keys() | body.keys():
        if element not in MANAGED:
            assert write_json(body[element]) == write_json(server[element])
            continue
        before, after = server.get(element), body.get(element)
        mine = [d for d in interaction.differences if d.path.partition("[")[0] == element]
        if element not in ITEMS:
            assert before == after or [(d.before, d.after) for d in mine] == [(before, after)]
            continue
        left = list(before or [])
        for difference in mine:
            if difference.before is not None:
                left.remove(difference.before)  # ValueError: a difference that names what was not there
        brought = [d.after for d in mine if d.after is not None]
        kept = [item for item in after or [] if item not in brought]
        assert [item for item in left if item not in brought] == kept  # all else survives, in its order
        assert len(after or []) == len(left) + len(brought)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.sampled_from(["overwrite", "overwrite", "keep"]))
def test_two_feeds_and_people_at_the_server(story: list[Any], on_drift: str) -> None:
    """Nothing foreign changes, no feed removes another's values, what people added survives, a second plan is none."""
    server = copy.deepcopy(FOREIGN)
    bases: dict[str, Written] = {}
    added: list[tuple[str, Any]] = []
    stood_for: list[ElementValue] = []
    for step in story:
        if isinstance(step, tuple):
            element, what = step
            items = server.setdefault(element, [])
            if what is None:
                del items[:1]
            elif isinstance(what, dict):
                items.append(copy.deepcopy(what))
                added.append((element, {**what}))
            elif what < len(items):
                mark = {"extension": [{"url": f"http://example.org/{what}", "valueDecimal": Number("1.10")}]}
                items[what] = {**items[what], **mark}
                added.append((element, mark)) if element in ("name", "telecom") else None
            if not items:
                del server[element]
            continue
        others = [(w, v) for w in bases.values() if w.feed != step.source_key for v in w.values]
        held = [(w, v) for w, v in others if _shown(server, v)]
        frozen = write_json(server)
        interaction = plan(step, server, bases)
        assert write_json(server) == frozen, "the plan changed the server's resource"
        check_put_is_get_plus_differences(server, interaction)
        assert (interaction.kind is Kind.NONE) == (interaction.body is None) == (not interaction.differences)
        server = copy.deepcopy(interaction.body or server)
        assert happened(interaction, server)
        assert interaction.written is not None
        bases[step.source_key] = interaction.written
        stood_for += interaction.written.values
        for writer, value in held:
            # A single value has one owner at a time: the last who spoke. Lists keep what every feed stands for.
            assert value.element == "gender" or _shown(server, value), (writer.feed, value)
        for value in interaction.written.values:
            fixed = on_drift == "overwrite" and value.provenance in {v.provenance for v in step.practitioner}
            assert value.element == "gender" or not fixed or _shown(server, value), value
        again = plan(step, server, bases, on_drift)
        assert again.kind is Kind.NONE, again.differences
        assert again.written == interaction.written
        assert not again.drift or on_drift == "keep"
    if any(step[1] is None for step in story if isinstance(step, tuple)):
        return  # of what is gone, or took the place of what is gone, there is no telling
    for element, item in added:
        if "extension" not in item and not _adopted(stood_for, element, item):
            assert any(_keeps(one, item) for one in server.get(element, [])), (element, item)


def _shown(server: JsonObject, value: ElementValue) -> bool:
    now = server.get(value.element)
    if isinstance(now, list):
        bare = {k: v for k, v in value.value.items() if k not in ("type", "use")}
        wanted = bare if value.element == "identifier" else value.value
        return any(covers(item, wanted) or _coded_alike(item, wanted) for item in now)
    return bool(now == value.value)


def _coded_alike(item: Any, wanted: Any) -> bool:
    codes = [(c["system"], c["code"]) for c in wanted.get("coding", [])]
    return bool(codes) and codes == [(c["system"], c["code"]) for c in item.get("coding", [])]


def _adopted(stood_for: list[ElementValue], element: str, item: Any) -> bool:
    """Whether a feed has ever said the same as somebody at the server, or more of it: from then on it is the feed's, too."""

    def agrees(one: Any) -> bool:
        core = {key: item[key] for key in ("family", "given", "use", "code", "coding", "value") if key in item}
        return covers(one, essence(element, core)) or covers(item, essence(element, one))

    return any(value.element == element and agrees(value.value) for value in stood_for)


def _keeps(one: Any, item: Any) -> bool:
    return covers(one, item) or same(one, item)


@settings(max_examples=examples(40), deadline=None)
@given(messages("A"))
def test_a_created_resource_needs_no_second_write(change: StaffChange) -> None:
    created = plan(change, None, {})
    assert created.kind is Kind.CREATE
    assert created.body is not None
    assert created.written is not None
    server = {**copy.deepcopy(created.body), "id": "p9"}
    assert happened(created, server)
    again = plan(change, server, {"A": created.written})
    assert again.kind is Kind.NONE, again.differences
    assert [value.element for value in again.written.values] == [v.element for v in created.written.values]  # type: ignore[union-attr]
