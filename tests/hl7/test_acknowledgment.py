"""Acknowledgments: one test per row of each table of facts/protocols.md 4 and facts/mapping.md 2."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.errors import MessageError
from hl7bridge.hl7.acknowledgment import MOST_ERRORS, MfaLine, asked, build, hl7_time, is_acknowledgment
from hl7bridge.hl7.header import Header
from hl7bridge.hl7.message import Message, read_header
from hl7bridge.model import Finding, Location, RecordEcho, Severity
from tests.examples import examples
from tests.hl7.corpus import FILES, needs_corpus

NOW = datetime(2026, 3, 18, 11, 30, 55, tzinfo=UTC)
MFI = "MFI|STF^Staff^HL70175|HR|UPD|||AL"

VERSIONS = ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.2", "2.9"]

MISSING = Finding(
    "101", "key-missing", "The staff key is missing", location=Location("STF", 2, 1, component=1), position=2
)
UNMAPPED = Finding("103", "unmapped-authority", "An authority is not mapped", Severity.WARNING, position=1)

GOOD = MfaLine(RecordEcho("MAD", "C1", "E100^EMP^L", "CWE"), True, "stored, delivery pending")
BAD = MfaLine(RecordEcho("MUP", "C2", "", "CWE"), False, "key-missing", "20260318113054+0000")


def header(
    version: str = "2.5.1",
    *,
    message_type: str = "MFN^M02",
    accept: str = "",
    application: str = "",
    control_id: str = "CID1",
    rest: str = "",
) -> Header:
    text = f"MSH|^~\\&|HR|NORTH|BRIDGE|FHIR|20260318113000||{message_type}|{control_id}|P|{version}|||{accept}|{application}"
    return read_header(f"{text}{rest}\r".encode())


def answer(head: Header, kind: str = "original", code: str = "AA", **given: object) -> list[str]:
    built = build(head, kind, code, control_id="ACK1", now=NOW, **given)  # type: ignore[arg-type]
    assert built.endswith(b"\r")
    return built.decode().split("\r")[:-1]


def mfk(version: str, code: str = "AE", *findings: Finding, **given: object) -> list[str]:
    return answer(header(version), "original", code, findings=findings, records=[GOOD, BAD], master_file=MFI, **given)


# --- MSH-15 and MSH-16 -----------------------------------------------------------------------------------------------

# MSH-15, MSH-16: mode, then whether CA, CE or CR, AA, AE or AR are sent
ASKED = [
    ("", "", "original", False, False, True, True),
    ("NE", "NE", "enhanced", False, False, False, False),
    ("AL", "NE", "enhanced", True, True, False, False),
    ("ER", "NE", "enhanced", False, True, False, False),
    ("SU", "NE", "enhanced", True, False, False, False),
    ("NE", "AL", "enhanced", False, False, True, True),
    ("NE", "ER", "enhanced", False, False, False, True),
    ("NE", "SU", "enhanced", False, False, True, False),
    ("AL", "AL", "enhanced", True, True, True, True),
    ("AL", "ER", "enhanced", True, True, False, True),
    ("AL", "SU", "enhanced", True, True, True, False),
    ("ER", "AL", "enhanced", False, True, True, True),
    ("ER", "ER", "enhanced", False, True, False, True),
    ("ER", "SU", "enhanced", False, True, True, False),
    ("SU", "AL", "enhanced", True, False, True, True),
    ("SU", "ER", "enhanced", True, False, False, True),
    ("SU", "SU", "enhanced", True, False, True, False),
    # one alone: the other is NE
    ("AL", "", "enhanced", True, True, False, False),
    ("ER", "", "enhanced", False, True, False, False),
    ("SU", "", "enhanced", True, False, False, False),
    ("NE", "", "enhanced", False, False, False, False),
    ("", "AL", "enhanced", False, False, True, True),
    ("", "ER", "enhanced", False, False, False, True),
    ("", "SU", "enhanced", False, False, True, False),
    ("", "NE", "enhanced", False, False, False, False),
    # not of table 0155: as if empty
    ("USA", "", "original", False, False, True, True),
    ("USA", "EN", "original", False, False, True, True),
    ("USA", "AL", "enhanced", False, False, True, True),
    ("AL", "USA", "enhanced", True, True, False, False),
    ("al", " ne ", "enhanced", True, True, False, False),
]


@pytest.mark.parametrize(("accept", "application", "mode", "ca", "ce", "aa", "ae"), ASKED)
def test_asked(accept: str, application: str, mode: str, ca: bool, ce: bool, aa: bool, ae: bool) -> None:
    wanted = asked(header(accept=accept, application=application))
    assert wanted.mode == mode
    assert (wanted.wants_accept(True), wanted.wants_accept(False)) == (ca, ce)
    assert (wanted.wants_application(True), wanted.wants_application(False)) == (aa, ae)


@pytest.mark.parametrize(
    ("message_type", "expected"),
    [
        ("ACK", True),
        ("ACK^A01^ACK", True),
        ("MFK^M02^MFK_M01", True),
        ("MCF^A01", True),
        ("ORR^O02", True),
        ("RSP^K11", True),
        ("ack", True),
        ("MFN^M02", False),
        ("PMU^B01", False),
        ("ADT^A01", False),
        ("QBP^Q11", False),
        ("", False),
    ],
)
def test_is_acknowledgment(message_type: str, expected: bool) -> None:
    assert is_acknowledgment(header(message_type=message_type)) is expected


# --- MSH -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "mfn", "adt"),
    [
        ("2.1", "ACK", "ACK"),
        ("2.2", "MFK^M02", "ACK^A04"),
        ("2.3", "MFK^M02", "ACK^A04"),
        ("2.3.1", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("2.4", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("2.5", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("2.5.1", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("2.6", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("2.7", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("2.8", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("2.9", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("2.5^DEU&&HL70399", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
        ("9.9", "MFK^M02^MFK_M01", "ACK^A04^ACK"),
    ],
)
def test_msh_9_by_version(version: str, mfn: str, adt: str) -> None:
    assert mfk(version, "AA")[0].split("|")[8] == mfn
    assert answer(header(version, message_type="ADT^A04"), "original", "AA")[0].split("|")[8] == adt
    said = "2.5.1" if version == "9.9" else version
    assert answer(header(version, message_type="ADT^A04"), "original", "AA")[0].split("|")[11] == said


@pytest.mark.parametrize(
    ("message_type", "version", "expected"),
    [
        ("MFN^M02^MFN_M02", "2.2", "MFK^M02^MFK_M02"),
        ("MFN^M02^MFN_M02", "2.3", "MFK^M02^MFK_M02"),
        ("MFN^M01^MFN_M01", "2.3", "MFK^M01^MFK_M01"),
        ("MFN^M02^MFN_M02", "2.1", "ACK"),
        ("MFN^M01", "2.5", "MFK^M01^MFK_M01"),
        ("MFN", "2.5", "ACK"),  # an MFK without its event has no structure that anybody knows
        ("MFN^m02", "2.5", "ACK"),
    ],
)
def test_msh_9_structure(message_type: str, version: str, expected: str) -> None:
    lines = answer(header(version, message_type=message_type), records=[GOOD], master_file=MFI)
    assert lines[0].split("|")[8] == expected


@pytest.mark.parametrize(
    ("message_type", "kind", "master_file", "expected"),
    [
        ("MFN^M02", "original", MFI, "MFK^M02^MFK_M01"),
        ("MFN^M02", "application", MFI, "MFK^M02^MFK_M01"),
        ("MFN^M02", "accept", MFI, "ACK^M02^ACK"),
        # no MFI to echo: the error precluded application processing
        ("MFN^M02", "original", None, "ACK^M02^ACK"),
        ("PMU^B01^PMU_B01", "original", None, "ACK^B01^ACK"),
        ("PMU^B02", "application", None, "ACK^B02^ACK"),
        ("ADT^A08", "original", MFI, "ACK^A08^ACK"),
        ("ADT", "original", None, "ACK"),
        ("", "original", None, "ACK"),
    ],
)
def test_ack_or_mfk(message_type: str, kind: str, master_file: str | None, expected: str) -> None:
    lines = answer(header(message_type=message_type), kind, "AA", records=[GOOD], master_file=master_file)
    assert lines[0].split("|")[8] == expected
    assert any(line.startswith("MFI") for line in lines) is expected.startswith("MFK")


def test_msh_of_the_answer() -> None:
    head = header("2.5.1", rest="||UNICODE UTF-8~8859/1|EN^^ISO639|ISO 2022-1994|PROFILE")
    msh = answer(head)[0].split("|")
    assert msh[:10] == [
        "MSH",
        "^~\\&",
        "BRIDGE",
        "FHIR",
        "HR",
        "NORTH",
        "20260318113055+0000",
        "",
        "ACK^M02^ACK",
        "ACK1",
    ]
    assert msh[10:] == ["P", "2.5.1", "", "", "", "", "", "UNICODE UTF-8~8859/1", "", "ISO 2022-1994"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("original", ["", ""]), ("accept", ["NE", "NE"]), ("application", ["NE", "NE"])]
)
def test_an_acknowledgment_in_enhanced_mode_is_not_to_be_acknowledged(kind: str, expected: list[str]) -> None:
    fields = [*answer(header(accept="AL", application="AL"), kind, "AA")[0].split("|"), *[""] * 8]
    assert fields[14:16] == expected


def test_separators_of_the_sender_are_used() -> None:
    head = read_header(b"MSH#@!/+#HR#N#BR#F#2026##MFN@M02@MFN_M02#C/S/1#T#2.5\r")
    bad = Finding("102", "odd", "a#b@c!d/e+f|^")
    mfi = "MFI#STF@x@HL70175##UPD###AL"
    lines = answer(head, "original", "AE", findings=[bad], records=[BAD], master_file=mfi)
    assert lines == [
        "MSH#@!/+#BR#F#HR#N#20260318113055##MFK@M02@MFK_M01#ACK1#T#2.5",
        "MSA#AE#C/S/1#a/F/b/S/c/R/d/E/e/T/f|^",
        "ERR###102@Data type error@HL70357#E#odd@@L###a/F/b/S/c/R/d/E/e/T/f|^",
        mfi,
        "MFA#MUP#C2#20260318113054#U@key-missing@HL70181##CWE",
    ]


@pytest.mark.parametrize(
    ("msh", "encoding", "event"),
    [
        (b"MSH||HR|N|BR|F|2026||MFN^M02|C1|P|2.5", "^~\\&", "ACK^M02^ACK"),
        (b"MSH|^|HR|N|BR|F|2026||MFN^M02|C1|P|2.5", "^~\\&", "ACK^M02^ACK"),
        (b"MSH|0000|HR|N|BR|F|2026||MFN^M02|C1|P|2.5", "^~\\&", "ACK^M02^ACK"),
        (b"MSH|^~\\&#|HR|N|BR|F|2026||MFN^M02|C1|P|2.7", "^~\\&#", "ACK^M02^ACK"),
        (b"MSH|\xe9~\\&|HR|N|BR|F|2026||MFN|C1|P|2.5", "^~\\&", "ACK"),
    ],
)
def test_odd_encoding_characters(msh: bytes, encoding: str, event: str) -> None:
    bad = Finding("102", "odd", "text", location=Location("MSH", 1, 2))
    fields = answer(read_header(msh), "original", "AR", findings=[bad])[0].split("|")
    assert (fields[1], fields[8], fields[9]) == (encoding, event, "ACK1")


def test_blank_processing_id_and_version_are_filled() -> None:
    head = read_header(b"MSH|^~\\&|||||||ADT^A01|C1\r")
    assert answer(head)[0].endswith("|ACK^A01^ACK|ACK1|P|2.5.1")
    assert answer(head, fallback_version="2.3")[0].endswith("|ACK^A01|ACK1|P|2.3")


# --- MSA and ERR by version ------------------------------------------------------------------------------------------

OLD_ERR = "ERR|STF^2^1^101&Required field missing&HL70357"
NEW_ERR = "ERR||STF^2^1^^1|101^Required field missing^HL70357|E|key-missing^^L|||The staff key is missing"
WARN_ERR = "ERR||MFE^1|103^Table value not found^HL70357|W|unmapped-authority^^L|||An authority is not mapped"
TEXT = "STF-1.1: The staff key is missing"
CODED = "|||101^Required field missing^HL70357"

# version: MSA of an AE, ERR segments in an MFK, ERR segments in an ACK
ERRORS = {
    "2.1": (f"MSA|AE|CID1|{TEXT}", ["ERR|STF^2^1^101"], ["ERR|STF^2^1^101"]),
    "2.2": (f"MSA|AE|CID1|{TEXT}{CODED}", ["ERR|STF^2^1^101"], ["ERR|STF^2^1^101"]),
    "2.3": (f"MSA|AE|CID1|{TEXT}{CODED}", [], [OLD_ERR]),
    "2.3.1": (f"MSA|AE|CID1|{TEXT}{CODED}", [OLD_ERR], [OLD_ERR]),
    "2.4": (f"MSA|AE|CID1|{TEXT}{CODED}", [OLD_ERR], [OLD_ERR]),
    "2.5": (f"MSA|AE|CID1|{TEXT}", [NEW_ERR, WARN_ERR], [NEW_ERR, WARN_ERR]),
    "2.5.1": (f"MSA|AE|CID1|{TEXT}", [NEW_ERR, WARN_ERR], [NEW_ERR, WARN_ERR]),
    "2.6": (f"MSA|AE|CID1|{TEXT}", [NEW_ERR, WARN_ERR], [NEW_ERR, WARN_ERR]),
    "2.7": ("MSA|AE|CID1", [NEW_ERR, WARN_ERR], [NEW_ERR, WARN_ERR]),
    "2.7.1": ("MSA|AE|CID1", [NEW_ERR, WARN_ERR], [NEW_ERR, WARN_ERR]),
    "2.8": ("MSA|AE|CID1", [NEW_ERR, WARN_ERR], [NEW_ERR, WARN_ERR]),
    "2.8.2": ("MSA|AE|CID1", [NEW_ERR, WARN_ERR], [NEW_ERR, WARN_ERR]),
    "2.9": ("MSA|AE|CID1", [NEW_ERR, WARN_ERR], [NEW_ERR, WARN_ERR]),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_msa_and_err_by_version(version: str) -> None:
    msa, in_mfk, in_ack = ERRORS[version]
    for lines, errors in (
        (mfk(version, "AE", UNMAPPED, MISSING), in_mfk),
        (answer(header(version, message_type="PMU^B01"), "original", "AE", findings=[UNMAPPED, MISSING]), in_ack),
    ):
        assert lines[1] == msa
        assert [line for line in lines if line.startswith("ERR")] == errors


@pytest.mark.parametrize("version", VERSIONS)
def test_order_of_segments(version: str) -> None:
    names = [line[:3] for line in mfk(version, "AE", MISSING)]
    err = [] if version == "2.3" else ["ERR"]
    assert names == ["MSH", "MSA", *err, *([] if version == "2.1" else ["MFI", "MFA", "MFA"])]


@pytest.mark.parametrize("version", VERSIONS)
def test_positive_answer_has_neither_error_text_nor_code(version: str) -> None:
    assert mfk(version, "AA")[1] == "MSA|AA|CID1"
    assert not any(line.startswith("ERR") for line in mfk(version, "AA"))
    warned = mfk(version, "AA", UNMAPPED)
    assert warned[1] == "MSA|AA|CID1"
    assert [line for line in warned if line.startswith("ERR")] == ([WARN_ERR] if version >= "2.5" else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_text_is_told_in_every_version(version: str) -> None:
    text = "1 of 2 records stored, delivery pending"
    lines = mfk(version, "AA", text=text)
    if version < "2.7":
        assert lines[1] == f"MSA|AA|CID1|{text}"
        assert not any(line.startswith("ERR") for line in lines)
    else:
        assert lines[1] == "MSA|AA|CID1"
        assert lines[2] == f"ERR|||0^Message accepted^HL70357|I||||{text}"
    refused = mfk(version, "AR", text="Not available, send it again")
    if version < "2.7":
        assert refused[1] == "MSA|AR|CID1|Not available, send it again"
    else:
        assert refused[2] == "ERR|||207^Application internal error^HL70357|E||||Not available, send it again"


def test_text_that_a_finding_says_already_is_told_once() -> None:
    lines = mfk("2.8", "AE", MISSING, text=MISSING.text)
    assert [line for line in lines if line.startswith("ERR")] == [NEW_ERR]


def test_msa_3_keeps_to_its_length() -> None:
    fields = mfk("2.4", "AE", text="x" * 200)[1].split("|")
    assert fields[3] == "x" * 77 + "..."
    assert mfk("2.4", "AE", text="x" * 80)[1].split("|")[3] == "x" * 80


@pytest.mark.parametrize(
    ("location", "position", "new", "old"),
    [
        (None, 0, "", "^^^"),
        (None, 3, "MFE^3", "MFE^3^^"),
        (Location("MSH", 1, 10), 0, "MSH^1^10", "MSH^1^10^"),
        (Location("STF", 2), 2, "STF^2", "STF^2^^"),
        (Location("PRA", 1, 6, 2, 1), 1, "PRA^1^6^2^1", "PRA^1^6^"),
        (Location("STF", 1, 3, component=1), 1, "STF^1^3^^1", "STF^1^3^"),
    ],
)
def test_err_location(location: Location | None, position: int, new: str, old: str) -> None:
    bad = Finding("102", "odd", "text", location=location, position=position)
    pmu = "PMU^B01"
    assert answer(header("2.5", message_type=pmu), "original", "AE", findings=[bad])[2].split("|")[2] == new
    found = answer(header("2.4", message_type=pmu), "original", "AE", findings=[bad])[2].split("|")[1]
    assert found == f"{old}102&Data type error&HL70357"


@pytest.mark.parametrize(
    ("code", "text", "before_2_5"),
    [
        ("100", "Segment sequence error", "100"),
        ("101", "Required field missing", "101"),
        ("102", "Data type error", "102"),
        ("103", "Table value not found", "103"),
        ("104", "Value too long", "102"),
        ("199", "Other HL7 Error", "207"),
        ("200", "Unsupported message type", "200"),
        ("201", "Unsupported event code", "201"),
        ("202", "Unsupported processing id", "202"),
        ("203", "Unsupported version id", "203"),
        ("204", "Unknown key identifier", "204"),
        ("205", "Duplicate key identifier", "205"),
        ("206", "Application record locked", "206"),
        ("207", "Application internal error", "207"),
    ],
)
def test_err_code(code: str, text: str, before_2_5: str) -> None:
    bad = Finding(code, "local", "text")
    new = answer(header("2.6"), "original", "AE", findings=[bad])[2]
    assert new == f"ERR|||{code}^{text}^HL70357|E|local^^L|||text"
    old = answer(header("2.2"), "original", "AE", findings=[bad])[2]
    assert old == f"ERR|^^^{before_2_5}"


def test_several_errors_in_the_old_err_are_repetitions() -> None:
    bad = [MISSING, UNMAPPED, Finding("102", "odd", "text", location=Location("STF", 1, 6))]
    assert answer(header("2.4", message_type="PMU^B01"), "original", "AE", findings=bad)[2] == (
        "ERR|STF^2^1^101&Required field missing&HL70357~STF^1^6^102&Data type error&HL70357"
    )


@pytest.mark.parametrize("version", ["2.4", "2.5.1"])
def test_errors_are_bounded(version: str) -> None:
    bad = [Finding("101", "key-missing", "The key is missing", position=n) for n in range(1, 50_001)]
    warnings = [Finding("103", "odd", "text", Severity.WARNING)] * 3
    built = build(
        header(version),
        "original",
        "AE",
        control_id="A",
        now=NOW,
        findings=[*warnings, *bad],
        master_file=MFI,
        records=[],
    )
    errors = [line for line in built.decode().split("\r") if line.startswith("ERR")]
    if version == "2.4":
        assert len(errors) == 1
        assert errors[0].count("~") == MOST_ERRORS - 1
    else:
        assert len(errors) == MOST_ERRORS + 1
        assert errors[0].startswith("ERR||MFE^1|")
        assert errors[-1] == "ERR|||101^Required field missing^HL70357|E|more-findings^^L|||49953 more are not listed"
    assert len(built) < 10_000


# --- MFI and MFA -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response_level", "expected"),
    [
        ("AL", ["S", "U"]),
        ("NE", []),
        ("ER", ["U"]),
        ("SU", ["S"]),
        ("", ["S", "U"]),
        ("al", ["S", "U"]),
        ("XX", ["S", "U"]),
    ],
)
@pytest.mark.parametrize("kind", ["original", "application"])
def test_mfi_6_decides_which_mfa_return(response_level: str, expected: list[str], kind: str) -> None:
    mfi = f"MFI|STF||UPD|||{response_level}"
    lines = answer(
        header(), kind, "AE", records=[GOOD, BAD], master_file=mfi, response_level=response_level, findings=[MISSING]
    )
    assert mfi in lines
    assert [line.split("|")[4].split("^")[0] for line in lines if line.startswith("MFA")] == expected


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_mfa(version: str) -> None:
    key_type = "" if version in ("2.2", "2.3") else "CWE"
    good, bad = mfk(version, "AE", MISSING)[-2:]
    assert good == f"MFA|MAD|C1||S^stored, delivery pending^HL70181|E100^EMP^L|{key_type}".rstrip("|")
    assert bad == f"MFA|MUP|C2|20260318113054+0000|U^key-missing^HL70181||{key_type}".rstrip("|")


def test_mfa_without_text_is_the_bare_code() -> None:
    lines = answer(header(), records=[MfaLine(RecordEcho("MDC", "C9", "K~L", "CWE~CWE"), True)], master_file=MFI)
    assert lines[-1] == "MFA|MDC|C9||S|K~L|CWE~CWE"


def test_mfk_without_records() -> None:
    assert [line[:3] for line in answer(header(), records=None, master_file=MFI)] == ["MSH", "MSA", "MFI"]


def test_echoes_go_back_in_the_bytes_that_they_came_in() -> None:
    for codec in ("shift_jis", "big5", "gb18030", "iso8859-1", "utf-8", "iso2022_jp"):
        key = "é" if codec == "iso8859-1" else "表山"
        if codec == "big5":
            key = "山許"
        text = f"MSH|^~\\&|{key}|N|B|F|2026||MFN^M02|C{key}|P|2.5\rMFI|STF^{key}||UPD|||AL\rMFE|MAD|{key}||{key}|CWE\r"
        raw = text.encode(codec)
        message = Message(raw, codec)
        mfe, mfi = message.first("MFE"), message.first("MFI")
        assert mfe is not None
        assert mfi is not None
        line = MfaLine(RecordEcho(mfe.raw(1), mfe.raw(2), mfe.raw(4), mfe.raw(5)), True)
        built = build(
            message.header,
            "original",
            "AA",
            control_id="A",
            now=NOW,
            records=[line],
            master_file=mfi.text,
            codec=message.codec,
        )
        read = Message(built, codec)
        assert read.read("MSH-5") == read.read("MFI-1.2") == read.read("MFA-2") == read.read("MFA-5") == key
        assert read.read("MSA-2") == f"C{key}"


# --- what must hold whatever the message held ------------------------------------------------------------------------


def test_header_echoes_are_cleaned() -> None:
    head = read_header(b"MSH|^~\\&|H\x0bR|N\x1c|B|F|2026||MFN^M02|C\x0b1\x1c|P|2.5\r")
    built = build(
        head,
        "original",
        "AE",
        control_id="A",
        now=NOW,
        text="two\r\nlines \x0b\x1c",
        master_file="MFI|S\x1cT\nF",
        records=[MfaLine(RecordEcho("M\x0b", "\r", "\x1c", "\n"), False, "a\rb")],
    )
    assert not set(b"\x0b\x1c\n") & set(built)
    assert [line[:4] for line in built.decode().split("\r")] == ["MSH|", "MSA|", "MFI|", "MFA|", ""]
    assert b"\rMSA|AE|C1|two\\X0D\\\\.br\\lines \\X0B\\\\X1C\\\r" in built


_ID = st.binary(min_size=1, max_size=20).filter(lambda data: not set(data) & set(b"|\r\n\x0b\x1c\x1b"))


@settings(max_examples=examples(80), deadline=None)
@given(_ID)
def test_msa_2_is_msh_10_byte_for_byte(control_id: bytes) -> None:
    raw = b"MSH|^~\\&|HR|N|B|F|2026||MFN^M02|" + control_id + b"|P|2.5\r"
    built = build(read_header(raw), "original", "AA", control_id="A", now=NOW)
    assert built.split(b"\r")[1] == b"MSA|AA|" + control_id


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=80), st.text(max_size=20), st.sampled_from(["utf-8", "ascii", "big5", "latin-1"]))
def test_any_header_gives_a_readable_answer(tail: bytes, text: str, codec: str) -> None:
    try:
        head = read_header(b"MSH|^~\\&|" + tail)
    except MessageError:
        return
    for kind in ("original", "accept", "application"):
        built = build(
            head,
            kind,
            "AE",
            control_id="A1",
            now=NOW,
            text=text,
            findings=[Finding("101", "x", text)],
            records=[MfaLine(RecordEcho(text, text, text, text), True, text)],
            master_file="MFI|" + text,
            codec=codec,
        )
        assert not set(b"\x0b\x1c\n") & set(built)
        read = read_header(built)
        assert read.field(10) == "A1"
        assert is_acknowledgment(read)
        assert built.endswith(b"\r")
        assert b"\r\r" not in built


@needs_corpus
def test_every_header_of_the_corpus_is_answered() -> None:
    answered = 0
    for path in FILES:
        try:
            head = read_header(path.read_bytes())
        except MessageError:
            continue
        built = build(head, "original", "AE", control_id="A1", now=NOW, findings=[MISSING])
        answered += 1
        read = read_header(built)
        assert read.field(5) == head.field(3)
        assert read.field(4) == head.field(6)
        msa = built.split(b"\r")[1].split(read.separators.field.encode())
        assert [*msa, b""][2] == head.control_id.encode("latin-1")
    assert answered > 220


@pytest.mark.parametrize("version", ["2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2"])
@pytest.mark.parametrize("code", ["AA", "AE"])
def test_hl7apy_finds_the_structure_valid(version: str, code: str) -> None:
    """A second opinion on the order and number of segments and fields, from tables of the standard."""
    findings = [MISSING] if code == "AE" else []
    records = [GOOD, MfaLine(RecordEcho("MUP", "C2", "E200", "CWE"), code == "AA")]
    answers = [answer(header(version), "original", code, findings=findings, records=records, master_file=MFI)]
    if version >= "2.3.1":
        # Without MSH-9.3, hl7apy looks for a structure of the name ACK_A04, which nobody has.
        answers.append(answer(header(version, message_type="ADT^A04"), "original", code, findings=findings))
    for lines in answers:
        message = parse_message("\r".join(lines), validation_level=VALIDATION_LEVEL.TOLERANT)
        assert message.validate()
        assert [segment.name for segment in message.children] == [line[:3] for line in lines]


# --- small things ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOW, "20260318113055+0000"),
        (NOW.astimezone(timezone(timedelta(hours=-5, minutes=-30))), "20260318060055-0530"),
    ],
)
def test_hl7_time(moment: datetime, expected: str) -> None:
    assert hl7_time(moment) == expected


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        hl7_time(datetime(2026, 3, 18))
    with pytest.raises(ValueError, match="offset"):
        build(header(), "original", "AA", control_id="A", now=datetime(2026, 3, 18))


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        build(header(), "commit", "CA", control_id="A", now=NOW)
