"""Whatever text stands in a field, a frame has as many answers, records and people as with plain words there."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.store.store import NewMessage
from tests.examples import examples

NOW = 1_771_000_000.0
RULES = FeedRules("urn:uuid:2f9a7c1e-8d36-4f0b-9c55-1b7de2a40c11", authorities={"NORTH": "urn:oid:2.999.7"})
DESTINATIONS = {"fhir": FhirDestination(DestinationRules("fhir", "http://127.0.0.1/fhir", mode="write"))}


def intake(*takes: str) -> Intake:
    rules = FeedRules(RULES.key_system, authorities=RULES.authorities, takes=frozenset(takes))
    return Intake(FeedPolicy("feed", rules, DESTINATIONS), b"k" * 32, lambda: NOW)


STAFF, VISITS = intake("staff"), intake("staff", "adt")

MFN = """\
MSH|^~\\&|HR {t}|NORTH {t}|B {t}|N {t}|20260301080000+0000|{t}|MFN^M02^MFN_M02|C1|P|2.5.1||||||UNICODE UTF-8
NTE|1|{t}|opening {t}{last}
MFI|STF^Staff {t}^HL70175||UPD|||AL
MFE|MAD|1||K1|CWE
STF|K1||Orrel{t}^Ban {t}||F||A||||1 Road {t}^Ward {t}^Town^NY^10001^USA^B
NTE|1||note {t}{last}
ORG|1|Unit {t}|D^Department {t}^HL70474|Y
MFE|MDC|2||K2|CWE
STF|K2||Veldt^Ama||F||I
ZXX|{t}|any {t}{last}"""
PMU = """\
MSH|^~\\&|HR {t}|NORTH {t}|B {t}|N {t}|20260301080000+0000|{t}|PMU^B01^PMU_B01|C1|P|2.5.1||||||UNICODE UTF-8
EVN|B01|20260301080000+0000|||clerk^{t}
STF|K1||Orrel{t}^Ban {t}||F||A||||1 Road {t}^Ward {t}^Town^NY^10001^USA^B
NTE|1||note {t}{last}"""
ADT = """\
MSH|^~\\&|REG {t}|NORTH {t}|B {t}|N {t}|20260301080000+0000|{t}|ADT^A01|C1|P|2.5.1||||||UNICODE UTF-8
EVN|A01|20260301080000+0000|||clerk^{t}
PID|1||P4711^^^NORTH^MR||Canary{t}^Patient {t}||19500101|F|||1 Road {t}
PV1|1|I|{t}||||1234567893^Okonkwo {t}^Adaeze^^^Dr^MD^^^L^^^NPI
NTE|1||note {t}{last}"""

_WORDS = [
    "\nMSH",
    "\nMFE",
    "\nPID of a patient",
    "\nSTF",
    "\nBTS",
    "\nBHS",
    "\nPID#1##Canary",
    "\nMSH pending",
    "\n",
    "\x85",
    "seen",
]
_WRITTEN = [
    "\nMSH|^~\\&|X|Y|||20260304||MFN^M02|Q|P|2.5.1\nMFI|STF||UPD|||AL\nMFE|MDC|1||K1|CWE",
    "\nMFE|MDC|9||K1|CWE\nSTF|K1||Orrel^Ban||||I",
    "\nMFI|CDM||UPD|||AL",
    "\n STF|K9||Elsewhere^Someone",
    "\nPV1|1|I|||||1932002216^Elsewhere^Someone^^^^^^^L^^^NPI",
    "\nBTS|1",
    "\nFTS|1\n",
    "\nBHS|^~\\&|X\nMSH|^~\\&|X",
    "\nPID|1||P1^^^NORTH^MR||Canary^Patient",
    "\n\t PV1#1#I#Canary",
]
_ANY = st.text(st.characters(exclude_categories=("Cs", "Nd"), exclude_characters="\r\x0b\x1c|^~\\&@"), max_size=8)
TEXTS = st.lists(st.sampled_from(_WORDS) | _ANY, max_size=4).map("".join)
LAST = st.lists(st.sampled_from(_WORDS + _WRITTEN) | _ANY, max_size=3).map("".join)


def outcome(taken: Intake, body: bytes) -> tuple[int, list[int], list[int]]:
    """How many answers a frame has, and how many records and people each of its messages."""
    news = [prepared.new for prepared in taken.prepare(body, "peer") if prepared.new]
    for new in news:
        assert b"Canary" not in kept(new)
    answers = sum(len(new.acknowledgments) for new in news)
    people = [sum(record.record.change is not None for record in new.records) for new in news]
    return answers, [len(new.records) for new in news], people


def kept(new: NewMessage) -> bytes:
    """All that is stored of a message."""
    return (new.body or b"") + repr((new.records, new.header)).encode()


@pytest.mark.parametrize(
    ("taken", "written", "people"),
    [(STAFF, MFN, 2), (VISITS, MFN, 2), (STAFF, PMU, 1), (VISITS, ADT, 1)],
    ids=["MFN", "MFN beside ADT", "PMU", "ADT"],
)
@pytest.mark.parametrize("ending", ["\r", "\r\n"], ids=["CR", "CRLF"])
@settings(max_examples=examples(12), deadline=None)
@given(slots=st.sets(st.integers(0, 15), max_size=2), text=TEXTS, last=LAST)
def test_text_makes_no_answer_no_record_and_no_person(
    taken: Intake, written: str, people: int, ending: str, slots: set[int], text: str, last: str
) -> None:
    """In two fields at most, and at the end of the notes: more of it, or digits in a name, look like shifted fields."""

    def body(text: str, last: str) -> bytes:
        pieces = written.replace("\n", ending).replace("{last}", last).split("{t}")
        between = [text if slot in slots else "word" for slot in range(len(pieces) - 1)]
        return ("".join(itertools.chain(*zip(pieces, [*between, ending], strict=True)))).encode()

    plain = outcome(taken, body("word", "words"))
    assert plain == (1, [people], [people])
    assert outcome(taken, body(text, last)) == plain


def test_of_a_quoted_patient_nothing_is_kept_and_the_sender_is_told() -> None:
    note = "note\nPID|1||P1^^^NORTH^MR||Canary^Patient\nPV1|1|I"
    body = MFN.replace("\n", "\r").replace("{t}", "word").replace("{last}", "").encode()
    (prepared,) = STAFF.prepare(body.replace(b"note word", note.encode()), "peer")
    assert prepared.new
    assert prepared.new.body
    assert prepared.new.acknowledgments[0].body
    assert prepared.new.body == body.replace(b"note word", b"note")
    assert b"patient-text-left-out" in prepared.new.acknowledgments[0].body


def test_where_nobody_can_say_what_is_the_patients_the_message_is_refused_and_not_kept() -> None:
    body = MFN.replace("\n", "\r").replace("{t}", "").replace("{last}", "").encode()
    (prepared,) = STAFF.prepare(body.replace(b"Orrel^", b"Orrel\nPID|1||P1||Canary^"), "peer")
    assert prepared.new
    assert prepared.new.acknowledgments[0].code == "AE"
    assert prepared.new.note == "patient-segments"
    assert b"Canary" not in kept(prepared.new)


@pytest.mark.parametrize("ending", ["\r\n", "\r\n ", "\r", "\n"])
def test_a_segment_of_its_own_about_a_patient_is_no_text(ending: str) -> None:
    body = MFN.replace("{t}", "").replace("{last}", "") + "\nPID|1||P1||Canary"
    (prepared,) = STAFF.prepare(body.replace("\n", ending).encode(), "peer")
    assert prepared.new
    assert prepared.new.note == "patient-segments"
    assert b"Canary" not in kept(prepared.new)


@pytest.mark.parametrize("written", [MFN, PMU], ids=["MFN", "PMU"])
def test_what_looks_like_a_segment_behind_a_line_feed_is_told_in_err_and_kept_with_its_record(written: str) -> None:
    body = written.replace("\n", "\r").replace("{t}", "").replace("{last}", "\nMFE|MDC|9||K1|CWE").encode()
    (prepared,) = STAFF.prepare(body, "peer")
    assert prepared.new
    answer = prepared.new.acknowledgments[0].body or b""
    assert b"MSA|AA|" in answer
    assert answer.count(b"line-feed-in-text") == body.count(b"\nMFE|MDC|9")
    findings = [finding.local for record in prepared.new.records for finding in record.record.findings]
    assert findings.count("line-feed-in-text") == (2 if written is MFN else 1)
