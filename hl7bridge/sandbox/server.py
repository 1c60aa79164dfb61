"""The sandbox put together: settings, and the way of a request through token, habits, faults and interaction."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hl7bridge.errors import ConfigError, Hl7BridgeError
from hl7bridge.model import JsonObject
from hl7bridge.sandbox.capabilities import capability_statement, smart_configuration
from hl7bridge.sandbox.fhir import Fhir, Incoming
from hl7bridge.sandbox.habits import Fault, Faults, Habits, Throttle
from hl7bridge.sandbox.interactions import OPEN, RESOURCE_TYPES
from hl7bridge.sandbox.journal import Entry, Journal
from hl7bridge.sandbox.oauth import Authorization, Client, TokenRefused, token_ended, token_error
from hl7bridge.sandbox.outcomes import Answer, Refused
from hl7bridge.sandbox.resources import Resources

BASE_PATH = "/fhir"
TOKEN_PATH = "/oauth2/token"  # noqa: S105
_LOG = logging.getLogger("hl7bridge.sandbox")
_HTML = "<html><body><h1>Service notice</h1><p>This page is not what you asked for.</p></body></html>"
_ISSUE_CODES = {
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    409: "conflict",
    410: "deleted",
    412: "conflict",
    422: "business-rule",
    428: "required",
    429: "throttled",
    501: "not-supported",
    503: "transient",
    504: "timeout",
}


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How a sandbox starts.

    auth        False: no access token is needed
    clients     who may ask for tokens
    data        a folder in which the resources are kept, for one process at a time; None = in memory
    journal     the file of the journal; None = the last 10,000 entries in memory
    base_url    FHIR base URL; "" = from the Host header of each request
    audience    what `aud` of an assertion must be; "" = the URL of the token endpoint
    habits, faults   see habits.py; both can be changed while it runs
    clock       Unix seconds
    """

    auth: bool = True
    clients: tuple[Client, ...] = ()
    data: Path | None = None
    journal: Path | None = None
    base_url: str = ""
    audience: str = ""
    habits: Habits = field(default_factory=Habits)
    faults: tuple[Fault, ...] = ()
    clock: Callable[[], float] = time.time


class ConnectionDropped(Hl7BridgeError):
    """The connection is to be closed without an answer: by RST ("reset") or FIN ("end")."""

    def __init__(self, close: str) -> None:
        super().__init__(close)
        self.close = close


class Sandbox:
    """A running sandbox. Thread-safe."""

    def __init__(self, settings: SandboxSettings) -> None:
        """Open the files. Raises OSError."""
        self.settings = settings
        self.habits = settings.habits
        self.faults = Faults(settings.faults)
        self.throttle = Throttle()
        self.journal = Journal(settings.journal, self.clock)
        self.resources = Resources(settings.data / "resources.jsonl" if settings.data else None, self.clock)
        self.journal.recover(self.resources.last_line)
        self.fhir = Fhir(self.resources)
        self.authorization = Authorization(settings.clients, self.clock)
        self._closing = threading.Event()

    def clock(self) -> float:
        """The server's clock, which may be wrong by habit."""
        return self.settings.clock() + self.habits.clock_offset

    # --- FHIR --------------------------------------------------------------------------------------------------------

    def exchange(self, incoming: Incoming) -> Answer:
        """Answer a request below the FHIR base. Raises ConnectionDropped."""
        entry = self._entry(incoming)
        try:
            answer = self._answer(incoming, entry)
        except Refused as refused:
            answer = refused.answer()
        except ConnectionDropped:
            entry.append(status=0, answered=False)
            raise
        except Exception as error:
            # A fault of our own; the text of the exception may hold what was sent.
            _LOG.error("internal error: %s", type(error).__name__)
            answer = Refused(500, "exception", "Internal error of the sandbox").answer()
        entry.append(status=answer.status)
        return answer

    def _answer(self, incoming: Incoming, entry: Entry) -> Answer:
        asked, habits = incoming.asked, self.habits
        if incoming.observer:
            return self._do(incoming, habits, None, entry)
        if self.settings.auth and asked.interaction not in OPEN:
            entry.fields["client"] = self.authorization.check(incoming.header("authorization"), asked)
        if habits.rate_limit and not self.throttle.allows(habits.rate_limit, self.settings.clock()):
            raise Refused(429, "throttled", "Too many requests")
        fault, seconds = self.faults.take(asked)
        self._wait(seconds)
        if fault is None:
            return self._do(incoming, habits, None, entry)
        entry.fields["fault"] = fault.kind
        if fault.kind == "lost-request":
            self._wait(fault.seconds)
            raise ConnectionDropped(fault.close)
        if fault.kind == "status" and not fault.done:
            return answer_by_fault(fault)
        if fault.kind == "error-outcome":
            return Answer(200, Refused(200, "exception", "It was not done").answer().body)
        if fault.kind == "status":
            entry.status = fault.status
        if fault.kind == "lost-reply":
            entry.fields["answered"] = False
        try:
            answer = self._do(incoming, habits, fault, entry)
        except Refused as refused:
            answer = refused.answer()
        if fault.kind == "lost-reply":
            entry.append(status=answer.status)
            self._wait(fault.seconds)
            raise ConnectionDropped(fault.close)
        if fault.kind == "status":
            return answer_by_fault(fault)
        if fault.kind == "empty-body" and answer.status < 400:
            answer.body = ""
            dropped = {name.lower() for name in fault.without}
            answer.headers = {name: text for name, text in answer.headers.items() if name.lower() not in dropped}
        return answer

    def _do(self, incoming: Incoming, habits: Habits, fault: Fault | None, entry: Entry) -> Answer:
        asked = incoming.asked
        if asked.interaction == "capabilities":
            token_url = self.token_url(incoming.base_url)
            return Answer.of(200, capability_statement(incoming.base_url, token_url, habits, self.settings.auth))
        if asked.interaction == "smart-configuration" and self.settings.auth:
            answer = Answer.of(200, smart_configuration(self.token_url(incoming.base_url)))
            answer.content_type = "application/json"
            return answer
        if asked.interaction in ("create", "update") and habits.writes_refused and not incoming.observer:
            code = _ISSUE_CODES[habits.writes_refused]
            raise Refused(habits.writes_refused, code, "This server does not take writes")
        return self.fhir.answer(incoming, habits, fault, entry)

    def refuse(self, incoming: Incoming, refused: Refused) -> Answer:
        """Answer a request that is refused before it is known what it asks for."""
        self._entry(incoming).append(status=refused.status)
        return refused.answer()

    def _entry(self, incoming: Incoming) -> Entry:
        """The journal's entry for this request, with what is known at the start."""
        asked = incoming.asked
        entry = Entry(
            self.journal,
            method=incoming.method,
            path=incoming.path,
            interaction=asked.interaction,
            type=asked.resource_type,
            id=asked.resource_id,
            version="",
            changed=False,
            client="observer" if incoming.observer else "",
            agent=incoming.header("user-agent"),
            with_token="authorization" in incoming.headers,
            request_id=incoming.header("x-request-id"),
        )
        if "if-match" in incoming.headers:
            entry.fields["if_match"] = incoming.headers["if-match"]
        if "if-none-exist" in incoming.headers:
            entry.fields["conditional"] = True
        if incoming.pairs:
            entry.fields["parameters"] = sorted({name.partition(":")[0] for name, _ in incoming.pairs})
        return entry

    def _wait(self, seconds: float) -> None:
        """Wait; a sandbox that closes does not."""
        if seconds:
            self._closing.wait(seconds)

    # --- OAuth -------------------------------------------------------------------------------------------------------

    def token_url(self, base_url: str) -> str:
        """The URL of the token endpoint beside this FHIR base URL."""
        return base_url.removesuffix(BASE_PATH) + TOKEN_PATH

    def token(self, incoming: Incoming, form: Mapping[str, str]) -> Answer:
        """Answer a request to the token endpoint. Raises ConnectionDropped."""
        entry = self._entry(incoming)
        fault, seconds = self.faults.take(incoming.asked)
        self._wait(seconds)
        if fault is not None:
            entry.fields["fault"] = fault.kind
            if fault.kind != "status":
                self._wait(fault.seconds)
                entry.append(status=0, answered=False)
                raise ConnectionDropped(fault.close)
            answer = answer_by_fault(fault)
        else:
            answer = self._give_token(incoming, form, entry)
        entry.append(status=answer.status)
        return answer

    def _give_token(self, incoming: Incoming, form: Mapping[str, str], entry: Entry) -> Answer:
        audience = self.settings.audience or self.token_url(incoming.base_url)
        try:
            entry.fields["client"], answer = self.authorization.token(form, audience, self.habits.expires_in)
            return answer
        except TokenRefused as error:
            refused = error
        except ConfigError as error:
            _LOG.error("%s", error)
            refused = TokenRefused("server_error", "The registered key set cannot be read", 500)
        entry.fields |= {"error": refused.error, "reason": str(refused)}
        return token_error(refused, self.habits)

    # --- levers ------------------------------------------------------------------------------------------------------

    def state(self, with_resources: bool = False) -> JsonObject:
        """What the sandbox holds: counts, the last sequence of the journal, habits and waiting faults."""
        found: JsonObject = {
            "sequence": self.journal.sequence,
            "counts": self.resources.counts(),
            "habits": self.habits.as_json(),
            "faults": self.faults.as_json(),
        }
        if with_resources:
            found["resources"] = {kind: self.resources.all(kind) for kind in RESOURCE_TYPES}
        return found

    def reset(self) -> None:
        """Forget resources, tokens, pages and faults; habits are those of the start. The journal goes on."""
        self.faults.clear()
        self.faults.add(*self.settings.faults)
        self.habits = self.settings.habits
        self.authorization.clear()
        self.fhir.pages.clear()
        self.resources.clear(lambda: self.journal.append({"interaction": "reset", "type": "", "id": "", "status": 0}))

    def end_waits(self) -> None:
        """Let requests that wait by habit go on now, and later ones not wait at all."""
        self._closing.set()

    def close(self) -> None:
        """End waits and close the files."""
        self.end_waits()
        self.resources.close()
        self.journal.close()


def answer_by_fault(fault: Fault) -> Answer:
    """The answer of a "status" fault."""
    headers = {}
    if fault.retry_after:
        headers["Retry-After"] = fault.retry_after
    if fault.location:
        headers["Location"] = fault.location
    if fault.error:
        answer = Answer.of(fault.status, {"error": fault.error, "error_description": None}, headers)
        answer.content_type = "application/json"
        return answer
    if fault.body == "empty":
        return Answer(fault.status, "", headers)
    if fault.body == "html":
        return Answer(fault.status, _HTML, headers, "text/html;charset=utf-8")
    if fault.status == 401:
        refused = token_ended()
    else:
        refused = Refused(fault.status, _ISSUE_CODES.get(fault.status, "exception"), "Answered so by a habit")
    answer = refused.answer()
    answer.headers |= headers
    return answer
