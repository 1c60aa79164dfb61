"""The reader: places, presence, repetitions, line endings, and headers that senders get wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.errors import MessageError, UnreadableMessage
from hl7bridge.hl7.message import Message, read_header
from tests.examples import examples
from tests.hl7.corpus import FILES, needs_corpus

RAW = (
    b"MSH|^~\\&|HRSYS|NORTH^1.2.3^ISO|BRIDGE|FHIR|20260318113055+0000||MFN^M02^MFN_M02|CID 1 |P^T|2.5.1^GBR|||AL|NE||"
    b"UNICODE UTF-8~8859/1|||PROFILE\r"
    b"MFI|PRA^Practitioner^HL70175|HRSYS|UPD|||AL\r"
    b"MFE|MAD|C1||E100^EMP^L|CWE\r"
    b"STF|E100^EMP^L|U1^^^NORTH&1.2.826&ISO^EI~U2^^^NORTH^EI|Van Loon&Van&Loon^Ana^^^Dr|MD|F|19790412|A||"
    b'CARD^Cardiology \\T\\ Vascular|^WPN~~^PRN^""|""|\r'
    b"PRA|E100\r"
    b"MFE|MUP|C2||E200\r"
    b"STF|E200||Okafor\r"
    b"ZX1|any\\.br\\text|\\X41\\\r"
)


@pytest.fixture(scope="module")
def message() -> Message:
    return Message(RAW)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("MSH-1", "|"),
        ("MSH-2", "^~\\&"),
        ("MSH-3", "HRSYS"),
        ("MSH-4.2", "1.2.3"),
        ("MSH-9.3", "MFN_M02"),
        ("MSH-10", "CID 1 "),
        ("MSH-18[2]", "8859/1"),
        ("MSH-21", "PROFILE"),
        ("MFI-1", "PRA"),
        ("STF-1", "E100"),
        ("STF-1.3", "L"),
        ("STF-1.4", ""),
        ("STF-1.1.2", ""),
        ("STF-2.4.2", "1.2.826"),
        ("STF-2[2].1", "U2"),
        ("STF-2[2].4", "NORTH"),
        ("STF-2[3].1", ""),
        ("STF-3.1", "Van Loon"),
        ("STF-3.1.3", "Loon"),
        ("STF-3.1.0", "Van Loon&Van&Loon"),
        ("STF-3.5", "Dr"),
        ("STF-3.6", ""),
        ("STF-9.2", "Cardiology & Vascular"),
        ("STF-10.2", "WPN"),
        ("STF-10[2].2", ""),
        ("STF-10[3].2", "PRN"),
        ("STF-10[3].3", ""),
        ("STF-11", ""),
        ("STF-99", ""),
        ("STF[2]-3", "Okafor"),
        ("STF[3]-3", ""),
        ("MFE[2]-4.1", "E200"),
        ("ZX1-1", "any\ntext"),
        ("ZX1-2", "A"),
        ("ORG-1", ""),
    ],
)
def test_read(message: Message, path: str, expected: str) -> None:
    assert message.read(path) == expected


@pytest.mark.parametrize("path", ["", "STF", "stf-1", "STF-", "STF-x", "STF-1.2.3.4", "STF.1", "STF-1[a]"])
def test_text_that_names_no_place(message: Message, path: str) -> None:
    with pytest.raises(ValueError, match=r"STF-3\.1"):
        message.read(path)


def test_segments_in_order(message: Message) -> None:
    assert [(s.name, s.occurrence) for s in message.segments] == [
        ("MSH", 1),
        ("MFI", 1),
        ("MFE", 1),
        ("STF", 1),
        ("PRA", 1),
        ("MFE", 2),
        ("STF", 2),
        ("ZX1", 1),
    ]
    assert [s.raw(1) for s in message.all("MFE")] == ["MAD", "MUP"]
    assert message.all("ORG") == []
    assert message.first("ORG") is None
    assert message.line_ending == "\r"
    assert message.deviations == ()
    assert message.raw is RAW


def test_segment(message: Message) -> None:
    stf = message.first("STF")
    assert stf is not None
    assert stf.fields == 12
    assert stf.text.startswith("STF|E100^EMP^L|")
    assert stf.raw(2) == "U1^^^NORTH&1.2.826&ISO^EI~U2^^^NORTH^EI"
    assert stf.raw(0) == stf.raw(-1) == stf.raw(13) == ""
    assert stf.value(0) == stf.value(-1) == ""
    assert (stf.is_null(11), stf.is_present(11)) == (True, True)
    assert (stf.is_null(12), stf.is_present(12)) == (False, False)
    assert (stf.is_null(1), stf.is_present(1)) == (False, True)
    assert stf.value(3, 0) == "Van Loon&Van&Loon^Ana^^^Dr"
    assert stf.value(3, 1, 0) == "Van Loon&Van&Loon"
    assert stf.value(11, 0) == ""
    assert stf.value(1, repetition=2) == ""
    assert "Van Loon" not in repr(stf) + repr(message)
    msh = message.first("MSH")
    assert msh is not None
    assert msh.fields == 21
    assert (msh.raw(1), msh.raw(2), msh.raw(3)) == ("|", "^~\\&", "HRSYS")
    assert (msh.value(2, 2), msh.value(2, 1, 2), msh.value(2, repetition=2)) == ("", "", "")


def test_repetitions(message: Message) -> None:
    stf = message.first("STF")
    msh = message.first("MSH")
    assert stf is not None
    assert msh is not None
    phones = stf.repetitions(10)
    assert [phone.raw for phone in phones] == ["^WPN", "", '^PRN^""']
    assert [phone.components for phone in phones] == [2, 0, 3]
    assert [phone.component(2) for phone in phones] == ["WPN", "", "PRN"]
    assert [phone.is_null(3) for phone in phones] == [False, False, True]
    assert phones[2].component(3) == ""
    assert phones[0].raw_component(0) == phones[0].raw_component(9) == ""
    assert stf.repetitions(12) == []
    (cleared,) = stf.repetitions(11)
    assert cleared.is_null()
    (name,) = stf.repetitions(3)
    assert name.component(1, 2) == "Van"
    assert name.component(1, 4) == ""
    assert name.component(2, 2) == ""
    assert name.component(1, 0) == name.raw_component(1) == "Van Loon&Van&Loon"
    assert stf.repetitions(9)[0].text == "CARD^Cardiology & Vascular"
    (encoding,) = msh.repetitions(2)
    assert encoding.component(1) == encoding.text == "^~\\&"


def test_header() -> None:
    header = read_header(RAW)
    assert header.sending_application == "HRSYS"
    assert header.sending_facility == "NORTH^1.2.3^ISO"
    assert (header.message_type, header.trigger_event, header.structure) == ("MFN", "M02", "MFN_M02")
    assert header.control_id == "CID 1 "
    assert header.processing_id == "P"
    assert header.version == "2.5.1"
    assert header.message_time == "20260318113055+0000"
    assert (header.accept_type, header.application_type) == ("AL", "NE")
    assert header.charset == "UNICODE UTF-8"
    assert header.charsets == ("UNICODE UTF-8", "8859/1")
    assert (header.field(1), header.field(2), header.field(0), header.field(99)) == ("|", "^~\\&", "", "")


@pytest.mark.parametrize(
    ("raw", "control_id", "message_type"),
    [
        (b"MSH|^~\\&|", "", ""),
        (b"MSH|", "", ""),
        (b"MSH|^~\\&|||||||ADT^A01", "", "ADT"),
        (b"MSH|^~\\&||||||||C1", "C1", ""),
        (b"MSH|^~\\&||||||| ADT ^A01|C1\rEVN", "C1", "ADT"),
        (b"MSH|^~\\&|||||||ADT^A01|C1\nEVN|x\rPID", "C1", "ADT"),
        (b"MSH|^~\\&|||||||ADT^A01|C1\r\nEVN", "C1", "ADT"),
        (b"\r\n\r\nMSH|^~\\&|||||||ADT^A01|C1\r", "C1", "ADT"),
        (b"\xef\xbb\xbfMSH|^~\\&|||||||ADT^A01|C1\r", "C1", "ADT"),
        (b"\xef\xbb\xbf\r\nMSH|^~\\&|||||||ADT^A01|C1\r", "C1", "ADT"),
        (b"\0 MSH|^~\\&|||||||ADT^A01|C1\r", "C1", "ADT"),
        (b"MSH#@!/+#######ADT@A01#C1\r", "C1", "ADT"),
        (b"MSH|^~\\@|||||||ADT^A01|C1\r", "C1", "ADT"),
        (b"MSH||||||||ADT^A01|C1\r", "C1", "ADT"),
        (b"MSH|0000|||||||ADT|C1\r", "C1", "ADT"),
        (b"MSH|^~\\&|||||||ADT~ORU^A01|C\xe91\r", "C\xe91", "ADT"),
    ],
)
def test_header_that_is_odd_but_readable(raw: bytes, control_id: str, message_type: str) -> None:
    header = read_header(raw)
    assert header.control_id == control_id
    assert header.message_type == message_type


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"MSH",
        b"msh|^~\\&|",
        b"PID|1",
        b"MSHX",
        b"MSH 1",
        b"MSH\x0b^~\\&\x0bA\x0bB",
        b"MSH\x1c^~\\&\x1cA\x1cB",
        b"MSH\n^~\\&\nA\nB",
        b"MSH\r|^~\\&",
        b"FHS|^~\\&",
        b"GET / HTTP/1.1",
        b"MS",
    ],
)
def test_no_msh(raw: bytes) -> None:
    with pytest.raises(UnreadableMessage) as caught:
        read_header(raw)
    assert (caught.value.finding.code, caught.value.finding.local) == ("100", "not-hl7")


def test_unusable_encoding_characters_refuse_the_message_but_not_its_header() -> None:
    raw = b"MSH|0000|||||||ADT|C1\rPID|1\r"
    assert read_header(raw).control_id == "C1"
    with pytest.raises(UnreadableMessage) as caught:
        Message(raw)
    assert (caught.value.finding.code, str(caught.value.finding.location)) == ("102", "MSH-2")


HEAD = "MSH|^~\\&|||||||MFN^M02|1|P|2.5"


@pytest.mark.parametrize(
    ("body", "ending", "lines", "deviations"),
    [
        (f"{HEAD}\rMFI|a\rMFE|b\r", "\r", [HEAD, "MFI|a", "MFE|b"], ()),
        (f"{HEAD}\rMFI|a\rMFE|b", "\r", [HEAD, "MFI|a", "MFE|b"], ()),
        (HEAD, "\r", [HEAD], ()),
        (f"{HEAD}\nMFI|a\nMFE|b\n", "\n", [HEAD, "MFI|a", "MFE|b"], ("line-feed",)),
        (f"{HEAD}\r\nMFI|a\r\nMFE|b\r\n", "\r\n", [HEAD, "MFI|a", "MFE|b"], ("line-feed",)),
        (f"{HEAD}\r\nMFI|a\nMFE|b\r", "\r\n", [HEAD, "MFI|a\nMFE|b"], ("line-feed",)),
        (f"{HEAD}\rMFI|a\nMFE|b\r", "\r", [HEAD, "MFI|a\nMFE|b"], ()),
        (f"{HEAD}\nMFI|a\rMFE|b\r\nSTF|c\n", "\r", [f"{HEAD}\nMFI|a", "MFE|b", "STF|c"], ()),
        ("MSH|^~\\&|A\nSYS|||||||1|P\rMFI|a\r", "\r", ["MSH|^~\\&|A\nSYS|||||||1|P", "MFI|a"], ()),
        (f"{HEAD}\rMFI|a\r\nMFE|b\r", "\r", [HEAD, "MFI|a", "MFE|b"], ()),
        (f"{HEAD}\rNTE|1||two\nlines\rMFE|b\r", "\r", [HEAD, "NTE|1||two\nlines", "MFE|b"], ()),
        (f"{HEAD}\r\r\r \rMFI|a\r", "\r", [HEAD, "MFI|a"], ()),
        (f"\r\n{HEAD}\rMFI|a\r", "\r", [HEAD, "MFI|a"], ("leading-blank",)),
        (f"{HEAD}\rMFI |a\r", "\r", [HEAD, "MFI |a"], ()),
        (f"{HEAD}\rEVN\rMFI|a\r", "\r", [HEAD, "EVN", "MFI|a"], ()),
        (f"{HEAD}\rfree text\rmfi|a\r|b\r", "\r", [HEAD, "free text", "mfi|a", "|b"], ("no-segment-name",)),
        (f"{HEAD}\rNTE|1||\\Z01\\\r", "\r", [HEAD, "NTE|1||\\Z01\\"], ("escape-left-out",)),
    ],
)
def test_line_endings(body: str, ending: str, lines: list[str], deviations: tuple[str, ...]) -> None:
    read = Message(body.encode())
    assert [segment.text for segment in read.segments] == lines
    assert read.line_ending == ending
    assert read.deviations == deviations


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("MFI |a", "MFI"),
        (" MFI|a", "MFI"),
        ("EVN", "EVN"),
        ("ZA1|", "ZA1"),
        ("mfi|a", ""),
        ("1AB|", ""),
        ("text", ""),
        ("|", ""),
    ],
)
def test_segment_names(line: str, name: str) -> None:
    segment = Message(f"{HEAD}\r{line}\r".encode()).segments[1]
    assert segment.name == name
    assert segment.occurrence == 1


def test_separators_of_the_message_rule() -> None:
    read = Message(b"MSH#@!/+#########1#P#2.5\rSTF#K@L+M!N#a/S/b/F/c|d^e\r")
    assert read.read("STF-1.2.2") == "M"
    assert read.read("STF-1[2]") == "N"
    assert read.read("STF-2") == "a@b#c|d^e"


def test_characters_left_out_of_msh_2_are_data() -> None:
    read = Message(b"MSH|^~|||||||MFN|1\rSTF|R&D \\F\\^x\r")
    assert read.read("STF-1.1") == "R&D \\F\\"
    single = Message(b"MSH|^|||||||MFN|1\rSTF|a~b^c\r")
    assert single.read("STF-1") == "a~b"
    stf = single.first("STF")
    assert stf is not None
    assert [r.raw for r in stf.repetitions(1)] == ["a~b^c"]


# --- properties ------------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["STF", "PRA", "MFE", "ZX1", "NTE"])
_FIELD = st.text(alphabet="ab1^~\\&é\"'\u6c34 .F", max_size=12)
_SEGMENT = st.builds(lambda name, fields: "|".join([name, *fields]), _NAMES, st.lists(_FIELD, max_size=8))


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(_SEGMENT, max_size=12), st.sampled_from(["\r", "\n", "\r\n"]))
def test_segments_out_are_segments_in(lines: list[str], ending: str) -> None:
    raw = ending.join([HEAD, *lines, ""]).encode()
    read = Message(raw)
    assert [segment.text for segment in read.segments] == [HEAD, *lines]
    for segment, line in zip(read.segments[1:], lines, strict=True):
        fields = line.split("|")
        assert [segment.name, *(segment.raw(n) for n in range(1, segment.fields + 1))] == fields
        for number in range(1, segment.fields + 1):
            assert "~".join(r.raw for r in segment.repetitions(number)) == segment.raw(number)
            for repetition in segment.repetitions(number):
                parts = [repetition.raw_component(c) for c in range(1, repetition.components + 1)]
                assert "^".join(parts) == repetition.raw


def read_everything(read: Message) -> None:
    """Ask for every place; nothing may raise."""
    _ = read.deviations, read.header.charsets
    for segment in read.segments:
        for number in range(-1, min(segment.fields + 2, 60)):
            segment.is_null(number)
            for repetition in segment.repetitions(number)[:3]:
                _ = repetition.text
                for component in range(-1, min(repetition.components + 2, 8)):
                    repetition.component(component)
                    repetition.component(component, 2)
                    repetition.is_null(component)
            for place in ((1, 1, 1), (2, 3, 1), (0, 1, 2), (1, 0, 1), (-1, -1, -1)):
                segment.value(number, *place)


def test_no_mutation_raises_anything_but_a_message_error() -> None:
    @settings(max_examples=examples(80), deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["cut", "insert", "replace", "double"]), st.integers(0, len(RAW)), st.binary(max_size=6)
            ),
            min_size=1,
            max_size=6,
        ),
        st.sampled_from(["utf-8", ["utf-8", "cp1252"], "big5", "ascii"]),
    )
    def check(mutations: list[tuple[str, int, bytes]], charset: str | list[str]) -> None:
        raw = RAW
        for kind, at, data in mutations:
            if kind == "cut":
                raw = raw[:at] + raw[at + len(data) :]
            elif kind == "insert":
                raw = raw[:at] + data + raw[at:]
            elif kind == "replace":
                raw = raw[:at] + data + raw[at + len(data) :]
            else:
                raw = raw[:at] + raw[max(0, at - 40) :]
        try:
            read_header(raw)
            read = Message(raw, charset)
        except MessageError:
            return
        read_everything(read)

    check()


@settings(max_examples=examples(80), deadline=None)
@given(st.binary(max_size=60).map(lambda tail: b"MSH" + tail) | st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_message_error(raw: bytes) -> None:
    try:
        read_header(raw)
        read_everything(Message(raw))
    except MessageError:
        pass


@needs_corpus
def test_corpus_is_read_without_loss() -> None:
    read_count = 0
    for path in FILES:
        raw = path.read_bytes()
        try:
            read = Message(raw)
        except MessageError:
            continue
        read_count += 1
        read_everything(read)
        sent = raw.decode(read.codec).replace("\n", "\r").split("\r")
        assert "".join(s.text.replace("\n", "") for s in read.segments) == "".join(
            line for line in sent if line.strip()
        )
    assert read_count > 200
