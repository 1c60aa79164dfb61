"""Whoever logs never fails and never waits: with a disk that is full, a reader who is gone or stands still, a file that was
renamed. What could not be written is counted, and said later."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from hl7bridge.errors import ConfigError
from hl7bridge.service import log as logs
from hl7bridge.service.lasting import lasting
from hl7bridge.service.log_sink import BATCH, LOOK, LogSink

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full and /dev/fd")


def missing(count: int) -> str:
    return f"{count} lines are missing"


class Clock:
    """Time that only moves when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rested = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __call__(self) -> float:
        return self.now

    def rest(self, seconds: float) -> None:
        """The writing thread stands here until the test lets it try again."""
        self.rested.release()
        self.go_on.acquire()
        self.now += max(seconds, LOOK)


def test_on_a_full_disk_lines_wait_and_the_rest_is_counted(tmp_path: Path) -> None:
    clock, path, disk = Clock(), tmp_path / "bridge.log", tmp_path / "disk.log"
    path.symlink_to("/dev/full")
    sink = LogSink(path, missing, most=5, rest=clock.rest, steady=clock)
    sink.put("first")
    assert clock.rested.acquire(timeout=10)  # the write failed, and the thread tries again later
    for number in range(8):
        sink.put(f"line {number}")
    assert not sink.flush(0)
    path.unlink()
    path.symlink_to(disk)  # space again
    clock.go_on.release()
    assert sink.flush(10)
    lines = disk.read_text().splitlines()
    assert lines == ["first", *(f"line {number}" for number in range(5)), "3 lines are missing"]


def test_a_reader_who_stands_still_holds_nobody_up(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    sink = LogSink(Path(f"/dev/fd/{writing}"), missing, most=300, rest=lambda _: None)
    os.close(writing)  # the sink has opened its own
    many = 3000
    for number in range(many):  # 3 MB into 64 KiB: this would stand still for ever
        sink.put(f"{number} " + "x" * 1000)
    assert not sink.flush(0)
    read = bytearray()

    def drain() -> None:
        while part := os.read(reading, 1 << 16):
            read.extend(part)

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    assert sink.flush(10)
    os.close(sink._descriptor)
    reader.join(10)
    os.close(reading)
    lines = read.decode().splitlines()
    lost = [int(line.split()[0]) for line in lines if line.endswith("lines are missing")]
    written = [line for line in lines if not line.endswith("lines are missing")]
    assert lost
    assert len(written) + sum(lost) == many
    assert 300 <= len(written) < 300 + 3 * BATCH


def test_a_reader_who_is_gone_fails_nobody() -> None:
    reading, writing = os.pipe()
    clock = Clock()
    sink = LogSink(Path(f"/dev/fd/{writing}"), missing, most=3, rest=clock.rest, steady=clock)
    os.close(writing)
    os.close(reading)
    for number in range(20):
        sink.put(f"{number}")
    assert clock.rested.acquire(timeout=10)
    clock.go_on.release()
    assert clock.rested.acquire(timeout=10)  # it goes on trying


def test_a_renamed_file_is_made_anew(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "bridge.log"
    sink = LogSink(path, missing, steady=clock)
    sink.put("before")
    assert sink.flush(10)
    path.rename(tmp_path / "bridge.log.1")
    sink.put("at once")  # nobody has looked yet
    assert sink.flush(10)
    clock.now += LOOK
    sink.put("after")
    assert sink.flush(10)
    assert (tmp_path / "bridge.log.1").read_text() == "before\nat once\n"
    assert path.read_text() == "after\n"
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(tmp_path / "bridge.log.2")
    sink.reopen()
    sink.put("told")
    assert sink.flush(10)
    assert path.read_text() == "told\n"


def test_a_file_that_cannot_be_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.file: there can be no log file: no such file"):
        LogSink(tmp_path / "missing" / "bridge.log", missing)


@contextmanager
def configured(path: Path) -> Iterator[None]:
    before = structlog.get_config()
    logs.configure("info", "json", path)
    try:
        yield
    finally:
        structlog.configure(**before)


def test_no_log_call_raises_whatever_it_is_given(tmp_path: Path) -> None:
    class Nothing:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    path = tmp_path / "bridge.log"
    with configured(path):
        log = logs.get_logger("listener", feed="staff")
        log.info("half a pair \ud800", count=1)
        log.warning("no words", what=Nothing())
        logs.flush(10)
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    assert "RuntimeError" in lines[1]


def test_work_that_fails_is_said_by_name_and_begins_anew() -> None:
    said: list[str] = []
    rests: list[float] = []
    ends: list[Callable[[], None]] = [lambda: 1 / 0, lambda: [][0], lambda: None]  # type: ignore[list-item,func-returns-value]

    def telling(text: str) -> None:
        said.append(text)
        raise OSError("whoever is told fails, too")

    lasting(lambda: ends.pop(0)(), telling, lambda: False, rests.append)
    assert said == ["a defect (ZeroDivisionError)", "a defect (IndexError)"]
    assert (len(rests), ends) == (2, [])


def test_work_that_fails_while_the_role_stops_is_over() -> None:
    said: list[str] = []
    lasting(lambda: 1 / 0, said.append, lambda: True, pytest.fail)  # type: ignore[arg-type,return-value]
    assert said == ["a defect (ZeroDivisionError)"]


def test_a_file_that_cannot_even_be_closed_does_not_end_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = LogSink(tmp_path / "bridge.log", missing)
    sink.put("before")
    assert sink.flush(10)
    close, failed = os.close, []

    def fails(descriptor: int) -> None:
        """As on a network's disk that is full: what was written is not there."""
        close(descriptor)
        failed.append(descriptor)
        raise OSError

    (tmp_path / "bridge.log").rename(tmp_path / "old.log")
    monkeypatch.setattr(os, "close", fails)
    sink.reopen()
    sink.put("after")
    assert sink.flush(10)
    sink.put("and after that")
    assert sink.flush(10)
    monkeypatch.undo()
    assert failed
    assert (tmp_path / "bridge.log").read_text().splitlines() == ["after", "and after that"]
