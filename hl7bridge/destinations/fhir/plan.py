"""(staff change, what this feed wrote before, what the server holds now) -> the interaction. Pure.

The dry run, a preview and the real delivery call the same functions. A plan that was carried out plans nothing when made
again: `no change, no write`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hl7bridge.destinations.fhir.desired import (
    allowed,
    bounds,
    cleared,
    is_over,
    practitioner_values,
    sources,
    supplied,
)
from hl7bridge.destinations.fhir.merging.earlier import KEPT, LIFECYCLE_RULE, VERSION_MARK, is_kept, with_earlier
from hl7bridge.destinations.fhir.merging.merge import Sides, deduplicated, identity_key, merge_list, merge_single, same
from hl7bridge.destinations.fhir.merging.qualifications import merge_certificates
from hl7bridge.destinations.fhir.rules import KEEP, DestinationRules
from hl7bridge.destinations.fhir.wire.replies import version_in
from hl7bridge.model import (
    LIFECYCLE,
    NO_FIELD,
    Action,
    Difference,
    ElementValue,
    Interaction,
    JsonObject,
    Kind,
    Provenance,
    StaffChange,
    StaffRole,
    Written,
)

ORDER = {
    "Practitioner": (
        "identifier", "active", "name", "telecom", "address", "gender", "birthDate", "qualification", "communication",
    ),
    "PractitionerRole": (
        "identifier", "active", "period", "practitioner", "organization", "code", "specialty", "location",
        "healthcareService", "telecom", "notAvailable",
    ),
}  # fmt: skip
SINGLE = frozenset({"gender", "birthDate", "organization", "period"})

TAG = {"system": "urn:hl7bridge:lifecycle", "code": "deleted-in-source", "display": "Deleted in the source"}

# Marks: values of a base that stand for no element of the message, but for what the plan itself did to the lifecycle.
END_MARK = "period.end"  # of a role; the value is the date that we wrote, "" where an end stood there before
TAG_MARK = "meta.tag"
AWAY_MARK = "active.away"  # of a person or role: inactive for a time (PMU^B05)

MENTION = "mention"  # Written.origin of a person whom a patient message named

PERIOD_REVERSED = "the role's period stays as it was: it would end before it starts"
UNKNOWN_CERTIFICATE = "no such qualification at the server"

OPEN = "open"
ENDED_WITH_PERSON = "ended-with-person"
ENDED_UNLISTED = "ended-unlisted"
RESTING = "resting"
AS_IT_IS = "as-it-is"


Retained = Callable[[ElementValue], bool]


@dataclass(frozen=True, slots=True)
class RoleIntent:
    """What is to become of one role: `state` is "open", "ended-with-person", "ended-unlisted", "resting" while the person
    is away, or "as-it-is": open, resting or ended as before, whatever becomes of its content. `own` is its base."""

    role: StaffRole
    state: str = OPEN
    own: Written | None = None


def held_by_others(others: Sequence[Written]) -> bool:
    """Whether another feed (or another record of this feed) says that the person, or role, is active."""
    return any(other.holds_active for other in others)


def is_away(base: Written | None) -> bool:
    """Whether this record says that the person, or the role, is away for a time."""
    return base is not None and any(value.element == AWAY_MARK for value in base.values)


def plan_practitioner(
    change: StaffChange,
    feed: str,
    rules: DestinationRules,
    server: JsonObject | None,
    own: Written | None,
    others: Sequence[Written],
    now: datetime,
    *,
    confirmed: str = "",
) -> Interaction:
    """Plan the Practitioner. `server` None plans its creation; `own` is this record's base, `others` what every other
    record of this bridge wrote to the same resource. `confirmed`: the version of the feed's mapping that a person let go
    live. A deactivation merges no content: such messages hold little of it."""
    plan = _ResourcePlan("Practitioner", change, feed, rules, server, own, others, confirmed=confirmed)
    if change.qualifications_only:
        return _plan_certificates(plan, own)
    if server is None:
        active = change.says_present is not False
        holds = active and not change.only_if_missing  # a patient message keeps nobody in: they may have left long ago
        return plan.created(practitioner_values(change, rules), {"active": active}, holds, "new person")
    desired = () if change.action.ends else practitioner_values(change, rules)
    plan.merge(desired, decides_lifecycle=False)
    said = change.says_present
    target = said
    reason = ""
    if said is False and rules.lifecycle_scope == "role":
        target, reason = None, "active kept: this destination ends roles only"
    elif change.temporary and not rules.b05_deactivates:
        target, said, reason = None, None, "active kept: at this destination, who is away stays active"
    elif said is False and held_by_others(others):
        target, reason = None, "active kept: another feed holds this person active"
    plan.mark_away(own, change.says_present)
    plan.set_active(target, own, explicit=change.action in LIFECYCLE)
    if (change.action is Action.REMOVE or change.deleted_in_source) and target is False:
        plan.tag()
    elif said is not None and not change.action.ends:
        plan.untag()
    was = own.holds_active if own else server.get("active") is not False
    return plan.planned(was if said is None else said, reason)


def _plan_certificates(plan: _ResourcePlan, own: Written | None) -> Interaction:
    """Certificates granted or revoked. They say nothing of whether this feed holds the person active."""
    complete = plan.merge_certificates() if plan.server is not None else False
    return plan.planned(own.holds_active if own else False, "" if complete else UNKNOWN_CERTIFICATE)


def plan_role(
    change: StaffChange,
    intent: RoleIntent,
    feed: str,
    rules: DestinationRules,
    person_id: str,
    server: JsonObject | None,
    others: Sequence[Written],
    now: datetime,
    *,
    doubtful: bool = False,
    confirmed: str = "",
) -> Interaction:
    """Plan one PractitionerRole of the person. `server` None plans its creation; a role that is to end and is not there
    needs nothing. `person_id` may be "" while the person is only planned, too. `doubtful`: an earlier attempt may have
    arrived, though no answer said so (a gateway may say 504 of what was done): what it would have left there is ours."""
    own, role = intent.own, intent.role
    plan = _ResourcePlan("PractitionerRole", change, feed, rules, server, own, others, role, confirmed)
    values = allowed("PractitionerRole", role.values, rules)
    if server is None:
        if intent.state != OPEN:
            return plan.planned(False, "no such role at the server")
        fixed: JsonObject = {"active": not is_over(_stated_end(values), now)}
        if person_id:
            fixed["practitioner"] = {"reference": f"Practitioner/{person_id}"}
        return plan.created(values, fixed, True, "new role")
    if intent.state == OPEN:
        plan.merge(values, decides_lifecycle=True)
        plan.reopen(own, _date(change, now), now)
        return plan.planned(True, plan.note)
    if intent.state == AS_IT_IS:
        plan.merge(values, decides_lifecycle=False, merges_content=bool(values))
        return plan.planned(own.holds_active if own else False, plan.note)
    if intent.state == RESTING:
        plan.merge((_away(change, own, _date(change, now)),), decides_lifecycle=True, merges_content=False)
        if held_by_others(others):
            return plan.planned(False, "role kept: another feed holds it")
        plan.rest(own)
        return plan.planned(False, "")
    stated_end = _stated_end(values)
    absence = _absence(change, own, _date(change, now)) if intent.state == ENDED_WITH_PERSON else ()
    content = () if change.action.ends else values
    plan.merge((*content, *absence), decides_lifecycle=True, merges_content=not change.action.ends and bool(values))
    if held_by_others(others):
        return plan.planned(False, "role kept: another feed holds it")
    plan.end(stated_end or _date(change, now), intent.state, doubtful, stated=bool(stated_end))
    return plan.planned(False, "")


# --- dates -----------------------------------------------------------------------------------------------------------


def _date(change: StaffChange, now: datetime) -> str:
    """The date on which the change takes effect."""
    return (change.effective or now.isoformat())[:10]


def _stated_end(values: Sequence[ElementValue]) -> str:
    """The end that the message itself gives (STF-13)."""
    for value in values:
        if value.element == "period" and isinstance(value.value, dict) and value.value.get("end"):
            return str(value.value["end"])
    return ""


def _absence(change: StaffChange, own: Written | None, date: str) -> tuple[ElementValue, ...]:
    """PractitionerRole.notAvailable with the reason (STF-38); the one that we wrote before keeps its date."""
    if not change.ended_for:
        return ()
    for value in own.values if own else ():
        ours = value.rule == LIFECYCLE_RULE and value.element == "notAvailable"
        if ours and value.value.get("description") == change.ended_for:
            return (value,)
    absent = {"description": change.ended_for, "during": {"start": date}}
    return (ElementValue("notAvailable", absent, Provenance.of("STF", 38), LIFECYCLE_RULE),)


def _away(change: StaffChange, own: Written | None, date: str) -> ElementValue:
    """PractitionerRole.notAvailable while the person is away: since when, and until when that is expected to last (STF-35).
    Said again, it keeps the day on which it began, and a return that is not said anew."""
    during: JsonObject = {"start": date}
    for value in own.values if own else ():
        if value.rule == LIFECYCLE_RULE and value.element == "notAvailable" and is_away(own):
            during = dict(value.value.get("during", during))
    if change.until:
        during["end"] = change.until
    if _ends_before(during.get("end", "9999"), during["start"]):
        del during["end"]
    absent = {"description": change.ended_for, "during": during}
    said_by = Provenance.of("STF", 35) if "end" in during else change.event_field
    return ElementValue("notAvailable", absent, said_by, LIFECYCLE_RULE)


def _ends_before(end: str, start: str) -> bool:
    """Whether two FHIR dates or dateTimes are the wrong way round, as far as both are precise: by day."""
    length = min(len(start), len(end), 10)
    return end[:length] < start[:length]


def _nothing(value: ElementValue) -> bool:
    return False


def _everything(value: ElementValue) -> bool:
    return True


# --- one resource ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _ResourcePlan:
    """The plan of one resource in the making. The server's resource is never changed, only copied from."""

    resource_type: str
    change: StaffChange
    feed: str
    rules: DestinationRules
    server: JsonObject | None
    own: Written | None
    others: Sequence[Written]
    role: StaffRole | None = None
    confirmed: str = ""
    body: JsonObject = field(init=False)
    base: list[ElementValue] = field(init=False)
    marks: dict[str, ElementValue] = field(init=False)
    differences: list[Difference] = field(init=False, default_factory=list)
    drift: list[Difference] = field(init=False, default_factory=list)
    note: str = field(init=False, default="")
    kept: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        values = self.own.values if self.own else ()
        self.body = dict(self.server or {})
        self.base = [value for value in values if "." not in value.element]
        self.marks = {value.element: value for value in values if "." in value.element}

    # --- content -----------------------------------------------------------------------------------------------------

    def merge(
        self, desired: Sequence[ElementValue], *, decides_lifecycle: bool, merges_content: bool | None = None
    ) -> None:
        """Merge what the message asks for, element by element."""
        if merges_content is None:
            merges_content = not self.change.action.ends
        given, unsaid = supplied(self.change), cleared(self.change)
        if merges_content:
            self._note_mapping(desired)
        offered = self.change.practitioner if self.role is None else self.role.values

        def stays(provenance: Provenance) -> bool:
            """Whether what a field gave is neither cleared nor given anew. Ended or not, what is cleared goes."""
            anew = merges_content and not given.isdisjoint(sources(provenance))
            return provenance.whole_field not in unsaid and not anew

        def retained(value: ElementValue) -> bool:
            if merges_content and is_kept(value, self.change, offered):
                return value.provenance.whole_field not in unsaid
            return not decides_lifecycle if value.rule == LIFECYCLE_RULE else stays(value.provenance)

        desired, period_retained = self._with_dates(desired, stays)
        named = {value.element for value in desired} | {value.element for value in self.base}
        base: list[ElementValue] = []
        for element in ORDER[self.resource_type]:
            if element not in named:
                continue
            sides = self._sides(element, desired, period_retained if element == "period" else retained)
            merged = merge_single(element, sides) if element in SINGLE else merge_list(element, sides)
            if merged.differences:
                self._set(element, merged.value)
            self.differences += merged.differences
            self.drift += merged.drift
            base += merged.base
        self.base = base
        self.kept = sum(
            is_kept(one, self.change, offered) and not given.isdisjoint(sources(one.provenance)) for one in base
        )

    def _note_mapping(self, desired: Sequence[ElementValue]) -> None:
        """Note which mapping gives the values, and which of the base an earlier one gave."""
        mark = self.marks.get(VERSION_MARK)
        self.base = with_earlier(self.base, str(mark.value) if mark else "", self.change, desired, self.confirmed)
        self._mark_mapping()

    def _mark_mapping(self) -> None:
        if version := self.change.mapping_version:
            self.marks[VERSION_MARK] = ElementValue(VERSION_MARK, version, NO_FIELD, LIFECYCLE_RULE)

    def _with_dates(
        self, desired: Sequence[ElementValue], stays: Callable[[Provenance], bool]
    ) -> tuple[Sequence[ElementValue], Retained]:
        """The desired values, the role's period as a whole among them, and what of the base's stays beside it: each bound
        comes from a field of its own, and one that is neither given anew nor cleared stands on."""
        base = next((value for value in self.base if value.element == "period"), None)
        given = next((value for value in reversed(desired) if value.element == "period"), None)
        if base is None:
            return desired, _nothing
        fields = {bound: field for bound, field in bounds(base).items() if stays(field)}
        if given is None and (len(fields) == len(base.value) or END_MARK in self.marks):
            return desired, _everything  # of a role that is over, the dates are not cleared
        dates = {bound: base.value[bound] for bound in fields} | (given.value if given else {})
        fields |= bounds(given) if given else {}
        rest = [value for value in desired if value.element != "period"]
        if "start" in dates and "end" in dates and _ends_before(dates["end"], dates["start"]):
            self.note = PERIOD_REVERSED
            return rest, _everything
        if dates:
            provenance = Provenance.joined(*(fields[bound] for bound in ("start", "end") if bound in fields))
            rest.append(ElementValue("period", dates, provenance, (given or base).rule))
        return rest, _nothing

    def _sides(self, element: str, desired: Sequence[ElementValue], retained: Callable[[ElementValue], bool]) -> Sides:
        """One element's sides. By `owners`, values of feeds that rank before this one are not contested, and those of
        feeds behind it give way."""

        def key(value: Any) -> Hashable | None:
            return element if element in SINGLE else identity_key(element, value)

        rank = self.rules.rank(element, self.feed)
        before: list[Any] = []
        beside: list[Any] = []
        behind: list[Any] = []
        for other in self.others:
            place = self.rules.rank(element, other.feed)
            # What a patient message gave is there until somebody says it who knows.
            yields = place > rank or other.origin == MENTION
            side = behind if yields else before if place < rank else beside
            side.extend(value.value for value in other.values if value.element == element)
        taken = {key(value) for value in before} - {None}
        wanted = [
            value
            for value in desired
            if value.element == element
            and (key(value.value) not in taken or any(same(value.value, other) for other in before))
        ]
        return Sides(
            server=self.body.get(element),
            desired=tuple(wanted),
            base=tuple(value for value in self.base if value.element == element),
            others=(*before, *beside),
            yielding=tuple(behind),
            retained=retained,
            keep_drift=self.rules.on_drift == KEEP,
        )

    def _set(self, element: str, value: Any) -> None:
        if value is None:
            self.body.pop(element, None)
        else:
            self.body[element] = value

    def merge_certificates(self) -> bool:
        """Grant or revoke single qualifications; whether all could be found."""
        merged, complete = merge_certificates(
            allowed("Practitioner", self.change.practitioner, self.rules),
            [value for value in self.base if value.element == "qualification"],
            self.body.get("qualification"),
            [value.value for other in self.others for value in other.values if value.element == "qualification"],
            revokes=self.change.revokes,
            keep_drift=self.rules.on_drift == KEEP,
        )
        if merged.differences:
            self._set("qualification", merged.value)
        self.differences += merged.differences
        self.drift += merged.drift
        self.base = [*(value for value in self.base if value.element != "qualification"), *merged.base]
        return complete

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def set_active(self, target: bool | None, own: Written | None, *, explicit: bool) -> None:
        """Set `active`; None leaves it. `explicit`: a lifecycle event, which no drift outweighs."""
        current = self.body.get("active")
        if target is None or current is target:
            return
        said_by = self.change.event_field.text if explicit else "STF-7"
        difference = Difference("active", current, target, said_by)
        if own is not None and own.holds_active is target and not explicit:
            self.drift.append(difference)
            if self.rules.on_drift == KEEP:
                return
        self.body["active"] = target
        self.differences.append(difference)

    def tag(self) -> None:
        """meta.tag "deleted-in-source", once."""
        meta = self.body.get("meta", {})
        tags = meta.get("tag", [])
        if TAG_MARK in self.marks or not isinstance(tags, list):
            return
        self.marks[TAG_MARK] = ElementValue(TAG_MARK, TAG["code"], self.change.event_field, LIFECYCLE_RULE)
        if not any(_is_our_tag(tag) for tag in tags):
            self.body["meta"] = {**meta, "tag": [*tags, TAG]}
            self.differences.append(Difference(f"meta.tag[{len(tags)}]", None, TAG, self.change.event_field.text))

    def untag(self) -> None:
        """The source has the person again: our tag goes. Tried once, for some servers keep every tag (HAPI does)."""
        if self.marks.pop(TAG_MARK, None) is None:
            return
        meta = self.body.get("meta", {})
        tags = meta.get("tag", [])
        if not isinstance(tags, list) or not any(_is_our_tag(tag) for tag in tags):
            return
        kept = [tag for tag in tags if not _is_our_tag(tag)]
        rest = {key: value for key, value in meta.items() if key != "tag"}
        self._set("meta", ({**rest, "tag": kept} if kept else rest) or None)
        self.differences.append(Difference("meta.tag", TAG, None, self.change.event_field.text))

    def mark_away(self, own: Written | None, said: bool | None = False) -> None:
        """Note that the person is away, unless they have left already. That holds until they are back, or leave."""
        if self.change.temporary:
            if own is None or own.holds_active:
                self.marks[AWAY_MARK] = ElementValue(AWAY_MARK, True, self.change.event_field, LIFECYCLE_RULE)
        elif said is True or self.change.action.ends:
            self.marks.pop(AWAY_MARK, None)

    def rest(self, own: Written | None) -> None:
        """The role is inactive for a time; its period goes on."""
        self.set_active(False, None, explicit=True)
        self.mark_away(own)

    def end(self, date: str, reason: str, doubtful: bool, *, stated: bool) -> None:
        """End the role: inactive, and period.end unless one stands there. A period never ends before it starts (per-1).
        `stated`: the date is STF-13's."""
        self.set_active(False, None, explicit=self.change.action in LIFECYCLE)
        period = self.body.get("period", {})
        self.marks.pop(AWAY_MARK, None)
        unlisted = self.role.listed_by if self.role else NO_FIELD
        said_by = self.change.event_field if reason == ENDED_WITH_PERSON else unlisted
        stands = period.get("end")
        if stands and stated and stands != date and self._gave_end(stands):
            stands = None
        if stands:
            ours = stands if doubtful and isinstance(stands, str) and stands[:10] <= date[:10] else ""
            self.marks.setdefault(END_MARK, ElementValue(END_MARK, ours, said_by, reason))
            return
        start = period.get("start", "")
        if isinstance(start, str) and _ends_before(date, start):
            date = start
        self.marks[END_MARK] = ElementValue(END_MARK, date, said_by, reason)
        self._set_period({**period, "end": date}, said_by)

    def _gave_end(self, end: Any) -> bool:
        """Whether the end is STF-13's of an earlier message. It is so no more: from here on it is the lifecycle's."""
        base = next((value for value in self.base if value.element == "period"), None)
        if base is None or base.value.get("end") != end or bounds(base)["end"].whole_field != ("STF", 13):
            return False
        rest = {key: value for key, value in base.value.items() if key != "end"}
        self.base.remove(base)
        if rest:
            self.base.append(ElementValue("period", rest, bounds(base).get("start", base.provenance), base.rule))
        return True

    def reopen(self, own: Written | None, date: str, now: datetime) -> None:
        """Active again. The end that we wrote goes, and a new period starts, unless the message gives the period: where that
        is over, so is the role, though the record goes on to hold it."""
        mark = self.marks.pop(END_MARK, None)
        self.marks.pop(AWAY_MARK, None)
        period = self.body.get("period", {})
        said = next((value for value in self.base if value.element == "period"), None)
        ours = said.value.get("end") if said is not None and mark is None else None
        if said is not None and ours and ours == period.get("end") and is_over(ours, now):
            if (current := self.body.get("active")) is not False:
                self.body["active"] = False
                self.differences.append(Difference("active", current, False, bounds(said)["end"].text))
            return
        self.set_active(
            True, own, explicit=self.change.action in LIFECYCLE or (own is not None and not own.holds_active)
        )
        given = any(value.element == "period" for value in (self.role.values if self.role else ()))
        if mark is None or not mark.value or period.get("end") != mark.value:
            return
        rest = {key: value for key, value in period.items() if key != "end"}
        self._set_period(rest if given else {**rest, "start": date}, mark.provenance)

    def _set_period(self, period: JsonObject, said_by: Provenance) -> None:
        self.differences = [difference for difference in self.differences if difference.path != "period"]
        before = (self.server or {}).get("period")
        self._set("period", period or None)
        if period != before:
            self.differences.append(Difference("period", before, period or None, said_by.text))

    # --- the result --------------------------------------------------------------------------------------------------

    def planned(self, holds_active: bool, reason: str) -> Interaction:
        """The interaction that changes the server's resource, or none where nothing differs."""
        server = self.server or {}
        resource_id = str(server.get("id", self.own.resource_id if self.own else ""))
        written = self._written(resource_id, tuple(self.base), holds_active, version_in(server))
        changed = len(self.differences)
        reason = reason or (f"{changed} difference{'s' if changed > 1 else ''}" if changed else "no difference")
        if self.kept and not self.note:
            reason += KEPT.format(self.kept)
        return Interaction(
            kind=Kind.UPDATE if changed else Kind.NONE,
            resource_type=self.resource_type,
            resource_id=resource_id,
            body=self.body if changed else None,
            version=version_in(server),
            differences=tuple(self.differences),
            reason=reason,
            drift=tuple(self.drift),
            written=written,
        )

    def created(
        self, values: Sequence[ElementValue], fixed: JsonObject, holds_active: bool, reason: str
    ) -> Interaction:
        """The interaction that creates the resource."""
        body: JsonObject = {"resourceType": self.resource_type}
        base: list[ElementValue] = []
        differences = []
        for element in ORDER[self.resource_type]:
            if element in fixed:
                body[element] = fixed[element]
                differences.append(Difference(element, None, fixed[element]))
                continue
            wanted = deduplicated(element, [value for value in values if value.element == element])
            if not wanted:
                continue
            if element in SINGLE:
                wanted = wanted[-1:]
                body[element] = wanted[0].value
            else:
                body[element] = [value.value for value in wanted]
            base += wanted
            for number, value in enumerate(wanted):
                path = element if element in SINGLE else f"{element}[{number}]"
                differences.append(Difference(path, None, value.value, value.provenance.text))
        self._mark_mapping()
        written = self._written("", tuple(base), holds_active, "")
        return Interaction(Kind.CREATE, self.resource_type, "", body, "", tuple(differences), reason, written=written)

    def _written(self, resource_id: str, values: tuple[ElementValue, ...], holds_active: bool, version: str) -> Written:
        return Written(
            resource_type=self.resource_type,
            resource_id=resource_id,
            values=(*values, *(mark for mark in self.marks.values() if values or mark.element != VERSION_MARK)),
            role_key=self.role.key if self.role else "",
            origin=self.role.origin if self.role else MENTION if self.change.only_if_missing else "",
            holds_active=holds_active,
            feed=self.feed,
            source_key=self.change.source_key,
            version=version,
        )


def _is_our_tag(tag: Any) -> bool:
    return isinstance(tag, dict) and tag.get("system") == TAG["system"] and tag.get("code") == TAG["code"]
