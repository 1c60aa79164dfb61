"""What is said about a message: findings, its records, and what it means record by record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from hl7bridge.model.change import StaffChange
from hl7bridge.model.provenance import Location


class Severity(StrEnum):
    """ERR-4, HL7 table 0516."""

    ERROR = "E"
    WARNING = "W"
    INFORMATION = "I"


class Refusal(StrEnum):
    """Why a message is not accepted; each class has its own acknowledgment code per feed (`[acknowledgment.codes]`)."""

    CONTENT = "content"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    MIXED = "mixed"


class Finding(NamedTuple):
    """Something to say about a message: becomes an ERR segment, a line of `map explain`, a reason for a hold.

    `code` is of HL7 table 0357 ("101" required field missing). `local` is our own stable code ("unmapped-authority").
    `text` is in our own words and never holds a value of the message. `position` is the record, 1-based; 0 = the message.
    """

    code: str
    local: str
    text: str
    severity: Severity = Severity.ERROR
    location: Location | None = None
    position: int = 0

    def as_data(self) -> dict[str, Any]:
        """Its parts by name, for JSON."""
        return self._asdict() | {"location": self.location._asdict() if self.location else None}


class RecordEcho(NamedTuple):
    """What MFA repeats of a record: MFE-1, MFE-2, MFE-4 and MFE-5 as sent, still escaped, all repetitions."""

    event: str = ""
    control_id: str = ""
    key: str = ""
    key_type: str = ""


class Record(NamedTuple):
    """One record of a message: its staff change, or, where there is none, the findings that say why.

    `change` None without an ERROR finding means: nothing to do (a placeholder person), success.
    """

    position: int
    echo: RecordEcho
    change: StaffChange | None
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the record could not be read or mapped."""
        if self.change is not None:
            return False
        return any(finding.severity is Severity.ERROR for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Translation:
    """What a message says, record by record, and the version of the mapping that read it."""

    records: tuple[Record, ...]
    findings: tuple[Finding, ...] = ()
    mapping_version: str = ""
