"""What is each person's own, in its plain form: name, birth date, telephone, e-mail, address, and since when they work.

Each function compiles the quick way of one rule (`rules.practitioner`, `rules.role`) for one field. The results, and the
order of their keys, are those of the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.plain.patterns import Patterns
from hl7bridge.mapping.rules.draft import Bound, Draft, QuickRule, Row
from hl7bridge.mapping.rules.practitioner import LONGEST_LIFE
from hl7bridge.mapping.rules.said import FEW
from hl7bridge.mapping.rules.shapes import EQUIPMENT, USES, is_telephone
from hl7bridge.mapping.rules.times import fhir_date
from hl7bridge.mapping.withholding import WORK, address_kind_of, kind_of_use, sounds_like_home
from hl7bridge.model import ElementValue, JsonObject
from hl7bridge.model.quickly import element_value

NOBODY: frozenset[str] = frozenset()
_TELEPHONES = frozenset({"phone", "fax", "pager", "sms"})
_MOST = 8
"""Repetitions that are read quickly."""


def _name(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """STF-3."""
    plain, mark = patterns.name.fullmatch, patterns.repetition
    codes, rule = row.codes, row.rule
    places = row.places(_MOST)

    def read(draft: Draft, row: Row, raw: str) -> bool:
        found: list[ElementValue] = []
        repetitions = raw.split(mark)
        if len(repetitions) > _MOST:
            return False
        for repetition, place in zip(repetitions, places, strict=False):
            match = plain(repetition)
            if match is None:
                return False
            family, given, middle, suffix, prefix, degree, code = match.groups("")
            use = codes.get(code) if code else "" if found else "official"
            if use is None:
                return False
            name: JsonObject = {"use": use, "family": family} if use else {"family": family}
            if given:
                name["given"] = [given, middle] if middle else [given]
            elif middle:
                name["given"] = [middle]
            if prefix:
                name["prefix"] = [prefix]
            if suffix:
                name["suffix"] = [suffix, degree] if degree and degree != suffix else [suffix]
            elif degree:
                name["suffix"] = [degree]
            found.append(element_value(("name", name, place, rule, "")))
        draft.practitioner += found
        return True

    return read


def _birth_date(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """STF-6."""
    plain = patterns.day.fullmatch

    def read(draft: Draft, row: Row, raw: str) -> bool:
        day = fhir_date(raw) if plain(raw) else ""
        now = draft.envelope.now
        if not day or int(day[:4]) < now.year - LONGEST_LIFE or day > now.date().isoformat():
            return False
        draft.practitioner.append(element_value(("birthDate", day, row.provenance, row.rule, "")))
        return True

    return read


def _phone(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """STF-10."""
    plain, plain_old, mark = patterns.telephone.fullmatch, patterns.old_telephone.fullmatch, patterns.repetition
    places, rule = row.places(_MOST), row.rule
    meanings: dict[tuple[str, str], tuple[str, str, str]] = {}  # use and equipment -> system, use, kind
    for use_code, use in row.codes.items():
        for equipment, system in rules.codes["0202"].items():
            marked = use_code == "C" and len(equipment) == 1  # the old form of text (TN): "555-0100^C^H"
            if use_code != "NET" and not marked:
                system = "pager" if use_code == "BPN" and system == "phone" else system
                use = rules.codes["0202-use"].get(equipment) or row.codes[use_code]
                meanings[use_code, equipment] = system, use, kind_of_use(row.codes, use_code)

    def read(draft: Draft, row: Row, raw: str) -> bool:
        found = []
        repetitions = raw.split(mark)
        if len(repetitions) > _MOST:
            return False
        for repetition, place in zip(repetitions, places, strict=False):
            if match := plain(repetition):
                use_code, equipment, country, area, local = match.groups()
                value = f"+{country} {area} {local}"
            elif match := plain_old(repetition):
                value, use_code, equipment = match.groups()
                if not is_telephone(value):
                    return False
            else:
                return False
            system, use, kind = meanings.get((use_code, equipment), ("", "", ""))
            if system not in _TELEPHONES:
                return False
            point = {"system": system, "value": value, "use": use} if use else {"system": system, "value": value}
            found.append(element_value(("telecom", point, place, rule, kind)))
        draft.practitioner += found
        draft.role += [value for value in found if value.kind == WORK]
        return True

    return read


def _email(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """STF-15."""
    plain = patterns.mail.fullmatch

    def read(draft: Draft, row: Row, raw: str) -> bool:
        if not plain(raw) or len(draft.practitioner) > 2 * FEW:
            return False
        for have in draft.practitioner:
            if have.element == "telecom" and have.value["value"] == raw:
                return False
        if sounds_like_home(raw):
            return False
        point = {"system": "email", "value": raw}
        draft.practitioner.append(element_value(("telecom", point, row.provenance, row.rule, "")))
        return True

    return read


def _address(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
    """STF-11."""
    plain, mark = patterns.address.fullmatch, patterns.repetition
    places, rule = row.places(_MOST), row.rule
    meanings: dict[str, tuple[JsonObject, str]] = {}  # type -> what it adds, kind
    for code, use in row.codes.items():
        if use != "birth" and code != "HV":
            added = {"use": use} if use else {}
            if place := rules.codes["0190-type"].get(code):
                added["type"] = place
            meanings[code] = added, address_kind_of(row.codes, code, "")

    def read(draft: Draft, row: Row, raw: str) -> bool:
        found = []
        repetitions = raw.split(mark)
        if len(repetitions) > _MOST:
            return False
        for repetition, provenance in zip(repetitions, places, strict=False):
            match = plain(repetition)
            if match is None:
                return False
            street, other, city, state, postal_code, country, code = match.groups()
            meaning = meanings.get(code)
            if meaning is None or other in USES or city.upper() in EQUIPMENT:
                return False
            added, kind = meaning
            address = {**added, "line": [street, other] if other else [street], "city": city}
            if state:
                address["state"] = state
            address["postalCode"] = postal_code
            if country:
                address["country"] = country
            found.append(element_value(("address", address, provenance, rule, kind)))
        draft.practitioner += found
        return True

    return read


def _institution_dates(bounds: Callable[[Draft], list[Bound]]) -> Callable[[Row, Patterns, FeedRules], QuickRule]:
    """STF-12, STF-13: one institution."""

    def compile_rule(row: Row, patterns: Patterns, rules: FeedRules) -> QuickRule:
        plain = patterns.day_of.fullmatch

        def read(draft: Draft, row: Row, raw: str) -> bool:
            match = plain(raw)
            if match is None:
                return False
            day, name = fhir_date(match[1]), match[2]
            if not day or name in USES:
                return False
            bounds(draft).append(Bound(draft, day, frozenset((name.casefold(),)) if name else NOBODY))
            return True

        return read

    return compile_rule


PLAIN: Mapping[str, Callable[[Row, Patterns, FeedRules], QuickRule]] = {
    "person_name": _name,
    "birth_date": _birth_date,
    "phone": _phone,
    "email": _email,
    "postal_address": _address,
    "institution_start": _institution_dates(lambda draft: draft.starts),
    "institution_end": _institution_dates(lambda draft: draft.ends),
}
"""The quick ways, by the rule."""
