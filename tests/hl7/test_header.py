"""What follows from a header is worked out once for all that differ in MSH-7 and MSH-10 alone: never for others."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from hl7bridge.hl7 import acknowledgment, header
from hl7bridge.hl7.header import Header, header_fields, read_header
from hl7bridge.mapping.messages import events

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
# fmt: off
FIELDS = ["MSH", "^~\\&", "HR", "NORTH", "EHR", "SOUTH", "20260318113000", "", "MFN^M02^MFN_M02", "C1", "P", "2.5.1", "", "",
          "AL", "NE", "GBR", "UNICODE UTF-8", "", ""]
# fmt: on
OTHERS = ["", '""', "X", "X^Y", "A~B", "PMU^B02", "ADT^A01", "T", "2.7", "2.3", "ER", "8859/1", "~ISO IR87", "\xe4"]


def said(read: Header) -> object:
    """All that anybody asks of a header, twice: what is remembered must be what was worked out."""
    return [
        [read.component(number, part) for number, part in product(range(1, 21), (1, 2, 3))],
        header_fields(read),
        read.charsets,
        events.family(read),
        [acknowledgment.asked(read, mode) for mode in ("as-asked", "original", "enhanced")],
        [acknowledgment.build(read, kind, "AA", control_id="A1", now=NOW) for kind in ("original", "accept")],
        acknowledgment.build(
            read, "application", "AE", control_id="A2", now=NOW, master_file="MFI|STF", text="M\xfcller"
        ),
    ]


@pytest.mark.parametrize("number", range(1, 20))
def test_what_is_remembered_of_a_header_is_of_that_header(number: int) -> None:
    bytes_of = []
    for other in OTHERS:
        fields = [*FIELDS]
        fields[number] = other if number > 1 else "^~\\&" if len(other) != 1 else f"^~\\{other}"
        bytes_of += ["|".join(fields).encode("latin-1"), "#".join(fields).encode("latin-1")]
    fresh = []
    for raw in bytes_of:
        header._KNOWN.clear()
        fresh.append(said(read_header(raw)))
    header._KNOWN.clear()
    for _ in range(2):
        assert [said(read_header(raw)) for raw in bytes_of] == fresh


def test_what_is_remembered_is_bounded() -> None:
    for serial in range(3 * header._MOST):
        assert read_header("|".join([*FIELDS[:2], f"APP{serial}", *FIELDS[3:]]).encode()).charsets
    assert read_header("|".join([*FIELDS[:2], "A" * 100_000, *FIELDS[3:]]).encode()).charsets
    assert len(header._KNOWN) <= header._MOST
    assert all(sum(map(len, key)) <= header._LONGEST for key in header._KNOWN)
