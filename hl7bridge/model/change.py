"""What a message asks for of one person: the staff change, and the values that it carries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from hl7bridge.model.json import JsonObject, read_json, write_json
from hl7bridge.model.provenance import NO_FIELD, Location, Provenance


class Action(StrEnum):
    """What the sender asks for (MFE-1, HL7 table 0180; or the PMU trigger event)."""

    ADD = "add"
    UPDATE = "update"
    DEACTIVATE = "deactivate"
    REACTIVATE = "reactivate"
    REMOVE = "remove"

    @property
    def ends(self) -> bool:
        """Whether it says by itself that the person is inactive, for good or for a time, and merges no content."""
        return self is Action.DEACTIVATE or self is Action.REMOVE


RECORD_EVENT = Provenance.of("MFE", 1)
"""`event_field` of a record of a master file."""
ABSENT = Provenance.of("MFI", 3)
"""`event_field` of a deactivation that nobody sent: the person is absent from a file that replaces its master file."""
_ENDING = frozenset(action.value for action in Action if action.ends)
LIFECYCLE = frozenset({Action.DEACTIVATE, Action.REACTIVATE, Action.REMOVE})


class ElementValue(NamedTuple):
    """One value for one top-level element of a FHIR resource, and where it came from.

    `element` is the FHIR name ("telecom"); for a repeating element `value` is one item of the list, else the value
    itself. `provenance` is the HL7 field that gave it; `rule` names the table row or function. `kind`: what it may be
    withheld by, "home" or "work" by the type as sent, which FHIR's `use` need not show; "" = by its `use`.
    """

    element: str
    value: Any
    provenance: Provenance
    rule: str = ""
    kind: str = ""


class StaffIdentifier(NamedTuple):
    """An identifier of the person as the message gives it.

    `system` is the absolute URI that the standard or the feed's table gives its assigning authority, "" if none;
    a destination may name another one for `authority` (the namespace, or the universal id, as sent).
    `extra` holds further FHIR Identifier elements (use, period, assigner).
    """

    value: str
    system: str = ""
    authority: str = ""
    type_code: str = ""
    provenance: Provenance = NO_FIELD
    extra: JsonObject = {}  # noqa: RUF012  # of those who say nothing more: never changed


class StaffRole(NamedTuple):
    """One PractitionerRole that the message describes. `key` is stable per person and feed; `origin` is the segment or
    field that lists such roles ("ORG", "STF-8"): a message that lists any replaces those of the same origin."""

    key: str
    origin: str
    values: tuple[ElementValue, ...] = ()

    @property
    def listed_by(self) -> Provenance:
        """`origin` as the provenance of what the list decides."""
        return Provenance.read(self.origin)


@dataclass(frozen=True, slots=True)
class StaffChange:
    """Who, what, when, and the desired content of one record (one MFE of an MFN^M02, or a PMU). Names no destination.

    identifiers   the staff key first (system = the feed's `key_system`), then every other one
    active        what the sender says of the person: True, False, or None (nothing)
    effective     ISO 8601 with offset: waited for while it is in the future; "" = now
    practitioner  values for Practitioner; `identifier` and `active` are added by the plan
    roles         the roles listed by unit; () when the message lists none
    shared_role   values for a role that the message gives without a unit (category, specialty)
    cleared       HL7 fields sent as `""`: what this feed wrote from them is removed
    message_time  MSH-7, ISO 8601 with offset, "" when absent; `message_time_exact`: it has seconds
    complete      holds enough for a create (a family name)
    needs_approval STF-29 asks for approval before a reactivation
    ended_for     why the role ends or rests, for PractitionerRole.notAvailable ("" = say nothing)
    temporary     of a deactivation: the person is away and will return; nothing ends
    until         of a temporary one: the day on which the person is expected back, a FHIR date, "" = not said
    qualifications_only  brings single qualifications; all else of the person, and the other qualifications, stay
    revokes       the qualifications that it brings end; none is added
    only_if_missing  a mention in a patient message: creates the person where nobody carries the identifiers, and says
                  nothing else; whoever is there stays as they are
    event_field   the HL7 field that says what is asked for
    undated       why it is not certain when it applies, "" = it is: a person decides before anything is written
                  ("unreadable-time", "partial-time": mapping/effective.py); or whether it is about staff at all
                  ("unknown-master-file": mapping/master_file.py)
    institution   what the institution goes by (casefolded) that a period in `shared_role` is of; () = not said
    evidence      what an event that merges no content says of name, sex and birth date: it tells people apart, and is
                  never written
    """

    action: Action
    source_key: str
    identifiers: tuple[StaffIdentifier, ...]
    active: bool | None = None
    effective: str = ""
    practitioner: tuple[ElementValue, ...] = ()
    roles: tuple[StaffRole, ...] = ()
    shared_role: tuple[ElementValue, ...] = ()
    cleared: tuple[Location, ...] = ()
    message_time: str = ""
    message_time_exact: bool = False
    mapping_version: str = ""
    complete: bool = True
    needs_approval: bool = False
    deleted_in_source: bool = False
    ended_for: str = ""
    temporary: bool = False
    until: str = ""
    qualifications_only: bool = False
    revokes: bool = False
    event_field: Provenance = RECORD_EVENT
    only_if_missing: bool = False
    undated: str = ""
    institution: tuple[str, ...] = ()
    evidence: tuple[ElementValue, ...] = ()

    @property
    def kind(self) -> str:
        """The action, as far as it matters which change makes another one needless: being away is not leaving, and a
        certificate says nothing of the rest of the person. A mention says nothing of anybody who is there."""
        if self.only_if_missing:
            return "mention"
        if self.qualifications_only:
            return "revoke" if self.revokes else "grant"
        return "rest" if self.temporary else self.action.value

    @property
    def says_present(self) -> bool | None:
        """What it says of the person as of now: active, inactive (for good, or while they are away), or nothing. A lifecycle
        event says it by itself."""
        if self.action.ends:
            return False
        return True if self.action is Action.REACTIVATE else self.active

    @property
    def says_staff(self) -> bool | None:
        """Whether it says that the person belongs to the staff: of somebody who is away for a while, it says nothing."""
        return None if self.temporary else self.says_present

    def overtakes(self, earlier: str) -> bool:
        """Whether this change, applied, leaves nothing to do for one of kind `earlier` that came before it. A leaver is
        superseded only by a record that says whether the person is active: a new telephone number must not keep them in."""
        if self.only_if_missing:
            return earlier == "mention"
        if self.qualifications_only or earlier in ("grant", "revoke"):
            return False
        return self.says_staff is not None or earlier not in _ENDING

    def to_json(self) -> str:
        """Compact JSON text, read back by `from_json`."""
        return write_json(
            {
                "action": self.action.value,
                "source_key": self.source_key,
                "identifiers": [
                    [i.value, i.system, i.authority, i.type_code, i.provenance.text, i.extra] for i in self.identifiers
                ],
                "active": self.active,
                "effective": self.effective,
                "practitioner": values_to_json(self.practitioner),
                "roles": [[r.key, r.origin, values_to_json(r.values)] for r in self.roles],
                "shared_role": values_to_json(self.shared_role),
                "cleared": list(map(str, self.cleared)),
                "message_time": self.message_time,
                "message_time_exact": self.message_time_exact,
                "mapping_version": self.mapping_version,
                "complete": self.complete,
                "needs_approval": self.needs_approval,
                "deleted_in_source": self.deleted_in_source,
                "ended_for": self.ended_for,
                "temporary": self.temporary,
                "until": self.until,
                "qualifications_only": self.qualifications_only,
                "revokes": self.revokes,
                "event_field": self.event_field.text,
                "only_if_missing": self.only_if_missing,
                **({"undated": self.undated} if self.undated else {}),
                **({"institution": list(self.institution)} if self.institution else {}),
                **({"evidence": values_to_json(self.evidence)} if self.evidence else {}),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> StaffChange:
        """Read what `to_json` wrote, and what earlier versions did. Raises ValueError or KeyError for other text."""
        read = read_json(text)
        read["action"] = Action(read["action"])
        read["identifiers"] = tuple(map(_identifier_from_json, read["identifiers"]))
        read["practitioner"] = values_from_json(read["practitioner"])
        read["roles"] = tuple(StaffRole(key, origin, values_from_json(v)) for key, origin, v in read["roles"])
        read["shared_role"] = values_from_json(read["shared_role"])
        read["cleared"] = tuple(map(Location.read, read["cleared"]))
        read["event_field"] = Provenance.read(read.get("event_field", "MFE-1"))
        read["institution"] = tuple(read.get("institution", ()))
        read["evidence"] = values_from_json(read.get("evidence", []))
        return cls(**read)


def values_to_json(values: tuple[ElementValue, ...]) -> list[list[Any]]:
    """Element values as JSON lists [element, value, provenance as text, rule, kind], without `kind` where there is none."""
    return [[v.element, v.value, v.provenance.text, v.rule, *([v.kind] if v.kind else [])] for v in values]


def values_from_json(rows: list[list[Any]]) -> tuple[ElementValue, ...]:
    """The inverse of `values_to_json`."""
    return tuple(ElementValue(element, value, Provenance.read(text), *rest) for element, value, text, *rest in rows)


def _identifier_from_json(row: list[Any]) -> StaffIdentifier:
    value, system, authority, type_code, text, extra = row
    return StaffIdentifier(value, system, authority, type_code, Provenance.read(text), extra)


def full_name(name: JsonObject) -> str:
    """A person's name as a change has it (FHIR HumanName), in one line: given names first."""
    given = name.get("given")
    parts = [*(given if isinstance(given, list) else []), name.get("family", "")]
    return " ".join(str(part) for part in parts if part) or str(name.get("text", ""))
