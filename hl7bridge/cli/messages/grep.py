"""`hl7bridge grep`: messages in which a field has a value, in files or in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.messages.diff import charset_of
from hl7bridge.cli.messages.files import files_of, stream_messages
from hl7bridge.cli.messages.view import CharsetOption
from hl7bridge.cli.operate.msg import age
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError, MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.hl7.searching import Condition

_STEP = 1024 * 1024  # bytes of a file between two steps of the progress bar


def grep(
    condition: Annotated[
        str, typer.Argument(metavar="PATH=VALUE", help="Also PATH!=VALUE, and PATH~VALUE with * in it.")
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE|DIR", help="Where to look; without any, in the store.")
    ] = None,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", "-i", help="ADAMS is Adams.")] = False,
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="Stored messages of this feed.")] = "",
    since: Annotated[str, typer.Option("--since", metavar="AGE", help="Stored in the last 30m, 12h, 7d...")] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Look at the newest N stored messages.")
    ] = 1000,
    charset: CharsetOption = None,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Find messages in which a field has a value.

    \b
      hl7bridge grep STF-3.1=ADAMS nightly.hl7
      hl7bridge grep 'PRA-6.1~12*' archive/ --json
      hl7bridge grep STF-7=I --feed staff --since 7d
      hl7bridge grep 'MFE-1!=MUP' nightly.hl7

    What the path leaves out is any: STF-10=5551234 looks at every repetition and component, STF-10[2].1 at one. An empty
    field has no value; a null is written "". Large files are read bit by bit.

    Ends with 1 when nothing is found.
    """
    try:
        wanted = Condition.parse(condition, ignore_case=ignore_case)
    except ValueError as error:
        raise ConfigError(str(error), key="PATH=VALUE", advice="* works with ~ alone.") from None
    looked = _in_files(files, charset) if files else _in_store(config, feed, since, limit, charset)
    documents: list[dict[str, str]] = []
    looked_at = unreadable = hits = 0
    for name, body, charsets in looked:
        looked_at += 1
        if wanted.sign not in body:
            continue
        try:
            message = Message(body, charsets)
        except MessageError:
            unreadable += 1
            continue
        control_id = message.header.control_id
        for found in wanted.search(message):
            hits += 1
            if as_json:
                place = {"message": name, "control_id": control_id, "record": found.record}
                documents.append({**place, "path": found.path, "value": found.value})
            else:
                output.show((name, "cyan"), f"  {control_id}  {found.record}  {found.path}  ", (found.value, "bold"))
    if as_json:
        output.show_json("grep/1", {"looked_at": looked_at, "unreadable": unreadable, "found": documents})
    else:
        skipped = f", {unreadable} could not be read" if unreadable else ""
        output.say(f"{looked_at} messages looked at{skipped}")
    if not hits:
        raise typer.Exit(ExitCode.FINDINGS)


def _in_files(paths: Sequence[Path], charset: list[str] | None) -> Iterator[tuple[str, bytes, Sequence[str]]]:
    """(file, message, character sets), read bit by bit."""
    files = files_of(paths)
    charsets: Sequence[str] = charset or ("utf-8", "cp1252")
    size = sum(file.stat().st_size for file in files if str(file) != "-")
    with output.progress("MiB", size // _STEP) as advance:
        seen = 0
        for file in files:
            for body in stream_messages(file):
                yield str(file), body, charsets
                seen += len(body)
                if seen >= _STEP:
                    seen -= _STEP
                    advance()


def _in_store(
    directory: Path, feed: str, since: str, limit: int, charset: list[str] | None
) -> Iterator[tuple[str, bytes, Sequence[str]]]:
    from hl7bridge.config import load

    settings = load(directory)
    if feed:
        stored.feed_named(settings, feed)
    with stored.opened(settings) as store:
        rows = store.audit.messages(feed=feed, since=time.time() - age(since) if since else 0.0, limit=limit)
        with output.progress("messages", len(rows)) as advance:
            for row in rows:
                body = store.audit.body(row.id)
                if body is not None:
                    yield str(row.id), body, charset or charset_of(settings, row.feed)
                advance()
    if len(rows) == limit:
        output.say(f"The newest {limit} stored messages only; --limit, --since or --feed choose others.")
