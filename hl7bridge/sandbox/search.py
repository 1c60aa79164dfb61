"""Search (R4 search.html): criteria from a query, whether a resource meets them, and the pages of what was found."""

from __future__ import annotations

import re
import secrets
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from hl7bridge.model import JsonObject
from hl7bridge.sandbox.outcomes import Refused

PARAMETERS: dict[str, dict[str, str]] = {
    "Practitioner": {
        "_id": "token",
        "identifier": "token",
        "active": "token",
        "name": "string",
        "family": "string",
        "given": "string",
    },
    "PractitionerRole": {"_id": "token", "identifier": "token", "active": "token", "practitioner": "reference"},
}
# Parameters about the answer, not about what is sought.
RESULT_PARAMETERS = frozenset({"_count", "_format", "_total", "_pretty"})
_MODIFIERS = {"string": ("exact", "contains"), "token": (), "reference": ()}
_SEPARATOR = {sign: re.compile(rf"(?<!\\)((?:\\\\)*){re.escape(sign)}") for sign in ",|"}


@dataclass(frozen=True, slots=True)
class Criterion:
    """One parameter of a search: it is met when one of `values` is. Values are as sent, still escaped."""

    name: str
    modifier: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A search: the criteria (all must be met), the parameters that were ignored, and what was asked of the page."""

    criteria: tuple[Criterion, ...]
    ignored: tuple[str, ...] = ()
    count: int | None = None
    pairs: tuple[tuple[str, str], ...] = ()


def read_query(resource_type: str, pairs: Iterable[tuple[str, str]], *, lenient: bool = False) -> Query:
    """Read name and value pairs. Raises Refused (400) for a value that cannot be, and, unless `lenient`, for an unknown
    parameter or modifier."""
    criteria, ignored, used = [], [], []
    count: int | None = None
    known = PARAMETERS[resource_type]
    for name, value in pairs:
        plain, _, modifier = name.partition(":")
        if name == "_count":
            if not value.isdecimal():
                raise Refused(400, "value", "_count is not a number")
            count = int(value)
        elif name == "_format":
            if "json" not in value:
                raise Refused(406, "not-supported", "This server speaks JSON only")
        elif name in RESULT_PARAMETERS:
            pass
        elif plain not in known or (modifier and modifier not in _MODIFIERS[known[plain]]):
            if not lenient:
                text = (
                    f"Unknown search parameter for {resource_type}: {_shown(name)}. Known: {', '.join(sorted(known))}"
                )
                raise Refused(400, "not-supported", text)
            ignored.append(_shown(name))
            continue
        else:
            values = tuple(split_escaped(value, ","))
            if not all(values):
                raise Refused(400, "value", f"An empty value for the search parameter {plain}")
            if plain == "active" and not {v.rpartition("|")[2] for v in values} <= {"true", "false"}:
                raise Refused(400, "value", "active is neither true nor false")
            criteria.append(Criterion(plain, modifier, values))
        used.append((name, value))
    return Query(tuple(criteria), tuple(ignored), count, tuple(used))


def read_condition(resource_type: str, text: str) -> Query:
    """Read If-None-Exist: the query part of a search URL. Raises Refused (400)."""
    query = text.rpartition("?")[2]
    read = read_query(resource_type, parse_qsl(query, keep_blank_values=True))
    if not read.criteria:
        raise Refused(400, "invalid", "If-None-Exist names no search parameter")
    return read


def _shown(name: str) -> str:
    """A parameter's name for a text: short, and nothing but letters, digits, and the signs of names."""
    return re.sub(r"[^\w:.-]", "?", name)[:40]


def split_escaped(text: str, sign: str) -> Iterator[str]:
    """Split at a sign that no backslash escapes; escapes stay (R4 search.html, 3.1.1.5.7)."""
    start = 0
    for match in _SEPARATOR[sign].finditer(text):
        yield text[start : match.end() - 1]
        start = match.end()
    yield text[start:]


def unescape(text: str) -> str:
    r"""Resolve \, \| \$ and \\."""
    return re.sub(r"\\([,|$\\])", r"\1", text)


# --- does a resource meet a criterion --------------------------------------------------------------------------------


def meets(resource: JsonObject, criteria: Iterable[Criterion]) -> bool:
    """Whether the resource meets all of the criteria."""
    return all(any(_meets_value(resource, item, value) for value in item.values) for item in criteria)


def _meets_value(resource: JsonObject, criterion: Criterion, value: str) -> bool:
    match criterion.name:
        case "_id":
            return bool(resource["id"] == unescape(value))
        case "identifier":
            return any(_meets_token(item, value) for item in resource.get("identifier", []))
        case "active":
            return "active" in resource and str(resource["active"]).lower() == value.rpartition("|")[2]
        case "practitioner":
            reference = resource.get("practitioner", {}).get("reference", "")
            wanted = unescape(value)
            return bool(reference) and reference.rpartition("/")[2] == wanted.rpartition("/")[2] and _is_person(wanted)
        case name:
            return any(_meets_string(text, value, criterion.modifier) for text in _names(resource, name))


def _is_person(reference: str) -> bool:
    return "/" not in reference or reference.split("/")[-2] == "Practitioner"


def _meets_token(identifier: JsonObject, value: str) -> bool:
    """system|value, |value (no system), system|, value"""
    parts = [unescape(part) for part in split_escaped(value, "|")]
    if len(parts) == 1:
        return bool(identifier.get("value") == parts[0])
    system, wanted = parts[0], "|".join(parts[1:])
    return bool(identifier.get("system", "") == system and (not wanted or identifier.get("value") == wanted))


def _names(resource: JsonObject, parameter: str) -> Iterator[str]:
    for name in resource.get("name", []):
        if parameter in ("family", "name"):
            yield name.get("family") or ""
        if parameter in ("given", "name"):
            yield from (part for part in name.get("given", []) if part)
        if parameter == "name":
            yield from (part for key in ("prefix", "suffix") for part in name.get(key, []) if part)
            yield name.get("text") or ""


def _meets_string(text: str, value: str, modifier: str) -> bool:
    wanted = unescape(value)
    if modifier == "exact":
        return text == wanted
    plain, wanted = folded(text), folded(wanted)
    return bool(plain) and (wanted in plain if modifier == "contains" else plain.startswith(wanted))


@lru_cache(maxsize=65536)
def folded(text: str) -> str:
    """Without case and accents."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(sign))


def index_keys(resource: JsonObject) -> set[str]:
    """The words under which an index keeps the resource: its identifiers' values, and the person of a role."""
    keys = {f"identifier {item['value']}" for item in resource.get("identifier", []) if "value" in item}
    person = resource.get("practitioner", {}).get("reference", "")
    return keys | {f"practitioner {person.rpartition('/')[2]}"} if person else keys


def sought_keys(criteria: Iterable[Criterion]) -> set[str] | None:
    """The words of the index of which each match has one; None when the criteria name none."""
    for criterion in criteria:
        if criterion.name == "practitioner":
            return {f"practitioner {unescape(value).rpartition('/')[2]}" for value in criterion.values}
        if criterion.name == "identifier":
            parts = [list(split_escaped(value, "|")) for value in criterion.values]
            values = {unescape("|".join(part[1:]) if len(part) > 1 else part[0]) for part in parts}
            return None if "" in values else {f"identifier {value}" for value in values}
    return None


# --- pages -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """What a next link stands for; `next_link` set: the link on this page, whatever follows."""

    resource_type: str
    ids: tuple[str, ...]
    start: int
    size: int
    total: int
    self_link: str
    next_link: str = ""


class Pages:
    """The pages that next links lead to, by an opaque name; the oldest are forgotten. Thread-safe."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._pages: OrderedDict[str, Page] = OrderedDict()

    @staticmethod
    def new_name() -> str:
        """A name for a page."""
        return secrets.token_urlsafe(24)

    def keep(self, name: str, page: Page) -> None:
        """Keep a page under that name."""
        with self._lock:
            self._pages[name] = page
            while len(self._pages) > self._limit:
                self._pages.popitem(last=False)

    def open(self, name: str, resource_type: str) -> Page:
        """The page of that name. Raises Refused (410) when it is not there any more."""
        with self._lock:
            page = self._pages.get(name)
        if page is None or page.resource_type != resource_type:
            raise Refused(410, "not-found", "The search that this page belongs to is gone; search again")
        return page

    def clear(self) -> None:
        with self._lock:
            self._pages.clear()


def bundle(
    base_url: str,
    page: Page,
    read: Callable[[str], JsonObject | None],
    *,
    next_link: str = "",
    warnings: Sequence[JsonObject] = (),
) -> JsonObject:
    """A searchset Bundle of one page; what was deleted since the search is left out."""
    entries: list[JsonObject] = []
    for resource_id in page.ids[page.start : page.start + page.size]:
        resource = read(resource_id)
        if resource is not None:
            full_url = f"{base_url}/{page.resource_type}/{resource_id}"
            entries.append({"fullUrl": full_url, "resource": resource, "search": {"mode": "match"}})
    entries += [{"resource": outcome, "search": {"mode": "outcome"}} for outcome in warnings]
    links = [{"relation": "self", "url": page.self_link}]
    if next_link:
        links.append({"relation": "next", "url": next_link})
    found: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": page.total, "link": links}
    return {**found, "entry": entries} if entries else found


def link_to(base_url: str, resource_type: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The URL of a search."""
    query = urlencode(list(pairs))
    return f"{base_url}/{resource_type}" + (f"?{query}" if query else "")
