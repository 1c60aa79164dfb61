"""The roles that follow from a record: one per ORG segment, else one per department (STF-8), else one without a unit.

What the message says of the person's work in general stands in each of them. A role's period is its own (ORG-9), else that
of the relationship (STF-34), else the dates of its institution (STF-12, STF-13), else those of the practice (PRA-8, PRA-10).
"""

from __future__ import annotations

from hl7bridge.mapping.feed_rules import TOO_MANY
from hl7bridge.mapping.rules.datatypes import NOBODY, names_of
from hl7bridge.mapping.rules.draft import Bound, Draft, Source, Unit
from hl7bridge.mapping.rules.role import fallback_organization
from hl7bridge.mapping.rules.times import ends_before
from hl7bridge.model import ElementValue, Finding, Location, Provenance, Severity, StaffRole


def roles_of(draft: Draft) -> tuple[tuple[StaffRole, ...], tuple[ElementValue, ...]]:
    """The roles by unit, and, where the message lists no unit, the values of a role without one."""
    general = draft.role
    if draft.title is not None:
        _add_title(draft, general)
    if draft.returning is not None:
        general.append(_not_available(draft, draft.returning))
    units = _units(draft)
    periods = _Periods(draft, units) if _is_dated(draft) else None
    if not units:
        if (fallback := fallback_organization(draft)) is not None:
            general.append(fallback[0])
        if periods is not None and (period := periods.of(NOBODY)):
            general.append(period)
            if period.provenance.is_of("PRA"):
                draft.institution_names = fallback[1] if fallback is not None and periods.names_practice else NOBODY
            elif not any(draft.relationship):
                draft.institution_names = NOBODY.union(*(bound.institution for bound in periods.dates if bound.used))
    elif draft.institution is not None and not draft.institution.used:
        source = draft.institution
        parts = draft.reader.texts(draft.reader.repetitions(source.text)[0])
        if units[0].origin == "ORG":  # beside departments (STF-8) a group is no unit of its own
            _say_hidden(draft, source, names_of(parts[0], parts[1]), NOBODY.union(*(unit.names for unit in units)))
        draft.leave("another field names the unit", source)
    roles = []
    most = draft.envelope.rules.caps.role_values
    if len(units) * len(general) > most:
        text = f"the roles of the record would have more than {most} values, each those of all: not read"
        draft.say(Severity.ERROR, TOO_MANY, "too-many-values", text, number=0)
        return (), ()
    for unit in units:
        values = unit.values
        if unit.origin == "ORG":
            said = [(have.element, have.value) for have in values]
            values.extend(value for value in general if (value.element, value.value) not in said)
        else:
            draft.use(unit, "organization", values[0].value)
            values.extend(general)
        if periods is not None:
            if "period" in [value.element for value in values]:
                periods.give_way(unit.names)
            elif period := periods.of(unit.names):
                values.append(period)
        roles.append(StaffRole(unit.key, unit.origin, tuple(values)))
    if periods is not None:
        periods.say_unused()
    return tuple(roles), (() if units else tuple(general))


def end_of_employment(draft: Draft) -> tuple[ElementValue, ...]:
    """For a deactivation: the end of the role that STF-13 states, when it states one date."""
    if not draft.ends:
        return ()
    if draft.purpose.temporary:
        for bound in draft.ends:
            draft.leave("the person is away: nothing ends", bound)
        return ()
    first = draft.ends[0]
    if any(bound.date != first.date for bound in draft.ends):
        for bound in draft.ends:
            draft.leave("institutions end on different dates: the role ends with the event", bound)
        return ()
    draft.use(first, "period.end", first.date)
    return (first.value("period", {"end": first.date}),)


def _add_title(draft: Draft, general: list[ElementValue]) -> None:
    """STF-18 is the role's code in words, where no other field gives one."""
    title = draft.title
    assert title is not None, "called with a title"
    if any(value.element == "code" for value in general):
        draft.leave("a coded field says what the person does", title)
        return
    general.append(title.value("code", {"text": title.text}))
    draft.use(title, "code", {"text": title.text})


def _not_available(draft: Draft, returning: Bound) -> ElementValue:
    """STF-35, with the words of STF-38; the plan need not add these again."""
    value = {"description": draft.ended_for or "Expected to return", "during": {"end": returning.date}}
    draft.ended_for = ""
    draft.use(returning, "notAvailable", value)
    return returning.value("notAvailable", value)


def _units(draft: Draft) -> list[Unit]:
    """The units that ORG lists, else those of STF-8."""
    units = draft.units
    if len(units) < 2 or units[0].origin == units[-1].origin:
        return units
    listed = [unit for unit in units if unit.origin == "ORG"]
    named = NOBODY.union(*(unit.names for unit in listed))
    for unit in units:
        if unit.origin != "ORG":
            _say_hidden(draft, unit, unit.names, named)
            draft.leave("ORG lists the units", unit)
    return listed


def _say_hidden(draft: Draft, source: Source, names: frozenset[str], listed: frozenset[str]) -> None:
    """A unit that no role is made of, for another field lists the units, and does not name this one."""
    if names and names.isdisjoint(listed):
        place, sent_at = source.place, draft.envelope.rules.site.sent_at
        location = Location(place.segment, place.occurrence, sent_at(place.segment, place.number) or place.number)
        text = "names a unit that the field which lists the units does not name: no role is made of it"
        draft.findings.append(Finding("103", "unit-hidden", text, Severity.WARNING, location, draft.position))


def _is_dated(draft: Draft) -> bool:
    if draft.starts or draft.ends:
        return True
    return any(draft.relationship) or any(draft.practice)


class _Dates:
    """The dates of one field, by the institution that they are of."""

    def __init__(self, dates: list[Bound]) -> None:
        self._by_name: dict[str, tuple[int, Bound]] = {}
        self._first = dates[0] if dates else None
        self._of_none: Bound | None = None
        for at, bound in enumerate(dates):
            if not bound.institution and self._of_none is None:
                self._of_none = bound
            for name in bound.institution:
                self._by_name.setdefault(name, (at, bound))

    def of(self, names: frozenset[str], common: bool) -> Bound | None:
        """The first one of the institution that goes by these names, else the first that names none, or (`common`) any."""
        if self._by_name and (found := [self._by_name[name] for name in names if name in self._by_name]):
            return min(found, key=lambda one: one[0])[1]
        return self._first if common else self._of_none


class _Periods:
    """Which of the dates in STF-12, -13, -34 and PRA-8, -10 belong to which unit."""

    def __init__(self, draft: Draft, units: list[Unit]) -> None:
        self.draft = draft
        self.units = units
        self.dates = draft.starts + draft.ends
        self.reversed = False
        # One institution that no unit goes by is the house that all of them are in.
        named = {bound.institution for bound in self.dates if bound.institution}
        house = named.pop() if len(named) == 1 else NOBODY
        self.common = not named
        for unit in units:
            if not house.isdisjoint(unit.names):
                self.common = False
        self.starts, self.ends = _Dates(draft.starts), _Dates(draft.ends)

    def of(self, names: frozenset[str]) -> ElementValue | None:
        """The period of the unit that goes by these names."""
        draft = self.draft
        start, end = draft.relationship
        if start or end:
            self._compare(start, end)
        else:
            start, end = self.starts.of(names, self.common), self.ends.of(names, self.common)
        if not (start or end) and any(draft.practice) and self._is_practice(names):
            start, end = draft.practice
        first = start or end
        if first is None:
            return None
        if start and end and ends_before(end.date, start.date):
            if not self.reversed:
                self.reversed = True
                self._say(end, "102", "period-reversed", "a period ends before it starts: left out", Severity.WARNING)
            return None
        period, provenance = {}, first.provenance
        if start:
            period["start"] = start.date
            draft.use(start, "period.start", start.date)
        if end:
            period["end"] = end.date
            draft.use(end, "period.end", end.date)
            if end is not first:
                provenance = Provenance.joined(provenance, end.provenance)  # both fields stand for the one value
        return ElementValue("period", period, provenance, first.row.rule)

    def give_way(self, names: frozenset[str]) -> None:
        """The unit that goes by these names has a period of its own (ORG-9)."""
        for dates in (self.starts, self.ends):
            if bound := dates.of(names, self.common):
                bound.used = True
                self.draft.leave("ORG-9 gives the period", bound)

    def say_unused(self) -> None:
        """Dates of institutions that no unit of the message goes by."""
        draft = self.draft
        for bound in draft.practice:
            if bound and not bound.used:
                elsewhere = not any(self._is_practice(unit.names) for unit in self.units)
                draft.leave(
                    "PRA-9 names no unit of the message" if elsewhere else "another field gives the period", bound
                )
        for bound in self.dates:
            if not bound.used and not self.reversed:
                text = "names an institution that is no unit of this message: the date is not used"
                self._say(bound, "103", "institution-unmatched", text, Severity.INFORMATION)
                draft.leave("no unit of the message goes by the institution's name", bound)

    @property
    def names_practice(self) -> bool:
        """Whether PRA-9 says of which institution PRA-8 and PRA-10 speak."""
        institution = self.draft.institution
        return institution is not None and institution.row.number == 9

    def _is_practice(self, names: frozenset[str]) -> bool:
        """Whether PRA-8 and PRA-10 speak of the unit: PRA-9 names it, or names nothing."""
        institution = self.draft.institution
        if institution is None or not self.names_practice or not names:
            return True
        reader = self.draft.reader
        parts = reader.texts(reader.repetitions(institution.text)[0])
        return bool(names_of(parts[0], parts[1]) & names)

    def _compare(self, start: Bound | None, end: Bound | None) -> None:
        """STF-34 stands before STF-12 and STF-13; where they say something else, that is said."""
        for bound, others in ((start, self.draft.starts), (end, self.draft.ends)):
            for other in others:
                if other.used:
                    continue
                other.used = True
                self.draft.leave("STF-34 gives the period", other)
                if bound and bound.date[:10] != other.date[:10]:
                    text = "STF-34 gives another date: STF-34 stands"
                    self._say(other, "102", "period-conflict", text, Severity.WARNING)

    def _say(self, bound: Bound, code: str, local: str, text: str, severity: Severity) -> None:
        place = bound.place
        location = Location(place.segment, place.occurrence, place.number)
        self.draft.findings.append(Finding(code, local, text, severity, location, self.draft.position))
