"""What the steps of a delivery share: the state of the conversation with the server, what may be written, and how."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

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


class Conversation:
    """One attempt to deliver one change: what was asked, answered, planned and written so far."""

    def __init__(
        self,
        change: StaffChange,
        known: Known,
        feed: str,
        rules: DestinationRules,
        client: FhirServer,
        written_by: WrittenBy,
        now: datetime,
        capabilities: Capabilities | None,
    ) -> None:
        self.change, self.known, self.feed, self.rules = change, known, feed, rules
        self.client, self.written_by, self.now, self.capabilities = client, written_by, now, capabilities
        self.writes = self.reported = False
        self.in_cohort = True
        self.approved = False
        self.permit: Permit = lambda interaction, ends: None
        self.said_by: SaidBy = lambda feed, source_key: ()
        self.person_id, self.version, self.status = known.person_id, "", 0
        self.created = self.active_before = self.active_after = False
        self.wrote = 0
        self.unanswered = ""
        self.is_inactive = False  # as the server showed the person last
        self.exchanges: list[Exchange] = []
        self.interactions: list[Interaction] = []
        self.written: list[Written] = []
        self.tasks: list[Task] = []
        self.warnings: list[Finding] = []
        self.images: list[Image] = []
        self.own = [base for base in known.own if base.resource_type == "Practitioner"]
        self.own_roles = [base for base in known.own if base.resource_type == "PractitionerRole"]

    # --- what may be written ----------------------------------------------------------------------------------------

    def _permitted(self, interaction: Interaction) -> Outcome | None:
        """What the server does not offer, or we do not permit."""
        resource_type, what = interaction.resource_type, interaction.kind.value
        if self.capabilities is not None and not self.capabilities.of(resource_type).offers(what):
            return outcomes.not_offered(what, resource_type)
        if self._mode(interaction) == APPROVE and not self.approved:
            return reasons.APPROVAL
        return self.permit(interaction, self._ends(interaction))

    def _ends(self, interaction: Interaction) -> bool:
        """Whether it makes an active person, or a role, inactive because the person leaves."""
        inactive = any(
            difference.path == "active" and difference.after is False for difference in interaction.differences
        )
        return interaction.kind is Kind.UPDATE and inactive and self.change.says_present is False

    def _mode(self, interaction: Interaction) -> str:
        """What may become of it: "report", "approve" or "write"."""
        if not self.writes:
            return REPORT
        return self.rules.mode_of("deactivate" if self._ends(interaction) else interaction.kind.value)

    # --- asking and remembering -------------------------------------------------------------------------------------

    def _warn_once(self, finding: Finding) -> None:
        if finding not in self.warnings:
            self.warnings.append(finding)

    def _resolved(self, known: Known, *, confirm: bool = False) -> Resolution:
        """Who the change is about, by what is known, and by what records said before."""
        memory = Memory(self.feed, self.written_by, self.said_by)
        return self._noted(resolve(self.client, self.change, known, self.rules, memory, confirm=confirm))

    def _noted(self, answer: Answer) -> Answer:
        self.exchanges += answer.exchanges
        return answer

    @property
    def _conditional(self) -> bool:
        """Whether a person is created with If-None-Exist: where the rules and the server's own word allow it. Not of whom
        a person set apart: the server would find whoever bore the staff key before."""
        if not self.rules.conditional_create or self.known.link is Link.APART:
            return False
        return self.capabilities is None or self.capabilities.of("Practitioner").conditional_create

    def _index_may_lag(self, since: float) -> float:
        """Seconds until the next look for a create that was given up without an answer at `since` (Unix seconds, 0 = none);
        0 = by now a search would have found it. Until then finding nothing proves nothing."""
        if not since:
            return 0.0
        waited = max(0.0, self.now.timestamp() - since)
        left = self.rules.index_lag - waited
        return max(0.5, min(left, waited / 4)) if left > 0 else 0.0

    def _guarded(self, interaction: Interaction) -> bool:
        """Whether the server refuses the update of a resource that somebody changed meanwhile (If-Match). Where it cannot,
        what was read before the write is read again after it."""
        if not interaction.version:
            return False
        offered = self.capabilities.of(interaction.resource_type).versioning if self.capabilities else ""
        return offered in ("", "versioned-update")

    def _write(self, interaction: Interaction, server: JsonObject | None) -> Reply:
        body = interaction.body or {}
        if interaction.kind is Kind.CREATE:
            condition: Parameters = ()
            if interaction.resource_type == "Practitioner" and self._conditional:
                tokens = search_tokens(self.change, self.rules, self.known)
                condition = [("identifier", ",".join(token(system, value) for system, value in tokens))]
            reply = self._noted(self.client.create(interaction.resource_type, body, if_none_exist=condition))
            self.unanswered = interaction.resource_type if may_have_arrived(reply) else self.unanswered
            return reply
        removed = (difference.path for difference in interaction.differences if difference.after is None)
        dropped = frozenset(re.split(r"[\[.]", path)[0] for path in removed)
        return self._noted(
            self.client.update(
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
            self.images.append(image)

    def _image_verified(self, resource_id: str, resource: JsonObject) -> None:
        """The latest write is there, as the server shows it now."""
        self.images[-1] = replace(self.images[-1], resource_id=resource_id, after=resource)

    def _own(self, person_id: str) -> Written | None:
        """This record's base, if it is about that very resource."""
        return next((base for base in self.own if base.resource_id == person_id), None)

    def _others(self, resource_type: str, resource_id: str) -> tuple[Written, ...]:
        """What every other record wrote to the resource."""
        if not resource_id:
            return ()
        mine = (self.feed, self.change.source_key)
        return tuple(
            base for base in self.written_by(resource_type, resource_id) if (base.feed, base.source_key) != mine
        )

    def _remember(self, base: Written | None, own: Written | None, resource_id: str = "", version: str = "") -> None:
        """Report a new base, unless it is the old one."""
        if base is None or not (base.resource_id or resource_id):
            return
        base = replace(base, resource_id=resource_id or base.resource_id, version=version or base.version)
        same_values = own is not None and (own.resource_id, own.values, own.holds_active, own.origin) == (
            base.resource_id, base.values, base.holds_active, base.origin,
        )  # fmt: skip
        if not same_values or (version and own is not None and version != own.version):
            self.written.append(base)
        stale = self.own if base.resource_type == "Practitioner" else [own] if own else []
        for old in stale:  # what was written to a resource that is another one's by now, or is no more
            if old.resource_id != base.resource_id and (old.holds_active or old.values):
                self.written.append(replace(old, values=(), holds_active=False))


def may_have_arrived(reply: Reply) -> bool:
    """Whether a create that was not answered with success may have been done all the same: no answer came, or an error that
    comes from a gateway as often as from the server. A busy server's own word (503 that says so in FHIR, or for how long)
    is believed."""
    if reply.kind is ReplyKind.AMBIGUOUS:
        return True
    failed = reply.kind is ReplyKind.TRANSIENT and (reply.status >= 500 or reply.status == 408)
    return failed and not (reply.status == 503 and (reply.issues or reply.retry_after))
