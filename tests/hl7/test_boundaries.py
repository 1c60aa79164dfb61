"""Where messages and segments begin and end: no text moves a boundary, and every reader of bytes has the same ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.hl7 import batch
from hl7bridge.hl7.boundaries import message_uses_line_feeds, uses_line_feeds
from hl7bridge.hl7.header import read_header
from hl7bridge.hl7.message import Message
from hl7bridge.hl7.parts import split_records
from hl7bridge.model import Location
from tests.examples import examples
from tests.hl7.test_stream import pieces_of

HEAD = "MSH|^~\\&|HR|NORTH|||20260304||MFN^M02|{id}|P|2.5.1"
LINES = [HEAD, "MFI|STF||UPD|||AL", "MFE|MAD|1||K1|CWE", "STF|K1|K1|Orrel^Ban", "NTE|1||note", "MFE|MDC|2||K2|CWE"]

TRICKS = [
    "\nMSH pending",
    "\nMSH",
    "\nMSH|^~\\&|X|Y|||20260304||MFN^M02|Q|P|2.5.1",
    "\nMSH|^~\\&|X|Y|||20260304||MFN^M02|Q|P|2.5.1\nMFI|STF||UPD|||AL\nMFE|MDC|1||K1|CWE",
    "\nBTS overview on Monday",
    "\nBTS|1",
    "\nBHS|^~\\&|X",
    "\nFHS|^~\\&|X",
    "\nFTS|1\n",
    "\nMFE|MDC|9||K1|CWE",
    "\n \tMFE|MDC|9||K1|CWE",
    "\n\n\nSTF|K9",
    "\n",
    "\x85MSH|\u2028MFE|\x0c",
]
# What every field may hold, and what may stand at the end of a segment alone, for it has separators of its own.
TEXTS = st.lists(
    st.sampled_from([trick for trick in TRICKS if "|" not in trick] + ["MSH", "MFE", "\n", " ", "Grün", "x"]),
    max_size=5,
).map("".join)
LAST_TEXTS = st.lists(st.sampled_from([*TRICKS, "seen ", "Ward 7 "]), max_size=4).map("".join)
ENDINGS = st.sampled_from(["\r", "\r\n"])


def written(lines: list[str], ending: str, control_id: str = "A") -> bytes:
    return "".join(line + ending for line in lines).replace("{id}", control_id).encode()


@st.composite
def message(draw: st.DrawFn, endings: st.SearchStrategy[str] = ENDINGS) -> tuple[bytes, str]:
    """A message with texts in any fields that hold text, those of MSH as well, and how it ends its segments."""
    ending = draw(endings)
    fields = [line.split("|") for line in LINES]
    if ending != "\n":
        for number in (2, 3, 4, 5, 7):
            fields[0][number] += draw(TEXTS)
        fields[3][3] += draw(TEXTS)
        fields[4][2] += draw(TEXTS)
        fields[4][3] += draw(LAST_TEXTS)
        fields[0] += [""] * 8 + [draw(st.sampled_from([*TRICKS, ""]))]  # MSH-21
        fields[5].append(draw(LAST_TEXTS))
    return written(["|".join(parts) for parts in fields], ending, draw(st.sampled_from("ABC"))), ending


@settings(max_examples=examples(80), deadline=None)
@given(message())
def test_no_text_without_cr_moves_a_boundary(given_: tuple[bytes, str]) -> None:
    raw, ending = given_
    assert batch.split(raw) == batch.Batch([raw], "single")
    read = Message(raw)
    assert [segment.name for segment in read.segments] == [line[:3] for line in LINES]
    assert read.line_ending == ending
    assert read.header.message_type == "MFN"
    parts = list(split_records(raw, b"|", 1))
    assert [[segment.name for segment in Message(part).segments] for part in parts] == [
        ["MSH", "MFI", "MFE", "STF", "NTE"],
        ["MSH", "MFI", "MFE"],
    ]


_ANY = ["\r", "\n", "\r\n"]
_PIECES = st.one_of(
    message(st.sampled_from(_ANY)).map(lambda made: made[0]),
    st.sampled_from(
        [f"{line}{ending}".encode() for line in ("BHS|^~\\&|HR", "BTS|1", "FHS|^~\\&", "FTS") for ending in _ANY]
    ),
)


@settings(max_examples=examples(70), deadline=None)
@given(st.lists(_PIECES, min_size=1, max_size=5), st.data())
def test_messages_of_any_style_stay_apart_however_the_bytes_are_cut(pieces: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(pieces)
    messages = [piece for piece in pieces if piece.startswith(b"MSH")]
    assert batch.split(raw).messages == messages
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=10)))
    found, findings = pieces_of(raw, cuts)
    assert [piece.raw for piece in found] == messages
    assert findings == [finding.local for finding in batch.split(raw).findings]


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.sampled_from([*LINES, *TRICKS, "|", "\r", "\n", "BHS|^~\\&", "BTS", " "]), max_size=9), st.data())
def test_how_a_message_is_written_is_known_or_not_yet(pieces: list[str], data: st.DataObject) -> None:
    """What is said of the begin of a message is never taken back."""
    raw = "".join(pieces).encode()
    seen = raw[: data.draw(st.integers(0, len(raw)))]
    said = uses_line_feeds(seen, more=True)
    assert said in (None, uses_line_feeds(raw))


@pytest.mark.parametrize(
    ("lines", "ending", "expected"),
    [
        (LINES, "\r", False),
        (LINES, "\r\n", False),
        (LINES, "\n", True),
        ([HEAD], "\n", True),
        ([HEAD], "", False),
        ([HEAD + "\nMFI|STF"], "\r", True),  # its header is whole, a segment follows, and CR ends none
        ([HEAD + "\nMFI|STF", HEAD, "MFI|STF"], "\r", True),
        ([HEAD + "\nMFI|STF\n" + HEAD, "MFI|STF"], "\r", True),
        ([HEAD + "\nMFI|STF", "MFE|MAD"], "\r", False),  # CR ends a segment of this message
        ([HEAD + "|seen\nMSH|^~\\&|X", "MFI|STF"], "\r", False),
        ([HEAD + "|seen\nMSH|^~\\&|X|Y|||20260304||MFN^M02|Q|P|2.5\nMFI|STF", "MFI|STF"], "\r", False),
        (["MSH|^~\\&|HR\nSYS|NORTH|||20260304||MFN^M02|1|P|2.5"], "\r", False),
        (["MSH|^~\\&|HR\nMSH|NORTH|||20260304||MFN^M02|1|P|2.5"], "\r", False),
        ([HEAD + "|||AL\nNE"], "\r", False),
        (["BHS|^~\\&|HR\n" + HEAD, "MFI|STF"], "\r", True),
        (["BHS|^~\\&|HR|||||||see\nMSH pending", HEAD], "\r", False),
        (["BHS|^~\\&|HR|||||||see\nMSH|^~\\&|X", HEAD], "\r", False),
        (["BHS|^~\\&|HR\nBTS|0"], "\r", True),
        (["MSH|^~\\&", "MFI|a"], "\n", True),
    ],
)
def test_the_first_segment_decides(lines: list[str], ending: str, expected: bool) -> None:
    assert message_uses_line_feeds(b"\xef\xbb\xbf\r\n" + written(lines, ending)) is expected


@pytest.mark.parametrize("between", ["", "\r", "\n", "\r\n\r\n", "\n\n", " ", "\0"])
def test_blank_lines_between_messages_are_nobodys_text(between: str) -> None:
    a, b = written(LINES, "\r", "A"), written(LINES, "\r", "B")
    found = batch.split(a + between.encode() + b)
    assert [read_header(part).control_id for part in found.messages] == ["A", "B"]


def test_a_header_needs_its_separator() -> None:
    """The words of a segment that begins with none of them; and a header whose encoding characters are missing is one."""
    words = written([*LINES, "MSH pending", "BTS overview on Monday", "FTS-1 is a count", "MSHX|1"], "\r")
    assert batch.split(words).messages == [words]
    broken = b"MSH||HR||||||MFN^M02|B\r"
    assert batch.split(written(LINES, "\r") + broken).messages == [written(LINES, "\r"), broken]


def test_a_line_feed_before_what_looks_like_a_segment_is_told_where_it_stands() -> None:
    lines = [*LINES[:4], "NTE|1||pasted\nMFE|MDC|9||K1|CWE", "NTE|2||two\nlines", "MFE|MDC|2||K2\n  PRA|x|CWE"]
    read = Message(written(lines, "\r"))
    found = read.line_feed_findings(read.segments, 1)
    assert [(finding.location, finding.severity, finding.position) for finding in found] == [
        (Location("NTE", 1, 3), "W", 1),
        (Location("MFE", 2, 4), "W", 1),
    ]
    plain = Message(written(LINES, "\n"))
    assert plain.line_feed_findings(plain.segments) == []


def test_a_flood_of_line_feeds_or_blanks_takes_no_time() -> None:
    head = HEAD.encode()
    for flood in (b"\nAAA|" * 200_000, b"\r" + b"\n" * 1_000_000, b"\r\n" * 500_000, b"\n" * 1_000_000):
        raw = head[:20] + flood + b"\r" + written(LINES, "\r", "B")
        assert batch.split(raw).messages[-1] == written(LINES, "\r", "B")
