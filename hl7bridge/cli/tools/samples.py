"""The sample messages: trios of a message, the acknowledgment that it must get and the resources that must stand after it.

    NN-name.hl7             the message, bytes as on the wire without the MLLP frame
    NN-name.ack.hl7         the answer; empty = none; a blank line (CR CR) separates the two of enhanced mode
    NN-name.expected.json   about, teaches, records, resources

In their order they tell one story of invented people, played against one empty store and one empty server under
`FEED_SETTINGS`. The demo replays them, the golden test proves them, the documentation quotes them; `sample_messages/
README.md` explains the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hl7bridge.cli.setup.init import packaged
from hl7bridge.errors import ConfigError, MessageError
from hl7bridge.hl7.message import read_header
from hl7bridge.model import JsonObject, read_json, write_json

if TYPE_CHECKING:
    pass

KEY_SYSTEM = "urn:uuid:6d0a1f3c-52b7-4e0e-9a4d-1c7f0b8e2a95"

FEED_SETTINGS: Mapping[str, Any] = {
    "hl7": {"key_system": KEY_SYSTEM, "timezone": "UTC", "charset": "utf-8"},
    "acknowledgment": {"acknowledge_when": "stored"},
    "authorities": {"99UNIT": "https://northlake.example.org/units"},
}
"""The settings of the feed under which the expectations hold (conf/feeds/NAME.toml); everything else is default."""

ANY = b"*"
"""Stands in an expected acknowledgment for what no two runs share: MSH-7, MSH-10 and an MFA-3 that has a value."""

DUPLICATE = "duplicate"
SCHEDULED = "scheduled"


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One record of a message: MFE-1 ("" in a PMU), the staff key, and a model.Result word, "duplicate", "scheduled" or a
    local code."""

    event: str
    person: str
    result: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One trio. `resources` are in the form of `comparable`; `what_to_do` is there for some that are refused."""

    name: str
    message: bytes
    acknowledgments: tuple[bytes, ...]
    about: str
    teaches: str
    records: tuple[SampleRecord, ...]
    resources: tuple[JsonObject, ...]
    what_to_do: str = ""

    @property
    def people(self) -> tuple[str, ...]:
        """Staff keys of the people whose resources the expectation tells, in order of first mention."""
        keys = [resource_key(resource) for resource in self.resources]
        return tuple(dict.fromkeys([*(record.person for record in self.records if record.person), *keys]))


def load(directory: Path | None = None) -> tuple[Sample, ...]:
    """The trios in order; by default those that travel with the package. Raises ConfigError for a trio that is broken."""
    folder = directory or packaged("sample_messages")
    paths = [path for path in sorted(folder.glob("*.hl7")) if not path.name.endswith(".ack.hl7")]
    if not paths:
        raise ConfigError("holds no sample messages", file=str(folder))
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> Sample:
    acknowledgment, expected = path.with_suffix(".ack.hl7"), path.with_suffix(".expected.json")
    try:
        read = read_json(expected.read_bytes())
        return Sample(
            name=path.stem,
            message=path.read_bytes(),
            acknowledgments=split_acknowledgments(acknowledgment.read_bytes()),
            about=read["about"],
            teaches=read["teaches"],
            records=tuple(SampleRecord(r["event"], r["person"], r["result"]) for r in read["records"]),
            resources=tuple(read["resources"]),
            what_to_do=read.get("what_to_do", ""),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise ConfigError("the trio is broken", file=str(expected)) from None


def split_acknowledgments(content: bytes) -> tuple[bytes, ...]:
    """The answers of an .ack.hl7 file, each with the CR of its last segment."""
    return tuple(part.rstrip(b"\r") + b"\r" for part in content.split(b"\r\r") if part.strip())


# --- acknowledgments -------------------------------------------------------------------------------------------------


def masked(acknowledgment: bytes) -> list[bytes]:
    """Its segments with ANY for MSH-7, MSH-10 and an MFA-3 that has a value."""
    separator = acknowledgment[3:4]
    segments = []
    for segment in acknowledgment.split(b"\r")[:-1]:
        fields = segment.split(separator)
        # In MSH the separator itself is field 1, so that field n stands at n - 1.
        for name, number in ((b"MSH", 6), (b"MSH", 9), (b"MFA", 3)):
            if fields[0] == name and len(fields) > number and fields[number]:
                fields[number] = ANY
        segments.append(separator.join(fields))
    return segments


def acknowledgment_differences(expected: Sequence[bytes], actual: Sequence[bytes]) -> list[str]:
    """What the answers have against the expected ones, in lines for people; none when all is well."""
    found = []
    if len(expected) != len(actual):
        found.append(f"{len(expected)} acknowledgments expected, {len(actual)} came")
    for wanted, got in zip(expected, actual, strict=False):
        one, other = masked(wanted), masked(got)
        for number in range(max(len(one), len(other))):
            before = one[number] if number < len(one) else b"(no segment)"
            after = other[number] if number < len(other) else b"(no segment)"
            if before != after:
                found.append(f"segment {number + 1}: expected {_shown(before)}, got {_shown(after)}")
    return found


def _shown(segment: bytes) -> str:
    return segment.decode("utf-8", "backslashreplace")


# --- records ---------------------------------------------------------------------------------------------------------


def event_of(message: bytes) -> str:
    """The trigger event (`A08`) of a message whose records could not be read; "" when its MSH can't be, either."""
    try:
        return read_header(message).trigger_event
    except MessageError:
        return ""


def record_differences(expected: Sequence[SampleRecord], actual: Sequence[SampleRecord]) -> list[str]:
    """What the records have against the expected ones, in lines for people."""
    if len(expected) != len(actual):
        return [f"{len(expected)} records expected, {len(actual)} came"]
    return [
        f"record {number}: expected {_in_words(one)}, got {_in_words(other)}"
        for number, (one, other) in enumerate(zip(expected, actual, strict=True), 1)
        if one != other
    ]


def _in_words(record: SampleRecord) -> str:
    return f"{record.event or 'no event'} {record.person or 'nobody'} {record.result}"


# --- resources -------------------------------------------------------------------------------------------------------


def staff_key(practitioner: JsonObject) -> str:
    """The staff key among a Practitioner's identifiers, "" when it has none of this feed."""
    identifiers = practitioner.get("identifier", [])
    return next((str(i["value"]) for i in identifiers if i.get("system") == KEY_SYSTEM), "")


def resource_key(resource: JsonObject) -> str:
    """The staff key of a resource in the form of `comparable`."""
    if resource["resourceType"] == "Practitioner":
        return staff_key(resource)
    return str(resource["practitioner"]["reference"]).removeprefix("Practitioner/")


def comparable(practitioners: Iterable[JsonObject], roles: Iterable[JsonObject]) -> list[JsonObject]:
    """Resources of a server in a form that does not depend on the run: without id and meta (but for tags), a role's
    practitioner named by the staff key. Ordered by staff key, the Practitioner before the roles."""
    keys: dict[str, str] = {}
    found = []
    for practitioner in practitioners:
        keys[str(practitioner["id"])] = staff_key(practitioner)
        found.append(_bare(practitioner))
    for role in roles:
        reference = str(role["practitioner"]["reference"]).removeprefix("Practitioner/")
        found.append(_bare(role) | {"practitioner": {"reference": f"Practitioner/{keys.get(reference, reference)}"}})
    return sorted(found, key=lambda r: (resource_key(r), r["resourceType"], write_json(r, sort_keys=True)))


def _bare(resource: JsonObject) -> JsonObject:
    bare = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    tags = resource.get("meta", {}).get("tag")
    return bare | {"meta": {"tag": tags}} if tags else bare


def of_people(resources: Iterable[JsonObject], people: Sequence[str]) -> list[JsonObject]:
    """Those of comparable resources that belong to these people."""
    return [resource for resource in resources if resource_key(resource) in people]


def resource_differences(expected: Iterable[JsonObject], actual: Iterable[JsonObject]) -> list[str]:
    """What comparable resources have against the expected ones, in lines for people."""
    wanted, got = list(expected), list(actual)
    both = [resource for resource in wanted if resource in got]
    wanted = [resource for resource in wanted if resource not in both]
    got = [resource for resource in got if resource not in both]
    found = []
    for resource in list(wanted):
        twin = next((r for r in got if _same_kind(r, resource)), None)
        if twin is None:
            continue
        wanted.remove(resource)
        got.remove(twin)
        for name in sorted({*resource, *twin}):
            if resource.get(name) != twin.get(name):
                before, after = (_element(r, name) for r in (resource, twin))
                found.append(f"{_title(resource)}.{name}: expected {before}, got {after}")
    found += [f"{_title(resource)} is missing" for resource in wanted]
    found += [f"{_title(resource)} is not expected" for resource in got]
    return found


def _same_kind(one: JsonObject, other: JsonObject) -> bool:
    return _title(one) == _title(other)


def _title(resource: JsonObject) -> str:
    return f"{resource['resourceType']} of {resource_key(resource)}"


def _element(resource: JsonObject, name: str) -> str:
    return write_json(resource[name]) if name in resource else "nothing"
