"""One message on its way in: what to store of it, and what to answer, decided before anything is written.

`Intake.prepare` is synchronous and does no I/O, so that it can run on the reactor thread (small frames) or beside it
(large ones), and in tests without a socket. Its result, a `Prepared`, holds the `NewMessage` to commit with every
acknowledgment that is known by now, and how to refuse should the commit fail.

Rules: design.md section 5; HL7 v2 chapter 2.9 (acknowledgment), facts/peers.md section 2a (what odd frames get).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from hl7bridge.errors import MessageError, UnreadableMessage, UnsupportedMessage
from hl7bridge.hl7 import acknowledgment, batch
from hl7bridge.hl7.batch_acknowledgment import answer_to_empty
from hl7bridge.hl7.header import header_fields
from hl7bridge.hl7.message import Header, Message, read_header
from hl7bridge.intake import odd_frames
from hl7bridge.intake.acquaintance import KnownPractitioners
from hl7bridge.intake.answers import application_with_lines, build, new_control_id
from hl7bridge.intake.senders import Senders
from hl7bridge.intake.verdict import LARGE_FILE, Reading, check_size, go_on, let_others_run, read_at_once, read_in_parts
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import events, visits
from hl7bridge.mapping.messages.master_file import UNKNOWN_FILE
from hl7bridge.mapping.messages.record import why_nothing
from hl7bridge.model import Finding, Location, Record, RecordEcho, Refusal, StaffChange
from hl7bridge.store.store import (
    Acknowledgment,
    AcknowledgmentState,
    MessageState,
    NewDelivery,
    NewMessage,
    NewRecord,
    Part,
)

CLOSE = "close"
STORED_TEXT = "stored, delivery pending"
REPORT_TEXT = "stored, report only"
PERHAPS_TEXT = "stored"
UNDATED_TEXT = "stored, it is not certain when it applies"
LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)
"""What is due later than its begin waits for it: nobody could say in UTC or as local time when else it is due."""
NOT_STAFF_TEXT = "stored, it is not certain that it is about staff"


class Addressee(Protocol):
    """A destination, as far as a message on its way in needs it: pure, and asks no server."""

    def lane_keys(self, change: StaffChange, feed: str) -> tuple[str, ...]:
        """Opaque keys; deliveries that share one are made one after the other, in order."""

    def is_written(self, change: StaffChange, feed: str) -> bool | None:
        """Whether what the change leads to is written there (False: it is only reported; None: it depends)."""


@dataclass(frozen=True, slots=True)
class FeedPolicy:
    """What a feed's settings say about taking and answering messages (plain values, handed down from config).

    `answers` False: nobody waits for an answer; what original mode would answer is kept with the message instead."""

    name: str
    rules: FeedRules
    destinations: Mapping[str, Addressee]
    charset: str | Sequence[str] = "utf-8"
    processing_ids: frozenset[str] = frozenset({"P"})
    unsupported: str = "reject"
    mode: acknowledgment.Mode = "as-asked"
    acknowledge_when: str = "stored"
    ack_deadline: float = 4.0
    when_pending: str = "accept"
    acknowledge_for: tuple[str, ...] = ()
    application_acknowledgment_to: str = ""
    duplicate_window: float = 7 * 86400.0
    codes: Mapping[Refusal, str] = field(default_factory=dict)
    recheck: float = 86400.0
    answers: bool = True

    def code(self, refusal: Refusal) -> str:
        """The acknowledgment code of a refusal in original mode (`AE`, `AR`, `CE`...), or "close"."""
        return self.codes.get(refusal) or _DEFAULT_CODES[refusal]

    def asked(self, header: Header) -> acknowledgment.AnswersAsked:
        """The answers that a message is due, by its MSH-15 and MSH-16 as far as the feed heeds them."""
        return acknowledgment.asked(header, self.mode) if self.answers else acknowledgment.AnswersAsked("original")

    def answering(self) -> tuple[str, ...]:
        """The destinations whose outcomes an acknowledgment waits for."""
        return self.acknowledge_for or tuple(self.destinations)


_DEFAULT_CODES = {
    Refusal.CONTENT: "AE",
    Refusal.UNSUPPORTED: "AR",
    Refusal.UNAVAILABLE: "AR",
    Refusal.MIXED: "AE",
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message ready to commit. `new` None: consumed and counted, nothing is stored (`counted` says as what), and nothing
    answered but `answer`.

    `refuse()` builds the answer for a commit that failed: bytes, None (none is asked for), or CLOSE.
    """

    new: NewMessage | None
    header: Header
    counted: str
    refuse: Callable[[], bytes | str | None] = lambda: None
    answer: bytes = b""


class Intake:
    """The rules of one feed, applied to one frame at a time. Thread-safe: what changes is `known` alone, and only by
    `stored`."""

    def __init__(
        self,
        policy: FeedPolicy,
        secret: bytes,
        clock: Callable[[], float] = time.time,
        known: KnownPractitioners | None = None,
        came: float = 0.0,
    ) -> None:
        """`secret`: 32 random bytes of the store, the key of the hash over messages whose bytes must not be kept. `known`:
        the practitioners whom earlier patient messages named. `came`: Unix seconds at which the last message came before,
        by a clock that may have been set back since."""
        self.policy = policy
        self.known = known or KnownPractitioners(policy.recheck)
        self._secret = secret
        self._clock = clock
        self._came = came

    # -- one frame --

    def prepare(self, body: bytes, peer: str, *, defect: str = "", slices: bool = False) -> list[Prepared]:
        """The messages of one frame, in order, each ready to commit. Never raises for what the bytes hold.

        `defect`: a local code of the MLLP decoder (a start or end block inside the content). `slices`: let other
        threads run between slices of a large message.
        """
        messages = self.split(body).messages
        alone = len(messages) == 1
        return [self.prepare_one(raw, peer, defect, slices=slices, alone=alone) for raw in messages]

    def for_files(self) -> Intake:
        """The same for messages from files: nobody is answered, and so no verdict waits for a delivery."""
        other = copy(self)
        other.policy = replace(self.policy, answers=False, acknowledge_when="stored")
        return other

    def split(self, body: bytes) -> batch.Batch:
        """The messages of a frame, in order (`batch.split`)."""
        return batch.split(body)

    def unread(self, head: bytes, size: int, peer: str, local: str = odd_frames.TOO_LARGE) -> Prepared:
        """A frame that is not read (odd_frames): refused with the control id of its head, none of it is kept."""
        header = odd_frames.header_of(head) or odd_frames.no_header()
        if local == odd_frames.UNFINISHED and acknowledgment.is_acknowledgment(header):
            return Prepared(None, header, "acknowledgment")
        return self._refused(header, head, peer, odd_frames.refusal(local), keep=False, size=size)

    def empty_batch(self, body: bytes) -> Prepared:
        """Batch or file headers and trailers without a message: answered in kind, nothing is stored."""
        answer = answer_to_empty(body, new_control_id(), datetime.now(UTC))
        return Prepared(None, odd_frames.no_header(), "empty-batch", answer=answer)

    def prepare_one(
        self,
        raw: bytes,
        peer: str,
        defect: str = "",
        *,
        slices: bool = False,
        alone: bool = True,
        senders: Senders | None = None,
    ) -> Prepared:
        """One message, as `prepare` says. `alone`: it came by itself, and not as one of a batch. `senders`: who it may say
        that it comes from; None = anybody."""
        try:
            header = read_header(raw)
            # No text about a patient is kept, and no record is lost because its note quotes one.
            said = visits.without_quoted_patient(raw, header.separators)
            quotes = said != raw
            header, raw = (read_header(said), said) if quotes else (header, raw)
        except MessageError as error:
            # No MSH to answer to: the default header makes a NAK with an empty MSA-2, which beats silence.
            error.refusal = Refusal.UNSUPPORTED
            return self._refused(odd_frames.no_header(), raw, peer, error, keep=False)
        if visits.is_answer(header, raw):
            return Prepared(None, header, "acknowledgment")
        if senders is not None and (not_theirs := senders.refusal(header)) is not None:
            return self._refused(header, raw, peer, not_theirs, keep=False)
        family, takes = events.family(header), self.policy.rules.takes
        staff_message = family in events.TAKEN and "staff" in takes
        of_patient = staff_message and visits.holds_patient(raw)
        # Beside patient messages, what cannot be read cannot be told apart from them.
        keep = staff_message and not of_patient and "adt" not in takes
        try:
            self._check_header(header)
            check_size(raw, self.policy.rules.caps)
            if defect:
                raise odd_frames.block_inside(raw, header, defect)
            if family == events.ADT and "adt" in takes:
                if visits.holds_staff(raw):
                    text = "segments about staff stand in what MSH-9 calls a patient message: it is not read"
                    raise UnreadableMessage("100", "staff-segments", text, Location("MSH", field=9))
                return self._visit(header, raw, peer)
            if not staff_message:
                return self._not_ours(header, raw, peer)
            if of_patient:
                text = "segments about a patient stand in a staff message: it is not read, and not kept"
                raise UnreadableMessage("100", "patient-segments", text)
            reading = self._read(header, raw, slices)
            if quotes:
                reading.findings.append(visits.PATIENT_LEFT_OUT)
            return self._translated(reading, raw, peer, alone)
        except MessageError as error:
            return self._refused(header, raw, peer, error, keep=keep)
        except (
            Exception
        ) as error:  # a defect must not stay unanswered: the sender would repeat the same bytes again and again
            text = f"A fault of this service ({type(error).__name__}): the message could not be read"
            fault = MessageError("207", "internal-error", text)
            return self._refused(header, raw, peer, fault, keep=keep)

    def _check_header(self, header: Header) -> None:
        if not header.message_type:
            raise _required(9, "MSH-9 (message type) is empty: the message cannot be dispatched")
        if not header.control_id:
            raise _required(10, "MSH-10 (message control id) is empty: an answer could not be correlated")
        allowed = self.policy.processing_ids
        if allowed and header.processing_id and header.processing_id not in allowed:
            raise UnsupportedMessage(
                "202",
                "processing-id",
                "MSH-11 (processing id) is not the one that this service takes (processing_id)",
                Location("MSH", field=11),
            )

    def _not_ours(self, header: Header, raw: bytes, peer: str) -> Prepared:
        """What is not a staff message: header only, never the body, which may hold a patient."""
        error = events.unsupported(header)
        # What may be about staff is not lost in silence, however its MSH-9 is damaged.
        may_be_ours = events.names_staff(header) or visits.holds_staff(raw)
        if self.policy.unsupported != "ignore" or may_be_ours:
            return self._refused(header, raw, peer, error, keep=False)
        acks = self._acknowledgments(header, "AA", "CA", text="not taken, ignored")
        new = self._new(header, raw, peer, MessageState.IGNORED, None, acknowledgments=acks, note=error.finding.local)
        return Prepared(new, header, "ignored", self._unavailable(header))

    def _visit(self, header: Header, raw: bytes, peer: str) -> Prepared:
        """A patient message on a feed that takes them: of whom it names, only people whom nobody was asked about lately lead
        to deliveries, and what is stored is rebuilt without the patient. The answer waits for no delivery: it is about the
        message, and nothing that becomes of a practitioner concerns its sender."""
        if not visits.is_read(header):
            note = "event-not-read" if events.trigger_event(header) in visits.NOT_READ else "unsupported-event"
            return self._counted(header, raw, peer, self._acknowledgments(header, "AA", "CA"), note)
        message, now = Message(raw, self.policy.charset), self._clock()
        acks = self._acknowledgments(header, "AA", "CA", findings=message.line_feed_findings(message.segments))
        opening = visits.VisitMessage(message, self.policy.rules, datetime.fromtimestamp(now, UTC))
        if (named := opening.named_before()) and all(self._knows(key, now) for key in named):
            return self._counted(header, raw, peer, acks, "known")
        records = tuple(NewRecord(record, self._unknown(record.change, now)) for record in opening.records())
        if not any(record.deliveries for record in records):
            return self._counted(header, raw, peer, acks, "known" if records else _why_nobody(opening.findings))
        body = visits.stored_form(message, opening)
        new = self._new(
            header,
            raw,
            peer,
            MessageState.ACCEPTED,
            body,
            records=records,
            acknowledgments=acks,
            mapping_version=self.policy.rules.mapping_version,
        )
        return Prepared(replace(new, recheck=self.known.recheck), header, new.state.value, self._unavailable(header))

    def _unknown(self, change: StaffChange | None, now: float) -> tuple[NewDelivery, ...]:
        """Deliveries to the destinations that were not asked about the person lately."""
        key, known = change.source_key if change else "", self.known
        if self._knows(key, now):
            return ()
        return tuple(new for new in self._deliveries(change, now) if not known.knows(new.destination, key, now))

    def _knows(self, key: str, now: float) -> bool:
        """Whether every destination was asked about the person lately."""
        return all(self.known.knows(name, key, now) for name in self.policy.destinations)

    def _counted(self, header: Header, raw: bytes, peer: str, acks: tuple[Acknowledgment, ...], note: str) -> Prepared:
        """A patient message with nothing to do: a row, so that it can be found, and outside the duplicate rule, for it has
        no effect to be repeated."""
        new = self._new(header, raw, peer, MessageState.COUNTED, None, acknowledgments=acks, note=note)
        return Prepared(new, header, "counted", self._unavailable(header))

    def stored(self, new: NewMessage) -> None:
        """The message is committed: whom it asks about is known from here on. Call it on one thread."""
        for record in new.records:
            if record.record.change is not None and record.record.change.only_if_missing:
                for delivery in record.deliveries:
                    self.known.note(delivery.destination, record.record.change.source_key, new.received)

    def _read(self, header: Header, raw: bytes, slices: bool) -> Reading:
        policy, now = self.policy, self._clock()
        pause = let_others_run if slices else go_on

        def deliveries(change: StaffChange | None) -> tuple[NewDelivery, ...]:
            return self._deliveries(change, now)

        line = partial(mfa_line, policy)
        if len(raw) > LARGE_FILE and events.family(header) == events.STAFF:
            return read_in_parts(raw, header, policy.charset, policy.rules, now, deliveries, line, pause)
        return read_at_once(Message(raw, policy.charset), policy.rules, now, deliveries, line, pause)

    # -- verdicts --

    def _translated(self, reading: Reading, raw: bytes, peer: str, alone: bool) -> Prepared:
        header, policy, now = reading.message.header, self.policy, self._clock()
        if reading.all_failed:
            state, code = MessageState.REFUSED, policy.code(Refusal.CONTENT)
        elif reading.failed:
            state, code = MessageState.ACCEPTED, policy.code(Refusal.MIXED)
        else:
            state, code = MessageState.ACCEPTED, "AA"

        def application(kind: str) -> bytes:
            return application_with_lines(
                reading.message,
                kind,
                code,
                reading.lines,
                reading.findings,
                fallback_version=policy.rules.fallback_version,
            )

        wanted = self._asked(header)
        acks: list[Acknowledgment] = []
        if wanted.mode == "original":
            waits = policy.acknowledge_when == "delivered" and reading.delivers
            if waits:
                acks.append(Acknowledgment("original", AcknowledgmentState.PENDING, due=now + policy.ack_deadline))
            else:
                body = application("original")
                acks.append(_ready("original", code, body))
        else:
            # An accept acknowledgment never judges content: a content error is CA, the bytes are held for a person.
            if wanted.wants_accept(True):
                acks.append(_ready("accept", "CA", self._accept(header, "CA")))
            asks = wanted.wants_application(True) or wanted.wants_application(False)
            if asks and reading.delivers:
                acks.append(Acknowledgment("application", AcknowledgmentState.PENDING))
            elif wanted.wants_application(code == "AA"):
                body = application("application")
                acks.append(_ready("application", code, body))
        new = self._new(
            header,
            raw,
            peer,
            state,
            raw,
            records=reading.records,
            parts=reading.parts,
            acknowledgments=tuple(acks) or (Acknowledgment("original", AcknowledgmentState.NONE, code, code == "AA"),),
            mapping_version=reading.mapping_version,
        )
        if any(finding.local == "replace-as-update" for finding in reading.findings):
            new = replace(new, header={**new.header, **reading.whole_file(alone)})
        return Prepared(new, header, state.value, self._unavailable(header))

    def _refused(
        self,
        header: Header,
        raw: bytes,
        peer: str,
        error: MessageError,
        *,
        keep: bool,
        size: int = 0,
    ) -> Prepared:
        policy = self.policy
        code = policy.code(error.refusal)
        accept_code = _accept_code(error, kept=keep, asked=self._asked(header))
        acks = self._acknowledgments(header, code, accept_code, findings=(error.finding,), text=str(error))
        new = self._new(
            header,
            raw,
            peer,
            MessageState.REFUSED,
            raw if keep else None,
            records=(NewRecord(Record(1, RecordEcho(), None, (error.finding._replace(position=1),))),),
            acknowledgments=acks,
            note=error.finding.local,
            size=size,
        )
        return Prepared(new, header, "refused", self._unavailable(header))

    def _acknowledgments(
        self, header: Header, code: str, accept_code: str, findings: Sequence[Finding] = (), text: str = ""
    ) -> tuple[Acknowledgment, ...]:
        """What MSH-15/16 ask for when nothing is delivered: the verdict is known at once."""
        wanted = self._asked(header)
        if wanted.mode == "original":
            if code == CLOSE:
                return (Acknowledgment("original", AcknowledgmentState.NONE, CLOSE),)
            return (_ready("original", code, self._build(header, "original", code, findings=findings, text=text)),)
        acks = []
        taken = accept_code == "CA"
        if wanted.wants_accept(taken):
            body = self._build(
                header, "accept", accept_code, findings=() if taken else findings, text="" if taken else text
            )
            acks.append(_ready("accept", accept_code, body))
        # After CR or CE the exchange is over; without an accept acknowledgment the application one carries the verdict.
        if (taken or not wanted.wants_accept(False)) and wanted.wants_application(code == "AA"):
            final = code if code != CLOSE else "AR"
            acks.append(
                _ready("application", final, self._build(header, "application", final, findings=findings, text=text))
            )
        if not acks:
            positive = code == "AA"
            acks.append(Acknowledgment("original", AcknowledgmentState.NONE, code, positive))
        return tuple(acks)

    def _asked(self, header: Header) -> acknowledgment.AnswersAsked:
        return self.policy.asked(header)

    def _build(self, header: Header, kind: str, code: str, **given: Any) -> bytes:
        return build(header, kind, code, fallback_version=self.policy.rules.fallback_version, **given)

    def _accept(self, header: Header, code: str) -> bytes:
        return self._build(header, "accept", code)

    def _unavailable(self, header: Header) -> Callable[[], bytes | str | None]:
        """How to refuse when the commit failed or the service is stopping: nothing positive, nothing stored."""

        def refuse() -> bytes | str | None:
            finding = Finding("207", "unavailable", "The message could not be stored; send it again")
            wanted = self._asked(header)
            if wanted.mode == "original":
                code = self.policy.code(Refusal.UNAVAILABLE)
                if code == CLOSE:
                    return CLOSE
                return self._build(header, "original", code, findings=(finding,), text=finding.text)
            if wanted.wants_accept(False):
                return self._build(header, "accept", "CE", findings=(finding,), text=finding.text)
            if wanted.wants_application(False):
                return self._build(header, "application", "AR", findings=(finding,), text=finding.text)
            return None

        return refuse

    # -- what is stored --

    def _deliveries(self, change: StaffChange | None, now: float) -> tuple[NewDelivery, ...]:
        self._came = max(self._came, now)
        return new_deliveries(self.policy, change, now, came=self._came)

    def _new(
        self,
        header: Header,
        raw: bytes,
        peer: str,
        state: MessageState,
        body: bytes | None,
        *,
        records: tuple[NewRecord, ...] = (),
        parts: tuple[Part, ...] = (),
        acknowledgments: tuple[Acknowledgment, ...] = (),
        mapping_version: str = "",
        note: str = "",
        size: int = 0,
    ) -> NewMessage:
        as_received = body is raw
        to_repeat = header.control_id and state is not MessageState.COUNTED
        digest = hashlib.sha256(raw).digest() if as_received else hmac.digest(self._secret, raw, "sha256")
        fields, sound = header_fields(header), as_received or visits.is_sound(header)
        if not sound:  # something of a patient may have been moved into it
            fields = dict.fromkeys(fields, "")
        return NewMessage(
            feed=self.policy.name,
            received=self._clock(),
            header=fields,
            digest=digest,
            size=size or len(raw),
            body=body,
            state=state,
            records=records,
            parts=parts,
            acknowledgments=acknowledgments,
            duplicate_window=self.policy.duplicate_window if to_repeat else 0.0,
            mapping_version=mapping_version,
            peer=peer,
            note=note,
            keep_answers=sound,
        )


def new_deliveries(
    policy: FeedPolicy, change: StaffChange | None, now: float, *, first_received: float = 0.0, came: float = 0.0
) -> tuple[NewDelivery, ...]:
    """One delivery per destination of the feed; none for a record without a change.

    A scheduled change is ordered by its effective time, any other by the earlier of MSH-7 and receipt: a clock that is
    ahead must not make every later message of that person stale. Where MSH-7 has no seconds, or is a local time that occurs
    twice, the order is that of arrival. `first_received`: Unix seconds at which a message that is replayed first came; it
    is no younger than that, whatever its MSH-7 says. `came`: when the last message came; one that comes after it did not
    come earlier, although our clock was set back since.
    """
    if change is None:
        return ()
    not_before, order_time = 0.0, ""
    if change.effective:
        effective = min(datetime.fromisoformat(change.effective), LAST_DAY)
        not_before = effective.timestamp()
        order_time = _in_utc(effective)
    if not_before <= now:
        not_before, order_time = 0.0, _ordered_by(change, max(now, came), first_received)
    return tuple(
        NewDelivery(name, addressee.lane_keys(change, policy.name), not_before, order_time)
        for name, addressee in policy.destinations.items()
    )


def _ordered_by(change: StaffChange, now: float, first_received: float) -> str:
    # MSH-7 mostly has whole seconds: with a part of one, receipt would seem later than what was sent behind it.
    received = datetime.fromtimestamp(int(first_received or now), UTC)
    if change.message_time and change.message_time_exact:
        return _in_utc(min(datetime.fromisoformat(change.message_time), received))
    return _in_utc(received) if first_received else ""


def _in_utc(moment: datetime) -> str:
    """As the stale rule compares it; "" for a moment that UTC cannot tell (the last hours of 9999 west of it)."""
    try:
        return moment.astimezone(UTC).isoformat(timespec="milliseconds")
    except OverflowError:
        return ""


def mfa_line(policy: FeedPolicy, record: Record) -> acknowledgment.MfaLine:
    """What the answer says of a record when its deliveries are pending or not needed."""
    if record.failed:
        text = next((f.local for f in record.findings if f.severity == "E"), "refused")
        return acknowledgment.MfaLine(record.echo, False, text)
    if record.change is None:
        return acknowledgment.MfaLine(record.echo, True, why_nothing(record))
    if record.change.effective and datetime.fromisoformat(record.change.effective).timestamp() > time.time():
        return acknowledgment.MfaLine(record.echo, True, f"scheduled for {record.change.effective}")
    return acknowledgment.MfaLine(record.echo, True, stored_text(policy, record.change))


def stored_text(policy: FeedPolicy, change: StaffChange | None) -> str:
    """What MFA-4 says of a record that is stored: nothing of a delivery that the modes of its destinations may rule out."""
    if change is None:
        return STORED_TEXT
    if change.undated:
        return NOT_STAFF_TEXT if change.undated == UNKNOWN_FILE else UNDATED_TEXT
    written = {addressee.is_written(change, policy.name) for addressee in policy.destinations.values()}
    if written <= {True}:
        return STORED_TEXT
    return REPORT_TEXT if written == {False} else PERHAPS_TEXT


def _ready(kind: str, code: str, body: bytes) -> Acknowledgment:
    return Acknowledgment(kind, AcknowledgmentState.OWED, code, code in ("AA", "CA"), body)


def _why_nobody(findings: Sequence[Finding]) -> str:
    """Why a patient message gives no practitioner: for lists, which count what a feed's table has no system for."""
    said = {finding.local for finding in findings}
    return next((local for local in ("unmapped-authority", "npi-check-digit") if local in said), "no-practitioner")


def _accept_code(error: MessageError, *, kept: bool, asked: acknowledgment.AnswersAsked) -> str:
    """What an accept acknowledgment says of a message that is refused. It never judges content (2.9.3.1): by it the sender
    only learns whether to send the message again. CR is for what the feed does not take, CA for the rest: its bytes are
    kept, or the application acknowledgment says what is wrong. Where neither is so, CA would lose it."""
    if error.refusal is Refusal.UNSUPPORTED:
        return "CR"
    return "CA" if kept or asked.wants_application(False) else "CE"


def _required(number: int, text: str) -> UnsupportedMessage:
    return UnsupportedMessage("101", f"missing-msh-{number}", text, Location("MSH", field=number))
