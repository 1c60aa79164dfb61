"""Whole messages of the shapes that are sent in the wild (the corpus's README lists them), with invented people."""

from __future__ import annotations

from hl7bridge.model import StaffChange
from tests.mapping.building import change_of, check_resources, errors, said, translate, values


def read(*lines: str) -> bytes:
    return ("\r".join(lines) + "\r").encode()


def telecoms(change: StaffChange) -> list[tuple[str, str, str]]:
    return [(point["system"], point["value"], point.get("use", "")) for point in values(change, "telecom")]


def test_the_standards_own_example() -> None:
    """Version 2.9 with gender segments, a licence list in PRA-6, one LAN per ability, and EDU in its 2.5 form."""
    translation = translate(
        read(
            "MSH|^~\\&|REG|UH|LAB|CH|202601280700||MFN^M02^MFN_M02|M2|P|2.9|||AL|NE",
            "MFI|PRA^Practitioner Master File^HL70175||UPD|||AL",
            "MFE|MAD|U77|202601280700|PMF77^^PLW|CWE",
            "STF|PMF77^^PLW|U77^^^PLW~123456789^^^USSSA^SS|Verdi^Carla^H^JR^DR^M.D.|P|F|19611004|A|^ICU|^MED|"
            "^WPN^PH^^^555^5550103~^PRN^PH^^^955^5550104|3 Hill Drive ^^Ann Arbor^MI^^^H~4 Hill Dr^^Ann Arbor^MI^^^O|"
            "20190125^&North House, Inc.&L01||PMF88|carla@example.org|E",
            "GSP|1|S||76691-5^Gender identity^LN|X|20210101",
            "PRA|PMF77^^PLW|^North House|ST|I|OB/GYN^STATE BOARD^C^19900123|77^UPIN~78^CTY^MECOSTA~AB1234563^DEA~79^MDD^CA|"
            "ADMIT&&ADT^MED&&L2^19941231",
            "AFF|1|COLLEGE|1 Main^^Town^CA^98765^USA^M |19900101|",
            "LAN|1|ESL^SPANISH^ISO639|1^READ^HL70403|1^EXCELLENT^HL70404|",
            "LAN|2|FRE^FRENCH^ISO639|3^SPEAK^HL70403|3^FAIR^HL70404|",
            "EDU|1|BA|19810901^19850601||19850604|HILL UNIVERSITY^L|U^HL70402|",
            "EDU|2|M.D.|19850901^19890601||19890604|VALLEY SCHOOL^L |M^HL70402|",
        )
    )
    (record,) = translation.records
    change = change_of(record)
    assert [(i.value, i.type_code, bool(i.system)) for i in change.identifiers] == [
        ("PMF77", "", True),
        ("U77", "", False),
        ("123456789", "SS", True),
        ("77", "UPIN", False),
        ("78", "", False),
        ("AB1234563", "DEA", True),
        ("79", "", False),
    ]
    assert values(change, "name")[0]["suffix"] == ["JR", "M.D."]
    assert telecoms(change) == [
        ("phone", "555 5550103", "work"),
        ("phone", "955 5550104", "home"),
        ("email", "carla@example.org", ""),
    ]
    assert values(change, "telecom")[2]["rank"] == 1
    assert [address["use"] for address in values(change, "address")] == ["home", "work"]
    assert [code["code"].get("text", "coded") for code in values(change, "qualification")] == [
        "OB/GYN",
        "coded",
        "coded",
    ]
    assert len(values(change, "communication")) == 2
    (role,) = change.roles
    assert role.key == "STF-8:ICU"
    assert values(role.values, "period") == [{"start": "2019-01-25"}]
    assert [code["text"] for code in values(role.values, "code")] == ["P", "MED", "ST"]
    assert [local for local in said(record) if not local.startswith("unmapped")] == []
    check_resources(change)


def test_an_old_hospital_system_with_types_instead_of_authorities() -> None:
    """Version 2.3: CX before its time, the type names the authority, national codes in PRA-5, two departments."""
    translation = translate(
        read(
            "MSH|^~\\&|ADT|Engine|Gate|Kings|20191030155640||MFN^M02^MFN_M02|1|P|2.3|||AL|AL",
            "MFI|STF|PIMS|UPD|20191030155640|20191030155640|NE",
            "MFE|MAD|1|20191030155640|193",
            "STF|193|C11^^^^MAINCODE~C11^^^^GMC|Weiss^Jonas^^^Mr|CONLT|UNKNOWN||A|100^Trauma~102^Fracture||"
            "020 0000 000^PHONE|X Hospital^Somewhere^London^^N1^UK^BUSIN|20120912000000",
            "PRA|193|XYZ^X Hospital^TRUST|||100^NAT^MAIN~TRAUMA^DG^MAIN|||20120912",
        )
    )
    (record,) = translation.records
    change = change_of(record)
    assert [role.key for role in change.roles] == ["STF-8:100", "STF-8:102"]
    assert values(change.roles[0].values, "period") == [{"start": "2012-09-12T00:00:00+00:00"}]
    assert values(change, "gender") == ["unknown"]
    assert telecoms(change) == [("phone", "020 0000 000", "")]
    assert {"unmapped-authority@STF-2", "unmapped-authority@STF-2[2]", "unmapped-code@STF-5"} <= set(said(record))
    assert change.effective == "2019-10-30T15:56:40+00:00"
    check_resources(change)


def test_a_personnel_system_that_puts_phone_fax_and_mail_into_components() -> None:
    """The master file is called PRO, the key is typed PL, STF-12 and STF-13 are the wrong way round."""
    translation = translate(
        read(
            "MSH|^~\\&|HCM^p3^002|HOUSE^0999|PORS||202601151600||MFN^M02^MFN_M02|1|P|2.5.1",
            "MFI|PRO^Practitioner Master File^HL70175||UPD|||AL",
            "MFE|MAD|||0000007|PL",
            "STF|0000007|17|Kowalska^Ewa^Maria^JR^Dr|Internist|F|19701101|||999^HOUSE^House of Health^1.2|"
            "0049555^0049556^ewa@example.org|Main&Main Street&9^Rear^City^State^12345^CY|20091211|20081101||||||||"
            "|||||||||||||||||R|1",
        )
    )
    (record,) = translation.records
    change = change_of(record)
    assert said(translation) == ["master-file@MFI-1"]
    assert telecoms(change) == [("phone", "0049555", "")]
    assert {"shifted-field@STF-10.2", "period-reversed@STF-13"} <= set(said(record))
    assert [code["text"] for code in values(change.shared_role, "code")] == ["Internist", "HOUSE", "1"]
    assert values(change, "address")[0]["line"] == ["Main", "Rear"]
    check_resources(change)


def test_a_file_header_that_is_shifted_and_removal_by_key() -> None:
    """M01 with UPD in MFI-2 and a time in MFI-3; a removal that brings no STF."""
    translation = translate(
        read(
            "MSH|^~\\&|HIS|HOSPITAL|REG|HOSPITAL|20260115150000||MFN^M01|6|P|2.5.1",
            "MFI|STF^Staff Master File|UPD^Update|20260115150000|||NE",
            "MFE|MDL|20260115150000|20260115150000|DR3",
        )
    )
    assert said(translation) == ["shifted-field@MFI-3"]
    change = change_of(translation.records[0])
    assert (change.action.value, change.active, change.deleted_in_source) == ("remove", False, True)
    assert [i.value for i in change.identifiers] == ["DR3"]


def test_a_provider_directory_with_a_coded_specialty_and_shifted_words() -> None:
    translation = translate(
        read(
            "MSH|^~\\&|DIR|SYS|EMR|HOSP|20260501090000||MFN^M02^MFN_M02|1|P|2.5",
            "MFI|PRA^Practitioner Master File^HL70175||UPD|||NE",
            "MFE|MAD|20260501090000||PRV7^PL",
            "STF|PRV7||Novak^Iva^M^^DR^MD|P|F|19750815||||^WPN^PH^^1^555^5550107||CARDIOLOGY|||A^Active",
            "PRA|PRV7|GEN^General Hospital|||CARD^Cardiology^HL70186",
        )
    )
    (record,) = translation.records
    change = change_of(record)
    assert [local for local in said(record) if "unmapped" not in local] == [
        "shifted-field@STF-12.1",
        "shifted-field@STF-15",
        "coded-specialty@PRA-5",
    ]
    assert telecoms(change) == [("phone", "+1 555 5550107", "work")]
    assert [v.element for v in change.shared_role] == ["code", "telecom", "specialty", "organization"]
    check_resources(change)


def test_a_record_whose_fields_are_shifted_is_refused() -> None:
    translation = translate(
        read(
            "MSH|^~\\&|HR|HOSP|EMR|HOSP|20260107090000||MFN^M02|24|P|2.4",
            "MFI|STF^Staff Master File^HL70175|UPD|||AL",
            "MFE|MUP|DOC7|20260107090000|DOC7^Silva^Rui",
            "STF|DOC7^Silva^Rui||CARDIOLOGY||||PHYSICIAN|A|20100101|||+3515550107",
        )
    )
    assert said(translation) == ["shifted-field@MFI-3", "invalid-time@MFI-5"]
    (record,) = translation.records
    assert [error.local for error in errors(record)] == ["shifted-fields", "unknown-active-flag"]
    assert record.change is None


def test_three_records_with_three_events() -> None:
    translation = translate(
        read(
            "MSH|^~\\&|EMR|FAC|PAS|FAC|20260601090000||MFN^M02|M|P|2.5",
            "MFI|PRA||UPD",
            "MFE|MAD||20260301090000|S1",
            "STF|S1||Haas^Leo^Q||M|19700115|A",
            "MFE|MUP||20260301090000|S2",
            "STF|S2||Marek^Ida||F|19850301|A",
            "MFE|MDL||20260301090000|S3",
            "STF|S3||Orlov^Ivan||M|19500101|I",
        )
    )
    changes = [change_of(record) for record in translation.records]
    assert [(c.source_key, c.action.value, c.active) for c in changes] == [
        ("S1", "add", True),
        ("S2", "update", True),
        ("S3", "remove", False),
    ]
    assert [len(c.practitioner) for c in changes] == [3, 3, 0]
