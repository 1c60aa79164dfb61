"""Who at the server a staff change is about.

The crosswalk first, then one search over every identifier. Whatever is found must carry one of them: servers ignore
search parameters, and test environments are refreshed under the same ids. Names and a birth date may veto, never match;
more than one candidate, or a disagreement, is nobody's to decide but a person's (design.md section 6).
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hl7bridge.fhir.client import FhirClient, token
from hl7bridge.fhir.desired import system_at
from hl7bridge.fhir.replies import Reply, ReplyKind
from hl7bridge.fhir.rules import DestinationRules
from hl7bridge.fhir.systems import NPI, canonical_system, names_of_system
from hl7bridge.model import Exchange, JsonObject, Known, StaffChange

Token = tuple[str, str]


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

    `candidates`: ids of the resources that a person has to look at, with what each of them carries.
    """

    match: Match
    resource: JsonObject | None = field(default=None, repr=False)
    version: str = ""
    how: str = ""
    candidates: tuple[tuple[str, str], ...] = ()
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


def search_tokens(change: StaffChange, rules: DestinationRules) -> tuple[Token, ...]:
    """What to search for: `known_tokens` under every name that a server may hold the system under."""
    tokens = []
    for identifier in change.identifiers:
        system, value = system_at(identifier, rules), identifier.value.strip()
        if system and value:
            tokens += [(name, value) for name in names_of_system(system)]
    return tuple(dict.fromkeys(tokens))


def lane_keys(change: StaffChange, feed: str, rules: DestinationRules) -> tuple[str, ...]:
    """Opaque, sorted keys: one per identifier, and one for the feed's own record. Changes that share a key are about one
    person, and are delivered one after the other."""
    parts = [("identifier", *known) for known in known_tokens(change, rules)]
    parts.append(("record", feed, change.source_key))
    return tuple(sorted({hashlib.sha256("\x1f".join(part).casefold().encode()).hexdigest()[:24] for part in parts}))


# --- resolving -------------------------------------------------------------------------------------------------------


def resolve(client: FhirClient, change: StaffChange, known: Known, rules: DestinationRules) -> Resolution:
    """Find the person: one read where the crosswalk knows her, else one search."""
    return _Question(client, change, known, rules).answer()


class _Question:
    """Who carries these identifiers? One conversation with the server."""

    def __init__(self, client: FhirClient, change: StaffChange, known: Known, rules: DestinationRules) -> None:
        self.client, self.change, self.known, self.rules = client, change, known, rules
        self.tokens = known_tokens(change, rules)
        first = change.identifiers[0] if change.identifiers else None
        # The staff key, which stands first, is the one identifier that needs no confirmation.
        self.key = self.tokens[0] if first and system_at(first, rules) and first.value.strip() else None
        self.exchanges: tuple[Exchange, ...] = ()

    def answer(self) -> Resolution:
        if not self.tokens:
            text = "The record has no identifier that this destination may be searched by"
            return self._resolution(Match.DISAGREEMENT, local="no-identifier", text=text)
        if not self.known.person_id:
            return self._searched()
        reply = self.client.read("Practitioner", self.known.person_id)
        self.exchanges += reply.exchanges
        if reply.done and reply.resource is not None:
            if self._carried(reply.resource):
                return self._judged(reply.resource, reply.version, "crosswalk")
            return self._after_straying(reply.resource, self._searched())
        if reply.kind not in (ReplyKind.NOT_FOUND, ReplyKind.GONE):
            return self._resolution(Match.FAILED, reply=reply)
        found = self._searched()
        if reply.kind is ReplyKind.GONE and found.match is Match.NONE:
            text = "The person's Practitioner was deleted at the server, and nobody else carries the identifiers"
            return self._resolution(Match.GONE, local="deleted-at-server", text=text, reply=reply)
        return found

    def _searched(self) -> Resolution:
        asked = ",".join(token(system, value) for system, value in search_tokens(self.change, self.rules))
        reply = self.client.search("Practitioner", [("identifier", asked)])
        self.exchanges += reply.exchanges
        if not reply.done:
            return self._resolution(Match.FAILED, reply=reply)
        carriers = [resource for resource in reply.resources if self._carried(resource)]
        if len(carriers) > 1:
            text = f"{len(carriers)} Practitioners carry identifiers of this record"
            sides = tuple((str(resource["id"]), self._what(resource)) for resource in carriers)
            return self._resolution(Match.AMBIGUOUS, candidates=sides, local="several-people", text=text)
        if carriers:
            return self._judged(carriers[0], "", "search")
        if reply.resources or reply.total > 0:
            text = "The server answers a search by identifier with people who carry none: it ignores the parameter"
            return self._resolution(Match.DISAGREEMENT, local="search-not-honoured", text=text)
        return self._resolution(Match.NONE)

    def _after_straying(self, strayed: JsonObject, found: Resolution) -> Resolution:
        """The crosswalk's resource carries none of the identifiers any more. Somebody else may be believed only if he
        carries the staff key; otherwise the old one may have lost its identifiers by mistake."""
        if found.match not in (Match.NONE, Match.FOUND):
            return found
        if found.resource is not None and self.key in self._carried(found.resource):
            return found
        sides = [(str(strayed["id"]), "was written for this record, carries none of its identifiers now")]
        if found.resource is not None:
            sides.append((found.person_id, self._what(found.resource)))
        text = "The Practitioner that was written for this record carries none of its identifiers any more"
        return self._resolution(Match.DISAGREEMENT, candidates=tuple(sides), local="crosswalk-strayed", text=text)

    def _judged(self, resource: JsonObject, version: str, how: str) -> Resolution:
        """The one candidate, unless something speaks against it."""
        objection = self._objection(resource, how)
        if objection is None:
            return self._resolution(Match.FOUND, resource=resource, version=version, how=how)
        local, text = objection
        sides = ((str(resource["id"]), self._what(resource)),)
        return self._resolution(Match.DISAGREEMENT, candidates=sides, local=local, text=text)

    def _objection(self, resource: JsonObject, how: str) -> tuple[str, str] | None:
        change, carried = self.change, self._carried(resource)
        theirs = {value for system, value in _identifiers(resource) if system == NPI}
        ours = {value for system, value in self.tokens if system == NPI}
        if theirs and ours and not theirs & ours and not self.rules.allow_npi_change:
            return "npi-differs", "The Practitioner with an identifier of this record has another NPI"
        births = [value.value for value in change.practitioner if value.element == "birthDate"]
        differs = births and not _same_birth(births[-1], resource.get("birthDate"))
        if differs and not (self._wrote_birth_date(resource) and _families_agree(change, resource)):
            return "birth-date-differs", "The Practitioner with an identifier of this record has another birth date"
        confirmed = how == "crosswalk" or self.key in carried or len(carried) > 1
        if not confirmed and not _families_agree(change, resource):
            text = "The Practitioner was found by a single identifier, and no family name confirms it"
            return "name-not-confirmed", text
        return None

    def _wrote_birth_date(self, resource: JsonObject) -> bool:
        """Whether the resource's birth date is this record's own: then the source may be correcting it."""
        bases = [base for base in self.known.own if base.resource_id == resource["id"]]
        values = [value for base in bases for value in base.values if value.element == "birthDate"]
        return any(value.value == resource.get("birthDate") for value in values)

    def _carried(self, resource: JsonObject) -> frozenset[Token]:
        return _identifiers(resource).intersection(self.tokens)

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
        return "carries " + ", ".join(words)

    def _resolution(self, match: Match, **more: Any) -> Resolution:
        return Resolution(match, exchanges=self.exchanges, **more)


# --- comparing -------------------------------------------------------------------------------------------------------


def _identifiers(resource: JsonObject) -> frozenset[Token]:
    """Identifiers of a resource, padding removed (Epic pads some), systems by their canonical names."""
    found = set()
    for identifier in resource.get("identifier", []):
        system, value = identifier.get("system"), identifier.get("value")
        if isinstance(system, str) and isinstance(value, str):
            found.add((canonical_system(system), value.strip()))
    return frozenset(found)


def _same_birth(ours: Any, theirs: Any) -> bool:
    """FHIR dates may be partial (1970, 1970-05): only what both say can differ."""
    if not isinstance(ours, str) or not isinstance(theirs, str) or not theirs:
        return True
    length = min(len(ours), len(theirs))
    return ours[:length] == theirs[:length]


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
