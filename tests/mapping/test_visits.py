"""Practitioners in patient messages: who is read of which field, who is nobody, and what is stored of the message."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.errors import MessageError, UnsupportedMessage
from hl7bridge.hl7.header import read_header
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import explain
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff, visits
from hl7bridge.model import Action, Record, StaffChange
from tests.mapping.building import CORPUS, KEY_SYSTEM, segment

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
NPI = "http://hl7.org/fhir/sid/us-npi"
NORTH = "urn:oid:2.999.7"
RULES = FeedRules(KEY_SYSTEM, authorities={"NORTH": NORTH}, takes=frozenset({"staff", "adt"}))
ADA = "1234567893^Okonkwo^Adaeze^^^Dr^MD^^^L^^^NPI"
RUNA = "H77^Halloway^Runa^^^^^^NORTH"
PATIENT = "PID|1||P4711^^^NORTH^MR||Canary^Patient||19500101|F"


def adt(*segments: str, event: str = "A01", version: str = "2.5.1", charset: str = "UNICODE UTF-8") -> bytes:
    header = f"MSH|^~\\&|REG|NORTH|BRIDGE|FHIR|20260318113000+0000|canary|ADT^{event}|C1|P|{version}||||||{charset}"
    return ("\r".join([header, f"EVN|{event}|20260318113000||X|clerk^canary", PATIENT, *segments]) + "\r").encode()


def pv1(**fields: str) -> str:
    return segment("PV1", f2="I", f3="canary^canary", **fields)


def read(raw: bytes, rules: FeedRules = RULES) -> tuple[Record, ...]:
    return staff.translate(Message(raw), rules, NOW).records


def people(raw: bytes, rules: FeedRules = RULES) -> list[str]:
    return [record.change.source_key for record in read(raw, rules) if record.change]


def only(raw: bytes) -> StaffChange:
    (record,) = read(raw)
    assert record.change is not None
    return record.change


# --- whom an earlier message named -----------------------------------------------------------------------------------

NAMING = [
    (PATIENT, pv1(f7=ADA)),
    (PATIENT, pv1(f7=RUNA)),
    (PATIENT, pv1(f7=ADA, f9=RUNA)),
    (PATIENT, pv1(f9=f"{ADA}~{RUNA}", f17=ADA)),
    (PATIENT, pv1(f7=f"{ADA}~H78^Okonkwo^Adaeze^^^^MD^^NORTH")),
    (PATIENT, pv1(f7=f"{ADA}~H77")),
    (PATIENT, pv1(f7="P4711^Canary^Patient^^^^^^NORTH")),
    (PATIENT, pv1(f7="H77^Halloway^Runa^^^^^^ELSEWHERE")),
    (PATIENT, pv1(f7="H77^Halloway^Runa^^^^^^NORTH^^^^MR")),
    (PATIENT, pv1(f7=f"{RUNA}~P4711^^^^^^^^NORTH")),
    (PATIENT, segment("PD1", f4=RUNA)),
    (PATIENT, pv1(f7=ADA), segment("ROL", f1="1", f2="AD", f3="AT", f4=RUNA)),
    (PATIENT, pv1(f7=ADA), segment("ROL", f1="1", f2="DE", f3="AT", f4=RUNA)),
    (PATIENT, pv1()),
    ("PID|1||H77^^^NORTH^MR", pv1(f7=RUNA)),
    ("PID|1||H77^^^NORTH^MR", pv1(f7=ADA, f9=RUNA)),
    ("PID|1||P4711^^^NORTH^MR|1234567893", pv1(f7=ADA)),
    (PATIENT, pv1(f7=ADA, f19="1234567893")),
    (PATIENT, pv1(f7="H77&x^Halloway^Runa^^^^^^NORTH")),
]


def test_whoever_is_told_by_an_earlier_message_is_who_the_message_names() -> None:
    """Of any two messages, the second names the same people whether or not the first was read."""

    def opened(parts: tuple[str, ...], rules: FeedRules) -> visits.VisitMessage:
        patient, *others = parts
        return visits.VisitMessage(Message(adt(*others).replace(PATIENT.encode(), patient.encode())), rules, NOW)

    told = 0
    for first in NAMING:
        rules = FeedRules(KEY_SYSTEM, authorities={"NORTH": NORTH})  # nothing was read under these
        before = tuple(opened(first, rules).records())
        for second in NAMING:
            keys = opened(second, rules).named_before()
            fresh = FeedRules(KEY_SYSTEM, authorities={"NORTH": NORTH})
            named = tuple(record.change.source_key for record in opened(second, fresh).records() if record.change)
            assert keys in ((), named)
            told += bool(keys)
            if first == second and keys:
                assert keys == tuple(record.change.source_key for record in before if record.change)
    assert told >= 8


def test_whom_a_patients_own_number_names_is_not_told_by_an_earlier_message() -> None:
    rules = FeedRules(KEY_SYSTEM, authorities={"NORTH": NORTH})

    def opened(patient: str) -> visits.VisitMessage:
        raw = adt(pv1(f7=RUNA)).replace(PATIENT.encode(), patient.encode())
        return visits.VisitMessage(Message(raw), rules, NOW)

    assert [record.change for record in opened(PATIENT).records()]
    assert opened(PATIENT).named_before() == (f"{NORTH}|H77",)
    assert opened("PID|1||H77^^^NORTH^MR").named_before() == ()
    assert not list(opened("PID|1||H77^^^NORTH^MR").records())


def test_many_or_long_fields_leave_nothing_behind() -> None:
    rules = FeedRules(KEY_SYSTEM, authorities={"NORTH": NORTH})
    long = visits.VisitMessage(Message(adt(pv1(f7=RUNA, f9="~".join([ADA] * 40)))), rules, NOW)
    assert len(list(long.records())) == 2
    assert long.named_before() == ()


# --- who is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("degree", "codes"),
    [
        ("MD", ["MD"]),
        ("M.D.", ["MD"]),
        ("MD&x", ["MD"]),
        ("PharmD", ["PharmD"]),
        ("FACP", []),
        ("", []),
        ('""', []),
    ],
)
def test_a_degree_of_table_0360_is_a_qualification_too(degree: str, codes: list[str]) -> None:
    change = only(adt(pv1(f7=f"1234567893^Okonkwo^Adaeze^^^^{degree}^^^L^^^NPI")))
    found = [value for value in change.practitioner if value.element == "qualification"]
    system = "http://terminology.hl7.org/CodeSystem/v2-0360"
    assert [value.value for value in found] == [
        {"code": {"coding": [{"system": system, "code": code}]}} for code in codes
    ]
    assert {value.provenance.text for value in found} <= {"PV1-7"}


def test_one_degree_of_two_repetitions_is_said_once() -> None:
    change = only(adt(pv1(f7=f"{ADA}~H77^Okonkwo^Adaeze^^^^MD^^NORTH~H78^Okonkwo^Adaeze^^^^DO^^NORTH")))
    found = [
        value.value["code"]["coding"][0]["code"] for value in change.practitioner if value.element == "qualification"
    ]
    assert found == ["MD", "DO"]


def test_a_mention_creates_and_says_nothing_else() -> None:
    change = only(adt(pv1(f7=ADA)))
    assert (change.action, change.only_if_missing, change.active) == (Action.ADD, True, None)
    assert (change.source_key, change.roles, change.cleared) == (f"{NPI}|1234567893", (), ())
    assert change.practitioner[0].value == {
        "use": "official", "family": "Okonkwo", "given": ["Adaeze"], "prefix": ["Dr"], "suffix": ["MD"],
    }  # fmt: skip
    assert change.identifiers[0].provenance.text == "PV1-7"
    assert (change.kind, change.overtakes("mention"), change.overtakes("add")) == ("mention", True, False)
    assert StaffChange.from_json(change.to_json()) == change


@pytest.mark.parametrize(
    "line",
    [
        *(segment("PV1", **{f"f{number}": ADA}) for number in (7, 8, 9, 17, 52)),
        segment("PD1", f4=ADA),
        segment("ROL", f1="1", f2="AD", f3="AT", f4=ADA),
        segment("PRT", f1="1", f2="AD", f4="AT", f5=ADA),
    ],
    ids=["PV1-7", "PV1-8", "PV1-9", "PV1-17", "PV1-52", "PD1-4", "ROL-4", "PRT-5"],
)
def test_each_place_where_practitioners_stand(line: str) -> None:
    assert people(adt(line)) == [f"{NPI}|1234567893"]


@pytest.mark.parametrize("line", [segment("PV1", f10=ADA), segment("NK1", f2=ADA), segment("PV2", f13=ADA)])
def test_other_places_are_not_read(line: str) -> None:
    assert people(adt(line)) == []


def test_one_person_named_often_is_one_record() -> None:
    found = read(adt(pv1(f7=ADA, f9=f"{RUNA}~{ADA}"), segment("ROL", f2="AD", f4=ADA), segment("PD1", f4=RUNA)))
    assert [r.change.source_key for r in found if r.change] == [f"{NPI}|1234567893", f"{NORTH}|H77"]


def test_repetitions_of_an_attending_are_one_person_with_more_identifiers() -> None:
    change = only(adt(pv1(f7=f"H12^Okonkwo^Adaeze^^^^^^NORTH~{ADA}")))
    assert [(i.system, i.value) for i in change.identifiers] == [(NPI, "1234567893"), (NORTH, "H12")]


EI = "7701^Rol^Runa^^^DR^^^NORTH^L^^^EI"


@pytest.mark.parametrize(
    ("sent", "identifiers", "names"),
    [
        (f"{EI}~7702^Rol^Runa^^^DR^^^NORTH^L^^^RN", ["7701", "7702"], [("official", "Rol")]),
        (f"{EI}~7702^Rol^R^^^DR^^^NORTH^L^^^RN", ["7701", "7702"], [("official", "Rol"), ("", "Rol")]),
        (f"{EI}~7702^Vik^Runa^^^^^^NORTH^M", ["7701", "7702"], [("official", "Rol"), ("maiden", "Vik")]),
        (f"{EI}~7701^Vik^Thea^^^^^^NORTH^D^^^EI", ["7701"], [("official", "Rol"), ("usual", "Vik")]),
        (f"{EI}~1234567893^^^^^^^^^^^^NPI~7703^^^^^^^^NORTH", ["1234567893", "7701", "7703"], [("official", "Rol")]),
        (f"1234567893^^^^^^^^^^^^NPI~{EI}", ["1234567893", "7701"], [("official", "Rol")]),
        ("7703^^^^^^^^NORTH~^Rol^Runa^^^^^^^L", ["7703"], [("official", "Rol")]),
        (f"{EI}~9^Rol^Runa^^^^^^SOUTH~P4711^^^^^^^^NORTH", ["7701"], [("official", "Rol")]),
    ],
)
@pytest.mark.parametrize("place", ["PV1-7", "PV1-8", "PV1-17", "ROL-4", "PRT-5"])
def test_repetitions_for_one_person_are_one(
    place: str, sent: str, identifiers: list[str], names: list[tuple[str, str]]
) -> None:
    name, _, number = place.partition("-")
    change = only(adt(segment(name, f2="AD", **{f"f{number}": sent})))
    assert sorted(one.value for one in change.identifiers) == sorted(identifiers)
    assert [(value.value.get("use", ""), value.value["family"]) for value in change.practitioner] == names


@pytest.mark.parametrize("other", ["canary99999^canary88888^canary77777", "5551234567^5559876543", "^19500101^canary"])
def test_a_repetition_without_name_or_number_mentions_nobody_and_is_not_stored(other: str) -> None:
    """What moved into a repetition may be the patient's."""
    message = Message(adt(pv1(f7=f"{ADA}~{other}")))
    opening = visits.VisitMessage(message, RULES, NOW)
    assert [record.change.source_key for record in opening.records() if record.change] == [f"{NPI}|1234567893"]
    assert not [part for part in other.split("^") if part and part.encode() in visits.stored_form(message, opening)]


@pytest.mark.parametrize("place", ["PV1-9", "PV1-52"])
def test_repetitions_for_several_are_several(place: str) -> None:
    sent = f"{EI}~7702^Rol^Runa^^^DR^^^NORTH^L^^^RN~7703^^^^^^^^NORTH"
    assert people(adt(pv1(**{f"f{place[4:]}": sent}))) == [f"{NORTH}|7701", f"{NORTH}|7702"]


def test_two_numbers_of_a_registry_that_gives_one_are_two_persons() -> None:
    assert len(people(adt(pv1(f7=f"{ADA}~1245319599^Okonkwo^Adaeze^^^^^^^^^^NPI")))) == 2


def test_what_may_be_of_either_of_two_is_nobodys() -> None:
    found = read(adt(pv1(f7=f"{RUNA}~H78^Bello^Ife^^^^^^NORTH~H99^^^^^^^^NORTH")))
    assert [[one.value for one in record.change.identifiers] for record in found if record.change] == [["H77"], ["H78"]]


@pytest.mark.parametrize("second", ["H78^Bello^Ife^^^^^^NORTH", "H79^Halloway^Thea^^^^^^NORTH"])
def test_two_physicians_never_become_one(second: str) -> None:
    assert len(people(adt(pv1(f7=f"{RUNA}~{second}")))) == 2


@pytest.mark.parametrize(
    "physician",
    [
        "^Okonkwo^Adaeze",
        "1234567893^^^^^^^^^^^^NPI",
        "1234567890^Okonkwo^Adaeze^^^^^^^^^^NPI",
        "H77^Halloway^Runa^^^^^^SOUTH",
        "H77^Halloway^Runa",
        "P4711^Canary^Patient^^^^^^NORTH",
        "H77^Canary^Patient^^^^^^NORTH^^^^MR",
        "9999^Halloway^Runa^^^^^^NORTH",
        "unknown^Halloway^Runa^^^^^^NORTH",
        "H77^UNKNOWN^PHYSICIAN^^^^^^NORTH",
        '""',
        "~~",
    ],
)
def test_who_is_not_certain_is_nobody(physician: str) -> None:
    assert people(adt(pv1(f7=physician))) == []


@pytest.mark.parametrize(("name", "code"), [("ROL", "DE"), ("ROL", "D"), ("PRT", "D"), ("PRT", "DE")])
def test_a_participation_that_ends_introduces_nobody(name: str, code: str) -> None:
    assert people(adt(segment(name, f2=code, f4=ADA, f5=ADA))) == []


@pytest.mark.parametrize(
    ("physician", "rules"),
    [
        ("H77^Halloway^Runa^^^^^NORTH", RULES),  # XCN.8, the source table
        ("H77^Halloway^Runa", FeedRules(KEY_SYSTEM, authorities={"PV1-7": NORTH}, takes=frozenset({"adt"}))),
        ("H77^Halloway^Runa^^^^^^^^^^DN", FeedRules(KEY_SYSTEM, authorities={"DN": NORTH}, takes=frozenset({"adt"}))),
        ("H77^Halloway^Runa^^^^^^X&2.999.7&ISO", RULES),
    ],
)
def test_where_an_authority_may_be_named(physician: str, rules: FeedRules) -> None:
    assert people(adt(pv1(f7=physician)), rules) == [f"{NORTH}|H77"]


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.4", "2.7", "2.9", ""])
def test_every_version_is_read(version: str) -> None:
    assert people(adt(pv1(f7=ADA), version=version)) == [f"{NPI}|1234567893"]


# --- which messages --------------------------------------------------------------------------------------------------


def test_events_that_are_not_read() -> None:
    assert visits.READ.isdisjoint(visits.NOT_READ)
    for event in ("A11", "A12", "A13", "A27", "A34", "A40", "A55", "A62", "A99"):
        assert not visits.is_read(read_header(adt(event=event)))
        with pytest.raises(UnsupportedMessage):
            read(adt(pv1(f7=ADA), event=event))


def test_a_feed_reads_what_it_takes() -> None:
    with pytest.raises(UnsupportedMessage):
        read(adt(pv1(f7=ADA)), FeedRules(KEY_SYSTEM))
    with pytest.raises(UnsupportedMessage):
        read(b"MSH|^~\\&|||||||PMU^B01|1|P|2.5\rSTF|1||A^B\r", FeedRules(KEY_SYSTEM, takes=frozenset({"adt"})))


@pytest.mark.parametrize("name", ["PID", "PV1", "OBX", "IN1"])
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r "])
def test_a_segment_about_a_patient_is_seen(name: str, end: str) -> None:
    assert visits.holds_patient(f"MSH|^~\\&{end}{name}|1".encode())
    assert visits.holds_patient(f"MSH#^~\\&{end}{name}#1".encode())
    assert not visits.holds_patient(f"MSH|^~\\&|{name}|1{end}STF|{name}|1{end}Z{name[1:]}|".encode())


@pytest.mark.parametrize(
    ("fields", "sound"),
    [
        ("ADT^A01|C1|P|2.5.1", True),
        ("|C1|P|2.5.1", True),
        ("|C1|P|", False),
        ("MFN^M02|C1|P|2.3", True),
        ("ADT^A01|C1|P|", True),
        ("ADT^A01|C1|P|2.5 PID|1", False),
        ("ADT^A01|C1|P|2.5.1||||||Canary", False),
        ("ADT^A01|C1|P|2.5.1||||||UNICODE UTF-8||Canary", False),
        ("Canary^A01|C1|P|2.5.1", False),
        ("ADT^A01|C1|Canary|2.5.1", False),
    ],
)
def test_a_header_that_may_hold_a_patient(fields: str, sound: bool) -> None:
    assert visits.is_sound(read_header(f"MSH|^~\\&|A|B|C|D|20260101||{fields}\r".encode())) is sound
    assert visits.is_sound(read_header(f"MSH|^~\\&|A|B|C|D|2026-01-01T08:00Z||{fields}\r".encode())) is sound
    assert not visits.is_sound(read_header(f"MSH|^~\\&|A|B|C|D|Canary||{fields}\r".encode()))


# --- what is stored --------------------------------------------------------------------------------------------------


def stored(raw: bytes) -> tuple[bytes, tuple[Record, ...]]:
    message = Message(raw, ("utf-8", "cp1252"))
    opening = visits.VisitMessage(message, RULES, NOW)
    found = tuple(opening.records())
    return visits.stored_form(message, opening), found


def test_the_patient_is_not_in_the_stored_form() -> None:
    raw = adt(
        pv1(f7=f"{ADA}^^^canary", f8="^Canary^Patient", f9=f"Canary^X~{RUNA}~Canary", f17="P4711^Canary^X^^^^^^NORTH"),
        segment("ROL", f1="canary", f2="AD", f3="canary", f4=RUNA),
        "ZPD|canary",
    )
    body, found = stored(raw)
    assert b"canary" not in body.lower()
    assert b"P4711" not in body
    assert body.decode().split("\r") == [
        "MSH|^~\\&|REG|NORTH|BRIDGE|FHIR|20260318113000+0000||ADT^A01|C1|P|2.5.1||||||UNICODE UTF-8",
        "EVN|A01|20260318113000",
        f"PV1|||||||{ADA}||~{RUNA}",
        f"ROL||||{RUNA}",
        "",
    ]
    assert [r.change for r in read(body)] == [r.change for r in found]
    assert visits.stored_form(*_opened(body)) == body


def _opened(body: bytes) -> tuple[Message, visits.VisitMessage]:
    message = Message(body)
    opening = visits.VisitMessage(message, RULES, NOW)
    assert list(opening.records())
    return message, opening


@pytest.mark.parametrize(("charset", "codec"), [("8859/1", "latin-1"), ("UNICODE UTF-8", "utf-8"), ("", "cp1252")])
def test_the_stored_form_keeps_the_character_set(charset: str, codec: str) -> None:
    raw = adt(pv1(f7="H77^Müller^Zoë^^^^^^NORTH"), charset=charset).decode().encode(codec)
    body, found = stored(raw)
    again = staff.translate(Message(body, ("utf-8", "cp1252")), RULES, NOW).records
    assert [r.change for r in again] == [r.change for r in found]
    assert "Müller".encode(codec) in body


names = st.text(st.sampled_from("AbÄ~^&|\\\r\"' 7"), max_size=6)


@given(st.lists(st.tuples(st.sampled_from([3, 7, 8, 9, 17, 52]), st.lists(names, max_size=14)), max_size=6), names)
def test_whatever_stands_there_the_stored_form_reads_alike(fields: list[tuple[int, list[str]]], more: str) -> None:
    given_fields = {f"f{number}": "^".join(parts) for number, parts in fields}
    raw = adt(segment("PV1", **given_fields), segment("ROL", f2="AD", f4=f"H5^{more}^x^^^^^^NORTH~{RUNA}"))
    try:
        body, found = stored(raw)
    except MessageError:
        return
    assert [r.change for r in read(body)] == [r.change for r in found]


def test_explain_tells_of_practitioners_alone() -> None:
    found = explain(Message(adt(pv1(f7=ADA, f9=RUNA))), RULES, NOW)
    assert {row.field for row in found.rows if row.position} == {"PV1-7", "PV1-9"}
    assert found.valued == found.used + found.dropped + found.unused + found.unknown
    assert all("canary" not in finding.text.lower() for finding in found.findings)


@pytest.mark.skipif(not (CORPUS / "adt").is_dir(), reason=f"the published messages are not there: {CORPUS}")
def test_every_published_patient_message_is_read_or_refused() -> None:
    seen = 0
    for path in sorted((CORPUS / "adt").glob("*.hl7")):
        try:
            message = Message(path.read_bytes(), ("utf-8", "cp1252"))
            if not visits.is_read(message.header):
                continue
            opening = visits.VisitMessage(message, RULES, NOW)
            found = tuple(opening.records())
        except MessageError:
            continue
        seen += 1
        body = visits.stored_form(message, opening)
        again = staff.translate(Message(body, ("utf-8", "cp1252")), RULES, NOW).records
        assert [r.change for r in again] == [r.change for r in found], path.name
        for line in message.segments:
            if line.name == "PID" and (name := line.value(5)) and len(name) > 3:
                practitioners = " ".join(str(r.change.practitioner) for r in found if r.change)
                assert name.encode(message.codec) not in body or name in practitioners, path.name
    assert seen > 5


def test_a_segment_about_a_patient_is_found_behind_empty_lines_and_those_alone_take_no_time() -> None:
    """With a pattern that goes over line breaks this test does not end: each line is read once for every one before."""
    staff = b"MSH|^~\\&|HR||||20260101||MFN^M02|1|P|2.5.1\r"
    empty = b"\r\n \t" * 100_000
    assert not visits.holds_patient(staff + empty)
    assert visits.holds_patient(staff + empty + b"PID|1||4711")
