"""Why a change is held, reported or not sent, whatever the kind of destination: the words that lists, acknowledgments and
releases go by. No text holds a value of the message.
"""

from __future__ import annotations

from hl7bridge.destinations.retry import FOUND_STRAYED
from hl7bridge.model import WRITES_REFUSED, Outcome, Result, worded
from hl7bridge.model.ordering import OUT_OF_ORDER

UNKNOWN_KEY, DUPLICATE_KEY, LOCKED, INTERNAL, REQUIRED = "204", "205", "206", "207", "101"  # HL7 table 0357
INVALID, VALUE = "102", "103"
AT_ONCE = 1.0  # seconds within which a task is due that is overdue from the beginning

FORBIDDEN, NOT_OFFERED = "forbidden", "not-offered"
BY_HAND = "write-by-hand"
SCOPE_REFUSED = "token-scope-refused"

PAUSED_BY_PERSON = "paused-by-person"
LEAVING_REPORT = "leaving-report"
MAINTENANCE = "maintenance"
"""Why a destination is paused, beside `WRITES_REFUSED` of the model."""


def operation(resource_type: str, what: str) -> str:
    """How an interaction is named where it is refused: "Practitioner create"."""
    return f"{resource_type} {what}"


def writes_refused(text: str) -> Outcome:
    """While a destination takes no writes: the change stays queued."""
    return Outcome(Result.PAUSED, INTERNAL, WRITES_REFUSED, text)


UNDATED = {
    "unreadable-time": "The time at which the record is to apply cannot be read",
    "partial-time": "The record is to apply within a year or month that has begun and not ended",
    "unknown-master-file": "MFI-1 names a master file that is not known, and no STF says that the record is about staff",
}
"""Why it is not certain when, or whether, a change applies (`StaffChange.undated`), in words."""

APPROVAL = Outcome(
    Result.HELD,
    "",
    "approval",
    "Each write of this kind waits for a person's approval at this destination (mode approve)",
)

OUTSIDE_COHORT = Outcome(
    Result.REPORTED, local="outside-cohort", text="The person is not of the cohort that this destination writes"
)

PARTLY_REPORTED = Outcome(
    Result.REPORTED, local="partly-reported", text="A part was written; the rest is of a kind that is only reported"
)

DECIDED_BY_A_PERSON = frozenset({"approval", "approval-needed", "brake", "protected", OUT_OF_ORDER, *UNDATED})
"""Held for these a change is sound, and waits for a person's word: `hold release` is that word."""

BRAKED = Outcome(
    Result.HELD,
    "",
    "brake",
    "More people would be deactivated than this destination takes without a person: held until one decides",
)

PROTECTED = Outcome(
    Result.HELD,
    "",
    "protected",
    "The person is listed as protected, and deactivated only when somebody here says so",
    tasks=(worded("protected-person"),),
)

KEY_OF_ANOTHER, RE_HIRED = "key-of-another", "re-hired"

QUARANTINE = frozenset(
    {"several-people", "identifier-of-another", KEY_OF_ANOTHER, RE_HIRED}
    | {"npi-differs", "recycled-key", "birth-date-differs", "name-differs", "sex-differs", "identifier-type-differs"}
    | {"name-not-confirmed"}
    | {"crosswalk-strayed", "linked-gone", "linked-name-differs", "identifier-retired", "merged-at-server"}
    | {"deleted-at-server", "redirected", FOUND_STRAYED}
)
"""Causes of a hold that say: a person has to decide whom the record is about. Stable."""
