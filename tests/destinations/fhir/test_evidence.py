"""How much a difference of names, sex and birth date counts: what is no contradiction, and what is one."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.destinations.fhir.identity.evidence import (
    Agreement,
    Evidence,
    Likeness,
    compare,
    contradiction,
    key_recycled,
    of_resource,
)
from hl7bridge.destinations.fhir.identity.resolve import Match, Memory, resolve
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.model import Action, Known, StaffChange, StaffIdentifier, Written
from tests.destinations.fhir.people import GOOD_NPI, KEYS, OTHER_KEYS, change, name, rules, value
from tests.destinations.fhir.server import FakeFhir
from tests.destinations.fhir.test_identity import LICENCE, NPI, OTHER_NPI, person, resolved

S, A, D, U = Likeness


def named(family: str = "", *given: str) -> Evidence:
    return of_resource({"name": [{"family": family, "given": list(given)}]})


@pytest.mark.parametrize(
    ("ours", "theirs", "family"),
    [
        ("Núñez-Ibáñez", "NUNEZ IBANEZ", S),
        ("Müller", "MUELLER", S),
        ("Sørensen", "Sorensen", S),
        ("O'Brien", "O Brien", S),
        ("Brandt", "Brandt-Okonkwo", A),
        ("van den Berg", "Berg", A),
        ("Okonkwo", "Brandt", D),
        ("Garcia Lopez", "Garcia Ruiz", D),
        ("Иванова", "Ivanova", U),
        ("Иванова", "Петрова", D),
        ("", "Brandt", U),
    ],
)
def test_family_names(ours: str, theirs: str, family: Likeness) -> None:
    for one, other in ((ours, theirs), (theirs, ours)):
        assert compare(named(one), named(other)).family is family


@pytest.mark.parametrize(
    ("ours", "theirs", "given"),
    [
        ("Robert", "Bob", S),
        ("Katherine", "Cathy", A),  # by the row of Catherine
        ("Robert", "Rob", S),
        ("Robert James", "R", A),
        ("Robert James", "James", S),
        ("J. Edgar", "Edgar", S),
        ("Jean-Luc", "Jeanluc", S),
        ("Dr. Rosa", "Rosa", S),
        ("Jörg", "Joerg", S),
        ("Bob", "Rob", A),
        ("Rosa T", "Tom", D),
        ("Rosa", "Tom", D),
        ("Erin", "Eric", D),
        ("Rosa Maria", "Ana Maria", D),
        ("Роза", "Rosa", U),
        ("", "Rosa", U),
    ],
)
def test_given_names(ours: str, theirs: str, given: Likeness) -> None:
    for one, other in ((ours, theirs), (theirs, ours)):
        assert compare(named("", *one.split()), named("", *other.split())).given is given


@pytest.mark.parametrize(
    ("ours", "theirs", "birth"),
    [
        ("1980-02-01", "1980-02-01", S),
        ("1980-02-01", "1980-02-10", D),
        ("1980-02-01", "1980", U),
        ("1980", "1981-01-01", D),
        ("1900-01-01", "1900-01-01", U),
        ("", "1980", U),
    ],
)
def test_birth_dates(ours: str, theirs: str, birth: Likeness) -> None:
    assert compare(of_resource({"birthDate": ours}), of_resource({"birthDate": theirs})).birth is birth


def test_names_in_each_others_place_are_a_slip_and_no_other_person() -> None:
    found = compare(named("Rosa", "Smith"), named("Smith", "Rosa"))
    assert (found.family, found.given, key_recycled(found)) == (A, A, "")
    assert compare(named("Rosa", "Tom"), named("Smith", "Rosa")).names_differ


def test_sex_counts_only_male_against_female() -> None:
    for ours, theirs, sex in (
        ("male", "female", D),
        ("male", "male", S),
        ("male", "other", U),
        ("unknown", "female", U),
    ):
        assert compare(of_resource({"gender": ours}), of_resource({"gender": theirs})).sex is sex


@pytest.mark.parametrize(
    ("family", "given", "sex", "birth", "verdict"),
    [
        (D, S, S, U, ""),  # married
        (D, D, D, S, ""),  # an equal birth date outweighs all else
        (S, S, D, D, ""),  # a sex marker and a corrected birth date
        (A, S, U, D, ""),  # a double name
        (S, D, D, U, ""),  # another given name
        (U, U, D, U, ""),
        (D, S, S, D, "recycled-key"),
        (S, D, S, D, "recycled-key"),
        (D, D, U, U, "recycled-key"),
        (D, U, D, U, "recycled-key"),  # sex stands for a given name that is not known
        (D, A, D, U, "recycled-key"),
        (S, U, U, D, "birth-date-differs"),
        (U, U, U, D, "birth-date-differs"),
    ],
)
def test_the_same_key(family: Likeness, given: Likeness, sex: Likeness, birth: Likeness, verdict: str) -> None:
    assert key_recycled(Agreement(family, given, sex, birth)) == verdict


@pytest.mark.parametrize(
    ("family", "given", "sex", "birth", "agreeing", "verdict"),
    [
        (S, U, U, U, 1, ""),
        (A, S, U, U, 1, ""),
        (A, U, U, U, 1, "name-not-confirmed"),
        (U, U, U, U, 1, "name-not-confirmed"),
        (U, U, U, U, 2, ""),
        (D, S, U, U, 2, ""),  # married, and one source knows it already
        (D, S, U, U, 1, "name-not-confirmed"),
        (D, U, U, U, 2, "name-differs"),
        (D, A, U, U, 2, "name-differs"),
        (S, D, U, S, 2, "name-differs"),  # twins
        (S, S, D, U, 2, "sex-differs"),
        (S, S, D, S, 1, ""),  # a sex marker that one source knows already
        (S, S, S, D, 3, "birth-date-differs"),
    ],
)
def test_other_identifiers(
    family: Likeness, given: Likeness, sex: Likeness, birth: Likeness, agreeing: int, verdict: str
) -> None:
    assert contradiction(Agreement(family, given, sex, birth), agreeing=agreeing, types_differ=False) == verdict


# --- two records, one person at the server ---------------------------------------------------------------------------

ROSA = person("a", (KEYS, "J1"), (NPI, GOOD_NPI), family="Smith", gender="female")
ROSA["name"][0]["given"] = ["Rosa"]
SEX = "STF-5"


@pytest.mark.parametrize(
    ("one", "carrier", "local"),
    [
        pytest.param(
            change(Action.ADD, name("Smith", "Rosa"), key="J2", npi=GOOD_NPI), ROSA, "key-of-another", id="same name"
        ),
        pytest.param(
            change(Action.ADD, name("Smith", "Rosa"), key="J2", npi=GOOD_NPI), {**ROSA, "active": False}, "re-hired",
            id="who has left",
        ),
        pytest.param(
            change(Action.DEACTIVATE, key="J2", npi=GOOD_NPI, evidence=(name("Smith", "Rosa"),)), ROSA,
            "key-of-another", id="a leaver under another key",
        ),
        pytest.param(
            change(Action.ADD, name("Smith", "Rosa"), key="J2", identifiers=[StaffIdentifier("J1", KEYS)]), ROSA,
            "key-of-another", id="names the other key as well",
        ),
        pytest.param(
            change(Action.ADD, name("Smith", "Rosa"), key="j1", npi=GOOD_NPI), ROSA, "key-of-another", id="another case"
        ),
        pytest.param(
            change(Action.ADD, name("Smith", "Rosie"), key="C9", keys=OTHER_KEYS, npi=GOOD_NPI), ROSA, "",
            id="another key system",
        ),
        pytest.param(
            change(Action.DEACTIVATE, key="C9", keys=OTHER_KEYS, npi=GOOD_NPI, evidence=(name("SMITH", "R"),)), ROSA, "",
            id="a leaver by NPI and family name",
        ),
        pytest.param(
            change(Action.DEACTIVATE, key="C9", keys=OTHER_KEYS, npi=GOOD_NPI, evidence=(name("Smith", "Tom"),)), ROSA,
            "name-differs", id="a leaver of the same family name",
        ),
        pytest.param(
            change(Action.ADD, name("Smith", "Rosa"), value("gender", "male", SEX), key="C9", keys=OTHER_KEYS, npi=GOOD_NPI),
            ROSA, "sex-differs", id="another sex",
        ),
        pytest.param(
            change(Action.ADD, name("Smith", "Rosa"), key="J2", npi=GOOD_NPI),
            {**ROSA, "identifier": [{**ROSA["identifier"][0], "use": "old"}, ROSA["identifier"][1]]}, "",
            id="the other key is an old one",
        ),
    ],
)  # fmt: skip
def test_two_staff_keys_are_two_people(one: StaffChange, carrier: dict[str, Any], local: str) -> None:
    found = resolved(one, carrier)
    assert (found.match, found.local) == (Match.DISAGREEMENT if local else Match.FOUND, local)
    assert resolved(one, carrier, known="a").local == local  # nor does a crosswalk make them one
    if local:
        assert [candidate for candidate, _ in found.candidates] == ["a"]
        for private in ("Smith", "Rosa", "J1", GOOD_NPI):
            assert private not in found.text


def test_a_number_of_another_type_is_no_agreement_where_a_name_differs() -> None:
    staff = {"system": "urn:oid:2.999.5", "value": "6001"}
    employee = {
        **staff,
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "EI"}]},
    }
    carrier = {**person("a", family="Smith"), "identifier": [employee]}
    carrier["name"][0]["given"] = ["Rosa"]
    for given, code, local in (
        ("Tom", "RN", "identifier-type-differs"),
        ("Tom", "EI", "name-differs"),
        ("Tom", "", "name-differs"),
        ("Rosa", "RN", ""),
    ):
        number = StaffIdentifier("6001", "urn:oid:2.999.5", type_code=code)
        assert resolved(change(Action.ADD, name("Smith", given), identifiers=[number]), carrier).local == local


def test_what_other_records_said_counts_though_the_server_does_not_have_it() -> None:
    """Birth dates are withheld by default: the store has them."""
    server = FakeFhir()
    server.put(ROSA)
    client = FhirClient(rules(), transport=server.transport())
    one = change(Action.ADD, name("Smith", "Rosa"), value("birthDate", "1975-03-01", "STF-6"), key="C9", keys=OTHER_KEYS,
                 npi=GOOD_NPI)  # fmt: skip
    base = Written("Practitioner", "a", (name("Smith", "Rosa"),), feed="hr", source_key="J1")

    def said(feed: str, source_key: str) -> Any:
        assert (feed, source_key) == ("hr", "J1")
        return (value("birthDate", "1970-03-01", "STF-6"),)

    found = resolve(client, one, Known(), rules(), Memory("cred", lambda *_: (base,), said))
    assert found.local == "birth-date-differs"


def test_a_record_of_the_same_feed_stands_on_the_resource_though_its_key_does_not_show() -> None:
    hidden = {**ROSA, "identifier": [ROSA["identifier"][1]]}
    server = FakeFhir()
    server.put(hidden)
    client = FhirClient(rules(), transport=server.transport())
    base = Written("Practitioner", "a", (name("Smith", "Rosa"),), feed="hr", source_key="J1")
    one = change(Action.ADD, name("Smith", "Rosa"), key="J2", npi=GOOD_NPI)
    assert resolve(client, one, Known(), rules(), Memory("hr", lambda *_: (base,))).local == "key-of-another"
    assert resolve(client, one, Known(), rules(), Memory("other", lambda *_: (base,))).match is Match.FOUND


def test_the_same_key_is_told_of_what_differs() -> None:
    carrier = person("a", (KEYS, "S100"), (NPI, OTHER_NPI), family="Brandt", birthDate="1980-02-01", gender="female")
    one = change(
        Action.UPDATE, name("Okonkwo"), value("birthDate", "1980-02-01", "STF-6"), value("gender", "male", SEX),
        npi=GOOD_NPI, identifiers=[LICENCE],
    )  # fmt: skip
    found = resolved(one, carrier)
    assert found.match is Match.FOUND
    assert found.told == "The same staff key, and taken for the same person, although family name, sex and NPI differ"
