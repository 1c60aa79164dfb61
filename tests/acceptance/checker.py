"""Decides whether what was acknowledged has happened, once and in order, from two files alone: the sender's log and the
sandbox's journal.

It shares no code with the bridge. What it looks for, per person of the stream (tests/acceptance/stream.py):

    lost            an acknowledged change is not among the versions, or not in the final state
    order           a marker goes back
    repeated        the versions hold a state that the messages do not lead to, or one twice
    doubled         two resources carry the same staff key or the same NPI, or one person has two roles for one unit
    no change       a version equals its predecessor, meta aside
    unacknowledged  the sender never got a positive answer
    refused         a negative application acknowledgment after a positive accept acknowledgment
    mixed up        a resource carries two markers, or an identifier of another person
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mllp_peer import POSITIVE, read_rows

MARKER = re.compile(r"^(k\d+)\.n(\d+)@staff\.example$")


@dataclass(frozen=True)
class Fault:
    kind: str
    person: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.person}: {self.text}"


@dataclass(frozen=True)
class Version:
    """One version that the server stored. `number` is its place in the journal."""

    number: int
    resource_type: str
    id: str
    version: str
    resource: dict[str, Any]


@dataclass(frozen=True, order=True)
class State:
    """What a message leads to, as a version shows it."""

    marker: int
    active: bool

    def __str__(self) -> str:
        return f"n{self.marker} {'active' if self.active else 'inactive'}"


@dataclass
class Sent:
    """One record that was sent: the state that it leads to, and whether its message was acknowledged positively."""

    control_id: str
    state: State
    acknowledged: bool


@dataclass
class Report:
    faults: list[Fault]
    figures: dict[str, int] = field(default_factory=dict)


def check(journal: Iterable[dict[str, Any]], ledger: Iterable[dict[str, Any]]) -> Report:
    """Compare the journal's rows with the rows of the sender's log."""
    records, keys, faults = read_ledger(ledger)
    versions = list(stored_versions(journal))
    people: dict[str, list[Version]] = defaultdict(list)
    for version in versions:
        if version.resource_type == "Practitioner":
            for value in identifier_values(version.resource) & keys.keys():
                people[keys[value]].append(version)
    faults += no_change(versions)
    faults += doubled_roles(versions)
    for person, sent in records.items():
        faults += check_person(person, sent, unique(people[person]))
    written = Counter(version.resource_type for version in versions)
    return Report(
        faults,
        {
            "people": len(records),
            "records sent": sum(map(len, records.values())),
            "records acknowledged": sum(record.acknowledged for sent in records.values() for record in sent),
            "Practitioner versions": written["Practitioner"],
            "PractitionerRole versions": written["PractitionerRole"],
        },
    )


def check_files(journal: Path, ledger: Path) -> Report:
    return check(read_rows(journal), read_rows(ledger))


# --- the two files ---------------------------------------------------------------------------------------------------


def read_ledger(rows: Iterable[dict[str, Any]]) -> tuple[dict[str, list[Sent]], dict[str, str], list[Fault]]:
    """Per person the records in the order of sending; staff key and NPI -> person; what the answers themselves say."""
    records: dict[str, list[Sent]] = defaultdict(list)
    keys: dict[str, str] = {}
    messages: dict[str, list[Sent]] = {}
    faults = []
    for row in rows:
        control_id = row["control_id"]
        if row["event"] == "sent":
            messages[control_id] = []
            for record in row["records"]:
                keys[record["person"]] = keys[record["npi"]] = record["person"]
                sent = Sent(control_id, State(record["marker"], record["active"]), False)
                messages[control_id].append(sent)
                records[record["person"]].append(sent)
        elif row["event"] == "answered":
            was_acknowledged = any(sent.acknowledged for sent in messages[control_id])
            if row["code"] in POSITIVE:
                for sent in messages[control_id]:
                    sent.acknowledged = True
            elif was_acknowledged:
                faults.append(Fault("refused", control_id, f"{row['code']} after a positive acknowledgment"))
    for control_id, group in messages.items():
        if not all(sent.acknowledged for sent in group):
            faults.append(Fault("unacknowledged", control_id, "no positive acknowledgment"))
    return records, keys, faults


def stored_versions(journal: Iterable[dict[str, Any]]) -> Iterator[Version]:
    """The versions that the server stored, in its order."""
    for number, row in enumerate(journal):
        stored = row.get("stored")
        if stored:
            yield Version(number, stored["resourceType"], stored["id"], stored["meta"]["versionId"], stored)


def identifier_values(resource: dict[str, Any]) -> set[str]:
    return {item.get("value", "") for item in resource.get("identifier", [])}


def markers(resource: dict[str, Any]) -> list[tuple[str, int]]:
    found = (MARKER.match(item.get("value", "")) for item in resource.get("telecom", []))
    return [(match[1], int(match[2])) for match in found if match]


def unique(versions: list[Version]) -> list[Version]:
    """A version that is reached by the key and by the NPI stands once."""
    return list({version.number: version for version in versions}.values())


# --- what must hold --------------------------------------------------------------------------------------------------


def check_person(person: str, sent: list[Sent], versions: list[Version]) -> list[Fault]:
    ids = list(dict.fromkeys(version.id for version in versions))
    if len(ids) > 1:
        return [Fault("doubled", person, f"{len(ids)} resources: {', '.join(ids)}")]
    states = []
    for version in versions:
        found = markers(version.resource)
        if len(found) != 1 or found[0][0].upper() != person:
            return [
                Fault("mixed up", person, f"version {version.version} carries {len(found)} markers or a foreign one")
            ]
        states.append(State(found[0][1], version.resource.get("active", True)))
    if follows(states, sent):
        return []
    return [explain(person, states, sent)]


def follows(states: list[State], sent: list[Sent]) -> bool:
    """Whether the states of the versions are what the records lead to, one after the other.

    An acknowledged record must have been applied, any other one may have been. A record that leads to the state that
    the resource is in already stores no version.
    """
    reached = {0}
    for record in sent:
        after = set()
        for count in reached:
            if not record.acknowledged:
                after.add(count)
            if count and states[count - 1] == record.state:
                after.add(count)
            elif count < len(states) and states[count] == record.state:
                after.add(count + 1)
        reached = after
    return len(states) in reached


def explain(person: str, states: list[State], sent: list[Sent]) -> Fault:
    """Name the first thing that is wrong with states that do not follow from the records."""
    for before, after in itertools.pairwise(states):
        if after.marker < before.marker:
            return Fault("order", person, f"{after} was stored after {before}")
    for record in sent:
        if record.acknowledged and record.state not in states:
            return Fault("lost", person, f"{record.control_id} was acknowledged, {record.state} was never stored")
    if sent and states and all(record.acknowledged for record in sent) and states[-1] != sent[-1].state:
        text = f"{sent[-1].control_id} was acknowledged, but {states[-1]} stands instead of {sent[-1].state}"
        return Fault("lost", person, text)
    count, wanted = len(states), len([1 for i, r in enumerate(sent) if i == 0 or r.state != sent[i - 1].state])
    if count < wanted:
        return Fault("lost", person, f"{wanted} states were acknowledged, {count} versions were stored")
    return Fault("repeated", person, f"{count} versions were stored for {wanted} states")


def no_change(versions: list[Version]) -> Iterator[Fault]:
    last: dict[tuple[str, str], str] = {}
    for version in versions:
        content = {name: value for name, value in version.resource.items() if name != "meta"}
        text = json.dumps(content, sort_keys=True)
        place = (version.resource_type, version.id)
        if last.get(place) == text:
            yield Fault("no change", "/".join(place), f"version {version.version} equals its predecessor")
        last[place] = text


def doubled_roles(versions: list[Version]) -> Iterator[Fault]:
    """One person has one role for each unit (a role without a unit counts as one for the unit "")."""
    seen: dict[tuple[str, str], str] = {}
    for version in versions:
        if version.resource_type != "PractitionerRole":
            continue
        person = version.resource.get("practitioner", {}).get("reference", "")
        place = (person, json.dumps(version.resource.get("organization", {}), sort_keys=True))
        first = seen.setdefault(place, version.id)
        if first != version.id:
            yield Fault("doubled", person, f"roles {first} and {version.id} stand for the same unit")
            seen[place] = version.id
