"""`hl7bridge guide`: the pages that travel with the program, in the terminal."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from typing import Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.setup.init import packaged
from hl7bridge.errors import ConfigError

_FIRST = (
    "acknowledgments",
    "operating",
    "tasks",
    "states",
    "identity",
    "messages-and-files",
    "senders",
    "connections",
    "mapping",
    "fhir-servers",
)
"""The order of reading; other pages follow by name."""

_FOLDERS: Mapping[str, str] = {"configuration": "conf", "samples": "sample_messages"}
"""Topics whose page is the README of another folder that travels along."""

_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_MARK = re.compile(r"<!-- .*? -->\n*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class GuidePage:
    """One page. `path`: where it stands in a clone; `about`: its first sentence; `text`: Markdown."""

    topic: str
    path: str
    about: str
    text: str = field(repr=False)


def guide(
    topic: Annotated[str, typer.Argument(metavar="[TOPIC]", help="A page; all are listed when left out.")] = "",
) -> None:
    """Show a page of the guide; without a topic, list the pages.

    \b
      hl7bridge guide
      hl7bridge guide acknowledgments
      hl7bridge guide configuration | grep brake

    On a terminal the page is laid out; in a pipe it is plain text (Markdown).
    """
    found = pages()
    if topic:
        page = found.get(topic.lower().removesuffix(".md"))
        if page is None:
            raise ConfigError("there is no such page", key=topic[:40], advice=_advice(topic.lower(), found))
        text = for_terminal(page, found)
        if output.is_plain(sys.stdout):
            sys.stdout.write(text.rstrip("\n") + "\n")
            return
        from hl7bridge.cli.pages import show_markdown

        show_markdown(text)
        return
    width = max(map(len, found))
    for page in found.values():
        output.show((f"{page.topic:<{width}}  ", "bold"), page.about)
    output.say("`hl7bridge guide TOPIC` shows one; `hl7bridge COMMAND --help` explains a command.")


def pages() -> dict[str, GuidePage]:
    """Topic -> page, in the order of reading."""
    found = {}
    for file in files("hl7bridge").joinpath("guide").iterdir():
        if file.name.endswith(".md"):
            topic = file.name.removesuffix(".md")
            found[topic] = _page(topic, f"hl7bridge/guide/{file.name}", file.read_text(encoding="utf-8"))
    for topic, folder in _FOLDERS.items():
        text = packaged(folder).joinpath("README.md").read_text(encoding="utf-8")
        found[topic] = _page(topic, f"{folder}/README.md", text)
    place = {topic: number for number, topic in enumerate(_FIRST)}
    return {topic: found[topic] for topic in sorted(found, key=lambda topic: (place.get(topic, len(place)), topic))}


def for_terminal(page: GuidePage, known: Mapping[str, GuidePage]) -> str:
    """The text of a page with its links as commands, and without the marks of generated parts."""
    topics = {one.path: one.topic for one in known.values()}

    def as_command(link: re.Match[str]) -> str:
        text, target = link.groups()
        if "://" in target:
            return f"{text} <{target}>"
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), target.partition("#")[0]))
        return f"{text} (`hl7bridge guide {topics[path]}`)" if path in topics else text

    return _MARK.sub("", _LINK.sub(as_command, page.text))


def _page(topic: str, path: str, text: str) -> GuidePage:
    """A page begins with its title, and then with the sentence that says what it is about."""
    paragraph = text.partition("\n\n")[2].partition("\n\n")[0]
    return GuidePage(topic, path, re.split(r"(?<=[.])\s", " ".join(paragraph.split()))[0], text)


def _advice(word: str, found: Mapping[str, GuidePage]) -> str:
    alike = [topic for topic in found if topic.startswith(word[:3])] or get_close_matches(word, found, n=1)
    if alike:
        return f"Did you mean {alike[0]}?"
    if mentioned := [topic for topic, page in found.items() if word in page.text.lower()]:
        return f"These speak of it: {', '.join(mentioned)}."
    return f"There are: {', '.join(found)}."
