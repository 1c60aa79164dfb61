"""A mutant is a module with one change, and every place of a module gives another one."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.__main__ import ROOMS, ROOT, drawn
from tests.mutants.mutating import mutant, places

SOURCE = '''
"""A docstring that stays."""
LIMIT = 3

def over(count: "int", names: list) -> bool:
    """Another one."""
    if count + 1 > LIMIT and names:
        return True
    return "MSH" in names
'''


def test_every_place_gives_another_module() -> None:
    found = places(SOURCE)
    made = {mutant(SOURCE, place.number) for place in found}
    assert len(made) == len(found) == 11
    assert ast.unparse(ast.parse(SOURCE)) not in made
    assert all("A docstring that stays." in text and "count: 'int'" in text for text in made)
    with pytest.raises(IndexError):
        mutant(SOURCE, len(found))


def test_what_is_drawn_is_there_and_the_same_for_a_seed() -> None:
    one = drawn(list(ROOMS), 40, 1)
    assert one == drawn(list(ROOMS), 40, 1) != drawn(list(ROOMS), 40, 2)
    assert all((ROOT / path).exists() for room in ROOMS.values() for path in room.tests)
