"""`hl7bridge diff`: what two messages say differently."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.messages.files import messages_of
from hl7bridge.cli.messages.names import names
from hl7bridge.cli.messages.view import CharsetOption
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError
from hl7bridge.hl7.comparing import PER_MESSAGE, FieldDifference, differences, is_place
from hl7bridge.hl7.message import Message

if TYPE_CHECKING:
    from hl7bridge.config import Settings

_SIGNS = {"added": ("+", output.GOOD), "removed": ("-", "red"), "changed": ("~", "yellow")}


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A file, or the id of a stored message.")],
    second: Annotated[str, typer.Argument(metavar="B", help="A file, or the id of a stored message.")],
    ignore: Annotated[
        str, typer.Option("--ignore", metavar="PLACES", help="Fields and segments to leave out, such as MSH-7,NTE.")
    ] = ",".join(PER_MESSAGE),
    everything: Annotated[bool, typer.Option("--all", help="Leave nothing out.")] = False,
    charset: CharsetOption = None,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Compare two messages field by field.

    \b
      hl7bridge diff yesterday.hl7 today.hl7
      hl7bridge diff 41 42
      hl7bridge diff 42 corrected.hl7 --ignore MSH-7,MSH-10,MFE-2 --json

    Records of a master file are matched by their key (MFE-4), other segments by what both messages have in common. Values
    are compared, not bytes: separators and character sets may differ. Files with several messages are compared one by one.

    Ends with 1 when the messages differ.
    """
    places = [] if everything else [place.strip() for place in ignore.split(",") if place.strip()]
    for place in places:
        if not is_place(place):
            raise ConfigError(f'"{place}" is no field', key="--ignore", advice="Write it like MSH-7 or NTE.")
    before, after = (_messages(what, charset, config) for what in (first, second))
    documents, differ = [], len(before) != len(after)
    for number, (one, other) in enumerate(zip(before, after, strict=False), 1):
        found = list(differences(one, other, places))
        differ = differ or bool(found)
        if as_json:
            documents.append({"message": number, "differences": [_as_data(one, each) for each in found]})
        else:
            if found and max(len(before), len(after)) > 1:
                output.show((f"message {number}", "bold"))
            _show(one, found)
    if as_json:
        counts = {"messages": [len(before), len(after)], "equal": not differ, "compared": documents}
        output.show_json("diff/1", counts)
    elif len(before) != len(after):
        output.show(
            f"messages: {len(before)} in {first}, {len(after)} in {second}; those without a partner are not compared"
        )
    elif not differ:
        output.say("no difference" + (f" (but {', '.join(places)}, not looked at)" if places else ""))
    if differ:
        raise typer.Exit(ExitCode.FINDINGS)


def _messages(what: str, charset: list[str] | None, directory: Path) -> list[Message]:
    """The messages of a file, or a stored one. Raises MessageError for one that can't be read."""
    if not what.isdecimal() or Path(what).exists():
        return [Message(body, charset or ("utf-8", "cp1252")) for _, body in messages_of([Path(what)])]
    from hl7bridge.config import load

    settings = load(directory)
    with stored.opened(settings) as store:
        feed = stored.message_of(store, int(what))["feed"]
        return [Message(stored.body_of(store, int(what)), charset or charset_of(settings, feed))]


def charset_of(settings: Settings, feed: str) -> tuple[str, ...]:
    """The character sets of a feed; of one that is gone, the usual ones."""
    return settings.feeds[feed].hl7.charset if feed in settings.feeds else ("utf-8", "cp1252")


def _name(message: Message, difference: FieldDifference) -> str:
    known = names(message.header.version)
    segment, _, rest = difference.path.partition("-")
    if not rest:
        return known.segment(segment[:3])
    number, *components = re.sub(r"\[\d+]", "", rest).split(".")
    name = known.field(segment[:3], int(number))
    return name.component(int(components[0])).text if components else name.text


def _as_data(message: Message, difference: FieldDifference) -> dict[str, Any]:
    return {**asdict(difference), "name": _name(message, difference)}


def _show(message: Message, found: Iterable[FieldDifference]) -> None:
    record = ""
    for difference in found:
        if difference.record != record:
            record = difference.record
            output.show(("record ", "bold"), (record, "bold"))
        sign, style = _SIGNS[difference.kind]
        text = difference.before or difference.after
        if difference.kind == "changed":
            text = f"{difference.before} -> {difference.after}"
        output.show(
            "  ",
            (f"{sign} ", style),
            f"{difference.path:<14}  ",
            text,
            (f"  {_name(message, difference)}", output.QUIET),
        )
