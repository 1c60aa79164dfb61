"""Drop folders: what their settings say, what is wrong with them, what `check` finds, and what `drop list` shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.service.reloading import needs_restart
from hl7bridge.service.startup import drop_policies
from hl7bridge.store.inbox.drops import DONE, FAILED, READ, Taken
from hl7bridge.store.opening import open_store
from tests.cli.conftest import Ended
from tests.cli.conftest import command as command  # the fixture
from tests.test_config import FEED, FEED_FILE, problems
from tests.test_config import site as site  # the fixture

Command = Callable[..., Ended]


def with_drop(site: Path, lines: str, file: str = FEED_FILE, port: int = 2575) -> None:
    (site / file).write_text(FEED.replace("2575", str(port)) + f"[drop]\n{lines}\n")


def test_the_settings_reach_the_folder(site: Path) -> None:
    assert drop_policies(config.load(site, {})) == []
    before = config.load(site, {})
    with_drop(site, 'folder = "in/staff"\npattern = "*.txt"\nsettle = "5s"\ndone = "ok"')
    after = config.load(site, {})
    [policy] = drop_policies(after)
    assert (policy.feed, policy.folder) == ("hr", site / "in/staff")
    assert (policy.pattern, policy.settle, policy.done, policy.failed) == ("*.txt", 5.0, "ok", "failed")
    assert f"{FEED_FILE}: drop.folder" in needs_restart(before, after)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "..\\\\up", "c:"])
@pytest.mark.parametrize("key", ["done", "failed", "pattern"])
def test_a_name_within_the_folder_leads_nowhere_else(site: Path, key: str, name: str) -> None:
    with_drop(site, f'folder = "in"\n{key} = "{name}"')
    assert [(file, where) for file, where, *_ in problems(site)] == [(FEED_FILE, f"drop.{key}")]


def test_each_feed_has_its_own_folder_and_good_and_bad_theirs(site: Path) -> None:
    with_drop(site, 'folder = "in"')
    with_drop(site, 'folder = "data/../in"\ndone = "x"\nfailed = "x"', "conf/feeds/hr-two.toml", 2576)
    found = [(file, key, problem) for file, key, problem, _ in problems(site)]
    assert found == [
        ("conf/feeds/hr-two.toml", "drop.failed", "is the folder of good files, too"),
        ("conf/feeds/hr.toml", "drop.folder", "is already the drop folder of conf/feeds/hr-two.toml"),
    ]


def test_check_looks_at_the_folder(site: Path, command: Command) -> None:
    with_drop(site, 'folder = "in"')

    def said() -> list[tuple[str, str]]:
        lines = command("check", site, "--json").json["lines"]
        return [(line["verdict"], line["problem"]) for line in lines if "drop folder" in line["problem"]]

    assert said() == [("good", f"hr: drop folder {site / 'in'} will be made")]
    (site / "in").mkdir()
    assert said() == [("good", f"hr: drop folder {site / 'in'} is there")]
    (site / "in" / "done").write_text("in the way")
    told = command("check", site)
    assert told.code == 2
    assert f"{site / 'in' / 'done'} is a file, not a folder" in told.out
    (site / "in" / "done").unlink()
    if os.name == "posix" and os.geteuid():
        (site / "in").chmod(0o500)
        assert "can't be read and written" in command("check", site).out
        (site / "in").chmod(0o700)


def test_the_list_shows_progress_and_counts(site: Path, command: Command) -> None:
    (site / "data").mkdir()
    with open_store(str(site / "data" / "hl7bridge.sqlite")) as store:
        for name in ("a.hl7", "b.hl7", "c.hl7"):
            file = store.drops.begin_drop_file("hr", name, name, 1_000, 1_800_000_000.0)
            taken = Taken(messages=5, offset=250, accepted=3, refused=1, duplicates=1)
            file = store.drops.accept_from_file(file, [], lambda accepted, taken=taken: taken, 1_800_000_001.0)
            if name != "c.hl7":
                state = DONE if name == "a.hl7" else FAILED
                file = store.drops.settle_drop_file(file, READ, 1_800_000_002.0, target=f"{state}/{name}")
                store.drops.settle_drop_file(file, state, 1_800_000_003.0)
    told = command("drop", "list", "--config", site, "--json")
    assert told.code == 1
    found = [(one["name"], one["state"], one["target"], one["percent"]) for one in told.json["files"]]
    assert found == [
        ("c.hl7", "reading", "", 25),
        ("b.hl7", "failed", "failed/b.hl7", 100),
        ("a.hl7", "done", "done/a.hl7", 100),
    ]
    assert [told.json["files"][0][key] for key in ("messages", "accepted", "refused", "duplicates")] == [5, 3, 1, 1]
    shown = command("drop", "list", "--config", site, "--feed", "hr", "--under-way")
    assert shown.code == 0
    assert [line.split()[3:5] for line in shown.out.splitlines()[1:]] == [["c.hl7", "reading"]]
    assert command("drop", "list", "--config", site, "--feed", "none").code == 2
