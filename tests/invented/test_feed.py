"""A feed of invented people: the same bytes for the same seed, histories that make sense, nothing that cannot be mapped."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from random import Random

import pytest

from hl7bridge.hl7.message import Message
from hl7bridge.invented.feed import KINDS, FeedPlan, feed
from hl7bridge.invented.malformed import MALFORMED
from hl7bridge.invented.messages import PERSONNEL_FIRST, SIZES, VERSIONS, numbers
from hl7bridge.invented.names import FAMILIES, GIVEN_NAMES, dea_check_digit, family_name, given_name, npi
from hl7bridge.invented.people import next_step, person
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages.staff import translate
from hl7bridge.mapping.messages.visits import is_read
from hl7bridge.mapping.rules.identifiers import dea_is_valid, npi_is_valid
from hl7bridge.model import Action, Severity
from tests.mapping.building import check_resources

RULES = FeedRules("urn:uuid:6fbb9a3e-54b3-4a55-8f0b-3f3c4d6a7b10", takes=frozenset({"staff", "adt"}))
NOW = datetime(2026, 11, 2, tzinfo=UTC)


def digest(plan: FeedPlan) -> str:
    return hashlib.sha256(b"".join(made.body for made in feed(plan))).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(kind: str) -> None:
    plan = FeedPlan(kind, 30, 60, "2.6", "s", 3, malformed=10)
    assert digest(plan) == digest(plan)
    assert digest(plan) != digest(FeedPlan(kind, 30, 60, "2.6", "t", 3, malformed=10))


def test_the_bytes_do_not_change_from_release_to_release() -> None:
    """Measurements are compared across releases: whoever changes what a seed gives, changes this on purpose."""
    assert digest(FeedPlan("mixed", 20, 50, "2.5.1", "pinned", 2, "large", 10))[:16] == "28ee1963bdc8259f"


@pytest.mark.parametrize(
    ("kind", "version"),
    [("m02", version) for version in VERSIONS] + [("pmu", v) for v in VERSIONS if numbers(v) >= PERSONNEL_FIRST],
)
def test_every_record_maps_and_makes_valid_resources(kind: str, version: str) -> None:
    checked = 0
    for size in SIZES:
        for made in feed(FeedPlan(kind, 8, 24, version, "v", 3, size)):
            translation = translate(Message(made.body), RULES, NOW)
            findings = [*translation.findings, *(f for record in translation.records for f in record.findings)]
            assert [finding for finding in findings if finding.severity in (Severity.ERROR, Severity.WARNING)] == []
            for record in translation.records:
                assert record.change is not None
                if made.number > 22:
                    checked += check_resources(record.change)
    assert checked


def test_all_that_can_happen_happens_and_in_an_order_that_makes_sense() -> None:
    seen = set()
    here: dict[str, bool] = {}
    for made in feed(FeedPlan("pmu", 12, 1_500, "2.8", "h")):
        message = Message(made.body)
        event, key = message.header.trigger_event, message.read("STF-1.1")
        seen.add(event)
        if event == "B01":
            assert not here.get(key)
        elif event in ("B02", "B03", "B05", "B06", "B07", "B08"):
            assert here[key]
        here[key] = event not in ("B03", "B05", "B06")
    assert seen == {f"B0{number}" for number in range(1, 9)}
    actions = {
        record.change.action
        for made in feed(FeedPlan("m02", 12, 200, "2.5.1", "h", 4))
        for record in translate(Message(made.body), RULES, NOW).records
        if record.change
    }
    assert actions == set(Action)


def test_a_record_for_each_person_at_most() -> None:
    [made] = feed(FeedPlan("m02", 5, 1, records=9))
    assert len({segment.value(4) for segment in Message(made.body).all("MFE")}) == 5


def test_visits_name_staff_of_the_same_feed() -> None:
    npis = {npi(number) for number in range(10)}
    for version in ("2.3", "2.6", "2.8", "2.9"):
        for made in feed(FeedPlan("adt", 10, 20, version)):
            message = Message(made.body)
            assert message.header.message_type == "ADT"
            named = {message.read(place) for place in ("PV1-7.1", "PV1-8.1", "PV1-17.1", "ROL-4.1", "PRT-5.1")}
            assert named - {""} <= npis
            assert (message.first("ROL") is not None) == ((2, 4) <= numbers(version) < (2, 9))
            assert (message.first("PRT") is not None) == (numbers(version) >= (2, 7))


def test_some_messages_are_damaged_and_it_is_said_how() -> None:
    made = list(feed(FeedPlan("m02", 30, 2_000, malformed=20)))
    damaged = [one for one in made if one.damage]
    assert 300 < len(damaged) < 500
    assert {one.damage for one in damaged} == set(MALFORMED)


def test_a_visit_names_people_who_can_be_identified() -> None:
    named = 0
    for version in ("2.3", "2.5.1", "2.9"):
        for made in feed(FeedPlan("adt", 10, 20, version)):
            message = Message(made.body)
            for record in translate(message, RULES, NOW).records if is_read(message.header) else ():
                assert record.change is not None
                assert record.findings == ()
                named += 1
    assert named > 100


@pytest.mark.parametrize("name", MALFORMED)
def test_damage_changes_the_bytes(name: str) -> None:
    [good] = feed(FeedPlan("m02", 1, 1, size="large"))
    assert MALFORMED[name](good.body, Random(1)) != good.body


def test_numbers_have_right_check_digits_and_names_are_many() -> None:
    assert all(npi_is_valid(npi(number)) for number in range(0, 1_000_000, 9_973))
    assert dea_is_valid("AB123456" + dea_check_digit("123456"))
    assert len({family_name(number) for number in range(FAMILIES)}) == FAMILIES > 10_000
    assert len({given_name(number) for number in range(GIVEN_NAMES)}) > 3_000


def test_what_a_feed_cannot_tell_is_an_update() -> None:
    someone = person(1, "s")
    assert next_step(someone, Random(1), frozenset({"join"})) == "join"
    assert next_step(someone, Random(1), frozenset({"join"})) == "update"
