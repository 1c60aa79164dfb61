"""The source against a server as it is: one person at a time, reads only.

Content is compared, never dates or versions (servers leave them out, or change them for nothing). What was applied is
compared with what this bridge stands for; what was not (reported, held, queued) is planned upon the server's resource by
the functions that plan deliveries, in memory, and what the plan would change is what differs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from hl7bridge.destinations.fhir.desired import is_over
from hl7bridge.destinations.fhir.identity.resolve import Match, Memory, Resolution, resolve
from hl7bridge.destinations.fhir.identity.systems import canonical_system
from hl7bridge.destinations.fhir.merging.merge import covers, essence, identity_key
from hl7bridge.destinations.fhir.plan import ORDER, SINGLE, held_by_others, plan_practitioner, plan_role
from hl7bridge.destinations.fhir.roles import is_of_person, role_at_server, role_intents
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.fhir.wire.roster import Roster
from hl7bridge.errors import Unreachable
from hl7bridge.model import Action, Difference, JsonObject, Kind, StaffChange, StaffIdentifier, Written
from hl7bridge.model.discrepancy import Compared, Discrepancy, Found, SourcePerson

TRIES = 3
NEW = "new-"  # id of a role that is only planned; no FHIR id is asked for by it


WrittenBy = Callable[[str, str], tuple[Written, ...]]


class Comparison:
    """One run against one destination.

    written_by  (resource type, id) -> what every record of this bridge wrote to that resource
    before      called before each request, to go slowly; may raise to stop
    Its methods raise Unreachable when the server can't be asked (no token, no connection, forbidden).
    """

    def __init__(
        self,
        client: FhirClient,
        rules: DestinationRules,
        written_by: WrittenBy,
        *,
        before: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.client, self.rules, self.written_by = client, rules, written_by
        self.before, self.sleep, self.clock = before, sleep, clock

    def person(self, source: SourcePerson) -> Compared:
        """Compare one person."""
        return _Person(self, source).seen()

    def strangers(
        self, systems: Mapping[str, str], known: Callable[[str, str], bool], resources: Callable[[str], bool]
    ) -> Iterator[Discrepancy]:
        """Active Practitioners with a key of one of our `systems` (system -> feed) that the source does not know.

        known      (feed, key) -> whether the source knows it
        resources  id -> whether the resource is one that we compared
        """
        feeds = {canonical_system(system): feed for system, feed in systems.items()}
        for person in Roster(self.client, "Practitioner", before=self.before, sleep=self.sleep):
            if person.get("active") is False or resources(person["id"]):
                continue
            keys = [
                (feeds[canonical_system(one["system"])], one["value"].strip())
                for one in person.get("identifier", [])
                if isinstance(one.get("system"), str)
                and isinstance(one.get("value"), str)
                and canonical_system(one["system"]) in feeds
            ]
            strange = [(feed, key) for feed, key in keys if not known(feed, key)]
            if strange and len(strange) == len(keys):
                feed, key = strange[0]
                yield Discrepancy(Found.EXTRA, feed, key, "Practitioner", person["id"], self.clock())

    def asked(self, ask: Callable[[], Reply]) -> Reply:
        """A reply, asked for again where the server fails in passing. Raises Unreachable."""
        for attempt in range(1, TRIES + 1):
            self.before()
            reply = ask()
            for _ in reply.exchanges[1:]:  # each request costs its time
                self.before()
            if reply.kind not in (ReplyKind.TRANSIENT, ReplyKind.UNREACHABLE) or attempt == TRIES:
                break
            self.sleep(min(max(reply.retry_after, 2.0 ** (attempt - 1)), 60.0))
        return self.checked(reply)

    def checked(self, reply: Reply) -> Reply:
        """The reply, unless it says that nothing can be asked at all. Raises Unreachable."""
        stops = (ReplyKind.TRANSIENT, ReplyKind.UNREACHABLE, ReplyKind.AUTH, ReplyKind.FORBIDDEN, ReplyKind.DISABLED)
        if reply.kind in stops:
            status = f", status {reply.status}" if reply.status else ""
            detail = f", {reply.detail}" if reply.detail else ""
            raise Unreachable(f"the server cannot be read: {reply.kind.value}{status}{detail}")
        return reply


@dataclass(slots=True)
class _Person:
    """The comparison of one person."""

    run: Comparison
    source: SourcePerson
    found: list[Discrepancy] = field(default_factory=list)
    verified: float = 0.0

    def seen(self) -> Compared:
        source = self.source
        who = source.latest if source.latest is not None and source.latest.identifiers else _pseudonym(source)
        resolution = self._resolved(who)
        self.verified = self.run.clock()
        match, server = resolution.match, resolution.resource
        if _is_partial(server):
            server = self._whole(resolution.person_id)
        if match is Match.FAILED:
            self._add(Found.UNVERIFIED, resource_id=source.known.person_id)
            return Compared(tuple(self.found), source.known.person_id, None, self.verified)
        if match in (Match.NONE, Match.GONE):
            self._nobody()
            return Compared(tuple(self.found), "", None, self.verified)
        if server is None:
            note = f"{resolution.local}: {resolution.text}" if resolution.local else resolution.text
            self._add(Found.UNCLEAR, resource_id=source.known.person_id, note=note)
            return Compared(tuple(self.found), source.known.person_id, None, self.verified)
        if source.known.person_id and source.known.person_id != server["id"]:
            self._add(Found.MOVED, resource_id=server["id"], note=f"was Practitioner/{source.known.person_id}")
        self._somebody(server)
        return Compared(tuple(self.found), server["id"], server.get("active") is not False, self.verified)

    def _resolved(self, who: StaffChange) -> Resolution:
        run = self.run
        for attempt in range(1, TRIES + 1):
            run.before()
            memory = Memory(self.source.feed, run.written_by)
            resolution = resolve(run.client, who, self.source.known, run.rules, memory)
            for _ in resolution.exchanges[1:]:  # each request costs its time
                run.before()
            reply = resolution.reply
            failed = resolution.match is Match.FAILED and reply is not None
            if not failed or reply is None or reply.kind not in (ReplyKind.TRANSIENT, ReplyKind.UNREACHABLE):
                break
            if attempt < TRIES:
                run.sleep(min(max(reply.retry_after, 2.0 ** (attempt - 1)), 60.0))
        if resolution.match is Match.FAILED and resolution.reply is not None:
            run.checked(resolution.reply)
        return resolution

    def _whole(self, person_id: str) -> JsonObject | None:
        """The resource of which a search gave a part."""
        reply = self.run.asked(lambda: self.run.client.read("Practitioner", person_id))
        return reply.resource if reply.done else None

    def _add(
        self,
        kind: Found,
        resource_type: str = "Practitioner",
        resource_id: str = "",
        differences: tuple[Difference, ...] = (),
        note: str = "",
    ) -> None:
        source = self.source
        self.found.append(
            Discrepancy(
                kind, source.feed, source.source_key, resource_type, resource_id, self.verified, differences, note
            )
        )

    # --- the person --------------------------------------------------------------------------------------------------

    @property
    def _says(self) -> bool | None:
        """What the source says of the person being active, by the rules of this destination."""
        if self.source.away:
            return False if self.run.rules.b05_deactivates else None
        return self.source.says

    def _own(self, person_id: str) -> Written | None:
        own = [base for base in self.source.known.own if base.resource_type == "Practitioner"]
        return next((base for base in own if base.resource_id == person_id), None)

    def _others(self, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        mine = (self.source.feed, self.source.source_key)
        written = self.run.written_by(resource_type, resource_id)
        return tuple(base for base in written if (base.feed, base.source_key) != mine)

    def _nobody(self) -> None:
        """Nobody carries the person's identifiers: they are missing, unless the source says that they have left."""
        known = self.source.known
        if known.person_id:
            own = self._own(known.person_id)
            settled = own is not None and not self.source.waiting
            expected = own.holds_active if own is not None and settled else self._says is not False
            if expected:
                self._add(Found.GONE, resource_id=known.person_id)
        elif self._says is not False and any(change.complete and _creates(change) for change in self.source.waiting):
            self._add(Found.MISSING, note=self.source.why)

    def _somebody(self, server: JsonObject) -> None:
        rules, person_id = self.run.rules, str(server["id"])
        own, others = self._own(person_id), self._others("Practitioner", person_id)
        planned, base = self._planned(server, own, others)
        before, after = server.get("active") is not False, planned.get("active") is not False
        gone = not base.holds_active if base is not None else self._says is False
        ended = gone and rules.lifecycle_scope != "role" and not held_by_others(others)
        active_differs = (Difference("active", server.get("active"), not before),)
        if before and (not after or ended):
            self._add(Found.ACTIVE, resource_id=person_id, differences=active_differs, note=self.source.why)
        elif not before and (after or (base is not None and base.holds_active)):
            self._add(Found.INACTIVE, resource_id=person_id, differences=active_differs, note=self.source.why)
        behind = _differing("Practitioner", server, planned)
        elements = {difference.path for difference in behind}
        changed = [one for one in self._lost(own, server, others) if one.path not in elements]
        if changed:
            self._add(Found.CHANGED, resource_id=person_id, differences=tuple(changed))
        if behind:
            self._add(Found.BEHIND, resource_id=person_id, differences=behind, note=self.source.why)
        self._roles(person_id, person_active=after)

    def _planned(
        self, server: JsonObject, own: Written | None, others: tuple[Written, ...]
    ) -> tuple[JsonObject, Written | None]:
        """The server's resource, and our base, as they would be with all that is not applied yet."""
        body, now = server, datetime.fromtimestamp(self.verified, UTC)
        for change in self.source.waiting:
            if change.only_if_missing:
                continue
            confirmed = self.source.known.confirmed
            interaction = plan_practitioner(
                change, self.source.feed, self.run.rules, body, own, others, now, confirmed=confirmed
            )
            body, own = interaction.body or body, interaction.written or own
        return body, own

    def _lost(self, own: Written | None, server: JsonObject, others: tuple[Written, ...]) -> Iterator[Difference]:
        """Values of ours that the resource does not say any more, but for those that another feed has replaced."""
        rules = self.run.rules
        for value in own.values if own is not None else ():
            element = value.element
            if "." in element:
                continue
            bare, now = essence(element, value.value), server.get(element)
            if element in SINGLE:
                theirs = [other.value for base in others for other in base.values if other.element == element]
                if covers(now, bare) or (now is not None and any(covers(now, essence(element, one)) for one in theirs)):
                    continue
                yield Difference(element, now, value.value, value.provenance.text)
                continue
            items = now if isinstance(now, list) else []
            if any(covers(item, bare) for item in items):
                continue
            key, rank = identity_key(element, value.value), rules.rank(element, self.source.feed)
            before = [
                other.value
                for base in others
                for other in base.values
                if other.element == element and rules.rank(element, base.feed) < rank
            ]
            if key is not None and any(identity_key(element, one) == key for one in before):
                continue
            alike = next((item for item in items if key is not None and identity_key(element, item) == key), None)
            yield Difference(element, alike, value.value, value.provenance.text)

    # --- the roles ---------------------------------------------------------------------------------------------------

    def _roles(self, person_id: str, *, person_active: bool) -> None:
        rules = self.run.rules
        own = [base for base in self.source.known.own if base.resource_type == "PractitionerRole" and base.resource_id]
        speaks = any(change.roles or change.shared_role or own for change in self.source.waiting)
        if "PractitionerRole" in rules.withheld or not (own or speaks):
            return
        reply = self.run.asked(
            lambda: self.run.client.search("PractitionerRole", [("practitioner", person_id), ("_count", "50")])
        )
        if not reply.done:
            self._add(Found.UNVERIFIED, "PractitionerRole", note="the roles of the person")
            return
        roles = {role["id"]: role for role in reply.resources if is_of_person(role, person_id)}
        for base in own:
            if base.resource_id not in roles and (base.holds_active or base.values):
                role = self._read_role(base.resource_id)
                if role is not None and is_of_person(role, person_id):
                    roles[role["id"]] = role
        planned, settled = self._planned_roles(person_id, own, roles, person_active=person_active)
        for base in own:
            if base.resource_id not in settled:
                self._role(base, roles.get(base.resource_id))
        for role_id, role in planned.items():
            if role_id.startswith(NEW):
                if role.get("active") is not False:
                    unit = tuple(Difference(e, None, role[e]) for e in ORDER["PractitionerRole"] if e in role)
                    self._add(Found.ROLE_MISSING, "PractitionerRole", differences=unit, note=self.source.why)
                continue
            now = roles[role_id]
            active = _differing("PractitionerRole", now, role, only="active")
            rest = _differing("PractitionerRole", now, role)
            if active:
                # That the roles follow the person is no finding of its own.
                kind = Found.ROLE_INACTIVE if now.get("active") is False else Found.ROLE_ACTIVE
                if not {Found.ACTIVE, Found.INACTIVE} & {one.kind for one in self.found}:
                    self._add(kind, "PractitionerRole", role_id, active + rest, self.source.why)
            elif rest:
                self._add(Found.BEHIND, "PractitionerRole", role_id, rest, self.source.why)

    def _read_role(self, role_id: str) -> JsonObject | None:
        reply = self.run.asked(lambda: self.run.client.read("PractitionerRole", role_id))
        return reply.resource if reply.done else None

    def _role(self, base: Written, role: JsonObject | None) -> None:
        """One role of ours, all of it applied."""
        others = self._others("PractitionerRole", base.resource_id)
        if role is None:
            if base.holds_active:
                self._add(Found.ROLE_MISSING, "PractitionerRole", base.resource_id)
            return
        active = role.get("active") is not False
        differs = (Difference("active", role.get("active"), not active),)
        if active and not base.holds_active and not held_by_others(others) and base.values:
            self._add(Found.ROLE_ACTIVE, "PractitionerRole", base.resource_id, differs)
        elif base.holds_active and not active and not self._has_ended(role):
            self._add(Found.ROLE_INACTIVE, "PractitionerRole", base.resource_id, differs)
        lost = tuple(self._lost(base, role, others))
        if lost and base.holds_active:
            self._add(Found.CHANGED, "PractitionerRole", base.resource_id, lost)

    def _has_ended(self, role: JsonObject) -> bool:
        """Whether the role's own period is over, so that it is rightly inactive."""
        return is_over(str(role.get("period", {}).get("end", "")), datetime.fromtimestamp(self.verified, UTC))

    def _planned_roles(
        self, person_id: str, own: list[Written], roles: Mapping[str, JsonObject], *, person_active: bool
    ) -> tuple[dict[str, JsonObject], set[str]]:
        """The roles as they would be with all that is not applied yet: those that change, or are new; and the ids of all
        that were planned."""
        there, bases = dict(roles), {base.role_key: base for base in own}
        rules, now = self.run.rules, datetime.fromtimestamp(self.verified, UTC)
        settled: set[str] = set()
        for change in self.source.waiting:
            if change.only_if_missing:
                continue
            intents = role_intents(change, tuple(bases.values()), rules, person_active=person_active)
            taken = {base.resource_id for base in bases.values()}
            taken |= {role_id for role_id in roles if self._others("PractitionerRole", role_id)}
            for intent in intents:
                role = role_at_server(intent, person_id, tuple(there.values()), taken, rules)
                others = self._others("PractitionerRole", role["id"]) if role and role["id"] in roles else ()
                confirmed = self.source.known.confirmed
                plan = plan_role(
                    change, intent, self.source.feed, rules, person_id, role, others, now, confirmed=confirmed
                )
                role_id = str(role["id"]) if role else f"{NEW}{len(there)}"
                if plan.kind is not Kind.NONE and plan.body is not None:
                    there[role_id] = {**plan.body, "id": role_id}
                if role is not None or plan.kind is Kind.CREATE:
                    taken.add(role_id)
                    settled.add(role_id)
                    if plan.written is not None:
                        bases[intent.role.key] = replace(plan.written, resource_id=role_id)
        return {role_id: role for role_id, role in there.items() if role is not roles.get(role_id)}, settled


def _is_partial(resource: JsonObject | None) -> bool:
    """Whether the server says that it left elements out of a search result: what is not there is no difference."""
    tags = (resource or {}).get("meta", {}).get("tag", [])
    return isinstance(tags, list) and any(isinstance(tag, dict) and tag.get("code") == "SUBSETTED" for tag in tags)


def _creates(change: StaffChange) -> bool:
    return not change.action.ends and not change.qualifications_only


def _differing(resource_type: str, server: JsonObject, planned: JsonObject, only: str = "") -> tuple[Difference, ...]:
    """What a plan would change, element by element; `active` has a word of its own (`only`)."""
    elements = (only,) if only else [element for element in ORDER[resource_type] if element != "active"]
    return tuple(
        Difference(element, server.get(element), planned.get(element))
        for element in elements
        if server.get(element) != planned.get(element)
    )


def _pseudonym(source: SourcePerson) -> StaffChange:
    """A change to know a person by of whom no message is kept any more: what we wrote of their identifiers and name."""
    bases = [base for base in source.known.own if base.resource_type == "Practitioner"]
    values = [value for base in bases for value in base.values]
    identifiers = tuple(
        StaffIdentifier(str(one.value.get("value", "")), str(one.value.get("system", "")), provenance=one.provenance)
        for one in values
        if one.element == "identifier" and isinstance(one.value, dict)
    )
    names = tuple(value for value in values if value.element in ("name", "birthDate"))
    return StaffChange(Action.UPDATE, source.source_key, identifiers, practitioner=names)
