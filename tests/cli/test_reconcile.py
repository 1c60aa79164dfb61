"""`reconcile` and `report` against a real store and a real FHIR server."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from hl7bridge.desk.reconcile import meanings
from hl7bridge.model.discrepancy import SEVEREST
from tests.cli.conftest import Ended
from tests.cli.test_roster import put
from tests.cli.test_stored import DESTINATION, Server, deliver_all, delivered, ready, serve, server, take_in
from tests.journey import mfn, person

__all__ = ["delivered", "ready", "serve", "server"]

Command = Callable[..., Ended]
FORMULA = "=SUM(1+1)"  # a name has letters


@pytest.fixture
def drifted(delivered: Path, server: Server) -> Path:
    """A leaver whom somebody let in again, with a name that a spreadsheet would run."""
    take_in(delivered, mfn("L1", person("MDC", "E100", "Okonkwo^Adaeze", flag="I")))
    deliver_all(delivered)
    [one] = server.practitioners()
    put(server, {**one, "active": True, "name": [{**one["name"][0], "family": FORMULA}]})
    return delivered


def test_every_kind_has_its_meaning() -> None:
    assert list(meanings()) == [kind.value for kind in SEVEREST]
    assert meanings("card")["gone"] == "the card that was written for the person is gone"
    assert not any(set(text) & set("{}") for text in meanings().values()), "whoever shows them formats nothing"


def test_in_step(command: Command, delivered: Path) -> None:
    ended = command("reconcile", "--config", delivered)
    assert ended.code == 0
    assert "1 people compared, 0 differences" in ended.out


def test_differences_are_shown_the_urgent_first(command: Command, drifted: Path, server: Server) -> None:
    asked = len(server.requests())
    table = drifted / "drift.csv"
    ended = command("reconcile", "--csv", table, "--json", "--config", drifted)
    assert ended.code == 1
    document = ended.json
    assert document["schema"] == "reconcile/1"
    assert document["counts"] == {"active-at-server": 1, "changed": 1}
    first, second = document["differences"]
    assert (first["kind"], first["source_key"], first["fields"][0]["path"]) == ("active-at-server", "E100", "active")
    assert second["fields"][0]["at_server"]["family"] == FORMULA
    assert set(server.requests()[asked:]) == {"GET"}
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8-sig"))))
    assert [row["kind"] for row in rows] == ["active-at-server", "changed"]
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    shown = command("reconcile", "--config", drifted)
    assert shown.out.index("active at the server, inactive at the source") < shown.out.index("what was written")
    assert command("task", "list", "--kind", "drift", "--json", "--config", drifted).json["tasks"] != []


def test_the_last_run_without_asking_the_server(command: Command, drifted: Path, server: Server) -> None:
    assert command("reconcile", "--last", "--config", drifted).code == 2  # there was none yet
    now = command("reconcile", "--json", "--config", drifted).json
    asked = len(server.requests())
    last = command("reconcile", "--last", "--json", "--config", drifted)
    assert (last.code, last.json) == (1, now)
    assert len(server.requests()) == asked


def test_one_person_and_who_is_nobody(command: Command, drifted: Path) -> None:
    assert len(command("reconcile", "--person", "E100", "--json", "--config", drifted).json["differences"]) == 2
    unknown = command("reconcile", "--person", "E999", "--config", drifted)
    assert (unknown.code, "nobody with that staff key" in unknown.err) == (2, True)
    assert command("reconcile", "--feed", "payroll", "--config", drifted).code == 2


def test_a_server_that_is_not_there(
    command: Command, drifted: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    path = drifted / DESTINATION
    path.write_text(path.read_text().replace(server.base_url, "http://127.0.0.1:9/fhir"))
    ended = command("reconcile", "--json", "--config", drifted)
    assert ended.code == 3
    assert "cannot be read" in ended.json["problem"]
    assert ended.json["differences"] == []


def test_an_access_review(command: Command, drifted: Path, server: Server) -> None:
    take_in(drifted, mfn("N1", person("MAD", "E200", FORMULA)))
    deliver_all(drifted)
    before = command("report", "access", "--json", "--config", drifted).json["people"]
    assert [(one["source_key"], one["active_at_source"]) for one in before] == [("E100", False), ("E200", True)]
    assert before[0]["active_at_server"] is False  # as it was verified with the write
    httpx.get(server.base_url, trust_env=False)
    command("reconcile", "--config", drifted)
    table = drifted / "access.csv"
    ended = command("report", "access", "--csv", table, "--config", drifted)
    assert ended.code == 1
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8-sig"))))
    by_key = {row["key"]: row for row in rows}
    leaver, joiner = by_key["E100"], by_key["E200"]
    assert (leaver["active_at_source"], leaver["active_at_server"], leaver["matter"]) == ("no", "yes", "access")
    assert (joiner["active_at_source"], joiner["active_at_server"], joiner["matter"]) == ("yes", "yes", "")
    assert leaver["verified"]
    assert float(leaver["seconds_to_deactivate"]) >= 0
    assert joiner["name"] == f"'{FORMULA}"
    assert leaver["id"] == server.practitioners()[0]["id"]
