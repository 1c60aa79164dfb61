"""Drop folders: which files are taken and when, what becomes of them, and that no stop loses or repeats a message."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.errors import StoreError
from hl7bridge.hl7.mllp import frame
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.service.inbound import drop
from hl7bridge.service.inbound.drop import RESULTS, Clocks, DropFolder, DropPolicy
from hl7bridge.store.inbox.drops import Taken
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import NewMessage, Store
from tests.journey import mfn, person
from tests.service.test_intake import NOW, POLICY


class Lines:
    """A log that is looked at."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **details: Any) -> None:
        self.lines.append((event, details))

    warning = error = info

    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


class Site:
    """A drop folder with its store, looked into by hand; the clock moves as told."""

    def __init__(self, folder: Path, policy: FeedPolicy = POLICY) -> None:
        self.folder, self.at, self.log = folder / "in", 0.0, Lines()
        self.folder.mkdir(exist_ok=True)
        self.store = open_store(str(folder / "store.db"))
        self.asked: list[NewMessage] = []
        self.watch = self.started(policy)

    def started(self, policy: FeedPolicy = POLICY) -> DropFolder:
        """As after a start of the service."""
        intake = Intake(policy, b"x" * 32, clock=lambda: NOW)
        return DropFolder(
            DropPolicy("staff", self.folder, settle=2.0),
            lambda: intake,
            lambda: self.store,
            self.log,
            largest=lambda: 20_000,
            stored=self.asked.append,
            clocks=Clocks(lambda: NOW, lambda: self.at),
        )

    def look(self, seconds: float = 0.0) -> None:
        self.at += seconds
        self.watch.look(self.store)

    def take(self) -> None:
        self.look()
        self.look(2.0)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def results(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / f"{name}{RESULTS}").read_text().splitlines()]

    def messages(self) -> list[str]:
        """Control ids of what was stored and was no duplicate, in order."""
        rows = [row for row in self.store.audit.messages(limit=10_000) if row.state != "duplicate"]
        return [row.control_id for row in sorted(rows, key=lambda row: row.id)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()


def one(number: int, **given: Any) -> bytes:
    return mfn(f"D{number}", person("MAD", f"K{number}", f"Tamsworth^Ilse{number}"), **given)


def batch(count: int, first: int = 1) -> bytes:
    body = b"".join(one(number) for number in range(first, first + count))
    return b"FHS|^~\\&|HR\rBHS|^~\\&|HR\r" + body + f"BTS|{count}\rFTS|1\r".encode()


def test_files_are_taken_by_name_once_they_have_settled(site: Site) -> None:
    for name, number in (("b.hl7", 2), ("a.hl7", 1), ("c.txt", 3)):
        (site.folder / name).write_bytes(one(number))
    site.look()
    site.look(1.9)
    assert site.messages() == []
    site.look(0.1)
    assert site.messages() == ["D1", "D2"]
    assert site.names() == ["c.txt", "done/a.hl7", f"done/a.hl7{RESULTS}", "done/b.hl7", f"done/b.hl7{RESULTS}"]
    assert (site.folder / "done/a.hl7").read_bytes() == one(1)
    [line] = site.results("done/a.hl7")
    assert (line["number"], line["control_id"], line["acknowledgment_code"], line["errors"]) == (1, "D1", "AA", [])
    assert site.store.audit.message(line["message_id"])["header"]["control_id"] == "D1"


def test_one_that_grows_is_left_alone_and_the_others_go_on(site: Site) -> None:
    growing = site.folder / "a.hl7"
    growing.write_bytes(one(1))
    (site.folder / "b.hl7").write_bytes(one(2))
    site.look()
    for number in (3, 4):
        growing.write_bytes(growing.read_bytes() + one(number))
        site.look(2.0)
    assert site.messages() == ["D2"]
    site.look(2.0)
    assert site.messages() == ["D2", "D1", "D3", "D4"]


@pytest.mark.parametrize("at", [0, 1, 64, 100, 129])
def test_a_stop_at_any_commit_loses_and_repeats_nothing(site: Site, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Cut off before a group is committed, and once more after all of them, before the file is moved."""
    monkeypatch.setattr(drop, "GROUP", 10)
    (site.folder / "a.hl7").write_bytes(batch(130))
    whole = site.store.drops.accept_from_file
    seen = 0

    def breaks(file: Any, messages: Any, taken: Callable[..., Taken], now: float) -> Any:
        nonlocal seen

        def then_fails(accepted: Any) -> Taken:
            so_far = taken(accepted)
            if so_far.messages > at:
                raise KeyboardInterrupt
            return so_far

        seen += 1
        return whole(file, messages, then_fails, now)

    monkeypatch.setattr(site.store.drops, "accept_from_file", breaks)
    with pytest.raises(KeyboardInterrupt):
        site.take()
    assert seen
    assert len(site.messages()) == at // 10 * 10
    monkeypatch.setattr(site.store.drops, "accept_from_file", whole)
    monkeypatch.setattr(site.store.drops, "settle_drop_file", _cut_off)
    site.watch = site.started()
    with pytest.raises(KeyboardInterrupt):
        site.take()
    monkeypatch.undo()
    site.watch = site.started()
    site.take()
    assert site.messages() == [f"D{number}" for number in range(1, 131)]
    assert site.names() == ["done/a.hl7", f"done/a.hl7{RESULTS}"]
    assert [line["number"] for line in site.results("done/a.hl7")] == list(range(1, 131))
    [file] = site.store.drops.drop_files()
    assert (file.state, file.taken.messages, file.taken.accepted, file.taken.duplicates) == ("done", 130, 130, 0)
    assert file.taken.results == (site.folder / f"done/a.hl7{RESULTS}").stat().st_size


def _cut_off(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("moved", [False, True], ids=["before", "after"])
def test_a_stop_around_the_move_is_made_good(site: Site, monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    (site.folder / "a.hl7").write_bytes(batch(3))
    whole = site.store.drops.settle_drop_file

    def settle(file: Any, state: str, now: float, *, target: str = "") -> Any:
        if moved and state == "done":
            raise KeyboardInterrupt
        settled = whole(file, state, now, target=target)
        if not moved and state == "read":
            raise KeyboardInterrupt
        return settled

    monkeypatch.setattr(site.store.drops, "settle_drop_file", settle)
    with pytest.raises(KeyboardInterrupt):
        site.take()
    assert ("done/a.hl7" in site.names()) is moved
    monkeypatch.undo()
    site.watch = site.started()
    (site.folder / "b.hl7").write_bytes(one(9))
    site.look()
    assert site.names() == ["b.hl7", "done/a.hl7", f"done/a.hl7{RESULTS}"]
    assert [file.state for file in site.store.drops.drop_files()] == ["done"]


@pytest.mark.parametrize(
    ("content", "state", "told"),
    [
        (batch(2), "done", []),
        (b"", "done", []),
        (b"FHS|^~\\&\rBHS|^~\\&\rBTS|0\rFTS|1\r", "done", []),
        (b"".join(frame(one(n)) for n in (1, 2)), "done", []),
        (batch(2).replace(b"BTS|2", b"BTS|3"), "failed", ["batch-count"]),
        (batch(2).partition(b"BTS")[0], "failed", ["batch-open", "file-open"]),
        (frame(one(1)) + frame(one(2))[:-40], "failed", ["frame-open"]),
        (b"nothing that anybody could read", "failed", []),
        (one(1) + one(2).partition(b"STF|")[0], "failed", []),
    ],
    ids=["batch", "empty", "empty-batch", "framed", "miscounted", "cut-off", "frame-cut-off", "no-hl7", "refused"],
)
def test_what_needs_a_look_goes_to_failed(site: Site, content: bytes, state: str, told: list[str]) -> None:
    (site.folder / "a.hl7").write_bytes(content)
    site.take()
    [file] = site.store.drops.drop_files()
    assert (file.state, file.target) == (state, f"{state}/a.hl7")
    assert [line["file"]["local"] for line in site.results(f"{state}/a.hl7") if "file" in line] == told


def test_results_say_what_the_answer_would_have_said_and_hold_no_content(site: Site) -> None:
    bad = one(2).partition(b"STF|")[0]
    ack = b"MSH|^~\\&|A|B|C|D|20260302||ACK|X9|P|2.5.1\rMSA|AA|1\r"
    large = one(5) + b"NTE|1||" + b"x" * 30_000 + b"\r"
    (site.folder / "a.hl7").write_bytes(one(1) + bad + one(1) + ack + b"MSH|^~\\&|A||||||ADT^A01|X8|P|2.5.1\r" + large)
    site.take()
    lines = site.results("failed/a.hl7")
    stands = [(line["control_id"], line["state"], line.get("acknowledgment_code")) for line in lines]
    assert stands == [
        ("D1", "accepted", "AA"),
        ("D2", "refused", "AE"),
        ("D1", "duplicate", "AA"),
        ("", "acknowledgment", None),
        ("X8", "refused", "AR"),
        ("D5", "refused", "AR"),
    ]
    assert lines[1]["errors"]
    assert all(error["location"] and error["text"] for error in lines[1]["errors"])
    assert lines[2]["duplicate_of"] == lines[0]["message_id"]
    assert [error["local"] for error in lines[5]["errors"]] == ["frame-too-large"]
    assert "Tamsworth" not in json.dumps(lines)
    assert "Tamsworth" not in str(site.log.lines)
    [file] = site.store.drops.drop_files()
    taken = file.taken
    assert (taken.messages, taken.accepted, taken.refused, taken.duplicates, taken.others) == (6, 1, 3, 1, 1)


@pytest.mark.parametrize(("accept", "application"), [("", ""), ("AL", "AL"), ("NE", "NE")])
def test_nobody_is_answered_whatever_a_message_asks_for(tmp_path: Path, accept: str, application: str) -> None:
    site = Site(tmp_path, replace(POLICY, acknowledge_when="delivered"))
    (site.folder / "a.hl7").write_bytes(one(1, accept=accept, application=application))
    site.take()
    [line] = site.results("done/a.hl7")
    [kept] = site.store.audit.acknowledgments(line["message_id"])
    assert (kept.kind, kept.state.value, kept.code, kept.positive) == ("original", "none", "AA", True)
    assert site.store.audit.pending_acknowledgments() == []
    site.store.close()


def test_each_message_of_a_batch_has_its_own_character_set_and_separators(site: Site) -> None:
    ways = [
        ("UNICODE UTF-8", "utf-8", {}),
        ("8859/1", "iso8859-1", {"|": "#", "^": "@", "~": "!"}),
        ("8859/15", "iso8859-15", {"^": ":", "&": "%"}),
        ("GB 18030-2000", "gb18030", {"|": "*"}),
    ]
    written = []
    for number, (charset, codec, separators) in enumerate(ways):
        text = one(number).decode().replace(f"K{number}", "K1").replace("Tamsworth^Ilse" + str(number), "Grünwald^Zoé")
        text = text.replace("UNICODE UTF-8", charset)
        written.append(text.translate(str.maketrans(separators)).encode(codec))
    (site.folder / "a.hl7").write_bytes(b"BHS|^~\\&|HR\r" + b"".join(written) + f"BTS|{len(ways)}\r".encode())
    site.take()
    [file] = site.store.drops.drop_files()
    assert (file.state, file.taken.accepted) == ("done", len(ways))
    changes = []
    for line in site.results("done/a.hl7"):
        [record] = site.store.audit.message(line["message_id"])["records"]
        changes.append({key: record["change"][key] for key in ("source_key", "identifiers", "practitioner", "roles")})
    assert "Grünwald" in str(changes[0])
    assert all(change == changes[0] for change in changes)


def test_a_fault_of_ours_in_one_file_keeps_no_other_one_waiting(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("a.hl7", 1), ("b.hl7", 2)):
        (site.folder / name).write_bytes(one(number))
    whole = site.store.drops.accept_from_file

    def fails(file: Any, *given: Any) -> Any:
        if file.name == "a.hl7":
            raise IndexError("Tamsworth")
        return whole(file, *given)

    monkeypatch.setattr(site.store.drops, "accept_from_file", fails)
    site.take()
    site.look()
    assert site.messages() == ["D2"]
    told = [details for event, details in site.log.lines if event == "a dropped file waits"]
    assert told == [{"path": "a.hl7", "error": "a defect (IndexError)"}]


def test_a_file_that_is_changed_while_it_is_read_is_read_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop, "GROUP", 2)
    path = site.folder / "a.hl7"
    cut = one(4)[:60]
    path.write_bytes(b"".join(map(one, (1, 2, 3))) + cut)
    whole = site.store.drops.accept_from_file

    def grows(*given: Any) -> Any:
        if path.read_bytes().endswith(cut):
            path.write_bytes(b"".join(map(one, (1, 2, 3, 4))))
        return whole(*given)

    monkeypatch.setattr(site.store.drops, "accept_from_file", grows)
    site.take()
    assert site.messages() == ["D1", "D2", "D3"]
    assert site.names() == ["a.hl7", f"a.hl7{RESULTS}"]
    site.take()
    assert site.messages() == ["D1", "D2", "D3", "D4"]
    assert [line["state"] for line in site.results("done/a.hl7")] == ["duplicate"] * 3 + ["accepted"]
    assert [file.state for file in site.store.drops.drop_files()] == ["done", "changed"]


def test_the_same_name_again_is_another_file(site: Site) -> None:
    for number in (1, 2, 3):
        (site.folder / "a.hl7").write_bytes(one(number))
        site.take()
    assert site.messages() == ["D1", "D2", "D3"]
    assert [name for name in site.names() if not name.endswith(RESULTS)] == [
        "done/a.2.hl7",
        "done/a.3.hl7",
        "done/a.hl7",
    ]
    assert site.results("done/a.3.hl7")[0]["control_id"] == "D3"


def test_what_cannot_be_read_or_moved_is_said_once_and_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.folder / "a.hl7").write_bytes(one(1))
    (site.folder / "b.hl7").write_bytes(one(2))
    whole = Path.open

    def forbidden(self: Path, *given: Any, **more: Any) -> Any:
        if self.name == "a.hl7":
            raise PermissionError(13, "Permission denied")
        return whole(self, *given, **more)

    monkeypatch.setattr(Path, "open", forbidden)
    site.take()
    site.look()
    assert site.log.events().count("a dropped file waits") == 1
    assert site.messages() == ["D2"]
    monkeypatch.undo()
    (site.folder / "done").rename(site.folder / "kept")
    (site.folder / "done").write_bytes(b"in the way")
    site.look()
    site.look()
    assert site.messages() == ["D2", "D1"]
    assert site.log.events().count("a dropped file waits") == 2
    (site.folder / "done").unlink()
    site.look()
    assert "done/a.hl7" in site.names()


def test_a_store_that_fails_keeps_the_file_waiting(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.folder / "a.hl7").write_bytes(batch(3))

    def fails(*_: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(site.store.drops, "accept_from_file", fails)
    with pytest.raises(StoreError):
        site.take()
    monkeypatch.undo()
    site.look()
    assert site.messages() == ["D1", "D2", "D3"]


def test_a_file_under_way_and_those_behind_it_wait_for_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop, "GROUP", 10)
    for name, first in (("a.hl7", 1), ("b.hl7", 31)):
        (site.folder / name).write_bytes(b"".join(one(number) for number in range(first, first + 30)))
    looks = iter([True, True, False])  # the disk fills up behind the first group
    monkeypatch.setattr(site.watch, "_room", lambda: next(looks, False))
    site.take()
    assert site.messages() == [f"D{number}" for number in range(1, 21)]
    site.look()
    assert len(site.messages()) == 20
    monkeypatch.setattr(site.watch, "_room", lambda: True)
    site.look()
    assert site.messages() == [f"D{number}" for number in range(1, 61)]
    assert [line["number"] for line in site.results("done/a.hl7")] == list(range(1, 31))


def test_progress_is_told_now_and_then(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop, "GROUP", 10)
    (site.folder / "a.hl7").write_bytes(batch(100))
    whole = site.store.drops.accept_from_file

    def slowly(*given: Any) -> Any:
        site.at += 3.0
        return whole(*given)

    monkeypatch.setattr(site.store.drops, "accept_from_file", slowly)
    site.take()
    told = [details for event, details in site.log.lines if event == "dropped file"]
    assert [line["count"] for line in told] == [40, 70, 100]
    assert 30 < told[0]["percent"] < 50
    assert site.log.events()[0] == "a dropped file begins"
    assert site.log.events()[-1] == "dropped file taken"


def test_links_and_results_of_others_are_no_files_of_messages(site: Site) -> None:
    (site.folder / f"x.hl7{RESULTS}").write_bytes(b"{}")
    site.watch._policy = replace(site.watch._policy, pattern="*")
    elsewhere = site.folder.parent / "elsewhere.hl7"
    elsewhere.write_bytes(one(1))
    if os.name == "posix":
        (site.folder / "link.hl7").symlink_to(elsewhere)
    (site.folder / "sub.hl7").mkdir()
    site.take()
    assert site.messages() == []


def test_the_thread_looks_by_itself_and_stops(tmp_path: Path) -> None:
    location = str(tmp_path / "store.db")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.hl7").write_bytes(one(1))
    intake = Intake(POLICY, b"x" * 32, clock=lambda: NOW)

    def opened() -> Store:
        return open_store(location)

    policy = DropPolicy("staff", tmp_path / "in", settle=0.01)
    log = Lines()
    folder: DropFolder

    def committed() -> None:
        folder.stop()

    folder = DropFolder(policy, lambda: intake, opened, log, committed=committed, poll_interval=0.01)
    folder.start()
    folder.join(30)
    assert not folder.is_alive()
    store = opened()
    assert store.audit.counts()["messages"] == {"accepted": 1}
    store.close()
