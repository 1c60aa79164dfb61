"""Three published dialects, each read right with configuration alone (conf/ in this folder); skipped where the published
messages are not. What is expected is read from the message itself, field by field.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hl7bridge import config
from hl7bridge.assemble.mapping import feed_rules
from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import Explanation, explain
from hl7bridge.mapping.messages import staff
from hl7bridge.model import Severity, StaffChange
from tests.mapping.building import CORPUS, change_of, check_resources, values

SETTINGS = config.load(Path(__file__).parent, {})
KINGS = "renalware__M02-kings-isoft-v23.hl7"
NTIERPRISE = "hl7tools__M02-ntierprise-allscripts-v23.hl7"
SAP = "misc__M02-PORS-SAP-ISH-provider.hl7"
SAP_ORGANISATION = "misc__M02-PORS-SAP-ISH-organisation.hl7"


def read(feed: str, name: str) -> tuple[Message, Explanation]:
    path = CORPUS / "mfn" / name
    if not path.exists():
        pytest.skip(f"the published message {name} is not here")
    message = Message(path.read_bytes(), SETTINGS.feeds[feed].hl7.charset)
    found = explain(message, feed_rules(SETTINGS.feeds[feed]), datetime.now(UTC))
    assert found.valued == found.used + found.dropped + found.unused + found.unknown
    assert found.unmapped == ()
    return message, found


def the_change(found: Explanation) -> StaffChange:
    (record,) = found.translation.records
    assert not [finding for finding in record.findings if finding.severity is Severity.ERROR]
    change = change_of(record)
    check_resources(change)
    return change


def systems(change: StaffChange) -> dict[str, str]:
    return {identifier.system: identifier.value for identifier in change.identifiers}


def repetitions(message: Message, place: str, component: int) -> list[str]:
    segment, number = place.split("-")
    found = message.first(segment)
    assert found is not None
    return [(one.split("^") + [""] * 6)[component - 1] for one in found.raw(int(number)).split("~")]


def name_of(message: Message) -> dict[str, Any]:
    family, given, middle, suffix, prefix = (message.read(f"STF-3.{number}") for number in range(1, 6))
    name: dict[str, Any] = {"use": "official", "family": family, "given": [part for part in (given, middle) if part]}
    name |= {"prefix": [prefix]} if prefix else {}
    return name | ({"suffix": [suffix]} if suffix else {})


def test_kings() -> None:
    message, found = read("kings", KINGS)
    change = the_change(found)
    main, directorate, gmc = repetitions(message, "STF-2", 1)
    assert change.source_key == message.read("MFE-4.1")
    assert systems(change) == {
        SETTINGS.feeds["kings"].hl7.key_system: message.read("MFE-4.1"),
        "https://kings.example.org/main-code": main,
        "https://kings.example.org/directorate": directorate,
        "https://fhir.hl7.org.uk/Id/gmc-number": gmc,
        "https://kings.example.org/pims": message.read("PRA-1"),
    }
    assert values(change, "name") == [name_of(message)]
    assert values(change, "gender") == ["unknown"]
    assert change.active is True
    assert values(change, "telecom") == [{"system": "phone", "value": message.read("STF-10.1")}]
    (address,) = values(change, "address")
    assert address == {
        "use": "work",
        "line": [message.read("STF-11.1"), message.read("STF-11.2")],
        "city": message.read("STF-11.3"),
        "postalCode": message.read("STF-11.5"),
        "country": message.read("STF-11.6"),
    }
    assert len(change.roles) == 2
    for role, department in zip(change.roles, repetitions(message, "STF-8", 1), strict=True):
        (organization,) = values(role.values, "organization")
        assert organization["identifier"] == {"system": "https://kings.example.org/department", "value": department}
        (code,) = values(role.values, "code")
        assert code["coding"][0] == {
            "system": "https://kings.example.org/staff-type",
            "code": message.read("STF-4"),
            "display": "Consultant",
        }
        specialties = values(role.values, "specialty")
        assert specialties[0]["coding"][0]["code"] == repetitions(message, "PRA-5", 1)[0]
        assert len(specialties) == len(repetitions(message, "PRA-5", 1))
        (period,) = values(role.values, "period")
        day = message.read("STF-12")
        assert period["start"].startswith(f"{day[:4]}-{day[4:6]}-{day[6:8]}")


def test_ntierprise() -> None:
    message, found = read("ntierprise", NTIERPRISE)
    change = the_change(found)
    assert systems(change) == {
        SETTINGS.feeds["ntierprise"].hl7.key_system: message.read("STF-1"),
        "https://ntierprise.example.org/upin": message.read("PRA-6.1"),
    }
    assert values(change, "name") == [name_of(message)]
    assert (values(change, "gender"), change.active) == (["male"], True)
    assert values(change, "birthDate")[0].replace("-", "") == message.read("STF-6")
    phone, email = values(change, "telecom")
    assert (phone["system"], phone["value"]) == ("phone", f"{message.read('STF-10.6')} {message.read('STF-10.7')}")
    assert (email["system"], email["value"]) == ("email", message.read("STF-10.4"))
    (address,) = values(change, "address")
    assert address == {
        "line": [message.read("STF-11.1")],
        "city": message.read("STF-11.3"),
        "state": message.read("STF-11.4"),
        "postalCode": message.read("STF-11.5"),
    }
    (code,) = values(change.shared_role, "code")
    assert code["coding"][0]["code"] == message.read("STF-4")
    assert found.findings == ()


def test_sap() -> None:
    message, found = read("sap", SAP)
    change = the_change(found)
    assert systems(change) == {
        SETTINGS.feeds["sap"].hl7.key_system: message.read("MFE-4"),
        "https://fhir.kbv.de/NamingSystem/KBV_NS_Base_ANR": message.read("STF-2"),
    }
    assert values(change, "name") == [name_of(message)]
    assert (values(change, "gender"), change.active) == (["male"], True)
    assert values(change, "birthDate")[0].replace("-", "") == message.read("STF-6")
    assert [(point["system"], point["value"]) for point in values(change, "telecom")] == [
        (kind, message.read(f"STF-10.{component}")) for component, kind in enumerate(("phone", "fax", "email"), 1)
    ]
    (address,) = values(change, "address")
    assert address["line"] == [message.read("STF-11.1.1"), message.read("STF-11.2")]
    assert (address["city"], address["country"]) == (message.read("STF-11.3"), message.read("STF-11.6"))
    (role,) = change.roles
    (organization,) = values(role.values, "organization")
    oid, code = message.read("STF-9.4"), message.read("STF-9.1")
    assert organization["identifier"] == {"system": f"urn:oid:{oid}", "value": code}
    assert values(role.values, "specialty") == [{"text": "Innere Medizin"}]
    (period,) = values(role.values, "period")
    assert period["start"].replace("-", "") == message.read("STF-12")
    assert message.read("STF-13") < message.read("STF-12")  # an end before the start: declared to be none
    assert found.findings == ()


def test_the_sap_file_of_organisations_makes_nobody() -> None:
    _, found = read("sap", SAP_ORGANISATION)
    (record,) = found.translation.records
    assert (record.change, record.failed) == (None, False)
    assert [finding.local for finding in record.findings] == ["not-a-practitioner"]


@pytest.mark.parametrize("name", [KINGS, SAP, SAP_ORGANISATION])
def test_without_its_map_each_reads_otherwise(name: str) -> None:
    """The map is what does it: by the standard alone these are refused, or give somebody else."""
    path = CORPUS / "mfn" / name
    if not path.exists():
        pytest.skip(f"the published message {name} is not here")
    rules = feed_rules(SETTINGS.feeds["kings" if name == KINGS else "sap"].model_copy(update={"map": ""}))
    bare = type(rules)(rules.key_system, timezone=rules.timezone)
    (record,) = staff.translate(Message(path.read_bytes(), "utf-8"), bare, datetime.now(UTC)).records
    said = {finding.local for finding in record.findings}
    assert record.failed or record.change is not None
    assert said & {"key-mismatch", "shifted-field", "unmapped-authority", "unmapped-code", "end-before-start"}


@pytest.mark.parametrize("feed", ["kings", "ntierprise", "sap"])
def test_any_published_message_under_any_map_is_read_or_refused(feed: str) -> None:
    """A map never makes the reader fail, and no field goes unaccounted for."""
    paths = [path for kind in ("mfn", "pmu") for path in sorted((CORPUS / kind).glob("*.hl7"))]
    if not paths:
        pytest.skip("the published messages are not here")
    rules, read_at_all = feed_rules(SETTINGS.feeds[feed]), 0
    for path in paths:
        try:
            found = explain(Message(path.read_bytes(), ("utf-8", "cp1252")), rules, datetime.now(UTC))
        except MessageError:
            continue
        read_at_all += 1
        assert found.valued == found.used + found.dropped + found.unused + found.unknown, path.name
    assert read_at_all > 30
