"""Conditions as analysts type them, against messages."""

from __future__ import annotations

import pytest

from hl7bridge.hl7.message import Message
from hl7bridge.hl7.searching import Condition

MESSAGE = Message(
    b"MSH|^~\\&|HR|N|||20260301||MFN^M02|1|P|2.5.1\r"
    b"MFE|MAD|A||E1|CE\rSTF|E1|E1^^^N&1.2&ISO|ADAMS^Ann~Adams^Anne|||||A||5551234~5559999\rPRA|E1|||||1234^NPI~99^DEA\r"
    b'MFE|MDC|B||E2|CE\rSTF|E2||Baker^Bo\\T\\Co||""||||\r'
)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("STF-3.1=ADAMS", [("STF-3.1", "ADAMS", "E1")]),
        ("STF-3.1=Adams", [("STF-3[2].1", "Adams", "E1")]),
        ("STF-3[1].1=Adams", []),
        ("STF-3=Ann", [("STF-3.2", "Ann", "E1")]),
        ("STF-3.2~Ann*", [("STF-3.2", "Ann", "E1"), ("STF-3[2].2", "Anne", "E1")]),
        ("PRA-6.1~12*", [("PRA-6.1", "1234", "E1")]),
        ("PRA-6.1~*9*", [("PRA-6[2].1", "99", "E1")]),
        ("STF-2.4.2=1.2", [("STF-2.4.2", "1.2", "E1")]),
        ("STF[2]-3.1~*", [("STF[2]-3.1", "Baker", "E2")]),
        ("STF-3.2=Bo&Co", [("STF[2]-3.2", "Bo&Co", "E2")]),
        ("MFE-1!=MAD", [("MFE[2]-1", "MDC", "E2")]),
        ('STF-5=""', [("STF[2]-5", '""', "E2")]),
        ("STF-8~*", [("STF-8", "A", "E1")]),
        ("STF-8=1*", []),
        ("STF-10=5559999", [("STF-10[2]", "5559999", "E1")]),
        ("MSH-9.2=M02", [("MSH-9.2", "M02", "")]),
        ("ZZZ-1~*", []),
        ("STF-99~*", []),
        ("PRA-6.1~1.34", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_finds_values(condition: str, found: list[tuple[str, str, str]]) -> None:
    assert [(one.path, one.value, one.record) for one in Condition.parse(condition).search(MESSAGE)] == found


def test_case_may_be_ignored() -> None:
    found = Condition.parse("STF-3.1=adams", ignore_case=True).search(MESSAGE)
    assert [one.value for one in found] == ["ADAMS", "Adams"]


@pytest.mark.parametrize("text", ["STF-3.1", "STF=1", "stf-3=1", "3=1", "", "STF-x=1"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a condition"):
        Condition.parse(text)
