"""Files that replace a whole master file (MFI-3 REP), compared with what their feed said before.

Records of such a file are applied as any other. That somebody is absent from it ends nobody by itself: who is absent is
listed, and where the feed asks for it, a deactivation of each is held for a person. Nothing of the kind is believed of a
file that may be less than the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hl7bridge.destinations.protocol import Destination
from hl7bridge.model import ABSENT, Action, StaffChange, Task
from hl7bridge.service.log import Log
from hl7bridge.service.outbound.schedule import Job, Turn, every
from hl7bridge.store.people.full_files import MISSING, FullFile, HeldEnd
from hl7bridge.store.store import Store

NEVER, REPORT, HOLD = "never", "report", "hold"
LOOK = 5.0  # seconds between two looks for files whose records have been delivered

LISTED, HELD = "listed", "held"
SWITCHED_OFF = "switched off"
NOBODY = "nobody is missing"
FAILED = "a record of the file could not be read: absence from it says nothing"
UNSETTLED = "a record of the file is held: absence from it says nothing"
TEXT = "The person is absent from a file that replaces its master file (MFI-3 REP)"


@dataclass(frozen=True, slots=True)
class FullFilePolicy:
    """What a feed's whole files lead to: `missing` "never" (not compared), "report" or "hold"; nothing when more than
    `most` percent of the active people are absent. `destinations`: those of the feed."""

    missing: str
    most: float
    destinations: Mapping[str, Destination]


def compare(store: Store, policies: Mapping[str, FullFilePolicy], now: float) -> list[tuple[FullFile, str, int]]:
    """Compare each file whose records have all been dealt with. (file, decision, missing people) of those decided here.
    Raises StoreError."""
    decided = []
    for file in store.whole_files.full_files():
        policy = policies.get(file.feed, FullFilePolicy(NEVER, 0.0, {}))
        reason = _not_believed(file, policy)
        if not reason and file.pending:
            continue
        active = {} if reason else _active(store, file, policy)
        there = store.whole_files.keys_of(file.message_id)
        missing = sorted(key for key in active if key not in there)
        decision = reason or _decision(policy, len(active), len(missing))
        held = [active[key] for key in missing] if decision == HELD else []
        task = _task(file, decision, len(missing)) if missing else None
        if store.whole_files.decide_full_file(
            file, decision, missing, len(active), now, hold=held, text=TEXT, task=task
        ):
            decided.append((file, decision, len(missing)))
    return decided


def _not_believed(file: FullFile, policy: FullFilePolicy) -> str:
    """Why absence from this file says nothing; "" when it does, or it is too early to tell."""
    if policy.missing == NEVER:
        return SWITCHED_OFF
    if file.part:
        return f"the file is not complete: {file.part}"
    if file.failed:
        return FAILED
    return UNSETTLED if file.unsettled and not file.pending else ""


def _decision(policy: FullFilePolicy, known: int, missing: int) -> str:
    if not missing:
        return NOBODY
    if missing * 100 > known * policy.most:
        return f"more than {policy.most:g} % of the active people are missing: a mistake, or not the whole file"
    return HELD if policy.missing == HOLD else LISTED


def _active(store: Store, file: FullFile, policy: FullFilePolicy) -> dict[str, HeldEnd]:
    """Who of the feed counts as active, by the staff key, and how their end would be held. Who was spoken of after the file
    came is no matter of it."""
    found: dict[str, HeldEnd] = {}
    for name, destination in policy.destinations.items():
        for _, key in store.reconciliations.people(name, file.feed):
            person = store.reconciliations.source_person(name, file.feed, key)
            if person.says is False or person.away or person.latest is None or person.received > file.received:
                continue
            if person.latest.only_if_missing:
                continue
            change = StaffChange(Action.DEACTIVATE, key, person.latest.identifiers, event_field=ABSENT)
            lanes = {**(found[key].lanes if key in found else {}), name: destination.lane_keys(change, file.feed)}
            found[key] = HeldEnd(change, lanes)
    return found


def _task(file: FullFile, decision: str, missing: int) -> Task:
    people = "One person" if missing == 1 else f"{missing} people"
    steps = [
        f"List them: hl7bridge reconcile --full-file {file.message_id}.",
        "Ask the owner of the feed whether they have left, or were left out by mistake.",
    ]
    if decision == HELD:
        steps.append(
            f"If they have left: hl7bridge hold release --all --cause {MISSING} --reason WHY. Else: hl7bridge hold discard."
        )
    else:
        steps.append(
            "If they have left, have the source send their deactivation: nobody is deactivated for being absent."
        )
    if decision not in (HELD, LISTED):
        steps.insert(0, f"Nothing was held: {decision}.")
    return Task(MISSING, f"{people} of feed {file.feed} absent from a file that replaces it", tuple(steps))


def job(policies: Mapping[str, FullFilePolicy], log: Log, clock: Callable[[], float] = time.time) -> Job:
    """Looks for whole files by the clock; one log line a file."""

    def run(turn: Turn) -> None:
        for file, decision, missing in compare(turn.store, policies, clock()):
            say = log.warning if missing else log.info
            say("full file compared", feed=file.feed, message_id=file.message_id, count=missing, text=decision)

    return Job("full files", every(LOOK), run, quick=True)
