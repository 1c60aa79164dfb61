"""A site's own words for tasks: title and steps of a kind, who is to do it, and until when. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hl7bridge.model import Task
from hl7bridge.store.worklist import Subject

NOBODY_YET = "(not known yet)"


@dataclass(frozen=True, slots=True)
class Wording:
    """How tasks of one destination are worded.

    texts  kind -> (title, steps); "" and () = as it comes
    owner  the team that new tasks are given to
    due    kind -> seconds
    """

    texts: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    owner: str = ""
    due: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, task: Task, subject: Subject) -> Task:
        """The task as it is opened: the site's words, with the placeholders filled in."""
        title, steps = self.texts.get(task.kind, ("", ()))
        values = {
            "destination": subject.destination,
            "source_key": subject.source_key or NOBODY_YET,
            "person_id": subject.person_id or NOBODY_YET,
        }
        return replace(
            self.timed(task),
            title=_filled(title or task.title, values),
            steps=tuple(_filled(step, values) for step in steps or task.steps),
            owner=task.owner or self.owner,
        )

    def timed(self, task: Task) -> Task:
        """The task with the site's due time."""
        return replace(task, due_within=self.due.get(task.kind, task.due_within))


def _filled(text: str, values: Mapping[str, str]) -> str:
    """One line, as a step is one line of the store."""
    filled = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)
    return " ".join(filled.split())
