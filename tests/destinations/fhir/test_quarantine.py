"""Whom a person has to decide about, by which identifiers people are found, and what a person's decision outweighs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hl7bridge.destinations.fhir.identity.resolve import Match, Resolution, resolve
from hl7bridge.destinations.fhir.identity.systems import NPI
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.reasons import QUARANTINE
from hl7bridge.model import (
    Action,
    ElementValue,
    JsonObject,
    Known,
    Link,
    Provenance,
    Result,
    StaffChange,
    StaffIdentifier,
    Written,
)
from tests.destinations.fhir.people import ADA, GOOD_NPI, KEYS, LEAVES, Bridge, change, kinds, name, rules, value
from tests.destinations.fhir.server import Answer, FakeFhir, LostReply, once, problem
from tests.destinations.fhir.test_identity import LICENCE, OTHER_NPI, person

BORN = value("birthDate", "1980-02-01", "STF-6")
REDIRECTED = {"system": "http://hapifhir.io/fhir/NamingSystem/mdm-record-status", "code": "REDIRECTED"}


def asked(
    one: StaffChange, *people: JsonObject, known: Known | None = None, **rule: Any
) -> tuple[Resolution, list[str]]:
    """The resolution, and what was searched for, search by search ("" = a read)."""
    server = FakeFhir()
    for resource in people:
        server.put(resource)
    client = FhirClient(rules(**rule), transport=server.transport())
    found = resolve(client, one, known or Known(), rules(**rule))
    return found, [request.query.get("identifier", "") for request in server.journal]


# --- disagreement: both sides, and nothing is written ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "people", "known", "local"),
    [
        pytest.param(
            change(Action.UPDATE, name(), npi=GOOD_NPI),
            [person("a", (KEYS, "S100")), person("b", (NPI, GOOD_NPI))],
            "",
            "several-people",
            id="staff key of one, NPI of another",
        ),
        pytest.param(
            change(Action.UPDATE, name(), npi=GOOD_NPI),
            [person("a", (KEYS, "S100")), person("b", (NPI, GOOD_NPI))],
            "a",
            "identifier-of-another",
            id="known by the crosswalk, NPI of another",
        ),
        pytest.param(
            change(Action.UPDATE, name(), npi=GOOD_NPI),
            [person("a", (KEYS, "S100"), (NPI, OTHER_NPI))],
            "a",
            "npi-differs",
            id="the NPI changed",
        ),
        pytest.param(
            change(Action.UPDATE, name("Brandt"), npi=GOOD_NPI),
            [person("a", (KEYS, "S100"), (NPI, OTHER_NPI))],
            "a",
            "recycled-key",
            id="a staff key used again: other name, other NPI",
        ),
        pytest.param(
            change(Action.UPDATE, name("Brandt"), BORN),
            [person("a", (KEYS, "S100"), birthDate="1999-07-07")],
            "a",
            "recycled-key",
            id="a staff key used again: other name, other birth date",
        ),
        pytest.param(
            change(Action.UPDATE, name()),
            [person("a", (KEYS, "S100"), meta={"tag": [REDIRECTED]})],
            "",
            "merged-at-server",
            id="merged, by a tag",
        ),
        pytest.param(
            change(Action.UPDATE, name()),
            [person("a", (KEYS, "S100"), link=[{"type": "replaced-by", "other": {"reference": "Practitioner/b"}}])],
            "a",
            "merged-at-server",
            id="merged, by a link",
        ),
        pytest.param(
            change(Action.UPDATE, name(), npi=GOOD_NPI),
            [person("a", (KEYS, "S100"), (NPI, GOOD_NPI)), person("b", (NPI, GOOD_NPI), active=False)],
            "",
            "several-people",
            id="an inactive duplicate is no reason to pick the other",
        ),
        pytest.param(
            change(Action.UPDATE, name()),
            [person("a", identifier=[{"use": "old", "system": KEYS, "value": "S100"}])],
            "",
            "identifier-retired",
            id="the staff key, as an old one",
        ),
        pytest.param(
            change(Action.UPDATE, name(), npi=GOOD_NPI),
            [person("a", (KEYS, "S7"))],
            "a",
            "crosswalk-strayed",
            id="the crosswalk's id is somebody else",
        ),
    ],
)
def test_a_disagreement_is_held_with_both_sides(
    one: StaffChange, people: list[JsonObject], known: str, local: str
) -> None:
    server = FakeFhir()
    for resource in people:
        server.put(resource)
    bridge = Bridge(server)
    if known:
        bridge.crosswalk["hr", "S100"] = known
    held = bridge.deliver(one)
    assert (held.result, held.local, kinds(held)) == (Result.HELD, local, ["identity-review"])
    assert held.code == "205"
    assert local in QUARANTINE
    assert server.writes() == []
    assert [candidate["id"] for candidate in held.candidates] == [resource["id"] for resource in people]
    first = held.candidates[0]
    assert first["name"] == people[0]["name"]
    assert first["identifier"] == people[0]["identifier"]
    assert first.get("active") == people[0].get("active")
    assert first.keys() <= {"id", "active", "name", "gender", "identifier", "birthDate"}
    told = held.text + str(held.tasks) + repr(held)
    for private in ("Okonkwo", "Brandt", "S100", GOOD_NPI, OTHER_NPI, "1999"):
        assert private not in told


def test_a_changed_npi_may_be_allowed_a_recycled_key_may_not() -> None:
    carrier = person("a", (KEYS, "S100"), (NPI, OTHER_NPI))
    same, _ = asked(change(Action.UPDATE, name(), npi=GOOD_NPI), carrier, allow_npi_change=True)
    other, _ = asked(change(Action.UPDATE, name("Brandt"), npi=GOOD_NPI), carrier, allow_npi_change=True)
    assert (same.match, other.local) == (Match.FOUND, "recycled-key")


def test_a_redirected_and_a_deleted_person_are_quarantined(bridge: Bridge, server: FakeFhir) -> None:
    bridge.deliver(ADA)
    server.faults.append(lambda request: Answer(301, {"location": "https://evil.example/"}))
    assert bridge.deliver(ADA).local in QUARANTINE
    server.faults.clear()
    server.delete("Practitioner", bridge.crosswalk["hr", "S100"])
    gone = bridge.deliver(ADA)
    assert gone.local == "deleted-at-server"
    assert gone.local in QUARANTINE
    assert bridge.crosswalk["hr", "S100"]  # the tombstone's id stays known
    assert len(server.writes()) == 1


# --- order -----------------------------------------------------------------------------------------------------------

FULL = change(Action.UPDATE, name(), npi=GOOD_NPI, identifiers=[LICENCE])
KEY_TOKEN, LICENCE_TOKEN = f"{KEYS}|S100", "urn:oid:2.999.3|L-7"
NPI_TOKENS = f"{NPI}|{GOOD_NPI},urn:oid:2.16.840.1.113883.4.6|{GOOD_NPI}"


@pytest.mark.parametrize(
    ("order", "people", "match", "searches"),
    [
        (("crosswalk", "all"), [], Match.NONE, [f"{KEY_TOKEN},{LICENCE_TOKEN},{NPI_TOKENS}"]),
        (("crosswalk", "key", "NPI"), [], Match.NONE, [KEY_TOKEN, NPI_TOKENS]),
        (("NPI", "key"), [], Match.NONE, [NPI_TOKENS, KEY_TOKEN]),
        (("key", "MD", "NPI"), [("a", KEYS, "S100")], Match.FOUND, [KEY_TOKEN, f"{LICENCE_TOKEN},{NPI_TOKENS}"]),
        (("key", "all"), [("a", NPI, GOOD_NPI)], Match.FOUND, [KEY_TOKEN, f"{LICENCE_TOKEN},{NPI_TOKENS}"]),
        (("key",), [("a", NPI, GOOD_NPI)], Match.NONE, [KEY_TOKEN]),
        (("urn:oid:2.999.3",), [("a", KEYS, "S100")], Match.NONE, [LICENCE_TOKEN]),
        (("key", "NPI"), [("a", KEYS, "S100"), ("b", NPI, GOOD_NPI)], Match.AMBIGUOUS, [KEY_TOKEN, NPI_TOKENS]),
        (("NPI", "key"), [("a", KEYS, "S100"), ("b", NPI, GOOD_NPI)], Match.AMBIGUOUS, [NPI_TOKENS, KEY_TOKEN]),
    ],
    ids=lambda given: "-".join(map(str, given)) if isinstance(given, tuple) and isinstance(given[0], str) else None,
)
def test_the_order_says_who_is_found_and_never_picks(
    order: tuple[str, ...], people: list[tuple[str, str, str]], match: Match, searches: list[str]
) -> None:
    there = [person(resource_id, (system, text)) for resource_id, system, text in people]
    found, asked_for = asked(FULL, *there, identity_order=order)
    assert (found.match, asked_for) == (match, searches)


def test_without_the_crosswalk_every_change_searches() -> None:
    known = Known(person_id="a")
    there = person("a", (KEYS, "S100"), (NPI, GOOD_NPI), ("urn:oid:2.999.3", "L-7"))
    assert asked(FULL, there, known=known)[1] == [""]
    found, asked_for = asked(FULL, there, known=known, identity_order=("key",))
    assert (found.how, asked_for) == ("search", [KEY_TOKEN])
    nobody, _ = asked(change(), identity_order=("NPI",))
    assert (nobody.match, nobody.local) == (Match.DISAGREEMENT, "no-identifier")


def test_a_create_is_conditional_on_what_may_find_a_person(server: FakeFhir) -> None:
    bridge = Bridge(server, rules(identity_order=("key",)))
    server.put(person("b", (NPI, GOOD_NPI)))
    assert bridge.deliver(ADA).result is Result.CREATED
    [create] = server.writes()
    assert create.headers["if-none-exist"] == "identifier=urn%3Auuid%3A6f1f0d51-0c4e-4f0e-9d8c-3f1f5f6f7a01%7CS100"


def test_an_identifier_that_finds_nobody_still_vetoes() -> None:
    carrier = person("a", (KEYS, "S100"), (NPI, OTHER_NPI))
    found, _ = asked(change(npi=GOOD_NPI), carrier, identity_order=("key",))
    assert found.local == "npi-differs"


# --- a person's decision ---------------------------------------------------------------------------------------------


def linked(link: Link = Link.LINKED, *own: Written) -> Known:
    return Known(person_id="a", own=own, link=link)


@pytest.mark.parametrize(
    ("one", "carrier", "link", "local"),
    [
        pytest.param(FULL, person("a"), Link.LINKED, "", id="carries none of them yet"),
        pytest.param(FULL, person("a", (KEYS, "S7"), (NPI, OTHER_NPI)), Link.LINKED, "", id="carries others"),
        pytest.param(FULL, person("a"), Link.FOUND, "crosswalk-strayed", id="nobody decided"),
        pytest.param(FULL, person("a", family="Brandt"), Link.LINKED, "linked-name-differs", id="another family name"),
        pytest.param(FULL, person("a", family="Brandt"), Link.FORCED, "", id="another family name, forced"),
        pytest.param(
            change(Action.UPDATE, BORN), person("a", birthDate="1999-07-07"), Link.LINKED, "birth-date-differs",
            id="another birth date",
        ),
        pytest.param(
            change(Action.UPDATE, BORN), person("a", birthDate="1999-07-07"), Link.FORCED, "",
            id="another birth date, forced",
        ),
        pytest.param(
            FULL, person("a", meta={"tag": [REDIRECTED]}), Link.LINKED, "merged-at-server", id="merged meanwhile"
        ),
    ],
)  # fmt: skip
def test_a_link_outweighs_identifiers_not_name_and_birth_date(
    one: StaffChange, carrier: JsonObject, link: Link, local: str
) -> None:
    found, asked_for = asked(one, carrier, known=linked(link))
    assert (found.match is Match.FOUND, found.local) == (not local, local)
    if link is not Link.FOUND:
        assert asked_for == [""]  # one read; whoever else carries the identifiers, a person has decided


def test_a_linked_person_may_marry_once_we_have_written_her() -> None:
    base = Written("Practitioner", "a", (ElementValue("name", {"family": "Okonkwo"}, Provenance.read("STF-3")),))
    found, _ = asked(change(Action.UPDATE, name("Brandt")), person("a"), known=linked(Link.LINKED, base))
    assert found.match is Match.FOUND


def test_a_linked_person_who_is_gone_is_not_replaced_by_whoever_carries_an_npi() -> None:
    one = change(Action.UPDATE, name(), npi=GOOD_NPI)
    assert asked(one, known=linked())[0].local == "linked-gone"
    assert asked(one, person("b", (NPI, GOOD_NPI)), known=linked())[0].local == "linked-gone"
    found, _ = asked(one, person("b", (KEYS, "S100")), known=linked())
    assert (found.match, found.person_id) == (Match.FOUND, "b")


def test_a_link_needs_no_identifier_that_can_be_searched() -> None:
    nameless = StaffChange(Action.UPDATE, "S100", (StaffIdentifier("S100", ""),))
    assert asked(nameless, person("a"), known=linked())[0].match is Match.FOUND


def test_a_linked_person_gets_the_record(bridge: Bridge, server: FakeFhir) -> None:
    server.put(person("a"))
    bridge.crosswalk["hr", "S100"] = "a"
    known = replace(bridge.known(ADA, "hr"), link=Link.LINKED)
    bridge.known = lambda one, feed: known  # type: ignore[method-assign]
    assert bridge.deliver(ADA).result is Result.UPDATED
    assert {"system": KEYS, "value": "S100"} in server.only("Practitioner")["identifier"]


# --- before-images ---------------------------------------------------------------------------------------------------


def test_each_write_keeps_what_it_found_and_what_it_left(bridge: Bridge, server: FakeFhir) -> None:
    created = bridge.deliver(ADA)
    [image] = created.images
    assert (image.before, image.own, image.resource_id) == (None, None, created.person_id)
    assert image.after == server.only("Practitioner")
    found = server.put({**server.only("Practitioner"), "photo": [{"url": "http://example.org/p.png"}]})
    left = bridge.deliver(LEAVES)
    [image] = left.images
    assert image.before == found
    assert image.after == server.only("Practitioner")
    assert image.own is not None
    assert image.own.holds_active
    assert json.dumps(image.before) not in repr(left)
    assert bridge.deliver(LEAVES).images == ()


def test_what_was_refused_leaves_no_image_and_what_may_have_arrived_does(bridge: Bridge, server: FakeFhir) -> None:
    server.faults.append(lambda asked: problem(422) if asked.method == "POST" else None)
    assert bridge.deliver(ADA).images == ()
    server.faults.clear()
    bridge.deliver(ADA)
    for fault, result in ((LostReply, Result.UNKNOWN), (problem(504), Result.RETRY)):
        server.faults.append(once(fault, when="PUT"))
        lost = bridge.deliver(LEAVES)
        assert lost.result is result
        [image] = lost.images
        assert image.after is not None
        assert (image.before, image.after["active"]) == (server.only("Practitioner"), False)
