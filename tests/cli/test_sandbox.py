"""`hl7bridge sandbox`: what is wrong with its settings is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hl7bridge.cli.tools.sandbox import sandbox


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(sandbox)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--client-jwks", "nowhere.json"], "nowhere.json: keys: not a readable JWKS"),
        ([], "--client-jwks: is needed to check tokens. Make a key with `hl7bridge keys generate`"),
        (["--no-auth", "--profile", "cerner"], "--profile: no such profile. Use one of plain, epic"),
        (["--no-auth", "--habit", "mood=bad"], "mood: no such habit. Habits are: id_style"),
        (["--no-auth", "--habit", "page_size"], "page_size: not a whole number"),
        (["--no-auth", "--fault", "503"], "--fault: not a JSON object"),
        (["--no-auth", "--fault", '{"kind": "x"}'], "kind: no such fault. Faults are: status"),
        (["--no-auth", "--host", "192.0.2.1"], "port: cannot listen on 192.0.2.1 port 0"),
    ],
)
def test_a_wrong_setting_is_said_in_one_line(arguments: list[str], said: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert output.startswith(f"hl7bridge sandbox: {said}")
    assert len(output.splitlines()) == 1


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, output = run("--no-auth", "--journal", str(tmp_path / "file" / "journal.jsonl"))
    assert (code, len(output.splitlines())) == (2, 1)


def test_help_names_the_ways_out() -> None:
    code, output = run("--help")
    assert code == 0
    assert "Exit codes: 0 ended as asked, 2 a setting is wrong." in output
