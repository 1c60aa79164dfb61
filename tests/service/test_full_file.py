"""A file that replaces its master file (MFI-3 REP): nobody is ended for being absent, but whoever is gets listed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.cli.main import main
from hl7bridge.intake import intake, verdict
from hl7bridge.service import log as logs
from hl7bridge.service.outbound.full_file import FullFilePolicy, compare, job
from hl7bridge.service.outbound.schedule import Turn
from hl7bridge.store.store import Released
from tests.journey import mfn
from tests.service.test_reconciling import NAME, PEOPLE, World, make, record, staffed

__all__ = ["make", "staffed"]


def whole(control_id: str, *records: str) -> bytes:
    return mfn(control_id, *records).replace(b"||UPD|", b"||REP|")


def looked(world: World, missing: str = "report", most: float = 50.0, feed: str = "staff") -> list[tuple[str, int]]:
    """(decision, missing people) of the files that were compared now."""
    policies = {feed: FullFilePolicy(missing, most, {NAME: world.destination})}
    return [(decision, count) for _, decision, count in compare(world.store, policies, time.time())]


def take_all_but(world: World, *absent: str) -> None:
    world.take(whole("W1", *[record(key) for key in PEOPLE if key not in absent]))
    world.deliver()


def writes(world: World) -> int:
    return sum(one.method != "GET" for one in world.server.journal)


def test_who_is_absent_is_listed_and_nothing_happens_to_them(staffed: World) -> None:
    world = staffed
    before = writes(world)
    take_all_but(world, "E003", "E007")
    assert looked(world) == [("listed", 2)]
    world.deliver()
    assert writes(world) == before
    assert world.store.whole_files.missing_of(2) == [("E003", 0), ("E007", 0)]
    [task] = world.store.worklist.tasks(kind="full-file-missing", state="open")
    assert "2 people of feed staff" in task.title
    assert "reconcile --full-file 2" in task.steps[0]
    assert looked(world) == []  # once


def test_with_hold_one_deactivation_each_waits_for_a_person(staffed: World) -> None:
    world = staffed
    take_all_but(world, "E003", "E007")
    before = writes(world)
    assert looked(world, "hold") == [("held", 2)]
    world.deliver()
    assert writes(world) == before  # never by itself
    holds = world.store.holds.holds(local="full-file-missing")
    assert [hold.source_key for hold in holds] == ["E003", "E007"]
    assert {delivery for _, delivery in world.store.whole_files.missing_of(2)} == {hold.id for hold in holds}
    assert world.store.holds.release(holds[0].id, time.time(), who="ana", reason="left") is Released.QUEUED
    world.deliver()
    assert world.people("E003")["active"] is False
    assert world.people("E007")["active"] is True
    assert world.found() != {}  # E007: the source, by the held change, says that the person has left


@pytest.mark.parametrize(
    ("spoil", "decision"),
    [
        (lambda body: body.replace(b"MFE|MAD|E001", b"MFE|XXX|E001"), "a record of the file could not be read"),
        (lambda body: body + b"DSC|1|F\r", "the file is not complete: it is continued"),
        (lambda body: body + mfn("W2", record("E001")), "the file is not complete: it came as one of several"),
        (lambda body: body.replace(b"E004", b"E904"), "more than 5 % of the active people are missing"),
    ],
    ids=["failed-record", "continued", "batch", "too-many"],
)
def test_a_file_that_may_be_less_than_the_whole_ends_nobody(
    staffed: World, spoil: Callable[[bytes], bytes], decision: str
) -> None:
    world = staffed
    world.take(spoil(whole("W1", *[record(key) for key in PEOPLE if key != "E003"])))
    world.deliver()
    [(said, _)] = looked(world, "hold", most=5.0)
    assert said.startswith(decision)
    assert world.store.holds.holds(local="full-file-missing").rows == ()


def test_a_large_file_that_is_continued_is_no_whole_file(staffed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "LARGE_FILE", 100)
    monkeypatch.setattr(verdict, "PART_RECORDS", 2)  # DSC stands at the end, far from the first part
    world = staffed
    world.take(whole("W1", *[record(key) for key in PEOPLE if key != "E003"]) + b"DSC|1|F\r")
    world.deliver()
    [(said, missing)] = looked(world, "hold")
    assert (said.startswith("the file is not complete: it is continued"), missing) == (True, 0)


@pytest.mark.parametrize("flag", ["A", ""])
def test_who_is_spoken_of_again_is_not_absent_any_more(staffed: World, flag: str) -> None:
    world = staffed
    take_all_but(world, "E003", "E007")
    assert looked(world, "hold") == [("held", 2)]
    world.send(record("E003", "MUP", phone="5550199", flag=flag))  # and nothing else about whether the person is there
    assert [hold.source_key for hold in world.store.holds.holds(local="full-file-missing")] == ["E007"]


def test_a_record_that_is_held_or_on_its_way(staffed: World) -> None:
    world = staffed
    world.take(whole("W1", *[record(key) for key in PEOPLE if key != "E003"]))
    assert looked(world, "hold") == []  # not yet
    world.deliver(held=frozenset({"E005"}))
    [(said, count)] = looked(world, "hold")
    assert (said, count) == ("a record of the file is held: absence from it says nothing", 0)


def test_switched_off_nobody_missing_and_other_feeds(staffed: World) -> None:
    world = staffed
    take_all_but(world, "E003")
    assert looked(world, "never") == [("switched off", 0)]
    world.send(record("E003", "MDC", flag="I"))  # who has left is not missing
    take_all = whole("W2", *[record(key) for key in PEOPLE if key != "E003"])
    world.take(take_all)
    world.deliver()
    assert looked(world, "hold") == [("nobody is missing", 0)]
    world.take(whole("W3", record("K1")), feed="clinic")  # knows nobody of the other feed
    world.deliver()
    assert looked(world, "hold", feed="clinic") == [("nobody is missing", 0)]


def test_an_ordinary_file_is_never_compared(staffed: World) -> None:
    world = staffed
    world.send(record("E001"))
    assert world.store.whole_files.full_files() == []
    assert looked(world, "hold") == []


def test_as_a_job_and_shown(
    staffed: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, site = staffed, tmp_path / "site"
    take_all_but(world, "E003")
    policies = {"staff": FullFilePolicy("report", 50.0, {NAME: world.destination})}
    look = job(policies, logs.get_logger("delivery"))
    assert look.quick
    look.run(Turn(world.store, lambda: True))
    assert main(["init", str(site)]) == 0
    monkeypatch.setenv("HL7BRIDGE_STORE__PATH", str(tmp_path / "0.sqlite"))
    capsys.readouterr()
    code = main(["reconcile", "--full-file", "2", "--config", str(site)])
    assert (code, "E003" in capsys.readouterr().out) == (1, True)
    assert main(["reconcile", "--full-file", "1", "--config", str(site)]) == 2
