"""Details of the HL7 v2-to-FHIR guide, kind by kind. What differs has its reason in `hl7bridge/guide/mapping.md`, which
`test_guide_table.py` compares row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hl7bridge.hl7.message import Message
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.model import Severity
from tests.mapping.building import CORPUS, KEY_SYSTEM, NOW, check_resources, one, said, staff_change, stf, values

ROWS = CORPUS.parent / "guide-rows" / "in"
FILES = sorted(ROWS.glob("*.hl7"))
BOTH = FeedRules(KEY_SYSTEM, takes=frozenset({"staff", "adt"}))
SCT = "http://snomed.info/sct"
NPI = "http://hl7.org/fhir/sid/us-npi"
DEGREES = "http://terminology.hl7.org/CodeSystem/v2-0360"


@pytest.mark.skipif(not FILES, reason=f"no messages of the guide's rows at {ROWS}")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_messages_of_the_rows_give_valid_resources(path: Path) -> None:
    for record in staff.translate(Message(path.read_bytes()), BOTH, NOW).records:
        if record.change is not None:
            check_resources(record.change)
        else:
            assert any(finding.severity is Severity.ERROR for finding in record.findings)


def typed(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code}]}


def first(sent: dict[str, str], element: str, *segments: str) -> Any:
    return values(staff_change(*segments, **sent), element)[0]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            "158965000^Doctor^SCT^DOC^Local doctor^L^2024",
            {"coding": [{"system": SCT, "code": "158965000", "display": "Doctor", "version": "2024"}]},
        ),
        (
            "X^Local^L^158965000^Doctor^SCT^^v1",
            {"coding": [{"system": SCT, "code": "158965000", "display": "Doctor", "version": "v1"}], "text": "Local"},
        ),
        (
            "X^^L^^^^^^^158965000^Doctor^SCT^9",
            {"coding": [{"system": SCT, "code": "158965000", "display": "Doctor", "version": "9"}], "text": "X"},
        ),
    ],
)
def test_the_codings_of_a_cwe_and_the_local_words_beside_them(sent: str, expected: dict[str, Any]) -> None:
    assert values(staff_change(f4=sent).shared_role, "code") == [expected]


@pytest.mark.parametrize("order", ["F", "G"])
def test_the_order_of_a_name(order: str) -> None:
    name = first({"name": f"Rossi^Ada^^^^^^^^^{order}"}, "name")
    url = "http://hl7.org/fhir/StructureDefinition/humanname-assembly-order"
    assert name["extension"] == [{"url": url, "valueCode": order}]
    assert "extension" not in first({"name": "Rossi^Ada^^^^^^^^^X"}, "name")


@pytest.mark.parametrize(
    ("school", "issuer"),
    [
        ("Leeds School", {"display": "Leeds School"}),
        (
            "Leeds School^L^77^^^NPI",  # the authority gives one system, whose numbers have a check digit
            {"display": "Leeds School"},
        ),
        (
            "Leeds School^L^1234567893^^^NPI",
            {"identifier": {"system": NPI, "value": "1234567893"}, "display": "Leeds School"},
        ),
        (
            "Leeds School^L^^^^^NPI^^^1234567893",
            {
                "identifier": {"type": typed("NPI"), "system": NPI, "value": "1234567893"},
                "display": "Leeds School",
            },
        ),
        (
            "Leeds School^L^^^^SOME&2.999.5&ISO^^^^S9",
            {"identifier": {"system": "urn:oid:2.999.5", "value": "S9"}, "display": "Leeds School"},
        ),
        (
            "Leeds School^L^^^^ELSEWHERE^XX^^^S9",
            {
                "identifier": {"type": typed("XX"), "assigner": {"display": "ELSEWHERE"}, "value": "S9"},
                "display": "Leeds School",
            },
        ),
        (
            "Leeds School^L^^^^ELSEWHERE^QQ^^^S9",
            {
                "identifier": {"assigner": {"display": "ELSEWHERE"}, "value": "S9", "type": {"text": "QQ"}},
                "display": "Leeds School",
            },
        ),
        ("Leeds School^L^12", {"display": "Leeds School"}),
        ("^L^1^^^NPI", {"display": "1"}),
        ("A Tutor^L^123456789^^^USSSA", {"display": "A Tutor"}),
        ("A Tutor^L^^^^NORTH^SS^^^123456789", {"display": "A Tutor"}),
        ("^L^^^^^^^^S9", {"display": "S9"}),
    ],
)
def test_a_school_by_name_and_number(school: str, issuer: dict[str, Any]) -> None:
    assert first({}, "qualification", f"EDU|1|BA||||{school}")["issuer"] == issuer


@pytest.mark.parametrize("school", ["^L^123456789^^^USSSA", "^L^^^^^SS^^^123456789", '""', "^L"])
def test_a_number_of_a_person_is_nothing_of_a_school(school: str) -> None:
    assert "issuer" not in first({}, "qualification", f"EDU|1|BA||||{school}")


@pytest.mark.parametrize(
    ("degree", "subject", "code"),
    [
        ("M.D.", "", {"coding": [{"system": DEGREES, "code": "MD"}]}),
        (
            "MD^Medicine^HL70360^17561000^Cardiologist^SCT^2.9",
            "",
            {
                "coding": [
                    {"system": DEGREES, "code": "MD", "display": "Medicine", "version": "2.9"},
                    {"system": SCT, "code": "17561000", "display": "Cardiologist"},
                ]
            },
        ),
        ("BS", "Anatomy", {"coding": [{"system": DEGREES, "code": "BS"}], "text": "Anatomy"}),
        ("BS^^^^^^^^First degree", "Art", {"coding": [{"system": DEGREES, "code": "BS"}], "text": "First degree (Art)"}),
        ("BS^Bachelor of Surgery^99LOC", "Anatomy", {"text": "Bachelor of Surgery (Anatomy)"}),
        ("BS^Bachelor of Surgery^99LOC", "", {"text": "Bachelor of Surgery"}),
    ],
)  # fmt: skip
def test_a_degree_and_its_subject(degree: str, subject: str, code: dict[str, Any]) -> None:
    assert first({}, "qualification", f"EDU|1|{degree}|||||||{subject}")["code"] == code


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("DR^Our doctor", {"coding": [{"system": SCT, "code": "1", "display": "Doctor"}], "text": "Our doctor"}),
        ("DR^Doctor", {"coding": [{"system": SCT, "code": "1", "display": "Doctor"}]}),
        ("DR", {"coding": [{"system": SCT, "code": "1", "display": "Doctor"}]}),
        ("NU^Nurse", {"coding": [{"system": SCT, "code": "2", "display": "Nurse"}]}),
        ("DR^Our doctor^^^^^^^As read", {"coding": [{"system": SCT, "code": "1", "display": "Doctor"}], "text": "As read"}),
    ],
)  # fmt: skip
def test_the_senders_words_beside_a_code_of_the_sites_table(sent: str, expected: dict[str, Any]) -> None:
    rules = FeedRules(KEY_SYSTEM, tables={"0182": {"DR": f"{SCT}|1|Doctor", "NU": f"{SCT}|2"}})
    assert values(staff_change(f4=sent, rules=rules).shared_role, "code") == [expected]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ("W3^Ward 3^^^^^^^third floor", "Ward 3"),
        ("W3^^^^^^^^third floor", "third floor"),
        ("^^^^^^^^third floor", "third floor"),
        ("W3", "W3"),
    ],
)
def test_the_words_of_a_unit(sent: str, words: str) -> None:
    (role,) = staff_change(f8=sent).roles
    assert values(role.values, "organization") == [{"display": words}]


def test_who_issued_a_certificate_by_the_whole_name() -> None:
    certificate = "CER|1|S7|||9^Rossi^Ada^M^^Dr|||||RN^Registered nurse"
    assert first({}, "qualification", certificate)["issuer"] == {"display": "Dr Ada M Rossi"}


def test_a_board_without_a_specialty_is_said() -> None:
    assert said(one(stf(), "PRA|K1||||^ABIM^C^2013")) == ["specialty-missing@PRA-5.1"]


def test_a_certified_specialty_keeps_its_code() -> None:
    code = first({}, "qualification", "PRA|K1||||207R00000X^ABIM^C^2013")["code"]
    assert code == {
        "coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "207R00000X"}],
        "text": "207R00000X",
    }


@pytest.mark.parametrize("born", ["20270101", "2027", "202604", "18700101"])
def test_a_birth_that_cannot_be_is_left_out(born: str) -> None:
    record = one(stf(f6=born))
    assert said(record) == ["shifted-field@STF-6"]


@pytest.mark.parametrize("born", ["20260318", "2026", "202603", "19000101"])
def test_a_birth_that_can_be_is_taken(born: str) -> None:
    assert said(one(stf(f6=born))) == []


NPIS = "1234567893^^^NPI&2.16.840.1.113883.4.6&ISO^NPI", "1245319599^^^NPI&2.16.840.1.113883.4.6&ISO^NPI"


@pytest.mark.parametrize(
    ("event", "fails"), [("MAD", True), ("MUP", True), ("MAC", True), ("MDC", False), ("MDL", False)]
)
def test_two_npis_are_of_two_people(event: str, fails: bool) -> None:
    record = one(stf(f2="~".join(NPIS)), event=event)
    assert said(record, Severity.ERROR) == (["identifier-conflict@STF-2"] if fails else [])
    assert not one(stf(f2=f"{NPIS[0]}~{NPIS[0]}"), event=event).failed


@pytest.mark.parametrize(("segment", "hidden"), [("ORG|1|WARD^Ward", True), ("ORG|1|ICU^Intensive care", False)])
def test_a_unit_that_another_field_hides_is_said(segment: str, hidden: bool) -> None:
    assert ("unit-hidden@STF-8" in said(one(stf(f8="ICU^Intensive care"), segment))) is hidden


@pytest.mark.parametrize(
    ("sent", "tag"),
    [("zh-Hant", "zh-Hant"), ("zh_hant_TW", "zh-Hant-TW"), ("fr-CA", "fr-CA"), ("zh-Hant-x", ""), ("fr", "fr")],
)
def test_languages_with_a_script(sent: str, tag: str) -> None:
    spoken = first({}, "communication", f"LAN|1|{sent}")
    assert spoken.get("coding", [{"code": ""}])[0]["code"] == tag


def test_addresses_in_detail() -> None:
    base = "http://hl7.org/fhir/StructureDefinition/iso21090-"
    cabin = first({"f11": "1 Lake Road^^Northlake^MN^55501^USA^HV^^^T12"}, "address")
    assert cabin["use"] == "home"
    assert cabin["extension"] == [
        {"url": base + "AD-use", "valueCode": "HV"},
        {"url": base + "ADXP-censusTract", "valueString": "T12"},
    ]
    assert first({"f11": "^^^MN^^^B"}, "address") == {"use": "work", "state": "MN"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("20200101120000.5+0000", ".5+00:00"),
        ("20200101120000.000+0000", ".000+00:00"),
        ("20200101120000+0000", "00+00:00"),
    ],
)
def test_fractions_of_seconds_as_sent(sent: str, expected: str) -> None:
    (period,) = values(staff_change(f12=sent).shared_role, "period")
    assert period["start"].endswith(expected)
