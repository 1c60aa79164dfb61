"""Log lines: what the allow-list drops would be said to nobody, so no line in the package gives a key that is not on it."""

from __future__ import annotations

import ast
from pathlib import Path

import hl7bridge
from hl7bridge.service.log import SAFE_KEYS

LEVELS = {"debug", "info", "warning", "error"}
PICKED = {"say", "tell"}  # names under which a level is picked first
PACKAGE = Path(hl7bridge.__file__).parent


def keys_given() -> list[tuple[str, str]]:
    """(file and line, key) of every log call in the service."""
    found = []
    for path in sorted((PACKAGE / "service").rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            function = call.func
            by_level = isinstance(function, ast.Attribute) and function.attr in LEVELS
            if by_level or (isinstance(function, ast.Name) and function.id in PICKED):
                found += [(f"{path.name}:{call.lineno}", keyword.arg) for keyword in call.keywords if keyword.arg]
    return found


def test_every_key_of_a_log_line_reaches_it() -> None:
    given = keys_given()
    assert len(given) > 50
    assert [(where, key) for where, key in given if key not in SAFE_KEYS] == []
