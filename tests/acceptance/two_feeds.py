"""Two feeds, one person: different staff keys, the same NPI, sent at once. One Practitioner comes of it, and one feed's
leaver stays active while the other feed still holds the person.

For every person: both feeds add at once; both update at once; feed `hospital` deactivates (its role ends, the person stays
active); feed `clinic` deactivates (now the person is inactive).
"""

from __future__ import annotations

import argparse
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.acceptance import stream
from tests.acceptance.checker import Fault, Report, no_change, stored_versions
from tests.acceptance.seeds import add_seed
from tests.bridges import Bridge, Feed, running_bridge
from tests.mllp_peer import Connection, read_answer, read_rows
from tests.sandboxes import RunningSandbox, running_sandbox

FEEDS = {"hospital": "CARD^Cardiology", "clinic": "NEPH^Nephrology"}
BOTH = {"Cardiology", "Nephrology"}
KEY_SYSTEMS = {name: f"urn:uuid:0c6a51d2-31c7-4d6e-9a0e-0000000000{number:02d}" for number, name in enumerate(FEEDS)}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=100, help="people (default 100)")
    add_seed(parser)


def pairs(count: int, seed: int) -> list[dict[str, stream.Person]]:
    """Each person as either feed knows them: own staff key and unit, the same NPI and name."""
    rng = random.Random(seed)
    made = []
    for place in range(count):
        name = {"npi": stream.npi(20_000_000 + seed % 150_000 * 1000 + place), "family": rng.choice(stream.FAMILIES)}
        given = rng.choice(stream.GIVEN)
        made.append(
            {
                feed: stream.Person(key=f"{feed[0].upper()}{place:07d}", given=given, unit=unit, **name)
                for feed, unit in FEEDS.items()
            }
        )
    return made


def send(
    bridge: Bridge, feed: str, people: list[stream.Person], action: str, control: str, faults: list[Fault]
) -> None:
    with Connection(("127.0.0.1", bridge.ports[feed])) as connection:
        for place, person in enumerate(people):
            person.active = action != "MDC"
            control_id = f"{control}{place}"
            lines = [stream.header(feed.upper(), control_id, stream.BEGIN), "MFI|PRA^Practitioner^HL70175||UPD|||AL"]
            lines += stream.staff_record(person, action, f"{control_id}.1")
            answer = read_answer(connection.ask(("\r".join(lines) + "\r").encode()))
            if (answer.code, answer.control_id) != ("AA", control_id):
                faults.append(Fault("refused", person.key, f"{action} on {feed}: {answer.code}"))


def at_once(
    bridge: Bridge, people: list[dict[str, stream.Person]], action: str, control: str, *feeds: str
) -> list[Fault]:
    """Send the action for everybody on these feeds at the same time; returns when all is delivered."""
    faults: list[Fault] = []
    threads = []
    for feed in feeds:
        crowd = [pair[feed] for pair in people]
        threads.append(threading.Thread(target=send, args=(bridge, feed, crowd, action, f"{control}{feed}", faults)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bridge.wait_delivered(60 + len(people))
    return faults


def run(folder: Path, *, count: int, seed: int) -> Report:
    people = pairs(count, seed)
    feeds = [Feed(name, KEY_SYSTEMS[name]) for name in FEEDS]
    with (
        running_sandbox(folder / "sandbox", auth=False) as sandbox,
        running_bridge(folder / "bridge", sandbox.base_url, feeds=feeds) as bridge,
    ):
        faults = at_once(bridge, people, "MAD", "add", *FEEDS)
        faults += judge(sandbox, people, "added", True, BOTH)
        for pair in people:
            pair["hospital"].marker = 1
        faults += at_once(bridge, people, "MUP", "update", *FEEDS)
        faults += judge(sandbox, people, "updated", True, BOTH)
        faults += at_once(bridge, people, "MDC", "leave", "hospital")
        faults += judge(sandbox, people, "left the hospital", True, {"Nephrology"})
        faults += at_once(bridge, people, "MDC", "leave", "clinic")
        faults += judge(sandbox, people, "left the clinic", False, set())
        faults += no_change(list(stored_versions(read_rows(sandbox.journal_file))))
        held = bridge.held()
        versions = len(list(stored_versions(read_rows(sandbox.journal_file))))
    if held:
        faults.append(Fault("held", "", f"{held} deliveries"))
    return Report(faults, {"people": count, "versions": versions})


def judge(
    sandbox: RunningSandbox, people: list[dict[str, stream.Person]], when: str, active: bool, units: set[str]
) -> Iterator[Fault]:
    """One Practitioner for each person, with both staff keys, active or not, and open roles in these units alone."""
    resources = {name: sandbox.all(name) for name in ("Practitioner", "PractitionerRole")}
    for pair in people:
        who = pair["hospital"].npi
        found = [p for p in resources["Practitioner"] if who in values(p)]
        if len(found) != 1:
            yield Fault("doubled", who, f"{when}: {len(found)} Practitioners")
            continue
        keys = {person.key for person in pair.values()}
        if not keys <= values(found[0]):
            yield Fault("lost", who, f"{when}: not both staff keys")
        if found[0]["active"] is not active:
            yield Fault("lost", who, f"{when}: active is {found[0]['active']}")
        reference = f"Practitioner/{found[0]['id']}"
        roles = [r for r in resources["PractitionerRole"] if r["practitioner"]["reference"] == reference]
        still = {unit(role) for role in roles if role.get("active", True)}
        if still != units:
            yield Fault("lost", who, f"{when}: open roles in {sorted(still)} instead of {sorted(units)}")
        if len(roles) != len(FEEDS):
            yield Fault("doubled", who, f"{when}: {len(roles)} roles")


def values(resource: dict[str, Any]) -> set[str]:
    return {item["value"] for item in resource.get("identifier", [])}


def unit(role: dict[str, Any]) -> str:
    return str(role.get("organization", {}).get("display", ""))


def main(options: argparse.Namespace, folder: Path) -> Report:
    return run(folder, count=options.count, seed=options.seed)
