"""A thin FHIR R4 client: read, search, create, update, and the CapabilityStatement. No DELETE, no PATCH, no other type.

Every call returns a `Reply`; server behaviour never raises. JSON goes through `read_strictly` and `write_json`, so that
1.10 stays 1.10. Each request has an X-Request-Id of its own, which its `Exchange` keeps. One client serves all threads of
a destination: `in_flight` and `requests_per_second` count for them together.
"""

from __future__ import annotations

import logging
import re
import ssl
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from hl7bridge.destinations.budget import Budget
from hl7bridge.destinations.fhir.rules import DestinationRules, origin
from hl7bridge.destinations.fhir.wire.gate import Gate, GateRefused
from hl7bridge.destinations.fhir.wire.network import Network, deadline_of
from hl7bridge.destinations.fhir.wire.replies import (
    Reply,
    ReplyKind,
    is_id,
    is_sound,
    issue_codes,
    kind_of_issues,
    kind_of_status,
    located,
    retry_after,
    version_in,
    version_of,
)
from hl7bridge.destinations.fhir.wire.smart_auth import BackendServicesAuth
from hl7bridge.destinations.fhir.wire.strict_json import UnsoundJson, read_strictly
from hl7bridge.errors import TokenError
from hl7bridge.model import Exchange, JsonObject, write_json

# httpx logs each URL at INFO, and with it the identifiers of a search; httpcore logs headers at DEBUG.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

UNSOUND_JSON = "unsound-json"
FHIR_JSON = "application/fhir+json"
Parameters = Sequence[tuple[str, str]]
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def token(system: str, value: str) -> str:
    r"""A search token `system|value` (R4 search.html, "Escaping Search Parameters": `\`, `,`, `$` and `|`)."""
    return "|".join(_escape(part) for part in (system, value)) if system else _escape(value)


def _escape(text: str) -> str:
    for character in "\\,$|":
        text = text.replace(character, "\\" + character)
    return text


def query(parameters: Parameters) -> str:
    """Search parameters as a URL query, percent-encoded."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)


class FhirServer(Protocol):
    """What a delivery asks of a server: the four interactions that it goes by. Each answer is a value, never an error."""

    def read(self, resource_type: str, resource_id: str) -> Reply:
        """One resource."""

    def search(self, resource_type: str, parameters: Parameters) -> Reply:
        """All that match, page after page."""

    def create(self, resource_type: str, body: JsonObject, *, if_none_exist: Parameters = ()) -> Reply:
        """A new one; nothing where something matches `if_none_exist` already."""

    def update(
        self,
        resource_type: str,
        resource_id: str,
        body: JsonObject,
        *,
        version: str = "",
        seen: JsonObject,
        dropped: frozenset[str] = frozenset(),
    ) -> Reply:
        """The whole resource, where it still stands at `version`. `seen`: as it was read; `dropped`: elements of it that
        are meant to go."""


class FhirClient:
    """Speaks to one destination. `auth` adds the token to each request. Close the client when done; it closes `auth`.

    transport   replaces the network (tests)
    clock, sleep, now  monotonic seconds, waiting, and the wall clock, for tests
    Raises ConfigError for a `ca_file` that cannot be read.
    """

    def __init__(
        self,
        rules: DestinationRules,
        auth: httpx.Auth | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.rules, self._now = rules, now
        self._base = rules.base_url.rstrip("/")
        self.budget = Budget(rules.in_flight, rules.requests_per_second, clock, sleep)
        gate = Gate(
            transport or Network(rules, connections=rules.in_flight, clock=clock),
            httpx.URL(self._base),
            max_response=rules.max_response,
            deadline=deadline_of(rules),
            bucket=self.budget.bucket,
            clock=clock,
        )
        self._http = httpx.Client(
            transport=gate,
            auth=auth,
            timeout=rules.timeout,
            follow_redirects=False,
            trust_env=False,
            headers={"accept": FHIR_JSON, "accept-encoding": "identity", "user-agent": "hl7bridge"},
        )

    def close(self) -> None:
        """Close the connections, also those of an `auth` that has some."""
        self._http.close()
        if isinstance(self._http.auth, BackendServicesAuth):
            self._http.auth.source.close()

    # --- interactions ------------------------------------------------------------------------------------------------

    def read(self, resource_type: str, resource_id: str) -> Reply:
        """GET [type]/[id]. DONE carries the resource and, where the server has versions, its version."""
        if not is_id(resource_id):
            return Reply(ReplyKind.PERMANENT, detail="not-an-id")
        reply = self._send("GET", _path(resource_type, resource_id))
        if not reply.done:
            return reply
        resource = reply.resource
        if not is_sound(resource) or resource is None or resource["resourceType"] != resource_type:
            return replace(reply, kind=ReplyKind.TRANSIENT, resource=None, detail="not-fhir")
        if resource["id"] != resource_id:
            return replace(reply, kind=ReplyKind.PERMANENT, resource=None, detail="another-resource")
        return reply

    def search(self, resource_type: str, parameters: Parameters) -> Reply:
        """Search, all pages: DONE carries every match in `resources` (search.mode outcome and include left out).

        A `next` link is followed as it is, and only to the base's own origin (detail "foreign-link"); a loop, or more
        than `max_pages`, ends in PERMANENT "endless-pages", for what is not complete says nothing about one person. A
        page that is refused (its session may have expired) starts the search over, once.
        """
        exchanges: tuple[Exchange, ...] = ()
        for _ in range(2):
            reply, first_page = self._search_once(resource_type, parameters)
            exchanges += reply.exchanges
            if first_page or not _has_expired(reply):
                break
        return replace(reply, exchanges=exchanges)

    def create(self, resource_type: str, body: JsonObject, *, if_none_exist: Parameters = ()) -> Reply:
        """POST [type]. `if_none_exist`: create only where this search finds nothing (http.html, conditional create):
        201 created; 200 one is there already, and comes back unchanged; 412 several are there (CONFLICT).

        DONE carries the new id in `resource` or, where the body came back empty, in `location`.
        """
        if "id" in body or body.get("resourceType") != resource_type:
            return Reply(ReplyKind.PERMANENT, detail="not-sendable")
        headers = {"if-none-exist": query(if_none_exist)} if if_none_exist else {}
        reply = self._send("POST", resource_type, body=body, headers=headers)
        return _carrying(reply, resource_type, "")

    def update(
        self,
        resource_type: str,
        resource_id: str,
        body: JsonObject,
        *,
        version: str = "",
        seen: JsonObject,
        dropped: frozenset[str] = frozenset(),
    ) -> Reply:
        """PUT [type]/[id], with If-Match where a version is known.

        `seen` is the resource as read: a body that leaves out one of its elements, but those in `dropped`, is not sent
        (PERMANENT "would-drop-elements"), for PUT replaces the whole resource.
        """
        if unsendable := is_unsendable(resource_type, resource_id, body, seen, dropped):
            return Reply(ReplyKind.PERMANENT, detail=unsendable)
        headers = {"if-match": f'W/"{version}"'} if version else {}
        reply = self._send("PUT", _path(resource_type, resource_id), body=body, headers=headers)
        return _carrying(reply, resource_type, resource_id)

    def capabilities(self) -> Reply:
        """GET metadata, without a token: a CapabilityStatement is open to all (SMART says so, servers do so)."""
        reply = self._send("GET", "metadata", with_token=False)
        if reply.done and (reply.resource or {}).get("resourceType") != "CapabilityStatement":
            return replace(reply, kind=ReplyKind.TRANSIENT, resource=None, detail="not-fhir")
        return reply

    def smart_configuration(self) -> Reply:
        """GET .well-known/smart-configuration, without a token; `resource` is the JSON object that it holds."""
        return self._send("GET", ".well-known/smart-configuration", with_token=False)

    def page(self, resource_type: str, parameters: Parameters = (), *, link: str = "") -> Reply:
        """One page of a search as it came: `resource` is the Bundle, `resources` its matches. `link`: the `next` link of
        the page before. For looking at a server; what decides about a person is `search`, which reads every page."""
        if link:
            reply = self._page(link)
        elif self.rules.search_method == "post":
            reply = self._send("POST", f"{resource_type}/_search", form=query(parameters))
        else:
            reply = self._send("GET", f"{resource_type}?{query(parameters)}")
        if not reply.done or reply.resource is None:
            return reply
        if not _is_searchset(reply.resource):
            return replace(reply, kind=ReplyKind.TRANSIENT, resource=None, detail="not-fhir")
        matches, errors, _ = _entries(reply.resource, resource_type)
        if errors:
            return replace(reply, kind=kind_of_issues(errors), resource=None, issues=errors, detail="error-in-success")
        return replace(reply, resources=tuple(matches))

    # --- pages -------------------------------------------------------------------------------------------------------

    def _search_once(self, resource_type: str, parameters: Parameters) -> tuple[Reply, bool]:
        """The reply, and whether it was the first page that decided."""
        if self.rules.search_method == "post":
            reply = self._send("POST", f"{resource_type}/_search", form=query(parameters))
        else:
            reply = self._send("GET", f"{resource_type}?{query(parameters)}")
        found: list[JsonObject] = []
        exchanges: tuple[Exchange, ...] = reply.exchanges
        followed: set[str] = set()
        total = -1
        while True:
            first_page = not followed
            if reply.done and not _is_searchset(reply.resource):
                reply = replace(reply, kind=ReplyKind.TRANSIENT, resource=None, detail="not-fhir")
            if not reply.done or reply.resource is None:
                return replace(reply, exchanges=exchanges), first_page
            page = reply.resource
            matches, errors, sound = _entries(page, resource_type)
            if errors or not sound:
                kind, detail = (
                    (kind_of_issues(errors), "error-in-success") if errors else (ReplyKind.TRANSIENT, "not-fhir")
                )
                return Reply(kind, reply.status, issues=errors, detail=detail, exchanges=exchanges), first_page
            found += matches
            if first_page and isinstance(page.get("total"), int):
                total = page["total"]
            link = next_link(page)
            if not link:
                once = {resource["id"]: resource for resource in found}
                done = replace(reply, resource=None, version="", total=total, resources=tuple(once.values()))
                return replace(done, exchanges=exchanges), first_page
            if link in followed or len(followed) + 1 >= self.rules.max_pages:
                reply = Reply(ReplyKind.PERMANENT, reply.status, detail="endless-pages")
                return replace(reply, exchanges=exchanges), first_page
            followed.add(link)
            reply = self._page(link)
            exchanges += reply.exchanges

    def _page(self, link: str) -> Reply:
        """Request a `next` link byte for byte as the server wrote it."""
        try:
            url = httpx.URL(self._base + "/").join(link)
        except httpx.InvalidURL:
            return Reply(ReplyKind.PERMANENT, detail="foreign-link")
        if origin(url) != origin(self._base) or url.userinfo or not re.fullmatch(r"[!-~]+", link):
            return Reply(ReplyKind.PERMANENT, detail="foreign-link")
        verbatim = _AUTHORITY.sub("", link, count=1).partition("#")[0]
        if _AUTHORITY.match(link) and not verbatim.startswith("/"):
            verbatim = "/" + verbatim
        target = verbatim.encode("ascii") if re.match("/(?!/)", verbatim) else url.raw_path
        reply = self._send("GET", str(url), target=target)
        return replace(reply, detail="foreign-link") if reply.detail in ("foreign-path", "not-allowed") else reply

    # --- one request -------------------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        form: str | None = None,
        headers: dict[str, str] | None = None,
        target: bytes | None = None,
        with_token: bool = True,
    ) -> Reply:
        exchanges: list[Exchange] = []
        extensions: dict[str, Any] = {"exchanges": exchanges}
        if target is not None:
            extensions["target"] = target
        headers = {**(headers or {}), "x-request-id": str(uuid.uuid4())}  # R4 http.html, Custom Headers
        content: bytes | None = None
        if body is not None:
            try:
                content = write_json(body).encode("utf-8")
            except UnicodeEncodeError:  # half a surrogate pair, which a server's JSON can smuggle in
                return Reply(ReplyKind.PERMANENT, detail="not-sendable")
            headers["content-type"] = FHIR_JSON
            headers["prefer"] = "return=representation"
        elif form is not None:
            content = form.encode("ascii")
            headers["content-type"] = "application/x-www-form-urlencoded"
        url = path if target is not None else f"{self._base}/{path}"
        request = self._http.build_request(method, url, content=content, headers=headers, extensions=extensions)
        reply = self._exchange(request, with_token, writes=body is not None)
        return replace(reply, exchanges=tuple(exchanges))

    def _exchange(self, request: httpx.Request, with_token: bool, *, writes: bool) -> Reply:
        lost = ReplyKind.AMBIGUOUS if writes else ReplyKind.TRANSIENT
        try:
            with self.budget.slot():
                response = self._http.send(request, auth=httpx.USE_CLIENT_DEFAULT if with_token else None)
        except TokenError as error:
            detail = "token-refused" if error.permanent else "token-unavailable"
            if error.code == "invalid_scope":
                detail = "token-scope-refused"
            return Reply(ReplyKind.AUTH, error.status, detail=detail)
        except GateRefused as refused:
            return _unreadable(refused, writes)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            return Reply(ReplyKind.UNREACHABLE, detail="tls" if _is_tls(error) else "unreachable")
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL):
            return Reply(ReplyKind.PERMANENT, detail="not-sendable")
        except httpx.TimeoutException:
            return Reply(lost, detail="timeout")
        except httpx.HTTPError:
            return Reply(lost, detail="connection-lost")
        return self._read(response, writes)

    def _read(self, response: httpx.Response, writes: bool) -> Reply:
        """Classify a complete response. Only JSON is parsed; XML and HTML never."""
        status = response.status_code
        kind = kind_of_status(status)
        wait = retry_after(response.headers, self._now()) if kind is ReplyKind.TRANSIENT else 0.0
        resource, detail = _parsed(response)
        issues: tuple[str, ...] = ()
        if resource is not None and resource.get("resourceType") == "OperationOutcome":
            issues = issue_codes(resource)
            errors = issue_codes(resource, errors_only=True)
            if kind is ReplyKind.DONE and errors:
                kind, detail = kind_of_issues(errors), "error-in-success"
            resource = None
        if kind is not ReplyKind.DONE:
            resource = None
            detail = detail if detail == "error-in-success" else ""
        elif detail and not writes:
            # Asked again, a login page may have gone; what the server holds stays as it is.
            kind = ReplyKind.PERMANENT if detail == UNSOUND_JSON else ReplyKind.TRANSIENT
        version = version_of(response.headers, resource)
        where = response.headers.get("location", "") if writes else ""
        return Reply(
            kind, status, resource, version=version, location=where, issues=issues, retry_after=wait, detail=detail
        )


def is_unsendable(
    resource_type: str, resource_id: str, body: JsonObject, seen: JsonObject, dropped: frozenset[str]
) -> str:
    """Why an update is not sent ("not-sendable", "would-drop-elements"; see `FhirClient.update`), "" = it may be."""
    if body.get("id") != resource_id or body.get("resourceType") != resource_type or not is_id(resource_id):
        return "not-sendable"
    return "would-drop-elements" if seen.keys() - body.keys() - dropped else ""


def _path(resource_type: str, resource_id: str) -> str:
    return f"{resource_type}/{quote(resource_id, safe='-._~')}"


def _carrying(reply: Reply, resource_type: str, resource_id: str) -> Reply:
    """The reply to a write: with the resource only if it is the one written, with the id that Location names."""
    located_id, located_version = located(reply.location, resource_type)
    resource = reply.resource
    if resource is not None and (
        not is_sound(resource) or resource["resourceType"] != resource_type or resource_id not in ("", resource["id"])
    ):
        resource = None
    version = reply.version or version_in(resource) or located_version
    return replace(reply, resource=resource, location=located_id, version=version)


def _parsed(response: httpx.Response) -> tuple[JsonObject | None, str]:
    """The JSON object of a body, or None and why it is not one ("" for an empty body)."""
    content = response.content
    if not content.strip():
        return None, ""
    if "json" not in response.headers.get("content-type", "").lower() or b"\\u0000" in content:
        return None, "not-fhir"
    try:
        read = read_strictly(content)
    except UnsoundJson:
        return None, UNSOUND_JSON
    except (ValueError, RecursionError):
        return None, "not-fhir"
    return (read, "") if isinstance(read, dict) else (None, "not-fhir")


def _unreadable(refused: GateRefused, writes: bool) -> Reply:
    """A response that did not pass the gate. A write with a status of success was done all the same."""
    kind = kind_of_status(refused.status) if refused.status else ReplyKind.PERMANENT
    if kind is ReplyKind.DONE and not writes:
        kind = ReplyKind.PERMANENT
    return Reply(kind, refused.status, detail=refused.detail)


def _is_tls(error: BaseException) -> bool:
    """Whether the connection failed for its certificate or protocol version."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


# --- searchsets (R4 search.html, bundle.html) ------------------------------------------------------------------------


def _is_searchset(bundle: JsonObject | None) -> bool:
    return (
        bundle is not None
        and bundle.get("resourceType") == "Bundle"
        and isinstance(bundle.get("entry", []), list)
        and isinstance(bundle.get("link", []), list)
    )


def _entries(bundle: JsonObject, resource_type: str) -> tuple[list[JsonObject], tuple[str, ...], bool]:
    """The entries that match (neither an outcome nor what was included with them), the issue codes of errors among the
    outcomes, and whether every match can be read: a match that is passed over would look like nobody."""
    found: list[JsonObject] = []
    errors: tuple[str, ...] = ()
    sound = True
    for entry in bundle.get("entry", []):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            continue
        search = entry.get("search")
        mode = search.get("mode", "match") if isinstance(search, dict) else "match"
        if resource.get("resourceType") == "OperationOutcome":
            errors += issue_codes(resource, errors_only=True)
        elif mode == "match" and resource.get("resourceType") == resource_type:
            found.append(resource)
            sound = sound and is_sound(resource)
    return found, errors, sound


def _has_expired(page: Reply) -> bool:
    """Whether a further page is refused as one whose session is over: by a status, or by an error that comes with 200
    (Epic's 4113 comes as an OperationOutcome), but never by what we refuse ourselves."""
    if page.detail == "error-in-success" and "expired" in page.issues:
        return True
    refused = page.kind in (ReplyKind.PERMANENT, ReplyKind.NOT_FOUND, ReplyKind.GONE)
    return refused and page.detail in ("", "error-in-success")


def next_link(bundle: JsonObject) -> str:
    """The `next` link of a searchset, as the server wrote it; "" on the last page."""
    for link in bundle.get("link", []):
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return str(link["url"])
    return ""
