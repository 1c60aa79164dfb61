"""The token endpoint of SMART Backend Services: it verifies the signed assertion as a server in the field does
(HL7 SMART App Launch 2.2 client-confidential-asymmetric, RFC 7523, RFC 6749), and the tokens that it gave."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from hl7bridge.errors import ConfigError, Hl7BridgeError
from hl7bridge.sandbox import scopes
from hl7bridge.sandbox.habits import Habits
from hl7bridge.sandbox.interactions import PERMISSION, Asked
from hl7bridge.sandbox.outcomes import Answer, Refused

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = {"RS384": "RSA", "ES384": "EC"}
LONGEST_LIFE = 300
LONGEST_JTI = 151
ALL_SCOPES = "system/Practitioner.cruds system/PractitionerRole.cruds"


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client: its key set (a JWKS, or a file with one that is read at each request) and its scopes."""

    client_id: str
    jwks: Mapping[str, Any] | Path
    scopes: str = ALL_SCOPES

    def key(self, kid: str) -> Mapping[str, Any] | None:
        """The one key with that id, None when there is none or several. Raises ConfigError when it is no JWKS."""
        found = [key for key in self._keys() if key.get("kid") == kid]
        return found[0] if len(found) == 1 else None

    def _keys(self) -> list[Mapping[str, Any]]:
        file = str(self.jwks) if isinstance(self.jwks, Path) else ""
        try:
            read = json.loads(self.jwks.read_text()) if isinstance(self.jwks, Path) else self.jwks
            return [dict(key) for key in read["keys"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigError("not a readable JWKS", file=file, key="keys") from None


class TokenRefused(Hl7BridgeError):
    """The token endpoint refuses. `error` is a code of RFC 6749, 5.2."""

    def __init__(self, error: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.error, self.status = error, status


@dataclass(frozen=True, slots=True)
class _Token:
    client_id: str
    scopes: str
    ends: float


class Authorization:
    """The clients, the assertions that were used, and the tokens that live. In memory: a restart ends all tokens.

    Thread-safe. `clock` gives Unix seconds.
    """

    def __init__(self, clients: tuple[Client, ...], clock: Callable[[], float]) -> None:
        self._clients = {client.client_id: client for client in clients}
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[tuple[str, str], float] = {}
        self._tokens: dict[str, _Token] = {}

    # --- the token endpoint ------------------------------------------------------------------------------------------

    def token(self, form: Mapping[str, str], audience: str, expires_in: int) -> tuple[str, Answer]:
        """Verify a request and give a token: (client id, the answer). Raises TokenRefused."""
        if form.get("grant_type") != "client_credentials":
            raise TokenRefused("unsupported_grant_type", "grant_type is not client_credentials")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise TokenRefused("invalid_request", f"client_assertion_type is not {ASSERTION_TYPE}")
        assertion = form.get("client_assertion", "")
        if not assertion:
            raise TokenRefused("invalid_request", "client_assertion is missing")
        client = self._verify(assertion, audience)
        if form.get("client_id", client.client_id) != client.client_id:
            raise _invalid("client_id is not that of the assertion")
        granted = scopes.grant(form.get("scope", ""), client.scopes)
        if not granted:
            raise TokenRefused("invalid_scope", "No requested scope is allowed to this client")
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._tokens = {text: known for text, known in self._tokens.items() if known.ends > now}
            self._tokens[token] = _Token(client.client_id, granted, now + expires_in)
        answer = Answer.of(
            200,
            {"access_token": token, "token_type": "bearer", "expires_in": expires_in, "scope": granted},
            {"Cache-Control": "no-store", "Pragma": "no-cache"},
        )
        answer.content_type = "application/json"
        return client.client_id, answer

    def _verify(self, assertion: str, audience: str) -> Client:
        try:
            header = jwt.get_unverified_header(assertion)
            unverified = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise _invalid("client_assertion is not a JWT") from None
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise _invalid(f"alg is not one of {', '.join(ALGORITHMS)}")
        if header.get("typ", "JWT") != "JWT":
            raise _invalid("typ is not JWT")
        if "jku" in header:
            raise _invalid("jku is not the registered URL (none is registered)")
        if not isinstance(unverified.get("iss"), str) or unverified["iss"] != unverified.get("sub"):
            raise _invalid("iss and sub are not the same client id")
        client = self._clients.get(unverified["iss"])
        if client is None:
            raise _invalid("iss is not a registered client")
        claims = _verify_signature(assertion, header, algorithm, client)
        self._check_claims(claims, audience)
        self._use(client.client_id, claims)
        return client

    def _check_claims(self, claims: Mapping[str, Any], audience: str) -> None:
        named = claims.get("aud")
        if audience not in (named if isinstance(named, list) else [named]):
            raise _invalid("aud is not the URL of this token endpoint")
        now = self._clock()
        ends = _time(claims, "exp")
        if ends is None:
            raise _invalid("exp is missing")
        if ends <= now:
            raise _invalid("exp is past")
        if ends > now + LONGEST_LIFE:
            raise _invalid("exp is more than five minutes ahead")
        for name in ("iat", "nbf"):
            begins = _time(claims, name)
            if begins is not None and begins > now:
                raise _invalid(f"{name} is in the future")
            if begins is not None and ends - begins > LONGEST_LIFE:
                raise _invalid(f"exp is more than five minutes after {name}")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI:
            raise _invalid(f"jti is not a text of 1 to {LONGEST_JTI} characters")

    def _use(self, client_id: str, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        with self._lock:
            self._used = {place: ends for place, ends in self._used.items() if ends > now}
            place = (client_id, claims["jti"])
            if place in self._used:
                raise _invalid("jti was used before")
            self._used[place] = float(claims["exp"])

    # --- the tokens --------------------------------------------------------------------------------------------------

    def check(self, header: str, asked: Asked) -> str:
        """The client id of the request. Raises Refused: 401 without a living token, 403 without the scope."""
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Refused(401, "login", "No access token", headers={"WWW-Authenticate": 'Bearer realm="sandbox"'})
        with self._lock:
            token = self._tokens.get(text.strip())
        if token is None or token.ends <= self._clock():
            raise token_ended()
        permission = PERMISSION.get(asked.interaction)
        if permission and not scopes.permits(token.scopes, asked.resource_type, permission):
            challenge = 'Bearer realm="sandbox", error="insufficient_scope"'
            text = f"The token's scopes do not allow {asked.interaction} on this type"
            raise Refused(403, "forbidden", text, headers={"WWW-Authenticate": challenge})
        return token.client_id

    def revoke(self) -> int:
        """End all tokens now; returns how many there were."""
        with self._lock:
            count = len(self._tokens)
            self._tokens.clear()
            return count

    def clear(self) -> None:
        """Forget tokens and used assertions."""
        with self._lock:
            self._tokens.clear()
            self._used.clear()


def token_ended() -> Refused:
    """401 as for a token that is unknown or past its time (RFC 6750, 3)."""
    challenge = 'Bearer realm="sandbox", error="invalid_token"'
    return Refused(401, "expired", "The access token is unknown or has ended", headers={"WWW-Authenticate": challenge})


def token_error(refused: TokenRefused, habits: Habits) -> Answer:
    """The error response of RFC 6749, 5.2; without a reason where the server keeps silent about it."""
    answer = Answer.of(refused.status, {"error": refused.error, "error_description": str(refused)})
    if not habits.explains_token_errors:
        answer = Answer.of(refused.status, {"error": refused.error, "error_description": None})
    answer.content_type = "application/json"
    answer.headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return answer


def _verify_signature(assertion: str, header: Mapping[str, Any], algorithm: str, client: Client) -> Mapping[str, Any]:
    kid = header.get("kid")
    key = client.key(kid) if isinstance(kid, str) else None
    if key is None:
        raise _invalid("kid is not in the registered key set")
    if key.get("kty") != ALGORITHMS[algorithm] or key.get("alg", algorithm) != algorithm:
        raise _invalid("alg is not that of the registered key")
    unchecked = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss"), False)
    try:
        verified: Mapping[str, Any] = jwt.decode(
            assertion,
            jwt.PyJWK(dict(key), algorithm),
            algorithms=[algorithm],
            options=unchecked,  # type: ignore[arg-type]
        )
    except jwt.PyJWTError:
        raise _invalid("The signature does not verify with the registered key") from None
    return verified


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _invalid(f"{name} is not a number")
    return float(value)


def _invalid(text: str) -> TokenRefused:
    return TokenRefused("invalid_client", text, status=401)
