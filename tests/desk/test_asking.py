"""What destinations are asked while they are set up, without a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.desk.setup import asking
from hl7bridge.errors import ConfigError, Unreachable
from hl7bridge.sandbox import SandboxSettings
from tests.bridges import smart_keys
from tests.cli.test_doctor import NPI, configured, person, served, with_tokens
from tests.desk.conftest import Office


def test_whom_a_destination_holds_under_an_identifier(tmp_path: Path) -> None:
    with served(SandboxSettings(auth=False)) as server:
        settings = config.load(configured(tmp_path, server.base_url), {})
        assert asking.look_up(settings, "", NPI) == ("ehr", ())
        known = [server.post(person(active=False)), server.post(person())]
        reference = {"reference": f"Practitioner/{known[1]}"}
        server.post({"resourceType": "PractitionerRole", "practitioner": reference})
        _, found = asking.look_up(settings, "ehr", NPI)
        assert sorted(found, key=lambda one: one.roles) == [
            asking.Carrier(known[0], False, 0, 0),
            asking.Carrier(known[1], None, 1, 1),
        ]
        assert {entry["method"] for entry in server.journal() if entry["client"] != "observer"} == {"GET"}


def test_who_is_asked_has_to_be_there(office: Office) -> None:
    with pytest.raises(Unreachable, match="`hl7bridge doctor ehr` says why"):
        asking.look_up(office.settings, "", NPI)
    with pytest.raises(ConfigError, match='no destination "lab"'):
        asking.look_up(office.settings, "lab", NPI)


def test_what_comes_of_asking_for_a_token(tmp_path: Path) -> None:
    keys, others = smart_keys(tmp_path / "keys"), smart_keys(tmp_path / "others")
    with served(with_tokens(keys, scopes="system/Practitioner.read")) as server:
        known = config.load(configured(tmp_path / "known", server.base_url, keys), {})
        [granted] = asking.try_tokens(known)
        assert (granted.error, granted.granted_scopes) == ("", ("system/Practitioner.read",))
        assert "system/Practitioner.write" in granted.missing_scopes
        assert granted.seconds > 0
        stranger = config.load(configured(tmp_path / "stranger", server.base_url, others), {})
        [refused] = asking.try_tokens(stranger, "ehr")
    assert "invalid_client" in refused.error
    assert any("client id" in cause for cause in refused.likely_causes)
    assert refused.said
    assert refused.said not in f"{refused!r} {refused.data()}", "a server's words are for a terminal alone"
    assert refused.data()["token_url"].endswith("/token")


def test_who_asks_for_no_token_is_passed_over(office: Office) -> None:
    assert list(asking.try_tokens(office.settings)) == []
    with pytest.raises(ConfigError, match='no destination "lab"'):
        list(asking.try_tokens(office.settings, "lab"))


def test_what_an_owner_has_to_know(tmp_path: Path) -> None:
    keys = smart_keys(tmp_path)
    settings = config.load(configured(tmp_path / "a", "https://fhir.example.org/r4", keys, mode="report"), {})
    [one] = asking.registrations(settings, "ehr")
    assert one.data()["jwks"] == one.key_set == json.loads(keys.jwks.read_text())
    rows = dict(one.rows)
    assert (rows["kid"], rows["FHIR base"]) == (keys.kid, "https://fhir.example.org/r4")
    assert "PRIVATE" not in repr(one)
    keys.private_pem.unlink()
    [without] = asking.registrations(settings)
    assert (without.key_set, "keys generate" in without.key_problem) == (None, True)
    assert without.checklist == one.checklist


def test_everybody_is_listed_with_their_roles(tmp_path: Path) -> None:
    with served(SandboxSettings(auth=False)) as server:
        settings = config.load(configured(tmp_path, server.base_url), {})
        known = [server.post(person(active=active)) for active in (True, False)]
        reference = {"reference": f"Practitioner/{known[1]}"}
        role = {"resourceType": "PractitionerRole", "practitioner": reference, "code": [{"text": "Midwife"}]}
        server.post(role)
        with asking.people(settings, with_roles=True) as people:
            found = {one.resource["id"]: one for one in people}
            assert (people.total, people.pages) == (2, 1)
        with asking.people(settings, "ehr") as people:
            assert [one.roles for one in people] == [(), ()]
    assert [found[number].active for number in known] == [True, False]
    line = dict(zip(asking.COLUMNS, found[known[1]].row, strict=True))
    assert (line["npi"], line["family"], line["roles"]) == (NPI, "Okonkwo", "Midwife (active)")
    assert found[known[0]].roles == ()
