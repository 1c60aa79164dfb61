"""The support file, written without a command: what stays in it, and what never is."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.desk.setup.examination import Diagnosis, Examined
from hl7bridge.desk.setup.support import write_bundle
from hl7bridge.destinations.examining import State
from hl7bridge.errors import ConfigError
from tests.desk.conftest import Office, person

PLAIN = Diagnosis("tls", State.OK, "tls", "TLSv1.3")
OF_A_PERSON = Diagnosis("card", State.OK, "card", "CANARY-7 carries it", of_people=True)
OF_A_HOST = Diagnosis(
    "tls", State.PROBLEM, "other-name", "for CANARY-HOST", "an alias", ("Correct it.",), of_hosts=True
)
WITH_A_URL = Diagnosis(
    "token", State.PROBLEM, "x", "by https://CANARY-URL:8443/token", "at https://CANARY-URL/a", ("See https://CANARY-URL.",)
)  # fmt: skip
SAID = Diagnosis("token", State.PROBLEM, "y", "refused", "the key", ("Register it.",), said="CANARY of the server")


def parts(office: Office, file: Path, *diagnoses: Diagnosis, **given: Any) -> dict[str, str]:
    write_bundle(file, office.settings, [Examined("ehr", "write", diagnoses)], **given)
    with zipfile.ZipFile(file) as bundle:
        return {name.removeprefix("hl7bridge-support/"): bundle.read(name).decode() for name in bundle.namelist()}


@pytest.mark.parametrize(
    ("diagnosis", "text"),
    [
        (PLAIN, "TLSv1.3"),
        (OF_A_PERSON, ""),
        (OF_A_HOST, ""),
        (WITH_A_URL, "by https://(host)/token"),
        (SAID, "refused"),
    ],
    ids=lambda value: value.code if isinstance(value, Diagnosis) else "",
)
def test_of_a_diagnosis_stays_what_names_nobody(
    office: Office, tmp_path: Path, diagnosis: Diagnosis, text: str
) -> None:
    written = parts(office, tmp_path / "support.zip", diagnosis)["doctor.json"]
    assert "CANARY" not in written
    [check] = json.loads(written)["destinations"][0]["checks"]
    assert (check["text"], check["state"], check["code"]) == (text, diagnosis.state.value, diagnosis.code)


def test_hosts_stay_where_that_is_asked_and_people_never(office: Office, tmp_path: Path) -> None:
    written = parts(office, tmp_path / "support.zip", OF_A_PERSON, OF_A_HOST, WITH_A_URL, keep_hosts=True)
    assert [check["text"] for check in json.loads(written["doctor.json"])["destinations"][0]["checks"]] == [
        "",
        OF_A_HOST.text,
        WITH_A_URL.text,
    ]
    assert "127.0.0.1" in written["settings.json"]


def test_of_the_store_there_are_counts_alone(office: Office, tmp_path: Path) -> None:
    office.take_in(person("CANARY1", "X1"))
    written = parts(office, tmp_path / "support.zip", PLAIN)
    assert "CANARY" not in "".join(written.values())
    assert sum(json.loads(written["store.json"])["messages"].values()) == 1
    with pytest.raises(ConfigError, match="exists already"):
        write_bundle(tmp_path / "support.zip", office.settings, [])
