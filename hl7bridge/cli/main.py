"""The command `hl7bridge`: joins the groups, and turns whatever goes wrong into one line and an exit code.

A command's module is imported when the command is chosen, so that `hl7bridge --version` does not wait for Twisted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from hl7bridge import __version__
from hl7bridge.cli import output
from hl7bridge.cli.output import ExitCode
from hl7bridge.errors import ConfigError, Hl7BridgeError, MessageError

COMMANDS: tuple[str, ...] = ("demo", "guide", "init", "check", "run", "send", "view", "map", "msg", "replay")
COMMANDS += (
    "roster",
    "reconcile",
    "hold",
    "identity",
    "restore",
    "report",
    "export",
    "task",
    "destination",
    "keys",
    "token",
    "reload",
    "drop",
    "doctor",
    "lookup",
    "register-help",
    "diff",
    "grep",
    "redact",
    "generate",
    "sandbox",
)
"""The commands and groups in the order in which they are listed."""

FLOORS: Mapping[str, frozenset[str]] = {
    "operate": frozenset(
        {"run", "msg", "hold", "task", "destination", "identity", "restore", "replay", "reconcile", "report", "export"}
        | {"drop", "reload"}
    ),
    "setup": frozenset({"init", "check", "keys", "token", "doctor", "register-help", "lookup", "roster"}),
    "mapping": frozenset({"map"}),
    "messages": frozenset({"view", "diff", "grep", "redact", "send"}),
    "tools": frozenset({"demo", "generate", "guide", "sandbox"}),
}
"""Where the module of a command stands: `setup/check.py` holds the command `check`, `setup/keys.py` the group `keys`."""


class _Commands(Mapping[str, Any]):
    """Name -> command; its module is imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        in_python = name.replace("-", "_")
        floor = next(floor for floor, names in FLOORS.items() if name in names)
        module = import_module(f"hl7bridge.cli.{floor}.{in_python}")
        group = getattr(module, "app", None)
        if group is None:
            group = typer.Typer(add_completion=False, rich_markup_mode=None)
            group.command(name)(getattr(module, in_python))
        command = typer.main.get_command(group)
        command.name = name
        for each in (command, *getattr(command, "commands", {}).values()):
            each.short_help = _in_short(each.help or "")
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _in_short(text: str, longest: int = 60) -> str:
    """A help text in a list of commands: its first sentence, up to a colon or semicolon where it is too long."""
    sentence = " ".join(text.split("\n\n")[0].split())
    for mark in ("", ":", ";"):
        clause = sentence.partition(mark)[0] + "." if mark else sentence
        if len(clause) <= longest:
            return clause
    return sentence


class _Group(typer.core.TyperGroup):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = _Commands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)


app = typer.Typer(
    name="hl7bridge",
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"hl7bridge {__version__}\n")
        raise typer.Exit


@app.callback()
def hl7bridge(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Keeps FHIR R4 Practitioner and PractitionerRole resources in step with HL7 v2 staff feeds.

    \b
      hl7bridge demo                              see all of it at work, in seconds
      hl7bridge init && hl7bridge check           write a first configuration, check it
      hl7bridge run                               take messages and deliver them
      hl7bridge send a.hl7 --to 127.0.0.1:2575    send a message, read the answer
      hl7bridge map explain a.hl7                 why each field ends up where it does
      hl7bridge guide                             what to read about it
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Never raises for a user's mistake."""
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="hl7bridge")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else ExitCode.GOOD if ended.code is None else ExitCode.DEFECT
        if code == ExitCode.INTERRUPTED:
            output.say("interrupted")
        return code
    except KeyboardInterrupt:
        output.say("interrupted")
        return ExitCode.INTERRUPTED
    except Exception as error:
        if os.environ.get("HL7BRIDGE_TRACEBACK"):
            traceback.print_exc()
        text, code = _in_words(error)
        output.say(("error: ", output.BAD), text)
        return code
    return ExitCode.GOOD


def _in_words(error: Exception) -> tuple[str, ExitCode]:
    """One line that a person can act on, and the exit code."""
    if isinstance(error, ConfigError):
        return str(error), ExitCode.USAGE
    if isinstance(error, MessageError):
        return str(error), ExitCode.FINDINGS
    if isinstance(error, Hl7BridgeError):
        return str(error), ExitCode.UNREACHABLE
    if isinstance(error, OSError):
        reason = (error.strerror or type(error).__name__).lower()
        usage = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)
        text = f"{error.filename}: {reason}" if error.filename else reason
        return text, ExitCode.USAGE if usage and error.filename else ExitCode.UNREACHABLE
    # The text of an unexpected error may hold what a message held, so that only its kind and place are shown.
    places = traceback.extract_tb(error.__traceback__)
    place = next((place for place in reversed(places) if "hl7bridge" in place.filename), places[-1])
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return (
        f"a defect of hl7bridge ({type(error).__name__} in {where}). HL7BRIDGE_TRACEBACK=1 shows more; please report it.",
        ExitCode.DEFECT,
    )


def run() -> None:
    """The entry point of the console script."""
    output.prepare_streams()
    sys.exit(main())
