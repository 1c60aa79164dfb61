"""`hl7bridge view`: a message as a tree of segments, fields and components, with their names and the meaning of codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.messages.files import messages_of
from hl7bridge.cli.messages.names import Name, Names, names
from hl7bridge.cli.messages.second_opinion import second_opinion
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message, Repetition, Segment

CharsetOption = Annotated[
    list[str] | None,
    typer.Option("--charset", metavar="NAME", help="Character set where MSH-18 is empty; several are tried in order."),
]


def view(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|ID", help="Files or folders, - for standard input; or stored messages."),
    ],
    raw: Annotated[bool, typer.Option("--raw", help="The text as sent, one segment a line.")] = False,
    all_fields: Annotated[bool, typer.Option("--all", help="Show empty fields, too.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Read it with python-hl7, too, and tell where the two readers differ.")
    ] = False,
    charset: CharsetOption = None,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what an HL7 message says, field by field.

    \b
      hl7bridge view new_physician.hl7
      hl7bridge view nightly.hl7 --raw
      hl7bridge view answer.hl7 --json
      hl7bridge view odd.hl7 --compare  does another reader see the same?
      hl7bridge view 42                a stored message, by the id that `msg list` shows

    Works on any HL7 v2 message; a file needs no configuration. A field sent as "" (clear it) is shown as null, which is not
    the same as empty. What this version of HL7 does not have is told at the end. Control characters are shown as escapes.

    Ends with 1 when a message can't be read.
    """
    readable, documents = True, []
    for number, (file, content) in enumerate(_messages(files, config)):
        try:
            message = Message(content, charset or ("utf-8", "cp1252"))
        except MessageError as error:
            readable = False
            documents.append({"file": str(file), "error": str(error)})
            if not as_json:
                output.say(f"{file}: ", (str(error), output.BAD))
            continue
        if as_json:
            documents.append({"file": str(file), **as_data(message), **(_compared(message) if compare else {})})
            continue
        if number:
            output.show("")
        show_raw(message) if raw else show_tree(message, all_fields)
        if compare:
            _show_compared(message)
    if as_json:
        output.show_json("view/1", {"messages": documents})
    if not readable:
        raise typer.Exit(ExitCode.FINDINGS)


def _compared(message: Message) -> dict[str, Any]:
    opinion = second_opinion(message)
    differences = [{"place": place, "text": text} for place, text in opinion.differences]
    return {"python_hl7": {"agreed": opinion.agreed, "differences": differences}}


def _show_compared(message: Message) -> None:
    opinion = second_opinion(message)
    for place, text in opinion.differences:
        output.show(("! ", "yellow"), f"{place}: {text}")
    style = "yellow" if opinion.differences else output.GOOD
    output.show((f"python-hl7 reads {opinion.agreed} fields alike, {len(opinion.differences)} otherwise", style))


def _messages(files: list[Path], config: Path) -> Iterator[tuple[Path, bytes]]:
    """What to show: a number that is no file is the id of a stored message."""
    for path in files:
        if str(path).isdecimal() and not path.exists():
            from hl7bridge.config import load

            with stored.opened(load(config)) as store:
                yield path, stored.body_of(store, int(str(path)))
        else:
            yield from messages_of([path])


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a message. `path` as `Message.read` takes it; `meaning` of a code; `note`: what is odd about it."""

    path: str
    name: str
    text: str
    null: bool = False
    meaning: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field with its values: one for each component that was sent, of each repetition."""

    path: str
    name: Name
    values: tuple[Value, ...]
    note: str = ""


def version_of(message: Message) -> Names:
    """The names of the version that MSH-12 states."""
    return names(message.header.version)


def fields_of(segment: Segment, known: Names) -> Iterator[Field]:
    """The fields of a segment: those sent, and the empty ones that its version has."""
    start = segment.name + (f"[{segment.occurrence}]" if segment.occurrence > 1 else "")
    last = known.fields(segment.name)
    for number in range(1, max(segment.fields, last) + 1):
        name = known.field(segment.name, number)
        path = f"{start}-{number}"
        repetitions = segment.repetitions(number)
        note = ""
        if not repetitions and name.required and number <= last:
            note = f"required in {known.version}, empty"
        if repetitions and last and number > last:
            note = f"{known.version} has no such field"
        elif repetitions and name.most and len(repetitions) > name.most:
            note = f"{len(repetitions)} values, of which {known.version} allows {name.most}"
        values = tuple(
            value
            for index, repetition in enumerate(repetitions, 1)
            for value in _values(f"{path}[{index}]" if len(repetitions) > 1 else path, name, repetition, known)
        )
        yield Field(path, name, values, note)


def _values(path: str, name: Name, repetition: Repetition, known: Names) -> Iterator[Value]:
    if repetition.is_null():
        yield Value(path, name.text, '""', null=True)
        return
    simple = repetition.components <= 1
    for number in range(1, repetition.components + 1):
        part = name.component(number) if name.components else (name if simple else Name(f"component {number}"))
        place = path if simple else f"{path}.{number}"
        if repetition.is_null(number):
            yield Value(place, part.text, '""', null=True)
            continue
        text = repetition.component(number, 0)
        if not text:
            continue
        coded = Name(part.text, name.datatype if simple and not name.components else part.datatype, part.table)
        note = f"not in HL7 table {part.table}" if known.is_foreign(coded, text) else ""
        yield Value(place, name.text if simple else part.text, text, False, known.meaning(part.table, text), note)


def show_raw(message: Message) -> None:
    """One segment a line, as sent."""
    for segment in message.segments:
        head, tail = segment.text[:3], segment.text[3:]
        output.show((head, "bold"), tail)


def show_tree(message: Message, all_fields: bool = False) -> None:
    """The tree, and below it what is odd."""
    known = version_of(message)
    for segment in message.segments:
        count = f" ({segment.occurrence})" if segment.occurrence > 1 else ""
        mark = "" if known.has_segment(segment.name) else "yellow"
        title = known.segment(segment.name) or (mark and "unknown segment")
        output.show((f"{segment.name or '???'}{count}", f"bold {mark or 'cyan'}"), "  ", (title, mark or output.QUIET))
        for field in fields_of(segment, known):
            if not field.values and all_fields:
                output.show(f"  {field.path:<16}  ", (field.name.text, output.QUIET))
            if len(field.values) > 1:
                output.show("  ", (f"{field.path:<16}  ", "cyan"), field.name.text)
            for value in field.values:
                _show_value("    " if len(field.values) > 1 else "  ", value)
    for place, text in remarks(message):
        output.show(("! ", "yellow"), f"{place}: {text}")


def remarks(message: Message) -> list[tuple[str, str]]:
    """(place, text): what the version of the message, as hl7apy knows it, does not foresee; nothing is decided by it."""
    known = version_of(message)
    found = [("message", deviation) for deviation in message.deviations]
    for segment in message.segments:
        if not known.has_segment(segment.name) and not segment.name.startswith("Z"):
            found.append((segment.name or "???", f"not a segment of HL7 {known.version}"))
        for field in fields_of(segment, known):
            if field.note:
                found.append((field.path, field.note))
            found += [(value.path, value.note) for value in field.values if value.note]
    return list(dict.fromkeys(found))


def _show_value(indent: str, value: Value) -> None:
    path = (f"{indent}{value.path:<{18 - len(indent)}}  ", "cyan")
    name = (f"{value.name:<38}  ", output.QUIET)
    if value.null:
        output.show(path, name, ('""', output.NULL), ("  null: clear it", output.QUIET))
        return
    meaning = f"  {value.meaning}" if value.meaning else ""
    output.show(path, name, (value.text, "bold"), (meaning, output.GOOD))


def as_data(message: Message) -> dict[str, Any]:
    """The JSON of one message."""
    known, header = version_of(message), message.header
    return {
        "message_type": header.message_type,
        "trigger_event": header.trigger_event,
        "control_id": header.control_id,
        "version": header.version,
        "character_set": message.codec,
        "deviations": list(message.deviations),
        "segments": [
            {
                "segment": segment.name,
                "occurrence": segment.occurrence,
                "title": known.segment(segment.name),
                "known": known.has_segment(segment.name),
                "fields": [_field_data(field) for field in fields_of(segment, known) if field.values or field.note],
            }
            for segment in message.segments
        ],
    }


def _field_data(field: Field) -> dict[str, Any]:
    return {
        "path": field.path,
        "name": field.name.text,
        "datatype": field.name.datatype,
        "table": field.name.table,
        "note": field.note,
        "values": [
            {
                "path": value.path,
                "name": value.name,
                "value": None if value.null else value.text,
                "null": value.null,
                "meaning": value.meaning,
                "note": value.note,
            }
            for value in field.values
        ],
    }
