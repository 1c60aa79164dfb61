"""Who may approve, and what `destination` says of modes: against a real store and a real FHIR server on a real socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.cli import deciding
from hl7bridge.cli.deciding import account
from hl7bridge.desk import go_live
from hl7bridge.model import Outcome, Result
from hl7bridge.sandbox.habits import Fault
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import DeliveryState, Settlement, Store
from tests.cli.conftest import Ended, message
from tests.cli.test_stored import Server, ready, serve, server, take_in

__all__ = ["ready", "serve", "server"]

Command = Callable[..., Ended]
WHY = ("--reason", "checked with HR")


def store_of(site: Path) -> Store:
    return open_store(config.load(site, {}).store.path)


def settle_all(site: Path, outcome: Outcome, state: DeliveryState) -> list[bool]:
    """Settle what is queued; says of each whether it came approved."""
    store, now = store_of(site), time.time()
    try:
        store.queue.join("worker", 60, now)
        claimed = store.queue.claim("ehr", "worker", 100, now)
        store.settlements.settle([Settlement(one, outcome, state) for one in claimed], now)
        store.queue.leave("worker", now)
    finally:
        store.close()
    return [one.approved for one in claimed]


def hold_all(site: Path, local: str) -> list[bool]:
    return settle_all(site, Outcome(Result.HELD, "", local, "Waits for a person"), DeliveryState.HELD)


def free_port() -> int:
    """A port at which nothing answers."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def test_nobody_approves_what_they_asked_for(command: Command, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_in(ready, message("X1"))
    hold_all(ready, "approval")
    assert command("hold", "release", 1, *WHY, "--config", ready).code == 0, "the feed asked for it"
    assert hold_all(ready, "approval") == [True]
    command("replay", 1, "--wait", 0, "--config", ready)
    assert hold_all(ready, "approval") == [False]
    held = command("hold", "list", "--json", "--config", ready).json["holds"][-1]["id"]
    refused = command("hold", "release", held, *WHY, "--config", ready)
    assert refused.code == 1
    assert f"you asked for this change yourself ({account()})" in refused.err
    assert "another account" in refused.err

    own = account()
    monkeypatch.setattr(deciding, "account", lambda: f"root (sudo: {own})")
    assert command("hold", "release", held, *WHY, "--config", ready).code == 1, "nor behind sudo"
    monkeypatch.setattr(deciding, "account", lambda: "bo")
    assert command("hold", "release", held, *WHY, "--config", ready).code == 0
    assert hold_all(ready, "approval") == [True]


def test_what_they_asked_for_may_be_tried_again_and_is_not_approved_by_that(command: Command, ready: Path) -> None:
    take_in(ready, message("X1"))
    settle_all(ready, Outcome(Result.UNCHANGED), DeliveryState.ENDED)
    command("replay", 1, "--wait", 0, "--config", ready)
    hold_all(ready, "refused-change")
    assert command("hold", "release", 2, *WHY, "--config", ready).code == 0
    assert hold_all(ready, "approval") == [False]


def test_trying_writes_again_approves_nothing(command: Command, ready: Path) -> None:
    take_in(ready, message("X1"))
    store = store_of(ready)
    assert store.modes.latch("ehr", "Practitioner create", "Not offered", 1.0)
    store.close()
    hold_all(ready, "not-offered")
    [row] = command("destination", "list", "--json", "--config", ready).json["destinations"]
    assert row["refused"] == {"Practitioner create": "Not offered"}
    assert "Practitioner create" in command("destination", "list", "--config", ready).out
    tried = command("destination", "retry-writes", "ehr", *WHY, "--config", ready)
    assert tried.out == "ehr is written to again; 1 of 1 held changes are queued\n"
    assert hold_all(ready, "approval") == [False]
    [row] = command("destination", "list", "--json", "--config", ready).json["destinations"]
    assert row["refused"] == {}


def test_going_live_needs_something_that_waits(command: Command, ready: Path, server: Server) -> None:
    file = ready / "conf" / "destinations" / "ehr.toml"
    file.write_text(file.read_text().replace('mode = "write"', 'mode = "report"'))
    take_in(ready, message("X1"))
    settle_all(ready, Outcome(Result.REPORTED), DeliveryState.ENDED)
    early = command("destination", "go-live", "ehr", "--config", ready)
    assert early.code == 2
    assert "is in mode report" in early.err
    file.write_text(file.read_text().replace('mode = "report"', 'mode = "approve"'))
    shown = command("destination", "go-live", "ehr", "--config", ready)
    assert shown.code == 0
    assert "held: 1 for approval" in shown.out
    assert "start `hl7bridge run` anew first" in shown.err
    early = command("destination", "go-live", "ehr", "--yes", *WHY, "--config", ready)
    assert early.code == 2
    assert "does not wait to go live" in early.err

    store = store_of(ready)
    assert store.pauses.pause("ehr", "leaving-report", time.time())
    store.close()
    refused = command("destination", "resume", "ehr", *WHY, "--config", ready)
    assert (refused.code, "go-live" in refused.err) == (2, True)
    live = command("destination", "go-live", "ehr", "--yes", *WHY, "--json", "--config", ready).json
    assert (live["confirmed"], live["results"], live["held"]) == (True, {"held": 1}, {"approval": 1})
    store = store_of(ready)
    assert store.audit.counts()["deliveries"] == {"ehr": {"queued": 1}}
    assert store.audit.paused() == {}
    assert store.modes.ran_as("ehr") is not None
    store.close()


def test_what_was_reported_may_be_left(command: Command, ready: Path) -> None:
    take_in(ready, message("X1"))
    settle_all(ready, Outcome(Result.REPORTED), DeliveryState.ENDED)
    store = store_of(ready)
    assert store.pauses.pause("ehr", "leaving-report", time.time())
    store.close()
    assert command("destination", "go-live", "ehr", "--skip", "--yes", *WHY, "--config", ready).code == 0
    store = store_of(ready)
    assert (store.audit.counts()["deliveries"], store.audit.paused()) == ({"ehr": {"reported": 1}}, {})
    store.close()


def test_a_server_out_of_reach_changes_nothing(
    command: Command, ready: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go_live, "_WAIT", 0.0)
    take_in(ready, message("X1"))
    settle_all(ready, Outcome(Result.REPORTED), DeliveryState.ENDED)
    file = ready / "conf" / "destinations" / "ehr.toml"
    file.write_text(file.read_text().replace(server.base_url, f"http://127.0.0.1:{free_port()}/fhir"))
    ended = command("destination", "go-live", "ehr", "--config", ready)
    assert ended.code == 3
    assert "Nothing was changed" in ended.err


def test_one_person_of_whom_the_server_says_nothing_keeps_nobody_else(
    command: Command, ready: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go_live, "_WAIT", 0.0)
    take_in(ready, message("X1"))
    take_in(ready, message("X2").replace(b"E100", b"E200").replace(b"1234567893", b"1992988885"))
    settle_all(ready, Outcome(Result.REPORTED), DeliveryState.ENDED)
    server.sandbox.faults.add(Fault("status", on=("search",), status=500, times=go_live._TRIES))
    shown = command("destination", "go-live", "ehr", "--json", "--config", ready).json
    assert shown["results"] == {"created": 1, "retry": 1}


def test_a_dry_run_of_several_finds_whom_an_earlier_one_would_create(
    command: Command, ready: Path, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "two.hl7").write_bytes(message("X1") + message("X2"))
    document = command("replay", tmp_path / "two.hl7", "--dry-run", "--json", "--config", ready).json
    plans = [one["records"][0]["destinations"][0] for one in document["messages"]]
    assert [plan["result"] for plan in plans] == ["reported", "reported"]
    kinds = [[interaction["kind"] for interaction in plan["interactions"]] for plan in plans]
    assert kinds[0][0] == "create"
    assert set(kinds[1]) == {"none"}, "the same again"
    assert server.practitioners() == []
