"""A feed's settings as the intake takes them."""

from __future__ import annotations

from hl7bridge.assemble.destinations import destination_of
from hl7bridge.assemble.mapping import feed_rules
from hl7bridge.config import Feed, Settings
from hl7bridge.intake.intake import FeedPolicy
from hl7bridge.model import Refusal


def feed_policy(feed: Feed, settings: Settings) -> FeedPolicy:
    """What the intake needs: the feed's rules, its destinations' rules, its acknowledgment settings."""
    answers, said = feed.acknowledgment, feed.hl7.model_fields_set
    counts_others = "adt" in feed.hl7.takes and "unsupported" not in said
    return FeedPolicy(
        name=feed.name,
        rules=feed_rules(feed),
        destinations={name: destination_of(settings.destinations[name]) for name in feed.destinations},
        charset=feed.hl7.charset,
        processing_ids=frozenset({settings.service.processing_id}),
        unsupported="ignore" if counts_others else feed.hl7.unsupported,
        recheck=feed.adt.recheck,
        mode=answers.mode,
        acknowledge_when=answers.acknowledge_when,
        ack_deadline=answers.ack_deadline,
        when_pending=answers.when_pending,
        acknowledge_for=tuple(answers.acknowledge_for),
        application_acknowledgment_to=answers.application_acknowledgment_to or "",
        duplicate_window=answers.duplicate_window,
        codes={Refusal(name): code for name, code in answers.codes.items()},
    )
