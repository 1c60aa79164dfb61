"""A key is taken whole or not at all, wherever it stands: a part of it may be somebody else's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.hl7.escapes import escape, separators_of
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.mapping.site import SiteMap
from hl7bridge.model import Record
from tests.examples import examples
from tests.mapping.building import (
    KEY_SYSTEM,
    NOW,
    RULES,
    change_of,
    errors,
    mfe,
    one,
    said,
    staff_change,
    stf,
    translate,
)
from tests.mapping.building import message as file_of
from tests.mapping.test_personnel import one as personnel

WHOLE = [
    ("R&D1", "R&D1"),
    ("R\\T\\D1", "R&D1"),
    ("R&D&1", "R&D&1"),
    ("&R", "&R"),
    ("R&", "R&"),
    ("R\\S\\1", "R^1"),
    ("R\\R\\1", "R~1"),
    ("R\\F\\1", "R|1"),
    ("CORP\\E\\ada", "CORP\\ada"),
    ("CORP\\ada", "CORP\\ada"),
    ("R\\X41\\1", "RA1"),
    ("007", "007"),
    ("7", "7"),
    ("0x1F", "0x1F"),
    ("1e3", "1e3"),
    ("1.0", "1.0"),
    ("ada", "ada"),
    ("ADA", "ADA"),
    ("Straße", "Straße"),
    ("STRASSE", "STRASSE"),
    ("A  B", "A  B"),
    (" K1 ", "K1"),
    ('"K1"', '"K1"'),
    ("K" * 3000, "K" * 3000),
    ("K1^Rossi, Ada^HOSP", "K1"),
    ("K1^^^HOSP&1.2.3&ISO^EI", "K1"),
]

LOST = [
    "K\x001",
    "K\x7f1",
    "K\x011",
    "K\t1",
    "K1\t",
    "K\xa01",
    "K1\xa0",
    "K\u200b1",
    "\ufeffK1",
    "K\x851",
    "K\\X00\\1",
    "K\\X0D\\1",
    "K\\.br\\1",
    "K\\H\\1\\N\\",
    "K\\Z01\\1",
    "K\\C2842\\1",
    "K1~K2",
    "~K1~K2",
    "R~D1",
]


def key_of(record: Record) -> str:
    """The key of the change, "" where the record is refused for its key."""
    if record.change is not None:
        return record.change.source_key
    assert {(error.code, error.local) for error in errors(record)} == {("102", "key-unreadable")}
    return ""


def of_field(sent: str, event: str = "MAD") -> Record:
    """The record of a master file with that text in MFE-4 and STF-1."""
    return one(stf(sent), key=sent, event=event)


@pytest.mark.parametrize(("sent", "key"), WHOLE)
def test_a_key_is_whole_in_every_field_that_may_hold_it(sent: str, key: str) -> None:
    assert of_field(sent).change is not None
    assert key_of(of_field(sent)) == key
    assert key_of(of_field(sent, "MDC")) == key
    assert key_of(one(event="MDC", key=sent)) == key, "a leaver without STF"
    assert key_of(one(stf(sent), key="")) == key, "STF-1 alone"
    assert key_of(one(stf("", f2=sent), key="")) == key, "STF-2 alone"
    assert key_of(personnel("B01", stf(sent))) == key
    assert key_of(personnel("B06", stf("", f2=f"{sent}^^^NORTH^EI" if "^" not in sent else sent))) == key
    declared = FeedRules(KEY_SYSTEM, site=SiteMap(key=("STF-2[EI]", "MFE-4")))
    assert key_of(one(stf("", f2=sent), key=sent, rules=declared)) == key


@pytest.mark.parametrize("sent", LOST)
def test_a_key_that_would_not_survive_is_refused(sent: str) -> None:
    assert key_of(of_field(sent)) == ""
    assert key_of(of_field(sent, "MDC")) == ""
    assert key_of(one(stf(), key=sent)) == ""
    assert key_of(one(stf(sent))) == "", "STF-1 beside a sound MFE-4"
    assert key_of(one(stf(), f"PRA|{sent}")) == ""
    assert key_of(one(stf(sent), key="")) == ""
    assert key_of(personnel("B06", stf(sent))) == ""
    if "~" not in sent:
        assert key_of(one(stf("", f2=f"{sent}^^^NORTH^EI~K9^^^NORTH^EI"), key="")) == "", "never the next one instead"
        declared = FeedRules(KEY_SYSTEM, site=SiteMap(key=("STF-2", "MFE-4")))
        assert key_of(one(stf(f2=sent), rules=declared)) == ""


@pytest.mark.parametrize("kind", ["ST", "ID", "IS", "NM", "SI"])
@pytest.mark.parametrize("event", ["MAD", "MDC"])
def test_a_separator_in_a_key_whose_type_has_no_components_was_not_escaped(kind: str, event: str) -> None:
    """MFE-5 says whether `R^D1` is a code with its text or a key of one piece; `K1^^PLW`, ST is the standard's own."""

    def sent(key: str) -> Record:
        return translate(file_of(f"MFE|{event}|R1||{key}|{kind}", stf(key))).records[0]

    assert key_of(sent("R^D1")) == ""
    assert key_of(sent(r"R\S\D1")) == "R^D1"
    assert key_of(sent("K1^^PLW")) == "K1"
    assert key_of(one(stf("K1^Rossi^HR"), key="K1^Rossi^HR", event=event)) == "K1"


@pytest.mark.parametrize(
    "private",
    [
        "^^^&2.16.840.1.113883.4.1&ISO^PI",
        "^^^USSSA^EI",
        "^^^USSSA",
        "^^^X&2.16.840.1.113883.4.4&ISO^XX",
        "^^^^SS",
        "^^^N^TAX",
    ],
)
def test_a_private_number_is_never_the_key_whatever_its_type_says(private: str) -> None:
    assert key_of(personnel("B01", stf("", f2=f"123456789{private}~E7^^^NORTH^EI"))) == "E7"
    (error,) = errors(personnel("B01", stf("", f2=f"123456789{private}")))
    assert error.local == "key-missing"


def test_the_words_of_a_refusal_hold_no_value() -> None:
    (error,) = errors(one(stf(), key="SECRET1~SECRET2"))
    assert "SECRET" not in error.text
    assert str(error.location) == "MFE-4"


@pytest.mark.parametrize(
    ("primary", "staff_key"),
    [("R&D1", "R"), ("R", "R&D1"), ("007", "7"), ("ada", "ADA"), ("A B", "A  B"), ("1", "1.0")],
)
def test_keys_are_compared_exactly(primary: str, staff_key: str) -> None:
    record = one(stf(staff_key), key=primary)
    assert record.change is None
    assert {error.local for error in errors(record)} == {"key-mismatch"}


def test_a_key_escaped_once_and_not_the_other_time_is_one_key() -> None:
    assert change_of(one(stf("R&D1"), key="R\\T\\D1")).source_key == "R&D1"


def test_nothing_is_cut_where_the_header_leaves_separators_out() -> None:
    raw = file_of(mfe("MDC", "R&D~1\x00X")).replace(b"^~\\&", b"^", 1)
    (record,) = staff.translate(Message(raw), RULES, NOW).records
    assert key_of(record) == ""
    raw = file_of(mfe("MDC", "R&D~1")).replace(b"^~\\&", b"^", 1)
    (record,) = staff.translate(Message(raw), RULES, NOW).records
    assert key_of(record) == "R&D~1"


@pytest.mark.parametrize("sent", ["E&7", "E\\T\\7"])
def test_other_identifiers_are_whole_too(sent: str) -> None:
    rules = FeedRules(KEY_SYSTEM, authorities={"NORTH": "urn:north", "SL:CA": "urn:california"})
    change = staff_change(
        f"PRA|K1|||||{sent}^SL^CA", f"ORG|1|WARD^Ward||| {sent}^^^NORTH", f2=f"{sent}^^^NORTH", rules=rules
    )
    assert [one.value for one in change.identifiers] == ["K1", "E&7", "E&7"]
    (unit,) = [value.value for value in change.roles[0].values if value.element == "identifier"]
    assert unit["value"] == "E&7"
    change = staff_change(f"CER|1|{sent}||Board||||||MD^Doctor", rules=rules)
    (qualification,) = [value.value for value in change.practitioner if value.element == "qualification"]
    assert qualification["identifier"][0]["value"] == "E&7"


@pytest.mark.parametrize("sent", [text for text in LOST if "~" not in text])
def test_another_identifier_that_would_not_survive_is_left_out_and_said(sent: str) -> None:
    rules = FeedRules(KEY_SYSTEM, authorities={"NORTH": "urn:north"})
    record = one(stf(f2=f"{sent}^^^NORTH"), f"PRA|K1|||||{sent}^SL^CA", f"CER|1|{sent}||||||||MD^Doctor", rules=rules)
    assert said(record) == [
        "identifier-unreadable@STF-2.1",
        "identifier-unreadable@PRA-6.1",
        "identifier-unreadable@CER-2.1",
    ]
    assert [one.value for one in change_of(record).identifiers] == ["K1"]
    assert not [value for value in change_of(record).practitioner if value.element == "qualification"]


TEXTS = st.text(st.sampled_from('Rr01 &^~\\|#TXE."\t\x00\xa0é\u200b'), min_size=1, max_size=6)


@settings(max_examples=examples(100))
@given(TEXTS, TEXTS)
def test_two_keys_that_differ_are_never_one(one_text: str, other_text: str) -> None:
    """Escaped as the standard wants it, or raw where the sender leaves the sub-component separator as it is."""
    separators = separators_of("|", "^~\\&")
    keys: dict[str, set[str]] = {}
    for text in (one_text, other_text):
        for sent in (escape(text, separators), "&".join(escape(part, separators) for part in text.split("&"))):
            (record,) = translate(file_of(mfe("MDC", sent))).records
            if record.change is not None:
                keys.setdefault(record.change.source_key, set()).add(text.strip(" "))
    assert all(len(texts) == 1 for texts in keys.values()), keys
    assert all(key in texts for key, texts in keys.items())
