"""Who at the server a staff change is about.

The crosswalk first, then a search over every identifier, or step by step as the destination's `identity_order` says.
Whatever is found must carry one of them: servers ignore search parameters, and test environments are refreshed under the
same ids. Names and a birth date may veto, never match; more than one candidate, or a disagreement, is nobody's to decide
but a person's (design.md section 6). What she decided (`Link`) outweighs identifiers.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hl7bridge.fhir.client import FhirClient, token
from hl7bridge.fhir.desired import ENDING, system_at
from hl7bridge.fhir.replies import Reply, ReplyKind
from hl7bridge.fhir.rules import ALL_IDENTIFIERS, CROSSWALK, STAFF_KEY, DestinationRules
from hl7bridge.fhir.systems import NPI, canonical_system, names_of_system
from hl7bridge.model import Exchange, JsonObject, Known, Link, StaffChange, StaffIdentifier

Token = tuple[str, str]

QUARANTINE = frozenset(
    {
        "several-people",
        "identifier-of-another",
        "npi-differs",
        "recycled-key",
        "birth-date-differs",
        "name-not-confirmed",
    }
    | {"crosswalk-strayed", "linked-gone", "linked-name-differs", "identifier-retired", "merged-at-server"}
    | {"deleted-at-server", "redirected", "found-strayed"}
)
"""Causes of a hold that say: a person has to decide whom the record is about. Stable."""

UNREAD = 5  # attempts in which a search finds somebody of whom a read knows nothing, until a person has to look

_MERGED_TAG = ("http://hapifhir.io/fhir/NamingSystem/mdm-record-status", "REDIRECTED")  # HAPI's master data management
_SHOWN = ("id", "active", "name", "identifier", "birthDate")


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
    they stand at the server, cut down to `summary`.
    """

    match: Match
    resource: JsonObject | None = field(default=None, repr=False)
    version: str = ""
    how: str = ""
    candidates: tuple[tuple[str, str], ...] = ()
    people: tuple[JsonObject, ...] = field(default=(), repr=False)
    local: str = ""
    text: str = ""
    reply: Reply | None = None
    exchanges: tuple[Exchange, ...] = ()

    @property
    def person_id(self) -> str:
        """The id of the resource found, "" when none was."""
        return str(self.resource["id"]) if self.resource else ""


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


def search_tokens(change: StaffChange, rules: DestinationRules) -> tuple[Token, ...]:
    """All that is searched for, in whatever step."""
    return tuple(dict.fromkeys(token for step in search_steps(change, rules) for token in step))


def lane_keys(change: StaffChange, feed: str, rules: DestinationRules) -> tuple[str, ...]:
    """Opaque, sorted keys: one per identifier, and one for the feed's own record. Changes that share a key are about one
    person, and are delivered one after the other."""
    parts = [("identifier", *known) for known in known_tokens(change, rules)]
    parts.append(("record", feed, change.source_key))
    return tuple(sorted({hashlib.sha256("\x1f".join(part).casefold().encode()).hexdigest()[:24] for part in parts}))


# --- resolving -------------------------------------------------------------------------------------------------------


def resolve(
    client: FhirClient, change: StaffChange, known: Known, rules: DestinationRules, *, confirm: bool = False
) -> Resolution:
    """Find the person: one read where the crosswalk knows them (and a search for identifiers that are new there), else a
    search a step.

    confirm  read whom a search finds before they are believed: an index may lag behind the resource, or be wrong about it,
             and nothing that is written may be built from it
    """
    return _Question(client, change, known, rules, confirm).answer()


def differences_of_person(change: StaffChange, resource: JsonObject) -> tuple[str, ...]:
    """What clearly tells the record's person from the resource's, in words: names and birth dates veto, never match."""
    births = [value.value for value in change.practitioner if value.element == "birthDate"]
    differing = ("family name",) if _families_differ(change, resource) else ()
    return differing + (("birth date",) if births and not _same_birth(births[-1], resource.get("birthDate")) else ())


def summary(resource: JsonObject) -> JsonObject:
    """What a person needs to see of a candidate: id, active, names, identifiers, birth date."""
    return {element: resource[element] for element in _SHOWN if element in resource}


class _Question:
    """Who carries these identifiers? One conversation with the server."""

    def __init__(
        self, client: FhirClient, change: StaffChange, known: Known, rules: DestinationRules, confirm: bool
    ) -> None:
        self.client, self.change, self.known, self.rules, self.confirm = client, change, known, rules, confirm
        self.steps = search_steps(change, rules)
        self.named = known_tokens(change, rules)
        resolving = {(canonical_system(system), value) for step in self.steps for system, value in step}
        self.tokens = tuple(one for one in self.named if one in resolving)
        first = change.identifiers[0] if change.identifiers else None
        # The staff key, which stands first, is the one identifier that needs no confirmation.
        key = self.named[0] if first and system_at(first, rules) and first.value.strip() else None
        self.key = key if key in resolving else None
        self.linked = bool(known.person_id) and known.link is not Link.FOUND
        self.exchanges: tuple[Exchange, ...] = ()

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
            not_honoured = not_honoured or (not found and bool(reply.resources or reply.total > 0))
            if found and not carriers:
                left = tuple(one for step in steps for one in step)
                steps = [left] if left else []
            carriers |= found
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

    def _confirmed(self, hit: JsonObject) -> Resolution:
        """The person as they stand, whom a search found: the resource itself must carry an identifier of this record."""
        reply = self.client.read("Practitioner", hit["id"])
        self.exchanges += reply.exchanges
        if reply.done and reply.resource is not None:
            if self._carried(reply.resource):
                return self._judged(reply.resource, reply.version, "search")
            text = "The Practitioner that a search found carries, when it is read, none of this record's identifiers"
            return self._unclear(Match.DISAGREEMENT, "found-strayed", text, reply.resource)
        if reply.kind is ReplyKind.GONE:
            text = "The Practitioner that a search found was deleted at the server, and nobody else carries the identifiers"
            return self._resolution(Match.GONE, local="deleted-at-server", text=text, reply=reply)
        if reply.detail == "another-resource" or (reply.kind is ReplyKind.NOT_FOUND and self.known.attempts >= UNREAD):
            text = "The Practitioner that a search found cannot be read under its id"
            return self._unclear(Match.DISAGREEMENT, "found-strayed", text, hit)
        return self._resolution(Match.FAILED, reply=reply)

    def _asked(self, tokens: tuple[Token, ...]) -> Reply:
        asked = ",".join(token(system, value) for system, value in tokens)
        reply = self.client.search("Practitioner", [("identifier", asked)])
        self.exchanges += reply.exchanges
        return reply

    def _after_straying(self, strayed: JsonObject, found: Resolution) -> Resolution:
        """The crosswalk's resource carries none of the identifiers any more. Somebody else may be believed only if he
        carries the staff key; otherwise the old one may have lost its identifiers by mistake."""
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
        if not lacking or self.change.action in ENDING or self.change.qualifications_only:
            return None
        asked = [one for step in self.steps for one in step if (canonical_system(one[0]), one[1]) in lacking]
        reply = self._asked(tuple(asked))
        if not reply.done:
            return self._resolution(Match.FAILED, reply=reply)
        others = [other for other in reply.resources if other["id"] != resource["id"] and self._carried(other)]
        if not others:
            return None
        text = "An identifier of this record is carried by another Practitioner than the one that was written for it"
        return self._unclear(Match.AMBIGUOUS, "identifier-of-another", text, resource, *others)

    def _judged(self, resource: JsonObject, version: str, how: str) -> Resolution:
        """The one candidate, unless something speaks against it."""
        objection = self._objection(resource, how)
        if objection is not None:
            return self._unclear(Match.DISAGREEMENT, *objection, resource)
        another = self._elsewhere(resource) if how == "crosswalk" else None
        return another or self._resolution(Match.FOUND, resource=resource, version=version, how=how)

    def _objection(self, resource: JsonObject, how: str) -> tuple[str, str] | None:
        change, carried, linked = self.change, self._carried(resource), how == "linked"
        if self.linked and self.known.link is Link.FORCED and linked:
            return None
        if _is_merged(resource):
            return "merged-at-server", "The server says that another Practitioner has replaced this record's"
        theirs = {value for system, value in identifiers_of(resource) if system == NPI}
        ours = {value for system, value in self.named if system == NPI}
        if theirs and ours and not theirs & ours and not linked:
            if self.key in carried and _families_differ(change, resource):
                text = "The Practitioner with the staff key has another NPI and another family name: was the key used again?"
                return "recycled-key", text
            if not self.rules.allow_npi_change:
                return "npi-differs", "The Practitioner with an identifier of this record has another NPI"
        births = [value.value for value in change.practitioner if value.element == "birthDate"]
        differs = births and not _same_birth(births[-1], resource.get("birthDate"))
        if differs and not (self._wrote_birth_date(resource) and _families_agree(change, resource)):
            return "birth-date-differs", "The Practitioner with an identifier of this record has another birth date"
        if linked:
            begun = any(base.resource_id == resource["id"] and base.values for base in self.known.own)
            if not begun and _families_differ(change, resource):
                return "linked-name-differs", "The Practitioner that a person linked has another family name"
            return None
        if not carried & identifiers_of(resource, valid=True):
            text = (
                "The Practitioner carries identifiers of this record only as old ones: they may be somebody else's now"
            )
            return "identifier-retired", text
        confirmed = how == "crosswalk" or self.key in carried or len(carried) > 1
        if not confirmed and not _families_agree(change, resource):
            text = "The Practitioner was found by a single identifier, and no family name confirms it"
            return "name-not-confirmed", text
        return None

    def _unclear(self, match: Match, local: str, text: str, *people: JsonObject) -> Resolution:
        """Nobody, with those whom a person has to look at."""
        sides = tuple((str(resource["id"]), self._what(resource)) for resource in people)
        return self._resolution(match, candidates=sides, people=tuple(map(summary, people)), local=local, text=text)

    def _wrote_birth_date(self, resource: JsonObject) -> bool:
        """Whether the resource's birth date is this record's own: then the source may be correcting it."""
        bases = [base for base in self.known.own if base.resource_id == resource["id"]]
        values = [value for base in bases for value in base.values if value.element == "birthDate"]
        return any(value.value == resource.get("birthDate") for value in values)

    def _carried(self, resource: JsonObject) -> frozenset[Token]:
        return identifiers_of(resource).intersection(self.tokens)

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


# --- comparing -------------------------------------------------------------------------------------------------------


def identifiers_of(resource: JsonObject, *, valid: bool = False) -> frozenset[Token]:
    """Identifiers of a resource, padding removed (Epic pads some), systems by their canonical names. `valid`: without
    those of use "old" (R4: no longer considered valid, but may be relevant for search purposes)."""
    found = set()
    for identifier in resource.get("identifier", []):
        system, value = identifier.get("system"), identifier.get("value")
        if valid and identifier.get("use") == "old":
            continue
        if isinstance(system, str) and isinstance(value, str):
            found.add((canonical_system(system), value.strip()))
    return frozenset(found)


def _same_birth(ours: Any, theirs: Any) -> bool:
    """FHIR dates may be partial (1970, 1970-05): only what both say can differ."""
    if not isinstance(ours, str) or not isinstance(theirs, str) or not theirs:
        return True
    length = min(len(ours), len(theirs))
    return ours[:length] == theirs[:length]


def _is_merged(resource: JsonObject) -> bool:
    """Whether the server marks the resource as replaced by another. R4 gives Practitioner no `link`; servers that merge
    staff all the same use Patient's, or a tag."""
    links, tags = resource.get("link"), resource.get("meta", {}).get("tag")
    replaced = any(isinstance(one, dict) and one.get("type") == "replaced-by" for one in _list(links))
    return replaced or any(
        isinstance(tag, dict) and (tag.get("system"), tag.get("code")) == _MERGED_TAG for tag in _list(tags)
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _families_differ(change: StaffChange, resource: JsonObject) -> bool:
    """Whether both name the person, and no family name of one is one of the other."""
    ours = {_folded(value.value.get("family")) for value in change.practitioner if value.element == "name"} - {""}
    theirs = {_folded(name.get("family")) for name in resource.get("name", [])} - {""}
    return bool(ours and theirs) and not ours & theirs


def _families_agree(change: StaffChange, resource: JsonObject) -> bool:
    ours = {_folded(value.value.get("family")) for value in change.practitioner if value.element == "name"}
    theirs = {_folded(name.get("family")) for name in resource.get("name", [])}
    return bool((ours & theirs) - {""})


def _folded(text: Any) -> str:
    """A family name without case, accents, hyphens and spaces."""
    if not isinstance(text, str):
        return ""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in plain if character.isalnum())
