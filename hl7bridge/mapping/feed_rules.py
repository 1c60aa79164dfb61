"""What a feed's settings say about reading its messages, and the tables that follow from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cached_property
from zoneinfo import ZoneInfo

from hl7bridge.errors import ConfigError
from hl7bridge.mapping.rules.tables import Codes, mapping_version, merged, named
from hl7bridge.mapping.site import STANDARD, SiteMap

PLACEHOLDERS = ("UNKNOWN", "UNK", "SELF", "NONE", "NOBODY", "UNASSIGNED", "TBD", "NOT ON FILE", "NOPCP", "ZZZ")
"""What senders write where no physician is: as an identifier or as a family name, in any case."""


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of a kind is read. What has more is refused with a name, and never cut off: the rest may be the end of
    somebody's work.

    segments         segments of a message
    record_segments  segments of one record
    repetitions      repetitions of one field
    records_per_key  records of one person in one message
    role_values      values that the roles of a record have in all, each role those of all
    """

    segments: int = 500_000
    record_segments: int = 1_000
    repetitions: int = 500
    records_per_key: int = 100
    role_values: int = 20_000


TOO_MANY = "198"
"""Table 0357: the cardinality does not conform."""


@dataclass(frozen=True, eq=False)
class FeedRules:
    """The settings of one feed that the mapping needs. Compared and cached by identity: make one per feed, not per message.

    Raises ConfigError for a time zone or a table entry that cannot be used.

    key_system        identifier system of the staff key (MFE-4), an absolute URI
    timezone          IANA name; times without an offset (theirs, or MSH-7's) are of this zone
    authorities       assigning authority, as sent -> identifier system. Keys: a namespace (`NORTH`), a universal id, either
                      with an identifier type (`NORTH:EI`, `2.999.1:NPI`); for licences the type with the state (`SL:CA`)
    tables            codes by HL7 table number, over the packaged ones: {"0182": {"DR": "system|code|display"}}
    fields            rows of fields.toml by field, over the packaged ones: {"STF-9": {"drop": "not wanted"}}
    fallback_version  HL7 version where MSH-12 is empty
    takes             what the feed takes: "staff" (MFN, PMU), "adt" (practitioners whom patient messages name)
    placeholders      identifiers and family names that stand for nobody real, besides `PLACEHOLDERS`
    site              the sender's dialect: key order, shifts, who is a practitioner
    caps              how much of a kind is read
    """

    key_system: str
    timezone: str = "UTC"
    authorities: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Codes] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fallback_version: str = "2.5.1"
    takes: frozenset[str] = frozenset({"staff"})
    placeholders: tuple[str, ...] = ()
    site: SiteMap = STANDARD
    caps: Caps = Caps()

    def __post_init__(self) -> None:
        # Here, at the start, and not with the first message.
        _ = self.zone, self.codes

    @cached_property
    def zone(self) -> tzinfo:
        """The feed's time zone."""
        try:
            return ZoneInfo(self.timezone)
        except (LookupError, OSError, ValueError):
            raise ConfigError(f"unknown time zone {self.timezone!r}", key="timezone") from None

    @cached_property
    def codes(self) -> dict[str, Codes]:
        """The code tables in force."""
        return merged(self.tables)

    @cached_property
    def systems_by_authority(self) -> dict[str, str]:
        """Assigning authority -> identifier system: the packaged ones, overridden by the feed's."""
        return {**named("authorities"), **self.authorities}

    def is_placeholder(self, identifier: str, family: str) -> bool:
        """Whether an identifier or a family name is one that senders fill in where there is nobody: `PLACEHOLDERS`, those of
        the feed, and numbers of nines or noughts alone."""
        if identifier[:3] in ("000", "999") and len(set(identifier)) == 1:
            return True
        if self.site.is_nobody(identifier, family):
            return True
        return identifier.casefold() in self._placeholders or family.casefold() in self._placeholders

    @cached_property
    def _placeholders(self) -> frozenset[str]:
        return frozenset(name.casefold() for name in (*PLACEHOLDERS, *self.placeholders))

    @cached_property
    def mapping_version(self) -> str:
        """The mapping's version; with settings that change what comes out, `version+hash` of these."""
        settings = [dict(self.authorities), {k: dict(v) for k, v in self.tables.items()}]
        settings.append({k: dict(v) for k, v in self.fields.items()})
        if said := self.site.as_data():
            settings.append(said)
        settings.append(dict.fromkeys(self.placeholders, ""))
        if not any(settings):
            return mapping_version()
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return f"{mapping_version()}+{digest[:6]}"
