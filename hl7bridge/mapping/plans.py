"""fields.toml, compiled for a feed: which rule reads which field, with the code tables in force."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache

# The rules register themselves when their modules are imported.
from hl7bridge.errors import ConfigError
from hl7bridge.mapping import identifiers, practitioner, role, standing
from hl7bridge.mapping.draft import FIELD_RULES, SEGMENT_RULES, Plan, Row
from hl7bridge.mapping.rules import FeedRules
from hl7bridge.mapping.tables import field_table, named

RULE_MODULES = (identifiers, practitioner, role, standing)

_DECIDING = frozenset({"identity", "standing"})


def fields_in_force(rules: FeedRules) -> dict[str, Mapping[str, str]]:
    """fields.toml with the feed's rows in place of the packaged ones. Raises ConfigError for a row that says nothing."""
    rows: dict[str, Mapping[str, str]] = {**field_table(), **rules.fields}
    for place in rules.fields:
        _checked(place, rows[place])
    return rows


def _checked(place: str, row: Mapping[str, str]) -> None:
    segment, _, number = place.partition("-")
    if len(segment) != 3 or not number.isdigit():
        raise ConfigError(f"{place!r} is not a field such as STF-5", key=f"fields.{place}")
    if "drop" in row:
        return
    rule = row.get("rule", "")
    known = [*FIELD_RULES, *SEGMENT_RULES]
    if rule not in known:
        near = get_close_matches(rule, known, 1)
        advice = f"Did you mean {near[0]!r}?" if near else "Give a rule, or `drop` with the reason"
        raise ConfigError(f"unknown rule {rule!r}", key=f"fields.{place}", advice=advice)


@lru_cache(maxsize=64)
def plans_for(rules: FeedRules) -> Mapping[str, Plan]:
    """How each mapped segment is read. Raises ConfigError for a field row of the feed that cannot be used."""
    systems = named("systems")
    by_segment: dict[str, list[Row]] = {}
    segment_rules: dict[str, str] = {}
    identifying: set[str] = set()
    for place, row in fields_in_force(rules).items():
        if "drop" in row:
            continue
        segment, _, number = place.partition("-")
        rule, table = row["rule"], row.get("table", "")
        if rule in SEGMENT_RULES:
            segment_rules[segment] = rule
            apply = None
        else:
            apply = FIELD_RULES[rule]
        by_segment.setdefault(segment, []).append(
            Row(
                int(number),
                place,
                rule,
                apply,
                table,
                rules.codes.get(table, {}),
                systems.get(table, ""),
                row.get("to", "") in _DECIDING,
            )
        )
        if row.get("to", "") == "identity":
            identifying.add(place)
    plans = {}
    for segment, rows in by_segment.items():
        plans[segment] = Plan(
            SEGMENT_RULES.get(segment_rules.get(segment, "")),
            {row.number: row for row in rows},
            {row.number: row for row in rows if row.decides},
            {row.number: row for row in rows if row.label in identifying},
        )
    return plans
