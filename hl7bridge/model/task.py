"""Work that no API can do, for a person: tasks, their steps, and the facts that close them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """A step of a task that a read of the server, or a later record, closes by itself once it shows `fact`.

    `gate`: the steps that are no gate wait until it is closed.
    """

    fact: str
    text: str
    gate: bool = False


PERSON_INACTIVE, ROLES_ENDED = "person-inactive", "roles-ended"
"""Facts that a read of the server shows of a leaver."""
NAME_KNOWN, LOGIN_KNOWN, CLASS_KNOWN = "name-known", "login-known", "class-known"
"""Facts that a record shows of a joiner: what it takes to set up the account."""


@dataclass(frozen=True, slots=True)
class Task:
    """Work that no API can do, for a person. `steps` are complete sentences. `kind` e.g. "leaver-access".

    due_within  seconds after which it is overdue, 0 = never
    checks      further steps, which close themselves: gates stand before `steps`, the others behind
    by_facts    the checks alone close it, whatever else is open
    owner       who is to do it: a team, or a person; "" = nobody yet
    """

    kind: str
    title: str
    steps: tuple[str, ...] = ()
    due_within: float = 0.0
    checks: tuple[Check, ...] = ()
    by_facts: bool = False
    owner: str = ""


def worded(kind: str, **values: str) -> Task:
    """The task of that kind in the words of `tasks.toml`; `values` take the place of placeholders of their names, and those
    without a value stay for the site's wording. Raises KeyError for a kind that is not there."""
    given = _words()[kind]

    def filled(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)

    return Task(kind, filled(given["title"]), tuple(map(filled, given["steps"])), float(given["due"]))


@cache
def _words() -> dict[str, Any]:
    import tomllib  # here, so that commands without tasks start quickly
    from importlib.resources import files

    return tomllib.loads((files("hl7bridge.model") / "tasks.toml").read_text(encoding="utf-8"))


BRAKE = "brake"
"""The cause of a hold, and the kind of its task: more people would be ended than a destination takes unasked."""
STALE_LIFECYCLE = "stale-lifecycle"
"""Kind of the task for a record that ends somebody, or brings them back, and was older than what was applied."""
RESTORE_UNDONE = "restore-undone"
"""Kind of the task for a message that changed again what a person had restored."""
LEAVER_UNVERIFIED = "leaver-unverified"
"""Kind of the task for a leaver whose deactivation takes too long: a read that shows the person inactive closes it."""
WRITES_REFUSED = "writes-refused"
"""Why a destination is paused, and the kind of the task that says so: its server takes no writes from us."""

STANDING_TASKS = frozenset({"leaver-access", "shared-person", "deleted-in-source", "joiner-setup", "provider-linkage"})
"""Kinds of tasks that are about a person: they stay open however the delivery that opened them ends."""
