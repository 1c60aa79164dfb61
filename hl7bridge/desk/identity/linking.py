"""Whom records are about, as people say it: linked one by one, or many by a file; unlinked."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hl7bridge.assemble.choosing import destination_of_feed
from hl7bridge.desk.deciding import EVERY, Actor, Clock, Progress, Role, unseen, why
from hl7bridge.desk.identity.candidates import Candidate, Candidates
from hl7bridge.desk.identity.quarantine import plan_again, quarantined, resources_of
from hl7bridge.desk.identity.quarantine import release as release_quarantined
from hl7bridge.errors import ConfigError
from hl7bridge.model import Link, StaffChange

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.people.links import Quarantined
    from hl7bridge.store.store import Store

NEW = "new"
"""In place of an id: nobody who was found; the record is of a person of its own."""

COLUMNS = ("feed", "key", "practitioner")
FURTHER = ("destination", "also", "force")
_YES = frozenset({"yes", "y", "true", "1", "x"})
_NO = frozenset({"", "no", "n", "false", "0"})


@dataclass(frozen=True, slots=True)
class Decision:
    """A record (feed, staff key) and the id of whom it is about, `NEW` for nobody so far. `line` of the file, 0 = none;
    `also`, `force` as the options of `identity link`."""

    feed: str
    key: str
    person_id: str
    destination: str = ""
    also: bool = False
    force: bool = False
    line: int = 0


# --- the file --------------------------------------------------------------------------------------------------------


def decisions_in(
    content: bytes, file: str, destination: str = "", is_id: Callable[[Decision], bool] = lambda decision: True
) -> tuple[list[Decision], list[str]]:
    """The rows of a CSV file (comma, semicolon or tab; UTF-8), and what is wrong with those that are none, by line.

    file         its name
    destination  where a row names none
    is_id        whether the id of a decision may be one
    Raises ConfigError for a file without the columns feed, key and practitioner.
    """
    try:
        text = content.decode("utf-8-sig")
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
        also, force = (cells.get(name, "").lower() in _YES for name in ("also", "force"))
        decision = Decision(*whose[:2], cells["practitioner"], whose[2] or destination, also, force, line)
        if not is_id(decision):
            wrong.append(f"line {line}: practitioner is neither an id nor the word {NEW}")
            continue
        seen[whose] = line
        found.append(decision)
    return found, wrong


def _wrong_with(cells: dict[str, str]) -> str:
    for name in COLUMNS:
        if not cells[name]:
            return f"{name} is empty"
    for name in ("also", "force"):
        if cells.get(name, "").lower() not in _YES | _NO:
            return f"{name} is neither yes nor empty"
    return ""


# --- link, unlink ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkMade:
    """A record and whom it is about since: `person_id` "" = nobody who was found; `was`: whom before; `link`: see `Link`."""

    destination: str
    feed: str
    source_key: str
    person_id: str
    was: str
    link: str


@dataclass(frozen=True, slots=True)
class LinksDecided:
    """What became of decisions about whom records are about.

    made           what was linked
    checked        how many were decided
    wrong          lines of a file that are to be mended: nothing was linked
    left           lines of a file that could not be linked, for a change was under way
    held           deliveries that are quarantined of these records
    released       those of them that went back into their lanes
    planned_again  others that name the same people at the server
    candidate      the one person at the server who was named, as they stand there
    person         what stands for people at these destinations: "Practitioner"
    """

    made: tuple[LinkMade, ...] = ()
    checked: int = 0
    wrong: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    held: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    planned_again: tuple[int, ...] = ()
    candidate: Candidate | None = None
    person: str = ""


def link(
    store: Store,
    settings: Settings,
    candidates: Candidates,
    decision: Decision,
    actor: Actor,
    reason: str,
    *,
    release: bool = False,
    dry_run: bool = False,
    clock: Clock = time.time,
) -> LinksDecided:
    """Say whom a record is about; `release` what is quarantined of it; with `dry_run`, check alone.

    Raises ConfigError where the decision cannot be right, Unreachable where the server does not say.
    """
    actor.must_have(Role.APPROVE)
    reason = reason if dry_run else why(reason)
    decisions = _Decisions(store, settings, candidates)
    candidate = decisions.check(decision)
    if dry_run:
        return LinksDecided(checked=1, candidate=candidate)
    made = decisions.carry_out(decision, actor, reason, clock())
    decided = LinksDecided((made,), 1, candidate=candidate)
    return _released(decisions, decided, actor, reason, clock) if release else _with_held(decisions, decided)


def link_by_file(
    store: Store,
    settings: Settings,
    candidates: Candidates,
    content: bytes,
    file: str,
    actor: Actor,
    reason: str,
    *,
    destination: str = "",
    release: bool = False,
    dry_run: bool = False,
    clock: Clock = time.time,
    progress: Progress = unseen,
) -> LinksDecided:
    """Say of many records whom they are about, by a CSV file; `destination` where a line names none. Nothing is linked while
    a line of it is wrong. Raises ConfigError for what is no such file, Unreachable."""
    actor.must_have(Role.APPROVE)
    reason = reason if dry_run else why(reason)
    decisions = _Decisions(store, settings, candidates)
    rows, wrong = decisions_in(content, file, destination, decisions.is_id)
    with progress("checking", len(rows)) as advance:
        for row in rows:
            if problem := decisions.problem(row):
                wrong.append(problem)
            advance()
    if wrong or not rows:
        wrong = sorted(wrong, key=lambda text: int(text.split(":")[0].split()[1])) or ["it holds no decision"]
        return LinksDecided(checked=len(rows), wrong=tuple(wrong))
    made, left = [], []
    for row in rows if not dry_run else ():
        try:
            made.append(decisions.carry_out(row, actor, reason, clock()))
        except ConfigError as error:
            left.append(f"line {row.line}: {error}")
    decided = LinksDecided(tuple(made), len(rows), left=tuple(left))
    return _released(decisions, decided, actor, reason, clock) if release and made else _with_held(decisions, decided)


def _with_held(decisions: _Decisions, decided: LinksDecided) -> LinksDecided:
    held = tuple(row.id for row in decisions.holds)
    return replace(decided, held=held, person=", ".join(sorted(decisions.called)))


def _released(decisions: _Decisions, decided: LinksDecided, actor: Actor, reason: str, clock: Clock) -> LinksDecided:
    store, settings = decisions.store, decisions.settings
    released = release_quarantined(store, settings, decisions.holds, actor, reason, clock)
    known = {row.id for row in decisions.holds}
    again = plan_again(store, settings, decisions.decided, known, actor, reason, clock)
    return replace(_with_held(decisions, decided), released=released, planned_again=again)


@dataclass(frozen=True, slots=True)
class Unlinked:
    """A record that is linked to nobody now; `was`: whom before; `apart`: it was said to be a person of its own."""

    destination: str
    feed: str
    source_key: str
    was: str
    apart: bool

    @property
    def changed(self) -> bool:
        """Whether there was anything to forget."""
        return bool(self.was) or self.apart


def unlink(
    store: Store,
    settings: Settings,
    feed: str,
    key: str,
    actor: Actor,
    reason: str,
    *,
    destination: str = "",
    clock: Clock = time.time,
) -> Unlinked:
    """Forget whom a record was found to be about: its next change searches anew. Raises ConfigError."""
    actor.must_have(Role.APPROVE)
    reason = why(reason)
    name = destination_of_feed(settings, feed, destination)
    before = store.links.link_of(name, feed, key)
    was = before.person_id if before else ""
    done = Unlinked(name, feed, key, was, bool(before and before.link))
    if done.changed and not store.links.link(name, feed, key, "", Link.FOUND, clock(), who=str(actor), reason=reason):
        raise ConfigError("a change of that record is under way", advice="Unlink it when that has ended.")
    return done


# --- checking and carrying out ---------------------------------------------------------------------------------------


class _Decisions:
    """Decisions against one store and its destinations: checked first (`problem`), then carried out (`carry_out`)."""

    def __init__(self, store: Store, settings: Settings, candidates: Candidates) -> None:
        self.store, self.settings, self.candidates = store, settings, candidates
        self.decided: dict[str, set[str]] = {}  # destination -> the resources that decided holds name
        self.holds: list[Quarantined] = []
        self.called: set[str] = set()  # what stands for people at the destinations
        self._linked: dict[tuple[str, str, str], str] = {}  # (destination, feed, id) -> the key that was linked to it

    def destination_of(self, decision: Decision) -> str:
        """The destination that is meant. Raises ConfigError."""
        return destination_of_feed(self.settings, decision.feed, decision.destination)

    def is_id(self, decision: Decision) -> bool:
        """Whether the id may be one there; also where it is not clear where, for then that is told."""
        try:
            there = self.candidates.at(self.destination_of(decision))
        except ConfigError:
            return True
        return decision.person_id == NEW or there.is_id(decision.person_id)

    def held(self, decision: Decision) -> list[Quarantined]:
        """What is quarantined of the record."""
        name = self.destination_of(decision)
        return [row for row in quarantined(self.store, destination=name, limit=EVERY)
                if (row.feed, row.source_key) == (decision.feed, decision.key)]  # fmt: skip

    def check(self, decision: Decision) -> Candidate | None:
        """Who is meant, None for a new person. Raises ConfigError where the decision cannot be right, and Unreachable where
        the server does not say."""
        name, held = self.destination_of(decision), self.held(decision)
        if decision.person_id == NEW:
            for row in held:
                self._refuse_bearer(self.candidates.refreshed(row))  # the key may have been marked as old since
            return None
        found = self.candidates.read(name, decision.person_id)
        self._refuse_taken(name, decision)
        for row in held if not decision.force else ():
            self._refuse_different(name, row.change, found)
        return found

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
                shown = self.candidates.shown(taken[0], decision.person_id)
                return f"line {decision.line}: {shown} is linked to {other} of the same feed, too"
        return ""

    def carry_out(self, decision: Decision, actor: Actor, reason: str, now: float) -> LinkMade:
        """Set the crosswalk. Raises ConfigError while a change is under way."""
        name, held = self.destination_of(decision), self.held(decision)
        before = self.store.links.link_of(name, decision.feed, decision.key)
        person_id = "" if decision.person_id == NEW else decision.person_id
        link = Link.APART if not person_id else Link.FORCED if decision.force else Link.LINKED
        whose = (decision.feed, decision.key)
        if not self.store.links.link(name, *whose, person_id, link, now, who=str(actor), reason=reason):
            raise ConfigError("a change of that record is under way", advice="Link it when that has ended.")
        self.holds += held
        self.called.add(self.candidates.at(name).words.person)
        self.decided.setdefault(name, set()).update(resources_of(held), {person_id} - {""})
        return LinkMade(name, *whose, person_id, before.person_id if before else "", link.value)

    def _refuse_taken(self, destination: str, decision: Decision) -> None:
        """Two records of one feed are two people, until a person says otherwise."""
        others = [one.source_key for one in self.store.links.linked_to(destination, decision.person_id)
                  if one.feed == decision.feed and one.source_key != decision.key]  # fmt: skip
        if others and not decision.also:
            shown = self.candidates.shown(destination, decision.person_id)
            raise ConfigError(
                f"{shown} stands for {', '.join(others[:5])} of the same feed",
                advice="If both records are one person, such as one who was re-hired, write --also.",
            )

    def _refuse_bearer(self, row: Quarantined) -> None:
        """A person of their own cannot be told from somebody who bears the very staff key at the server."""
        there, keys = self.candidates.at(row.destination), row.change.identifiers[:1]
        for candidate in self.candidates.of(row):
            if any(there.bears(candidate, key) for key in keys):
                raise ConfigError(
                    f"{candidate.shown} carries the record's own staff key",
                    advice="Have the key marked as old (use = old) or taken off there first.",
                )

    def _refuse_different(self, name: str, change: StaffChange, candidate: Candidate) -> None:
        there = self.candidates.at(name)
        if differing := there.differences(change, candidate):
            raise ConfigError(
                f"{' and '.join(differing)} of the record and of that {there.words.person} differ",
                advice="If it is the same person all the same, write --force.",
            )
