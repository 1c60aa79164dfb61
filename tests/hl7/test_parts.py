"""A large master file, read a part at a time, says what it says as a whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.hl7.message import Message, codec_of_message
from hl7bridge.hl7.parts import Numbering, split_records
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages.staff import translate
from hl7bridge.model import Record

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = FeedRules("urn:uuid:4f6f0a56-8b68-4f9e-9c53-2b6a9d0f7a11")
OPENING = "MSH|^~\\&|HR|N|B|N|20260301000000||MFN^M02^MFN_M02|BIG|P|2.5.1{}NTE|1||x{}MFI|STF||UPD|||AL{}"
GROUPS = [
    "MFE|MAD|||K1{}STF|K1|K1^^^OTHER|Tamsworth^Ilse|QQ||F{}PRA|K1||ZZ{}",
    "MFE|MAD|||K2{}STF|K2||Orrel^Ban{}NTE|1||y{}ZXX|1{}",
    "MFE|MUP|||{}",
    "MFE|XXX|||K4{}STF|K4||Veldt^Ama{}",
    "MFE{}STF|K5||^Ama{}",
    "MFE|MDC|||K6{}",
]


def in_parts(raw: bytes, records: int, charset: str = "utf-8") -> tuple[list[Record], list[object]]:
    numbering, found, findings = Numbering(), [], []
    codec = codec_of_message(raw, charset)
    for number, part in enumerate(split_records(raw, b"|", records)):
        message = Message(part, charset, codec=codec)
        translation = translate(message, RULES, NOW)
        found += [numbering.record(record) for record in translation.records]
        if not number:
            findings = list(translation.findings)
        numbering.advance(message, len(translation.records))
    return found, findings


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from(GROUPS), min_size=1, max_size=9), st.integers(1, 10), st.sampled_from(["\r", "\n", "\r\n"])
)
def test_in_parts_it_says_what_it_says_as_a_whole(groups: list[str], records: int, ending: str) -> None:
    raw = "".join([OPENING, *groups]).replace("{}", ending).encode()
    whole = translate(Message(raw), RULES, NOW)
    found, findings = in_parts(raw, records)
    assert tuple(found) == whole.records
    assert tuple(findings) == whole.findings


def test_a_part_has_so_many_records_at_most() -> None:
    raw = (OPENING + GROUPS[0] * 7).replace("{}", "\r").encode()
    sizes = [len(Message(part).all("MFE")) for part in split_records(raw, b"|", 3)]
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize("raw", [b"MSH|^~\\&|A\rMFI|STF\r", b"", b"no HL7 at all"])
def test_without_a_record_it_is_one_part(raw: bytes) -> None:
    assert list(split_records(raw, b"|", 2)) == [raw]


def test_every_part_is_read_by_the_codec_of_the_whole() -> None:
    """`charset` is tried in order: bytes that look like UTF-8 in one record are not, when another record tells so."""
    groups = "MFE|MAD|||K1\rSTF|K1||Gr\xc3\xa4f^A\r", "MFE|MAD|||K2\rSTF|K2||Gr\xe4f^A\r"
    raw = (OPENING.replace("{}", "\r") + "".join(groups)).encode("latin-1")
    assert codec_of_message(raw, ["utf-8", "cp1252"]) == "cp1252"
    parts = list(split_records(raw, b"|", 1))
    names = [Message(part, ["utf-8", "cp1252"], codec="cp1252").read("STF-3.1") for part in parts]
    assert names == ["Gr\xc3\xa4f", "Gr\xe4f"]
