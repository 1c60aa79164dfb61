"""The sample messages against a FHIR server that others wrote: resources, versions, $validate, and everything once more."""

from __future__ import annotations

import random
from pathlib import Path

from hl7bridge.cli.tools import samples
from hl7bridge.cli.tools.samples import FEED_SETTINGS, KEY_SYSTEM, Sample
from tests.acceptance.checker import Fault, Report
from tests.bridges import Bridge, Feed, running_bridge, wait_until
from tests.hapi.observer import JsonObject, Observer, content, version
from tests.hapi.proxy import proxy_to
from tests.mllp_peer import Connection

Snapshot = dict[str, JsonObject]
ANSWER_WITHIN = 20.0


def run(folder: Path, base_url: str, *, seed: int, every: bool = False) -> Report:
    """Play the story, check after each message, then send all of it twice more. `every`: $validate every
    version that comes about, not one resource after each message."""
    faults: list[Fault] = []
    rng = random.Random(seed)
    with Observer(base_url) as observer, proxy_to(base_url) as proxy:
        observer.forget(KEY_SYSTEM)  # an earlier run's people, on a server that was not started afresh
        feed = Feed("staff", KEY_SYSTEM, settings=FEED_SETTINGS)
        with running_bridge(folder, proxy.base_url, feeds=[feed], to={"timeout": "10s"}) as bridge:
            story = samples.load()
            before: Snapshot = {}
            changes = validated = 0
            for sample in story:
                play(bridge, sample.message, len(sample.acknowledgments))
                now = snapshot(observer)
                faults += as_expected(sample, now)
                faults += one_version_a_change(sample.name, before, now)
                changes += sum(before.get(place) != resource for place, resource in now.items())
                new = [resource for place, resource in now.items() if before.get(place) != resource]
                for resource in new if every else rng.sample(new or list(now.values()), k=min(1, len(now))):
                    validated += 1
                    faults += [Fault("invalid", place_of(resource), error) for error in observer.validate(resource)]
                before = now
            asked = len(proxy.passed)
            for sample in story:
                play(bridge, sample.message, len(sample.acknowledgments))
            for sample in story:
                play(bridge, under_another_id(sample.message), len(sample.acknowledgments))
            after = snapshot(observer)
            faults += [
                Fault(
                    "repeated",
                    place,
                    f"version {version(after[place])} after a replay, {version(before[place])} before",
                )
                for place in after.keys() & before.keys()
                if version(after[place]) != version(before[place])
            ]
            faults += [Fault("doubled", place, "came with a replay") for place in after.keys() - before.keys()]
            # HAPI stores no version for a PUT that changes nothing, so what is sent counts, too.
            written = [passed.asked.line for passed in proxy.since(asked) if passed.asked.method != "GET"]
            faults += [Fault("repeated", line, "sent for a replay") for line in written]
    return Report(
        faults,
        {
            "messages": len(story),
            "resources": len(after),
            "versions": sum(map(version, after.values())),
            "real changes": changes,
            "validated": validated,
            "requests": asked,
            "requests of two replays": len(proxy.since(asked)),
        },
    )


def play(bridge: Bridge, message: bytes, answers: int) -> None:
    """Send it, read its answers, wait until what came of it is delivered."""
    known = messages(bridge)
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        connection.send(message)
        for _ in range(answers):
            assert connection.read(ANSWER_WITHIN) is not None, bridge.log_end()
        if not answers:
            wait_until(lambda: messages(bridge) > known, ANSWER_WITHIN, bridge.log_end)
    bridge.wait_delivered(60)


def messages(bridge: Bridge) -> int:
    return sum(bridge.counts()["messages"].values())


def under_another_id(message: bytes) -> bytes:
    """The same message with another MSH-10, so that the duplicate rule does not know it."""
    if not message.startswith(b"MSH"):
        return message
    header, end, rest = message.partition(b"\r")
    fields = header.split(header[3:4])
    fields[9] += b"R" if fields[9] else b""
    return header[3:4].join(fields) + end + rest


def place_of(resource: JsonObject) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def snapshot(observer: Observer) -> Snapshot:
    """Everything of the story as it stands."""
    people = observer.of_system(KEY_SYSTEM)
    return {place_of(resource): resource for resource in [*people, *observer.roles_of(people)]}


def as_expected(sample: Sample, now: Snapshot) -> list[Fault]:
    people = [r for r in now.values() if r["resourceType"] == "Practitioner"]
    roles = [r for r in now.values() if r["resourceType"] == "PractitionerRole"]
    of_people = samples.of_people(samples.comparable(people, roles), sample.people)
    return [Fault("expected", sample.name, text) for text in samples.resource_differences(sample.resources, of_people)]


def one_version_a_change(name: str, before: Snapshot, now: Snapshot) -> list[Fault]:
    """A message brings a resource one version when it changes it, and none when it does not."""
    faults = []
    for place, resource in now.items():
        old = before.get(place)
        changed = old is None or content(old) != content(resource) or tags(old) != tags(resource)
        grown = version(resource) - (version(old) if old else 0)
        if grown != int(changed):
            faults.append(Fault("versions", place, f"{name}: {grown} more, changed: {changed}"))
    faults += [Fault("lost", place, f"{name}: gone") for place in before.keys() - now.keys()]
    return faults


def tags(resource: JsonObject) -> object:
    return resource["meta"].get("tag")
