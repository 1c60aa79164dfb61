"""`hold`, `task`, `destination`: what people decide, against a real store and a real FHIR server on a real socket."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.cli import deciding
from hl7bridge.cli.spreadsheet import safe_cell
from hl7bridge.model import Check, Outcome, Result, Task
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import DeliveryState, Settlement, Store
from tests.cli.conftest import Ended, message
from tests.cli.test_stored import FEED, Server, deliver_all, ready, serve, server, take_in

__all__ = ["ready", "serve", "server"]

Command = Callable[..., Ended]
WHY = ("--reason", "checked with HR")


def store_of(site: Path) -> Store:
    return open_store(config.load(site, {}).store.path)


def hold_all(site: Path, local: str = "refused", *tasks: Task) -> list[int]:
    """Hold what is queued, as a server's answer would; the ids."""
    store, now = store_of(site), time.time()
    try:
        store.queue.join("holder", 60, now)
        claimed = store.queue.claim("ehr", "holder", 100, now)
        held = Outcome(Result.HELD, "207", local, "The FHIR server refused it", tasks=tasks)
        store.settlements.settle([Settlement(one, held, DeliveryState.HELD) for one in claimed], now)
        store.queue.leave("holder", now)
    finally:
        store.close()
    return [one.delivery_id for one in claimed]


def person(key: str, control_id: str) -> bytes:
    return message(control_id).replace(b"E100", key.encode())


@pytest.fixture
def held(ready: Path) -> Path:
    """A site with one message whose delivery is held."""
    take_in(ready, message("X1"))
    assert hold_all(ready) == [1]
    return ready


# --- hold ------------------------------------------------------------------------------------------------------------


def test_holds_are_listed_and_shown(command: Command, held: Path) -> None:
    listed = command("hold", "list", "--config", held)
    assert listed.code == 0
    assert "The FHIR server refused it" in listed.out
    assert "E100" in listed.out
    assert listed.err == "1 held: 1 refused\n"
    document = command("hold", "list", "--cause", "refused", "--json", "--config", held).json
    assert (document["total"], document["causes"]) == (1, {"refused": 1})
    [row] = document["holds"]
    assert (row["id"], row["message_id"], row["source_key"], row["local"]) == (1, 1, "E100", "refused")
    assert datetime.fromisoformat(row["since"]).tzinfo is not None
    assert command("hold", "list", "--cause", "brake", "--json", "--config", held).json["holds"] == []
    shown = command("hold", "show", 1, "--config", held)
    assert shown.code == 0
    assert "-> ehr: held" in shown.out
    assert "X1" in shown.out
    document = command("hold", "show", 1, "--json", "--config", held).json
    assert document["hold"]["source_key"] == "E100"
    assert [row["event"] for row in document["history"]][-1] == "held"
    assert command("hold", "show", 9, "--config", held).code == 2


def test_a_release_is_delivered_and_audited(command: Command, held: Path, server: Server) -> None:
    released = command("hold", "release", 1, *WHY, "--config", held)
    assert (released.code, released.out) == (0, "1 of 1 released\n")
    deliver_all(held)
    assert len(server.practitioners()) == 1
    history = command("msg", "show", 1, "--json", "--config", held).json["history"]
    [row] = [row for row in history if row["event"] == "released"]
    assert row["detail"]["reason"] == "checked with HR"
    assert row["detail"]["who"] == deciding.account()
    assert row["detail"]["mapping_version"]
    assert command("hold", "release", 1, *WHY, "--config", held).code == 2


def test_a_release_goes_with_the_tables_of_today(command: Command, held: Path, server: Server) -> None:
    with (held / FEED).open("a") as file:
        file.write('\n[tables.0001]\nF = "M"\n')
    assert command("hold", "release", 1, *WHY, "--config", held).code == 0
    deliver_all(held)
    assert [one["gender"] for one in server.practitioners()] == ["male"]


def test_a_release_may_go_as_it_was_stored(command: Command, held: Path, server: Server) -> None:
    with (held / FEED).open("a") as file:
        file.write('\n[tables.0001]\nF = "M"\n')
    assert command("hold", "release", 1, "--as-stored", *WHY, "--config", held).code == 0
    deliver_all(held)
    assert [one["gender"] for one in server.practitioners()] == ["female"]


def test_a_release_without_its_feed_goes_as_it_was_stored_and_says_so(command: Command, held: Path) -> None:
    path = held / FEED
    path.with_name("other.toml").write_text(path.read_text())
    path.unlink()
    released = command("hold", "release", 1, *WHY, "--config", held)
    assert released.code == 0
    assert "as it was stored: there is no feed staff any more" in released.err


def test_all_of_one_cause_are_released_after_a_fix(command: Command, ready: Path, server: Server) -> None:
    take_in(ready, *[person(f"R{n}", f"R{n}") for n in range(5)])
    assert len(hold_all(ready, "refused-change")) == 5
    take_in(ready, person("OTHER", "R9"))
    hold_all(ready, "forbidden")
    document = command("hold", "release", "--all", "--cause", "refused-change", *WHY, "--json", "--config", ready).json
    assert [(one["id"], one["released"]) for one in document["holds"]] == [(n, True) for n in range(1, 6)]
    deliver_all(ready)
    assert len(server.practitioners()) == 5
    assert len(command("hold", "list", "--json", "--config", ready).json["holds"]) == 1


def test_what_a_newer_change_waits_behind_is_not_released(command: Command, held: Path) -> None:
    take_in(held, message("X2"))
    released = command("hold", "release", 1, *WHY, "--config", held)
    assert released.code == 1
    assert "newer change" in released.err


def test_a_discarded_one_is_withdrawn(command: Command, held: Path, server: Server) -> None:
    assert command("hold", "discard", 1, *WHY, "--config", held).out == "1 of 1 discarded\n"
    deliver_all(held)
    assert server.practitioners() == []
    assert "-> ehr: withdrawn" in command("msg", "show", 1, "--config", held).out


@pytest.mark.parametrize(
    "arguments",
    [
        ("release", "1"),
        ("release", "1", "--reason", "  "),
        ("release", *WHY),
        ("release", "--all", *WHY),
        ("release", "1", "--all", "--cause", "refused", *WHY),
        ("release", "1", "--cause", "refused", *WHY),
        ("release", "7", *WHY),
        ("discard", "1"),
        ("discard", "--all", *WHY),
    ],
)
def test_a_decision_says_which_and_why(command: Command, held: Path, arguments: tuple[str, ...]) -> None:
    ended = command("hold", *arguments, "--config", held)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert len(command("hold", "list", "--json", "--config", held).json["holds"]) == 1


# --- task ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tasks(ready: Path) -> Path:
    """A site with an access task that is overdue, and one that is not due ever. The person's key looks like a formula."""
    take_in(ready, person("=1+1", "X1"))
    hold_all(
        ready, "refused", Task("leaver-access", "End access", ("Look.", "End it."), 0.001), Task("by-hand", "Do it")
    )
    time.sleep(0.01)
    return ready


def test_tasks_are_listed_shown_and_done(command: Command, tasks: Path) -> None:
    listed = command("task", "list", "--config", tasks)
    assert listed.code == 0
    assert [line.split()[1:4] for line in listed.out.splitlines()[1:]] == [
        ["overdue", "0/2", "leaver-access"],
        ["open", "by-hand", "=1+1"],
    ]
    rows = command("task", "list", "--kind", "leaver-access", "--json", "--config", tasks).json["tasks"]
    assert [(row["id"], row["overdue"], row["steps"]) for row in rows] == [(1, True, ["Look.", "End it."])]
    assert "  [ ] 2. End it." in command("task", "show", 1, "--config", tasks).out
    assert command("task", "done", 1, "--config", tasks).code == 2, "without evidence"
    assert command("task", "done", 1, "--evidence", "ticket 4711", "--config", tasks).code == 0
    shown = command("task", "show", 1, "--json", "--config", tasks).json["task"]
    assert (shown["state"], shown["closed_by"], shown["evidence"]) == ("done", deciding.account(), "ticket 4711")
    assert command("task", "done", 1, "--evidence", "again", "--config", tasks).code == 2
    assert command("task", "show", 9, "--config", tasks).code == 2
    assert [row["id"] for row in command("task", "list", "--json", "--config", tasks).json["tasks"]] == [2]
    done = command("task", "list", "--state", "done", "--json", "--config", tasks).json["tasks"]
    assert [row["id"] for row in done] == [1]


def test_steps_are_closed_one_by_one_and_tasks_given_to_somebody(command: Command, tasks: Path) -> None:
    by = ("--config", tasks)
    assert command("task", "assign", 1, " access  team ", *by).out == "task 1 is given to access team\n"
    assert [row["id"] for row in command("task", "list", "--owner", "access team", "--json", *by).json["tasks"]] == [1]
    first = command("task", "done", 1, "--item", 2, "--evidence", "ticket 4711", *by)
    assert (first.code, first.out) == (0, "step 2 of task 1 is done; open: 1\n")
    shown = command("task", "show", 1, *by).out
    assert "  [ ] 1. Look." in shown
    assert "  [x] 2. End it." in shown
    assert f" by {deciding.account()}: ticket 4711" in shown
    assert "step 2 of task 1 is done already" in command("task", "done", 1, "--item", 2, "--evidence", "x", *by).err
    assert "task 1 has no step 3" in command("task", "done", 1, "--item", 3, "--evidence", "x", *by).err
    assert command("task", "done", 1, "--item", 1, "--evidence", "seen", *by).out == "task 1 is done\n"
    assert "not open but done" in command("task", "assign", 1, "bo", *by).err


def test_a_task_that_waits_says_what_for(command: Command, ready: Path) -> None:
    take_in(ready, person("K1", "X1"))
    gates = (Check("login-known", "The login id is known.", gate=True), Check("seen", "The person is there."))
    hold_all(ready, "refused", Task("joiner-setup", "Set up", ("Add the person.",), checks=gates))
    by = ("--config", ready)
    assert command("task", "list", *by).out.splitlines()[1].split()[1:3] == ["blocked", "0/3"]
    shown = command("task", "show", 1, *by).out
    assert "  waits for step 1" in shown
    assert "closes itself when" in shown
    refused = command("task", "done", 1, "--item", 2, "--evidence", "x", *by)
    assert (refused.code, "waits for step 1" in refused.err) == (2, True)
    assert command("task", "done", 1, "--item", 1, "--evidence", "k1 at the IdP", *by).code == 0
    assert command("task", "done", 1, "--evidence", "all", *by).out == "task 1 is done\n"


def test_a_csv_holds_no_formulas(command: Command, tasks: Path, tmp_path: Path) -> None:
    path = tmp_path / "tasks.csv"
    command("task", "done", 2, "--evidence", "@SUM(A1)", "--config", tasks)
    ended = command("task", "list", "--state", "any", "--csv", path, "--config", tasks)
    assert (ended.code, ended.out) == (0, "")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["person"], row["overdue"], row["evidence"]) for row in rows] == [
        ("'=1+1", "yes", ""),
        ("'=1+1", "", "'@SUM(A1)"),
    ]
    assert (rows[0]["steps"], rows[0]["owner"]) == ("1. Look. 2. End it.", "")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=x", "'\t=x"),
        ("\r=x", "'\r=x"),
        ("\n=x", "'\n=x"),
        ("E100", "E100"),
        ("a=b", "a=b"),
        ("", ""),
        (7, "7"),
    ],
)
def test_cells(value: object, cell: str) -> None:
    assert safe_cell(value) == cell


# --- destination -----------------------------------------------------------------------------------------------------


def test_a_destination_is_paused_and_resumed(command: Command, ready: Path, server: Server) -> None:
    take_in(ready, message("X1"))
    assert command("destination", "pause", "ehr", "--config", ready).code == 2, "without a reason"
    assert command("destination", "pause", "nobody", *WHY, "--config", ready).code == 2
    assert command("destination", "pause", "ehr", *WHY, "--config", ready).code == 0
    [row] = command("destination", "list", "--json", "--config", ready).json["destinations"]
    assert (row["paused"], row["who"], row["note"], row["waiting"]) == (
        "paused-by-person", deciding.account(), "checked with HR", 1,
    )  # fmt: skip
    assert "wait for a person" in command("destination", "list", "--config", ready).out
    assert "destination ehr waits for a person (paused-by-person)" in command("msg", "list", "--config", ready).err
    deliver_all(ready)
    assert server.practitioners() == []
    refused = command("destination", "retry-writes", "ehr", *WHY, "--config", ready)
    assert refused.code == 2
    assert "another reason" in refused.err
    assert command("destination", "resume", "ehr", *WHY, "--config", ready).out == "ehr is resumed\n"
    assert command("destination", "resume", "ehr", *WHY, "--config", ready).out == "ehr was not paused\n"
    store = store_of(ready)
    store.pauses.pause("ehr", "maintenance", time.time(), until=time.time() + 600)
    window = command("destination", "resume", "ehr", *WHY, "--config", ready)
    assert (window.code, "maintenance window until" in window.err) == (2, True)
    store.pauses.resume("ehr", time.time())  # the window ends
    store.close()
    deliver_all(ready)
    assert len(server.practitioners()) == 1


def test_writes_are_tried_again(command: Command, ready: Path) -> None:
    take_in(ready, message("X1"))
    hold_all(ready, "forbidden")
    store = store_of(ready)
    assert store.pauses.pause("ehr", "writes-refused", time.time(), task=Task("writes-refused", "Refused"))
    store.close()
    retried = command("destination", "retry-writes", "ehr", *WHY, "--config", ready)
    assert (retried.code, retried.out) == (0, "ehr is written to again; 1 of 1 held changes are queued\n")
    [task] = command("task", "list", "--state", "done", "--json", "--config", ready).json["tasks"]
    assert (task["kind"], task["evidence"]) == ("writes-refused", "checked with HR")
