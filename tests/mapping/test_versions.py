"""The same person in every version of the standard, in the forms that each version has."""

from __future__ import annotations

import pytest

from hl7bridge.model import Action
from tests.mapping.building import (
    VERSIONS,
    change_of,
    check_resources,
    message,
    mfe,
    said,
    segment,
    stf,
    translate,
    values,
)

OLD_STF = stf(
    name="Rossi^Ada^Mia^JR^Dr^MD",
    f4="P",
    f5="F",
    f6="19790412",
    f7="A",
    f8="CARD^Cardiology^L",
    f10="(555)555-0101",
    f11="1 High St^^Leeds^WY^LS1^GBR^O",
    f12="20150901^N&North Hospital&L01",
    f15="ada@example.org",
    f16="E",
)
NEW_STF = stf(
    name="Rossi^Ada^Mia^JR^Dr^MD^L",
    f2="1234567893^^^NPI&2.16.840.1.113883.4.6&ISO^NPI",
    f4="P^Physician^HL70182",
    f5="F^Female^HL70001",
    f6="19790412",
    f7="A",
    f8="CARD^Cardiology^L",
    f10="^WPN^PH^^^555^5550101",
    f11="1 High St&High St&1^^Leeds^WY^LS1^GBR^O",
    f12="20150901^N&North Hospital&L01",
    f15="ada@example.org",
    f16="E",
)
OLD_PRA = "PRA|K1|GRP^Group^L|ST|I|CARDIOLOGY^Board^C^20050101|1234567893^NPI^^20301231"


def translated(version: str, *segments: str) -> tuple[list[str], object]:
    translation = translate(message(mfe(), *segments, version=version))
    assert said(translation) == []
    (record,) = translation.records
    return said(record), change_of(record)


@pytest.mark.parametrize("version", VERSIONS)
def test_old_forms_are_read_in_every_version(version: str) -> None:
    change = change_of(translate(message(mfe(), OLD_STF, OLD_PRA, version=version)).records[0])
    assert values(change, "name") == [
        {"use": "official", "family": "Rossi", "given": ["Ada", "Mia"], "prefix": ["Dr"], "suffix": ["JR", "MD"]}
    ]
    assert values(change, "gender") == ["female"]
    assert values(change, "birthDate") == ["1979-04-12"]
    assert [point["value"] for point in values(change, "telecom")] == ["(555)555-0101", "ada@example.org"]
    assert values(change, "address")[0]["use"] == "work"
    assert values(change, "qualification")[0]["issuer"] == {"display": "Board"}
    assert change.identifiers[1].extra == {"period": {"end": "2030-12-31"}}
    (role,) = change.roles
    assert values(role.values, "period") == [{"start": "2015-09-01"}]
    assert change.active is True
    check_resources(change)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version not in ("2.2", "2.3")])
def test_extended_types_in_the_versions_that_have_them(version: str) -> None:
    change = change_of(translate(message(mfe(), NEW_STF, version=version)).records[0])
    assert [(i.value, i.type_code) for i in change.identifiers] == [("K1", ""), ("1234567893", "NPI")]
    assert values(change, "telecom")[0] == {"system": "phone", "value": "555 5550101", "use": "work"}
    assert values(change, "address")[0]["line"] == ["1 High St"]
    assert values(change.roles[0].values, "code")[0]["coding"][0]["display"] == "Physician"
    check_resources(change)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= "2.4"])
def test_segments_that_2_4_added(version: str) -> None:
    change = change_of(
        translate(
            message(
                mfe(),
                NEW_STF,
                "PRA|K1||ST||||||20100101|NORTH^North Hospital||",
                "ORG|1|CARD^Cardiology|D|Y||||207RC0000X|20150901^",
                "ORG|2|ONC^Oncology",
                "AFF|1|College of Physicians",
                "LAN|1|fr^French^ISO639|3",
                "EDU|1|MD|||20000601|LEEDS SCHOOL",
                version=version,
            )
        ).records[0]
    )
    assert [role.key for role in change.roles] == ["ORG:CARD|207RC0000X", "ORG:ONC|"]
    assert len(values(change, "communication")) == len(values(change, "qualification")) == 1
    assert check_resources(change) == 4


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= "2.5"])
def test_fields_and_segments_that_2_5_added(version: str) -> None:
    fields = {"f33": "EMP", "f34": "20150901^20291231", "f35": "20270101", "f37": "Y", "f38": "L", "f7": "I"}
    change = change_of(
        translate(
            message(
                mfe("MUP"), stf(**fields), segment("CER", f1="1", f2="7", f10="RN", f25="20200101"), version=version
            )
        ).records[0]
    )
    assert change.action is Action.UPDATE
    assert change.active is False
    assert values(change.shared_role, "period") == [{"start": "2015-09-01", "end": "2029-12-31"}]
    assert values(change.shared_role, "notAvailable")[0]["during"] == {"end": "2027-01-01"}
    assert values(change, "qualification")[0]["identifier"] == [{"value": "7"}]
    check_resources(change)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("event", ["MAD", "MUP", "MDC", "MAC", "MDL"])
def test_every_event_in_every_version(version: str, event: str) -> None:
    (record,) = translate(message(mfe(event), OLD_STF, OLD_PRA, version=version)).records
    change = change_of(record)
    assert change.active is (event not in ("MDC", "MDL"))
    check_resources(change)
