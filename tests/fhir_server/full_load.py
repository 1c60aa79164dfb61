"""A nightly full load of a whole staff, as one MFN^M02, against a FHIR server that others wrote.

First everybody joins; then the same file comes again, byte for byte and under another id: nothing is written; then one
with a few changes and leavers: a version for each of these alone.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.acceptance.checker import Fault, Report
from tests.bridges import Bridge, Feed, running_bridge
from tests.fhir_server.story import place_of
from tests.hapi import roster
from tests.hapi.observer import JsonObject, Observer, version
from tests.hapi.proxy import Proxy, proxy_to
from tests.hapi.roster import Member
from tests.journey import ask

LEAVERS = 15  # fewer than would make a file of leavers look like a mistake
VALIDATED = 50
State = dict[str, int]


def run(
    folder: Path, base_url: str, key_system: str, *, count: int, block: int, seed: int, every: bool = False
) -> Report:
    """`count` people. `every`: $validate every resource instead of fifty drawn by the seed."""
    rng = random.Random(seed)
    people = roster.roster(count, seed, block)
    feed = Feed("staff", key_system, settings=roster.FEED_SETTINGS)
    figures: dict[str, int] = {"people": count}
    with (
        Observer(base_url) as observer,
        proxy_to(base_url) as proxy,
        running_bridge(folder, proxy.base_url, feeds=[feed], to={"timeout": "20s"}) as bridge,
    ):
        load = Load(bridge, proxy, figures)
        first = roster.message("full-1", 1, [("MAD", member) for member in people])
        faults = load.send("joining", first, at_most=4 * count)
        resources = observed(observer, key_system)
        faults += as_expected(resources, people, key_system)
        before = versions(resources)
        faults += [
            Fault("repeated", place, f"version {number} of what just joined")
            for place, number in before.items()
            if number > 1
        ]

        drawn = resources if every else rng.sample(resources, k=min(VALIDATED, len(resources)))
        for resource in drawn:
            faults += [Fault("invalid", place_of(resource), error) for error in observer.validate(resource)]
        figures["validated"] = len(drawn)

        faults += load.send("byte for byte again", first, at_most=0)
        faults += load.send("nothing new", roster.message("full-2", 2, [("MUP", m) for m in people]), at_most=2 * count)
        after = versions(observed(observer, key_system))
        faults += differing(before, after, "a replay that changed nothing")

        chosen = rng.sample(people, k=min(count, LEAVERS + count // 10))
        for member in chosen:
            if chosen.index(member) < LEAVERS:
                member.active = False
            else:
                member.extension = (member.extension + 1) % 10_000
        actions = [("MUP" if member.active else "MDC", member) for member in people]
        # Each change is a read and a write of the person and of their one role, and of a leaver one look more.
        most = 2 * count + 2 * len(chosen) + LEAVERS
        faults += load.send("some changes", roster.message("full-3", 3, actions), at_most=most)
        resources = observed(observer, key_system)
        faults += as_expected(resources, people, key_system)
        faults += one_version_each(before, resources, {member.key for member in chosen}, key_system)
        figures["versions"] = sum(versions(resources).values())
        if held := bridge.held():
            faults.append(Fault("held", "", f"{held} deliveries"))
    return Report(faults, figures)


class Load:
    """Sends the files, counts requests and seconds."""

    def __init__(self, bridge: Bridge, proxy: Proxy, figures: dict[str, int]) -> None:
        self.bridge, self.proxy, self.figures = bridge, proxy, figures

    def send(self, what: str, body: bytes, *, at_most: int) -> list[Fault]:
        """Send one file and wait until it is delivered; faults where it is refused or needs more requests."""
        asked, begun = len(self.proxy.passed), time.monotonic()
        answer = ask(self.bridge, body)
        self.bridge.wait_delivered(600, every=0.5)
        requests = len(self.bridge.of_deliveries(self.proxy.since(asked)))
        self.figures[f"{what}: requests"] = requests
        self.figures[f"{what}: seconds"] = round(time.monotonic() - begun)
        faults = [] if answer.code == "AA" else [Fault("refused", what, answer.code)]
        if requests > at_most:
            faults.append(Fault("requests", what, f"{requests} requests, {at_most} at most"))
        return faults


def observed(observer: Observer, key_system: str) -> list[JsonObject]:
    people = observer.of_system(key_system)
    return [*people, *observer.roles_of(people)]


def versions(resources: list[JsonObject]) -> State:
    return {place_of(resource): version(resource) for resource in resources}


def key_of(practitioner: JsonObject, key_system: str) -> str:
    return next((str(i["value"]) for i in practitioner["identifier"] if i.get("system") == key_system), "")


def as_expected(resources: list[JsonObject], people: list[Member], key_system: str) -> list[Fault]:
    """One Practitioner with one role each, as the person is."""
    faults = []
    by_key: dict[str, list[JsonObject]] = {}
    roles: dict[str, list[JsonObject]] = {}
    for resource in resources:
        if resource["resourceType"] == "Practitioner":
            by_key.setdefault(key_of(resource, key_system), []).append(resource)
        else:
            roles.setdefault(resource["practitioner"]["reference"], []).append(resource)
    for member in people:
        found = by_key.pop(member.key, [])
        if len(found) != 1:
            faults.append(Fault("doubled" if found else "lost", member.key, f"{len(found)} Practitioners"))
            continue
        wrong = member.wrong_in(found[0], roles.get(f"Practitioner/{found[0]['id']}", []), key_system)
        faults += [Fault("expected", member.key, text) for text in wrong]
    return faults + [Fault("doubled", key, "nobody of the roster") for key in by_key]


def differing(before: State, after: State, why: str) -> list[Fault]:
    places = sorted(before.keys() | after.keys())
    changed = [place for place in places if before.get(place) != after.get(place)]
    return [Fault("repeated", p, f"version {before.get(p)} -> {after.get(p)} by {why}") for p in changed]


def one_version_each(before: State, resources: list[JsonObject], changed: set[str], key_system: str) -> list[Fault]:
    """A version more for who changed, and for the role (its telecom or its end changed, too); none for the rest."""
    keys = {place_of(r): key_of(r, key_system) for r in resources if r["resourceType"] == "Practitioner"}
    faults = []
    for resource in resources:
        key = keys.get(place_of(resource)) or keys.get(resource.get("practitioner", {}).get("reference", ""), "")
        grown = version(resource) - before.get(place_of(resource), 0)
        if grown != int(key in changed):
            faults.append(Fault("versions", key, f"{place_of(resource)}: {grown} more, changed: {key in changed}"))
    return faults
