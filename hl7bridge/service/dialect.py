"""A feed's settings, its map and its tables as the mapping takes them."""

from __future__ import annotations

from hl7bridge.config import Feed
from hl7bridge.errors import ConfigError
from hl7bridge.mapping.plans import plans_for
from hl7bridge.mapping.rules import FeedRules
from hl7bridge.mapping.site import Shift, SiteMap


def feed_rules(feed: Feed) -> FeedRules:
    """What the mapping needs of a feed's settings, its map's included; the feed's own tables override those of its map.

    Raises ConfigError, with file and line, for what no rule could use: here, and not with the first message.
    """
    given = feed.site.map
    tables = feed.site.tables
    for number, codes in feed.tables.items():
        tables[number] = {**tables.get(number, {}), **codes}
    try:
        rules = FeedRules(
            key_system=feed.hl7.key_system,
            timezone=feed.hl7.timezone,
            authorities={**given.authorities, **feed.authorities},
            tables=tables,
            fields={place: field.row() for place, field in given.fields.items()},
            fallback_version=feed.hl7.fallback_version,
            takes=frozenset(feed.hl7.takes),
            site=SiteMap(
                name=feed.map,
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
        raise ConfigError(error.problem, file=feed.where(error.key), key=error.key, advice=error.advice) from None
    return rules
