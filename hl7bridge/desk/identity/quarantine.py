"""What is held because a person has to say whom it is about: listed, released, and planned again once that is said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hl7bridge.desk.deciding import EVERY, Actor, Clock, Progress, Role, listed, unseen
from hl7bridge.desk.identity.candidates import Candidate, Candidates
from hl7bridge.desk.times import utc_time
from hl7bridge.desk.translating import Translations
from hl7bridge.destinations.candidates import Carried, Fact
from hl7bridge.destinations.reasons import KEY_OF_ANOTHER, QUARANTINE, RE_HIRED
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject, StaffChange, full_name
from hl7bridge.model.listing import Listed
from hl7bridge.store.store import Released

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.people.links import Quarantined
    from hl7bridge.store.queue.holds import Hold
    from hl7bridge.store.store import Store


def quarantined(store: Store, **given: Any) -> Listed[Quarantined]:
    """What is held because a person has to decide whom it is about."""
    return store.links.quarantined(QUARANTINE, **given)


@dataclass(frozen=True, slots=True)
class Unclear:
    """A quarantined record. `asks`: what a person is asked of it beside whom it is about: "re-hired?" where the other staff
    key has left."""

    row: Quarantined
    asks: str = ""

    def data(self) -> dict[str, Any]:
        """For JSON: both sides in the same words."""
        row = self.row
        return {
            "id": row.id,
            "message_id": row.message_id,
            "destination": row.destination,
            "feed": row.feed,
            "source_key": row.source_key,
            "action": row.action,
            "code": row.code,
            "local": row.local,
            "text": row.text,
            "linked": row.linked,
            "asks": self.asks,
            "since": utc_time(row.since),
            "record": record_side(row.change),
            "candidates": [{**one, "linked": one.get("id") == row.linked} for one in row.candidates],
        }


@dataclass(frozen=True, slots=True)
class QuarantineList:
    """Quarantined records, the oldest first; `next`: where the list goes on, "" = these are the last."""

    rows: tuple[Unclear, ...]
    next: str = ""


def find(
    store: Store,
    candidates: Candidates,
    *,
    destination: str = "",
    limit: int = 50,
    after: str = "",
    fresh: bool = False,
    progress: Progress = unseen,
) -> QuarantineList:
    """Records of which it is not clear whom they are about; from behind `after` (the `next` of an earlier list);
    `fresh`: candidates as they stand now. Raises ConfigError for another text, Unreachable."""
    found = listed(lambda: quarantined(store, destination=destination, limit=limit, after=after))
    rows = [with_question(store, candidates, row) for row in found]
    if fresh:
        with progress("reading", len(rows)) as advance:
            for number, one in enumerate(rows):
                rows[number] = replace(one, row=candidates.refreshed(one.row))
                advance()
    return QuarantineList(tuple(rows), found.next)


def show(store: Store, candidates: Candidates, delivery_id: int, *, fresh: bool = False) -> Unclear:
    """One quarantined record, as `find` gives it. Raises ConfigError when there is none of that id, Unreachable."""
    found = quarantined(store, delivery_id=delivery_id)
    if not found:
        raise ConfigError(
            f"no quarantined delivery has the id {delivery_id}", advice="`hl7bridge identity list` shows them."
        )
    one = with_question(store, candidates, found[0])
    return replace(one, row=candidates.refreshed(one.row)) if fresh else one


@dataclass(frozen=True, slots=True)
class Sharing:
    """People at a destination who have one identifier in common; its system by its one name."""

    destination: str
    system: str
    value: str
    people: tuple[Candidate, ...]

    def data(self) -> dict[str, Any]:
        """For JSON."""
        people = [one.summary for one in self.people]
        return {"destination": self.destination, "system": self.system, "value": self.value, "people": people}


def duplicates(store: Store, candidates: Candidates, destination: str) -> list[Sharing]:
    """People at a destination who share an identifier, of those whom quarantined records name."""
    people = {
        (row.id, one.person_id): one
        for row in quarantined(store, destination=destination, limit=EVERY)
        for one in candidates.of(row)
    }
    return sharing(destination, people.values())


def sharing(destination: str, people: Iterable[Candidate]) -> list[Sharing]:
    """Groups of people with one identifier in common, by identifier."""
    by_identifier: dict[tuple[str, str], dict[str, Candidate]] = {}
    for person in people:
        for identifier in person.keys:
            by_identifier.setdefault(identifier, {})[person.person_id] = person
    return [
        Sharing(destination, system, value, tuple(found.values()))
        for (system, value), found in sorted(by_identifier.items(), key=lambda item: item[0])
        if len(found) > 1
    ]


def with_question(store: Store, candidates: Candidates, row: Quarantined) -> Unclear:
    """The row with what a person is asked of it: also where the other staff key has left since."""
    left = row.local == RE_HIRED
    if row.local == KEY_OF_ANOTHER and candidates.is_configured(row.destination):
        kind = candidates.at(row.destination).person_type
        whose = row.feed, row.source_key
        bases = [base for one in resources_of([row]) for base in store.crosswalk.written_by(row.destination, kind, one)]
        others = [base for base in bases if (base.feed, base.source_key) != whose]
        left = bool(others) and not any(base.holds_active for base in others)
    return Unclear(row, "re-hired?" if left else "")


def record_side(change: StaffChange) -> JsonObject:
    """What the record says of the person, as the server would hold it."""
    values = [(value.element, value.value) for value in (*change.practitioner, *change.evidence)]
    sexes = [value for element, value in values if element == "gender"]
    births = [value for element, value in values if element == "birthDate"]
    return {
        "active": change.active,
        "name": [value for element, value in values if element == "name"],
        "gender": sexes[-1] if sexes else "",
        "birthDate": births[-1] if births else "",
        "identifier": [
            {
                "system": one.system or one.authority,
                "value": one.value,
                "type": one.type_code,
                "field": one.provenance.text,
            }
            for one in change.identifiers
        ],
    }


def record_facts(change: StaffChange) -> tuple[tuple[Fact, ...], tuple[Carried, ...]]:
    """The same in words, as candidates have it: facts, and identifiers with their types."""
    side = record_side(change)
    facts = (
        Fact("name", "; ".join(full_name(name) for name in side["name"])),
        Fact("status", {True: "active", False: "inactive"}.get(side["active"], "")),
        Fact("sex", side["gender"]),
        Fact("birth date", side["birthDate"]),
    )
    identifiers = (Carried(one["system"], one["value"], one["type"]) for one in side["identifier"])
    return tuple(fact for fact in facts if fact.text), tuple(identifiers)


def resources_of(rows: Iterable[Quarantined]) -> set[str]:
    """The ids of the people at the server whom quarantined deliveries name."""
    return {str(one["id"]) for row in rows for one in row.candidates if "id" in one}


def people_of(store: Store, holds: Iterable[Hold]) -> dict[int, tuple[str, set[str]]]:
    """Of those holds that are quarantined: the destination, and the people at the server whom they name."""
    rows = [row for hold in holds if hold.local in QUARANTINE for row in quarantined(store, delivery_id=hold.id)]
    return {row.id: (row.destination, resources_of([row])) for row in rows}


def release(
    store: Store, settings: Settings, held: Iterable[Quarantined], actor: Actor, reason: str, clock: Clock
) -> tuple[int, ...]:
    """Put quarantined deliveries back into their lanes, read anew; returns the ids of those that could be."""
    actor.must_have(Role.APPROVE)
    again, done = Translations(store, settings), []
    for row in held:
        anew = again.of(row, clock())
        if not anew.problem:
            # It says whom the record is about; what is asked of a person about the change itself, is asked still.
            released = store.holds.release(
                row.id, clock(), who=str(actor), reason=reason, change=anew.change, lane=anew.lane, approves=False
            )
            done += [row.id] if released is Released.QUEUED else []
    return tuple(done)


def naming(
    store: Store, destination: str, resources: Collection[str], without: Collection[int]
) -> Iterator[Quarantined]:
    """Other quarantined deliveries that name one of these people: what was decided may settle them, too."""
    for row in quarantined(store, destination=destination, limit=EVERY):
        if row.id not in without and not resources_of([row]).isdisjoint(resources):
            yield row


def plan_again(
    store: Store,
    settings: Settings,
    decided: dict[str, set[str]],
    without: Collection[int],
    actor: Actor,
    reason: str,
    clock: Clock,
) -> tuple[int, ...]:
    """Plan again what names the people of decided holds (destination -> ids); returns the deliveries."""
    actor.must_have(Role.APPROVE)
    with Candidates(settings) as candidates:
        said = {name: candidates.at(name).words.person for name in decided if candidates.is_configured(name)}
    done: tuple[int, ...] = ()
    for name, resources in decided.items():
        rows = naming(store, name, resources, without)
        because = f"another hold that names the same {said.get(name, 'person')} was decided: {reason}"
        done += release(store, settings, rows, actor, because, clock)
    return done
