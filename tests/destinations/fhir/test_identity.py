"""Who at the server a change is about, and when nobody is believed."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.destinations.fhir.identity.resolve import Match, Resolution, lane_keys, resolve, search_tokens
from hl7bridge.destinations.fhir.identity.systems import NPI
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import ReplyKind
from hl7bridge.model import Action, JsonObject, Known, Provenance, StaffChange, StaffIdentifier
from tests.destinations.fhir.people import GOOD_NPI, KEYS, OTHER_KEYS, change, name, rules, value
from tests.destinations.fhir.server import FakeFhir, fhir, problem

NPI_OID = "urn:oid:2.16.840.1.113883.4.6"
OTHER_NPI = "1245319599"
DEA_URL = "http://terminology.hl7.org/NamingSystem/USDEANumber"
LICENCE = StaffIdentifier("L-7", "urn:oid:2.999.3", type_code="MD", provenance=Provenance.read("STF-2"))


def person(resource_id: str, *identifiers: tuple[str, str], family: str = "Okonkwo", **more: Any) -> JsonObject:
    return {
        "resourceType": "Practitioner",
        "id": resource_id,
        "identifier": [{"system": system, "value": text} for system, text in identifiers],
        "name": [{"family": family}],
        **more,
    }


def resolved(one: StaffChange, *people: JsonObject, known: str = "", **rule: Any) -> Resolution:
    server = FakeFhir()
    for resource in people:
        server.put(resource)
    client = FhirClient(rules(**rule), transport=server.transport())
    return resolve(client, one, Known(person_id=known), rules(**rule))


# --- tokens and lanes ------------------------------------------------------------------------------------------------


def test_one_search_over_all_identifiers_under_every_name_of_their_system() -> None:
    ssn = StaffIdentifier("123456789", "http://hl7.org/fhir/sid/us-ssn", type_code="SS")
    nameless = StaffIdentifier("9", "", authority="NOWHERE")
    one = change(Action.ADD, npi=GOOD_NPI, identifiers=[LICENCE, ssn, nameless])
    assert search_tokens(one, rules()) == (
        (KEYS, "S100"),
        ("urn:oid:2.999.3", "L-7"),
        (NPI, GOOD_NPI),
        (NPI_OID, GOOD_NPI),
    )


def test_lanes_are_shared_by_whoever_shares_an_identifier() -> None:
    here = set(lane_keys(change(npi=GOOD_NPI), "hr", rules()))
    there = set(lane_keys(change(key="C9", keys=OTHER_KEYS, npi=GOOD_NPI), "credentialing", rules()))
    alias = change(key="X", identifiers=[StaffIdentifier(f" {GOOD_NPI} ", NPI_OID)])
    assert len(here & there) == 1
    assert here & there <= set(lane_keys(alias, "x", rules()))
    assert not here & set(lane_keys(change(key="S101"), "hr", rules()))
    assert lane_keys(change(npi=GOOD_NPI), "hr", rules()) == tuple(sorted(here))
    # By this name an open delivery of an earlier version holds the lane of somebody who is known.
    assert set(lane_keys(change(npi=GOOD_NPI), "hr", rules(), "17")) == here | {"Practitioner/17"}
    assert GOOD_NPI not in "".join(here)
    nobody = StaffChange(Action.ADD, "S100", ())
    assert len(lane_keys(nobody, "hr", rules())) == 1


# --- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "people", "match", "local"),
    [
        pytest.param(change(), [], Match.NONE, "", id="nobody"),
        pytest.param(
            change(), [person("a", (KEYS, "S100"), family="Other")], Match.FOUND, "", id="the staff key needs no name"
        ),
        pytest.param(change(), [person("a", (KEYS, "  S100 "))], Match.FOUND, "", id="padded"),
        pytest.param(
            change(Action.ADD, name(), npi=GOOD_NPI),
            [person("a", (NPI, GOOD_NPI))],
            Match.FOUND,
            "",
            id="NPI and family name",
        ),
        pytest.param(
            change(Action.ADD, name(), npi=GOOD_NPI),
            [person("a", (NPI_OID, GOOD_NPI))],
            Match.FOUND,
            "",
            id="NPI under its OID",
        ),
        pytest.param(
            change(Action.ADD, name("Núñez-Ibáñez"), npi=GOOD_NPI),
            [person("a", (NPI, GOOD_NPI), family="NUNEZ IBANEZ")],
            Match.FOUND,
            "",
            id="accents, case and hyphens",
        ),
        pytest.param(
            change(Action.ADD, name("Brandt"), npi=GOOD_NPI),
            [person("a", (NPI, GOOD_NPI))],
            Match.DISAGREEMENT,
            "name-not-confirmed",
            id="NPI of somebody else",
        ),
        pytest.param(
            change(Action.DEACTIVATE, npi=GOOD_NPI),
            [person("a", (NPI, GOOD_NPI))],
            Match.DISAGREEMENT,
            "name-not-confirmed",
            id="NPI and no name to confirm it",
        ),
        pytest.param(
            change(Action.DEACTIVATE, npi=GOOD_NPI, identifiers=[LICENCE]),
            [person("a", (NPI, GOOD_NPI), ("urn:oid:2.999.3", "L-7"))],
            Match.FOUND,
            "",
            id="two that agree need no name",
        ),
        pytest.param(
            change(Action.ADD, name("Brandt"), npi=GOOD_NPI, identifiers=[LICENCE]),
            [person("a", (NPI, GOOD_NPI), ("urn:oid:2.999.3", "L-7"))],
            Match.DISAGREEMENT,
            "name-differs",
            id="two numbers of a supervisor",
        ),
        pytest.param(
            change(Action.ADD, name("Brandt"), identifiers=[LICENCE]),
            [person("a", ("urn:oid:2.999.3", "L-7"))],
            Match.DISAGREEMENT,
            "name-not-confirmed",
            id="a licence alone",
        ),
        pytest.param(
            change(npi=GOOD_NPI),
            [person("a", (KEYS, "S100"), (NPI, OTHER_NPI))],
            Match.DISAGREEMENT,
            "npi-differs",
            id="staff key of one, NPI of another",
        ),
        pytest.param(
            change(),
            [person("a", (KEYS, "S100"), (NPI, OTHER_NPI))],
            Match.FOUND,
            "",
            id="an NPI that the record does not give",
        ),
        pytest.param(
            change(Action.ADD, value("birthDate", "1980-02-01", "STF-6")),
            [person("a", (KEYS, "S100"), birthDate="1985-02-01")],
            Match.DISAGREEMENT,
            "birth-date-differs",
            id="a recycled staff number",
        ),
        pytest.param(
            change(Action.ADD, value("birthDate", "1980-02-01", "STF-6")),
            [person("a", (KEYS, "S100"), birthDate="1980")],
            Match.FOUND,
            "",
            id="a partial birth date agrees",
        ),
        pytest.param(
            change(npi=GOOD_NPI),
            [person("a", (KEYS, "S100")), person("b", (NPI, GOOD_NPI))],
            Match.AMBIGUOUS,
            "several-people",
            id="two people",
        ),
        pytest.param(
            change(),
            [person("a", (KEYS, "S100")), person("b", (KEYS, "S100"))],
            Match.AMBIGUOUS,
            "several-people",
            id="a duplicate",
        ),
    ],
)
def test_found_by_search(one: StaffChange, people: list[JsonObject], match: Match, local: str) -> None:
    found = resolved(one, *people)
    assert (found.match, found.local) == (match, local)
    assert len(found.exchanges) == 1
    if match is Match.FOUND:
        assert (found.person_id, found.how) == ("a", "search")
    if match in (Match.AMBIGUOUS, Match.DISAGREEMENT):
        assert [candidate for candidate, _ in found.candidates] == [resource["id"] for resource in people]
        for private in ("S100", GOOD_NPI, "L-7", "Okonkwo", "Brandt", "1980"):
            assert private not in found.text + str(found.candidates)


def test_what_each_candidate_carries_is_said_without_a_value() -> None:
    two = resolved(
        change(npi=GOOD_NPI, identifiers=[LICENCE]),
        person("a", (KEYS, "S100"), ("urn:oid:2.999.3", "L-7")),
        person("b", (NPI, GOOD_NPI)),
    )
    assert two.candidates == (("a", "carries the staff key, 1 further identifier"), ("b", "carries the NPI"))


def test_an_npi_may_change_where_the_rules_say_so() -> None:
    found = resolved(change(npi=GOOD_NPI), person("a", (KEYS, "S100"), (NPI, OTHER_NPI)), allow_npi_change=True)
    assert found.match is Match.FOUND


def test_without_an_identifier_that_can_be_searched_nobody_is_asked() -> None:
    found = resolved(StaffChange(Action.ADD, "S100", (StaffIdentifier("S100", ""),)))
    assert (found.match, found.local, found.exchanges) == (Match.DISAGREEMENT, "no-identifier", ())


def ignoring(people: list[JsonObject], **bundle: Any) -> Resolution:
    server = FakeFhir()
    entries = [{"resource": one, "search": {"mode": "match"}} for one in people]
    page = {"resourceType": "Bundle", "type": "searchset", "entry": entries, **bundle}
    server.faults.append(lambda asked: fhir(page))
    return resolve(FhirClient(rules(), transport=server.transport()), change(), Known(), rules())


def test_a_server_that_ignores_the_parameter_is_not_believed() -> None:
    strangers = [person("x", (KEYS, "S1")), person("y", (KEYS, "S2"))]
    assert ignoring(strangers).local == "search-not-honoured"
    assert ignoring([], total=57).local == "search-not-honoured"
    assert ignoring([]).match is Match.NONE
    found = ignoring([*strangers, person("a", (KEYS, "S100"))])
    assert (found.match, found.person_id) == (Match.FOUND, "a")


def test_identifiers_of_another_shape_are_nobodys() -> None:
    odd = person("x")
    odd["identifier"] = [{"system": 7, "value": "S100"}, {"value": ["S100"]}, {}]
    assert ignoring([odd]).local == "search-not-honoured"


def test_a_search_that_fails_says_so() -> None:
    server = FakeFhir()
    server.faults.append(lambda asked: problem(503))
    found = resolve(FhirClient(rules(), transport=server.transport()), change(), Known(), rules())
    assert found.match is Match.FAILED
    assert found.reply is not None
    assert found.reply.kind is ReplyKind.TRANSIENT


# --- crosswalk -------------------------------------------------------------------------------------------------------


def test_the_crosswalk_is_one_read() -> None:
    found = resolved(change(), person("a", (KEYS, "S100"), (NPI, GOOD_NPI), family="Other"), known="a")
    assert (found.match, found.how, found.version) == (Match.FOUND, "crosswalk", "1")
    assert len(found.exchanges) == 1


@pytest.mark.parametrize(
    ("one", "match", "requests"),
    [
        pytest.param(change(npi=GOOD_NPI), Match.AMBIGUOUS, 2, id="an NPI that is somebody else's"),
        pytest.param(change(npi=OTHER_NPI), Match.FOUND, 2, id="an NPI that nobody has yet"),
        pytest.param(change(), Match.FOUND, 1, id="nothing new"),
        pytest.param(change(Action.DEACTIVATE, npi=GOOD_NPI), Match.FOUND, 1, id="a leaver gets no identifier"),
    ],
)
def test_an_identifier_that_is_new_to_the_crosswalks_person_must_be_nobody_elses(
    one: StaffChange, match: Match, requests: int
) -> None:
    found = resolved(one, person("a", (KEYS, "S100")), person("b", (NPI, GOOD_NPI)), known="a")
    assert (found.match, len(found.exchanges)) == (match, requests)
    if match is Match.AMBIGUOUS:
        assert found.local == "identifier-of-another"
        assert found.candidates == (("a", "carries the staff key"), ("b", "carries the NPI"))


@pytest.mark.parametrize(
    ("people", "match", "local", "who"),
    [
        pytest.param([], Match.NONE, "", "", id="not there any more"),
        pytest.param(
            [person("b", (KEYS, "S100"))], Match.FOUND, "", "b", id="under another id: a refreshed environment"
        ),
        pytest.param(
            [person("a", (KEYS, "S7"))],
            Match.DISAGREEMENT,
            "crosswalk-strayed",
            "",
            id="somebody else, or robbed of the identifiers",
        ),
        pytest.param(
            [person("a", (KEYS, "S7")), person("b", (KEYS, "S100"))],
            Match.FOUND,
            "",
            "b",
            id="somebody else, and the staff key elsewhere",
        ),
        pytest.param(
            [person("a", (KEYS, "S7")), person("b", (NPI, GOOD_NPI))],
            Match.DISAGREEMENT,
            "crosswalk-strayed",
            "",
            id="somebody else, and only the NPI elsewhere",
        ),
        pytest.param(
            [person("a", (KEYS, "S100"), (NPI, OTHER_NPI))],
            Match.DISAGREEMENT,
            "npi-differs",
            "",
            id="the NPI has changed",
        ),
    ],
)
def test_a_crosswalk_that_is_not_true_any_more(people: list[JsonObject], match: Match, local: str, who: str) -> None:
    found = resolved(change(Action.UPDATE, name(), npi=GOOD_NPI), *people, known="a")
    assert (found.match, found.local, found.person_id) == (match, local, who)
    assert len(found.exchanges) <= 2


def test_a_deleted_person_is_a_tombstone_unless_she_is_elsewhere() -> None:
    server = FakeFhir()
    server.put(person("a", (KEYS, "S100")))
    server.delete("Practitioner", "a")
    client = FhirClient(rules(), transport=server.transport())
    gone = resolve(client, change(), Known(person_id="a"), rules())
    assert (gone.match, gone.local) == (Match.GONE, "deleted-at-server")
    server.put(person("b", (KEYS, "S100")))
    assert resolve(client, change(), Known(person_id="a"), rules()).person_id == "b"


def test_a_crosswalk_that_cannot_be_read_is_no_reason_to_search() -> None:
    server = FakeFhir()
    server.faults.append(lambda asked: problem(500))
    found = resolve(FhirClient(rules(), transport=server.transport()), change(), Known(person_id="a"), rules())
    assert (found.match, len(server.journal)) == (Match.FAILED, 1)
