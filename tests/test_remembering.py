"""What is remembered between messages is bounded in bytes, whatever senders send."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hl7bridge
from hl7bridge.errors import MessageError
from hl7bridge.hl7 import charset, escapes
from hl7bridge.hl7.message import read_header
from hl7bridge.model.remembering import LONGEST, remembered

PACKAGE = Path(hl7bridge.__file__).parent

# Functions that remember without `remembered`: their arguments are settings, packaged names, our own texts, or single
# characters of MSH-1 and MSH-2. What a command remembers ends with it.
OF_SETTINGS = {
    "mapping.plain.compiled": {"compiled_for"},
    "mapping.rules.plans": {"plans_for"},
    "mapping.rules.tables": {"_text", "packaged"},
    "store.queue.claims": {"blocked"},
    "store.queue.moves": {"_update"},
    "mapping.rules.reading": {"reader_of"},
    "mapping.rules.shapes": {"glances"},
    "model.provenance": {"of", "read"},  # names of fields, as we write them
    "service.inbound.admission": {"host_of"},  # addresses, as the system writes them
    "store.connection": {"_of_several"},
    "store.encoding": {"_said"},
    "hl7.boundaries": {"_beginning", "_segment", "_named"},
    "hl7.escapes": {"_separators_of", "escaping", "_sequences", "_silent_sequence"},
    "hl7.echoing": {"_marks"},
    "hl7.message": {"_looks_like_a_segment", "_place"},
}
OF_COMMANDS = ("cli.", "invented.", "sandbox.")


def remembering() -> Iterator[tuple[str, str, int]]:
    """(module, function, arguments) of everything under a plain `lru_cache` or `cache`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    name = decorator.func if isinstance(decorator, ast.Call) else decorator
                    if isinstance(name, ast.Name) and name.id in ("lru_cache", "cache"):
                        yield module, node.name, len(node.args.args)


def test_what_is_kept_by_the_words_of_a_message_is_kept_by_short_ones() -> None:
    found = [
        f"{module}.{name}"
        for module, name, arguments in remembering()
        if arguments and not module.startswith(OF_COMMANDS) and name not in OF_SETTINGS.get(module, ())
    ]
    assert found == []


def test_long_texts_are_worked_out_anew() -> None:
    asked = []

    @remembered(4)
    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    short, long = "a" * LONGEST, "a" * (LONGEST + 1)
    assert [length(short), length(short), length(long), length(long)] == [LONGEST, LONGEST, LONGEST + 1, LONGEST + 1]
    assert asked == [short, long, long]


def test_headers_with_long_separators_and_sets_leave_nothing_behind() -> None:
    """By identity: a text that is remembered has one holder more."""
    for number in range(3):
        for raw in (
            b"MSH|^~\\&" + b"#" * (10_000 + number) + b"|A\r",
            b"MSH|^~\\&|\xe9" + b"|" * 15 + b"8859/1" + b"." * 9_000,
        ):
            header = read_header(raw)
            text = "".join(["^~\\&", "#" * (10_000 + number)])
            before = sys.getrefcount(text)
            assert escapes.separators_of("|", text).truncation == "#"
            assert sys.getrefcount(text) == before
            assert header.separators.field == "|"
    name = "".join(["BIG5", "-" * 5_000])
    before = sys.getrefcount(name)
    with pytest.raises(MessageError, match="table 0211"):
        charset.codec_of(name)
    assert sys.getrefcount(name) == before
