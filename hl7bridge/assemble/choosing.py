"""The feed and the destination that a name means, in the words of everybody who asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import DestinationSettings, Feed, Settings


def destination_named(settings: Settings, name: str, key: str = "") -> DestinationSettings:
    """The destination of that name; with "", the only one. `key`: the option that names it. Raises ConfigError."""
    among = settings.destinations
    known = ", ".join(among)
    if not name and len(among) == 1:
        return next(iter(among.values()))
    if not name:
        raise ConfigError("there are several destinations", key=key, advice=f"Choose one of {known}.")
    if name not in among:
        raise ConfigError(f'there is no destination "{name}"', key=key, advice=f"There are: {known}.")
    return among[name]


def destinations_named(settings: Settings, name: str) -> list[DestinationSettings]:
    """The destination of that name; with "", all. Raises ConfigError."""
    return [destination_named(settings, name)] if name else list(settings.destinations.values())


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
