"""Reads `conf/` into settings, all of it or nothing, and says of every mistake where it is and what to do.

    conf/hl7bridge.toml            the service itself
    conf/feeds/NAME.toml           one staff feed: where it comes in, how it is read and answered, where it goes
    conf/destinations/NAME.toml    one destination: how to reach it, what it may receive
    conf/maps/NAME.toml            a sender's dialect, with conf/tables/*.csv, for the feeds that name it
    conf/tasks/KIND.toml           a site's own words for one kind of task

The file's name is the feed's (or destination's) name everywhere: in logs, metrics and lists. Relative paths start at the
folder that holds `conf/`. `HL7BRIDGE_STORE__PATH` in the environment overrides `path` in `[store]`,
`HL7BRIDGE_FEEDS__NAME__LISTENER__PORT` a key of one feed. What the keys mean: `settings`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from hl7bridge.config.destination import DESTINATION_KINDS, DestinationSettings
from hl7bridge.config.secrets import SecretReference, looks_secret
from hl7bridge.config.settings import (
    Feed,
    FhirSettings,
    Notation,
    Section,
    ServiceFile,
    Settings,
    Site,
    SiteMapSettings,
    TaskText,
    Wrong,
    at_line,
    is_loopback,
    lines_of,
    read_site,
    unknown_kind,
)
from hl7bridge.config.values import unknown_name
from hl7bridge.errors import ConfigError

SERVICE_FILE = "conf/hl7bridge.toml"
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
PREFIX = "HL7BRIDGE_"
FILES: dict[str, type[Section]] = {"feeds": Feed, "maps": SiteMapSettings, "tasks": TaskText}
"""Folder of conf -> what a file of it holds; those of destinations depend on their kind."""

M = TypeVar("M", bound=Section)


def load(directory: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of the folder that holds `conf/`. `environment` stands in for the process's own.

    Raises ConfigError for the first problem; it also says how many more there are.
    """
    settings, problems = examine(directory, environment)
    if settings is not None:
        return settings
    first = problems[0]
    if len(problems) == 1:
        raise first
    advice = f"{first.advice} ({len(problems) - 1} more: `hl7bridge check` lists them.)".strip()
    raise ConfigError(first.problem, file=first.file, key=first.key, advice=advice)


def examine(
    directory: Path, environment: Mapping[str, str] | None = None
) -> tuple[Settings | None, tuple[ConfigError, ...]]:
    """Read everything and list every problem; the settings are there only when there is none."""
    reading = _FolderReading(directory.absolute(), os.environ if environment is None else environment)
    reading.find_overrides()
    service = reading.model(ServiceFile, SERVICE_FILE)
    feeds = {name: reading.model(Feed, f"conf/feeds/{name}.toml", name) for name in reading.names["feeds"]}
    destinations = {name: reading.destination(name) for name in reading.names["destinations"]}
    good_feeds = {name: feed for name, feed in feeds.items() if feed is not None}
    good_destinations = {name: found for name, found in destinations.items() if found is not None}
    sites = {name: reading.site(name) for name in reading.names["maps"]}
    for feed in good_feeds.values():
        if (site := sites.get(feed.map)) is not None:
            feed.adopt(site)
        elif feed.map and feed.map not in sites:
            problem, advice = unknown_name(feed.map, tuple(sites), "maps")
            reading.problem(problem, feed.file, "map", advice)
        reading.problems += _feed_problems(feed, tuple(destinations))
    for destination in good_destinations.values():
        reading.problems += destination.problems(tuple(feeds))
    tasks = {kind: reading.model(TaskText, f"conf/tasks/{kind}.toml", kind) for kind in reading.names["tasks"]}
    for kind in tasks:
        if advice := unknown_kind(kind):
            reading.problem("is for no kind of task that there is", f"conf/tasks/{kind}.toml", advice=advice)
    reading.problems += _port_problems(tuple(good_feeds.values()))
    reading.problems += _folder_problems(tuple(good_feeds.values()))
    if service is not None and not feeds:
        advice = "Write conf/feeds/NAME.toml, or let `hl7bridge init` write a first one."
        reading.problem("no feed is configured", "conf/feeds", advice=advice)
    if reading.problems or service is None:
        return None, tuple(reading.problems)
    settings = Settings(
        reading.directory,
        service.service,
        service.store,
        service.log,
        MappingProxyType(good_feeds),
        MappingProxyType(good_destinations),
        MappingProxyType({kind: text for kind, text in tasks.items() if text is not None}),
        MappingProxyType({name: site for name, site in sites.items() if site is not None}),
    )
    return settings, ()


# --- one file --------------------------------------------------------------------------------------------------------


@dataclass
class _FolderReading:
    """One reading of a conf/ folder: its files, what the environment overrides, and the problems found so far."""

    directory: Path
    environment: Mapping[str, str]
    problems: list[ConfigError] = dataclass_field(default_factory=list)
    names: dict[str, list[str]] = dataclass_field(default_factory=dict)
    overrides: dict[str, dict[tuple[str, ...], str]] = dataclass_field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in (*FILES, "destinations"):
            folder = self.directory / "conf" / kind
            paths = [path for path in sorted(folder.glob("*.toml")) if not path.name.startswith(".")]
            self.names[kind] = [path.stem for path in paths if NAME.fullmatch(path.stem)]
            for path in paths:
                if not NAME.fullmatch(path.stem):
                    advice = "Rename it: a to z, 0 to 9 and - only."
                    self.problem("the file's name can't be a name", f"conf/{kind}/{path.name}", advice=advice)

    def problem(self, problem: str, file: str, key: str = "", advice: str = "") -> None:
        self.problems.append(ConfigError(problem, file=file, key=key, advice=advice))

    def find_overrides(self) -> None:
        """Assign each HL7BRIDGE_... variable to a file and key."""
        roots = [*ServiceFile.model_fields, *self.names]
        for variable in sorted(self.environment):
            if not variable.startswith(PREFIX):
                continue
            first, *rest = variable[len(PREFIX) :].lower().split("__")
            section = next((root for root in roots if first == root or first.startswith(root + "_")), "")
            if not rest and not section:
                continue  # HL7BRIDGE_TRACEBACK and its like are no settings
            if first == section and first in self.names:
                file = next((f"conf/{first}/{n}.toml" for n in self.names[first] if n.replace("-", "_") == rest[0]), "")
                path = tuple(rest[1:])
                problem = "" if file else f"there is no conf/{first}/{rest[0].replace('_', '-')}.toml"
            else:
                file, path = SERVICE_FILE, (first, *rest)
                problem = "" if first in roots and rest else "is no setting"
            if problem or not all(path):
                advice = "Write HL7BRIDGE_SECTION__KEY or HL7BRIDGE_FEEDS__NAME__SECTION__KEY, two underscores between."
                self.problem(problem or "is no setting", "environment", variable, advice)
            else:
                self.overrides.setdefault(file, {})[path] = variable

    def destination(self, name: str) -> DestinationSettings | None:
        """Read one destination; `kind` in its file says which keys it may hold."""
        file = f"conf/destinations/{name}.toml"
        data = self._toml(file)
        if data is None:
            return None
        kind = data.get("kind", "fhir")
        if not isinstance(kind, str) or kind not in DESTINATION_KINDS:
            problem = f'"{str(kind)[:40]}" is no kind of destination'
            self.problem(problem, file, "kind", f"Write one of {_listed(DESTINATION_KINDS)}.")
            return None
        return self.model(DESTINATION_KINDS[kind], file, name, data)

    def model(self, model: type[M], file: str, name: str = "", data: dict[str, Any] | None = None) -> M | None:
        """Read one file into its model (`data`: what it holds, where it was read). Problems are kept, None returned."""
        data = self._toml(file) if data is None else data
        if data is None:
            return None
        before = len(self.problems)
        for key in _secrets_in(data):
            advice = 'Keep it elsewhere and write a reference: "file:PATH", "env:NAME" or "keyring:SERVICE/NAME".'
            self.problem("holds a private key", file, key, advice)
        if name and "name" in data:
            self.problem("unknown key", file, "name", "Leave it out: the file's name is the name.")
        if len(self.problems) > before:
            return None
        variables = self._override(data, model, file)
        try:
            return model.model_validate(
                {**data, "name": name} if name else data, context={"directory": self.directory, "file": file}
            )
        except ValidationError as error:
            found = [(tuple(details["loc"]), details) for details in error.errors(include_url=False)]
            meant = {_meant(model, path) for path, details in found if details["type"] == "extra_forbidden"}
            for path, details in found:
                if path in meant and details["type"] == "missing":
                    continue  # said by its mistyped name
                problem, advice = _explain(model, path, details)
                variable = variables.get(tuple(map(str, path)))
                where, key = ("environment", variable) if variable else (self.at(file, path), _dotted(path))
                self.problem(problem, where, key, advice)
            return None

    def site(self, name: str) -> Site | None:
        """Read one map and the code tables that it names."""
        file = f"conf/maps/{name}.toml"
        read = self.model(SiteMapSettings, file, name)
        return read_site(self.directory, read, self._text(file), self.problems) if read is not None else None

    def at(self, file: str, path: tuple[int | str, ...]) -> str:
        """A file as errors name it; of a map, with the line of the key."""
        if not file.startswith("conf/maps/"):
            return file
        return at_line(file, lines_of(self._text(file)), [str(part) for part in path if not isinstance(part, int)])

    def _text(self, file: str) -> str:
        return (self.directory / file).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")

    def _toml(self, file: str) -> dict[str, Any] | None:
        try:
            return tomllib.loads(self._text(file))
        except FileNotFoundError:
            advice = "Run `hl7bridge init` to write a first configuration, or name the folder that holds conf/."
            self.problem(f"there is no such file in {self.directory}", file, advice=advice)
        except OSError as error:
            advice = "Let the account that runs hl7bridge read it."
            self.problem(f"can't be read ({error.strerror or 'input/output error'})", file, advice=advice)
        except UnicodeDecodeError:
            self.problem("is not UTF-8 text", file, advice="Save it in the encoding UTF-8.")
        except tomllib.TOMLDecodeError as error:
            advice = "In paths, write / or put the text between single quotes." if "\\" in str(error) else ""
            self.problem(f"is not TOML: {str(error).rstrip('.')}", file, advice=advice)
        return None

    def _override(self, data: dict[str, Any], model: type[Section], file: str) -> dict[tuple[str, ...], str]:
        """Put the environment's values into `data`; returns the variable of each key."""
        variables = {}
        for path, variable in self.overrides.get(file, {}).items():
            free = _field(model, path[:-1])
            if free is not None and get_origin(free.annotation) is dict:
                self.problem("can't be set from the environment", "environment", variable, f"Set it in {file}.")
                continue
            text = self.environment[variable]
            try:
                value = tomllib.loads(f"value = {text}")["value"] if text.startswith("[") else text
            except tomllib.TOMLDecodeError:
                self.problem("is not a list", "environment", variable, 'Write ["first", "second"].')
                continue
            table = data
            for part in path[:-1]:
                table = table.setdefault(part, {})
                if not isinstance(table, dict):
                    break
            else:
                table[path[-1]] = value
                variables[path] = variable
        return variables


def _secrets_in(data: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(data, str) and looks_secret(data):
        yield _dotted(path)
    for key, value in data.items() if isinstance(data, dict) else ():
        yield from _secrets_in(value, (*path, key))
    for value in data if isinstance(data, list) else ():
        yield from _secrets_in(value, path)


# --- what is wrong, in words -----------------------------------------------------------------------------------------


def _dotted(path: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in path if not isinstance(part, int))


def _field(model: type[Section], path: tuple[int | str, ...]) -> FieldInfo | None:
    """The field that a key path leads to; None when there is none, or when it leads into a free table."""
    found: FieldInfo | None = None
    current: type[Section] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        if current is None:
            return None
        found = current.model_fields.get(part)
        if found is None:
            return None
        current = _section_of(found)
    return found


def _section_of(field: FieldInfo) -> type[Section] | None:
    annotation = field.annotation
    if get_origin(annotation) is tuple:  # a list of sections
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _keys(model: type[Section]) -> list[str]:
    return [key for key in model.model_fields if key != "name"]


def _explain(model: type[Section], path: tuple[int | str, ...], details: Mapping[str, Any]) -> tuple[str, str]:
    """A pydantic error in our words: the problem, and what to do."""
    field = _field(model, path)
    meaning = field.description if field is not None else ""
    match details["type"]:
        case "extra_forbidden":
            if kinds := _kinds_that_know(model, path):
                return f"is a key of kind {_listed(kinds)}", "Take it out, or write that kind."
            return "unknown key", _suggestion(model, path)
        case "missing":
            if field is not None and (section := _section_of(field)) is not None:
                return "missing", f"Add the section [{_dotted(path)}], with {', '.join(_required(section))}."
            return "missing", f"Add it: {meaning}."
        case "value_error":
            wrong = details["ctx"]["error"]
            return (wrong.problem, wrong.advice) if isinstance(wrong, Wrong) else (str(wrong), "")
        case "literal_error":
            allowed = ", ".join(f'"{value}"' for value in get_args(field.annotation)) if field is not None else ""
            close = get_close_matches(
                str(details["input"]), [str(a) for a in get_args(field.annotation)] if field else []
            )
            hint = f' Did you mean "{close[0]}"?' if close else ""
            return f'"{str(details["input"])[:40]}" is not one of its values', f"Write one of {allowed}.{hint}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "is not a table", f"Write it as a section, [{_dotted(path)}], with its keys below."
    advice = f"It is the {meaning}." if meaning else ""
    if details["type"].startswith(("greater_than", "less_than")):
        return f"is out of range ({details['msg'].removeprefix('Input should be ')})", advice
    if details["type"] in ("too_short", "string_pattern_mismatch"):
        return "is empty or has spaces in it", advice
    written = kind(field) if field is not None else "text"
    return f"is not {_IN_WORDS.get(written, 'a ' + written)}", advice


def _kinds_that_know(model: type[Section], path: tuple[int | str, ...]) -> list[str]:
    """The other kinds of destination that have a key of that name, where the file is one of a destination."""
    if model not in DESTINATION_KINDS.values() or len(path) != 1:
        return []
    return [kind for kind, other in DESTINATION_KINDS.items() if path[0] in other.model_fields]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


_IN_WORDS = {"text": "text in quotes", "true or false": "true or false", "name = URI": "a section of NAME = URI"}


def _required(section: type[Section]) -> list[str]:
    return [key for key, field in section.model_fields.items() if field.is_required()]


def _meant(model: type[Section], path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The path of the key that a mistyped one stands for; () when there is none like it in the same table."""
    parents = path[:-1]
    parent = _field(model, parents)
    here = model if not parents else _section_of(parent) if parent is not None else None
    close = get_close_matches(str(path[-1]), _keys(here), n=1, cutoff=0.7) if here is not None else []
    return (*parents, close[0]) if close else ()


def _suggestion(model: type[Section], path: tuple[int | str, ...]) -> str:
    """For an unknown key: the one that was meant, the section it belongs into, or the keys that there are."""
    if meant := _meant(model, path):
        return f'Did you mean "{meant[-1]}"?'
    every = [row.key for row in _rows(model)]
    last = str(path[-1])
    if elsewhere := [key for key in every if key.rpartition(".")[2] == last]:
        section = elsewhere[0].rpartition(".")[0]
        return f"It belongs into [{section}]." if section else "It belongs to the top of the file, before any section."
    if close := get_close_matches(last, [key.rpartition(".")[2] for key in every], n=1, cutoff=0.7):
        return f'Did you mean "{next(key for key in every if key.rpartition(".")[2] == close[0])}"?'
    parent = _field(model, path[:-1])
    here = _section_of(parent) if parent is not None else None
    return f"Known here: {', '.join(_keys(here or model))}."


# --- between the files -----------------------------------------------------------------------------------------------


def _feed_problems(feed: Feed, destinations: tuple[str, ...]) -> Iterator[ConfigError]:
    for name in feed.destinations:
        if name not in destinations:
            problem, advice = unknown_name(name, destinations, "destinations")
            yield ConfigError(problem, file=feed.file, key="destinations", advice=advice)
    if len(set(feed.destinations)) < len(feed.destinations):
        yield ConfigError("names one twice", file=feed.file, key="destinations", advice="Take it out.")
    for name in feed.acknowledgment.acknowledge_for:
        if name not in feed.destinations:
            key, advice = "acknowledgment.acknowledge_for", "Name destinations of this feed only."
            yield ConfigError(
                f'"{name[:64]}" is not among the feed\'s destinations', file=feed.file, key=key, advice=advice
            )


def _port_problems(feeds: tuple[Feed, ...]) -> Iterator[ConfigError]:
    """Two feeds on one port: the later one, by name, is reported."""
    taken: list[Feed] = []
    for feed in feeds:
        host, port = feed.listener.host, feed.listener.port
        for other in taken:
            shared = host == other.listener.host or {host, other.listener.host} & {"0.0.0.0", "::"}  # noqa: S104 (compared)
            if port and port == other.listener.port and shared:
                problem = f"port {port} is already taken by {other.file}"
                yield ConfigError(problem, file=feed.file, key="listener.port", advice="Give each feed its own port.")
        taken.append(feed)


def _folder_problems(feeds: tuple[Feed, ...]) -> Iterator[ConfigError]:
    """Two feeds with one drop folder, and folders in it that are no two."""
    taken: dict[Path, Feed] = {}
    for feed in feeds:
        folder = feed.drop.folder
        if folder is None:
            continue
        other = taken.setdefault(folder.resolve(), feed)
        if other is not feed:
            problem = f"is already the drop folder of {other.file}"
            yield ConfigError(problem, file=feed.file, key="drop.folder", advice="Give each feed its own folder.")
        if feed.drop.done == feed.drop.failed:
            yield ConfigError(
                "is the folder of good files, too", file=feed.file, key="drop.failed", advice="Name another."
            )


# --- reference -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the reference: its file, dotted name, how it is written, its default as written ("" = none), meaning."""

    file: str
    key: str
    type: str
    default: str
    meaning: str
    required: bool = False


def reference() -> list[Key]:
    """Every key that there is, in the order of the files."""
    rows = [replace(row, file=SERVICE_FILE) for row in _rows(ServiceFile)]
    for folder, model in FILES.items():
        rows += [replace(row, file=f"conf/{folder}/NAME.toml") for row in _rows(model)]
        if folder == "feeds":
            rows += destination_keys(DESTINATION_KINDS)
    return rows


def destination_keys(kinds: Mapping[str, type[DestinationSettings]]) -> Iterator[Key]:
    """Those of a destination's file: all of the first kind, and of the others what no kind has but they."""
    shared: frozenset[str] = frozenset()
    for kind, model in kinds.items():
        file = f'conf/destinations/NAME.toml, kind = "{kind}"' if shared else "conf/destinations/NAME.toml"
        yield from (replace(row, file=file) for row in _rows(model) if row.key.partition(".")[0] not in shared)
        shared = frozenset(DestinationSettings.model_fields)


def _rows(model: type[Section], prefix: str = "") -> Iterator[Key]:
    for key in _keys(model):
        field = model.model_fields[key]
        section = _section_of(field)
        if section is not None and get_origin(field.annotation) is tuple:
            yield Key("", prefix + key, kind(field), "none", field.description or "")
        elif section is not None:
            yield from _rows(section, f"{prefix}{key}.")
        else:
            default = "" if field.is_required() else _as_toml(field.default)
            yield Key("", prefix + key, kind(field), default, field.description or "", field.is_required())


def kind(field: FieldInfo) -> str:
    """How a key's value is written: `duration`, `"report" or "write"`, `whole number`."""
    for item in field.metadata:
        if isinstance(item, Notation):
            return item.kind
    if get_origin(field.annotation) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(field.annotation))
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return names[field.annotation]  # type: ignore[index]


def _as_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    return f'"{value or ""}"' if value is None or isinstance(value, str) else f"{value:g}"


__all__ = ["Feed", "FhirSettings", "Key", "SecretReference", "Settings", "examine", "is_loopback", "load", "reference"]
