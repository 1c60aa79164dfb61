"""HL7 times -> FHIR dates and instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.mapping.times import ends_before, fhir_date, fhir_date_time, instant, is_exact, truncated

LONDON = ZoneInfo("Europe/London")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1990", "1990"),
        ("199002", "1990-02"),
        ("19900228", "1990-02-28"),
        ("20000229", "2000-02-29"),
        ("19900228113000", "1990-02-28"),
        ("19900228113000.123+0100", "1990-02-28"),
        ("19900230", ""),
        ("199013", ""),
        ("0000", ""),
        ("00000000", ""),
        ("1990-02-28", ""),
        ("28.02.1990", ""),
        ("199", ""),
        ("19900", ""),
        ("CARDIOLO", ""),
        ("1990022\uff18", ""),
        ("", ""),
    ],
)
def test_date(text: str, expected: str) -> None:
    assert fhir_date(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026", "2026"),
        ("202603", "2026-03"),
        ("20260318", "2026-03-18"),
        ("2026031811", "2026-03-18T11:00:00+00:00"),
        ("202603181130", "2026-03-18T11:30:00+00:00"),
        ("20260318113055", "2026-03-18T11:30:55+00:00"),
        ("20260718113055", "2026-07-18T11:30:55+01:00"),
        ("20260718113055-0500", "2026-07-18T11:30:55-05:00"),
        ("20260718113055+1400", "2026-07-18T11:30:55+14:00"),
        ("20260318113055.5", "2026-03-18T11:30:55.500000+00:00"),
        ("20260318113055.1234567-0330", "2026-03-18T11:30:55.123456-03:30"),
        ("20260318113055+1500", ""),
        ("20260318113055+0160", ""),
        ("20260318113055+01", ""),
        ("20260318113055.", ""),
        ("202603181130.5", ""),
        ("20260318240000", ""),
        ("20260318116000", ""),
        ("20260318113055Z", ""),
        ("20260318T113055", ""),
        ("2026031811305", ""),
        ("99999999999999", ""),
        ("+0100", ""),
        ("-", ""),
    ],
)
def test_date_time_keeps_precision_and_has_an_offset(text: str, expected: str) -> None:
    assert fhir_date_time(text, LONDON) == expected


def test_offset_of_a_zone_is_in_whole_minutes() -> None:
    assert fhir_date_time("18000101120000", ZoneInfo("Europe/Amsterdam")).endswith(("+00:18", "+00:20"))


@pytest.mark.parametrize(
    ("text", "precision", "expected"),
    [("19900228", "Y", "1990"), ("19900228", "L", "199002"), ("199002281130", "D", "19900228"), ("1990", "S", "1990")],
)
def test_precision_letter_of_a_time_stamp(text: str, precision: str, expected: str) -> None:
    assert truncated(text, precision) == expected


def test_an_instant_without_a_day_is_the_first() -> None:
    assert instant("2026", UTC) == datetime(2026, 1, 1, tzinfo=UTC)
    assert instant("202607", LONDON) == datetime(2026, 7, 1, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "exact"),
    [("20260318113055", True), ("20260318113055.1+0000", True), ("202603181130", False), ("20260318", False)],
)
def test_exactness_is_to_the_second(text: str, exact: bool) -> None:
    assert is_exact(text) is exact


@pytest.mark.parametrize(
    ("end", "start", "reversed_"),
    [
        ("2020-01-01", "2020-01-02", True),
        ("2020-01-02", "2020-01-02", False),
        ("2020", "2020-06-01", False),
        ("2019", "2020-06-01", True),
        ("2020-01-01T10:00:00+02:00", "2020-01-01T09:00:00+00:00", True),
        ("2020-01-01T10:00:00+00:00", "2020-01-01T11:00:00+02:00", False),
        ("2020-01-01", "2020-01-01T23:00:00+00:00", False),
    ],
)
def test_the_wrong_way_round(end: str, start: str, reversed_: bool) -> None:
    assert ends_before(end, start) is reversed_


@given(st.text(alphabet="0123456789+-. TZ", max_size=26))
def test_nothing_is_raised_and_what_comes_out_can_be_read(text: str) -> None:
    assert len(fhir_date(text)) in (0, 4, 7, 10)
    found = fhir_date_time(text, LONDON)
    if "T" in found:
        assert datetime.fromisoformat(found).tzinfo is not None


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)))
def test_a_full_time_comes_back_unchanged(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert instant(moment.strftime("%Y%m%d%H%M%S") + "+0000", LONDON) == moment.replace(tzinfo=UTC)
