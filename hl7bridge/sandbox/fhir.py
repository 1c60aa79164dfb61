"""The interactions of FHIR R4 (http.html) on what the sandbox holds: from a request, as plain values, to an `Answer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from urllib.parse import parse_qsl

from hl7bridge.model import JsonObject, read_json, write_json
from hl7bridge.sandbox.habits import Fault, Habits
from hl7bridge.sandbox.interactions import RESOURCE_TYPES, Asked
from hl7bridge.sandbox.journal import Entry
from hl7bridge.sandbox.outcomes import Answer, Refused, operation_outcome
from hl7bridge.sandbox.resources import Change, Resources, Version
from hl7bridge.sandbox.search import Page, Pages, Query, bundle, link_to, read_condition, read_query

PAGE = "_page"
_JSON_TYPES = ("application/fhir+json", "application/json", "application/json+fhir")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request: `headers` by lower-case name, `pairs` of the query, `base_url` without a slash at its end.

    `observer`: sent by the test itself (control.py); no token, habit or fault applies, and it may delete.
    """

    method: str
    path: str
    asked: Asked
    base_url: str
    headers: Mapping[str, str]
    pairs: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    observer: bool = False

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    def prefers(self, preference: str) -> bool:
        """Whether `Prefer` holds this preference, e.g. "return=minimal"."""
        return preference in self.header("prefer").replace(";", ",").replace(" ", "").split(",")


class Fhir:
    """Answers interactions. Thread-safe."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.pages = Pages()

    def answer(self, incoming: Incoming, habits: Habits, fault: Fault | None, entry: Entry) -> Answer:
        """Do what is asked. Raises Refused. A write appends its entry to the journal while it holds the resources."""
        asked = incoming.asked
        if asked.resource_type not in RESOURCE_TYPES:
            raise Refused(404, "not-supported", f"This server has {' and '.join(RESOURCE_TYPES)} only")
        match asked.interaction:
            case "create":
                return self._create(incoming, habits, fault, entry)
            case "update" if asked.resource_id:
                return self._update(incoming, habits, fault, entry)
            case "delete" if asked.resource_id and incoming.observer:
                self.resources.delete(asked.resource_type, asked.resource_id, _recorder(entry, lambda _: 204))
                return Answer(204)
            case "read":
                return self._read(incoming, self.resources.read(asked.resource_type, asked.resource_id), habits)
            case "vread" if habits.versioned:
                version = self.resources.version(asked.resource_type, asked.resource_id, asked.version_id)
                return self._read(incoming, version, habits)
            case "history" if habits.versioned:
                return self._history(incoming)
            case "search":
                return self._search(incoming, habits, fault)
        raise Refused(405, "not-supported", "This server does not support the interaction")

    # --- writes ------------------------------------------------------------------------------------------------------

    def _create(self, incoming: Incoming, habits: Habits, fault: Fault | None, entry: Entry) -> Answer:
        kind = incoming.asked.resource_type
        condition: Query | None = None
        text = incoming.header("if-none-exist")
        if text and habits.conditional_create == "refused":
            raise Refused(412, "not-supported", "This server does not support If-None-Exist")
        if text and habits.conditional_create == "on":
            condition = read_condition(kind, text)
        body = _read_body(incoming, entry)
        if fault is not None and fault.kind == "no-change":
            made_up = {**_as_object(body), "id": self.resources.new_id(habits.id_style), "meta": {"versionId": "1"}}
            return self._written(incoming, 201, _pretended(kind, made_up), habits)
        record = _recorder(entry, lambda change: 201 if change.created else 200)
        change = self.resources.create(kind, body, condition, habits, record)
        return self._written(incoming, 201 if change.created else 200, change.version, habits, is_new=True)

    def _update(self, incoming: Incoming, habits: Habits, fault: Fault | None, entry: Entry) -> Answer:
        asked = incoming.asked
        body = _read_body(incoming, entry)
        if fault is not None and fault.kind == "no-change":
            version = self.resources.read(asked.resource_type, asked.resource_id)
            if fault.echo:
                meta = {"versionId": str(version.number + 1)}
                version = _pretended(asked.resource_type, {**_as_object(body), "meta": meta})
            return self._written(incoming, 200, version, habits)
        change = self.resources.update(
            asked.resource_type,
            asked.resource_id,
            body,
            incoming.header("if-match"),
            habits,
            _recorder(entry, lambda change: 201 if change.created else 200),
        )
        return self._written(incoming, 201 if change.created else 200, change.version, habits)

    def _written(
        self, incoming: Incoming, status: int, version: Version, habits: Habits, *, is_new: bool = False
    ) -> Answer:
        headers = _version_headers(version, habits)
        place = f"{incoming.base_url}/{version.resource_type}/{version.resource_id}"
        if habits.versioned:
            place += f"/_history/{version.number}"
        headers["Location" if is_new or status == 201 else "Content-Location"] = place
        if incoming.prefers("return=minimal"):
            return Answer(status, "", headers)
        if incoming.prefers("return=OperationOutcome"):
            return Answer.of(status, operation_outcome("information", "informational", "Done"), headers)
        return Answer(status, _text(version, habits), headers)

    # --- reads -------------------------------------------------------------------------------------------------------

    def _read(self, incoming: Incoming, version: Version, habits: Habits) -> Answer:
        headers = _version_headers(version, habits)
        if habits.versioned and headers["ETag"] in incoming.header("if-none-match").split(", "):
            return Answer(304, "", headers)
        return Answer(200, _text(version, habits), headers)

    def _history(self, incoming: Incoming) -> Answer:
        asked = incoming.asked
        versions = self.resources.history(asked.resource_type, asked.resource_id)
        url = f"{asked.resource_type}/{asked.resource_id}"
        entries: list[JsonObject] = []
        for version in versions:
            method = "DELETE" if not version.text else "POST" if version.number == 1 else "PUT"
            item: JsonObject = {"fullUrl": f"{incoming.base_url}/{url}"}
            if version.text:
                item["resource"] = version.resource
            item["request"] = {"method": method, "url": asked.resource_type if method == "POST" else url}
            item["response"] = {"status": "201" if method == "POST" else "200", "etag": f'W/"{version.number}"'}
            entries.append(item)
        found = {"resourceType": "Bundle", "type": "history", "total": len(versions), "entry": entries}
        return Answer.of(200, found)

    def _search(self, incoming: Incoming, habits: Habits, fault: Fault | None) -> Answer:
        kind = incoming.asked.resource_type
        pairs = incoming.pairs
        if incoming.method == "POST":
            if not incoming.header("content-type").startswith("application/x-www-form-urlencoded"):
                raise Refused(415, "not-supported", "A search by POST is form-encoded")
            pairs += tuple(parse_qsl(incoming.body.decode("utf-8", "replace"), keep_blank_values=True))
        name = next((value for key, value in pairs if key == PAGE), "")
        if name:
            return self._page(incoming, self.pages.open(name, kind), habits, fault, ())
        lenient = habits.unknown_parameters == "ignore" or incoming.prefers("handling=lenient")
        silent = habits.ignored_parameters
        if fault is not None and fault.kind == "ignored-parameters":
            silent += fault.parameters
        sought = [(key, value) for key, value in pairs if key.partition(":")[0] not in silent]
        query = read_query(kind, sought, lenient=lenient)
        ids = tuple(self.resources.find(kind, query.criteria))
        if fault is not None and fault.kind == "empty-search":
            ids = ()
        size = min(habits.page_size if query.count is None else query.count, habits.page_limit)
        page = Page(kind, ids, 0, size, len(ids), link_to(incoming.base_url, kind, query.pairs))
        return self._page(incoming, page, habits, fault, query.ignored)

    def _page(
        self, incoming: Incoming, page: Page, habits: Habits, fault: Fault | None, ignored: tuple[str, ...]
    ) -> Answer:
        next_link = self._next_link(incoming, page, fault)
        warnings = [
            operation_outcome("warning", "not-supported", f"Unknown search parameter, ignored: {name}")
            for name in ignored
        ]

        def read(resource_id: str) -> JsonObject | None:
            resource = self.resources.current(page.resource_type, resource_id)
            return _without_version(resource) if resource is not None and not habits.versioned else resource

        return Answer.of(200, bundle(incoming.base_url, page, read, next_link=next_link, warnings=warnings))

    def _next_link(self, incoming: Incoming, page: Page, fault: Fault | None) -> str:
        """The link to the next page, or the one that a fault puts in its place."""
        kind, base_url, name = page.resource_type, incoming.base_url, self.pages.new_name()
        if fault is not None and fault.kind == "looping-next":
            here = link_to(base_url, kind, [(PAGE, name)])
            self.pages.keep(name, replace(page, next_link=here))
            return here
        if fault is not None and fault.kind in ("evil-next", "expired-next"):
            origin = f"{fault.origin.rstrip('/')}/fhir" if fault.kind == "evil-next" else base_url
            return link_to(origin, kind, [(PAGE, name)])
        if page.next_link or not page.size or page.start + page.size >= len(page.ids):
            return page.next_link
        self.pages.keep(name, replace(page, start=page.start + page.size))
        return link_to(base_url, kind, [(PAGE, name)])


def _recorder(entry: Entry, status: Callable[[Change], int]) -> Callable[[Change], None]:
    """Writes the journal's line of a write; called while the resources are locked."""

    def record(change: Change) -> None:
        version = change.version
        fields: JsonObject = {"id": version.resource_id, "version": str(version.number), "changed": change.stored}
        if change.stored:
            entry.fields.pop("sent", None)
            fields["stored"] = version.resource if version.text else None
        elif entry.fields["interaction"] == "update":
            fields["unchanged"] = True
        entry.append(status=status(change), **fields)

    return record


def _read_body(incoming: Incoming, entry: Entry) -> object:
    content_type = incoming.header("content-type").partition(";")[0].strip().lower()
    if content_type not in _JSON_TYPES:
        raise Refused(415, "not-supported", "The body is not application/fhir+json")
    try:
        body: object = read_json(incoming.body)
        # Text that cannot be written again (a lone surrogate, NaN) is no JSON that FHIR knows.
        write_json(body).encode()
    except (ValueError, RecursionError):
        raise Refused(400, "structure", "The body is not JSON") from None
    entry.fields["sent"] = body
    return body


def _as_object(body: object) -> JsonObject:
    return body if isinstance(body, dict) else {}


def _pretended(resource_type: str, resource: JsonObject) -> Version:
    """A version that is answered though it was never stored."""
    number = int(resource["meta"]["versionId"])
    return Version(resource_type, str(resource.get("id", "")), number, write_json(resource), 0.0)


def _version_headers(version: Version, habits: Habits) -> dict[str, str]:
    headers = {"Last-Modified": formatdate(version.updated, usegmt=True)}
    if habits.versioned:
        headers["ETag"] = f'W/"{version.number}"'
    return headers


def _text(version: Version, habits: Habits) -> str:
    return version.text if habits.versioned else write_json(_without_version(version.resource))


def _without_version(resource: JsonObject) -> JsonObject:
    meta = {name: value for name, value in resource.get("meta", {}).items() if name != "versionId"}
    return {**resource, "meta": meta}
