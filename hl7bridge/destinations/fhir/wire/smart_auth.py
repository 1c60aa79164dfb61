"""SMART Backend Services (SMART App Launch 2.x, "Backend Services") as an `httpx.Auth`.

A signed assertion buys an access token; the token goes to the destination's own origin and nowhere else. It lives in
memory only, is never decoded, and is in no text, log or exception. However many threads ask, one fetches.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt

from hl7bridge.destinations.fhir.rules import SmartRules, checked_url, origin
from hl7bridge.destinations.fhir.wire.bodies import TooLarge, Undecodable, decoded
from hl7bridge.destinations.fhir.wire.network import Network
from hl7bridge.destinations.fhir.wire.strict_json import read_strictly
from hl7bridge.destinations.keys import SigningKey
from hl7bridge.destinations.policy import REPORT
from hl7bridge.errors import ConfigError, TokenError

CLOCK_SLACK = 10  # seconds that iat and nbf lie back: a server whose clock is behind must not see them in its future
ASSERTION_LIFE = 250  # seconds from iat to exp; servers refuse more than 300
DEFAULT_LIFE = 300.0  # seconds, where the server does not say expires_in
MAX_BODY = 1024 * 1024
RESOURCES = ("Practitioner", "PractitionerRole")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_OAUTH_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)  # RFC 6749, 5.2


@dataclass(frozen=True, slots=True)
class Discovery:
    """What `.well-known/smart-configuration` says, as far as it is of use."""

    token_endpoint: str
    capabilities: frozenset[str] = frozenset()
    grant_types: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Token:
    """An access token. `expires` and `renew_from` are monotonic seconds. `scope`: what was granted, None = not said."""

    access_token: str = field(repr=False)
    expires: float
    renew_from: float
    scope: str | None = None


def needed_scopes(mode: str, capabilities: frozenset[str] = frozenset(), verbs: str = "cu") -> tuple[str, ...]:
    """The least that the mode needs; a destination in report mode never asks to write.

    SMART v2 form (`.rs`, `.cu`) where the server takes that alone, else the v1 form (`.read`, `.write`), which cannot tell
    apart what is written: `verbs`, "c" to create, "u" to update.
    """
    only_v2 = "permission-v2" in capabilities and "permission-v1" not in capabilities
    reading, writing = ("rs", verbs) if only_v2 else ("read", "write")
    asked = (reading,) if mode == REPORT or not verbs else (reading, writing)
    return tuple(f"system/{resource}.{verb}" for resource in RESOURCES for verb in asked)


class TokenSource:
    """Gets and keeps the access token of one destination. Safe for threads.

    kept       reads the key again from where it is kept, before each token request: a key that was replaced there is used
               from then on; where it raises ConfigError (it is being replaced just now), the last one is
    transport  replaces the network (tests); clock  monotonic seconds; now  Unix seconds, for the assertion's times
    Raises ConfigError for a `ca_file` that cannot be read.
    """

    def __init__(
        self,
        rules: SmartRules,
        key: SigningKey,
        *,
        kept: Callable[[], SigningKey] | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rules, self._key, self._clock, self._now = rules, key, clock, now
        self._kept = kept
        self._http = httpx.Client(
            transport=transport or Network(rules, clock=clock),
            timeout=rules.timeout,
            follow_redirects=False,
            trust_env=False,
            headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "hl7bridge"},
        )
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._discovery: Discovery | None = None
        self._fetches = 0
        self._failure: TokenError | None = None

    def __repr__(self) -> str:
        return f"TokenSource(client_id={self.rules.client_id!r}, kid={self._key.kid!r})"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def token(self, refused: Token | None = None) -> Token:
        """A token that has not expired, and is not the one that the server `refused`. Raises TokenError.

        Near its end one caller fetches the next while the others go on with the old one; without a usable one all wait
        for that caller, and share its success or its failure. A refused one is replaced when there is a next one: the server
        may have refused it for one person alone, and the others go on.
        """
        current = self._token
        now = self._clock()
        if current is not None and current is not refused and now < current.renew_from:
            return current
        if current is not None and current is not refused and now < current.expires:
            if not self._lock.acquire(blocking=False):
                return current
            try:
                return self._fetched() if self._token is current else self._token or current
            except TokenError:
                return current  # it is good for a while yet; the next caller tries again
            finally:
                self._lock.release()
        seen = self._fetches
        with self._lock:
            current = self._token
            if current is not None and current is not refused and self._clock() < current.expires:
                return current
            if self._fetches != seen and self._failure is not None:
                failed = self._failure  # someone tried while we waited for the lock
                raise TokenError(
                    str(failed), permanent=failed.permanent, status=failed.status, code=failed.code, hint=failed.hint,
                    explanation=failed.explanation,
                )  # fmt: skip
            return self._fetched()

    def discover(self) -> Discovery:
        """The SMART configuration, read once. Raises TokenError: not there, unreadable, or a token endpoint elsewhere."""
        if self._discovery is None:
            self._discovery = Discovery(self.rules.token_url) if self.rules.token_url else self._discovered()
        return self._discovery

    def scopes(self) -> tuple[str, ...]:
        """What to ask for. Raises TokenError where that needs discovery and it fails."""
        return self.rules.scopes or needed_scopes(self.rules.mode, self.discover().capabilities, self.rules.verbs)

    def missing_scopes(self, granted: str | None) -> tuple[str, ...]:
        """The scopes asked for that the server did not grant; () where it did not say what it granted (RFC 6749, 5.1). ""
        says that it granted none."""
        return () if granted is None else tuple(scope for scope in self.scopes() if scope not in granted.split())

    def assertion(self, audience: str) -> str:
        """A new signed assertion (RFC 7523): one use, four minutes."""
        issued = int(self._now()) - CLOCK_SLACK
        claims = {
            "iss": self.rules.client_id,
            "sub": self.rules.client_id,
            "aud": audience,
            "iat": issued,
            "nbf": issued,
            "exp": issued + ASSERTION_LIFE,
            "jti": str(uuid.uuid4()),
        }
        headers = {"kid": self.rules.key_id or self._key.kid, "typ": "JWT"}
        return jwt.encode(claims, self._key.private, algorithm=self._key.algorithm, headers=headers)

    # --- with the lock held ------------------------------------------------------------------------------------------

    def _fetched(self) -> Token:
        self._fetches += 1
        try:
            self._token, self._failure = self._fetch(), None
        except TokenError as error:
            self._failure = error
            if not error.permanent or error.status in (404, 405, 410):
                self._discovery = None  # the endpoint may have moved
            raise
        return self._token

    def _fetch(self) -> Token:
        endpoint = self.discover().token_endpoint
        self._look_for_another_key()
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(self.scopes()),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(self.rules.audience or endpoint),
        }
        asked = self._clock()
        status, read = self._ask("POST", endpoint, form, "the token endpoint")
        if status != 200:
            raise _refusal(status, read)
        access_token, kind = read.get("access_token"), read.get("token_type")
        usable = isinstance(access_token, str) and access_token.isascii() and access_token.isprintable()
        if not usable or not access_token or " " in access_token:
            raise TokenError("the token endpoint answered without a usable token", permanent=False, status=status)
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise TokenError("the token endpoint gave a token that is no bearer token", permanent=True, status=status)
        life = _seconds(read.get("expires_in"))
        margin = min(max(60.0, life / 10), life / 2)  # a short-lived token is used for half its life
        scope = read.get("scope")
        return Token(access_token, asked + life, asked + life - margin, scope if isinstance(scope, str) else None)

    def _look_for_another_key(self) -> None:
        if self._kept is not None:
            try:
                self._key = self._kept()
            except ConfigError:
                pass  # a file that is being replaced; what is wrong with it, `check` and `doctor` say

    def _discovered(self) -> Discovery:
        url = self.rules.base_url.rstrip("/") + "/.well-known/smart-configuration"
        status, read = self._ask("GET", url, None, "the SMART configuration")
        if status != 200:
            permanent = 300 <= status < 500 and status not in (408, 425, 429)
            raise TokenError(f"the SMART configuration answered HTTP {status}", permanent=permanent, status=status)
        endpoint = read.get("token_endpoint")
        if not isinstance(endpoint, str) or not endpoint:
            raise TokenError("the SMART configuration names no token endpoint", permanent=True)
        try:
            parsed = checked_url(endpoint, "token_endpoint")
        except ConfigError:
            raise TokenError("the SMART configuration names an unacceptable token endpoint", permanent=True) from None
        allowed = origin(parsed) == origin(self.rules.base_url) or (
            parsed.scheme == "https" and parsed.netloc.decode("ascii") in self.rules.token_hosts
        )
        if not allowed:
            raise TokenError(
                "the SMART configuration names a token endpoint on another host; allow it in token_hosts",
                permanent=True,
            )
        words = (_words(read.get(name)) for name in ("capabilities", "grant_types_supported", "scopes_supported"))
        return Discovery(endpoint, *words)

    def _ask(self, method: str, url: str, form: dict[str, str] | None, what: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON object ({} when it is none). Raises TokenError when there is no answer."""
        try:
            with self._http.stream(method, url, data=form) as response:
                encoding = response.headers.get("content-encoding", "")
                assert isinstance(response.stream, httpx.SyncByteStream)
                body = b"".join(decoded(response.stream, encoding, MAX_BODY))
        except TooLarge:
            raise TokenError(f"{what} answered with too much", permanent=False) from None
        except Undecodable:
            raise TokenError(f"{what} answered in a form that cannot be read", permanent=False) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = "does not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
            raise TokenError(f"{what} {reason}", permanent=False) from None
        try:
            read = read_strictly(body)
        except (ValueError, RecursionError):
            read = {}
        return response.status_code, read if isinstance(read, dict) else {}


class BackendServicesAuth(httpx.Auth):
    """Adds the access token to each request for the destination's own origin.

    401: the request is sent once more with a new token; a second 401 stands. 403 asks for no new
    token: a policy answers that, not an expiry. Raises TokenError, before anything is sent.
    """

    def __init__(self, source: TokenSource) -> None:
        self.source = source
        self._origin = origin(source.rules.base_url)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth."""
        if origin(request.url) != self._origin:
            raise TokenError("a request to another origin gets no token", permanent=True)
        token = self.source.token()
        request.headers["authorization"] = f"Bearer {token.access_token}"
        response = yield request
        if response.status_code == 401:
            token = self.source.token(refused=token)
            request.headers["authorization"] = f"Bearer {token.access_token}"
            yield request


def _refusal(status: int, read: dict[str, Any]) -> TokenError:
    """Why the token endpoint gave none. 4xx but 408, 425 and 429 is a matter of configuration."""
    permanent = 300 <= status < 500 and status not in (408, 425, 429)
    error = read.get("error")
    code = error if isinstance(error, str) and error in _OAUTH_ERRORS else ""
    text = f"the token endpoint answered HTTP {status}" + (f", {code}" if code else "")
    said = read.get("error_description")
    hint, words = hint_of(said), explanation_in(said)
    return TokenError(text, permanent=permanent, status=status, code=code, hint=hint, explanation=words)


# Words of refusals -> what they are about; the first that is found counts.
_HINTS = (
    ("audience", r"\baud(ience)?\b"),
    (
        "clock",
        r"\b(exp|iat|nbf)\b|expir|in the future|not yet valid|clock|too (old|late|early)|too long ago|issued (at|before)",
    ),
    ("scope", r"\bscopes?\b"),
    ("key", r"\bkid\b|\bkeys?\b|jwks|signature|\balg\b|algorithm"),
    ("client", r"\biss\b|\bsub\b|issuer|client[ _]?id|unknown client|not registered|not a registered"),
)


def hint_of(description: Any) -> str:
    """What a server's explanation is about. Its text goes no further: it may repeat the assertion."""
    text = description.lower()[:1000] if isinstance(description, str) else ""
    return next((about for about, words in _HINTS if re.search(words, text)), "")


def explanation_in(description: Any) -> str:
    """A server's explanation for somebody at a terminal: one short line without control characters, and without anything
    that could be a token, an assertion or a key."""
    if not isinstance(description, str):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in description[:2000]).split())
    return re.sub(r"[\w+/=-]{12,}(\.[\w+/=-]+){2,}|[\w+/=-]{40,}", "[left out]", line)[:200]


def _seconds(value: Any) -> float:
    """expires_in: a number, in some servers as text. Nothing usable = `DEFAULT_LIFE`."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_LIFE
    return min(max(seconds, 0.0), 86400.0) if seconds == seconds else DEFAULT_LIFE


def _words(value: Any) -> frozenset[str]:
    return frozenset(word for word in value if isinstance(word, str)) if isinstance(value, list) else frozenset()
