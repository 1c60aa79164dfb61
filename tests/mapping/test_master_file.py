"""Which file MFI-1 names and what follows for a record, and how an answer repeats MFI and the key of a record."""

from __future__ import annotations

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.errors import MessageError, UnsupportedMessage
from hl7bridge.hl7.acknowledgment import MfaLine
from hl7bridge.hl7.message import Message
from hl7bridge.intake.answers import application_with_lines
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.site import SiteMap
from hl7bridge.model import Action, Location, Severity
from tests.examples import examples
from tests.mapping.building import KEY_SYSTEM, MFI, change_of, errors, message, mfe, said, stf, translate

OTHERS = [
    "LOC",
    "CDM",
    "OM1",
    "OM7",
    "OMA",
    "CLN",
    "INV",
    "PRC",
    "DRG",
    "loc",
    "LOC^Location^HL70175",
    "^LOC",
    "^^^LOC",
]
HOME_MADE = ["Department", "DOC", "REF", "PRACT", "Z01", "^Staff^HL70175", "STAFF", "X^LOC", "STF2"]
STAFF = ["STF", "PRA", "stf", " PRA ", "STF^Staff^HL70175", "PRA^Location", "^STF", '""', "", "^^", "STF~STF"]
ENDS = ["MDC", "MDL"]


# --- another file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("records", [(mfe("MDC"),), (mfe("MDL"), "LOC|K1"), (mfe("MAD"), "LOC|K1"), (mfe("MUP"),)])
def test_another_master_file_is_not_read(code: str, records: tuple[str, ...]) -> None:
    for event in ("MFN^M02", "MFN^M01"):
        with pytest.raises(UnsupportedMessage) as refused:
            translate(message(f"MFI|{code}||UPD|||AL", *records, event=event))
        assert (refused.value.finding.code, refused.value.finding.location) == ("201", Location("MFI", field=1))


@pytest.mark.parametrize("event", ENDS)
def test_without_mfi_a_bare_end_waits_for_a_person(event: str) -> None:
    """It may be of any master file; with an STF it is of staff."""
    sent = [message(mfe(event), *rest).replace(MFI.encode() + b"\r", b"") for rest in ((), (stf(),))]
    bare, staff = (change_of(translate(one).records[0]) for one in sent)
    assert (bare.undated, staff.undated) == ("unknown-master-file", "")


@pytest.mark.parametrize("code", [*OTHERS, *HOME_MADE, *STAFF])
@pytest.mark.parametrize("event", ["MAD", "MUP", "MDC", "MDL"])
def test_a_record_with_an_stf_is_staff_whatever_mfi_1_says(code: str, event: str) -> None:
    translation = translate(message(f"MFI|{code}||UPD|||AL", mfe(event), stf()))
    change = change_of(translation.records[0])
    assert (change.source_key, change.undated) == ("K1", "")
    told = [finding.severity for finding in translation.findings if finding.local == "master-file"]
    known = code in STAFF and code.strip(' "^')
    assert told == ([] if known else [Severity.INFORMATION])


@pytest.mark.parametrize("code", OTHERS)
def test_beside_staff_a_record_of_another_file_fails_alone(code: str) -> None:
    first, second = translate(message(f"MFI|{code}||UPD|||AL", mfe("MDC", "K1"), mfe("MAD", "K2"), stf("K2"))).records
    (error,) = errors(first)
    assert (error.code, error.local, first.change) == ("201", "unsupported-master-file", None)
    assert change_of(second).source_key == "K2"


# --- a file that no table knows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", HOME_MADE)
@pytest.mark.parametrize("event", ENDS)
def test_an_end_under_a_home_made_file_waits_for_a_person(code: str, event: str) -> None:
    (record,) = translate(message(f"MFI|{code}||UPD|||AL", mfe(event))).records
    change = change_of(record)
    assert change.action in (Action.DEACTIVATE, Action.REMOVE)
    assert change.undated == "unknown-master-file"
    assert "unknown-master-file@MFI-1" in said(record, Severity.WARNING)


@pytest.mark.parametrize("code", STAFF)
@pytest.mark.parametrize("event", ENDS)
def test_an_end_under_a_staff_file_waits_for_nobody(code: str, event: str) -> None:
    (record,) = translate(message(f"MFI|{code}||UPD|||AL", mfe(event))).records
    assert change_of(record).undated == ""


@pytest.mark.parametrize(
    "site",
    [
        FeedRules(KEY_SYSTEM, tables={"0175": {"DOC": "STF"}}),
        FeedRules(KEY_SYSTEM, tables={"0175": {"DOC": "staff"}}),
        FeedRules(KEY_SYSTEM, site=SiteMap(master_files=("DOC",))),
    ],
)
def test_a_site_can_say_that_its_file_is_of_staff(site: FeedRules) -> None:
    (record,) = translate(message("MFI|DOC||UPD|||AL", mfe("MDC")), site).records
    assert change_of(record).undated == ""


def test_files_that_the_site_leaves_alone_end_nobody_unasked() -> None:
    site = FeedRules(KEY_SYSTEM, site=SiteMap(master_files=("PRO",)))
    (record,) = translate(message("MFI|DOC||UPD|||AL", mfe("MDC")), site).records
    assert change_of(record).undated == "unknown-master-file"
    with pytest.raises(UnsupportedMessage):
        translate(message("MFI|LOC||UPD|||AL", mfe("MDC")), site)


@settings(max_examples=examples(60), deadline=None)
@given(st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters="|~\\&\x7f"), min_size=1, max_size=6))
def test_only_a_file_that_is_known_to_be_of_staff_ends_somebody_without_an_stf(code: str) -> None:
    try:
        (record,) = translate(message(f"MFI|{code}||UPD|||AL", mfe("MDC"))).records
    except MessageError:
        return
    name = next((part for part in (code.split("^") + [""] * 5)[:5] if part not in ("", '""')), "")
    assert (change_of(record).undated == "") is (name.upper() in ("", "STF", "PRA"))


# --- what an answer repeats ------------------------------------------------------------------------------------------

T1, T2 = "20240115", "20240201"
SHIFTED = [
    ("MFI|STF^Staff^HL70175||UPD|||AL", "MFI|STF^Staff^HL70175||UPD|||AL"),
    (f"MFI|STF|HR^1.2^ISO|UPD|{T1}|{T2}|ER", f"MFI|STF|HR^1.2^ISO|UPD|{T1}|{T2}|ER"),
    ("MFI|STF|UPD|||AL", "MFI|STF||UPD|||AL"),
    (f"MFI|STF|UPD|{T1}||ER", f"MFI|STF||UPD|{T1}||ER"),
    (f"MFI|STF|UPD|{T1}|{T2}|SU", f"MFI|STF||UPD|{T1}|{T2}|SU"),
    ("MFI|STF|REP||||NE", "MFI|STF||REP|||NE"),
    ("MFI|STF||UPD||NE", "MFI|STF||UPD|||NE"),
    (f"MFI|STF||UPD|{T1}|ER", f"MFI|STF||UPD|{T1}||ER"),
    ("MFI|STF||UPD^Update|||al", "MFI|STF||UPD|||AL"),
    ("MFI|STF||UPDT|||XX", "MFI|STF||UPD|||AL"),
    ("MFI|STF||||TBD|", "MFI|STF||UPD|||AL"),
    ('MFI|""|""|""|""|""|""', "MFI|STF||UPD|||AL"),
    ("MFI|STF|A^B^C^D|UPD|2024-01-15|20241301|AL|more|fields", "MFI|STF||UPD|||AL"),
    ("MFI|STF~STF|R&D|UPD|||AL~ER", "MFI|STF||UPD|||AL"),
    ("MFI|DOC", "MFI|DOC||UPD|||AL"),
    ("MFI|STF^Staff & more||UPD|||AL", "MFI|STF^Staff \\T\\ more||UPD|||AL"),
    ("MFI| ||UPD|||AL", "MFI|STF||UPD|||AL"),
    ("MFI|^||UPD|||AL", "MFI|STF||UPD|||AL"),
]


def answer(raw: bytes) -> list[str]:
    read = Message(raw)
    lines = [MfaLine(record.echo, not record.failed, "stored") for record in translate(raw).records]
    return application_with_lines(read, "original", "AA", lines, ()).decode().split("\r")[:-1]


def is_strict(lines: list[str]) -> bool:
    found = parse_message("\r".join(lines), validation_level=VALIDATION_LEVEL.STRICT)
    return bool(found.validate())


@pytest.mark.parametrize(("sent", "told"), SHIFTED)
@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5.1", "2.6", "2.8"])
def test_mfi_is_told_as_it_was_read(sent: str, told: str, version: str) -> None:
    lines = answer(message(sent, mfe("MAD"), stf(), version=version))
    assert [line for line in lines if line.startswith("MFI")] == [told]
    level = told.rpartition("|")[2]
    assert any(line.startswith("MFA") for line in lines) is (level in ("AL", "SU"))
    if level in ("AL", "SU"):  # without MFA hl7apy misses a segment that the standard requires, and MFI-6 does not
        assert is_strict(lines)


@pytest.mark.parametrize(
    ("key", "stf_1", "stf_2", "key_type", "told"),
    [
        ("K1", "K1", "", "CWE", "K1|CWE"),
        ("K1^Rossi", "K1", "", "CE", "K1^Rossi|CE"),
        ("K1", "K1", "", "", "K1|CE"),
        ("K1", "K1", "", " ", "K1|CE"),
        ("K1", "K1", "", "CWE^coded&more", "K1|CWE"),
        ("", "K1", "", "CWE", "K1|CWE"),
        ("", "K1^Rossi^L", "", "", "K1|CE"),
        ('""', "K1", "", "PL", "K1|CE"),
        ("^^PL", "K1", "", "PL", "K1|CE"),
        ("", "", "E7^^^NORTH", "", "E7|CE"),
        ("", "R\\T\\D1", "", "", "R\\T\\D1|CE"),
    ],
)
def test_mfa_names_the_record_by_the_key_that_was_found(
    key: str, stf_1: str, stf_2: str, key_type: str, told: str
) -> None:
    lines = answer(message(f"MFE|MAD|R1||{key}|{key_type}", stf(stf_1, f2=stf_2)))
    (mfa,) = [line for line in lines if line.startswith("MFA")]
    assert mfa == f"MFA|MAD|R1||S^stored^HL70181|{told}"
    assert is_strict(lines)


@pytest.mark.parametrize(("version", "told"), [("2.3.1", "CE"), ("2.5.1", "CE"), ("2.6", "CWE"), ("2.8", "CWE")])
def test_the_type_of_a_key_that_has_none_is_that_of_the_version(version: str, told: str) -> None:
    (mfa,) = [line for line in answer(message("MFE|MAD|R1||K1", stf(), version=version)) if line.startswith("MFA")]
    assert mfa.endswith(f"|K1|{told}")


def test_a_coded_event_comes_back_as_its_code() -> None:
    lines = answer(message("MFE|MUP^Update^HL70180|R1||K1|CE", stf()))
    assert lines[-1] == "MFA|MUP|R1||S^stored^HL70181|K1|CE"
    assert is_strict(lines)
