"""`hl7bridge map unmapped`: the inbox of codes and authorities that stored messages brought and no table knows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.operate.msg import age
from hl7bridge.cli.output import ConfigOption, JsonOption

if TYPE_CHECKING:
    from hl7bridge.desk.mapping.unmapped import Unmapped


def unmapped(
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="Of this feed alone.")] = "",
    since: Annotated[str, typer.Option("--since", metavar="AGE", help="Of the last 30m, 12h, 7d...")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Look at the newest N messages.")] = 1000,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are mapped by now.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List codes and authorities that no table knows: those that came, with the lines that map them.

    \b
      hl7bridge map unmapped
      hl7bridge map unmapped --feed staff --since 7d
      hl7bridge map unmapped --all --json

    "lost" are those of which nothing is sent; the others go out as text. What stands below the list can be pasted into the
    feed's file (or its map): where it has the section already, under that; with the target in place of the dots, `hl7bridge
    map preview` shows what changes. A code that the
    configuration knows by now is done, and listed with --all only; `hl7bridge replay ID` sends its message again.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.mapping import unmapped as desk

    settings = load(config)
    if feed:
        stored.feed_named(settings, feed)
    with stored.opened(settings) as store:
        after = time.time() - age(since) if since else 0.0
        codes = desk.find(store, settings, feed=feed, since=after, limit=limit, progress=output.progress)
    found = codes.found
    listed = [one for one in found if everything or not one.mapped]
    if as_json:
        data = {"looked_at": codes.looked_at, "unmapped": [one.data() for one in listed]}
        output.show_json("map-unmapped/1", data)
        return
    if listed:
        columns = ("table", "code", "field", "count", "first", "last", "message", "is")
        output.show_table(columns, [_cells(one) for one in listed], {"lost": output.BAD, "done": output.GOOD})
    for name in sorted({one.feed for one in listed if one.entry}):
        output.show("")
        output.show((f"# for conf/feeds/{name}.toml, or its map", output.QUIET))
        for line in desk.to_paste([one for one in listed if one.feed == name]):
            output.show(line)
    done = sum(one.mapped for one in found)
    output.say(f"{codes.looked_at} messages looked at: {len(found) - done} to map, {done} done")
    if codes.more:
        output.say(f"The newest {limit} only; --limit, --since or --feed choose others.")


def _state(one: Unmapped) -> str:
    return "done" if one.mapped else "lost" if one.lost else "as text"


def _cells(one: Unmapped) -> tuple[object, ...]:
    first, last = stored.local_time(one.first)[:10], stored.local_time(one.last)[:10]
    return one.table, one.code or "(none)", one.field, one.count, first, last, one.example, _state(one)
