"""The rules of a feed, compiled for messages of one form: how each field is read quickly, where that is possible.

    field   quick way                                                otherwise
    codes   what the same text gave the last time (`known`)    the rule, once, and its result is kept
    people  a pattern of the plain form (`people`, `numbers`)        the rule
    others  none                                                     the rule

The rules (`mapping.rules`) stay the one place that decides what a field means. A quick way reads only what it can read to
the same result, and says whether it did: unusual characters, escape sequences, nulls, values that may be of another field,
and codes without a meaning are all left to the rule. `explain` goes by the rules alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import tzinfo
from functools import lru_cache

from hl7bridge.hl7.escapes import Separators
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.plain import numbers, people
from hl7bridge.mapping.plain.known import OF_CODES, read_known
from hl7bridge.mapping.plain.patterns import Patterns
from hl7bridge.mapping.rules.draft import Plan, QuickRule, Row, SegmentRows
from hl7bridge.mapping.rules.plans import plans_for
from hl7bridge.mapping.rules.reading import reader_of

_PLAIN: Mapping[str, Callable[[Row, Patterns, FeedRules], QuickRule]] = {**people.PLAIN, **numbers.PLAIN}


def _unrepeated(read: QuickRule, repetition: str) -> QuickRule:
    """The quick way of a field that may not repeat: what is to be said of one that does, its rule says."""
    return lambda draft, row, raw: repetition not in raw and read(draft, row, raw)


@lru_cache(maxsize=64)
def compiled_for(rules: FeedRules, separators: Separators, codec: str, zone: tzinfo) -> Mapping[str, Plan]:
    """How each mapped segment is read in messages with these separators, by this codec, with local times of this zone.

    Raises ConfigError for a field row of the feed that cannot be used.
    """
    patterns = Patterns(reader_of(separators, codec))

    def quick(row: Row) -> Row:
        if row.when is not None or row.apply is None:
            return row
        if row.rule in OF_CODES:
            return replace(row, quick=read_known)
        compile_rule = _PLAIN.get(row.rule)
        if compile_rule is None or not patterns.usable:
            return row
        read = compile_rule(row, patterns, rules)
        return replace(row, quick=_unrepeated(read, patterns.repetition) if row.single else read)

    plans = {}
    for segment, plan in plans_for(rules).items():
        rows = SegmentRows(segment, map(quick, plan.rows.values()))
        deciding = SegmentRows(segment, (rows[number] for number in plan.deciding))
        identifying = SegmentRows(segment, (rows[number] for number in plan.identifying))
        plans[segment] = replace(plan, rows=rows, deciding=deciding, identifying=identifying)
    return plans
