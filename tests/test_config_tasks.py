"""A site's own words for tasks, what a destination asks of people, and hours: what is read, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.assemble.destinations import destination_rules
from hl7bridge.destinations.fhir.tasks import leaver_unverified
from hl7bridge.service.startup import watched_of
from hl7bridge.store.worklist import Subject
from tests.test_config import DESTINATION, DESTINATION_FILE, problems
from tests.test_config import site as site  # the fixture

WORDS = """
title = "Access of {source_key}"
steps = ["Call the desk about {person_id} at {destination}.", "Close the badge."]
"""


def write(site: Path, file: str, text: str) -> None:
    (site / file).parent.mkdir(exist_ok=True)
    (site / file).write_text(text)


def test_a_site_s_words_owner_and_due_times_reach_the_task(site: Path) -> None:
    write(site, "conf/tasks/leaver-unverified.toml", WORDS)
    more = '[tasks]\nowner = "desk"\n[tasks.due]\nleaver-unverified = "5m"\n'
    (site / DESTINATION_FILE).write_text(DESTINATION + more)
    settings = config.load(site, {})
    watched = watched_of(settings.destinations["ehr"], settings)
    task = watched.wording(leaver_unverified(), Subject("ehr", "B1", "p1"))
    assert (task.title, task.owner, task.due_within) == ("Access of B1", "desk", 300.0)
    assert task.steps == ("Call the desk about p1 at ehr.", "Close the badge.")
    assert task.checks == leaver_unverified().checks


@pytest.mark.parametrize(
    ("profile", "tasks", "joiner"),
    [("generic", "", False), ("epic", "", True), ("epic", "joiner = false", False), ("generic", "joiner = true", True)],
)
def test_who_is_asked_for_joiners(site: Path, profile: str, tasks: str, joiner: bool) -> None:
    text = f'profile = "{profile}"\n{DESTINATION}\n[tasks]\n{tasks}\n[security_classes]\n"job:RN" = "Nurse"\n'
    (site / DESTINATION_FILE).write_text(text)
    rules = destination_rules(config.load(site, {}).destinations["ehr"])
    assert (rules.tasks.joiner, rules.tasks.leaver) == (joiner, True)
    assert rules.tasks.security_classes == {"job:RN": "Nurse"}


def test_windows_and_office_hours(site: Path) -> None:
    text = f'timezone = "UTC"\n{DESTINATION}[brake]\noffice_hours = "07:00-19:00"\n'
    text += '[[maintenance]]\ndays = ["sun", "wed"]\nhours = "22:00-02:00"\n[[maintenance]]\nhours = "12:00-12:30"\n'
    (site / DESTINATION_FILE).write_text(text)
    settings = config.load(site, {})
    watched = watched_of(settings.destinations["ehr"], settings)
    assert [sorted(window.days) for window in watched.maintenance] == [[2, 6], [0, 1, 2, 3, 4, 5, 6]]
    assert [sorted(window.days) for window in watched.office] == [[0, 1, 2, 3, 4]]
    assert (watched.off_hours_changes, str(watched.maintenance[0].zone)) == (50, "UTC")


@pytest.mark.parametrize(
    ("file", "text", "key", "problem", "advice"),
    [
        ("leaver-acess", WORDS, "", "is for no kind of task", 'Did you mean "leaver-access"?'),
        ("leaver-access", 'title = "{sorce_key}"', "title", "no placeholder", 'Did you mean "source_key"?'),
        ("leaver-access", 'steps = ["{patient}"]', "steps", "no placeholder", "Known here: destination"),
        ("leaver-access", 'title = "a { b"', "title", "brace without its other half", "Placeholders are {destination}"),
        ("leaver-access", 'titel = "x"', "titel", "unknown key", 'Did you mean "title"?'),
    ],
)
def test_mistakes_in_a_site_s_words(site: Path, file: str, text: str, key: str, problem: str, advice: str) -> None:
    write(site, f"conf/tasks/{file}.toml", text)
    ((where, at, said, help_),) = problems(site)
    assert (where, at) == (f"conf/tasks/{file}.toml", key)
    assert problem in said
    assert advice in help_


@pytest.mark.parametrize(
    ("text", "key", "problem", "advice"),
    [
        ('[tasks.due]\nleaver-acess = "1h"', "tasks.due", "no kind of task", 'Did you mean "leaver-access"?'),
        ('[security_classes]\n"RN" = "Nurse"', "security_classes", "names no code", "job:CODE"),
        ('[security_classes]\n"jobs:RN" = "Nurse"', "security_classes", "no way to choose", 'Did you mean "job"?'),
        ('[[maintenance]]\nhours = "2-4"', "maintenance.hours", "no span of hours", "02:00-04:00"),
        ('[[maintenance]]\nhours = ""', "maintenance.hours", "is empty", "02:00-04:00"),
        ('[[maintenance]]\ndays = ["sunday"]\nhours = "02:00-04:00"', "maintenance.days", "no day", '"sun"'),
        ('[[maintenance]]\nhour = "02:00-04:00"', "maintenance.hour", "unknown key", 'Did you mean "hours"?'),
        ('[[maintenance]]\ndays = ["sun"]', "maintenance.hours", "missing", ""),
        ('[brake]\noffice_hours = "7-19"', "brake.office_hours", "no span of hours", "22:00-02:00"),
        ('[tasks]\njoiners = true', "tasks.joiners", "unknown key", 'Did you mean "joiner"?'),
    ],
)  # fmt: skip
def test_mistakes_in_what_a_destination_asks(site: Path, text: str, key: str, problem: str, advice: str) -> None:
    (site / DESTINATION_FILE).write_text(f"{DESTINATION}\n{text}\n")
    ((where, at, said, help_),) = problems(site)
    assert (where, at) == (DESTINATION_FILE, key)
    assert problem in said
    assert advice in help_
