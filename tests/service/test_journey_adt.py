"""A patient feed over real sockets and processes: few requests, and nothing of a patient in any file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import adt


@pytest.mark.slow
def test_a_patient_feed_costs_few_requests_and_leaves_no_patient(tmp_path: Path) -> None:
    report = adt.run(tmp_path, count=2_000, people=40, seed=7)
    assert report.faults == []
    assert report.figures["messages counted"] > 1_900
    assert report.figures["FHIR requests"] < 100


def test_a_trace_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "store").write_bytes(b"\0\1" + adt.TOKEN.encode() + b"7x")
    (tmp_path / "log").write_text("nothing")
    assert [fault.person for fault in adt.traces(tmp_path)] == ["store"]
