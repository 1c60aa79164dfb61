"""One try to get an access token, and what usually is behind a refusal, for who has only the token in view."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from hl7bridge.destinations.examining import TokenAnswer
from hl7bridge.destinations.fhir.examine.authorizing import TokenTrial, simple_cause, too_wide
from hl7bridge.destinations.fhir.examine.credentials import Credentials
from hl7bridge.destinations.fhir.examine.words import diagnosis
from hl7bridge.destinations.fhir.rules import SmartRules
from hl7bridge.destinations.fhir.wire.smart_auth import TokenSource
from hl7bridge.destinations.keys import SigningKey
from hl7bridge.errors import TokenError

# Why token endpoints refuse, most frequent first. They hardly ever say which of these it was.
_CLIENT = (
    "the client id is another environment's (production and test have different ones)",
    "the public key is not registered there, or not yet: servers keep key sets for up to a day (hl7bridge keys jwks)",
    "kid or algorithm differ from the registered key's",
    "the client is registered, but not yet active (it can take hours), or not tied to a user of that system",
    "this machine's clock is off by more than a few minutes",
    "the server expects another aud, as behind a proxy: set auth.audience",
)
_SCOPE = ("the client was not granted one of the scopes: compare them with its registration",)
_ADDRESS = (
    "token_url is wrong: leave it empty to have it discovered, or ask the server's owner",
    "base_url is not the FHIR base: its .well-known/smart-configuration is not there",
)
_NETWORK = (
    "nothing answers there: the address is wrong, the server is down, or a firewall or proxy is in between",
    "the server's certificate is not trusted here: set ca_file",
)
_LATER = ("the server has trouble, or was asked too often: try again later",)

_CAUSES: Mapping[str, tuple[str, ...]] = {
    "": _CLIENT,
    "token-address": _ADDRESS,
    "token-unreachable": _NETWORK,
    "token-later": _LATER,
    "token-unusable": _ADDRESS,
}

_PROVEN = ("token-clock", "token-audience", "token-perhaps-clock")


def likely_causes(error: TokenError) -> tuple[str, ...]:
    """What usually is behind it, most likely first."""
    return _SCOPE if "invalid_scope" in str(error) else _CAUSES[simple_cause(error)]


def try_token(name: str, credentials: Credentials, clock: Callable[[], float] = time.time) -> TokenAnswer | None:
    """Ask for a token, as deliveries do; None where none is asked for. Raises ConfigError for a key that can't be used."""
    rules, key = credentials.smart, credentials.key()
    if rules is None or key is None:
        return None
    source = TokenSource(rules, key)
    endpoint = rules.token_url
    try:
        endpoint = source.discover().token_endpoint
        granted = source.token()
        scopes = tuple((granted.scope or "").split())
        return TokenAnswer(
            name,
            rules.client_id,
            endpoint,
            round(granted.expires - time.monotonic()),
            scopes,
            tuple(source.missing_scopes(granted.scope)),
            too_wide(source.scopes(), scopes),
        )
    except TokenError as error:
        causes = (*_proven(name, credentials.file, rules, key, error, clock), *likely_causes(error))
        said = error.explanation
        return TokenAnswer(name, rules.client_id, endpoint, error=str(error), likely_causes=causes, said=said)
    finally:
        source.close()


def _proven(
    name: str, file: str, rules: SmartRules, key: SigningKey, error: TokenError, clock: Callable[[], float]
) -> tuple[str, ...]:
    """What trying shows to be the cause: the clock, or the audience."""
    if error.status < 400:
        return ()
    seen = next(TokenTrial(rules, key, None, clock).checks())
    if seen.code not in _PROVEN:
        return ()
    told = diagnosis(seen, name, file)
    return (f"{told.text.partition(': ')[2]} ({told.cause}). {told.fixes[0]}",)
