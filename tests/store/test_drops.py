"""Files of drop folders: their messages and how far they were read stand and fall together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hl7bridge.errors import ClaimLost
from hl7bridge.store.inbox.drops import CHANGED, DONE, READ, DropFile, Taken
from hl7bridge.store.store import Accepted, Store
from tests.store.builders import NOW, OpenStore, change, message


def take(store: Store, file: DropFile, control_id: str) -> DropFile:
    """One message of the file."""

    def taken(accepted: list[Accepted]) -> Taken:
        assert [one.message_id > 0 for one in accepted] == [True]
        so_far = file.taken
        return replace(so_far, messages=so_far.messages + 1, offset=so_far.offset + 100, accepted=so_far.accepted + 1)

    return store.drops.accept_from_file(file, [message(change("S1"), control_id=control_id)], taken, NOW + 1)


def test_a_file_goes_on_where_it_was_left(store: Store, open_store: OpenStore) -> None:
    file = store.drops.begin_drop_file("staff", "a.hl7", "x1", 300, NOW)
    assert (file.name, file.size, file.state, file.taken) == ("a.hl7", 300, "reading", Taken())
    file = take(store, take(store, file, "M1"), "M2")
    other = open_store()
    again = other.drops.begin_drop_file("staff", "a.hl7", "x1", 300, NOW + 2)
    assert again == file
    assert again.taken == Taken(messages=2, offset=200, accepted=2)
    assert other.audit.counts()["messages"] == {"accepted": 2}
    assert other.drops.begin_drop_file("staff", "a.hl7", "x2", 300, NOW).taken == Taken()
    assert other.drops.begin_drop_file("agency", "a.hl7", "x1", 300, NOW).taken == Taken()


def test_who_was_overtaken_stores_nothing(store: Store, open_store: OpenStore) -> None:
    file = store.drops.begin_drop_file("staff", "a.hl7", "x1", 300, NOW)
    take(store, file, "M1")
    with pytest.raises(ClaimLost):
        take(open_store(), file, "M2")
    assert store.audit.counts()["messages"] == {"accepted": 1}


def test_what_fails_within_leaves_neither_messages_nor_progress(store: Store) -> None:
    file = store.drops.begin_drop_file("staff", "a.hl7", "x1", 300, NOW)

    def taken(accepted: list[Accepted]) -> Taken:
        raise OSError("no space for results")

    with pytest.raises(OSError, match="no space"):
        store.drops.accept_from_file(file, [message(change("S1"), control_id="M1")], taken, NOW)
    assert store.audit.counts()["messages"] == {}
    assert store.drops.begin_drop_file("staff", "a.hl7", "x1", 300, NOW).taken == Taken()


def test_a_file_without_messages_is_told_of_too(store: Store) -> None:
    file = store.drops.begin_drop_file("staff", "a.hl7", "x1", 300, NOW)
    file = store.drops.accept_from_file(file, [], lambda accepted: Taken(messages=1, others=1), NOW)
    file = store.drops.settle_drop_file(file, READ, NOW + 1, target="done/a.hl7")
    assert store.drops.drop_files("staff", under_way=True) == [file]
    file = store.drops.settle_drop_file(file, DONE, NOW + 2)
    assert store.drops.drop_files() == [file]
    assert (file.state, file.target, file.changed) == ("done", "done/a.hl7", NOW + 2)
    assert store.drops.drop_files(under_way=True) == []
    # the same file, dropped again
    assert store.drops.begin_drop_file("staff", "a.hl7", "x1", 300, NOW).file_id != file.file_id


def test_of_files_that_were_moved_the_latest_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hl7bridge.store.inbox.drops._KEPT", 2)
    waiting = store.drops.begin_drop_file("staff", "old.hl7", "old", 1, NOW)
    other = store.drops.settle_drop_file(store.drops.begin_drop_file("agency", "b.hl7", "b", 1, NOW), CHANGED, NOW)
    for number in range(4):
        store.drops.settle_drop_file(
            store.drops.begin_drop_file("staff", f"{number}.hl7", str(number), 1, NOW), DONE, NOW
        )
    assert [file.name for file in store.drops.drop_files("staff")] == ["3.hl7", "2.hl7", waiting.name]
    assert store.drops.drop_files("agency") == [other]
    assert len(store.drops.drop_files(limit=2)) == 2
