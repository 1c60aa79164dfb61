"""What no rule reads is never passed over under a plain AA, where it could name another person, event or state."""

from __future__ import annotations

import pytest

from hl7bridge.errors import UnreadableMessage
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import Severity
from tests.mapping.building import KEY_SYSTEM, MFI, change_of, errors, message, mfe, msh, one, said, stf, translate
from tests.mapping.test_personnel import pmu

LEAVER = ("MFE|MDC|R2||K2|CWE", "STF|K2||Bianchi^Eva")


def refused(raw: bytes, rules: FeedRules | None = None) -> str:
    with pytest.raises(UnreadableMessage) as caught:
        translate(raw, rules) if rules else translate(raw)
    finding = caught.value.finding
    return f"{finding.local}@{finding.location}"


# --- master files: the opening ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segments", "finding"),
    [
        ([MFI, "MFI|LOC||UPD"], "segment-repeats@MFI"),
        ([MFI, mfe(), stf(), "MFI|LOC||REP"], "segment-repeats@MFI"),
        ([MFI, mfe(), stf(), "MSH |^~\\&|HR"], "segment-repeats@MSH"),
        ([MFI, stf(), mfe("MDC")], "segment-order@STF"),
        ([MFI, "PRA|K1||RN"], "segment-order@PRA"),
        ([MFI, "MFF|MAD|R1||K0|CWE"], "segment-order@MFF"),
        ([MFI, "mfe|MAD|R1||K0|CWE"], "segment-unreadable@MFI"),
        ([MFI, "a line of text"], "segment-unreadable@MFI"),
        (["MFI|STF~LOC||UPD|||AL"], "field-repeats@MFI-1"),
        (["MFI|STF||UPD~REP|||AL"], "field-repeats@MFI-3"),
        (["EVN|B06|20260101", MFI], "event-conflict@EVN"),
        (["EVN||20260101|20270101", MFI], "event-conflict@EVN"),
        (["EVN||20260101", "EVN||20260101", MFI], "segment-repeats@EVN"),
        ([MFI, mfe(), stf(), "EVN|B06|20260101"], "event-conflict@EVN"),
    ],
)
def test_an_opening_that_says_two_things_refuses_the_message(segments: list[str], finding: str) -> None:
    raw = ("\r".join([msh(), *segments, mfe("MAD", "K1"), stf(), *LEAVER]) + "\r").encode()
    assert refused(raw) == finding


@pytest.mark.parametrize(
    "segment", ["SFT|X", "UAC|Y", "NTE|1||by night", "ZMF|1|2", "EVN|M02|20260101", "EVN||20260101", "MFI|STF~STF||UPD"]
)
def test_an_opening_that_says_one_thing_is_read(segment: str) -> None:
    segments = [segment] if segment.startswith("MFI") else [MFI, segment]
    raw = ("\r".join([msh(), *segments, mfe(), stf(), *LEAVER]) + "\r").encode()
    assert [record.failed for record in translate(raw).records] == [False, False]


# --- master files: the record ----------------------------------------------------------------------------------------

ODD = [
    ("STF|K2||Bianchi^Eva", "segment-repeats@STF"),
    ("STF |K2||Bianchi^Eva", "segment-repeats@STF"),
    ("stf|K2||Bianchi^Eva", "segment-unreadable@STF"),
    ("ST F|K2||Bianchi^Eva", "segment-unreadable@STF"),
    ("S|K2||Bianchi^Eva", "segment-unreadable@STF"),
    ("STFF|K2||Bianchi^Eva", "segment-unreadable@STF"),
    ("|K2||Bianchi^Eva", "segment-unreadable@STF"),
    ("SFT|K2||Bianchi^Eva", "segment-foreign@SFT"),
    ("mfe|MDC|R2||K2", "segment-unreadable@STF"),
    ("MF|MDC|R2||K2", "segment-unreadable@STF"),
    ("MFE^MDC^R2^^K2", "segment-unreadable@STF"),
    ("MFEMDC|R2||K2", "segment-unreadable@STF"),
    ("MFF|MDC|R2||K2", "segment-foreign@MFF"),
    ("MFA|MDC|R2||K2", "segment-foreign@MFA"),
    ("PRD|PS|1234567890^Bianchi^Eva", "segment-foreign@PRD"),
    ("ROL|1|AD|PP|7^Bianchi^Eva", "segment-foreign@ROL"),
    ("NK1|1|Rossi^Leo", "segment-foreign@NK1"),
    ("ADD|more", "segment-foreign@ADD"),
    ("the second line of a note", "segment-unreadable@STF"),
]


@pytest.mark.parametrize(("line", "finding"), ODD, ids=[line for line, _ in ODD])
@pytest.mark.parametrize("event", ["MAD", "MDC"])
def test_a_line_that_no_rule_reads_fails_its_record_and_no_other(event: str, line: str, finding: str) -> None:
    first, second = translate(message(mfe(event), stf(), line, *LEAVER)).records
    assert said(first, Severity.ERROR) == [finding]
    assert first.change is None
    assert change_of(second).source_key == "K2"


@pytest.mark.parametrize(("line", "_"), ODD, ids=[line for line, _ in ODD])
def test_nor_is_it_passed_over_in_a_personnel_message(line: str, _: str) -> None:
    if line.startswith(("ROL", "NK1")):
        return  # PMU has these segments: relatives, and others in their part of the event
    (record,) = translate(pmu("B02", stf(), line)).records
    assert [f.code for f in errors(record)] == ["100"]


@pytest.mark.parametrize("line", ["ZST|K2|x", "PRA|K1||RN", "NTE|1||K2 has left", "LAN|1|fr", " \t", "DSC|next|F"])
def test_what_belongs_to_a_record_is_taken(line: str) -> None:
    first, _ = translate(message(mfe(), stf(), line, *LEAVER)).records
    assert not first.failed


def test_a_segment_that_the_sites_map_names_belongs_to_its_records() -> None:
    rules = FeedRules(KEY_SYSTEM, fields={"PRD-1": {"drop": "a sender's own use of PRD"}})
    assert not one(stf(), "PRD|PS", rules=rules).failed
    assert one(stf(), "PRD|PS").failed


@pytest.mark.parametrize(
    ("entry", "finding"),
    [
        ("MFE|MAD~MDC|R1||K1|CWE", "field-repeats@MFE-1"),
        ("MFE|MAD|R1||K1~K2|CWE", "key-unreadable@MFE-4"),
        ("MFE|MAD|R1||~K1~K2|CWE", "key-unreadable@MFE-4"),
        ("MFE|MAD|R1||K1|CWE|||MDC", "segment-glued@MFE"),
        ("MFE|MAD|R1||K1|CWESTF|K1|", "segment-glued@MFE"),
    ],
)
def test_an_entry_that_says_two_things_fails(entry: str, finding: str) -> None:
    record, leaver = translate(message(entry, stf(), *LEAVER)).records
    assert said(record) == [finding]
    assert not leaver.failed


@pytest.mark.parametrize("entry", ["MFE|MAD~MAD|R1||K1|CWE~CWE", "MFE|MAD|R1||K1|CWE|20260101|7^Clerk"])
def test_an_entry_that_says_one_thing_twice_is_read(entry: str) -> None:
    assert said(translate(message(entry, stf())).records[0]) == []


@pytest.mark.parametrize(
    "text",
    [
        "STF|K1||Rossi^Ada|||||MFE|MDC|R2||K2|CWE",
        "STF|K1||Rossi^Ada|||||^ICUMFE|MDC|R2||K2|CWE",
        "STF|K1||Rossi^Ada|||||^ICUPRA|K1||RN",
    ],
)
def test_an_end_of_a_segment_that_was_lost_fails_the_record(text: str) -> None:
    (record,) = translate(message(mfe(), text)).records
    assert said(record) == ["segment-glued@STF"]


@pytest.mark.parametrize("text", ["the MFE", "a quoted MFE\\F\\MDC\\F\\\\F\\\\F\\K2", "NORTHSTF"])
def test_words_that_look_like_a_segment_are_words(text: str) -> None:
    assert not one(stf(f18=text), f"NTE|1||{text}").failed


# --- personnel messages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segments", "evn", "finding"),
    [
        (["EVN|B06|20260101", stf()], "EVN||20260318", "segment-repeats@EVN"),
        ([stf(), "MFE|MDC|R2||K2"], "EVN||20260318", "segment-foreign@MFE"),
        (["MFI|STF||UPD", stf()], "EVN||20260318", "segment-foreign@MFI"),
        ([stf()], "EVN|B06|20260318", "event-conflict@EVN-1"),
        ([stf()], "EVN|B01~B06|20260318", "field-repeats@EVN-1"),
    ],
)
def test_a_personnel_message_that_says_two_things_is_refused(segments: list[str], evn: str, finding: str) -> None:
    assert refused(pmu("B01", *segments, evn=evn)) == finding


@pytest.mark.parametrize("event", ["B01", "B06"])
def test_a_second_person_in_a_personnel_message_fails_it(event: str) -> None:
    (record,) = translate(pmu(event, stf(), stf("K2", "Bianchi^Eva"))).records
    assert said(record, Severity.ERROR) == ["segment-repeats@STF"]
