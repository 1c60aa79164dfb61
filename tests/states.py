"""The tables of transitions as a page: `python -m tests.states` writes what `guide/states.md` shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import hl7bridge
from hl7bridge.model import STARTS, TRANSITIONS
from hl7bridge.service.inbound.states import CONNECTION_STARTS, CONNECTION_TRANSITIONS

PAGE = Path(hl7bridge.__file__).parent / "guide" / "states.md"
BLOCK = re.compile(r"(?<=```text\n).*?(?=```\n)", re.DOTALL)


def drawn() -> list[str]:
    """The deliveries' table and the connections': each state with an arrow for every change that may follow, as text."""
    deliveries = [("accepted", state, why) for state, why in STARTS.items()]
    connections = [(event, state, why) for event, (state, why) in CONNECTION_STARTS.items()]
    return [_table(deliveries, TRANSITIONS), _table(connections, CONNECTION_TRANSITIONS)]


def _table(starts: Iterable[tuple[str, str, str]], transitions: Mapping[Any, tuple[Any, ...]]) -> str:
    lines = ["(new)", *(_arrow(*start) for start in starts)]
    for state, following in transitions.items():
        if following:
            lines += ["", state.value, *(_arrow(one.event, one.becomes, one.why) for one in following)]
    return "\n".join(lines) + "\n"


def _arrow(event: str, becomes: str, why: str) -> str:
    return f"  {f'--{event}':-<16}> {becomes:<13}{why}"


def shown(page: str) -> list[str]:
    """What the page draws."""
    return BLOCK.findall(page)


if __name__ == "__main__":
    tables = iter(drawn())
    PAGE.write_text(BLOCK.sub(lambda _: next(tables), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
