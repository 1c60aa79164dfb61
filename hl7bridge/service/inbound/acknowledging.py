"""Acknowledgments that wait for outcomes: `acknowledge_when = "delivered"`, and every application acknowledgment.

A thread of its own looks at the store when the delivery role says that something settled (a hint), and a few times a
second while anything is pending. It builds the answer from what is known, commits it, and only then hands it out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from hl7bridge.destinations.reasons import DECIDED_BY_A_PERSON, FORBIDDEN, NOT_OFFERED, UNDATED
from hl7bridge.errors import Hl7BridgeError, MessageError, StoreError
from hl7bridge.hl7 import acknowledgment
from hl7bridge.hl7.message import Message
from hl7bridge.intake.answers import application_with_lines
from hl7bridge.intake.intake import CLOSE, PERHAPS_TEXT, STORED_TEXT, FeedPolicy, stored_text
from hl7bridge.mapping.messages.master_file import UNKNOWN_FILE
from hl7bridge.mapping.messages.record import why_nothing
from hl7bridge.model import ENDED_WELL, Finding, Refusal, Result, Severity, StaffChange
from hl7bridge.service.lasting import lasting
from hl7bridge.store.store import (
    OPEN_LANE,
    Acknowledgment,
    AcknowledgmentState,
    DeliveryState,
    DeliveryStatus,
    PendingAcknowledgment,
    RecordStatus,
    Store,
)

CLOCK_SLACK = 1.0  # seconds by which a deadline may seem too far off
LOOK_EVERY = 0.2  # seconds between looks at the store while something is pending and no hint comes
BREATH = 0.02  # seconds between two looks however many hints come

WITHDRAWN = "A destination is not available; the message is withdrawn, send it again"
UNDER_WAY = "A destination did not answer in time; a part of the message is under way or done, send it again"

_FAILED_ONCE = (DeliveryState.RETRY, DeliveryState.UNKNOWN)

Send = Callable[[PendingAcknowledgment, bytes | None], None]
"""Hands a committed acknowledgment to its connection; None = close without one, or none is asked for."""


@dataclass(frozen=True, slots=True)
class RecordVerdict:
    """How one record stands for its sender. `settled` False: still open. `text` goes into MFA-4, with no value in it."""

    settled: bool
    success: bool
    text: str
    completed: float = 0.0
    finding: Finding | None = None
    troubled: bool = False


def record_verdict(
    status: RecordStatus, answering: Sequence[str], stored: Callable[[StaffChange | None], str] = lambda _: STORED_TEXT
) -> RecordVerdict:
    """What is known of one record over the destinations that an acknowledgment waits for. Pure.

    `stored` says what to answer while nothing is known. What is held for a person's decision is a success for its sender:
    it is kept, and would be held again however often it was sent.
    """
    record = status.record
    if record.failed:
        local = next((f.local for f in record.findings if f.severity is Severity.ERROR), "refused")
        return RecordVerdict(True, False, local)
    deliveries = [status.deliveries[name] for name in answering if name in status.deliveries]
    if not deliveries:
        return RecordVerdict(True, True, why_nothing(record))
    refused = next((d for d in deliveries if _refused(d)), None)
    if refused is not None:
        local = refused.local or ("withdrawn" if refused.result is Result.WITHDRAWN else "held")
        finding = Finding(refused.code or "207", local, refused.text or "Not delivered", position=status.position)
        return RecordVerdict(True, False, local, refused.ended, finding)
    waiting = [d for d in deliveries if d.state in OPEN_LANE]
    if waiting:
        troubled = any(d.state in _FAILED_ONCE for d in waiting)
        return RecordVerdict(False, True, stored(record.change), troubled=troubled)
    held = next((d for d in deliveries if d.state is DeliveryState.HELD), None)
    if held is not None:
        return RecordVerdict(True, True, _HELD_WELL[held.local])
    if any(d.state is DeliveryState.SCHEDULED for d in deliveries):
        when = record.change.effective if record.change else ""
        return RecordVerdict(True, True, f"scheduled for {when}")
    last = max(deliveries, key=lambda d: d.ended)
    return RecordVerdict(True, True, _TEXTS.get(last.result or Result.UNCHANGED, str(last.result)), last.ended)


_TEXTS = {
    Result.REPORTED: "report mode, nothing written",
    Result.NOTHING_TO_DO: "nothing to do",
    Result.STALE: "stale, not applied",
    Result.SUPERSEDED: "superseded",
    Result.UNCHANGED: "unchanged",
}

_SAID_AS_SUCCESS = ENDED_WELL | {Result.STALE, Result.SUPERSEDED}


_HELD_WELL = dict.fromkeys(DECIDED_BY_A_PERSON, "held for approval")
_HELD_WELL |= dict.fromkeys(UNDATED, "held, it is not certain when it applies")
_HELD_WELL[UNKNOWN_FILE] = "held, it is not certain that it is about staff"
_HELD_WELL |= dict.fromkeys((FORBIDDEN, NOT_OFFERED), "held, the server does not take it")


def _refused(delivery: DeliveryStatus) -> bool:
    if delivery.state is DeliveryState.HELD:
        return delivery.local not in _HELD_WELL
    return delivery.state is DeliveryState.ENDED and delivery.result not in _SAID_AS_SUCCESS


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole message: `code` for MSA-1, or None while it must still wait. `withdraw`: the engine owns the resend."""

    code: str | None
    lines: tuple[acknowledgment.MfaLine, ...] = ()
    findings: tuple[Finding, ...] = ()
    text: str = ""
    withdraw: bool = False


def message_verdict(
    policy: FeedPolicy, pending: PendingAcknowledgment, statuses: Sequence[RecordStatus], now: float, *, down: bool
) -> Verdict:
    """What to answer now, if anything. `down`: a destination that must succeed is known to be out of reach. Pure."""
    stored = partial(stored_text, policy)
    verdicts = [record_verdict(status, policy.answering(), stored) for status in statuses]
    open_records = [v for v in verdicts if not v.settled]
    # Withdrawn and not yet answered: a stop came in between. The answer is still that of the one who withdrew.
    refuse = any(d.result is Result.WITHDRAWN for status in statuses for d in status.deliveries.values())
    if open_records and not refuse:
        if pending.kind == "application":
            return Verdict(None)
        troubled = down or any(v.troubled for v in open_records)
        # A deadline further off than it can be was written down before the clock was set back.
        if not troubled and 0 < pending.due - now <= policy.ack_deadline + CLOCK_SLACK:
            return Verdict(None)
        refuse = policy.when_pending == "refuse"
    if refuse:
        # No record of a message that is refused is said to be stored: some engines read MFA alone.
        late = RecordVerdict(False, False, "not delivered in time")
        verdicts = [v if v.settled else late for v in verdicts]
    lines = tuple(
        acknowledgment.MfaLine(status.record.echo, v.success, v.text, _hl7_time(v.completed))
        for status, v in zip(statuses, verdicts, strict=True)
    )
    findings = tuple(f for status in statuses for f in status.record.findings)
    findings += tuple(v.finding for v in verdicts if v.finding)
    if refuse:
        return Verdict(policy.code(Refusal.UNAVAILABLE), lines, findings, WITHDRAWN, withdraw=True)
    failed = sum(1 for v in verdicts if not v.success)
    if not failed:
        code = "AA"
        texts = {v.text for v in open_records}
        what = texts.pop() if len(texts) == 1 else PERHAPS_TEXT
        text = f"{len(open_records)} of {len(verdicts)} records {what}" if open_records else ""
    else:
        code = policy.code(Refusal.CONTENT if failed == len(verdicts) else Refusal.MIXED)
        text = ""
    return Verdict(code, lines, findings, text)


def _hl7_time(moment: float) -> str:
    return acknowledgment.hl7_time(datetime.fromtimestamp(moment, UTC)) if moment else ""


class Acknowledger(threading.Thread):
    """Looks, builds, commits, hands out. `send` is called on this thread."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        policies: Mapping[str, FeedPolicy],
        send: Send,
        *,
        is_down: Callable[[Store, str], bool] = lambda store, name: False,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`is_down(store, destination)`: known to be out of reach; `failed(text)` reports a store that did not answer."""
        super().__init__(name="acknowledger", daemon=True)
        self._open_store, self._policies, self._send = open_store, policies, send
        self._is_down, self._failed = is_down, failed
        self._wake = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        self._asked: set[tuple[int, str]] = set()
        self._expected = True  # after a restart the store may hold pending ones of before

    def expect(self, message_id: int, kind: str) -> None:
        """Somebody waits for this acknowledgment; if it was built meanwhile, it is handed out again."""
        with self._lock:
            self._asked.add((message_id, kind))
        self._expected = True
        self._wake.set()

    def hint(self) -> None:
        """Something settled: look now."""
        self._wake.set()

    def stop(self) -> None:
        """One last look, then the thread ends."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """The loop; ends after `stop`."""
        lasting(self._work, self._failed, lambda: self._stopping)

    def _work(self) -> None:
        store = self._open_store()
        try:
            while True:
                self._wake.wait(LOOK_EVERY if self._expected or self._asked else None)
                self._wake.clear()
                try:
                    self._look(store)
                except Hl7BridgeError as error:
                    self._failed(str(error))
                except Exception as error:  # a thread that died would leave every sender waiting
                    self._failed(f"a defect ({type(error).__name__})")
                if self._stopping:
                    return
                time.sleep(BREATH)
        finally:
            store.close()

    def _look(self, store: Store) -> None:
        self._expected = False
        with self._lock:
            asked = set(self._asked)  # before looking: what is committed and asked for meanwhile is not in `waiting`
        waiting = store.audit.pending_acknowledgments()
        self._hand_out_again(store, asked - {(pending.message_id, pending.kind) for pending in waiting})
        self._expected = self._expected or bool(waiting)
        ripe = [pending for pending in waiting if self._may_be_ripe(pending)]
        statuses = store.audit.statuses([pending.message_id for pending in ripe])
        for pending in ripe:
            policy = self._policies.get(pending.feed)
            if policy is None:
                continue
            try:
                self._answer(store, policy, pending, statuses.get(pending.message_id, []))
            except StoreError as error:
                self._failed(str(error))  # the next look tries again; the others are not kept waiting
            except Exception as error:  # a fault of ours with this one must not silence the others
                self._failed(f"message {pending.message_id}: a defect ({type(error).__name__})")

    def _may_be_ripe(self, pending: PendingAcknowledgment) -> bool:
        """Whether a closer look is worth it: a destination that is down for hours leaves thousands waiting."""
        policy = self._policies.get(pending.feed)
        return not pending.is_open or pending.kind == "original" or bool(policy and policy.acknowledge_for)

    def _hand_out_again(self, store: Store, built: set[tuple[int, str]]) -> None:
        """What somebody asked for and was built before they asked (the outcome was faster, or it is a duplicate)."""
        with self._lock:
            self._asked -= built
        for message_id, kind in built:
            kept = next((a for a in store.audit.acknowledgments(message_id) if a.kind == kind), None)
            body = kept.body if kept and kept.body else None
            self._send(PendingAcknowledgment(0, message_id, "", kind, 0.0), body)

    def _answer(
        self, store: Store, policy: FeedPolicy, pending: PendingAcknowledgment, statuses: Sequence[RecordStatus]
    ) -> None:
        now = time.time()
        down = pending.kind == "original" and any(self._is_down(store, name) for name in policy.answering())
        verdict = message_verdict(policy, pending, statuses, now, down=down)
        if verdict.code is None:
            return
        text = verdict.text
        if verdict.withdraw and not store.settlements.withdraw(pending.message_id, now):
            text = UNDER_WAY
        raw = store.audit.body(pending.message_id)
        if raw is None:
            return
        try:
            message = Message(raw, policy.charset)
        except MessageError:
            return
        wanted = policy.asked(message.header)
        positive = verdict.code in ("AA", "CA")
        silent = verdict.code == CLOSE or (pending.kind == "application" and not wanted.wants_application(positive))
        if silent:
            body: bytes | None = None
            kept = Acknowledgment(pending.kind, AcknowledgmentState.NONE, verdict.code, positive)
        else:
            body = application_with_lines(
                message,
                pending.kind,
                verdict.code,
                verdict.lines,
                verdict.findings,
                text,
                fallback_version=policy.rules.fallback_version,
            )
            kept = Acknowledgment(pending.kind, AcknowledgmentState.OWED, verdict.code, positive, body)
        store.inbox.acknowledged(pending.message_id, pending.kind, kept, now)
        with self._lock:
            self._asked.discard((pending.message_id, pending.kind))
        self._send(pending, body)
