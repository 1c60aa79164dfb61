"""The reader agrees with python-hl7 on every field of the corpus where python-hl7 reads it right.

Where it does not, `EXCEPTIONS` says why, and the test fails on an exception that is no longer needed. Two conditions are met
for python-hl7 beforehand: it splits segments at CR alone, so that files with LF or CR LF are given to it with CR; and it
decodes with the one encoding that it is told, so that it is told the one of MSH-18.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.errors import MessageError
from hl7bridge.hl7 import batch
from hl7bridge.hl7.message import Message, Segment, Separators, unescape
from tests.examples import examples
from tests.hl7.corpus import CORPUS, FILES, name, needs_corpus

# what is odd -> (whether a message is, why python-hl7 is no reference for it)
EXCEPTIONS: dict[str, tuple[Callable[[Message], bool], str]] = {
    "short MSH-2": (
        lambda message: 0 < len(message.header.field(2)) < 4,
        "python-hl7 takes the recommended character for one that MSH-2 leaves out; there it is data (2.5.4)",
    ),
    "doubled MSH-2": (
        lambda message: len(set(message.header.field(2))) < len(message.header.field(2)),
        "one character named twice: python-hl7 splits by it twice",
    ),
    "MSH-2 at the end": (
        lambda message: message.segments[0].fields == 2,
        "python-hl7 takes the end of MSH-2 from the separator behind it",
    ),
    "blank in a segment name": (
        lambda message: any(s.name and not s.text.startswith(s.name + "|") for s in message.segments if s.fields),
        "python-hl7 keeps the blank in `PID `, so that the segment is not found by its name",
    ),
}


def cr_text(message: Message) -> str:
    """The message as text whose segments end in CR, whatever ended them."""
    text = message.raw.decode(message.codec)
    return re.sub("\r?\n", "\r", text) if message.line_ending == "\n" else re.sub("\n*\r\n*", "\r", text)


def texts(field: object) -> list[list[list[str]]]:
    """A field of python-hl7 as repetitions of components of sub-components, still escaped."""
    return [[[str(part) for part in parts(component)] for component in parts(rep)] for rep in parts(field)]


def parts(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def ours(segment: Segment, number: int, message: Message) -> list[list[list[str]]]:
    separators = message.separators

    def split(text: str, mark: str) -> list[str]:
        return text.split(mark) if mark else [text]

    return [
        [
            split(repetition.raw_component(component), separators.subcomponent)
            for component in range(1, repetition.components + 1)
        ]
        or [[""]]
        for repetition in segment.repetitions(number)
    ] or [[[""]]]


def without_splits(segment: Segment, number: int) -> bool:
    return number <= 2 and segment.name in ("MSH", "FHS", "BHS")


def compare(message: Message) -> int:
    """How many fields agree. Raises AssertionError where one does not."""
    theirs = hl7.parse(cr_text(message))
    agreed = 0
    assert len(theirs) == len(message.segments)
    for segment, other in zip(message.segments, theirs, strict=True):
        assert len(other) - 1 == segment.fields
        assert str(other[0]) == (segment.name or segment.text.split(message.separators.field)[0])
        for number in range(1, segment.fields + 1):
            if without_splits(segment, number):
                assert str(other[number]) == segment.raw(number)
            else:
                assert str(other[number]) == segment.raw(number), f"{segment.name}-{number}"
                assert texts(other[number]) == ours(segment, number, message), f"{segment.name}-{number}"
            agreed += 1
    return agreed


def exception(message: Message) -> str:
    return next((name for name, (applies, _) in EXCEPTIONS.items() if applies(message)), "")


def messages() -> Iterator[tuple[str, Message]]:
    """Every message of the corpus that is readable at all, batches split."""
    for path in FILES:
        for number, raw in enumerate(batch.split(path.read_bytes()).messages):
            try:
                yield f"{name(path)}[{number}]", Message(raw)
            except MessageError:
                continue


@needs_corpus
def test_every_field_agrees() -> None:
    compared = fields = 0
    excused: dict[str, int] = {}
    wrong: list[str] = []
    for where, message in messages():
        excuse = exception(message)
        try:
            fields += compare(message)
            compared += 1
        except AssertionError as error:
            if excuse:
                excused[excuse] = excused.get(excuse, 0) + 1
            else:
                wrong.append(f"{where}: {str(error).splitlines()[0]}")
    assert wrong == []
    assert sorted(excused) == sorted(EXCEPTIONS)
    assert sum(excused.values()) < 15
    assert compared > 220
    assert fields > 25_000


KNOWN = [r"\F\ ".strip(), r"\S\ ".strip(), r"\T\ ".strip(), r"\R\ ".strip(), r"\E\ ".strip()]


@needs_corpus
def test_unescaped_text_agrees() -> None:
    """On fields that hold the sequences for separators alone: python-hl7 leaves out what it does not know."""
    compared = 0
    for _, message in messages():
        if exception(message) or message.separators.escape != "\\":
            continue
        theirs = hl7.parse(cr_text(message))
        for segment in message.segments:
            for number in range(1, segment.fields + 1):
                text = segment.raw(number)
                for sequence in KNOWN:
                    text = text.replace(sequence, "")
                if text == segment.raw(number) or "\\" in text or without_splits(segment, number):
                    continue
                for repetition in segment.repetitions(number):
                    assert theirs.unescape(repetition.raw) == repetition.text
                    compared += 1
    assert compared >= 15


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.sampled_from(KNOWN) | st.text(alphabet="ab1 é", max_size=4)).map("".join))
def test_unescaping_agrees_on_every_row_of_known_sequences(text: str) -> None:
    assert hl7.parse("MSH|^~\\&|").unescape(text) == unescape(text, Separators())


@needs_corpus
@pytest.mark.parametrize("path", sorted((CORPUS / "batch").glob("*.hl7")), ids=name)
def test_batches_hold_the_messages_that_python_hl7_finds(path: Path) -> None:
    raw = path.read_bytes()
    text = raw.decode().replace("\r\n", "\r").replace("\n", "\r")
    if hl7.isfile(text) or "\rFTS" in text:
        found = [str(message) for each in hl7.parse_file(text) for message in each]
    else:
        found = [str(message) for message in hl7.parse_batch(text)]
    mine = [part.decode().replace("\r\n", "\r").replace("\n", "\r") for part in batch.split(raw).messages]
    # Messages outside a batch come last in python-hl7, and in their place in ours.
    assert sorted(part.strip("\r") for part in mine) == sorted(message.strip("\r") for message in found)
