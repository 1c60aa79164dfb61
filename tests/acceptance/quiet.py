"""A quiet site stays quiet: half a year of invented staff, told by two systems, through mapping, store and delivery.

What is held must be what nobody could tell without asking (`staffing.Happening.doubt`), and no more than one change in
two hundred; a person decides such holds within a week. In the end each person is one Practitioner, and no Practitioner is
two people. In this process, on a clock of its own.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from hl7bridge.assemble.destinations import destination_within
from hl7bridge.assemble.stores import store_in
from hl7bridge.desk.mapping.story import WORKER, deliver_due
from hl7bridge.destinations.reasons import KEY_OF_ANOTHER, QUARANTINE, RE_HIRED
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.invented.messages import master_file
from hl7bridge.invented.staffing import BEGIN, CRED, FIRST_DAYS, HR, Happening, half_a_year
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import Link, Outcome, Result, read_json
from hl7bridge.sandbox import SandboxSettings, create_app
from hl7bridge.store.store import Claimed
from tests.acceptance.checker import Fault, Report

SYSTEMS = {HR: "urn:uuid:0c6a51d2-31c7-4d6e-9a0e-0000000000f1", CRED: "urn:uuid:0c6a51d2-31c7-4d6e-9a0e-0000000000f2"}
MOST = 1 / 200
DECIDES_AFTER = timedelta(days=7)
LOAD = BEGIN + timedelta(days=FIRST_DAYS)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=2000, help="of both systems together (default 2000)")
    parser.add_argument("--seed", default="1")


class Site:
    """A bridge with both feeds, and its server."""

    def __init__(self, folder: Path) -> None:
        self.app = create_app(SandboxSettings(auth=False))
        self.destination = destination_within("ehr", self.app)
        self.store = store_in(folder)
        self.now = BEGIN
        self.store.queue.join(WORKER, 1e9, self.now.timestamp())
        self.intakes = {
            feed: Intake(
                FeedPolicy(feed, FeedRules(system), {"ehr": self.destination}, unsupported="reject"),
                b"\0" * 32,
                clock=lambda: self.now.timestamp(),
            )
            for feed, system in SYSTEMS.items()
        }

    def close(self) -> None:
        self.destination.close()
        self.store.close()

    def hear(self, body: bytes, feed: str) -> list[tuple[Claimed, Outcome]]:
        """Take a message and deliver what is due; how each attempt ended."""
        (prepared,) = self.intakes[feed].prepare(body, "test")
        assert prepared.new is not None
        assert not any(record.record.failed for record in prepared.new.records)
        self.store.inbox.accept([prepared.new], self.now.timestamp())
        return self.deliver()

    def deliver(self) -> list[tuple[Claimed, Outcome]]:
        return deliver_due(self.store, self.destination, self.now.timestamp())

    def decide(self, one: Claimed, outcome: Outcome) -> None:
        """A person who was asked "re-hired?" says yes."""
        now, person_id = self.now.timestamp(), str(outcome.candidates[0]["id"])
        who = {"who": "hr office", "reason": "re-hired"}
        assert self.store.links.link("ehr", one.feed, one.change.source_key, person_id, Link.LINKED, now, **who)
        for row in self.store.links.quarantined(QUARANTINE, destination="ehr", limit=100_000):
            if (row.feed, row.source_key) == (one.feed, one.change.source_key):
                self.store.holds.release(row.id, now, approves=False, **who)
        self.deliver()

    def people(self) -> list[dict[str, Any]]:
        read = read_json(self.app.test_client().get("/sandbox/state?resources=true").data)
        found: list[dict[str, Any]] = read["resources"]["Practitioner"]
        return found


def run(folder: Path, *, people: int, seed: str) -> Report:
    told = half_a_year(people, seed)
    site = Site(folder)
    faults: list[Fault] = []
    held: Counter[str] = Counter()
    kinds = Counter(one.kind for one in told if one.when >= LOAD)
    asked: list[tuple[Any, Claimed, Outcome]] = []
    doubts: dict[tuple[str, str], str] = {}
    try:
        for number, one in enumerate(told):
            site.now = max(site.now, one.when)
            while asked and asked[0][0] <= site.now:
                site.decide(*asked.pop(0)[1:])
            if one.doubt:
                doubts[one.feed, one.person.key] = one.doubt
            body = master_file(f"Q{number}", "2.5.1", site.now, "usual", [(one.step, one.person)])
            for claimed, outcome in site.hear(body, one.feed):
                faults += _judged(one, claimed, outcome, doubts)
                if outcome.result is Result.HELD:
                    held[f"{one.kind}: {outcome.local}"] += 1
                    if outcome.local in (RE_HIRED, KEY_OF_ANOTHER):
                        asked.append((site.now + DECIDES_AFTER, claimed, outcome))
        for _, claimed, outcome in asked:
            site.decide(claimed, outcome)
        faults += _mixed(site.people(), told)
    finally:
        site.close()
    changes, holds = kinds.total(), held.total()
    if holds > max(1, changes * MOST) and people >= 500:
        faults.append(Fault("noisy", "", f"{holds} holds in {changes} changes"))
    figures = {"people": people, "records": len(told), "changes after the first load": changes, "holds": holds}
    figures |= {f"held of a {kind}": number for kind, number in sorted(held.items())}
    return Report(faults, figures | {f"changes: {kind}": number for kind, number in kinds.most_common()})


def _judged(one: Happening, claimed: Claimed, outcome: Outcome, doubts: dict[tuple[str, str], str]) -> list[Fault]:
    """Whether it ended as it should: held only where nobody could tell."""
    if outcome.result is Result.HELD and (one.feed, claimed.change.source_key) not in doubts:
        return [Fault("undeserved", one.person.key, f"{one.kind} of {one.feed} is held: {outcome.local}")]
    if outcome.result is not Result.HELD and one.doubt and claimed.change.source_key == one.person.key:
        return [Fault("guessed", one.person.key, f"{one.kind} of {one.feed} is {outcome.result}: {one.doubt}")]
    return []


def _mixed(people: list[dict[str, Any]], told: list[Happening]) -> list[Fault]:
    """Each person is one Practitioner, and no Practitioner is two people."""
    humans = {(SYSTEMS[one.feed], one.person.key): one.human for one in told if one.kind != "key used again"}
    found: dict[int, set[str]] = defaultdict(set)
    faults = []
    for resource in people:
        keys = [(one["system"], one["value"]) for one in resource["identifier"]]
        inside = {humans[key] for key in keys if key in humans}
        if len(inside) > 1:
            faults.append(Fault("mixed up", resource["id"], f"{len(inside)} people in one Practitioner"))
        for human in inside:
            found[human].add(resource["id"])
    faults += [
        Fault("doubled", str(human), f"{len(ids)} Practitioners") for human, ids in found.items() if len(ids) > 1
    ]
    missing = {one.human for one in told if one.kind != "key used again"} - set(found)
    return faults + [Fault("lost", str(human), "no Practitioner") for human in sorted(missing)]


def main(options: argparse.Namespace, folder: Path) -> Report:
    return run(folder, people=options.people, seed=str(options.seed))
