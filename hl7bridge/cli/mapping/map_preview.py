"""`hl7bridge map preview`: what the mapping on disk reads differently in messages that are stored already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption

if TYPE_CHECKING:
    from hl7bridge.desk.mapping.preview import MappingPreview


def preview(
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="The last N stored messages.")] = 200,
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="Of this feed alone.")] = "",
    show: Annotated[int, typer.Option("--show", metavar="N", min=0, help="Show the differences of so many.")] = 20,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what the mapping on disk would read differently: in the messages that came last.

    \b
      hl7bridge map preview                      the last 200
      hl7bridge map preview --last 5000 --feed staff
      hl7bridge reload                           then: let it go live

    Nothing is written, sent or stored: stored bytes are translated with conf/ as it is now, and compared with what the
    mapping of then made of them. Counts first, then message by message.

    Ends with 1 when something would be read differently.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.mapping import preview as desk

    settings = load(config)
    if feed:
        stored.feed_named(settings, feed)
    with stored.opened(settings) as store:
        found = desk.preview(store, settings, last, feed=feed, progress=output.progress)
    if as_json:
        output.show_json("map-preview/1", found.data())
    else:
        show_counts(found)
        for message in found.messages[:show]:
            output.show((f"message {message['id']}", "bold"), f"  {message['feed']}  {message['control_id']}")
            stored.show_differences([desk.difference_in_words(one) for one in message["differences"]], "    ")
        if len(found.messages) > show:
            output.show(f"... and {len(found.messages) - show} more: --show {len(found.messages)}")
    if found.changed:
        raise typer.Exit(ExitCode.FINDINGS)


def show_counts(found: MappingPreview, *, to_stderr: bool = False) -> None:
    """How many messages read differently, and in what."""
    from hl7bridge.desk.mapping import preview as desk

    line = output.say if to_stderr else output.show
    text = f"{len(found.messages)} of {found.looked_at} messages would be read differently"
    if found.without_bytes:
        text += f" ({found.without_bytes} more have no bytes to read)"
    line((text, "yellow" if found.changed else output.GOOD))
    for what in desk.ordered(found.counts):
        style = output.BAD if what == desk.REFUSED else ""
        line((f"    {found.counts[what]:>6}  {desk.in_words(what)}", style))
