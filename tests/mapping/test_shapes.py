"""What a value of each type may look like: what can't be of its field is not written, and is said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.hl7.escapes import separators_of
from hl7bridge.mapping.rules import shapes
from hl7bridge.mapping.rules.reading import FieldReader
from hl7bridge.mapping.rules.tables import field_table
from hl7bridge.model import Severity
from tests.mapping.building import change_of, errors, message, mfe, one, said, segment, stf, translate, values

NUMBER = "^WPN^PH^^1^612^5550196"
STREET = "12 Main Street^^Northlake^MN^55501^USA^B"
MAIL = "ada@example.org"
TIME = "19801205"

# fmt: off
TELEPHONES = [
    "5550196", "555-0196", "(612)555-0196", "+44 113 496 0123", "+49 (0)30 1234-567", "0113/4960123",
    "+49 30/123456-0", "0113 496 0123 ext 12", "x4711", "12", "ext. 345", "tel 555 0100", "1-800-FLOWERS",
    "(555)555-1003X345CO", "*31#5550196", "+1 612 555 0196 X12", "Fax: 555 0100", "[9]5550196", "20101231",
    "612.555.0196", "P12345",
]
NO_TELEPHONES = [
    "12 Main Street", "1 High Street", "555 Lexington Ave Apt 1203", "10 rue de Paris", "M5V 2T6", "Northlake", "",
    "WPN", "n/a", "20260318113000", "198012051200", "ada@example.org", "Rossi", "Rossi 12", "Suite 200", "-",
    "5" * 25, "555 0100 or 555 0101", "555-0100/555-0101", "5550100, 5550101", "612-555-0196;612-555-0197",
    "+16125550196+16125550197", "(612)555-0196(612)555-0197", "612555019661255501",
]
# fmt: on


@pytest.mark.parametrize("text", TELEPHONES)
def test_telephones(text: str) -> None:
    assert shapes.is_telephone(text)
    assert values(change_of(one(stf(f10=f"{text}^WPN^PH"))), "telecom")[0]["value"] == text


@pytest.mark.parametrize("text", NO_TELEPHONES)
def test_what_is_no_telephone_is_not_written_and_that_is_said(text: str) -> None:
    assert not shapes.is_telephone(text)
    record = one(stf(f10=f"{text}^WPN^PH"))
    assert values(change_of(record), "telecom") == []
    assert said(record) == (["shifted-field@STF-10"] if text else [])


READ = {"STF": [4, 5, 6, 8, 9, 10, 11, 12, 13, 15, 18, 19, 34, 35, 38, 39], "PRA": [2, 3, 5, 6, 8, 9, 10]}
UNREAD = {"STF": [14, 17, 20, 24, 27, 30, 33, 36, 40, 43], "PRA": [4, 11, 14]}
NATIONAL = "1234567893^^^NPI^NPI"
PRIVATE = "123-45-6789"
FORMS = {"telephone": NUMBER, "street": STREET, "mail": MAIL}
OWN = {("STF", 10): {"telephone", "mail"}, ("STF", 11): {"street"}, ("STF", 15): {"mail"}, ("PRA", 6): {"mail"}}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "field"), [(n, f) for table in (READ, UNREAD) for n in table for f in table[n]])
def test_a_value_of_another_field_is_said_and_not_written(name: str, field: int, form: str) -> None:
    """Wherever a shift puts it: in a field that is read, in one that is not, in one that no version has."""
    if form in OWN.get((name, field), ()):
        return
    moved = {f"f{field}": FORMS[form]}
    record = one(
        stf(**moved) if name == "STF" else stf(), *([segment("PRA", f1="K1", **moved)] if name == "PRA" else [])
    )
    assert f"shifted-field@{name}-{field}" in [text.split(".")[0] for text in said(record)]
    assert not record.failed
    plain = one(stf(), *(["PRA|K1"] if name == "PRA" else []))
    assert change_of(record) == change_of(plain), "nothing is made of it"


@pytest.mark.parametrize("sent", [NATIONAL, "K1^^^NORTH^EI", "123-45-6789^^^USSSA^SS", "A7^^^^DL"])
@pytest.mark.parametrize("field", [3, 4, 8, 9, 10, 11, 18, 19, 39])
def test_an_identifier_is_no_name_no_code_and_no_telephone(field: int, sent: str) -> None:
    record = one(stf(**{f"f{field}": f"{'Rossi^Ada~' if field == 3 else ''}{sent}"}))
    assert [text for text in said(record) if "unmapped" not in text] == [
        f"shifted-field@STF-{field}" + "[2]" * (field == 3)
    ]
    assert change_of(record) == change_of(one(stf()))


SEGMENTS_WITH_TEXT = (
    [("STF", field) for field in (3, 4, 8, 9, 18, 19, 39)]
    + [("PRA", field) for field in (2, 3, 5, 9)]
    + [("ORG", field) for field in (2, 3, 6, 7)]
    + [("CER", field) for field in (2, 4, 5, 10, 11)]
    + [("EDU", field) for field in (2, 6, 9)]
    + [("LAN", 2)]
)


@pytest.mark.parametrize(("name", "field"), SEGMENTS_WITH_TEXT)
@pytest.mark.parametrize("sent", [PRIVATE, f"{PRIVATE}^^^USSSA^SS"])
def test_a_social_security_number_is_written_nowhere_as_text(name: str, field: int, sent: str) -> None:
    """Whatever a destination may have: in these fields it is no identifier that could be withheld."""
    own = {"CER": {"f10": "LIC^Licence"}, "EDU": {"f2": "MD"}, "LAN": {"f2": "fr"}, "PRA": {"f1": "K1"}}.get(name, {})
    moved = {**own, f"f{field}": sent}
    segments = [stf(**moved)] if name == "STF" else [stf(), segment(name, **moved)]
    record = one(*segments)
    assert any(text.startswith("shifted-field@") for text in said(record)), said(record)
    assert record.change is None or PRIVATE not in json.dumps(record.change.to_json())


CERTIFICATE = {
    "f1": "1", "f2": "C100", "f4": "Board of Medicine^L", "f5": "77^Doe^Jo", "f7": "USA", "f10": "LIC^Licence",
    "f23": "20190101", "f25": "20190301", "f27": "20301231", "f31": "A",
}  # fmt: skip
DEGREE = {"f1": "1", "f2": "MD", "f5": "20150601", "f6": "State University^L", "f9": "MED^Medicine"}


@pytest.mark.parametrize(("name", "fields"), [("CER", CERTIFICATE), ("EDU", DEGREE), ("LAN", {"f1": "1", "f2": "fr"})])
@pytest.mark.parametrize("by", [1, -1])
def test_a_certificate_degree_or_language_that_was_moved_by_one_is_not_written(
    name: str, fields: dict[str, str], by: int
) -> None:
    """Read a field further, a licence ends on the day on which it began."""
    as_sent = one(stf(), segment(name, **fields))
    assert said(as_sent, Severity.WARNING) == []
    assert [value.element for value in change_of(as_sent).practitioner] != ["name"]
    moved = segment(
        name, **{f"f{number + by}": text for field, text in fields.items() if (number := int(field[1:])) + by}
    )
    record = one(stf(), moved)
    assert any(text.startswith(f"shifted-field@{name}-") for text in said(record)), said(record)
    assert change_of(record) == change_of(one(stf()))


@pytest.mark.parametrize("at", range(1, 32))
def test_a_separator_too_many_in_a_certificate_is_seen_by_its_end(at: int) -> None:
    fields = segment("CER", **CERTIFICATE).split("|")
    fields.insert(at, "")
    record = one(stf(), "|".join(fields))
    assert any(text.startswith("shifted-field@CER-") for text in said(record)), said(record)
    assert change_of(record) == change_of(one(stf()))


@pytest.mark.parametrize("field", [4, 8, 9, 18, 39])
def test_a_time_is_no_code_and_no_title(field: int) -> None:
    record = one(stf(**{f"f{field}": TIME}))
    assert said(record) == [f"shifted-field@STF-{field}"]
    assert change_of(record) == change_of(one(stf()))


@pytest.mark.parametrize("repetitions", [f"{NUMBER}~RN", f"RN~{NUMBER}"])
def test_the_other_repetitions_stand(repetitions: str) -> None:
    record = one(stf(f4=repetitions))
    assert "shifted-field@STF-4" in " ".join(said(record))
    assert values(change_of(record).shared_role, "code") == [{"text": "RN"}]


@pytest.mark.parametrize("by", [1, 2])
def test_a_record_with_shifted_fields_is_refused_or_gives_no_value_of_another_field(by: int) -> None:
    fields = {4: "RN", 5: "F", 6: "19800512", 8: "CARD^Cardiology", 10: NUMBER, 11: STREET, 12: "20200101", 15: MAIL}
    record = one(stf(**{f"f{number + by}": text for number, text in fields.items()}))
    assert [finding.local for finding in errors(record)][:1] == ["shifted-fields"]


@pytest.mark.parametrize("name", ["5550196^Ada", "ada@example.org", "19800512", "Rossi^612-555-0196", "-^Ada"])
def test_what_is_no_name_is_refused(name: str) -> None:
    assert [finding.local for finding in errors(one(stf(name=name)))] == ["family-name-missing"]


@pytest.mark.parametrize("name", ["O'Neill^Jo", "Łukasz^Ż", "王^小明", "de la Cruz^José María", "Rossi2^Ada", "X^Y"])
def test_names_of_any_script_are_names(name: str) -> None:
    assert said(one(stf(name=name))) == []


@pytest.mark.parametrize(
    ("field", "sent"),
    [(5, "F~M"), (6, "19800101~19900101"), (18, "Matron~Sister"), (19, "N~M"), (34, "2020~2021"), (38, "L~R")],
)
def test_a_field_that_may_not_repeat_and_does_is_left_out(field: int, sent: str) -> None:
    record = one(stf(**{f"f{field}": sent}))
    assert said(record) == [f"field-repeats@STF-{field}"]
    assert not record.failed
    assert change_of(record) == change_of(one(stf()))


@pytest.mark.parametrize("field", [7, 32, 37])
def test_a_state_that_repeats_fails(field: int) -> None:
    sent = "A~I" if field == 7 else "Y~N"
    assert [finding.local for finding in errors(one(stf(**{f"f{field}": sent})))] == ["field-repeats"]


@pytest.mark.parametrize("field", [5, 7, 18])
def test_a_field_that_says_the_same_twice_is_read(field: int) -> None:
    assert said(one(stf(**{f"f{field}": "A~A"}))) == []


def test_every_field_that_is_known_has_a_type() -> None:
    for place in field_table():
        name, _, number = place.partition("-")
        if name in shapes.STANDARD:
            assert shapes.type_of_field(name, int(number)), place
    assert {*shapes.OF_RULES.values()} <= {*shapes._FOREIGN}


def test_a_leaver_is_not_held_up_by_what_an_end_does_not_read() -> None:
    (record,) = translate(message(mfe("MDC"), stf(f10=STREET, f17=NUMBER))).records
    assert said(record) == []


@given(
    st.sampled_from(sorted(shapes._FOREIGN)),
    st.lists(
        st.sampled_from(
            [
                "",
                "WPN",
                " PH",
                "CP",
                MAIL,
                "(612) 555-0196",
                " +44 113 4960123",
                STREET.split("^")[0],
                "MN",
                "55501",
                " LS1 4AB",
                "19800512",
                "5550196",
                "RN",
                "Northlake",
                "20260318113000",
                "EI",
                "K1",
                "SL",
                PRIVATE,
            ]
        ),
        max_size=8,
    ),
)
def test_the_quick_look_misses_nothing(data_type: str, parts: list[str]) -> None:
    raw = "^".join(parts)
    reader = FieldReader(separators_of("|", "^~\\&"), "utf-8")
    if raw and shapes.foreign_form(data_type, reader.parts(raw)):
        assert reader.looks_foreign(raw, data_type)


def test_one_misplaced_value_in_each_of_several_segments_is_no_shifted_record() -> None:
    """A shift is of a segment: three fields of one fail the record, one of each of three are said and left out."""
    of_each = [
        stf(f14="^NET^Internet^a@example.org"),
        "ORG|1|CARD^Cardiology|||||||20190401",
        "CER|1|||Board|||||||LIC^License",
    ]
    record = translate(message(mfe(), *of_each, "EDU|1|BS|||||||x")).records[0]
    assert not record.failed
    assert {finding.severity for finding in record.findings if finding.local == "shifted-field"} <= {Severity.WARNING}
