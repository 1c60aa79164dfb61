"""Tasks about people who join and leave, and what reads and records show of them. Pure, but for the packaged tasks.toml.

No text says that access was revoked: an inactive Practitioner ends no login (S55).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

from hl7bridge.model import (
    CLASS_KNOWN,
    LEAVER_UNVERIFIED,
    LOGIN_KNOWN,
    NAME_KNOWN,
    PERSON_INACTIVE,
    ROLES_ENDED,
    Check,
    ElementValue,
    StaffChange,
    Task,
)

CLASSED_BY = ("job", "department", "category")
"""What a security class may be chosen by, the narrowest first: STF-18 and STF-19; ORG-2 and STF-8; PRA-3, STF-4, STF-39."""

_JOB = frozenset({("STF", 18), ("STF", 19)})
_CATEGORY = frozenset({("PRA", 3), ("STF", 4), ("STF", 9), ("STF", 39)})


@dataclass(frozen=True, slots=True)
class TaskRules:
    """What one destination asks of people.

    leaver, joiner     whether it does so for each leaver, each joiner
    login_identifiers  identifier types (CX-5) or assigning authorities of the identifier that is the login id
    security_classes   "job:CODE", "department:CODE" or "category:CODE" -> the class to suggest
    """

    leaver: bool = True
    joiner: bool = False
    login_identifiers: frozenset[str] = frozenset()
    security_classes: Mapping[str, str] = field(default_factory=dict)


@cache
def _packaged() -> dict[str, Any]:
    return tomllib.loads((files("hl7bridge.destinations.fhir") / "tasks.toml").read_text(encoding="utf-8"))


def task(kind: str) -> Task:
    """The packaged task of that kind. Raises KeyError where there is none."""
    given = _packaged()[kind]
    return Task(kind, given["title"], tuple(given["steps"]), float(given["due"]))


def leaver(*, reported: bool, checks_person: bool, checks_roles: bool) -> Task:
    """End a leaver's access. `reported`: nothing was written, for the destination is only reported on; which of the facts
    a read can show there."""
    made = task("leaver-access")
    checks = []
    if checks_person:
        checks.append(Check(PERSON_INACTIVE, "The Practitioner is inactive at the FHIR server (active = false)."))
    if checks_roles:
        checks.append(Check(ROLES_ENDED, "The roles that this feed gave the person at the FHIR server have ended."))
    if reported:
        first = (
            "The source says that the person leaves; this destination is only reported on, so the Practitioner was not"
            " changed."
        )
        made = replace(made, steps=(f"{first} {made.steps[0]}", *made.steps[1:]))
    return replace(made, checks=tuple(checks))


def leaver_unverified() -> Task:
    """A leaver whose deactivation takes too long: a read that shows it closes the task."""
    check = Check(PERSON_INACTIVE, "The Practitioner is inactive at the FHIR server (active = false).")
    return replace(task(LEAVER_UNVERIFIED), checks=(check,), by_facts=True)


def joiner(change: StaffChange, rules: TaskRules) -> tuple[Task, ...]:
    """Set up a joiner's account; link the provider record, where the record is about a provider.

    The set-up waits for name, login id and security class: a record that holds them closes those steps, or a person does.
    """
    suggested = security_class(change, rules)
    advice = f"Confirm the security class; suggested for the role: {suggested}." if suggested else ""
    setup = task("joiner-setup")
    gates = (
        Check(NAME_KNOWN, "The name is known.", gate=True),
        Check(LOGIN_KNOWN, "The login id is known.", gate=True),
        Check(CLASS_KNOWN, "A security class is chosen, or suggested by the role.", gate=True),
    )
    setup = replace(setup, checks=gates, steps=(*((advice,) if advice else ()), *setup.steps))
    return (setup, task("provider-linkage")) if is_provider(change) else (setup,)


def shown_by_record(change: StaffChange, rules: TaskRules) -> frozenset[str]:
    """Which facts of a joiner the record holds."""
    if not rules.joiner:
        return frozenset()
    facts = set()
    if change.complete:
        facts.add(NAME_KNOWN)
    if any({one.type_code, one.authority} & rules.login_identifiers for one in change.identifiers if one.value.strip()):
        facts.add(LOGIN_KNOWN)
    if security_class(change, rules):
        facts.add(CLASS_KNOWN)
    return frozenset(facts)


def is_provider(change: StaffChange) -> bool:
    """Whether the record speaks of a provider: anything of it comes from PRA, or it has an NPI."""
    given = [value.provenance for value in _values(change)] + [one.provenance for one in change.identifiers]
    return any(provenance.is_of("PRA") for provenance in given) or any(
        one.type_code == "NPI" for one in change.identifiers
    )


def security_class(change: StaffChange, rules: TaskRules) -> str:
    """The class that the table suggests for the role: by job, else by department, else by category; "" = none."""
    for kind in CLASSED_BY:
        for code in _codes(change, kind):
            if found := rules.security_classes.get(f"{kind}:{code}"):
                return found
    return ""


def _codes(change: StaffChange, kind: str) -> Iterator[str]:
    if kind == "department":
        for role in change.roles:
            yield role.key.partition(":")[2].partition("|")[0]
        return
    wanted = _JOB if kind == "job" else _CATEGORY
    for value in _values(change):
        if value.element == "code" and isinstance(value.value, dict) and value.provenance.whole_field in wanted:
            for coding in value.value.get("coding", ()):
                yield str(coding.get("code", ""))
            yield str(value.value.get("text", ""))


def _values(change: StaffChange) -> list[ElementValue]:
    return [*change.practitioner, *change.shared_role, *(value for role in change.roles for value in role.values)]
