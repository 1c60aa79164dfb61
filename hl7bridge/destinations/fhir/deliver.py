"""One attempt to bring one destination in step with one staff change: resolve, plan, write, verify, then the roles.

The outcome is a value whatever the server does. What was written is reported even where the attempt fails later, so that
the next one finds its bases and does nothing twice. Nothing is written over what only a search has shown: an index lags
behind, and PUT replaces the whole resource. Requests for a Practitioner alone: new 3 at most (search, create, search or
read again), found for the first time 2 (search, read), changed 2, deactivated 3 (the second read shows it), unchanged 1;
with roles one search more and one per role written, two for a role that somebody else wrote since, or first (read,
update). A server without versions cannot say that somebody wrote meanwhile: what is written is read before and after.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hl7bridge.destinations import reasons
from hl7bridge.destinations.fhir import outcomes, tasks
from hl7bridge.destinations.fhir.conversation import Conversation, Given, Permit, deactivates
from hl7bridge.destinations.fhir.happened import happened
from hl7bridge.destinations.fhir.identity.resolve import Match, Resolution, SaidBy, WrittenBy
from hl7bridge.destinations.fhir.plan import (
    PERIOD_REVERSED,
    TAG_MARK,
    UNKNOWN_CERTIFICATE,
    RoleIntent,
    held_by_others,
    is_away,
    plan_practitioner,
    plan_role,
)
from hl7bridge.destinations.fhir.roles import is_of_person, role_at_server, role_intents
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.capabilities import Capabilities
from hl7bridge.destinations.fhir.wire.client import FhirServer
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.policy import REPORT
from hl7bridge.model import (
    ENDED_WELL,
    PERSON_INACTIVE,
    ROLES_ENDED,
    Action,
    Finding,
    Interaction,
    JsonObject,
    Kind,
    Known,
    Link,
    Outcome,
    Result,
    Severity,
    StaffChange,
    Written,
)

REPLANS = 3  # after a version conflict
ROLES_A_PAGE = "50"


def deliver(
    change: StaffChange,
    known: Known,
    feed: str,
    rules: DestinationRules,
    client: FhirServer,
    written_by: WrittenBy,
    now: datetime,
    *,
    dry_run: bool = False,
    capabilities: Capabilities | None = None,
    approved: bool = False,
    permit: Permit = lambda interaction, ends: None,
    said_by: SaidBy = lambda feed, source_key: (),
) -> Outcome:
    """Deliver a change, or, where the mode is report and for a dry run, say what delivering it would do (REPORTED).

    written_by    (resource type, id) -> what every record of this bridge wrote to that resource
    now           aware; the date of an end that the message does not date
    capabilities  what the server offers, None = not asked: everything is tried
    approved      a person approved what needs approval (mode approve, a reactivation with STF-29)
    permit        asked before each write: what happens instead, None = write; its second argument says whether the write
                  makes an active person or role inactive because the person leaves
    said_by       (feed, source key) -> what the last records of that person said of name, sex and birth date
    Never raises for what a server does.
    """
    given = Given(
        change, known, feed, rules, client, written_by, now, capabilities, approved, permit, said_by, dry_run=dry_run
    )
    return _Delivery(given).run()


class _Delivery(Conversation):
    """The steps. `run` collects what they leave behind; a step returns an Outcome when the attempt ends there, None to go
    on."""

    def run(self) -> Outcome:
        done = self.done
        ended = self._person() or self._roles() or self._result()
        if self._joins:
            done.tasks += tasks.joiner(self.change, self.rules.tasks)
        return replace(
            ended,
            http_status=ended.http_status or self.seen.status,
            interactions=tuple(done.interactions),
            written=tuple(done.written),
            person_id=self.seen.person_id,
            version=self.seen.version,
            exchanges=tuple(done.exchanges),
            tasks=(*ended.tasks, *done.tasks),
            facts=self._facts(ended),
            drift=tuple(difference for interaction in done.interactions for difference in interaction.drift),
            warnings=tuple(done.warnings),
            images=tuple(done.images),
            unanswered=done.unanswered,
        )

    # --- the person --------------------------------------------------------------------------------------------------

    def _person(self) -> Outcome | None:
        known = self.known
        reply = Reply(ReplyKind.CONFLICT)
        for _ in range(REPLANS + 1):
            self.done.warnings.clear()
            found = self._resolved(known, confirm=self._writes and not self.change.only_if_missing)
            if self.change.only_if_missing and (there := self._there(found)):
                return there
            if found.match not in (Match.FOUND, Match.NONE):
                return self._unresolved(found)
            if found.match is Match.NONE and (nobody := self._nobody()):
                return nobody
            if _is_partial(found.resource):
                known = replace(known, person_id=found.person_id)
                reply = self._noted(self.given.client.read("Practitioner", found.person_id))
                if not reply.done:
                    return outcomes.of_reply(reply, "read")
                found = replace(found, resource=reply.resource, version=reply.version)
            self._see(person_id=found.person_id or self.seen.person_id)
            if found.told:
                self.done.warn_once(Finding("0", "same-person-differs", found.told, Severity.INFORMATION))
            others = self.given.others("Practitioner", found.person_id)
            own = self.given.own_of(found.person_id)
            interaction = plan_practitioner(
                self.change, self.given.feed, self.rules, found.resource, own, others, self.given.now,
                confirmed=self.known.confirmed,
            )  # fmt: skip
            interaction = replace(interaction, version=found.version or interaction.version)
            self._see(active_before=bool(found.resource) and (found.resource or {}).get("active") is not False)
            if interaction.reason == UNKNOWN_CERTIFICATE:
                text = "The person has no such qualification at the FHIR server: there is nothing to revoke"
                self.done.warn_once(Finding(reasons.UNKNOWN_KEY, "unknown-certificate", text, Severity.WARNING))
            if held := self._doubtful(interaction, own) or self._not_to_be_written(interaction):
                self.done.interactions.append(interaction)
                return held
            if interaction.kind is Kind.NONE or self._mode(interaction) == REPORT:
                self._unwritten(interaction, own, others)
                return None
            reply = self._write(interaction, found.resource)
            again = self._person_to_plan_again(interaction, reply)
            if again is None:
                self.done.interactions.append(interaction)
                self._keep_image(interaction, reply, found.resource, own)
                if reply.done:
                    return self._verify_person(interaction, reply, own, others)
                return _failed(interaction, reply)
            known = replace(known, person_id=again)
        self.done.interactions.append(interaction)
        return outcomes.of_reply(replace(reply, kind=ReplyKind.CONFLICT), interaction.kind.value)

    def _person_to_plan_again(self, interaction: Interaction, reply: Reply) -> str | None:
        """The id to start from anew ("" = search), where the server's state turned out to be another one; else None."""
        if interaction.kind is Kind.CREATE and reply.done:
            # Someone was faster: what If-None-Exist found is updated like any other.
            existed = reply.status == 200 and self.given.conditional
            return str((reply.resource or {}).get("id", reply.location)) if existed else None
        moved = interaction.kind is Kind.UPDATE and reply.kind in (ReplyKind.NOT_FOUND, ReplyKind.GONE)
        return interaction.resource_id if moved or reply.kind is ReplyKind.CONFLICT else None

    def _nobody(self) -> Outcome | None:
        """Nobody carries the identifiers: whether that ends it. A create that may be under way is looked for first."""
        action = self.change.action
        incomplete = not self.change.complete
        if action.ends or self.change.revokes:
            text = "Nobody at the FHIR server carries the record's identifiers: there is nothing to do"
            self.done.warnings.append(Finding(reasons.UNKNOWN_KEY, "unknown-person", text, Severity.WARNING))
            return Outcome(Result.NOTHING_TO_DO)
        if self.change.qualifications_only or (action is Action.REACTIVATE and incomplete):
            text = (
                "Nobody at the FHIR server carries the record's identifiers, and it holds too little to create a person"
            )
            return Outcome(Result.HELD, reasons.UNKNOWN_KEY, "unknown-person", text)
        if incomplete:
            text = "The person is not known at the FHIR server, and the record holds no family name to create one with"
            return Outcome(Result.HELD, reasons.REQUIRED, "incomplete-person", text)
        if self._writes and (left := self.given.index_may_lag(self.known.unsure_since("Practitioner"))):
            return outcomes.look_again("create", left)
        if action is not Action.ADD:
            text = "The record updates a person who is not known at the FHIR server, and is created"
            self.done.warnings.append(Finding(reasons.UNKNOWN_KEY, "unknown-person-created", text, Severity.WARNING))
        return None

    def _there(self, found: Resolution) -> Outcome | None:
        """A patient message names somebody who is there, or whom a person deleted: nothing is to be done, whoever of several
        it is. None where nobody is there, or the server gave no answer that could be believed."""
        if found.match is Match.FOUND:
            self._see(person_id=found.person_id)
            return Outcome(Result.UNCHANGED if self._writes else Result.REPORTED)
        if found.match in (Match.AMBIGUOUS, Match.GONE) or found.candidates:
            return Outcome(Result.NOTHING_TO_DO)
        return None

    def _unresolved(self, found: Resolution) -> Outcome:
        says = self.change.says_present
        if found.match is Match.GONE and (says is False or self.change.revokes):
            self.done.warnings.append(Finding(reasons.UNKNOWN_KEY, found.local, found.text, Severity.WARNING))
            return Outcome(Result.NOTHING_TO_DO)
        return outcomes.of_resolution(found, ends=says is False)

    def _doubtful(self, interaction: Interaction, own: Written | None = None) -> Outcome | None:
        """What is not certain waits for a person, before anything of it is written, or noted as this record's word."""
        if not self.given.unsure or self._mode(interaction) == REPORT:
            return None
        written = interaction.written
        turns = own is not None and written is not None and own.holds_active is not written.holds_active
        if not turns and interaction.kind is Kind.NONE:
            return None
        if self.change.undated and not self.given.approved:
            return outcomes.undated(self.change)
        return outcomes.out_of_order(ends=self.change.says_present is False)

    def _not_to_be_written(self, interaction: Interaction) -> Outcome | None:
        """What a person has to decide or do first."""
        if interaction.kind is Kind.NONE or self._mode(interaction) == REPORT:
            return None
        change = self.change
        reactivates = any(difference.path == "active" and difference.after for difference in interaction.differences)
        if change.action is Action.REACTIVATE and change.needs_approval and reactivates and not self.given.approved:
            return outcomes.approval_needed()
        return self._permitted(interaction)

    def _unwritten(self, interaction: Interaction, own: Written | None, others: tuple[Written, ...]) -> None:
        """Nothing differs, or nothing may be written."""
        self.done.interactions.append(interaction)
        body, was_active = interaction.body or {}, self.seen.active_before
        self._see(
            person_id=interaction.resource_id,
            version=interaction.version,
            active_after=body.get("active") is not False if body else was_active,
            is_inactive=bool(interaction.resource_id) and not was_active,
        )
        if interaction.kind is Kind.NONE and self.known.ambiguous and self._writes:
            text = "An earlier request whose answer was lost had arrived"
            self.done.warnings.append(Finding("0", "earlier-request-arrived", text, Severity.INFORMATION))
        if interaction.kind is not Kind.NONE:
            self.done.unwritten.append(interaction)
        elif self._writes:
            self._remember(None if self.given.unsure else interaction.written, own)
        self._tasks_of_leaving(own, others)

    def _verify_person(
        self, interaction: Interaction, reply: Reply, own: Written | None, others: tuple[Written, ...]
    ) -> Outcome | None:
        """The answer must show what was meant; a deactivation, and an answer that does not, is read again."""
        self._see(status=reply.status)
        resource, version = reply.resource, reply.version
        person_id = interaction.resource_id or (resource or {}).get("id", "") or reply.location
        if interaction.kind is Kind.CREATE and not (person_id and self.given.conditional):
            looked = self._resolved(Known(link=self.known.link if self.known.link is Link.APART else Link.FOUND))
            if looked.match in (Match.AMBIGUOUS, Match.FAILED) or (not person_id and looked.resource is None):
                self._see(person_id=person_id)
                self.done.unanswered = "" if person_id else "Practitioner"
                return outcomes.look_again("create") if looked.match is Match.NONE else self._unresolved(looked)
            person_id = person_id or looked.person_id
            if looked.person_id == person_id:
                resource, version = looked.resource, version or looked.version
        self._see(person_id=person_id)
        if (
            resource is None
            or not happened(interaction, resource)
            or (deactivates(interaction) and interaction.kind is Kind.UPDATE and self.rules.verify)
            or (interaction.kind is Kind.UPDATE and not self.given.guarded(interaction))
        ):
            again = self._noted(self.given.client.read("Practitioner", person_id))
            if not again.done or again.resource is None:
                if own is None and not self.change.action.ends:
                    self._tasks_of_leaving(
                        own, others
                    )  # the next attempt finds them inactive, and no change to tell of
                return outcomes.of_reply(again, "read")
            resource, version = again.resource, again.version
        if not happened(interaction, resource):
            return outcomes.not_verified("Practitioner", reply.status)
        self._image_verified(person_id, resource)
        active = resource.get("active") is not False
        self._see(version=version, active_after=active, is_inactive=not active)
        self.done.verified.append(interaction)
        self._remember(interaction.written, own, person_id, version)
        self._tasks_of_leaving(own, others)
        return None

    # --- the roles ---------------------------------------------------------------------------------------------------

    def _roles(self) -> Outcome | None:
        intents = role_intents(self.change, self.given.own_roles, self.rules, person_active=self.seen.active_after)
        if not intents:
            return None
        server_roles: tuple[JsonObject, ...] = ()
        if self.seen.person_id and not self.done.created:
            asked = [("practitioner", self.seen.person_id), ("_count", ROLES_A_PAGE)]
            reply = self._noted(self.given.client.search("PractitionerRole", asked))
            if not reply.done:
                return outcomes.of_reply(reply, "search")
            server_roles = reply.resources
        taken = {base.resource_id for base in self.given.own_roles}
        if any(intent.own is None for intent in intents):
            of_person = [role["id"] for role in server_roles if is_of_person(role, self.seen.person_id)]
            taken |= {role_id for role_id in of_person if self.given.others("PractitionerRole", role_id)}
        held = None
        for intent in intents:
            ended = self._role(intent, server_roles, taken)
            if ended is not None and ended.result is not Result.HELD:
                return ended
            held = held or ended  # a role that is refused for good does not keep the others waiting
        return held

    def _role(self, intent: RoleIntent, server_roles: tuple[JsonObject, ...], taken: set[str]) -> Outcome | None:
        server = role_at_server(intent, self.seen.person_id, server_roles, taken, self.rules)
        version, was_read = "", False
        if server is None and intent.own is not None and intent.own.resource_id:
            failed, server, version = self._role_as_it_stands(intent.own.resource_id)
            was_read = True
            if failed:
                return failed
        for _ in range(REPLANS + 1):
            others = self.given.others("PractitionerRole", server["id"]) if server else ()
            interaction = plan_role(
                self.change, intent, self.given.feed, self.rules, self.seen.person_id, server, others, self.given.now,
                doubtful=self.known.ambiguous or self.known.attempts > 0, confirmed=self.known.confirmed,
            )  # fmt: skip
            interaction = replace(interaction, version=version or interaction.version)
            if interaction.reason == PERIOD_REVERSED:
                text = "The dates of a role stay as they were: it would end before it starts"
                self.done.warn_once(Finding(reasons.INVALID, "period-reversed", text, Severity.WARNING))
            if server is not None and self._writes and not was_read and self._asks_to_be_read(interaction, intent.own):
                failed, server, version = self._role_as_it_stands(server["id"])
                was_read = True
                if failed:
                    return failed
                continue
            if interaction.kind is Kind.NONE or self._mode(interaction) == REPORT:
                self.done.interactions.append(interaction)
                if interaction.kind is not Kind.NONE:
                    self.done.unwritten.append(interaction)
                elif self._writes and not self.given.unsure:
                    self._remember(interaction.written, intent.own, version=version)
                return None
            if held := self._role_under_way(interaction) or self._doubtful(interaction) or self._permitted(interaction):
                self.done.interactions.append(interaction)
                return held
            reply = self._write(interaction, server)
            if reply.kind is ReplyKind.CONFLICT and server is not None:
                failed, server, version = self._role_as_it_stands(server["id"])
                if failed:
                    return failed
                continue
            self.done.interactions.append(interaction)
            self._keep_image(interaction, reply, server, intent.own)
            if not reply.done:
                return _failed(interaction, reply)
            return self._verify_role(interaction, intent, reply, taken)
        return outcomes.of_reply(Reply(ReplyKind.CONFLICT), "update")

    def _asks_to_be_read(self, interaction: Interaction, own: Written | None) -> bool:
        """Whether a role that a search found is read before anything is concluded from it: an index may lag, and an older
        state may even look like what is wanted. Not where it stands as this record left it, and the server itself refuses
        to have a newer one overwritten."""
        as_left = own is not None and own.version == interaction.version and self.given.guarded(interaction)
        return not as_left and (interaction.kind is Kind.UPDATE or own is not None)

    def _role_as_it_stands(self, role_id: str) -> tuple[Outcome | None, JsonObject | None, str]:
        """The role, read by its id, with its version; None where it is not there, or is not (any more) this person's."""
        reply = self._noted(self.given.client.read("PractitionerRole", role_id))
        if not reply.done and reply.kind not in (ReplyKind.NOT_FOUND, ReplyKind.GONE):
            return outcomes.of_reply(reply, "read"), None, ""
        if reply.resource is not None and is_of_person(reply.resource, self.seen.person_id):
            return None, reply.resource, reply.version
        return None, None, ""

    def _role_under_way(self, interaction: Interaction) -> Outcome | None:
        """An earlier attempt may have sent this create, and its role may not show yet."""
        left = 0.0 if self.done.created else self.given.index_may_lag(self.known.unsure_since("PractitionerRole"))
        return outcomes.look_again("create", left) if interaction.kind is Kind.CREATE and left else None

    def _verify_role(
        self, interaction: Interaction, intent: RoleIntent, reply: Reply, taken: set[str]
    ) -> Outcome | None:
        self._see(status=reply.status)
        resource, version = reply.resource, reply.version
        role_id = interaction.resource_id or (resource or {}).get("id", "") or reply.location
        if not role_id:
            self.done.unanswered = "PractitionerRole"
            return outcomes.look_again("create")
        unguarded = interaction.kind is Kind.UPDATE and not self.given.guarded(interaction)
        if resource is None or unguarded or not happened(interaction, resource):
            again = self._noted(self.given.client.read("PractitionerRole", role_id))
            if not again.done or again.resource is None:
                return outcomes.of_reply(again, "read")
            resource, version = again.resource, again.version
        if not happened(interaction, resource):
            return outcomes.not_verified("PractitionerRole", reply.status)
        self._image_verified(role_id, resource)
        taken.add(role_id)
        self.done.verified.append(interaction)
        self._remember(interaction.written, intent.own, role_id, version)
        return None

    # --- the end -----------------------------------------------------------------------------------------------------

    def _result(self) -> Outcome:
        if self.done.unwritten and self.done.verified:
            return reasons.PARTLY_REPORTED
        if self._reports:
            return Outcome(Result.REPORTED) if self.given.in_cohort else reasons.OUTSIDE_COHORT
        if self.done.created:
            return Outcome(Result.CREATED)
        if not self.done.verified:
            return Outcome(Result.UNCHANGED)
        if self.change.says_present is False and not self.seen.active_after:
            return Outcome(Result.DEACTIVATED)
        returned = self.seen.active_after and not self.seen.active_before
        if returned or (self.change.action is Action.REACTIVATE and self.seen.active_after):
            return Outcome(Result.REACTIVATED)
        return Outcome(Result.UPDATED)

    @property
    def _reports(self) -> bool:
        """Whether something that would be written is not, or nothing is."""
        return bool(self.done.unwritten) or not self._writes

    def _tasks_of_leaving(self, own: Written | None, others: tuple[Written, ...]) -> None:
        """Tasks of a leaver, once: when this record turns them from active to inactive, or they become inactive now."""
        if self.change.says_present is not False or self.done.created:
            return
        if self.change.undated and not self.given.approved:
            # Nobody has left so far: only the time has to be cleared up.
            self.done.tasks += outcomes.undated(self.change).tasks if self._reports else ()
            return
        turns = own.holds_active if own else self.change.action.ends or self.known.ambiguous
        if self.change.temporary:
            away = turns and not held_by_others(others) and self.rules.b05_deactivates
            self.done.tasks += [outcomes.AWAY] if away else []
            return
        turns = turns or (self.change.action.ends and is_away(own))
        if held_by_others(others):
            self.done.tasks += [outcomes.SHARED] if turns else []
            return
        writes = not self._reports
        if self.rules.tasks.leaver and (
            turns or (self.seen.active_before and (not self.seen.active_after or not writes))
        ):
            scope = self.rules.lifecycle_scope
            checks_roles = scope != "practitioner" and "PractitionerRole" not in self.rules.withheld
            self.done.tasks.append(
                tasks.leaver(reported=not writes, checks_person=scope != "role", checks_roles=checks_roles)
            )
        tagged = own is not None and any(value.element == TAG_MARK for value in own.values)
        if self.change.action is Action.REMOVE and self._writes and not tagged:
            self.done.tasks.append(outcomes.DELETED)

    @property
    def _joins(self) -> bool:
        """Whether the person is new at the server, or would be: the account is to be set up."""
        if not self.rules.tasks.joiner or self.change.only_if_missing or self.change.says_present is False:
            return False
        planned = any(one.kind is Kind.CREATE and one.resource_type == "Practitioner" for one in self.done.interactions)
        return self.done.created or (planned and self._reports)

    def _facts(self, ended: Outcome) -> frozenset[str]:
        """What the server and the record show of the person: see `model.Outcome`."""
        facts = set(tasks.shown_by_record(self.change, self.rules.tasks))
        leaves = self.change.says_present is False and not self.change.temporary
        if self.seen.is_inactive or (leaves and ended.result is Result.NOTHING_TO_DO):
            facts.add(PERSON_INACTIVE)
        # Where nothing is written, nothing is known of the roles: those of this feed are known by what it wrote.
        written = not self._reports and ended.result in ENDED_WELL
        if leaves and written and self.rules.lifecycle_scope != "practitioner":
            facts.add(ROLES_ENDED)
        return frozenset(facts)

    # --- small steps -------------------------------------------------------------------------------------------------


def _failed(interaction: Interaction, reply: Reply) -> Outcome:
    """The outcome of a write that failed, and, where the server refuses all such writes, which."""
    what = interaction.kind.value
    outcome = outcomes.of_reply(reply, what)
    if outcome.local not in (reasons.NOT_OFFERED, reasons.FORBIDDEN):
        return outcome
    return replace(outcome, refused=reasons.operation(interaction.resource_type, what))


def _is_partial(resource: JsonObject | None) -> bool:
    """Whether the server says that it left elements out of a search result (meta.tag SUBSETTED): never a base for PUT."""
    tags = (resource or {}).get("meta", {}).get("tag", [])
    return isinstance(tags, list) and any(isinstance(tag, dict) and tag.get("code") == "SUBSETTED" for tag in tags)
