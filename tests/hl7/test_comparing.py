"""Two messages compared: records by key, segments by what both have, values and not bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.hl7.comparing import differences, is_place
from hl7bridge.hl7.message import Message

HEADER = "MSH|^~\\&|HR|N|||20260301||MFN^M02|1|P|2.5.1\rMFI|STF||UPD|||AL\r"
ADAMS = "MFE|MUP|A||E1|CE\rSTF|E1|E1|Adams^Ann|||19700101|A|||^WPN^PH~^PRN^PH^x@y.example\rORG|1|CARD\rORG|2|NEPH\r"
BAKER = "MFE|MUP|B||E2|CE\rSTF|E2||Baker^Bo\r"


def compared(before: str, after: str, ignored: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = differences(Message(before.encode()), Message(after.encode()), ignored)
    return [(one.kind, one.path, one.before, one.after, one.record) for one in found]


def test_equal_messages_do_not_differ() -> None:
    assert compared(HEADER + ADAMS, HEADER + ADAMS) == []
    assert compared(HEADER + ADAMS + BAKER, HEADER + BAKER + ADAMS) == []


def test_a_value_is_named_by_its_path() -> None:
    after = ADAMS.replace("^PRN^PH", "^PRN^FX").replace("Adams^Ann", "Adams^Anne").replace("|A|||", "|I|||")
    assert compared(HEADER + ADAMS, HEADER + after) == [
        ("changed", "STF-3.2", "Ann", "Anne", "E1"),
        ("changed", "STF-7", "A", "I", "E1"),
        ("changed", "STF-10[2].3", "PH", "FX", "E1"),
    ]


def test_whole_fields_and_components_come_and_go() -> None:
    after = ADAMS.replace("19700101", "").replace("Adams^Ann", "Adams^Ann^M").replace("|E1|Adams", "||Adams")
    assert compared(HEADER + ADAMS, HEADER + after) == [
        ("removed", "STF-2", "E1", "", "E1"),
        ("added", "STF-3.3", "", "M", "E1"),
        ("removed", "STF-6", "19700101", "", "E1"),
    ]


def test_records_are_matched_by_key() -> None:
    after = HEADER + BAKER.replace("Bo", "Bob") + "MFE|MAD|C||E3|CE\rSTF|E3||Cole\r"
    assert compared(HEADER + BAKER + ADAMS, after) == [
        ("changed", "STF-3.2", "Bo", "Bob", "E2"),
        ("removed", "MFE[2]", "MFE|MUP|A||E1|CE", "", "E1"),
        ("removed", "STF[2]", ADAMS.split("\r")[1], "", "E1"),
        ("removed", "ORG", "ORG|1|CARD", "", "E1"),
        ("removed", "ORG[2]", "ORG|2|NEPH", "", "E1"),
        ("added", "MFE[2]", "", "MFE|MAD|C||E3|CE", "E3"),
        ("added", "STF[2]", "", "STF|E3||Cole", "E3"),
    ]


def test_a_key_that_comes_twice_is_matched_in_order() -> None:
    again = BAKER.replace("Bo", "Bill")
    assert compared(HEADER + BAKER + again, HEADER + BAKER + again.replace("Bill", "Will")) == [
        ("changed", "STF[2]-3.2", "Bill", "Will", "E2")
    ]


def test_repeated_segments_are_aligned() -> None:
    assert compared(HEADER + ADAMS, HEADER + ADAMS.replace("ORG|1|CARD\r", "")) == [
        ("removed", "ORG", "ORG|1|CARD", "", "E1")
    ]
    assert compared(HEADER + ADAMS, HEADER + ADAMS.replace("ORG|1", "ZUN|x\rORG|1")) == [
        ("added", "ZUN", "", "ZUN|x", "E1")
    ]


def test_null_is_not_empty_and_empty_components_are_nothing() -> None:
    assert compared(HEADER + BAKER, HEADER + BAKER.replace("Baker^Bo", "Baker^Bo^^")) == []
    assert compared(HEADER + BAKER, HEADER + BAKER.replace("Baker^Bo", '""')) == [
        ("changed", "STF-3.1", "Baker", '""', "E2"),
        ("removed", "STF-3.2", "Bo", "", "E2"),
    ]


def test_other_separators_and_line_ends_are_no_difference_of_content() -> None:
    other = (HEADER + ADAMS).replace("^~\\&", "\0").replace("^", "#").replace("~", "!").replace("\0", "#!\\&")
    assert compared(HEADER + ADAMS, other.replace("\r", "\n")) == [("changed", "MSH-2", "^~\\&", "#!\\&", "")]


def test_what_is_ignored_is_left_out() -> None:
    after = HEADER.replace("|1|P", "|2|P").replace("20260301", "20260302") + "NTE|1||x\r" + ADAMS.replace("Ann", "Eve")
    assert [one[1] for one in compared(HEADER + ADAMS, after, ("MSH-7", "NTE"))] == ["MSH-10", "STF-3.2"]
    found = differences(Message((HEADER + ADAMS).encode()), Message(after.encode()))
    assert [one.path for one in found] == ["NTE", "STF-3.2"]
    assert [is_place(text) for text in ("NTE", "MSH-7", "MSH-7.1", "msh", "")] == [True, True, False, False, False]


def test_subcomponents_have_places_of_their_own() -> None:
    found = compared(HEADER + BAKER, HEADER + BAKER.replace("Baker", "Baker&van"))
    assert found == [("added", "STF-3.1.2", "", "van", "E2")]


@given(
    st.lists(st.tuples(st.sampled_from(["E1", "E2", "E3"]), st.sampled_from(["Al", "Bo", ""])), max_size=6),
    st.lists(st.tuples(st.sampled_from(["E1", "E2", "E3"]), st.sampled_from(["Al", "Bo", ""])), max_size=6),
)
def test_the_other_way_round_it_is_the_same(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> None:
    """What is added one way is removed the other way, and only equal messages do not differ."""
    one, other = (
        Message((HEADER + "".join(f"MFE|MUP|||{key}\rSTF|{key}||{name}\r" for key, name in records)).encode())
        for records in (before, after)
    )
    there, back = list(differences(one, other)), list(differences(other, one))
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    assert sorted((turned[d.kind], d.before, d.after) for d in there) == sorted(
        (d.kind, d.after, d.before) for d in back
    )
    assert (there == []) == (sorted(before) == sorted(after) and _in_order(before) == _in_order(after))


def _in_order(records: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, name in records:
        found.setdefault(key, []).append(name)
    return found
