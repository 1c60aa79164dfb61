"""How a destination is authorized: its key is read from where it is kept, and becomes an `httpx.Auth`."""

from __future__ import annotations

from typing import Any

from hl7bridge.config import FhirSettings
from hl7bridge.destinations import keys
from hl7bridge.destinations.fhir.examine.credentials import Credentials
from hl7bridge.destinations.fhir.rules import DestinationRules, SmartRules
from hl7bridge.destinations.fhir.wire.network import tls_context
from hl7bridge.destinations.fhir.wire.smart_auth import BackendServicesAuth, TokenSource
from hl7bridge.errors import ConfigError


def signing_key(destination: FhirSettings) -> keys.SigningKey | None:
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


def way_to(destination: FhirSettings) -> dict[str, Any]:
    """How the server is reached (see `hl7bridge.destinations.fhir.wire.network.Way`), without its address."""
    password, user = destination.proxy_password, destination.proxy_user
    return {
        "timeout": destination.timeout,
        "deadline": destination.deadline,
        "ca_file": str(destination.ca_file or ""),
        "client_certificate": str(destination.client_certificate or ""),
        "client_key": str(destination.client_key or ""),
        "pins": destination.pins,
        "proxy": destination.proxy,
        "proxy_credentials": (lambda: (user, password.read_text())) if password is not None else None,
    }


def trust(destination: FhirSettings) -> None:
    """Raises ConfigError for a `ca_file` or client certificate that cannot be used."""
    if destination.ca_file or destination.client_certificate:
        try:
            tls_context(DestinationRules(destination.name, base_url=destination.base_url, **way_to(destination)))
        except ConfigError as error:
            problem = f"{error.problem} from {error.file}"
            advice = "Name a PEM file with the certificates to trust."
            if error.key != "ca_file":
                advice = (
                    "Name a PEM file with our certificate and its chain, and one with its private key, not encrypted."
                )
            raise ConfigError(problem, file=destination.file, key=error.key, advice=advice) from None


def smart_rules(destination: FhirSettings) -> SmartRules:
    """What SMART Backend Services needs of the settings, the key aside."""
    auth, modes = destination.auth, destination.modes.model_dump()
    written = {operation for operation, mode in modes.items() if (mode or destination.mode) != "report"}
    return SmartRules(
        base_url=destination.base_url,
        client_id=auth.client_id,
        mode="write" if written else "report",
        verbs=("c" if "create" in written else "") + ("u" if written - {"create"} else ""),
        token_url=auth.token_url,
        token_hosts=frozenset(auth.token_hosts),
        audience=auth.audience,
        scopes=auth.scopes,
        key_id=auth.key_id,
        **way_to(destination),
    )


def token_source(destination: FhirSettings) -> TokenSource | None:
    """Where the destination's access tokens come from; None where it needs none. Raises ConfigError."""
    key = signing_key(destination)
    if key is None:
        return None
    return TokenSource(smart_rules(destination), key, kept=lambda: signing_key(destination) or key)


def credentials_of(destination: FhirSettings) -> Credentials:
    """What the settings say of the authorization, for whoever examines or registers the destination."""
    auth = destination.auth
    return Credentials(
        file=destination.file,
        smart=smart_rules(destination) if auth.type == "smart" else None,
        trust=lambda: trust(destination),
        key=lambda: signing_key(destination),
        kept=auth.key,
        key_max_age=auth.key_max_age,
        client_id=auth.client_id,
        algorithm=auth.algorithm,
        key_id=auth.key_id,
        scopes=auth.scopes,
    )


def authorization(destination: FhirSettings) -> BackendServicesAuth | None:
    """What a `FhirClient` of this destination needs; None where no token is asked for. Raises ConfigError."""
    source = token_source(destination)
    return BackendServicesAuth(source) if source else None
