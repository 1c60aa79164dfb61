"""Patient messages on a feed that takes them: what is answered, what is stored, whom a destination is asked about."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.hl7.message import Message
from hl7bridge.intake.acquaintance import KnownPractitioners
from hl7bridge.intake.intake import FeedPolicy, Intake, Prepared
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.store import Accepted, AcknowledgmentState, MessageState
from tests.mapping.building import CORPUS, KEY_SYSTEM, mfe, stf
from tests.mapping.building import message as staff_message
from tests.mapping.test_visits import ADA, NORTH, NPI, RUNA, adt, pv1
from tests.mapping.test_visits import NOW as MOMENT

NOW = 1_771_000_000.0
DAY = 86400.0
RULES = {"fhir": FhirDestination(DestinationRules("fhir", "https://fhir.example.org", mode="write"))}


class Feed:
    """A feed and its store at a time that the test sets."""

    def __init__(self, folder: Path, takes: tuple[str, ...] = ("staff", "adt"), unsupported: str = "ignore") -> None:
        self.rules = FeedRules(KEY_SYSTEM, authorities={"NORTH": NORTH}, takes=frozenset(takes))
        self.policy = FeedPolicy("visits", self.rules, RULES, unsupported=unsupported, recheck=DAY)
        self.store = SqliteStore(folder / "store.sqlite")
        self.now = NOW
        self.intake = self.started()

    def started(self) -> Intake:
        """A listener of this feed that has just started."""
        known = KnownPractitioners(self.policy.recheck)
        known.load(self.store.inbox.known_practitioners("visits", self.now - self.policy.recheck))
        return Intake(self.policy, b"k" * 32, lambda: self.now, known)

    def prepare(self, raw: bytes) -> Prepared:
        (prepared,) = self.intake.prepare(raw, "peer")
        return prepared

    def take(self, *bodies: bytes, noticed: bool = True) -> list[Accepted]:
        """Prepare all, commit all at once, then let the listener know, as the writer does."""
        news = [prepared.new for body in bodies for prepared in self.intake.prepare(body, "peer") if prepared.new]
        accepted = self.store.inbox.accept(news, self.now)
        for new in news if noticed else ():
            self.intake.stored(new)
        return accepted

    def asked(self) -> int:
        """Deliveries that there are."""
        return sum(sum(states.values()) for states in self.store.audit.counts()["deliveries"].values())


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    return Feed(tmp_path)


def answer(prepared: Prepared) -> list[bytes]:
    assert prepared.new is not None
    (given,) = prepared.new.acknowledgments
    assert given.state is AcknowledgmentState.OWED
    return given.body.split(b"\r")


# --- what is of staff, whatever MSH-9 says ---------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["A01", "A11", "A40", ""])
@pytest.mark.parametrize("segment", ["MFI|STF||UPD", "MFE|MDC|R1||K1", "STF|K1||Rossi^Ada"])
def test_segments_about_staff_are_no_patient_message(feed: Feed, event: str, segment: str) -> None:
    lines = answer(feed.prepare(adt(pv1(f7=ADA), segment, event=event)))
    assert lines[1].startswith(b"MSA|AE|C1")


@pytest.mark.parametrize("kind", ["XFN^M02", "M02", "MFX", "ZZZ^Z01"])
def test_segments_about_staff_are_never_ignored(feed: Feed, kind: str) -> None:
    raw = staff_message(mfe("MDC"), stf(), event=kind)
    assert answer(feed.prepare(raw))[1].startswith(b"MSA|AR|C1")
    without = re.sub(rb"(MFI|MFE|STF)", b"ZZZ", raw)
    named = b"AR" if "M02" in kind else b"AA"  # the event alone names staff as well
    assert answer(feed.prepare(without))[1].startswith(b"MSA|" + named + b"|C1")


@pytest.mark.parametrize("name", ["EVN", "PID"])
def test_two_patient_messages_in_one_are_refused(feed: Feed, name: str) -> None:
    lines = answer(feed.prepare(adt(pv1(f7=ADA), f"{name}|1", f"{name}|2")))
    assert lines[1].startswith(b"MSA|AE|C1")


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["A01", "A08", "A11", "A13", "A40", "A34", "A62", "A99", ""])
def test_every_patient_message_is_taken(feed: Feed, event: str) -> None:
    lines = answer(feed.prepare(adt(pv1(f7=ADA), event=event)))
    assert lines[1] == b"MSA|AA|C1"
    assert lines[0].split(b"|")[8] == (f"ACK^{event}^ACK" if event else "ACK").encode()
    assert len(lines) == 3


def test_enhanced_mode_gets_both_answers_at_once(feed: Feed) -> None:
    raw = adt(pv1(f7=ADA)).replace(b"|2.5.1||||||", b"|2.5.1|||AL|AL||")
    given = feed.prepare(raw).new.acknowledgments  # type: ignore[union-attr]
    assert [(one.kind, one.code) for one in given] == [("accept", "CA"), ("application", "AA")]


def test_the_answer_waits_for_no_delivery(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    object.__setattr__(feed.policy, "acknowledge_when", "delivered")
    assert answer(feed.prepare(adt(pv1(f7=ADA))))[1] == b"MSA|AA|C1"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (adt(pv1(f7=ADA)) + b"\xff", b"AE"),
        (adt(pv1(f7=ADA), charset="KLINGON"), b"AR"),
        (adt(pv1(f7=ADA), version="3.1"), b"AR"),
        (adt(pv1(f7=ADA)).replace(b"|P|", b"|T|"), b"AR"),
        (adt(pv1(f7=ADA)).replace(b"ADT^A01", b"MFN^M02"), b"AE"),
        (adt(pv1(f7=ADA)).replace(b"ADT^A01", b"PMU^B01"), b"AE"),
        (staff_message(mfe()) + b"\xff", b"AE"),
    ],
)
def test_what_cannot_be_read_leaves_its_header_alone(feed: Feed, raw: bytes, code: bytes) -> None:
    prepared = feed.prepare(raw)
    assert prepared.new is not None
    assert answer(prepared)[1].startswith(b"MSA|" + code)
    assert (prepared.new.state, prepared.new.body) == (MessageState.REFUSED, None)
    assert prepared.new.digest != feed.prepare(raw + b"\r").new.digest  # type: ignore[union-attr]


def test_a_header_that_may_hold_a_patient_is_not_stored(feed: Feed) -> None:
    prepared = feed.prepare(
        adt(pv1(f7=ADA)).replace(b"|2.5.1||||||UNICODE UTF-8\r", b"|2.5.1 PID||Canary|||||Canary^Ann")
    )
    assert prepared.new is not None
    assert set(prepared.new.header.values()) == {""}
    assert not prepared.new.keep_answers
    (accepted,) = feed.store.inbox.accept([prepared.new], NOW)
    assert [one.body for one in feed.store.audit.acknowledgments(accepted.message_id)] == [b""]


@pytest.mark.parametrize(("unsupported", "code"), [("ignore", b"AA"), ("reject", b"AR")])
def test_other_types_are_as_the_feed_says(tmp_path: Path, unsupported: str, code: bytes) -> None:
    feed = Feed(tmp_path, unsupported=unsupported)
    assert answer(feed.prepare(adt(pv1(f7=ADA)).replace(b"ADT^A01", b"ORU^R01")))[1].startswith(b"MSA|" + code)


def test_a_feed_of_patients_alone_takes_no_staff(tmp_path: Path) -> None:
    feed = Feed(tmp_path, takes=("adt",), unsupported="reject")
    prepared = feed.prepare(staff_message(mfe(), stf()))
    assert answer(prepared)[1].startswith(b"MSA|AR")
    assert prepared.new is not None
    assert prepared.new.body is None


def test_a_staff_feed_takes_no_patients(tmp_path: Path) -> None:
    feed = Feed(tmp_path, takes=("staff",), unsupported="reject")
    assert answer(feed.prepare(adt(pv1(f7=ADA))))[1].startswith(b"MSA|AR")


# --- what is stored, and whom it asks about --------------------------------------------------------------------------


def test_the_first_mention_asks_and_the_others_are_counted(feed: Feed) -> None:
    (first,) = feed.take(adt(pv1(f7=ADA)))
    kept = feed.store.audit.body(first.message_id)
    assert kept is not None
    assert b"Canary" not in kept
    for _ in range(3):
        (later,) = feed.take(adt(pv1(f8=ADA)))
        message = feed.store.audit.message(later.message_id)
        assert message is not None
        assert (message["state"], message["records"], message["acknowledgments"]) == ("counted", [], [])
        assert feed.store.audit.body(later.message_id) is None
    assert feed.asked() == 1
    assert [row.id for row in feed.store.audit.messages(feed="visits")] == [first.message_id]
    assert len(feed.store.audit.messages(state="counted")) == 3
    assert len(feed.store.audit.messages(control_id="C1")) == 4


def test_only_the_unknown_of_a_message_are_asked_about(feed: Feed) -> None:
    feed.take(adt(pv1(f7=ADA)))
    (second,) = feed.take(adt(pv1(f7=ADA, f9=RUNA)))
    message = feed.store.audit.message(second.message_id)
    assert message is not None
    assert [len(record["deliveries"]) for record in message["records"]] == [0, 1]
    assert feed.asked() == 2


def test_many_at_once_ask_once(feed: Feed) -> None:
    """Prepared before any was committed, in one commit and in several, as a pipelining sender makes it."""
    feed.take(*(adt(pv1(f7=ADA)).replace(b"|C1|", f"|C{n}|".encode()) for n in range(20)), noticed=False)
    feed.take(adt(pv1(f7=ADA)).replace(b"|C1|", b"|D1|"), noticed=False)
    assert feed.asked() == 1


def test_a_restart_forgets_nobody_and_time_does(feed: Feed) -> None:
    feed.take(adt(pv1(f7=ADA)))
    feed.now += DAY / 2
    feed.intake = feed.started()
    assert len(feed.intake.known) == 1
    feed.take(adt(pv1(f7=ADA)))
    assert feed.asked() == 1
    feed.now += DAY / 2 + 1
    assert len(feed.started().known) == 0
    feed.take(adt(pv1(f7=ADA)))
    assert feed.asked() == 2


def test_whom_patients_mention_no_staff_source_answers_for(feed: Feed) -> None:
    """Else a whole file of the staff on the same feed would miss them, and a reconciliation find them active."""
    feed.take(adt(pv1(f7=ADA)), staff_message(mfe(), stf()))
    assert feed.asked() == 2
    assert feed.store.reconciliations.people("fhir") == [("visits", "K1")]


def test_what_is_not_committed_is_not_known(feed: Feed) -> None:
    feed.prepare(adt(pv1(f7=ADA)))
    feed.take(adt(pv1(f7=ADA)))
    assert feed.asked() == 1


def test_nobody_is_remembered_beyond_the_bound() -> None:
    known = KnownPractitioners(DAY, most=3)
    for number in range(5):
        known.note("fhir", f"K{number}", NOW + number)
    known.note("fhir", "K2", NOW + 9)
    known.note("fhir", "K9", NOW + 9)
    assert [known.knows("fhir", f"K{number}", NOW + 10) for number in (0, 1, 2, 3, 4, 9)] == [0, 0, 1, 0, 1, 1]
    assert not known.knows("other", "K9", NOW + 10)


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (adt(pv1(f7=ADA), event="A11"), "event-not-read"),
        (adt(pv1(f7=ADA), event="A98"), "unsupported-event"),
        (adt(pv1()), "no-practitioner"),
        (adt(pv1(f7="H1^Bello^Ife^^^^^^SOUTH")), "unmapped-authority"),
        (adt(pv1(f7="1234567890^Bello^Ife^^^^^^^^^^NPI")), "npi-check-digit"),
    ],
)
def test_why_a_message_is_only_counted(feed: Feed, body: bytes, note: str) -> None:
    new = feed.prepare(body).new
    assert new is not None
    assert (new.state, new.note, new.body, new.records) == (MessageState.COUNTED, note, None, ())


def test_rows_of_counted_messages_go_after_some_days(feed: Feed) -> None:
    feed.take(*(adt(event="A11") for _ in range(10)))
    left = []
    feed.now += 8 * DAY
    for _ in range(7):
        feed.take(adt(event="A11"))
        left.append(feed.store.audit.counts()["messages"]["counted"])
    assert left == [9, 8, 7, 6, 5, 6, 7]  # two go for one that comes, until none is old


def test_the_stored_message_is_read_to_the_same_records(feed: Feed) -> None:
    raw = adt(pv1(f7=f"{ADA}~Canary^X", f9=f"{RUNA}~H88^Bello^Ife^^^^^^NORTH"))
    (accepted,) = feed.take(raw)
    body = feed.store.audit.body(accepted.message_id)
    assert body is not None
    again = staff.translate(Message(body), feed.rules, MOMENT).records
    found = staff.translate(Message(raw), feed.rules, MOMENT).records
    assert [one.change for one in again] == [one.change for one in found]
    assert [one.change.source_key for one in again if one.change] == [
        f"{NPI}|1234567893",
        f"{NORTH}|H77",
        f"{NORTH}|H88",
    ]


def test_the_same_message_again_has_no_second_effect(feed: Feed) -> None:
    (first,) = feed.take(adt(pv1(f7=ADA)), noticed=False)
    (again,) = feed.take(adt(pv1(f7=ADA)), noticed=False)
    assert (again.duplicate_of, feed.asked()) == (first.message_id, 1)


# --- published messages ----------------------------------------------------------------------------------------------

_ABOUT_PATIENTS = {"PID": (3, 5, 9, 11, 13, 19), "NK1": (2, 4, 5), "IN1": (16, 36), "GT1": (3, 5), "MRG": (1,)}


def words_about_patients(raw: bytes) -> set[bytes]:
    """Words of six characters and more, with a letter, in fields that are the patient's or a relative's."""
    found: set[bytes] = set()
    for line in re.split(rb"[\r\n]+", raw):
        fields = line.split(b"|")
        for number in _ABOUT_PATIENTS.get(fields[0].decode("latin-1"), ()):
            if number < len(fields):
                found.update(re.findall(rb"(?=[^\^~&|]*[A-Za-z])[^\^~&|\\ ,.]{6,}", fields[number]))
    return found


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the published messages are not there: {CORPUS}")
def test_no_published_patient_reaches_the_disk(tmp_path: Path) -> None:
    """Words that stand in a header, a practitioner's field or our own texts as well are no trace."""
    feed = Feed(tmp_path)
    patients: set[bytes] = set()
    others: set[bytes] = set()
    codes: Counter[str] = Counter()
    for path in sorted(CORPUS.rglob("*.hl7")):
        raw = path.read_bytes()
        if path.parent.name in ("mfn", "pmu"):
            others.add(raw)
            continue
        for prepared in feed.intake.prepare(raw, "peer"):
            if prepared.new is not None:
                feed.store.inbox.accept([prepared.new], NOW)
                codes.update(one.code for one in prepared.new.acknowledgments if path.parent.name == "adt")
        patients |= words_about_patients(raw)
        others.update(
            line for line in re.split(rb"[\r\n]+", raw) if line[:3] in (b"MSH", b"PV1", b"PD1", b"ROL", b"PRT")
        )
    feed.store.close()
    told = b"\n".join(others)
    stored = b"".join(file.read_bytes() for file in sorted(tmp_path.iterdir()))
    words = {word for word in patients if word not in told}
    assert len(words) > 100
    assert not {word for word in words if word in stored}
    assert codes["AA"] > 20
    assert set(codes) <= {"AA", "AE", "AR", "CA", "CE", "CR", ""}
