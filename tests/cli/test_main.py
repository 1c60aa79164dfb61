"""What every command owes: exit codes, one line for a mistake, quick help, safe output."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from hl7bridge import __version__
from hl7bridge.cli import main as main_module
from hl7bridge.cli import output
from hl7bridge.errors import ConfigError, StoreError, TokenError, Unreachable, UnreadableMessage
from tests.cli.conftest import Ended

Command = Callable[..., Ended]


def test_version_is_quick_to_say() -> None:
    """None of the rooms that are slow to import is needed for it."""
    code = (
        "import sys; from hl7bridge.cli.main import main; main(['--version']);"
        "slow = {'twisted', 'httpx', 'flask', 'hl7apy', 'pydantic_settings', 'sqlite_utils', 'structlog', 'rich'};"
        "print(sorted(slow & {name.partition('.')[0] for name in sys.modules}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [f"hl7bridge {__version__}", "[]"]


def test_help_lists_every_command(command: Command) -> None:
    ended = command("--help")
    assert ended.code == 0
    for name in main_module.COMMANDS:
        assert f"\n  {name} " in ended.out


@pytest.mark.parametrize("name", main_module.COMMANDS)
def test_every_command_has_a_line_in_the_list(name: str) -> None:
    """Whole, and short enough to be read at a glance."""
    chosen = typer.main.get_command(main_module.app).commands[name]
    for command in (chosen, *getattr(chosen, "commands", {}).values()):
        assert 10 < len(command.short_help) <= 60
        assert command.short_help.endswith(".")


@pytest.mark.parametrize("name", main_module.COMMANDS)
def test_every_command_has_help_with_examples_before_options(command: Command, name: str) -> None:
    ended = command(name, "--help")
    assert ended.code == 0
    assert "Options:" in ended.out
    if "COMMAND [ARGS]" not in ended.out:
        assert f"hl7bridge {name}" in ended.out.partition("Options:")[0].partition("\n")[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("vew",), "Did you mean 'view'?"),
        (("send",), "Missing argument"),
        (("view", "--nope", "x"), "No such option"),
        (("view", "no-such-file.hl7"), "no-such-file.hl7: no such file or directory"),
        (("send", "no-such-file.hl7", "--to", "127.0.0.1:1"), "no-such-file.hl7: no such file or directory"),
        (("msg", "list", "--config", "nowhere"), "conf/hl7bridge.toml: there is no such file"),
    ],
)
def test_a_usage_error_ends_with_2_and_no_traceback(command: Command, arguments: tuple[str, ...], said: str) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("wrong", file="a.toml", key="b", advice="Do c."), 2, "error: a.toml: b: wrong. Do c."),
        (UnreadableMessage("100", "not-hl7", "no MSH"), 1, "error: no MSH"),
        (Unreachable("nobody there"), 3, "error: nobody there"),
        (TokenError("refused", permanent=True), 3, "error: refused"),
        (StoreError("full"), 3, "error: full"),
        (ConnectionResetError(104, "Connection reset by peer"), 3, "error: connection reset by peer"),
        (OSError(28, "No space left on device"), 3, "error: no space left on device"),
        (KeyError("Okonkwo"), 70, "a defect of hl7bridge (KeyError in "),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_whatever_goes_wrong_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("hl7bridge.cli.messages.view.messages_of", fail)
    monkeypatch.delenv("HL7BRIDGE_TRACEBACK", raising=False)
    ended = command("view", "x.hl7")
    assert ended.code == code
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert "Okonkwo" not in ended.err
    monkeypatch.setenv("HL7BRIDGE_TRACEBACK", "1")
    if isinstance(error, Exception):
        assert "Traceback" in command("view", "x.hl7").err


def test_exit_codes_all_have_a_meaning() -> None:
    assert set(output.MEANINGS) == set(output.ExitCode)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ünïcode 李", "Ünïcode 李"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\rb\nc\td", "a\\x0db\\x0ac\\x09d"),
        ("\x0b\x1c\x7f\x9b", "\\x0b\\x1c\\x7f\\x9b"),
        ("x\u202etxt.exe", "x\\u202etxt.exe"),
        ("\u2066\u200f\u061c\u2028\ufeff", "\\u2066\\u200f\\u061c\\u2028\\ufeff"),
        ("\udcff", "\\udcff"),
        ("क\u200dष", "क\u200dष"),
    ],
)
def test_what_could_harm_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert output.visible(text) == shown


def test_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    output.show_json("test/1", {"text": "Zoë 🩺\x1b\u202e"})
    written = capsys.readouterr().out
    assert written.isascii()
    assert written.count("\n") == 1
    assert json.loads(written) == {"schema": "test/1", "text": "Zoë 🩺\x1b\u202e"}


def test_a_table_off_a_terminal_is_never_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    output.show_table(("name", "text"), [("a", "x" * 300), (1, None)])
    assert "x" * 300 in capsys.readouterr().out


def test_nothing_is_coloured_off_a_terminal(command: Command) -> None:
    assert "\x1b" not in command("init", "--help").out


def test_no_line_of_a_list_of_commands_is_cut(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in ((), ("msg",), ("map",), ("keys",), ("hold",), ("task",), ("destination",)):
        listed = command(*arguments, "--help").out.partition("Commands:")[2].splitlines()
        assert len(listed) > 1
        assert not [line for line in listed if line.endswith("...")]


def test_completion_knows_the_commands() -> None:
    environment = {"_HL7BRIDGE_COMPLETE": "complete_bash", "COMP_WORDS": "hl7bridge ms", "COMP_CWORD": "1"}
    code = "from hl7bridge.cli.main import run; run()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ended.stdout.split() == ["msg"]


OF_THE_SANDBOX = {"demo", "sandbox", "stage"}


def said_by(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """All that a command and those below it say of themselves and of their options."""
    yield path, " ".join([command.help or "", *(getattr(one, "help", "") or "" for one in command.params)])
    for name, below in getattr(command, "commands", {}).items():
        yield from said_by(below, (*path, name))


def test_no_command_but_those_of_the_sandbox_speaks_of_fhir_alone() -> None:
    """What is asked of a destination is asked of any kind of it."""
    said = [(path, text) for path, text in said_by(typer.main.get_command(main_module.app)) if path]
    assert len(said) > 60
    named = re.compile(r"\bPractitioner(Role)?s?\b|\bFHIR servers?\b")
    assert [path for path, text in said if path[0] not in OF_THE_SANDBOX and named.search(text)] == []
