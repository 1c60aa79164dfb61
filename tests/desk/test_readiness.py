"""Whether a site is ready to run, told without a command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hl7bridge.desk.setup import readiness
from hl7bridge.desk.setup.readiness import Line
from tests.bridges import smart_keys
from tests.cli.test_doctor import configured
from tests.desk.conftest import Office, person


def lines(directory: Path, verdict: str = "", **given: float) -> list[Line]:
    found = list(readiness.report(directory, **({"clock": lambda: given["now"]} if given else {})))
    return [line for line in found if verdict in ("", line.verdict)]


def test_a_ready_site_has_nothing_to_look_at(office: Office) -> None:
    directory = office.settings.directory
    assert lines(directory, "error") == []
    assert [line.key for line in lines(directory, "warning")] == ["elements.untyped_phone"]
    assert any(line.text.startswith("store: ") for line in lines(directory, "good"))


def test_a_file_that_cannot_be_read_is_all_that_is_said(office: Office) -> None:
    directory = office.settings.directory
    (directory / "conf/feeds/staff.toml").write_text('destinations = ["nowhere"]\n')
    found = lines(directory)
    assert {line.verdict for line in found} == {"error"}
    assert found[0].data()["file"] == "conf/feeds/staff.toml"
    assert found[0].data().keys() == {"verdict", "file", "key", "problem", "advice"}


@pytest.mark.parametrize(("days", "old"), [(364, False), (366, True)])
def test_a_key_is_old_by_the_clock_that_is_given(tmp_path: Path, days: int, old: bool) -> None:
    keys = smart_keys(tmp_path / "keys")
    os.utime(keys.private_pem, (1_000_000, 1_000_000))
    directory = configured(tmp_path / "site", "https://fhir.example.org/r4", keys)
    warned = [line.problem for line in lines(directory, "warning", now=1_000_000 + days * 86400)]
    assert any("older than 365 days" in problem for problem in warned) is old
    keys.private_pem.unlink()
    [missing] = lines(directory, "error")
    assert "keys generate" in missing.advice


def test_master_files_that_no_table_knows_are_named(office: Office) -> None:
    office.take_in(
        person("E1", "X1"), person("E2", "X2"), person("E3", "X3").replace(b"MFI|STF^Staff^HL70175", b"MFI|CREW")
    )
    directory = office.settings.directory
    [counted] = [line.text for line in lines(directory, "good") if "MFI-1" in line.text and "came lately" in line.text]
    assert counted.endswith("STF (2), CREW (1)")
    [line] = [line for line in lines(directory, "warning") if line.key == "tables.0175"]
    assert 'CREW = "STF"' in line.advice


def test_a_store_that_is_gone_is_no_store_that_will_be_made(office: Office) -> None:
    path = Path(office.settings.store.path)
    office.store.close()
    for file in path.parent.glob(f"{path.name}*"):
        if not file.name.endswith("-made"):
            file.unlink()
    [line] = [line for line in lines(office.settings.directory, "error") if line.key == "store.path"]
    assert "it is gone" in line.problem
    assert "run --new-store" in line.advice
