"""The plain form of what tells who the person is, and whether they are active: keys, identifiers, licences, the flag.

Each function compiles the quick way of one rule (`rules.identifiers`, `rules.standing`) for one field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.plain.patterns import Patterns
from hl7bridge.mapping.rules.draft import Draft, QuickRule, Row
from hl7bridge.mapping.rules.identifiers import add, contradicts, licensed, system_for, type_of
from hl7bridge.mapping.rules.shapes import EQUIPMENT, USES
from hl7bridge.mapping.rules.times import fhir_date
from hl7bridge.model import JsonObject

_MOST_AUTHORITIES = 256
"""Authorities and types whose system is kept for a field."""


def _key(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """STF-1, PRA-1: the record's key again."""
    component, repetition = patterns.component, patterns.repetition

    def read(draft: Draft, row: Row, raw: str) -> bool:
        if repetition in raw:
            return False
        key = raw.split(component, 1)[0]
        return key == draft.key and key.isalnum()

    return read


def _identifiers(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """STF-2: numbers of an authority whose system is known, with a type of table 0203."""
    plain, mark = patterns.identifier.fullmatch, patterns.repetition
    known: dict[tuple[str, ...], tuple[str, str, str]] = {}  # authority and type -> system, authority, type

    def settled(draft: Draft, said: tuple[str, ...]) -> tuple[str, str, str]:
        """What follows from an authority and a type; ("", "", "") where the rule has something to say about them."""
        namespace, universal_id, universal_type, type_text = said
        type_code, _ = type_of(draft, type_text)
        system = system_for(rules, namespace, universal_id, universal_type, type_code)
        if not type_code or not system or contradicts(universal_id, universal_type, type_code, system):
            return "", "", ""
        return system, namespace or universal_id, type_code

    def read(draft: Draft, row: Row, raw: str) -> bool:
        found = []
        for repetition in raw.split(mark):
            match = plain(repetition)
            if match is None:
                return False
            value, *parts = match.groups("")
            said = tuple(parts)
            meaning = known.get(said)
            if meaning is None:
                if len(known) >= _MOST_AUTHORITIES:
                    known.clear()
                meaning = known[said] = settled(draft, said)
            if not meaning[0]:
                return False
            found.append((value, meaning))
        for number, (value, (system, authority, type_code)) in enumerate(found, 1):
            add(draft, number, value, system, authority, type_code, {})
        return True

    return read


def _licences(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """PRA-6."""
    plain, mark = patterns.licence.fullmatch, patterns.repetition
    known: dict[tuple[str, str], tuple[str, str, str, JsonObject]] = {}  # type and state -> what they are read as

    def read(draft: Draft, row: Row, raw: str) -> bool:
        found = []
        for repetition in raw.split(mark):
            match = plain(repetition)
            if match is None:
                return False
            value, type_text, state, expiry = match.groups("")
            end = fhir_date(expiry) if expiry else ""
            looks_like_telephone = type_text in USES or (not type_text and state.upper() in EQUIPMENT)
            if looks_like_telephone or (expiry and not end):
                return False
            said = type_text, state
            meaning = known.get(said)
            if meaning is None:
                if len(known) >= _MOST_AUTHORITIES:
                    known.clear()
                meaning = known[said] = licensed(draft, type_text, state)
            found.append((value, end, meaning))
        for number, (value, end, (system, authority, type_code, more)) in enumerate(found, 1):
            extra = {**more, "period": {"end": end}} if end else {**more}
            add(draft, number, value, system, authority, type_code, extra)
        return True

    return read


def _flag(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """STF-7."""
    flags = {code: target == "true" for code, target in row.codes.items() if code in ("A", "I") and target}

    def read(draft: Draft, row: Row, raw: str) -> bool:
        flag = flags.get(raw)
        if flag is None:
            return False
        draft.active = flag
        return True

    return read


PLAIN: Mapping[str, Callable[[Row, Patterns, FeedRules], QuickRule]] = {
    "primary_key": _key,
    "staff_identifier": _identifiers,
    "practitioner_number": _licences,
    "active_flag": _flag,
}
"""The quick ways, by the rule."""
