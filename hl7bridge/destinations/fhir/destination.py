"""A FHIR R4 server as a destination: what `hl7bridge.destinations.protocol` asks for, answered by this room."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from hl7bridge.destinations import reasons
from hl7bridge.destinations.candidates import Candidate
from hl7bridge.destinations.examining import Carrier, Checked, Diagnosis, Registration, TokenAnswer
from hl7bridge.destinations.fhir import outcomes, tasks
from hl7bridge.destinations.fhir.compare import Comparison
from hl7bridge.destinations.fhir.deliver import deliver
from hl7bridge.destinations.fhir.desired import allowed, system_at
from hl7bridge.destinations.fhir.examine.credentials import Credentials
from hl7bridge.destinations.fhir.identity.candidates import bears, candidate_of, read_candidate
from hl7bridge.destinations.fhir.identity.resolve import differences_of_person, lane_keys
from hl7bridge.destinations.fhir.identity.second_look import look_for_people, look_for_roles, second_task
from hl7bridge.destinations.fhir.rehearsal import Rehearsal
from hl7bridge.destinations.fhir.restore import combined
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.take_back import take_back
from hl7bridge.destinations.fhir.wire.capabilities import (
    READING,
    WRITING,
    Capabilities,
    not_offered,
    read_capabilities,
    written,
)
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import is_id
from hl7bridge.destinations.fhir.wire.roster import Roster
from hl7bridge.destinations.policy import WRITE
from hl7bridge.destinations.protocol import Ledger, Offer, Sighting, Sought, TakenBack, Waiting, Work
from hl7bridge.errors import ConfigError
from hl7bridge.model import ElementValue, Image, JsonObject, Outcome, StaffChange, StaffIdentifier, Task

if TYPE_CHECKING:
    from hl7bridge.destinations.fhir.examine.listing import PeopleListing

PERSON = "Practitioner"
_LONGEST = 80  # characters of what a server calls itself


class FhirWords:
    """What people are told of a FHIR server."""

    person = PERSON

    def held_as_refused(self, refused: str, said: str) -> Outcome:
        """The write is to be made by hand."""
        return outcomes.latched(refused, said)

    def writes_refused(self, name: str, said: str) -> Task:
        """Ask for the permission."""
        return outcomes.writes_refused_task(name, said)

    def leaver_unverified(self) -> Task:
        """See to the leaver; a read that shows that the Practitioner is inactive closes it."""
        return tasks.leaver_unverified()

    def second_at_server(self, resource_type: str, resource_id: str, others: Sequence[str]) -> Task:
        """Have them merged."""
        return second_task(resource_type, resource_id, others)

    def shown(self, person_id: str) -> str:
        """The resource's relative URL."""
        return f"{PERSON}/{person_id}"


class FhirDestination:
    """One FHIR server.

    connect      makes its client, with the first request or `open`; it may raise ConfigError
    credentials  what its settings say of its authorization; only an examination looks at them
    odd          what is odd in its settings as they are written, for who checks them
    """

    essential = reasons.operation(PERSON, "update")
    person_type = PERSON
    words = FhirWords()

    def __init__(
        self,
        rules: DestinationRules,
        connect: Callable[[], FhirClient] | None = None,
        credentials: Credentials | None = None,
        odd: Sequence[ConfigError] = (),
    ) -> None:
        self.policy = rules
        self._credentials, self._odd = credentials or Credentials(rules.name), odd
        self._connect = connect or (lambda: FhirClient(rules))
        self._lock = threading.Lock()
        self._client: FhirClient | None = None
        self._slots = rules.in_flight

    @property
    def client(self) -> FhirClient:
        """The client; for this room alone."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
                self._client.budget.share(self._slots)
            return self._client

    def open(self) -> None:
        """Read the key and the certificates. Raises ConfigError."""
        _ = self.client

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def share(self, slots: int) -> None:
        """Of everything that its client asks, whoever wants to know."""
        with self._lock:
            self._slots = slots
            if self._client is not None:
                self._client.budget.share(slots)

    def lane_keys(self, change: StaffChange, feed: str, person_id: str = "") -> tuple[str, ...]:
        """One key per identifier, one for the feed's own record, and one for the Practitioner."""
        return lane_keys(change, feed, self.policy, person_id)

    def is_written(self, change: StaffChange, feed: str) -> bool | None:
        """As the modes and the cohort say."""
        return self.policy.is_written(change, feed)

    def receives(self, value: ElementValue | StaffIdentifier, part: str = "") -> bool:
        """As [elements] says; an identifier needs a system, too."""
        if isinstance(value, StaffIdentifier):
            return bool(system_at(value, self.policy))
        return part not in self.policy.withheld and bool(allowed(part, [value], self.policy))

    def offer(self) -> Offer | None:
        """The CapabilityStatement; None where there is none, or it lists nothing."""
        read = read_capabilities(self.client)
        if not isinstance(read, Capabilities) or not read.resources:
            return None
        return offer_of(read, self.client.smart_configuration().resource, self.policy)

    def deliver(
        self,
        works: Sequence[Work],
        ledger: Ledger,
        now: datetime,
        *,
        offer: Offer | None = None,
        index_lag: float | None = None,
    ) -> list[Outcome]:
        """One after the other: a FHIR server takes one person at a time."""
        rules = self.policy if index_lag is None else replace(self.policy, index_lag=index_lag)
        outcomes = [
            deliver(
                work.what,
                work.known,
                work.feed,
                rules,
                self.client,
                ledger.written_by,
                now,
                capabilities=_capabilities(offer),
                approved=work.approved,
                permit=work.permit,
                said_by=ledger.said_by,
            )
            for work in works
        ]
        return [replace(one, shown=self.words.shown(one.person_id)) if one.person_id else one for one in outcomes]

    def rehearsal(self, ledger: Ledger, *, as_if_writing: bool = False, offer: Offer | None = None) -> Rehearsal:
        """The real delivery, upon a server of which nothing is asked but to read."""
        rules = replace(self.policy, mode=WRITE, modes={}) if as_if_writing else self.policy
        return Rehearsal(
            rules, self.client, ledger.known, ledger.written_by, ledger.said_by, capabilities=_capabilities(offer)
        )

    def comparison(
        self,
        ledger: Ledger,
        *,
        before: Waiting = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> Comparison:
        """Reads one person at a time."""
        return Comparison(self.client, self.policy, ledger.written_by, before=before, sleep=sleep, clock=clock)

    def look_again(
        self, resource_type: str, sought: Sequence[Sought], is_ours: Callable[[str], bool]
    ) -> tuple[Mapping[str, Sighting], int | None]:
        """Many people in one search."""
        if resource_type == PERSON:
            seen, failed = look_for_people(self.client, sought)
        else:
            seen, failed = look_for_roles(self.client, sought, is_ours)
        return seen, failed.status if failed is not None else None

    def to_take_back(self, images: Sequence[Image], person_id: str) -> tuple[Image, ...]:
        """The latest resource first."""
        return combined(images, person_id)

    def take_back(
        self, image: Image, mine: tuple[str, str], ledger: Ledger, now: datetime, *, write: bool
    ) -> TakenBack:
        """Read, planned, written and verified."""
        return take_back(self.client, image, mine, ledger, now, write=write)

    def roster(self, resource_type: str = "", *, before: Waiting | None = None) -> Iterable[JsonObject]:
        """Page after page."""
        return Roster(self.client, resource_type or PERSON, before=before or (lambda: None))

    def is_id(self, text: str) -> bool:
        """Whether it may stand as a logical id in a URL."""
        return is_id(text)

    def candidate(self, person: JsonObject) -> Candidate:
        """Of a Practitioner."""
        return candidate_of(person)

    def read(self, person_id: str) -> Candidate | None:
        """One read. Raises ConfigError as `open` does."""
        return read_candidate(self.client, person_id)

    def bears(self, candidate: Candidate, key: StaffIdentifier) -> bool:
        """By Practitioner.identifier, but for those of use "old"."""
        return bears(candidate, key, self.policy)

    def differences(self, change: StaffChange, candidate: Candidate) -> tuple[str, ...]:
        """Family names and birth dates."""
        return differences_of_person(change, candidate.summary)

    def check(self, now: float) -> Iterator[Checked]:
        """Certificates, key and settings."""
        from hl7bridge.destinations.fhir.examine.checking import check

        return check(self.policy, self._credentials, self._odd, now)

    def public_keys(self) -> tuple[JsonObject, ...]:
        """That of the client assertion, under the id that the server knows it by."""
        key = self._credentials.key()
        return () if key is None else (key.public_jwk(self._credentials.key_id),)

    def examine(self, person: str = "", *, clock: Callable[[], float] = time.time) -> Iterator[Diagnosis]:
        """Over connections of its own, which let nothing out but reads. `person`: an NPI."""
        from hl7bridge.destinations.fhir.examine.examination import examine

        return examine(self.policy, self._credentials, person, clock)

    def look_up(self, person: str) -> tuple[Carrier, ...]:
        """Searches alone. `person`: an NPI."""
        from hl7bridge.destinations.fhir.examine.lookup import look_up

        return look_up(self.client, person)

    def people(self, *, with_roles: bool = False) -> PeopleListing:
        """Every Practitioner."""
        from hl7bridge.destinations.fhir.examine.listing import PeopleListing

        return PeopleListing(self.client, with_roles=with_roles)

    def try_token(self) -> TokenAnswer | None:
        """SMART Backend Services."""
        from hl7bridge.destinations.fhir.examine.granting import try_token

        return try_token(self.policy.name, self._credentials)

    def registration(self) -> Registration:
        """Of a backend client."""
        from hl7bridge.destinations.fhir.examine.registering import registration

        return registration(self.policy, self._credentials)


def offer_of(read: Capabilities, smart: JsonObject | None, rules: DestinationRules) -> Offer:
    """What a server says of itself, in its CapabilityStatement and its .well-known/smart-configuration."""
    software = "".join(sign for sign in read.software if sign.isprintable())[:_LONGEST]
    endpoint = (smart or {}).get("token_endpoint")
    return Offer(
        software or "a server without a name",
        f"FHIR {read.fhir_version[:20] or 'unknown'}",
        not_offered(read, rules, (*READING, *WRITING)),
        not_offered(read, rules, (*READING, *written(rules))),
        endpoint if isinstance(endpoint, str) else "",
        detail=read,
    )


def _capabilities(offer: Offer | None) -> Capabilities | None:
    detail = offer.detail if offer is not None else None
    return detail if isinstance(detail, Capabilities) else None
