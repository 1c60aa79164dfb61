"""What the steps of a delivery share: what is given, what the server showed, what was done, and what may be written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from hl7bridge.destinations import reasons
from hl7bridge.destinations.fhir import outcomes
from hl7bridge.destinations.fhir.identity.resolve import Memory, Resolution, SaidBy, WrittenBy, resolve, search_tokens
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.capabilities import Capabilities
from hl7bridge.destinations.fhir.wire.client import FhirServer, Parameters, token
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.policy import APPROVE, REPORT
from hl7bridge.model import (
    Exchange,
    Finding,
    Image,
    Interaction,
    JsonObject,
    Kind,
    Known,
    Link,
    Outcome,
    StaffChange,
    Task,
    Written,
)

Answer = TypeVar("Answer", Reply, Resolution)
Permit = Callable[[Interaction, bool], Outcome | None]


@dataclass(frozen=True, slots=True)
class Given:
    """What a delivery begins with; nothing of it changes under way.

    the work    change, known, feed; now: aware, the date of an end that the message does not date; approved: a person
                approved what needs approval
    the ledger  written_by: what every record of this bridge wrote to a resource; said_by: what a person's last records said
    the policy  rules; capabilities: what the server offers, None = not asked; permit: asked before each write; dry_run
    """

    change: StaffChange
    known: Known
    feed: str
    rules: DestinationRules
    client: FhirServer
    written_by: WrittenBy
    now: datetime
    capabilities: Capabilities | None = None
    approved: bool = False
    permit: Permit = lambda interaction, ends: None
    said_by: SaidBy = lambda feed, source_key: ()
    dry_run: bool = False

    @property
    def in_cohort(self) -> bool:
        """Whether the person is of those who are written at all."""
        return self.rules.cohort.holds(self.change, self.feed, self.known.own)

    @property
    def writes(self) -> bool:
        """Whether anything may be written."""
        return self.rules.writes and not self.dry_run and self.in_cohort

    @property
    def unsure(self) -> bool:
        """Whether a person has to decide: when it applies, or whether it is the newer one."""
        return bool(self.change.undated and not self.approved) or self.known.late

    @property
    def conditional(self) -> bool:
        """Whether a person is created with If-None-Exist: where the rules and the server's own word allow it. Not of whom
        a person set apart: the server would find whoever bore the staff key before."""
        if not self.rules.conditional_create or self.known.link is Link.APART:
            return False
        return self.capabilities is None or self.capabilities.of("Practitioner").conditional_create

    @property
    def own(self) -> tuple[Written, ...]:
        """What this record wrote to a Practitioner."""
        return tuple(base for base in self.known.own if base.resource_type == "Practitioner")

    @property
    def own_roles(self) -> tuple[Written, ...]:
        """What it wrote to roles."""
        return tuple(base for base in self.known.own if base.resource_type == "PractitionerRole")

    def own_of(self, person_id: str) -> Written | None:
        """This record's base, if it is about that very resource."""
        return next((base for base in self.own if base.resource_id == person_id), None)

    def others(self, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        """What every other record wrote to the resource."""
        if not resource_id:
            return ()
        mine = (self.feed, self.change.source_key)
        return tuple(
            base for base in self.written_by(resource_type, resource_id) if (base.feed, base.source_key) != mine
        )

    def ends(self, interaction: Interaction) -> bool:
        """Whether it makes an active person, or a role, inactive because the person leaves."""
        return interaction.kind is Kind.UPDATE and deactivates(interaction) and self.change.says_present is False

    def guarded(self, interaction: Interaction) -> bool:
        """Whether the server refuses the update of a resource that somebody changed meanwhile (If-Match). Where it cannot,
        what was read before the write is read again after it."""
        if not interaction.version:
            return False
        offered = self.capabilities.of(interaction.resource_type).versioning if self.capabilities else ""
        return offered in ("", "versioned-update")

    def index_may_lag(self, since: float) -> float:
        """Seconds until the next look for a create that was given up without an answer at `since` (Unix seconds, 0 = none);
        0 = by now a search would have found it. Until then finding nothing proves nothing."""
        if not since:
            return 0.0
        waited = max(0.0, self.now.timestamp() - since)
        left = self.rules.index_lag - waited
        return max(0.5, min(left, waited / 4)) if left > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server showed last of the person, whose id is "" while nobody is known. `status`: of the last write."""

    person_id: str = ""
    version: str = ""
    status: int = 0
    active_before: bool = False
    active_after: bool = False
    is_inactive: bool = False


@dataclass(slots=True)
class Done:
    """What was done so far. Each list only grows, but for `warnings`, which a new plan begins anew.

    interactions  what was planned; `verified`: those of them that were written, and are there; `unwritten`: those that
                  would change something, and are only reported
    unanswered    the resource type of a create that was sent, and of which nobody knows whether it arrived
    """

    exchanges: list[Exchange] = field(default_factory=list)
    interactions: list[Interaction] = field(default_factory=list)
    verified: list[Interaction] = field(default_factory=list)
    unwritten: list[Interaction] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    unanswered: str = ""

    @property
    def created(self) -> bool:
        """Whether the person was created."""
        return any(one.kind is Kind.CREATE and one.resource_type == "Practitioner" for one in self.verified)

    def warn_once(self, finding: Finding) -> None:
        """A warning, unless it is said already."""
        if finding not in self.warnings:
            self.warnings.append(finding)


def deactivates(interaction: Interaction) -> bool:
    """Whether it makes a person or a role inactive."""
    return any(difference.path == "active" and difference.after is False for difference in interaction.differences)


class Conversation:
    """One attempt to deliver one change: what is given, what the server showed, what was done."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.seen = Seen(given.known.person_id)
        self.done = Done()

    @property
    def change(self) -> StaffChange:
        """What is delivered."""
        return self.given.change

    @property
    def known(self) -> Known:
        """What the store knew before."""
        return self.given.known

    @property
    def rules(self) -> DestinationRules:
        """The destination's."""
        return self.given.rules

    # --- what may be written ----------------------------------------------------------------------------------------

    @property
    def _writes(self) -> bool:
        """Whether anything more is written. What depends on a person who is only reported is reported as well; but who
        leaves, leaves as far as the modes allow."""
        unwritten = [one for one in self.done.unwritten if one.resource_type == "Practitioner"]
        leaves = self.change.says_present is False and all(one.kind is Kind.UPDATE for one in unwritten)
        return self.given.writes and (not unwritten or leaves)

    def _permitted(self, interaction: Interaction) -> Outcome | None:
        """What the server does not offer, or we do not permit."""
        resource_type, what = interaction.resource_type, interaction.kind.value
        offered = self.given.capabilities
        if offered is not None and not offered.of(resource_type).offers(what):
            return outcomes.not_offered(what, resource_type)
        if self._mode(interaction) == APPROVE and not self.given.approved:
            return reasons.APPROVAL
        return self.given.permit(interaction, self.given.ends(interaction))

    def _mode(self, interaction: Interaction) -> str:
        """What may become of it: "report", "approve" or "write"."""
        if not self._writes:
            return REPORT
        return self.rules.mode_of("deactivate" if self.given.ends(interaction) else interaction.kind.value)

    # --- asking and remembering -------------------------------------------------------------------------------------

    def _see(self, **shown: Any) -> None:
        """What the server shows of the person by now: fields of `Seen`."""
        self.seen = replace(self.seen, **shown)

    def _resolved(self, known: Known, *, confirm: bool = False) -> Resolution:
        """Who the change is about, by what is known, and by what records said before."""
        memory = Memory(self.given.feed, self.given.written_by, self.given.said_by)
        return self._noted(resolve(self.given.client, self.change, known, self.rules, memory, confirm=confirm))

    def _noted(self, answer: Answer) -> Answer:
        self.done.exchanges += answer.exchanges
        return answer

    def _write(self, interaction: Interaction, server: JsonObject | None) -> Reply:
        body = interaction.body or {}
        if interaction.kind is Kind.CREATE:
            condition: Parameters = ()
            if interaction.resource_type == "Practitioner" and self.given.conditional:
                tokens = search_tokens(self.change, self.rules, self.known)
                condition = [("identifier", ",".join(token(system, value) for system, value in tokens))]
            reply = self._noted(self.given.client.create(interaction.resource_type, body, if_none_exist=condition))
            if may_have_arrived(reply):
                self.done.unanswered = interaction.resource_type
            return reply
        removed = (difference.path for difference in interaction.differences if difference.after is None)
        dropped = frozenset(re.split(r"[\[.]", path)[0] for path in removed)
        return self._noted(
            self.given.client.update(
                interaction.resource_type,
                interaction.resource_id,
                body,
                version=interaction.version,
                seen=server or {},
                dropped=dropped,
            )
        )

    def _keep_image(
        self, interaction: Interaction, reply: Reply, server: JsonObject | None, own: Written | None
    ) -> None:
        """What a write found and sends, also one that may have arrived (some answer 504 to what was done): a person may
        want it taken back."""
        failed_there = reply.kind is ReplyKind.TRANSIENT and reply.status >= 500
        if reply.done or reply.kind is ReplyKind.AMBIGUOUS or failed_there:
            image = Image(interaction.resource_type, interaction.resource_id, server, interaction.body, own)
            self.done.images.append(image)

    def _image_verified(self, resource_id: str, resource: JsonObject) -> None:
        """The latest write is there, as the server shows it now."""
        self.done.images[-1] = replace(self.done.images[-1], resource_id=resource_id, after=resource)

    def _remember(self, base: Written | None, own: Written | None, resource_id: str = "", version: str = "") -> None:
        """Report a new base, unless it is the old one."""
        if base is None or not (base.resource_id or resource_id):
            return
        base = replace(base, resource_id=resource_id or base.resource_id, version=version or base.version)
        same_values = own is not None and (own.resource_id, own.values, own.holds_active, own.origin) == (
            base.resource_id, base.values, base.holds_active, base.origin,
        )  # fmt: skip
        if not same_values or (version and own is not None and version != own.version):
            self.done.written.append(base)
        stale: Sequence[Written] = self.given.own if base.resource_type == "Practitioner" else [own] if own else []
        for old in stale:  # what was written to a resource that is another one's by now, or is no more
            if old.resource_id != base.resource_id and (old.holds_active or old.values):
                self.done.written.append(replace(old, values=(), holds_active=False))


def may_have_arrived(reply: Reply) -> bool:
    """Whether a create that was not answered with success may have been done all the same: no answer came, or an error that
    comes from a gateway as often as from the server. A busy server's own word (503 that says so in FHIR, or for how long)
    is believed."""
    if reply.kind is ReplyKind.AMBIGUOUS:
        return True
    failed = reply.kind is ReplyKind.TRANSIENT and (reply.status >= 500 or reply.status == 408)
    return failed and not (reply.status == 503 and (reply.issues or reply.retry_after))
