"""Rules that no packaged row names: for site maps alone, whose senders put things where the standard has none."""

from __future__ import annotations

from hl7bridge.mapping.rules.draft import Draft, Row, field_rule
from hl7bridge.mapping.rules.identifiers import add, system_for, type_of, value_of
from hl7bridge.model import JsonObject


@field_rule
def site_identifier(draft: Draft, row: Row, raw: str) -> None:
    """Any field that holds a number of the person: the first component of each repetition, of the row's `authority`."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        value = value_of(draft, repetition, number)
        if value:
            type_code, extra = type_of(draft, "")
            system = system_for(draft.envelope.rules, row.authority, "", "", type_code)
            add(draft, number, value, system, row.authority, type_code, extra)


@field_rule
def phone_fax_email(draft: Draft, row: Row, raw: str) -> None:
    """STF-10 of senders that use its components for three things: telephone, fax, e-mail address, all for work."""
    for number, repetition in enumerate(draft.reader.repetitions(raw), 1):
        for component, kind in enumerate(("phone", "fax", "email"), 1):
            value = draft.reader.parts(repetition)[component - 1]
            if not value:
                continue
            if ("@" in value) != (kind == "email"):
                draft.misfit(f"component {component} is not the {kind}", number if number > 1 else 0, component)
                continue
            point: JsonObject = {"system": kind, "value": value, "use": "work"}
            draft.share(draft.person("telecom", point, number))


@field_rule
def specialty_of_scheme(draft: Draft, row: Row, raw: str) -> None:
    """PRA-5 as code^scheme^rank (`100^NAT^MAIN`), whose second component is a coding scheme, not a board: the row's
    table maps `NAT:100`, else `100`; without an entry the code goes with its scheme's system, else as text."""
    reader = draft.reader
    for number, repetition in enumerate(reader.repetitions(raw), 1):
        code, scheme = reader.parts(repetition)[:2]
        if not code:
            continue
        target = row.codes.get(f"{scheme}:{code}") or row.codes.get(code)
        system = draft.envelope.rules.systems_by_authority.get(scheme, "")
        if target and "|" in target:
            parts = target.split("|")
            coding = {"system": parts[0], "code": parts[1]}
            if len(parts) > 2 and parts[2]:
                coding["display"] = parts[2]
            draft.role_value("specialty", {"coding": [coding]}, number)
        elif target:
            draft.role_value("specialty", {"text": target}, number)
        elif system:
            draft.role_value("specialty", {"coding": [{"system": system, "code": code}]}, number)
        else:
            draft.unmapped(code, row.table, number if number > 1 else 0, 1)
            draft.role_value("specialty", {"text": code}, number)
