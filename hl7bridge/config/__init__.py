"""The configuration: conf/*.toml and the environment -> frozen settings, or every mistake with its place and its mend."""

from hl7bridge.config.destination import DestinationSettings
from hl7bridge.config.reader import SERVICE_FILE, Feed, FhirSettings, Settings, examine, is_loopback, load, reference

__all__ = [
    "SERVICE_FILE",
    "DestinationSettings",
    "Feed",
    "FhirSettings",
    "Settings",
    "examine",
    "is_loopback",
    "load",
    "reference",
]
