"""Published messages of others (see ../shared/corpus/README.md): each gives records or a refusal, never anything else."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from hl7bridge.errors import MessageError, UnreadableMessage
from hl7bridge.hl7 import batch
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import explain
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff, visits
from tests.mapping import corpus_golden
from tests.mapping.building import CORPUS, KEY_SYSTEM, NOW, RULES, check_resources
from tests.mapping.corpus_golden import CHARSETS

FILES = corpus_golden.files()
STAFF_MESSAGES = dict(corpus_golden.staff_messages())
GOLDEN = corpus_golden.read()
VISITS = FeedRules(KEY_SYSTEM, takes=frozenset({"staff", "adt"}))

# By file: what each record gives (S success, U with its error), or why the message is refused.
EXPECTED = {
    "hapi__M02-v26-MFE-only-1": "100 MFI",
    "hapi__M02-v26-MFE-only-2": "100 MFI",
    "hl7-v2ig__M02-v27-henry-seven-1": "S add",
    "hl7-v2ig__M02-v27-henry-seven-2": "S update",
    "hl7-v2ig__M02-v29-hippocrates-gsp-aff-lan-edu": "S add",
    "hl7-v2ig__web-M02-20250228": "S add",
    "hl7tools__M02-ntierprise-allscripts-v23": "S add",
    "misc__M01-cn-HRP-department-empty-key": "201 MFI-1",
    "misc__M01-cn-department-Z01": "201 MFI-1",
    "misc__M01-va-ib-site-parameters": "201 MFI-1",
    "misc__M01-vista-chcs-ZLF": "100 MFI",
    "misc__M02-ORG-only": "U 100 STF",
    "misc__M02-PORS-SAP-ISH-organisation": "U 102 STF-1.1",
    "misc__M02-PORS-SAP-ISH-provider": "S add",
    "misc__M02-PRD-instead-of-STF": "U 100 STF",
    "misc__M02-fhir-mapper-staff001": "S add",
    "misc__M02-fr-LCH": "U 100 STF",
    "misc__M02-fr-LCH-LCC-LCD": "U 100 STF",
    "misc__M02-machete-125-provider-dir": "S add",
    "misc__M02-machete-208-minimal-v23": "100 MFI",
    "misc__M02-memhosp-shifted-STF": "U 103 STF-7",
    "misc__M02-no-MFI-MFE-1": "100 MFE",
    "misc__M02-no-MFI-MFE-2": "100 MFE",
    "misc__M02-pt-examples-v24": "U 102 STF",
    "misc__M02-spec24-kildare": "S add",
    "pacsbridge__M01-MDL-no-STF": "S remove",
    "pacsbridge__M01-MUP": "S update",
    "pacsbridge__M01-missing-MFE": "100 MFE",
    "pacsbridge__M01-missing-MFI": "100 MFI",
    "pacsbridge__M01-staff-STF-PRA": "S add",
    "pacsbridge__M02-practitioner-ORG": "S add",
    "pas__M02-MAD-happy": "S add",
    "pas__M02-MFE-MRP-unknown": "U 103 MFE-1",
    "pas__M02-MFE-without-STF": "U 100 STF, S add",
    "pas__M02-MFI-LOC-mismatch": "S add",
    "pas__M02-empty-family-name": "U 101 STF-3.1",
    "pas__M02-missing-MFE-4": "S add",
    "pas__M02-three-entries-MAD-MUP-MDL": "S add, S update, S remove",
    "renalware__M02-kings-isoft-v23": "U 102 PRA-1.1",
}

PERSONNEL = {
    "tshl7__B01-v251-hippocrates-full": "U 100 PID",
    "tshl7__B01-v251-reduced-no-EVN": "U 101 STF-3.1",
}

pytestmark = pytest.mark.skipif(not FILES, reason=f"no corpus of published messages at {CORPUS}")


def result(path: Path) -> str:
    try:
        translation = staff.translate(Message(path.read_bytes(), CHARSETS), RULES, NOW)
    except MessageError as error:
        return f"{error.finding.code} {error.finding.location}"
    found = []
    for record in translation.records:
        error_found = next((finding for finding in record.findings if finding.severity.value == "E"), None)
        if error_found is not None:
            found.append(f"U {error_found.code} {error_found.location}")
            assert record.change is None
        else:
            assert record.change is not None
            found.append(f"S {record.change.action.value}")
            check_resources(record.change)
    return ", ".join(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_file_gives_records_or_a_refusal(path: Path) -> None:
    found = result(path)
    if path.parent.name == "mfn":
        # Of the master files, all but staff are refused by their event.
        assert found == EXPECTED.get(path.stem, "201 MSH-9.2")
    elif path.parent.name == "pmu":
        assert found == PERSONNEL.get(path.stem, "S add")
    elif path.parent.name == "adt":
        assert found == "201 MSH-9.2"


@pytest.mark.parametrize("name", list(GOLDEN))
def test_each_staff_message_gives_what_its_golden_entry_says(name: str) -> None:
    """Reviewed field by field against the message; `python -m tests.mapping.corpus_golden` shows what differs."""
    assert corpus_golden.made_of(STAFF_MESSAGES[name]) == GOLDEN[name]


def test_every_staff_message_has_its_golden_entry() -> None:
    assert list(STAFF_MESSAGES) == list(GOLDEN)


def test_the_golden_file_reads_as_it_was_written() -> None:
    assert tomllib.loads(corpus_golden.text_of(GOLDEN)) == GOLDEN
    # A shortened digest says nothing of a text, and is the only value here that comes of one.
    assert {len(record.get("digest", "-" * 32)) for one in GOLDEN.values() for record in one.get("record", [])} == {32}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_field_is_accounted_for(path: Path) -> None:
    """No silent drop: of every message that is read, each field is used, dropped or unused with its reason, or of a
    segment that is named as unknown. Patient messages are read as on a feed that takes them."""
    for part in batch.split(path.read_bytes()).messages:
        try:
            message = Message(part, CHARSETS)
            found = explain(message, VISITS, NOW)
        except MessageError:
            continue
        assert found.valued == found.used + found.dropped + found.unused + found.unknown > 0
        valued = Counter(
            segment.name
            for segment in message.segments
            for number in range(1, segment.fields + 1)
            if segment.raw(number)
        )
        assert found.valued == valued.total()
        assert found.dropped == sum(left.dropped for left in found.left)
        assert found.unused == sum(not left.dropped for left in found.left)
        assert found.unknown == sum(segment.fields for segment in found.segments)
        assert all(left.reason for left in found.left)
        named = {row.field[:3] for row in found.rows} | {left.field.partition("-")[0] for left in found.left}
        read_along = {
            "EVN",
            "PV1",
            "PD1",
            "ROL",
            "PRT",
        }  # where nobody certain stands, a place that was read gives no row
        assert set(valued) <= named | {segment.name for segment in found.segments} | read_along
        assert found.translation == staff.translate(message, VISITS, NOW)


def test_practitioners_of_patient_messages_are_valid_resources() -> None:
    """Every namespace and type that a physician is given in the corpus is taken as known, so that as many as can be are."""
    found = 0
    for path in (path for path in FILES if path.parent.name == "adt"):
        for part in batch.split(path.read_bytes()).messages:
            try:
                message = Message(part, CHARSETS)
                translation = staff.translate(message, visits_with_authorities(message), NOW)
            except MessageError:
                continue
            for record in translation.records:
                assert not record.failed
                if record.change is not None:
                    assert record.change.only_if_missing
                    found += check_resources(record.change)
    assert found > 20


def visits_with_authorities(message: Message) -> FeedRules:
    """Rules that know whatever stands in the component of an assigning authority (XCN.9)."""
    authorities = {}
    for segment in message.segments:
        for number in visits.PLACES.get(segment.name, {}):
            for repetition in segment.raw(number).split("~"):
                authority = [*repetition.split("^"), *[""] * 9][8].split("&")[0]
                if authority:
                    authorities[authority] = f"urn:oid:2.999.{len(authorities)}"
    return FeedRules(KEY_SYSTEM, authorities=authorities, takes=frozenset({"staff", "adt"}))


def test_every_expectation_has_its_file() -> None:
    assert set(EXPECTED) <= {path.stem for path in FILES}
    with pytest.raises(UnreadableMessage):
        Message(b"")
