"""Which answers a message gets: by what MSH-15 and MSH-16 ask, how far the feed heeds that, and what became of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.hl7.acknowledgment import Mode
from hl7bridge.hl7.header import read_header
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.store.store import AcknowledgmentState, MessageState, NewMessage
from tests.examples import examples
from tests.hl7.test_echoing import DAMAGE, judge
from tests.journey import KEY_SYSTEM, mfn, person

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp()
STAFF = FeedPolicy(
    "staff",
    FeedRules(KEY_SYSTEM),
    {"fhir": FhirDestination(DestinationRules(name="fhir", base_url="http://127.0.0.1/fhir", mode="write"))},
)
BOTH = replace(
    STAFF, rules=FeedRules(KEY_SYSTEM, takes=frozenset({"staff", "adt"})), unsupported="ignore"
)  # beside patient messages, what cannot be read is not kept

GOOD = mfn("C1", person("MAD", "K1", "Tamsworth^Ilse"))


def prepared(body: bytes, policy: FeedPolicy = STAFF) -> NewMessage:
    (one,) = Intake(policy, b"x" * 32, clock=lambda: NOW).prepare(body, "127.0.0.1:1", defect=_defect(body))
    assert one.new
    return one.new


def _defect(body: bytes) -> str:
    """What the MLLP decoder says of such a frame."""
    inside = {b"\x0b": "start-block-inside", b"\x1c": "end-block-inside"}
    return next((defect for byte, defect in inside.items() if byte in body), "")


def answers(new: NewMessage) -> str:
    """The codes in order, "p" for an answer that waits for the outcome, "-" for none."""
    marks = {AcknowledgmentState.PENDING: "p", AcknowledgmentState.NONE: "-"}
    return " ".join(marks.get(one.state, one.code) for one in new.acknowledgments)


def asking(body: bytes, accept: str, application: str) -> bytes:
    """The message with these in MSH-15 and MSH-16."""
    first, rest = body.split(b"\r", 1)
    fields = [*first.split(b"|"), *[b""] * 16]
    fields[14], fields[15] = accept.encode(), application.encode()
    return b"|".join(fields[: max(16, first.count(b"|") + 1)]) + b"\r" + rest


UNREADABLE = {
    "no MFI": GOOD.replace(b"\rMFI|", b"\rZFI|").replace(b"\rMFE|MAD", b"\rMFE|"),
    "undecodable": GOOD.replace(b"^Ilse", b"^Ils\xe9"),
    "VT": GOOD.replace(b"^Ilse", b"^Il\x0bse"),
    "FS": GOOD.replace(b"^Ilse", b"^Il\x1cse"),
    "patient": GOOD + b"PID|1||4711\r",
}
FAILED = GOOD.replace(b"MFE|MAD", b"MFE|MXX")
OTHER_FILE = GOOD.replace(b"MFN^M02", b"MFN^M01").replace(b"MFI|STF", b"MFI|LOC").replace(b"MFI|PRA", b"MFI|LOC")
UNSUPPORTED = GOOD.replace(b"MFN^M02", b"MFN^M05")

# MSH-15, MSH-16 | good | unreadable or failed, bytes kept | unreadable, bytes not kept | unsupported by its header
TABLE = """
- -    AA    AE    AE    AR
- NE   -     -     -     -
- AL   p     AE    AE    AR
- ER   p     AE    AE    AR
- SU   p     -     -     -
NE -   -     -     -     -
NE NE  -     -     -     -
NE AL  p     AE    AE    AR
NE ER  p     AE    AE    AR
NE SU  p     -     -     -
AL -   CA    CA    CE    CR
AL NE  CA    CA    CE    CR
AL AL  CA,p  CA,AE CA,AE CR
AL ER  CA,p  CA,AE CA,AE CR
AL SU  CA,p  CA    CE    CR
ER -   -     -     CE    CR
ER NE  -     -     CE    CR
ER AL  p     AE    AE    CR
ER ER  p     AE    AE    CR
ER SU  p     -     CE    CR
SU -   CA    CA    -     -
SU NE  CA    CA    -     -
SU AL  CA,p  CA,AE CA,AE AR
SU ER  CA,p  CA,AE CA,AE AR
SU SU  CA,p  CA    -     -
"""
ROWS = {
    (accept.strip("-"), application.strip("-")): [text.replace(",", " ") for text in texts]
    for accept, application, *texts in (line.split() for line in TABLE.strip().splitlines())
}
ASKED = sorted(ROWS)


def row_of(mode: Mode, accept: str, application: str) -> list[str]:
    if mode == "original":
        return ROWS["", ""]
    return ROWS[accept or "AL", application or "AL"] if mode == "enhanced" else ROWS[accept, application]


@pytest.mark.parametrize("mode", ["as-asked", "original", "enhanced"])
@pytest.mark.parametrize(("accept", "application"), ASKED)
def test_what_is_asked_is_answered(mode: Mode, accept: str, application: str) -> None:
    good, kept, lost, unsupported = row_of(mode, accept, application)
    staff, both = replace(STAFF, mode=mode), replace(BOTH, mode=mode)

    def told(body: bytes, policy: FeedPolicy) -> str:
        return answers(prepared(asking(body, accept, application), policy))

    assert told(GOOD, staff) == told(GOOD, both) == good
    assert told(FAILED, staff) == told(FAILED, both) == kept
    for name, body in UNREADABLE.items():
        assert told(body, staff) == (lost if name == "patient" else kept), name
        assert told(body, both) == lost, name
    for body in (UNSUPPORTED, OTHER_FILE):
        assert told(body, staff) == told(body, both) == unsupported


@pytest.mark.parametrize(("accept", "application"), ASKED)
def test_one_answer_alone_may_wait_for_the_outcome(accept: str, application: str) -> None:
    waits = replace(STAFF, mode="original", acknowledge_when="delivered")
    (ack,) = prepared(asking(GOOD, accept, application), waits).acknowledgments
    assert (ack.kind, ack.state) == ("original", AcknowledgmentState.PENDING)


@pytest.mark.parametrize("null", ['""', ' "" ', "USA", " "])
@pytest.mark.parametrize(("accept", "application"), [row for row in ASKED if "" in row])
def test_a_null_and_an_unknown_value_count_as_empty(accept: str, application: str, null: str) -> None:
    asks = asking(GOOD, accept or null, application or null)
    for mode in ("as-asked", "original", "enhanced"):
        assert answers(prepared(asks, replace(STAFF, mode=mode))) == row_of(mode, accept, application)[0]


@pytest.mark.parametrize("mode", ["as-asked", "original", "enhanced"])
@pytest.mark.parametrize(("accept", "application"), ASKED)
def test_a_commit_that_failed_is_never_answered_positively(mode: Mode, accept: str, application: str) -> None:
    (one,) = Intake(replace(STAFF, mode=mode), b"x" * 32).prepare(asking(GOOD, accept, application), "peer")
    refused = one.refuse()
    codes = {"AL": "CE", "ER": "CE"}
    asked = row_of(mode, accept, application)[0]
    if asked == "AA":
        expected: str | None = "AR"
    else:
        accept, application = (one or ("AL" if mode == "enhanced" else "NE") for one in (accept, application))
        expected = codes.get(accept, "AR" if application in codes else None)
    assert (refused.split(b"\r")[1].split(b"|")[1].decode() if isinstance(refused, bytes) else refused) == expected


def test_what_is_kept_and_what_is_not() -> None:
    for name, body in UNREADABLE.items():
        kept, lost = prepared(body, STAFF), prepared(body, BOTH)
        assert (kept.state, kept.body) == (MessageState.REFUSED, None if name == "patient" else body)
        assert (lost.state, lost.body) == (MessageState.REFUSED, None)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (UNREADABLE["VT"], b"STF^1^3"),
        (UNREADABLE["FS"], b"STF^1^3"),
        (UNREADABLE["undecodable"], b"STF^1^3"),
        (UNREADABLE["no MFI"], b"MFI^1"),
        (GOOD.replace(b"|C1|", b"|C\x0b1|"), b"MSH^1^10"),
        (GOOD.replace(b"|C1|", b"|\x1c|"), b"MSH^1^10"),
        (GOOD.replace(b"|P|", b"|X|"), b"MSH^1^11"),
        (OTHER_FILE, b"MFI^1^1"),
    ],
)
def test_an_error_has_a_place(body: bytes, place: bytes) -> None:
    for policy in (STAFF, BOTH):
        *_, last = prepared(asking(body, "AL", "AL"), policy).acknowledgments
        (err,) = [line for line in last.body.split(b"\r") if line.startswith(b"ERR")]
        assert err.split(b"|")[2] == place


def test_an_accept_acknowledgment_of_content_says_nothing_of_it() -> None:
    first, _ = prepared(asking(UNREADABLE["VT"], "AL", "AL"), BOTH).acknowledgments
    assert [line[:3] for line in first.body.split(b"\r")] == [b"MSH", b"MSA", b""]


@pytest.mark.parametrize("fallback", ["2.3", "2.4", "2.8"])
def test_the_feeds_version_is_that_of_answers_to_a_header_without_one(fallback: str) -> None:
    policy = replace(STAFF, rules=FeedRules(KEY_SYSTEM, fallback_version=fallback))
    for body in (GOOD, FAILED, UNSUPPORTED):
        for sent in (b"", b'""', b"9.9"):
            (ack,) = prepared(body.replace(b"|2.5.1|", b"|" + sent + b"|"), policy).acknowledgments
            assert read_header(ack.body).field(12) == fallback


# --- MSH-9 ----------------------------------------------------------------------------------------------------------

NAMED = [
    *("MFN", "MFN^", "MFN^m02", "mfn^M02", "Mfn^M02", "MFN^^MFN_M02", "^^MFN_M02", "MFN_M02", "MFN&M02", "MFN M02"),
    *("MFN-M02", "MFN/M02", "MFN.M02", "MFNM02", "M F N^M02", "MFN^M2", "MFN^M002", "MFN^MO2", "MFN^M05", "MFN^M99"),
    *("^M02", "^M2", "M02", "MNF^M02", "XXX^M02", "XXX~MFN^M02", '""^M02', "^M01", "ZMFN^Z01", "\\F\\MFN^M02"),
    *("PMU", "PMU^B6", "pmu^b06", "PMU^b06", "PMU_B06", "PMU&B06", "^B06", "^B6", "B06", "^^PMU_B04", "PMU^B09"),
]
HEADER_ONLY = GOOD.split(b"\r")[0] + b"\r"


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("takes", [("staff", "adt"), ("staff",), ("adt",)])
def test_what_msh_9_names_staff_is_never_ignored(named: str, takes: tuple[str, ...]) -> None:
    policy = replace(BOTH, rules=FeedRules(KEY_SYSTEM, takes=frozenset(takes)))
    for body in (GOOD, HEADER_ONLY):  # its segments tell it, too: the header alone must do
        new = prepared(body.replace(b"MFN^M02^MFN_M02", named.encode()).replace(b"MFN^M02", named.encode()), policy)
        assert (answers(new), new.state, new.body) == ("AR", MessageState.REFUSED, None)


@pytest.mark.parametrize("named", ["", '""', " ", "ORU^R01", "XXX", "ZZZ^Z01", "K230", "20260302"])
@pytest.mark.parametrize("ending", [b"\r", b"\n", b"\r\n"])
def test_a_staff_segment_is_enough(named: str, ending: bytes) -> None:
    body = GOOD.replace(b"MFN^M02^MFN_M02", named.encode()).replace(b"MFN^M02", named.encode()).replace(b"\r", ending)
    new = prepared(body, BOTH)
    assert (answers(new), new.state, new.body) == ("AR", MessageState.REFUSED, None)


@pytest.mark.parametrize("named", ["MFK^M02", "MFR^M02", "ACK^M02", "ACK", "RSP^K21"])
def test_an_answer_that_answers_nothing_and_holds_staff_is_a_damaged_message(named: str) -> None:
    damaged = GOOD.replace(b"MFN^M02^MFN_M02", named.encode()).replace(b"MFN^M02", named.encode())
    for policy in (STAFF, BOTH):
        new = prepared(damaged, policy)
        assert (answers(new), new.state, new.body) == ("AR", MessageState.REFUSED, None)
        answer = damaged.replace(b"\r", b"\rMSA|AA|C1\r", 1)
        (consumed,) = Intake(policy, b"x" * 32, clock=lambda: NOW).prepare(answer, "peer")
        assert (consumed.new, consumed.counted) == (None, "acknowledgment")


@pytest.mark.parametrize("named", ["ORU^R01", "SIU^S12^SIU_S12", "ORM^O01", "MDM^T02", "BAR^P01", "ZZZ^Z01", "DFT^P03"])
def test_what_is_certainly_not_ours_is_ignored(named: str) -> None:
    new = prepared(HEADER_ONLY.replace(b"MFN^M02^MFN_M02", named.encode()) + b"PID|1\r", BOTH)
    assert (answers(new), new.state) == ("AA", MessageState.IGNORED)


def test_separators_that_cannot_be_are_no_reason_to_ignore() -> None:
    for marks in (b"0000", b"    ", b"AB"):
        assert answers(prepared(GOOD.replace(b"|^~\\&|", b"|" + marks + b"|"), BOTH)) == "AE"


# --- whatever the header holds ----------------------------------------------------------------------------------------

_FIELDS = st.sampled_from([2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])


@settings(max_examples=examples(25), deadline=None)
@given(st.dictionaries(_FIELDS, st.sampled_from(DAMAGE), min_size=1, max_size=3), st.sampled_from([STAFF, BOTH]))
def test_whatever_header_a_leaver_comes_under(damage: dict[int, str], policy: FeedPolicy) -> None:
    """Nobody is lost under a positive answer, and each answer is a valid message."""
    leaver = GOOD.replace(b"|C1|", b"|C 1-Z|").replace(b"MFE|MAD", b"MFE|MDC")
    first, rest = leaver.split(b"\r", 1)
    parts = [*first.split(b"|"), *[b""] * 20]
    for number, value in damage.items():
        parts[number - 1] = value.encode("latin-1", "replace").replace(b"|", b"")
    raw = b"|".join(parts) + b"\r" + rest
    for one in Intake(policy, b"x" * 32, clock=lambda: NOW).prepare(raw, "peer"):
        if one.new is None:
            continue
        delivers = any(record.deliveries for record in one.new.records)
        for ack in one.new.acknowledgments:
            assert not (ack.code == "AA" and not delivers)
            if ack.body:
                judge(raw, ack.body)
