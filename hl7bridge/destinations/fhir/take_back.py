"""One resource taken back to what a delivery found: read, planned, and, where it is to be, written and verified."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hl7bridge.destinations.fhir.happened import happened
from hl7bridge.destinations.fhir.outcomes import of_reply
from hl7bridge.destinations.fhir.restore import RestorePlan, plan_restore
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.protocol import Ledger, TakenBack
from hl7bridge.model import Image

REPLANS = 3  # when the resource changes in between, or an answer is lost

_PASSING = frozenset({ReplyKind.TRANSIENT, ReplyKind.UNREACHABLE, ReplyKind.AUTH})
"""Replies that say nothing against the restore itself: it can be tried again."""


def take_back(
    client: FhirClient, image: Image, mine: tuple[str, str], ledger: Ledger, now: datetime, *, write: bool
) -> TakenBack:
    """The way back of one resource. `mine`: (feed, source key) whose delivery wrote it."""
    empty = TakenBack(image.resource_type, image.resource_id)
    sent: RestorePlan | None = None
    for _ in range(REPLANS + 1):
        read = client.read(image.resource_type, image.resource_id)
        if read.kind in (ReplyKind.NOT_FOUND, ReplyKind.GONE):
            return replace(empty, problem="it is not at the server any more")
        if not read.done or read.resource is None:
            return _failed(empty, read, "read")
        bases = ledger.written_by(image.resource_type, image.resource_id)
        own = [base for base in bases if (base.feed, base.source_key) == mine]
        others = [base for base in bases if base not in own]
        plan = plan_restore(image, read.resource, own[0] if own else None, others, now.date().isoformat())
        if sent is not None and not plan.interaction.differences:
            plan = sent  # its answer was lost, and it arrived
        asked = plan.interaction
        shown = replace(empty, reason=asked.reason, differences=asked.differences, kept=plan.kept)
        if not write or not asked.differences or plan is sent:
            return replace(shown, base=plan.base)
        body = asked.body or {}
        reply = client.update(
            image.resource_type,
            image.resource_id,
            body,
            version=read.version or asked.version,
            seen=read.resource,
            dropped=frozenset(read.resource.keys() - body.keys()),
        )
        if reply.kind is ReplyKind.CONFLICT:
            continue  # somebody edits it at this moment: their edit stays
        if reply.kind is ReplyKind.AMBIGUOUS:
            sent = plan
            continue
        if not reply.done:
            return _failed(shown, reply, "update")
        resource, version = reply.resource, reply.version
        if resource is None or not happened(asked, resource):
            again = client.read(image.resource_type, image.resource_id)
            resource, version = again.resource, again.version
        if resource is None or not happened(asked, resource):
            return replace(shown, problem="the server answered that it is done, but does not show it")
        return replace(shown, base=replace(plan.base, version=version) if plan.base is not None else None)
    return replace(empty, problem="the resource changes all the time: try again later")


def _failed(so_far: TakenBack, reply: Reply, what: str) -> TakenBack:
    return replace(so_far, problem=of_reply(reply, what).text, unreachable=reply.kind in _PASSING)
