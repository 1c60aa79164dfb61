"""Saying whom a record is about, without a command and without a server: `People` stands in for it."""

from __future__ import annotations

from typing import Any

import pytest

from hl7bridge.config import Settings
from hl7bridge.desk.identity import id_map, linking
from hl7bridge.desk.identity.candidates import Candidate, Candidates
from hl7bridge.desk.identity.linking import Decision, LinkMade
from hl7bridge.errors import ConfigError
from tests.desk.conftest import ANA, BO, WHY, Office

HEAD = b"feed,key,practitioner\n"


class People(Candidates):
    """Reads people from memory."""

    def __init__(self, settings: Settings, *ids: str) -> None:
        super().__init__(settings)
        self.ids = ids

    def read(self, name: str, person_id: str) -> Candidate:
        if person_id not in self.ids:
            raise ConfigError(f"there is no {self.shown(name, person_id)} at {name}")
        return self.described(name, {"resourceType": "Practitioner", "id": person_id})

    def refresh(self, row: dict[str, Any]) -> None:
        raise AssertionError("nothing is quarantined")


@pytest.fixture
def people(office: Office) -> Candidates:
    return People(office.settings, "7", "8")


def linked(office: Office, key: str) -> str:
    row = office.store.links.link_of("ehr", "staff", key)
    return str(row.person_id) if row else ""


def test_a_link_says_whom_before_and_is_in_the_history(office: Office, people: Candidates) -> None:
    first = linking.link(office.store, office.settings, people, Decision("staff", "E1", "7"), BO, WHY)
    assert first.made == (LinkMade("ehr", "staff", "E1", "7", "", "linked"),)
    assert first.candidate is not None
    again = linking.link(office.store, office.settings, people, Decision("staff", "E1", "8", force=True), ANA, WHY)
    assert again.made == (LinkMade("ehr", "staff", "E1", "8", "7", "forced"),)
    apart = linking.link(office.store, office.settings, people, Decision("staff", "E1", linking.NEW), ANA, WHY)
    assert apart.made == (LinkMade("ehr", "staff", "E1", "", "8", "apart"),)
    done = linking.unlink(office.store, office.settings, "staff", "E1", ANA, WHY)
    assert (done.was, done.apart, done.changed) == ("", True, True)
    assert not linking.unlink(office.store, office.settings, "staff", "E1", ANA, WHY).changed


def test_a_check_changes_nothing_and_needs_no_reason(office: Office, people: Candidates) -> None:
    tried = linking.link(office.store, office.settings, people, Decision("staff", "E1", "7"), ANA, "", dry_run=True)
    assert (tried.made, tried.checked, linked(office, "E1")) == ((), 1, "")
    with pytest.raises(ConfigError, match="say why"):
        linking.link(office.store, office.settings, people, Decision("staff", "E1", "7"), ANA, "")


def test_two_records_of_a_feed_are_two_people_until_a_person_says_otherwise(office: Office, people: Candidates) -> None:
    linking.link(office.store, office.settings, people, Decision("staff", "E1", "7"), ANA, WHY)
    with pytest.raises(ConfigError, match="stands for E1 of the same feed"):
        linking.link(office.store, office.settings, people, Decision("staff", "E2", "7"), ANA, WHY)
    linking.link(office.store, office.settings, people, Decision("staff", "E2", "7", also=True), ANA, WHY)
    assert linked(office, "E2") == "7"


def test_a_file_links_nobody_while_a_line_of_it_is_wrong(office: Office, people: Candidates) -> None:
    given = (office.store, office.settings, people)
    wrong = HEAD + b"staff,E1,7\nstaff,E2,7\nstaff,E3,9\nstaff,E4,a b\n"
    decided = linking.link_by_file(*given, wrong, "decided.csv", ANA, WHY)
    assert [line.split(":")[0] for line in decided.wrong] == ["line 3", "line 4", "line 5"]
    assert (decided.made, linked(office, "E1")) == ((), "")
    good = HEAD.replace(b",", b";") + b"staff;E1;7\nstaff;E2;new\n"
    tried = linking.link_by_file(*given, good, "decided.csv", ANA, "", dry_run=True)
    assert (tried.checked, tried.made, tried.wrong) == (2, (), ())
    done = linking.link_by_file(*given, good, "decided.csv", ANA, WHY)
    assert [(made.source_key, made.link) for made in done.made] == [("E1", "linked"), ("E2", "apart")]
    assert linking.link_by_file(*given, HEAD, "decided.csv", ANA, WHY).wrong == ("it holds no decision",)
    with pytest.raises(ConfigError, match="has no column practitioner"):
        linking.link_by_file(*given, b"feed,key\n", "decided.csv", ANA, WHY)


def test_a_map_of_ids_goes_to_the_same_destination_alone(office: Office, people: Candidates) -> None:
    linking.link(office.store, office.settings, people, Decision("staff", "E1", "7"), ANA, WHY)
    [ehr] = office.settings.destinations.values()
    document = id_map.id_map(office.store, ehr)
    assert document["ids"] == [["staff", "E1", "7"]]
    text = b'{"schema":"id-map/1","destination":"ehr","base_url":"%s","ids":[["staff","E1","8"],["staff","E9","8"]]}'
    own = text % str(document["base_url"]).encode()
    done = id_map.import_ids(office.store, ehr, own, "ids.json", BO, WHY)
    assert done == id_map.IdsImported(read=2, new=1, different=1)
    with pytest.raises(ConfigError, match="those of another destination"):
        id_map.import_ids(office.store, ehr, text % b"http://elsewhere", "ids.json", BO, WHY)
    with pytest.raises(ConfigError, match="is no map of ids"):
        id_map.import_ids(office.store, ehr, b"[]", "ids.json", BO, WHY)
