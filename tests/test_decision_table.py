"""Which FHIR interaction follows from which event: the decision table, a row at a time; ADT: test_decision_table_adt.py.

Each row plays messages through intake, store, plan and delivery against the sandbox, in this process, on a clock of its
own, and tells what the last one came to: the answer, how its delivery ended, what was warned of, and how the person and
their roles stand at the server.

Where we differ from the proposed table, and why:

- Strict modes (204 or 205 where an update meets nobody, an addition somebody) are not offered: senders resend, and a full
  load after an outage would be refused. The meeting is said as a warning.
- `create_inactive` is not offered: who is added inactive is created inactive, as other records may refer to them.
- MAC, B04: the role that ended is opened again under its id with a new start; its old period is its earlier version. A
  second role would look like a second job.
- MDL, B03: never a DELETE (`allow_delete` is not offered): other systems refer to the resource. Inactive, tagged, a task.
- B04 for an unknown person whose record has no family name: held with 204, like MAC.
- B06 ends every role of the staff record, and the person, unless another record or another feed holds them active. What a
  role belongs to is a department or unit; which institution that is of, no message says, and a leaver must not stay active
  because the sender listed less than before. A person with two institutions has two records, or two feeds.
- B07 for an unknown person is held with 204: the grant waits for the person. B08 and the endings are successes with a
  warning: what they ask for is so.
- A certificate that is revoked and is not there is not added (a warning says so).
- EVN-2 and EVN-6 in the future are not waited for: what is recorded or has occurred cannot lie ahead. Warned; EVN-3 plans.
- No sweep makes a person inactive because all their roles have ended: only a word about the person does.
- Past STF-13 with STF-7 = A: the role's period ends and the role stays active, without a warning; the dates say it.
- A replacement (MFI-3 REP) never sweeps who is absent; it is read as an update, and says so.
- Merge of duplicate staff: a survivor who brings an identifier that another Practitioner carries is held for a person to
  decide, for no message says that the two are one: no identifier is moved by itself. The loser ends by a record of its own.
- A key unknown whose NPI matches one person: held where that person bears another key of the same system, for two keys are
  two people until a person says otherwise; else taken for that person only if the family name agrees, and nothing speaks
  against it. The new key is a record of its own beside the other: its roles are its own, and each must end for the person
  to be inactive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hl7bridge.assemble.stores import store_in
from hl7bridge.desk.mapping.story import WORKER, deliver_due
from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import read_json
from hl7bridge.sandbox import SandboxSettings, create_app
from hl7bridge.store.store import DeliveryState, RecordStatus
from tests.mapping.building import KEY_SYSTEM, segment
from tests.mllp_peer import Answer, read_answer

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
NPI, OTHER_NPI = "1234567893", "1245319599"
DEA, OTHER_DEA = "AP5836727", "AB1234563"


# --- messages --------------------------------------------------------------------------------------------------------

Build = Callable[[int, datetime], bytes]
"""Number and time of sending -> the message."""


def stf(flag: str, fields: dict[str, str]) -> str:
    return segment("STF", **({"f1": "K1", "f3": "Rossi^Ada", "f7": flag, "f8": "CARD^Cardiology"} | fields))


def head(kind: str, number: int, sent: datetime) -> str:
    return f"MSH|^~\\&|HR|NORTH|BRIDGE|FHIR|{sent:%Y%m%d%H%M%S}+0000||{kind}|M{number}|P|2.5.1"


def mfn(
    event: str, flag: str = "", *more: str, at: str = "", mfi: str = "UPD|", key: str = "K1", **fields: str
) -> Build:
    """One MFE: its STF (none where f1 is "-"), then further segments."""

    def build(number: int, sent: datetime) -> bytes:
        lines = [head("MFN^M02", number, sent), f"MFI|STF||{mfi}||AL", f"MFE|{event}|R|{at}|{key}|CWE"]
        lines += [] if fields.get("f1") == "-" else [stf(flag, {"f1": key.partition("~")[0]} | fields)]
        return ("\r".join([*lines, *more]) + "\r").encode()

    return build


def pmu(event: str, flag: str = "", *more: str, evn: str = "20260318120000", **fields: str) -> Build:
    def build(number: int, sent: datetime) -> bytes:
        lines = [head(f"PMU^{event}^PMU_{event}", number, sent), f"EVN||{evn}", stf(flag, fields), *more]
        return ("\r".join(lines) + "\r").encode()

    return build


def earlier(build: Build, hours: int = 1) -> Build:
    return lambda number, sent: build(number, sent - timedelta(hours=hours))


def certificate(number: str, code: str = "LIC^Licence", issuer: str = "Board", **fields: str) -> str:
    return segment("CER", **({"f1": "1", "f2": number, "f4": issuer, "f10": code, "f25": "20200101"} | fields))


# --- the world -------------------------------------------------------------------------------------------------------


class World:
    """A bridge with one feed, or two, and a server; all in this process."""

    def __init__(self, folder: Path, **destination: Any) -> None:
        self.app = create_app(SandboxSettings(auth=False))
        self.rules = DestinationRules("ehr", "http://127.0.0.1/fhir", mode="write", **destination)
        self.client = FhirClient(self.rules, transport=httpx.WSGITransport(app=self.app))
        self.destination = FhirDestination(self.rules, lambda: self.client)
        self.store = store_in(folder)
        self.now = NOW
        self.number = 0
        self.bodies: list[bytes] = []
        self.warned: list[str] = []
        self.tasks: list[str] = []
        self.store.queue.join(WORKER, 1e9, self.now.timestamp())

    def close(self) -> None:
        self.client.close()
        self.store.close()

    def hear(self, build: Build, feed: str = "hr") -> tuple[Answer, list[str]]:
        """Take a message and deliver what is due: the answer, and how each record ended."""
        self.number += 1
        self.now += timedelta(seconds=1)
        self.bodies.append(build(self.number, self.now))
        return self.take(self.bodies[-1], feed)

    def take(self, body: bytes, feed: str = "hr") -> tuple[Answer, list[str]]:
        system = KEY_SYSTEM if feed == "hr" else "urn:uuid:6f1c1f2e-0000-4000-8000-000000000002"
        rules = FeedRules(system, takes=frozenset({"adt" if feed == "adt" else "staff"}))
        unsupported = "ignore" if feed == "adt" else "reject"
        policy = FeedPolicy(feed, rules, {"ehr": self.destination}, unsupported=unsupported)
        intake = Intake(policy, b"\0" * 32, clock=lambda: self.now.timestamp())
        self.warned.clear()
        self.tasks.clear()
        (prepared,) = intake.prepare(body, "test")
        assert prepared.new is not None
        self.warned += [f.local for new in prepared.new.records for f in new.record.findings if f.severity == "W"]
        (accepted,) = self.store.inbox.accept([prepared.new], self.now.timestamp())
        self.deliver()
        # Of a message that is only counted, the answer is not kept.
        given = self.store.audit.acknowledgments(accepted.message_id)
        answer = read_answer((given[0] if given else prepared.new.acknowledgments[0]).body)
        statuses = self.store.audit.statuses([accepted.message_id]).get(accepted.message_id, [])
        return answer, [how_it_ended(status) for status in statuses]

    def deliver(self) -> None:
        for _, outcome in deliver_due(self.store, self.destination, self.now.timestamp()):
            self.warned += [warning.local for warning in outcome.warnings if warning.severity == "W"]
            self.tasks += [task.kind for task in outcome.tasks]

    def resources(self, resource_type: str) -> list[dict[str, Any]]:
        read = read_json(self.app.test_client().get("/sandbox/state?resources=true").data)
        found: list[dict[str, Any]] = read["resources"][resource_type]
        return found

    def people(self) -> str:
        """`active` of each, in order of creation; a tag as +tag."""
        words = []
        for person in self.resources("Practitioner"):
            tagged = "".join("+" + tag["code"] for tag in person.get("meta", {}).get("tag", []))
            words.append(("active" if person["active"] else "inactive") + tagged)
        return ", ".join(words)

    def roles(self) -> str:
        """Each role: unit, and whether it is open, rests or has ended."""
        words = []
        for role in self.resources("PractitionerRole"):
            unit = role.get("organization", {}).get("display", "no unit")
            end = role.get("period", {}).get("end", "")
            state = "open" if role["active"] else "ended" if end else "rests"
            words.append(f"{unit} {state} {end}".strip())
        return ", ".join(sorted(words))


def how_it_ended(status: RecordStatus) -> str:
    record = status.record
    if record.failed:
        return next(f"U/{f.code} {f.local}" for f in record.findings if f.severity == "E")
    delivery = next(iter(status.deliveries.values()), None)
    if delivery is None:
        return "nothing"
    if delivery.state is DeliveryState.HELD:
        return f"held {delivery.code} {delivery.local}".replace("  ", " ")
    return str(delivery.result) if delivery.state is DeliveryState.ENDED else delivery.state.value


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """`before` is history; `ended` says of `message` how its records did, `people` and `roles` what stands then."""

    says: str
    message: Build
    ended: str
    people: str = "active"
    roles: str = "Cardiology open"
    before: tuple[Build, ...] = ()
    warned: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    rules: dict[str, Any] = field(default_factory=dict)
    code: str = "AA"


ADDED = (mfn("MAD"),)
LEFT = (mfn("MAD"), mfn("MDC"))
JOINED = (pmu("B01"),)
AWAY = (pmu("B01"), pmu("B05", f35="20260930", f38="L"))
GONE = "Cardiology ended 2026-03-18"
LEAVES = {"people": "inactive", "roles": GONE, "tasks": ("leaver-access",)}
NOBODY: dict[str, Any] = {"people": "", "roles": ""}
CONFLICT = ("event-conflict",)

EVENTS = [
    Row("MAD A, unknown", mfn("MAD", "A"), "created"),
    Row("MAD, unknown", mfn("MAD"), "created"),
    Row("MAD I, unknown", mfn("MAD", "I"), "created", "inactive", ""),
    Row("MAD, known, the same again", mfn("MAD"), "unchanged", before=ADDED),
    Row("MAD, known, another unit", mfn("MAD", f8="ONC^Oncology"), "updated", roles=f"{GONE}, Oncology open", before=ADDED),
    Row("MUP A, known", mfn("MUP", "A"), "reactivated", before=LEFT),
    Row("MUP I, known", mfn("MUP", "I"), "deactivated", before=ADDED, **LEAVES),
    Row("MUP, known active", mfn("MUP", f8=""), "unchanged", before=ADDED),
    Row("MUP, known inactive", mfn("MUP", f8=""), "unchanged", "inactive", GONE, before=LEFT),
    Row("MUP, unknown", mfn("MUP", "A"), "created", warned=("unknown-person-created",)),
    Row("MDC, known", mfn("MDC"), "deactivated", before=ADDED, **LEAVES),
    Row("MDC without STF, known", mfn("MDC", f1="-"), "deactivated", before=ADDED, **LEAVES),
    Row("MDC, known, STF-13", mfn("MDC", f13="20260401"), "deactivated", "inactive", "Cardiology ended 2026-04-01",
        before=ADDED, tasks=("leaver-access",)),
    Row("MDC, lifecycle_scope = role", mfn("MDC"), "updated", roles=GONE, before=ADDED, tasks=("leaver-access",),
        rules={"lifecycle_scope": "role"}),
    Row("MDC, lifecycle_scope = practitioner", mfn("MDC"), "deactivated", "inactive", before=ADDED,
        tasks=("leaver-access",), rules={"lifecycle_scope": "practitioner"}),
    Row("MDC, unknown", mfn("MDC"), "nothing-to-do", warned=("unknown-person",), **NOBODY),
    Row("MAC, known", mfn("MAC", "A"), "reactivated", before=LEFT),
    Row("MAC, known, STF-29", mfn("MAC", f29="Y"), "held approval-needed", "inactive", GONE, before=LEFT,
        tasks=("approval",)),
    Row("MAC, unknown", mfn("MAC"), "created", warned=("unknown-person-created",)),
    Row("MAC, unknown, no name", mfn("MAC", f3=""), "held 204 unknown-person", **NOBODY),
    Row("MDL, known", mfn("MDL"), "deactivated", "inactive+deleted-in-source", GONE, before=ADDED,
        tasks=("leaver-access", "deleted-in-source")),
    Row("MAD, deleted before", mfn("MAD"), "reactivated", before=(*ADDED, mfn("MDL"))),
    Row("MUP A, deleted before", mfn("MUP", "A"), "reactivated", before=(*ADDED, mfn("MDL"))),
    Row("MAD I, deleted before", mfn("MAD", "I"), "deactivated", "inactive", GONE, before=(*ADDED, mfn("MDL"))),
    Row("MUP, deleted before", mfn("MUP"), "unchanged", "inactive+deleted-in-source", GONE, before=(*ADDED, mfn("MDL"))),
    Row("MDL, unknown", mfn("MDL"), "nothing-to-do", warned=("unknown-person",), **NOBODY),
    Row("B01 A, unknown", pmu("B01", "A"), "created"),
    Row("B01 I, unknown", pmu("B01", "I"), "created", "inactive", ""),
    Row("B01, known", pmu("B01"), "unchanged", before=JOINED),
    Row("B01, known from a master file", pmu("B01"), "unchanged", before=ADDED),
    Row("B02 A, known", pmu("B02", "A"), "reactivated", before=(*JOINED, pmu("B06"))),
    Row("B02 I, known", pmu("B02", "I"), "deactivated", before=JOINED, **LEAVES),
    Row("B02, known", pmu("B02", f8="ONC^Oncology"), "updated", roles=f"{GONE}, Oncology open", before=JOINED),
    Row("B02, unknown", pmu("B02"), "created", warned=("unknown-person-created",)),
    Row("B03, known", pmu("B03"), "deactivated", "inactive+deleted-in-source", GONE, before=JOINED,
        tasks=("leaver-access", "deleted-in-source")),
    Row("B03, unknown", pmu("B03"), "nothing-to-do", warned=("unknown-person",), **NOBODY),
    Row("B04, known, left", pmu("B04", "A"), "reactivated", before=(*JOINED, pmu("B06"))),
    Row("B04, known, away", pmu("B04"), "reactivated", before=AWAY),
    Row("B04, known, STF-29", pmu("B04", f29="Y"), "held approval-needed", "inactive", "Cardiology rests", before=AWAY,
        tasks=("approval",)),
    Row("B04, unknown", pmu("B04"), "created", warned=("unknown-person-created",)),
    Row("B04, unknown, no name", pmu("B04", f3=""), "held 204 unknown-person", **NOBODY),
    Row("B05, known", pmu("B05", "I"), "deactivated", "inactive", "Cardiology rests", before=JOINED,
        tasks=("away-access",)),
    Row("B05, b05_deactivates = false", pmu("B05"), "updated", "active", "Cardiology rests", before=JOINED,
        rules={"b05_deactivates": False}),
    Row("B05 again", pmu("B05"), "unchanged", "inactive", "Cardiology rests", before=(*JOINED, pmu("B05"))),
    Row("B05, left already", pmu("B05"), "unchanged", "inactive", GONE, before=(*JOINED, pmu("B06"))),
    Row("B05, unknown", pmu("B05"), "nothing-to-do", warned=("unknown-person",), **NOBODY),
    Row("B06, known", pmu("B06"), "deactivated", before=JOINED, **LEAVES),
    Row("B06, away", pmu("B06"), "deactivated", before=AWAY, **LEAVES),
    Row("B06, a unit listed less", pmu("B06", f8="CARD^Cardiology"), "deactivated", "inactive",
        f"{GONE}, Oncology ended 2026-03-18", before=(pmu("B01", f8="CARD^Cardiology~ONC^Oncology"),),
        tasks=("leaver-access",)),
    Row("B06, unknown", pmu("B06"), "nothing-to-do", warned=("unknown-person",), **NOBODY),
    Row("B07, known", pmu("B07", "", certificate("L1")), "updated", before=JOINED),
    Row("B07, known, left", pmu("B07", "A", certificate("L1")), "updated", "inactive", GONE, before=(*JOINED, pmu("B06"))),
    Row("B07, unknown", pmu("B07", "", certificate("L1")), "held 204 unknown-person", **NOBODY),
    Row("B08, known", pmu("B08", "I", certificate("L1")), "updated", before=(pmu("B01", "", certificate("L1")),)),
    Row("B08, known, no such certificate", pmu("B08", "", certificate("L9")), "unchanged", before=JOINED,
        warned=("unknown-certificate",)),
    Row("B08, unknown", pmu("B08", "", certificate("L1")), "nothing-to-do", warned=("unknown-person",), **NOBODY),
]  # fmt: skip

SPECIAL = [
    Row("MDC + A", mfn("MDC", "A"), "deactivated", before=ADDED, warned=CONFLICT, **LEAVES),
    Row("MAC + I", mfn("MAC", "I"), "reactivated", before=LEFT, warned=CONFLICT),
    Row("B04 + I", pmu("B04", "I"), "reactivated", before=AWAY, warned=CONFLICT),
    Row("B05 + A", pmu("B05", "A"), "deactivated", "inactive", "Cardiology rests", before=JOINED, warned=CONFLICT,
        tasks=("away-access",)),
    Row("B06 + A", pmu("B06", "A"), "deactivated", before=JOINED, warned=CONFLICT, **LEAVES),
    Row("B02 says I of somebody away: still away", pmu("B02", "I"), "unchanged", "inactive", "Cardiology rests",
        before=AWAY),
    Row("B02 says nothing of somebody away: the units rest", pmu("B02", f10="^WPN^PH^^^555^5550101"), "updated",
        "inactive", "Cardiology rests", before=AWAY),
    Row("B02 says A of somebody away: back", pmu("B02", "A"), "reactivated", before=AWAY),
    Row("STF-7 in no table, where it decides", mfn("MUP", "T"), "U/103 unknown-active-flag", before=ADDED, code="AE"),
    Row("STF-7 in no table, PMU", pmu("B02", "T"), "U/103 unknown-active-flag", before=JOINED, code="AE"),
    Row("STF-7 in no table, beside an event that decides", pmu("B06", "T"), "deactivated", before=JOINED,
        warned=("unknown-active-flag",), **LEAVES),
    Row("effective: MFE-3", mfn("MDC", at="20260310", mfi="UPD||20260301"), "deactivated", "inactive",
        "Cardiology ended 2026-03-10", before=ADDED, tasks=("leaver-access",)),
    Row("effective: else MFI-5", mfn("MDC", mfi="UPD||20260301"), "deactivated", "inactive",
        "Cardiology ended 2026-03-01", before=ADDED, tasks=("leaver-access",)),
    Row("effective: EVN-6", pmu("B06", evn="20260318|20260401|||20260310"), "deactivated", "inactive",
        "Cardiology ended 2026-03-10", before=JOINED, tasks=("leaver-access",)),
    Row("effective: else EVN-3 if ahead", pmu("B06", evn="20260318|20260401"), "scheduled", before=JOINED),
    Row("effective: else EVN-2", pmu("B06", evn="20260305|20260301"), "deactivated", "inactive",
        "Cardiology ended 2026-03-05", before=JOINED, tasks=("leaver-access",)),
    # An event that occurred, or was recorded, in the future: no clock explains it, and nobody is ended at once by it.
    Row("effective: EVN-6 ahead ends nobody", pmu("B06", evn="20260305||||20260401"), "held 102 unreadable-time",
        before=JOINED, tasks=("uncertain-time",)),
    Row("effective: EVN-2 ahead ends nobody", pmu("B06", evn="20260401"), "held 102 unreadable-time", before=JOINED,
        tasks=("uncertain-time",)),
    Row("effective: a year ahead", mfn("MDC", at="2027"), "scheduled", before=ADDED),
    Row("effective: a month ahead, PMU", pmu("B06", evn="20260318|202702"), "scheduled", before=JOINED),
    Row("effective: this year", mfn("MDC", at="2026"), "held 102 partial-time", before=ADDED, warned=("partial-time",),
        tasks=("uncertain-time",)),
    Row("effective: no time", mfn("MDC", at="TBD"), "held 102 unreadable-time", before=ADDED, warned=("invalid-time",),
        tasks=("uncertain-time",)),
    Row("effective: no time, MFI-5", mfn("MDL", mfi="UPD||2027-01-31"), "held 102 unreadable-time", before=ADDED,
        tasks=("uncertain-time",)),
    Row("effective: no time, STF-7 I", mfn("MUP", "I", at="00000000"), "held 102 unreadable-time", before=ADDED,
        warned=("invalid-time",), tasks=("uncertain-time",)),
    Row("effective: no time, PMU", pmu("B06", evn="20260318|soon"), "held 102 unreadable-time", before=JOINED,
        tasks=("uncertain-time",)),
    Row("effective: no time, of somebody who has left", mfn("MDC", at="TBD"), "unchanged", "inactive", GONE,
        before=LEFT, warned=("invalid-time",)),
    Row("effective: no time, of somebody unknown", mfn("MDC", at="TBD"), "nothing-to-do",
        warned=("invalid-time", "unknown-person"), **NOBODY),
    Row("effective: no time, and nobody is ended", mfn("MUP", at="TBD", f10="^WPN^PH^^^555^5550101"), "updated",
        before=ADDED, warned=("invalid-time",)),
    Row("effective ahead, MFN", mfn("MDC", at="20260401"), "scheduled", before=ADDED),
    Row("future STF-13, A", mfn("MUP", "A", f13="20270101"), "updated", roles="Cardiology open 2027-01-01", before=ADDED),
    Row("future PRA-10", mfn("MUP", "A", "PRA|K1|||||||||20270101"), "updated", roles="Cardiology open 2027-01-01",
        before=ADDED),
    Row("future ORG-9", mfn("MAD", "A", "ORG|1|CARD^Cardiology|||||||^20270101"), "created",
        roles="Cardiology open 2027-01-01"),
    Row("past ORG-9 of somebody new", mfn("MAD", "A", "ORG|1|CARD^Cardiology|||||||20250101^20260301"), "created",
        roles="Cardiology ended 2026-03-01"),
    Row("ORG-9 goes on again", mfn("MUP", "A", "ORG|1|CARD^Cardiology|||||||20250101^20270301"), "updated",
        roles="Cardiology open 2027-03-01",
        before=(mfn("MAD", "A", "ORG|1|CARD^Cardiology|||||||20250101^20260301"),)),
    Row("past STF-13, A", mfn("MUP", "A", f13="20260301"), "updated", roles="Cardiology ended 2026-03-01", before=ADDED),
    Row("older MSH-7", earlier(mfn("MUP", f8="ONC^Oncology"), hours=2), "stale", before=ADDED),
    Row("older MSH-7, a leaver", earlier(mfn("MDC"), hours=2), "stale", before=ADDED),
    Row("older MSH-7 by less than clocks differ", earlier(mfn("MUP", f8="ONC^Oncology")), "held out-of-order",
        before=ADDED),
    Row("older MSH-7 by less, says the same", earlier(mfn("MUP", "A")), "unchanged", before=ADDED),
    Row("older MSH-7 by less, a leaver", earlier(mfn("MDC")), "held out-of-order", before=ADDED, tasks=("out-of-order",)),
    Row("older MSH-7 by less, STF-7 I", earlier(mfn("MUP", "I")), "held out-of-order", before=ADDED,
        tasks=("out-of-order",)),
    Row("older MSH-7 by less, of somebody who has left", earlier(mfn("MUP", "A")), "held out-of-order", "inactive", GONE,
        before=LEFT),
    Row("REP: MAD", mfn("MAD", mfi="REP|"), "created"),
    Row("REP: another event", mfn("MUP", mfi="REP|"), "U/103 event-in-replace", code="AE", **NOBODY),
    Row("MFE-4 repeats", mfn("MAD", key="K1~K2"), "U/102 key-unreadable", code="AE", **NOBODY),
    Row("same key twice", mfn("MAD", "", "MFE|MDC|R2||K1|CWE", "MFE|MAC|R3||K1|CWE", "STF|K1||Rossi^Ada"),
        "created, deactivated, reactivated", tasks=("leaver-access",)),
    Row("merge: the survivor carries the loser's identifier", mfn("MUP", key="K2", f2=f"{DEA}^^^^DEA~{OTHER_DEA}^^^^DEA"),
        "held 205 identifier-of-another", "active, active", "Cardiology open, Cardiology open",
        before=(mfn("MAD", f2=f"{DEA}^^^^DEA"), mfn("MAD", key="K2", f2=f"{OTHER_DEA}^^^^DEA")),
        tasks=("identity-review",)),
    Row("merge: and then the loser ends", mfn("MDC"), "deactivated", "inactive, active",
        f"{GONE}, Cardiology open",
        before=(mfn("MAD", f2=f"{DEA}^^^^DEA"), mfn("MAD", key="K2", f2=f"{OTHER_DEA}^^^^DEA"),
                mfn("MUP", key="K2", f2=f"{DEA}^^^^DEA~{OTHER_DEA}^^^^DEA")), tasks=("leaver-access",)),
    Row("identifiers of more than one person", mfn("MAD", key="K3", f2=f"{DEA}^^^^DEA~{OTHER_DEA}^^^^DEA"),
        "held 205 several-people", "active, active", "Cardiology open, Cardiology open",
        before=(mfn("MAD", f2=f"{DEA}^^^^DEA"), mfn("MAD", key="K2", f2=f"{OTHER_DEA}^^^^DEA")),
        tasks=("identity-review",)),
    Row("key unknown, NPI of one person", mfn("MAD", key="K2", f2=f"{NPI}^^^^NPI"), "held 205 key-of-another",
        before=(mfn("MAD", f2=f"{NPI}^^^^NPI"),), tasks=("identity-review",)),
    Row("key unknown, NPI of one person who has left", mfn("MAD", key="K2", f2=f"{NPI}^^^^NPI"), "held 205 re-hired",
        "inactive", "Cardiology ended 2026-03-18",
        before=(mfn("MAD", f2=f"{NPI}^^^^NPI"), mfn("MDC")), tasks=("identity-review",)),
    Row("key unknown, NPI of one person, another name", mfn("MAD", key="K2", f2=f"{NPI}^^^^NPI", f3="Bianchi^Ada"),
        "held 205 key-of-another", before=(mfn("MAD", f2=f"{NPI}^^^^NPI"),), tasks=("identity-review",)),
    Row("key known, another NPI, the same names", mfn("MUP", f2=f"{OTHER_NPI}^^^^NPI"), "updated",
        before=(mfn("MAD", f2=f"{NPI}^^^^NPI"),)),
    Row("key known, another NPI, names unknown", mfn("MUP", f2=f"{OTHER_NPI}^^^^NPI", f3=""), "held 205 npi-differs",
        before=(mfn("MAD", f2=f"{NPI}^^^^NPI"),), tasks=("identity-review",)),
    Row("key known, another NPI, names unknown, allow_npi_change", mfn("MUP", f2=f"{OTHER_NPI}^^^^NPI", f3=""), "updated",
        before=(mfn("MAD", f2=f"{NPI}^^^^NPI"),), rules={"allow_npi_change": True}),
    Row("key used again", mfn("MUP", f3="Bianchi^Ugo"), "held 205 recycled-key", before=(mfn("MAD"),),
        tasks=("identity-review",)),
    Row("key used again, by birth date and a name", mfn("MUP", f3="Bianchi^Ada", f6="19750301"), "held 205 recycled-key",
        before=(mfn("MAD", f6="19800201"),), tasks=("identity-review",)),
    Row("married, the sex marker changed", mfn("MUP", f3="Bianchi^Ada", f5="M"), "updated", before=(mfn("MAD", f5="F"),)),
    Row("an end of another person under the key", mfn("MDC", f3="Bianchi^Ugo"), "held 205 recycled-key",
        before=(mfn("MAD"),), tasks=("identity-review",)),
    Row("B01 without any key", pmu("B01", f1="", f2="111223333^^^^SS"), "U/101 key-missing", code="AE", **NOBODY),
]  # fmt: skip


@pytest.mark.parametrize("row", [*EVENTS, *SPECIAL], ids=lambda row: row.says)
def test_decision_table(row: Row, tmp_path: Path) -> None:
    world = World(tmp_path, **row.rules)
    try:
        for build in row.before:
            answer, _ = world.hear(build)
            assert answer.code == "AA"
        answer, ended = world.hear(row.message)
        assert (answer.code, ", ".join(ended)) == (row.code, row.ended)
        assert (world.people(), world.roles()) == (row.people, row.roles)
        assert tuple(world.warned) == row.warned
        assert tuple(world.tasks) == row.tasks
    finally:
        world.close()


# --- what a row has no column for ------------------------------------------------------------------------------------


def only(world: World, resource_type: str) -> dict[str, Any]:
    (resource,) = world.resources(resource_type)
    return resource


@pytest.mark.parametrize("ending", [mfn, pmu], ids=["MDC", "B06"])
def test_an_end_brings_no_content_but_its_date_and_reason(world: World, ending: Callable[..., Build]) -> None:
    world.hear(mfn("MAD", f10="^WPN^PH^^^555^5550101"))
    before = only(world, "Practitioner")
    what = "MDC" if ending is mfn else "B06"
    world.hear(ending(what, "I", f3="Bianchi^Ada", f5="M", f8="ONC^Oncology", f10="^WPN^PH^^^555^5550199", f38="L"))
    now = only(world, "Practitioner")
    assert {k: v for k, v in now.items() if k != "meta"} == {k: v for k, v in before.items() if k != "meta"} | {
        "active": False
    }
    assert world.roles() == GONE
    assert only(world, "PractitionerRole")["notAvailable"][0]["description"] == "Leave of absence"


def test_who_is_away_says_since_when_until_when_and_why(world: World) -> None:
    for build in AWAY:
        world.hear(build)
    role = only(world, "PractitionerRole")
    assert role["notAvailable"] == [
        {"description": "Leave of absence", "during": {"start": "2026-03-18", "end": "2026-09-30"}}
    ]
    assert "period" not in role
    world.hear(pmu("B05", f35="20261231", f38="L", evn="20260319"))
    assert only(world, "PractitionerRole")["notAvailable"][0]["during"] == {"start": "2026-03-18", "end": "2026-12-31"}
    world.hear(pmu("B04"))
    role = only(world, "PractitionerRole")
    assert "notAvailable" not in role
    assert "period" not in role


def test_who_returns_from_leaving_has_a_new_start_under_the_same_id(world: World) -> None:
    world.hear(mfn("MAD", f12="20200101"))
    before = only(world, "PractitionerRole")["id"]
    world.hear(mfn("MDC"))
    world.now += timedelta(days=30)
    world.hear(mfn("MAC", f8=""))
    role = only(world, "PractitionerRole")
    assert (role["id"], role["period"]) == (before, {"start": "2026-04-17"})


def test_a_certificate_is_granted_renewed_and_revoked_alone(world: World) -> None:
    world.hear(pmu("B01", "", certificate("L1"), "EDU|1|MD|||20100601", f10="^WPN^PH^^^555^5550101"))
    before = only(world, "Practitioner")

    def changed() -> list[dict[str, Any]]:
        person = only(world, "Practitioner")
        assert {k: v for k, v in person.items() if k not in ("qualification", "meta")} == {
            k: v for k, v in before.items() if k not in ("qualification", "meta")
        }
        found: list[dict[str, Any]] = person["qualification"]
        assert next(one for one in before["qualification"] if "identifier" not in one) in found
        return [one for one in found if "identifier" in one]

    world.hear(pmu("B07", "", certificate("X2", "XRAY^X-ray permit", "Office"), f3="Bianchi^Ada", f8="ONC", f10=""))
    first, second = changed()
    assert (first["identifier"][0]["value"], first["period"]) == ("L1", {"start": "2020-01-01"})
    assert (second["code"], second["issuer"]) == ({"text": "X-ray permit"}, {"display": "Office"})
    world.hear(pmu("B08", "", certificate("X2", "", "Office", f25="", f27="20300101")))
    first, second = changed()
    assert first["period"] == {"start": "2020-01-01"}
    assert second["period"] == {"start": "2020-01-01", "end": "2026-03-18"}
    world.hear(pmu("B08", "", certificate("L1", issuer="Another Office")))
    assert "unknown-certificate" in world.warned
    world.hear(pmu("B07", "", certificate("X2", "XRAY^X-ray permit", "Office", f25="20260319")))
    assert changed()[1]["period"] == {"start": "2026-03-19"}
    assert world.hear(pmu("B07", "", certificate("X2", "XRAY^X-ray permit", "Office", f25="20260319")))[1] == [
        "unchanged"
    ]
    world.hear(pmu("B02", f8=""))
    assert len(changed()) == 2


def test_a_grant_waits_for_its_person_and_nothing_overtakes_it(world: World) -> None:
    assert world.hear(pmu("B07", "", certificate("L1")))[1] == ["held 204 unknown-person"]
    world.hear(pmu("B01"))
    message_id = 1
    (status,) = world.store.audit.statuses([message_id])[message_id]
    assert how_it_ended(status) == "held 204 unknown-person"


def test_a_scheduled_end_is_not_replaced_by_a_leave(world: World) -> None:
    world.hear(pmu("B01"))
    assert world.hear(pmu("B06", evn="20260318|20260401"))[1] == ["scheduled"]
    world.hear(pmu("B05"))
    assert (world.people(), world.roles()) == ("inactive", "Cardiology rests")
    world.now = datetime(2026, 4, 1, 8, tzinfo=UTC)
    world.deliver()
    assert (world.people(), world.roles()) == ("inactive", "Cardiology ended 2026-04-01")
    assert world.tasks == ["away-access", "leaver-access"]


def test_of_scheduled_changes_the_earlier_runs_first_and_one_for_the_same_time_is_replaced(world: World) -> None:
    world.hear(mfn("MAD"))
    world.hear(mfn("MUP", at="20260401", f8="ONC^Oncology"))
    world.hear(mfn("MUP", at="20260325", f8="ICU^Intensive care"))
    world.hear(mfn("MUP", at="20260401", f8="ED^Emergency"))
    world.now = datetime(2026, 3, 26, tzinfo=UTC)
    world.deliver()
    assert world.roles() == "Cardiology ended 2026-03-25, Intensive care open"
    world.now = datetime(2026, 4, 2, tzinfo=UTC)
    world.deliver()
    assert world.roles().split(", ")[1:] == ["Emergency open", "Intensive care ended 2026-04-01"]


def test_the_same_message_again_gets_the_same_answer_and_nothing_else(world: World) -> None:
    first, _ = world.hear(pmu("B01"))
    again, _ = world.take(world.bodies[-1])
    assert again == first
    assert only(world, "Practitioner")["meta"]["versionId"] == "1"


def test_another_feed_keeps_a_person_whose_relationship_with_one_has_ended(world: World) -> None:
    ids = f"{NPI}^^^^NPI"
    world.hear(pmu("B01", f2=ids))
    world.hear(pmu("B01", f1="Z9", f2=ids, f8="ONC^Oncology"), "badge")
    assert world.hear(pmu("B06", f2=ids))[1] == ["updated"]
    assert (world.people(), world.roles()) == ("active", f"{GONE}, Oncology open")
    assert world.tasks == ["shared-person"]


def test_personal_numbers_are_neither_key_nor_sent(world: World) -> None:
    world.hear(pmu("B01", f1="", f2=f"111223333^^^^SS~{NPI}^^^^NPI~E7^^^NORTH^EI"))
    values = [one["value"] for one in only(world, "Practitioner")["identifier"]]
    assert values == ["E7", NPI]
    assert "111223333" not in str(world.resources("Practitioner"))
