"""What people decide about whom records are about, one by one or many by a file: checked, carried out, and planned again."""

from __future__ import annotations

import csv
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hl7bridge.cli import stored
from hl7bridge.cli.setup.servers import Servers
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject, Link

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.store import Store

NEW = "new"
"""In place of a Practitioner's id: nobody who was found; the record is of a person of its own."""

COLUMNS = ("feed", "key", "practitioner")
FURTHER = ("destination", "also", "force")
_YES = frozenset({"yes", "y", "true", "1", "x"})
_NO = frozenset({"", "no", "n", "false", "0"})
_EVERY = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Decision:
    """A record (feed, staff key) and the Practitioner that it is about, `NEW` for none so far. `line` of the file, 0 = none;
    `also`, `force` as the options of `identity link`."""

    feed: str
    key: str
    person_id: str
    destination: str = ""
    also: bool = False
    force: bool = False
    line: int = 0


# --- the file --------------------------------------------------------------------------------------------------------


def decisions_in(file: Path) -> tuple[list[Decision], list[str]]:
    """The rows of a CSV file (comma, semicolon or tab; UTF-8), and what is wrong with those that are none, by line.
    Raises ConfigError for a file without the columns feed, key and practitioner."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8", advice="Save it as CSV in UTF-8.") from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter)
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        advice = f"The first line names the columns: {','.join(COLUMNS)}; further ones are {', '.join(FURTHER)}."
        raise ConfigError(f"{file} has no column {', '.join(missing)}", advice=advice)
    found: list[Decision] = []
    wrong: list[str] = []
    seen: dict[tuple[str, str, str], int] = {}
    for row in reader:
        line = reader.line_num
        cells = {name: (row.get(sent) or "").strip() for name, sent in names.items()}
        if not any(cells.values()):
            continue
        if problem := _wrong_with(cells):
            wrong.append(f"line {line}: {problem}")
            continue
        whose = cells["feed"], cells["key"], cells.get("destination", "")
        if whose in seen:
            wrong.append(f"line {line}: the same record as in line {seen[whose]}")
            continue
        seen[whose] = line
        also, force = (cells.get(name, "").lower() in _YES for name in ("also", "force"))
        found.append(Decision(whose[0], whose[1], cells["practitioner"], whose[2], also, force, line))
    return found, wrong


def _wrong_with(cells: dict[str, str]) -> str:
    from hl7bridge.destinations.fhir.wire.replies import is_id

    for name in COLUMNS:
        if not cells[name]:
            return f"{name} is empty"
    if not is_id(cells["practitioner"]):
        return f"practitioner is neither an id nor the word {NEW}"
    for name in ("also", "force"):
        if cells.get(name, "").lower() not in _YES | _NO:
            return f"{name} is neither yes nor empty"
    return ""


# --- checking and carrying out ---------------------------------------------------------------------------------------


class Decisions:
    """Decisions against one store and its servers: checked first (`problem`), then carried out (`carry_out`)."""

    def __init__(self, store: Store, settings: Settings, servers: Servers) -> None:
        self.store, self.settings, self.servers = store, settings, servers
        self.decided: dict[str, set[str]] = {}  # destination -> the resources that decided holds name
        self.holds: list[dict[str, Any]] = []
        self._linked: dict[tuple[str, str, str], str] = {}  # (destination, feed, id) -> the key that was linked to it

    def destination_of(self, decision: Decision) -> str:
        """The destination that is meant. Raises ConfigError."""
        return destination_of(self.settings, decision.feed, decision.destination)

    def held(self, decision: Decision) -> list[dict[str, Any]]:
        """What is quarantined of the record."""
        name = self.destination_of(decision)
        return [row for row in quarantined(self.store, destination=name, limit=_EVERY)
                if (row["feed"], row["source_key"]) == (decision.feed, decision.key)]  # fmt: skip

    def check(self, decision: Decision) -> JsonObject | None:
        """The Practitioner that is meant, None for a new one. Raises ConfigError where the decision cannot be right, and
        Unreachable where the server does not say."""
        name, held = self.destination_of(decision), self.held(decision)
        if decision.person_id == NEW:
            for row in held:
                self.servers.refresh(row)  # the key may have been marked as old since
                _refuse_bearer(row)
            return None
        resource = self.servers.read(name, decision.person_id)
        self._refuse_taken(name, decision)
        for row in held if not decision.force else ():
            _refuse_different(row["change"], resource)
        return resource

    def problem(self, decision: Decision) -> str:
        """What speaks against a decision of a file, "" = nothing. Raises Unreachable."""
        try:
            self.check(decision)
            taken = (self.destination_of(decision), decision.feed, decision.person_id)
        except ConfigError as error:
            return f"line {decision.line}: {error}"
        if decision.person_id != NEW:
            other = self._linked.setdefault(taken, decision.key)
            if other != decision.key and not decision.also:
                return f"line {decision.line}: Practitioner/{decision.person_id} is linked to {other} of the same feed, too"
        return ""

    def carry_out(self, decision: Decision, who: str, reason: str) -> str:
        """Set the crosswalk; returns the id that it named before. Raises ConfigError while a change is under way."""
        name, held = self.destination_of(decision), self.held(decision)
        before = self.store.link_of(name, decision.feed, decision.key)
        person_id = "" if decision.person_id == NEW else decision.person_id
        link = Link.APART if not person_id else Link.FORCED if decision.force else Link.LINKED
        if not self.store.link(name, decision.feed, decision.key, person_id, link, time.time(), who=who, reason=reason):
            raise ConfigError("a change of that record is under way", advice="Link it when that has ended.")
        self.holds += held
        self.decided.setdefault(name, set()).update(resources_of(held), {person_id} - {""})
        return before["person_id"] if before else ""

    def _refuse_taken(self, destination: str, decision: Decision) -> None:
        """Two records of one feed are two people, until a person says otherwise."""
        others = [row["source_key"] for row in self.store.linked_to(destination, decision.person_id)
                  if row["feed"] == decision.feed and row["source_key"] != decision.key]  # fmt: skip
        if others and not decision.also:
            raise ConfigError(
                f"Practitioner/{decision.person_id} stands for {', '.join(others[:5])} of the same feed",
                advice="If both records are one person, such as one who was re-hired, write --also.",
            )


def _refuse_bearer(row: dict[str, Any]) -> None:
    """A person of their own cannot be told from somebody who bears the very staff key at the server."""
    from hl7bridge.destinations.fhir.identity.carried import identifiers_of
    from hl7bridge.destinations.fhir.identity.systems import canonical_system

    value, system = row["change"]["identifiers"][0][:2]
    for candidate in row["candidates"]:
        if (canonical_system(system), value.strip()) in identifiers_of(candidate, valid=True):
            raise ConfigError(
                f"Practitioner/{candidate.get('id')} carries the record's own staff key",
                advice="Have the key marked as old (use = old) or taken off there first.",
            )


def _refuse_different(change: JsonObject, resource: JsonObject) -> None:
    from hl7bridge.destinations.fhir.identity.resolve import differences_of_person
    from hl7bridge.model import StaffChange, write_json

    differing = differences_of_person(StaffChange.from_json(write_json(change)), resource)
    if differing:
        raise ConfigError(
            f"{' and '.join(differing)} of the record and of that Practitioner differ",
            advice="If it is the same person all the same, write --force.",
        )


def destination_of(settings: Settings, feed: str, name: str) -> str:
    """The destination that a feed goes to; with "", the only one. Raises ConfigError."""
    goes_to = stored.feed_named(settings, feed).destinations
    if not name and len(goes_to) == 1:
        return goes_to[0]
    if name not in goes_to:
        problem = f"feed {feed} does not go to {name}" if name else f"feed {feed} goes to several destinations"
        raise ConfigError(problem, key="--destination", advice=f"Choose one of {', '.join(goes_to)}.")
    return name


# --- planning again --------------------------------------------------------------------------------------------------


def quarantined(store: Store, **given: Any) -> list[dict[str, Any]]:
    """What is held because a person has to decide whom it is about."""
    from hl7bridge.destinations.fhir.identity.resolve import QUARANTINE

    return store.quarantined(QUARANTINE, **given)


def with_question(store: Store, row: dict[str, Any]) -> dict[str, Any]:
    """The row with what a person is asked of it (`asks`): "re-hired?" where the other staff key has left, also since."""
    from hl7bridge.destinations.fhir.identity.resolve import KEY_OF_ANOTHER, RE_HIRED

    left = row["local"] == RE_HIRED
    if row["local"] == KEY_OF_ANOTHER:
        whose = row["feed"], row["source_key"]
        bases = [
            base for one in resources_of([row]) for base in store.written_by(row["destination"], "Practitioner", one)
        ]
        others = [base for base in bases if (base.feed, base.source_key) != whose]
        left = bool(others) and not any(base.holds_active for base in others)
    return row | {"asks": "re-hired?" if left else ""}


def resources_of(rows: Iterable[dict[str, Any]]) -> set[str]:
    """The ids of the Practitioners whom quarantined deliveries name."""
    return {str(one["id"]) for row in rows for one in row["candidates"] if "id" in one}


def release(store: Store, settings: Settings, held: Iterable[dict[str, Any]], who: str, reason: str) -> list[int]:
    """Put quarantined deliveries back into their lanes, read anew; returns the ids of those that could be."""
    from hl7bridge.cli.operate.hold import Translations
    from hl7bridge.store.store import Released

    again, done = Translations(store, settings), []
    for row in held:
        anew = again.of(row)
        if not anew.problem:
            # It says whom the record is about; what is asked of a person about the change itself, is asked still.
            released = store.release(
                row["id"], time.time(), who=who, reason=reason, change=anew.change, lane=anew.lane, approves=False
            )
            done += [row["id"]] if released is Released.QUEUED else []
    return done


def naming(
    store: Store, destination: str, resources: Collection[str], without: Collection[int]
) -> Iterator[dict[str, Any]]:
    """Other quarantined deliveries that name one of these Practitioners: what was decided may settle them, too."""
    for row in quarantined(store, destination=destination, limit=_EVERY):
        if row["id"] not in without and not resources_of([row]).isdisjoint(resources):
            yield row


def plan_again(
    store: Store, settings: Settings, decided: dict[str, set[str]], without: Collection[int], who: str, reason: str
) -> list[int]:
    """Plan again what names the resources of decided holds (destination -> ids); returns the deliveries."""
    rows = [row for name, resources in decided.items() for row in naming(store, name, resources, without)]
    return release(store, settings, rows, who, f"another hold that names the same Practitioner was decided: {reason}")
