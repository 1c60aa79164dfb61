"""The seam: what everybody above asks of a destination, whatever its kind.

Work goes in, outcomes come back; nobody above names a resource type of a kind, or builds its client. A kind is chosen by
`kind` in the destination's file, and made by the factory of that name (`hl7bridge.assemble.destinations`).

Made for more than one person's record at a time: `deliver` takes several works at once, and the lanes of a work may be those
of something that many people share (a group), so that two works about it never pass each other. Work is a staff change
today; a timer (an end that was announced) and a grant (a place in something shared) are the further kinds of `Work.what`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from hl7bridge.destinations.candidates import Identifying
from hl7bridge.destinations.examining import Examining
from hl7bridge.destinations.policy import Policy
from hl7bridge.model import (
    Difference,
    ElementValue,
    Image,
    Interaction,
    JsonObject,
    Known,
    Outcome,
    StaffChange,
    StaffIdentifier,
    Task,
    Written,
)
from hl7bridge.model.discrepancy import Compared, Discrepancy, SourcePerson

Permit = Callable[[Interaction, bool], Outcome | None]
"""Asked before each write: what happens instead, None = write. Its second argument says whether the write makes an active
person, or their role, inactive because the person leaves."""

Waiting = Callable[[], None]
"""Called before each request, to go slowly; may raise to stop."""


def free(interaction: Interaction, ends: bool) -> Outcome | None:
    """Everything may be written."""
    return None


class Ledger(Protocol):
    """What the store knows of one destination: whom it knows, and what was written there."""

    def known(self, feed: str, source_key: str) -> Known:
        """What is known of a person of a feed."""

    def written_by(self, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        """What every record of this bridge wrote to that resource."""

    def said_by(self, feed: str, source_key: str) -> tuple[ElementValue, ...]:
        """What the last records of that person said of name, sex and birth date."""


class NothingKnown:
    """The ledger of somebody who has no store: nobody was written, nothing was said."""

    def known(self, feed: str, source_key: str) -> Known:
        """Nobody."""
        return Known()

    def written_by(self, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        """Nothing."""
        return ()

    def said_by(self, feed: str, source_key: str) -> tuple[ElementValue, ...]:
        """Nothing."""
        return ()


@dataclass(frozen=True, slots=True)
class Work:
    """Something to bring to a destination.

    what      a staff change
    feed      whose it is
    known     what the store knows of the person
    approved  a person approved what needs approval (mode approve, a reactivation with STF-29)
    permit    asked before each write
    """

    what: StaffChange
    feed: str
    known: Known
    approved: bool = False
    permit: Permit = free


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server says that it offers, as a person wants to know it at a glance.

    software  what it calls itself; `interface`: what it speaks, and which version ("FHIR 4.0.1")
    missing   operations that it does not list, such as "update Practitioner"
    needed    those of them that the destination needs, as its modes stand
    endpoint  where it says that tokens are given, "" where it does not
    detail    what the destination itself goes by; nobody else looks at it
    """

    software: str
    interface: str
    missing: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    endpoint: str = ""
    detail: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """One line for the log."""
        text = f"{self.software}, {self.interface}"
        if not self.missing:
            return f"{text}, offers all that is needed"
        return f"{text}, does not offer: {', '.join(self.missing)}"


@dataclass(frozen=True, slots=True)
class Sought:
    """A resource that this bridge created: its id, the person's, and what was written to it (by every record)."""

    resource_id: str
    person_id: str
    written: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Whether a search found it, and the ids of others that stand for the same person or role."""

    found: bool
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What became of one resource in a restore, or would.

    reason       why, in our own words; `problem`: what stands in the way, "" = nothing; `unreachable`: it may pass
    differences  lead from what stands there now to what stood there before
    kept         what stays although the write changed it: before = what the write left, after = what stands there now
    base         the record's base afterwards, None = it has none
    """

    resource_type: str
    resource_id: str
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    kept: tuple[Difference, ...] = ()
    problem: str = ""
    unreachable: bool = False
    base: Written | None = None


class Rehearsing(Protocol):
    """Works one after the other, each seeing what those before it would have done. Nothing is written."""

    def deliver(
        self,
        change: StaffChange,
        feed: str,
        now: datetime,
        *,
        order_time: str = "",
        force: bool = False,
        approved: bool = False,
        permit: Permit = free,
    ) -> Outcome:
        """What delivering it would do, and remember it as done. `order_time`, `force`: for the stale rule."""


class Comparing(Protocol):
    """One run of the source against the server, reads only. Raises Unreachable when the server can't be asked."""

    def person(self, source: SourcePerson) -> Compared:
        """Compare one person."""

    def strangers(
        self, systems: Mapping[str, str], known: Callable[[str, str], bool], resources: Callable[[str], bool]
    ) -> Iterator[Discrepancy]:
        """Active people with a key of one of our `systems` (identifier system -> feed) that the source does not know.

        known      (feed, key) -> whether the source knows it
        resources  id -> whether the resource is one that was compared
        """


class DestinationWords(Protocol):
    """What people are told of this kind of destination."""

    @property
    def person(self) -> str:
        """What stands for a person there: "Practitioner"."""

    def held_as_refused(self, refused: str, said: str) -> Outcome:
        """For a change that needs an operation which the server has refused before. `said`: the refusal, in our words."""

    def writes_refused(self, name: str, said: str) -> Task:
        """One for the whole destination, however many changes wait."""

    def leaver_unverified(self) -> Task:
        """A leaver whose deactivation takes too long."""

    def second_at_server(self, resource_type: str, resource_id: str, others: Sequence[str]) -> Task:
        """Something that this bridge created stands there twice."""

    def shown(self, person_id: str) -> str:
        """How the person's record is named to people, "Practitioner/42"."""


class Destination(Identifying, Examining, Protocol):
    """One place that staff changes go to. Thread-safe: several workers deliver at once. Nothing here raises for what a
    server does, but where it says so."""

    @property
    def policy(self) -> Policy:
        """Its name, and what may be written."""

    @property
    def essential(self) -> str:
        """The operation without which nothing is to be sent at all: a server that refuses it is paused as a whole."""

    @property
    def words(self) -> DestinationWords:
        """What people are told."""

    def open(self) -> None:
        """Make ready what it takes to ask the server. Raises ConfigError for keys or certificates that cannot be used."""

    def close(self) -> None:
        """Let go of what `open` made."""

    def share(self, slots: int) -> None:
        """Ask no more than `slots` of the policy's requests at one time, and as great a part of its rate: other instances
        ask, too."""

    def lane_keys(self, change: StaffChange, feed: str, person_id: str = "") -> tuple[str, ...]:
        """Opaque, sorted keys. Works that share one are delivered one after the other, in order. Asks no server.
        `person_id`: whom the record is known to be about, "" = not known."""

    def is_written(self, change: StaffChange, feed: str) -> bool | None:
        """Whether what the change leads to is written (or waits for an approval); False: all of it is only reported; None:
        it depends. Asks no server."""

    def receives(self, value: ElementValue | StaffIdentifier, part: str = "") -> bool:
        """Whether a value of a change may be sent there, as the settings say. `part`: what the value is of, in the mapping's
        word ("PractitionerRole"). Asks no server."""

    def offer(self) -> Offer | None:
        """Ask what the server offers; None where it does not say."""

    def deliver(
        self,
        works: Sequence[Work],
        ledger: Ledger,
        now: datetime,
        *,
        offer: Offer | None = None,
        index_lag: float | None = None,
    ) -> list[Outcome]:
        """Bring them there; or, where the mode is report, say what it would do. One outcome for each, in order.

        now        aware; the date of an end that the message does not date
        offer      what the server offers, None = not asked: everything is tried
        index_lag  how far its searches lag behind as it was measured, seconds; None = as configured
        """

    def rehearsal(self, ledger: Ledger, *, as_if_writing: bool = False, offer: Offer | None = None) -> Rehearsing:
        """Plan works upon what the server holds. `as_if_writing`: as if every mode were write."""

    def comparison(
        self, ledger: Ledger, *, before: Waiting, sleep: Callable[[float], None], clock: Callable[[], float]
    ) -> Comparing:
        """A run that compares."""

    def look_again(
        self, resource_type: str, sought: Sequence[Sought], is_ours: Callable[[str], bool]
    ) -> tuple[Mapping[str, Sighting], int | None]:
        """By id what a search shows of each, and the status of the reply that failed, if one did: then of the rest nothing
        is known. `is_ours`: whether this bridge wrote the resource of that id; such a one is no second one."""

    def to_take_back(self, images: Sequence[Image], person_id: str) -> tuple[Image, ...]:
        """One image for each resource that a delivery wrote: as its first write found it, as its last one left it."""

    def take_back(
        self, image: Image, mine: tuple[str, str], ledger: Ledger, now: datetime, *, write: bool
    ) -> TakenBack:
        """Plan, and if `write` make, the way back of one resource. `mine`: (feed, source key) whose delivery it was."""

    def roster(self, resource_type: str = "", *, before: Waiting | None = None) -> Iterable[JsonObject]:
        """Everybody whom the server holds, or all resources of a type. Iterating raises Unreachable."""
