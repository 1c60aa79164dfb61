"""Two people are never written into one: numbers that several share, staff keys that come back, as messages tell them.

The worlds are those of the decision table: intake, store, plan and delivery against the sandbox, in this process.
"""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.destinations.reasons import QUARANTINE
from tests.test_decision_table import NPI, World, mfn, only, world

__all__ = ["world"]

DEA = "BA1234563"
NUMBERS = f"{NPI}^^^NPI^NPI~{DEA}^^^^DEA"


def content(world: World) -> list[dict[str, Any]]:
    """Everybody and every role, without what a server adds."""
    found = [*world.resources("Practitioner"), *world.resources("PractitionerRole")]
    return [{key: value for key, value in one.items() if key != "meta"} for one in found]


@pytest.mark.parametrize(
    ("second", "feed", "local"),
    [
        pytest.param(mfn("MAD", key="J2", f2=NUMBERS, f3="Smith^Rosa", f5="F"), "hr", "key-of-another", id="same name"),
        pytest.param(mfn("MAD", key="J2", f2=NUMBERS, f3="Smith^Tom", f5="M"), "hr", "key-of-another", id="same family"),
        pytest.param(mfn("MUP", key="J2", f2=NUMBERS, f3="Becker^Tom"), "hr", "key-of-another", id="of a supervisor"),
        pytest.param(mfn("MDC", key="J2", f2=NUMBERS, f3="Smith^Rosa"), "hr", "key-of-another", id="a leaver"),
        pytest.param(mfn("MAC", key="J2", f2=NUMBERS, f3="Smith^Rosa"), "hr", "key-of-another", id="who comes back"),
        pytest.param(mfn("MAD", key="Z2", f2=NUMBERS, f3="Becker^Tom"), "badge", "name-differs", id="a supervisor"),
        pytest.param(mfn("MAD", key="Z2", f2=NUMBERS, f3="Smith^Tom"), "badge", "name-differs", id="another given name"),
        pytest.param(mfn("MDC", key="Z2", f2=NUMBERS, f3="Smith^Tom"), "badge", "name-differs", id="another leaver"),
        pytest.param(mfn("MAD", key="Z2", f2=NUMBERS, f3="Smith^Rosa", f5="M"), "badge", "sex-differs", id="another sex"),
        pytest.param(
            mfn("MAD", key="Z2", f2=NUMBERS, f3="Smith^Rosa", f6="19800201"), "badge", "birth-date-differs",
            id="another birth date, which this destination never gets",
        ),
    ],
)  # fmt: skip
def test_who_shares_numbers_changes_nothing_of_the_other(world: World, second: Any, feed: str, local: str) -> None:
    world.hear(mfn("MAD", key="J1", f2=NUMBERS, f3="Smith^Rosa", f5="F", f6="19700301"))
    before = content(world)
    assert "birthDate" not in only(world, "Practitioner")
    answer, ended = world.hear(second, feed)
    assert (answer.code, ended) == ("AA", [f"held 205 {local}"])
    assert content(world) == before
    # The one goes on, and leaves, whoever else was sent with the number.
    assert world.hear(mfn("MDC", key="J1", f2=NUMBERS, f3="Smith^Rosa"))[1] == ["deactivated"]
    assert world.people() == "inactive"


@pytest.mark.parametrize("name", ["Smith^Rosa", "SMITH^R", "Smith", "Smith-Becker^Rosa", "Smith^Rosie"])
@pytest.mark.parametrize("event", ["MDC", "MDL"])
def test_a_leaver_found_by_one_number_is_confirmed_by_the_family_name(world: World, name: str, event: str) -> None:
    names = [{"family": "Smith", "given": ["Rosa"]}]
    numbers = [{"system": "http://hl7.org/fhir/sid/us-npi", "value": NPI}]
    body = {"resourceType": "Practitioner", "active": True, "identifier": numbers, "name": names}
    assert world.client.create("Practitioner", body).done
    assert world.hear(mfn(event, key="Z9", f2=f"{NPI}^^^NPI^NPI", f3="Becker^Rosa"))[1] == [
        "held 205 name-not-confirmed"
    ]
    assert world.people() == "active"
    assert world.hear(mfn(event, key="Z9", f2=f"{NPI}^^^NPI^NPI", f3=name))[1] == ["deactivated"]


@pytest.mark.parametrize("event", ["MDC", "MDL"])
@pytest.mark.parametrize("heard_before", [True, False])
@pytest.mark.parametrize(
    ("said", "ends"),
    [({}, False), ({"f5": "F"}, False), ({"f3": "^Rosa"}, True), ({"f3": "Smith"}, True), ({"f6": "19700301"}, True)],
)
def test_a_leaver_without_a_name_is_not_whoever_has_the_same_two_numbers(
    world: World, event: str, heard_before: bool, said: dict[str, str], ends: bool
) -> None:
    """A nurse practitioner whose record carries the numbers of a supervisor, whom another system keeps."""
    numbers = [
        {"system": "http://hl7.org/fhir/sid/us-npi", "value": NPI},
        {"system": "urn:oid:2.16.840.1.113883.4.814", "value": DEA},
    ]
    names = [{"family": "Smith", "given": ["Rosa"]}]
    body = {
        "resourceType": "Practitioner",
        "active": True,
        "identifier": numbers,
        "name": names,
        "birthDate": "1970-03-01",
    }
    assert world.client.create("Practitioner", body).done
    if heard_before:
        assert world.hear(mfn("MAD", key="Z2", f2=NUMBERS, f3="Becker^Tom"))[1] == ["held 205 name-differs"]
    ended = world.hear(mfn(event, key="Z2", f2=NUMBERS, **{"f3": "", **said}))[1]
    assert ended == (["deactivated"] if ends else ["held 205 name-not-confirmed"])
    assert world.people().startswith("inactive" if ends else "active")


@pytest.mark.parametrize(
    ("then", "result"),
    [
        ({"f3": "Becker^Tom", "f5": "M", "f6": "19750301"}, "held 205 recycled-key"),
        ({"f3": "Becker^Tom", "f5": "M"}, "held 205 recycled-key"),
        ({"f3": "Smith^Tom", "f6": "19750301"}, "held 205 recycled-key"),
        ({"f3": "Becker^Rosa", "f6": "19750301"}, "held 205 recycled-key"),
        ({"f3": "", "f6": "19750301"}, "held 205 birth-date-differs"),
        ({"f3": "Becker^Rosa"}, "updated"),  # married
        ({"f3": "Becker^Tom", "f5": "M", "f6": "19800201"}, "updated"),  # all names, and the sex marker
        ({"f3": "Smith^Rosie", "f5": "M", "f6": "19800210"}, "updated"),  # a corrected birth date, and the sex marker
    ],
)
@pytest.mark.parametrize("event", ["MUP", "MAD", "MAC"])
def test_a_staff_key_that_comes_back(world: World, event: str, then: dict[str, str], result: str) -> None:
    world.hear(mfn("MAD", f3="Smith^Rosa", f5="F", f6="19800201"))
    before = content(world)
    ended = world.hear(mfn(event, **then))[1]
    if event == "MAC" and result == "updated":
        result = "reactivated"
    if not then["f3"] and event == "MAD":
        return  # without a name nobody is added
    assert ended == [result]
    assert (content(world) == before) is result.startswith("held")


def test_a_key_given_to_somebody_new_is_told_by_the_last_record_that_was_applied(world: World) -> None:
    """What is held in between is no word of the bearer's: the next record of the new one is held as well."""
    world.hear(mfn("MAD", f3="Smith^Rosa", f6="19800201"))
    assert world.hear(mfn("MDC", f3="Smith^Rosa"))[1] == ["deactivated"]
    for _ in range(2):
        assert world.hear(mfn("MAD", f3="Becker^Tom", f6="19750301"))[1] == ["held 205 recycled-key"]
    assert world.hear(mfn("MAC", f3="Smith^Rosa"))[1] == ["reactivated"]


def test_one_authority_that_numbers_employees_and_nurses_alike(world: World) -> None:
    number = "6001^^^HOSP&2.999.9&ISO"
    world.hear(mfn("MAD", f2=f"{number}^EI", f3="Smith^Rosa"))
    other = mfn("MAD", key="Z1", f2=f"{number}^RN", f3="Smith^Tom")
    assert world.hear(other, "badge")[1] == ["held 205 identifier-type-differs"]
    same = mfn("MAD", key="Z2", f2=f"{number}^RN", f3="Smith^Rosa")
    assert world.hear(same, "badge")[1] == ["updated"]


def test_a_hold_keeps_no_private_number_that_the_server_has_of_somebody(world: World) -> None:
    numbers = [
        {"system": "http://hl7.org/fhir/sid/us-npi", "value": NPI},
        {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "987654321"},
        {"system": "urn:oid:2.16.840.1.113883.4.1", "value": "987654321"},
        {"system": "urn:oid:2.16.840.1.113883.4.3.6", "value": "987654321"},
        {"type": {"coding": [{"code": "TAX"}]}, "system": "urn:oid:2.999.1", "value": "987654321"},
    ]
    names = [{"family": "Other", "given": ["Olga"]}]
    assert world.client.create(
        "Practitioner", {"resourceType": "Practitioner", "identifier": numbers, "name": names}
    ).done
    assert world.hear(mfn("MAD", f2=f"{NPI}^^^NPI^NPI", f3="Rossi^Ada"))[1] == ["held 205 name-not-confirmed"]
    (held,) = world.store.links.quarantined(QUARANTINE)
    assert "Olga" in str(held.candidates)
    assert "987654321" not in str(held)
