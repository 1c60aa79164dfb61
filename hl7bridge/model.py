"""The records that travel: what crosses the wall between two rooms is one of these small frozen values.

Read this file first. The journey, left to right:

    bytes -> Header, Message (hl7/) -> Translation of Records, each with a StaffChange (mapping/)
          -> stored (store/) -> Interaction (fhir/plan) -> Outcome (fhir/deliver) -> acknowledgment

Nothing here does I/O. Values are JSON-shaped, so that every record can be stored and read back unchanged.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from decimal import Decimal
from enum import StrEnum
from typing import Any

JsonObject = dict[str, Any]


# --- JSON that keeps the text of its numbers -------------------------------------------------------------------------


class Number(Decimal):
    """A JSON number with a fraction or an exponent; `text` is how it was written."""

    text: str

    def __new__(cls, text: str) -> Number:
        number = super().__new__(cls, text)
        number.text = text
        return number


_PLACE = secrets.token_hex(8)  # nobody outside this process can write the mark of a number into a text
_NUMBER = re.compile(rf'"{_PLACE}:(\d+)"')


def read_json(text: str | bytes) -> Any:
    """Parse JSON; a number with a fraction or an exponent becomes a `Number`, so that 1.10 stays 1.10.

    FHIR R4 (json.html, decimal): "the precision of the decimal value has significance" and must be kept.
    Raises ValueError for text that is not JSON.
    """
    return json.loads(text, parse_float=Number)


def write_json(value: Any, *, sort_keys: bool = False) -> str:
    """The inverse of `read_json`: compact JSON text, each `Number` written as the text that it was read from."""
    numbers: list[str] = []

    def decimal_text(item: object) -> str:
        if not isinstance(item, Decimal):
            raise TypeError(f"not a JSON value: {type(item).__name__}")
        numbers.append(item.text if isinstance(item, Number) else str(item))
        return f"{_PLACE}:{len(numbers) - 1}"

    text = json.dumps(value, default=decimal_text, ensure_ascii=False, sort_keys=sort_keys, separators=(",", ":"))
    return _NUMBER.sub(lambda match: numbers[int(match.group(1))], text) if numbers else text


# --- what is said about a message ------------------------------------------------------------------------------------


class Severity(StrEnum):
    """ERR-4, HL7 table 0516."""

    ERROR = "E"
    WARNING = "W"
    INFORMATION = "I"


class Refusal(StrEnum):
    """Why a message is not accepted; each class has its own acknowledgment code per feed (`[acknowledgment.codes]`)."""

    CONTENT = "content"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a message, as ERR-2 (ERL) gives it. All numbers are 1-based; 0 says "not narrower than this".

    `occurrence` counts the segments of that name in the message: the second STF is ("STF", 2).
    """

    segment: str
    occurrence: int = 1
    field: int = 0
    repetition: int = 0
    component: int = 0

    def __str__(self) -> str:
        """As an analyst says it: `STF-3.1`, `PRA-6[2].1`."""
        text = self.segment
        if self.field:
            text += f"-{self.field}"
            if self.repetition > 1:
                text += f"[{self.repetition}]"
            if self.component:
                text += f".{self.component}"
        return text


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say about a message: becomes an ERR segment, a line of `map explain`, a reason for a hold.

    `code` is of HL7 table 0357 ("101" required field missing). `local` is our own stable code ("unmapped-authority").
    `text` is in our own words and never holds a value of the message. `position` is the record, 1-based; 0 = the message.
    """

    code: str
    local: str
    text: str
    severity: Severity = Severity.ERROR
    location: Location | None = None
    position: int = 0


# --- message -> staff change -----------------------------------------------------------------------------------------


class Action(StrEnum):
    """What the sender asks for (MFE-1, HL7 table 0180; or the PMU trigger event)."""

    ADD = "add"
    UPDATE = "update"
    DEACTIVATE = "deactivate"
    REACTIVATE = "reactivate"
    REMOVE = "remove"


ABSENT = "MFI-3"
"""`event_field` of a deactivation that nobody sent: the person is absent from a file that replaces its master file."""

LIFECYCLE = frozenset({Action.DEACTIVATE, Action.REACTIVATE, Action.REMOVE})


@dataclass(frozen=True, slots=True)
class ElementValue:
    """One value for one top-level element of a FHIR resource, and where it came from.

    `element` is the FHIR name ("telecom"); for a repeating element `value` is one item of the list, else the value
    itself. `field` is the HL7 field with its repetition ("STF-10[2]"); `rule` names the table row or function. `kind`: what
    it may be withheld by, "home" or "work" by the type as sent, which FHIR's `use` need not show; "" = by its `use`.
    """

    element: str
    value: Any
    field: str
    rule: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class StaffIdentifier:
    """An identifier of the person as the message gives it.

    `system` is the absolute URI that the standard or the feed's table gives its assigning authority, "" if none;
    a destination may name another one for `authority` (the namespace, or the universal id, as sent).
    `extra` holds further FHIR Identifier elements (use, period, assigner).
    """

    value: str
    system: str = ""
    authority: str = ""
    type_code: str = ""
    field: str = ""
    extra: JsonObject = dataclass_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StaffRole:
    """One PractitionerRole that the message describes. `key` is stable per person and feed; `origin` is the segment or
    field that lists such roles ("ORG", "STF-8"): a message that lists any replaces those of the same origin."""

    key: str
    origin: str
    values: tuple[ElementValue, ...] = ()


@dataclass(frozen=True, slots=True)
class StaffChange:
    """Who, what, when, and the desired content of one record (one MFE of an MFN^M02, or a PMU). Names no destination.

    identifiers   the staff key first (system = the feed's `key_system`), then every other one
    active        what the sender says of the person: True, False, or None (nothing)
    effective     ISO 8601 with offset: waited for while it is in the future; "" = now
    practitioner  values for Practitioner; `identifier` and `active` are added by the plan
    roles         the roles listed by unit; () when the message lists none
    shared_role   values for a role that the message gives without a unit (category, specialty)
    cleared       HL7 fields sent as `""` ("STF-10"): what this feed wrote from them is removed
    message_time  MSH-7, ISO 8601 with offset, "" when absent; `message_time_exact`: it has seconds
    complete      holds enough for a create (a family name)
    needs_approval STF-29 asks for approval before a reactivation
    ended_for     why the role ends or rests, for PractitionerRole.notAvailable ("" = say nothing)
    temporary     of a deactivation: the person is away and will return; nothing ends
    until         of a temporary one: the day on which the person is expected back, a FHIR date, "" = not said
    qualifications_only  brings single qualifications; all else of the person, and the other qualifications, stay
    revokes       the qualifications that it brings end; none is added
    only_if_missing  a mention in a patient message: creates the person where nobody carries the identifiers, and says
                  nothing else; whoever is there stays as she is
    event_field   the HL7 field that says what is asked for
    undated       why it is not certain when it applies, "" = it is: a person decides before anything is written
                  ("unreadable-time", "partial-time": mapping/effective.py); or whether it is about staff at all
                  ("unknown-master-file": mapping/master_file.py)
    institution   what the institution goes by (casefolded) that a period in `shared_role` is of; () = not said
    evidence      what an event that merges no content says of name, sex and birth date: it tells people apart, and is
                  never written
    """

    action: Action
    source_key: str
    identifiers: tuple[StaffIdentifier, ...]
    active: bool | None = None
    effective: str = ""
    practitioner: tuple[ElementValue, ...] = ()
    roles: tuple[StaffRole, ...] = ()
    shared_role: tuple[ElementValue, ...] = ()
    cleared: tuple[str, ...] = ()
    message_time: str = ""
    message_time_exact: bool = False
    mapping_version: str = ""
    complete: bool = True
    needs_approval: bool = False
    deleted_in_source: bool = False
    ended_for: str = ""
    temporary: bool = False
    until: str = ""
    qualifications_only: bool = False
    revokes: bool = False
    event_field: str = "MFE-1"
    only_if_missing: bool = False
    undated: str = ""
    institution: tuple[str, ...] = ()
    evidence: tuple[ElementValue, ...] = ()

    @property
    def kind(self) -> str:
        """The action, as far as it matters which change makes another one needless: being away is not leaving, and a
        certificate says nothing of the rest of the person. A mention says nothing of anybody who is there."""
        if self.only_if_missing:
            return "mention"
        if self.qualifications_only:
            return "revoke" if self.revokes else "grant"
        return "rest" if self.temporary else self.action.value

    @property
    def says_active(self) -> bool | None:
        """What it says of the person: active, inactive, or nothing. A lifecycle event says it by itself; of somebody who
        is away for a while, it says nothing."""
        if self.temporary:
            return None
        if self.action in (Action.DEACTIVATE, Action.REMOVE):
            return False
        return True if self.action is Action.REACTIVATE else self.active

    def overtakes(self, earlier: str) -> bool:
        """Whether this change, applied, leaves nothing to do for one of kind `earlier` that came before it. A leaver is
        overtaken only by a word about whether she is there: a new telephone number must not keep her in."""
        if self.only_if_missing:
            return earlier == "mention"
        if self.qualifications_only or earlier in ("grant", "revoke"):
            return False
        return self.says_active is not None or earlier not in (Action.DEACTIVATE, Action.REMOVE)

    def to_json(self) -> str:
        """Compact JSON text, read back by `from_json`."""
        return write_json(
            {
                "action": self.action.value,
                "source_key": self.source_key,
                "identifiers": [
                    [i.value, i.system, i.authority, i.type_code, i.field, i.extra] for i in self.identifiers
                ],
                "active": self.active,
                "effective": self.effective,
                "practitioner": values_to_json(self.practitioner),
                "roles": [[r.key, r.origin, values_to_json(r.values)] for r in self.roles],
                "shared_role": values_to_json(self.shared_role),
                "cleared": list(self.cleared),
                "message_time": self.message_time,
                "message_time_exact": self.message_time_exact,
                "mapping_version": self.mapping_version,
                "complete": self.complete,
                "needs_approval": self.needs_approval,
                "deleted_in_source": self.deleted_in_source,
                "ended_for": self.ended_for,
                "temporary": self.temporary,
                "until": self.until,
                "qualifications_only": self.qualifications_only,
                "revokes": self.revokes,
                "event_field": self.event_field,
                "only_if_missing": self.only_if_missing,
                **({"undated": self.undated} if self.undated else {}),
                **({"institution": list(self.institution)} if self.institution else {}),
                **({"evidence": values_to_json(self.evidence)} if self.evidence else {}),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> StaffChange:
        """Read what `to_json` wrote, and what earlier versions did. Raises ValueError or KeyError for other text."""
        read = read_json(text)
        read["action"] = Action(read["action"])
        read["identifiers"] = tuple(StaffIdentifier(*item) for item in read["identifiers"])
        read["practitioner"] = values_from_json(read["practitioner"])
        read["roles"] = tuple(StaffRole(key, origin, values_from_json(v)) for key, origin, v in read["roles"])
        read["shared_role"] = values_from_json(read["shared_role"])
        read["cleared"] = tuple(read["cleared"])
        read["institution"] = tuple(read.get("institution", ()))
        read["evidence"] = values_from_json(read.get("evidence", []))
        return cls(**read)


def values_to_json(values: tuple[ElementValue, ...]) -> list[list[Any]]:
    """Element values as JSON lists [element, value, field, rule, kind], without `kind` where there is none."""
    return [[v.element, v.value, v.field, v.rule, *([v.kind] if v.kind else [])] for v in values]


def values_from_json(rows: list[list[Any]]) -> tuple[ElementValue, ...]:
    """The inverse of `values_to_json`."""
    return tuple(ElementValue(*row) for row in rows)


@dataclass(frozen=True, slots=True)
class RecordEcho:
    """What MFA repeats of a record: MFE-1, MFE-2, MFE-4 and MFE-5 as sent, still escaped, all repetitions."""

    event: str = ""
    control_id: str = ""
    key: str = ""
    key_type: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a message: its staff change, or, where there is none, the findings that say why.

    `change` None without an ERROR finding means: nothing to do (a placeholder person), success.
    """

    position: int
    echo: RecordEcho
    change: StaffChange | None
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the record could not be read or mapped."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Translation:
    """What a message says, record by record, and the version of the mapping that read it."""

    records: tuple[Record, ...]
    findings: tuple[Finding, ...] = ()
    mapping_version: str = ""


# --- staff change -> FHIR --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the server's resource and the planned one. `field` is the HL7 field that asks for it."""

    path: str
    before: Any
    after: Any
    field: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What a feed wrote to a resource: the base of the next three-way merge.

    `role_key` is "" for the Practitioner. `values` are the values that the feed stands for on that resource.
    `holds_active` says whether this feed says that the person (or role) is active.
    """

    resource_type: str
    resource_id: str
    values: tuple[ElementValue, ...] = ()
    role_key: str = ""
    origin: str = ""
    holds_active: bool = True
    feed: str = ""
    source_key: str = ""
    version: str = ""


class Kind(StrEnum):
    """A FHIR interaction that a plan may ask for (http.html). Never delete."""

    CREATE = "create"
    UPDATE = "update"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Interaction:
    """One planned interaction: its body, the version that it is based on, and why. Made by a pure function.

    `drift` lists values of ours that someone changed at the server. `written` is the feed's new base if it succeeds.
    """

    kind: Kind
    resource_type: str
    resource_id: str = ""
    body: JsonObject | None = None
    version: str = ""
    differences: tuple[Difference, ...] = ()
    reason: str = ""
    drift: tuple[Difference, ...] = ()
    written: Written | None = None


class Result(StrEnum):
    """How a delivery ended, or stands. The word that lists, metrics and acknowledgments use."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DEACTIVATED = "deactivated"
    REACTIVATED = "reactivated"
    NOTHING_TO_DO = "nothing-to-do"
    REPORTED = "reported"
    STALE = "stale"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"
    HELD = "held"
    RETRY = "retry"
    UNKNOWN = "unknown"
    PAUSED = "paused"


APPLIED = frozenset({Result.CREATED, Result.UPDATED, Result.UNCHANGED, Result.DEACTIVATED, Result.REACTIVATED})
ENDED_WELL = APPLIED | {Result.NOTHING_TO_DO, Result.REPORTED}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request of a delivery, for the audit: no body, no query, no header but X-Request-Id (`request_id`), by
    which the server's own log is found."""

    method: str
    resource_type: str
    status: int
    milliseconds: float
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A step of a task that a read of the server, or a later record, closes by itself once it shows `fact`.

    `gate`: the steps that are no gate wait until it is closed.
    """

    fact: str
    text: str
    gate: bool = False


PERSON_INACTIVE, ROLES_ENDED = "person-inactive", "roles-ended"
"""Facts that a read of the server shows of a leaver."""

NAME_KNOWN, LOGIN_KNOWN, CLASS_KNOWN = "name-known", "login-known", "class-known"
"""Facts that a record shows of a joiner: what it takes to set up her account."""


@dataclass(frozen=True, slots=True)
class Task:
    """Work that no API can do, for a person. `steps` are complete sentences. `kind` e.g. "leaver-access".

    due_within  seconds after which it is overdue, 0 = never
    checks      further steps, which close themselves: gates stand before `steps`, the others behind
    by_facts    the checks alone close it, whatever else is open
    owner       who is to do it: a team, or a person; "" = nobody yet
    """

    kind: str
    title: str
    steps: tuple[str, ...] = ()
    due_within: float = 0.0
    checks: tuple[Check, ...] = ()
    by_facts: bool = False
    owner: str = ""


LEAVER_UNVERIFIED = "leaver-unverified"
"""Kind of the task for a leaver whose deactivation takes too long: a read that shows that she is inactive closes it."""


WRITES_REFUSED = "writes-refused"
"""Why a destination is paused, and the kind of the task that says so: its server takes no writes from us."""

STANDING_TASKS = frozenset({"leaver-access", "shared-person", "deleted-in-source", "joiner-setup", "provider-linkage"})
"""Kinds of tasks that are about a person: they stay open however the delivery that opened them ends."""


@dataclass(frozen=True, slots=True)
class Image:
    """A resource as the server gave it before a write, and as it was after it: what a restore goes by.

    before  None when the write created the resource
    after   what the server said afterwards; what was sent, where nothing is known of it
    own     this record's base until then, None = it had none
    """

    resource_type: str
    resource_id: str
    before: JsonObject | None = dataclass_field(default=None, repr=False)
    after: JsonObject | None = dataclass_field(default=None, repr=False)
    own: Written | None = dataclass_field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt to deliver one change to one destination. A value, never an exception.

    code, local, text  for ERR and lists, in our own words (code of table 0357, "" when all is well)
    retry_after        seconds that the server asked us to wait; 0 = it did not say
    http_status        of the deciding response; 0 when there was none
    interactions       what was planned, with differences; written: new bases to remember
    person_id, version the Practitioner that the change is about, "" when unknown
    facts              what its reads and its record show of the person: closes steps of her tasks
    refused            the interaction that the server does not offer or permit ("Practitioner create"), "" = none
    candidates         where it is not clear whom the change is about: those whom a person has to look at, each as
                       id, active, names, identifiers and birth date stand at the server
    images             of each write that was sent
    unanswered         the resource type of a create that was sent, and of which nobody knows whether it arrived; "" = none
    """

    result: Result
    code: str = ""
    local: str = ""
    text: str = ""
    retry_after: float = 0.0
    http_status: int = 0
    interactions: tuple[Interaction, ...] = ()
    written: tuple[Written, ...] = ()
    person_id: str = ""
    version: str = ""
    exchanges: tuple[Exchange, ...] = ()
    tasks: tuple[Task, ...] = ()
    facts: frozenset[str] = frozenset()
    drift: tuple[Difference, ...] = ()
    warnings: tuple[Finding, ...] = ()
    refused: str = ""
    candidates: tuple[JsonObject, ...] = dataclass_field(default=(), repr=False)
    images: tuple[Image, ...] = dataclass_field(default=(), repr=False)
    unanswered: str = ""


class Link(StrEnum):
    """Who says that a crosswalk entry is right."""

    FOUND = ""  # the identifiers do
    LINKED = "linked"  # a person does, whatever the identifiers say
    FORCED = "forced"  # a person does, whatever name and birth date say, too
    APART = "apart"  # a person says that it is nobody who was found by other identifiers than the staff key


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows before a delivery: the crosswalk and what feeds wrote.

    person_id  the crosswalk's Practitioner id for (destination, feed, source key), "" when none
    link       who says that it is
    own        what this feed wrote for this source key (Practitioner and roles)
    ambiguous  an earlier attempt may have reached the server without our learning the result
    lately     ids of further Practitioners that were written within the last hour under one of the identifiers, by any feed
    unsure_since  Unix seconds at which a create of the person, by whatever delivery that shares an identifier, was given up
               without an answer; 0 = none. `unsure_roles_since`: the same of a role
    late       the change is older than what was applied last, by less than clocks may differ: what it would change, if
               anything, a person decides
    confirmed  the version of the feed's mapping that a person let go live last, "" when nobody has
    """

    person_id: str = ""
    own: tuple[Written, ...] = ()
    ambiguous: bool = False
    attempts: int = 0
    link: Link = Link.FOUND
    lately: tuple[str, ...] = ()
    unsure_since: float = 0.0
    unsure_roles_since: float = 0.0
    late: bool = False
    confirmed: str = ""
