"""The commands that read stored messages again, on patient messages: `map explain`, `replay`, `msg`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ended
from tests.cli.test_stored import FEED, Server, deliver_all, ready, serve, server, take_in
from tests.mapping.test_visits import ADA, NPI, adt, pv1

__all__ = ["ready", "serve", "server"]  # fixtures

Command = Callable[..., Ended]


@pytest.fixture
def visits(ready: Path) -> Path:
    """A site whose feed takes patient messages, too."""
    path = ready / FEED
    path.write_text(path.read_text().replace('# takes = "staff"', 'takes = ["staff", "adt"]'))
    return ready


def test_a_stored_patient_message_is_explained_and_replayed(command: Command, visits: Path, server: Server) -> None:
    (message_id,) = take_in(visits, adt(pv1(f7=ADA)))
    deliver_all(visits)
    assert [one["name"][0]["family"] for one in server.practitioners()] == ["Okonkwo"]

    explained = command("map", "explain", message_id, "--config", visits, "--json").json["messages"][0]
    assert [record["source_key"] for record in explained["records"]] == [f"{NPI}|1234567893"]
    assert "PV1-7" in command("map", "explain", message_id, "--config", visits).out

    shown = command("msg", "show", message_id, "--config", visits)
    assert (shown.code, "Canary" in shown.out) == (0, False)

    again = command("replay", message_id, "--config", visits, "--wait", 0, "--json").json
    assert again["read_differently"] == []
    deliver_all(visits)
    assert len(server.practitioners()) == 1


def test_a_file_of_a_patient_message_is_planned(command: Command, visits: Path, server: Server) -> None:
    path = visits / "visit.hl7"
    path.write_bytes(adt(pv1(f7=ADA)))
    planned = command("replay", path, "--dry-run", "--config", visits, "--json")
    assert planned.code == 0
    assert '"create"' in planned.out
    assert server.practitioners() == []


def test_lists_show_what_something_is_done_with(command: Command, visits: Path) -> None:
    (message_id,) = take_in(visits, adt(pv1(f7=ADA)))
    listed = command("msg", "list", "--config", visits, "--json").json["messages"]
    assert [row["id"] for row in listed] == [message_id]
    take_in(visits, adt(pv1(f7=ADA), event="A11"))
    assert len(command("msg", "list", "--config", visits, "--json").json["messages"]) == 1
    counted = command("msg", "list", "--state", "counted", "--config", visits, "--json").json["messages"]
    assert [row["note"] for row in counted] == ["event-not-read"]
