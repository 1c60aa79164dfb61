"""The table of threats in the guide names places and tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import hl7bridge

PACKAGE = Path(hl7bridge.__file__).parent
CLONE = Path(__file__).parents[1]
NONE = {"T17"}  # threats without a place, for what they threaten is not there

Row = tuple[str, str, str, str, str, str]


def rows() -> list[Row]:
    found = []
    for line in (PACKAGE / "guide/security.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if re.fullmatch(r"T\d+", cells[0]):
            number, threat, control, place, test, left = cells
            found.append((number, threat, control, place, test, left))
    return found


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_threat_has_its_row() -> None:
    assert [row[0] for row in rows()] == [f"T{number}" for number in range(1, 28)]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_its_places_and_tests_exist(row: Row) -> None:
    number, _, control, place, test, left = row
    places, tests = named(place), named(test)
    if number in NONE:
        assert (places, tests, len(left) > 1) == ([], [], True)
        return
    assert len(control) > 1
    assert places
    assert tests
    for path in places:
        assert (PACKAGE / path).is_file() or (CLONE / path).is_file(), path
    for name in tests:
        path, _, function = name.partition("::")
        assert (CLONE / path).exists(), path
        if function:
            tree = ast.parse((CLONE / path).read_bytes())
            functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert function in functions, name
