"""The table of transitions as a page: `python -m tests.store.states` writes what `guide/states.md` shows."""

from __future__ import annotations

from pathlib import Path

import hl7bridge
from hl7bridge.model import STARTS, TRANSITIONS

PAGE = Path(hl7bridge.__file__).parent / "guide" / "states.md"
BEGIN, END = "```text\n", "```\n"


def drawn() -> str:
    """Each state with an arrow for every change that may follow, as text."""
    lines = ["(new)"]
    lines += [_arrow("accepted", state, why) for state, why in STARTS.items()]
    for state, following in TRANSITIONS.items():
        lines += ["", state.value, *(_arrow(one.event, one.becomes, one.why) for one in following)]
    return "\n".join(lines) + "\n"


def _arrow(event: str, becomes: str, why: str) -> str:
    return f"  {f'--{event}':-<16}> {becomes:<11}{why}"


def shown(page: str) -> str:
    """What the page draws."""
    return page.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.replace(BEGIN + shown(text) + END, BEGIN + drawn() + END), encoding="utf-8")
