"""What every command shares: data on standard output, talk on standard error, exit codes, and text that is safe to show.

Text of a message may hold anything. `visible` shows control and direction-changing characters as escapes, so that no
message can move a cursor, recolour a terminal or turn a line around.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from hl7bridge.model import write_json

if TYPE_CHECKING:
    from rich.console import Console


class ExitCode(IntEnum):
    """What the shell gets to see."""

    GOOD = 0
    FINDINGS = 1
    USAGE = 2
    UNREACHABLE = 3
    QUEUED = 4
    DEFECT = 70
    INTERRUPTED = 130


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.GOOD: "all is well",
    ExitCode.FINDINGS: (
        "findings: a negative acknowledgment, an unreadable message, a warning of `check` or `doctor`, differences,"
        " nothing found"
    ),
    ExitCode.USAGE: "the command line or the configuration is wrong, or a file is not there",
    ExitCode.UNREACHABLE: "a dependency is out of reach: the peer, the destination, its token endpoint, the store",
    ExitCode.QUEUED: "some deliveries are still queued",
    ExitCode.DEFECT: "a defect of hl7bridge (`HL7BRIDGE_TRACEBACK=1` shows where)",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
}

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="HL7BRIDGE_CONFIG", metavar="DIR", help="The folder that holds conf/.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data as JSON: one document, with its schema's name.")]

GOOD, BAD, QUIET, NULL = "green", "bold red", "dim", "magenta"

# Cc and the line separators; marks, embeddings, overrides and isolates of direction; the byte order mark; surrogates
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_NOT_ASCII = re.compile("[^\x20-\x7e]")


def visible(text: object) -> str:
    """The text with every control and direction-changing character as an escape (`\\x1b`, `\\u202e`)."""
    return _UNSAFE.sub(_escaped, str(text))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _json_escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def prepare_streams() -> None:
    """Let a character that the terminal's encoding lacks show as an escape instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def console(*, stderr: bool = False) -> Console:
    """A rich console. Off a terminal it never shortens what it prints; NO_COLOR and FORCE_COLOR are honoured."""
    stream = sys.stderr if stderr else sys.stdout
    return _console(stream, None if stream.isatty() or "COLUMNS" in os.environ else 1000)


@lru_cache(maxsize=4)
def _console(stream: TextIO, width: int | None) -> Console:
    from rich.console import Console

    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


_above: list[Console] = []  # while a bar is on the same terminal: the console that puts lines above it


def show(*parts: str | tuple[str, str]) -> None:
    """A line of data: texts, and (text, style) pairs. Safe whatever the texts hold."""
    _print(parts, stderr=False)


def say(*parts: str | tuple[str, str]) -> None:
    """A line of talk, on standard error."""
    _print(parts, stderr=True)


def is_plain(stream: TextIO) -> bool:
    """Whether a stream is no terminal: it gets bare text, whole."""
    return not stream.isatty() and "FORCE_COLOR" not in os.environ


def _print(parts: Sequence[str | tuple[str, str]], *, stderr: bool) -> None:
    pairs = [(visible(part), "") if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts]
    stream = sys.stderr if stderr else sys.stdout
    if not _above and is_plain(stream):
        stream.write("".join(text for text, _ in pairs) + "\n")  # rich would take a hundred times as long
        return
    from rich.text import Text

    target = _above[-1] if _above else console(stderr=stderr)
    target.print(Text.assemble(*pairs), soft_wrap=True)


def show_messages(content: bytes) -> None:
    """Bytes of messages on standard output as they are; on a terminal one segment a line, with control characters shown: a
    bare carriage return would write each segment over the one before."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    for line in re.split(r"\r\n?|\n", content.decode("utf-8", "backslashreplace").rstrip("\r\n")):
        show(line)


def show_json(schema: str, data: Mapping[str, Any]) -> None:
    """One JSON document on one line, ASCII only: {"schema": "msg-list/1", ...}. Numbers keep their text."""
    text = write_json({"schema": schema, **data})
    sys.stdout.write(_NOT_ASCII.sub(_json_escaped, text) + "\n")
    sys.stdout.flush()


class JsonList:
    """One JSON document on one line, like `show_json`, whose long list is written as it comes: no run is too long for it."""

    def __init__(self, schema: str, data: Mapping[str, Any], name: str) -> None:
        """`data` stands before the list, which is called `name`."""
        self._write(write_json({"schema": schema, **data})[:-1] + f',"{name}":[')
        self._between = ""

    def add(self, item: Mapping[str, Any]) -> None:
        """The next item of the list."""
        self._write(self._between + write_json(item))
        self._between = ","

    def end(self, data: Mapping[str, Any]) -> None:
        """The document ends with these, one at least."""
        self._write("]," + write_json(data)[1:])
        sys.stdout.write("\n")
        sys.stdout.flush()

    def _write(self, text: str) -> None:
        sys.stdout.write(_NOT_ASCII.sub(_json_escaped, text))


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], styles: Mapping[str, str] | None = None
) -> None:
    """A table of data. `styles`: a value -> its style.

    Where a terminal is too narrow for all columns, those at the end stand under each row, with their names.
    """
    cells = [["" if cell is None else visible(cell) for cell in row] for row in rows]
    if is_plain(sys.stdout):
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        for row in (columns, *cells):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            sys.stdout.write(line.rstrip() + "\n")
        return
    from rich.cells import cell_len

    room = console().width
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    beside = len(columns)
    while beside > 1 and sum(widths[:beside]) + 2 * (beside - 1) > room:
        beside -= 1
    last = beside - 1

    def aligned(row: Sequence[str]) -> Iterator[str]:
        for number, cell in enumerate(row[:beside]):
            yield cell if number == last else cell + " " * (widths[number] - cell_len(cell) + 2)

    if beside > 1:
        show(*((cell, "bold") for cell in aligned(columns)))
        show(("-" * (sum(widths[:beside]) + 2 * last), QUIET))
    for row in cells:
        show(*((text, (styles or {}).get(cell, "")) for text, cell in zip(aligned(row), row, strict=False)))
        _show_beneath([(name, cell) for name, cell in zip(columns[beside:], row[beside:], strict=True) if cell], room)


def _show_beneath(pairs: Sequence[tuple[str, str]], room: int) -> None:
    """Names and values, indented, as many on a line as there is room for."""
    from rich.cells import cell_len

    lines: list[list[tuple[str, str]]] = []
    used = room
    for name, value in pairs:
        length = cell_len(name) + 1 + cell_len(value)
        if used + 2 + length > room:
            lines.append([])
            used = 2
        lines[-1].append((name, value))
        used += 2 + length
    for line in lines:
        show("  ", *(part for name, value in line for part in ("  ", (name, QUIET), f" {value}")))


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A progress bar on standard error; nothing off a terminal or for a single item. Yields `advance()`."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total)
        if sys.stdout.isatty():
            _above.append(bar.console)
        try:
            yield lambda: bar.advance(task)
        finally:
            _above.clear()


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """How many there are so far, on a terminal, where nobody knows how many will come. Yields `add(number)`."""
    total = 0

    def add(number: int) -> None:
        nonlocal total
        total += number
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{what}: {total} ")
            sys.stderr.flush()

    yield add
    if total and sys.stderr.isatty():
        sys.stderr.write("\n")


_TELL_EVERY = 10.0  # seconds between two lines of progress where there is no terminal


@contextmanager
def progress_of_bytes(
    what: str, total: int, items: str = "messages", clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Progress through `total` bytes (0 = not known), with items, their rate and the time left, on standard error: a bar,
    or, off a terminal, a line every ten seconds. Yields `at(bytes, items)`, to be told where one is, counted from the start;
    what is there at the first call was done before."""
    began = told = clock()
    first: tuple[int, int] | None = None

    def words(done: int, count: int) -> tuple[str, str]:
        nonlocal first
        first = first or (done, count)
        seconds = max(clock() - began, 1e-9)
        rate = (count - first[1]) / seconds
        left = seconds * (total - done) / (done - first[0]) if done > first[0] and total else 0.0
        return f"{count:,} {items}, {rate:,.0f} a second", _time_left(left)

    if not sys.stderr.isatty():

        def at(done: int, count: int) -> None:
            nonlocal told
            rate, left = words(done, count)
            if clock() - told >= _TELL_EVERY:
                told = clock()
                say(f"{what}: " + (f"{100 * done // total} %, {rate}, {left} left" if total else rate))

        yield at
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %" if total else ""),
        TextColumn("{task.fields[rate]}  {task.fields[left]}"),
    )
    with Progress(*columns, console=console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total or None, rate="", left="")
        if sys.stdout.isatty():
            _above.append(bar.console)

        def move(done: int, count: int) -> None:
            rate, left = words(done, count)
            bar.update(task, completed=done, rate=rate, left=left if total else "")

        try:
            yield move
        finally:
            _above.clear()


def _time_left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
