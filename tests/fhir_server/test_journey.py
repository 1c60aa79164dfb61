"""The journey against a FHIR server that others wrote; the full counts: `python -m tests.acceptance hapi`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridges import ROOT
from tests.fhir_server import full_load, interruptions, processes, story
from tests.hapi.observer import NPI, Observer
from tests.hapi.server import Hapi

SAMPLES = ROOT / "sample_messages"


@pytest.mark.skipif(not any(SAMPLES.glob("*.hl7")), reason=f"there are no sample messages in {SAMPLES}")
@pytest.mark.slow
def test_every_sample_message(server_url: str, tmp_path: Path) -> None:
    report = story.run(tmp_path, server_url, seed=20260302)
    assert report.faults == []
    assert report.figures["versions"] == report.figures["real changes"]


@pytest.mark.slow
def test_a_full_load_writes_what_changed_and_nothing_else(
    server_url: str, key_system: str, block: int, blocks: Iterator[int], tmp_path: Path
) -> None:
    next(blocks)  # so many people take two
    report = full_load.run(tmp_path, server_url, key_system, count=2000, block=block, seed=20260302)
    assert report.faults == []
    assert report.figures["validated"] == full_load.VALIDATED


@pytest.mark.parametrize("conditional", [True, False], ids=["conditional create", "plain create"])
@pytest.mark.slow
def test_two_delivery_processes_make_nobody_twice(
    server_url: str, block: int, tmp_path: Path, conditional: bool
) -> None:
    systems = {feed: f"urn:uuid:{uuid.uuid4()}" for feed in processes.FEEDS}
    report = processes.run(tmp_path, server_url, systems, count=40, block=block, seed=7, conditional=conditional)
    assert report.faults == []


@pytest.mark.slow
def test_everything_arrives_though_the_server_comes_and_goes(own_server: Hapi, tmp_path: Path) -> None:
    report = interruptions.run(tmp_path, own_server, rounds=1, seed=7, seconds=2.0)
    assert report.faults == []


def test_the_judge_finds_an_error(observer: Observer) -> None:
    """$validate is asked about many resources; here it must not be silent."""
    right = {"resourceType": "Practitioner", "identifier": [{"system": NPI, "value": "1"}], "active": True}
    assert observer.validate(right) == []
    (error,) = observer.validate({**right, "telecom": [{"value": "555 0100"}]})
    assert "cpt-2" in error
    (error,) = observer.validate({**right, "gender": "woman"})
    assert "woman" in error
