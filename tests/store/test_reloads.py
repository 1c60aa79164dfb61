"""Reloads: asked for, answered once, kept."""

from __future__ import annotations

from pathlib import Path

from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.store import Store
from tests.store.builders import NOW, accept_one, change, claim


def test_a_reload_is_asked_for_answered_and_remembered(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as asking, SqliteStore(tmp_path / "s.db") as answering:
        assert answering.reloads.reload_asked() == 0
        first = asking.reloads.ask_reload("ana", NOW)
        second = asking.reloads.ask_reload("ben", NOW + 1)
        assert answering.reloads.reload_asked() == second > first
        answering.reloads.answer_reload(second, True, {"feeds": {"staff": "v1"}}, NOW + 2)
        assert answering.reloads.reload_asked() == 0
        assert [(row.who, row.accepted, row.answered) for row in asking.reloads.reloads()] == [
            ("ben", True, NOW + 2),
            ("ana", True, NOW + 2),
        ]
        (row,) = asking.reloads.reloads(request=second)
        assert row.report == {"feeds": {"staff": "v1"}}


def test_what_nobody_answers_can_be_taken_back(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as store:
        request = store.reloads.ask_reload("ana", NOW)
        assert store.reloads.reloads()[0].report == {}
        assert store.reloads.withdraw_reload(request)
        assert store.reloads.reload_asked() == 0
        request = store.reloads.ask_reload("ana", NOW)
        store.reloads.answer_reload(request, False, {"problems": ["x"]}, NOW)
        assert not store.reloads.withdraw_reload(request)
        assert [row.accepted for row in store.reloads.reloads()] == [False]


def test_the_mapping_that_a_person_let_go_live_comes_with_what_is_known(store: Store) -> None:
    accept_one(store, change("S1"))
    (one,) = claim(store)
    destination, feed = one.destination, one.feed
    assert one.known.confirmed == ""
    for versions, accepted, confirmed in (
        ([["v0", "v1"]], True, "v1"),
        ([["v1", "v2"]], False, "v1"),
        ([["v1", "v1"]], True, "v1"),
        ([["v1", "v3"]], True, "v3"),
    ):
        request = store.reloads.ask_reload("ana", NOW)
        store.reloads.answer_reload(request, accepted, {"mappings": {feed: versions[0], "other": ["a", "b"]}}, NOW)
        assert store.crosswalk.known(destination, feed, "S1").confirmed == confirmed
    assert store.crosswalk.known(destination, "another", "S1").confirmed == ""
    accept_one(store, change("S2"))
    assert [one.known.confirmed for one in claim(store)] == ["v3"]
