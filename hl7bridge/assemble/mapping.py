"""A feed's settings, its map and its tables as the mapping takes them."""

from __future__ import annotations

from hl7bridge.config import Feed
from hl7bridge.config.feed import LimitSettings
from hl7bridge.config.site_files import Site
from hl7bridge.errors import ConfigError
from hl7bridge.mapping.feed_rules import Caps, FeedRules
from hl7bridge.mapping.rules.plans import plans_for
from hl7bridge.mapping.site import Shift, SiteMap

_NO_KEY_SYSTEM = "urn:uuid:00000000-0000-0000-0000-000000000000"


def feed_rules(feed: Feed) -> FeedRules:
    """What the mapping needs of a feed's settings, its map's included; the feed's own tables override those of its map.

    Raises ConfigError, with file and line, for what no rule could use: here, and not with the first message.
    """
    return rules_of(feed.site, feed)


def caps_of(limits: LimitSettings) -> Caps:
    """How much of a kind the feed reads."""
    return Caps(
        segments=limits.max_segments,
        record_segments=limits.max_record_segments,
        repetitions=limits.max_repetitions,
        records_per_key=limits.max_records_per_key,
    )


def rules_of(site: Site, feed: Feed | None) -> FeedRules:
    """The rules of a map, for a feed, or (to see whether it could be used) for none. Raises ConfigError."""
    given = site.map
    tables = site.tables
    for number, codes in feed.tables.items() if feed else ():
        tables[number] = {**tables.get(number, {}), **codes}
    try:
        rules = FeedRules(
            key_system=feed.hl7.key_system if feed else _NO_KEY_SYSTEM,
            timezone=feed.hl7.timezone if feed else "UTC",
            authorities={**given.authorities, **(feed.authorities if feed else {})},
            tables=tables,
            fields={place: field.row() for place, field in given.fields.items()},
            fallback_version=feed.hl7.fallback_version if feed else "2.5.1",
            takes=frozenset(feed.hl7.takes if feed else ("staff",)),
            caps=caps_of(feed.limits) if feed else Caps(),
            site=SiteMap(
                name=given.name,
                key=given.key,
                shifts={
                    segment: tuple(Shift(shift.start, shift.by) for shift in shifts)
                    for segment, shifts in given.shift.items()
                },
                staff_type_field=given.practitioners.field,
                staff_types=given.practitioners.staff_types,
                master_files=given.practitioners.master_files,
                placeholder_keys=given.placeholders.keys,
                placeholder_names=given.placeholders.names,
            ),
        )
        plans_for(rules)
    except ConfigError as error:
        where = feed.where(error.key) if feed else site.where(error.key)
        raise ConfigError(error.problem, file=where, key=error.key, advice=error.advice) from None
    return rules
