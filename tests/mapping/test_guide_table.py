"""The HL7 v2-to-FHIR guide, row by row, where the mapping once differed without a reason: each row follows the guide now, or
its reason stands under a heading of `hl7bridge/guide/mapping.md`. Either way the row says what is sent."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.destinations.fhir.desired import allowed, practitioner_values
from hl7bridge.destinations.fhir.identity.resolve import Match
from hl7bridge.destinations.fhir.rules import DEFAULT_WITHHELD, DestinationRules
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules.tables import field_table
from hl7bridge.model import StaffChange
from tests.destinations.fhir.test_identity import person, resolved
from tests.mapping.building import CORPUS, KEY_SYSTEM, assemble, change_of, message, one, said, segment, stf, translate

PAGE = (Path(__file__).parents[2] / "hl7bridge" / "guide" / "mapping.md").read_text(encoding="utf-8")
PUBLISHED = CORPUS.parent / "guide-rows" / "rows.tsv"

NORTH, MINNESOTA = "urn:oid:2.999.7", "urn:oid:2.999.8"
FEED = FeedRules(KEY_SYSTEM, authorities={"NORTH": NORTH, "RN:MN": MINNESOTA}, takes=frozenset({"staff", "adt"}))
NPI = "http://hl7.org/fhir/sid/us-npi"
V2 = "http://terminology.hl7.org/CodeSystem/v2-"
SCT = "http://snomed.info/sct"
ORDER = "http://hl7.org/fhir/StructureDefinition/humanname-assembly-order"
ISO_21090 = "http://hl7.org/fhir/StructureDefinition/iso21090-"

NAME = "Practitioner.name[0]"
ADDRESS = "Practitioner.address[0]"
CODE = "PractitionerRole.code[0]"
DEGREE = "Practitioner.qualification[0]"


@dataclass(frozen=True)
class Row:
    """A row of one of the guide's maps.

    sent      a message's segments: STF and those below it, or one of a visit
    becomes   path -> value of the resources that the destination gets; None: the element is not there
    reason    the heading under which mapping.md says why it differs, "" where it follows the guide
    withheld  elements that the destination does not get
    says      the findings (`local@place`)
    """

    map: str
    name: str
    sent: tuple[str, ...]
    becomes: Mapping[str, Any]
    reason: str = ""
    withheld: frozenset[str] = frozenset()
    says: tuple[str, ...] = ()
    version: str = "2.8.2"


def xcn(**components: str) -> tuple[str, ...]:
    """A visit whose attending doctor has these components (`c7="MD"`)."""
    return (
        segment("PV1", f2="I", f7=_components({"c1": "H77", "c2": "Okonkwo", "c3": "Ada", "c9": "NORTH"} | components)),
    )


def school(**components: str) -> tuple[str, ...]:
    """A record with a degree, by a school (XON) of these components."""
    return (stf(), segment("EDU", f1="1", f2="BA", f6=_components(components)))


def _components(found: Mapping[str, str]) -> str:
    numbered = {int(name[1:]): text for name, text in found.items()}
    return "^".join(numbered.get(number, "") for number in range(1, max(numbered) + 1))


def staff(**fields: str) -> tuple[str, ...]:
    return (stf(**fields),)


def degree(text: str) -> tuple[str, ...]:
    return (stf(), segment("EDU", f1="1", f2=text))


CODED = "158965000^Doctor^SCT^DOC^Our doctor^HL70182^2024^v1^^RN^Nurse^HL70360^9"
SECOND = "X^Our word^L^158965000^Doctor^SCT"
FOREIGN = "BS^Bachelor of Surgery^99LOC"
TWO_NUMBERS = "7701^Rowe^Rae^^^DR^^^NORTH^L^^^EI~7702^Rowe^Rae^^^DR^^^NORTH^L^^^RN"
ONE_PERSON = {
    "Practitioner.identifier[0].value": "7701",
    "Practitioner.identifier[1].value": "7702",
    f"{NAME}.family": "Rowe",
}
TWO_NAMES = "1234567893^Attend^Al^M^^Prof^^^^L^^^NPI~7201^Attend^Alan^^^^^^NORTH^D^^^EI"
BOTH_NAMES = {
    f"{NAME}.given": ["Al", "M"],
    "Practitioner.name[1].given": ["Alan"],
    "Practitioner.identifier[1].value": "7201",
}
NO_ROLE = "No role of a patient message"
NO_SYSTEM = "CWE.3 of an unknown coding system"
SAD = "SAD on one line"
QUAY = "1 Quay^^Leeds^^LS1^GBR"
FULL_XON = school(c1="Leeds School", c3="12", c6="NORTH", c7="XX", c10="S77")
ISSUER = f"{DEGREE}.issuer"
NUCC = {"system": "http://nucc.org/provider-taxonomy", "code": "207R00000X"}

XPN_MAP, XCN_MAP, OF_ROLE = "XPN[HumanName]", "XCN[Practitioner]", "XCN[PractitionerRole]"
XAD_MAP, XON_MAP, CWE_MAP, CE_MAP = "XAD[Address]", "XON[Organization]", "CWE[CodeableConcept]", "CE[CodeableConcept]"
TYPE, TRACT, ASSEMBLY = "XAD.7 Address Type", "XAD.10 Census Tract", "XCN.18 Name Assembly Order"
PERIOD = ("20150101&20251231", "2015-01-01", "2025-12-31")

ROWS = [
    Row(XPN_MAP, "XPN.11 Name Assembly Order", staff(name="Rowe^Ada^^^^^L^^^^F"), {f"{NAME}.extension[0].url": ORDER}),
    Row(
        XPN_MAP,
        "XPN.11 Name Assembly Order",
        staff(name="Rowe^Ada^^^^^L^^^^G"),
        {f"{NAME}.extension[0].valueCode": "G"},
    ),
    Row(
        XPN_MAP,
        "XPN.15 Called By",
        staff(name="Rowe^Adaeze^^^^^^^^^^^^^Addie"),
        {"Practitioner.name[1].given": ["Addie"], "Practitioner.name[1].use": "nickname", f"{NAME}.given": ["Adaeze"]},
    ),
    Row(
        XCN_MAP,
        "XCN.7 Degree (e.g., MD)",
        xcn(c7="M.D."),
        {f"{DEGREE}.code.coding[0]": {"system": V2 + "0360", "code": "MD"}, f"{NAME}.suffix": ["M.D."]},
    ),
    Row(XCN_MAP, "XCN.10 Name Type Code", xcn(), {f"{NAME}.use": "official"}, "XCN.10 empty"),
    Row(
        XCN_MAP,
        "XCN.17 Name Validity Range",
        xcn(c17=PERIOD[0]),
        {f"{NAME}.period": {"start": PERIOD[1], "end": PERIOD[2]}},
    ),
    Row(
        XCN_MAP,
        ASSEMBLY,
        xcn(c18="F"),
        {f"{NAME}.extension[0].url": ORDER, f"{NAME}._family": None},
        "XCN.18 on the name",
    ),
    Row(XCN_MAP, ASSEMBLY, xcn(c18="G"), {f"{NAME}.extension[0].valueCode": "G"}, "XCN.18 on the name"),
    Row(
        XCN_MAP,
        "XCN.19 Effective Date",
        xcn(c17=PERIOD[0], c19="20160101"),
        {f"{NAME}.period": {"start": "2016-01-01"}},
    ),
    Row(XCN_MAP, "XCN.20 Expiration Date", xcn(c20="20260101"), {f"{NAME}.period": {"end": "2026-01-01"}}),
    Row(OF_ROLE, "XCN.10 Name Type Code", xcn(c10="M"), {f"{NAME}.use": "maiden"}, NO_ROLE),
    Row(OF_ROLE, "XCN.17 Name Validity Range", xcn(c17=PERIOD[0]), {f"{NAME}.period.start": PERIOD[1]}, NO_ROLE),
    Row(OF_ROLE, ASSEMBLY, xcn(c18="F"), {f"{NAME}.extension[0].url": ORDER, "PractitionerRole": {}}, NO_ROLE),
    Row(OF_ROLE, ASSEMBLY, xcn(c18="F"), {f"{NAME}.extension[0].valueCode": "F", "PractitionerRole": {}}, NO_ROLE),
    Row(OF_ROLE, "XCN.19 Effective Date", xcn(c19="20160101"), {f"{NAME}.period.start": "2016-01-01"}, NO_ROLE),
    Row(OF_ROLE, "XCN.20 Expiration Date", xcn(c20="20260101"), {f"{NAME}.period.end": "2026-01-01"}, NO_ROLE),
    Row(
        "CX[Identifier]",
        "CX.4 Assigning Authority",
        staff(f2="770077^^^REVENUE&2.999.1&ISO^TAX~12^^^ELSEWHERE^EI~13^^^^RN"),
        {"Practitioner.identifier[1].system": "urn:oid:2.999.1", "Practitioner.identifier[2]": None},
        "CX.4 without a registry",
        says=("unmapped-authority@STF-2[2]", "unmapped-authority@STF-2[3]"),
    ),
    Row(
        "CX[Identifier]",
        "CX.5 Identifier Type Code",
        staff(f2="6001^^^NORTH^EI~6001^^^NORTH^RN"),
        {
            "Practitioner.identifier[1].type.coding[0].code": "EI",
            "Practitioner.identifier[2].type.coding[0].code": "RN",
            "Practitioner.identifier[2].system": NORTH,
        },
        "CX.5 is no part of who somebody is",
    ),
    Row(
        "CX[Identifier]",
        "CX.9 Assigning Jurisdiction",
        staff(f2="L900^^^^RN^^^^MN"),
        {"Practitioner.identifier[1].system": MINNESOTA},
        "CX.9 for an authority",
        says=("authority-assumed@STF-2.4",),
    ),
    Row(
        "HD[uri]",
        "HD.2 Universal ID",
        staff(f2="555^^^NORTH&2.999.77&ISO^TAX~556^^^&2.999.78&ISO^UPIN"),
        {
            "Practitioner.identifier[1].system": "urn:oid:2.999.77",
            "Practitioner.identifier[2].system": "urn:oid:2.999.78",
        },
        "HD.2 before HD.1",
    ),
    Row(XAD_MAP, TYPE, staff(f11=f"{QUAY}^HV"), {f"{ADDRESS}.extension[0].url": ISO_21090 + "AD-use"}),
    Row(XAD_MAP, TYPE, staff(f11=f"{QUAY}^HV"), {f"{ADDRESS}.extension[0].valueCode": "HV"}),
    Row(XAD_MAP, TYPE, staff(f11=f"{QUAY}^L"), {f"{ADDRESS}.extension": None}, "XAD.7 of other codes"),
    Row(XAD_MAP, TYPE, staff(f11=f"{QUAY}^RH"), {f"{ADDRESS}.extension": None}, "XAD.7 of other codes"),
    Row(XAD_MAP, TYPE, staff(f11=f"{QUAY}^S"), {f"{ADDRESS}.use": "work"}, "XAD.7 of other codes"),
    Row(XAD_MAP, "XAD.9 County/Parish Code", staff(f11=f"{QUAY}^B^^031&West&99C"), {f"{ADDRESS}.district": "West"}),
    Row(
        XAD_MAP,
        TRACT,
        staff(f11=f"{QUAY}^B^^^T12"),
        {f"{ADDRESS}.extension[0].url": ISO_21090 + "ADXP-censusTract"},
    ),
    Row(
        XAD_MAP,
        TRACT,
        staff(f11=f"{QUAY}^B^^^T12"),
        {f"{ADDRESS}.extension[0].valueString": "T12", f"{ADDRESS}.extension[0].valueCode": None},
        "XAD.10 as a string",
    ),
    Row(
        "SAD[Address]",
        "SAD.2 Street Name",
        staff(f11="&High Road&12^^Leeds"),
        {f"{ADDRESS}.line": ["High Road 12"]},
        SAD,
    ),
    Row(
        "SAD[Address]",
        "SAD.3 Dwelling Number",
        staff(f11="12 High Road&High Road&12"),
        {f"{ADDRESS}.line": ["12 High Road"]},
        SAD,
    ),
    Row(
        XON_MAP,
        "XON.3 ID Number",
        (*school(c1="Leeds School", c3="12", c6="NORTH"), "EDU|2|MA||||Hull School^^13"),
        {f"{ISSUER}.identifier.value": "12", "Practitioner.qualification[1].issuer": {"display": "Hull School"}},
        "XON without an authority",
    ),
    Row(
        XON_MAP,
        "XON.6 Assigning Authority",
        school(c1="Leeds School", c6="ELSEWHERE", c10="S77"),
        {f"{ISSUER}.identifier": {"assigner": {"display": "ELSEWHERE"}, "value": "S77"}},
    ),
    Row(
        XON_MAP,
        "XON.6 Assigning Authority",
        school(c1="Leeds School", c6="SOME&2.999.5&ISO", c10="S77"),
        {f"{ISSUER}.identifier": {"system": "urn:oid:2.999.5", "value": "S77"}},
    ),
    Row(XON_MAP, "XON.7 Identifier Type Code", FULL_XON, {f"{ISSUER}.identifier.type.coding[0].code": "XX"}),
    Row(XON_MAP, "XON.7 Identifier Type Code", FULL_XON, {f"{ISSUER}.identifier.type.coding[0].system": V2 + "0203"}),
    Row(XON_MAP, "XON.10 Organization Identifier", FULL_XON, {f"{ISSUER}.identifier.value": "S77"}),
    Row("XON[string]", "XON.10 Organization Identifier", school(c10="S9"), {f"{ISSUER}.display": "S9"}),
    Row(
        CWE_MAP,
        "CWE.1 Identifier",
        staff(f4=f"{CODED}~X9^Nine^99LOC"),
        {f"{CODE}.coding[0].code": "158965000", "PractitionerRole.code[1]": {"text": "Nine"}},
        NO_SYSTEM,
        says=("unmapped-code@STF-4[2].1",),
    ),
    Row(CWE_MAP, "CWE.2 Text", staff(f4=SECOND), {f"{CODE}.coding[0].display": "Doctor", f"{CODE}.text": "Our word"}),
    Row(
        CWE_MAP,
        "CWE.3 Name of Coding System",
        degree(FOREIGN),
        {f"{DEGREE}.code": {"text": "Bachelor of Surgery"}},
        NO_SYSTEM,
        says=("unmapped-code@EDU-2.1",),
    ),
    Row(CWE_MAP, "CWE.7 Coding System Version ID", staff(f4=CODED), {f"{CODE}.coding[0].version": "2024"}),
    Row(CWE_MAP, "CWE.8 Alternate Coding System Version ID", staff(f4=CODED), {f"{CODE}.coding[1].version": "v1"}),
    Row(CWE_MAP, "CWE.10 Second Alternate Identifier", staff(f4=CODED), {f"{CODE}.coding[2].code": "RN"}),
    Row(CWE_MAP, "CWE.11 Second Alternate Text", staff(f4=CODED), {f"{CODE}.coding[2].display": "Nurse"}),
    Row(
        CWE_MAP,
        "CWE.12 Name of Second Alternate Coding System",
        staff(f4=CODED),
        {f"{CODE}.coding[2].system": V2 + "0360"},
    ),
    Row(
        CWE_MAP, "CWE.13 Second Alternate Coding System Version ID", staff(f4=CODED), {f"{CODE}.coding[2].version": "9"}
    ),
    Row(
        CE_MAP,
        "CE.1 Identifier",
        degree(FOREIGN),
        {f"{DEGREE}.code.coding": None},
        NO_SYSTEM,
        version="2.4",
        says=("unmapped-code@EDU-2.1",),
    ),
    Row(CE_MAP, "CE.2 Text", staff(f4=SECOND), {f"{CODE}.text": "Our word"}, version="2.4"),
    Row(
        CE_MAP,
        "CE.3 Name of Coding System",
        staff(f4="158965000^Doctor^SCT"),
        {f"{CODE}.coding[0].system": SCT},
        NO_SYSTEM,
        version="2.4",
    ),
    Row("CWE[string]", "CWE.2 Text", staff(f11=f"{QUAY}^B^^&Ramsey"), {f"{ADDRESS}.district": "Ramsey"}),
    Row(
        "CWE[string]",
        "CWE.9 Original Text",
        staff(f11=f"{QUAY}^B^^031&West&&&&&&&West Riding"),
        {f"{ADDRESS}.district": "West Riding"},
    ),
    Row(
        "CWE[Organization]",
        "CWE.9 Original Text",
        staff(f8="W3^Ward 3^^^^^^^third floor"),
        {"PractitionerRole.organization.display": "Ward 3"},
        "CWE.9 of a unit",
        says=("unmapped-code@STF-8.1",),
    ),
    Row(
        "ROL[Encounter-PractitionerRole]",
        "ROL-4 Role Person",
        (segment("ROL", f2="AD", f3="AT", f4=TWO_NUMBERS),),
        ONE_PERSON,
        NO_ROLE,
    ),
    Row(
        "ROL[Patient-GeneralPractitioner]",
        "ROL-4 Role Person",
        (segment("ROL", f2="AD", f3="PP", f4=TWO_NUMBERS),),
        ONE_PERSON,
        NO_ROLE,
    ),
    Row("PV1[Encounter]", "PV1-7 Attending Doctor", (segment("PV1", f7=TWO_NAMES),), BOTH_NAMES, NO_ROLE),
    Row("PV1[Encounter]", "PV1-8 Referring Doctor", (segment("PV1", f8=TWO_NAMES),), BOTH_NAMES, NO_ROLE),
    Row("PV1[Encounter]", "PV1-17 Admitting Doctor", (segment("PV1", f17=TWO_NAMES),), BOTH_NAMES, NO_ROLE),
    Row(
        "table TelecommunicationUseCode",
        "BPN",
        staff(f10="^BPN^^^^^4960113"),
        {"Practitioner.telecom[0]": {"system": "pager", "value": "4960113"}},
        "BPN and PRS",
    ),
    Row(
        "table TelecommunicationUseCode",
        "PRS",
        staff(f10="^PRS^PH^^^^4960107"),
        {"Practitioner.telecom[0].use": "mobile"},
    ),
    Row("table AddressType[Use]", "RH", staff(f11=f"{QUAY}^RH"), {f"{ADDRESS}.use": None, f"{ADDRESS}.city": "Leeds"}),
    Row("table AddressType[Use]", "V", staff(f11=f"{QUAY}^V"), {f"{ADDRESS}.use": None, f"{ADDRESS}.city": "Leeds"}),
    Row("table NameAssemblyOrder", "G", staff(name="Rowe^Ada^^^^^L^^^^G"), {f"{NAME}.extension[0].valueCode": "G"}),
    Row("table NameAssemblyOrder", "F", staff(name="Rowe^Ada^^^^^L^^^^F"), {f"{NAME}.extension[0].valueCode": "F"}),
    Row(
        "beyond the guide",
        "SPD.1 NUCC code, certified",
        (stf(), segment("PRA", f1="K1", f5="207R00000X^Board^C^20110101")),
        {f"{DEGREE}.code.coding[0]": NUCC, "PractitionerRole.specialty[0].coding[0]": NUCC},
        "Specialties",
    ),
    Row(
        "beyond the guide",
        "SPD.2-4 without SPD.1",
        (stf(), segment("PRA", f1="K1", f5="^Board^C^2013")),
        {DEGREE: None},
        "Specialties",
        says=("specialty-missing@PRA-5.1",),
    ),
    Row(
        "beyond the guide",
        "STF-16",
        staff(f10="^PRN^Internet^home@x.example~^WPN^Internet^work@x.example", f16="E"),
        {
            "Practitioner.telecom[0].rank": None,
            "Practitioner.telecom[1].rank": 1,
            "PractitionerRole.telecom[0].rank": 1,
        },
        "The preferred contact",
    ),
    Row(
        "beyond the guide",
        "EDU-2/5/6/9",
        (stf(), segment("EDU", f1="1", f2="BS^^HL70360", f5="19940615", f6="Leeds School", f9="Anatomy")),
        {
            DEGREE: {
                "code": {"coding": [{"system": V2 + "0360", "code": "BS"}], "text": "Anatomy"},
                "period": {"start": "1994-06-15"},
                "issuer": {"display": "Leeds School"},
            }
        },
        "Degrees",
    ),
    Row(
        "beyond the guide",
        "CER-5 XCN issuer",
        (stf(), segment("CER", f1="1", f5="9^Rowe^Ada^M^^Dr", f10="RN^Nurse^HL70360")),
        {f"{ISSUER}.display": "Dr Ada M Rowe"},
        "Who issued a certificate",
    ),
    Row(
        "beyond the guide",
        "LAN-2",
        (stf(), segment("LAN", f1="1", f2="zh-Hant^Chinese^IETF")),
        {"Practitioner.communication[0].coding[0].code": "zh-Hant"},
        "Languages",
    ),
    Row(
        "beyond the guide",
        "SS value",
        staff(f2="AB12^^^^SS"),
        {"Practitioner.identifier[1]": None},
        "Social security numbers",
        says=("ssn-digits@STF-2.1",),
    ),
    Row(
        "beyond the guide",
        "elements.ssn = false",
        staff(f2="123456789^^^&2.16.840.1.113883.4.1&ISO^NI~123-45-6789^^^USSSA^PI~6001^^^NORTH^EI"),
        {"Practitioner.identifier[1].value": "6001", "Practitioner.identifier[2]": None},
        "Social security numbers",
        DEFAULT_WITHHELD,
    ),
    Row(
        "beyond the guide",
        "elements.tax_id = false",
        staff(f2="99-1234567^^^&2.16.840.1.113883.4.4&ISO^XX~6001^^^NORTH^EI"),
        {"Practitioner.identifier[1].value": "6001", "Practitioner.identifier[2]": None},
        "Social security numbers",
        DEFAULT_WITHHELD,
    ),
    Row(
        "beyond the guide",
        "elements.home_address = false",
        staff(
            f11="~".join(
                [
                    *(f"{QUAY}^{kind}" for kind in ("H", "P", "V", "RH", "HV", "M", "L", "C", "BA", "")),
                    "2 Dock^^Hull^^^^B",
                ]
            )
        ),
        {f"{ADDRESS}.city": "Hull", "Practitioner.address[1]": None},
        "Addresses where people live",
        DEFAULT_WITHHELD,
    ),
    Row(
        "beyond the guide",
        "Identity: key unknown, identifier of another staff key",
        staff(f2="6001^^^NORTH^RN"),
        {"match": Match.DISAGREEMENT},
        "Another staff key",
    ),
    Row(
        "beyond the guide",
        "STF-10 WPN + CP",
        staff(f10="^WPN^CP^^^113^4960102"),
        {"PractitionerRole.telecom[0].use": "mobile", "Practitioner.telecom[0].use": "mobile"},
        "Telephones of work in roles",
    ),
    Row(
        "beyond the guide",
        "STF-2 same value, authority; two types",
        staff(f2="M1^^^NORTH^MD~M1^^^NORTH^DO~M1^^^NORTH"),
        {
            "Practitioner.identifier[1].type.coding[0].code": "MD",
            "Practitioner.identifier[2].type.coding[0].code": "DO",
            "Practitioner.identifier[3]": None,
        },
        "Two types of one number",
    ),
]


def sent_of(row: Row) -> dict[str, Any]:
    """The resources that a destination gets of the row's message, and whether it finds another person."""
    if row.sent[0].startswith("STF"):
        record = one(*row.sent, rules=FEED, version=row.version)
        change = change_of(record)
        assert said(record) == list(row.says)
    else:
        raw = message("EVN|A01|20260318113000", "PID|1||P1^^^NORTH^MR||Canary^Patient", *row.sent, version=row.version)
        raw = raw.replace(b"MFN^M02", b"ADT^A01").replace(b"MFI|PRA^Practitioner^HL70175||UPD|||AL\r", b"")
        (record,) = translate(raw, FEED).records
        change = change_of(record)
        assert said(record) == list(row.says)
    rules = DestinationRules("ehr", "http://127.0.0.1/fhir", withheld=row.withheld)
    values_of_role = change.roles[0].values if change.roles else change.shared_role
    role = assemble("PractitionerRole", allowed("PractitionerRole", values_of_role, rules))
    del role["resourceType"]
    return {
        "Practitioner": assemble("Practitioner", practitioner_values(change, rules)),
        "PractitionerRole": role,
        "match": _match(change) if "match" in row.becomes else None,
    }


def _match(change: StaffChange) -> Match:
    """Whom the record is about at a server that knows its number by another staff key."""
    return resolved(change, person("a", (KEY_SYSTEM, "K0"), (NORTH, "6001"), family="Rossi")).match


def at(value: Any, path: str) -> Any:
    """What stands at a path (`name[0].use`), None where nothing does."""
    for step in re.findall(r"\w+", path):
        key = int(step) if step.isdigit() else step
        try:
            value = value[key]
        except (KeyError, IndexError):
            return None
    return value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.map} {row.name}")
def test_a_row_follows_the_guide_or_has_its_reason(row: Row) -> None:
    found = sent_of(row)
    assert {path: at(found, path) for path in row.becomes} == row.becomes
    assert not row.reason or row.reason in HEADINGS


HEADINGS = set(re.findall(r"^### (.+)$", PAGE, re.MULTILINE))


def test_every_reason_is_of_a_row() -> None:
    assert {row.reason for row in ROWS} - {""} == HEADINGS


def test_who_shares_no_number_is_nobody_else() -> None:
    """What makes the row of identity a hold is the number."""
    assert sent_of(Row("", "", staff(f2="6002^^^NORTH^RN"), {"match": Match.NONE}))["match"] is Match.NONE


def test_the_rows_are_those_that_were_published() -> None:
    if not PUBLISHED.exists():
        pytest.skip(f"no rows at {PUBLISHED}")
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        published = Counter((row["map"], row["row"]) for row in csv.DictReader(file, delimiter="\t"))
    assert Counter((row.map, row.name) for row in ROWS) == published


# --- the page --------------------------------------------------------------------------------------------------------

WORDS = {"identity": "who it is", "standing": "active or not"}


def test_every_field_that_is_read_is_on_the_page() -> None:
    """With what it becomes, and none that is not read."""
    rows = re.findall(r"^\| ([A-Z]{3}-\d+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    becomes = {field: WORDS.get(row["to"], row["to"]) for field, row in field_table().items() if "to" in row}
    assert dict(rows) == becomes
    assert len(rows) == len(becomes)


def _named(pattern: str) -> set[str]:
    """The fields or components that the page names, those of `STF-23 to STF-26` among them."""
    named = set(re.findall(rf"{pattern}\d+", PAGE))
    for prefix, start, end in re.findall(rf"({pattern})(\d+) to {pattern}(\d+)", PAGE):
        named |= {f"{prefix}{number}" for number in range(int(start), int(end) + 1)}
    return named


def test_every_field_that_is_left_out_is_on_the_page() -> None:
    assert {field for field, row in field_table().items() if "drop" in row} - _named("[A-Z]{3}-") == set()


@pytest.mark.parametrize(
    ("data_type", "components"),
    sorted(
        {
            "XPN": 15,
            "XCN": 23,
            "CX": 10,
            "PLN": 4,
            "DLN": 3,
            "XTN": 18,
            "XAD": 23,
            "CWE": 22,
            "XON": 10,
            "SPD": 4,
        }.items()
    ),
)
def test_every_component_is_on_the_page(data_type: str, components: int) -> None:
    """As many as HL7 v2.8.2 has."""
    assert {f"{data_type}.{number}" for number in range(1, components + 1)} - _named(rf"\b{data_type}\.") == set()
