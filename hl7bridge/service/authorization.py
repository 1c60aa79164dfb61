"""How a destination is authorized: its key is read from where it is kept, and becomes an `httpx.Auth`."""

from __future__ import annotations

from hl7bridge.config import Destination
from hl7bridge.errors import ConfigError
from hl7bridge.fhir import keys
from hl7bridge.fhir.rules import SmartRules
from hl7bridge.fhir.smart_auth import BackendServicesAuth, TokenSource


def signing_key(destination: Destination) -> keys.SigningKey | None:
    """The destination's key; None where it needs none.

    Raises ConfigError: the key is missing, can't be read, or does not suit `algorithm`.
    """
    reference = destination.auth.key
    if destination.auth.type == "none" or reference is None:
        return None
    try:
        key = keys.load(reference.read())
    except ConfigError as error:
        raise ConfigError(error.problem, file=reference.file, key=reference.key, advice=error.advice) from None
    if key.algorithm != destination.auth.algorithm:
        raise ConfigError(
            f"is {destination.auth.algorithm}, the key is for {key.algorithm}",
            file=reference.file,
            key="auth.algorithm",
            advice=f'Write algorithm = "{key.algorithm}", or make another key.',
        )
    return key


def token_source(destination: Destination) -> TokenSource | None:
    """Where the destination's access tokens come from; None where it needs none. Raises ConfigError."""
    key = signing_key(destination)
    return TokenSource(destination.smart_rules(SmartRules), key) if key else None


def authorization(destination: Destination) -> BackendServicesAuth | None:
    """What a `FhirClient` of this destination needs; None where no token is asked for. Raises ConfigError."""
    source = token_source(destination)
    return BackendServicesAuth(source) if source else None
