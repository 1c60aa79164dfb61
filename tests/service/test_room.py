"""Messages are refused before the disk is full, and taken again only when there is more room than at the mark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hl7bridge.service.inbound.room import LOOK, Room
from hl7bridge.service.inbound.writer import StoreWriter
from hl7bridge.store.opening import open_store
from tests.service.test_writer import Answers, new

MIB = 1 << 20


class Disk:
    """A disk of which a test says how full it is, and a clock."""

    def __init__(self, whole: int, free: int) -> None:
        self.whole, self.free, self.now = whole, free, 0.0
        self.asked = 0

    def usage(self, folder: Path) -> tuple[int, int, int]:
        self.asked += 1
        if self.free < 0:
            raise OSError("no such disk")
        return self.whole, self.whole - self.free, self.free

    def room(self, told: list[bool], keep_free: int = 100 * MIB, percent: float = 5.0) -> Room:
        tell = lambda there, free, percent: told.append(there)  # noqa: E731
        return Room(Path("x"), keep_free, percent, tell, usage=self.usage, steady=lambda: self.now)

    def to(self, free: int) -> None:
        self.free = free
        self.now += LOOK


@pytest.mark.parametrize(
    ("whole", "free", "there"),
    [
        (1000 * 1024 * MIB, 101 * MIB, True),  # a large disk: the bytes count
        (1000 * 1024 * MIB, 99 * MIB, False),
        (12 * MIB, 1 * MIB, True),  # a small one: the percentage does
        (12 * MIB, MIB // 2, False),
        (12 * MIB, -1, True),  # a disk that does not say
    ],
)
def test_the_lesser_of_bytes_and_percentage_is_the_mark(whole: int, free: int, there: bool) -> None:
    assert Disk(whole, free).room([]).left() is there


@pytest.mark.parametrize(("keep_free", "percent"), [(0, 5.0), (100 * MIB, 0.0)])
def test_either_at_nought_turns_it_off(keep_free: int, percent: float) -> None:
    disk = Disk(1000 * MIB, 0)
    assert disk.room([], keep_free, percent).left()
    assert disk.asked == 0


def test_room_comes_and_goes_once_and_is_told_once() -> None:
    disk, told = Disk(1000 * 1024 * MIB, 200 * MIB), []
    room = disk.room(told)
    seen = []
    for free in (200, 99, 101, 99, 124, 126, 101, 99):  # to and fro at the mark is one change
        disk.to(free * MIB)
        seen.append(room.left())
    assert seen == [True, False, False, False, False, True, True, False]
    assert told == [False, True, False]


def test_the_disk_is_asked_once_a_second() -> None:
    disk = Disk(1000 * MIB, 500 * MIB)
    room = disk.room([])
    for _ in range(1000):
        room.left()
    assert disk.asked == 1


def test_without_room_a_message_is_refused_and_not_stored(tmp_path: Path) -> None:
    disk, answers = Disk(1000 * 1024 * MIB, 1 * MIB), Answers()
    room = disk.room([])
    writer = StoreWriter(lambda: open_store(tmp_path / "store.db"), lambda call: call(), room=room.left)
    writer.start()
    assert writer.put(new("a"), answers.to("a"))
    assert answers.next() == ("a", None)
    disk.to(500 * MIB)
    assert writer.put(new("b"), answers.to("b"))
    assert answers.next()[1] is not None
    writer.stop()
    writer.join(20)
    store = open_store(tmp_path / "store.db")
    assert [message.control_id for message in store.audit.messages()] == ["b"]
    assert writer.backlog == 0
    store.close()


def test_a_store_of_another_machine_has_room_as_far_as_this_one_knows() -> None:
    def usage(folder: object) -> Any:
        raise AssertionError("no disk of this machine is looked at")

    assert Room(None, 10**18, 100.0, lambda *told: None, usage=usage).left()
