"""The access review and the export, without a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from hl7bridge.desk import reports
from hl7bridge.errors import ConfigError
from hl7bridge.model import Task
from tests.desk.conftest import Office, person


def access(key: str, matter: str = "", seconds: float | None = None) -> reports.Access:
    return reports.Access(key, "staff", "", "", None, None, matter, "", "", seconds)


def test_a_review_counts_what_matters_and_how_long_it_took() -> None:
    people = (access("A", "access"), access("B", seconds=9.0), access("C", seconds=2.0), access("D", seconds=4.0))
    review = reports.AccessReview("ehr", people, 2, 60)
    assert (review.matters, review.times) == (1, [2.0, 4.0, 9.0])
    data = review.data()
    assert (data["median_seconds_to_deactivate"], data["longest_seconds_to_deactivate"]) == (4.0, 9.0)
    assert [row["source_key"] for row in data["people"]] == ["A", "B", "C", "D"]
    nobody = reports.AccessReview("ehr", (), 0, 0).summary()
    assert (nobody["people"], nobody["median_seconds_to_deactivate"]) == (0, None)


def test_tasks_that_wait_are_counted(office: Office) -> None:
    office.take_in(person("E100", "X1"))
    office.hold("refused", Task("by-hand", "Do it"))
    opened = office.store.worklist.tasks()[0].opened
    review = reports.access(office.store, "ehr", clock=lambda: opened + 90)
    assert (review.open_tasks, review.oldest_open_task) == (1, 90)
    assert reports.access(office.store, "ehr", "another").people == ()


def test_an_export_overwrites_nothing(office: Office, tmp_path: Path) -> None:
    office.take_in(person("E100", "X1"))
    told: list[int] = []
    counts = reports.export(office.store, tmp_path / "staff.db", told=told.append)
    assert counts["messages"] == 1
    assert told[-1] == sum(counts.values())
    with pytest.raises(ConfigError, match="is there already"):
        reports.export(office.store, tmp_path / "staff.db")
