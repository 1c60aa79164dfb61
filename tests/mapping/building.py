"""Messages and resources for the tests of this room: invented people only."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fhir.resources.R4B.practitioner import Practitioner
from fhir.resources.R4B.practitionerrole import PractitionerRole

from hl7bridge.hl7.message import Message
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.model import ElementValue, Finding, Record, Severity, StaffChange, Translation

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
KEY_SYSTEM = "urn:uuid:6f1c1f2e-0000-4000-8000-000000000001"
RULES = FeedRules(KEY_SYSTEM)
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"

VERSIONS = ("2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9")


def msh(version: str = "2.5.1", event: str = "MFN^M02", time: str = "20260318113000+0000") -> str:
    return f"MSH|^~\\&|HR|NORTH|BRIDGE|FHIR|{time}||{event}|C1|P|{version}||||||UNICODE UTF-8"


MFI = "MFI|PRA^Practitioner^HL70175||UPD|||AL"


def message(*segments: str, version: str = "2.5.1", event: str = "MFN^M02", time: str = "20260318113000+0000") -> bytes:
    """MSH, MFI (unless one is given), and the segments."""
    lines = [msh(version, event, time)]
    if not any(segment.startswith("MFI") for segment in segments):
        lines.append(MFI)
    return ("\r".join([*lines, *segments]) + "\r").encode()


def segment(name: str, **fields: str) -> str:
    """`segment("STF", f1="K1", f3="Rossi^Ada")`: a segment with those fields."""
    numbers = {int(field[1:]): text for field, text in fields.items()}
    return "|".join([name, *(numbers.get(number, "") for number in range(1, max(numbers, default=0) + 1))])


def stf(key: str = "K1", name: str = "Rossi^Ada", **fields: str) -> str:
    return segment("STF", **{"f1": key, "f3": name, **fields})


def mfe(event: str = "MAD", key: str = "K1", time: str = "") -> str:
    return f"MFE|{event}|R1|{time}|{key}|CWE"


def translate(raw: bytes, rules: FeedRules = RULES, now: datetime = NOW) -> Translation:
    return staff.translate(Message(raw), rules, now)


def one(
    *segments: str, event: str = "MAD", key: str = "K1", rules: FeedRules = RULES, version: str = "2.5.1"
) -> Record:
    """The record of a message with one MFE."""
    (record,) = translate(message(mfe(event, key), *segments, version=version), rules).records
    return record


def change_of(record: Record) -> StaffChange:
    assert record.change is not None, record.findings
    return record.change


def staff_change(
    *segments: str, event: str = "MAD", rules: FeedRules = RULES, version: str = "2.5.1", **fields: str
) -> StaffChange:
    """The change of a record: an STF with these fields, then the segments."""
    return change_of(one(stf(**fields), *segments, event=event, rules=rules, version=version))


def values(source: StaffChange | tuple[ElementValue, ...], element: str) -> list[Any]:
    """The values of one element: of the Practitioner, or of a role's values."""
    found = source.practitioner if isinstance(source, StaffChange) else source
    return [value.value for value in found if value.element == element]


def said(record: Record | Translation, severity: Severity | None = None) -> list[str]:
    """`local@place` of each finding."""
    return [
        f"{finding.local}@{finding.location}"
        for finding in record.findings
        if severity is None or finding.severity is severity
    ]


def errors(record: Record) -> list[Finding]:
    return [finding for finding in record.findings if finding.severity is Severity.ERROR]


SINGLE = {"gender", "birthDate", "organization", "period"}


def assemble(resource_type: str, found: tuple[ElementValue, ...]) -> dict[str, Any]:
    """A resource of element values: single ones set, the others collected."""
    resource: dict[str, Any] = {"resourceType": resource_type}
    for value in found:
        if value.element in SINGLE:
            assert value.element not in resource, f"{value.element} is said twice"
            resource[value.element] = value.value
        else:
            resource.setdefault(value.element, []).append(value.value)
    return resource


def check_resources(change: StaffChange) -> int:
    """Validate what would come of a change with fhir.resources and by hand; the number of resources."""
    person = assemble("Practitioner", change.practitioner)
    person["identifier"] = [
        {"system": identifier.system, "value": identifier.value, **identifier.extra}
        for identifier in change.identifiers
        if identifier.system
    ]
    resources = [person]
    for values_of_role in [role.values for role in change.roles] + [change.shared_role]:
        resources.append(assemble("PractitionerRole", values_of_role))
    for resource in resources:
        check_json(resource)
        model = Practitioner if resource["resourceType"] == "Practitioner" else PractitionerRole
        model.model_validate(resource)
        for telecom in resource.get("telecom", []):
            assert telecom["system"]
            assert telecom["value"]
        for qualification in resource.get("qualification", []):
            assert qualification["code"]
        for absence in resource.get("notAvailable", []):
            assert absence["description"]
    keys = [role.key for role in change.roles]
    assert len(set(keys)) == len(keys)
    for value in (*change.practitioner, *change.shared_role, *(v for role in change.roles for v in role.values)):
        assert value.provenance.fields
        assert value.rule
    assert StaffChange.from_json(change.to_json()) == change
    return len(resources)


def check_json(value: Any) -> None:
    """R4 ele-1 and the string type: nothing empty, no null, no control characters, no blanks around."""
    if isinstance(value, dict):
        assert value, "an empty object"
        for key, item in value.items():
            assert item is not None, key
            check_json(item)
        if "start" in value and "end" in value:
            length = min(len(value["start"]), len(value["end"]), 10)
            assert value["start"][:length] <= value["end"][:length]
    elif isinstance(value, list):
        assert value, "an empty list"
        for item in value:
            check_json(item)
    elif isinstance(value, str):
        assert value.strip() == value != ""
        assert all(character >= " " or character in "\t\n\r" for character in value)
