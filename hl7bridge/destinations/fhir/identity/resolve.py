"""Who at the server a staff change is about.

The crosswalk first, then a search over every identifier, or step by step as the destination's `identity_order` says.
Whatever is found must carry one of them: servers ignore search parameters, and test environments are refreshed under the
same ids. Names, sex and birth date may veto, never match (`evidence`), and two staff keys of one system are two people. More
than one candidate, or a disagreement, is nobody's to decide but a person's (design.md section 6), whose word (`Link`)
outweighs identifiers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from hl7bridge.destinations.fhir.desired import system_at
from hl7bridge.destinations.fhir.identity import evidence
from hl7bridge.destinations.fhir.identity.carried import Token, identifiers_of, is_merged, public_identifiers, types_of
from hl7bridge.destinations.fhir.identity.evidence import Agreement, Evidence, compare, words_about
from hl7bridge.destinations.fhir.identity.systems import DEA, NPI, canonical_system, names_of_system
from hl7bridge.destinations.fhir.plan import MENTION
from hl7bridge.destinations.fhir.rules import ALL_IDENTIFIERS, CROSSWALK, STAFF_KEY, DestinationRules
from hl7bridge.destinations.fhir.wire.client import FhirServer, token
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.reasons import KEY_OF_ANOTHER, RE_HIRED
from hl7bridge.destinations.retry import FOUND_STRAYED
from hl7bridge.model import ElementValue, Exchange, JsonObject, Known, Link, StaffChange, StaffIdentifier, Written

WrittenBy = Callable[[str, str], tuple[Written, ...]]
SaidBy = Callable[[str, str], tuple[ElementValue, ...]]

UNREAD = 5  # attempts in which a search finds somebody of whom a read knows nothing, until a person has to look

_SHOWN = ("id", "active", "name", "gender", "identifier", "birthDate")


class Match(StrEnum):
    """How the question ended."""

    FOUND = "found"
    NONE = "none"  # nobody carries any of the identifiers
    AMBIGUOUS = "ambiguous"  # several do
    DISAGREEMENT = "disagreement"  # one does, and something speaks against it
    GONE = "gone"  # the crosswalk's resource was deleted, and nobody else carries the identifiers
    FAILED = "failed"  # the server did not answer it: see `reply`


@dataclass(frozen=True, slots=True)
class Resolution:
    """The answer. `how`: "crosswalk" or "search". `local`, `text`: why not, in our own words, without any value.

    `candidates`: ids of the resources that a person has to look at, with what each of them carries; `people`: the same as
    they stand at the server, cut down to `summary`. `told`: what differs from the record although it is the same person.
    """

    match: Match
    resource: JsonObject | None = field(default=None, repr=False)
    version: str = ""
    how: str = ""
    candidates: tuple[tuple[str, str], ...] = ()
    people: tuple[JsonObject, ...] = field(default=(), repr=False)
    local: str = ""
    text: str = ""
    told: str = ""
    reply: Reply | None = None
    exchanges: tuple[Exchange, ...] = ()

    @property
    def person_id(self) -> str:
        """The id of the resource found, "" when none was."""
        return str(self.resource["id"]) if self.resource else ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the store knows beside the record's own crosswalk.

    feed        the record's own
    written_by  (resource type, id) -> what every record of this bridge wrote to that resource
    said_by     (feed, source key) -> what the last records of that person said of name, sex and birth date, whether or not
                this destination got it
    """

    feed: str = ""
    written_by: WrittenBy = lambda resource_type, resource_id: ()
    said_by: SaidBy = lambda feed, source_key: ()


NOTHING = Memory()


# --- tokens and lanes ------------------------------------------------------------------------------------------------


def known_tokens(change: StaffChange, rules: DestinationRules) -> tuple[Token, ...]:
    """The identifiers by which the person can be known at this destination, the staff key first: (system, value), each
    system by its one canonical name."""
    tokens = []
    for identifier in change.identifiers:
        system, value = system_at(identifier, rules), identifier.value.strip()
        if system and value:
            tokens.append((canonical_system(system), value))
    return tuple(dict.fromkeys(tokens))


def search_steps(change: StaffChange, rules: DestinationRules) -> tuple[tuple[Token, ...], ...]:
    """What to search for, one search a step of the destination's order: identifiers under every name that a server may
    hold the system under. Each identifier stands in the first step that names it; what no step names finds nobody."""
    steps = []
    taken: set[int] = set()
    for step in rules.identity_order:
        tokens: list[Token] = []
        for number, identifier in enumerate(change.identifiers):
            system, value = system_at(identifier, rules), identifier.value.strip()
            if number not in taken and system and value and _is_named(step, number, identifier, system):
                taken.add(number)
                tokens += [(name, value) for name in names_of_system(system)]
        if tokens:
            steps.append(tuple(dict.fromkeys(tokens)))
    return tuple(steps)


def _is_named(step: str, number: int, identifier: StaffIdentifier, system: str) -> bool:
    """Whether a step of the order speaks of an identifier, the `number`-th of its record."""
    if step in (ALL_IDENTIFIERS, CROSSWALK):
        return step == ALL_IDENTIFIERS
    if step == STAFF_KEY:
        return number == 0
    if step == "NPI" and canonical_system(system) == NPI:
        return True
    return step == identifier.type_code.upper() or canonical_system(step) == canonical_system(system)


def search_tokens(change: StaffChange, rules: DestinationRules, known: Known | None = None) -> tuple[Token, ...]:
    """All that is searched for, in whatever step."""
    steps = steps_of(change, known or Known(), rules)
    return tuple(dict.fromkeys(token for step in steps for token in step))


def steps_of(change: StaffChange, known: Known, rules: DestinationRules) -> tuple[tuple[Token, ...], ...]:
    """`search_steps`; the staff key alone for a record of which a person said that it is nobody else's."""
    if known.link is not Link.APART:
        return search_steps(change, rules)
    first = change.identifiers[:1]
    tokens = [
        (name, one.value.strip())
        for one in first
        if one.value.strip()
        for name in names_of_system(system_at(one, rules))
    ]
    named = tuple(dict.fromkeys(token for token in tokens if token[0]))
    return (named,) if named else ()


def lane_keys(change: StaffChange, feed: str, rules: DestinationRules, person_id: str = "") -> tuple[str, ...]:
    """Opaque, sorted keys: one per identifier, one for the feed's own record, and one for the Practitioner where
    it is known. Changes that share a key are about one person, and are delivered one after the other."""
    parts = [("identifier", *known) for known in known_tokens(change, rules)]
    parts.append(("record", feed, change.source_key))
    keys = {hashlib.sha256("\x1f".join(part).casefold().encode()).hexdigest()[:24] for part in parts}
    return tuple(sorted(keys | ({f"Practitioner/{person_id}"} if person_id else set())))


# --- resolving -------------------------------------------------------------------------------------------------------


def resolve(
    client: FhirServer,
    change: StaffChange,
    known: Known,
    rules: DestinationRules,
    memory: Memory = NOTHING,
    *,
    confirm: bool = False,
) -> Resolution:
    """Find the person: one read where the crosswalk knows them (and a search for identifiers that are new there), else a
    search a step.

    memory   what the store knows of others
    confirm  read whom a search finds before they are believed: an index may lag behind the resource, or be wrong about it,
             and nothing that is written may be built from it
    """
    return _Question(client, change, known, rules, memory, confirm).answer()


def differences_of_person(change: StaffChange, resource: JsonObject) -> tuple[str, ...]:
    """What clearly tells the record's person from the resource's, in words: family names and birth dates."""
    found = compare(evidence.of_values(words_about(change)), evidence.of_resource(resource)).differing
    return tuple(word for word in found if word in ("family name", "birth date"))


def summary(resource: JsonObject) -> JsonObject:
    """What a person needs to see of a candidate: id, active, names, sex, identifiers, birth date. It is kept with the hold,
    so that a private number that the server has of somebody is no part of it."""
    shown: JsonObject = {element: resource[element] for element in _SHOWN if element in resource}
    if "identifier" in shown:
        shown["identifier"] = public_identifiers(resource)
    return shown


class _Question:
    """Who carries these identifiers? One conversation with the server."""

    def __init__(
        self,
        client: FhirServer,
        change: StaffChange,
        known: Known,
        rules: DestinationRules,
        memory: Memory,
        confirm: bool,
    ) -> None:
        self.client, self.change, self.known, self.rules, self.confirm = client, change, known, rules, confirm
        self.memory = memory
        self.steps = steps_of(change, known, rules)
        self.named = known_tokens(change, rules)
        resolving = {(canonical_system(system), value) for step in self.steps for system, value in step}
        self.tokens = tuple(one for one in self.named if one in resolving)
        first = change.identifiers[0] if change.identifiers else None
        # The staff key, which stands first, is the one identifier that needs no confirmation.
        self.own_key = self.named[0] if first and system_at(first, rules) and first.value.strip() else None
        self.key = self.own_key if self.own_key in resolving else None
        self.linked = bool(known.person_id) and known.link in (Link.LINKED, Link.FORCED)
        self.told = ""
        self.exchanges: tuple[Exchange, ...] = ()
        self.as_read: dict[str, Reply] = {}

    def answer(self) -> Resolution:
        if not self.tokens and not self.linked:
            text = "The record has no identifier that this destination may be searched by"
            return self._resolution(Match.DISAGREEMENT, local="no-identifier", text=text)
        if not self.known.person_id or not (self.linked or CROSSWALK in self.rules.identity_order):
            return self._searched()
        reply = self.client.read("Practitioner", self.known.person_id)
        self.exchanges += reply.exchanges
        if reply.done and reply.resource is not None:
            if self.linked:
                return self._judged(reply.resource, reply.version, "linked")
            if self._carried(reply.resource):
                return self._judged(reply.resource, reply.version, "crosswalk")
            return self._after_straying(reply.resource, self._searched())
        if reply.kind not in (ReplyKind.NOT_FOUND, ReplyKind.GONE):
            return self._resolution(Match.FAILED, reply=reply)
        found = self._searched()
        if reply.kind is ReplyKind.GONE and found.match is Match.NONE:
            text = "The person's Practitioner was deleted at the server, and nobody else carries the identifiers"
            return self._resolution(Match.GONE, local="deleted-at-server", text=text, reply=reply)
        return self._after_losing(found) if self.linked else found

    def _searched(self) -> Resolution:
        """Step by step until one finds somebody; then what is left at once, for somebody else may carry that."""
        carriers: dict[str, JsonObject] = {}
        not_honoured = False
        steps = list(self.steps)
        while steps:
            reply = self._asked(steps.pop(0))
            if not reply.done:
                return self._resolution(Match.FAILED, reply=reply)
            found = {str(resource["id"]): resource for resource in reply.resources if self._carried(resource)}
            retired = any(identifiers_of(resource).intersection(self.tokens) for resource in reply.resources)
            not_honoured = not_honoured or (not found and not retired and bool(reply.resources or reply.total > 0))
            if found and not carriers:
                left = tuple(one for step in steps for one in step)
                steps = [left] if left else []
            carriers |= found
        if failed := self._written_lately(carriers):
            return self._resolution(Match.FAILED, reply=failed)
        if len(carriers) > 1:
            text = f"{len(carriers)} Practitioners carry identifiers of this record"
            return self._unclear(Match.AMBIGUOUS, "several-people", text, *carriers.values())
        if carriers:
            hit = next(iter(carriers.values()))
            return self._confirmed(hit) if self.confirm else self._judged(hit, "", "search")
        if not_honoured:
            text = "The server answers a search by identifier with people who carry none: it ignores the parameter"
            return self._resolution(Match.DISAGREEMENT, local="search-not-honoured", text=text)
        return self._resolution(Match.NONE)

    def _written_lately(self, carriers: dict[str, JsonObject]) -> Reply | None:
        """Add those whom this bridge itself wrote lately under one of the identifiers, and whom the index does not show yet.
        A reply that says nothing of whether one is there, else None."""
        for number in self.known.lately:
            if number not in carriers:
                reply = self._read(number)
                if not reply.done and reply.kind not in (ReplyKind.NOT_FOUND, ReplyKind.GONE):
                    return reply
                if reply.resource is not None and self._carried(reply.resource):
                    carriers[number] = reply.resource
        return None

    def _read(self, number: str) -> Reply:
        """A Practitioner as it stands, asked for once."""
        if number not in self.as_read:
            self.as_read[number] = self.client.read("Practitioner", number)
            self.exchanges += self.as_read[number].exchanges
        return self.as_read[number]

    def _confirmed(self, hit: JsonObject) -> Resolution:
        """The person as they stand, whom a search found: the resource itself must carry an identifier of this record."""
        reply = self._read(hit["id"])
        if reply.done and reply.resource is not None:
            if self._carried(reply.resource):
                return self._judged(reply.resource, reply.version, "search")
            text = "The Practitioner that a search found carries, when it is read, none of this record's identifiers"
            return self._unclear(Match.DISAGREEMENT, FOUND_STRAYED, text, reply.resource)
        if reply.kind is ReplyKind.GONE:
            text = "The Practitioner that a search found was deleted at the server, and nobody else carries the identifiers"
            return self._resolution(Match.GONE, local="deleted-at-server", text=text, reply=reply)
        if reply.detail == "another-resource" or (reply.kind is ReplyKind.NOT_FOUND and self.known.attempts >= UNREAD):
            text = "The Practitioner that a search found cannot be read under its id"
            return self._unclear(Match.DISAGREEMENT, FOUND_STRAYED, text, hit)
        if reply.kind is ReplyKind.NOT_FOUND:
            reply = replace(reply, detail=FOUND_STRAYED)
        return self._resolution(Match.FAILED, reply=reply)

    def _asked(self, tokens: tuple[Token, ...]) -> Reply:
        asked = ",".join(token(system, value) for system, value in tokens)
        reply = self.client.search("Practitioner", [("identifier", asked)])
        self.exchanges += reply.exchanges
        return reply

    def _after_straying(self, strayed: JsonObject, found: Resolution) -> Resolution:
        """The crosswalk's resource carries none of the identifiers any more. Somebody else is believed only if they
        carry the staff key; otherwise the old one may have lost its identifiers by mistake."""
        if found.match not in (Match.NONE, Match.FOUND):
            return found
        if found.resource is not None and self.key in self._carried(found.resource):
            return found
        sides = [(str(strayed["id"]), "was written for this record, carries none of its identifiers now")]
        people = [summary(strayed)]
        if found.resource is not None:
            sides.append((found.person_id, self._what(found.resource)))
            people.append(summary(found.resource))
        text = "The Practitioner that was written for this record carries none of its identifiers any more"
        return self._resolution(
            Match.DISAGREEMENT, candidates=tuple(sides), people=tuple(people), local="crosswalk-strayed", text=text
        )

    def _after_losing(self, found: Resolution) -> Resolution:
        """The resource that a person linked is not there. Only one with the staff key may take its place unasked."""
        if found.match not in (Match.NONE, Match.FOUND):
            return found
        if found.resource is not None and self.key in self._carried(found.resource):
            return found
        text = "The Practitioner that a person linked this record to is not at the server any more"
        others = [found.resource] if found.resource is not None else []
        return self._unclear(Match.DISAGREEMENT, "linked-gone", text, *others)

    def _elsewhere(self, resource: JsonObject) -> Resolution | None:
        """Whether an identifier that the crosswalk's person lacks, and would get, is somebody else's; None = it is not."""
        lacking = set(self.tokens) - self._carried(resource)
        if not lacking or self.change.action.ends or self.change.qualifications_only:
            return None
        asked = [one for step in self.steps for one in step if (canonical_system(one[0]), one[1]) in lacking]
        reply = self._asked(tuple(asked))
        if not reply.done:
            return self._resolution(Match.FAILED, reply=reply)
        found = {str(other["id"]): other for other in reply.resources if self._carried(other)}
        if failed := self._written_lately(found):
            return self._resolution(Match.FAILED, reply=failed)
        others = [other for number, other in found.items() if number != resource["id"]]
        if not others:
            return None
        text = "An identifier of this record is carried by another Practitioner than the one that was written for it"
        return self._unclear(Match.AMBIGUOUS, "identifier-of-another", text, resource, *others)

    def _judged(self, resource: JsonObject, version: str, how: str) -> Resolution:
        """The one candidate, unless something speaks against it."""
        objection = self._objection(resource, linked=how == "linked")
        if objection is not None:
            return self._unclear(Match.DISAGREEMENT, *objection, resource)
        another = self._elsewhere(resource) if how == "crosswalk" else None
        found = self._resolution(Match.FOUND, resource=resource, version=version, how=how, told=self.told)
        return another or found

    def _objection(self, resource: JsonObject, *, linked: bool) -> tuple[str, str] | None:
        """What speaks against the one candidate: the local code and the text, None = nothing."""
        begun = any(base.resource_id == resource["id"] and base.values for base in self.known.own)
        if linked and self.known.link is Link.FORCED:
            last = evidence.of_values(self.memory.said_by(self.memory.feed, self.change.source_key))
            return _recycled(compare(evidence.of_values(words_about(self.change)), last)) if begun else None
        if is_merged(resource):
            return "merged-at-server", "The server says that another Practitioner has replaced this record's"
        if linked and not begun:
            return self._objection_to_link(resource)
        has_key = self.own_key in identifiers_of(resource, valid=True)
        if not linked and (another := self._another_key(resource, has_key=has_key, begun=begun)):
            return another
        if has_key or begun:
            return self._objection_to_bearer(resource, begun=begun, linked=linked)
        return self._objection_to_carrier(resource)

    def _objection_to_link(self, resource: JsonObject) -> tuple[str, str] | None:
        """Before anything was written: a person who linked somebody else by mistake is asked again."""
        differing = differences_of_person(self.change, resource)
        if "birth date" in differing:
            return "birth-date-differs", "The Practitioner that a person linked has another birth date"
        if differing:
            return "linked-name-differs", "The Practitioner that a person linked has another family name"
        return None

    def _another_key(self, resource: JsonObject, *, has_key: bool, begun: bool) -> tuple[str, str] | None:
        """Two staff keys of one system are two people until a person says otherwise, whatever else they share."""
        if self.change.only_if_missing:  # names nobody by a staff key, and writes to nobody who is there
            return None
        keys = self._keys(resource)
        others = () if begun else self._other_records(resource)
        if not others and (has_key or not keys):
            return None
        leaving = resource.get("active") is False or (bool(others) and not any(base.holds_active for base in others))
        if leaving:
            return RE_HIRED, (
                "The Practitioner carries identifiers of this record, and the staff key of a record that has left: was the"
                " person re-hired under a new staff key?"
            )
        text = (
            "The Practitioner carries identifiers of this record, and is known by another staff key of the same system"
        )
        return KEY_OF_ANOTHER, text

    def _keys(self, resource: JsonObject) -> frozenset[str]:
        """Current staff keys of the record's key system that the resource carries, but for the record's own."""
        if self.own_key is None:
            return frozenset()
        system, own = self.own_key
        found = identifiers_of(resource, valid=True)
        return frozenset(value for where, value in found if where == system and value != own)

    def _other_records(self, resource: JsonObject) -> tuple[Written, ...]:
        """What other records of the same staff keys wrote to the resource, unless it says that their key is an old one."""
        system = self.own_key[0] if self.own_key else ""
        carried = identifiers_of(resource)
        current = identifiers_of(resource, valid=True)
        found = []
        for base in self.memory.written_by("Practitioner", str(resource["id"])):
            key = (system, base.source_key)
            if base.source_key == self.change.source_key or base.origin == MENTION:
                continue
            retired = key in carried and key not in current
            if key in current or (base.feed == self.memory.feed and not retired):
                found.append(base)
        return tuple(found)

    def _objection_to_bearer(self, resource: JsonObject, *, begun: bool, linked: bool) -> tuple[str, str] | None:
        """Of whoever bears the record's own staff key, or was written for it: whether the key was used again since."""
        ours, theirs = evidence.of_values(words_about(self.change)), evidence.of_resource(resource)
        found = compare(ours, theirs)
        if ours != Evidence() and not found.is_settled:  # the store is asked where it may matter
            found = compare(ours, theirs | self._remembered(resource, begun=begun))
        if recycled := _recycled(found):
            return recycled
        differing = found.differing
        if self._npi_differs(resource) and not linked:
            differing = (*differing, "NPI")
            if not found.is_settled:
                if found.family is evidence.DIFFERENT and found.given is not evidence.SAME:
                    return "recycled-key", _used_again(differing)
                if not self.rules.allow_npi_change:
                    return "npi-differs", "The Practitioner with the staff key has another NPI"
        if differing:
            self.told = f"The same staff key, and taken for the same person, although {_listed(differing)} differ"
        return None

    def _objection_to_carrier(self, resource: JsonObject) -> tuple[str, str] | None:
        """Of whoever carries identifiers of the record, and not its staff key."""
        carried = self._carried(resource) & identifiers_of(resource, valid=True)
        if not carried:
            text = (
                "The Practitioner carries identifiers of this record only as old ones: they may be somebody else's now"
            )
            return "identifier-retired", text
        if self._npi_differs(resource) and not self.rules.allow_npi_change:
            return "npi-differs", "The Practitioner with an identifier of this record has another NPI"
        found = compare(
            evidence.of_values(words_about(self.change)),
            evidence.of_resource(resource) | self._remembered(resource, begun=False),
        )
        nameless = found.family is evidence.UNKNOWN is found.given and found.birth is not evidence.SAME
        if nameless and self.change.action.ends and {system for system, _ in carried} <= {NPI, DEA}:
            return (
                "name-not-confirmed",
                "NPI and DEA number may be a supervisor's, and no name or birth date confirms them",
            )
        local = evidence.contradiction(
            found, agreeing=len(carried), types_differ=any(self._types_differ(resource, one) for one in carried)
        )
        if local == "name-not-confirmed":
            return local, "The Practitioner was found by a single identifier, and no family name confirms it"
        if local:
            what = _listed((*found.differing, *(("identifier type",) if local == "identifier-type-differs" else ())))
            return local, f"The Practitioner carries identifiers of this record, and differs from it in {what}"
        if found.differing:
            self.told = (
                f"Taken for the same person by {len(carried)} identifiers, although {_listed(found.differing)} differ"
            )
        return None

    def _npi_differs(self, resource: JsonObject) -> bool:
        theirs = {value for system, value in identifiers_of(resource) if system == NPI}
        ours = {value for system, value in self.named if system == NPI}
        return bool(theirs and ours) and not theirs & ours

    def _types_differ(self, resource: JsonObject, shared: Token) -> bool:
        """Whether both sides state a type (table 0203) for a shared number, and not the same: one authority may number
        its employees and its nurses alike."""
        ours = {
            one.type_code
            for one in self.change.identifiers
            if (canonical_system(system_at(one, self.rules)), one.value.strip()) == shared and one.type_code
        }
        theirs = types_of(resource, shared)
        return bool(ours and theirs) and not ours & theirs

    def _remembered(self, resource: JsonObject, *, begun: bool) -> Evidence:
        """What the last records said whose words stand on the resource, this record's own first."""
        own = (self.memory.feed, self.change.source_key)
        bases = self.memory.written_by("Practitioner", str(resource["id"]))
        others = [(base.feed, base.source_key) for base in bases if (base.feed, base.source_key) != own]
        found = Evidence()
        for feed, source_key in dict.fromkeys([own, *others] if begun else others):
            found |= evidence.of_values(self.memory.said_by(feed, source_key))
        return found

    def _unclear(self, match: Match, local: str, text: str, *people: JsonObject) -> Resolution:
        """Nobody, with those whom a person has to look at."""
        sides = tuple((str(resource["id"]), self._what(resource)) for resource in people)
        return self._resolution(match, candidates=sides, people=tuple(map(summary, people)), local=local, text=text)

    def _carried(self, resource: JsonObject) -> frozenset[Token]:
        """Identifiers of the record that the resource carries; of one that a person set apart, current ones alone."""
        return identifiers_of(resource, valid=self.known.link is Link.APART).intersection(self.tokens)

    def _what(self, resource: JsonObject) -> str:
        """What a candidate carries, for a person's eyes, without a value."""
        carried = self._carried(resource)
        words = ["the staff key"] if self.key in carried else []
        others = carried - {self.key}
        if any(system == NPI for system, _ in others):
            words.append("the NPI")
        further = sum(system != NPI for system, _ in others)
        if further:
            words.append(f"{further} further identifier" + ("s" if further > 1 else ""))
        inactive = " (inactive)" if resource.get("active") is False else ""
        return ("carries " + ", ".join(words) if words else "carries none of its identifiers") + inactive

    def _resolution(self, match: Match, **more: Any) -> Resolution:
        return Resolution(match, exchanges=self.exchanges, **more)


# --- in words -------------------------------------------------------------------------------------------------------


def _recycled(found: Agreement) -> tuple[str, str] | None:
    """The objection that one staff key was used for two people, None = nothing says so."""
    local = evidence.key_recycled(found)
    if local == "recycled-key":
        return local, _used_again(found.differing)
    return (local, "The Practitioner with the staff key has another birth date") if local else None


def _used_again(differing: tuple[str, ...]) -> str:
    return f"The Practitioner with the staff key differs in {_listed(differing)}: was the key used again?"


def _listed(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
