"""What exists is in the README, and what the README lists exists: commands, exit codes, configuration keys.

`python -m hl7bridge.cli.reference README.md` writes these sections anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.cli import reference
from hl7bridge.cli.main import COMMANDS
from hl7bridge.cli.output import ExitCode

README = Path(__file__).parents[1] / "README.md"
HOW = "run `python -m hl7bridge.cli.reference README.md`"


@pytest.mark.parametrize("name", reference.SECTIONS)
def test_the_readme_says_what_the_program_says(name: str) -> None:
    text = README.read_text(encoding="utf-8")
    found = reference.found_in(text)
    assert name in found, f"README.md has no marks for it: <!-- reference: {name} --> ... <!-- end of reference -->"
    assert found[name] == reference.section(name), f"README.md is out of date: {HOW}"


def test_the_sections_hold_all_there_is() -> None:
    commands, keys, codes = reference.commands(), reference.configuration(), reference.exit_codes()
    for name in COMMANDS:
        assert f"`hl7bridge {name}" in commands
    for option in ("--to", "--until-nak", "--json", "--config", "--keep", "--role", "--raw"):
        assert f"`{option}`" in commands
    for key in config.reference():
        assert f"| `{key.key}` |" in keys
        assert key.meaning
    for code in ExitCode:
        assert f"\n| {code.value} | " in codes


def test_commands_that_the_prose_names_exist() -> None:
    text, listed = README.read_text(encoding="utf-8"), reference.commands()
    named = re.findall(r"`hl7bridge ([a-z][a-z-]*)", text)
    assert len(named) > len(COMMANDS)
    assert [name for name in named if name not in COMMANDS] == []
    safeguards = text.partition("\n## Safeguards")[2].partition("\n## ")[0]
    quoted = re.findall(r"`([a-z]+(?: [a-z-]+)?)`", safeguards)
    assert len(quoted) >= 8
    assert [name for name in quoted if f"`hl7bridge {name}" not in listed and name != "proxy"] == []


def test_sections_are_written_anew_and_the_rest_stays() -> None:
    text = (
        "# Title\n\n<!-- reference: exit codes -->\nold\n<!-- end of reference -->\n\nwords\n\n"
        "<!-- reference: commands -->\n<!-- end of reference -->\n"
    )
    new = reference.updated(text)
    assert new.startswith("# Title\n\n<!-- reference: exit codes -->\n\n| code | meaning |")
    assert "\n\nwords\n\n" in new
    assert "\nold\n" not in new
    assert reference.updated(new) == new
