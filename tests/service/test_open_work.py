"""A store with open work of every kind, as an earlier version left it, ends as it would have there.

`tests/store/versions/NAME` holds it: a bridge of that version was killed, and its store, its conf/ and the server's people
were kept (see the README there).
"""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.store.opening import open_store
from hl7bridge.store.sqlite.driver import sqlite3
from tests.bridges import Bridge, wait_until
from tests.cli.conftest import command  # noqa: F401 (a fixture)
from tests.journey import KEY_SYSTEM
from tests.sandboxes import RunningSandbox, running_sandbox

VERSIONS = Path(__file__).parents[1] / "store" / "versions"
LATE_KEYS = KEY_SYSTEM.replace("2f9a", "2f9b")  # of the feed that is answered when all is delivered
NOWHERE = "http://127.0.0.1:9/fhir"


def names() -> list[str]:
    return sorted(path.parent.name for path in VERSIONS.glob("*/store.sql"))


def laid_out(name: str, folder: Path, sandbox: RunningSandbox) -> Bridge:
    """The folder and the server as they were, but for the server's address; a month later the next change is due."""
    shutil.copytree(VERSIONS / name / "conf", folder / "conf")
    for file in (folder / "conf" / "destinations").iterdir():
        file.write_text(file.read_text(encoding="utf-8").replace(NOWHERE, sandbox.base_url), encoding="utf-8")
    kept = json.loads((VERSIONS / name / "server.json").read_text(encoding="utf-8"))
    for resource in sorted(itertools.chain(*kept.values()), key=lambda one: int(one["id"])):
        assert sandbox.post(resource)["id"] == resource["id"]  # it numbers them in the order in which they come
    (folder / "data").mkdir()
    with closing(sqlite3.connect(folder / "data" / "hl7bridge.sqlite")) as store:
        store.executescript((VERSIONS / name / "store.sql").read_text(encoding="utf-8"))
        store.execute("UPDATE delivery SET not_before = ? WHERE source_key = 'K3' AND not_before > 0", (time.time(),))
        store.commit()
    return Bridge(folder)


def people(sandbox: RunningSandbox, key: str, system: str = KEY_SYSTEM) -> list[dict[str, Any]]:
    return sandbox.search("Practitioner", identifier=f"{system}|{key}")


def phones(person: dict[str, Any]) -> list[str]:
    return [point["value"] for point in person.get("telecom", [])]


def states(bridge: Bridge, control_id: str, destination: str = "fhir") -> list[str]:
    """How the deliveries of a message stand: the result of those that have ended."""
    with closing(open_store(bridge.store_path)) as store:
        (row,) = store.audit.messages(control_id=control_id)
        found = store.audit.message(row.id)
        assert found
        records = found["records"]
        return [
            str(one["result"] if one["state"] == "ended" else one["state"])
            for record in records
            for one in record["deliveries"]
            if one["destination"] == destination
        ]


@pytest.mark.parametrize("name", names())
def test_open_work_of_an_earlier_version_ends(
    tmp_path: Path,
    name: str,
    command: Callable[..., Any],  # noqa: F811
) -> None:
    with running_sandbox(tmp_path / "sandbox", auth=False) as sandbox:
        bridge = laid_out(name, tmp_path / "site", sandbox)
        try:
            bridge.start()
            wait_until(lambda: states(bridge, "LARGE") == ["created"] * 90, 60, bridge.log_end)
            bridge.wait_delivered()
            ended(bridge, sandbox)
            protected(bridge, sandbox, command)
            assert bridge.stop() == 0
        finally:
            if bridge.process and bridge.process.poll() is None:
                bridge.kill("tree")


def ended(bridge: Bridge, sandbox: RunningSandbox) -> None:
    # What waited in its lane, what was tried again, and what a leaver is owed.
    assert (states(bridge, "QUEUED"), states(bridge, "RETRY")) == (["created"], ["created"])
    assert states(bridge, "LEAVER") == ["deactivated"]
    assert [one["active"] for one in people(sandbox, "K1")] == [False]
    assert [len(people(sandbox, key)) for key in ("K4", "K5")] == [1, 1]
    # What is due by now, and what is not.
    assert states(bridge, "NEXT") == ["updated"]
    assert [phones(one) for one in people(sandbox, "K3")] == [["333"]]
    assert states(bridge, "FAR") == ["scheduled"]
    assert [phones(one) for one in people(sandbox, "K2")] == [["111"]]
    # The file that was half written, and what was to be answered when it was delivered: nobody is left to hear it.
    assert [phones(one) for one in people(sandbox, "L00", LATE_KEYS)] == [["900"]]
    assert [phones(one) for one in people(sandbox, "L89", LATE_KEYS)] == [["989"]]
    assert len(sandbox.all("Practitioner")) == 4 + 3 + 90
    assert states(bridge, "LATE") == ["created"]
    wait_until(lambda: acknowledged(bridge) == {"LATE": "AA", "LARGE": "AA"}, 20, lambda: str(acknowledged(bridge)))
    # What a destination only reports is reported, and nothing is written for it.
    assert states(bridge, "QUEUED", "shadow") == ["reported"]
    assert states(bridge, "A0", "shadow") == ["reported"]


def acknowledged(bridge: Bridge) -> dict[str, str]:
    """The code of what was pending, once it was built."""
    with closing(open_store(bridge.store_path)) as store:
        found = {row.control_id: store.audit.acknowledgments(row.id) for row in store.audit.messages(feed="late")}
        return {name: one.code for name, (one,) in found.items() if one.state in ("sent", "not sent")}


def protected(bridge: Bridge, sandbox: RunningSandbox, command: Callable[..., Any]) -> None:  # noqa: F811
    """The held one, and its task, wait on for a person, and go on with their word."""
    assert states(bridge, "HOLD") == ["held"]
    assert [one["active"] for one in people(sandbox, "K9")] == [True]
    with closing(open_store(bridge.store_path)) as store:
        assert {"protected-person", "leaver-access"} <= {task.kind for task in store.worklist.tasks(state="open")}
        (hold,) = store.holds.holds()
    released = command("hold", "release", hold.id, "--reason", "asked", "-c", bridge.folder)
    assert released.code == 0, released
    wait_until(lambda: states(bridge, "HOLD") == ["deactivated"], 30, bridge.log_end)
    assert [one["active"] for one in people(sandbox, "K9")] == [False]
