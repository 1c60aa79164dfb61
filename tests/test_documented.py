"""What exists is documented, and what is documented exists: commands, exit codes, configuration keys, tasks, pages.

`python -m hl7bridge.cli.reference` writes the generated sections anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.cli import reference
from hl7bridge.cli.main import COMMANDS
from hl7bridge.cli.output import ExitCode
from hl7bridge.cli.setup.init import FILES
from hl7bridge.cli.tools.guide import pages
from hl7bridge.config.tasks import KINDS
from hl7bridge.destinations.reasons import DECIDED_BY_A_PERSON, QUARANTINE

CLONE = Path(__file__).parents[1]
README = CLONE / "README.md"
PAGES = (README, *(CLONE / page.path for page in pages().values()))
HOW = "run `python -m hl7bridge.cli.reference`"


def _name(path: Path) -> str:
    return path.relative_to(CLONE).as_posix()


@pytest.mark.parametrize("name", reference.SECTIONS)
def test_the_pages_say_what_the_program_says(name: str) -> None:
    home = reference.HOMES[name]
    found = reference.found_in((CLONE / home).read_text(encoding="utf-8"))
    assert name in found, f"{home} has no marks for it: <!-- reference: {name} --> ... <!-- end of reference -->"
    assert found[name] == reference.section(name), f"{home} is out of date: {HOW}"


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


def test_the_readme_is_short_and_holds_both_commands() -> None:
    """`.ci/run` takes them from there, each on a line of its own."""
    text = README.read_text(encoding="utf-8")
    assert len(text.encode()) <= 16 * 1024
    lines = [line for line in text.splitlines() if line.startswith("python3 -m venv ")]
    assert len(lines) == 2
    assert lines[0].endswith("/hl7bridge demo")
    assert lines[1].endswith("/pytest")


# --- links -----------------------------------------------------------------------------------------------------------


def _links(path: Path) -> Iterator[str]:
    text = re.sub(r"`[^`\n]*`", "", path.read_text(encoding="utf-8"))
    yield from re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", text)


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    dead = [link for link in _links(path) if "://" not in link and not (path.parent / link.partition("#")[0]).exists()]
    assert dead == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(README.parent / link.partition("#")[0]).resolve() for link in _links(README) if "://" not in link}
    assert [_name(path) for path in PAGES if path != README and path.resolve() not in linked] == []


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_a_page_begins_with_its_title_and_a_sentence(path: Path) -> None:
    title, _, rest = path.read_text(encoding="utf-8").partition("\n\n")
    assert re.fullmatch(r"# \S.*", title)
    assert re.match(r"[A-Z]", rest)


# --- words -----------------------------------------------------------------------------------------------------------


def _quoted(path: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_commands_that_the_prose_names_exist(path: Path) -> None:
    listed = reference.commands()
    words = [text.removeprefix("hl7bridge ").split() for text in _quoted(path) if text.startswith("hl7bridge ")]
    named = [word for word in words if re.fullmatch("[a-z][a-z-]*", word[0])]
    assert [word[0] for word in named if word[0] not in COMMANDS] == []
    groups = {name for name in COMMANDS if f"`hl7bridge {name} list" in listed or f"`hl7bridge {name} test" in listed}
    pairs = [" ".join(word[:2]) for word in named if word[0] in groups and word[1:]]
    assert [pair for pair in pairs if f"`hl7bridge {pair}" not in listed] == []


def test_the_pages_together_name_every_command() -> None:
    named = {text.split()[1] for path in PAGES for text in _quoted(path) if re.match("hl7bridge [a-z]", text)}
    assert set(COMMANDS) <= named


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_options_that_the_prose_names_exist(path: Path) -> None:
    known = set(re.findall(r"`(--[a-z-]+)`", reference.commands()))
    known.add("--no-auth")  # the other half of --auth
    known |= {"--help", "--version", "--install-completion", "--list", "--extra"}  # of typer, of the tests, of uv
    named = [option for text in _quoted(path) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)]
    assert [option for option in named if option not in known] == []


def test_safeguards_name_what_exists() -> None:
    listed = reference.commands()
    quoted = re.findall(r"`([a-z]+(?: [a-z-]+)?)`", README.read_text(encoding="utf-8").partition("\n## Safeguards")[2])
    named = [text for text in quoted if text.split()[0] in COMMANDS]
    assert len(named) >= 5
    assert [text for text in named if f"`hl7bridge {text}" not in listed] == []


def test_every_kind_of_task_is_explained() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \|", (CLONE / "hl7bridge/guide/tasks.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(rows) == sorted(KINDS)


def test_every_cause_of_a_hold_that_a_person_decides_is_explained() -> None:
    operating, identity = (set(_quoted(CLONE / f"hl7bridge/guide/{name}.md")) for name in ("operating", "identity"))
    assert DECIDED_BY_A_PERSON - operating == set()
    assert QUARANTINE - identity == set()


def test_every_key_stands_where_a_site_looks_for_it() -> None:
    """The commented files that `init` writes show each key, in its section; those of a further kind are in the reference."""
    texts = {name: (CLONE / name).read_text(encoding="utf-8") for name in FILES}
    files = {
        "conf/feeds/NAME.toml": "conf/feeds/staff.toml",
        "conf/destinations/NAME.toml": "conf/destinations/ehr.toml",
    }
    files |= {"conf/maps/NAME.toml": "conf/maps/example.toml", "conf/tasks/NAME.toml": "conf/tasks/leaver-access.toml"}
    missing = []
    for key in config.reference():
        if ", kind = " in key.file:
            continue
        text = texts[files.get(key.file, key.file)]
        section, _, name = key.key.rpartition(".")
        there = re.search(rf"^#? ?\[+{re.escape(section)}\]+$", text, re.MULTILINE) if section else True
        if not there or not re.search(rf"^(?:# )?(?:{re.escape(name)} = |\[+{re.escape(key.key)})", text, re.MULTILINE):
            missing.append(f"{key.file}: {key.key}")
    assert missing == []


def test_staff_are_they() -> None:
    """In texts, comments and docstrings alike."""
    found = []
    for path in (file for folder in ("hl7bridge", "conf") for file in (CLONE / folder).rglob("*")):
        if path.suffix in (".py", ".md", ".toml") and path.name != "languages.toml":  # a language's code is "her"
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [
                f"{path.name}: {line}" for line in lines if re.search(r"\b([Ss]he|[Hh]er|[Hh]ers|[Hh]erself)\b", line)
            ]
    assert found == []


# --- writing them ----------------------------------------------------------------------------------------------------


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
