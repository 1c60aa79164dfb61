"""A small FHIR server for tests: Practitioner and PractitionerRole in memory, and habits to be cured of.

It answers through `httpx.MockTransport` (`transport`) or through real sockets on the loopback (`served`). A fault sees
each request first and may answer it itself; `after` may spoil an answer that the server has made already.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from hl7bridge.model import JsonObject, read_json, write_json
from tests.business import AGENT, improper

BASE = "https://fhir.example.org/r4"


@dataclass
class Asked:
    """A request as the server saw it. `target` is the request line's, byte for byte."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        return read_json(self.body)


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class LostReply(Exception):
    """The connection ends without an answer."""


Fault = Callable[[Asked], Answer | None]


def fhir(resource: JsonObject, status: int = 200, **headers: str) -> Answer:
    sent = {"content-type": "application/fhir+json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return Answer(status, sent, write_json(resource).encode())


def problem(status: int, code: str = "processing", severity: str = "error", **headers: str) -> Answer:
    issue = {"severity": severity, "code": code, "diagnostics": "CANARY-DIAGNOSTICS Okonkwo"}
    return fhir({"resourceType": "OperationOutcome", "issue": [issue]}, status, **headers)


def once(*answers: Any, when: str = "") -> Any:
    """A fault that answers the next requests of that kind ("PUT", "POST Practitioner") and is cured then."""
    left = list(answers)

    def fault(asked: Asked) -> Answer | None:
        if not left or not f"{asked.method} {asked.path.removeprefix('/r4/')}".startswith(when):
            return None
        answer = left.pop(0)
        if answer is LostReply:
            raise LostReply
        return answer  # type: ignore[no-any-return]

    return fault


class FakeFhir:
    """The server. `journal`: every request; `resources`: (type, id) -> the versions, newest last, None = deleted."""

    def __init__(self, base: str = BASE) -> None:
        self.base = base
        self.resources: dict[tuple[str, str], list[JsonObject | None]] = {}
        self.journal: list[Asked] = []
        self.faults: list[Fault] = []
        self.after: Callable[[Asked, Answer], Answer] = lambda asked, answer: answer
        self.page_size = 0
        self.conditional_create = True
        self.versions = True
        self.conflict_status = 412
        self.indexed: dict[tuple[str, str], JsonObject | None] = {}  # what searches see instead, None = nothing yet
        self.lock = threading.RLock()
        self.next_id = 0

    # --- seeding and looking -----------------------------------------------------------------------------------------

    def put(self, resource: JsonObject) -> JsonObject:
        """Seed or change a resource, as somebody else at the server would."""
        resource = json.loads(json.dumps(resource)) if not _has_numbers(resource) else dict(resource)
        resource.setdefault("id", self._new_id())
        versions = self.resources.setdefault((resource["resourceType"], resource["id"]), [])
        if self.versions:
            resource["meta"] = {**resource.get("meta", {}), "versionId": str(len(versions) + 1)}
        versions.append(resource)
        return resource

    def get(self, resource_type: str, resource_id: str) -> JsonObject:
        found = self.resources[resource_type, resource_id][-1]
        assert found is not None
        return found

    def only(self, resource_type: str) -> JsonObject:
        found = self.all(resource_type)
        assert len(found) == 1, f"{len(found)} {resource_type}"
        return found[0]

    def all(self, resource_type: str) -> list[JsonObject]:
        newest = (versions[-1] for (kind, _), versions in self.resources.items() if kind == resource_type)
        return [resource for resource in newest if resource is not None]

    def delete(self, resource_type: str, resource_id: str) -> None:
        self.resources[resource_type, resource_id].append(None)

    def methods(self) -> list[str]:
        """What was asked: "GET Practitioner/1", "GET Practitioner?", "POST Practitioner" ..."""
        prefix = urlsplit(self.base).path + "/"
        return [
            f"{asked.method} {asked.path.removeprefix(prefix)}{'?' if '?' in asked.target else ''}"
            for asked in self.journal
        ]

    def writes(self) -> list[Asked]:
        return [asked for asked in self.journal if asked.method in ("POST", "PUT") and "_search" not in asked.target]

    def _new_id(self) -> str:
        self.next_id += 1
        return f"e{self.next_id:03}.Ab-c"

    # --- answering ---------------------------------------------------------------------------------------------------

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("user-agent") == AGENT:
            prefix = urlsplit(self.base).path
            wrong = improper([f"{asked.method} {asked.target.removeprefix(prefix)}"])
            assert not wrong, wrong
        with self.lock:
            self.journal.append(asked)
            for fault in list(self.faults):
                spoiled = fault(asked)
                if spoiled is not None:
                    return spoiled
            return self.after(asked, self._answer(asked))

    def _answer(self, asked: Asked) -> Answer:
        prefix = urlsplit(self.base).path
        assert asked.path.startswith(prefix), asked.path
        parts = asked.path.removeprefix(prefix).strip("/").split("/")
        if parts == [""] or "page" in asked.query:
            return self._page(int(asked.query["page"]), asked.query["type"], asked.query["ids"].split("."))
        resource_type = parts[0]
        if asked.method == "GET" and len(parts) == 1:
            return self._search(resource_type, asked.query)
        if asked.method == "POST" and parts[1:] == ["_search"]:
            return self._search(resource_type, dict(parse_qsl(asked.body.decode())))
        if asked.method == "GET":
            return self._read(resource_type, parts[1])
        if asked.method == "POST":
            return self._create(resource_type, asked)
        if asked.method == "PUT":
            return self._update(resource_type, parts[1], asked)
        return problem(405, "not-supported")

    def _shown(self, resource: JsonObject, status: int = 200, **headers: str) -> Answer:
        if self.versions:
            headers["etag"] = f'W/"{resource["meta"]["versionId"]}"'
        return fhir(resource, status, **headers)

    def _read(self, resource_type: str, resource_id: str) -> Answer:
        versions = self.resources.get((resource_type, resource_id))
        if not versions:
            return problem(404, "not-found")
        return self._shown(versions[-1]) if versions[-1] is not None else problem(410, "deleted")

    def _matches(self, resource_type: str, query: dict[str, str]) -> list[JsonObject]:
        newest = {key: versions[-1] for key, versions in self.resources.items()} | self.indexed
        found = [one for (kind, _), one in newest.items() if kind == resource_type and one is not None]
        if "identifier" in query:
            wanted = {tuple(token.split("|")) for token in query["identifier"].split(",")}
            found = [
                one
                for one in found
                if any((i.get("system", ""), i.get("value", "").strip()) in wanted for i in one.get("identifier", []))
            ]
        if "practitioner" in query:
            references = {f"Practitioner/{one}" for one in query["practitioner"].split(",")}
            found = [one for one in found if one.get("practitioner", {}).get("reference") in references]
        return found

    def _search(self, resource_type: str, query: dict[str, str]) -> Answer:
        found = self._matches(resource_type, query)
        if self.page_size and len(found) > self.page_size:
            return self._page(
                0, resource_type, [str(n) for n, one in enumerate(self.all(resource_type)) if one in found]
            )
        return self._bundle(found, len(found))

    def _page(self, number: int, resource_type: str, places: list[str]) -> Answer:
        start = number * self.page_size
        everyone = self.all(resource_type)
        chosen = [everyone[int(place)] for place in places[start : start + self.page_size]]
        link = ""
        if start + self.page_size < len(places):
            # An opaque link, with characters that a client likes to encode anew.
            link = f"{self.base}?page={number + 1}&type={resource_type}&ids={'.'.join(places)}&session=a%2Fb|c,{{d}}"
        return self._bundle(chosen, len(places), link)

    def _bundle(self, found: list[JsonObject], total: int, link: str = "") -> Answer:
        entries: list[JsonObject] = [{"resource": one, "search": {"mode": "match"}} for one in found]
        links = [{"relation": "next", "url": link}] if link else []
        return fhir({"resourceType": "Bundle", "type": "searchset", "total": total, "entry": entries, "link": links})

    def _create(self, resource_type: str, asked: Asked) -> Answer:
        condition = asked.headers.get("if-none-exist")
        if condition and self.conditional_create:
            found = self._matches(resource_type, dict(parse_qsl(condition)))
            if len(found) > 1:
                return problem(412, "multiple-matches")
            if found:
                return self._shown(found[0], 200, location=f"{self.base}/{resource_type}/{found[0]['id']}")
        resource = self.put({key: value for key, value in asked.json.items() if key != "id"})
        location = f"{self.base}/{resource_type}/{resource['id']}/_history/1"
        return self._shown(resource, 201, location=location)

    def _update(self, resource_type: str, resource_id: str, asked: Asked) -> Answer:
        versions = self.resources.get((resource_type, resource_id))
        body = asked.json
        if not versions:
            return problem(404, "not-found")
        assert body["id"] == resource_id
        condition = asked.headers.get("if-match")
        if condition and versions[-1] and condition != f'W/"{versions[-1]["meta"]["versionId"]}"':
            return problem(self.conflict_status, "conflict")
        return self._shown(self.put(body))

    # --- reaching it -------------------------------------------------------------------------------------------------

    def transport(self) -> httpx.MockTransport:
        """Without sockets: for what sockets add nothing to."""

        def respond(request: httpx.Request) -> httpx.Response:
            target = request.extensions.get("target", request.url.raw_path).decode()
            asked = Asked(request.method, target, dict(request.headers), request.content)
            try:
                answer = self.answer(asked)
            except LostReply:
                raise httpx.ReadTimeout("lost") from None
            return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body))

        return httpx.MockTransport(respond)


def _has_numbers(resource: JsonObject) -> bool:
    try:
        json.dumps(resource)
    except TypeError:
        return True
    return False


@contextmanager
def served(answer: Callable[[Asked], Answer | None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Real sockets on the loopback; yields the origin, `http://127.0.0.1:port`. None, or LostReply, closes unanswered."""

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def _serve(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): text for name, text in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            try:
                given = answer(asked)
            except LostReply:
                given = None
            if given is None:
                self.close_connection = True
                return
            self.send_response(given.status)
            for name, text in given.headers.items():
                self.send_header(name, text)
            if "content-length" not in {name.lower() for name in given.headers}:
                self.send_header("content-length", str(len(given.body)))
            self.end_headers()
            try:
                self.wfile.write(given.body)
            except OSError:  # the client had enough of it
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that leaves in the middle is part of the test."""

    server = Server(("127.0.0.1", 0), Requests)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
