"""The words of tasks: one file of them, and none in the store."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import hl7bridge
from hl7bridge.model import BRAKE, RESTORE_UNDONE, STALE_LIFECYCLE, Task, worded
from hl7bridge.model.task import _words

STORE = Path(hl7bridge.__file__).parent / "store"


@pytest.mark.parametrize("kind", sorted(_words()))
def test_every_kind_says_what_it_is_and_what_to_do(kind: str) -> None:
    made = worded(kind)
    assert (made.kind, bool(made.title)) == (kind, True)
    assert made.title[-1] not in ".:"
    assert made.steps, kind
    assert all(step.endswith(".") and step == " ".join(step.split()) for step in made.steps)
    assert made.due_within >= 0


def test_values_take_the_place_of_their_names_alone() -> None:
    made = worded("leaving-report", destination="{destination}", other="x")
    assert made == worded("leaving-report"), "what a value holds is no placeholder"
    assert "go-live ehr (--show" in worded("leaving-report", destination="ehr").steps[1]


def test_a_kind_without_words_is_told() -> None:
    with pytest.raises(KeyError):
        worded("no-such-kind")


def test_the_store_knows_kinds_and_no_words() -> None:
    """What it opens by itself it names; `unworded` makes a task of nothing but a kind, where no words were given."""
    made, opened = [], set()
    for path in STORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Task":
                made.append(ast.unparse(node))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "open_kind":
                opened.add(ast.unparse(node.args[0]))
    assert made == ["Task(kind, kind)"]
    assert opened == {"BRAKE", "STALE_LIFECYCLE", "RESTORE_UNDONE"}
    assert all(isinstance(worded(kind), Task) for kind in (BRAKE, STALE_LIFECYCLE, RESTORE_UNDONE))
