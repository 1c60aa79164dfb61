"""What a kind of destination is that says nothing else of itself: a base class for kinds, and words in neutral terms.

A kind has to say how works are delivered and rehearsed. Of the rest it overrides what it has. What it has not is never made
up: whoever asks for it reads that the destination does not offer it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from hl7bridge.destinations import reasons
from hl7bridge.destinations.candidates import Candidate, Fact
from hl7bridge.destinations.examining import Carrier, Checked, Diagnosis, Listing, Registration, State, TokenAnswer
from hl7bridge.destinations.policy import Policy
from hl7bridge.destinations.protocol import (
    Comparing,
    Destination,
    DestinationWords,
    Ledger,
    Offer,
    Permit,
    Sighting,
    Sought,
    TakenBack,
    Waiting,
    Work,
    free,
)
from hl7bridge.errors import ConfigError, NotOffered
from hl7bridge.model import (
    LEAVER_UNVERIFIED,
    PERSON_INACTIVE,
    WRITES_REFUSED,
    Check,
    ElementValue,
    Image,
    JsonObject,
    Outcome,
    Result,
    StaffChange,
    StaffIdentifier,
    Task,
)

SOON = 15 * 60.0  # seconds within which somebody sees to what lets people's access go on


class PlainWords:
    """What people are told of a destination that has no words of its own: of people, records and the destination."""

    person = "person"

    def held_as_refused(self, refused: str, said: str) -> Outcome:
        """A person makes the change there."""
        steps = (
            f"{said}.",
            "Make the planned change at the destination itself.",
            "Record who did it and when, then close this task.",
        )
        task = Task(reasons.BY_HAND, f"A change waits that the destination does not take ({refused})", steps)
        return Outcome(Result.HELD, reasons.INTERNAL, reasons.NOT_OFFERED, said, tasks=(task,), refused=refused)

    def writes_refused(self, name: str, said: str) -> Task:
        """Have the permission given."""
        steps = (
            f"{said}. Nothing more is sent to {name}; changes are taken and queued.",
            'Ask the destination\'s owner for the permission; or set mode = "report", if writing is not meant.',
            f"Then: hl7bridge destination retry-writes {name} --reason WHY.",
            "See to leavers by hand meanwhile: their access goes on.",
        )
        return Task(WRITES_REFUSED, "The destination takes no writes from us", steps, due_within=SOON)

    def leaver_unverified(self) -> Task:
        """See to the leaver; what shows that they are inactive closes it."""
        steps = (
            "The source said that the person leaves, and nothing shows so far that they are inactive at the destination.",
            "See what holds it: hl7bridge hold list, hl7bridge destination list.",
            "End the person's access by hand meanwhile, and have the change released or the destination mended.",
        )
        check = Check(PERSON_INACTIVE, "The person is inactive at the destination.")
        title = "A leaver is not shown to be inactive yet"
        return Task(LEAVER_UNVERIFIED, title, steps, due_within=SOON, checks=(check,), by_facts=True)

    def second_at_server(self, resource_type: str, resource_id: str, others: Sequence[str]) -> Task:
        """Have them merged."""
        steps = (
            f"This bridge created {resource_type} {resource_id}; {', '.join(others[:5])} stands for the same.",
            "Compare them, and have them merged at the destination; this bridge deletes nothing.",
            f"This bridge goes on with {resource_type} {resource_id}.",
        )
        return Task("second-at-server", "Somebody or something stands at the destination twice", steps)

    def shown(self, person_id: str) -> str:
        """Their id there."""
        return person_id


class NothingExamined:
    """`hl7bridge.destinations.examining.Examining` of a kind of which there is nothing to see but whether it opens."""

    policy: Policy

    def open(self) -> None:
        """Nothing has to be made ready."""

    def check(self, now: float) -> Iterator[Checked]:
        """Nothing but the mode."""
        yield Checked(State.OK, f"{self.policy.name}: mode {self.policy.mode}")

    def public_keys(self) -> tuple[JsonObject, ...]:
        """It signs nothing."""
        return ()

    def examine(self, person: str = "", *, clock: Callable[[], float] = time.time) -> Iterator[Diagnosis]:
        """Whether deliveries could begin. Nobody is looked for."""
        try:
            self.open()
        except ConfigError as error:
            fixes = (error.advice,) if error.advice else ()
            yield Diagnosis("open", State.PROBLEM, "unusable", "it can't be used", str(error), fixes, unreachable=True)
            return
        yield Diagnosis("open", State.OK, "opened", "it can be used; more is not examined at this kind of destination")
        if person:
            yield Diagnosis("person", State.SKIPPED, "not-offered", "nobody can be looked up at it", of_people=True)

    def look_up(self, person: str) -> tuple[Carrier, ...]:
        """Raises NotOffered."""
        raise NotOffered(self.policy.name, "look-up of people by an identifier")

    def try_token(self) -> TokenAnswer | None:
        """It asks for none."""
        return None

    def registration(self) -> Registration | None:
        """Nobody has to register this bridge."""
        return None

    def people(self, *, with_roles: bool = False) -> Listing:
        """Raises NotOffered."""
        raise NotOffered(self.policy.name, "roster")


class NobodyIdentified:
    """`hl7bridge.destinations.candidates.Identifying` of a kind that finds nobody by search: each staff key is a person of
    its own, whose id the kind makes of it."""

    policy: Policy
    person_type = "Person"

    def is_id(self, text: str) -> bool:
        """Whatever can be seen, and has no space around it."""
        return bool(text) and text.isprintable() and text == text.strip()

    def candidate(self, person: JsonObject) -> Candidate:
        """As they were described: see `plainly`."""
        return plainly(person)

    def read(self, person_id: str) -> Candidate | None:
        """Raises NotOffered."""
        raise NotOffered(self.policy.name, "way to read a person by their id")

    def bears(self, candidate: Candidate, key: StaffIdentifier) -> bool:
        """As far as the description says."""
        return any(value == key.value for _, value in candidate.keys)

    def differences(self, change: StaffChange, candidate: Candidate) -> tuple[str, ...]:
        """Nothing tells people apart."""
        return ()


def plainly(summary: JsonObject) -> Candidate:
    """Somebody of whom nobody knows more than a summary says: its texts, by their names there."""
    person_id = str(summary.get("id", ""))
    facts = (Fact(label, text) for label, text in summary.items() if isinstance(text, str) and label != "id")
    return Candidate(person_id, person_id, tuple(facts), summary=summary)


class PlainDestination(NothingExamined, NobodyIdentified):
    """What a `hl7bridge.destinations.protocol.Destination` is but for `deliver` and `rehearsal`."""

    essential = reasons.operation("Person", "update")
    words: DestinationWords = PlainWords()

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def close(self) -> None:
        """Nothing is open."""

    def share(self, slots: int) -> None:
        """It takes whatever comes."""

    def lane_keys(self, change: StaffChange, feed: str, person_id: str = "") -> tuple[str, ...]:
        """Of the feed's own record alone."""
        return (f"{feed} {change.source_key}",)

    def is_written(self, change: StaffChange, feed: str) -> bool | None:
        """As the modes and the cohort say."""
        return self.policy.is_written(change, feed)

    def receives(self, value: ElementValue | StaffIdentifier, part: str = "") -> bool:
        """Whatever is mapped."""
        return True

    def offer(self) -> Offer | None:
        """It does not say."""
        return None

    def comparison(
        self, ledger: Ledger, *, before: Waiting, sleep: Callable[[float], None], clock: Callable[[], float]
    ) -> Comparing:
        """Raises NotOffered."""
        raise NotOffered(self.policy.name, "comparison with the source")

    def look_again(
        self, resource_type: str, sought: Sequence[Sought], is_ours: Callable[[str], bool]
    ) -> tuple[Mapping[str, Sighting], int | None]:
        """There is no search: of none of them anything is known."""
        return {}, None

    def to_take_back(self, images: Sequence[Image], person_id: str) -> tuple[Image, ...]:
        """The latest first."""
        return one_of_each(images)

    def take_back(
        self, image: Image, mine: tuple[str, str], ledger: Ledger, now: datetime, *, write: bool
    ) -> TakenBack:
        """Nothing is: it says that."""
        problem = f"{NotOffered(self.policy.name, 'way to take a write back')}"
        return TakenBack(image.resource_type, image.resource_id, problem=problem)

    def roster(self, resource_type: str = "", *, before: Waiting | None = None) -> Iterable[JsonObject]:
        """Raises NotOffered."""
        raise NotOffered(self.policy.name, "roster")


class PlainRehearsal:
    """Works delivered to a twin of the destination, which keeps to itself what is written. There is no stale rule."""

    def __init__(self, twin: Destination, ledger: Ledger) -> None:
        self._twin, self._ledger = twin, ledger

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
        """As the destination would."""
        work = Work(change, feed, self._ledger.known(feed, change.source_key), approved, permit)
        return self._twin.deliver([work], self._ledger, now)[0]


def one_of_each(images: Sequence[Image]) -> tuple[Image, ...]:
    """One image for each resource: as the first write found it, as the last one left it; the latest resource first."""
    found: dict[tuple[str, str], Image] = {}
    for image in images:
        this = (image.resource_type, image.resource_id)
        first = found.get(this, image)
        found[this] = replace(image, before=first.before, own=first.own)
    return tuple(reversed(found.values()))
