"""What a site's map says together with its code tables (conf/tables/*.csv), and in which line of which file.

A code table is CSV, UTF-8 (a byte order mark does no harm), as spreadsheets save it: comma or semicolon, with the header

    code,stands_for,comment

`stands_for` is a code of the standard's table, or system|code|display; `comment` is for people and may be left out.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hl7bridge.config.site_map import SiteMapSettings
from hl7bridge.errors import ConfigError

COLUMNS = ("code", "stands_for", "comment")
TABLES = "conf/tables"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One code of a CSV file."""

    code: str
    stands_for: str
    comment: str
    line: int


@dataclass(frozen=True, slots=True)
class Site:
    """A map with the tables that it names, and where each key stands."""

    map: SiteMapSettings
    files: Mapping[str, tuple[TableRow, ...]] = field(default_factory=dict)
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict, compare=False)

    @property
    def file(self) -> str:
        """The map's file, as errors name it."""
        return f"conf/maps/{self.map.name}.toml"

    @property
    def tables(self) -> dict[str, dict[str, str]]:
        """Every code table by number, whether it stands in the map or in a file."""
        found: dict[str, dict[str, str]] = {}
        for number, given in self.map.tables.items():
            rows = self.files.get(given, ()) if isinstance(given, str) else ()
            found[number] = {row.code: row.stands_for for row in rows} if isinstance(given, str) else dict(given)
        return found

    def where(self, key: str) -> str:
        """File and line of a dotted key: `conf/maps/kings.toml:12`, or the line of the CSV file for a code of one."""
        path = key.split(".", 2) if key.startswith("tables.") else key.split(".")
        if len(path) == 3 and path[0] == "tables":
            given = self.map.tables.get(path[1])
            for row in self.files.get(given, ()) if isinstance(given, str) else ():
                if row.code == path[2]:
                    return f"{TABLES}/{given}:{row.line}"
        return at_line(self.file, self.lines, path)


def at_line(file: str, lines: Mapping[tuple[str, ...], int], path: list[str]) -> str:
    """`file:12`, by the longest part of the path that has a line; the file alone where none has."""
    for length in range(len(path), 0, -1):
        if line := lines.get(tuple(path[:length])):
            return f"{file}:{line}"
    return file


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """In which line each table and key of a TOML text stands: {("fields", "STF-10"): 7}. For texts that parse."""
    found: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            section = _path(stripped.partition("#")[0] if '"' not in stripped else stripped) or section
            for length in range(1, len(section) + 1):
                found.setdefault(section[:length], number)
        elif "=" in stripped and not stripped.startswith("#"):
            key = _key(stripped)
            for length in range(1, len(key) + 1):
                found.setdefault((*section, *key[:length]), number)
    return found


def _key(line: str) -> tuple[str, ...]:
    """The key before the `=` that ends it (a quoted key may hold one)."""
    parts = line.split("=")
    for length in range(1, len(parts)):
        if path := _path("=".join(parts[:length]) + "= 0"):
            return path
    return ()


def _path(text: str) -> tuple[str, ...]:
    """The names of a TOML line that opens a table or sets one key; () for anything else."""
    try:
        inner: object = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(inner, dict | list) and inner:
        if isinstance(inner, list):
            inner = inner[0]
            continue
        name, inner = next(iter(inner.items()))
        path.append(name)
    return tuple(path)


def read_site(directory: Path, site: SiteMapSettings, text: str, problems: list[ConfigError]) -> Site:
    """The map with its tables; what is wrong with these is added to `problems`."""
    lines = lines_of(text)
    files: dict[str, tuple[TableRow, ...]] = {}
    for number, given in site.tables.items():
        if isinstance(given, str) and given not in files:
            try:
                files[given] = read_table(directory / TABLES / given, f"{TABLES}/{given}", problems)
            except FileNotFoundError:
                where = at_line(f"conf/maps/{site.name}.toml", lines, ["tables", number])
                advice = "Write it, with the columns code,stands_for,comment, or correct the name."
                problem = f"there is no {TABLES}/{given}"
                problems.append(ConfigError(problem, file=where, key=f"tables.{number}", advice=advice))
    return Site(site, files, lines)


def read_table(path: Path, name: str, problems: list[ConfigError]) -> tuple[TableRow, ...]:
    """One code table. Raises FileNotFoundError; what else is wrong is added to `problems`, with its line."""
    before = len(problems)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        advice = "Let the account that runs hl7bridge read it."
        problems.append(
            ConfigError(f"can't be read ({error.strerror or 'input/output error'})", file=name, advice=advice)
        )
        return ()
    except UnicodeDecodeError:
        problems.append(ConfigError("is not UTF-8 text", file=name, advice='Save it as "CSV UTF-8".'))
        return ()
    rows = tuple(_rows(text, name, problems))
    return rows if len(problems) == before else ()


def _rows(text: str, name: str, problems: list[ConfigError]) -> Iterator[TableRow]:
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    seen: dict[str, int] = {}
    header = [cell.strip().lower() for cell in next(reader, [])]
    if header[:2] != list(COLUMNS[:2]) or header[2:] not in ([], [COLUMNS[2]]):
        advice = f"Write {','.join(COLUMNS)} into the first line; comment may be left out."
        problems.append(ConfigError("has other columns", file=f"{name}:1", advice=advice))
        return
    for cells in reader:
        line = reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < 2 or len(cells) > len(header):
            advice = 'Give each line one cell a column; put a text with a comma between "quotes".'
            problems.append(ConfigError(f"{len(cells)} cells in this line", file=f"{name}:{line}", advice=advice))
            continue
        code, stands_for, comment = (*(cell.strip() for cell in cells), "")[:3]
        if not code:
            problems.append(
                ConfigError("the code is empty", file=f"{name}:{line}", advice="Write it, or take the line out.")
            )
        elif code in seen:
            problem = f"the code stands in line {seen[code]} already"
            problems.append(ConfigError(problem, file=f"{name}:{line}", advice="Take one of them out."))
        else:
            seen[code] = line
            yield TableRow(code, stands_for, comment, line)


__all__ = ["Site", "TableRow", "at_line", "lines_of", "read_site", "read_table"]
