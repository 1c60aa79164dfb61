"""HL7 times -> FHIR dates and instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.mapping.rules.times import (
    LATEST_YEAR,
    ends_before,
    fhir_date,
    fhir_date_time,
    instant,
    is_doubtful,
    is_exact,
    span,
    truncated,
)

LONDON, CHICAGO = ZoneInfo("Europe/London"), ZoneInfo("America/Chicago")


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
        ("20260318113055.5", "2026-03-18T11:30:55.5+00:00"),
        ("20260318113055.1234567-0330", "2026-03-18T11:30:55.123456-03:30"),
        ("20260318+0100", "2026-03-18"),
        ("2026+0100", "2026"),
        ("2027-0131", ""),
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
        ("2020-01-01T10:00:00+00:00", "2020-01-01T10:00:00+00:00", False),
        ("2020-02-01T10:00:00+00:00", "2020-03", True),
        ("2020", "2020-03-01T10:00:00+00:00", False),
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


# --- spans: what an end, and a start, may mean ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2027", "2027-01-01T00:00:00-06:00", "2027-12-31T23:59:59-06:00"),
        ("202702", "2027-02-01T00:00:00-06:00", "2027-02-28T23:59:59-06:00"),
        ("202802", "2028-02-01T00:00:00-06:00", "2028-02-29T23:59:59-06:00"),
        ("202703", "2027-03-01T00:00:00-06:00", "2027-03-31T23:59:59-05:00"),  # summer time begins in it
        ("202702+0200", "2027-02-01T00:00:00+02:00", "2027-02-28T23:59:59+02:00"),
        ("9999", "9999-01-01T00:00:00-06:00", "9999-12-31T23:59:59-06:00"),
        ("20270131", "2027-01-31T00:00:00-06:00", "2027-01-31T00:00:00-06:00"),
        ("20270131120000", "2027-01-31T12:00:00-06:00", "2027-01-31T12:00:00-06:00"),
        ("20261101013000", "2026-11-01T01:30:00-05:00", "2026-11-01T01:30:00-06:00"),  # twice
        ("20261101013000-0600", "2026-11-01T01:30:00-06:00", "2026-11-01T01:30:00-06:00"),
        ("20260308023000", "2026-03-08T02:30:00-06:00", "2026-03-08T02:30:00-06:00"),  # never
    ],
)
def test_span(text: str, first: str, last: str) -> None:
    found = span(text, CHICAGO)
    assert found is not None
    assert (found.start.isoformat(), found.end.isoformat()) == (first, last)
    assert found.partial is (len(text.partition("+")[0]) < 8)


@pytest.mark.parametrize(
    "text",
    [
        "", "TBD", "0", "00000000", "0001", "00010101", "17530101", "18991230", "2027-01-31", "2027-0131", "01/31/2027",
        "31.01.2027", "20270131240000", "20270131000000Z", "20270230", "20271301", "202713", "20270131T080000",
        "20270131080000.", "2027013", "\uff12\uff10270131", "99999999", "20270131+2500", "NOW", "2027 0131",
        "270101", "2701010800", "270101080000", "270101+0100",
    ],
)  # fmt: skip
def test_no_span(text: str) -> None:
    assert span(text, CHICAGO) is None


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("20261101005959", False),
        ("20261101010000", True),
        ("20261101015959", True),
        ("20261101020000", False),
        ("20260308015959", False),
        ("20260308023000", True),
        ("20260308030000", False),
        ("20261101013000-0500", False),
        ("20260701120000", False),
    ],
)
def test_a_local_time_that_occurs_twice_or_never(text: str, doubtful: bool) -> None:
    assert is_doubtful(text, CHICAGO) is doubtful
    assert not is_doubtful(text, UTC)


@given(
    st.datetimes(min_value=datetime(1901, 1, 1), max_value=datetime(9999, 12, 30)),
    st.sampled_from([4, 6, 8, 10, 12, 14]),
    st.sampled_from([UTC, LONDON, CHICAGO, ZoneInfo("Pacific/Apia"), ZoneInfo("Australia/Lord_Howe")]),
)
def test_a_span_begins_no_later_than_it_ends_and_holds_what_it_was_cut_from(
    moment: datetime, digits: int, zone: ZoneInfo
) -> None:
    text = moment.strftime("%Y%m%d%H%M%S").zfill(14)[:digits]
    found = span(text, zone)
    if moment.year > LATEST_YEAR and digits in (6, 10, 12):
        assert found is None, "it may begin with a year of two digits"
        return
    assert found is not None
    assert found.start <= found.end
    assert found.partial is (digits < 8)
    if digits < 8:
        local = moment.replace(microsecond=0, tzinfo=None)
        assert found.start.replace(tzinfo=None) <= local <= found.end.replace(tzinfo=None)


@given(st.text(alphabet="0123456789+-. TZ", max_size=20))
def test_a_span_is_an_instant_that_can_be_waited_for_or_none(text: str) -> None:
    found = span(text, CHICAGO)
    assert found is None or (instant(text, CHICAGO) == found.start and found.end.year <= 9999)
