"""`identity` and `restore`: what a person decides, against a real store and a real FHIR server on a real socket."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hl7bridge import config
from hl7bridge.assemble.destinations import client_for, destination_rules
from hl7bridge.cli import deciding
from hl7bridge.destinations.fhir.deliver import deliver
from hl7bridge.model import Result
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import DeliveryState, Settlement
from tests.cli.conftest import Ended, message
from tests.cli.test_stored import DESTINATION, Server, ready, serve, server, take_in

__all__ = ["ready", "serve", "server"]

Command = Callable[..., Ended]
WHY = ("--reason", "checked with HR")
NPI = "http://hl7.org/fhir/sid/us-npi"
NUMBER = "1234567893"


def deliver_all(site: Path) -> list[Result]:
    """What the delivery role does with what is queued, once; what needs a person is held."""
    destination = config.load(site, {}).destinations["ehr"]
    rules = destination_rules(destination)
    store, client = open_store(config.load(site, {}).store.path), client_for(destination, rules)
    results = []
    try:
        now = time.time()
        store.queue.join("test", 60, now)
        for claimed in store.queue.claim("ehr", "test", 10, now):
            written_by = partial(store.crosswalk.written_by, "ehr")
            outcome = deliver(
                claimed.change, claimed.known, claimed.feed, rules, client, written_by, datetime.now(UTC),
                said_by=partial(store.links.said_by, "ehr"),
            )  # fmt: skip
            state = DeliveryState.HELD if outcome.result is Result.HELD else DeliveryState.ENDED
            assert store.settlements.settle([Settlement(claimed, outcome, state)], now) == []
            results.append(outcome.result)
        store.queue.leave("test", now)
    finally:
        client.close()
        store.close()
    return results


def approvals(site: Path) -> list[int]:
    """The released deliveries that count as approved."""
    store = open_store(config.load(site, {}).store.path)
    try:
        rows = store.connection.dicts("SELECT delivery_id FROM released WHERE approves = 1")  # type: ignore[attr-defined]
    finally:
        store.close()
    return [row["delivery_id"] for row in rows]


def practitioner(family: str = "Okonkwo", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Practitioner", "name": [{"family": family}], **more}


def put(server: Server, resource: dict[str, Any]) -> dict[str, Any]:
    """Somebody else edits a Practitioner, or creates one, where it has no id."""
    url, body = f"{server.base_url}/Practitioner", json.dumps(resource).encode()
    method, url = ("PUT", f"{url}/{resource['id']}") if "id" in resource else ("POST", url)
    asked = urllib.request.Request(url, body, {"content-type": "application/fhir+json"}, method=method)
    with urllib.request.urlopen(asked) as answer:
        return dict(json.load(answer))


@pytest.fixture
def quarantined(ready: Path, server: Server) -> tuple[Path, list[str]]:
    """A site with one record of which two Practitioners carry the NPI; their ids."""
    twins = [put(server, practitioner(identifier=[{"system": NPI, "value": NUMBER}])) for _ in range(2)]
    take_in(ready, message("X1").replace(b"||||||1234567893^NPI", b"|||||1234567893^NPI"))
    assert deliver_all(ready) == [Result.HELD]
    return ready, [twin["id"] for twin in twins]


# --- identity --------------------------------------------------------------------------------------------------------


def test_both_sides_are_listed_and_shown(command: Command, quarantined: tuple[Path, list[str]], server: Server) -> None:
    site, (first, second) = quarantined
    listed = command("identity", "list", "--config", site)
    assert listed.code == 0
    for text in ("several-people", "Adaeze Okonkwo", "E100", NUMBER, f"Practitioner/{first}", f"Practitioner/{second}"):
        assert text in listed.out
    assert "record  Adaeze Okonkwo" in listed.out
    assert f"Practitioner/{first}  " in listed.out
    [row] = command("identity", "list", "--json", "--config", site).json["quarantined"]
    assert (row["id"], row["local"], row["source_key"]) == (1, "several-people", "E100")
    assert [one["value"] for one in row["record"]["identifier"]][:1] == ["E100"]
    assert [(one["id"], one["linked"]) for one in row["candidates"]] == [(first, False), (second, False)]
    shown = command("identity", "show", 1, "--config", site)
    assert "identity link staff E100 PERSON-ID" in shown.err
    put(server, {**server.sandbox.resources.all("Practitioner")[0], "active": False})
    fresh = command("identity", "show", 1, "--fresh", "--json", "--config", site).json
    assert [one.get("active") for one in fresh["candidates"]] == [False, None]
    assert command("identity", "show", 9, "--config", site).code == 2


def test_a_link_releases_the_record_and_is_audited(
    command: Command, quarantined: tuple[Path, list[str]], server: Server
) -> None:
    site, (_, second) = quarantined
    linked = command("identity", "link", "staff", "E100", second, "--release", *WHY, "--json", "--config", site).json
    assert (linked["person_id"], linked["was"], linked["link"], linked["released"]) == (second, "", "linked", [1])
    assert not approvals(site)  # whom it is about is one question, whether it is written another
    assert deliver_all(site) == [Result.UPDATED]
    one = next(person for person in server.practitioners() if person["id"] == second)
    assert "E100" in [identifier["value"] for identifier in one["identifier"]]
    assert len(server.practitioners()) == 2
    store = open_store(config.load(site, {}).store.path)
    try:
        rows = store.connection.dicts("SELECT detail FROM history WHERE event = 'linked'")  # type: ignore[attr-defined]
    finally:
        store.close()
    detail = json.loads(rows[0]["detail"])
    assert (detail["who"], detail["reason"]) == (deciding.account(), "checked with HR")
    assert (detail["before"]["person_id"], detail["after"]["person_id"]) == ("", second)
    unlinked = command("identity", "unlink", "staff", "E100", *WHY, "--json", "--config", site)
    assert (unlinked.code, unlinked.json["was"], unlinked.json["person_id"]) == (0, second, "")
    assert command("identity", "unlink", "staff", "E100", *WHY, "--config", site).code == 1


def test_what_a_link_refuses(command: Command, quarantined: tuple[Path, list[str]], server: Server) -> None:
    site, (first, _) = quarantined
    other = put(server, practitioner("Brandt"))["id"]
    link = ("identity", "link", "staff", "E100")
    refused = command(*link, other, *WHY, "--config", site)
    assert (refused.code, "family name" in refused.err, "--force" in refused.err) == (2, True, True)
    assert command(*link, other, "--force", *WHY, "--config", site).code == 0
    assert command(*link, "nobody", *WHY, "--config", site).code == 2
    assert command(*link, first, "--config", site).code == 2  # says no reason
    taken = command("identity", "link", "staff", "E101", other, *WHY, "--config", site)
    assert (taken.code, "E100" in taken.err, "--also" in taken.err) == (2, True, True)
    assert command("identity", "link", "staff", "E101", other, "--also", *WHY, "--config", site).code == 0
    assert command("identity", "link", "nofeed", "E101", other, *WHY, "--config", site).code == 2
    assert command("identity", "link", "staff", "E1", other, "--destination", "x", *WHY, "--config", site).code == 2


def everything_delivered(site: Path) -> list[Result]:
    """What is in one lane comes one after the other."""
    results: list[Result] = []
    while some := deliver_all(site):
        results += some
    return results


def with_npi(control_id: str, key: str = "E100") -> bytes:
    """A record that carries the NPI."""
    body = message(control_id).replace(b"||||||1234567893^NPI", b"|||||1234567893^NPI")
    return body.replace(b"E100", key.encode())


def two_keys(site: Path, *keys: str) -> None:
    """A person, and records under other staff keys with the same NPI, held."""
    take_in(site, with_npi("X1"))
    deliver_all(site)
    for number, key in enumerate(keys):
        take_in(site, with_npi(f"Y{number}", key))
    assert everything_delivered(site) == [Result.HELD] * len(keys)


def test_many_are_decided_by_a_file_and_what_names_the_same_person_is_planned_again(
    command: Command, ready: Path, server: Server, tmp_path: Path
) -> None:
    two_keys(ready, "E200", "E201", "E202")
    rows = command("identity", "list", "--json", "--config", ready).json["quarantined"]
    assert {(row["local"], row["asks"]) for row in rows} == {("key-of-another", "")}
    [person] = server.practitioners()
    file = tmp_path / "decided.csv"
    file.write_text(
        f"\ufeffKey;Feed;Practitioner;Also\r\nE200;staff;{person['id']};yes\r\nE201;staff;new;\r\n", "utf-8"
    )
    tried = command("identity", "link", "--from", file, "--dry-run", "--release", "--json", "--config", ready)
    assert (tried.code, tried.json["checked"], tried.json["rows"]) == (0, 2, [])
    assert len(command("identity", "list", "--json", "--config", ready).json["quarantined"]) == 3
    done = command("identity", "link", "--from", file, "--release", *WHY, "--json", "--config", ready)
    assert done.code == 0
    assert [(row["source_key"], row["link"]) for row in done.json["rows"]] == [("E200", "linked"), ("E201", "apart")]
    assert (len(done.json["released"]), len(done.json["planned_again"])) == (2, 1)
    assert sorted(everything_delivered(ready)) == [Result.CREATED, Result.HELD, Result.UPDATED]
    keys = sorted(sorted(one["value"] for one in person["identifier"] if one["value"].startswith("E"))
                  for person in server.practitioners())  # fmt: skip
    assert keys == [["E100", "E200"], ["E201"]]
    # Whose record was set apart goes on by its staff key, and whoever shares the number goes on as well.
    for key in ("E100", "E200", "E201"):
        take_in(ready, with_npi(f"Z{key}", key).replace(b"MFE|MAD", b"MFE|MDC"))
        assert len(deliver_all(ready)) == 1
    assert sorted(person["active"] for person in server.practitioners()) == [False, False]
    assert command("identity", "unlink", "staff", "E201", *WHY, "--config", ready).code == 0


def test_a_file_with_a_wrong_line_links_nobody(command: Command, ready: Path, server: Server, tmp_path: Path) -> None:
    two_keys(ready, "E200")
    [person] = server.practitioners()
    file = tmp_path / "decided.csv"
    lines = (
        "feed,key,practitioner,force", f"staff,E200,{person['id']},", "nofeed,E1,17,", "staff,E2,nobody,", "staff,E3,,",
        "staff,E4,a b,", "staff,E200,new,", f"staff,E5,{person['id']},perhaps", "", "staff,E100,new,",
    )  # fmt: skip
    file.write_text("\n".join(lines) + "\n")
    refused = command("identity", "link", "--from", file, *WHY, "--config", ready)
    assert refused.code == 2
    for line, word in enumerate(("--also", "nofeed", "nobody", "practitioner", "new", "line 2", "force"), 2):
        assert any(f"line {line}:" in told and word in told for told in refused.err.splitlines()), (line, refused.err)
    assert "line 9" not in refused.err
    assert len(command("identity", "list", "--json", "--config", ready).json["quarantined"]) == 1
    file.write_text("feed,practitioner\n")
    assert "key" in command("identity", "link", "--from", file, *WHY, "--config", ready).err
    both = command("identity", "link", "staff", "E200", "--from", file, *WHY, "--config", ready)
    assert (both.code, "--from FILE.csv" in both.err) == (2, True)


def test_a_hold_asks_whether_somebody_was_re_hired_once_the_other_key_has_left(
    command: Command, ready: Path, server: Server
) -> None:
    two_keys(ready, "E200")
    take_in(ready, with_npi("L1").replace(b"MFE|MAD", b"MFE|MDC"))
    assert deliver_all(ready) == [Result.DEACTIVATED]
    [row] = command("identity", "list", "--json", "--config", ready).json["quarantined"]
    assert (row["local"], row["asks"]) == ("key-of-another", "re-hired?")
    assert "re-hired?" in command("identity", "show", row["id"], "--config", ready).out
    take_in(ready, with_npi("L2", "E201"))
    assert deliver_all(ready) == [Result.HELD]
    rows = command("identity", "list", "--json", "--config", ready).json["quarantined"]
    assert [(row["local"], row["asks"]) for row in rows][1:] == [("re-hired", "re-hired?")]


def test_a_decided_hold_plans_those_again_that_name_its_person(command: Command, ready: Path, server: Server) -> None:
    two_keys(ready, "E200", "E201")
    first, second = (row["id"] for row in command("identity", "list", "--json", "--config", ready).json["quarantined"])
    discarded = command("hold", "discard", first, *WHY, "--config", ready)
    assert f"planned again, for the same people: {second}" in discarded.err
    assert deliver_all(ready) == [Result.HELD]


def test_whoever_bears_the_very_key_is_not_set_apart(command: Command, ready: Path, server: Server) -> None:
    take_in(ready, message("X1"))
    deliver_all(ready)
    again = message("X2").replace(b"Okonkwo^Adaeze", b"Brandt^Ugo").replace(b"MFE|MAD", b"MFE|MUP")
    take_in(ready, again)
    assert deliver_all(ready) == [Result.HELD]
    apart = ("identity", "link", "staff", "E100", "new", "--release", *WHY, "--config", ready)
    refused = command(*apart)
    assert (refused.code, "own staff key" in refused.err) == (2, True)
    [person] = server.practitioners()
    for identifier in person["identifier"]:
        if identifier["value"] == "E100":
            identifier["use"] = "old"
    put(server, person)
    [row] = command("identity", "list", "--fresh", "--json", "--config", ready).json["quarantined"]
    assert row["local"] == "recycled-key"
    assert command(*apart).code == 0
    assert deliver_all(ready) == [Result.CREATED]
    assert sorted(person["name"][0]["family"] for person in server.practitioners()) == ["Brandt", "Okonkwo"]


def test_duplicates_are_reported_from_holds_and_from_a_scan(
    command: Command, quarantined: tuple[Path, list[str]], server: Server
) -> None:
    site, twins = quarantined
    found = command("identity", "duplicates", "--json", "--config", site)
    [group] = found.json["duplicates"]
    assert (found.code, group["system"], group["value"]) == (1, NPI, NUMBER)
    assert [person["id"] for person in group["people"]] == twins
    for _ in range(2):
        put(server, practitioner(identifier=[{"system": "urn:oid:2.999.5", "value": "7"}]))
    before = len(server.requests())
    scanned = command("identity", "duplicates", "--scan", "--json", "--config", site)
    assert [group["value"] for group in scanned.json["duplicates"]] == [NUMBER, "7"]
    assert set(server.requests()[before:]) == {"GET"}
    assert "shared identifiers" in command("identity", "duplicates", "--config", site).err


def test_a_map_of_ids_goes_to_the_same_destination_alone(
    command: Command, quarantined: tuple[Path, list[str]], tmp_path: Path
) -> None:
    site, (first, second) = quarantined
    command("identity", "link", "staff", "E100", first, *WHY, "--config", site)
    file = tmp_path / "ids.json"
    assert command("identity", "export", file, "--config", site).code == 0
    assert command("identity", "export", file, "--config", site).code != 0  # never overwrites
    command("identity", "unlink", "staff", "E100", *WHY, "--config", site)
    taken = command("identity", "import", file, *WHY, "--json", "--config", site)
    assert (taken.code, taken.json["new"], taken.json["different"]) == (0, 1, 0)
    command("identity", "link", "staff", "E100", second, *WHY, "--config", site)
    assert command("identity", "import", file, *WHY, "--config", site).code == 1
    document = json.loads(file.read_text())
    for changed in ({"base_url": "https://other.example.org/r4"}, {"destination": "other"}, {"schema": "x"}):
        file.write_text(json.dumps(document | changed))
        refused = command("identity", "import", file, *WHY, "--config", site)
        assert (refused.code, "another destination" in refused.err) == (2, "schema" not in changed)


# --- restore ---------------------------------------------------------------------------------------------------------

MOVED = message("X2").replace(b"Okonkwo^Adaeze", b"Okonkwo^Adaeze^Maria").replace(b"MFE|MAD", b"MFE|MUP")
LEAVES = message("X3").replace(b"MFE|MAD", b"MFE|MDC")


@pytest.fixture
def moved(ready: Path) -> Path:
    """A site with a person who was created (delivery 1) and changed (delivery 2)."""
    for body in (message("X1"), MOVED):
        take_in(ready, body)
        deliver_all(ready)
    return ready


def given(server: Server) -> list[str]:
    [person] = server.practitioners()
    return list(person["name"][0]["given"])


def set_mode(site: Path, mode: str) -> None:
    path = site / DESTINATION
    path.write_text(path.read_text().replace('mode = "write"', f'mode = "{mode}"'))


def test_a_change_is_shown_and_taken_back(command: Command, moved: Path, server: Server) -> None:
    assert given(server) == ["Adaeze", "Maria"]
    writes = server.requests().count("PUT")
    planned = command("restore", 2, "--dry-run", "--json", "--config", moved)
    [document] = planned.json["deliveries"]
    [resource] = document["resources"]
    assert (planned.code, document["state"], resource["kept"]) == (0, "planned", [])
    assert [difference["path"] for difference in resource["differences"]] == ["name[0]"]
    assert server.requests().count("PUT") == writes
    done = command("restore", 2, *WHY, "--config", moved)
    assert (done.code, "taken back" in done.out) == (0, True)
    assert given(server) == ["Adaeze"]
    again = command("restore", 2, *WHY, "--json", "--config", moved)
    assert (again.code, again.json["deliveries"][0]["state"]) == (0, "nothing")
    history = command("msg", "show", 2, "--json", "--config", moved).json["history"]
    [row] = [row for row in history if row["event"] == "restored"]
    assert (row["detail"]["who"], row["detail"]["reason"]) == (deciding.account(), "checked with HR")


def test_the_same_message_again_is_applied_again_and_opens_a_task(
    command: Command, moved: Path, server: Server
) -> None:
    command("restore", 2, *WHY, "--config", moved)
    take_in(moved, MOVED.replace(b"|X2|", b"|X9|"))
    assert deliver_all(moved) == [Result.UPDATED]
    assert given(server) == ["Adaeze", "Maria"]
    tasks = command("task", "list", "--json", "--config", moved).json["tasks"]
    assert [task["kind"] for task in tasks] == ["restore-undone"]


def test_what_somebody_changed_since_stays_and_is_said(command: Command, moved: Path, server: Server) -> None:
    [person] = server.practitioners()
    put(server, {**person, "name": [{**person["name"][0], "given": ["Ada"]}], "photo": [{"title": "portrait"}]})
    done = command("restore", 2, *WHY, "--config", moved)
    assert (done.code, "it was changed since" in done.out) == (1, True)
    assert given(server) == ["Ada"]


def test_who_was_created_is_made_inactive(command: Command, moved: Path, server: Server) -> None:
    done = command("restore", 1, *WHY, "--json", "--config", moved)
    assert done.code == 0
    [person] = server.practitioners()
    assert person["active"] is False
    assert "DELETE" not in server.requests()


def test_a_whole_message_is_taken_back(command: Command, moved: Path, server: Server) -> None:
    take_in(moved, LEAVES)
    assert deliver_all(moved) == [Result.DEACTIVATED]
    done = command("restore", "--message", 3, *WHY, "--json", "--config", moved)
    assert [one["state"] for one in done.json["deliveries"]] == ["applied"]
    assert server.practitioners()[0]["active"] is True


def test_in_mode_approve_somebody_else_approves(
    command: Command, moved: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "account", lambda: "ana")
    set_mode(moved, "approve")
    asked = command("restore", 2, *WHY, "--json", "--config", moved).json["deliveries"][0]
    assert (asked["state"], asked["restore_id"], given(server)) == ("waiting", 1, ["Adaeze", "Maria"])
    [row] = command("restore", "--waiting", "--json", "--config", moved).json["restores"]
    assert (row["id"], row["who"], row["reason"]) == (1, "ana", "checked with HR")
    own = command("restore", "--approve", 1, *WHY, "--config", moved)
    assert (own.code, "Somebody else" in own.err) == (2, True)
    monkeypatch.setattr(deciding, "account", lambda: "root (sudo: ana)")
    assert command("restore", "--approve", 1, *WHY, "--config", moved).code == 2
    monkeypatch.setattr(deciding, "account", lambda: "bea")
    approved = command("restore", "--approve", 1, *WHY, "--json", "--config", moved)
    assert approved.json["deliveries"][0]["state"] == "applied"
    assert given(server) == ["Adaeze"]
    assert command("restore", "--approve", 1, *WHY, "--config", moved).code == 2
    assert "No restore waits" in command("restore", "--waiting", "--config", moved).err
    command("restore", 1, *WHY, "--config", moved)
    assert command("restore", "--reject", 2, *WHY, "--config", moved).code == 0
    assert command("restore", "--reject", 2, *WHY, "--config", moved).code == 2
    assert server.practitioners()[0]["active"] is True


def test_what_cannot_be_restored_says_why(command: Command, moved: Path, server: Server) -> None:
    assert command("restore", "--config", moved).code == 2
    assert command("restore", 2, "--message", 2, *WHY, "--config", moved).code == 2
    assert command("restore", 2, "--config", moved).code == 2  # says no reason
    assert command("restore", 99, *WHY, "--config", moved).code == 2
    take_in(moved, MOVED.replace(b"|X2|", b"|X8|"))
    waiting = command("restore", 3, *WHY, "--config", moved)
    assert (waiting.code, "has not ended" in waiting.out) == (1, True)
    assert deliver_all(moved) == [Result.UNCHANGED]
    nothing = command("restore", 3, *WHY, "--config", moved)
    assert (nothing.code, "it wrote nothing" in nothing.out) == (1, True)
    set_mode(moved, "report")
    planned = command("restore", 2, *WHY, "--json", "--config", moved)
    assert (planned.code, planned.json["deliveries"][0]["state"]) == (0, "planned")
    path = moved / DESTINATION
    path.write_text(path.read_text().replace(server.base_url, "http://127.0.0.1:9/fhir"))
    ended = command("restore", 2, *WHY, "--config", moved)
    assert (ended.code, "not taken back" in ended.out) == (3, True)
    assert command("identity", "link", "staff", "E100", "x", *WHY, "--config", moved).code == 3
    assert given(server) == ["Adaeze", "Maria"]
