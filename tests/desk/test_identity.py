"""Saying whom a record is about, without a command and without a server: `People` stands in for it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hl7bridge.assemble.servers import Servers
from hl7bridge.desk import identity
from hl7bridge.desk.identity import Decision, LinkMade
from hl7bridge.errors import ConfigError
from tests.desk.conftest import ANA, BO, WHY, Office

HEAD = b"feed,key,practitioner\n"


class People:
    """Reads people from memory."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def read(self, destination: str, person_id: str) -> dict[str, Any]:
        if person_id not in self.ids:
            raise ConfigError(f"there is no Practitioner/{person_id} at {destination}")
        return {"resourceType": "Practitioner", "id": person_id}

    def refresh(self, row: dict[str, Any]) -> None:
        raise AssertionError("nothing is quarantined")


@pytest.fixture
def people() -> Servers:
    return cast(Servers, People("7", "8"))


def linked(office: Office, key: str) -> str:
    row = office.store.links.link_of("ehr", "staff", key)
    return str(row["person_id"]) if row else ""


def test_a_link_says_whom_before_and_is_in_the_history(office: Office, people: Servers) -> None:
    first = identity.link(office.store, office.settings, people, Decision("staff", "E1", "7"), BO, WHY)
    assert first.made == (LinkMade("ehr", "staff", "E1", "7", "", "linked"),)
    assert first.candidate is not None
    again = identity.link(office.store, office.settings, people, Decision("staff", "E1", "8", force=True), ANA, WHY)
    assert again.made == (LinkMade("ehr", "staff", "E1", "8", "7", "forced"),)
    apart = identity.link(office.store, office.settings, people, Decision("staff", "E1", identity.NEW), ANA, WHY)
    assert apart.made == (LinkMade("ehr", "staff", "E1", "", "8", "apart"),)
    done = identity.unlink(office.store, office.settings, "staff", "E1", ANA, WHY)
    assert (done.was, done.apart, done.changed) == ("", True, True)
    assert not identity.unlink(office.store, office.settings, "staff", "E1", ANA, WHY).changed


def test_a_check_changes_nothing_and_needs_no_reason(office: Office, people: Servers) -> None:
    tried = identity.link(office.store, office.settings, people, Decision("staff", "E1", "7"), ANA, "", dry_run=True)
    assert (tried.made, tried.checked, linked(office, "E1")) == ((), 1, "")
    with pytest.raises(ConfigError, match="say why"):
        identity.link(office.store, office.settings, people, Decision("staff", "E1", "7"), ANA, "")


def test_two_records_of_a_feed_are_two_people_until_a_person_says_otherwise(office: Office, people: Servers) -> None:
    identity.link(office.store, office.settings, people, Decision("staff", "E1", "7"), ANA, WHY)
    with pytest.raises(ConfigError, match="stands for E1 of the same feed"):
        identity.link(office.store, office.settings, people, Decision("staff", "E2", "7"), ANA, WHY)
    identity.link(office.store, office.settings, people, Decision("staff", "E2", "7", also=True), ANA, WHY)
    assert linked(office, "E2") == "7"


def test_a_file_links_nobody_while_a_line_of_it_is_wrong(office: Office, people: Servers) -> None:
    given = (office.store, office.settings, people)
    wrong = HEAD + b"staff,E1,7\nstaff,E2,7\nstaff,E3,9\nstaff,E4,a b\n"
    decided = identity.link_by_file(*given, wrong, "decided.csv", ANA, WHY)
    assert [line.split(":")[0] for line in decided.wrong] == ["line 3", "line 4", "line 5"]
    assert (decided.made, linked(office, "E1")) == ((), "")
    good = HEAD.replace(b",", b";") + b"staff;E1;7\nstaff;E2;new\n"
    tried = identity.link_by_file(*given, good, "decided.csv", ANA, "", dry_run=True)
    assert (tried.checked, tried.made, tried.wrong) == (2, (), ())
    done = identity.link_by_file(*given, good, "decided.csv", ANA, WHY)
    assert [(made.source_key, made.link) for made in done.made] == [("E1", "linked"), ("E2", "apart")]
    assert identity.link_by_file(*given, HEAD, "decided.csv", ANA, WHY).wrong == ("it holds no decision",)
    with pytest.raises(ConfigError, match="has no column practitioner"):
        identity.link_by_file(*given, b"feed,key\n", "decided.csv", ANA, WHY)


def test_a_map_of_ids_goes_to_the_same_destination_alone(office: Office, people: Servers) -> None:
    identity.link(office.store, office.settings, people, Decision("staff", "E1", "7"), ANA, WHY)
    [ehr] = office.settings.destinations.values()
    document = identity.id_map(office.store, ehr)
    assert document["ids"] == [["staff", "E1", "7"]]
    text = b'{"schema":"id-map/1","destination":"ehr","base_url":"%s","ids":[["staff","E1","8"],["staff","E9","8"]]}'
    own = text % str(document["base_url"]).encode()
    done = identity.import_ids(office.store, ehr, own, "ids.json", BO, WHY)
    assert done == identity.IdsImported(read=2, new=1, different=1)
    with pytest.raises(ConfigError, match="those of another destination"):
        identity.import_ids(office.store, ehr, text % b"http://elsewhere", "ids.json", BO, WHY)
    with pytest.raises(ConfigError, match="is no map of ids"):
        identity.import_ids(office.store, ehr, b"[]", "ids.json", BO, WHY)
