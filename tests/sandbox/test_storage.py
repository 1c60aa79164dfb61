"""What is kept on disk: resources through restarts, and a journal that tells everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.model import read_json
from hl7bridge.sandbox.journal import Journal, LineFile, read_lines
from tests.sandbox.conftest import NPI, STAFF, Desk, found, practitioner, read


def test_everything_is_there_after_a_restart(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = open_desk(data=tmp_path / "data", journal=tmp_path / "journal.jsonl")
    body = '{"resourceType":"Practitioner","identifier":[{"value":"S1"}],"extension":[{"url":"urn:x","valueDecimal":1.10}]}'
    first = desk.call("POST", "Practitioner", body)
    desk.call("PUT", "Practitioner/1000", first.text.replace("S1", "S2"))
    desk.create(practitioner("S3"))
    desk.call("DELETE", "Practitioner/1001", x_sandbox_observer="true")
    standing, history = desk.call("GET", "Practitioner/1000").data, desk.call("GET", "Practitioner/1000/_history").data
    desk.sandbox.close()

    again = open_desk(data=tmp_path / "data", journal=tmp_path / "journal.jsonl")
    assert again.call("GET", "Practitioner/1000").data == standing
    assert b'"valueDecimal":1.10}' in standing
    assert again.call("GET", "Practitioner/1000/_history").data == history
    assert again.call("GET", "Practitioner/1000/_history/1").data == first.data
    assert again.call("GET", "Practitioner/1001").status_code == 410
    assert found(again.call("GET", "Practitioner?identifier=S2")) == ["1000"]
    assert again.create(practitioner("S4"))["id"] == "1002"
    assert again.call("PUT", "Practitioner/1000", standing.replace(b"S2", b"S5")).headers["ETag"] == 'W/"3"'
    sequences = [entry["sequence"] for entry in again.entries()]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_reset_is_kept(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = open_desk(data=tmp_path, journal=tmp_path / "journal.jsonl")
    desk.create(practitioner("S1"))
    desk.sandbox.reset()
    desk.sandbox.close()
    again = open_desk(data=tmp_path, journal=tmp_path / "journal.jsonl")
    assert found(again.call("GET", "Practitioner")) == []


def test_a_version_whose_journal_line_was_cut_off_by_a_kill_is_told_later(
    open_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    journal = tmp_path / "journal.jsonl"
    desk = open_desk(data=tmp_path, journal=journal)
    made = desk.create(practitioner("S1"))
    desk.call("PUT", "Practitioner/1000", made | {"active": True})
    desk.sandbox.close()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1][:-30])
    again = open_desk(data=tmp_path, journal=journal)
    told = again.entries()
    assert [(entry["sequence"], entry["version"], entry.get("recovered", False)) for entry in told] == [
        (1, "1", False),
        (2, "2", True),
    ]
    assert told[1]["stored"] == read(again.call("GET", "Practitioner/1000"))
    again.sandbox.close()
    assert [entry.get("recovered", False) for entry in open_desk(data=tmp_path, journal=journal).entries()] == [
        False,
        True,
        False,
    ]


def test_a_new_journal_beside_old_data_starts_empty(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = open_desk(data=tmp_path)
    desk.create(practitioner("S1"))
    desk.sandbox.close()
    assert open_desk(data=tmp_path, journal=tmp_path / "journal.jsonl").entries() == []


@pytest.mark.parametrize("torn", ["", '{"n"', '{"n": 3}', "x" * 200_000])
def test_a_torn_end_is_cut_off(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "lines"
    path.write_text('{"n":1}\n{"n":2}\n' + torn)
    assert [line["n"] for line in read_lines(path)] == [1, 2]
    file = LineFile(path)
    file.append({"n": 3})
    file.close()
    assert [line["n"] for line in read_lines(path)] == [1, 2, 3]


def test_a_file_that_is_torn_from_the_start_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text('{"n"')
    LineFile(path).close()
    assert path.read_bytes() == b""


def test_without_a_file_the_journal_keeps_the_last_entries() -> None:
    journal = Journal(None, lambda: 0.0)
    for _ in range(10_050):
        journal.append({"interaction": "read"})
    kept = list(journal.entries())
    assert (len(kept), kept[-1]["sequence"], kept[0]["time"]) == (10_000, 10_050, "1970-01-01T00:00:00.000Z")


def test_the_journal_alone_tells_who_was_created_each_version_and_the_order(
    open_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    journal = tmp_path / "journal.jsonl"
    desk = open_desk(journal=journal)
    made = desk.create(practitioner("S1", active=True), if_none_exist="identifier=S1", x_request_id="r1")
    desk.call("GET", "Practitioner?identifier=S1&_count=2")
    desk.call("PUT", "Practitioner/1000", made | {"active": False}, if_match='W/"1"', x_request_id="r2")
    desk.call("PUT", "Practitioner/1000", made | {"active": False})
    desk.call("PUT", "Practitioner/1000", made, if_match='W/"1"')
    desk.create(practitioner(identifier=[{"system": NPI, "value": "1234567893"}]))
    desk.call("DELETE", "Practitioner/1000")
    desk.call("GET", "Patient/1")

    told = [read_json(line) for line in journal.read_text().splitlines()]
    assert [
        (e["method"], e["interaction"], e["type"], e["id"], e["status"], e["version"], e["changed"]) for e in told
    ] == [
        ("POST", "create", "Practitioner", "1000", 201, "1", True),
        ("GET", "search", "Practitioner", "", 200, "", False),
        ("PUT", "update", "Practitioner", "1000", 200, "2", True),
        ("PUT", "update", "Practitioner", "1000", 200, "2", False),
        ("PUT", "update", "Practitioner", "1000", 409, "", False),
        ("POST", "create", "Practitioner", "1001", 201, "1", True),
        ("DELETE", "delete", "Practitioner", "1000", 405, "", False),
        ("GET", "read", "Patient", "1", 404, "", False),
    ]
    versions = [entry["stored"] for entry in told if "stored" in entry]
    assert [(v["id"], v["meta"]["versionId"], v["identifier"][0]["value"], v.get("active")) for v in versions] == [
        ("1000", "1", "S1", True),
        ("1000", "2", "S1", False),
        ("1001", "1", "1234567893", None),
    ]
    assert versions[0]["identifier"][0]["system"] == STAFF
    assert [entry.get("unchanged", False) for entry in told].index(True) == 3
    assert (told[0]["conditional"], told[0]["request_id"], told[2]["if_match"]) == (True, "r1", 'W/"1"')
    assert told[1]["parameters"] == ["_count", "identifier"]
    assert "identifier=" not in journal.read_text()
    assert told[4]["sent"]["active"] is True
