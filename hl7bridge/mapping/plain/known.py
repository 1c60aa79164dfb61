"""Fields that hold codes: what a text gave the last time, it gives again.

A feed has some hundred job codes, departments and specialties, and tens of thousands of people. What is kept of a text is
what its rule found, without the record and the segment that it stood in.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from hl7bridge.mapping.rules.draft import Draft, Row, Unit, of_element
from hl7bridge.model import ElementValue, Severity
from hl7bridge.model.quickly import finding, location

OF_CODES = frozenset(
    {
        "role_code",
        "healthcare_service",
        "specialty",
        "specialty_of_scheme",
        "job_code",
        "gender",
        "department",
        "institution",
        "practitioner_group",
    }
)
"""Rules whose result follows from the text alone: from nothing else that the record says, and not from today's date."""

_LATER = frozenset({"institution", "practitioner_group"})
"""Rules that keep the text as sent until the roles are known: of these, only what fits the field is kept here."""

LONGEST, MOST_REPETITIONS, MOST = 64, 4, 8192
"""Characters and repetitions of a text that is kept, and how many texts of all fields: no sender can fill the memory."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a text of a field gives. `rest`: what its rule has to read each time."""

    rest: str
    person: tuple[ElementValue, ...]
    role: tuple[tuple[Hashable, ElementValue], ...]
    units: tuple[tuple[str, str, frozenset[str], tuple[ElementValue, ...], int], ...]
    findings: tuple[tuple[str, str, str, Severity, tuple[int, int, int]], ...]
    misfit: bool


KNOWN: dict[tuple[Row, str], _Said] = {}


def read_known(draft: Draft, row: Row, raw: str) -> bool:
    """Give the draft what this text gives; False where the rule has to be asked."""
    said = KNOWN.get((row, raw)) or _learned(draft, row, raw)
    if said is None or (said.units and draft.units):
        return False
    if said.findings or said.misfit:
        _say(draft, row, said)
    if said.person:
        draft.practitioner += said.person
    for key, value in said.role:
        if key not in draft.role_said:
            draft.role_said.add(key)
            draft.role.append(value)
    for key, origin, names, values, number in said.units:
        draft.add_unit(Unit(draft, key, origin, names, [*values], number))
    if said.rest and row.apply is not None:
        row.apply(draft, row, said.rest)
    return True


def _learned(draft: Draft, row: Row, raw: str) -> _Said | None:
    """What the rule makes of a text, in a draft of its own."""
    if len(raw) > LONGEST or '"' in raw or raw.count(draft.reader.repetition) >= MOST_REPETITIONS:
        return None
    aside = Draft(draft.envelope, 0, draft.key, draft.purpose)
    aside.segment, aside.plan, aside.fields, aside.row = draft.segment, draft.plan, draft.fields, row
    rest = ""
    if row.rule in _LATER:
        rest = aside.fitting(row, raw)
    else:
        aside.read_field(row, raw)
    findings = []
    for one in aside.findings:
        place = one.location
        assert place is not None, "said of a field"
        findings.append((one.code, one.local, one.text, one.severity, place[2:]))
    if len(KNOWN) >= MOST:
        KNOWN.clear()
    said = KNOWN[row, raw] = _Said(
        rest,
        tuple(aside.practitioner),
        tuple((of_element(value), value) for value in aside.role),
        tuple((unit.key, unit.origin, unit.names, tuple(unit.values), unit.number) for unit in aside.units),
        tuple(findings),
        bool(aside.misfits),
    )
    return said


def _say(draft: Draft, row: Row, said: _Said) -> None:
    name, occurrence, position = draft.segment.name, draft.segment.occurrence, draft.position
    draft.findings += [
        finding((code, local, text, severity, location((name, occurrence, *place)), position))
        for code, local, text, severity, place in said.findings
    ]
    if said.misfit:
        draft.misfits.add(row.label)
        draft.shifted.add((name, occurrence))
