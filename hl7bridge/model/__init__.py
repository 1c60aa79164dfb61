"""The records that travel: what crosses the wall between two rooms is one of these small frozen values.

Read this room first. The journey, left to right:

    bytes -> Header, Message (hl7/) -> Translation of Records, each with a StaffChange (mapping/)
          -> stored (store/) -> Interaction (destinations/) -> Outcome (destinations/) -> acknowledgment

One file a noun: `message`, `change`, `provenance`, `delivery`, `task`; `json` keeps the text of numbers, `ordering`
compares senders' clocks, `discrepancy` says what differs between the source and a server. Nothing here does I/O. Values are
JSON-shaped, so that every record can be stored and read back unchanged.
"""

from __future__ import annotations

from hl7bridge.model.change import (
    ABSENT,
    LIFECYCLE,
    RECORD_EVENT,
    Action,
    ElementValue,
    StaffChange,
    StaffIdentifier,
    StaffRole,
    full_name,
    values_from_json,
    values_to_json,
)
from hl7bridge.model.delivery import (
    APPLIED,
    ENDED_WELL,
    STARTS,
    TRANSITIONS,
    DeliveryEvent,
    DeliveryState,
    Difference,
    Exchange,
    Image,
    Interaction,
    Kind,
    Known,
    Link,
    Outcome,
    Result,
    Transition,
    Written,
)
from hl7bridge.model.json import JsonObject, Number, read_json, write_json
from hl7bridge.model.message import Finding, Record, RecordEcho, Refusal, Severity, Translation
from hl7bridge.model.provenance import NO_FIELD, Location, Provenance
from hl7bridge.model.task import (
    BRAKE,
    CLASS_KNOWN,
    LEAVER_UNVERIFIED,
    LOGIN_KNOWN,
    NAME_KNOWN,
    PERSON_INACTIVE,
    RESTORE_UNDONE,
    ROLES_ENDED,
    STALE_LIFECYCLE,
    STANDING_TASKS,
    WRITES_REFUSED,
    Check,
    Task,
    worded,
)

__all__ = [
    "ABSENT",
    "APPLIED",
    "BRAKE",
    "CLASS_KNOWN",
    "ENDED_WELL",
    "LEAVER_UNVERIFIED",
    "LIFECYCLE",
    "LOGIN_KNOWN",
    "NAME_KNOWN",
    "NO_FIELD",
    "PERSON_INACTIVE",
    "RECORD_EVENT",
    "RESTORE_UNDONE",
    "ROLES_ENDED",
    "STALE_LIFECYCLE",
    "STANDING_TASKS",
    "STARTS",
    "TRANSITIONS",
    "WRITES_REFUSED",
    "Action",
    "Check",
    "DeliveryEvent",
    "DeliveryState",
    "Difference",
    "ElementValue",
    "Exchange",
    "Finding",
    "Image",
    "Interaction",
    "JsonObject",
    "Kind",
    "Known",
    "Link",
    "Location",
    "Number",
    "Outcome",
    "Provenance",
    "Record",
    "RecordEcho",
    "Refusal",
    "Result",
    "Severity",
    "StaffChange",
    "StaffIdentifier",
    "StaffRole",
    "Task",
    "Transition",
    "Translation",
    "Written",
    "full_name",
    "read_json",
    "values_from_json",
    "values_to_json",
    "worded",
    "write_json",
]
