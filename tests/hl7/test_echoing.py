"""Whatever a header holds, the answer to it is a valid message of its own: judged by hl7apy's strict tables and by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.errors import MessageError
from hl7bridge.hl7.acknowledgment import MfaLine, build
from hl7bridge.hl7.charset import codec_of_field
from hl7bridge.hl7.header import read_header
from hl7bridge.model import Finding, Location, RecordEcho
from tests.examples import examples

NOW = datetime(2026, 3, 18, 11, 30, 55, tzinfo=UTC)
_MINOR = ["1", "2", "3", "3.1", "3.2", "4", "5", "5.1", "6", "7", "7.1", "8", "8.1", "8.2", "9", "9.1"]
VERSIONS = [f"2.{minor}" for minor in _MINOR]
JUDGED = frozenset(["2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2"])
"""Versions of which hl7apy knows the structure ACK."""
BAD = Finding("101", "key-missing", "The staff key is missing", location=Location("STF", 2, 1), position=2)


def msh(**damage: str | bytes) -> bytes:
    """An MSH in order, but for the fields that are given (f9="...")."""
    fields: dict[str, str | bytes] = {
        **{"f2": "^~\\&", "f3": "HR", "f4": "NORTH", "f5": "BRIDGE", "f6": "FHIR", "f7": "20260318113000"},
        **{"f9": "MFN^M02^MFN_M02", "f10": "CID1", "f11": "P", "f12": "2.5.1"},
        **damage,
    }
    last = max(int(name[1:]) for name in fields)
    parts = [fields.get(f"f{number}", "") for number in range(2, last + 1)]
    return b"|".join([b"MSH", *(part if isinstance(part, bytes) else part.encode() for part in parts)]) + b"\r"


def answer(raw: bytes, kind: str = "original", **more: object) -> bytes:
    given_findings = {"findings": [BAD], "text": "The staff key is missing"}
    return build(read_header(raw), kind, "AE", control_id="A1", now=NOW, **{**given_findings, **more})  # type: ignore[arg-type]


def fields(**damage: str | bytes) -> list[str]:
    """MSH of the answer: [n] is MSH-n."""
    line = answer(msh(**damage)).split(b"\r")[0].decode("latin-1")
    return ["", "|", *line.split("|")[1:], *[""] * 22]


def judge(raw: bytes, built: bytes, *, blank: str = "latin-1") -> None:
    """That the answer is a valid message by itself. `blank`: the set that a sender without MSH-18 has agreed on."""
    head, sent = read_header(built), read_header(raw)
    assert head.version in VERSIONS
    assert head.processing_id in ("P", "T", "D", "N")
    assert head.control_id
    assert len(head.field(2)) == 4 or (head.version >= "2.7" and len(head.field(2)) == 5)
    assert head.separators.usable
    assert not any('""' in head.field(number) for number in (3, 4, 5, 6, 9, 11, 12, 15, 16, 18, 20))
    assert [head.field(number) for number in (8, 13, 14, 17, 19)] == [""] * 5
    text = built.decode(codec_of_field(head.charsets) or blank)
    (msa,) = [line for line in built.split(b"\r") if line.startswith(b"MSA")]
    assert [*msa.split(head.separators.field.encode()), b""][2] == sent.field(10).encode("latin-1")
    if head.version not in JUDGED:
        return
    if not head.trigger_event:  # hl7apy knows no ACK without an event
        text = text.replace("ACK", "ACK^A01^ACK".replace("^", head.separators.component), 1)
    message = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT)
    assert message.validate()


# --- one row for each value that must not come back ------------------------------------------------------------------

NAMES = [
    ("HR", "HR"),
    ("HR^1.2.3^ISO", "HR^1.2.3^ISO"),
    ("^^", "^^"),
    ('""', ""),
    (' "" ', ""),
    ("R&D", "R\\T\\D"),
    ("R\\T\\D", "R\\T\\D"),
    ("A~B", "A\\R\\B"),
    ("A^B^C^D", "A^B^C"),
    ("H\x07R\x00", "HR"),
    ("x" * 300, ""),
]


@pytest.mark.parametrize("number", [3, 4, 5, 6])
@pytest.mark.parametrize(("sent", "echoed"), NAMES)
def test_names(number: int, sent: str, echoed: str) -> None:
    other = {3: 5, 4: 6, 5: 3, 6: 4}[number]
    assert fields(**{f"f{number}": sent})[other] == echoed


def test_names_before_hd_are_text() -> None:
    assert fields(f3="HR^1.2.3^ISO", f12="2.2")[5] == "HR\\S\\1.2.3\\S\\ISO"


def test_a_character_that_holds_the_byte_of_a_separator_is_whole() -> None:
    name = "タ能一".encode("shift_jis")  # two of their second bytes are ^ and \\
    assert b"^" in name
    assert b"\\" in name
    for more in ({}, {"codec": "shift_jis"}):
        built = answer(msh(f3=name, f18="ISO IR14"), **more)
        assert built.split(b"\r")[0].split(b"|")[4] == name
    assert answer(msh(f3=name), codec="shift_jis").split(b"\r")[0].split(b"|")[4] == name


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("", "P"),
        ('""', "P"),
        ("P", "P"),
        ("T", "T"),
        ("D^T", "D^T"),
        ("P^X", "P"),
        ("P^T^A", "P^T"),
        ("PROD", "P"),
        ("t", "P"),
        ("2.5.1", "P"),
    ],
)
def test_processing_id(sent: str, echoed: str) -> None:
    assert fields(f11=sent)[11] == echoed


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("2.3", "2.3"),
        ("2.5^DEU&&HL70399", "2.5^DEU&&HL70399"),
        ("2.3^DEU", "2.3"),
        ("2.5.7", "2.5.1"),
        ("2.4.1", "2.4"),
        ("2.05", "2.5"),
        (" 2.5.1 ", "2.5.1"),
        ("2.5~2.6", "2.5"),
        ("2.5^A^B^C", "2.5"),
        ("", "2.5.1"),
        ('""', "2.5.1"),
        ("9.9", "2.5.1"),
        ("v2.4", "2.5.1"),
        ("2.0", "2.5.1"),
        ("3", "2.5.1"),
        ("P", "2.5.1"),
    ],
)
def test_version(sent: str, echoed: str) -> None:
    assert fields(f12=sent)[12] == echoed


@pytest.mark.parametrize(
    ("sent", "more", "echoed"),
    [
        ("UNICODE UTF-8", {}, "UNICODE UTF-8"),
        ("8859/1", {"f3": b"Z\xfcrich"}, "8859/1"),
        ("UTF-8", {}, "UNICODE UTF-8"),
        ("windows-1252", {}, "windows-1252"),
        ("8859/1~UNICODE UTF-8", {}, "8859/1~UNICODE UTF-8"),
        ("8859/1~KLINGON", {}, "8859/1"),
        ("~ISO IR87", {}, "~ISO IR87"),
        ('""', {}, ""),
        ('"" ', {}, ""),
        ("", {"f3": b"Z\xfcrich"}, ""),  # the set that was agreed on
        ("KLINGON", {}, ""),
        ("UNICODE UTF-16", {}, ""),
        ("MARKER^X", {}, ""),
        ("UNICODE UTF-8", {"f3": b"Z\xfcrich"}, "8859/1"),
        ("ASCII", {"f3": "Zürich"}, "UNICODE UTF-8"),
        ("KLINGON", {"f3": b"Z\xfcrich"}, "8859/1"),
        ("UNICODE UTF-16", {"f3": "Zürich"}, "UNICODE UTF-8"),
        ("UNICODE UTF-8", {"f12": "2.2"}, ""),
        ("8859/1~UNICODE UTF-8", {"f12": "2.3"}, "8859/1"),
    ],
)
def test_character_set(sent: str, more: dict[str, str | bytes], echoed: str) -> None:
    assert fields(f18=sent, **more)[18] == echoed


@pytest.mark.parametrize(
    ("sent", "version", "echoed"),
    [
        ("ISO 2022-1994", "2.5.1", "ISO 2022-1994"),
        ("2.3", "2.4", "2.3"),
        ("ISO 2022-1994", "2.3", ""),
        ("Canary", "2.5.1", ""),
        ('""', "2.5.1", ""),
    ],
)
def test_set_handling(sent: str, version: str, echoed: str) -> None:
    assert fields(f20=sent, f12=version)[20] == echoed


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("MFN^M02", "ACK^M02^ACK"),
        ("ADT^Z01", "ACK^Z01^ACK"),
        ("MFN&x^M02&y", "ACK^M02^ACK"),
        ("MFN^m02", "ACK"),
        ('MFN^""', "ACK"),
        ("MFN^M02_", "ACK"),
        ("MFN^A~B", "ACK"),
        ("MFN^Miller", "ACK"),
        ("^M02", "ACK^M02^ACK"),
        ("MFN_M02", "ACK"),
        ('""', "ACK"),
    ],
)
def test_trigger_event(sent: str, echoed: str) -> None:
    assert fields(f9=sent)[9] == echoed


@pytest.mark.parametrize(
    ("sent", "version", "echoed"),
    [
        ("^~\\&", "2.5.1", "^~\\&"),
        ("^~\\&#", "2.5.1", "^~\\&"),
        ("^~\\&#", "2.7", "^~\\&#"),
        ("", "2.5.1", "^~\\&"),
        ("^", "2.5.1", "^~\\&"),
        ("^~", "2.5.1", "^~\\&"),
        ("~", "2.5.1", "~^\\&"),  # the usual repetition separator is taken: a free character stands in
        ("^~\\\\&", "2.5.1", "^~\\&"),
        ("@!/+", "2.5.1", "@!/+"),
        (".~\\&", "2.5.1", "^~\\&"),
        ("ABCD", "2.5.1", "^~\\&"),
        ("    ", "2.5.1", "^~\\&"),
        ('""', "2.5.1", "^~\\&"),
    ],
)
def test_separators(sent: str, version: str, echoed: str) -> None:
    raw = msh(f2=sent, f9="MFN", f12=version)
    assert answer(raw).split(b"\r")[0].split(b"|")[1].decode() == echoed
    judge(raw, answer(raw))


def test_what_the_sender_had_no_separator_for_is_text() -> None:
    line = answer(msh(f2="^", f3="R&D", f9="MFN^M02", f10="C~1")).split(b"\r")
    assert line[0].split(b"|")[4] == b"R\\T\\D"
    assert line[1].split(b"|")[2] == b"C~1"


@pytest.mark.parametrize("marks", ["+", "_", "-"])
def test_a_separator_that_stands_in_times_and_structures(marks: str) -> None:
    raw = msh(f2=f"{marks}~\\&", f9=f"MFN{marks}M02", f12="2.5.1")
    line = MfaLine(RecordEcho("MAD", "C1", "K1", "CWE"), True, "", "20260318113054+0000")
    built = answer(raw, records=[line], master_file="MFI|STF||UPD|||AL")
    head = read_header(built)
    assert head.field(7) == "20260318113055" + ("" if marks == "+" else "+0000")
    assert head.field(9).split(marks) == ["MFK", "M02", *(["MFK_M01"] if marks != "_" else [])]


def test_no_mode_before_there_was_one() -> None:
    raw = msh(f9="MFN", f12="2.1", f15="AL", f16="AL")
    assert answer(raw, "accept").split(b"\r")[0].endswith(b"|ACK|A1|P|2.1")


# --- whatever is damaged ---------------------------------------------------------------------------------------------

# One example of each kind of damage; hypothesis combines them and adds text of its own.
DAMAGE = [
    *(
        '""',
        ' ""',
        '"',
        "",
        " ",
        "R&D",
        "A~B",
        "A^B^C^D",
        "^",
        "^~^",
        "\\",
        "\\F\\",
        "\\X41",
        "x" * 300,
        "\x07\x00\x7f",
    ),
    *(
        "9.9",
        "2.5.7",
        "2.5^DEU",
        "2.4^A^B^C",
        "v2.5",
        "P^T^X",
        "PROD",
        "MFN_M02",
        "mfn^m02",
        "^M02",
        "MFN^M02&x",
        "ADT^",
    ),
    *("KLINGON", "UTF-8", "UNICODE UTF-16", "8859/1~KLINGON", "ASCII", "al", "XX", "ISO 2022-1994", "2.3", "20260101"),
]
_VALUES: st.SearchStrategy[str | bytes] = st.one_of(
    st.sampled_from(DAMAGE),
    st.text(st.characters(codec="utf-8"), max_size=4).filter(lambda text: not set(text) & set("|\r\n")),
    st.binary(max_size=5).filter(lambda data: not set(data) & set(b"|\r\n\x0b\x1c\x1b")),
)
_CONTROL_IDS = st.text(
    st.characters(codec="utf-8", min_codepoint=32, exclude_characters="|^~\\&\x7f"), min_size=1, max_size=20
)


@settings(max_examples=examples(25), deadline=None)
@given(
    st.dictionaries(st.sampled_from([f"f{n}" for n in (3, 4, 5, 6, 9, 11, 12, 13, 15, 16, 17, 18, 19, 20)]), _VALUES),
    st.sampled_from(["^~\\&", "^~\\&#", "", "^", "^~", "@!*+", "AB", '""', "^~\\\\&"]),
    st.sampled_from([version for version in VERSIONS if version in JUDGED]),
    _CONTROL_IDS,
    st.sampled_from(["original", "accept", "application"]),
)
def test_any_damage_gives_a_valid_answer(
    damage: dict[str, str | bytes], marks: str, version: str, control_id: str, kind: str
) -> None:
    # hl7apy takes no application name of more than 20 characters, the limit of another data type
    raw = msh(**{"f2": marks, "f12": version, **damage, "f10": control_id})
    judge(raw, answer(raw, kind))


@settings(max_examples=examples(50), deadline=None)
@given(st.binary(max_size=90), st.sampled_from([b"|", b"#", b"!", b"_", b'"', b"+"]))
def test_any_bytes_give_a_valid_answer(tail: bytes, field: bytes) -> None:
    raw = b"MSH" + field + tail.replace(b"\x0b", b"").replace(b"\x1c", b"")
    try:
        head = read_header(raw)
    except MessageError:
        return
    built = answer(raw)
    answered = read_header(built)
    if set(head.field(10)) & set("|" + answered.field(2)) or not head.field(10):
        if answered.field(1) == head.field(1):  # else a separator of the answer may stand in it
            msa = built.split(b"\r")[1].split(answered.field(1).encode())
            assert [*msa, b""][2] == head.field(10).encode("latin-1")
    else:
        judge(raw, built)
