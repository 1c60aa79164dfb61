"""Which PractitionerRoles a staff change is about, and which of the server's roles each of them is. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hl7bridge.destinations.fhir.desired import Field, allowed, bounds, cleared, sources, supplied
from hl7bridge.destinations.fhir.merging.earlier import LIFECYCLE_RULE
from hl7bridge.destinations.fhir.merging.merge import covers, essence
from hl7bridge.destinations.fhir.plan import (
    AS_IT_IS,
    END_MARK,
    ENDED_UNLISTED,
    ENDED_WITH_PERSON,
    OPEN,
    RESTING,
    SINGLE,
    RoleIntent,
    is_away,
)
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.model import ElementValue, JsonObject, Provenance, StaffChange, StaffRole, Written

STAFF = "staff"
"""Key of the role that stands for work whose unit nobody names."""

_PERIOD_RANKS: Mapping[Field, int] = {
    ("ORG", 0): 0, ("STF", 34): 1, ("STF", 12): 2, ("STF", 13): 2, ("PRA", 8): 3, ("PRA", 10): 3,
}  # fmt: skip
"""Which field's word of a role's period stands before which (mapping/employment.py); a role keeps to that over messages."""


def role_intents(
    change: StaffChange, own: Sequence[Written], rules: DestinationRules, *, person_active: bool
) -> tuple[RoleIntent, ...]:
    """What is to become of this record's roles.

    own            the bases of this record's roles
    person_active  whether the person is active once this change is applied: nobody inactive gets a new role

    The listed roles replace those of the same origin. Values for a role without a unit apply to the open roles where the
    message lists none. The end of the person ends the open roles; the return opens those that ended with it. A field that
    the message clears is cleared in each role that holds what this feed wrote from it, open or not, listed or not.
    """
    if "PractitionerRole" in rules.withheld or change.qualifications_only:
        return ()
    intents = _lifecycle(change, own, rules, person_active=person_active)
    spoken_of = [intent.own for intent in intents]
    beside = [base for base in own if base not in spoken_of and _clears(change, base)]
    return (*intents, *(RoleIntent(_bare(base), AS_IT_IS, base) for base in beside))


def _lifecycle(
    change: StaffChange, own: Sequence[Written], rules: DestinationRules, *, person_active: bool
) -> tuple[RoleIntent, ...]:
    said = change.says_present
    open_roles = [base for base in own if base.holds_active]
    resting = [base for base in own if is_away(base)]
    if said is False:
        if rules.lifecycle_scope == "practitioner":
            return ()
        if change.temporary:
            return tuple(RoleIntent(_bare(base), RESTING, base) for base in (*open_roles, *resting))
        return _ending(change, [*open_roles, *resting] if change.action.ends else open_roles)
    if change.roles:
        return _listed(change, own, open_roles, create=person_active, returns=said is True)
    ended = [base for base in open_roles if base.origin and _is_cleared(change, base.origin)]
    intents = [RoleIntent(_bare(base), ENDED_UNLISTED, base) for base in ended]
    remaining = [base for base in open_roles if base not in ended]
    back = [base for base in own if said is True and not base.holds_active and _ended_with_person(base)]
    speaking_of = _meant(change, [*remaining, *resting])
    for base in (*remaining, *back):
        if change.shared_role or base in back or _supplies(change, base):
            intents.append(RoleIntent(_with_shared(change, base, speaking_of), OPEN, base))
    for base in resting:
        if base not in back and (values := _with_shared(change, base, speaking_of)).values:
            intents.append(RoleIntent(values, AS_IT_IS, base))
    if (
        not remaining
        and not back
        and not resting
        and person_active
        and _says_what(allowed("PractitionerRole", change.shared_role, rules))
    ):
        before = next((base for base in own if base.role_key == STAFF), None)
        intents.append(RoleIntent(StaffRole(STAFF, "", change.shared_role), OPEN, before))
    return tuple(intents)


def _says_what(values: Sequence[ElementValue]) -> bool:
    """Whether the values make a role by themselves: a telephone number alone says nothing of what somebody does."""
    return any(value.element != "telecom" for value in values)


def _ending(change: StaffChange, open_roles: Sequence[Written]) -> tuple[RoleIntent, ...]:
    listed = {role.key: role for role in change.roles}
    intents = []
    for base in open_roles:
        role = listed.get(base.role_key)
        if role is None:
            ending = StaffRole(base.role_key, base.origin, _dates(change))
            role = ending if change.action.ends else _with_shared(change, base)
        intents.append(RoleIntent(role, ENDED_WITH_PERSON, base))
    return tuple(intents)


def _listed(
    change: StaffChange, own: Sequence[Written], open_roles: Sequence[Written], *, create: bool, returns: bool
) -> tuple[RoleIntent, ...]:
    """The listed roles, and the end of those that they replace. Roles that rest do so until somebody says (`returns`)
    that the person is back."""
    resting = [base for base in own if is_away(base)]
    asleep = set() if returns else {base.role_key for base in resting}
    by_key = {base.role_key: base for base in sorted(own, key=lambda base: base.holds_active)}
    origins = {role.origin for role in change.roles}
    keys = {role.key for role in change.roles}
    intents = [
        RoleIntent(role, OPEN, by_key.get(role.key))
        for role in change.roles
        if (create or (role.key in by_key and by_key[role.key].holds_active)) and role.key not in asleep
    ]
    for base in (*open_roles, *(resting if returns else ())):
        replaced = base.origin in origins or base.role_key == STAFF or _is_cleared(change, base.origin)
        if base.role_key not in keys and replaced:
            intents.append(RoleIntent(_bare(base), ENDED_UNLISTED, base))
    return tuple(intents)


def _bare(base: Written) -> StaffRole:
    return StaffRole(base.role_key, base.origin)


def _dates(change: StaffChange) -> tuple[ElementValue, ...]:
    return tuple(value for value in change.shared_role if value.element == "period")


def _with_shared(change: StaffChange, base: Written, speaking_of: Sequence[Written] | None = None) -> StaffRole:
    """The shared values for one role: what holds one value (unit, period) only where another field has not set it.
    `speaking_of`: the roles that the dates of the message are about, None = all."""
    have = {value.element: sources(value.provenance) for value in base.values}
    values: list[ElementValue] = []
    for value in change.shared_role:
        if value.element == "period":
            about = speaking_of is None or base in speaking_of
            values += _period_for(value, base) if about else ()
        elif value.element not in SINGLE or not have.get(value.element, sources(value.provenance)).isdisjoint(
            sources(value.provenance)
        ):
            values.append(value)
    return StaffRole(base.role_key, base.origin, tuple(values))


def _period_for(value: ElementValue, base: Written) -> tuple[ElementValue, ...]:
    """The dates of a message for a role, without those that a field gives way with to the one that dated the role before."""
    own = next((one for one in base.values if one.element == "period"), None)
    if own is None:
        return (value,)
    ranks = {bound: _period_rank(field) for bound, field in bounds(own).items()}
    fields = {
        bound: field
        for bound, field in bounds(value).items()
        if _period_rank(field) <= min(ranks.values()) or ranks.get(bound, -1) >= _period_rank(field)
    }
    if not fields:
        return ()
    dates = {bound: value.value[bound] for bound in fields}
    return (ElementValue("period", dates, Provenance.joined(*fields.values()), value.rule),)


def _period_rank(field: Provenance) -> int:
    return min((_PERIOD_RANKS.get(source, 0) for source in sources(field)), default=0)


def _meant(change: StaffChange, roles: Sequence[Written]) -> Sequence[Written] | None:
    """The roles whose unit goes by the name of the institution that the dates are of. Where none does, an employer's dates
    (STF-12, -13) are of the house that all of them are in (None), and those of a practice (PRA-8, -10) of no unit."""
    names = set(change.institution)
    if not names:
        return None
    found = [base for base in roles if not names.isdisjoint(_unit_names(base))]
    if any(value.provenance.is_of("PRA") for value in _dates(change)):
        return [*found, *(base for base in roles if base.role_key == STAFF and base not in found)]
    return found or None


def _unit_names(base: Written) -> set[str]:
    units = [value.value for value in base.values if value.element == "organization" and isinstance(value.value, dict)]
    said = [text for unit in units for text in (unit.get("display"), unit.get("identifier", {}).get("value"))]
    return {text.casefold() for text in said if isinstance(text, str)}


def _supplies(change: StaffChange, base: Written) -> bool:
    """Whether the message gives anew a field from which this role has a value: what it does not repeat lapses."""
    given = supplied(change)
    return any(
        not given.isdisjoint(sources(value.provenance))
        for value in base.values
        if "." not in value.element and value.rule != LIFECYCLE_RULE
    )


def _clears(change: StaffChange, base: Written) -> bool:
    """Whether the message clears a field from which this role has a value."""
    unsaid = cleared(change)
    return any(
        place.whole_field in unsaid
        for value in base.values
        if "." not in value.element and value.rule != LIFECYCLE_RULE
        for place in value.provenance.fields
    )


def _is_cleared(change: StaffChange, origin: str) -> bool:
    return origin in map(str, change.cleared)


def _ended_with_person(base: Written) -> bool:
    return is_away(base) or any(value.element == END_MARK and value.rule == ENDED_WITH_PERSON for value in base.values)


def role_at_server(
    intent: RoleIntent,
    person_id: str,
    server_roles: Sequence[JsonObject],
    taken: Collection[str],
    rules: DestinationRules,
) -> JsonObject | None:
    """The server's role that the intent is about: the one that we wrote, else the one open role of the person that says
    the same (unit, or, without a unit, everything). `taken`: ids that are other roles of ours, or other feeds'.

    A role with no base that is to end is nobody's to end.
    """
    of_person = [role for role in server_roles if is_of_person(role, person_id)]
    if intent.own is not None:
        return next((role for role in of_person if role["id"] == intent.own.resource_id), None)
    candidates = [role for role in of_person if role["id"] not in taken and role.get("active") is not False]
    values = allowed("PractitionerRole", intent.role.values, rules)
    alike = [role for role in candidates if says_all(role, values)]
    if len(alike) != 1:
        units = [essence("organization", value.value) for value in values if value.element == "organization"]
        alike = [role for role in candidates if units and covers(role.get("organization"), units[-1])]
    return alike[0] if len(alike) == 1 else None


def is_of_person(role: JsonObject, person_id: str) -> bool:
    """Whether the role's practitioner is that person: servers may ignore the search parameter."""
    reference = role.get("practitioner", {}).get("reference")
    if not isinstance(reference, str):
        return False
    path = reference.partition("/_history/")[0]
    return path == f"Practitioner/{person_id}" or path.endswith(f"/Practitioner/{person_id}")


def says_all(role: JsonObject, values: Sequence[ElementValue]) -> bool:
    """Whether the role has every value, and a unit only if one of them is."""
    if not values or ("organization" in role and all(value.element != "organization" for value in values)):
        return False
    for value in values:
        have = role.get(value.element)
        items = have if isinstance(have, list) else [have]
        if not any(covers(item, essence(value.element, value.value)) for item in items):
            return False
    return True
