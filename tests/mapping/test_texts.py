"""Escape sequences, nulls and mixed contacts as systems in the field send them, through the mapping to the value.

HL7 v2.5.1 chapter 2.7: what is an escape sequence is decoded by itself, once; what is none is text, and nothing is invented.
"""

from __future__ import annotations

import pytest

from tests.mapping.building import change_of, errors, one, staff_change, stf, values

# The family name as sent -> as written.
NAMES = [
    (r"ROSSI\X00d\\X0A\NERI", "ROSSI\\X00d\\\nNERI"),  # an odd number of hexadecimal digits is no sequence
    (r"ROSSI\X000D\\X000A\NERI", "ROSSI\r\nNERI"),
    (r"D\X27\ANGELO", "D'ANGELO"),
    (r"M\XC3BC\LLER", "MüLLER"),  # bytes of the message's character set
    (r"M\XFC\LLER", "M\\XFC\\LLER"),
    (r"RO\Xzz\SSI", "RO\\Xzz\\SSI"),
    (r"RO\X00\SSI", "ROSSI"),
    (r"RO\SSI", "RO\\SSI"),
    ("ROSSI\\", "ROSSI\\"),
    (r"RO\E\\F\SSI", "RO\\|SSI"),
    (r"RO\E\F\SSI", "RO\\F\\SSI"),  # an escaped escape character begins no sequence
    (r"RO\H\SSI\N\ ".strip(), "ROSSI"),
    (r"ROSSI\.br\NERI", "ROSSI\nNERI"),
]


@pytest.mark.parametrize(("sent", "family"), NAMES)
def test_an_escape_sequence_is_decoded_by_itself(sent: str, family: str) -> None:
    (name,) = values(change_of(one(stf(name=f"{sent}^Ada"))), "name")
    assert (name["family"], name["given"]) == (family, ["Ada"])


def test_separators_split_before_sequences_are_decoded() -> None:
    (name,) = values(staff_change(f3=r"DE&LA&\T\CRUZ^Ada"), "name")
    assert name["family"] == "DE"
    assert [part["valueString"] for part in name["_family"]["extension"]] == ["LA", "&CRUZ"]


def test_a_null_in_hexadecimal_is_no_name() -> None:
    assert [error.local for error in errors(one(stf(name=r"\X2222\^Ada")))] == ["family-name-missing"]


@pytest.mark.parametrize("field", [6, 12, 13])
def test_a_null_in_a_date_clears_it_and_is_no_error(field: int) -> None:
    record = one(stf(**{f"f{field}": '""'}), event="MUP")
    assert f"STF-{field}" in map(str, change_of(record).cleared)
    assert not errors(record)


@pytest.mark.parametrize(
    ("sent", "given"),
    [
        ("^^^ada@example.org^^^9195277959", [("phone", "9195277959"), ("email", "ada@example.org")]),
        ("9195277959^^^ada@example.org", [("phone", "9195277959"), ("email", "ada@example.org")]),
        ("^WPN^PH^ada@example.org^1^919^5277959", [("phone", "+1 919 5277959"), ("email", "ada@example.org")]),
        (
            "9195277959^WPN^PH^ada@example.org^1^919^5277960",
            [("phone", "+1 919 5277960"), ("email", "ada@example.org")],
        ),
        ("1^WPN^PH" + "^" * 9 + "+1 919 5277961", [("phone", "+1 919 5277961")]),
        ("ada@example.org^NET^Internet", [("email", "ada@example.org")]),
        ("^NET^Internet^mailto:ada@example.org", [("email", "ada@example.org")]),
        ("mailto:ada@example.org", [("email", "ada@example.org")]),
    ],
)
def test_a_number_and_an_address_in_one_repetition_are_two(sent: str, given: list[tuple[str, str]]) -> None:
    found = values(staff_change(f10=sent), "telecom")
    if len(given) == 1 and given[0][0] == "email":
        assert values(staff_change(f15=sent), "telecom") == [{"system": "email", "value": "ada@example.org"}]
    assert [(point["system"], point["value"]) for point in found] == given
