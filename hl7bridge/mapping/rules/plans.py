"""fields.toml, compiled for a feed: which rule reads which field, with the code tables in force."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache, lru_cache

# The rules register themselves when their modules are imported.
from hl7bridge.errors import ConfigError
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules import conditions, identifiers, practitioner, role, site_rules, standing
from hl7bridge.mapping.rules.draft import CONDITIONS, FIELD_RULES, SEGMENT_RULES, Plan, Row, SegmentRows
from hl7bridge.mapping.rules.shapes import OF_RULES, may_repeat, type_of_field
from hl7bridge.mapping.rules.tables import field_table, named

RULE_MODULES = (identifiers, practitioner, role, standing, site_rules, conditions)

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
    when = row.get("when", "")
    if when and when not in CONDITIONS:
        near = get_close_matches(when, CONDITIONS, 1)
        advice = f"Did you mean {near[0]!r}?" if near else "`hl7bridge map lint --conditions` lists them"
        raise ConfigError(f"unknown condition {when!r}", key=f"fields.{place}", advice=advice)


def target_of(row: Mapping[str, str]) -> str:
    """What a row's field becomes: its `to`, else what its rule gives."""
    return row.get("to") or next(iter(targets().get(row.get("rule", ""), ())), "")


@cache
def targets() -> Mapping[str, tuple[str, ...]]:
    """Rule -> what it can give (`to`), the first being what the packaged rows say first."""
    found: dict[str, dict[str, None]] = {}
    for row in field_table().values():
        if "rule" in row:
            found.setdefault(row["rule"], {})[row["to"]] = None
    return {**{rule: tuple(names) for rule, names in found.items()}, **FOR_SITES}


FOR_SITES = {
    "site_identifier": ("identity",),
    "phone_fax_email": ("Practitioner.telecom",),
    "specialty_of_scheme": ("PractitionerRole.specialty",),
    "healthcare_service": ("PractitionerRole.healthcareService",),
}
"""What the rules give that no packaged row names."""


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
                target_of(row) in _DECIDING,
                CONDITIONS[row["when"]] if row.get("when") else None,
                row.get("authority", ""),
                OF_RULES.get(rule, "") if apply else type_of_field(segment, int(number)),
                # A key, and what repeats in it, is judged by its rule.
                single=rule != "primary_key" and not may_repeat(segment, int(number)),
            )
        )
        if target_of(row) == "identity":
            identifying.add(place)
    plans = {}
    for segment, rows in by_segment.items():
        plans[segment] = Plan(
            SEGMENT_RULES.get(segment_rules.get(segment, "")),
            SegmentRows(segment, rows),
            SegmentRows(segment, (row for row in rows if row.decides)),
            SegmentRows(segment, (row for row in rows if row.label in identifying)),
        )
    return plans
