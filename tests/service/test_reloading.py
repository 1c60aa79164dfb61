"""The thread that reads the configuration again outlives whatever happens in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from hl7bridge.config import load
from hl7bridge.service.reloading import Reloader, Running
from hl7bridge.store.opening import open_store
from tests.bridges import Feed, destination, wait_until, write_configuration
from tests.journey import KEY_SYSTEM

SECRET = "a value that must not be told"


def test_a_fault_of_ours_refuses_the_reload_and_the_next_one_is_looked_at(tmp_path: Path) -> None:
    write_configuration(tmp_path, [Feed("staff", KEY_SYSTEM)], {"fhir": destination("http://127.0.0.1:9/fhir")})
    settings, asked = load(tmp_path), []

    def broken(*_: object) -> Any:
        asked.append(1)
        raise RuntimeError(SECRET)

    def opened() -> Any:
        return open_store(tmp_path / "store.sqlite")

    running = Running({}, {}, None, lambda feed: None, broken)  # type: ignore[arg-type, return-value]
    reloader = Reloader(settings, opened, running, lambda call, applied: call(applied), structlog.get_logger())
    store = opened()
    reloader.start()
    for number in (1, 2):
        request = store.reloading.ask_reload("ana", 1_800_000_000.0)
        wait_until(lambda: not store.reloading.reload_asked(), 20, lambda: str(asked))
        [answer] = store.reloading.reloads(request=request)
        assert (answer["accepted"], len(asked)) == (False, number)
        assert "RuntimeError" in answer["report"]["problems"][0]
        assert SECRET not in str(answer)
    reloader.stop()
    reloader.join(20)
    store.close()
