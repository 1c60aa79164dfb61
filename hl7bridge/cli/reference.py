"""The reference sections of the documentation, made from the program itself: commands, exit codes, configuration, pages.

`python -m hl7bridge.cli.reference` writes them anew in a clone, each between its two marks:

    <!-- reference: commands -->
    <!-- end of reference -->

A test compares the pages with what is made here, so that neither can say what the other does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

import hl7bridge
from hl7bridge import config
from hl7bridge.cli.main import app
from hl7bridge.cli.output import MEANINGS
from hl7bridge.cli.tools.guide import pages


def commands() -> str:
    """A table of every command with what it does and its options."""
    rows = ["| command | what it does | options |", "| --- | --- | --- |"]
    for path, command in _commands(typer.main.get_command(app), ("hl7bridge",)):
        arguments = [
            (param.metavar or param.name.upper()) + ("..." if param.nargs == -1 else "")
            for param in command.params
            if param.param_type_name == "argument"
        ]
        usage = " ".join((*path, *arguments)).replace("|", "\\|")
        options = " ".join(f"`{option}`" for option in _options(command))
        rows.append(f"| `{usage}` | {_first_sentence(command.help or '')} | {options} |")
    return "\n".join(rows)


def exit_codes() -> str:
    """A table of the exit codes."""
    rows = [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["| code | meaning |", "| --- | --- |", *rows])


def configuration() -> str:
    """A table of every key, for each file."""
    parts: list[str] = []
    file = ""
    for key in config.reference():
        if key.file != file:
            file = key.file
            parts += ["", f"`{file}`", "", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        default = "required" if key.required else f"`{key.default}`" if key.default != "none" else ""
        parts.append(f"| `{key.key}` | {_cell(key.type)} | {default} | {_cell(key.meaning)} |")
    return "\n".join(parts).strip()


def guide() -> str:
    """A table of the pages of the guide, linked from the folder of README.md."""
    rows = [f"| [{page.topic}]({page.path}) | {_cell(page.about)} |" for page in pages().values()]
    return "\n".join(["| topic | what it says |", "| --- | --- |", *rows])


SECTIONS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "exit codes": exit_codes,
    "configuration": configuration,
    "guide": guide,
}

HOMES: Mapping[str, str] = {
    "commands": "hl7bridge/guide/commands.md",
    "exit codes": "hl7bridge/guide/commands.md",
    "configuration": "conf/README.md",
    "guide": "README.md",
}
"""Where each section stands in a clone."""


def section(name: str) -> str:
    """One section between its marks."""
    return f"<!-- reference: {name} -->\n\n{SECTIONS[name]()}\n\n<!-- end of reference -->"


def found_in(text: str) -> dict[str, str]:
    """The sections that a text holds, marks included, by name."""
    pattern = re.compile(r"<!-- reference: ([\w ]+) -->.*?<!-- end of reference -->", re.DOTALL)
    return {match[1]: match[0] for match in pattern.finditer(text)}


def updated(text: str) -> str:
    """The text with its sections made anew."""
    for name, old in found_in(text).items():
        text = text.replace(old, section(name))
    return text


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    context = _context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from _commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def _context(command: Any) -> Any:
    return command.context_class(command, info_name=command.name, resilient_parsing=True)


def _options(command: Any) -> Iterator[str]:
    for param in command.params:
        if param.param_type_name == "option" and not getattr(param, "hidden", False):
            yield max(param.opts, key=len)


def _first_sentence(text: str) -> str:
    """The first sentence of a help text, on one line."""
    return _cell(" ".join(re.split(r"\n\s*\n", text.strip())[0].split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the sections of a clone anew."""
    clone = Path(hl7bridge.__file__).parents[1]
    for name in dict.fromkeys(HOMES.values()):
        path = clone / name
        path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
