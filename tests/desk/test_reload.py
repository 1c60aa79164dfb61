"""Asking the running service to read conf/ again, and the preview of what it would read differently."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from hl7bridge.desk import reload
from hl7bridge.desk.mapping import preview as mapping_preview
from tests.desk.conftest import ANA, BO, Office, person


def test_an_answer_is_waited_for(office: Office) -> None:
    def answered(seconds: float) -> None:
        office.store.reloads.answer_reload(
            office.store.reloads.reload_asked(), True, {"mappings": {"staff": ["1", "2"]}}, 4e9 + 1
        )

    done = reload.ask(office.store, BO, 10, clock=lambda: 4e9, sleep=answered)
    assert done is not None
    assert (done.who, done.asked, done.answered, done.accepted) == ("bo (by console)", 4e9, 4e9 + 1, True)
    assert reload.as_data(done)["answered"] == "2096-10-02T07:06:41.000+00:00"
    assert reload.history(office.store).rows == (done,)


def test_a_request_that_nobody_answers_is_withdrawn(office: Office) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    assert reload.ask(office.store, ANA, 3, elapsed=lambda: now[0], sleep=sleep) is None
    assert 3 <= now[0] < 3.2
    assert reload.history(office.store).rows == ()


def test_a_preview_counts_in_what_messages_would_read_differently(office: Office) -> None:
    office.take_in(person("E100", "X1"), person("E200", "X2"))
    same = mapping_preview.preview(office.store, office.settings, 10)
    assert (same.looked_at, same.changed) == (2, False)
    feed = office.settings.feeds["staff"].model_copy(update={"tables": MappingProxyType({"0001": {"F": "M"}})})
    settings = replace(office.settings, feeds=MappingProxyType({"staff": feed}))
    found = mapping_preview.preview(office.store, settings, 1, feed="staff")
    assert (found.looked_at, dict(found.counts)) == (1, {"practitioner": 1})
    assert [message["control_id"] for message in found.messages] == ["X2"]
    words = mapping_preview.difference_in_words(found.messages[0]["differences"][0])
    assert words["path"] == "record 1: content of the person"
