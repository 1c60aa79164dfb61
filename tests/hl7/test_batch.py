"""Batches: what is a message of its own, and what the wrappers say about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.hl7.batch import split
from hl7bridge.hl7.message import read_header
from tests.examples import examples
from tests.hl7.corpus import CORPUS, FILES, name, needs_corpus


def message(control_id: str) -> bytes:
    return f"MSH|^~\\&|HR|N|||20260304||MFN^M02|{control_id}|P|2.5.1\rMFI|STF||UPD|||AL\r".encode()


A, B, C = message("A"), message("B"), message("C")
FHS, BHS = b"FHS|^~\\&|HR|N\r", b"BHS|^~\\&|HR|N\r"


@pytest.mark.parametrize(
    ("raw", "kind", "messages", "findings"),
    [
        (A, "single", [A], []),
        (A.rstrip(b"\r"), "single", [A.rstrip(b"\r")], []),
        (b"\xef\xbb\xbf" + A, "single", [b"\xef\xbb\xbf" + A], []),
        (b"\r\n" + A, "single", [b"\r\n" + A], []),
        (b"no HL7 at all", "single", [b"no HL7 at all"], []),
        (b"PID|1\rPV1|1\r", "single", [b"PID|1\rPV1|1\r"], []),
        (b"", "single", [], []),
        (b"\r\n\0 ", "single", [], []),
        (A + b"FTX|1\rBTX|1\rFHSX|\r", "single", [A + b"FTX|1\rBTX|1\rFHSX|\r"], []),
        (A.replace(b"\r", b"\n"), "single", [A.replace(b"\r", b"\n")], []),
        (A + b"NTE|1||holds\nlines\r", "single", [A + b"NTE|1||holds\nlines\r"], []),
        (A + B, "several", [A, B], []),
        (b"\r\n" + A + B, "several", [A, B], []),
        (A + b"\r\n" + B, "several", [A + b"\r\n", B], []),
        ((A + B).replace(b"\r", b"\n"), "several", [A.replace(b"\r", b"\n"), B.replace(b"\r", b"\n")], []),
        ((A + B).replace(b"\r", b"\r\n"), "several", [A.replace(b"\r", b"\r\n"), B.replace(b"\r", b"\r\n")], []),
        (b"FHSX|\r" + A, "several", [b"FHSX|\r", A], []),
        (b"PID|1\r" + A, "several", [b"PID|1\r", A], []),
        (BHS + A + B + b"BTS|2\r", "batch", [A, B], []),
        (BHS + A + b"BTS|1|end\r", "batch", [A], []),
        (BHS + A + b"BTS\r", "batch", [A], []),
        (BHS + A + b"BTS||no count\r", "batch", [A], []),
        (BHS + b"BTS|0\r", "batch", [], []),
        (FHS + BHS + A + b"BTS|1\r" + BHS + B + C + b"BTS|2\rFTS|2\r", "batch", [A, B, C], []),
        (FHS + A + B + b"FTS|1\r", "batch", [A, B], []),
        (FHS + BHS + b"BTS|0\rFTS|1\r", "batch", [], []),
        (b"\xef\xbb\xbf" + FHS + A + b"FTS|1\r", "batch", [A], []),
        ((BHS + A + b"BTS|1\r").replace(b"\r", b"\n"), "batch", [A.replace(b"\r", b"\n")], []),
        (BHS + A + b"BTS|2\r", "batch", [A], [("batch-count", "BTS-1")]),
        (BHS + A + b"BTS|x\r", "batch", [A], [("batch-count", "BTS-1")]),
        (FHS + BHS + A + b"BTS|1\rFTS|3\r", "batch", [A], [("file-count", "FTS-1")]),
        (BHS + A, "batch", [A], [("batch-open", "BHS")]),
        (FHS + BHS + A, "batch", [A], [("batch-open", "BHS"), ("file-open", "FHS")]),
        (FHS + BHS + A + b"FTS|1\r", "batch", [A], [("batch-open", "FTS")]),
        (BHS + A + BHS + B + b"BTS|1\r", "batch", [A, B], [("batch-open", "BHS")]),
        (FHS + A + FHS + B + b"FTS|1\r", "batch", [A, B], [("file-open", "FHS")]),
        (A + b"BTS|1\r", "batch", [A], [("batch-not-open", "BTS")]),
        (A + b"FTS|1\r", "batch", [A], [("file-not-open", "FTS")]),
        # segments without an MSH are listed, so that they are refused in their place
        (BHS + b"PID|1\rBTS|1\r", "batch", [b"\rPID|1\r"], [("batch-count", "BTS-1")]),
        (BHS + b"NTE|1\r" + A + b"BTS|1\r", "batch", [b"\rNTE|1\r", A], []),
    ],
)
def test_split(raw: bytes, kind: str, messages: list[bytes], findings: list[tuple[str, str]]) -> None:
    found = split(raw)
    assert found.kind == kind
    assert found.messages == messages
    assert [(finding.local, str(finding.location)) for finding in found.findings] == findings
    assert all(finding.severity == "W" for finding in found.findings)


def test_location_counts_trailers() -> None:
    found = split(BHS + A + b"BTS|1\r" + BHS + B + b"BTS|9\r")
    assert [finding.location.occurrence for finding in found.findings if finding.location] == [2]


def test_field_separator_of_the_trailer() -> None:
    assert split(b"BHS#@!/+\r" + A + b"BTS#1\r").findings == ()


_PARTS = st.sampled_from([A, B, FHS, BHS, b"BTS|1\r", b"FTS|1\r", b"PID|1\r", b"\r\n", b"MSH", b"\xef\xbb\xbf"])


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(_PARTS | st.binary(max_size=8).map(lambda data: data + b"\r"), max_size=10).map(b"".join))
def test_nothing_is_lost_but_wrappers_and_blanks(raw: bytes) -> None:
    found = split(raw)
    at = 0
    for part in found.messages:
        at = raw.index(part, at) + len(part)
    assert raw.count(A) == sum(part.count(A) for part in found.messages)
    assert raw.count(b"PID") == sum(part.count(b"PID") for part in found.messages)
    if found.kind == "single":
        assert found.messages in ([raw], [])


@needs_corpus
@pytest.mark.parametrize("path", sorted((CORPUS / "batch").glob("*.hl7")), ids=name)
def test_each_message_of_a_published_batch_has_a_header(path: Path) -> None:
    raw = path.read_bytes()
    found = split(raw)
    assert found.kind in ("batch", "several")
    assert len(found.messages) == raw.replace(b"\n", b"\r").replace(b"\rMSH|", b"\nMSH|").count(
        b"\nMSH|"
    ) + raw.startswith(b"MSH|")
    assert all(read_header(part).message_type for part in found.messages)


@needs_corpus
def test_all_else_in_the_corpus_is_a_single_message() -> None:
    for path in FILES:
        raw = path.read_bytes()
        # One file was cut out of a batch with its BTS.
        if path.parent.name in ("mfn", "pmu", "adt", "mfk_ack") and b"\rBTS|" not in raw:
            assert split(raw).messages == [raw], name(path)
