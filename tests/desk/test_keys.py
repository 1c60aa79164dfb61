"""Keys are made and shown without a command; the private half stays in its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.desk.setup import keys
from hl7bridge.desk.setup.asking import registrations
from hl7bridge.errors import ConfigError
from tests.bridges import smart_keys
from tests.cli.test_doctor import configured
from tests.desk.conftest import Office


@pytest.mark.parametrize(("algorithm", "bits"), [(keys.Algorithm.ES384, None), (keys.Algorithm.RS384, 2048)])
def test_a_key_is_made_once_and_for_one_user(tmp_path: Path, algorithm: keys.Algorithm, bits: int | None) -> None:
    file = tmp_path / "keys/ehr.pem"
    made = keys.generate(file, algorithm, bits)
    assert made.data() == {"file": str(file), "algorithm": algorithm.value, "kid": made.kid}
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        keys.generate(file, algorithm, bits)
    assert file.read_bytes() == before
    [public] = keys.key_set_of_files([file, file])["keys"]
    assert (public["kid"], public["alg"]) == (made.kid, algorithm.value)
    assert not {"d", "p", "q"} & set(public), "the public half alone"


def test_bits_are_for_rsa(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is for RSA keys"):
        keys.generate(tmp_path / "ehr.pem", bits=4096)
    assert list(tmp_path.iterdir()) == []


def test_the_keys_of_all_destinations(office: Office, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no destination signs with a key"):
        keys.key_set(office.settings)
    own = smart_keys(tmp_path / "own")
    settings = config.load(configured(tmp_path / "site", "https://fhir.example.org/r4", own), {})
    assert keys.key_set(settings) == json.loads(own.jwks.read_text())


def test_a_key_is_shown_under_the_id_that_its_server_gave_it(tmp_path: Path) -> None:
    """The same as `register-help` shows of each destination: a server looks a key up by its `kid`."""
    own = smart_keys(tmp_path / "own")
    site = configured(tmp_path / "site", "https://fhir.example.org/r4", own, auth={"key_id": "given-by-them"})
    ehr = site / "conf/destinations/ehr.toml"
    (site / "conf/destinations/pacs.toml").write_text(ehr.read_text().replace("given-by-them", "another"))
    (site / "conf/destinations/same.toml").write_text(ehr.read_text())
    settings = config.load(site, {})
    shown = keys.key_set(settings)["keys"]
    assert [key["kid"] for key in shown] == ["given-by-them", "another"]
    registered = {key["kid"]: key for one in registrations(settings) for key in (one.key_set or {})["keys"]}
    assert shown == list(registered.values())
    [bare] = keys.key_set_of_files([own.private_pem])["keys"]
    assert {**shown[0], "kid": bare["kid"]} == bare
    own.private_pem.unlink()
    with pytest.raises(ConfigError, match="keys generate"):
        keys.key_set(settings)
