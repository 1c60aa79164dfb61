"""Redaction: nothing of what is replaced stays anywhere, and the copy reads and maps like the original."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.cli.messages.files import split_messages
from hl7bridge.cli.setup.init import packaged
from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.invented import pseudonyms, redaction
from hl7bridge.invented.feed import FeedPlan, feed
from hl7bridge.invented.names import dea_check_digit, npi
from hl7bridge.invented.pseudonyms import Pseudonyms
from hl7bridge.invented.redaction import redact, redact_between
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages.staff import translate
from hl7bridge.mapping.rules import shapes
from hl7bridge.mapping.rules.identifiers import dea_is_valid, npi_is_valid
from hl7bridge.mapping.rules.tables import code_tables, named

RULES = FeedRules("urn:uuid:6fbb9a3e-54b3-4a55-8f0b-3f3c4d6a7b10", takes=frozenset({"staff", "adt"}))
NOW = datetime(2026, 11, 2, tzinfo=UTC)
KEY = b"0123456789abcdef"
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
CHARSETS = ("utf-8", "cp1252")


def redacted(text: str, key: bytes = KEY) -> str:
    return redact(Message(text.encode()), Pseudonyms(key)).decode()


def shape(message: Message) -> Any:
    """What a translation is, but for the values: records, actions, elements, where from, findings."""
    try:
        translation = translate(message, RULES, NOW)
    except MessageError as error:
        return str(error)
    return [
        (
            [(finding.code, finding.local, finding.severity, finding.location) for finding in record.findings],
            record.change
            and (
                record.change.action,
                record.change.active,
                record.change.effective,
                record.change.cleared,
                [(one.system, one.type_code, one.provenance) for one in record.change.identifiers],
                [elements(record.change.practitioner), *(elements(role.values) for role in record.change.roles)],
                elements(record.change.shared_role),
            ),
        )
        for record in translation.records
    ]


def elements(values: Any) -> Any:
    return [(v.element, v.provenance, v.rule, sorted(v.value) if isinstance(v.value, dict) else "") for v in values]


def assert_alike(body: bytes, key: bytes = KEY, known: frozenset[str] | None = None) -> None:
    try:
        message = Message(body, CHARSETS)
    except MessageError:
        return
    copy = Message(redact(message, Pseudonyms(key), known), CHARSETS)
    assert shape(copy) == shape(message)
    assert copy.line_ending == message.line_ending
    assert structure(copy) == structure(message)


def structure(message: Message) -> Any:
    """Segments, fields, repetitions and components, by number."""
    return [
        (s.name, [[one.components for one in s.repetitions(number)] for number in range(1, s.fields + 1)])
        for s in message.segments
    ]


@pytest.mark.parametrize("path", sorted(packaged("sample_messages").glob("*.hl7")), ids=lambda path: path.stem)
def test_samples_map_alike(path: Path) -> None:
    for body in split_messages(path.read_bytes()):
        assert_alike(body)


def test_the_corpus_maps_alike() -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"no corpus at {CORPUS}")
    files = sorted(CORPUS.rglob("*.hl7"))
    assert len(files) > 200
    for path in files:
        for body in split_messages(path.read_bytes()):
            assert_alike(body)


PHONES = """
(206)555-1999X345CO  (206)555-1999CH(206)555-1345X789CB  555-0100CC  555-0100^C^H  555-0100 (home)  555-0100 h
555-0100 private     0171 5550100 Durchwahl 12           ask for 555-0100           Alexander Okafor 555-0100
555-0100 x12         555-0100 Max x12                    Exley                      +1 612 555 0100 office
"""


@pytest.mark.parametrize("phone", re.split("  +|\n", PHONES.strip()))
@pytest.mark.parametrize("key", [KEY, *(bytes([number] * 16) for number in range(6))], ids=bytes.hex)
def test_telephones_map_alike(phone: str, key: bytes) -> None:
    """What is written beside a number says whose telephone it is, and where its extension begins."""
    assert_alike(f"{HEAD}MFE|MAD|||71\rSTF|71||Okafor^Ada|||||||{phone}\rORG|1|N^North^99U\r".encode(), key)


@pytest.mark.parametrize(
    "mail",
    [
        "ada.okafor@north.example",
        "ada.okafor@n",
        "ada@",
        "@north.example",
        "ada@a@north.example",
        "ask Ada (ada@n.org)",
    ],
)
def test_mail_addresses_and_what_is_left_of_them_map_alike(mail: str) -> None:
    """A field that was cut short holds no address, and its copy none."""
    body = f"{HEAD}MFE|MAD|||71\rSTF|71||Okafor^Ada|||||||^NET^Internet^{mail}|||||{mail}\r"
    assert_alike(body.encode())
    assert not re.search("(?i)ada|okafor|north", redacted(body).split("STF")[1])


@pytest.mark.parametrize(
    "name",
    [
        "E100001",
        "E100001^^^NORTH^EI",
        "1990000014",
        "Okafor2",
        "J4ne12",
        "12345^67890",
        "ada@north.example^Ada",
        "A^12-3",
    ],
)
def test_what_stands_in_the_place_of_a_name_and_is_none_is_none_in_the_copy(name: str) -> None:
    assert_alike(f"{HEAD}MFE|MAD|||71\rSTF|71||{name}||F\r".encode())


def test_a_telephone_in_the_place_of_an_address_is_one_in_the_copy() -> None:
    assert_alike(f"{HEAD}MFE|MAD|||71\rSTF||71|71|Okafor^Ada|P|F|19700101|A|||^WPN^PH^^1^555^5550144\r".encode())


def test_the_types_of_numbers_are_those_that_the_mapping_knows() -> None:
    assert set(pseudonyms._NUMBER_TYPES.split()) >= set(code_tables()["0203"])


def test_the_words_that_mark_a_number_are_those_that_the_mapping_knows() -> None:
    assert set(pseudonyms._PHONE_WORDS.split()) >= shapes._MARKS


@settings(max_examples=25, deadline=None)
@given(
    key=st.binary(min_size=16, max_size=16),
    version=st.sampled_from(["2.3", "2.4", "2.5.1", "2.8"]),
    kind=st.sampled_from(["m02", "adt"]),
    seed=st.text(max_size=3),
    malformed=st.sampled_from([0, 60]),
)
def test_whatever_a_feed_sends_maps_alike(key: bytes, version: str, kind: str, seed: str, malformed: int) -> None:
    for made in feed(FeedPlan(kind, 9, 4, version, seed, 2, "large", malformed)):
        assert_alike(made.body, key)


# What a canary stands in is replaced: names, numbers, what is unknown, what is beyond the standard, what is escaped.
CANARIES = (
    "MSH|^~\\&|HR|NORTH|BRIDGE|NORTH|20260301120000+0000|CANARYSECRET|MFN^M02^MFN_M02|CANARYID01|P|2.5.1\r"
    "MFI|STF^Staff^HL70175||UPD|||AL\r"
    "MFE|MAD|CANARYC1||CANARYKEY^Canaryfamily^99X|CE\r"
    "STF|CANARYKEY|CANARYNUM7^^^NORTH^EI|van Canaryfamily&van&Canaryfamily^Canarygiven^Canarymiddle^Canarysuffix^Dr^MD|P|F"
    "|19651123|A|||(612)867-5309CANARYX^WPN^PH^canary.mail@canary.example~^PRN^PH^^1^612^8675309|77 Canary Street^Canaryflat"
    "^Canarytown^MN^54321-9876^USA^H||||canary@example.com|||CANARYTITLE||||Canarydl77^MN||||||||||||||||||CANARYBEYOND\r"
    "PRA|CANARYKEY||MD|||1234567893^NPI~AB1234563^DEA\r"
    "EDU|1|MD||||Canary University of Canarytown\r"
    "CER|1|CANARYSERIAL||Canary Board|55555^Canaryissuer^Canarygiven\r"
    "NK1|1|Canarykin^Canarygiven\r"
    "NTE|1||She is Canaryfamily\\T\\Canarygiven, \\X43616E617279\\ by name\r"
    "ZST|Canaryzed^Canaryzed2~Canaryzed3&Canaryzed4|19651123\r"
    "Canary line without a name|Canaryline\r"
    "PID|1||CANARYMRN^^^NORTH^MR||Canarypatient^Canarygiven||19430102|F|||1 Canary Road\r"
    "PV1|1|I|CANARYROOM||||1234567893^Canaryfamily^Canarygiven^^^Dr^^^NPI|||||||||||CANARYVISIT\r"
    "QQQ|Canaryodd\r"
)  # fmt: skip


def test_no_canary_is_left() -> None:
    copy = redacted(CANARIES)
    lost = ("canary", "8675309", "867-5309", "1234567893", "AB1234563", "19651123", "19430102", "54321", "43616e617279")
    assert [word for word in lost if word in copy.lower()] == []
    assert "She is" not in copy


def test_what_stands_in_a_field_that_is_kept_is_known_by_where_else_it_stands() -> None:
    text = "MSH|^~\\&|HR|N|||20260301||MFN^M02|1|P|2.5.1\rMFE|MAD|||7001\rSTF|7001||Okafor^Amara\rPRA|7001|Okafor^x||7001\r"
    copy = Message(redacted(text).encode())
    assert copy.read("PRA-2") == copy.read("STF-3.1") != "Okafor"
    assert copy.read("PRA-4") == copy.read("MFE-4") != "7001"
    assert copy.read("PRA-2.2") == "x"


KNOWN = frozenset(named("authorities")).union(*code_tables().values())


def test_strictly_nothing_stays_but_what_a_table_knows() -> None:
    """A record whose fields are shifted: its names stand where codes belong."""
    text = (
        "MSH|^~\\&|HR|N|||20260301||MFN^M02|1|P|2.5.1\rMFE|MAD|||E7345|CWE\rSTF||E7345||Okafor^Amara|P|F|1970|A|Ward O\r"
        "PRA|E7345||MD|||||1234567893^NPI\rORG|1|CARD^Cardiology^99UNIT|||||207RC0000X^Cardiology^NUCC\r"
    )
    copy = redact(Message(text.encode()), Pseudonyms(KEY), KNOWN).decode()
    lost = ("okafor", "amara", "E7345", "1234567893", "cardiology", "ward")
    assert [word for word in lost if word in copy.lower()] == []
    kept = ("|MD|", "|CWE", "207RC0000X", "^NUCC", "|A|")
    assert [word for word in kept if word not in copy] == []
    assert "Okafor" in redacted(text)


# A name, a short one, a number of a person, a telephone number in the form of an object identifier.
STRAY = ("Olga", "Lee", "Ng", "900177", "7345", "612.867.5309", "Olga Okafor")
HEAD = "MSH|^~\\&|HR|N|||20260301||MFN^M02|1|P|2.5.1\r"


def placed(segment: str, field: int, value: str) -> str:
    """A message with a value in one field of a segment that redaction knows."""
    line = f"{segment}|{'|' * (field - 1)}{value}\r"
    return HEAD + (line if segment in ("EVN", "MFI", "SFT") else "MFE|MAD|||1\rSTF|1\r" + line)


KEPT_FIELDS = [
    (segment, int(field))
    for segment, fields in redaction._table().items()
    if segment not in ("MSH", "FHS", "BHS", "BTS", "FTS", "MSA", "MFA")
    for field in (fields if "*" not in fields else map(str, range(1, 13)))
    if field != "*"
]


@pytest.mark.parametrize(("segment", "field"), KEPT_FIELDS)
def test_strictly_nobody_stays_in_a_field_of_codes_or_times(segment: str, field: int) -> None:
    """One field off, an operator or a person stands where a code, a date or an authority belongs (field by field)."""
    left = []
    for value in STRAY:
        copy = redact(Message(placed(segment, field, value).encode()), Pseudonyms(KEY), KNOWN).decode()
        left += [value] if value in copy[len(HEAD) :] else []
    assert left == []


OF_TIMES = """
EVN-2 EVN-3 EVN-6 MFI-4 MFI-5 MFE-3 MFE-6 STF-12 STF-13 STF-34 STF-35 STF-2.8 STF-10.13 STF-11.13
PRA-5.4 PRA-6.4 PRA-7.3 PRA-8 PRA-10 ORG-9 CER-23 CER-27
"""
TIMES = {
    "20270131": True,
    "2027": True,
    "202701311530-0500": True,
    "Olga Okafor": False,
    "till Olga is back": False,
    "20271340": False,
    "99120401": False,
    "7345": False,
    "202701319999": False,
}


@pytest.mark.parametrize("place", OF_TIMES.split())
def test_a_field_of_a_time_holds_a_time_in_either_way(place: str) -> None:
    segment, _, rest = place.partition("-")
    field, _, component = rest.partition(".")
    for text, stays in TIMES.items():
        message = Message(placed(segment, int(field), "^" * (int(component or 1) - 1) + text).encode())
        for known in (None, KNOWN):
            copy = redact(message, Pseudonyms(KEY), known).decode()
            assert (text in copy) == stays, text


def test_strictly_a_header_keeps_its_structure_alone() -> None:
    text = "MSH|^~\\&|Olga|N^1.2.840.99999.3^ISO|||20260301||MFN^M02^MFN_M02|1|P|2.5.1|||AL|Okafor|Lee|8859/1\rSTF|1\r"
    copy = Message(redact(Message(text.encode()), Pseudonyms(KEY), KNOWN))
    kept = {"MSH-4.2": "1.2.840.99999.3", "MSH-4.3": "ISO", "MSH-9.3": "MFN_M02", "MSH-15": "AL", "MSH-18": "8859/1"}
    assert {place: copy.read(place) for place in kept} == kept
    assert [word for word in ("Olga", "Okafor", "Lee") if word in copy.raw.decode()] == []


def test_strictly_an_unknown_authority_goes_wherever_it_stands() -> None:
    text = HEAD + "MFE|MAD|||77\rSTF|77|77^^^Okaforhouse&1.2.840.9.9&ISO^EI|Okonkwo^Ada\rPRA|77||||||||Okaforhouse\r"
    copy = redact(Message(text.encode()), Pseudonyms(KEY), KNOWN).decode()
    assert "Okaforhouse" not in copy
    assert "&1.2.840.9.9&ISO^EI" in copy


@pytest.mark.parametrize("path", sorted(packaged("sample_messages").glob("*.hl7")), ids=lambda path: path.stem)
def test_samples_map_alike_strictly(path: Path) -> None:
    for body in split_messages(path.read_bytes()):
        assert_alike(body, known=KNOWN)


def test_codes_times_and_systems_stay() -> None:
    copy = Message(redacted(CANARIES).encode())
    kept = {
        "MSH-3": "HR", "MSH-4": "NORTH", "MSH-7": "20260301120000+0000", "MSH-9.2": "M02", "MFE-1": "MAD",
        "STF-2.4": "NORTH", "STF-2.5": "EI", "STF-3.5": "Dr", "STF-3.6": "MD", "STF-5": "F", "STF-7": "A",
        "STF-10.2": "WPN", "PV1-7.9": "NPI",
        "STF-11.4": "MN", "STF-11.6": "USA", "STF-11.7": "H", "PRA-3": "MD", "PRA-6.2": "NPI", "PV1-2": "I",
    }  # fmt: skip
    assert {place: copy.read(place) for place in kept} == kept


def test_the_same_value_has_the_same_pseudonym_wherever_it_stands() -> None:
    copy = Message(redacted(CANARIES).encode())
    assert copy.read("MFE-4.1") == copy.read("STF-1") == copy.read("PRA-1")
    assert copy.read("PRA-6.1") == copy.read("PV1-7.1")
    assert copy.read("STF-3.2") == copy.read("PV1-7.3") == copy.read("CER-5.3")
    assert redacted(CANARIES) == redacted(CANARIES)
    assert redacted(CANARIES) != redacted(CANARIES, b"another key of 16")


def test_check_digits_stay_right_and_stay_wrong() -> None:
    pseudonyms = Pseudonyms(KEY)
    found = {pseudonyms.text(npi(number)) for number in range(500)}
    assert len(found) == 500
    assert all(npi_is_valid(text) and text[0] == "2" for text in found)
    assert not npi_is_valid(pseudonyms.text("1234567890"))
    number = "FC123456" + dea_check_digit("123456")
    assert dea_is_valid(pseudonyms.text(number))
    assert pseudonyms.text(number)[:2] != "FC"
    assert dea_is_valid(pseudonyms.text(number.replace("FC", "F9")))


@given(texts=st.sets(st.text("0123456789", min_size=6, max_size=6), min_size=2, max_size=40))
@settings(max_examples=30, deadline=None)
def test_different_numbers_have_different_pseudonyms(texts: set[str]) -> None:
    pseudonyms = Pseudonyms(KEY)
    assert len({pseudonyms.text(text) for text in texts}) == len(texts)


@given(text=st.text(min_size=4, max_size=30))
@settings(max_examples=60, deadline=None)
def test_text_keeps_its_shape_and_is_ascii_where_it_changes(text: str) -> None:
    found = Pseudonyms(KEY).text(text)
    assert len(found) == len(text)
    for before, after in zip(text, found, strict=True):
        assert (before.isdigit() and before.isascii()) == after.isdigit()
        assert after.isalnum() or after == before


def test_control_characters_count_for_nothing() -> None:
    pseudonyms = Pseudonyms(KEY)
    assert (
        pseudonyms.text("12345\x0067893")
        == pseudonyms.text("1234567893")[:5] + "\0" + pseudonyms.text("1234567893")[5:]
    )


def test_dates_of_a_person_move_together_and_stay_as_precise() -> None:
    pseudonyms = Pseudonyms(KEY)
    day, later = (datetime.strptime(pseudonyms.shifted(t, "E1"), "%Y%m%d") for t in ("19700110", "19700120"))
    assert (later - day).days == 10
    assert 1966 <= day.year <= 1968
    assert len(pseudonyms.shifted("1970", "E1")) == 4
    assert pseudonyms.shifted("197001101530-0500", "E1")[8:] == "1530-0500"
    assert pseudonyms.shifted("19701340", "E1") == "99999999"
    assert pseudonyms.shifted("19700110", "E2") != pseudonyms.shifted("19700110", "E1")


def test_names_stay_names_in_their_case() -> None:
    pseudonyms = Pseudonyms(KEY)
    assert pseudonyms.family("OKAFOR").isupper()
    assert pseudonyms.family("okafor") == pseudonyms.family("Okafor").lower()
    assert len(pseudonyms.given("N.")) == 2
    assert pseudonyms.given("Adaeze").istitle()


@pytest.mark.parametrize(("charset", "name"), [("8859/1", "iso8859-1"), ("BIG-5", "big5"), ("UNICODE UTF-8", "utf-8")])
def test_the_character_set_stays_and_foreign_letters_go(charset: str, name: str) -> None:
    family = {"iso8859-1": "Müller", "big5": "許功蓋", "utf-8": "Šťastný"}[name]
    text = f"MSH|^~\\&|A|B|||20260301||MFN^M02|1|P|2.5.1||||||{charset}\rMFE|MAD|||7\rSTF|7||{family}^{family}\rZ|{family}\r"
    copy = redact(Message(text.encode(name)), Pseudonyms(KEY))
    assert Message(copy).codec == name
    assert family not in copy.decode(name)
    assert copy.isascii()


def test_a_byte_order_mark_and_line_feeds_stay() -> None:
    text = "\ufeffMSH|^~\\&|A|B|||20260301||MFN^M02|1|P|2.5.1\nMFE|MAD|||7\n\nSTF|7||Okafor\n"
    copy = redacted(text)
    assert copy.startswith("\ufeffMSH")
    assert re.findall("\n+", copy) == ["\n", "\n\n", "\n"]


def test_nulls_blanks_and_separators_of_the_senders_choice_stay() -> None:
    text = 'MSH!@#\\$!A!B!!!20260301!!MFN@M02!1!P!2.5.1\rMFE!MAD!!!77\rSTF!77!!Okafor@ Ada #""!""!F\r'
    copy = Message(redacted(text).encode())
    assert copy.read("STF-3.1") not in ("", "Okafor")
    assert copy.segments[2].raw(3).endswith('#""')
    assert re.fullmatch("[A-Z][a-z]+@ [A-Z][a-z]+ ", copy.segments[2].raw(3).split("#")[0])
    assert copy.segments[2].raw(4) == '""'


def test_what_stands_between_messages_keeps_its_form() -> None:
    pseudonyms = Pseudonyms(KEY)
    between = (
        b"\x1c\r\x0bFHS|^~\\&|HR|NORTH|||20260301||canaryfile|canarynote\rBHS|^~\\&|HR\r\nBTS|2|canarynote\rFTS|1\r"
    )
    found = redact_between(between, pseudonyms)
    assert b"canary" not in found
    assert found.startswith(b"\x1c\r\x0bFHS|^~\\&|HR|NORTH|||20260301||")
    assert found.endswith(b"\rFTS|1\r")
    assert b"BTS|2|" in found
    assert len(found) == len(between)
