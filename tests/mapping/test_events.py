"""Which family a message belongs to, by MSH-9 alone."""

from __future__ import annotations

import pytest

from hl7bridge.hl7.message import read_header
from hl7bridge.mapping.messages import events
from tests.mapping.building import msh


@pytest.mark.parametrize(
    ("event", "family"),
    [
        ("MFN^M02", "staff"),
        ("MFN^M02^MFN_M02", "staff"),
        ("MFN^M01", "staff"),
        ("MFN^M02~MFN^M05", "staff"),
        ("MFN^M05", "other"),
        ("MFN^Z02", "other"),
        ("MFN", "other"),
        ("PMU^B01^PMU_B01", "personnel"),
        ("PMU^B08", "personnel"),
        (" PMU ^ B02 ^PMU_B02", "personnel"),
        ("PMU^B09", "other"),
        ("PMU", "other"),
        ("ADT^A04", "adt"),
        ("ADT", "adt"),
        ("ACK", "acknowledgment"),
        ("ACK^M02^ACK", "acknowledgment"),
        ("MFK^M02^MFK_M01", "acknowledgment"),
        ("ORU^R01", "other"),
        ("mfn^m02", "other"),
        ("", "other"),
    ],
)
def test_family(event: str, family: str) -> None:
    assert events.family(read_header(msh(event=event).encode())) == family


@pytest.mark.parametrize(
    ("event", "code", "local", "component"),
    [
        ("MFN^M05", "201", "unsupported-event", 2),
        ("PMU^B09", "201", "unsupported-event", 2),
        ("ADT^A01", "201", "unsupported-event", 2),
        ("ORU^R01", "200", "unsupported-type", 1),
    ],
)
def test_why_a_message_is_not_taken(event: str, code: str, local: str, component: int) -> None:
    finding = events.unsupported(read_header(msh(event=event).encode())).finding
    assert (finding.code, finding.local) == (code, local)
    assert finding.location is not None
    assert (finding.location.field, finding.location.component) == (9, component)


@pytest.mark.parametrize(
    ("text", "version", "assumed"),
    [
        ("2.5.1", (2, 5, 1), False),
        ("2.9", (2, 9), False),
        ("2.1", (2, 1), False),
        ("", (2, 4), True),
        ('""', (2, 4), True),
    ],
)
def test_version(text: str, version: tuple[int, ...], assumed: bool) -> None:
    assert events.version_of(read_header(msh(version=text).encode()), "2.4") == (version, assumed)
