"""What becomes of a change at a destination: how deliveries stand and end, what was planned, written and answered.

`TRANSITIONS` says which changes of state there are; `guide/states.md` draws it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from enum import StrEnum
from typing import Any

from hl7bridge.model.change import ElementValue
from hl7bridge.model.json import JsonObject
from hl7bridge.model.message import Finding
from hl7bridge.model.task import Task


class DeliveryState(StrEnum):
    """Where a delivery stands. SCHEDULED, HELD and the ended ones are outside their lanes."""

    SCHEDULED = "scheduled"  # effective in the future
    QUEUED = "queued"  # due, or waiting for its lane
    CLAIMED = "claimed"  # a worker has it
    RETRY = "retry"  # failed in passing; waits for next_attempt, keeps its lane waiting
    UNKNOWN = "unknown"  # may have reached the server; searched for before it is sent again
    HELD = "held"  # needs a person; has left its lane
    ENDED = "ended"  # see `result`


class DeliveryEvent(StrEnum):
    """What changes a delivery's state: the word of its history."""

    DUE = "due"
    CLAIMED = "claimed"
    GIVEN_BACK = "given back"
    TAKEN_OVER = "taken over"
    RETRY = "retry"
    UNKNOWN = "unknown"
    HELD = "held"
    RELEASED = "released"
    ENDED = "ended"
    QUEUED_AGAIN = "queued again"
    STALE = "stale"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state that is allowed, and when it happens, as people read it."""

    event: DeliveryEvent
    becomes: DeliveryState
    why: str


STARTS: Mapping[DeliveryState, str] = {
    DeliveryState.QUEUED: "it is due at once",
    DeliveryState.SCHEDULED: "it takes effect later",
}
"""How a delivery begins, and why so."""

_TO_CLAIMED = Transition(DeliveryEvent.CLAIMED, DeliveryState.CLAIMED, "a worker takes it: it is first in its lanes")
_TO_STALE = Transition(
    DeliveryEvent.STALE, DeliveryState.ENDED, "a change that its sender dated later was applied before it"
)
_TO_WITHDRAWN = Transition(
    DeliveryEvent.WITHDRAWN, DeliveryState.ENDED, "its message was refused after all, before anything was sent"
)
_TO_SUPERSEDED = Transition(
    DeliveryEvent.SUPERSEDED, DeliveryState.ENDED, "a later change of the person leaves nothing to do for it"
)

TRANSITIONS: Mapping[DeliveryState, tuple[Transition, ...]] = {
    DeliveryState.SCHEDULED: (
        Transition(DeliveryEvent.DUE, DeliveryState.QUEUED, "its time has come"),
        _TO_SUPERSEDED,
        _TO_WITHDRAWN,
    ),
    DeliveryState.QUEUED: (
        _TO_CLAIMED,
        Transition(DeliveryEvent.HELD, DeliveryState.HELD, "it ends somebody who is absent from a whole file"),
        _TO_STALE,
        _TO_WITHDRAWN,
    ),
    DeliveryState.CLAIMED: (
        Transition(DeliveryEvent.ENDED, DeliveryState.ENDED, "the attempt ended; its result says how"),
        Transition(DeliveryEvent.RETRY, DeliveryState.RETRY, "the attempt failed in passing"),
        Transition(DeliveryEvent.UNKNOWN, DeliveryState.UNKNOWN, "no answer came: it may have reached the server"),
        Transition(DeliveryEvent.HELD, DeliveryState.HELD, "a person has to decide"),
        Transition(DeliveryEvent.GIVEN_BACK, DeliveryState.QUEUED, "its worker stops, or has to wait, before it began"),
        Transition(
            DeliveryEvent.TAKEN_OVER, DeliveryState.UNKNOWN, "its worker is gone: it may have reached the server"
        ),
    ),
    DeliveryState.RETRY: (_TO_CLAIMED, _TO_STALE, _TO_WITHDRAWN),
    DeliveryState.UNKNOWN: (_TO_CLAIMED, _TO_STALE),
    DeliveryState.HELD: (
        Transition(DeliveryEvent.RELEASED, DeliveryState.QUEUED, "a person released it"),
        _TO_SUPERSEDED,
        Transition(DeliveryEvent.WITHDRAWN, DeliveryState.ENDED, "a person discarded it, or its message was refused"),
    ),
    DeliveryState.ENDED: (
        Transition(
            DeliveryEvent.QUEUED_AGAIN, DeliveryState.QUEUED, "it was only reported, and its destination writes by now"
        ),
        Transition(
            DeliveryEvent.SUPERSEDED, DeliveryState.ENDED, "it was only reported, and a later change was applied since"
        ),
    ),
}
"""Every change of state of a delivery: where it stands -> what may come next. The store lets no other happen."""


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
class Difference:
    """One difference between the server's resource and the planned one. `field` is the HL7 field that asks for it."""

    path: str
    before: Any
    after: Any
    field: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What a feed wrote to a resource: the base of the next three-way merge.

    `resource_type` is the destination's own word. `role_key` is "" for what stands for the person there, and names the part
    for whatever else is written about them (a role, a place in something shared). `values` are the values that the feed
    stands for on that resource. `holds_active` says whether this feed says that the person (or role) is active.
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

    @property
    def is_person(self) -> bool:
        """Whether the resource stands for the person."""
        return not self.role_key


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
    person_id, version of the resource that stands for the person, "" when unknown; `shown`: how people name it there,
                       "Practitioner/42"
    facts              what its reads and its record show of the person: closes steps of their tasks
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
    shown: str = ""


class Link(StrEnum):
    """Who says that a crosswalk entry is right."""

    FOUND = ""  # the identifiers do
    LINKED = "linked"  # a person does, whatever the identifiers say
    FORCED = "forced"  # a person does, whatever name and birth date say, too
    APART = "apart"  # a person says that it is nobody who was found by other identifiers than the staff key


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows before a delivery: the crosswalk and what feeds wrote.

    person_id  the crosswalk's id of the person for (destination, feed, source key), "" when none
    link       who says that it is
    own        what this feed wrote for this source key (the person and their roles)
    ambiguous  an earlier attempt may have reached the server without our learning the result
    lately     ids of further people who were written within the last hour under one of the identifiers, by any feed
    unanswered creates that were given up without an answer, by whatever delivery that shares an identifier: the resource
               type, "" = of whatever type, and when (Unix seconds); see `unsure_since`
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
    unanswered: tuple[tuple[str, float], ...] = ()
    late: bool = False
    confirmed: str = ""

    def unsure_since(self, resource_type: str) -> float:
        """When the last create of that type was given up without an answer, Unix seconds; 0 = none was."""
        return max((at for kind, at in self.unanswered if kind in (resource_type, "")), default=0.0)
