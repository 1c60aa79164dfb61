"""The keys of conf/tasks/KIND.toml (a site's own words for a kind of task), and what a destination asks of people."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from hl7bridge.config.values import Duration, Names, Notation, Section, Wrong, setting, several

KINDS = (
    "approval",
    "away-access",
    "brake",
    "deleted-in-source",
    "drift",
    "full-file-missing",
    "identity-review",
    "second-at-server",
    "joiner-setup",
    "leaver-access",
    "leaver-unverified",
    "leaving-report",
    "not-verified",
    "off-hours",
    "out-of-order",
    "protected-person",
    "provider-linkage",
    "refused-change",
    "restore-undone",
    "shared-person",
    "stale-lifecycle",
    "uncertain-time",
    "unknown-master-file",
    "write-by-hand",
    "writes-refused",
)
"""Kinds of tasks whose words a site may change (a test compares them with those that are opened)."""

PLACEHOLDERS = ("destination", "source_key", "person_id")
CLASSED_BY = ("job", "department", "category")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known(word: str, words: tuple[str, ...], what: str) -> None:
    if word not in words:
        close = get_close_matches(word, words, n=1)
        hint = f'Did you mean "{close[0]}"?' if close else f"Known here: {', '.join(words)}."
        raise Wrong(f'"{word[:40]}" is no {what}', hint)


def _template(text: str) -> str:
    for name in re.findall(r"\{([^{}]*)\}", text):
        _known(name, PLACEHOLDERS, "placeholder")
    if "{" in re.sub(r"\{[^{}]*\}", "", text) or "}" in re.sub(r"\{[^{}]*\}", "", text):
        raise Wrong("has a brace without its other half", f"Placeholders are {{{'}, {'.join(PLACEHOLDERS)}}}.")
    return text


def _by_kind(given: dict[str, float]) -> dict[str, float]:
    for kind in given:
        _known(kind, KINDS, "kind of task")
    return given


def _classes(given: dict[str, str]) -> dict[str, str]:
    for key in given:
        by, colon, code = key.partition(":")
        if not colon or not code:
            raise Wrong(f'"{key[:40]}" names no code', 'Write "job:CODE", "department:CODE" or "category:CODE".')
        _known(by, CLASSED_BY, "way to choose a security class")
    return given


def _day(value: str) -> str:
    _known(value, DAYS, "day")
    return value


def hours(value: str) -> str:
    """Hours of a day as `07:00-19:00`, or "" for none."""
    if value and re.fullmatch(r"(?:[01]\d|2[0-3]):[0-5]\d-(?:[01]\d|2[0-3]):[0-5]\d", value) is None:
        raise Wrong("is no span of hours", 'Write "02:00-04:00"; one that passes midnight as "22:00-02:00".')
    return value


def _some_hours(value: str) -> str:
    if not value:
        raise Wrong("is empty", 'Write "02:00-04:00".')
    return hours(value)


Template = Annotated[str, AfterValidator(_template)]
Days = Annotated[tuple[Annotated[str, AfterValidator(_day)], ...], BeforeValidator(several), Notation("list of days")]
Hours = Annotated[str, AfterValidator(hours), Notation("hours")]


class TaskText(Section):
    """A site's own words for one kind of task. `name` is the kind: the file's name."""

    name: str = ""
    title: Template = setting("", "the task in one line; empty = the packaged words")
    steps: Annotated[tuple[Template, ...], BeforeValidator(several), Notation("list of texts")] = setting(
        (), "what to do, step by step; each step is closed on its own; empty = the packaged steps"
    )

    @property
    def file(self) -> str:
        """The file, as errors name it."""
        return f"conf/tasks/{self.name}.toml"


class TaskSettings(Section):
    """What is asked of people where no API does it."""

    leaver: bool = setting(True, "a task for each leaver: end the access (an inactive Practitioner ends no login)")
    joiner: bool = setting(False, "a task for each joiner: set up the account (profile epic: true)")
    owner: str = setting("", "the team that new tasks are given to")
    login_identifiers: Names = setting(
        (), "identifier types (CX-5) or assigning authorities of the identifier that is the login id"
    )
    due: Annotated[dict[str, Duration], AfterValidator(_by_kind), Notation("kind = duration")] = setting(
        {}, 'time for a task of a kind, in place of the packaged one (leaver-access = "15m")'
    )


SecurityClasses = Annotated[dict[str, str], AfterValidator(_classes), Notation("by:code = class")]


class MaintenanceWindow(Section):
    """Hours in which nothing is sent to a server."""

    days: Days = setting((), "days on which it begins; empty = each day")
    hours: Annotated[str, AfterValidator(_some_hours), Notation("hours")]


def unknown_kind(kind: str) -> str:
    """What to say of a file for a kind of task that there is not; "" when there is one."""
    try:
        _known(kind, KINDS, "kind of task")
    except Wrong as wrong:
        return wrong.advice
    return ""
