"""MSH-18: table 0211 and what senders write instead, and messages that only decode before they split."""

from __future__ import annotations

import pytest

from hl7bridge.errors import UnreadableMessage, UnsupportedMessage
from hl7bridge.hl7.charset import codec_of, codec_of_field
from hl7bridge.hl7.message import Message, read_header


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("ASCII", "ascii"),
        ("ISO IR6", "ascii"),
        *((f"8859/{part}", f"iso8859-{part}") for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)),
        ("UNICODE", "utf-8"),
        ("UNICODE UTF-8", "utf-8"),
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("ISO-8859-1", "iso8859-1"),
        ("latin-1", "iso8859-1"),
        ("windows-1252", "cp1252"),
        ("cp1252", "cp1252"),
        ("ISO IR14", "shift_jis"),
        ("ISO IR87", "iso2022_jp"),
        ("ISO IR159", "iso2022_jp_1"),
        ("JIS X 0202", "iso2022_jp_ext"),
        ("JAS2020", "iso2022_jp_ext"),
        ("GB 18030-2000", "gb18030"),
        ("KS X 1001", "euc_kr"),
        ("BIG-5", "big5"),
        (" big5 ", "big5"),
    ],
)
def test_table_0211(name: str, codec: str) -> None:
    assert codec_of(name) == codec
    "".encode(codec)


@pytest.mark.parametrize("name", ["UNICODE UTF-16", "UNICODE UTF-32", "utf-16le", "CNS 11643-1992"])
def test_sets_that_cannot_be_read_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedMessage) as caught:
        codec_of(name)
    assert caught.value.finding.code == "207"
    assert str(caught.value.finding.location) == "MSH-18"


def test_unknown_name_is_refused_without_repeating_it() -> None:
    with pytest.raises(UnsupportedMessage) as caught:
        codec_of("KLINGON")
    assert caught.value.finding.code == "103"
    assert "KLINGON" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "codec"),
    [
        ([""], ""),
        (["", ""], ""),
        (["", "ISO IR87"], "iso2022_jp_ext"),
        (["ASCII", "ISO IR14", "ISO IR87"], "iso2022_jp_ext"),
        (["ISO IR87", "ISO IR159"], "iso2022_jp_ext"),
        (["8859/1", "8859/2"], "iso8859-1"),
        (["UNICODE UTF-8", "ISO IR87"], "utf-8"),
        (["", "8859/1"], ""),
        (["8859/1", "nonsense"], "iso8859-1"),
    ],
)
def test_repeated_msh_18(names: list[str], codec: str) -> None:
    assert codec_of_field(names) == codec


# Characters whose second byte is that of a separator or of the escape character.
BAR_IN_BIG5 = next(c for c in map(chr, range(0x4E00, 0x9FFF)) if c.encode("big5", "ignore")[1:] == b"|")
BACKSLASH_IN_SJIS = "表"
BAR_IN_GB18030 = next(c for c in map(chr, range(0x4E00, 0x9FFF)) if c.encode("gb18030", "ignore")[1:] == b"|")


def message(text: str, charset: str, *, facility: str = "NORTH", handling: str = "") -> str:
    return (
        f"MSH|^~\\&|HR|{facility}|||20260304||MFN^M02|CID-7|P|2.5.1||||||{charset}||{handling}\r"
        f"STF|S1|U1|{text}^Given||F\r"
    )


@pytest.mark.parametrize(
    ("text", "charset", "codec", "handling"),
    [
        (BAR_IN_BIG5, "BIG-5", "big5", ""),
        (BACKSLASH_IN_SJIS, "ISO IR14", "shift_jis", ""),
        (BAR_IN_GB18030, "GB 18030-2000", "gb18030", ""),
        ("山田", "~ISO IR87", "iso2022_jp_ext", "ISO 2022-1994"),
        ("山田", "ISO IR87", "iso2022_jp", ""),
        ("김", "KS X 1001", "euc_kr", ""),
        ("Müller", "8859/1", "iso8859-1", ""),
        ("Łukasz", "8859/2", "iso8859-2", ""),
        ("Иван", "8859/5", "iso8859-5", ""),
        ("Ольга", "UNICODE UTF-8", "utf-8", ""),
        ("€", "8859/15", "iso8859-15", ""),
    ],
)
def test_text_is_decoded_before_it_is_split(text: str, charset: str, codec: str, handling: str) -> None:
    raw = message(text, charset, handling=handling).encode(codec)
    read = Message(raw)
    assert read.codec == codec
    assert read.read("STF-3.1") == text
    assert read.read("STF-3.2") == "Given"
    assert read.read("STF-5") == "F"


@pytest.mark.parametrize(
    ("facility", "charset", "codec", "handling"),
    [
        (BAR_IN_BIG5, "BIG-5", "big5", ""),
        (BAR_IN_BIG5 * 3, "BIG-5", "big5", ""),
        (BAR_IN_GB18030, "GB 18030-2000", "gb18030", ""),
        ("木", "~ISO IR87", "iso2022_jp_ext", "ISO 2022-1994"),
        ("Ångström", "8859/1", "iso8859-1", ""),
    ],
)
def test_header_keeps_its_place_where_a_facility_holds_the_separators_byte(
    facility: str, charset: str, codec: str, handling: str
) -> None:
    raw = message("x", charset, facility=facility, handling=handling).encode(codec)
    header = read_header(raw)
    assert header.control_id == "CID-7"
    assert header.field(18) == charset
    assert header.sending_facility.encode("latin-1") == facility.encode(codec)
    assert Message(raw).read("MSH-4") == facility


def test_header_follows_the_charset_of_the_feed_where_msh_18_is_blank() -> None:
    raw = message("x", "", facility=BAR_IN_BIG5).encode("big5")
    assert read_header(raw, "big5").control_id == "CID-7"
    assert Message(raw, ["utf-8", "big5"]).header.control_id == "CID-7"
    # A stated set leaves no room for the feed's.
    stated = message("x", "UNICODE UTF-8", facility="Ångström é").encode()
    assert Message(stated, "big5").header.control_id == "CID-7"
    # UTF-8 reads first, and may not be cut as if it were Big5.
    utf8 = message("x", "", facility="Ångström é").encode()
    assert Message(utf8, ["utf-8", "big5"]).header.control_id == "CID-7"


def test_blank_msh_18_is_read_by_the_charset_of_the_feed() -> None:
    raw = message("José", "").encode("cp1252")
    assert Message(raw, "windows-1252").read("STF-3.1") == "José"
    assert Message(raw, ["utf-8", "windows-1252"]).codec == "cp1252"
    assert Message(message("José", "").encode(), ["utf-8", "windows-1252"]).codec == "utf-8"


def test_stated_charset_wins_over_the_charset_of_the_feed() -> None:
    assert Message(message("José", "8859/1").encode("latin-1"), "utf-8").read("STF-3.1") == "José"


def test_byte_order_mark_is_skipped() -> None:
    raw = b"\xef\xbb\xbf" + message("José", "").encode()
    read = Message(raw)
    assert read.header.control_id == "CID-7"
    assert read.read("STF-3.1") == "José"
    assert "byte-order-mark" in read.deviations
    assert read.raw == raw


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\r\n"])
def test_undecodable_text_names_the_place_and_the_setting(mark: bytes) -> None:
    raw = mark + message("Jos\x00", "").encode().replace(b"\x00", b"\xe9")
    with pytest.raises(UnreadableMessage) as caught:
        Message(raw)
    finding = caught.value.finding
    assert (finding.code, finding.local, str(finding.location)) == ("102", "undecodable", "STF-3")
    assert f"byte {raw.index(0xE9)} " in finding.text
    assert "`charset`" in finding.text
    assert "Jos" not in finding.text


def test_undecodable_text_under_a_stated_set() -> None:
    with pytest.raises(UnreadableMessage, match="MSH-18") as caught:
        Message(message("José", "ASCII").encode())
    assert caught.value.finding.local == "undecodable"


def test_undecodable_under_each_of_several_sets() -> None:
    with pytest.raises(UnreadableMessage, match="ascii or utf-8"):
        Message(message("José", "").encode("latin-1"), ["ascii", "utf-8"])


def test_undecodable_occurrence_and_msh() -> None:
    raw = message("ok", "").encode() + b"STF|S2|U2|Jos\xe9\r"
    with pytest.raises(UnreadableMessage) as caught:
        Message(raw)
    location = caught.value.finding.location
    assert location is not None
    assert (location.segment, location.occurrence, location.field) == ("STF", 2, 3)
    with pytest.raises(UnreadableMessage) as caught:
        Message(message("ok", "", facility="J\x00").encode().replace(b"\x00", b"\xe9"))
    assert str(caught.value.finding.location) == "MSH-4"
    with pytest.raises(UnreadableMessage) as caught:
        Message(message("ok", "").encode() + b"\xe9")
    assert str(caught.value.finding.location) == "MSH"


def test_refused_set_refuses_the_message() -> None:
    with pytest.raises(UnsupportedMessage):
        Message(message("x", "UNICODE UTF-16").encode())
