"""When a record applies: nobody is ended by a time that cannot be read, and years and months mean what they say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.hl7.message import Message
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.mapping.messages.effective import PARTIAL, UNREADABLE
from hl7bridge.model import StaffChange, Translation
from tests.mapping.building import KEY_SYSTEM, NOW, RULES, change_of, message, said, stf, translate

CHICAGO = FeedRules(KEY_SYSTEM, timezone="America/Chicago")

ENDING = ["MDC", "MDL", "MUP with I", "MAD with I", "B03", "B05", "B06", "B02 with I", "B08"]
BRINGING_BACK = ["MAC", "B04"]
OTHER = ["MAD", "MUP", "B01", "B02", "B07"]
CER = "CER|1|L1||Board||||||LIC^Licence"


def sent(kind: str, time: str, mfi_5: str = "", *, sender: str = "20260318113000+0000") -> bytes:
    """A message of one record that is to apply at `time` (MFE-3, or EVN-3)."""
    event, _, flag = kind.partition(" with ")
    staff = stf(f7=flag)
    if event.startswith("B"):
        return message(f"EVN||20260318113000|{time}", staff, CER, event=f"PMU^{event}", time=sender).replace(
            b"MFI|PRA^Practitioner^HL70175||UPD|||AL\r", b""
        )
    return message(f"MFI|STF||UPD||{mfi_5}|AL", f"MFE|{event}|R1|{time}|K1|CWE", staff, time=sender)


def only(raw: bytes, rules: FeedRules = RULES) -> tuple[StaffChange, list[str]]:
    """The one change, and what is said of the time."""
    translation = translate(raw, rules)
    (record,) = translation.records
    times = [one for one in (*said(translation), *said(record)) if one.partition("@")[0] in ("invalid-time", PARTIAL)]
    return change_of(record), times


UNREADABLE_TIMES = [
    "TBD", "00000000", "00010101", "2027-01-31", "01/31/2027", "20270131240000", "20270131000000Z", "2027-0131",
    "20270131T0800", "20270230", "202713", "99999999", "^20270131", "20270131~20270228", "20270131^20270228",
    "20270131&20270228", "&20270131", "^&20270131", '"', "\\X20\\",
    "20270131080000.", "20270131^X", "\\E\\", "2027013", "20270131 0800", "-", "?",
]  # fmt: skip


@pytest.mark.parametrize("kind", ENDING + BRINGING_BACK)
@pytest.mark.parametrize("time", UNREADABLE_TIMES)
def test_who_is_ended_or_brought_back_at_a_time_that_cannot_be_read_waits_for_a_person(kind: str, time: str) -> None:
    change, times = only(sent(kind, time))
    assert change.undated == UNREADABLE
    assert times == ["invalid-time@EVN-3" if kind.startswith("B") else "invalid-time@MFE-3"]


@pytest.mark.parametrize("kind", OTHER)
@pytest.mark.parametrize("time", ["TBD", "00000000", "2027-01-31"])
def test_any_other_record_is_due_at_once_and_it_is_said(kind: str, time: str) -> None:
    change, times = only(sent(kind, time))
    if not kind.startswith("B"):  # of a PMU, EVN-2 says when
        assert change.effective == ""
    assert change.undated == ""
    assert len(times) == 1


@pytest.mark.parametrize("kind", ENDING)
@pytest.mark.parametrize(
    ("time", "effective"),
    [
        ("2027", "2027-12-31T23:59:59-06:00"),
        ("202702", "2027-02-28T23:59:59-06:00"),
        ("20270131^L", "2027-01-31T23:59:59-06:00"),
        ("20270131^Y", "2027-12-31T23:59:59-06:00"),
        ("20270131^D", "2027-01-31T00:00:00-06:00"),
        ("20270131", "2027-01-31T00:00:00-06:00"),
        (" 20270131 ", "2027-01-31T00:00:00-06:00"),
        ("20270131~20270131", "2027-01-31T00:00:00-06:00"),
        ("~20270131", "2027-01-31T00:00:00-06:00"),
        ("20270131080000.1234+0100", "2027-01-31T08:00:00.123400+01:00"),
        ("99991231", "9999-12-31T00:00:00-06:00"),
        ("20261101013000", "2026-11-01T01:30:00-06:00"),
    ],
)
def test_an_end_that_lies_ahead_is_waited_for_to_its_last_instant(kind: str, time: str, effective: str) -> None:
    change, times = only(sent(kind, time, sender="20260318113000"), CHICAGO)
    assert (change.effective, change.undated, times) == (effective, "", [])


@pytest.mark.parametrize("kind", BRINGING_BACK + OTHER)
@pytest.mark.parametrize(
    ("time", "effective"),
    [
        ("2027", "2027-01-01T00:00:00-06:00"),
        ("202702", "2027-02-01T00:00:00-06:00"),
        ("20261101013000", "2026-11-01T01:30:00-05:00"),
    ],
)
def test_a_start_is_waited_for_to_its_first_instant(kind: str, time: str, effective: str) -> None:
    change, times = only(sent(kind, time, sender="20260318113000"), CHICAGO)
    assert (change.effective, change.undated, times) == (effective, "", [])


@pytest.mark.parametrize("kind", ENDING)
@pytest.mark.parametrize("time", ["2026", "202603", "20260318^L", "20260101^Y"])
def test_an_end_within_a_year_or_month_that_has_begun_waits_for_a_person(kind: str, time: str) -> None:
    change, times = only(sent(kind, time))
    assert (change.effective, change.undated) == ("", PARTIAL)
    assert times == [f"{PARTIAL}@{'EVN-3' if kind.startswith('B') else 'MFE-3'}"]


@pytest.mark.parametrize("kind", ["MDC", "MDL", "MUP with I"])
def test_an_end_within_a_year_that_is_over_dates_the_end(kind: str) -> None:
    change, times = only(sent(kind, "2025"))
    assert (change.effective[:10], change.undated, times) == ("2025-12-31", "", [])


@pytest.mark.parametrize(
    ("mfe_3", "mfi_5", "undated", "effective"),
    [
        ("", "2027", "", "2027-12-31"),
        ("", "202702", "", "2027-02-28"),
        ("", "TBD", UNREADABLE, ""),
        ("", "2026", PARTIAL, ""),
        ("20260401", "TBD", "", "2026-04-01"),
        ("TBD", "20260401", UNREADABLE, ""),
        ('""', "20260401", "", "2026-04-01"),
        ('""', "", "", ""),
        ('""^""', "", "", ""),
        ("^&~ ~^", "", "", ""),
        ("~", "2027", "", "2027-12-31"),
    ],
)
def test_of_mfe_3_and_mfi_5_the_one_that_decides(mfe_3: str, mfi_5: str, undated: str, effective: str) -> None:
    change, times = only(sent("MDC", mfe_3, mfi_5))
    assert (change.undated, change.effective[:10]) == (undated, effective)
    assert bool(times) is ("TBD" in (mfe_3, mfi_5) or mfi_5 == "2026")


@pytest.mark.parametrize(
    ("mfi", "undated", "effective"),
    [
        ("MFI|STF|UPD|20260301|20270131|AL", "", "2027-01-31"),  # MFI-2 to -6, one to the left
        ("MFI|STF|UPD||TBD|AL", UNREADABLE, ""),
        ("MFI|STF|UPD|||AL", "", ""),
        ("MFI|STF||UPD||AL", "", ""),  # a response level, and no time
        ("MFI|STF||UPD||AL|AL", UNREADABLE, ""),
    ],
)
def test_a_shifted_file_header(mfi: str, undated: str, effective: str) -> None:
    change, _ = only(message(mfi, "MFE|MDC|R1||K1|CWE", stf()))
    assert (change.undated, change.effective[:10]) == (undated, effective)


@pytest.mark.parametrize(
    ("evn", "undated", "effective"),
    [
        ("EVN||TBD", UNREADABLE, ""),
        ("EVN||2026", PARTIAL, ""),
        ("EVN||20260318113000|soon", UNREADABLE, "2026-03-18"),
        ("EVN||20260318113000|||||soon", "", "2026-03-18"),
        ("EVN||20260318113000||||soon", UNREADABLE, "2026-03-18"),
        ("EVN||20260318113000||||", "", "2026-03-18"),
        ("EVN||20260318113000|20260401|||soon", UNREADABLE, "2026-04-01"),
        ("EVN||20260318113000|soon|||20260310", "", "2026-03-10"),  # EVN-6 decides
        ("EVN||soon|20260401", "", "2026-04-01"),  # EVN-3 decides
        ("EVN||soon||||20260310", "", "2026-03-10"),
        ("EVN||20260318113000|202702", "", "2027-02-28"),
        ("EVN||20260318113000|2026", PARTIAL, ""),
        ("EVN||20260318113000||||202603", PARTIAL, ""),
        ("EVN||20260318113000||||2025", "", "2025-12-31"),
        ("EVN||20260318113000||||20260318200000", "", "2026-03-18"),  # a wrong clock or zone
        ("EVN||20260318113000||||2027", UNREADABLE, "2026-03-18"),
        ("EVN||20260318113000|20260401|||2027", "", "2026-04-01"),
        ("EVN||20260318200000", "", ""),
        ("EVN||20270101", UNREADABLE, ""),
        ("EVN", "", ""),
    ],
)
def test_of_the_times_of_an_event_the_one_that_decides(evn: str, undated: str, effective: str) -> None:
    raw = sent("B06", "").replace(b"EVN||20260318113000|", evn.encode())
    change, _ = only(raw)
    assert (change.undated, change.effective[:10]) == (undated, effective)


def test_each_record_of_a_file_has_its_own_time() -> None:
    times = ["2027", "TBD", "20260401", "2026", ""]
    segments = [part for n, time in enumerate(times) for part in (f"MFE|MDC|R{n}|{time}|K{n}|CWE", stf(f"K{n}"))]
    found: Translation = staff.translate(Message(message(*segments)), RULES, NOW)
    changes = [change_of(record) for record in found.records]
    assert [change.undated for change in changes] == ["", UNREADABLE, "", PARTIAL, ""]
    assert [change.effective[:10] for change in changes] == ["2027-12-31", "", "2026-04-01", "", ""]
    assert [StaffChange.from_json(change.to_json()) for change in changes] == changes


@given(
    st.one_of(
        st.text(alphabet="0123456789-+./: TZ", min_size=1, max_size=20),
        st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="|^~&\\"), min_size=1),
    ),
    st.sampled_from(["MDC", "MDL", "MUP with I", "B05", "B06"]),
)
def test_whatever_stands_where_the_time_belongs_nobody_is_ended_before_it(time: str, kind: str) -> None:
    """What is not waited for, and not held, was blank, or is a time that has come."""
    change, times = only(sent(kind, time))
    if change.undated:
        assert times
        return
    text = time.strip()
    if text in ("", '""'):
        return
    assert text[:4].isdigit()
    assert text.isascii()
    if change.effective[:19] < (NOW + timedelta(days=2)).isoformat()[:19]:
        assert text[:4] <= "2026"


@pytest.mark.parametrize(
    ("sender", "exact"),
    [
        ("20261101013000", False),  # twice
        ("20260308023000", False),  # never
        ("20261101013000-0600", True),
        ("20260701120000", True),
        ("20260701120000^D", False),
        ("20260701120000^S", True),
        ("202607011200", False),
    ],
)
def test_the_time_of_a_message_orders_it_only_where_it_is_one_instant(sender: str, exact: bool) -> None:
    change, _ = only(sent("MUP", "", sender=sender), CHICAGO)
    assert change.message_time_exact is exact
