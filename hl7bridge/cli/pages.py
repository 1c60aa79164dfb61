"""A page of Markdown on a terminal: as rich lays it out, but no table loses a word where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markdown import Markdown, TableElement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hl7bridge.cli.output import QUIET, console

_BETWEEN = 2  # blanks between two columns


class _WholeTable(TableElement):
    """A table whose columns fit side by side; else each row as its first cell, with the others beneath it by their names."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        names = [cell.content for cell in self.header.row.cells] if self.header and self.header.row else []
        rows = [[cell.content for cell in row.cells] for row in self.body.rows] if self.body else []
        widths = [max(cell.cell_len for cell in column) for column in zip(names, *rows, strict=True)]
        if sum(widths) + _BETWEEN * (len(widths) - 1) <= options.max_width:
            yield _side_by_side(names, rows)
        else:
            yield from _beneath(names, rows)


def _side_by_side(names: list[Text], rows: list[list[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _BETWEEN, 0, 0), header_style=QUIET)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _beneath(names: list[Text], rows: list[list[Text]]) -> Iterator[RenderableType]:
    for row in rows:
        yield Text.assemble(row[0], style="bold")
        for name, cell in zip(names[1:], row[1:], strict=True):
            if cell:
                label = (f"{name.plain}: ", QUIET) if len(names) > 2 else ""
                yield Padding(Text.assemble(label, cell), (0, 0, 0, 4))


class MarkdownPage(Markdown):
    """Markdown with tables that keep every word."""

    elements = Markdown.elements | {"table_open": _WholeTable}


def show_markdown(text: str) -> None:
    """A page of our own, laid out for the terminal."""
    console().print(MarkdownPage(text))
