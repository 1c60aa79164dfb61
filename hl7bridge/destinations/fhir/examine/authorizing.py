"""Gets an access token, and where it is refused finds out why, as far as a server lets itself be asked.

Token endpoints hardly ever say what they refuse for. What differs between the causes can be tried: an assertion timed by
the server's clock, another audience, each scope by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from hl7bridge.destinations.examining import State
from hl7bridge.destinations.fhir.examine.reach import Observed, Watching
from hl7bridge.destinations.fhir.rules import SmartRules
from hl7bridge.destinations.fhir.wire.network import Network
from hl7bridge.destinations.fhir.wire.smart_auth import CLOCK_SLACK, RESOURCES, TokenSource
from hl7bridge.destinations.keys import SigningKey
from hl7bridge.errors import TokenError

OLDEST_TAKEN = 60  # seconds; some servers refuse an assertion whose iat is older (Keycloak does), whatever its exp says
CLOCKS_AGREE = 3.0  # seconds; HTTP's Date has whole ones


class TokenTrial:
    """Gets a token; where it is refused, tries what could be behind it, until one thing is proven.

    Each try is one more request to the token endpoint with another assertion of ours; what it grants is thrown away.
    """

    def __init__(self, rules: SmartRules, key: SigningKey, skew: float | None, now: Callable[[], float]) -> None:
        self._rules, self._key, self._skew, self._now = rules, key, skew, now
        self.source: TokenSource | None = None

    def checks(self) -> Iterator[Observed]:
        """One check for the token, one for its scopes; `source` is there afterwards where a token was granted."""
        source = self._source(self._rules, self._now)
        try:
            granted = source.token()
        except TokenError as error:
            yield self._refused(source, error)
            source.close()
            return
        self.source = source
        seconds = round(granted.expires - time.monotonic())
        yield Observed("token", State.OK, "token", {"seconds": seconds, "endpoint": source.discover().token_endpoint})
        yield self._scopes(source, granted.scope)

    def _source(self, rules: SmartRules, now: Callable[[], float]) -> TokenSource:
        self._watching = Watching(Network(rules), self._now, token_requests=True)
        return TokenSource(rules, self._key, transport=self._watching, now=now)

    def _scopes(self, source: TokenSource, said: str | None) -> Observed:
        asked = source.scopes()
        needed = self._needed(source)
        granted = asked if said is None else tuple(said.split())  # RFC 6749, 5.1: not said = as asked
        missing = tuple(scope for scope in needed if not covered(scope, granted))
        facts = {"needed": " ".join(needed), "granted": " ".join(granted) or "none", "missing": " ".join(missing)}
        if missing:
            left_out = not all(covered(scope, asked) for scope in missing)
            return Observed("scopes", State.PROBLEM, "scopes-not-asked" if left_out else "scopes-missing", facts)
        if wide := " ".join(too_wide(needed, granted)):
            return Observed("scopes", State.WARNING, "scopes-too-wide", facts | {"more": wide})
        more = " ".join(scope for scope in granted if _writes(scope) and not any(_writes(one) for one in needed))
        if more:
            return Observed("scopes", State.WARNING, "scopes-too-many", facts | {"more": more})
        return Observed("scopes", State.OK, "scopes", facts)

    def _needed(self, source: TokenSource) -> tuple[str, ...]:
        """What the destination's mode needs, whatever `auth.scopes` says."""
        if not self._rules.scopes:
            return source.scopes()
        plain = self._source(replace(self._rules, scopes=()), self._now)
        try:
            return plain.scopes()
        except TokenError:
            return self._rules.scopes
        finally:
            plain.close()

    # -- why not --

    def _refused(self, source: TokenSource, error: TokenError) -> Observed:
        skew = self._watching.skew if self._watching.skew is not None else self._skew
        facts: dict[str, Any] = {"status": error.status, "error": error.code or "no error code", "said": str(error)}
        facts |= {"client_id": self._rules.client_id, "kid": self._rules.key_id or self._key.kid, "others": ()}
        facts |= {
            "explanation": error.explanation,
            "skew": round(skew or 0),
            "audience": self._rules.audience or self._rules.token_url,
        }
        simple = simple_cause(error)
        if simple:
            return Observed("token", State.PROBLEM, simple, facts)
        endpoint = source.discover().token_endpoint
        facts["audience"] = self._rules.audience or endpoint
        if error.code == "invalid_scope" or error.hint == "scope":
            return Observed("token", State.PROBLEM, "token-scope", facts | self._scopes_alone(source, endpoint))
        outside = skew is not None and not -CLOCK_SLACK < skew < OLDEST_TAKEN - CLOCK_SLACK
        differ = skew is not None and abs(skew) > CLOCKS_AGREE
        there = (lambda: self._now() + (skew or 0)) if differ else self._now
        rules = replace(self._rules, token_url=endpoint)
        if differ and self._grants(rules, there):  # whatever it says: many explain nothing, or something else
            return Observed("token", State.PROBLEM, "token-clock", facts)
        if error.hint in ("", "audience"):
            for audience in audiences(self._rules, endpoint, self._discovered()):
                if self._grants(replace(rules, audience=audience), there):
                    return Observed("token", State.PROBLEM, "token-audience", facts | {"expected": audience})
        first, *others = likely(error.hint, outside)
        facts |= {"others": tuple(others), "tried": not error.hint}
        return Observed("token", State.PROBLEM, f"token-perhaps-{first}", facts)

    def _grants(self, rules: SmartRules, now: Callable[[], float]) -> bool:
        source = self._source(rules, now)
        try:
            source.token()
        except TokenError:
            return False
        finally:
            source.close()
        return True

    def _scopes_alone(self, source: TokenSource, endpoint: str) -> dict[str, Any]:
        """Which of the scopes are granted when each is asked for by itself."""
        rules = replace(self._rules, token_url=endpoint)
        asked = source.scopes()
        granted = [scope for scope in asked if self._grants(replace(rules, scopes=(scope,)), self._now)]
        missing = " ".join(scope for scope in asked if scope not in granted)
        return {"granted": " ".join(granted) or "none", "missing": missing, "needed": " ".join(asked)}

    def _discovered(self) -> str:
        """The token endpoint that the server names itself, "" where it names none."""
        source = self._source(replace(self._rules, token_url=""), self._now)
        try:
            return source.discover().token_endpoint
        except TokenError:
            return ""
        finally:
            source.close()


def simple_cause(error: TokenError) -> str:
    """What the status alone tells; "" for a refusal that may have several causes."""
    if not error.status:
        return "token-address" if error.permanent else "token-unreachable"
    if error.status in (404, 405, 410) or 300 <= error.status < 400 or "configuration" in str(error):
        return "token-address"
    if error.status in (408, 425, 429) or error.status >= 500:
        return "token-later"
    return "" if error.status >= 400 else "token-unusable"


def likely(hint: str, clock_outside: bool) -> tuple[str, ...]:
    """What may be behind a refusal that does not explain itself, most likely first.

    The clock and the audience were tried already; they stay on the list for servers that refuse for two reasons at once.
    """
    order = ["client", "key", "inactive", "audience"]
    if clock_outside:
        order.insert(0, "clock")
    if hint in order or hint == "clock":
        order = [hint, *(one for one in order if one != hint)]
    return tuple(order)


def audiences(rules: SmartRules, endpoint: str, discovered: str) -> tuple[str, ...]:
    """What a server may want as `aud` instead of what we send."""
    base = rules.base_url.rstrip("/")
    slashed = endpoint.removesuffix("/") if endpoint.endswith("/") else endpoint + "/"
    candidates = (endpoint, discovered, base, base + "/", slashed)
    return tuple(dict.fromkeys(one for one in candidates if one and one != (rules.audience or endpoint)))


_LETTERS = {"read": "rs", "write": "cud", "*": "cruds"}


def _parsed(scope: str) -> tuple[str, frozenset[str]]:
    kind, _, verbs = scope.partition("?")[0].removeprefix("system/").partition(".")
    return kind, frozenset(_LETTERS.get(verbs, verbs))


def _writes(scope: str) -> bool:
    return scope.startswith("system/") and bool(_parsed(scope)[1] & frozenset("cud"))


def too_wide(needed: tuple[str, ...], granted: tuple[str, ...]) -> tuple[str, ...]:
    """Granted scopes that allow far more than is needed: other resource types, or to delete. A v1 `write` cannot leave out
    deleting, and is not meant."""
    kinds = frozenset(RESOURCES)
    return tuple(
        scope
        for scope in granted
        if scope not in needed and "/" in scope
        and (not scope.startswith("system/") or _parsed(scope)[0] not in kinds or _deletes(scope))
    )  # fmt: skip


def _deletes(scope: str) -> bool:
    """Whether it says `d` itself (v2)."""
    verbs = scope.partition("?")[0].rpartition(".")[2]
    return verbs not in _LETTERS and "d" in verbs


def covered(needed: str, granted: tuple[str, ...]) -> bool:
    """Whether the granted scopes allow all that a needed one does, in whatever notation: `system/*.cruds` allows
    `system/Practitioner.read`. A v1 `write` is met by `cu`: nothing is ever deleted."""
    kind, letters = _parsed(needed)
    allowed: set[str] = set()
    for scope in granted:
        if scope.startswith("system/") and _parsed(scope)[0] in ("*", kind):
            allowed |= _parsed(scope)[1]
    return letters - {"d"} <= allowed
