"""Where the settings say that the store is, and the store opened there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hl7bridge.errors import ConfigError
from hl7bridge.model import worded

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.store.kinds import Engine
    from hl7bridge.store.store import Store


def store_location(settings: Settings) -> str:
    """Where the store is; the folder of a file is made, for this user alone, where there is none."""
    location = settings.store.path
    if "://" not in location:
        Path(location).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return location


def there_is_a_store(settings: Settings) -> bool:
    """Whether a store was made already; of one that is no file, that is taken for granted."""
    location = settings.store.path
    return "://" in location or Path(location).exists()


def open_store(location: str) -> Store:
    """The store at a location, made or brought up to date where that is needed. Raises StoreError when it can't be used."""
    from hl7bridge.store import opening  # here, so that commands without a store start quickly

    return opening.open_store(location, worded)


def engine_of(location: str) -> Engine:
    """What the store at a location runs on. Raises ConfigError for a kind that this version does not have."""
    from hl7bridge.store import opening

    return opening.engine_of(location)


def is_current(location: str) -> bool:
    """Whether a store is there with the schema of this version; False for a kind that this version does not have."""
    from hl7bridge.store import opening

    try:
        return opening.is_current(location)
    except ConfigError:
        return False


def store_in(folder: Path) -> Store:
    """A store of its own in a folder, for what is only tried."""
    return open_store(str(folder / "store.sqlite"))


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """The store of the settings. Raises ConfigError where there is none yet, StoreError when it can't be used."""
    location = settings.store.path
    if not there_is_a_store(settings):
        advice = "`hl7bridge run` makes it; or correct the path."
        raise ConfigError(
            f"there is no store at {location}", file="conf/hl7bridge.toml", key="store.path", advice=advice
        )
    store = open_store(location)
    try:
        yield store
    finally:
        store.close()
