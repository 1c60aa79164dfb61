"""What is asked of destinations while they are set up, and returned as they say it. Nothing is written there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hl7bridge.assemble.choosing import destination_named, destinations_named
from hl7bridge.assemble.destinations import destination_of
from hl7bridge.destinations.examining import COLUMNS as COLUMNS
from hl7bridge.destinations.examining import Carrier as Carrier
from hl7bridge.destinations.examining import ListedPerson as ListedPerson
from hl7bridge.destinations.examining import Listing as Listing
from hl7bridge.destinations.examining import Registration as Registration
from hl7bridge.destinations.examining import TokenAnswer as TokenAnswer
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import DestinationSettings, Settings
    from hl7bridge.destinations.protocol import Destination


@contextmanager
def _asked(settings: DestinationSettings) -> Iterator[Destination]:
    destination = destination_of(settings)
    try:
        yield destination
    finally:
        destination.close()


def look_up(settings: Settings, name: str, person: str) -> tuple[str, tuple[Carrier, ...]]:
    """The destination's name ("" = the only one), and whom it holds under an identifier (of a FHIR server: an NPI).

    Raises ConfigError for a destination that there is not, Unreachable for one that does not answer.
    """
    chosen = destination_named(settings, name)
    with _asked(chosen) as destination:
        return chosen.name, destination.look_up(person)


def try_tokens(settings: Settings, name: str = "") -> Iterator[TokenAnswer]:
    """What comes of asking for a token, of each destination that asks for one; `name`: of that one alone.

    Raises ConfigError for a destination that there is not, and for a key that can't be used.
    """
    for chosen in destinations_named(settings, name):
        with _asked(chosen) as destination:
            answer = destination.try_token()
        if answer is not None:
            yield answer


def registrations(settings: Settings, name: str = "") -> list[Registration]:
    """What the owners of the destinations have to know to let this bridge in; `name`: of that one alone.

    Raises ConfigError for a destination that there is not, or whose owner has to know nothing.
    """
    found = []
    for chosen in destinations_named(settings, name):
        with _asked(chosen) as destination:
            one = destination.registration()
        if one is not None:
            found.append(one)
        elif name:
            raise ConfigError(f'"{name}" needs no registration', advice=f"Its kind is {chosen.kind}.")
    return found


@contextmanager
def people(settings: Settings, name: str = "", *, with_roles: bool = False) -> Iterator[Listing]:
    """Everybody whom the destination holds ("" = the only one), within the block.

    Raises ConfigError for a destination that there is not; iterating raises Unreachable.
    """
    with _asked(destination_named(settings, name, "DESTINATION")) as destination:
        yield destination.people(with_roles=with_roles)
