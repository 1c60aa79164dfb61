"""What may be written at a destination, and how fast, whatever its kind: modes, cohort, brake, budget. Pure.

A policy only decides. What it is decided upon (who was reported, what was latched, who was ended within the hour) is in the
store, so that it holds for every process and after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from hl7bridge.errors import ConfigError
from hl7bridge.model import ElementValue, StaffChange, Written
from hl7bridge.model.ordering import CLOCK_TOLERANCE

REPORT = "report"
APPROVE = "approve"
WRITE = "write"
MODES = (REPORT, APPROVE, WRITE)
OPERATIONS = ("create", "update", "deactivate")


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who is written while a destination is piloted: whoever is of a listed feed, or of a listed department, or is listed.

    departments  unit codes (ORG-2, STF-8): a change belongs to one that it names, or that this feed wrote before for the
                 person; a leaver's message often names none
    All empty: everybody.
    """

    feeds: frozenset[str] = frozenset()
    departments: frozenset[str] = frozenset()
    staff_keys: frozenset[str] = frozenset()

    @property
    def limits(self) -> bool:
        """Whether anybody is left out."""
        return bool(self.feeds or self.departments or self.staff_keys)

    def holds(self, change: StaffChange, feed: str, own: Iterable[Written] = ()) -> bool:
        """Whether the change may be written. `own`: what the feed wrote of the person."""
        if not self.limits or feed in self.feeds or change.source_key in self.staff_keys:
            return True
        values = [*change.practitioner, *change.shared_role, *(v for role in change.roles for v in role.values)]
        values += [value for base in own for value in base.values]
        return any(unit_code(value) in self.departments for value in values)


def unit_code(value: ElementValue) -> str:
    """The code of the unit that a role's `organization` names, "" where it names none."""
    if value.element != "organization" or not isinstance(value.value, dict):
        return ""
    identifier = value.value.get("identifier")
    code = identifier.get("value") if isinstance(identifier, dict) else ""
    return code if isinstance(code, str) else ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What one destination may be sent, and how. Raises ConfigError for an unknown word.

    mode                "report" (reads and plans, writes nothing), "approve" (a person approves each write) or "write"
    modes               operation ("create", "update", "deactivate": making inactive who leaves) -> its own mode
    cohort_feeds, cohort_departments, cohort_staff_keys   who is written (see `Cohort`); everybody else is reported
    in_flight           requests at one time; requests_per_second: 0 = no limit
    index_lag           seconds that a new record may take until a search finds it: a create without an answer is not sent
                        again before, and only where nothing is found then
    clock_tolerance     seconds by which a change may be older than what was applied last, by the senders' clocks, and is
                        still compared with the server instead of being stale
    """

    name: str
    _: KW_ONLY
    mode: str = REPORT
    modes: Mapping[str, str] = field(default_factory=dict)
    cohort_feeds: frozenset[str] = frozenset()
    cohort_departments: frozenset[str] = frozenset()
    cohort_staff_keys: frozenset[str] = frozenset()
    in_flight: int = 8
    requests_per_second: float = 0.0
    index_lag: float = 60.0
    clock_tolerance: float = CLOCK_TOLERANCE

    def __post_init__(self) -> None:
        checked_words(
            ("mode", self.mode, MODES),
            *((f"modes.{operation}", mode, MODES) for operation, mode in self.modes.items()),
            *(("modes", operation, OPERATIONS) for operation in self.modes),
        )

    @property
    def writes(self) -> bool:
        """Whether this destination may be written to at all."""
        return any(self.mode_of(operation) != REPORT for operation in OPERATIONS)

    @property
    def cohort(self) -> Cohort:
        """Who is written."""
        return Cohort(self.cohort_feeds, self.cohort_departments, self.cohort_staff_keys)

    def mode_of(self, operation: str) -> str:
        """The mode of "create", "update" or "deactivate"."""
        return self.modes.get(operation) or self.mode

    def modes_for(self, change: StaffChange, feed: str) -> set[str]:
        """The modes of all that the change may lead to, as far as it tells by itself."""
        if not self.cohort.holds(change, feed):
            return {REPORT}
        leads_to = {"deactivate"} if change.says_staff is False else set()
        if change.temporary:
            leads_to.add("update")  # who is away for a while rests in their roles, and nothing ends
        elif not change.action.ends:
            leads_to |= {"create", "update"}
        return {self.mode_of(operation) for operation in leads_to}

    def is_written(self, change: StaffChange, feed: str) -> bool | None:
        """Whether what the change leads to is written, or waits for an approval; False: all of it is only reported; None:
        it depends on what the server holds."""
        modes = self.modes_for(change, feed)
        return True if REPORT not in modes else False if modes == {REPORT} else None

    def ran_as(self) -> dict[str, Any]:
        """What decides whether a change is written: JSON to remember, see `writes_more`."""
        cohort = self.cohort
        return {
            "modes": {operation: self.mode_of(operation) for operation in OPERATIONS},
            "cohort": [sorted(cohort.feeds), sorted(cohort.departments), sorted(cohort.staff_keys)]
            if cohort.limits
            else None,
        }


def checked_words(*settings: tuple[str, str, tuple[str, ...]]) -> None:
    """Raises ConfigError for a setting (key, value, words) whose value is none of the words."""
    for key, value, words in settings:
        if value not in words:
            raise ConfigError("not one of " + ", ".join(words), key=key)


def writes_more(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """Whether a destination that ran as `before` (None: it is new, or nobody knows) would write now what it reported then.

    Both as `Policy.ran_as` gives them.
    """
    if before is None:
        return any(mode != REPORT for mode in now["modes"].values())
    if any(mode != REPORT and before["modes"].get(operation) == REPORT for operation, mode in now["modes"].items()):
        return True
    if before["cohort"] is None:
        return False
    return now["cohort"] is None or any(
        set(new) - set(old) for new, old in zip(now["cohort"], before["cohort"], strict=True)
    )


@dataclass(frozen=True, slots=True)
class Brake:
    """How many people may be deactivated without a person. 0 = no limit.

    per_hour       at this destination within an hour
    share_of_file  percent of the records of one message, for messages of 20 records and more
    protected      staff keys that are never deactivated without a person
    """

    per_hour: int = 0
    share_of_file: float = 0.0
    protected: frozenset[str] = frozenset()
