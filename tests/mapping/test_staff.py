"""Messages as a whole: envelope, keys, times, several records."""

from __future__ import annotations

from itertools import islice

import pytest

from hl7bridge.errors import MessageError, UnreadableMessage, UnsupportedMessage
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.model import Location, RecordEcho, Refusal, Severity
from tests.mapping.building import (
    KEY_SYSTEM,
    NOW,
    RULES,
    change_of,
    errors,
    message,
    mfe,
    msh,
    one,
    said,
    staff_change,
    stf,
    translate,
    values,
)


def refusal(raw: bytes) -> tuple[str, str, str]:
    with pytest.raises(MessageError) as caught:
        translate(raw)
    finding = caught.value.finding
    return type(caught.value).__name__, finding.code, str(finding.location)


# --- what is ours ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code", "place"),
    [
        ("ADT^A04", "201", "MSH-9.2"),
        ("PMU^B09^PMU_B01", "201", "MSH-9.2"),
        ("MFN^M05", "201", "MSH-9.2"),
        ("MFN", "201", "MSH-9.2"),
        ("ORU^R01", "200", "MSH-9.1"),
        ("", "200", "MSH-9.1"),
    ],
)
def test_other_messages_are_unsupported(event: str, code: str, place: str) -> None:
    assert refusal(message(mfe(), stf(), event=event)) == ("UnsupportedMessage", code, place)


@pytest.mark.parametrize(
    "event", ["MFN^M02", "MFN^M02^MFN_M02", "MFN^M02^NONSENSE", "MFN^M01", "MFN^M01^MFN_M01", " MFN ^ M02 "]
)
def test_staff_messages_are_taken_whatever_msh_9_3_says(event: str) -> None:
    assert len(translate(message(mfe(), stf(), event=event)).records) == 1


@pytest.mark.parametrize("version", ["2.0", "2.10", "3.0", "2", "x", "2.5.1.1.1", "2.-1"])
def test_unknown_version(version: str) -> None:
    assert refusal(message(mfe(), stf(), version=version)) == ("UnsupportedMessage", "203", "MSH-12")


@pytest.mark.parametrize("version", ["2.1", "2.3.2", "2.5^DEU&&HL70399", "2.5^FRA^2.11", "2.9.1"])
def test_version_may_say_more_than_a_number(version: str) -> None:
    assert said(translate(message(mfe(), stf(), version=version))) == []


def test_empty_version_is_assumed_and_said() -> None:
    assert said(translate(message(mfe(), stf(), version=""))) == ["version-assumed@MSH-12"]
    with pytest.raises(UnsupportedMessage):
        translate(message(mfe(), stf(), version=""), FeedRules(KEY_SYSTEM, fallback_version="7"))


@pytest.mark.parametrize("mfi", ["MFI|STF||UPD|||AL", "MFI|PRA^Practitioner^HL70175||UPD|||AL"])
def test_generic_master_file_message_of_staff(mfi: str) -> None:
    assert said(translate(message(mfi, mfe(), stf(), event="MFN^M01"))) == []


def test_generic_master_file_message_of_something_else() -> None:
    raw = message("MFI|LOC||UPD|||AL", mfe(), stf(), event="MFN^M01")
    assert refusal(raw) == ("UnsupportedMessage", "201", "MFI-1")


@pytest.mark.parametrize("code", ["LOC", "REF", "PRACT", ""])
def test_m02_is_staff_whatever_mfi_1_says(code: str) -> None:
    translation = translate(message(f"MFI|{code}||UPD|||AL", mfe(), stf()))
    assert said(translation) == ["master-file@MFI-1"]
    assert translation.findings[0].severity is Severity.INFORMATION
    assert change_of(translation.records[0])


# --- MFI, MFE missing or odd -----------------------------------------------------------------------------------------


def bare(*segments: str, event: str = "MFN^M02") -> bytes:
    return ("\r".join([msh(event=event), *segments]) + "\r").encode()


def test_no_record_at_all() -> None:
    assert refusal(message()) == ("UnreadableMessage", "100", "MFE")
    assert refusal(bare()) == ("UnreadableMessage", "100", "MFE")
    assert refusal(bare(stf())) == ("UnreadableMessage", "100", "MFE")
    with pytest.raises(UnreadableMessage, match="MFI and MFE are missing") as caught:
        translate(bare(stf()))
    assert caught.value.refusal is Refusal.CONTENT


def test_missing_mfi_is_put_up_with_where_every_mfe_speaks_for_itself() -> None:
    translation = translate(bare(mfe("MAD", "A"), stf("A"), mfe("MDC", "B")))
    assert said(translation) == ["segment-missing@MFI"]
    assert not any(record.failed for record in translation.records)


@pytest.mark.parametrize("entry", ["MFE||R1||K1", "MFE|MRP|R1||K1", "MFE|MUP|R1|202208241200", "MFE|MUP|||^^PL"])
def test_missing_mfi_and_an_mfe_that_does_not_speak_for_itself(entry: str) -> None:
    assert refusal(bare(mfe("MAD", "A"), stf("A"), entry, stf())) == ("UnreadableMessage", "100", "MFI")


def test_missing_mfi_of_a_generic_message() -> None:
    assert refusal(bare(mfe(), stf(), event="MFN^M01")) == ("UnreadableMessage", "100", "MFI")


@pytest.mark.parametrize(
    ("mfi", "finding"),
    [
        ("MFI|STF||UPD^Update|||AL", []),
        ("MFI|STF|UPD|20240115||", ["shifted-field@MFI-3"]),
        ("MFI|STF||UPDT|||AL", ["file-event@MFI-3"]),
        ("MFI|STF||||||", ["file-event@MFI-3"]),
        ("MFI|STF||REP|||AL", ["replace-as-update@MFI-3"]),
        ("MFI|STF|REP||||", ["shifted-field@MFI-3", "replace-as-update@MFI-3"]),
    ],
)
def test_file_level_event(mfi: str, finding: list[str]) -> None:
    translation = translate(message(mfi, mfe("MAD"), stf()))
    assert said(translation) == finding
    assert not translation.records[0].failed


@pytest.mark.parametrize("event", ["MUP", "MDC", "MAC", "MDL"])
def test_replacement_holds_additions_alone(event: str) -> None:
    translation = translate(message("MFI|STF||REP|||AL", mfe("MAD", "A"), stf("A"), mfe(event, "B"), stf("B")))
    first, second = translation.records
    assert not first.failed
    (error,) = errors(second)
    assert (error.code, error.location) == ("103", Location("MFE", 2, 1))
    assert second.change is None


@pytest.mark.parametrize(
    ("event", "code", "local"),
    [
        ("MRP", "103", "unknown-event"),
        ("", "101", "event-missing"),
        ('""', "101", "event-missing"),
        ("mad", "103", "unknown-event"),
    ],
)
def test_unknown_record_level_event(event: str, code: str, local: str) -> None:
    record = one(stf(), event=event)
    (error,) = errors(record)
    assert (error.code, error.local, str(error.location)) == (code, local, "MFE-1")


def test_coded_record_level_event() -> None:
    assert one(stf(), event="MUP^Update^HL70180").change is not None


@pytest.mark.parametrize("event", ["MAD", "MUP", "MAC"])
def test_content_is_required_but_to_end(event: str) -> None:
    translation = translate(message(mfe(event, "A"), mfe("MAD", "B"), stf("B")))
    first, second = translation.records
    (error,) = errors(first)
    assert (error.code, error.local, error.location, error.position) == (
        "100",
        "segment-missing",
        Location("STF", 1),
        1,
    )
    assert not second.failed


def test_segments_of_a_site_and_those_that_say_nothing_of_anybody_are_tolerated_in_any_order() -> None:
    change = staff_change("ZPR|1|2", "GSP|1|S", "NTE|1||x", "LAN|1|fr", "AFF|1|X", "PRA|K1||ST", "UAC|1")
    assert len(values(change, "communication")) == 1
    assert values(change.shared_role, "code") == [{"text": "ST"}]


# --- key -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "stf_1", "stf_2", "key", "field"),
    [
        ("K1", "K1", "", "K1", "MFE-4"),
        ("K1^Rossi^Ada", "K1^^NORTH", "", "K1", "MFE-4"),
        (" K1 ", "K1", "", "K1", "MFE-4"),
        ("K\\T\\1", "K&1", "", "K&1", "MFE-4"),
        ("", "K1^Rossi", "", "K1", "STF-1"),
        ("^^PL", "K1", "", "K1", "STF-1"),
        ('""', "K1", "", "K1", "STF-1"),
        ("", "", "E7^^^NORTH~E8", "E7", "STF-2"),
        ("K1", "", "", "K1", "MFE-4"),
    ],
)
def test_staff_key(sent: str, stf_1: str, stf_2: str, key: str, field: str) -> None:
    if stf_1 == "K&1":
        stf_1 = "K\\T\\1"
    change = change_of(one(stf(stf_1, f2=stf_2), key=sent))
    assert change.source_key == key
    assert (change.identifiers[0].value, change.identifiers[0].system, change.identifiers[0].provenance.text) == (
        key,
        KEY_SYSTEM,
        field,
    )


def test_which_field_gave_the_key_is_said() -> None:
    record = one(stf(), key="")
    assert said(record) == ["key-assumed@MFE-4"]
    assert "STF-1" in record.findings[0].text


def test_no_key_at_all() -> None:
    (error,) = errors(one(stf(""), key=""))
    assert (error.code, error.local, str(error.location)) == ("101", "key-missing", "MFE-4")
    (error,) = errors(one(event="MDC", key=""))
    assert error.local == "key-missing"


@pytest.mark.parametrize("segments", [(stf("K2"),), (stf(), "PRA|K2||ST")])
def test_key_of_another_is_an_error(segments: tuple[str, ...]) -> None:
    record = one(*segments)
    (error,) = errors(record)
    assert (error.code, error.local) == ("102", "key-mismatch")
    assert str(error.location) in ("STF-1.1", "PRA-1.1")
    assert record.change is None


def test_a_key_that_repeats_itself_is_said() -> None:
    record = one(stf(), key="K1~K1")
    assert said(record) == ["key-repeats@MFE-4"]
    assert change_of(record).source_key == "K1"


def test_echo_is_as_sent() -> None:
    (record,) = translate(message("MFE|MAD^Add|C\\T\\1|20260101|K1^^N~K2|CWE~CWE", stf())).records
    assert record.echo == RecordEcho("MAD^Add", "C\\T\\1", "K1^^N~K2", "CWE~CWE")
    assert record.failed
    (record,) = translate(message("MFE|MDC", mfe("MDC"))).records[:1]
    assert record.echo == RecordEcho("MDC", "", "", "")


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mfe_3", "mfi_5", "effective"),
    [
        ("20260401", "", "2026-04-01T00:00:00+00:00"),
        ("202604010800", "", "2026-04-01T08:00:00+00:00"),
        ("20260401080000+0200", "", "2026-04-01T08:00:00+02:00"),
        ("", "20260401", "2026-04-01T00:00:00+00:00"),
        ("20260402", "20260401", "2026-04-02T00:00:00+00:00"),
        ("20260318120400", "", ""),
        ("20260318120501", "", "2026-03-18T12:05:01+00:00"),
        ("20260301", "20260401", "2026-03-01T00:00:00+00:00"),
        ("", "", ""),
        ("MORNING", "20260401", ""),
        ("2027", "", "2027-01-01T00:00:00+00:00"),
        ("202704", "", "2027-04-01T00:00:00+00:00"),
        ("2026", "", "2026-01-01T00:00:00+00:00"),
        ("99999999", "", ""),
    ],
)
def test_effective_time(mfe_3: str, mfi_5: str, effective: str) -> None:
    raw = message(f"MFI|STF||UPD||{mfi_5}|AL", mfe("MAD", time=mfe_3), stf())
    (record,) = translate(raw).records
    assert change_of(record).effective == effective
    unreadable = mfe_3 in ("MORNING", "99999999")
    assert change_of(record).undated == ""  # nobody is ended: the record is due at once
    assert said(record) == (["invalid-time@MFE-3"] if unreadable else [])


def test_invalid_file_level_time_is_said_once() -> None:
    translation = translate(message("MFI|STF||UPD||AL", mfe(key="A"), stf("A"), mfe(key="B"), stf("B")))
    assert said(translation) == ["invalid-time@MFI-5"]


def test_local_times_are_of_the_senders_offset_or_the_feeds_zone() -> None:
    berlin = FeedRules(KEY_SYSTEM, timezone="Europe/Berlin")
    raw = message(mfe("MAD", time="20260701080000"), stf(), time="20260318113000")
    change = change_of(translate(raw, berlin).records[0])
    assert (change.effective, change.message_time) == ("2026-07-01T08:00:00+02:00", "2026-03-18T11:30:00+01:00")
    raw = message(mfe("MAD", time="20260701080000"), stf(), time="20260318113000-0500")
    change = change_of(translate(raw, berlin).records[0])
    assert (change.effective, change.message_time) == ("2026-07-01T08:00:00-05:00", "2026-03-18T11:30:00-05:00")


@pytest.mark.parametrize(
    ("sent", "time", "exact", "finding"),
    [
        ("20260318113000.25+0000", "2026-03-18T11:30:00.250000+00:00", True, []),
        ("202603181130", "2026-03-18T11:30:00+00:00", False, []),
        ("20260318", "2026-03-18T00:00:00+00:00", False, []),
        ("20260318113000^S", "2026-03-18T11:30:00+00:00", True, []),
        ("", "", False, []),
        ("yesterday", "", False, ["invalid-time@MSH-7"]),
        ("99999999999999", "", False, ["invalid-time@MSH-7"]),
    ],
)
def test_message_time(sent: str, time: str, exact: bool, finding: list[str]) -> None:
    translation = translate(message(mfe(), stf(), time=sent))
    change = change_of(translation.records[0])
    assert (change.message_time, change.message_time_exact) == (time, exact)
    assert said(translation) == finding


# --- shifted fields --------------------------------------------------------------------------------------------------


def test_shifted_fields_are_said_and_beyond_three_refused() -> None:
    two = one(stf(f15="20000101", f9="20000101"))
    assert said(two) == ["shifted-field@STF-9", "shifted-field@STF-15"]
    assert change_of(two).complete
    three = one(stf(name="CARDIOLOGY", f7="PHYSICIAN", f9="20100101", f12="+15555550101"))
    error, flag = errors(three)
    assert (error.code, error.local, str(error.location)) == ("102", "shifted-fields", "STF")
    assert flag.local == "unknown-active-flag"
    assert three.change is None


def test_one_odd_field_is_not_a_shift_however_often_it_repeats() -> None:
    record = one(stf(f8="20010101~20010102~20010103~20010104"))
    assert len(said(record)) == 4
    assert change_of(record).roles == ()


# --- many records ----------------------------------------------------------------------------------------------------


def many(count: int) -> Message:
    segments = [text for i in range(count) for text in (mfe("MAD", f"K{i}"), stf(f"K{i}", f"Rossi{i}^Ada"))]
    return Message(message(*segments))


def test_pause_is_called_between_slices() -> None:
    calls: list[int] = []
    translation = staff.translate(many(120), RULES, NOW, pause=lambda: calls.append(1))
    assert len(translation.records) == 120
    assert len(calls) == 120 // staff.SLICE


def test_records_come_one_at_a_time_and_are_the_same() -> None:
    read = many(30)
    found = staff.records(read, RULES, NOW)
    first = list(islice(found, 10))
    assert [*first, *found] == list(staff.translate(read, RULES, NOW).records)


def test_records_refuse_before_the_first() -> None:
    with pytest.raises(UnsupportedMessage):
        staff.records(Message(message(mfe(), stf(), event="ORU^R01")), RULES, NOW)


def test_bad_record_does_not_touch_the_good_ones() -> None:
    translation = translate(
        message(mfe("MAD", "A"), stf("A"), mfe("MAD", "B"), stf("B", "^Ada"), mfe("MUP", "C"), stf("C"), "PRA|C||ST")
    )
    assert [record.failed for record in translation.records] == [False, True, False]
    (error,) = errors(translation.records[1])
    assert error.location == Location("STF", 2, 3, 0, 1)
    assert error.position == 2
    assert values(change_of(translation.records[2]).shared_role, "code") == [{"text": "ST"}]


def test_the_same_key_twice_is_two_records_in_order() -> None:
    translation = translate(message(mfe("MAD"), stf(), mfe("MDC"), mfe("MAC"), stf()))
    assert [change_of(record).action.value for record in translation.records] == ["add", "deactivate", "reactivate"]


@pytest.mark.parametrize(
    ("charset", "codec"), [("UNICODE UTF-8", "utf-8"), ("8859/1", "latin-1"), ("8859/15", "iso8859-15")]
)
def test_names_in_their_character_set(charset: str, codec: str) -> None:
    raw = message(mfe(), stf(name="Müller-Çelik^Zoë")).decode().replace("UNICODE UTF-8", charset).encode(codec)
    assert values(change_of(translate(raw).records[0]), "name")[0]["family"] == "Müller-Çelik"


@pytest.mark.parametrize(("old", "new"), [("|", "!"), ("^", "$"), ("~", "*"), ("&", "%")])
def test_other_separators(old: str, new: str) -> None:
    text = message(mfe(), stf(name="Rossi^Ada~Bianchi^A", f2="E7^^^N&1.2.3&ISO^EI")).decode()
    (expected,), (found,) = translate(text.encode()).records, translate(text.replace(old, new).encode()).records
    assert change_of(found) == change_of(expected)


def test_findings_hold_no_value_of_the_message() -> None:
    canary = "Qzx7Canary"
    fields = {f"f{number}": canary for number in range(2, 42)}
    fields["f2"] = f"{canary}1234567890^^^{canary}^{canary}"
    segments = [
        stf(canary, **fields),
        "|".join(["PRA", *[canary] * 12]),
        "|".join(["ORG", *[canary] * 13]),
        "|".join(["LAN", *[canary] * 4]),
        "|".join(["EDU", *[canary] * 9]),
        "|".join(["CER", *[canary] * 31]),
    ]
    for event in ("MAD", "MUP", "MDC", "MAC", "MDL", canary):
        for key in (canary, "K1", ""):
            translation = translate(
                message(f"MFI|{canary}|{canary}|{canary}||{canary}|AL", mfe(event, key, canary), *segments)
            )
            findings = [*translation.findings, *translation.records[0].findings]
            assert findings
            assert not any(canary in finding.text or canary in finding.local for finding in findings)
            assert all(finding.code.isdigit() and finding.text for finding in findings)
