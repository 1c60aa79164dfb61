"""The delivery role as a child: one that hangs keeps nobody from stopping, or from starting it anew."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from hl7bridge.service import children
from hl7bridge.service.children import Child
from tests.bridges import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that does not wait, and /bin/sh")


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    """A child that reads none of its hints, with so many that the next one waits."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(children, "HANGS", 0.1)
    child = Child("delivery", [], structlog.get_logger(), lambda: None)
    child.start()
    process = child._process
    assert process is not None
    assert process.stdin is not None
    pipe = process.stdin.fileno()
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"\n" * 4096)
    os.set_blocking(pipe, True)
    child.hint()
    wait_until(child._writing.locked, 20, "the pipe is not full")
    yield child
    child.stop(0.1)


def test_a_child_that_hangs_is_ended_at_a_stop(hanging: Child) -> None:
    stopping = threading.Thread(target=hanging.stop, args=(0.2,), daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()
    assert hanging.pid == 0


def test_a_child_that_hangs_is_started_anew_where_its_settings_have_changed(hanging: Child) -> None:
    before = hanging.pid
    hanging.restart()
    wait_until(lambda: hanging.pid not in (0, before), 20, "no other child")
