"""A rehearsal: the real delivery, with writing on, against a server of which nothing is asked but to read.

What would be written stays in memory, over what the server holds: a later change of the same person finds what an earlier
one made. So does what the feeds would have written, which the store keeps for real deliveries. What a rehearsal shows is
what the delivery does, as long as nobody else changes the server in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from hl7bridge.destinations.fhir.conversation import Permit
from hl7bridge.destinations.fhir.deliver import deliver
from hl7bridge.destinations.fhir.identity.evidence import words_about
from hl7bridge.destinations.fhir.identity.resolve import SaidBy, WrittenBy
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.capabilities import Capabilities
from hl7bridge.destinations.fhir.wire.client import FhirServer, Parameters, is_unsendable, token
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.model import APPLIED, ElementValue, JsonObject, Known, Outcome, Result, StaffChange, Written
from hl7bridge.model.ordering import seconds_behind

NEW_IDS = "rehearsed-"
_BETWEEN_TOKENS = re.compile(r"(?<!\\),")
_DEALT_WITH = APPLIED | {Result.NOTHING_TO_DO}

KnownOf = Callable[[str, str], Known]


class RehearsalClient:
    """Reads from the server of another client, and keeps to itself what it is told to write."""

    def __init__(self, server: FhirServer) -> None:
        """`server` stays the caller's to close."""
        self._server = server
        self._made: dict[tuple[str, str], JsonObject] = {}

    def read(self, resource_type: str, resource_id: str) -> Reply:
        """As it would stand now."""
        made = self._made.get((resource_type, resource_id))
        return _shown(made) if made is not None else self._server.read(resource_type, resource_id)

    def search(self, resource_type: str, parameters: Parameters) -> Reply:
        """What the server finds, as it would stand now, and what would be found beside it."""
        if any(value.startswith(NEW_IDS) for _, value in parameters):
            reply = Reply(ReplyKind.DONE, 200)  # roles of somebody whom the server does not know
        else:
            reply = self._server.search(resource_type, parameters)
        if not reply.done:
            return reply
        found = [one for one in reply.resources if (resource_type, one["id"]) not in self._made]
        found += [
            made
            for (made_type, _), made in self._made.items()
            if made_type == resource_type and _matches(made, parameters)
        ]
        return replace(reply, resources=tuple(found), total=len(found) if reply.total >= 0 else reply.total)

    def create(self, resource_type: str, body: JsonObject, *, if_none_exist: Parameters = ()) -> Reply:
        """As a server that takes it, with conditional create."""
        if "id" in body or body.get("resourceType") != resource_type:
            return Reply(ReplyKind.PERMANENT, detail="not-sendable")
        if if_none_exist:
            there = self.search(resource_type, if_none_exist)
            if not there.done:
                return there
            if len(there.resources) > 1:
                return Reply(ReplyKind.CONFLICT, 412)
            if there.resources:
                return _shown(there.resources[0])
        made = {**body, "id": f"{NEW_IDS}{len(self._made) + 1}", "meta": {**body.get("meta", {}), "versionId": "1"}}
        self._made[resource_type, made["id"]] = made
        return replace(_shown(made), status=201)

    def update(
        self,
        resource_type: str,
        resource_id: str,
        body: JsonObject,
        *,
        version: str = "",
        seen: JsonObject,
        dropped: frozenset[str] = frozenset(),
    ) -> Reply:
        """As a server that takes it, where it still stands at `version`."""
        if unsendable := is_unsendable(resource_type, resource_id, body, seen, dropped):
            return Reply(ReplyKind.PERMANENT, detail=unsendable)
        there = self.read(resource_type, resource_id)
        if not there.done:
            return there
        if version and there.version and there.version != version:
            return Reply(ReplyKind.CONFLICT, 412)
        number = f"{there.version}+" if there.version else ""
        made = {**body, "meta": {**body.get("meta", {}), **({"versionId": number} if number else {})}}
        self._made[resource_type, resource_id] = made
        return _shown(made)


def _shown(resource: JsonObject) -> Reply:
    return Reply(ReplyKind.DONE, 200, resource, version=str(resource.get("meta", {}).get("versionId", "")))


def _matches(resource: JsonObject, parameters: Parameters) -> bool:
    """Whether a search of ours finds it: by identifiers, any of them, or by the person of a role."""
    asked = dict(parameters)
    if "identifier" in asked:
        wanted = set(_BETWEEN_TOKENS.split(asked["identifier"]))
        carried = (token(one.get("system", ""), one.get("value", "")) for one in resource.get("identifier", []))
        return not wanted.isdisjoint(carried)
    reference = resource.get("practitioner", {}).get("reference")
    return bool(reference == f"Practitioner/{asked['practitioner']}")


class Rehearsal:
    """Changes for one destination, one after the other, each seeing what those before it would have done.

    known, written_by, said_by  what the store knows
    permit  as `deliver` asks it, for each change
    """

    def __init__(
        self,
        rules: DestinationRules,
        client: FhirServer,
        known: KnownOf,
        written_by: WrittenBy,
        said_by: SaidBy = lambda feed, source_key: (),
        *,
        capabilities: Capabilities | None = None,
    ) -> None:
        self.rules, self._client = rules, RehearsalClient(client)
        self._known, self._written_by, self._said_by = known, written_by, said_by
        self._capabilities = capabilities
        self._said: dict[tuple[str, str], tuple[ElementValue, ...]] = {}
        self._people: dict[tuple[str, str], str] = {}
        self._order: dict[tuple[str, str], str] = {}
        self._bases: dict[tuple[str, str, str, str, str], Written] = {}

    def deliver(
        self,
        change: StaffChange,
        feed: str,
        now: datetime,
        *,
        order_time: str = "",
        force: bool = False,
        approved: bool = False,
        permit: Permit = lambda interaction, ends: None,
    ) -> Outcome:
        """What delivering it would do, and remember it as done. `order_time`, `force`: for the stale rule."""
        person = (feed, change.source_key)
        behind = 0.0 if force else seconds_behind(order_time, self._order.get(person, ""))
        if behind and behind >= self.rules.clock_tolerance:
            return Outcome(Result.STALE)
        outcome = deliver(
            change,
            replace(self.known(*person), late=behind > 0),
            feed,
            self.rules,
            self._client,
            self.written_by,
            now,
            capabilities=self._capabilities,
            approved=approved,
            permit=permit,
            said_by=self.said_by,
        )
        self._remember(person, outcome, order_time)
        if outcome.result in APPLIED and (said := words_about(change)):
            self._said[person] = said
        return outcome

    def _remember(self, person: tuple[str, str], outcome: Outcome, order_time: str) -> None:
        if outcome.person_id and (outcome.result in APPLIED or outcome.written):
            self._people[person] = outcome.person_id
        if outcome.result in _DEALT_WITH:
            self._order[person] = max(order_time, self._order.get(person, ""))
        for base in outcome.written:
            base = replace(base, feed=base.feed or person[0], source_key=base.source_key or person[1])
            self._bases[base.feed, base.source_key, base.resource_type, base.resource_id, base.role_key] = base

    def known(self, feed: str, source_key: str) -> Known:
        """What the store knows of the person, and what was rehearsed."""
        stored = self._known(feed, source_key)
        own = self._with_rehearsed(stored.own, lambda base: (base.feed, base.source_key) == (feed, source_key))
        return replace(stored, person_id=self._people.get((feed, source_key), stored.person_id), own=own)

    def said_by(self, feed: str, source_key: str) -> tuple[ElementValue, ...]:
        """What the last record of the person said of name, sex and birth date, a rehearsed one before all."""
        return self._said.get((feed, source_key)) or self._said_by(feed, source_key)

    def written_by(self, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        """What every feed wrote to the resource, rehearsed ones among it."""
        stored = () if resource_id.startswith(NEW_IDS) else self._written_by(resource_type, resource_id)
        of_it = (resource_type, resource_id)
        return self._with_rehearsed(stored, lambda base: (base.resource_type, base.resource_id) == of_it)

    def _with_rehearsed(self, stored: tuple[Written, ...], belongs: Callable[[Written], bool]) -> tuple[Written, ...]:
        bases = {(b.feed, b.source_key, b.resource_type, b.resource_id, b.role_key): b for b in stored}
        bases |= {key: base for key, base in self._bases.items() if belongs(base)}
        return tuple(
            sorted(bases.values(), key=lambda b: (b.resource_type, b.resource_id, b.feed, b.source_key, b.role_key))
        )
