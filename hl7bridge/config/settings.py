"""What every setting is: its key, type, default and meaning, and how values are written.

One class per file and per section; `config` reads the files into them. A key's meaning stands beside it here, once: the
table of conf/README.md and the advice in errors are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hl7bridge.config.destination import DestinationSettings, FhirSettings
from hl7bridge.config.feed import Feed
from hl7bridge.config.service import LogSettings, ServiceFile, ServiceSettings, StoreSettings
from hl7bridge.config.site_files import Site, at_line, lines_of, read_site
from hl7bridge.config.site_map import SiteMapSettings
from hl7bridge.config.tasks import TaskText, unknown_kind
from hl7bridge.config.values import Notation, Section, Wrong, is_loopback


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one installation. `directory` is the folder that holds `conf/`."""

    directory: Path
    service: ServiceSettings
    store: StoreSettings
    log: LogSettings
    feeds: Mapping[str, Feed]
    destinations: Mapping[str, DestinationSettings]
    tasks: Mapping[str, TaskText] = field(default_factory=dict)
    maps: Mapping[str, Site] = field(default_factory=dict)


__all__ = [
    "Feed",
    "FhirSettings",
    "LogSettings",
    "Notation",
    "Section",
    "ServiceFile",
    "ServiceSettings",
    "Settings",
    "Site",
    "SiteMapSettings",
    "StoreSettings",
    "TaskText",
    "Wrong",
    "at_line",
    "is_loopback",
    "lines_of",
    "read_site",
    "unknown_kind",
]
