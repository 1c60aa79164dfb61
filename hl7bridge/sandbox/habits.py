"""The habits of servers in the field: lasting ones (`Habits`) and faults that strike chosen requests (`Fault`).

A lasting habit is a switch: `writes_refused=405`. A fault waits for requests that it matches and strikes a number of
times: "the next three writes answer 503" is `Fault("status", on=("write",), status=503, times=3)`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

from hl7bridge.errors import ConfigError
from hl7bridge.sandbox.interactions import INTERACTIONS, READS, WRITES, Asked


@dataclass(frozen=True, slots=True)
class Habits:
    """Lasting habits of the server.

    id_style              "number" (from 1000, as HAPI), "opaque" (24 characters, as Epic), "long" (more than FHIR's 64)
    page_size, page_limit entries on a page when `_count` is absent, and at most
    unknown_parameters    "refuse" (400) or "ignore" (warning in the bundle); `Prefer: handling=lenient` also ignores
    ignored_parameters    search parameters that are ignored without a word
    writes_refused        0, or the status (403, 405, 501) that each create and update gets
    version_conflict      the status for a stale If-Match: 409 (HAPI, Aidbox) or 412 (Azure, FHIR's text)
    if_match_required     an update without If-Match is answered 428
    versioned             False: no ETag, no versionId, If-Match is not looked at
    unchanged_makes_version  a PUT of the same content makes a version
    update_creates        a PUT of an unknown id creates it
    conditional_create    "on", "ignored" (the header has no effect), "refused" (412)
    rate_limit            requests a second; more are answered 429 without Retry-After; 0 = no limit
    explains_token_errors  False: as Epic, the token endpoint's refusals carry no description
    expires_in            seconds that an access token lives
    clock_offset          seconds that the server's clock is ahead
    """

    id_style: str = "number"
    page_size: int = 10
    page_limit: int = 50
    unknown_parameters: str = "refuse"
    ignored_parameters: tuple[str, ...] = ()
    writes_refused: int = 0
    version_conflict: int = 409
    if_match_required: bool = False
    versioned: bool = True
    unchanged_makes_version: bool = False
    update_creates: bool = False
    conditional_create: str = "on"
    rate_limit: float = 0.0
    explains_token_errors: bool = True
    expires_in: int = 300
    clock_offset: float = 0.0

    def changed(self, settings: Mapping[str, Any]) -> Habits:
        """These habits with some set anew; values may be JSON values or text. Raises ConfigError."""
        values: dict[str, Any] = {}
        for name, value in settings.items():
            if name not in _DEFAULTS:
                raise ConfigError("no such habit", key=name, advice=f"Habits are: {', '.join(_DEFAULTS)}")
            values[name] = _read_value(name, value, _DEFAULTS[name])
        return replace(self, **values)

    def as_json(self) -> dict[str, Any]:
        """Name -> value."""
        return {name: getattr(self, name) for name in _DEFAULTS}


_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(Habits)}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "id_style": ("number", "opaque", "long"),
    "unknown_parameters": ("refuse", "ignore"),
    "writes_refused": (0, 403, 405, 501),
    "version_conflict": (409, 412),
    "conditional_create": ("on", "ignored", "refused"),
}

PROFILES: dict[str, Habits] = {
    "plain": Habits(),
    "epic": Habits(
        id_style="opaque", unknown_parameters="ignore", writes_refused=405, explains_token_errors=False, expires_in=3600
    ),
}


FAULTS: dict[str, str] = {
    "status": "answers `status` with `body` outcome, empty or html; `done`: after doing what was asked",
    "latency": "waits `seconds`, then goes on",
    "lost-request": "nothing is done and the connection closes without an answer, after `seconds`",
    "lost-reply": "it is done and the connection closes without an answer, after `seconds`",
    "no-change": "a write has no effect, yet is answered as if it had; `echo`: with the resource as sent",
    "empty-body": "it is done, the answer has no body, nor the headers named in `without`",
    "error-outcome": "nothing is done, the answer is 200 with an OperationOutcome that says error",
    "evil-next": "the bundle's next link leads to `origin`",
    "looping-next": "the bundle's next link leads to the same page",
    "expired-next": "the bundle's next link leads to a page that is gone (410)",
    "ignored-parameters": "the search ignores `parameters`",
    "empty-search": "the search finds nothing",
}
_GROUPS = {"write": frozenset({"create", "update"}), "fetch": READS, "any": WRITES | READS}
_USUALLY_ON = {
    "no-change": "write",
    "empty-body": "write",
    "evil-next": "search",
    "looping-next": "search",
    "expired-next": "search",
    "ignored-parameters": "search",
    "empty-search": "search",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and the requests that it strikes.

    kind        one of `FAULTS`
    on          interactions, or groups: "write" (create, update), "fetch" (read, vread, history, search), "any"
                (not token, capabilities); () = what is usual for the kind, else "any"
    type, id    only requests for this resource type, this id; "" = each
    times       strikes that often, 0 = until cleared
    skip        lets that many matching requests pass first
    every       strikes each n-th of the rest
    status, retry_after, location, body, done, error   for "status" (`error`: the OAuth error code at the token endpoint)
    seconds     for "latency", "lost-request", "lost-reply"
    close       "reset" (RST) or "end" (FIN), for "lost-request" and "lost-reply"
    """

    kind: str
    on: tuple[str, ...] = ()
    type: str = ""
    id: str = ""
    times: int = 0
    skip: int = 0
    every: int = 1
    status: int = 503
    retry_after: str = ""
    location: str = ""
    body: str = "outcome"
    done: bool = False
    error: str = ""
    seconds: float = 0.0
    close: str = "reset"
    echo: bool = False
    without: tuple[str, ...] = ()
    origin: str = "http://127.0.0.1:9"
    parameters: tuple[str, ...] = ("identifier",)

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Fault:
        """Read a JSON object. Raises ConfigError for an unknown kind, name or value."""
        kind = read.get("kind")
        if kind not in FAULTS:
            raise ConfigError("no such fault", key="kind", advice=f"Faults are: {', '.join(FAULTS)}")
        values: dict[str, Any] = {"kind": kind}
        for name, value in read.items():
            if name not in _FAULT_DEFAULTS:
                raise ConfigError("a fault has no such field", key=name)
            if name != "kind":
                values[name] = _read_value(name, value, _FAULT_DEFAULTS[name])
        for word in values.get("on", ()):
            if word not in INTERACTIONS and word not in _GROUPS:
                raise ConfigError("not an interaction", key="on", advice=f"Use one of {', '.join(sorted(_ON_WORDS))}")
        return cls(**values)

    def matches(self, asked: Asked) -> bool:
        """Whether the request is one of those that this fault strikes."""
        if (self.type and self.type != asked.resource_type) or (self.id and self.id != asked.resource_id):
            return False
        words = self.on or (_USUALLY_ON.get(self.kind, "any"),)
        return any(asked.interaction == word or asked.interaction in _GROUPS.get(word, ()) for word in words)

    def as_json(self) -> dict[str, Any]:
        """The fields that differ from their default."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name == "kind" or getattr(self, item.name) != item.default
        }


_FAULT_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(Fault)}
_ON_WORDS = INTERACTIONS | _GROUPS.keys()
_CHOICES |= {"body": ("outcome", "empty", "html"), "close": ("reset", "end")}


def _read_value(name: str, value: Any, default: Any) -> Any:
    """`value`, a JSON value or text, as the type of `default`."""
    try:
        read = _converted(value, default)
    except ValueError:
        raise ConfigError(f"not {_TYPE_NAMES[type(default)]}", key=name) from None
    choices = _CHOICES.get(name)
    if choices and read not in choices:
        raise ConfigError("not a value that it can have", key=name, advice=f"Use one of {', '.join(map(str, choices))}")
    if isinstance(read, (int, float)) and read < 0 and name != "clock_offset":
        raise ConfigError("below zero", key=name)
    if read == 0 and name in ("every", "page_size", "page_limit", "expires_in"):
        raise ConfigError("must be 1 at least", key=name)
    return read


_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list"}


def _converted(value: Any, default: Any) -> Any:
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        if str(value).lower() not in ("true", "false"):
            raise ValueError
        return str(value).lower() == "true"
    if isinstance(default, tuple):
        if not isinstance(value, (str, list, tuple)):
            raise ValueError
        return tuple(value.split(",")) if isinstance(value, str) else tuple(map(str, value))
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError
    return type(default)(value)


class Faults:
    """The faults that wait, in the order in which they were added. Thread-safe."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._waiting += [_Waiting(fault) for fault in faults]

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, asked: Asked) -> tuple[Fault | None, float]:
        """The fault that strikes this request, if any, and the seconds of latency before it.

        Latencies add up; of the others the first that strikes is taken, and only its count goes down.
        """
        with self._lock:
            struck: Fault | None = None
            seconds = 0.0
            for waiting in self._waiting:
                fault = waiting.fault
                if (fault.kind != "latency" and struck is not None) or not fault.matches(asked):
                    continue
                if waiting.strikes():
                    if fault.kind == "latency":
                        seconds += fault.seconds
                    else:
                        struck = fault
            self._waiting = [waiting for waiting in self._waiting if not waiting.spent]
            return struck, seconds

    def as_json(self) -> list[dict[str, Any]]:
        """Each waiting fault, `struck` saying how often it struck."""
        with self._lock:
            return [{**waiting.fault.as_json(), "struck": waiting.struck} for waiting in self._waiting]


@dataclass(slots=True)
class _Waiting:
    fault: Fault
    seen: int = 0
    struck: int = 0

    def strikes(self) -> bool:
        """Count a matching request; whether the fault strikes it."""
        self.seen += 1
        turn = self.seen - self.fault.skip
        if turn <= 0 or turn % self.fault.every:
            return False
        self.struck += 1
        return True

    @property
    def spent(self) -> bool:
        return bool(self.fault.times) and self.struck >= self.fault.times


class Throttle:
    """Lets a number of requests a second through. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = 0.0
        self._filled: float | None = None

    def allows(self, rate: float, now: float) -> bool:
        """Whether one more request may pass at `now` (seconds); up to one second's worth may come at once."""
        with self._lock:
            most = max(1.0, rate)
            if self._filled is None:
                self._tokens = most
            else:
                self._tokens = min(most, self._tokens + max(0.0, now - self._filled) * rate)
            self._filled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
