"""What the store holds, for commands that look at it: opened only where there is one, and shown in words."""

from __future__ import annotations

from typing import Any

from hl7bridge.assemble.choosing import feed_named as feed_named
from hl7bridge.assemble.stores import opened as opened
from hl7bridge.cli import output
from hl7bridge.desk.messages import body_of as body_of
from hl7bridge.desk.messages import message_of as message_of
from hl7bridge.desk.times import local_time as local_time
from hl7bridge.desk.times import utc_time as utc_time
from hl7bridge.desk.times import with_times as with_times
from hl7bridge.model import write_json


def show_differences(differences: list[dict[str, Any]], indent: str) -> None:
    """Before and after, one line each: `+` added, `-` removed, `~` changed, and the HL7 field that asks for it."""
    for difference in differences:
        before, after = difference["before"], difference["after"]
        sign, style = ("+", output.GOOD) if before is None else ("-", "red") if after is None else ("~", "yellow")
        text = f"{value_text(before)} -> {value_text(after)}" if sign == "~" else value_text(before or after)
        field = difference.get("field", "")
        reason = f"  <- {field}" if field else ""
        output.show(indent, (f"{sign} ", style), f"{difference['path']}: {text}", (reason, output.QUIET))


def value_text(value: Any) -> str:
    """A JSON value on one line."""
    return value if isinstance(value, str) else write_json(value)
