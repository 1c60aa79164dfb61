"""`hl7bridge guide`: every page, on a terminal and in a pipe."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from hl7bridge import config
from hl7bridge.cli.tools.guide import pages
from tests.cli.conftest import Ended

Command = Callable[..., Ended]


def test_without_a_topic_each_page_has_a_line(command: Command) -> None:
    ended = command("guide")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert [line.split()[0] for line in lines] == list(pages())
    assert all(line.endswith(".") for line in lines)


@pytest.mark.parametrize("topic", pages())
def test_in_a_pipe_a_page_is_plain_text_whose_links_are_commands(command: Command, topic: str) -> None:
    ended = command("guide", topic)
    assert ended.code == 0
    assert ended.out.startswith("# ")
    assert "\x1b" not in ended.out
    assert "](" not in ended.out
    assert "<!--" not in ended.out
    assert pages()[topic].about.split()[0] in ended.out


def test_links_become_commands(command: Command) -> None:
    assert "See Identity (`hl7bridge guide identity`)." in command("guide", "operating").out
    assert "Configuration (`hl7bridge guide configuration`)." in command("guide", "tasks").out


def test_on_a_terminal_it_is_laid_out(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "90")
    ended = command("guide", "glossary")
    assert ended.code == 0
    assert "\x1b[" in ended.out
    assert "| crosswalk |" not in ended.out
    assert "crosswalk" in ended.out


@pytest.mark.parametrize("columns", ["60", "80", "300"])
def test_no_table_loses_a_word_on_a_terminal(command: Command, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """Names of keys are longer than a column of four on a narrow terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    shown = re.sub("\x1b\\[[0-9;]*m", "", command("guide", "configuration").out)
    words = set(shown.split())
    for key in config.reference():
        assert key.key in words
        assert set(key.meaning.split()) <= words
    assert max(map(len, shown.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    ("topic", "advice"),
    [
        ("ack", "Did you mean acknowledgments?"),
        ("identiy", "Did you mean identity?"),
        ("brake", "These speak of it: acknowledgments, operating, "),
        ("zzz", "There are: acknowledgments, operating, "),
    ],
)
def test_an_unknown_topic_gets_a_suggestion(command: Command, topic: str, advice: str) -> None:
    ended = command("guide", topic)
    assert ended.code == 2
    assert f"{topic}: there is no such page. {advice}" in ended.err


@pytest.mark.parametrize("topic", ["Glossary", "glossary.md"])
def test_a_topic_may_be_written_as_the_page_is_called(command: Command, topic: str) -> None:
    assert command("guide", topic).out.startswith("# Glossary\n")
