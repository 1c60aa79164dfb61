"""The feed and the destination that a name means, in the words of everybody who asks for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import DestinationSettings, Feed, FhirSettings, Settings

_Kind = TypeVar("_Kind")


def destination_named(settings: Settings, name: str, key: str = "") -> DestinationSettings:
    """The destination of that name; with "", the only one. `key`: the option that names it. Raises ConfigError."""
    return _named(settings.destinations, name, key)


def destinations_named(settings: Settings, name: str) -> list[DestinationSettings]:
    """The destination of that name; with "", all. Raises ConfigError."""
    return [destination_named(settings, name)] if name else list(settings.destinations.values())


def fhir_server_named(settings: Settings, name: str, key: str = "") -> FhirSettings:
    """The same where it has to be a FHIR server: with "", the only one. Raises ConfigError for another kind, too."""
    if name in settings.destinations and name not in settings.fhir:
        kind = settings.destinations[name].kind
        raise ConfigError(f'"{name}" is no FHIR server', key=key, advice=f"It is of kind {kind}.")
    return _named(settings.fhir, name, key)


def fhir_servers(settings: Settings, name: str) -> list[FhirSettings]:
    """The FHIR server of that name; with "", all. Raises ConfigError."""
    return [fhir_server_named(settings, name)] if name else list(settings.fhir.values())


def _named(among: Mapping[str, _Kind], name: str, key: str) -> _Kind:
    known = ", ".join(among)
    if not name and len(among) == 1:
        return next(iter(among.values()))
    if not name:
        raise ConfigError("there are several destinations", key=key, advice=f"Choose one of {known}.")
    if name not in among:
        raise ConfigError(f'there is no destination "{name}"', key=key, advice=f"There are: {known}.")
    return among[name]


def feed_named(settings: Settings, name: str) -> Feed:
    """The feed of that name; with "", the only one. Raises ConfigError."""
    if not name and len(settings.feeds) == 1:
        return next(iter(settings.feeds.values()))
    known = ", ".join(settings.feeds)
    if not name:
        raise ConfigError("there are several feeds", key="--feed", advice=f"Choose one of {known}.")
    if name not in settings.feeds:
        raise ConfigError(f'there is no feed "{name}"', key="--feed", advice=f"There are: {known}.")
    return settings.feeds[name]


def destination_of_feed(settings: Settings, feed: str, name: str) -> str:
    """The destination that a feed goes to; with "", the only one. Raises ConfigError."""
    goes_to = feed_named(settings, feed).destinations
    if not name and len(goes_to) == 1:
        return goes_to[0]
    if name not in goes_to:
        problem = f"feed {feed} does not go to {name}" if name else f"feed {feed} goes to several destinations"
        raise ConfigError(problem, key="--destination", advice=f"Choose one of {', '.join(goes_to)}.")
    return name
